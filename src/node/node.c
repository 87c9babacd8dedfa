/*
 * node.c - the room's life: the table of declared pods is read from disk, then, when it is known
 * what runs, taken up; and closed without touching a pod.
 */
#include "object.h"
#include "private.h"
#include "static.h"
#include "translate.h"

#include <limits.h>

/* ---- Events of the pod room --------------------------------------------------------------------
 */

static void on_pod_event(void *arg, const struct pod_event *event)
{
    struct node *n = arg;
    struct declared *d = map_get(n->uids, event->sandbox->uid);

    if (event->container)
        attached_on_event(n->attached, event);

    if (d && str_equal(event->sandbox->origin, NODE_ORIGIN))
        declared_touch(d);
}

/* ---- Opening -----------------------------------------------------------------------------------
 */

static void node_free(struct node *n)
{
    while (!list_empty(&n->declared))
        declared_free(container_of(n->declared.next, struct declared, item));
    objects_close(n);
    map_free(n->pods);
    map_free(n->uids);
    deletions_free(n->deletions);
    map_free(n->objects);
    free((char *)n->config.root);
    free((char *)n->config.state);
    free((char *)n->config.log_root);
    free((char *)n->config.manifest_dir);
    free(n->hostname);
    free(n);
}

static char *own_hostname(void)
{
    char name[HOST_NAME_MAX + 1] = "";

    if (gethostname(name, sizeof(name) - 1) < 0)
        log_warn("node", NULL, "gethostname: %m");
    return xstrdup(name);
}

static struct node *node_new(const struct node_config *config)
{
    struct node *n = xnew(struct node);

    n->config = *config;
    n->config.root = xstrdup(config->root);
    n->config.state = xstrdup(config->state);
    n->config.log_root = xstrdup(config->log_root);
    n->config.manifest_dir = xstrdup(config->manifest_dir);
    n->hostname = own_hostname();
    n->started_at = time_now_ns();
    /* Versions grow over restarts too: a clock that is faster than they are is where they begin. */
    n->version = (uint64_t)(n->started_at / NS_PER_MS);
    n->pods = map_new();
    n->uids = map_new();
    n->objects = map_new();
    list_init(&n->declared);
    list_init(&n->object_list);
    list_init(&n->kicked);
    list_init(&n->ops);
    list_init(&n->watches);
    list_init(&n->applies);
    _cleanup_free_ char *events = xasprintf("%s/events", config->state);
    n->events = events_open(events, n->version);
    n->deletions = deletions_new(n->version);
    return n;
}

int node_open(const struct node_config *config, struct node **ret, struct err *e)
{
    struct node *n = node_new(config);

    if (kernel_probe(&n->kernel, e) < 0 || objects_load(n, e) < 0 || store_load(n, e) < 0) {
        node_close(n);
        return -1;
    }
    n->attached = attached_open(n);
    n->pod_watch = pods_watch(config->pods, on_pod_event, n);
    *ret = n;
    return 0;
}

void node_start(struct node *n)
{
    adopt_all(n);
    attached_restore(n->attached);
    n->started = true;
    if (!list_empty(&n->declared))
        log_info("node", NULL, "%zu pods are declared", map_count(n->pods));
    list_for_each (it, &n->declared)
        declared_touch(container_of(it, struct declared, item));
    namespaces_check(n);
    storage_open(n);
    if (n->config.manifest_dir)
        n->statics = static_open(n, n->config.manifest_dir);
}

uint64_t node_restarts(const struct node *n)
{
    return n->restarts;
}

/* ---- Closing -----------------------------------------------------------------------------------
 */

static void fail_waiters(struct declared *d)
{
    _cleanup_err_ struct err e = ERR_INIT;

    err_set(&e, ERR_UNAVAILABLE, "podd is stopping; the pod is deleted when it runs again");
    calls_answer(&d->waiting, NULL, &e);
    err_clear(&e);
    err_set(&e, ERR_UNAVAILABLE, "podd is stopping; ask again when it runs again");
    calls_answer(&d->marking, NULL, &e);
}

/* Whoever answers one of these later finds nothing to do. */
static void orphan_ops(struct node *n)
{
    while (!list_empty(&n->ops)) {
        struct op *op = container_of(n->ops.next, struct op, item);
        list_remove(&op->item);
        op->node = NULL;
        op->pod = NULL;
        if (op->member && op->member->pull) { /* is not answered once it is left */
            image_pull_cancel(take_ptr(op->member->pull));
            free(op);
        }
    }
}

void node_close(struct node *n)
{
    if (n->pod_watch)
        pod_watch_free(n->pod_watch);
    watches_close(n);
    applies_close(n);
    static_close(n->statics);
    timer_free(n->storage);
    stop_all_close(n);
    list_for_each (it, &n->declared)
        fail_waiters(container_of(it, struct declared, item));
    attached_close(n->attached);
    events_free(n->events);
    orphan_ops(n);
    node_free(n);
}
