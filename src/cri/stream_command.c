/*
 * stream_command.c - a session of exec or attach: moves bytes between a client's channels and the
 * descriptors of a command, and tells the client how it ended.
 *
 *   channels --on_ready--> kind->start() --descriptors--> moving --command_succeed() etc.--> over
 *
 * Nothing is kept without a bound. When the link is full, the outputs are not read until it has
 * room; when STDIN_MAX bytes of input wait for the command, the client is not read.
 *
 * A session owns everything that belongs to it, and command_end() is the one way out: after it the
 * object only waits for its memory to be freed, which the loop does when no call is inside it any
 * more.
 */
#include "stream_command.h"

enum { STDIN_MAX = 1 << 20, STDIN_LOW = 256 << 10, DRAIN_MAX = 1 << 20 };

void channels_want(struct channels *c, const struct stream_request *request)
{
    c->wanted[CHANNEL_STDIN] = request->with_stdin;
    c->wanted[CHANNEL_STDOUT] = request->with_stdout;
    c->wanted[CHANNEL_STDERR] = request->with_stderr && !request->tty;
    c->wanted[CHANNEL_ERROR] = true;
    c->wanted[CHANNEL_RESIZE] = request->tty && c->protocol->resize;
}

/* ---- The end -------------------------------------------------------------------------------- */

static void free_later(void *arg)
{
    free(arg);
}

static void command_end(struct command *c)
{
    if (c->over)
        return;
    c->over = true;
    c->kind->stop(c);
    duct_close(&c->in);
    for (int i = 0; i < 2; i++)
        duct_close(&c->out[i]);
    channels_free(take_ptr(c->channels));
    strbuf_free(&c->early);
    resize_free(&c->resize);
    stream_request_free(take_ptr(c->request));
    err_clear(&c->failure);
    struct loop *loop = session_loop(&c->session);
    session_end(&c->session);
    loop_post(loop, free_later, c);
}

/* Takes the status. */
static void finish(struct command *c, char *status_take)
{
    _cleanup_free_ char *status = status_take;

    if (c->over)
        return;
    if (!str_empty(status))
        channels_send(c->channels, CHANNEL_ERROR, status, strlen(status));
    channels_finish(c->channels);
    command_end(c);
}

void command_succeed(struct command *c)
{
    finish(c, status_success(c->channels->protocol->json_status));
}

void command_exited(struct command *c, int exit_code)
{
    finish(c, status_exit_code(c->channels->protocol->json_status, exit_code));
}

void command_fail(struct command *c, const struct err *e)
{
    finish(c, status_failure(c->channels->protocol->json_status, e));
}

static void shut(struct session *s)
{
    struct command *c = container_of(s, struct command, session);
    _cleanup_err_ struct err e = ERR_INIT;

    err_set(&e, ERR_UNAVAILABLE, "podd is stopping, and the session ends with it");
    command_fail(c, &e);
}

/* ---- From the command ----------------------------------------------------------------------- */

static void hold_outputs(struct command *c, bool held)
{
    if (c->terminal)
        duct_hold(&c->in, held);
    for (int i = 0; i < 2; i++)
        duct_hold(&c->out[i], held);
}

static void forward_output(struct command *c, const struct duct *d, const uint8_t *data, size_t len)
{
    enum channel channel = d == &c->out[1] ? CHANNEL_STDERR : CHANNEL_STDOUT;

    if (c->channels->wanted[channel])
        channels_send(c->channels, channel, data, len);
}

static void on_output(void *arg, struct duct *d, const uint8_t *data, size_t len)
{
    struct command *c = arg;

    forward_output(c, d, data, len);
    if (channels_are_full(c->channels))
        hold_outputs(c, true);
}

bool command_outputs_ended(const struct command *c)
{
    return !duct_is_readable(&c->in) && !duct_is_readable(&c->out[0]) &&
           !duct_is_readable(&c->out[1]);
}

bool command_has_ended_output(const struct command *c)
{
    for (int i = 0; i < 2; i++)
        if (c->out_open[i] && !duct_is_readable(&c->out[i]))
            return true;
    return false;
}

static void on_output_end(void *arg, struct duct *d, bool broken)
{
    struct command *c = arg;

    c->kind->on_output_end(c);
}

static void drain_duct(struct command *c, struct duct *d)
{
    static uint8_t buffer[64 << 10];
    size_t sum = 0;
    ssize_t n;

    while (duct_is_readable(d) && sum < DRAIN_MAX &&
           (n = read(d->fd, buffer, sizeof(buffer))) > 0) {
        forward_output(c, d, buffer, (size_t)n);
        sum += (size_t)n;
    }
}

void command_drain(struct command *c)
{
    drain_duct(c, &c->in);
    drain_duct(c, &c->out[0]);
    drain_duct(c, &c->out[1]);
}

/* ---- To the command ------------------------------------------------------------------------- */

static void balance_input(struct command *c)
{
    size_t waiting = c->early.len + duct_waiting(&c->in);
    bool pause = c->paused ? waiting > STDIN_LOW : waiting >= STDIN_MAX;

    if (pause == c->paused)
        return;
    c->paused = pause;
    channels_pause(c->channels, pause);
}

static void check_stdin_end(struct command *c)
{
    if (c->in_ended && c->in_open && duct_waiting(&c->in) == 0)
        c->kind->on_stdin_end(c);
}

static void on_stdin_taken(void *arg, struct duct *d)
{
    struct command *c = arg;

    balance_input(c);
    if (!duct_is_writable(d) && !c->in_ended)
        channels_end(c->channels, CHANNEL_STDIN); /* nobody reads it any more */
    else
        check_stdin_end(c);
}

static const struct duct_events duct_events = {on_output, on_output_end, on_stdin_taken};

static void stdin_opened(struct command *c)
{
    c->in_open = true;
    if (c->early.len > 0)
        duct_write(&c->in, c->early.data, c->early.len);
    strbuf_free(&c->early);
    balance_input(c);
    check_stdin_end(c);
}

void command_set_stdin(struct command *c, int fd_take)
{
    (void)fd_set_nonblock(fd_take, true);
    duct_open(&c->in, session_loop(&c->session), fd_take, DUCT_WRITE, &duct_events, c);
    stdin_opened(c);
}

void command_set_output(struct command *c, enum channel channel, int fd_take)
{
    int i = channel == CHANNEL_STDERR;

    (void)fd_set_nonblock(fd_take, true);
    c->out_open[i] = true;
    duct_open(&c->out[i], session_loop(&c->session), fd_take, DUCT_READ, &duct_events, c);
}

void command_set_terminal(struct command *c, int fd_take)
{
    (void)fd_set_nonblock(fd_take, true);
    c->terminal = true;
    duct_open(&c->in, session_loop(&c->session), fd_take, DUCT_READ | DUCT_WRITE, &duct_events, c);
    stdin_opened(c);
}

/* ---- What the client does ------------------------------------------------------------------- */

static void on_ready(void *arg)
{
    struct command *c = arg;

    c->kind->start(c);
}

static void on_resize(struct command *c, const uint8_t *data, size_t len)
{
    uint16_t width, height;

    if (!resize_input(&c->resize, data, len, &width, &height))
        return;
    c->width = width;
    c->height = height;
    c->kind->resize(c, width, height);
}

static void on_data(void *arg, enum channel channel, const uint8_t *data, size_t len)
{
    struct command *c = arg;

    if (channel == CHANNEL_RESIZE) {
        on_resize(c, data, len);
    } else if (!c->in_open) {
        strbuf_add(&c->early, data, len);
        balance_input(c);
    } else {
        bool writable = duct_is_writable(&c->in);
        duct_write(&c->in, data, len);
        balance_input(c);
        if (writable && !duct_is_writable(&c->in))
            channels_end(c->channels, CHANNEL_STDIN);
    }
}

static void on_end(void *arg, enum channel channel)
{
    struct command *c = arg;

    if (channel != CHANNEL_STDIN)
        return;
    c->in_ended = true;
    check_stdin_end(c);
}

static void on_writable(void *arg)
{
    hold_outputs(arg, false);
}

static void on_gone(void *arg)
{
    command_end(arg);
}

void command_open(struct stream_server *server, struct link *link_take,
                  const struct stream_protocol *protocol, struct stream_request *request_take,
                  const uint8_t *leftover, size_t len)
{
    static const struct channel_events events = {on_ready, on_data, on_end, on_writable, on_gone};
    struct command *c = xnew(struct command);

    session_begin(&c->session, server, shut);
    c->kind = request_take->kind == STREAM_EXEC ? &exec_kind : &attach_kind;
    c->request = request_take;
    c->in = c->out[0] = c->out[1] = DUCT_NULL;
    struct loop *loop = session_loop(&c->session);
    c->channels = (protocol->format == FORMAT_SPDY ? channels_spdy_new : channels_ws_new)(
        loop, link_take, protocol, request_take, &events, c);
    channels_input(c->channels, leftover, len);
}
