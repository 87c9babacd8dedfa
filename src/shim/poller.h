/*
 * poller.h - epoll(7) and deadlines: the event loop of podd-shim.
 */
#ifndef SHIM_POLLER_H
#define SHIM_POLLER_H

#include <podd/base.h>
#include <sys/epoll.h>

/* A borrowed fd that is watched; member of the object that it belongs to. */
struct watch {
    int fd; /* -1: not watched */
    uint32_t events;
    void (*fn)(struct watch *w, uint32_t events);
};
#define WATCH_NULL                                                                                 \
    {                                                                                              \
        .fd = -1                                                                                   \
    }

/* Calls fn once, unless stopped; member of the object that it belongs to. */
struct deadline {
    struct list link; /* in poller.deadlines while running */
    int64_t at;       /* CLOCK_MONOTONIC */
    void (*fn)(struct deadline *d);
};

struct poller {
    int epfd;
    struct list deadlines; /* in no order: there are few */
};

int poller_init(struct poller *p); /* 0 or -errno */
void poller_close(struct poller *p);
/* Waits for the next event or deadline and calls its owner, who may remove and free what it wants.
 * 0 or -errno. */
int poller_run(struct poller *p);

/* Level-triggered; EPOLLHUP and EPOLLERR always come. 0 or -errno. */
int watch_add(struct poller *p, struct watch *w, int fd, uint32_t events,
              void (*fn)(struct watch *w, uint32_t events));
void watch_set(struct poller *p, struct watch *w, uint32_t events);
/* Before the fd is closed. Twice is harmless. */
void watch_remove(struct poller *p, struct watch *w);

void deadline_init(struct deadline *d, void (*fn)(struct deadline *d));
void deadline_start(struct poller *p, struct deadline *d, int64_t delay_ms);
bool deadline_is_running(const struct deadline *d);
void deadline_stop(struct deadline *d);

#endif
