/*
 * events.c - telling subscribers about changes, in order, after the change is readable.
 *
 * No operation of this room emits from inside a public call: there is always an answer of a shim, a
 * worker or the loop in between. So an event is never told while an earlier one is still being
 * told, and all subscribers see the same order.
 */
#include "private.h"

struct pod_watch {
    struct list link;
    struct pods *pods;
    void (*fn)(void *arg, const struct pod_event *event);
    void *arg;
    bool dead; /* freed while events were being told */
};

struct pod_watch *pod_watch_of(struct list *item)
{
    return container_of(item, struct pod_watch, link);
}

struct pod_watch *pods_watch(struct pods *p, void (*fn)(void *arg, const struct pod_event *event),
                             void *arg)
{
    struct pod_watch *w = xnew(struct pod_watch);

    w->pods = p;
    w->fn = fn;
    w->arg = arg;
    list_append(&p->watches, &w->link);
    return w;
}

static void watch_drop(struct pod_watch *w)
{
    list_remove(&w->link);
    free(w);
}

void pod_watch_free(struct pod_watch *w)
{
    if (!w)
        return;
    if (w->pods->emitting)
        w->dead = true;
    else
        watch_drop(w);
}

void pod_emit(struct pods *p, enum pod_event_type type, const struct sandbox *s,
              const struct container *c)
{
    int64_t now = time_now_ns();

    if (now <= p->last_event_time) /* the clock was set back */
        now = p->last_event_time + 1;
    p->last_event_time = now;
    struct pod_event event = {
        .type = type, .sequence = ++p->sequence, .time = now, .sandbox = s, .container = c};

    p->emitting++;
    list_for_each (it, &p->watches) {
        struct pod_watch *w = pod_watch_of(it);
        if (!w->dead)
            w->fn(w->arg, &event);
    }
    if (--p->emitting > 0)
        return;
    list_for_each_safe (it, &p->watches) {
        struct pod_watch *w = pod_watch_of(it);
        if (w->dead)
            watch_drop(w);
    }
}
