/*
 * exec.c - running commands in containers.
 *
 * An exec exists until the shim has told its end. exec_sync adds two pipes, read on the loop as the
 * data comes, and two timers:
 *
 *   starting -> running --exit--> draining --both pipes at their end, or DRAIN_MS--> answered
 *                  \--timeout--> killed (all of it) --exit, or KILL_MS--> answered
 *
 * Draining ends early because whatever the command left in the background may hold the pipes for
 * ever. Output beyond EXEC_OUTPUT_MAX is read and dropped, so that the command is not held up.
 *
 * The answer may come before the shim told the end (a process that cannot be killed), or the caller
 * may lose interest; the exec then lives on without anybody to answer (`answered`).
 */
#include <fcntl.h>
#include <stdio.h>

#include "private.h"
#include "spec.h"

enum { DRAIN_MS = 1000, KILL_MS = 2000, READ_SIZE = 64 << 10, READS_PER_TURN = 16 };

struct output {
    struct exec *exec;
    int fd; /* -1: at its end */
    struct io *io;
    struct strbuf data;
};

struct exec {
    struct pods *p;
    char id[48];
    char container_id[ID_SIZE], sandbox_id[ID_SIZE];
    bool started, exited, answered, kill_wanted, timed_out;
    int exit_code;
    struct err failure;
    void *arg;

    /* exec_sync */
    exec_done_fn *fn;
    int64_t timeout_ms;
    struct timer *timer;
    struct output out[2];

    /* exec_stream */
    struct exec_stream_events events;
};

/* ---- The object ----------------------------------------------------------------------------- */

static struct exec *exec_make(struct pods *p, void *arg)
{
    struct exec *x = xnew(struct exec);

    x->p = pods_hold(p);
    snprintf(x->id, sizeof(x->id), "%016llx-%llu", (unsigned long long)p->exec_prefix,
             (unsigned long long)++p->last_exec);
    x->arg = arg;
    for (int i = 0; i < 2; i++)
        x->out[i] = (struct output){.exec = x, .fd = -1};
    return x;
}

static void output_close(struct output *o)
{
    io_free(take_ptr(o->io));
    fd_close(take_fd(&o->fd));
}

static void exec_destroy(struct exec *x)
{
    timer_free(x->timer);
    for (int i = 0; i < 2; i++) {
        output_close(&x->out[i]);
        strbuf_free(&x->out[i].data);
    }
    err_clear(&x->failure);
    pods_release(x->p);
    free(x);
}

static struct shim *exec_shim(const struct exec *x)
{
    const struct sandbox *s = sandbox_by_id(x->p, x->sandbox_id);

    return s ? s->priv->shim : NULL;
}

static void exec_stop(struct exec *x)
{
    struct shim *shim = exec_shim(x);

    x->kill_wanted = true;
    if (x->started && !x->exited && shim)
        shim_exec_kill(shim, x->id, NULL, NULL); /* its end is told */
}

void exec_cancel(struct exec *x)
{
    x->answered = true;
    timer_free(take_ptr(x->timer));
    for (int i = 0; i < 2; i++)
        output_close(&x->out[i]);
    exec_stop(x);
}

/* ---- Its environment ------------------------------------------------------------------------ */

/* The container's own process, with another command. The copy is flat: it borrows everything. */
static process_spec_t process_for(const struct container *c, char *const *argv, bool tty)
{
    process_spec_t process = *c->priv->process;

    process.args = (char **)argv;
    process.n_args = strv_len(argv);
    process.tty = tty;
    return process;
}

static struct container *find_running(struct pods *p, const char *id, char *const *argv,
                                      struct err *e)
{
    struct container *c = container_find(p, id, e);

    if (!c)
        return NULL;
    if (strv_len(argv) == 0 || argv[0][0] == '\0') {
        err_set(e, ERR_INVALID_ARGUMENT, "exec in container " ID_SHORT ": no command specified",
                c->id);
        return NULL;
    }
    if (c->state != CONTAINER_RUNNING || !c->sandbox->priv->shim) {
        err_set(e, ERR_FAILED_PRECONDITION, "exec in container " ID_SHORT ": it is not running",
                c->id);
        return NULL;
    }
    return c;
}

static void exec_begin(struct exec *x, struct container *c, char *const *argv, bool tty,
                       const int stdio_take[3], const struct shim_exec_events *events)
{
    process_spec_t process = process_for(c, argv, tty);
    _cleanup_free_ char **env = NULL;

    memcpy(x->container_id, c->id, ID_SIZE);
    memcpy(x->sandbox_id, c->sandbox->id, ID_SIZE);
    if (tty && !env_has(&process, "TERM")) {
        env = xcalloc(process.n_env + 1, sizeof(*env));
        memcpy(env, process.env, process.n_env * sizeof(*env));
        env[process.n_env++] = (char *)"TERM=xterm";
        process.env = env;
    }
    shim_exec(c->sandbox->priv->shim, c->id, x->id, &process, stdio_take, events, x);
}

/* ---- exec_sync ------------------------------------------------------------------------------ */

static void sync_answer(struct exec *x)
{
    struct bytes out[2];
    const struct err *e = &x->failure;

    if (x->answered || x->p->closing)
        return;
    x->answered = true;
    for (int i = 0; i < 2; i++) {
        output_close(&x->out[i]);
        out[i] = (struct bytes){.data = (uint8_t *)x->out[i].data.data, .len = x->out[i].data.len};
    }
    x->fn(x->arg, x->exit_code, &out[0], &out[1], e);
}

/* Answers, and ends the exec if the shim has nothing more to tell about it. */
static void sync_finish(struct exec *x)
{
    timer_free(take_ptr(x->timer));
    sync_answer(x);
    if (x->exited)
        exec_destroy(x);
}

static void sync_timed_out(struct exec *x)
{
    err_clear(&x->failure);
    err_set(&x->failure, ERR_DEADLINE_EXCEEDED,
            "exec in container " ID_SHORT ": the command timed out after %lld ms", x->container_id,
            (long long)x->timeout_ms);
}

static void on_sync_timer(void *arg)
{
    struct exec *x = arg;

    if (x->exited || x->timed_out) {
        sync_finish(x); /* drained long enough, or killed and still there */
        return;
    }
    x->timed_out = true;
    sync_timed_out(x);
    exec_stop(x);
    timer_start(x->timer, KILL_MS);
}

/* True at the end of the stream. */
static bool output_read(struct output *o)
{
    static char buffer[READ_SIZE];

    for (int i = 0; i < READS_PER_TURN; i++) {
        ssize_t n = read(o->fd, buffer, sizeof(buffer));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return false;
        if (n <= 0)
            return true;
        size_t room = EXEC_OUTPUT_MAX - o->data.len;
        strbuf_add(&o->data, buffer, (size_t)n < room ? (size_t)n : room);
    }
    return false;
}

static void on_output(void *arg, unsigned events)
{
    struct output *o = arg;
    struct exec *x = o->exec;

    if (!output_read(o))
        return;
    output_close(o);
    if (x->exited && x->out[0].fd < 0 && x->out[1].fd < 0)
        sync_finish(x);
}

static void on_sync_start(void *arg, pid_t pid, int tty_master_take, const struct err *e)
{
    struct exec *x = arg;

    fd_close(tty_master_take);
    if (e->code != ERR_OK) {
        x->exited = true;
        if (x->failure.code == ERR_OK)
            err_copy(&x->failure, e);
        sync_finish(x);
        return;
    }
    x->started = true;
    if (x->kill_wanted)
        exec_stop(x);
}

static void on_sync_exit(void *arg, const exit_info_t *exit)
{
    struct exec *x = arg;

    x->exited = true;
    if (exit)
        x->exit_code = exit->code < 0 ? 255 : exit->code;
    else if (x->failure.code == ERR_OK)
        err_set(&x->failure, ERR_UNAVAILABLE,
                "exec in container " ID_SHORT ": the pod's shim is gone", x->container_id);
    for (int i = 0; i < 2; i++)
        if (x->out[i].fd >= 0 && output_read(&x->out[i]))
            output_close(&x->out[i]);
    if (x->answered || x->failure.code != ERR_OK || (x->out[0].fd < 0 && x->out[1].fd < 0)) {
        sync_finish(x);
        return;
    }
    if (!x->timer)
        x->timer = timer_new(x->p->loop, on_sync_timer, x);
    timer_start(x->timer, DRAIN_MS);
}

/* Makes the pipes; the ends for the command into stdio. */
static int open_outputs(struct exec *x, int stdio[3], struct err *e)
{
    for (int i = 0; i < 2; i++) {
        int fds[2];
        if (pipe2(fds, O_CLOEXEC) < 0)
            return err_errno(e, errno, "make a pipe for the output of an exec");
        x->out[i].fd = fds[0];
        stdio[1 + i] = fds[1];
        int r = fd_set_nonblock(fds[0], true);
        if (r < 0)
            return err_errno(e, r, "prepare a pipe for the output of an exec");
        x->out[i].io = io_new(x->p->loop, fds[0], IO_READ, on_output, &x->out[i]);
    }
    return 0;
}

/* An exec that never came to be: told from the loop, for the caller has just got its pointer. */
static void tell_refusal(void *arg)
{
    struct exec *x = arg;

    if (!x->answered && !x->p->closing) {
        x->answered = true;
        if (x->fn)
            x->fn(x->arg, 0, &(struct bytes){0}, &(struct bytes){0}, &x->failure);
        else
            x->events.on_start(x->arg, -1, &x->failure);
    }
    exec_destroy(x);
}

static struct exec *exec_refuse(struct exec *x, struct err *e_take)
{
    err_move(&x->failure, e_take);
    loop_post(x->p->loop, tell_refusal, x);
    return x;
}

struct exec *container_exec_sync(struct pods *p, const char *id, char *const *argv,
                                 int64_t timeout_ms, exec_done_fn *fn, void *arg)
{
    static const struct shim_exec_events events = {.on_start = on_sync_start,
                                                   .on_exit = on_sync_exit};
    struct exec *x = exec_make(p, arg);
    struct err e = ERR_INIT;
    int stdio[3] = {-1, -1, -1};

    x->fn = fn;
    x->timeout_ms = timeout_ms;
    struct container *c = find_running(p, id, argv, &e);
    if (!c)
        return exec_refuse(x, &e);
    if (open_outputs(x, stdio, &e) < 0) {
        fd_close(stdio[1]);
        fd_close(stdio[2]);
        return exec_refuse(x, &e);
    }
    if (timeout_ms > 0) {
        x->timer = timer_new(p->loop, on_sync_timer, x);
        timer_start(x->timer, timeout_ms);
    }
    exec_begin(x, c, argv, false, stdio, &events);
    return x;
}

/* ---- exec_stream ---------------------------------------------------------------------------- */

static void on_stream_start(void *arg, pid_t pid, int tty_master_take, const struct err *e)
{
    struct exec *x = arg;
    bool listened = !x->answered && !x->p->closing;

    x->started = e->code == ERR_OK;
    if (listened) {
        x->events.on_start(x->arg, tty_master_take, e);
    } else {
        fd_close(tty_master_take);
        if (x->started)
            exec_stop(x);
    }
    if (!x->started)
        exec_destroy(x);
}

static void on_stream_exit(void *arg, const exit_info_t *exit)
{
    struct exec *x = arg;
    _cleanup_err_ struct err e = ERR_INIT;

    if (!exit)
        err_set(&e, ERR_UNAVAILABLE, "exec in container " ID_SHORT ": the pod's shim is gone",
                x->container_id);
    if (!x->answered && !x->p->closing)
        x->events.on_exit(x->arg, !exit ? 0 : exit->code < 0 ? 255 : exit->code, &e);
    exec_destroy(x);
}

struct exec *container_exec_stream(struct pods *p, const char *id, char *const *argv, bool tty,
                                   const int stdio_take[3], const struct exec_stream_events *events,
                                   void *arg)
{
    static const struct shim_exec_events shim_events = {.on_start = on_stream_start,
                                                        .on_exit = on_stream_exit};
    struct exec *x = exec_make(p, arg);
    struct err e = ERR_INIT;

    x->events = *events;
    struct container *c = find_running(p, id, argv, &e);
    if (!c) {
        for (int i = 0; i < 3; i++)
            fd_close(stdio_take[i]);
        return exec_refuse(x, &e);
    }
    exec_begin(x, c, argv, tty, stdio_take, &shim_events);
    return x;
}

void exec_resize(struct exec *x, uint32_t width, uint32_t height)
{
    struct shim *shim = exec_shim(x);

    if (x->started && !x->exited && shim)
        shim_resize(shim, x->id, width, height, NULL, NULL);
}
