/*
 * events.c - what happened to declared pods, for people: a bounded history, oldest first, in which
 * the same thing happening again to the same pod is counted instead of repeated.
 *
 * It outlives podd: every event is in <state>/events (event_file.h) before anybody is told of it,
 * so that no reader who goes on after a restart misses one. An event that is counted again is one
 * more record there; when there are twice as many records as the history holds, the file is
 * written anew. A record with a count of 0 says up to which version events were forgotten.
 */
#include "event_file.h"
#include "private.h"
#include "text.h"

#define EVENTS_MAX 2000
#define MESSAGE_MAX 1024

struct event {
    struct list item;
    char *namespace_, *pod, *uid, *container, *reason, *message;
    bool warning;
    int64_t first_time, last_time;
    uint32_t count;
    uint64_t version;
};

struct follower {
    struct list item;
    struct events *events;
    struct rpc_call *call;
    char *namespace_, *pod; /* "": all */
};

struct events {
    struct list history;   /* of struct event, the latest last */
    struct list followers; /* of struct follower */
    size_t count;
    uint64_t version; /* of the last event */
    uint64_t floor;   /* nothing after this version is forgotten */
    struct event_file *file;
};

static void event_free(struct event *event)
{
    list_remove(&event->item);
    free(event->namespace_);
    free(event->pod);
    free(event->uid);
    free(event->container);
    free(event->reason);
    free(event->message);
    free(event);
}

static void follower_free(struct follower *f)
{
    list_remove(&f->item);
    free(f->namespace_);
    free(f->pod);
    free(f);
}

/* ---- Telling -----------------------------------------------------------------------------------
 */

static bool is_wanted(const struct event *event, const char *namespace_, const char *pod)
{
    return (str_empty(namespace_) || str_equal(namespace_, event->namespace_)) &&
           (str_empty(pod) || str_equal(pod, event->pod));
}

/* Strings stay the event's. */
static Podd__V1__Event message_of(const struct event *event)
{
    Podd__V1__Event message = PODD__V1__EVENT__INIT;

    message.first_time = event->first_time;
    message.last_time = event->last_time;
    message.count = event->count;
    message.resource_version = event->version;
    message.warning = event->warning;
    message.namespace_ = event->namespace_;
    message.pod = event->pod;
    message.pod_uid = event->uid;
    message.container = event->container;
    message.reason = event->reason;
    message.message = event->message;
    return message;
}

static bool send_event(struct rpc_call *call, const struct event *event)
{
    Podd__V1__Event message = message_of(event);

    return rpc_send(call, &message.base);
}

static void cut_off(struct follower *f)
{
    struct rpc_call *call = f->call;

    follower_free(f);
    call_fail(call, ERR_RESOURCE_EXHAUSTED,
              "this reader of events is too slow and was cut off; list them again");
}

static void tell_followers(struct events *ev, const struct event *event)
{
    list_for_each_safe (it, &ev->followers) {
        struct follower *f = container_of(it, struct follower, item);
        if (is_wanted(event, f->namespace_, f->pod) && !send_event(f->call, event))
            cut_off(f);
    }
}

/* ---- The history ------------------------------------------------------------------------------
 */

static void forget_oldest(struct events *ev)
{
    struct event *oldest = container_of(ev->history.next, struct event, item);

    ev->floor = oldest->version;
    event_free(oldest);
    ev->count--;
}

/* Not in the history yet. */
static struct event *event_new(const Podd__V1__Event *m)
{
    struct event *event = xnew(struct event);

    event->namespace_ = xstrdup(m->namespace_);
    event->pod = xstrdup(m->pod);
    event->uid = xstrdup(m->pod_uid);
    event->container = xstrdup(m->container);
    event->reason = xstrdup(m->reason);
    event->message = xstrdup(m->message);
    event->first_time = m->first_time;
    list_init(&event->item);
    return event;
}

/* Its latest is the latest of all. */
static void move_to_end(struct events *ev, struct event *event)
{
    if (list_empty(&event->item) && ++ev->count > EVENTS_MAX)
        forget_oldest(ev);
    list_remove(&event->item);
    list_append(&ev->history, &event->item);
}

/* ---- Its file ----------------------------------------------------------------------------------
 */

static void write_anew(struct events *ev)
{
    _cleanup_strbuf_ struct strbuf content = {0};
    Podd__V1__Event forgotten = PODD__V1__EVENT__INIT;

    forgotten.resource_version = ev->floor;
    event_file_add_record(&content, &forgotten);
    list_for_each (it, &ev->history) {
        Podd__V1__Event message = message_of(container_of(it, struct event, item));
        event_file_add_record(&content, &message);
    }
    event_file_replace(ev->file, &content, ev->count + 1);
}

static void keep(struct events *ev, const struct event *event)
{
    Podd__V1__Event message = message_of(event);

    event_file_append(ev->file, &message);
    if (event_file_count(ev->file) > 2 * EVENTS_MAX)
        write_anew(ev);
}

struct loading {
    struct events *events;
    struct map *known; /* what the same event has in common -> struct event */
    bool begun;        /* how far events were forgotten is known */
};

static void load_record(void *arg, const Podd__V1__Event *m)
{
    struct loading *l = arg;
    struct events *ev = l->events;

    if (!m->count || !l->begun) {
        l->begun = true;
        ev->floor = m->count ? m->resource_version - 1 : m->resource_version;
    }
    if (m->resource_version > ev->version)
        ev->version = m->resource_version;
    if (!m->count)
        return;
    _cleanup_free_ char *key =
        xasprintf("%s/%s/%s/%s", m->pod_uid, m->container, m->reason, m->message);
    struct event *event = map_get(l->known, key);
    if (!event) {
        event = event_new(m);
        map_put(l->known, key, event);
    }
    event->warning = m->warning;
    event->count = m->count;
    event->version = m->resource_version;
    event->last_time = m->last_time;
    /* Bounded when all is read: until then the map must not point to what is forgotten. */
    if (list_empty(&event->item))
        ev->count++;
    list_remove(&event->item);
    list_append(&ev->history, &event->item);
}

struct events *events_open(const char *path, uint64_t version)
{
    struct events *ev = xnew(struct events);
    struct loading loading = {.events = ev, .known = map_new()};

    list_init(&ev->history);
    list_init(&ev->followers);
    ev->floor = version;
    ev->file = event_file_open(path);
    event_file_read(ev->file, load_record, &loading);
    map_free(loading.known);
    while (ev->count > EVENTS_MAX)
        forget_oldest(ev);
    if (ev->version < version)
        ev->version = version;
    write_anew(ev); /* also ends what a killed podd has left half written */
    return ev;
}

/* ---- Adding ------------------------------------------------------------------------------------
 */

static struct event *find_same(struct events *ev, const Podd__V1__Event *m)
{
    for (struct list *it = ev->history.prev; it != &ev->history; it = it->prev) {
        struct event *event = container_of(it, struct event, item);
        if (str_equal(event->uid, m->pod_uid) && str_equal(event->reason, m->reason) &&
            str_equal(event->container, m->container) && str_equal(event->message, m->message))
            return event;
    }
    return NULL;
}

void event_add(struct declared *d, const struct member *m, bool warning, const char *reason,
               const char *fmt, ...)
{
    struct events *ev = d->node->events;
    Podd__V1__Event like = PODD__V1__EVENT__INIT;
    va_list ap;

    va_start(ap, fmt);
    _cleanup_free_ char *raw = xvasprintf(fmt, ap);
    va_end(ap);
    _cleanup_free_ char *message = text_clean(raw, strlen(raw), MESSAGE_MAX);
    like.namespace_ = d->namespace_;
    like.pod = d->name;
    like.pod_uid = d->uid;
    like.container = m ? m->spec->name : (char *)"";
    like.reason = (char *)reason;
    like.message = message;
    like.first_time = time_now_ns();
    struct event *event = find_same(ev, &like);
    if (!event)
        event = event_new(&like);
    event->warning = warning;
    event->count++;
    event->version = ++ev->version;
    event->last_time = time_now_ns();
    move_to_end(ev, event);
    keep(ev, event);
    tell_followers(ev, event);
}

/* ---- Listing -----------------------------------------------------------------------------------
 */

static void on_gone(void *arg)
{
    struct follower *f = arg;
    struct rpc_call *call = f->call;

    follower_free(f);
    call_fail(call, ERR_CANCELLED, "the reader has gone");
}

void events_list(struct node *n, struct rpc_call *call, const Podd__V1__ListEventsRequest *request)
{
    struct events *ev = n->events;
    uint64_t version = request->resource_version;

    if (version && (version < ev->floor || version > ev->version)) {
        call_fail(call, ERR_OUT_OF_RANGE,
                  "not all events since resource_version %llu are known any more; list them all",
                  (unsigned long long)version);
        return;
    }
    list_for_each (it, &ev->history) {
        const struct event *event = container_of(it, struct event, item);
        if (event->version > version && is_wanted(event, request->namespace_, request->pod) &&
            !send_event(call, event)) {
            call_fail(call, ERR_RESOURCE_EXHAUSTED, "this reader of events is too slow");
            return;
        }
    }
    if (!request->follow) {
        rpc_finish(call);
        return;
    }
    struct follower *f = xnew(struct follower);
    f->events = ev;
    f->call = call;
    f->namespace_ = xstrdup(request->namespace_);
    f->pod = xstrdup(request->pod);
    list_append(&ev->followers, &f->item);
    rpc_on_cancel(call, on_gone, f);
}

void events_free(struct events *ev)
{
    while (!list_empty(&ev->followers)) {
        struct follower *f = container_of(ev->followers.next, struct follower, item);
        struct rpc_call *call = f->call;
        follower_free(f);
        call_fail(call, ERR_UNAVAILABLE, "podd is stopping");
    }
    while (!list_empty(&ev->history))
        event_free(container_of(ev->history.next, struct event, item));
    event_file_close(ev->file);
    free(ev);
}
