/*
 * ws_frame.h - the server's side of WebSocket framing (RFC 6455).
 */
#ifndef CRI_WS_FRAME_H
#define CRI_WS_FRAME_H

#include "podd/base.h"

enum ws_close { WS_NORMAL = 1000, WS_PROTOCOL_ERROR = 1002, WS_TOO_BIG = 1009 };

enum ws_event_type {
    WS_PIECE, /* of a message; `end` with its last */
    WS_PING,  /* data: what the pong must repeat */
    WS_CLOSE,
};

struct ws_event {
    enum ws_event_type type;
    bool end;
    const uint8_t *data; /* valid until the next event */
    size_t len;
};

struct ws_reader;
struct ws_reader *ws_reader_new(void);
void ws_reader_free(struct ws_reader *r);
/* Takes bytes from *data, and moves it. 1: an event; 0: all is taken; -1: the peer broke the
 * protocol, and nothing can be read any more. */
int ws_reader_next(struct ws_reader *r, const uint8_t **data, size_t *len, struct ws_event *ret,
                   struct err *e) MUST_CHECK;

enum ws_opcode { WS_TEXT = 1, WS_BINARY = 2, WS_OP_CLOSE = 8, WS_OP_PING = 9, WS_OP_PONG = 10 };
enum { WS_HEADER_SPACE = 10 };
/* The header of a whole, unmasked frame; its length. */
size_t ws_write_header(uint8_t *ret, enum ws_opcode opcode, size_t len);

#endif
