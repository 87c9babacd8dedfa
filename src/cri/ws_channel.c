/*
 * ws_channel.c - messages with a channel in front.
 *
 * Messages are put together from their pieces, at most WS_MESSAGE_MAX bytes; one that is empty, or
 * no base64 where it should be, is dropped.
 */
#include <openssl/evp.h>

#include "ws_channel.h"

enum { BASE64_PIECE = 48 << 10 /* divisible by three */ };

void multiplex_init(struct multiplex *m, struct wire *wire, bool base64)
{
    *m = (struct multiplex){.wire = wire, .base64 = base64};
}

void multiplex_free(struct multiplex *m)
{
    strbuf_free(&m->message);
    strbuf_free(&m->decoded);
}

/* ---- Sending -------------------------------------------------------------------------------- */

static void send_base64(struct multiplex *m, unsigned channel, const uint8_t *data, size_t len)
{
    static uint8_t text[BASE64_PIECE / 3 * 4 + 1];
    uint8_t digit = (uint8_t)('0' + channel);

    do {
        size_t n = len < BASE64_PIECE ? len : BASE64_PIECE;
        int encoded = EVP_EncodeBlock(text, data, (int)n);
        const struct iovec pieces[] = {{&digit, 1}, {text, (size_t)encoded}};
        wire_send(m->wire, WS_TEXT, pieces, 2);
        data += n;
        len -= n;
    } while (len > 0);
}

void multiplex_send(struct multiplex *m, unsigned channel, const void *data, size_t len)
{
    uint8_t number = (uint8_t)channel;
    const struct iovec pieces[] = {{&number, 1}, {(void *)data, len}};

    if (m->base64)
        send_base64(m, channel, data, len);
    else
        wire_send(m->wire, WS_BINARY, pieces, 2);
}

/* ---- Receiving ------------------------------------------------------------------------------ */

static bool decode(struct multiplex *m)
{
    const uint8_t *text = (const uint8_t *)m->message.data + 1;
    size_t len = m->message.len - 1;
    _cleanup_free_ uint8_t *data = xmalloc(len / 4 * 3 + 3);

    int n = len % 4 == 0 ? EVP_DecodeBlock(data, text, (int)len) : -1;
    if (n < 0)
        return false;
    /* The padding is decoded as zeros. */
    for (size_t i = len; i > 0 && len - i < 2 && text[i - 1] == '='; i--)
        n--;
    m->decoded.len = 0;
    strbuf_add(&m->decoded, data, (size_t)n);
    return true;
}

static bool interpret(struct multiplex *m, unsigned *ret_channel, const uint8_t **ret_payload,
                      size_t *ret_len)
{
    if (m->message.len == 0)
        return false;
    uint8_t first = (uint8_t)m->message.data[0];
    if (!m->base64) {
        *ret_channel = first;
        *ret_payload = (const uint8_t *)m->message.data + 1;
        *ret_len = m->message.len - 1;
        return true;
    }
    if (first < '0' || first > '9' || !decode(m))
        return false;
    *ret_channel = first - '0';
    *ret_payload = (const uint8_t *)m->decoded.data;
    *ret_len = m->decoded.len;
    return true;
}

int multiplex_next(struct multiplex *m, const uint8_t **data, size_t *len, unsigned *ret_channel,
                   const uint8_t **ret_payload, size_t *ret_len)
{
    const uint8_t *piece;
    bool end;
    size_t n;
    int r;

    if (m->taken)
        strbuf_free(&m->message);
    m->taken = false;
    while ((r = wire_next(m->wire, data, len, &piece, &n, &end)) > 0) {
        if (m->message.len + n > WS_MESSAGE_MAX) {
            wire_finish(m->wire, WS_TOO_BIG);
            return -1;
        }
        strbuf_add(&m->message, piece, n);
        if (!end)
            continue;
        m->taken = true;
        if (interpret(m, ret_channel, ret_payload, ret_len))
            return 1;
        m->message.len = 0;
        m->taken = false;
    }
    return r;
}
