/*
 * client_exec.c - execs: a call that answers when the program runs, then an event when it ends.
 *
 * The exec object is made with the call. A failed start frees it after on_start; otherwise it
 * waits in shim.execs for its ExecExit, or for the end of the connection: the shim kills the execs
 * of a connection that ends, since nobody can hear of them any more.
 */
#include <fcntl.h>

#include "client.h"

static void exec_free(struct exec *x)
{
    list_remove(&x->link);
    free(x->id);
    free(x);
}

void exec_finish(struct exec *x, const exit_info_t *exit)
{
    void (*on_exit)(void *, const exit_info_t *) = x->events.on_exit;
    void *arg = x->arg;

    exec_free(x);
    if (on_exit)
        on_exit(arg, exit);
}

static void start_failed(struct exec *x, const struct err *e)
{
    void (*on_start)(void *, pid_t, int, const struct err *) = x->events.on_start;
    void *arg = x->arg;

    exec_free(x);
    on_start(arg, 0, -1, e);
}

static int exec_call_finish(struct call *c, struct channel *ch, const envelope_t *answer,
                            const struct err *e)
{
    struct exec *x = c->arg;
    int master = -1;

    if (e) {
        start_failed(x, e);
        return 0;
    }
    if (x->tty && channel_take_fds(ch, 1, &master) < 0) {
        _cleanup_err_ struct err protocol = ERR_INIT;
        err_set(&protocol, ERR_INTERNAL, "exec %s: the shim sent no terminal", x->id);
        start_failed(x, &protocol);
        return -EPROTO;
    }
    list_append(&x->shim->execs, &x->link);
    x->events.on_start(x->arg, (pid_t)answer->exec_done->pid, master, ERR_NONE);
    return 0;
}

/* Input that is at its end. Not /dev/null, for root in the container could change the mode of the
 * host's device through the descriptor. */
static int open_empty(void)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0)
        return -1;
    fd_close(fds[1]);
    return fds[0];
}

/* Exactly three descriptors travel, whatever the caller gave. Takes them in any case. */
static int complete_stdio(const int stdio_take[3], int ret[3], struct err *e)
{
    int why = 0;

    for (int i = 0; i < 3; i++) {
        ret[i] = stdio_take[i];
        if (ret[i] < 0)
            ret[i] = i == 0 ? open_empty() : open("/dev/null", O_WRONLY | O_CLOEXEC);
        if (ret[i] < 0)
            why = errno;
    }
    if (why == 0)
        return 0;
    for (int i = 0; i < 3; i++)
        fd_close(ret[i]);
    return err_errno(e, why, "make the standard streams of the exec");
}

static struct exec *exec_new(struct shim *s, const char *id, bool tty,
                             const struct shim_exec_events *events, void *arg)
{
    struct exec *x = xnew(struct exec);

    list_init(&x->link);
    x->id = xstrdup(id);
    x->tty = tty;
    x->events = *events;
    x->arg = arg;
    x->shim = s;
    return x;
}

void shim_exec(struct shim *s, const char *container_id, const char *exec_id,
               const process_spec_t *process, const int stdio_take[3],
               const struct shim_exec_events *events, void *arg)
{
    Podd__Shim__ExecRequest request = PODD__SHIM__EXEC_REQUEST__INIT;
    struct exec *x = exec_new(s, exec_id, process->tty, events, arg);
    struct err e = ERR_INIT;
    size_t n_fds = 0;
    int fds[3];

    if (process->tty) {
        for (int i = 0; i < 3; i++)
            fd_close(stdio_take[i]);
    } else if (complete_stdio(stdio_take, fds, &e) < 0) {
        call_fail_soon(s, exec_call_finish, NULL, x, &e);
        return;
    } else {
        n_fds = 3;
    }
    request.container_id = (char *)container_id;
    request.exec_id = (char *)exec_id;
    request.process = (process_spec_t *)process;
    call_send(s, PODD__SHIM__ENVELOPE__BODY_EXEC, &request, fds, n_fds,
              PODD__SHIM__ENVELOPE__BODY_EXEC_DONE, exec_call_finish, NULL, x);
}
