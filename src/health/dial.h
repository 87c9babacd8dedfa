/*
 * dial.h - a TCP connection from inside a pod, for the probes that need one.
 */
#ifndef HEALTH_DIAL_H
#define HEALTH_DIAL_H

#include "private.h"

/* Called once, never from within dial_start: with a connected socket (the caller's), or -1 and the
 * verdict that follows with its message. */
typedef void dial_fn(void *arg, int fd_take, enum probe_result verdict, const char *message);

struct dial;
struct dial *dial_start(struct loop *loop, int netns, const char *host, uint16_t port, dial_fn *fn,
                        void *arg);
/* fn is not called any more. A dial frees itself before it calls fn, and must not be cancelled
 * afterwards. */
void dial_cancel(struct dial *d);

#endif
