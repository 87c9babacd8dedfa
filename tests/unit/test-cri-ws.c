/*
 * test-cri-ws.c - WebSocket framing: what clients send in any pieces, and what they must not send.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../src/cri/ws_frame.h"

/* A client's frame with the mask 01 02 03 04. */
static void add_frame(struct strbuf *b, uint8_t first, const char *payload, size_t len, bool masked)
{
    const uint8_t mask[] = {1, 2, 3, 4};
    uint8_t head[] = {first, (uint8_t)((masked ? 0x80 : 0) | (len < 126 ? len : 126)),
                      (uint8_t)(len >> 8), (uint8_t)len};

    strbuf_add(b, head, len < 126 ? 2 : 4);
    if (masked)
        strbuf_add(b, mask, sizeof(mask));
    for (size_t i = 0; i < len; i++) {
        char c = masked ? (char)(payload[i] ^ mask[i % 4]) : payload[i];
        strbuf_add(b, &c, 1);
    }
}

/* The messages, pings and closes in the input as text: "abc|" per message, "p(..)" and "c(..)";
 * "!" when it is refused. */
static char *read_all(const struct strbuf *in, size_t step)
{
    struct ws_reader *r = ws_reader_new();
    struct strbuf out = {0};
    struct ws_event event;
    int found = 0;

    strbuf_adds(&out, "");
    for (size_t at = 0; at < in->len && found >= 0; at += step) {
        const uint8_t *data = (const uint8_t *)in->data + at;
        size_t len = in->len - at < step ? in->len - at : step;
        _cleanup_err_ struct err e = ERR_INIT;
        while ((found = ws_reader_next(r, &data, &len, &event, &e)) > 0) {
            if (event.type != WS_PIECE)
                strbuf_adds(&out, event.type == WS_PING ? "p(" : "c(");
            strbuf_add(&out, event.data, event.len);
            strbuf_adds(&out, event.type != WS_PIECE ? ")" : event.end ? "|" : "");
        }
        if (found < 0)
            strbuf_adds(&out, "!");
        else
            assert_int_equal(len, 0);
    }
    ws_reader_free(r);
    return strbuf_take(&out);
}

static void check(struct strbuf *in, const char *expected)
{
    static const size_t steps[] = {1, 2, 3, 7, 4096, 1 << 20};

    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        _cleanup_free_ char *found = read_all(in, steps[i]);
        assert_string_equal(found, expected);
    }
    strbuf_free(in);
}

static void messages_come_whole_from_any_pieces(void **state)
{
    struct strbuf in = {0};

    add_frame(&in, 0x82, "hello", 5, true);
    add_frame(&in, 0x82, "", 0, true);
    add_frame(&in, 0x81, "text", 4, true);
    check(&in, "hello||text|");
}

static void long_messages_too(void **state)
{
    struct strbuf in = {0}, expected = {0};

    for (int i = 0; i < 20000; i++)
        strbuf_adds(&expected, i % 100 ? "x" : "y");
    add_frame(&in, 0x82, expected.data, expected.len, true);
    strbuf_adds(&expected, "|");
    check(&in, expected.data);
    strbuf_free(&expected);
}

static void fragments_are_joined_around_a_ping(void **state)
{
    struct strbuf in = {0};

    add_frame(&in, 0x02, "one ", 4, true);
    add_frame(&in, 0x89, "hi", 2, true);
    add_frame(&in, 0x00, "two ", 4, true);
    add_frame(&in, 0x8a, "pong", 4, true);
    add_frame(&in, 0x80, "three", 5, true);
    add_frame(&in, 0x88, "\x03\xe8", 2, true);
    check(&in, "one p(hi)two three|c(\x03\xe8)");
}

static void frames_without_a_mask_are_refused(void **state)
{
    struct strbuf in = {0};

    add_frame(&in, 0x82, "ok", 2, true);
    add_frame(&in, 0x82, "bad", 3, false);
    check(&in, "ok|!");
}

static void reserved_bits_and_opcodes_are_refused(void **state)
{
    static const uint8_t firsts[] = {0xc2, 0xa2, 0x92, 0x83, 0x87, 0x8b, 0x8f};

    for (size_t i = 0; i < ARRAY_SIZE(firsts); i++) {
        struct strbuf in = {0};
        add_frame(&in, firsts[i], "x", 1, true);
        check(&in, "!");
    }
}

static void fragments_in_the_wrong_order_are_refused(void **state)
{
    struct strbuf in = {0};

    add_frame(&in, 0x80, "of nothing", 10, true);
    check(&in, "!");
    add_frame(&in, 0x02, "a", 1, true);
    add_frame(&in, 0x82, "b", 1, true);
    check(&in, "a!");
    add_frame(&in, 0x09, "half a ping", 11, true);
    check(&in, "!");
}

static void oversize_control_frames_are_refused(void **state)
{
    struct strbuf in = {0};
    char payload[126] = {0};

    add_frame(&in, 0x89, payload, sizeof(payload), true);
    check(&in, "!");
}

static void headers_have_the_shortest_form(void **state)
{
    static const struct {
        size_t len;
        uint8_t bytes[10];
        size_t n;
    } cases[] = {
        {0, {0x82, 0}, 2},
        {125, {0x82, 125}, 2},
        {126, {0x82, 126, 0, 126}, 4},
        {65535, {0x82, 126, 0xff, 0xff}, 4},
        {65536, {0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0}, 10},
    };
    uint8_t out[WS_HEADER_SPACE];

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(ws_write_header(out, WS_BINARY, cases[i].len), cases[i].n);
        assert_memory_equal(out, cases[i].bytes, cases[i].n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_come_whole_from_any_pieces),
        cmocka_unit_test(long_messages_too),
        cmocka_unit_test(fragments_are_joined_around_a_ping),
        cmocka_unit_test(frames_without_a_mask_are_refused),
        cmocka_unit_test(reserved_bits_and_opcodes_are_refused),
        cmocka_unit_test(fragments_in_the_wrong_order_are_refused),
        cmocka_unit_test(oversize_control_frames_are_refused),
        cmocka_unit_test(headers_have_the_shortest_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
