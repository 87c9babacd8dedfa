/*
 * client_calls.c - the calls that are one request and one answer.
 *
 * Every function fills the request on the stack and hands it to call_send(), which packs it at
 * once. Descriptors are taken whatever happens.
 */
#include "client.h"

static int done_finish(struct call *c, struct channel *ch, const envelope_t *answer,
                       const struct err *e)
{
    shim_done_fn *fn = (shim_done_fn *)c->fn;

    if (fn)
        fn(c->arg, e ? e : ERR_NONE);
    return 0;
}

/* A call that is answered by nothing but success. */
static void send_plain(struct shim *s, body_case_t body_case, void *body, const int *fds_take,
                       size_t n_fds, shim_done_fn *fn, void *arg)
{
    /* The answer's number follows the request's, for every pair in the protocol. */
    call_send(s, body_case, body, fds_take, n_fds, body_case + 1, done_finish, (void (*)(void))fn,
              arg);
}

void shim_create(struct shim *s, const container_spec_t *spec, int rootfs_fd_take,
                 const int *mounts_take, size_t n_mounts, shim_done_fn *fn, void *arg)
{
    Podd__Shim__CreateRequest request = PODD__SHIM__CREATE_REQUEST__INIT;
    int fds[1 + SHIM_MOUNTS_MAX] = {rootfs_fd_take};

    request.spec = (container_spec_t *)spec;
    for (size_t i = 0; i < n_mounts; i++)
        fds[1 + i] = mounts_take[i];
    send_plain(s, PODD__SHIM__ENVELOPE__BODY_CREATE, &request, fds, 1 + n_mounts, fn, arg);
}

static int start_finish(struct call *c, struct channel *ch, const envelope_t *answer,
                        const struct err *e)
{
    shim_started_fn *fn = (shim_started_fn *)c->fn;

    if (e)
        fn(c->arg, 0, 0, e);
    else
        fn(c->arg, (pid_t)answer->start_done->pid, answer->start_done->started_at, ERR_NONE);
    return 0;
}

void shim_start(struct shim *s, const char *container_id, shim_started_fn *fn, void *arg)
{
    Podd__Shim__StartRequest request = PODD__SHIM__START_REQUEST__INIT;

    request.id = (char *)container_id;
    call_send(s, PODD__SHIM__ENVELOPE__BODY_START, &request, NULL, 0,
              PODD__SHIM__ENVELOPE__BODY_START_DONE, start_finish, (void (*)(void))fn, arg);
}

void shim_signal(struct shim *s, const char *container_id, int signo, bool all, shim_done_fn *fn,
                 void *arg)
{
    Podd__Shim__SignalRequest request = PODD__SHIM__SIGNAL_REQUEST__INIT;

    request.id = (char *)container_id;
    request.signal = signo;
    request.all = all;
    send_plain(s, PODD__SHIM__ENVELOPE__BODY_SIGNAL, &request, NULL, 0, fn, arg);
}

void shim_remove(struct shim *s, const char *container_id, shim_done_fn *fn, void *arg)
{
    Podd__Shim__RemoveRequest request = PODD__SHIM__REMOVE_REQUEST__INIT;

    request.id = (char *)container_id;
    send_plain(s, PODD__SHIM__ENVELOPE__BODY_REMOVE, &request, NULL, 0, fn, arg);
}

void shim_reopen_log(struct shim *s, const char *container_id, shim_done_fn *fn, void *arg)
{
    Podd__Shim__ReopenLogRequest request = PODD__SHIM__REOPEN_LOG_REQUEST__INIT;

    request.id = (char *)container_id;
    send_plain(s, PODD__SHIM__ENVELOPE__BODY_REOPEN_LOG, &request, NULL, 0, fn, arg);
}

void shim_update(struct shim *s, const char *container_id, cgroup_write_t *const *writes,
                 size_t n_writes, shim_done_fn *fn, void *arg)
{
    Podd__Shim__UpdateRequest request = PODD__SHIM__UPDATE_REQUEST__INIT;

    request.id = (char *)container_id;
    request.cgroup_writes = (cgroup_write_t **)writes;
    request.n_cgroup_writes = n_writes;
    send_plain(s, PODD__SHIM__ENVELOPE__BODY_UPDATE, &request, NULL, 0, fn, arg);
}

void shim_shutdown(struct shim *s, shim_done_fn *fn, void *arg)
{
    Podd__Shim__ShutdownRequest request = PODD__SHIM__SHUTDOWN_REQUEST__INIT;

    send_plain(s, PODD__SHIM__ENVELOPE__BODY_SHUTDOWN, &request, NULL, 0, fn, arg);
}

void shim_exec_kill(struct shim *s, const char *exec_id, shim_done_fn *fn, void *arg)
{
    Podd__Shim__ExecKillRequest request = PODD__SHIM__EXEC_KILL_REQUEST__INIT;

    request.exec_id = (char *)exec_id;
    send_plain(s, PODD__SHIM__ENVELOPE__BODY_EXEC_KILL, &request, NULL, 0, fn, arg);
}

void shim_resize(struct shim *s, const char *id, uint32_t width, uint32_t height, shim_done_fn *fn,
                 void *arg)
{
    Podd__Shim__ResizeRequest request = PODD__SHIM__RESIZE_REQUEST__INIT;

    request.id = (char *)id;
    request.width = width;
    request.height = height;
    send_plain(s, PODD__SHIM__ENVELOPE__BODY_RESIZE, &request, NULL, 0, fn, arg);
}

void shim_attach(struct shim *s, const char *container_id, int stdin_fd_take, int stdout_fd_take,
                 int stderr_fd_take, shim_done_fn *fn, void *arg)
{
    Podd__Shim__AttachRequest request = PODD__SHIM__ATTACH_REQUEST__INIT;
    int fds[3];
    size_t n = 0;

    request.id = (char *)container_id;
    request.stdin = stdin_fd_take >= 0;
    request.stdout = stdout_fd_take >= 0;
    request.stderr = stderr_fd_take >= 0;
    if (request.stdin)
        fds[n++] = stdin_fd_take;
    if (request.stdout)
        fds[n++] = stdout_fd_take;
    if (request.stderr)
        fds[n++] = stderr_fd_take;
    send_plain(s, PODD__SHIM__ENVELOPE__BODY_ATTACH, &request, fds, n, fn, arg);
}
