/*
 * container_run.c - starting a container, and its end.
 *
 *   CREATED --start--> RUNNING --exit--> EXITED
 *      \--- a start that fails, or the end of the sandbox ---^
 *
 * There is one way to EXITED, container_exited(): fields, record, event, then those who wait. The
 * first to tell of an end counts; the shim, its exit records and a restart may tell it again.
 */
#include <stdio.h>

#include "private.h"

static const struct err no_error = ERR_INIT;

/* ---- The end -------------------------------------------------------------------------------- */

static void set_text(char **field, const char *text)
{
    free(*field);
    *field = xstrdup(text);
}

void container_exited(struct container *c, const struct container_exit *x)
{
    int64_t now = time_now_ns();

    if (c->state == CONTAINER_EXITED)
        return;
    c->state = CONTAINER_EXITED;
    c->pid = 0;
    c->exit_code = x->code;
    c->exit_signal = x->signal;
    c->finished_at = x->finished_at ? x->finished_at : now;
    if (c->finished_at < c->started_at) /* the clock was set back */
        c->finished_at = c->started_at;
    set_text(&c->reason, x->reason ? x->reason : x->code == 0 ? "Completed" : "Error");
    set_text(&c->message, x->message ? x->message : "");
    record_note_container(c);
    pod_emit(c->sandbox->priv->pods, POD_STOPPED, c->sandbox, c);
    container_stop_ended(c);
}

static void tell_exit(struct container *c, const exit_info_t *exit)
{
    struct container_exit x = {
        .code = exit->code, .signal = exit->signal, .finished_at = exit->finished_at};

    if (exit->code < 0) {
        x.code = 255;
        x.reason = "Unknown";
        x.message = "its exit could not be observed";
    } else if (exit->oom_killed && exit->code != 0) {
        x.reason = "OOMKilled";
    }
    container_exited(c, &x);
}

static exit_info_t *exit_dup(const exit_info_t *exit)
{
    exit_info_t *copy = xmalloc(sizeof(*copy));

    *copy = *exit; /* numbers only */
    copy->base.n_unknown_fields = 0;
    copy->base.unknown_fields = NULL;
    return copy;
}

void container_exit_told(struct container *c, const exit_info_t *exit)
{
    struct container_private *priv = c->priv;

    if (!priv->starting) {
        tell_exit(c, exit);
        return;
    }
    /* The answer to the start, which says when it began, is still on its way. */
    if (!priv->early_exit)
        priv->early_exit = exit_dup(exit);
}

/* ---- Start ---------------------------------------------------------------------------------- */

struct start {
    struct pods *p;
    char id[ID_SIZE];
    pod_done_fn *fn;
    void *arg;
};

static void start_free(struct start *st)
{
    pods_release(st->p);
    free(st);
}

static void start_succeeded(struct container *c, pid_t pid, int64_t started_at)
{
    c->state = CONTAINER_RUNNING;
    c->pid = pid;
    c->started_at = started_at ? started_at : time_now_ns();
    pod_emit(c->sandbox->priv->pods, POD_STARTED, c->sandbox, c);
}

static void start_failed(struct container *c, const struct err *e)
{
    container_exited(
        c, &(struct container_exit){.code = 128, .reason = "StartError", .message = err_text(e)});
}

static void on_started(void *arg, pid_t pid, int64_t started_at, const struct err *e)
{
    struct start *st = arg;
    struct container *c = st->p->closing ? NULL : container_by_id(st->p, st->id);

    if (!c) {
        start_free(st);
        return;
    }
    c->priv->starting = false;
    if (e->code == ERR_OK)
        start_succeeded(c, pid, started_at);
    else
        start_failed(c, e);
    if (c->priv->early_exit) {
        exit_info_t *early = take_ptr(c->priv->early_exit);
        tell_exit(c, early);
        podd__shim__exit_info__free_unpacked(early, NULL);
    }
    st->fn(st->arg, e);
    /* Not before the answer: until then, and after a restart, the shim knows it as well. */
    if (c->state == CONTAINER_RUNNING)
        record_note_container(c);
    /* The caller may have removed it, if only it could: a removal waits for what follows. */
    waiters_finish(&c->priv->after_start, &no_error);
    start_free(st);
}

static const char *state_text(const struct container *c)
{
    switch (c->state) {
    case CONTAINER_CREATED:
        return c->priv->starting ? "is being started" : "is created";
    case CONTAINER_RUNNING:
        return "is running";
    case CONTAINER_EXITED:
        return "has exited";
    case CONTAINER_UNKNOWN:
        break;
    }
    return "is in an unknown state";
}

static int check_startable(struct container *c, struct err *e)
{
    struct sandbox *s = c->sandbox;

    if (c->state != CONTAINER_CREATED || c->priv->starting || c->priv->removing)
        return err_set(e, ERR_FAILED_PRECONDITION,
                       "container " ID_SHORT " %s: only one that is created can be started", c->id,
                       c->priv->removing ? "is being removed" : state_text(c));
    if (s->state != SANDBOX_READY || s->priv->stopping || !s->priv->shim)
        return err_set(e, ERR_FAILED_PRECONDITION, "sandbox " ID_SHORT " is not ready", s->id);
    if (c->priv->pid_target_mode) {
        struct container *target = container_by_id(s->priv->pods, c->priv->pid_target);
        if (!target || target->state != CONTAINER_RUNNING)
            return err_set(e, ERR_FAILED_PRECONDITION,
                           "container " ID_SHORT ", whose PID namespace it wants, is not running",
                           c->priv->pid_target);
    }
    return 0;
}

void container_start_up(struct pods *p, const char *id, pod_done_fn *fn, void *arg)
{
    struct err e = ERR_INIT;
    struct container *c = container_find(p, id, &e);

    if (!c || check_startable(c, &e) < 0) {
        done_later(p, fn, arg, &e);
        return;
    }
    struct start *st = xnew(struct start);
    st->p = pods_hold(p);
    memcpy(st->id, c->id, ID_SIZE);
    st->fn = fn;
    st->arg = arg;
    c->priv->starting = true;
    shim_start(c->sandbox->priv->shim, c->id, on_started, st);
}
