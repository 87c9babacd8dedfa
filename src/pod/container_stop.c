/*
 * container_stop.c - stopping and removing containers.
 *
 * However many callers stop a container, there is one stop: the stop signal is sent once, the
 * earliest of all deadlines counts, at which SIGKILL goes to every process of the container's
 * cgroup. All are answered when it is EXITED. The stop goes on when callers lose interest. Should
 * something survive SIGKILL (a process inside a system call that cannot be interrupted), it is sent
 * again a few times; then the callers get an error and may try anew.
 */
#include <fcntl.h>
#include <signal.h>

#include "private.h"

enum { KILL_INTERVAL_MS = 5000, KILL_ROUNDS = 12 };

static const struct err no_error = ERR_INIT;

/* ---- Stop ----------------------------------------------------------------------------------- */

static bool stop_is_under_way(const struct container *c)
{
    return c->priv->stop_timer != NULL;
}

static void stop_reset(struct container *c)
{
    struct container_private *priv = c->priv;

    timer_free(take_ptr(priv->stop_timer));
    priv->stop_signalled = priv->killing = false;
    priv->stop_deadline = 0;
    priv->kill_rounds = 0;
}

void container_stop_ended(struct container *c)
{
    stop_reset(c);
    waiters_finish(&c->priv->stop_waiters, &no_error);
}

static void stop_failed(struct container *c)
{
    _cleanup_err_ struct err e = ERR_INIT;

    err_set(&e, ERR_DEADLINE_EXCEEDED,
            "container " ID_SHORT " (process %d) survives SIGKILL: it hangs in the kernel", c->id,
            (int)c->pid);
    log_warn("pod", c->id, "%s", err_text(&e));
    stop_reset(c);
    waiters_finish(&c->priv->stop_waiters, &e);
}

struct signal_call {
    struct pods *p;
    char id[ID_SIZE];
    int signo;
};

static void on_signalled(void *arg, const struct err *e)
{
    struct signal_call *call = arg;

    /* One that is ending already cannot be signalled: its exit will be told. Other failures are met
     * by the deadline, and by sending SIGKILL again. */
    if (!call->p->closing && e->code != ERR_OK && e->code != ERR_NOT_FOUND &&
        e->code != ERR_FAILED_PRECONDITION && e->code != ERR_UNAVAILABLE)
        log_warn("pod", call->id, "signal %d: %s", call->signo, err_text(e));
    pods_release(call->p);
    free(call);
}

static void send_signal(struct container *c, int signo, bool all)
{
    struct shim *shim = c->sandbox->priv->shim;
    struct signal_call *call;

    if (!shim) /* its end has been told or will be */
        return;
    call = xnew(struct signal_call);
    call->p = pods_hold(c->sandbox->priv->pods);
    memcpy(call->id, c->id, ID_SIZE);
    call->signo = signo;
    shim_signal(shim, c->id, signo, all, on_signalled, call);
}

static void on_stop_timer(void *arg)
{
    struct container *c = arg;
    struct container_private *priv = c->priv;

    priv->killing = true;
    if (priv->kill_rounds++ == KILL_ROUNDS) {
        stop_failed(c);
        return;
    }
    send_signal(c, SIGKILL, true);
    timer_start(priv->stop_timer, KILL_INTERVAL_MS);
}

/* Moves the deadline, never to a later time. */
static void set_deadline(struct container *c, int64_t timeout_ms)
{
    struct container_private *priv = c->priv;
    int64_t now = time_mono_ns();
    int64_t limit = (INT64_MAX - now) / NS_PER_MS - 1;
    int64_t deadline = now + (timeout_ms < limit ? timeout_ms : limit) * NS_PER_MS;

    if (priv->killing || (priv->stop_deadline != 0 && priv->stop_deadline <= deadline))
        return;
    priv->stop_deadline = deadline;
    timer_start(priv->stop_timer, timeout_ms);
}

struct stop_call {
    struct pods *p;
    char id[ID_SIZE];
    int64_t timeout_ms;
    pod_done_fn *fn;
    void *arg;
};

static void stop_after_start(void *arg, const struct err *e)
{
    struct stop_call *call = arg;

    if (!call->p->closing)
        container_stop(call->p, call->id, call->timeout_ms, call->fn, call->arg);
    free(call);
}

static void stop_running(struct container *c, int64_t timeout_ms, pod_done_fn *fn, void *arg)
{
    struct container_private *priv = c->priv;

    waiters_add(&priv->stop_waiters, fn, arg);
    if (!stop_is_under_way(c))
        priv->stop_timer = timer_new(c->sandbox->priv->pods->loop, on_stop_timer, c);
    if (timeout_ms <= 0) {
        if (!priv->killing)
            on_stop_timer(c);
        return;
    }
    if (!priv->stop_signalled && !priv->killing) {
        priv->stop_signalled = true;
        send_signal(c, c->stop_signal, false);
    }
    set_deadline(c, timeout_ms);
}

void container_stop(struct pods *p, const char *id, int64_t timeout_ms, pod_done_fn *fn, void *arg)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct container *c = container_find(p, id, &e);

    if (c && c->priv->starting) {
        struct stop_call *call = xnew(struct stop_call);
        *call = (struct stop_call){.p = p, .timeout_ms = timeout_ms, .fn = fn, .arg = arg};
        memcpy(call->id, c->id, ID_SIZE);
        waiters_add(&c->priv->after_start, stop_after_start, call);
        return;
    }
    if (!c || (c->state != CONTAINER_RUNNING && c->state != CONTAINER_UNKNOWN)) {
        done_absent(p, fn, arg, &e);
        return;
    }
    stop_running(c, timeout_ms, fn, arg);
}

/* ---- Remove --------------------------------------------------------------------------------- */

static void remove_finish(struct container *c, const struct err *e)
{
    if (e->code != ERR_OK) {
        log_warn("pod", c->id, "remove: %s", err_text(e));
        c->priv->removing = false;
    }
    waiters_finish(&c->priv->remove_waiters, e);
}

/* The shim removes its exit record; of a shim that is gone it is left to us. */
static void remove_exit_record(const struct container *c)
{
    _cleanup_free_ char *directory = sandbox_state_dir(c->sandbox->priv->pods, c->sandbox->id);
    _cleanup_free_ char *path = xasprintf("%s/%s.exit", directory, c->id);

    if (unlink(path) < 0 && errno != ENOENT)
        log_warn("pod", c->id, "remove %s: %s", path, strerror(errno));
}

static void remove_itself(struct container *c)
{
    struct sandbox *s = c->sandbox;
    struct pods *p = s->priv->pods;
    _cleanup_err_ struct err e = ERR_INIT, rootfs = ERR_INIT;

    if (record_unlink_container(c, &e) < 0) {
        remove_finish(c, &e);
        return;
    }
    if (!s->priv->shim)
        remove_exit_record(c);
    container_withdraw(c);
    name_release(p, take_ptr(c->priv->name));
    container_release_images(c);
    if (rootfs_remove(p->images, c->id, &rootfs) < 0)
        log_warn("pod", c->id, "files are left until the next start of podd: %s",
                 err_text(&rootfs));
    pod_emit(p, POD_DELETED, s, c);
    remove_finish(c, &no_error);
    container_object_free(c);
}

static struct by_id *call_new(const struct container *c)
{
    return by_id_new(c->sandbox->priv->pods, c->id);
}

static void on_shim_ended(void *arg, const struct err *e)
{
    struct container *c = by_id_container(arg);

    if (c && e->code != ERR_OK)
        remove_finish(c, e);
    else if (c)
        remove_itself(c);
}

static void on_removed(void *arg, const struct err *e)
{
    struct container *c = by_id_container(arg);

    if (!c)
        return;
    if (e->code == ERR_OK || e->code == ERR_NOT_FOUND)
        remove_itself(c);
    else if (e->code == ERR_UNAVAILABLE && !c->sandbox->priv->shim)
        shim_end(c->sandbox, on_shim_ended, call_new(c)); /* its cgroups are cleaned up */
    else
        remove_finish(c, e);
}

static void on_stopped(void *arg, const struct err *e)
{
    struct container *c = by_id_container(arg);

    if (!c)
        return;
    if (e->code != ERR_OK)
        remove_finish(c, e);
    else if (c->sandbox->priv->shim)
        shim_remove(c->sandbox->priv->shim, c->id, on_removed, call_new(c));
    else
        shim_end(c->sandbox, on_shim_ended, call_new(c));
}

void container_remove(struct pods *p, const char *id, pod_done_fn *fn, void *arg)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct container *c = container_find(p, id, &e);

    if (!c) {
        done_absent(p, fn, arg, &e);
        return;
    }
    waiters_add(&c->priv->remove_waiters, fn, arg);
    if (c->priv->removing)
        return;
    c->priv->removing = true;
    container_stop(p, c->id, 0, on_stopped, call_new(c));
}
