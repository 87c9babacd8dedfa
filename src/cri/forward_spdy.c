/*
 * forward_spdy.c - port forwarding over SPDY, directly or in a WebSocket.
 *
 * For each connection the client opens two streams with the same `requestid`: one for errors, one
 * for data, both with the `port`. The pair is dialled once both are there. A failure is text on the
 * error stream, then both are reset; a connection that is cut later only resets its data stream,
 * for today's clients give up all their forwards at the first error text.
 *
 * The session lasts until the client leaves; pairs come and go.
 */
#include <stdio.h>

#include "spdy.h"
#include "stream_forward.h"

enum { PAIRS_MAX = 1024, CREATION_MS = 30000, KEY_MAX = 64 };

struct forward_spdy {
    struct forward base;
    struct spdy *spdy;
    struct map *by_key;
};

/* What a stream was accepted with. */
struct end {
    struct spdy_pair *pair;
    uint32_t id; /* 0: not opened yet */
};

struct spdy_pair {
    struct forward_pair base;
    char key[KEY_MAX + 4];
    struct end data, error;
    struct timer *creation; /* until both are there */
};

static struct forward_spdy *self(struct forward *f)
{
    return container_of(f, struct forward_spdy, base);
}

static struct spdy_pair *pair_of(struct forward_pair *p)
{
    return container_of(p, struct spdy_pair, base);
}

/* ---- Pairs ---------------------------------------------------------------------------------- */

static void pair_free(struct spdy_pair *p)
{
    struct forward_spdy *f = self(p->base.forward);

    /* Of those that have ended on both sides nothing is left to reset. */
    spdy_reset(f->spdy, p->data.id);
    spdy_reset(f->spdy, p->error.id);
    map_remove(f->by_key, p->key);
    timer_free(p->creation);
    forward_pair_clear(&p->base);
    free(p);
}

static void pair_send(struct forward_pair *base, const void *data, size_t len)
{
    struct spdy_pair *p = pair_of(base);

    spdy_send(self(base->forward)->spdy, p->data.id, data, len);
}

static void pair_send_end(struct forward_pair *base)
{
    struct spdy_pair *p = pair_of(base);

    spdy_end(self(base->forward)->spdy, p->data.id);
}

static void pair_over(struct forward_pair *base, const char *failure, bool broken)
{
    struct spdy_pair *p = pair_of(base);
    struct spdy *spdy = self(base->forward)->spdy;

    if (failure) {
        _cleanup_free_ char *text = xasprintf("forward port %u to pod %.12s: %s", base->port,
                                              base->forward->request->id, failure);
        spdy_send(spdy, p->error.id, text, strlen(text));
    } else {
        spdy_end(spdy, p->error.id);
    }
    pair_free(p);
}

static void on_creation_timeout(void *arg)
{
    struct spdy_pair *p = arg;

    pair_over(&p->base, "only one of its two streams was opened", false);
}

static struct spdy_pair *pair_new(struct forward_spdy *f, const char *key, uint16_t port)
{
    struct spdy_pair *p = xnew(struct spdy_pair);

    forward_pair_init(&p->base, &f->base, port);
    p->base.can_half_close = true;
    snprintf(p->key, sizeof(p->key), "%s", key);
    p->data.pair = p->error.pair = p;
    map_put(f->by_key, p->key, p);
    p->creation = timer_new(session_loop(&f->base.session), on_creation_timeout, p);
    timer_start(p->creation, CREATION_MS);
    return p;
}

/* ---- The end of the session ------------------------------------------------------------------ */

static void free_later(void *arg)
{
    struct forward_spdy *f = arg;

    spdy_free(f->spdy);
    map_free(f->by_key);
    free(f);
}

static void session_over(struct forward_spdy *f)
{
    struct loop *loop = session_loop(&f->base.session);

    if (f->base.over)
        return;
    list_for_each_safe (it, &f->base.pairs)
        pair_free(pair_of(container_of(it, struct forward_pair, siblings)));
    forward_end(&f->base);
    loop_post(loop, free_later, f);
}

static void finish(struct forward *base)
{
    struct forward_spdy *f = self(base);

    spdy_goodbye(f->spdy);
    wire_finish(&base->wire, WS_NORMAL);
    session_over(f);
}

/* ---- Streams -------------------------------------------------------------------------------- */

static void wire_out(void *arg, const struct iovec *pieces, int count)
{
    struct forward_spdy *f = arg;

    wire_send(&f->base.wire, WS_BINARY, pieces, count);
}

/* What both streams of a pair have in common. Very old clients send no id, and open the error
 * stream right before the data stream. False: there is none. */
static bool find_key(const struct spdy_event *event, uint32_t id, bool is_data,
                     char ret[KEY_MAX + 4])
{
    const char *request = spdy_header(event, "requestid");

    if (request && strlen(request) > KEY_MAX)
        return false;
    if (request)
        snprintf(ret, KEY_MAX + 4, "r:%s", request);
    else
        snprintf(ret, KEY_MAX + 4, "s:%u", is_data ? id - 2 : id);
    return true;
}

static void on_open(void *arg, uint32_t id, const struct spdy_event *event)
{
    struct forward_spdy *f = arg;
    const char *type = spdy_header(event, "streamtype");
    const char *port_text = spdy_header(event, "port");
    bool is_data = str_equal(type, "data");
    char key[KEY_MAX + 4];
    uint64_t port;

    if (f->base.over || (!is_data && !str_equal(type, "error")) || !port_text ||
        parse_uint(port_text, UINT16_MAX, &port) < 0 || port == 0 ||
        !find_key(event, id, is_data, key)) {
        spdy_refuse(f->spdy, id);
        return;
    }
    struct spdy_pair *p = map_get(f->by_key, key);
    if (!p && f->base.n_pairs < PAIRS_MAX)
        p = pair_new(f, key, (uint16_t)port);
    struct end *end = !p ? NULL : is_data ? &p->data : &p->error;
    if (!end || end->id || p->base.port != port) {
        spdy_refuse(f->spdy, id);
        return;
    }
    end->id = id;
    spdy_accept(f->spdy, id, end);
    if (p->data.id && p->error.id) {
        timer_free(take_ptr(p->creation));
        forward_dial(&p->base);
    }
}

static void on_data(void *arg, void *user, const uint8_t *data, size_t len)
{
    struct end *end = user;

    if (end == &end->pair->data)
        forward_input(&end->pair->base, data, len);
}

static void on_end(void *arg, void *user, bool reset)
{
    struct end *end = user;
    struct spdy_pair *p = end->pair;

    if (end != &p->data)
        return; /* clients end the error stream at once: they never write on it */
    if (reset)
        pair_over(&p->base, NULL, false);
    else
        forward_input_end(&p->base);
}

/* ---- The link ------------------------------------------------------------------------------- */

static void on_link_data(void *arg, const uint8_t *data, size_t len)
{
    struct forward_spdy *f = arg;
    const uint8_t *piece;
    bool end, alive = true;
    size_t n;
    int r = 0;

    while (alive && !f->base.over &&
           (r = wire_next(&f->base.wire, &data, &len, &piece, &n, &end)) > 0)
        alive = spdy_input(f->spdy, piece, n);
    if (f->base.over)
        return;
    if (!alive)
        wire_finish(&f->base.wire, WS_NORMAL); /* what SPDY had to say has been said */
    if (!alive || r < 0)
        session_over(f);
}

static void on_link_writable(void *arg)
{
    struct forward_spdy *f = arg;

    forward_resume(&f->base);
}

static void on_link_gone(void *arg)
{
    session_over(arg);
}

void forward_spdy_open(struct stream_server *server, struct link *link_take,
                       const struct stream_protocol *protocol, struct stream_request *request_take,
                       const uint8_t *leftover, size_t len)
{
    static const struct forward_ops ops = {pair_send, pair_send_end, pair_over, finish};
    static const struct spdy_events spdy_events = {wire_out, on_open, on_data, on_end};
    static const struct link_events link_events = {on_link_data, on_link_writable, on_link_gone};
    struct forward_spdy *f = xnew(struct forward_spdy);

    forward_init(&f->base, server, link_take, protocol->format == FORMAT_TUNNEL, request_take,
                 &ops);
    f->spdy = spdy_new(2 * PAIRS_MAX, &spdy_events, f);
    f->by_key = map_new();
    link_set_owner(link_take, &link_events, f);
    on_link_data(f, leftover, len);
}
