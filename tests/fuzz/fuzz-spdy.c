/*
 * fuzz-spdy.c - what a client sends as SPDY: frames out of any bytes, in any pieces, and a server's
 * streams on them.
 *
 * The first byte chooses the size of the pieces; the streams must see the same as in a single
 * piece, and what is sent must be whole frames.
 */
#include "../../src/cri/spdy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    struct spdy *spdy;
    uint64_t sum;
    size_t bytes, open, sent;
};

static void add(struct seen *s, uint64_t n)
{
    s->sum = (s->sum ^ n) * 1099511628211u;
}

static void on_send(void *arg, const struct iovec *pieces, int count)
{
    struct seen *s = arg;

    for (int i = 0; i < count; i++)
        s->sent += pieces[i].iov_len;
    if (count != 1 || pieces[0].iov_len < 8 || pieces[0].iov_len > SPDY_FRAME_SPACE)
        abort();
}

static void on_open(void *arg, uint32_t id, const struct spdy_event *event)
{
    struct seen *s = arg;

    for (size_t i = 0; i < event->n_headers; i++)
        add(s, strlen(event->headers[i].key) * 1000003 + strlen(event->headers[i].value));
    add(s, id);
    if (event->n_headers % 4 == 3) {
        spdy_refuse(s->spdy, id);
        return;
    }
    spdy_accept(s->spdy, id, s);
    if (++s->open > 64)
        abort();
}

static void on_data(void *arg, void *user, const uint8_t *data, size_t len)
{
    struct seen *s = arg;

    if (user != s || len == 0)
        abort();
    s->bytes += len;
    for (size_t i = 0; i < len; i++)
        add(s, data[i]);
}

static void on_end(void *arg, void *user, bool reset)
{
    struct seen *s = arg;

    if (user != s)
        abort();
    add(s, reset ? 7 : 5);
    if (reset)
        s->open--;
}

static struct seen run(const uint8_t *data, size_t size, size_t piece)
{
    static const struct spdy_events events = {on_send, on_open, on_data, on_end};
    struct seen s = {.sum = 1469598103934665603u};
    bool alive = true;

    s.spdy = spdy_new(64, &events, &s);
    while (size > 0 && alive) {
        size_t n = size < piece ? size : piece;
        alive = spdy_input(s.spdy, data, n);
        data += n;
        size -= n;
    }
    spdy_free(s.spdy);
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct seen whole = run(data + 1, size - 1, SIZE_MAX);
    struct seen cut = run(data + 1, size - 1, 1 + (size_t)data[0]);

    if (whole.sum != cut.sum || whole.bytes != cut.bytes || whole.sent != cut.sent)
        abort();
    return 0;
}
