/*
 * test-base-quantity.c - quantities are read exactly, and rounded up.
 */
#include <podd/base.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void assert_quantity(const char *text, int64_t units, int64_t milli)
{
    struct quantity q = {0};

    if (quantity_parse(text, &q) < 0)
        fail_msg("%s was refused", text);
    assert_true(q.set);
    if (q.units != units || q.milli != milli)
        fail_msg("%s is %lld and %lld thousandths", text, (long long)q.units, (long long)q.milli);
}

static void plain_numbers_are_units(void **state)
{
    assert_quantity("0", 0, 0);
    assert_quantity("1", 1, 1000);
    assert_quantity("+2", 2, 2000);
    assert_quantity("0007", 7, 7000);
}

static void fractions_round_up(void **state)
{
    assert_quantity("0.1", 1, 100);
    assert_quantity(".5", 1, 500);
    assert_quantity("1.", 1, 1000);
    assert_quantity("0.0001", 1, 1);
    assert_quantity("2.0", 2, 2000);
    assert_quantity("0.000", 0, 0);
}

static void suffixes_scale(void **state)
{
    assert_quantity("100m", 1, 100);
    assert_quantity("1500m", 2, 1500);
    assert_quantity("1n", 1, 1);
    assert_quantity("500u", 1, 1);
    assert_quantity("64Mi", 64LL << 20, (64LL << 20) * 1000);
    assert_quantity("1.5Gi", 3LL << 29, (3LL << 29) * 1000);
    assert_quantity("2k", 2000, 2000000);
    assert_quantity("1e3", 1000, 1000000);
    assert_quantity("5E-1", 1, 500);
    assert_quantity("1E", 1000000000000000000LL, INT64_MAX);
}

static void what_is_no_quantity_is_refused(void **state)
{
    static const char *const bad[] = {"",   "m",   "-1",  "1 Mi", "64MiB", "0x10", "1..2", "1e",
                                      "Mi", "1mm", "1kb", "NaN",  "1,5",   "e3",   "1e1.5"};
    struct quantity q;

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (quantity_parse(bad[i], &q) != -EINVAL)
            fail_msg("\"%s\" was not refused", bad[i]);
}

static void what_does_not_fit_is_out_of_range(void **state)
{
    static const char *const bad[] = {"16Ei", "10E", "1e19", "9999999999999999999", "1e99"};
    struct quantity q;

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (quantity_parse(bad[i], &q) != -ERANGE)
            fail_msg("\"%s\" was not refused as too large", bad[i]);
    assert_quantity("7Ei", 7LL << 60, INT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_numbers_are_units),
        cmocka_unit_test(fractions_round_up),
        cmocka_unit_test(suffixes_scale),
        cmocka_unit_test(what_is_no_quantity_is_refused),
        cmocka_unit_test(what_does_not_fit_is_out_of_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
