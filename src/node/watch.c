/*
 * watch.c - tells watchers how declared pods change.
 *
 * A pod that was touched is looked at once, soon: if its status as people see it is not the one
 * that was told last (probe counters apart, which change all the time), it gets a new version and
 * every watcher a message. A new watcher first catches up, as fast as it reads, in the order of
 * versions: with all pods, or with what has changed since the version that it names. One that does
 * not keep up with changes afterwards is cut off, and never waited for.
 */
#include "private.h"

struct watch {
    struct list item;
    struct node *node;
    struct rpc_call *call;
    char *namespace_, *name; /* "": all */
    uint64_t since;          /* what was deleted after this is told */
    uint64_t sent;           /* while it catches up: everything up to this version was sent */
    bool resumes;            /* it knows the pods up to `since` */
    bool behind;             /* it catches up */
};

static void watch_free(struct watch *w)
{
    list_remove(&w->item);
    free(w->namespace_);
    free(w->name);
    free(w);
}

static bool is_wanted(const struct watch *w, const char *namespace_, const char *name)
{
    return (str_empty(w->namespace_) || str_equal(w->namespace_, namespace_)) &&
           (str_empty(w->name) || str_equal(w->name, name));
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
        if (w->behind || !is_wanted(w, d->namespace_, d->name))
            continue; /* it will come to that */
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
    if (!d->announced)
        d->added_version = d->version;
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
    deletions_add(d->node->deletions, d);
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

/* The wanted pod whose last change comes next; NULL: none. */
static struct declared *next_pod(const struct watch *w)
{
    struct declared *next = NULL;

    list_for_each (it, &w->node->declared) {
        struct declared *d = container_of(it, struct declared, item);
        if (d->announced && d->version > w->sent && (!next || d->version < next->version) &&
            is_wanted(w, d->namespace_, d->name))
            next = d;
    }
    return next;
}

static const struct deletion_entry *next_deletion(const struct watch *w)
{
    uint64_t after = w->sent > w->since ? w->sent : w->since;
    const struct deletion_entry *entry = deletions_after(w->node->deletions, after);

    while (entry && !is_wanted(w, entry->namespace_, entry->name))
        entry = deletions_after(w->node->deletions, entry->version);
    return entry;
}

static bool send_pod(struct watch *w, struct declared *d)
{
    Podd__V1__Pod *pod = declared_to_message(d, true);
    bool known = w->resumes && d->added_version <= w->since;
    bool taken = send_change(w,
                             known ? PODD__V1__WATCH_PODS_RESPONSE__TYPE__MODIFIED
                                   : PODD__V1__WATCH_PODS_RESPONSE__TYPE__ADDED,
                             pod);

    podd__v1__pod__free_unpacked(pod, NULL);
    return taken;
}

/* Sends what the watcher lacks, until it has enough for now. */
static void catch_up(void *arg)
{
    struct watch *w = arg;

    for (;;) {
        struct declared *d = next_pod(w);
        const struct deletion_entry *deleted = next_deletion(w);
        if (!d && !deleted)
            break;
        bool deletion = deleted && (!d || deleted->version < d->version);
        uint64_t version = deletion ? deleted->version : d->version;
        if (!(deletion ? send_change(w, PODD__V1__WATCH_PODS_RESPONSE__TYPE__DELETED, deleted->pod)
                       : send_pod(w, d))) {
            rpc_on_writable(w->call, catch_up, w);
            return;
        }
        w->sent = version;
    }
    w->behind = false;
    if (!send_change(w, PODD__V1__WATCH_PODS_RESPONSE__TYPE__BOOKMARK, NULL))
        cut_off(w);
}

void watch_start(struct node *n, struct rpc_call *call, const Podd__V1__WatchPodsRequest *request)
{
    uint64_t version = request->resource_version;

    if (version && (version < deletions_floor(n->deletions) || version > n->version)) {
        call_fail(call, ERR_OUT_OF_RANGE,
                  "what has changed since resource_version %llu is not known any more; watch again "
                  "without one, which begins with all pods",
                  (unsigned long long)version);
        return;
    }
    struct watch *w = xnew(struct watch);
    w->node = n;
    w->call = call;
    w->namespace_ = xstrdup(request->namespace_);
    w->name = xstrdup(request->name);
    w->resumes = version != 0;
    w->since = version ? version : n->version;
    w->sent = version;
    w->behind = true;
    list_append(&n->watches, &w->item);
    rpc_on_cancel(call, on_gone, w);
    catch_up(w);
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
