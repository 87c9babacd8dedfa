/*
 * test-health-machine.c - thresholds: what outcomes in a row amount to.
 */
#include "../../src/health/machine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct machine machine_of(enum probe_kind kind, int success, int failure)
{
    const struct probe_spec spec = {.success_threshold = success, .failure_threshold = failure};
    struct machine m;

    machine_init(&m, kind, &spec);
    return m;
}

static enum machine_change feed(struct machine *m, enum probe_result result)
{
    return machine_feed(m, result, "message", 1000, 10);
}

static void readiness_starts_failed_and_needs_one_success(void **state)
{
    struct machine m = machine_of(PROBE_READINESS, 0, 0);

    assert_int_equal(m.state.last_result, PROBE_FAILURE);
    assert_int_equal(feed(&m, PROBE_SUCCESS), MACHINE_HEALTHY);
    assert_int_equal(feed(&m, PROBE_SUCCESS), MACHINE_SAME);
}

static void readiness_flips_only_after_its_thresholds(void **state)
{
    struct machine m = machine_of(PROBE_READINESS, 2, 3);

    assert_int_equal(feed(&m, PROBE_SUCCESS), MACHINE_SAME);
    assert_int_equal(feed(&m, PROBE_FAILURE), MACHINE_SAME);
    assert_int_equal(feed(&m, PROBE_SUCCESS), MACHINE_SAME);
    assert_int_equal(feed(&m, PROBE_SUCCESS), MACHINE_HEALTHY);
    assert_int_equal(feed(&m, PROBE_FAILURE), MACHINE_SAME);
    assert_int_equal(feed(&m, PROBE_FAILURE), MACHINE_SAME);
    assert_int_equal(feed(&m, PROBE_FAILURE), MACHINE_FAILING);
    assert_false(m.on_hold);
}

static void liveness_fails_after_three_in_a_row_and_holds(void **state)
{
    struct machine m = machine_of(PROBE_LIVENESS, 1, 3);

    assert_int_equal(m.state.last_result, PROBE_SUCCESS);
    assert_int_equal(feed(&m, PROBE_FAILURE), MACHINE_SAME);
    assert_int_equal(feed(&m, PROBE_FAILURE), MACHINE_SAME);
    assert_int_equal(feed(&m, PROBE_SUCCESS), MACHINE_SAME);
    assert_int_equal(feed(&m, PROBE_FAILURE), MACHINE_SAME);
    assert_int_equal(feed(&m, PROBE_FAILURE), MACHINE_SAME);
    assert_int_equal(feed(&m, PROBE_FAILURE), MACHINE_FAILING);
    assert_true(m.on_hold);
    assert_int_equal(feed(&m, PROBE_FAILURE), MACHINE_SAME);
}

static void startup_holds_after_either_verdict(void **state)
{
    struct machine good = machine_of(PROBE_STARTUP, 1, 2), bad = machine_of(PROBE_STARTUP, 1, 2);

    assert_int_equal(feed(&good, PROBE_SUCCESS), MACHINE_HEALTHY);
    assert_true(good.on_hold);
    assert_int_equal(feed(&bad, PROBE_FAILURE), MACHINE_SAME);
    assert_int_equal(feed(&bad, PROBE_FAILURE), MACHINE_FAILING);
    assert_true(bad.on_hold);
}

static void a_warning_counts_as_success(void **state)
{
    struct machine m = machine_of(PROBE_READINESS, 1, 1);

    assert_int_equal(feed(&m, PROBE_WARNING), MACHINE_HEALTHY);
}

static void what_could_not_be_asked_is_retried_then_ignored(void **state)
{
    struct machine m = machine_of(PROBE_LIVENESS, 1, 1);

    for (int round = 0; round < 4; round++) {
        assert_int_equal(feed(&m, PROBE_UNKNOWN), MACHINE_RETRY);
        assert_int_equal(feed(&m, PROBE_UNKNOWN), MACHINE_RETRY);
        assert_int_equal(feed(&m, PROBE_UNKNOWN), MACHINE_SAME);
    }
    assert_int_equal(m.state.last_result, PROBE_SUCCESS);
    assert_int_equal(m.state.failures, 0);
    assert_int_equal(feed(&m, PROBE_FAILURE), MACHINE_FAILING);
}

static void the_last_attempt_is_remembered(void **state)
{
    struct machine m = machine_of(PROBE_LIVENESS, 1, 3);

    machine_feed(&m, PROBE_FAILURE, "connection refused", 77, 5);
    assert_string_equal(m.state.message, "connection refused");
    assert_int_equal(m.state.last_time, 77);
    assert_int_equal(m.state.latency_ns, 5);
    assert_int_equal(m.state.attempts, 1);
    assert_int_equal(m.state.failures, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readiness_starts_failed_and_needs_one_success),
        cmocka_unit_test(readiness_flips_only_after_its_thresholds),
        cmocka_unit_test(liveness_fails_after_three_in_a_row_and_holds),
        cmocka_unit_test(startup_holds_after_either_verdict),
        cmocka_unit_test(a_warning_counts_as_success),
        cmocka_unit_test(what_could_not_be_asked_is_retried_then_ignored),
        cmocka_unit_test(the_last_attempt_is_remembered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
