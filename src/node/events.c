/*
 * events.c - what happened to declared pods, for people: a bounded history, oldest first, in which
 * the same thing happening again to the same pod is counted instead of repeated.
 */
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
};

struct events *events_new(uint64_t version)
{
    struct events *ev = xnew(struct events);

    list_init(&ev->history);
    list_init(&ev->followers);
    ev->version = ev->floor = version;
    return ev;
}

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

static bool send_event(struct rpc_call *call, const struct event *event)
{
    Podd__V1__Event message = PODD__V1__EVENT__INIT;

    message.first_time = event->first_time;
    message.last_time = event->last_time;
    message.count = event->count;
    message.resource_version = event->version;
    message.warning = event->warning;
    message.namespace_ = event->namespace_;
    message.pod = event->pod;
    message.container = event->container;
    message.reason = event->reason;
    message.message = event->message;
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

/* ---- Adding ------------------------------------------------------------------------------------
 */

static bool is_same(const struct event *event, const struct declared *d, const char *container,
                    const char *reason, const char *message)
{
    return str_equal(event->uid, d->uid) && str_equal(event->reason, reason) &&
           str_equal(event->container, container) && str_equal(event->message, message);
}

static struct event *find_same(struct events *ev, const struct declared *d, const char *container,
                               const char *reason, const char *message)
{
    for (struct list *it = ev->history.prev; it != &ev->history; it = it->prev) {
        struct event *event = container_of(it, struct event, item);
        if (is_same(event, d, container, reason, message))
            return event;
    }
    return NULL;
}

static struct event *event_new(struct events *ev, const struct declared *d, const char *container,
                               const char *reason, const char *message)
{
    struct event *event = xnew(struct event);

    event->namespace_ = xstrdup(d->namespace_);
    event->pod = xstrdup(d->name);
    event->uid = xstrdup(d->uid);
    event->container = xstrdup(container);
    event->reason = xstrdup(reason);
    event->message = xstrdup(message);
    event->first_time = time_now_ns();
    list_init(&event->item);
    if (++ev->count > EVENTS_MAX) {
        struct event *oldest = container_of(ev->history.next, struct event, item);
        ev->floor = oldest->version;
        event_free(oldest);
        ev->count--;
    }
    return event;
}

void event_add(struct declared *d, const struct member *m, bool warning, const char *reason,
               const char *fmt, ...)
{
    struct events *ev = d->node->events;
    const char *container = m ? m->spec->name : "";
    va_list ap;

    va_start(ap, fmt);
    _cleanup_free_ char *raw = xvasprintf(fmt, ap);
    va_end(ap);
    _cleanup_free_ char *message = text_clean(raw, strlen(raw), MESSAGE_MAX);
    struct event *event = find_same(ev, d, container, reason, message);
    if (!event)
        event = event_new(ev, d, container, reason, message);
    event->warning = warning;
    event->count++;
    event->version = ++ev->version;
    event->last_time = time_now_ns();
    list_remove(&event->item);
    list_append(&ev->history, &event->item);
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
    free(ev);
}
