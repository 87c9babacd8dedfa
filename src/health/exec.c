/*
 * exec.c - the exec probe: a command run inside the container by the shim.
 *
 * The timeout is the exec's own, so that everything the command started is killed with it. Exit
 * status 0 is success, another one failure; a command that could not be started at all says nothing
 * about the container's health.
 */
#include "private.h"

static void on_done(void *arg, int exit_code, const struct bytes *out, const struct bytes *err_out,
                    const struct err *e)
{
    struct probe_attempt *a = arg;

    a->state = NULL; /* the exec is over: nothing to cancel */
    if (e->code == ERR_DEADLINE_EXCEEDED) {
        attempt_finish(a, PROBE_FAILURE, "command timed out after %d s", a->spec->timeout);
    } else if (e->code != ERR_OK) {
        attempt_finish(a, PROBE_UNKNOWN, "%s", err_text(e));
    } else {
        const struct bytes *said = out->len > 0 ? out : err_out;
        attempt_finish(a, exit_code == 0 ? PROBE_SUCCESS : PROBE_FAILURE, "exit status %d%s%.*s",
                       exit_code, said->len > 0 ? ": " : "",
                       (int)(said->len < 10240 ? said->len : 10240),
                       said->len > 0 ? (const char *)said->data : "");
    }
}

static void exec_start(struct probe_attempt *a)
{
    timer_stop(a->timer);
    a->state = container_exec_sync(a->health->pods, a->container_id, a->spec->command,
                                   (int64_t)a->spec->timeout * 1000, on_done, a);
}

static void exec_stop(struct probe_attempt *a)
{
    exec_cancel(a->state);
}

const struct probe_way probe_way_exec = {exec_start, exec_stop};
