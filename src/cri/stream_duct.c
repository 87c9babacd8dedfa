/*
 * stream_duct.c - podd's side of pipes, terminals and sockets.
 *
 * Reading and writing end each for itself; when both have, the descriptor is closed. A turn of the
 * loop reads one buffer, so that one busy stream does not keep the others waiting.
 */
#include <sys/socket.h>
#include <sys/stat.h>

#include "stream_duct.h"

enum { READ_SIZE = 32 << 10 };

static void on_event(void *arg, unsigned events);

static void watch(struct duct *d)
{
    unsigned events = 0;

    if (d->reading && !d->held)
        events |= IO_READ;
    if (d->writing && duct_waiting(d) > 0)
        events |= IO_WRITE;
    io_set(d->io, events);
}

void duct_open(struct duct *d, struct loop *loop, int fd_take, unsigned directions,
               const struct duct_events *events, void *arg)
{
    struct stat st;

    *d = (struct duct){
        .loop = loop,
        .fd = fd_take,
        .events = events,
        .arg = arg,
        .reading = directions & DUCT_READ,
        .writing = directions & DUCT_WRITE,
        .is_socket = fstat(fd_take, &st) == 0 && S_ISSOCK(st.st_mode),
    };
    d->io = io_new(loop, fd_take, 0, on_event, d);
    watch(d);
}

void duct_close(struct duct *d)
{
    io_free(d->io);
    fd_close(d->fd);
    strbuf_free(&d->data);
    *d = DUCT_NULL;
}

void duct_hold(struct duct *d, bool held)
{
    if (d->fd < 0 || d->held == held)
        return;
    d->held = held;
    watch(d);
}

bool duct_is_writable(const struct duct *d)
{
    return d->fd >= 0 && d->writing && !d->write_ending;
}

bool duct_is_readable(const struct duct *d)
{
    return d->fd >= 0 && d->reading;
}

size_t duct_waiting(const struct duct *d)
{
    return d->data.len - d->done;
}

/* ---- Writing -------------------------------------------------------------------------------- */

static void stop_writing(struct duct *d, bool broken)
{
    d->writing = false;
    strbuf_free(&d->data);
    d->done = 0;
    if (!d->reading)
        duct_close(d);
    else if (!broken && d->is_socket)
        (void)shutdown(d->fd, SHUT_WR);
}

static ssize_t write_some(struct duct *d, const void *data, size_t len)
{
    return d->is_socket ? send(d->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT)
                        : write(d->fd, data, len);
}

void duct_write(struct duct *d, const void *data, size_t len)
{
    if (!duct_is_writable(d))
        return;
    if (duct_waiting(d) == 0) {
        ssize_t n = write_some(d, data, len);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            stop_writing(d, true);
            return;
        }
        n = n < 0 ? 0 : n;
        data = (const uint8_t *)data + n;
        len -= (size_t)n;
    }
    if (len == 0)
        return;
    strbuf_add(&d->data, data, len);
    watch(d);
}

void duct_write_end(struct duct *d)
{
    if (!duct_is_writable(d))
        return;
    d->write_ending = true;
    if (duct_waiting(d) == 0)
        stop_writing(d, false);
}

static void write_waiting(struct duct *d)
{
    ssize_t n = write_some(d, d->data.data + d->done, duct_waiting(d));

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    d->done += n < 0 ? 0 : (size_t)n;
    if (n < 0 || duct_waiting(d) == 0) {
        strbuf_free(&d->data);
        d->done = 0;
        if (n < 0 || d->write_ending)
            stop_writing(d, n < 0);
    } else if (d->done >= READ_SIZE) {
        memmove(d->data.data, d->data.data + d->done, duct_waiting(d));
        d->data.len -= d->done;
        d->done = 0;
    }
    if (d->fd >= 0)
        watch(d);
}

/* ---- Reading -------------------------------------------------------------------------------- */

static void read_some(struct duct *d)
{
    static uint8_t buffer[READ_SIZE];
    ssize_t n = read(d->fd, buffer, sizeof(buffer));

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0) {
        d->events->on_data(d->arg, d, buffer, (size_t)n);
        return;
    }
    /* EIO is how a terminal says that nobody has its other side open. */
    bool broken = n < 0 && errno != EIO;
    const struct duct_events *events = d->events;
    void *arg = d->arg;
    d->reading = false;
    if (!d->writing)
        duct_close(d);
    else
        watch(d);
    events->on_end(arg, d, broken);
}

static void on_event(void *arg, unsigned events)
{
    struct duct *d = arg;

    if ((events & IO_WRITE) && d->writing && duct_waiting(d) > 0) {
        const struct duct_events *told = d->events;
        void *owner = d->arg;
        write_waiting(d);
        told->on_taken(owner, d);
        return;
    }
    if ((events & IO_READ) && d->reading)
        read_some(d);
}
