/*
 * attached_call.c - SetProbes, ListProbes and WatchProbes.
 *
 * A watch that cannot take a message is cut off: it is never waited for, and never misses one and
 * goes on.
 */
#include "attached.h"
#include "translate.h"

struct watcher {
    struct list item;
    struct rpc_call *call;
    char *id; /* "": all */
};

/* ---- Telling -----------------------------------------------------------------------------------
 */

static void watcher_end(struct watcher *w, enum err_code code, const char *why)
{
    struct rpc_call *call = w->call;

    list_remove(&w->item);
    free(w->id);
    free(w);
    call_fail(call, code, "%s", why);
}

static bool send_to(struct watcher *w, Podd__V1__WatchProbesResponse__Type type,
                    Podd__V1__ProbedContainer *container)
{
    Podd__V1__WatchProbesResponse message = PODD__V1__WATCH_PROBES_RESPONSE__INIT;

    message.type = type;
    message.container = container;
    if (rpc_send(w->call, &message.base))
        return true;
    watcher_end(w, ERR_RESOURCE_EXHAUSTED,
                "this watch reads too slowly and was cut off; watch again");
    return false;
}

void attached_tell(struct attached *a, Podd__V1__WatchProbesResponse__Type type)
{
    Podd__V1__ProbedContainer *m = attached_refresh(a);

    list_for_each_safe (it, &a->table->watchers) {
        struct watcher *w = container_of(it, struct watcher, item);
        if (str_empty(w->id) || str_equal(w->id, a->id))
            send_to(w, type, m);
    }
}

void attached_watchers_close(struct attached_table *t)
{
    while (!list_empty(&t->watchers))
        watcher_end(container_of(t->watchers.next, struct watcher, item), ERR_UNAVAILABLE,
                    "podd is stopping");
}

/* ---- Calls -------------------------------------------------------------------------------------
 */

/* The container that probes may be attached to; NULL with *e set. */
static const struct container *find_target(struct attached_table *t, const char *id, bool clears,
                                           struct err *e)
{
    const struct container *c = container_find(t->node->config.pods, id, e);

    if (!c)
        return NULL;
    if (str_equal(c->sandbox->origin, NODE_ORIGIN)) {
        err_set(e, ERR_FAILED_PRECONDITION,
                "container %.12s belongs to a declared pod, whose manifest says how it is probed",
                c->id);
        return NULL;
    }
    if (!clears && c->state != CONTAINER_RUNNING) {
        err_set(e, ERR_FAILED_PRECONDITION, "container %.12s is not running", c->id);
        return NULL;
    }
    return c;
}

/* A copy of what was asked that lives as long as the probing. */
static Podd__V1__ProbedContainer *message_of(const Podd__V1__SetProbesRequest *request,
                                             const char *id)
{
    Podd__V1__ProbedContainer m = PODD__V1__PROBED_CONTAINER__INIT;

    m.container_id = (char *)id;
    m.probes = request->probes;
    m.n_probes = request->n_probes;
    size_t len = podd__v1__probed_container__get_packed_size(&m);
    _cleanup_free_ uint8_t *packed = xmalloc(len + 1);
    podd__v1__probed_container__pack(&m, packed);
    return podd__v1__probed_container__unpack(NULL, len, packed);
}

void attached_set(struct attached_table *t, struct rpc_call *call,
                  const Podd__V1__SetProbesRequest *request)
{
    Podd__V1__SetProbesResponse response = PODD__V1__SET_PROBES_RESPONSE__INIT;
    bool clears = request->n_probes == 0;
    _cleanup_err_ struct err e = ERR_INIT;
    const struct container *c = find_target(t, request->container_id, clears, &e);
    struct attached *old = c ? attached_find(t, c->id) : NULL;

    if (c && attached_record_has_call(t, c->id))
        err_set(&e, ERR_ABORTED, "the probes of container %.12s are being set; try again", c->id);
    struct attached *a = e.code == ERR_OK && !clears
                             ? attached_new(t, c->id, message_of(request, c->id), false, &e)
                             : NULL;
    if (e.code != ERR_OK) {
        rpc_fail(call, &e);
    } else if (a) {
        if (old)
            attached_free(old);
        attached_tell(a, old ? PODD__V1__WATCH_PROBES_RESPONSE__TYPE__MODIFIED
                             : PODD__V1__WATCH_PROBES_RESPONSE__TYPE__ADDED);
        attached_record_sync(t, a->id, call);
    } else if (old) {
        attached_drop(old, call);
    } else {
        response.container_id = c->id;
        rpc_reply(call, &response.base);
    }
}

void attached_list(struct attached_table *t, struct rpc_call *call,
                   const Podd__V1__ListProbesRequest *request)
{
    Podd__V1__ListProbesResponse response = PODD__V1__LIST_PROBES_RESPONSE__INIT;

    list_for_each (it, &t->all) {
        struct attached *a = container_of(it, struct attached, item);
        if (!str_empty(request->container_id) && !str_equal(request->container_id, a->id))
            continue;
        Podd__V1__ProbedContainer **slot =
            array_push(&response.containers, &response.n_containers, sizeof(*slot));
        *slot = attached_refresh(a);
    }
    rpc_reply(call, &response.base);
    free(response.containers);
}

static void on_watcher_gone(void *arg)
{
    watcher_end(arg, ERR_CANCELLED, "the watcher has gone");
}

void attached_watch(struct attached_table *t, struct rpc_call *call,
                    const Podd__V1__WatchProbesRequest *request)
{
    struct watcher *w = xnew(struct watcher);

    w->call = call;
    w->id = xstrdup(request->container_id);
    list_append(&t->watchers, &w->item);
    rpc_on_cancel(call, on_watcher_gone, w);
    list_for_each (it, &t->all) {
        struct attached *a = container_of(it, struct attached, item);
        if ((str_empty(w->id) || str_equal(w->id, a->id)) &&
            !send_to(w, PODD__V1__WATCH_PROBES_RESPONSE__TYPE__ADDED, attached_refresh(a)))
            return;
    }
    send_to(w, PODD__V1__WATCH_PROBES_RESPONSE__TYPE__BOOKMARK, NULL);
}
