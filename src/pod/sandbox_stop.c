/*
 * sandbox_stop.c - stopping and removing pods.
 *
 * Stopping, in an order in which each step can be repeated: creations under way give up, the shim
 * kills its containers and ends (namespaces and links go with it), the addresses are given back,
 * the record says so. A step that fails ends the stop with its error, and the next stop begins
 * again; so a master's retry always gets further. Several stops at a time are one.
 *
 * Removing is stopping, removing each container, and unlinking the record; what is left after that
 * are files, which a restart would remove as well.
 */
#include <fcntl.h>

#include "private.h"

static const struct err no_error = ERR_INIT;

/* ---- Stop ----------------------------------------------------------------------------------- */

static void stop_finish(struct sandbox *s, const struct err *e)
{
    if (e->code != ERR_OK)
        log_warn("pod", s->id, "stop: %s", err_text(e));
    waiters_finish(&s->priv->stop_waiters, e);
}

static void on_detached(void *arg, const struct err *e)
{
    struct sandbox *s = by_id_sandbox(arg);
    _cleanup_err_ struct err why = ERR_INIT;

    if (!s)
        return;
    if (e->code != ERR_OK) {
        stop_finish(s, e);
        return;
    }
    memset(&s->addresses, 0, sizeof(s->addresses));
    s->priv->stopped = true;
    if (record_write_sandbox(s, &why) < 0)
        s->priv->stopped = false;
    stop_finish(s, &why);
}

static void on_shim_ended(void *arg, const struct err *e)
{
    struct sandbox *s = arg;

    if (e->code != ERR_OK)
        stop_finish(s, e);
    else if (s->host_network)
        on_detached(by_id_new(s->priv->pods, s->id), &no_error);
    else
        net_detach(s->priv->pods->net, s->id, on_detached, by_id_new(s->priv->pods, s->id));
}

static void on_idle(void *arg)
{
    struct sandbox *s = arg;

    s->priv->on_idle = NULL;
    if (!s->host_network && s->priv->shim)
        net_hold(s->priv->pods->net, s->id, shim_netns(s->priv->shim));
    shim_end(s, on_shim_ended, s);
}

void sandbox_busy_end(struct sandbox *s)
{
    if (--s->priv->busy == 0 && s->priv->on_idle)
        s->priv->on_idle(s->priv->on_idle_arg);
}

static void stop_begin(void *arg)
{
    struct sandbox *s = by_id_sandbox(arg);

    if (!s)
        return; /* a removal was quicker */
    if (s->priv->stopped) {
        stop_finish(s, &no_error);
        return;
    }
    s->priv->stopping = true;
    s->priv->on_idle = on_idle;
    s->priv->on_idle_arg = s;
    if (s->priv->busy == 0)
        on_idle(s);
}

void sandbox_stop(struct pods *p, const char *id, pod_done_fn *fn, void *arg)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct sandbox *s = sandbox_find(p, id, &e);

    if (!s) {
        done_absent(p, fn, arg, &e);
        return;
    }
    bool under_way = !list_empty(&s->priv->stop_waiters);
    waiters_add(&s->priv->stop_waiters, fn, arg);
    /* From the loop: a pod that is stopped already needs no step that would wait. */
    if (!under_way)
        loop_post(p->loop, stop_begin, by_id_new(p, s->id));
}

/* ---- Remove --------------------------------------------------------------------------------- */

static void remove_finish(struct sandbox *s, const struct err *e)
{
    if (e->code != ERR_OK) {
        log_warn("pod", s->id, "remove: %s", err_text(e));
        s->priv->removing = false;
    }
    waiters_finish(&s->priv->remove_waiters, e);
}

struct leftover {
    struct sandbox *s;
    char *state_dir, *root_dir;
    struct err e;
};

static void leftover_work(void *arg)
{
    struct leftover *l = arg;

    /* In this order: while <root>/pods/<id> is there, a restart looks for the other. */
    if (tree_remove(AT_FDCWD, l->state_dir, &l->e) == 0)
        (void)!tree_remove(AT_FDCWD, l->root_dir, &l->e);
}

static void leftover_done(void *arg)
{
    struct leftover *l = arg;
    struct sandbox *s = l->s;
    struct pods *p = s->priv->pods;

    if (!p->closing) {
        if (l->e.code != ERR_OK)
            log_warn("pod", s->id, "files are left until the next start of podd: %s",
                     err_text(&l->e));
        waiters_finish(&s->priv->stop_waiters, &no_error);
        remove_finish(s, &no_error);
    }
    sandbox_object_free(s);
    pods_release(p);
    free(l->state_dir);
    free(l->root_dir);
    err_clear(&l->e);
    free(l);
}

static void remove_itself(struct sandbox *s)
{
    struct pods *p = s->priv->pods;
    struct leftover *l;
    _cleanup_err_ struct err e = ERR_INIT;

    if (record_unlink_sandbox(s, &e) < 0) {
        remove_finish(s, &e);
        return;
    }
    pod_emit(p, POD_DELETED, s, NULL);
    sandbox_withdraw(s);
    name_release(p, take_ptr(s->priv->name));
    l = xnew(struct leftover);
    l->s = s;
    pods_hold(p);
    l->state_dir = sandbox_state_dir(p, s->id);
    l->root_dir = sandbox_root_dir(p, s->id);
    loop_work(p->loop, leftover_work, leftover_done, l);
}

/* One after the other is quick enough: what waits, waits for the whole sandbox. */
static void remove_next_container(void *arg, const struct err *e)
{
    struct sandbox *s = arg;

    if (s->priv->pods->closing)
        return;
    if (e->code != ERR_OK)
        remove_finish(s, e);
    else if (list_empty(&s->containers))
        remove_itself(s);
    else
        container_remove(s->priv->pods, container_of_sibling(s->containers.next)->id,
                         remove_next_container, s);
}

void sandbox_remove(struct pods *p, const char *id, pod_done_fn *fn, void *arg)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct sandbox *s = sandbox_find(p, id, &e);

    if (!s) {
        done_absent(p, fn, arg, &e);
        return;
    }
    waiters_add(&s->priv->remove_waiters, fn, arg);
    if (s->priv->removing)
        return;
    s->priv->removing = true;
    sandbox_stop(p, id, remove_next_container, s);
}
