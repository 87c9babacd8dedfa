/*
 * stream_link.c - a client's connection.
 *
 *   open --link_finish()--> flushing --all sent: shutdown()--> lingering --EOF or LINGER_MS-->
 * freed
 *
 * A socket that is closed with unread bytes in it makes the kernel send a reset, which may destroy
 * what the client has not read yet. Hence the two last states, in which input is read and thrown
 * away.
 *
 * What cannot be sent at once waits in `out`. A broken connection is never told from inside a call
 * of the owner's, but by the timer, so that no owner finds itself freed below its own feet. The one
 * timer also keeps the limits of time; it looks at the clock when it fires instead of being moved
 * with every byte.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "stream_link.h"

enum { READ_SIZE = 64 << 10, LINGER_MS = 2000 };

enum link_state { LINK_OPEN, LINK_FLUSHING, LINK_LINGERING };

struct link {
    struct list siblings;
    struct links *all;
    int fd;
    struct io *io;
    struct timer *timer;
    const struct link_events *events;
    void *arg;
    enum link_state state;
    bool paused, was_full, broken, read_ended;
    struct strbuf out;
    size_t sent;              /* of out */
    int64_t active, progress; /* when bytes last moved; when waiting bytes last did */
    int64_t linger_until;
};

static void on_socket(void *arg, unsigned events);
static void on_timer(void *arg);

static size_t waiting(const struct link *l)
{
    return l->out.len - l->sent;
}

static void watch(struct link *l)
{
    unsigned events = 0;

    if (!l->read_ended && !l->paused && waiting(l) < LINK_MAX)
        events |= IO_READ;
    else if (!l->read_ended)
        events |= IO_HANGUP; /* who leaves is noticed also while nothing is read */
    if (waiting(l) > 0)
        events |= IO_WRITE;
    io_set(l->io, l->broken ? 0 : events);
}

static void wake_at(struct link *l)
{
    int64_t at = l->active + l->all->idle_ms * NS_PER_MS;

    if (waiting(l) > 0 && l->progress + l->all->stall_ms * NS_PER_MS < at)
        at = l->progress + l->all->stall_ms * NS_PER_MS;
    if (l->state == LINK_LINGERING && l->linger_until < at)
        at = l->linger_until;
    int64_t ms = l->broken ? 0 : (at - time_mono_ns()) / NS_PER_MS + 1;
    timer_start(l->timer, ms > 0 ? ms : 0);
}

struct link *link_new(struct links *all, int fd_take, const struct link_events *events, void *arg)
{
    struct link *l = xnew(struct link);
    int on = 1;

    /* Frames are small, and the client waits for each of the first ones. */
    (void)setsockopt(fd_take, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    l->all = all;
    l->fd = fd_take;
    l->active = l->progress = time_mono_ns();
    l->io = io_new(all->loop, fd_take, 0, on_socket, l);
    l->timer = timer_new(all->loop, on_timer, l);
    list_append(&all->all, &l->siblings);
    link_set_owner(l, events, arg);
    watch(l);
    wake_at(l);
    return l;
}

void link_set_owner(struct link *l, const struct link_events *events, void *arg)
{
    l->events = events;
    l->arg = arg;
}

void link_free(struct link *l)
{
    if (!l)
        return;
    list_remove(&l->siblings);
    io_free(l->io);
    timer_free(l->timer);
    fd_close(l->fd);
    strbuf_free(&l->out);
    free(l);
}

static void link_break(struct link *l)
{
    l->broken = true;
    strbuf_free(&l->out);
    l->sent = 0;
    watch(l);
    wake_at(l);
}

/* ---- Sending -------------------------------------------------------------------------------- */

static void keep(struct link *l, const struct iovec *pieces, int count, size_t skip)
{
    for (int i = 0; i < count; i++) {
        size_t n = skip < pieces[i].iov_len ? skip : pieces[i].iov_len;
        strbuf_add(&l->out, (const char *)pieces[i].iov_base + n, pieces[i].iov_len - n);
        skip -= n;
    }
}

void link_sendv(struct link *l, const struct iovec *pieces, int count)
{
    size_t sum = 0;
    ssize_t n = 0;

    if (l->broken || l->state == LINK_LINGERING)
        return;
    for (int i = 0; i < count; i++)
        sum += pieces[i].iov_len;
    if (waiting(l) > 0) {
        keep(l, pieces, count, 0);
        return;
    }
    const struct msghdr message = {.msg_iov = (struct iovec *)pieces, .msg_iovlen = (size_t)count};
    n = sendmsg(l->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        link_break(l);
        return;
    }
    l->active = time_mono_ns();
    n = n < 0 ? 0 : n;
    if ((size_t)n == sum)
        return;
    l->progress = l->active;
    keep(l, pieces, count, (size_t)n);
    watch(l);
    wake_at(l);
}

void link_send(struct link *l, const void *data, size_t len)
{
    link_sendv(l, &(struct iovec){(void *)data, len}, 1);
}

bool link_is_full(struct link *l)
{
    if (waiting(l) < LINK_HIGH)
        return false;
    l->was_full = true;
    return true;
}

/* Sends of what waits. False: the connection is broken. */
static bool flush(struct link *l)
{
    ssize_t n = send(l->fd, l->out.data + l->sent, waiting(l), MSG_NOSIGNAL | MSG_DONTWAIT);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    l->active = l->progress = time_mono_ns();
    l->sent += (size_t)n;
    if (waiting(l) == 0) {
        strbuf_free(&l->out); /* a thousand idle sessions keep no buffers */
        l->sent = 0;
    } else if (l->sent >= LINK_LOW) {
        memmove(l->out.data, l->out.data + l->sent, waiting(l));
        l->out.len -= l->sent;
        l->sent = 0;
    }
    return true;
}

/* ---- Ending --------------------------------------------------------------------------------- */

static void linger(struct link *l)
{
    if (shutdown(l->fd, SHUT_WR) < 0 || l->read_ended) {
        link_free(l);
        return;
    }
    l->state = LINK_LINGERING;
    l->linger_until = time_mono_ns() + LINGER_MS * NS_PER_MS;
    watch(l);
    wake_at(l);
}

void link_finish(struct link *l)
{
    if (l->broken) {
        link_free(l);
        return;
    }
    l->state = LINK_FLUSHING;
    l->events = NULL;
    l->paused = false;
    if (waiting(l) == 0)
        linger(l);
    else
        watch(l);
}

void links_close(struct links *all)
{
    list_for_each_safe (it, &all->all) {
        struct link *l = container_of(it, struct link, siblings);
        if (waiting(l) > 0)
            (void)flush(l);
        link_free(l);
    }
}

/* The client is gone, or to be given up. */
static void gone(struct link *l)
{
    if (l->state == LINK_OPEN)
        l->events->on_gone(l->arg);
    else
        link_free(l);
}

/* ---- What the loop tells -------------------------------------------------------------------- */

static void on_timer(void *arg)
{
    struct link *l = arg;
    int64_t now = time_mono_ns();

    if (l->broken || now - l->active >= l->all->idle_ms * NS_PER_MS ||
        (waiting(l) > 0 && now - l->progress >= l->all->stall_ms * NS_PER_MS) ||
        (l->state == LINK_LINGERING && now >= l->linger_until)) {
        gone(l);
        return;
    }
    wake_at(l);
}

/* True: the owner was told something, and may have freed the link. */
static bool on_may_write(struct link *l)
{
    if (!flush(l)) {
        gone(l);
        return true;
    }
    if (l->state == LINK_FLUSHING && waiting(l) == 0) {
        linger(l);
        return true;
    }
    watch(l);
    if (!l->was_full || waiting(l) > LINK_LOW || l->state != LINK_OPEN)
        return false;
    l->was_full = false;
    l->events->on_writable(l->arg);
    return true;
}

static void on_end(struct link *l, ssize_t n)
{
    if (l->state == LINK_FLUSHING && n == 0) {
        l->read_ended = true; /* it may still read */
        watch(l);
    } else {
        gone(l);
    }
}

static void on_may_read(struct link *l)
{
    static uint8_t buffer[READ_SIZE];
    ssize_t n = recv(l->fd, buffer, sizeof(buffer), MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        on_end(l, n);
        return;
    }
    l->active = time_mono_ns();
    if (l->state == LINK_OPEN)
        l->events->on_data(l->arg, buffer, (size_t)n);
}

static void on_socket(void *arg, unsigned events)
{
    struct link *l = arg;

    /* One thing at a time: what else there is, the next turn of the loop tells. */
    if ((events & IO_WRITE) && waiting(l) > 0 && on_may_write(l))
        return;
    if (events & IO_HANGUP)
        on_end(l, 0);
    else if (events & IO_READ)
        on_may_read(l);
}

void link_pause(struct link *l, bool paused)
{
    if (l->paused == paused)
        return;
    l->paused = paused;
    watch(l);
}
