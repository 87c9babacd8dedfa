/*
 * test-cri-stream-resize.c - sizes of a terminal as clients send them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../src/cri/stream_resize.h"

static struct resize r;
static uint16_t width, height;

static bool feed(const char *text)
{
    return resize_input(&r, text, strlen(text), &width, &height);
}

static int reset(void **state)
{
    resize_free(&r);
    r = (struct resize){0};
    return 0;
}

static void expect(bool told, unsigned w, unsigned h)
{
    assert_true(told);
    assert_int_equal(width, w);
    assert_int_equal(height, h);
}

static void objects_one_after_another(void **state)
{
    expect(feed("{\"Width\":132,\"Height\":40}\n"), 132, 40);
    expect(feed("{\"Width\":1,\"Height\":2}{\"Width\":3,\"Height\":4} "), 3, 4);
}

static void objects_in_pieces(void **state)
{
    const char *text = "{\"Width\":132,\"Height\":40}";

    for (size_t i = 0; i + 1 < strlen(text); i++)
        assert_false(resize_input(&r, text + i, 1, &width, &height));
    expect(feed("}"), 132, 40);
}

static void names_in_any_case_and_unknown_keys(void **state)
{
    expect(feed("{\"x\":[1,{}],\"WIDTH\":80,\"height\":24}"), 80, 24);
}

static void impossible_sizes_change_nothing(void **state)
{
    assert_false(feed("{\"Width\":0,\"Height\":24}{\"Width\":80}{\"Width\":-1,\"Height\":5}"));
    assert_false(feed("{\"Width\":65536,\"Height\":24}{\"Width\":\"80\",\"Height\":24} [1] "));
    expect(feed("{\"Width\":80,\"Height\":24}"), 80, 24);
}

static void no_json_ends_it(void **state)
{
    expect(feed("{\"Width\":80,\"Height\":24} nonsense"), 80, 24);
    assert_true(r.broken);
    assert_false(feed("{\"Width\":80,\"Height\":24}"));
}

static void an_object_without_end_is_not_kept(void **state)
{
    char spaces[1025];

    memset(spaces, ' ', 1024);
    spaces[1024] = '\0';
    feed("{");
    for (int i = 0; i < 65; i++)
        assert_false(feed(spaces));
    assert_true(r.broken);
    assert_int_equal(r.text.cap, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(objects_one_after_another, reset),
        cmocka_unit_test_teardown(objects_in_pieces, reset),
        cmocka_unit_test_teardown(names_in_any_case_and_unknown_keys, reset),
        cmocka_unit_test_teardown(impossible_sizes_change_nothing, reset),
        cmocka_unit_test_teardown(no_json_ends_it, reset),
        cmocka_unit_test_teardown(an_object_without_end_is_not_kept, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
