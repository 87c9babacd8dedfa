/*
 * channels_spdy.c - a command's streams as SPDY streams.
 *
 * The client opens one stream for each channel, named by its header `streamtype`, and waits for
 * each reply, so each is answered at once. When the set is complete, which must be soon, the
 * session begins. A stream that is unknown, comes twice or was not asked for is refused.
 *
 * The end, in this order: the outputs have been ended, the status is on the error stream, which
 * ends; what is left is reset; goodbye. Clients return when the outputs and the error stream have
 * ended.
 */
#include "spdy.h"
#include "stream_channels.h"

enum { CREATION_MS = 30000, STREAMS_MAX = CHANNEL_N };

static const char *const channel_names[] = {"stdin", "stdout", "stderr", "error", "resize"};
_Static_assert(ARRAY_SIZE(channel_names) == CHANNEL_N, "every channel has a name");

struct channel_stream {
    enum channel channel;
    uint32_t id; /* 0: not opened yet */
};

struct channels_spdy {
    struct channels base;
    struct loop *loop;
    struct link *link; /* NULL: let go */
    struct spdy *spdy;
    struct timer *timer; /* until all streams are there */
    bool ready, over;
    struct channel_stream streams[CHANNEL_N];
};

static struct channels_spdy *self(struct channels *c)
{
    return container_of(c, struct channels_spdy, base);
}

/* ---- The end -------------------------------------------------------------------------------- */

static void free_later(void *arg)
{
    struct channels_spdy *c = arg;

    spdy_free(c->spdy);
    free(c);
}

static void spdy_channels_free(struct channels *base)
{
    struct channels_spdy *c = self(base);

    c->over = true;
    timer_free(take_ptr(c->timer));
    link_free(take_ptr(c->link));
    loop_post(c->loop, free_later, c);
}

static void say_goodbye(struct channels_spdy *c)
{
    if (!c->link)
        return;
    spdy_goodbye(c->spdy);
    link_finish(take_ptr(c->link));
}

static void spdy_channels_finish(struct channels *base)
{
    struct channels_spdy *c = self(base);

    if (c->over)
        return;
    c->over = true;
    timer_free(take_ptr(c->timer));
    spdy_end(c->spdy, c->streams[CHANNEL_STDOUT].id);
    spdy_end(c->spdy, c->streams[CHANNEL_STDERR].id);
    spdy_end(c->spdy, c->streams[CHANNEL_ERROR].id);
    spdy_reset(c->spdy, c->streams[CHANNEL_STDIN].id);
    spdy_reset(c->spdy, c->streams[CHANNEL_RESIZE].id);
    say_goodbye(c);
}

static void client_gone(struct channels_spdy *c)
{
    if (c->over)
        return;
    c->over = true;
    timer_free(take_ptr(c->timer));
    c->base.events->on_gone(c->base.arg);
}

static void on_creation_timeout(void *arg)
{
    struct channels_spdy *c = arg;

    say_goodbye(c);
    client_gone(c);
}

/* ---- Streams -------------------------------------------------------------------------------- */

static void wire_out(void *arg, const struct iovec *pieces, int count)
{
    struct channels_spdy *c = arg;

    if (c->link)
        link_sendv(c->link, pieces, count);
}

static bool is_complete(const struct channels_spdy *c)
{
    for (int i = 0; i < CHANNEL_N; i++)
        if (c->base.wanted[i] && c->streams[i].id == 0)
            return false;
    return true;
}

static void on_open(void *arg, uint32_t id, const struct spdy_event *event)
{
    struct channels_spdy *c = arg;
    const char *type = spdy_header(event, "streamtype");
    int i = 0;

    while (i < CHANNEL_N && !str_equal(type, channel_names[i]))
        i++;
    if (c->over || i == CHANNEL_N || !c->base.wanted[i] || c->streams[i].id) {
        spdy_refuse(c->spdy, id);
        return;
    }
    c->streams[i].id = id;
    spdy_accept(c->spdy, id, &c->streams[i]);
    if (c->ready || !is_complete(c))
        return;
    c->ready = true;
    timer_free(take_ptr(c->timer));
    c->base.events->on_ready(c->base.arg);
}

static bool is_input(enum channel channel)
{
    return channel == CHANNEL_STDIN || channel == CHANNEL_RESIZE;
}

static void on_data(void *arg, void *user, const uint8_t *data, size_t len)
{
    struct channels_spdy *c = arg;
    const struct channel_stream *s = user;

    if (!c->over && is_input(s->channel))
        c->base.events->on_data(c->base.arg, s->channel, data, len);
}

static void on_end(void *arg, void *user, bool reset)
{
    struct channels_spdy *c = arg;
    const struct channel_stream *s = user;

    if (!c->over && is_input(s->channel))
        c->base.events->on_end(c->base.arg, s->channel);
}

static void spdy_channels_input(struct channels *base, const uint8_t *data, size_t len)
{
    struct channels_spdy *c = self(base);

    if (c->over || spdy_input(c->spdy, data, len) || c->over)
        return;
    if (c->link)
        link_finish(take_ptr(c->link)); /* the last frame has been sent */
    client_gone(c);
}

static void spdy_channels_send(struct channels *base, enum channel channel, const void *data,
                               size_t len)
{
    struct channels_spdy *c = self(base);

    spdy_send(c->spdy, c->streams[channel].id, data, len);
}

static void spdy_channels_end(struct channels *base, enum channel channel)
{
    struct channels_spdy *c = self(base);

    if (is_input(channel))
        spdy_reset(c->spdy, c->streams[channel].id);
    else
        spdy_end(c->spdy, c->streams[channel].id);
}

static void spdy_channels_pause(struct channels *base, bool paused)
{
    struct channels_spdy *c = self(base);

    if (c->link)
        link_pause(c->link, paused);
}

static bool spdy_channels_are_full(struct channels *base)
{
    struct channels_spdy *c = self(base);

    return c->link && link_is_full(c->link);
}

/* ---- The link ------------------------------------------------------------------------------- */

static void on_link_data(void *arg, const uint8_t *data, size_t len)
{
    spdy_channels_input(arg, data, len);
}

static void on_link_writable(void *arg)
{
    struct channels_spdy *c = arg;

    c->base.events->on_writable(c->base.arg);
}

static void on_link_gone(void *arg)
{
    client_gone(arg);
}

struct channels *channels_spdy_new(struct loop *loop, struct link *link_take,
                                   const struct stream_protocol *protocol,
                                   const struct stream_request *request,
                                   const struct channel_events *events, void *arg)
{
    static const struct spdy_events spdy_events = {wire_out, on_open, on_data, on_end};
    static const struct link_events link_events = {on_link_data, on_link_writable, on_link_gone};
    static const struct channels_ops ops = {
        .input = spdy_channels_input,
        .send = spdy_channels_send,
        .end = spdy_channels_end,
        .pause = spdy_channels_pause,
        .finish = spdy_channels_finish,
        .free = spdy_channels_free,
        .is_full = spdy_channels_are_full,
    };
    struct channels_spdy *c = xnew(struct channels_spdy);

    c->base = (struct channels){.ops = &ops, .protocol = protocol, .events = events, .arg = arg};
    channels_want(&c->base, request);
    c->loop = loop;
    c->link = link_take;
    c->spdy = spdy_new(STREAMS_MAX, &spdy_events, c);
    for (int i = 0; i < CHANNEL_N; i++)
        c->streams[i] = (struct channel_stream){.channel = (enum channel)i};
    c->timer = timer_new(loop, on_creation_timeout, c);
    timer_start(c->timer, CREATION_MS);
    link_set_owner(c->link, &link_events, c);
    return &c->base;
}
