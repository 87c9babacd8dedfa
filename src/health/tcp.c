/*
 * tcp.c - the TCP probe: a connection that comes about is success.
 */
#include "dial.h"

static void on_dialled(void *arg, int fd_take, enum probe_result verdict, const char *message)
{
    _cleanup_close_ int fd = fd_take;
    struct probe_attempt *a = arg;

    a->state = NULL; /* the dial is over: nothing to cancel */
    if (fd < 0)
        attempt_finish(a, verdict, "%s", message);
    else
        attempt_finish(a, PROBE_SUCCESS, "connected to %s:%u", a->host, a->spec->port);
}

static void tcp_start(struct probe_attempt *a)
{
    a->state = dial_start(a->health->loop, a->netns, a->host, a->spec->port, on_dialled, a);
}

static void tcp_cancel(struct probe_attempt *a)
{
    dial_cancel(a->state);
}

const struct probe_way probe_way_tcp = {tcp_start, tcp_cancel};
