/*
 * forward_ws.c - port forwarding in the messages of a WebSocket, as older clients do it.
 *
 * The ports are those of the request, each dialled once and at once: channel 2i carries the data of
 * port i, 2i+1 its errors. The first message on each is the port, in two bytes, the low one first.
 * The older protocols have no half-close; podd's own has: a message on channel 255, from either
 * side, holds the number of the data channel that ends. The session ends when all ports have.
 */
#include "stream_forward.h"
#include "ws_channel.h"

enum { CLOSE_SIGNAL = 255 };

struct forward_ws {
    struct forward base;
    bool close_signal;
    struct multiplex multiplex;
    struct ws_pair *pairs[FORWARD_PORTS_MAX]; /* NULL: over */
};

struct ws_pair {
    struct forward_pair base;
    unsigned index;
};

static struct forward_ws *self(struct forward *f)
{
    return container_of(f, struct forward_ws, base);
}

static struct ws_pair *pair_of(struct forward_pair *p)
{
    return container_of(p, struct ws_pair, base);
}

/* ---- Pairs ---------------------------------------------------------------------------------- */

static void pair_free(struct ws_pair *p)
{
    struct forward_ws *f = self(p->base.forward);

    f->pairs[p->index] = NULL;
    forward_pair_clear(&p->base);
    free(p);
}

static void pair_send(struct forward_pair *base, const void *data, size_t len)
{
    struct ws_pair *p = pair_of(base);

    multiplex_send(&self(base->forward)->multiplex, 2 * p->index, data, len);
}

static void pair_send_end(struct forward_pair *base)
{
    struct forward_ws *f = self(base->forward);
    uint8_t channel = (uint8_t)(2 * pair_of(base)->index);

    if (f->close_signal)
        multiplex_send(&f->multiplex, CLOSE_SIGNAL, &channel, 1);
}

static void session_over(struct forward_ws *f);

static void end_if_done(struct forward_ws *f)
{
    if (f->base.n_pairs > 0 || f->base.over)
        return;
    wire_finish(&f->base.wire, WS_NORMAL);
    session_over(f);
}

static void pair_over(struct forward_pair *base, const char *failure, bool broken)
{
    struct ws_pair *p = pair_of(base);
    struct forward_ws *f = self(base->forward);

    if (failure || broken) {
        _cleanup_free_ char *text =
            xasprintf("forward port %u to pod %.12s: %s", base->port, base->forward->request->id,
                      failure ? failure : "the connection was cut");
        multiplex_send(&f->multiplex, 2 * p->index + 1, text, strlen(text));
    }
    pair_free(p);
    end_if_done(f);
}

/* ---- The end of the session ------------------------------------------------------------------ */

static void free_later(void *arg)
{
    struct forward_ws *f = arg;

    multiplex_free(&f->multiplex);
    free(f);
}

static void session_over(struct forward_ws *f)
{
    struct loop *loop = session_loop(&f->base.session);

    if (f->base.over)
        return;
    f->base.over = true;
    for (size_t i = 0; i < ARRAY_SIZE(f->pairs); i++)
        if (f->pairs[i])
            pair_free(f->pairs[i]);
    forward_end(&f->base);
    loop_post(loop, free_later, f);
}

static void finish(struct forward *base)
{
    struct forward_ws *f = self(base);

    wire_finish(&base->wire, WS_NORMAL);
    session_over(f);
}

/* ---- The link ------------------------------------------------------------------------------- */

static struct ws_pair *find_pair(struct forward_ws *f, unsigned channel)
{
    return channel % 2 == 0 && channel / 2 < ARRAY_SIZE(f->pairs) ? f->pairs[channel / 2] : NULL;
}

static void on_message(struct forward_ws *f, unsigned channel, const uint8_t *payload, size_t n)
{
    bool closes = f->close_signal && channel == CLOSE_SIGNAL && n == 1;
    struct ws_pair *p = find_pair(f, closes ? payload[0] : channel);

    if (p && closes && !p->base.client_ended)
        forward_input_end(&p->base);
    else if (p && !closes && !p->base.client_ended && n > 0)
        forward_input(&p->base, payload, n);
}

static void on_link_data(void *arg, const uint8_t *data, size_t len)
{
    struct forward_ws *f = arg;
    const uint8_t *payload;
    unsigned channel;
    size_t n;
    int r = 0;

    while (!f->base.over &&
           (r = multiplex_next(&f->multiplex, &data, &len, &channel, &payload, &n)) > 0)
        on_message(f, channel, payload, n);
    if (r < 0)
        session_over(f);
}

static void on_link_writable(void *arg)
{
    struct forward_ws *f = arg;

    forward_resume(&f->base);
}

static void on_link_gone(void *arg)
{
    session_over(arg);
}

/* All are announced and known before the first is dialled, which may fail at once. */
static void dial_all(struct forward_ws *f)
{
    const struct stream_request *r = f->base.request;
    size_t n = r->n_ports;

    for (unsigned i = 0; i < n; i++) {
        uint8_t port[] = {(uint8_t)r->ports[i], (uint8_t)(r->ports[i] >> 8)};
        multiplex_send(&f->multiplex, 2 * i, port, sizeof(port));
        multiplex_send(&f->multiplex, 2 * i + 1, port, sizeof(port));
        f->pairs[i] = xnew(struct ws_pair);
        f->pairs[i]->index = i;
        forward_pair_init(&f->pairs[i]->base, &f->base, r->ports[i]);
        f->pairs[i]->base.can_half_close = f->close_signal;
    }
    for (size_t i = 0; i < n && !f->base.over; i++)
        if (f->pairs[i])
            forward_dial(&f->pairs[i]->base);
    end_if_done(f);
}

void forward_ws_open(struct stream_server *server, struct link *link_take,
                     const struct stream_protocol *protocol, struct stream_request *request_take,
                     const uint8_t *leftover, size_t len)
{
    static const struct forward_ops ops = {pair_send, pair_send_end, pair_over, finish};
    static const struct link_events link_events = {on_link_data, on_link_writable, on_link_gone};
    struct forward_ws *f = xnew(struct forward_ws);

    f->close_signal = protocol->close_signal;
    forward_init(&f->base, server, link_take, true, request_take, &ops);
    multiplex_init(&f->multiplex, &f->base.wire, protocol->base64);
    link_set_owner(link_take, &link_events, f);
    dial_all(f);
    on_link_data(f, leftover, len);
}
