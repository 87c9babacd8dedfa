/* test-base-str.c - strings, numbers, string buffers and vectors, arrays, time as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <time.h>

#include <podd/base.h>

static void comparing_takes_null(void **state)
{
    assert_true(str_equal(NULL, NULL));
    assert_false(str_equal(NULL, ""));
    assert_false(str_equal("a", NULL));
    assert_true(str_equal("a", "a"));
    assert_true(str_empty(NULL));
    assert_true(str_empty(""));
    assert_false(str_empty("a"));
}

static void prefixes_and_suffixes(void **state)
{
    assert_true(str_starts_with("abc", ""));
    assert_true(str_starts_with("abc", "ab"));
    assert_false(str_starts_with("ab", "abc"));
    assert_true(str_ends_with("abc", ""));
    assert_true(str_ends_with("abc", "bc"));
    assert_false(str_ends_with("bc", "abc"));
}

static void unsigned_numbers_are_strict(void **state)
{
    static const char *const bad[] = {"",    " 1", "1 ",  "+1", "-1",  "0x10",
                                      "1e3", "1a", "1.0", "a",  "\n1", "99999999999999999999x"};
    uint64_t n = 7;

    assert_int_equal(parse_uint(NULL, 9, &n), -EINVAL);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(parse_uint(bad[i], UINT64_MAX, &n), -EINVAL);
    assert_int_equal(parse_uint("18446744073709551616", UINT64_MAX, &n), -ERANGE);
    assert_int_equal(parse_uint("100000000000000000000000", UINT64_MAX, &n), -ERANGE);
    assert_int_equal(parse_uint("256", 255, &n), -ERANGE);
    assert_int_equal(n, 7); /* untouched by all that failed */

    assert_int_equal(parse_uint("255", 255, &n), 0);
    assert_int_equal(n, 255);
    assert_int_equal(parse_uint("0", 0, &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(parse_uint("18446744073709551615", UINT64_MAX, &n), 0);
    assert_true(n == UINT64_MAX);
}

static void signed_numbers_reach_both_ends(void **state)
{
    int64_t n = 7;

    assert_int_equal(parse_int("-9223372036854775808", INT64_MIN, INT64_MAX, &n), 0);
    assert_true(n == INT64_MIN);
    assert_int_equal(parse_int("9223372036854775807", INT64_MIN, INT64_MAX, &n), 0);
    assert_true(n == INT64_MAX);
    assert_int_equal(parse_int("9223372036854775808", INT64_MIN, INT64_MAX, &n), -ERANGE);
    assert_int_equal(parse_int("-9223372036854775809", INT64_MIN, INT64_MAX, &n), -ERANGE);
    assert_int_equal(parse_int("-1001", -1000, 1000, &n), -ERANGE);
    assert_int_equal(parse_int("-1000", -1000, 1000, &n), 0);
    assert_int_equal(n, -1000);
    assert_int_equal(parse_int("-0", 0, 0, &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(parse_int("-", -1, 1, &n), -EINVAL);
    assert_int_equal(parse_int("--1", -1, 1, &n), -EINVAL);
    assert_int_equal(parse_int("+1", -1, 1, &n), -EINVAL);
    assert_int_equal(parse_int(NULL, -1, 1, &n), -EINVAL);
}

static void the_closest_word_is_found(void **state)
{
    static const char *const words[] = {"containers", "volumes", "hostNetwork", "image", "v", NULL};
    char huge[300] = {0};

    assert_string_equal(str_closest("containers", words), "containers");
    assert_string_equal(str_closest("contianers", words), "containers"); /* swapped: one step */
    assert_string_equal(str_closest("conatinres", words), "containers");
    assert_string_equal(str_closest("hostnetwork", words), "hostNetwork");
    assert_string_equal(str_closest("imge", words), "image");
    assert_string_equal(str_closest("images", words), "image");
    assert_null(str_closest("restartPolicy", words));
    assert_null(str_closest("", words));
    assert_null(str_closest("x", words));
    assert_null(str_closest("img", words));
    memset(huge, 'a', sizeof(huge) - 1);
    assert_null(str_closest(huge, words));
    assert_null(str_closest("a", (const char *const[]){NULL}));
}

static void a_swap_costs_one_step(void **state)
{
    static const char *const words[] = {"ab", NULL};

    assert_string_equal(str_closest("ba", words), "ab");
}

static void hex_is_lower_case(void **state)
{
    char text[9];

    hex_encode("\x00\x9f\xff\x10", 4, text);
    assert_string_equal(text, "009fff10");
    hex_encode("", 0, text);
    assert_string_equal(text, "");
}

static void ids_are_64_hex_digits_and_differ(void **state)
{
    _cleanup_free_ char *a = id_new();
    _cleanup_free_ char *b = id_new();

    assert_int_equal(strlen(a), 64);
    assert_int_equal(strspn(a, "0123456789abcdef"), 64);
    assert_string_not_equal(a, b);
}

static void a_buffer_grows_and_is_taken(void **state)
{
    _cleanup_strbuf_ struct strbuf b = {0};
    _cleanup_free_ char *empty = strbuf_take(&b);

    assert_string_equal(empty, "");
    strbuf_adds(&b, "");
    assert_string_equal(b.data, "");
    for (int i = 0; i < 1000; i++)
        strbuf_addf(&b, "%03d,", i);
    strbuf_add(&b, "a\0b", 3);
    assert_int_equal(b.len, 4003);
    assert_memory_equal(b.data, "000,001,", 8);
    assert_memory_equal(b.data + 3996, "999,a\0b", 8);

    _cleanup_free_ char *s = strbuf_take(&b);
    assert_null(b.data);
    assert_int_equal(b.len, 0);
    assert_int_equal(strlen(s), 4001);
}

static void formatting_at_the_edge_of_the_buffer_is_whole(void **state)
{
    for (size_t fill = 50; fill < 140; fill++) {
        _cleanup_strbuf_ struct strbuf b = {0};
        for (size_t i = 0; i < fill; i++)
            strbuf_add(&b, "x", 1);
        strbuf_addf(&b, "%s", "0123456789");
        assert_int_equal(b.len, fill + 10);
        assert_string_equal(b.data + fill, "0123456789");
    }
}

static void vectors_copy_what_is_pushed(void **state)
{
    _cleanup_strv_ char **v = NULL;
    char text[] = "one";

    assert_int_equal(strv_len(v), 0);
    strv_push(&v, text);
    text[0] = 'X';
    strv_push(&v, "two");
    assert_int_equal(strv_len(v), 2);
    assert_string_equal(v[0], "one");
    assert_null(v[2]);

    _cleanup_strv_ char **first = strv_dup(v, 1);
    assert_int_equal(strv_len(first), 1);
    strv_push(&first, "three");
    assert_string_equal(first[1], "three");

    _cleanup_strv_ char **none = strv_dup(NULL, 0);
    assert_int_equal(strv_len(none), 0);
    strv_free(NULL);
}

static void arrays_grow_zeroed_and_survive_removal(void **state)
{
    struct item {
        int a, b;
    } *items = NULL;
    size_t n = 0;

    for (int i = 0; i < 100; i++) {
        struct item *it = array_push(&items, &n, sizeof(*it));
        assert_int_equal(it->a, 0);
        assert_int_equal(it->b, 0);
        it->a = it->b = i;
    }
    for (int i = 0; i < 1000; i++) { /* down and up over every power of two */
        if (i % 200 < 100) {
            n--;
        } else {
            struct item *it = array_push(&items, &n, sizeof(*it));
            it->a = (int)n - 1;
        }
    }
    assert_int_equal(n, 100);
    for (int i = 0; i < 100; i++)
        assert_int_equal(items[i].a, i);
    free(items);
}

static void copies_of_memory_end_in_nul(void **state)
{
    _cleanup_free_ char *a = xmemdup("ab", 2);
    _cleanup_free_ char *b = xmemdup(NULL, 0);
    _cleanup_free_ char *c = xstrndup("abc", 2);

    assert_string_equal(a, "ab");
    assert_string_equal(b, "");
    assert_string_equal(c, "ab");
    assert_null(xstrdup(NULL));
}

static void time_has_nine_digits_and_a_z(void **state)
{
    char text[TIME_TEXT_SIZE];

    time_format(0, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000000000Z");
    time_format(1136214245LL * NS_PER_SEC + 1, text);
    assert_string_equal(text, "2006-01-02T15:04:05.000000001Z");
    time_format(-1, text);
    assert_string_equal(text, "1969-12-31T23:59:59.999999999Z");
    time_format(951782400LL * NS_PER_SEC, text);
    assert_string_equal(text, "2000-02-29T00:00:00.000000000Z");
    time_format(INT64_MAX, text);
    assert_string_equal(text, "2262-04-11T23:47:16.854775807Z");
    time_format(INT64_MIN, text);
    assert_string_equal(text, "1677-09-21T00:12:43.145224192Z");
}

static void time_agrees_with_the_c_library(void **state)
{
    for (int64_t sec = -9000000000; sec < 9000000000; sec += 7654321) {
        char ours[TIME_TEXT_SIZE], theirs[64];
        time_t t = (time_t)sec;
        struct tm tm;

        time_format(sec * NS_PER_SEC, ours);
        strftime(theirs, sizeof(theirs), "%Y-%m-%dT%H:%M:%S.000000000Z", gmtime_r(&t, &tm));
        assert_string_equal(ours, theirs);
    }
}

static void clocks_and_boot_id_answer(void **state)
{
    int64_t before = time_mono_ns();

    assert_true(time_now_ns() > 1600000000LL * NS_PER_SEC);
    assert_true(time_mono_ns() >= before);
    assert_int_equal(strlen(boot_id()), 36);
    assert_ptr_equal(boot_id(), boot_id());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comparing_takes_null),
        cmocka_unit_test(prefixes_and_suffixes),
        cmocka_unit_test(unsigned_numbers_are_strict),
        cmocka_unit_test(signed_numbers_reach_both_ends),
        cmocka_unit_test(the_closest_word_is_found),
        cmocka_unit_test(a_swap_costs_one_step),
        cmocka_unit_test(hex_is_lower_case),
        cmocka_unit_test(ids_are_64_hex_digits_and_differ),
        cmocka_unit_test(a_buffer_grows_and_is_taken),
        cmocka_unit_test(formatting_at_the_edge_of_the_buffer_is_whole),
        cmocka_unit_test(vectors_copy_what_is_pushed),
        cmocka_unit_test(arrays_grow_zeroed_and_survive_removal),
        cmocka_unit_test(copies_of_memory_end_in_nul),
        cmocka_unit_test(time_has_nine_digits_and_a_z),
        cmocka_unit_test(time_agrees_with_the_c_library),
        cmocka_unit_test(clocks_and_boot_id_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
