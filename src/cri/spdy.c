/*
 * spdy.c - the streams of one SPDY/3.1 conversation.
 *
 * Clients open streams with odd, rising numbers; the server opens none. A stream lives until both
 * directions have ended or either side has reset it. What comes for other streams is dropped, for
 * it may have been under way while we reset them.
 *
 * There is no flow control: the protocol has windows, but no peer of a container runtime keeps
 * them. The owner holds back the whole connection instead.
 */
#include "spdy.h"

struct stream {
    uint32_t id;
    bool ended_by_client, ended_by_us;
    void *user;
};

struct spdy {
    const struct spdy_events *events;
    void *arg;
    struct spdy_reader *reader;
    bool closed, replied;
    uint32_t last_id;
    struct stream *streams; /* ids rise, so it is sorted */
    size_t n_streams, cap, max_streams;
};

struct spdy *spdy_new(size_t max_streams, const struct spdy_events *events, void *arg)
{
    struct spdy *s = xnew(struct spdy);

    s->events = events;
    s->arg = arg;
    s->max_streams = max_streams;
    s->reader = spdy_reader_new();
    return s;
}

void spdy_free(struct spdy *s)
{
    if (!s)
        return;
    spdy_reader_free(s->reader);
    free(s->streams);
    free(s);
}

/* ---- The table ------------------------------------------------------------------------------ */

static struct stream *find_stream(struct spdy *s, uint32_t id)
{
    size_t low = 0, high = s->n_streams;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->streams[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < s->n_streams && s->streams[low].id == id ? &s->streams[low] : NULL;
}

static void add_stream(struct spdy *s, uint32_t id)
{
    if (s->n_streams == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 8;
        s->streams = xrealloc(s->streams, s->cap * sizeof(*s->streams));
    }
    s->streams[s->n_streams++] = (struct stream){.id = id};
}

static void remove_stream(struct spdy *s, struct stream *st)
{
    size_t behind = s->n_streams - (size_t)(st - s->streams) - 1;

    memmove(st, st + 1, behind * sizeof(*st));
    s->n_streams--;
}

static void remove_if_over(struct spdy *s, uint32_t id)
{
    struct stream *st = find_stream(s, id);

    if (st && st->ended_by_client && st->ended_by_us)
        remove_stream(s, st);
}

/* ---- Sending -------------------------------------------------------------------------------- */

static void send_frame(struct spdy *s, uint8_t *frame, size_t len)
{
    if (!s->closed)
        s->events->send(s->arg, &(struct iovec){frame, len}, 1);
}

static void send_reset(struct spdy *s, uint32_t id, enum spdy_status status)
{
    uint8_t frame[SPDY_FRAME_SPACE];

    send_frame(s, frame, spdy_write_reset(frame, id, status));
}

static void say_goodbye(struct spdy *s, bool fault)
{
    uint8_t frame[SPDY_FRAME_SPACE];

    send_frame(s, frame, spdy_write_goaway(frame, s->last_id, fault));
    s->closed = true;
}

void spdy_goodbye(struct spdy *s)
{
    say_goodbye(s, false);
}

void spdy_accept(struct spdy *s, uint32_t id, void *user)
{
    struct stream *st = find_stream(s, id);
    uint8_t frame[SPDY_FRAME_SPACE];

    st->user = user;
    send_frame(s, frame, spdy_write_reply(frame, id, !s->replied));
    s->replied = true;
}

void spdy_refuse(struct spdy *s, uint32_t id)
{
    spdy_reset(s, id);
}

void spdy_reset(struct spdy *s, uint32_t id)
{
    struct stream *st = find_stream(s, id);

    if (!st)
        return;
    send_reset(s, id, SPDY_CANCEL);
    remove_stream(s, st);
}

void spdy_send(struct spdy *s, uint32_t id, const void *data, size_t len)
{
    struct stream *st = find_stream(s, id);
    const uint8_t *p = data;
    uint8_t head[SPDY_FRAME_SPACE];

    while (len > 0 && st && !st->ended_by_us && !s->closed) {
        size_t n = len < SPDY_DATA_MAX ? len : SPDY_DATA_MAX;
        const struct iovec pieces[] = {{head, spdy_write_data_header(head, id, false, n)},
                                       {(void *)p, n}};
        s->events->send(s->arg, pieces, 2);
        p += n;
        len -= n;
    }
}

void spdy_end(struct spdy *s, uint32_t id)
{
    struct stream *st = find_stream(s, id);
    uint8_t head[SPDY_FRAME_SPACE];

    if (!st || st->ended_by_us)
        return;
    st->ended_by_us = true;
    send_frame(s, head, spdy_write_data_header(head, id, true, 0));
    remove_if_over(s, id);
}

/* ---- Receiving ------------------------------------------------------------------------------ */

static void client_ended(struct spdy *s, uint32_t id)
{
    struct stream *st = find_stream(s, id);

    if (!st || st->ended_by_client || s->closed)
        return;
    st->ended_by_client = true;
    void *user = st->user;
    remove_if_over(s, id);
    s->events->on_end(s->arg, user, false);
}

static void on_open(struct spdy *s, const struct spdy_event *event)
{
    uint32_t id = event->stream;

    if (id % 2 == 0 || id <= s->last_id || event->unidirectional) {
        send_reset(s, id, SPDY_PROTOCOL_ERROR);
        return;
    }
    s->last_id = id;
    if (s->n_streams >= s->max_streams) {
        send_reset(s, id, SPDY_REFUSED_STREAM);
        return;
    }
    add_stream(s, id);
    s->events->on_open(s->arg, id, event);
    if (event->fin)
        client_ended(s, id);
}

static void on_data(struct spdy *s, const struct spdy_event *event)
{
    struct stream *st = find_stream(s, event->stream);

    if (!st || st->ended_by_client)
        return;
    if (event->len > 0)
        s->events->on_data(s->arg, st->user, event->data, event->len);
    if (event->fin)
        client_ended(s, event->stream);
}

static void on_reset(struct spdy *s, const struct spdy_event *event)
{
    struct stream *st = find_stream(s, event->stream);

    if (!st)
        return;
    void *user = st->user;
    remove_stream(s, st);
    s->events->on_end(s->arg, user, true);
}

static void on_ping(struct spdy *s, uint32_t id)
{
    uint8_t frame[SPDY_FRAME_SPACE];

    if (id % 2 == 1) /* the others answer pings of ours, and we send none */
        send_frame(s, frame, spdy_write_ping(frame, id));
}

/* False at the end of the conversation. */
static bool handle_event(struct spdy *s, const struct spdy_event *event)
{
    switch (event->type) {
    case SPDY_OPEN:
        if (event->stream == 0) {
            say_goodbye(s, true);
            return false;
        }
        on_open(s, event);
        break;
    case SPDY_DATA:
        on_data(s, event);
        break;
    case SPDY_RESET:
        on_reset(s, event);
        break;
    case SPDY_PING:
        on_ping(s, event->stream);
        break;
    case SPDY_FINISH:
        client_ended(s, event->stream);
        break;
    case SPDY_GOAWAY:
        return false;
    }
    return !s->closed;
}

bool spdy_input(struct spdy *s, const uint8_t *data, size_t len)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct spdy_event event;
    int r;

    while (!s->closed && (r = spdy_reader_next(s->reader, &data, &len, &event, &e)) != 0) {
        if (r < 0) {
            log_debug("stream", NULL, "%s", err_text(&e));
            say_goodbye(s, true);
        } else if (!handle_event(s, &event)) {
            s->closed = true;
        }
    }
    return !s->closed;
}
