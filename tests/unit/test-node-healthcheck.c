/*
 * test-node-healthcheck.c - an image's HEALTHCHECK as probes.
 */
#include "../../src/node/healthcheck.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct healthcheck *check_of(char *const *words, int64_t interval, int64_t timeout,
                                    int64_t start, int64_t retries)
{
    const struct image_config image = {
        .healthcheck = (char **)words,
        .health_interval_ns = interval,
        .health_timeout_ns = timeout,
        .health_start_period_ns = start,
        .health_retries = retries,
    };
    return healthcheck_new(&image);
}

static void an_image_without_a_check_has_no_probe(void **state)
{
    assert_null(check_of(NULL, 0, 0, 0, 0));
    assert_null(check_of((char *[]){NULL}, 0, 0, 0, 0));
    assert_null(check_of((char *[]){"NONE", NULL}, 0, 0, 0, 0));
    assert_null(check_of((char *[]){"CMD", NULL}, 0, 0, 0, 0));
    assert_null(check_of((char *[]){"HTTP", "x", NULL}, 0, 0, 0, 0));
    assert_null(healthcheck_probe(NULL, PROBE_LIVENESS));
}

static void silence_means_dockers_defaults(void **state)
{
    struct healthcheck *h = check_of((char *[]){"CMD", "a", "b", NULL}, 0, 0, 0, 0);
    const struct manifest_probe *p = healthcheck_probe(h, PROBE_LIVENESS);

    assert_null(healthcheck_probe(h, PROBE_READINESS));
    assert_string_equal(p->exec->command[0], "a");
    assert_string_equal(p->exec->command[1], "b");
    assert_null(p->exec->command[2]);
    assert_int_equal(p->period.value, 30);
    assert_int_equal(p->timeout.value, 30);
    assert_int_equal(p->failure_threshold.value, 3);
    assert_int_equal(healthcheck_probe(h, PROBE_STARTUP)->failure_threshold.value, 3);
    healthcheck_free(h);
}

static void the_start_period_gives_startup_more_tries(void **state)
{
    struct healthcheck *h = check_of((char *[]){"CMD-SHELL", "test $$ -gt 1", NULL},
                                     1500 * NS_PER_MS, 1, 10 * NS_PER_SEC, 2);
    const struct manifest_probe *p = healthcheck_probe(h, PROBE_STARTUP);

    assert_string_equal(p->exec->command[0], "/bin/sh");
    assert_string_equal(p->exec->command[1], "-c");
    assert_string_equal(p->exec->command[2], "test $$$$ -gt 1"); /* expands to what it was */
    assert_int_equal(p->period.value, 2);
    assert_int_equal(p->timeout.value, 1);
    assert_int_equal(p->failure_threshold.value, 7);
    assert_int_equal(healthcheck_probe(h, PROBE_LIVENESS)->failure_threshold.value, 2);
    healthcheck_free(h);
}

static void huge_values_are_bounded(void **state)
{
    struct healthcheck *h =
        check_of((char *[]){"CMD", "a", NULL}, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX / 2);

    assert_int_equal(healthcheck_probe(h, PROBE_LIVENESS)->period.value, INT32_MAX);
    assert_int_equal(healthcheck_probe(h, PROBE_LIVENESS)->failure_threshold.value, INT32_MAX);
    assert_int_equal(healthcheck_probe(h, PROBE_STARTUP)->failure_threshold.value, INT32_MAX);
    healthcheck_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_image_without_a_check_has_no_probe),
        cmocka_unit_test(silence_means_dockers_defaults),
        cmocka_unit_test(the_start_period_gives_startup_more_tries),
        cmocka_unit_test(huge_values_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
