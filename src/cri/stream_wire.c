/*
 * stream_wire.c - a link with or without WebSocket around its bytes.
 */
#include <assert.h>

#include "stream_wire.h"

enum { PIECES_MAX = 4 };

void wire_init(struct wire *w, struct link *link_take, bool websocket)
{
    *w = (struct wire){.link = link_take, .ws = websocket ? ws_reader_new() : NULL};
}

void wire_send(struct wire *w, enum ws_opcode opcode, const struct iovec *pieces, int count)
{
    struct iovec framed[1 + PIECES_MAX];
    uint8_t header[WS_HEADER_SPACE];
    size_t sum = 0;

    if (!w->link)
        return;
    if (!w->ws) {
        link_sendv(w->link, pieces, count);
        return;
    }
    assert(count <= PIECES_MAX);
    for (int i = 0; i < count; i++) {
        framed[1 + i] = pieces[i];
        sum += pieces[i].iov_len;
    }
    framed[0] = (struct iovec){header, ws_write_header(header, opcode, sum)};
    link_sendv(w->link, framed, 1 + count);
}

void wire_pong(struct wire *w, const void *data, size_t len)
{
    wire_send(w, WS_OP_PONG, &(struct iovec){(void *)data, len}, 1);
}

static void send_close(struct wire *w, enum ws_close code)
{
    uint8_t status[] = {(uint8_t)(code >> 8), (uint8_t)code};

    wire_send(w, WS_OP_CLOSE, &(struct iovec){status, sizeof(status)}, 1);
}

int wire_next(struct wire *w, const uint8_t **data, size_t *len, const uint8_t **ret_piece,
              size_t *ret_len, bool *ret_end)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct ws_event event;
    int r;

    if (!w->ws) {
        *ret_piece = *data;
        *ret_len = *len;
        *ret_end = true;
        *data += *len;
        *len = 0;
        return *ret_len > 0;
    }
    while ((r = ws_reader_next(w->ws, data, len, &event, &e)) > 0 && event.type == WS_PING)
        wire_pong(w, event.data, event.len);
    if (r < 0) {
        log_debug("stream", NULL, "%s", err_text(&e));
        wire_finish(w, WS_PROTOCOL_ERROR);
    } else if (r > 0 && event.type == WS_CLOSE) {
        wire_finish(w, WS_NORMAL);
        r = -1;
    } else if (r > 0) {
        *ret_piece = event.data;
        *ret_len = event.len;
        *ret_end = event.end;
    }
    return r;
}

void wire_finish(struct wire *w, enum ws_close code)
{
    if (!w->link)
        return;
    if (w->ws)
        send_close(w, code);
    link_finish(take_ptr(w->link));
}

void wire_free(struct wire *w)
{
    link_free(take_ptr(w->link));
    ws_reader_free(take_ptr(w->ws));
}
