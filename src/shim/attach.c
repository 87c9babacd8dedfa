/*
 * attach.c - clients that listen to a container's output and write to its input.
 *
 * Each direction of each client is a stream socket of its own. Output is sent without waiting; the
 * socket's buffer, made large, is all the delay that a client may have: one whose buffer is full is
 * dropped, which it sees as the end of the stream. So nobody who attaches can hold up the
 * container, and the shim keeps no memory for it.
 *
 * Input is the other way round: the container may be slow. At most one block that it has not taken
 * is kept, and no client's input is read before that is gone.
 */
#include <sys/socket.h>
#include <sys/stat.h>

#include "streams.h"

enum { ATTACHMENTS_MAX = 64, SEND_BUFFER = 1024 * 1024, INPUT_BLOCK = 4096 };

enum direction { ATTACH_STDIN, ATTACH_STDOUT, ATTACH_STDERR, ATTACH_N };

struct attachment {
    struct list link;
    struct watch watch;
    int fd;
    enum direction direction;
    struct streams *io;
};

static void on_client(struct watch *w, uint32_t events);

static void attachment_free(struct attachment *a)
{
    list_remove(&a->link);
    watch_remove(a->io->hub->poller, &a->watch);
    fd_close(a->fd);
    free(a);
}

static void end_direction(struct streams *io, enum direction direction)
{
    list_for_each_safe (it, &io->attachments) {
        struct attachment *a = container_of(it, struct attachment, link);
        if (a->direction == direction)
            attachment_free(a);
    }
}

/* ---- Output --------------------------------------------------------------------------------- */

static enum direction direction_of(enum log_stream stream)
{
    return stream == LOG_STDOUT ? ATTACH_STDOUT : ATTACH_STDERR;
}

void attach_send(struct streams *io, enum log_stream stream, const uint8_t *data, size_t len)
{
    list_for_each_safe (it, &io->attachments) {
        struct attachment *a = container_of(it, struct attachment, link);
        if (a->direction != direction_of(stream))
            continue;
        ssize_t n = send(a->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 || (size_t)n < len)
            attachment_free(a);
    }
}

void attach_end_output(struct streams *io, enum log_stream stream)
{
    end_direction(io, direction_of(stream));
}

/* ---- Input ---------------------------------------------------------------------------------- */

/* While something is pending they are not watched at all: a client that has sent all it wants and
 * is gone must not be noticed before what it sent has been read. */
static void watch_clients(struct streams *io, bool on)
{
    list_for_each_safe (it, &io->attachments) {
        struct attachment *a = container_of(it, struct attachment, link);
        if (a->direction != ATTACH_STDIN)
            continue;
        if (!on)
            watch_remove(io->hub->poller, &a->watch);
        else if (a->watch.fd < 0 &&
                 watch_add(io->hub->poller, &a->watch, a->fd, EPOLLIN, on_client) < 0)
            attachment_free(a);
    }
}

void input_close(struct streams *io)
{
    struct input *in = &io->input;

    watch_remove(io->hub->poller, &in->watch);
    fd_close(take_fd(&in->fd));
    free(take_ptr(in->pending));
    end_direction(io, ATTACH_STDIN);
}

void input_end(struct streams *io)
{
    io->input.ending = true;
    if (!io->input.pending)
        input_close(io);
}

/* 0, or -errno when the container takes no input any more; -EAGAIN: something is left. */
static int write_pending(struct input *in)
{
    while (in->pending_done < in->pending_len) {
        ssize_t n =
            write(in->fd, in->pending + in->pending_done, in->pending_len - in->pending_done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        in->pending_done += (size_t)n;
    }
    free(take_ptr(in->pending));
    return 0;
}

static void continue_input(struct streams *io)
{
    struct input *in = &io->input;
    int r = write_pending(in);

    if (r == -EAGAIN) {
        watch_clients(io, false);
        watch_set(io->hub->poller, &in->watch, EPOLLOUT);
    } else if (r < 0 || in->ending) {
        input_close(io);
    } else {
        watch_set(io->hub->poller, &in->watch, 0);
        watch_clients(io, true);
    }
}

static void on_input(struct watch *w, uint32_t events)
{
    struct streams *io = container_of(w, struct streams, input.watch);

    if (events & (EPOLLERR | EPOLLHUP))
        input_close(io); /* nobody reads it any more */
    else if (io->input.pending)
        continue_input(io);
}

int input_watch(struct streams *io)
{
    return watch_add(io->hub->poller, &io->input.watch, io->input.fd, 0, on_input);
}

/* A client's input ended, or is broken. */
static void client_left(struct attachment *a)
{
    struct streams *io = a->io;

    attachment_free(a);
    if (io->input.once)
        input_end(io);
}

static void on_client_input(struct attachment *a)
{
    struct streams *io = a->io;
    uint8_t block[INPUT_BLOCK];
    ssize_t n = recv(a->fd, block, sizeof(block), MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        client_left(a);
        return;
    }
    io->input.pending = xmemdup(block, (size_t)n);
    io->input.pending_len = (size_t)n;
    io->input.pending_done = 0;
    continue_input(io);
}

/* ---- Attaching ------------------------------------------------------------------------------ */

static void on_client(struct watch *w, uint32_t events)
{
    struct attachment *a = container_of(w, struct attachment, watch);

    if (a->direction == ATTACH_STDIN)
        on_client_input(a);
    else
        attachment_free(a); /* EPOLLHUP, EPOLLERR: it has gone away */
}

static size_t count_attachments(struct streams *io)
{
    size_t n = 0;

    list_for_each (it, &io->attachments)
        n++;
    return n;
}

static bool is_socket(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

static int add_client(struct streams *io, enum direction direction, int fd, struct err *e)
{
    struct attachment *a = xnew(struct attachment);
    int size = SEND_BUFFER;

    /* Over the limit of ordinary users; without the privilege it stays as it was. */
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
    *a = (struct attachment){.watch = WATCH_NULL, .fd = fd, .direction = direction, .io = io};
    bool reads = direction == ATTACH_STDIN;
    int r = 0;
    if (!reads || !io->input.pending)
        r = watch_add(io->hub->poller, &a->watch, fd, reads ? EPOLLIN : 0, on_client);
    if (r < 0) {
        free(a);
        return err_errno(e, r, "watch an attached client");
    }
    list_append(&io->attachments, &a->link);
    return 0;
}

/* Forgets the newest n without closing their descriptors, which the caller keeps. */
static void remove_newest(struct streams *io, size_t n)
{
    while (n-- > 0) {
        struct attachment *a = container_of(io->attachments.prev, struct attachment, link);
        a->fd = -1;
        attachment_free(a);
    }
}

int streams_attach(struct streams *io, const int fds_take[3], struct err *e)
{
    size_t added = 0;

    if (count_attachments(io) + ATTACH_N > ATTACHMENTS_MAX)
        return err_set(e, ERR_RESOURCE_EXHAUSTED, "too many clients are attached");
    for (int i = 0; i < ATTACH_N; i++)
        if (fds_take[i] >= 0 && !is_socket(fds_take[i]))
            return err_set(e, ERR_INVALID_ARGUMENT, "attach takes stream sockets only");
    for (int i = 0; i < ATTACH_N; i++) {
        if (fds_take[i] < 0)
            continue;
        if (add_client(io, (enum direction)i, fds_take[i], e) < 0) {
            remove_newest(io, added);
            return -1;
        }
        added++;
    }
    /* What can never come or go ends at once. */
    if (io->input.fd < 0 || io->input.ending)
        end_direction(io, ATTACH_STDIN);
    for (int i = 0; i < LOG_N_STREAMS; i++)
        if (io->outputs[i].fd < 0)
            attach_end_output(io, (enum log_stream)i);
    return 0;
}
