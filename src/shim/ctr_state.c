/*
 * ctr_state.c - the tables. Pure.
 */
#include <assert.h>

#include "ctr_state.h"

static const char *const state_names[] = {
    [CTR_CREATED] = "created, and not started yet",
    [CTR_RUNNING] = "running",
    [CTR_DRAINING] = "ending",
    [CTR_EXITED] = "ended",
};
_Static_assert(ARRAY_SIZE(state_names) == CTR_N_STATES, "a name for every state");

static const char *const op_names[] = {
    [CTR_OP_START] = "start",      [CTR_OP_SIGNAL] = "signal",
    [CTR_OP_REMOVE] = "remove",    [CTR_OP_REOPEN_LOG] = "reopen the log of",
    [CTR_OP_UPDATE] = "update",    [CTR_OP_EXEC] = "exec in",
    [CTR_OP_ATTACH] = "attach to", [CTR_OP_RESIZE] = "resize the terminal of",
};
_Static_assert(ARRAY_SIZE(op_names) == CTR_N_OPS, "a name for every operation");

static const bool allowed[CTR_N_OPS][CTR_N_STATES] = {
    /* Once only: an ended container is never started again. */
    [CTR_OP_START] = {[CTR_CREATED] = true},
    [CTR_OP_SIGNAL] = {[CTR_RUNNING] = true},
    [CTR_OP_REMOVE] = {[CTR_CREATED] = true, [CTR_EXITED] = true},
    [CTR_OP_REOPEN_LOG] = {[CTR_RUNNING] = true, [CTR_DRAINING] = true},
    [CTR_OP_UPDATE] = {[CTR_CREATED] = true, [CTR_RUNNING] = true},
    [CTR_OP_EXEC] = {[CTR_RUNNING] = true},
    [CTR_OP_ATTACH] = {[CTR_RUNNING] = true},
    [CTR_OP_RESIZE] = {[CTR_RUNNING] = true},
};

enum { NEVER = -1 };

static const int next[CTR_N_STATES][CTR_N_EVENTS] = {
    [CTR_CREATED] = {[CTR_STARTED] = CTR_RUNNING,
                     [CTR_START_FAILED] = CTR_EXITED,
                     [CTR_ENDED] = NEVER,
                     [CTR_DRAINED] = NEVER},
    [CTR_RUNNING] = {[CTR_STARTED] = NEVER,
                     [CTR_START_FAILED] = NEVER,
                     [CTR_ENDED] = CTR_DRAINING,
                     [CTR_DRAINED] = NEVER},
    [CTR_DRAINING] = {[CTR_STARTED] = NEVER,
                      [CTR_START_FAILED] = NEVER,
                      [CTR_ENDED] = NEVER,
                      [CTR_DRAINED] = CTR_EXITED},
    [CTR_EXITED] = {NEVER, NEVER, NEVER, NEVER},
};

const char *ctr_state_name(enum ctr_state state)
{
    return state_names[state];
}

int ctr_state_check(enum ctr_state state, enum ctr_op op, const char *id, struct err *e)
{
    if (allowed[op][state])
        return 0;
    return err_set(e, ERR_FAILED_PRECONDITION, "cannot %s container %s: it is %s", op_names[op], id,
                   state_names[state]);
}

enum ctr_state ctr_state_next(enum ctr_state state, enum ctr_event event)
{
    int to = next[state][event];

    assert(to != NEVER);
    return (enum ctr_state)to;
}
