/*
 * poller.c - the event loop of podd-shim.
 *
 * One event per epoll_wait(2): a callback may free any watch, and with no further events in hand
 * there can be no stale pointer. It also is fair: epoll moves a level-triggered fd behind the
 * others that are ready. The extra system call costs little beside what an event does here.
 */
#include <limits.h>

#include "poller.h"

int poller_init(struct poller *p)
{
    list_init(&p->deadlines);
    p->epfd = epoll_create1(EPOLL_CLOEXEC);
    return p->epfd < 0 ? -errno : 0;
}

void poller_close(struct poller *p)
{
    fd_close(take_fd(&p->epfd));
}

static struct deadline *first_deadline(struct poller *p)
{
    struct deadline *first = NULL;

    list_for_each (it, &p->deadlines) {
        struct deadline *d = container_of(it, struct deadline, link);
        if (!first || d->at < first->at)
            first = d;
    }
    return first;
}

/* Milliseconds to wait, rounded up, so that it is due when the wait ends. */
static int timeout_of(const struct deadline *d, int64_t now)
{
    if (!d)
        return -1;
    if (d->at <= now)
        return 0;
    int64_t ms = (d->at - now + NS_PER_MS - 1) / NS_PER_MS;
    return ms > INT_MAX ? INT_MAX : (int)ms;
}

int poller_run(struct poller *p)
{
    struct deadline *d = first_deadline(p);
    struct epoll_event event;

    if (d && d->at <= time_mono_ns()) {
        deadline_stop(d);
        d->fn(d);
        return 0;
    }
    int n = epoll_wait(p->epfd, &event, 1, timeout_of(d, d ? time_mono_ns() : 0));
    if (n < 0)
        return errno == EINTR ? 0 : -errno;
    if (n > 0) {
        struct watch *w = event.data.ptr;
        w->fn(w, event.events);
    }
    return 0;
}

int watch_add(struct poller *p, struct watch *w, int fd, uint32_t events,
              void (*fn)(struct watch *w, uint32_t events))
{
    struct epoll_event event = {.events = events, .data.ptr = w};

    if (epoll_ctl(p->epfd, EPOLL_CTL_ADD, fd, &event) < 0)
        return -errno;
    *w = (struct watch){.fd = fd, .events = events, .fn = fn};
    return 0;
}

void watch_set(struct poller *p, struct watch *w, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = w};

    if (w->fd < 0 || w->events == events)
        return;
    w->events = events;
    epoll_ctl(p->epfd, EPOLL_CTL_MOD, w->fd, &event); /* needs no memory: cannot fail */
}

void watch_remove(struct poller *p, struct watch *w)
{
    if (w->fd < 0)
        return;
    epoll_ctl(p->epfd, EPOLL_CTL_DEL, w->fd, NULL);
    w->fd = -1;
}

void deadline_init(struct deadline *d, void (*fn)(struct deadline *d))
{
    list_init(&d->link);
    d->fn = fn;
}

void deadline_start(struct poller *p, struct deadline *d, int64_t delay_ms)
{
    d->at = time_mono_ns() + delay_ms * NS_PER_MS;
    list_remove(&d->link);
    list_append(&p->deadlines, &d->link);
}

bool deadline_is_running(const struct deadline *d)
{
    return !list_empty(&d->link);
}

void deadline_stop(struct deadline *d)
{
    list_remove(&d->link);
}
