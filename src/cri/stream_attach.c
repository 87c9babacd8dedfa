/*
 * stream_attach.c - attach: a client at the streams of a running container.
 *
 * The pod's shim copies the container's output to socket pairs, beside the log, and reads its input
 * from one. It keeps nothing for clients: one that reads too slowly is let go, which is seen here
 * as the end of the output while the container runs.
 *
 * Output is always attached, also when the client does not want it: its end is how the session
 * learns that the container has stopped. When the client's input ends, the input of a container
 * that asked for one session only ends too, and its output goes on; from others the client is
 * detached.
 */
#include <sys/socket.h>

#include "stream_command.h"

/* For so long an output may end before the container is known to have stopped. */
enum { SETTLE_TRIES = 40, SETTLE_MS = 25 };

/* Answers after the session has ended find nobody. */
struct attach_call {
    struct command *command;
};

static bool container_runs(struct command *c)
{
    const struct container *container =
        container_find(session_pods(&c->session), c->request->id, NULL);

    return container && container->state == CONTAINER_RUNNING;
}

/* An output has ended. Why is known when the container's end has been told too, which may come
 * later by another way. */
static void settle(struct command *c)
{
    _cleanup_err_ struct err e = ERR_INIT;

    if (!container_runs(c)) {
        if (command_outputs_ended(c))
            command_succeed(c);
    } else if (c->settling++ < SETTLE_TRIES) {
        timer_start(c->timer, SETTLE_MS);
    } else {
        err_set(
            &e, ERR_ABORTED,
            "detached: output came faster than it could be passed on, or the container closed it");
        command_fail(c, &e);
    }
}

static void on_settle_time(void *arg)
{
    settle(arg);
}

static void attach_on_output_end(struct command *c)
{
    if (!c->attached) /* the answer tells what happened */
        return;
    if (!c->timer)
        c->timer = timer_new(session_loop(&c->session), on_settle_time, c);
    settle(c);
}

static void on_attached(void *arg, const struct err *e)
{
    _cleanup_free_ struct attach_call *call = arg;
    struct command *c = call->command;

    if (!c)
        return;
    c->attaching = NULL;
    if (e->code != ERR_OK) {
        command_fail(c, e);
        return;
    }
    c->attached = true;
    if (c->width)
        container_resize(session_pods(&c->session), c->request->id, c->width, c->height);
    if (command_has_ended_output(c)) /* before the answer came */
        attach_on_output_end(c);
}

/* ours stays, theirs goes to the shim. */
static int open_pairs(const struct stream_request *r, int ours[3], int theirs[3], struct err *e)
{
    const bool wanted[] = {r->with_stdin, true, r->with_stderr && !r->tty};
    int fds[2];

    for (int i = 0; i < 3; i++) {
        if (!wanted[i])
            continue;
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
            return err_errno(e, errno, "make sockets to attach with");
        ours[i] = fds[0];
        theirs[i] = fds[1];
    }
    return 0;
}

static void attach_start(struct command *c)
{
    struct pods *pods = session_pods(&c->session);
    int ours[3] = {-1, -1, -1}, theirs[3] = {-1, -1, -1};
    _cleanup_err_ struct err e = ERR_INIT;

    if (open_pairs(c->request, ours, theirs, &e) < 0) {
        for (int i = 0; i < 3; i++) {
            fd_close(ours[i]);
            fd_close(theirs[i]);
        }
        command_fail(c, &e);
        return;
    }
    const struct container *container = container_find(pods, c->request->id, NULL);
    c->stdin_once = container && container->stdin_once && !container->tty;
    struct attach_call *call = xnew(struct attach_call);
    call->command = c;
    c->attaching = call;
    container_attach(pods, c->request->id, theirs, on_attached, call);
    for (int i = CHANNEL_STDOUT; i <= CHANNEL_STDERR; i++)
        if (ours[i] >= 0)
            command_set_output(c, (enum channel)i, ours[i]);
    if (ours[0] >= 0)
        command_set_stdin(c, ours[0]);
}

static void attach_resize(struct command *c, uint32_t width, uint32_t height)
{
    if (c->attached)
        container_resize(session_pods(&c->session), c->request->id, width, height);
}

static void attach_on_stdin_end(struct command *c)
{
    /* Closed already: the container takes no input, and the client came for its output. */
    bool was_writable = duct_is_writable(&c->in);

    duct_write_end(&c->in);
    if (was_writable && !c->stdin_once)
        command_succeed(c);
}

static void attach_stop(struct command *c)
{
    timer_free(take_ptr(c->timer));
    if (c->attaching)
        c->attaching->command = NULL;
}

const struct command_kind attach_kind = {
    .start = attach_start,
    .resize = attach_resize,
    .on_stdin_end = attach_on_stdin_end,
    .on_output_end = attach_on_output_end,
    .stop = attach_stop,
};
