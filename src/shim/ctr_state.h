/*
 * ctr_state.h - the life of a container as tables: which operation is allowed when, and what
 * follows what.
 *
 *   CREATED --start ok--> RUNNING --process ended--> DRAINING --output drained--> EXITED
 *      `----------------------start failed-------------------------------------->'
 *
 * Remove takes it away, from CREATED or EXITED.
 */
#ifndef SHIM_CTR_STATE_H
#define SHIM_CTR_STATE_H

#include <podd/base.h>

enum ctr_state {
    CTR_CREATED,
    CTR_RUNNING,
    CTR_DRAINING, /* its first process is gone; output is being read to its end */
    CTR_EXITED,   /* the exit has been told */
    CTR_N_STATES
};

enum ctr_op {
    CTR_OP_START,
    CTR_OP_SIGNAL,
    CTR_OP_REMOVE,
    CTR_OP_REOPEN_LOG,
    CTR_OP_UPDATE,
    CTR_OP_EXEC,
    CTR_OP_ATTACH,
    CTR_OP_RESIZE,
    CTR_N_OPS
};

enum ctr_event { CTR_STARTED, CTR_START_FAILED, CTR_ENDED, CTR_DRAINED, CTR_N_EVENTS };

const char *ctr_state_name(enum ctr_state state);
/* ERR_FAILED_PRECONDITION with the reason where `op` makes no sense. */
int ctr_state_check(enum ctr_state state, enum ctr_op op, const char *id, struct err *e) MUST_CHECK;
/* The state after the event. One that cannot happen is a programmer's error: aborts. */
enum ctr_state ctr_state_next(enum ctr_state state, enum ctr_event event);

#endif
