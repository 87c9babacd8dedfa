/*
 * The tables of a container's life.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../src/shim/ctr_state.h"

static bool allows(enum ctr_state state, enum ctr_op op)
{
    _cleanup_err_ struct err e = ERR_INIT;

    if (ctr_state_check(state, op, "some-id", &e) == 0)
        return true;
    assert_int_equal(e.code, ERR_FAILED_PRECONDITION);
    assert_non_null(strstr(err_text(&e), "some-id"));
    assert_non_null(strstr(err_text(&e), ctr_state_name(state)));
    return false;
}

static void a_container_starts_once(void **state)
{
    assert_true(allows(CTR_CREATED, CTR_OP_START));
    assert_false(allows(CTR_RUNNING, CTR_OP_START));
    assert_false(allows(CTR_DRAINING, CTR_OP_START));
    assert_false(allows(CTR_EXITED, CTR_OP_START));
}

static void only_what_does_not_run_is_removed(void **state)
{
    assert_true(allows(CTR_CREATED, CTR_OP_REMOVE));
    assert_false(allows(CTR_RUNNING, CTR_OP_REMOVE));
    assert_false(allows(CTR_DRAINING, CTR_OP_REMOVE));
    assert_true(allows(CTR_EXITED, CTR_OP_REMOVE));
}

static void only_what_runs_is_talked_to(void **state)
{
    static const enum ctr_op ops[] = {CTR_OP_SIGNAL, CTR_OP_EXEC, CTR_OP_ATTACH, CTR_OP_RESIZE};

    for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
        assert_true(allows(CTR_RUNNING, ops[i]));
        assert_false(allows(CTR_CREATED, ops[i]));
        assert_false(allows(CTR_DRAINING, ops[i]));
        assert_false(allows(CTR_EXITED, ops[i]));
    }
}

static void its_log_is_reopened_while_it_is_written(void **state)
{
    assert_false(allows(CTR_CREATED, CTR_OP_REOPEN_LOG));
    assert_true(allows(CTR_RUNNING, CTR_OP_REOPEN_LOG));
    assert_true(allows(CTR_DRAINING, CTR_OP_REOPEN_LOG));
    assert_false(allows(CTR_EXITED, CTR_OP_REOPEN_LOG));
}

static void its_limits_change_until_it_ends(void **state)
{
    assert_true(allows(CTR_CREATED, CTR_OP_UPDATE));
    assert_true(allows(CTR_RUNNING, CTR_OP_UPDATE));
    assert_false(allows(CTR_EXITED, CTR_OP_UPDATE));
}

static void every_way_leads_to_exited(void **state)
{
    enum ctr_state s = ctr_state_next(CTR_CREATED, CTR_STARTED);

    assert_int_equal(s, CTR_RUNNING);
    s = ctr_state_next(s, CTR_ENDED);
    assert_int_equal(s, CTR_DRAINING);
    assert_int_equal(ctr_state_next(s, CTR_DRAINED), CTR_EXITED);
    assert_int_equal(ctr_state_next(CTR_CREATED, CTR_START_FAILED), CTR_EXITED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_container_starts_once),
        cmocka_unit_test(only_what_does_not_run_is_removed),
        cmocka_unit_test(only_what_runs_is_talked_to),
        cmocka_unit_test(its_log_is_reopened_while_it_is_written),
        cmocka_unit_test(its_limits_change_until_it_ends),
        cmocka_unit_test(every_way_leads_to_exited),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
