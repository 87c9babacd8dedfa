/*
 * service.c - the requests of proto/shim.proto: a row per kind, a small function each.
 *
 * A handler returns 0 when it has answered or will, or -1 with the reason, which becomes the
 * answer. It may keep the request's message and descriptors.
 */
#include "exec.h"
#include "server.h"

typedef int handler_fn(struct request *rq, struct err *e);

struct handler {
    handler_fn *fn;
    size_t (*n_fds)(const envelope_t *env); /* NULL: none */
};

static void answer_empty(struct request *rq, Podd__Shim__Envelope__BodyCase body_case,
                         const ProtobufCMessageDescriptor *type)
{
    ProtobufCMessage empty;

    protobuf_c_message_init(type, &empty);
    server_answer(rq->sb, rq->reply, body_case, &empty, NULL, 0);
}
#define ANSWER_EMPTY(rq, BODY, type)                                                               \
    answer_empty(rq, PODD__SHIM__ENVELOPE__BODY_##BODY##_DONE,                                     \
                 &podd__shim__##type##_response__descriptor)

/* ---- Info ----------------------------------------------------------------------------------- */

static void fill_info(const struct ctr *c, Podd__Shim__ContainerInfo *ret)
{
    podd__shim__container_info__init(ret);
    ret->id = c->id;
    ret->started = c->started;
    ret->pid = c->process.pid;
    ret->started_at = c->started_at;
    if (c->state == CTR_EXITED)
        ret->exit = (exit_info_t *)&c->exit;
}

static int handle_info(struct request *rq, struct err *e)
{
    Podd__Shim__InfoResponse answer = PODD__SHIM__INFO_RESPONSE__INIT;
    _cleanup_free_ Podd__Shim__ContainerInfo *infos = NULL;
    _cleanup_free_ Podd__Shim__ContainerInfo **pointers = NULL;
    size_t n = 0, i = 0;

    int fds[2] = {fd_dup(rq->sb->netns_fd), -1};
    if (fds[0] < 0)
        return err_errno(e, fds[0], "copy the descriptor of the network namespace");
    answer.user_namespace = rq->sb->ns.user_ns >= 0;
    if (answer.user_namespace && (fds[1] = fd_dup(rq->sb->ns.user_ns)) < 0) {
        fd_close(fds[0]);
        return err_errno(e, fds[1], "copy the descriptor of the user namespace");
    }
    list_for_each (it, &rq->sb->ctrs)
        n++;
    infos = xcalloc(n, sizeof(*infos));
    pointers = xcalloc(n, sizeof(*pointers));
    list_for_each (it, &rq->sb->ctrs) {
        fill_info(container_of(it, struct ctr, link), &infos[i]);
        pointers[i] = &infos[i];
        i++;
    }
    answer.sandbox_id = rq->sb->id;
    answer.pid = getpid();
    answer.containers = pointers;
    answer.n_containers = n;
    server_answer(rq->sb, rq->reply, PODD__SHIM__ENVELOPE__BODY_INFO_DONE, &answer, fds,
                  answer.user_namespace ? 2 : 1);
    return 0;
}

/* ---- Containers ----------------------------------------------------------------------------- */

/* The root file system, and the mounts that the daemon has made. */
static size_t create_fds(const envelope_t *env)
{
    const container_spec_t *spec = env->create->spec;
    size_t n = 1;

    for (size_t i = 0; spec && i < spec->n_mounts; i++)
        n += spec->mounts[i]->descriptor != 0;
    return n;
}

static int handle_create(struct request *rq, struct err *e)
{
    if (ctr_create(rq->sb, rq->env->create->spec, rq->message, rq->fds[0], rq->fds + 1,
                   create_fds(rq->env) - 1, e) < 0)
        return -1;
    rq->message = NULL;
    rq->fds[0] = -1;
    ANSWER_EMPTY(rq, CREATE, create);
    return 0;
}

static int handle_start(struct request *rq, struct err *e)
{
    Podd__Shim__StartResponse answer = PODD__SHIM__START_RESPONSE__INIT;
    struct ctr *c = ctr_get(rq->sb, rq->env->start->id, CTR_OP_START, e);

    if (!c || ctr_start(c, e) < 0)
        return -1;
    answer.pid = c->process.pid;
    answer.started_at = c->started_at;
    server_answer(rq->sb, rq->reply, PODD__SHIM__ENVELOPE__BODY_START_DONE, &answer, NULL, 0);
    return 0;
}

static int handle_signal(struct request *rq, struct err *e)
{
    const Podd__Shim__SignalRequest *signal = rq->env->signal;
    struct ctr *c = ctr_get(rq->sb, signal->id, CTR_OP_SIGNAL, e);

    if (!c || ctr_signal(c, signal->signal, signal->all, e) < 0)
        return -1;
    ANSWER_EMPTY(rq, SIGNAL, signal);
    return 0;
}

static int handle_remove(struct request *rq, struct err *e)
{
    struct ctr *c = ctr_get(rq->sb, rq->env->remove->id, CTR_OP_REMOVE, e);

    if (!c)
        return -1;
    ctr_remove(c, rq->reply);
    return 0;
}

static int handle_reopen_log(struct request *rq, struct err *e)
{
    struct ctr *c = ctr_get(rq->sb, rq->env->reopen_log->id, CTR_OP_REOPEN_LOG, e);

    if (!c || logger_reopen(&c->streams.logger, e) < 0)
        return -1;
    ANSWER_EMPTY(rq, REOPEN_LOG, reopen_log);
    return 0;
}

static int handle_update(struct request *rq, struct err *e)
{
    const Podd__Shim__UpdateRequest *update = rq->env->update;
    struct ctr *c = ctr_get(rq->sb, update->id, CTR_OP_UPDATE, e);

    if (!c || cgroup_update(c->cgroup, update->cgroup_writes, update->n_cgroup_writes, e) < 0)
        return -1;
    ANSWER_EMPTY(rq, UPDATE, update);
    return 0;
}

/* ---- Execs ---------------------------------------------------------------------------------- */

static size_t exec_fds(const envelope_t *env)
{
    return env->exec->process && env->exec->process->tty ? 0 : 3;
}

static int handle_exec(struct request *rq, struct err *e)
{
    Podd__Shim__ExecResponse answer = PODD__SHIM__EXEC_RESPONSE__INIT;
    const Podd__Shim__ExecRequest *exec = rq->env->exec;
    struct ctr *c = ctr_get(rq->sb, exec->container_id, CTR_OP_EXEC, e);
    struct exec_run *x;
    int master = -1;

    if (!c || exec_start(c, exec, rq->reply.connection, rq->fds, &master, &x, e) < 0)
        return -1;
    answer.pid = x->process.pid;
    server_answer(rq->sb, rq->reply, PODD__SHIM__ENVELOPE__BODY_EXEC_DONE, &answer, &master,
                  master >= 0);
    return 0;
}

static int handle_exec_kill(struct request *rq, struct err *e)
{
    struct exec_run *x = exec_find(rq->sb, rq->env->exec_kill->exec_id);

    if (!x)
        return err_set(e, ERR_NOT_FOUND, "there is no exec %s", rq->env->exec_kill->exec_id);
    if (exec_kill(x, e) < 0)
        return -1;
    ANSWER_EMPTY(rq, EXEC_KILL, exec_kill);
    return 0;
}

/* ---- Terminals and attached clients ---------------------------------------------------------- */

static size_t attach_fds(const envelope_t *env)
{
    const Podd__Shim__AttachRequest *attach = env->attach;

    return (size_t) !!attach->stdin + !!attach->stdout + !!attach->stderr;
}

static int handle_attach(struct request *rq, struct err *e)
{
    const Podd__Shim__AttachRequest *attach = rq->env->attach;
    const bool wanted[3] = {attach->stdin, attach->stdout, attach->stderr};
    struct ctr *c = ctr_get(rq->sb, attach->id, CTR_OP_ATTACH, e);
    int fds[3], n = 0;

    for (int i = 0; i < 3; i++)
        fds[i] = wanted[i] ? rq->fds[n++] : -1;
    if (!c || streams_attach(&c->streams, fds, e) < 0)
        return -1;
    for (size_t i = 0; i < rq->n_fds; i++)
        rq->fds[i] = -1;
    ANSWER_EMPTY(rq, ATTACH, attach);
    return 0;
}

static int resize(struct request *rq, struct err *e)
{
    const Podd__Shim__ResizeRequest *resize = rq->env->resize;
    struct exec_run *x = exec_find(rq->sb, resize->id);

    if (x)
        return exec_resize(x, resize->width, resize->height, e);
    struct ctr *c = ctr_get(rq->sb, resize->id, CTR_OP_RESIZE, e);
    return c ? streams_resize(&c->streams, resize->width, resize->height, e) : -1;
}

static int handle_resize(struct request *rq, struct err *e)
{
    if (resize(rq, e) < 0)
        return -1;
    ANSWER_EMPTY(rq, RESIZE, resize);
    return 0;
}

static int handle_shutdown(struct request *rq, struct err *e)
{
    if (rq->sb->shutdown_until)
        return err_set(e, ERR_ABORTED, "pod %s is being shut down already", rq->sb->id);
    sandbox_shutdown(rq->sb, rq->reply);
    return 0;
}

/* ---- The table ------------------------------------------------------------------------------ */

/* Indexed by the request's number in the envelope. */
static const struct handler handlers[] = {
    [PODD__SHIM__ENVELOPE__BODY_INFO] = {handle_info, NULL},
    [PODD__SHIM__ENVELOPE__BODY_CREATE] = {handle_create, create_fds},
    [PODD__SHIM__ENVELOPE__BODY_START] = {handle_start, NULL},
    [PODD__SHIM__ENVELOPE__BODY_SIGNAL] = {handle_signal, NULL},
    [PODD__SHIM__ENVELOPE__BODY_REMOVE] = {handle_remove, NULL},
    [PODD__SHIM__ENVELOPE__BODY_REOPEN_LOG] = {handle_reopen_log, NULL},
    [PODD__SHIM__ENVELOPE__BODY_UPDATE] = {handle_update, NULL},
    [PODD__SHIM__ENVELOPE__BODY_EXEC] = {handle_exec, exec_fds},
    [PODD__SHIM__ENVELOPE__BODY_EXEC_KILL] = {handle_exec_kill, NULL},
    [PODD__SHIM__ENVELOPE__BODY_ATTACH] = {handle_attach, attach_fds},
    [PODD__SHIM__ENVELOPE__BODY_RESIZE] = {handle_resize, NULL},
    [PODD__SHIM__ENVELOPE__BODY_SHUTDOWN] = {handle_shutdown, NULL},
};

static const struct handler *find_handler(const envelope_t *env)
{
    size_t i = (size_t)env->body_case;

    return i < ARRAY_SIZE(handlers) && handlers[i].fn ? &handlers[i] : NULL;
}

size_t service_fds(const envelope_t *env)
{
    const struct handler *h = find_handler(env);

    return h && h->n_fds ? h->n_fds(env) : 0;
}

void service_handle(struct request *rq)
{
    const struct handler *h = find_handler(rq->env);
    _cleanup_err_ struct err e = ERR_INIT;

    if (!h)
        err_set(&e, ERR_UNIMPLEMENTED, "the shim does not know this request");
    else if (rq->sb->shutdown_until && h->fn != handle_info && h->fn != handle_shutdown)
        err_set(&e, ERR_UNAVAILABLE, "pod %s is being shut down", rq->sb->id);
    else if (h->fn(rq, &e) == 0)
        return;
    server_answer_failure(rq->sb, rq->reply, &e);
}
