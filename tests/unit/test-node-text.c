/*
 * test-node-text.c - bytes of a container become valid UTF-8.
 */
#include "../../src/node/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define BAD "\xef\xbf\xbd"

static void assert_clean(const char *s, size_t len, size_t max, const char *expected)
{
    char *got = text_clean(s, len, max);

    assert_string_equal(got, expected);
    free(got);
}

static void what_is_utf8_stays(void **state)
{
    assert_clean("a\n\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 11, 100,
                 "a\n\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
    assert_clean(NULL, 0, 100, "");
}

static void what_is_none_is_replaced(void **state)
{
    assert_clean("a\0b", 3, 100, "a" BAD "b");
    assert_clean("\xff\xfe", 2, 100, BAD BAD);
    assert_clean("\xc0\x80", 2, 100, BAD BAD);                 /* overlong */
    assert_clean("\xe0\x80\x80", 3, 100, BAD BAD BAD);         /* overlong */
    assert_clean("\xed\xa0\x80", 3, 100, BAD BAD BAD);         /* surrogate */
    assert_clean("\xf4\x90\x80\x80", 4, 100, BAD BAD BAD BAD); /* beyond Unicode */
    assert_clean("\xe2\x82", 2, 100, BAD BAD);                 /* cut off */
}

static void only_whole_characters_fit(void **state)
{
    assert_clean("ab\xe2\x82\xac", 5, 4, "ab");
    assert_clean("ab\xe2\x82\xac", 5, 5, "ab\xe2\x82\xac");
    assert_clean("ab\xff", 3, 4, "ab");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_utf8_stays),
        cmocka_unit_test(what_is_none_is_replaced),
        cmocka_unit_test(only_whole_characters_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
