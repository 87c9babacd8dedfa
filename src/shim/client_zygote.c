/*
 * client_zygote.c - the daemon's side of the zygote: starts it, and has it fork shims.
 *
 * The zygote is podd-shim started with its end of a socket pair as fd 3. Requests are answered in
 * the order in which shims become ready, matched by call number. When the zygote dies, what is
 * pending fails and the next spawn starts another. Spawned is not connected: with the answer to a
 * spawn the connection begins (shim_begin), and a shim that cannot be connected to is killed, so
 * that a failed spawn leaves nothing.
 */
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "client.h"

enum { ZYGOTE_FD = 3 };

struct zygote {
    struct loop *loop;
    char *path;
    int pidfd; /* -1: none runs */
    struct io *pidfd_io;
    struct channel ch;
    struct io *io;
    bool wants_write;
    uint64_t last_call;
    struct list spawns; /* struct spawn_call */
    struct list failed; /* struct spawn_call, to be told by the posted job */
    bool freed, job_posted;
    unsigned refs;
};

struct spawn_call {
    struct list link;
    uint64_t id;
    struct loop *loop;
    char *directory;
    struct shim_events events;
    void *events_arg;
    shim_ready_fn *fn;
    void *arg;
    int pidfd; /* to kill a shim that nobody can talk to */
    struct err why;
};

static void zygote_unref(struct zygote *z)
{
    if (--z->refs > 0)
        return;
    free(z->path);
    free(z);
}

/* ---- Failing -------------------------------------------------------------------------------- */

static void spawn_call_free(struct spawn_call *c)
{
    list_remove(&c->link);
    fd_close(c->pidfd);
    free(c->directory);
    err_clear(&c->why);
    free(c);
}

static void spawn_call_fail(struct spawn_call *c, const struct err *e)
{
    shim_ready_fn *fn = c->fn;
    void *arg = c->arg;
    _cleanup_err_ struct err copy = ERR_INIT;

    err_copy(&copy, c->why.code ? &c->why : e);
    spawn_call_free(c);
    fn(arg, NULL, &copy);
}

static void fail_spawns(struct list *calls, enum err_code code, const char *why)
{
    while (!list_empty(calls)) {
        _cleanup_err_ struct err e = ERR_INIT;
        err_set(&e, code, "%s", why);
        spawn_call_fail(container_of(calls->next, struct spawn_call, link), &e);
    }
}

static void run_job(void *arg)
{
    struct zygote *z = arg;

    z->job_posted = false;
    fail_spawns(&z->failed, ERR_UNAVAILABLE, "the process that forks shims has died");
    zygote_unref(z);
}

static void fail_soon(struct zygote *z, struct spawn_call *c)
{
    list_remove(&c->link);
    list_append(&z->failed, &c->link);
    if (z->job_posted)
        return;
    z->job_posted = true;
    z->refs++;
    loop_post(z->loop, run_job, z);
}

/* ---- The process ---------------------------------------------------------------------------- */

/* Its forks are no children of ours and go on; a killed process is waited for without delay. */
static void disconnect(struct zygote *z)
{
    io_free(take_ptr(z->io));
    io_free(take_ptr(z->pidfd_io));
    channel_close(&z->ch);
    z->wants_write = false;
    if (z->pidfd >= 0) {
        pidfd_send_signal(z->pidfd, SIGKILL, NULL, 0);
        while (waitid(P_PIDFD, (id_t)z->pidfd, NULL, WEXITED) < 0 && errno == EINTR)
            ;
        fd_close(take_fd(&z->pidfd));
    }
    list_for_each_safe (it, &z->spawns)
        fail_soon(z, container_of(it, struct spawn_call, link));
}

static void lost(struct zygote *z, const char *why)
{
    log_warn("shim", NULL, "the process that forks shims: %s; it is started anew when needed", why);
    disconnect(z);
}

static void on_pidfd(void *arg, unsigned events)
{
    lost(arg, "it has died");
}

/* ---- Answers -------------------------------------------------------------------------------- */

/* The end of a spawn: connected, or not. */
static void on_ready(void *arg, struct shim *shim_take, const struct err *e)
{
    struct spawn_call *c = arg;
    shim_ready_fn *fn = c->fn;
    void *fn_arg = c->arg;

    if (!shim_take)
        pidfd_send_signal(c->pidfd, SIGKILL, NULL, 0);
    spawn_call_free(c);
    fn(fn_arg, shim_take, e);
}

static void spawned(struct spawn_call *c, const Podd__Shim__SpawnResponse *answer, int pidfd_take)
{
    c->pidfd = fd_dup(pidfd_take);
    shim_begin(c->loop, c->directory, pidfd_take, (pid_t)answer->pid, answer->start_time,
               &c->events, c->events_arg, on_ready, c);
}

static int handle_answer(struct zygote *z, const envelope_t *env)
{
    struct spawn_call *c = NULL;
    int fds[2]; /* pidfd, network namespace: the shim tells that again */

    list_for_each (it, &z->spawns) {
        c = container_of(it, struct spawn_call, link);
        if (c->id == env->call)
            break;
        c = NULL;
    }
    if (!c)
        return -EPROTO;
    if (env->body_case == PODD__SHIM__ENVELOPE__BODY_FAILURE) {
        failure_to_err(env->failure, &c->why);
        spawn_call_fail(c, NULL);
        return 0;
    }
    if (env->body_case != PODD__SHIM__ENVELOPE__BODY_SPAWN_DONE ||
        channel_take_fds(&z->ch, ARRAY_SIZE(fds), fds) < 0)
        return -EPROTO;
    fd_close(fds[1]);
    list_remove(&c->link);
    spawned(c, env->spawn_done, fds[0]);
    return 0;
}

static int receive(struct zygote *z)
{
    const uint8_t *data;
    size_t len;
    int r;

    r = channel_receive(&z->ch);
    if (r <= 0)
        return r == -EAGAIN ? 1 : r;
    while ((r = channel_next(&z->ch, &data, &len)) > 0) {
        envelope_t *env = podd__shim__envelope__unpack(NULL, len, data);
        if (!env)
            return -EPROTO;
        r = handle_answer(z, env);
        podd__shim__envelope__free_unpacked(env, NULL);
        if (r < 0)
            return r;
        if (z->ch.fd < 0)
            return 1;
    }
    return r < 0 ? r : 1;
}

static void send_queued(struct zygote *z)
{
    bool wants = channel_flush(&z->ch) > 0;

    if (wants != z->wants_write) {
        z->wants_write = wants;
        io_set(z->io, wants ? IO_READ | IO_WRITE : IO_READ);
    }
}

static void on_socket(void *arg, unsigned events)
{
    struct zygote *z = arg;

    z->refs++;
    if (events & IO_WRITE)
        send_queued(z);
    int r = receive(z);
    if (r <= 0 && !z->freed && z->ch.fd >= 0)
        lost(z, r ? strerror(-r) : "it closed its socket");
    zygote_unref(z);
}

/* ---- The interface -------------------------------------------------------------------------- */

static int start_process(struct zygote *z, struct err *e)
{
    char *const argv[] = {"podd-shim", "--zygote", NULL};
    int pair[2];
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return err_errno(e, errno, "start %s: socketpair", z->path);
    _cleanup_close_ int ours = pair[0], theirs = pair[1];
    /* With our standard error, for the reason when it cannot even start. */
    const struct spawn_fd fds[] = {{STDERR_FILENO, STDERR_FILENO}, {theirs, ZYGOTE_FD}};
    const struct spawn spawn = {
        .path = z->path, .argv = argv, .fds = fds, .n_fds = ARRAY_SIZE(fds)};
    if (spawn_process(&spawn, &pid, &z->pidfd, e) < 0)
        return -1;
    z->pidfd_io = io_new(z->loop, z->pidfd, IO_READ, on_pidfd, z);
    channel_init(&z->ch, take_fd(&ours));
    z->io = io_new(z->loop, z->ch.fd, IO_READ, on_socket, z);
    return 0;
}

int zygote_start(struct loop *loop, const char *shim_path, struct zygote **ret, struct err *e)
{
    struct zygote *z = xnew(struct zygote);

    z->loop = loop;
    z->refs = 1;
    z->pidfd = -1;
    z->path = xstrdup(shim_path);
    channel_init(&z->ch, -1);
    list_init(&z->spawns);
    list_init(&z->failed);
    if (start_process(z, e) < 0) {
        zygote_unref(z);
        return -1;
    }
    *ret = z;
    return 0;
}

void zygote_free(struct zygote *z)
{
    if (!z || z->freed)
        return;
    z->freed = true;
    disconnect(z);
    fail_spawns(&z->failed, ERR_CANCELLED, "the call was given up");
    zygote_unref(z);
}

void shim_spawn(struct zygote *z, const spawn_request_t *request, const struct shim_events *events,
                void *events_arg, shim_ready_fn *fn, void *arg)
{
    struct spawn_call *c = xnew(struct spawn_call);

    list_init(&c->link);
    c->id = ++z->last_call;
    c->loop = z->loop;
    c->directory = xstrdup(request->directory);
    c->events = *events;
    c->events_arg = events_arg;
    c->fn = fn;
    c->arg = arg;
    c->pidfd = -1;
    if (z->pidfd < 0 && start_process(z, &c->why) < 0) {
        fail_soon(z, c);
        return;
    }
    envelope_t env = envelope_of(c->id, PODD__SHIM__ENVELOPE__BODY_SPAWN, (void *)request);
    list_append(&z->spawns, &c->link);
    channel_send(&z->ch, &env, NULL, 0);
    send_queued(z);
}
