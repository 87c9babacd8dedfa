/*
 * container_update.c - calls on a container that the shim answers at once: limits, log, attach,
 * terminal size.
 */
#include "private.h"

static struct container *find_running(struct pods *p, const char *id, const char *what,
                                      struct err *e)
{
    struct container *c = container_find(p, id, e);

    if (!c)
        return NULL;
    if (c->state != CONTAINER_RUNNING || !c->sandbox->priv->shim) {
        err_set(e, ERR_FAILED_PRECONDITION, "container " ID_SHORT " is not running: it has no %s",
                c->id, what);
        return NULL;
    }
    return c;
}

/* ---- Plain calls ----------------------------------------------------------------------------- */

/* Keeps answers from callers that are gone: see pods_close(). */
struct relay {
    struct pods *p;
    pod_done_fn *fn;
    void *arg;
};

static struct relay *relay_new(struct pods *p, pod_done_fn *fn, void *arg)
{
    struct relay *r = xnew(struct relay);

    *r = (struct relay){.p = pods_hold(p), .fn = fn, .arg = arg};
    return r;
}

static void on_relay(void *arg, const struct err *e)
{
    struct relay *r = arg;

    if (!r->p->closing)
        r->fn(r->arg, e);
    pods_release(r->p);
    free(r);
}

void container_reopen_log(struct pods *p, const char *id, pod_done_fn *fn, void *arg)
{
    struct err e = ERR_INIT;
    struct container *c = find_running(p, id, "open log", &e);

    if (c)
        shim_reopen_log(c->sandbox->priv->shim, c->id, on_relay, relay_new(p, fn, arg));
    else
        done_later(p, fn, arg, &e);
}

void container_attach(struct pods *p, const char *id, const int stdio_take[3], pod_done_fn *fn,
                      void *arg)
{
    struct err e = ERR_INIT;
    struct container *c = find_running(p, id, "output to attach to", &e);

    if (c) {
        shim_attach(c->sandbox->priv->shim, c->id, stdio_take[0], stdio_take[1], stdio_take[2],
                    on_relay, relay_new(p, fn, arg));
        return;
    }
    for (int i = 0; i < 3; i++)
        fd_close(stdio_take[i]);
    done_later(p, fn, arg, &e);
}

void container_resize(struct pods *p, const char *id, uint32_t width, uint32_t height)
{
    struct container *c = container_find(p, id, NULL);

    if (c && c->state == CONTAINER_RUNNING && c->sandbox->priv->shim)
        shim_resize(c->sandbox->priv->shim, c->id, width, height, NULL, NULL);
}

/* ---- Limits --------------------------------------------------------------------------------- */

struct update {
    struct pods *p;
    char id[ID_SIZE];
    struct bytes asked;
    pod_done_fn *fn;
    void *arg;
};

static void on_updated(void *arg, const struct err *e)
{
    struct update *u = arg;
    struct container *c = u->p->closing ? NULL : container_by_id(u->p, u->id);
    _cleanup_err_ struct err why = ERR_INIT;

    if (e->code != ERR_OK)
        err_copy(&why, e);
    if (c && e->code == ERR_OK) {
        bytes_free(&c->asked);
        c->asked = u->asked;
        u->asked = (struct bytes){0};
        record_note_container(c);
    }
    if (!u->p->closing)
        u->fn(u->arg, &why);
    pods_release(u->p);
    bytes_free(&u->asked);
    free(u);
}

static void writes_free(cgroup_write_t **writes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        podd__shim__cgroup_write__free_unpacked(writes[i], NULL);
    free(writes);
}

void container_update(struct pods *p, const char *id, const struct cgroup_limits *limits,
                      const struct bytes *asked, pod_done_fn *fn, void *arg)
{
    struct err e = ERR_INIT;
    struct container *c = container_find(p, id, &e);
    cgroup_write_t **writes = NULL;
    size_t n = 0;

    if (c && ((c->state != CONTAINER_CREATED && c->state != CONTAINER_RUNNING) ||
              !c->sandbox->priv->shim)) {
        err_set(&e, ERR_FAILED_PRECONDITION,
                "container " ID_SHORT " has ended: its limits cannot be changed", c->id);
        c = NULL;
    }
    if (!c || cgroup_plan(limits, &writes, &n, &e) < 0) {
        writes_free(writes, n);
        done_later(p, fn, arg, &e);
        return;
    }
    struct update *u = xnew(struct update);
    u->p = pods_hold(p);
    memcpy(u->id, c->id, ID_SIZE);
    u->asked = bytes_dup(asked);
    u->fn = fn;
    u->arg = arg;
    shim_update(c->sandbox->priv->shim, c->id, writes, n, on_updated, u);
    writes_free(writes, n);
}
