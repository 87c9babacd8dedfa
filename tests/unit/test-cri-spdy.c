/*
 * test-cri-spdy.c - SPDY/3.1: frames as Go clients send them, in any pieces, header compression
 * over many frames, streams, and input that lies about its lengths.
 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <zlib.h>

#include <cmocka.h>

#include "../../src/cri/spdy.h"

/* ---- Making frames -------------------------------------------------------------------------- */

static void add32(struct strbuf *b, uint32_t v)
{
    v = htonl(v);
    strbuf_add(b, &v, sizeof(v));
}

static void add_hex(struct strbuf *b, const char *hex)
{
    for (; *hex; hex++) {
        unsigned byte;
        if (*hex == ' ')
            continue;
        assert_int_equal(sscanf(hex++, "%2x", &byte), 1);
        char c = (char)byte;
        strbuf_add(b, &c, 1);
    }
}

static void add_control(struct strbuf *b, unsigned type, unsigned flags, const struct strbuf *body)
{
    add32(b, 0x80030000u | type);
    add32(b, flags << 24 | (uint32_t)body->len);
    strbuf_add(b, body->data, body->len);
}

static void add_string(struct strbuf *b, const char *s)
{
    add32(b, (uint32_t)strlen(s));
    strbuf_adds(b, s);
}

struct deflater {
    z_stream z;
};

static void deflater_init(struct deflater *d, bool dictionary)
{
    size_t len;
    const uint8_t *words = spdy_dictionary(&len);

    d->z = (z_stream){0};
    assert_int_equal(deflateInit(&d->z, 9), Z_OK);
    if (dictionary)
        assert_int_equal(deflateSetDictionary(&d->z, words, (unsigned)len), Z_OK);
}

static void add_deflated(struct deflater *d, struct strbuf *out, const struct strbuf *plain)
{
    uint8_t piece[4096];

    d->z.next_in = (uint8_t *)plain->data;
    d->z.avail_in = (unsigned)plain->len;
    do {
        d->z.next_out = piece;
        d->z.avail_out = sizeof(piece);
        assert_true(deflate(&d->z, Z_SYNC_FLUSH) != Z_STREAM_ERROR);
        strbuf_add(out, piece, sizeof(piece) - d->z.avail_out);
    } while (d->z.avail_out == 0);
}

/* SYN_STREAM with the plain header block. */
static void add_open_raw(struct deflater *d, struct strbuf *b, uint32_t id, unsigned flags,
                         const struct strbuf *plain)
{
    _cleanup_strbuf_ struct strbuf body = {0};

    add32(&body, id);
    add32(&body, 0);
    strbuf_add(&body, "\0\0", 2);
    add_deflated(d, &body, plain);
    add_control(b, 1, flags, &body);
}

static void add_open(struct deflater *d, struct strbuf *b, uint32_t id, const char *type,
                     const char *request)
{
    _cleanup_strbuf_ struct strbuf plain = {0};

    add32(&plain, request ? 2 : 1);
    add_string(&plain, "streamtype");
    add_string(&plain, type);
    if (request) {
        add_string(&plain, "requestid");
        add_string(&plain, request);
    }
    add_open_raw(d, b, id, 0, &plain);
}

/* ---- Reading frames ------------------------------------------------------------------------- */

static void describe(struct strbuf *out, const struct spdy_event *event)
{
    static const char *const names[] = {"open", "data", "reset", "ping", "goaway", "finish"};

    if (event->type == SPDY_DATA && event->len > 0) {
        strbuf_add(out, event->data, event->len);
        strbuf_adds(out, event->fin ? "/fin " : "");
        return;
    }
    strbuf_addf(out, "%s%u", names[event->type], event->stream);
    for (size_t i = 0; i < event->n_headers; i++)
        strbuf_addf(out, ",%s=%s", event->headers[i].key, event->headers[i].value);
    if (event->type == SPDY_RESET)
        strbuf_addf(out, ",%u", event->status);
    strbuf_adds(out, event->fin ? "/fin " : " ");
}

static char *read_all(const struct strbuf *in, size_t step)
{
    struct spdy_reader *r = spdy_reader_new();
    struct strbuf out = {0};
    struct spdy_event event;
    int found = 0;

    strbuf_adds(&out, "");
    for (size_t at = 0; at < in->len && found >= 0; at += step) {
        const uint8_t *data = (const uint8_t *)in->data + at;
        size_t len = in->len - at < step ? in->len - at : step;
        _cleanup_err_ struct err e = ERR_INIT;
        while ((found = spdy_reader_next(r, &data, &len, &event, &e)) > 0)
            describe(&out, &event);
        strbuf_adds(&out, found < 0 ? "!" : "");
    }
    spdy_reader_free(r);
    return strbuf_take(&out);
}

static void check(struct strbuf *in, const char *expected)
{
    static const size_t steps[] = {1, 5, 64, 1 << 20};

    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        _cleanup_free_ char *found = read_all(in, steps[i]);
        assert_string_equal(found, expected);
    }
    strbuf_free(in);
}

static void the_dictionary_is_spdy_threes(void **state)
{
    size_t len;
    const uint8_t *words = spdy_dictionary(&len);

    assert_int_equal(len, 1423);
    assert_int_equal(adler32(adler32(0, NULL, 0), words, (unsigned)len), 0xe3c6a7c2);
}

/* As a Go client writes them. */
static void frames_of_a_real_client(void **state)
{
    struct strbuf in = {0};

    add_hex(&in, "80030001 00000029 00000001 00000000 0000 78f9e3c6a7c26260606004a7b392a2d4c45c6851"
                 "c29a0a0a6800000000ffff");
    add_hex(&in, "80030001 00000019 00000003 00000000 0000 c22ac5565c92925f5a02000000ffff");
    add_hex(&in, "80030001 00000015 00000005 00000000 0000 c229975a5404000000ffff");
    add_hex(&in, "00000003 00000002 6869 00000003 01000000 80030003 00000008 00000001 00000005");
    add_hex(&in, "80030006 00000004 00000001 80030007 00000008 00000007 00000000");
    check(&in, "open1,streamtype=error open3,streamtype=stdout open5,streamtype=stderr hidata3/fin "
               "reset1,5 ping1 goaway0 ");
}

static void headers_inflate_over_a_thousand_frames(void **state)
{
    struct strbuf in = {0}, expected = {0};
    struct deflater d;

    deflater_init(&d, true);
    for (uint32_t i = 0; i < 1000; i++) {
        char request[32];
        snprintf(request, sizeof(request), "request-%u", i * 7919);
        add_open(&d, &in, 2 * i + 1, i % 2 ? "data" : "error", request);
        strbuf_addf(&expected, "open%u,streamtype=%s,requestid=%s ", 2 * i + 1,
                    i % 2 ? "data" : "error", request);
    }
    deflateEnd(&d.z);
    check(&in, expected.data);
    strbuf_free(&expected);
}

static void frames_that_do_not_matter_are_passed_over(void **state)
{
    struct strbuf in = {0};

    add_hex(&in, "80030004 0000000c 00000001 00000007 00010000"); /* SETTINGS */
    add_hex(&in, "80030009 00000008 00000001 00010000");          /* WINDOW_UPDATE */
    add_hex(&in, "80030006 00000004 00000003");
    check(&in, "ping3 ");
}

static void other_frames_break_the_connection(void **state)
{
    static const char *const frames[] = {
        "80020006 00000004 00000001",                        /* version 2 */
        "80030005 00000000",                                 /* NOOP */
        "8003000a 00000000",                                 /* CREDENTIAL */
        "80030002 00000004 00000001",                        /* SYN_REPLY */
        "80030006 00000005 00000001 00",                     /* a PING too long */
        "80030003 00000004 00000001",                        /* a RST_STREAM too short */
        "80030001 00000009 00000001 00000000 00",            /* a SYN_STREAM too short */
        "80030001 0000000a 00000001 00000000 0000",          /* without headers */
        "80030001 0000000e 00000001 00000000 0000 deadbeef", /* no zlib */
        "80030001 00010001",                                 /* over 64 KiB */
        "80030001 00ffffff",
    };

    for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
        struct strbuf in = {0};
        add_hex(&in, frames[i]);
        check(&in, "!");
    }
}

static void a_header_block_that_lies_is_refused(void **state)
{
    static const char *const blocks[] = {
        "000000",                                             /* no count */
        "00000001",                                           /* a count of what is not there */
        "ffffffff",                                           /* a very large one */
        "00000081 00000001 61 00000000",                      /* more than 128 */
        "00000001 ffffffff 61",                               /* a name longer than the block */
        "00000001 00000001 61 7fffffff 62",                   /* a value longer than it */
        "00000001 00000000 00000001 62",                      /* an empty name */
        "00000001 00000001 41 00000001 62",                   /* an upper-case one */
        "00000002 00000001 61 00000000 00000001 61 00000000", /* the same twice */
        "00000001 00000001 61 00000001 62 00",                /* more behind it */
    };

    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        struct strbuf in = {0}, plain = {0};
        struct deflater d;
        deflater_init(&d, true);
        add_hex(&plain, blocks[i]);
        add_open_raw(&d, &in, 1, 0, &plain);
        deflateEnd(&d.z);
        strbuf_free(&plain);
        check(&in, "!");
    }
}

static void a_bomb_is_refused(void **state)
{
    struct strbuf in = {0}, plain = {0};
    struct deflater d;
    char zeros[4096] = {0};

    deflater_init(&d, true);
    for (int i = 0; i < 16 * 256; i++)
        strbuf_add(&plain, zeros, sizeof(zeros));
    add_open_raw(&d, &in, 1, 0, &plain);
    deflateEnd(&d.z);
    strbuf_free(&plain);
    assert_true(in.len < 64 << 10);
    check(&in, "!");
}

static void another_dictionary_is_refused(void **state)
{
    struct strbuf in = {0}, plain = {0};
    struct deflater d;

    deflater_init(&d, false);
    assert_int_equal(deflateSetDictionary(&d.z, (const uint8_t *)"options", 7), Z_OK);
    add32(&plain, 0);
    add_open_raw(&d, &in, 1, 0, &plain);
    deflateEnd(&d.z);
    strbuf_free(&plain);
    check(&in, "!");
}

static void a_claimed_length_costs_nothing(void **state)
{
    struct spdy_reader *r = spdy_reader_new();
    struct strbuf in = {0};
    struct spdy_event event;
    struct err e = ERR_INIT;

    add_hex(&in, "00000001 00ffffff 6162");
    const uint8_t *data = (const uint8_t *)in.data;
    size_t len = in.len;
    assert_int_equal(spdy_reader_next(r, &data, &len, &event, &e), 1);
    assert_int_equal(event.len, 2);
    assert_int_equal(spdy_reader_next(r, &data, &len, &event, &e), 0);
    spdy_reader_free(r);
    strbuf_free(&in);
}

/* ---- Streams -------------------------------------------------------------------------------- */

struct peer {
    struct spdy *spdy;
    struct strbuf sent, log;
    struct deflater deflater;
    int marks[16];
};

static void on_send(void *arg, const struct iovec *pieces, int count)
{
    struct peer *p = arg;

    for (int i = 0; i < count; i++)
        strbuf_add(&p->sent, pieces[i].iov_base, pieces[i].iov_len);
}

static void on_open(void *arg, uint32_t id, const struct spdy_event *event)
{
    struct peer *p = arg;

    if (str_equal(spdy_header(event, "streamtype"), "bad")) {
        spdy_refuse(p->spdy, id);
        return;
    }
    spdy_accept(p->spdy, id, &p->marks[id % 16]);
    strbuf_addf(&p->log, "open%u ", id);
}

static void on_data(void *arg, void *user, const uint8_t *data, size_t len)
{
    struct peer *p = arg;

    strbuf_addf(&p->log, "%d:%.*s ", (int)((int *)user - p->marks), (int)len, (const char *)data);
}

static void on_end(void *arg, void *user, bool reset)
{
    struct peer *p = arg;

    strbuf_addf(&p->log, "%s%d ", reset ? "reset" : "end", (int)((int *)user - p->marks));
}

static const struct spdy_events peer_events = {on_send, on_open, on_data, on_end};

static void peer_init(struct peer *p, size_t max)
{
    *p = (struct peer){0};
    p->spdy = spdy_new(max, &peer_events, p);
    deflater_init(&p->deflater, true);
    strbuf_adds(&p->log, "");
    strbuf_adds(&p->sent, "");
}

static void peer_free(struct peer *p)
{
    spdy_free(p->spdy);
    deflateEnd(&p->deflater.z);
    strbuf_free(&p->sent);
    strbuf_free(&p->log);
}

static bool feed(struct peer *p, struct strbuf *in)
{
    bool alive = spdy_input(p->spdy, (const uint8_t *)in->data, in->len);

    strbuf_free(in);
    return alive;
}

static bool feed_hex(struct peer *p, const char *hex)
{
    struct strbuf in = {0};

    add_hex(&in, hex);
    return feed(p, &in);
}

static void open_stream(struct peer *p, uint32_t id, const char *type)
{
    struct strbuf in = {0};

    add_open(&p->deflater, &in, id, type, NULL);
    assert_true(feed(p, &in));
}

static void expect_sent(struct peer *p, const char *hex)
{
    _cleanup_strbuf_ struct strbuf expected = {0};

    strbuf_adds(&expected, "");
    add_hex(&expected, hex);
    assert_int_equal(p->sent.len, expected.len);
    assert_memory_equal(p->sent.data, expected.data, expected.len);
    p->sent.len = 0;
}

static void expect_log(struct peer *p, const char *text)
{
    assert_string_equal(p->log.data, text);
    p->log.len = 0;
    strbuf_adds(&p->log, "");
}

static void replies_inflate_to_an_empty_block(void **state)
{
    uint8_t frame[SPDY_FRAME_SPACE], out[64];
    z_stream z = {0};
    size_t len;
    const uint8_t *words = spdy_dictionary(&len);

    assert_int_equal(inflateInit(&z), Z_OK);
    for (int i = 0; i < 100; i++) {
        size_t n = spdy_write_reply(frame, (uint32_t)(2 * i + 1), i == 0);
        assert_int_equal(frame[7], n - 8);
        z.next_in = frame + 12;
        z.avail_in = (unsigned)(n - 12);
        z.next_out = out;
        z.avail_out = sizeof(out);
        int r = inflate(&z, Z_SYNC_FLUSH);
        if (i == 0) {
            assert_int_equal(r, Z_NEED_DICT);
            assert_int_equal(inflateSetDictionary(&z, words, (unsigned)len), Z_OK);
            r = inflate(&z, Z_SYNC_FLUSH);
        }
        assert_int_equal(r, Z_OK);
        assert_int_equal(z.avail_in, 0);
        assert_int_equal(sizeof(out) - z.avail_out, 4);
        assert_memory_equal(out, "\0\0\0\0", 4);
    }
    inflateEnd(&z);
}

static void a_stream_lives_until_both_sides_end(void **state)
{
    struct peer p;

    peer_init(&p, 8);
    open_stream(&p, 1, "stdin");
    p.sent.len = 0;
    assert_true(feed_hex(&p, "00000001 00000002 6869 00000001 01000001 21"));
    expect_log(&p, "open1 1:hi 1:! end1 ");
    assert_true(feed_hex(&p, "00000001 00000002 6869")); /* after its end: dropped */
    spdy_send(p.spdy, 1, "ok", 2);
    spdy_end(p.spdy, 1);
    expect_sent(&p, "00000001 00000002 6f6b 00000001 01000000");
    spdy_send(p.spdy, 1, "no", 2);
    spdy_reset(p.spdy, 1);
    expect_sent(&p, "");
    expect_log(&p, "");
    peer_free(&p);
}

static void ids_must_be_odd_and_rise(void **state)
{
    struct peer p;

    peer_init(&p, 8);
    open_stream(&p, 5, "stdin");
    p.sent.len = 0;
    open_stream(&p, 3, "stdout");
    expect_sent(&p, "80030003 00000008 00000003 00000001");
    open_stream(&p, 5, "stdout");
    expect_sent(&p, "80030003 00000008 00000005 00000001");
    open_stream(&p, 8, "stdout");
    expect_sent(&p, "80030003 00000008 00000008 00000001");
    open_stream(&p, 7, "bad");
    expect_sent(&p, "80030003 00000008 00000007 00000005");
    expect_log(&p, "open5 ");
    peer_free(&p);
}

static void too_many_streams_are_refused(void **state)
{
    struct peer p;

    peer_init(&p, 2);
    open_stream(&p, 1, "a");
    open_stream(&p, 3, "b");
    p.sent.len = 0;
    open_stream(&p, 5, "c");
    expect_sent(&p, "80030003 00000008 00000005 00000003");
    assert_true(feed_hex(&p, "80030003 00000008 00000001 00000005"));
    open_stream(&p, 7, "d");
    expect_log(&p, "open1 open3 reset1 open7 ");
    peer_free(&p);
}

static void only_pings_of_the_client_are_answered(void **state)
{
    struct peer p;

    peer_init(&p, 8);
    assert_true(feed_hex(&p, "80030006 00000004 00000001 80030006 00000004 00000002"));
    expect_sent(&p, "80030006 00000004 00000001");
    peer_free(&p);
}

static void nothing_follows_goodbye(void **state)
{
    struct peer p;

    peer_init(&p, 8);
    open_stream(&p, 1, "stdin");
    p.sent.len = 0;
    spdy_goodbye(p.spdy);
    expect_sent(&p, "80030007 00000008 00000001 00000000");
    spdy_send(p.spdy, 1, "x", 1);
    spdy_end(p.spdy, 1);
    assert_false(feed_hex(&p, "00000001 00000001 61"));
    expect_sent(&p, "");
    expect_log(&p, "open1 ");
    peer_free(&p);
}

static void what_is_no_spdy_is_answered_with_goaway(void **state)
{
    struct peer p;

    peer_init(&p, 8);
    assert_false(feed_hex(&p, "80030005 00000000"));
    expect_sent(&p, "80030007 00000008 00000000 00000001");
    peer_free(&p);
    peer_init(&p, 8);
    struct strbuf in = {0};
    add_open(&p.deflater, &in, 0, "stdin", NULL);
    assert_false(feed(&p, &in));
    expect_sent(&p, "80030007 00000008 00000000 00000001");
    peer_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_dictionary_is_spdy_threes),
        cmocka_unit_test(frames_of_a_real_client),
        cmocka_unit_test(headers_inflate_over_a_thousand_frames),
        cmocka_unit_test(frames_that_do_not_matter_are_passed_over),
        cmocka_unit_test(other_frames_break_the_connection),
        cmocka_unit_test(a_header_block_that_lies_is_refused),
        cmocka_unit_test(a_bomb_is_refused),
        cmocka_unit_test(another_dictionary_is_refused),
        cmocka_unit_test(a_claimed_length_costs_nothing),
        cmocka_unit_test(replies_inflate_to_an_empty_block),
        cmocka_unit_test(a_stream_lives_until_both_sides_end),
        cmocka_unit_test(ids_must_be_odd_and_rise),
        cmocka_unit_test(too_many_streams_are_refused),
        cmocka_unit_test(only_pings_of_the_client_are_answered),
        cmocka_unit_test(nothing_follows_goodbye),
        cmocka_unit_test(what_is_no_spdy_is_answered_with_goaway),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
