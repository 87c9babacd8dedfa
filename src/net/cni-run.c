/*
 * cni-run.c - one plugin's program, run once, on the event loop.
 *
 * Its input is a memfd, so that nobody has to feed it; its output comes through two pipes of which
 * so much is kept, and what is printed beyond that to stdout ends it. What counts is that the
 * program itself has exited: a process that it left behind may hold the pipes for ever.
 *
 * A program that takes too long is killed with its process group and its descendants: a plugin is
 * often a script, or calls others (IPAM, iptables), and those would go on working on a pod that has
 * been given up. A child that left the group is found as long as its parents live, which is why the
 * tree is read before anything is killed. One that even SIGKILL does not end (it sleeps in the
 * kernel) is waited for a little longer only; it is reaped whenever it ends.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "cni-result.h"
#include "cni-run.h"

enum { KILLED_WAIT_MS = 2000, TREE_MAX = 512 };

struct stream {
    int fd; /* owned; -1: closed */
    struct io *io;
    struct bytes data;
    size_t max;
    bool too_much;
};

struct cni_run {
    struct loop *loop;
    pid_t pid; /* 0: it has been reaped, or never was there */
    struct stream out, err_out;
    struct timer *timer;
    int64_t timeout_ms;
    cni_run_fn *fn; /* NULL: told, or cancelled */
    void *arg;
    bool killed;
    struct err why; /* of the kill, or of the failed start */
};

/* ---- Killing --------------------------------------------------------------------------------- */

static void add_children(pid_t pid, pid_t *tree, size_t *count)
{
    char path[64], text[4096], *rest = text, *end;

    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : fd_read_full(fd, text, sizeof(text) - 1);
    if (len < 0)
        return;
    text[len] = '\0';
    for (; *count < TREE_MAX; rest = end) {
        long child = strtol(rest, &end, 10);
        if (end == rest)
            return;
        tree[(*count)++] = (pid_t)child;
    }
}

static void kill_all(struct cni_run *r)
{
    pid_t tree[TREE_MAX];
    size_t count = 0;

    if (r->pid == 0)
        return;
    tree[count++] = r->pid;
    for (size_t i = 0; i < count; i++)
        add_children(tree[i], tree, &count);
    kill(-r->pid, SIGKILL);
    for (size_t i = 0; i < count; i++)
        kill(tree[i], SIGKILL);
}

/* ---- The end --------------------------------------------------------------------------------- */

static void stream_close(struct stream *s)
{
    io_free(take_ptr(s->io));
    fd_close(s->fd);
    s->fd = -1;
}

static void run_free(struct cni_run *r)
{
    stream_close(&r->out);
    stream_close(&r->err_out);
    bytes_free(&r->out.data);
    bytes_free(&r->err_out.data);
    timer_free(r->timer);
    err_clear(&r->why);
    free(r);
}

/* The run stays until the process has been reaped. */
static void tell(struct cni_run *r, const struct err *e)
{
    cni_run_fn *fn = take_ptr(r->fn);

    timer_stop(r->timer);
    if (fn)
        fn(r->arg, &r->out.data, e);
}

static void run_kill(struct cni_run *r)
{
    r->killed = true;
    kill_all(r);
    timer_start(r->timer, KILLED_WAIT_MS);
}

static void on_timer(void *arg)
{
    struct cni_run *r = arg;

    if (r->pid == 0) { /* it was never started */
        tell(r, &r->why);
        run_free(r);
    } else if (r->killed) {
        log_warn("net", NULL, "a CNI plugin (process %d) does not die of SIGKILL", (int)r->pid);
        tell(r, &r->why);
    } else {
        err_set(&r->why, ERR_DEADLINE_EXCEEDED, "it did not finish within %lld s and was killed",
                (long long)((r->timeout_ms + 999) / 1000));
        run_kill(r);
    }
}

/* ---- Output ---------------------------------------------------------------------------------- */

/* False when there is nothing more for now, or ever. */
static bool stream_read(struct stream *s)
{
    char buffer[16384];
    ssize_t n;

    do
        n = read(s->fd, buffer, sizeof(buffer));
    while (n < 0 && errno == EINTR);
    if (n == 0 || (n < 0 && errno != EAGAIN))
        stream_close(s);
    if (n <= 0)
        return false;
    size_t room = s->max - s->data.len;
    size_t keep = (size_t)n < room ? (size_t)n : room;
    s->data.data = xrealloc(s->data.data, s->data.len + keep + 1);
    memcpy(s->data.data + s->data.len, buffer, keep);
    s->data.len += keep;
    s->data.data[s->data.len] = '\0';
    s->too_much |= keep < (size_t)n;
    return true;
}

static int fail_too_much(struct err *e)
{
    return err_set(e, ERR_UNKNOWN, "it printed more than %d bytes and was killed", CNI_OUTPUT_MAX);
}

static void on_out(void *arg, unsigned events)
{
    struct cni_run *r = arg;

    stream_read(&r->out);
    if (r->out.too_much && !r->killed) {
        fail_too_much(&r->why);
        run_kill(r);
    }
}

static void on_err_out(void *arg, unsigned events)
{
    struct cni_run *r = arg;

    stream_read(&r->err_out);
}

/* What is in a pipe when its writer has gone; a process left behind may go on writing. */
static void stream_drain(struct stream *s)
{
    while (s->fd >= 0 && !s->too_much && stream_read(s))
        continue;
}

static void on_exit_status(void *arg, int status)
{
    struct cni_run *r = arg;
    _cleanup_err_ struct err e = ERR_INIT;

    r->pid = 0;
    if (r->fn) {
        stream_drain(&r->out);
        stream_drain(&r->err_out);
        if (r->killed)
            err_copy(&e, &r->why);
        else if (r->out.too_much)
            fail_too_much(&e);
        else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            cni_failure(&r->out.data, &r->err_out.data, status, &e);
        tell(r, &e);
    }
    run_free(r);
}

/* ---- The beginning --------------------------------------------------------------------------- */

static int make_input(const struct cni_program *p, struct err *e)
{
    _cleanup_close_ int fd = memfd_create("cni-input", MFD_CLOEXEC);

    if (fd < 0)
        return err_errno(e, errno, "make its input");
    int r = fd_write_all(fd, p->input, p->input_len);
    if (r < 0)
        return err_errno(e, r, "write its input");
    if (lseek(fd, 0, SEEK_SET) < 0)
        return err_errno(e, errno, "rewind its input");
    return take_fd(&fd);
}

static int open_stream(struct stream *s, int *ret_end, struct err *e)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_errno(e, errno, "make a pipe");
    s->fd = fds[0];
    *ret_end = fds[1];
    int r = fd_set_nonblock(s->fd, true);
    return r < 0 ? err_errno(e, r, "set up a pipe") : 0;
}

static int start(struct cni_run *r, const struct cni_program *p, struct err *e)
{
    _cleanup_close_ int out = -1, err_out = -1;
    char *argv[] = {(char *)p->path, NULL};
    int pidfd;

    _cleanup_close_ int input = make_input(p, e);
    if (input < 0 || open_stream(&r->out, &out, e) < 0 || open_stream(&r->err_out, &err_out, e) < 0)
        return -1;
    const struct spawn_fd fds[] = {
        {input, STDIN_FILENO}, {out, STDOUT_FILENO}, {err_out, STDERR_FILENO}};
    const struct spawn spawn = {.path = p->path,
                                .argv = argv,
                                .envp = p->envp,
                                .fds = fds,
                                .n_fds = ARRAY_SIZE(fds),
                                .own_group = true};
    if (spawn_process(&spawn, &r->pid, &pidfd, e) < 0)
        return -1;
    r->out.io = io_new(r->loop, r->out.fd, IO_READ, on_out, r);
    r->err_out.io = io_new(r->loop, r->err_out.fd, IO_READ, on_err_out, r);
    loop_on_exit(r->loop, pidfd, on_exit_status, r);
    return 0;
}

struct cni_run *cni_run_start(struct loop *loop, const struct cni_program *program, cni_run_fn *fn,
                              void *arg)
{
    struct cni_run *r = xnew(struct cni_run);

    *r = (struct cni_run){.loop = loop,
                          .out = {.fd = -1, .max = CNI_OUTPUT_MAX},
                          .err_out = {.fd = -1, .max = CNI_STDERR_MAX},
                          .timeout_ms = program->timeout_ms,
                          .fn = fn,
                          .arg = arg};
    r->timer = timer_new(loop, on_timer, r);
    timer_start(r->timer, start(r, program, &r->why) < 0 ? 0 : program->timeout_ms);
    return r;
}

void cni_run_cancel(struct cni_run *r)
{
    r->fn = NULL;
    if (r->pid != 0)
        run_kill(r); /* reaped by on_exit_status() */
    else
        run_free(r);
}
