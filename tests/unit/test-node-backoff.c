/*
 * test-node-backoff.c - kubelet's crash-loop numbers.
 */
#include "../../src/node/backoff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define S NS_PER_SEC

static void the_first_restart_is_at_once(void **state)
{
    struct backoff b = {0};

    assert_int_equal(backoff_due(&b, 1000 * S), 0);
}

static void delays_double_up_to_five_minutes_from_the_end_of_the_last_run(void **state)
{
    static const int64_t delays[] = {10, 20, 40, 80, 160, 300, 300};
    struct backoff b = {0};
    int64_t end = 1000 * S;

    for (size_t i = 0; i < ARRAY_SIZE(delays); i++) {
        int64_t due = backoff_due(&b, end);
        int64_t start = due > end ? due : end;
        backoff_arm(&b, end, start);
        end = start + S; /* it ran for one second */
        assert_int_equal(backoff_due(&b, end), end + delays[i] * S);
    }
}

static void a_run_of_ten_minutes_starts_over(void **state)
{
    struct backoff b = {0};

    backoff_arm(&b, 1000 * S, 1000 * S);
    backoff_arm(&b, 1011 * S, 1021 * S);
    assert_int_equal(b.delay_ns, 20 * S);
    int64_t end = 1021 * S + 600 * S;
    assert_int_equal(backoff_due(&b, end), end + 20 * S); /* exactly ten minutes: not yet */
    end++;
    assert_int_equal(backoff_due(&b, end), 0);
    backoff_arm(&b, end, end);
    assert_int_equal(b.delay_ns, 10 * S);
}

static void a_failed_try_waits_from_the_first_time_on(void **state)
{
    struct backoff b = {0};

    backoff_fail(&b, 1000 * S);
    assert_int_equal(b.delay_ns, 10 * S);
    backoff_fail(&b, 1010 * S);
    assert_int_equal(b.delay_ns, 20 * S);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_restart_is_at_once),
        cmocka_unit_test(delays_double_up_to_five_minutes_from_the_end_of_the_last_run),
        cmocka_unit_test(a_run_of_ten_minutes_starts_over),
        cmocka_unit_test(a_failed_try_waits_from_the_first_time_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
