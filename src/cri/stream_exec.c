/*
 * stream_exec.c - exec: a command run in a container for a client that is connected.
 *
 *   start() --on_start--> running --on_exit--> draining --outputs at their end, or DRAIN_MS--> over
 *
 * Draining is bounded because what the command has left in the background may hold the pipes for
 * ever. The time counts only while the client takes what there is: all that the command wrote
 * arrives.
 *
 * When the client goes away the command is killed, with all that it has started: nobody is there
 * who could end it.
 */
#include <fcntl.h>

#include "stream_command.h"

enum { DRAIN_MS = 1000 };

static void exec_finish(struct command *c)
{
    if (c->failure.code != ERR_OK)
        command_fail(c, &c->failure);
    else
        command_exited(c, c->exit_code);
}

static void on_drain_time(void *arg)
{
    struct command *c = arg;

    if (channels_are_full(c->channels)) {
        timer_start(c->timer, DRAIN_MS);
        return;
    }
    command_drain(c);
    exec_finish(c);
}

static void exec_on_output_end(struct command *c)
{
    if (c->exited && command_outputs_ended(c))
        exec_finish(c);
}

static void on_started(void *arg, int tty_master_take, const struct err *e)
{
    struct command *c = arg;

    if (e->code != ERR_OK) {
        c->exec = NULL;
        fd_close(tty_master_take);
        command_fail(c, e);
        return;
    }
    c->started = true;
    if (c->width)
        exec_resize(c->exec, c->width, c->height);
    if (tty_master_take >= 0)
        command_set_terminal(c, tty_master_take);
}

static void on_exited(void *arg, int exit_code, const struct err *e)
{
    struct command *c = arg;

    c->exec = NULL;
    c->exited = true;
    c->exit_code = exit_code;
    if (e->code != ERR_OK)
        err_copy(&c->failure, e);
    if (command_outputs_ended(c)) {
        exec_finish(c);
        return;
    }
    c->timer = timer_new(session_loop(&c->session), on_drain_time, c);
    timer_start(c->timer, DRAIN_MS);
}

/* One pipe; ours is the end that the session keeps. */
static int open_pipe(bool ours_writes, int *ret_ours, int *ret_theirs, struct err *e)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_errno(e, errno, "make a pipe for an exec");
    *ret_ours = fds[ours_writes];
    *ret_theirs = fds[!ours_writes];
    return 0;
}

static int open_pipes(const struct stream_request *r, int ours[3], int theirs[3], struct err *e)
{
    if (r->with_stdin && open_pipe(true, &ours[0], &theirs[0], e) < 0)
        return -1;
    if (r->with_stdout && open_pipe(false, &ours[1], &theirs[1], e) < 0)
        return -1;
    if (r->with_stderr && open_pipe(false, &ours[2], &theirs[2], e) < 0)
        return -1;
    return 0;
}

static void exec_start(struct command *c)
{
    static const struct exec_stream_events events = {on_started, on_exited};
    const struct stream_request *r = c->request;
    int ours[3] = {-1, -1, -1}, theirs[3] = {-1, -1, -1};
    _cleanup_err_ struct err e = ERR_INIT;

    if (!r->tty && open_pipes(r, ours, theirs, &e) < 0) {
        for (int i = 0; i < 3; i++) {
            fd_close(ours[i]);
            fd_close(theirs[i]);
        }
        command_fail(c, &e);
        return;
    }
    c->exec = container_exec_stream(session_pods(&c->session), r->id, r->argv, r->tty, theirs,
                                    &events, c);
    for (int i = CHANNEL_STDOUT; i <= CHANNEL_STDERR; i++)
        if (ours[i] >= 0)
            command_set_output(c, (enum channel)i, ours[i]);
    if (ours[0] >= 0)
        command_set_stdin(c, ours[0]);
}

static void exec_set_size(struct command *c, uint32_t width, uint32_t height)
{
    if (c->exec && c->started)
        exec_resize(c->exec, width, height);
}

/* A terminal has no end of input of its own: programs there are told by a character. */
static void exec_on_stdin_end(struct command *c)
{
    if (!c->terminal)
        duct_write_end(&c->in);
}

static void exec_stop(struct command *c)
{
    timer_free(take_ptr(c->timer));
    if (c->exec)
        exec_cancel(take_ptr(c->exec));
}

const struct command_kind exec_kind = {
    .start = exec_start,
    .resize = exec_set_size,
    .on_stdin_end = exec_on_stdin_end,
    .on_output_end = exec_on_output_end,
    .stop = exec_stop,
};
