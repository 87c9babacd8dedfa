/*
 * dial.c - connects a socket that was made inside the pod's network namespace.
 *
 * It will be closed with a reset, so that no port lingers in TIME_WAIT. A host given by name is
 * looked up on a worker thread; the address of a pod never is.
 */
#include "dial.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

struct dial {
    struct loop *loop;
    int netns, fd;
    char *host;
    uint16_t port;
    struct io *io;
    struct timer *soon; /* tells a verdict that was reached at once */
    enum probe_result verdict;
    char *message;
    struct lookup *lookup; /* under way; outlives a cancelled dial */
    dial_fn *fn;
    void *arg;
};

struct lookup {
    struct dial *dial; /* NULL: nobody waits any more */
    char *host;
    struct sockaddr_storage address;
    socklen_t length;
    int result; /* of getaddrinfo(3) */
};

void dial_cancel(struct dial *d)
{
    if (d->lookup)
        d->lookup->dial = NULL;
    io_free(d->io);
    timer_free(d->soon);
    fd_close(d->fd);
    free(d->host);
    free(d->message);
    free(d);
}

static void dial_finish(struct dial *d)
{
    _cleanup_free_ char *message = take_ptr(d->message);
    int fd = message ? -1 : take_fd(&d->fd);
    enum probe_result verdict = d->verdict;
    dial_fn *fn = d->fn;
    void *arg = d->arg;

    dial_cancel(d);
    fn(arg, fd, verdict, message);
}

static void on_soon(void *arg)
{
    dial_finish(arg);
}

static void fail_soon(struct dial *d, enum probe_result verdict, char *message_take)
{
    d->verdict = verdict;
    d->message = message_take;
    d->soon = timer_new(d->loop, on_soon, d);
    timer_start(d->soon, 0);
}

static char *refused_message(const struct dial *d, int error)
{
    return xasprintf("dial tcp %s:%u: %s", d->host, d->port, strerror(error));
}

static void on_connected(void *arg, unsigned events)
{
    struct dial *d = arg;
    int error = 0;
    socklen_t len = sizeof(error);

    if (getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    io_free(d->io);
    d->io = NULL;
    if (error) {
        d->verdict = PROBE_FAILURE;
        d->message = refused_message(d, error);
    }
    dial_finish(d);
}

static void connect_to(struct dial *d, const struct sockaddr_storage *address, socklen_t length)
{
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    _cleanup_err_ struct err e = ERR_INIT;

    d->fd = net_socket(d->netns, address->ss_family, SOCK_STREAM, 0, &e);
    if (d->fd < 0) {
        fail_soon(d, PROBE_UNKNOWN, xstrdup(err_text(&e)));
        return;
    }
    setsockopt(d->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    if (connect(d->fd, (const struct sockaddr *)address, length) < 0 && errno != EINPROGRESS)
        fail_soon(d, PROBE_FAILURE, refused_message(d, errno));
    else
        d->io = io_new(d->loop, d->fd, IO_WRITE, on_connected, d);
}

static bool parse_address(const char *text, uint16_t port, struct sockaddr_storage *ret,
                          socklen_t *ret_length)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;

    memset(ret, 0, sizeof(*ret));
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        *ret_length = sizeof(*v4);
        return true;
    }
    if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        *ret_length = sizeof(*v6);
        return true;
    }
    return false;
}

/* ---- Names
 * ---------------------------------------------------------------------------------------- */

static void lookup_work(void *arg)
{
    struct lookup *l = arg;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;

    l->result = getaddrinfo(l->host, NULL, &hints, &found);
    if (l->result == 0) {
        memcpy(&l->address, found->ai_addr, found->ai_addrlen);
        l->length = found->ai_addrlen;
        freeaddrinfo(found);
    }
}

static void lookup_done(void *arg)
{
    struct lookup *l = arg;
    struct dial *d = l->dial;

    if (d) {
        d->lookup = NULL;
        if (l->result != 0) {
            fail_soon(d, PROBE_FAILURE,
                      xasprintf("look up %s: %s", l->host, gai_strerror(l->result)));
        } else {
            /* The port is at the same place in both families. */
            ((struct sockaddr_in *)&l->address)->sin_port = htons(d->port);
            connect_to(d, &l->address, l->length);
        }
    }
    free(l->host);
    free(l);
}

struct dial *dial_start(struct loop *loop, int netns, const char *host, uint16_t port, dial_fn *fn,
                        void *arg)
{
    struct dial *d = xnew(struct dial);
    struct sockaddr_storage address;
    socklen_t length;

    d->loop = loop;
    d->netns = netns;
    d->fd = -1;
    d->host = xstrdup(host);
    d->port = port;
    d->fn = fn;
    d->arg = arg;
    if (parse_address(host, port, &address, &length)) {
        connect_to(d, &address, length);
        return d;
    }
    d->lookup = xnew(struct lookup);
    d->lookup->dial = d;
    d->lookup->host = xstrdup(host);
    loop_work(loop, lookup_work, lookup_done, d->lookup);
    return d;
}
