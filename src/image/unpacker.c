/*
 * unpacker.c - one run of podd-unpack, seen from the daemon.
 *
 * The child gets three fds: the stream (one end of a socket pair, or a file), the directory, and a
 * pipe for its report. It is done when the report has ended and it has exited. Feeding never
 * blocks: what the socket does not take is kept, at most one piece of it, and until that is gone
 * no more is accepted, which holds the download back.
 *
 * A child that makes no progress although it could is killed by a timer. Whatever goes wrong with
 * it, a crash included, is an error of this one layer.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "json.h"
#include "unpacker.h"

enum {
    REPORT_MAX = 8 << 20,
    SOCKET_BUFFER = 1 << 20,
    STALL_MS = 300 * 1000,
    CHILD_INPUT = 0,
    CHILD_TARGET = 3,
    CHILD_REPORT = 4,
};

struct unpacker {
    struct loop *loop;
    struct unpacker_events events;
    void *arg;
    int pidfd; /* a copy of our own: loop_on_exit() takes the other */
    int input; /* our end of the stream; -1: a file, or ended */
    int file;  /* shares its position with the child; -1: a stream */
    int report_fd;
    struct io *input_io, *report_io;
    struct timer *stall;
    off_t file_position; /* at the last look */
    struct strbuf pending;
    size_t pending_done;
    bool ending; /* the stream ends when `pending` is empty */
    bool broken; /* the child reads no more; its report will say why */
    bool exited, reported, cancelled;
    int status;
    struct strbuf report;
};

/* ---- The report ------------------------------------------------------------------------------ */

void unpack_report_clear(struct unpack_report *r)
{
    strv_free(r->opaque);
    *r = (struct unpack_report){0};
}

static int hex_digit(char c)
{
    static const char DIGITS[] = "0123456789abcdef";
    const char *p = c ? strchr(DIGITS, c) : NULL;

    return p ? (int)(p - DIGITS) : -1;
}

/* Decodes a path in place; false when it is not one. */
static bool decode_path(char *hex)
{
    size_t len = strlen(hex);

    if (len == 0 || len % 2)
        return false;
    for (size_t i = 0; i < len; i += 2) {
        int high = hex_digit(hex[i]), low = hex_digit(hex[i + 1]);
        if (high < 0 || low < 0 || (high == 0 && low == 0))
            return false;
        hex[i / 2] = (char)(high << 4 | low);
    }
    hex[len / 2] = 0;
    return true;
}

static int64_t count_of(const json_t *j, const char *key, bool *bad)
{
    int64_t n = json_get_number(j, key, bad);

    if (n < 0)
        *bad = true;
    return n;
}

static int parse_numbers(const json_t *j, struct unpack_report *r, struct err *e)
{
    bool bad = !json_is_object(j);
    const char *input = json_get_text(j, "input_digest", &bad);
    const char *tar = json_get_text(j, "tar_digest", &bad);

    r->input_bytes = (uint64_t)count_of(j, "input_bytes", &bad);
    r->tar_bytes = (uint64_t)count_of(j, "tar_bytes", &bad);
    r->disk_bytes = (uint64_t)count_of(j, "disk_bytes", &bad);
    r->inodes = (uint64_t)count_of(j, "inodes", &bad);
    r->skipped = (uint64_t)count_of(j, "skipped", &bad);
    r->opaque = json_get_texts(j, "opaque", &bad);
    for (char **path = r->opaque; path && *path; path++)
        if (!decode_path(*path))
            bad = true;
    if (bad || !digest_valid(input) || !digest_valid(tar))
        return err_set(e, ERR_INTERNAL, "the unpacker's report is malformed");
    memcpy(r->input_digest, input, DIGEST_TEXT_SIZE);
    memcpy(r->tar_digest, tar, DIGEST_TEXT_SIZE);
    return 0;
}

int unpack_report_parse(const void *data, size_t len, struct unpack_report *ret, struct err *e)
{
    _cleanup_json_ json_t *j = json_load_strict(data, len, "the unpacker's report", e);
    struct unpack_report r = {0};
    bool bad = false;

    if (!j)
        return -1;
    const char *error = json_get_text(j, "error", &bad);
    if (error) {
        int64_t code = json_get_number(j, "code", &bad);
        bool known = code > ERR_OK && code <= ERR_UNAUTHENTICATED;
        return err_set(e, known ? (enum err_code)code : ERR_UNKNOWN, "%s", error);
    }
    if (parse_numbers(j, &r, e) < 0) {
        unpack_report_clear(&r);
        return -1;
    }
    *ret = r;
    return 0;
}

/* ---- The end --------------------------------------------------------------------------------- */

static void close_input(struct unpacker *u)
{
    io_free(take_ptr(u->input_io));
    fd_close(take_fd(&u->input));
}

static void stop_watching(struct unpacker *u)
{
    close_input(u);
    io_free(take_ptr(u->report_io));
    fd_close(take_fd(&u->report_fd));
    fd_close(take_fd(&u->file));
    timer_free(take_ptr(u->stall));
}

static void destroy(struct unpacker *u)
{
    stop_watching(u);
    fd_close(u->pidfd);
    strbuf_free(&u->pending);
    strbuf_free(&u->report);
    free(u);
}

static int read_outcome(struct unpacker *u, struct unpack_report *ret, struct err *e)
{
    if (WIFSIGNALED(u->status))
        return err_set(e, ERR_INTERNAL, "the unpacker was killed by signal %d (%s)",
                       WTERMSIG(u->status), strsignal(WTERMSIG(u->status)));
    if (u->status != 0)
        return err_set(e, ERR_INTERNAL, "the unpacker failed (status %#x)", (unsigned)u->status);
    return unpack_report_parse(u->report.data, u->report.len, ret, e);
}

static void finish_if_done(struct unpacker *u)
{
    struct unpack_report report = {0};
    _cleanup_err_ struct err e = ERR_INIT;

    if (!u->exited || !u->reported)
        return;
    stop_watching(u);
    int r = read_outcome(u, &report, &e);
    u->events.on_done(u->arg, r < 0 ? NULL : &report, r < 0 ? &e : NULL);
    unpack_report_clear(&report);
    destroy(u);
}

static void on_exit_status(void *arg, int status)
{
    struct unpacker *u = arg;

    u->exited = true;
    u->status = status;
    if (u->cancelled)
        destroy(u);
    else
        finish_if_done(u);
}

static void on_report(void *arg, unsigned events)
{
    struct unpacker *u = arg;
    char buf[16384];

    (void)events;
    ssize_t n = read(u->report_fd, buf, sizeof(buf));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0 && u->report.len + (size_t)n <= REPORT_MAX) {
        strbuf_add(&u->report, buf, (size_t)n);
        return;
    }
    /* The end; or too much, which will not parse. */
    u->reported = true;
    io_free(take_ptr(u->report_io));
    finish_if_done(u);
}

void unpacker_cancel(struct unpacker *u)
{
    if (!u)
        return;
    u->cancelled = true;
    stop_watching(u);
    if (u->exited)
        destroy(u);
    else
        pidfd_send_signal(u->pidfd, SIGKILL, NULL, 0);
}

/* ---- Progress -------------------------------------------------------------------------------- */

static void on_stall(void *arg)
{
    struct unpacker *u = arg;
    off_t position = u->file >= 0 ? lseek(u->file, 0, SEEK_CUR) : 0;

    /* It waits for us, or has read on since the last look. */
    bool waits = u->file < 0 && u->input >= 0 && !u->pending.len;
    if (waits || position != u->file_position) {
        u->file_position = position;
        timer_start(u->stall, STALL_MS);
        return;
    }
    log_warn("image", NULL, "the unpacker makes no progress and is killed");
    pidfd_send_signal(u->pidfd, SIGKILL, NULL, 0);
}

/* Sends what the socket takes; how much that was. After an error there is nothing to wait for. */
static size_t send_some(struct unpacker *u, const char *data, size_t len)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = send(u->input, data + done, len - done, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0) {
            u->broken = true;
            return len;
        }
        done += (size_t)n;
    }
    if (done > 0)
        timer_start(u->stall, STALL_MS);
    return done;
}

static void flush(struct unpacker *u)
{
    size_t len = u->pending.len - u->pending_done;

    u->pending_done += send_some(u, u->pending.data + u->pending_done, len);
    if (u->pending_done < u->pending.len)
        return;
    strbuf_free(&u->pending);
    u->pending_done = 0;
    if (u->broken || u->ending)
        close_input(u);
}

static void on_input_writable(void *arg, unsigned events)
{
    struct unpacker *u = arg;

    (void)events;
    flush(u);
    if (u->pending.len)
        return;
    if (u->input_io)
        io_set(u->input_io, 0);
    if (!u->ending)
        u->events.on_drain(u->arg);
}

bool unpacker_feed(struct unpacker *u, const void *data, size_t len)
{
    if (u->broken)
        return true;
    if (u->pending.len)
        return false;
    size_t done = send_some(u, data, len);
    if (u->broken) {
        close_input(u);
    } else if (done < len) {
        strbuf_add(&u->pending, (const char *)data + done, len - done);
        io_set(u->input_io, IO_WRITE);
    }
    return true;
}

void unpacker_end(struct unpacker *u)
{
    u->ending = true;
    timer_start(u->stall, STALL_MS);
    if (!u->pending.len)
        close_input(u);
}

/* ---- The beginning --------------------------------------------------------------------------- */

/* The child's end of the stream, and ours in *u. */
static int make_input(struct unpacker *u, int input_fd, int *ret_child, struct err *e)
{
    int size = SOCKET_BUFFER, pair[2];

    if (input_fd >= 0) {
        u->file = fd_dup(input_fd);
        *ret_child = fd_dup(input_fd);
        return u->file < 0 || *ret_child < 0 ? err_errno(e, EMFILE, "start the unpacker") : 0;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return err_errno(e, errno, "start the unpacker: socketpair");
    u->input = pair[0];
    *ret_child = pair[1];
    /* Fewer switches between the two; without it things only go slower. */
    (void)setsockopt(u->input, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
    return 0;
}

static int spawn_child(struct unpacker *u, const char *program, int input, int target, int report,
                       struct err *e)
{
    char *argv[] = {(char *)"podd-unpack", NULL};
    struct spawn_fd fds[] = {{input, CHILD_INPUT}, {target, CHILD_TARGET}, {report, CHILD_REPORT}};
    struct spawn spawn = {.path = program, .argv = argv, .fds = fds, .n_fds = ARRAY_SIZE(fds)};
    int pidfd;
    pid_t pid;

    if (spawn_process(&spawn, &pid, &pidfd, e) < 0)
        return -1;
    u->pidfd = fd_dup(pidfd);
    loop_on_exit(u->loop, pidfd, on_exit_status, u);
    return 0;
}

static int start(struct unpacker *u, const char *program, int input_fd, int target_fd,
                 struct err *e)
{
    _cleanup_close_ int child_input = -1, child_report = -1;
    int report[2];

    if (make_input(u, input_fd, &child_input, e) < 0)
        return -1;
    if (pipe2(report, O_CLOEXEC) < 0)
        return err_errno(e, errno, "start the unpacker: pipe");
    u->report_fd = report[0];
    child_report = report[1];
    fd_set_nonblock(u->report_fd, true);
    return spawn_child(u, program, child_input, target_fd, child_report, e);
}

struct unpacker *unpacker_start(struct loop *loop, const char *program, int input_fd, int target_fd,
                                const struct unpacker_events *events, void *arg, struct err *e)
{
    struct unpacker *u = xnew(struct unpacker);

    u->loop = loop;
    u->events = *events;
    u->arg = arg;
    u->pidfd = u->input = u->file = u->report_fd = -1;
    if (start(u, program, input_fd, target_fd, e) < 0) {
        destroy(u);
        return NULL;
    }
    u->report_io = io_new(loop, u->report_fd, IO_READ, on_report, u);
    if (u->input >= 0)
        u->input_io = io_new(loop, u->input, 0, on_input_writable, u);
    u->stall = timer_new(loop, on_stall, u);
    timer_start(u->stall, STALL_MS);
    return u;
}
