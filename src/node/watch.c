/*
 * watch.c - tells watchers how declared pods change.
 *
 * A pod that was touched is looked at once, soon: if its status as people see it is not the one
 * that was told last (probe counters apart, which change all the time), it gets a new version and
 * every watcher a message. A new watcher first gets all pods, as fast as it reads them; one that
 * does not keep up with changes is cut off, and never waited for.
 */
#include "private.h"

struct watch {
    struct list item;
    struct node *node;
    struct rpc_call *call;
    char *namespace_, *name; /* "": all */
    uint64_t sent_order;     /* of the pods of now, those up to here were sent */
    bool listing;
};

static void watch_free(struct watch *w)
{
    list_remove(&w->item);
    free(w->namespace_);
    free(w->name);
    free(w);
}

static bool is_wanted(const struct watch *w, const struct declared *d)
{
    return (str_empty(w->namespace_) || str_equal(w->namespace_, d->namespace_)) &&
           (str_empty(w->name) || str_equal(w->name, d->name));
}

static void cut_off(struct watch *w)
{
    struct rpc_call *call = w->call;

    watch_free(w);
    call_fail(call, ERR_RESOURCE_EXHAUSTED,
              "this watch reads too slowly and was cut off; watch again");
}

static bool send_change(struct watch *w, Podd__V1__WatchPodsResponse__Type type, Podd__V1__Pod *pod)
{
    Podd__V1__WatchPodsResponse message = PODD__V1__WATCH_PODS_RESPONSE__INIT;

    message.type = type;
    message.pod = pod;
    message.resource_version = pod ? pod->resource_version : w->node->version;
    return rpc_send(w->call, &message.base);
}

/* ---- Changes -----------------------------------------------------------------------------------
 */

static void tell_all(struct declared *d, Podd__V1__WatchPodsResponse__Type type)
{
    struct node *n = d->node;
    Podd__V1__Pod *pod = NULL;

    list_for_each_safe (it, &n->watches) {
        struct watch *w = container_of(it, struct watch, item);
        if (!is_wanted(w, d) || (w->listing && d->order > w->sent_order))
            continue; /* it will come with the list */
        if (!pod)
            pod = declared_to_message(d, true);
        if (!send_change(w, type, pod))
            cut_off(w);
    }
    if (pod)
        podd__v1__pod__free_unpacked(pod, NULL);
}

/* Remembers how the pod looks; false when it looks as before. */
static bool note_change(struct declared *d)
{
    Podd__V1__Pod *pod = declared_to_message(d, false);

    pod->resource_version = 0;
    size_t len = podd__v1__pod__get_packed_size(pod);
    uint8_t *packed = xmalloc(len);
    podd__v1__pod__pack(pod, packed);
    podd__v1__pod__free_unpacked(pod, NULL);
    bool changed = len != d->told_len || memcmp(packed, d->told, len) != 0;
    free(d->told);
    d->told = packed;
    d->told_len = len;
    return changed;
}

void watch_flush(struct declared *d)
{
    if (!d->touched || !declared_is_current(d) || d->gone)
        return;
    d->touched = false;
    if (!note_change(d))
        return;
    d->version = ++d->node->version;
    tell_all(d, d->announced ? PODD__V1__WATCH_PODS_RESPONSE__TYPE__MODIFIED
                             : PODD__V1__WATCH_PODS_RESPONSE__TYPE__ADDED);
    d->announced = true;
}

void declared_touch(struct declared *d)
{
    d->touched = true;
    declared_kick(d);
}

void watch_deleted(struct declared *d)
{
    if (!d->announced)
        return;
    d->version = ++d->node->version;
    d->announced = false;
    tell_all(d, PODD__V1__WATCH_PODS_RESPONSE__TYPE__DELETED);
}

/* ---- Watching ----------------------------------------------------------------------------------
 */

static void on_gone(void *arg)
{
    struct watch *w = arg;
    struct rpc_call *call = w->call;

    watch_free(w);
    call_fail(call, ERR_CANCELLED, "the watcher has gone");
}

/* Sends what is left of the list, until the reader has enough for now. */
static void list_more(void *arg)
{
    struct watch *w = arg;

    list_for_each (it, &w->node->declared) {
        struct declared *d = container_of(it, struct declared, item);
        if (!d->announced || d->order <= w->sent_order || !is_wanted(w, d))
            continue;
        Podd__V1__Pod *pod = declared_to_message(d, true);
        bool taken = send_change(w, PODD__V1__WATCH_PODS_RESPONSE__TYPE__ADDED, pod);
        podd__v1__pod__free_unpacked(pod, NULL);
        if (!taken) {
            rpc_on_writable(w->call, list_more, w);
            return;
        }
        w->sent_order = d->order;
    }
    w->listing = false;
    if (!send_change(w, PODD__V1__WATCH_PODS_RESPONSE__TYPE__BOOKMARK, NULL))
        cut_off(w);
}

void watch_start(struct node *n, struct rpc_call *call, const Podd__V1__WatchPodsRequest *request)
{
    struct watch *w = xnew(struct watch);

    w->node = n;
    w->call = call;
    w->namespace_ = xstrdup(request->namespace_);
    w->name = xstrdup(request->name);
    w->listing = true;
    list_append(&n->watches, &w->item);
    rpc_on_cancel(call, on_gone, w);
    list_more(w);
}

void watches_close(struct node *n)
{
    while (!list_empty(&n->watches)) {
        struct watch *w = container_of(n->watches.next, struct watch, item);
        struct rpc_call *call = w->call;
        watch_free(w);
        call_fail(call, ERR_UNAVAILABLE, "podd is stopping");
    }
}
