/*
 * streams.c - the output of one container, from start to end.
 *
 * Without a terminal there is a pipe per stream, 1 MiB where the kernel allows it, so that a burst
 * does not wait for us. With one there is its master, logged as stdout. The shim then holds the
 * terminal's other side as well: a process that closes all its descriptors for a moment would
 * otherwise hang up the terminal for good.
 *
 * Each wake-up reads one buffer from one stream, so containers and streams take turns. A stream
 * ends at end of file; for a terminal that is EIO.
 */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "streams.h"

enum {
    PIPE_SIZE = 1024 * 1024,
    TRIM_DELAY_MS = 1000,
    TRIM_MIN = 16 * 1024,        /* a buffer that was used less is left as it is */
    DRAIN_MAX = 4 * 1024 * 1024, /* what is read at most from a stream that does not end */
};

/* ---- The hub -------------------------------------------------------------------------------- */

static void on_trim(struct deadline *d)
{
    struct streams_hub *hub = container_of(d, struct streams_hub, trim);

    log_buffer_trim(&hub->buffer);
}

int streams_hub_init(struct streams_hub *hub, struct poller *poller)
{
    hub->poller = poller;
    deadline_init(&hub->trim, on_trim);
    return log_buffer_init(&hub->buffer);
}

/* ---- Reading -------------------------------------------------------------------------------- */

static void output_end(struct output *o)
{
    struct streams *io = o->io;

    watch_remove(io->hub->poller, &o->watch);
    fd_close(take_fd(&o->fd));
    logger_finish(&io->logger, &io->hub->buffer, o->stream);
    attach_end_output(io, o->stream);
}

/* One read. Bytes read, 0 when the stream has ended, -EAGAIN when there is nothing now. */
static ssize_t output_read(struct output *o)
{
    struct streams *io = o->io;
    struct streams_hub *hub = io->hub;
    ssize_t n;

    do
        n = read(o->fd, hub->buffer.in, LOG_READ_SIZE);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        return -EAGAIN;
    if (n <= 0) {
        output_end(o);
        return 0;
    }
    logger_feed(&io->logger, &hub->buffer, o->stream, (size_t)n);
    attach_send(io, o->stream, hub->buffer.in, (size_t)n);
    if (hub->buffer.used_max >= TRIM_MIN && !deadline_is_running(&hub->trim))
        deadline_start(hub->poller, &hub->trim, TRIM_DELAY_MS);
    return n;
}

static void on_output(struct watch *w, uint32_t events)
{
    struct output *o = container_of(w, struct output, watch);
    struct streams *io = o->io;

    if (output_read(o) == 0 && streams_has_ended(io))
        io->on_end(io);
}

bool streams_has_ended(const struct streams *io)
{
    return io->outputs[LOG_STDOUT].fd < 0 && io->outputs[LOG_STDERR].fd < 0;
}

void streams_drain(struct streams *io)
{
    for (int i = 0; i < LOG_N_STREAMS; i++) {
        struct output *o = &io->outputs[i];
        ssize_t n = 0, sum = 0;

        while (o->fd >= 0 && sum < DRAIN_MAX && (n = output_read(o)) > 0)
            sum += n;
        if (o->fd >= 0)
            output_end(o);
    }
}

/* ---- Start and end -------------------------------------------------------------------------- */

void streams_init(struct streams *io, struct streams_hub *hub, void (*on_end)(struct streams *io))
{
    *io = (struct streams){
        .hub = hub,
        .logger.fd = -1,
        .tty_peer = -1,
        .tty_master = -1,
        .input = {.watch = WATCH_NULL, .fd = -1},
        .child_fds = {-1, -1, -1},
        .on_end = on_end,
    };
    list_init(&io->attachments);
    for (int i = 0; i < LOG_N_STREAMS; i++)
        io->outputs[i] =
            (struct output){.watch = WATCH_NULL, .fd = -1, .stream = (enum log_stream)i, .io = io};
}

/* ours: index of the end that the shim keeps, and that does not block. */
static int make_pipe(int ours, int *ret_ours, int *ret_theirs, struct err *e)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_errno(e, errno, "make a pipe for the container");
    *ret_ours = fds[ours];
    *ret_theirs = fds[!ours];
    int r = fd_set_nonblock(fds[ours], true);
    return r < 0 ? err_errno(e, r, "make a pipe non-blocking") : 0;
}

static int open_pipes(struct streams *io, bool with_stdin, struct err *e)
{
    for (int i = 0; i < LOG_N_STREAMS; i++) {
        if (make_pipe(0, &io->outputs[i].fd, &io->child_fds[i + 1], e) < 0)
            return -1;
        /* Refused over the user's limit: then it is 64 KiB. */
        (void)fcntl(io->outputs[i].fd, F_SETPIPE_SZ, PIPE_SIZE);
    }
    if (make_pipe(1, &io->input.fd, &io->child_fds[0], e) < 0)
        return -1;
    /* Without input: a pipe that nobody will ever write to. Not /dev/null, for root in the
     * container could change the mode of the host's device through the descriptor. */
    if (!with_stdin)
        fd_close(take_fd(&io->input.fd));
    return 0;
}

int streams_open(struct streams *io, const container_spec_t *spec, struct process_io *ret,
                 struct err *e)
{
    logger_init(&io->logger, spec->log_path, spec->log_line_max);
    logger_rotate(&io->logger, spec->log_size_max, spec->log_files_max);
    if (logger_open(&io->logger, e) < 0)
        return -1;
    io->tty = spec->process->tty;
    if (!io->tty && open_pipes(io, spec->stdin_open, e) < 0)
        return -1;
    /* A terminal has one descriptor for both directions: its input cannot be closed alone. */
    io->input.once = spec->stdin_once && !io->tty;
    *ret = (struct process_io){
        .stdin_fd = io->child_fds[0],
        .stdout_fd = io->child_fds[1],
        .stderr_fd = io->child_fds[2],
        .ret_tty_master = io->tty ? &io->tty_master : NULL,
    };
    return 0;
}

/* The master is read, a copy of it is written: each has its own watch. */
static int adopt_terminal(struct streams *io, struct err *e)
{
    io->outputs[LOG_STDOUT].fd = take_fd(&io->tty_master);
    int master = io->outputs[LOG_STDOUT].fd;

    io->tty_peer = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (io->tty_peer < 0)
        return err_errno(e, errno, "open the other side of the container's terminal");
    int r = fd_set_nonblock(master, true);
    if (r < 0)
        return err_errno(e, r, "make the container's terminal non-blocking");
    io->input.fd = fd_dup(master);
    if (io->input.fd < 0)
        return err_errno(e, take_fd(&io->input.fd), "copy the container's terminal");
    return 0;
}

int streams_started(struct streams *io, struct err *e)
{
    int r = 0;

    for (size_t i = 0; i < ARRAY_SIZE(io->child_fds); i++)
        fd_close(take_fd(&io->child_fds[i]));
    if (io->tty && adopt_terminal(io, e) < 0)
        return -1;
    for (int i = 0; i < LOG_N_STREAMS && r == 0; i++)
        if (io->outputs[i].fd >= 0)
            r = watch_add(io->hub->poller, &io->outputs[i].watch, io->outputs[i].fd, EPOLLIN,
                          on_output);
    if (r == 0 && io->input.fd >= 0)
        r = input_watch(io);
    return r < 0 ? err_errno(e, r, "watch the container's output") : 0;
}

void streams_stopped(struct streams *io)
{
    input_close(io);
    fd_close(take_fd(&io->tty_peer));
}

void streams_close(struct streams *io)
{
    input_close(io);
    for (int i = 0; i < LOG_N_STREAMS; i++)
        if (io->outputs[i].fd >= 0)
            output_end(&io->outputs[i]);
    for (size_t i = 0; i < ARRAY_SIZE(io->child_fds); i++)
        fd_close(take_fd(&io->child_fds[i]));
    fd_close(take_fd(&io->tty_peer));
    fd_close(take_fd(&io->tty_master));
    logger_free(&io->logger);
}

int streams_resize(struct streams *io, uint32_t width, uint32_t height, struct err *e)
{
    struct winsize size = {.ws_col = (unsigned short)width, .ws_row = (unsigned short)height};

    if (!io->tty || io->outputs[LOG_STDOUT].fd < 0)
        return err_set(e, ERR_FAILED_PRECONDITION, "the container has no terminal");
    if (width > UINT16_MAX || height > UINT16_MAX)
        return err_set(e, ERR_INVALID_ARGUMENT, "a terminal cannot be %u by %u", width, height);
    if (ioctl(io->outputs[LOG_STDOUT].fd, TIOCSWINSZ, &size) < 0)
        return err_errno(e, errno, "resize the container's terminal");
    return 0;
}
