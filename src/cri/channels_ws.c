/*
 * channels_ws.c - a command's streams as messages of a WebSocket.
 *
 * There is no set-up: the session begins at once, with an empty message on the first output
 * channel. Only the fifth version of the protocol can end its input, by a signal on a channel of
 * its own.
 *
 * A client of the fifth version pings and hangs up when no pong comes for a minute. While it is
 * held back its pings are not read, so it gets pongs that it has not asked for.
 */
#include "stream_channels.h"
#include "ws_channel.h"

enum { PONG_MS = 20000, CLOSE_SIGNAL = 255 };

struct channels_ws {
    struct channels base;
    struct loop *loop;
    struct wire wire;
    struct multiplex multiplex;
    struct timer *pongs; /* runs while paused */
    bool begun, paused, over;
};

static struct channels_ws *self(struct channels *c)
{
    return container_of(c, struct channels_ws, base);
}

/* ---- The end -------------------------------------------------------------------------------- */

static void free_later(void *arg)
{
    struct channels_ws *c = arg;

    multiplex_free(&c->multiplex);
    wire_free(&c->wire);
    free(c);
}

static void ws_channels_free(struct channels *base)
{
    struct channels_ws *c = self(base);

    c->over = true;
    timer_free(take_ptr(c->pongs));
    link_free(take_ptr(c->wire.link));
    loop_post(c->loop, free_later, c);
}

static void ws_channels_finish(struct channels *base)
{
    struct channels_ws *c = self(base);

    if (c->over)
        return;
    c->over = true;
    timer_free(take_ptr(c->pongs));
    wire_finish(&c->wire, WS_NORMAL);
}

static void client_gone(struct channels_ws *c)
{
    if (c->over)
        return;
    c->over = true;
    timer_free(take_ptr(c->pongs));
    c->base.events->on_gone(c->base.arg);
}

/* ---- Sending -------------------------------------------------------------------------------- */

static void ws_channels_send(struct channels *base, enum channel channel, const void *data,
                             size_t len)
{
    struct channels_ws *c = self(base);

    if (!base->wanted[channel] || c->over)
        return;
    multiplex_send(&c->multiplex, channel, data, len);
}

/* The protocol has no end of a single output. */
static void ws_channels_end(struct channels *base, enum channel channel)
{
}

static void begin(struct channels_ws *c)
{
    enum channel first = CHANNEL_STDOUT;

    while (!c->base.wanted[first]) /* the error channel always is */
        first++;
    ws_channels_send(&c->base, first, "", 0);
    c->begun = true;
    c->base.events->on_ready(c->base.arg);
}

/* ---- Receiving ------------------------------------------------------------------------------ */

static void on_message(struct channels_ws *c, unsigned channel, const uint8_t *data, size_t len)
{
    bool is_input = channel == CHANNEL_STDIN || channel == CHANNEL_RESIZE;

    if (channel == CLOSE_SIGNAL && c->base.protocol->close_signal) {
        if (len == 1 && data[0] < CHANNEL_N) {
            if (data[0] == CHANNEL_STDIN && c->base.wanted[CHANNEL_STDIN])
                c->base.events->on_end(c->base.arg, CHANNEL_STDIN);
        } else {
            wire_finish(&c->wire, WS_PROTOCOL_ERROR);
            client_gone(c);
        }
    } else if (is_input && c->base.wanted[channel] && len > 0) {
        c->base.events->on_data(c->base.arg, (enum channel)channel, data, len);
    }
}

static void ws_channels_input(struct channels *base, const uint8_t *data, size_t len)
{
    struct channels_ws *c = self(base);
    const uint8_t *payload;
    unsigned channel;
    size_t n;
    int r = 0;

    if (!c->begun && !c->over)
        begin(c);
    while (!c->over && (r = multiplex_next(&c->multiplex, &data, &len, &channel, &payload, &n)) > 0)
        on_message(c, channel, payload, n);
    if (r < 0)
        client_gone(c);
}

/* ---- Holding back --------------------------------------------------------------------------- */

static void on_pong_time(void *arg)
{
    struct channels_ws *c = arg;

    wire_pong(&c->wire, "", 0);
    timer_start(c->pongs, PONG_MS);
}

static void ws_channels_pause(struct channels *base, bool paused)
{
    struct channels_ws *c = self(base);

    if (!c->wire.link || c->paused == paused)
        return;
    c->paused = paused;
    link_pause(c->wire.link, paused);
    if (paused)
        timer_start(c->pongs, PONG_MS);
    else
        timer_stop(c->pongs);
}

static bool ws_channels_are_full(struct channels *base)
{
    struct channels_ws *c = self(base);

    return c->wire.link && link_is_full(c->wire.link);
}

/* ---- The link ------------------------------------------------------------------------------- */

static void on_link_data(void *arg, const uint8_t *data, size_t len)
{
    ws_channels_input(arg, data, len);
}

static void on_link_writable(void *arg)
{
    struct channels_ws *c = arg;

    c->base.events->on_writable(c->base.arg);
}

static void on_link_gone(void *arg)
{
    client_gone(arg);
}

struct channels *channels_ws_new(struct loop *loop, struct link *link_take,
                                 const struct stream_protocol *protocol,
                                 const struct stream_request *request,
                                 const struct channel_events *events, void *arg)
{
    static const struct link_events link_events = {on_link_data, on_link_writable, on_link_gone};
    static const struct channels_ops ops = {
        .input = ws_channels_input,
        .send = ws_channels_send,
        .end = ws_channels_end,
        .pause = ws_channels_pause,
        .finish = ws_channels_finish,
        .free = ws_channels_free,
        .is_full = ws_channels_are_full,
    };
    struct channels_ws *c = xnew(struct channels_ws);

    c->base = (struct channels){.ops = &ops, .protocol = protocol, .events = events, .arg = arg};
    channels_want(&c->base, request);
    c->loop = loop;
    wire_init(&c->wire, link_take, true);
    multiplex_init(&c->multiplex, &c->wire, protocol->base64);
    c->pongs = timer_new(loop, on_pong_time, c);
    link_set_owner(c->wire.link, &link_events, c);
    return &c->base;
}
