/*
 * stream_wire.h - the bytes of a protocol over a link: as they are, or in binary WebSocket
 * messages.
 */
#ifndef CRI_STREAM_WIRE_H
#define CRI_STREAM_WIRE_H

#include "stream_link.h"
#include "ws_frame.h"

struct wire {
    struct link *link; /* owned; NULL once it has been let go */
    struct ws_reader *ws;
};

void wire_init(struct wire *w, struct link *link_take, bool websocket);
void wire_send(struct wire *w, enum ws_opcode opcode, const struct iovec *pieces, int count);
/* The next bytes of payload among *data, which is moved. 1: here they are (*ret_end: the end of a
 * message); 0: all is taken; -1: the peer has said goodbye or broke the protocol, and what
 * WebSocket wants to be said about that has been. Pings are answered. */
int wire_next(struct wire *w, const uint8_t **data, size_t *len, const uint8_t **ret_piece,
              size_t *ret_len, bool *ret_end);
void wire_pong(struct wire *w, const void *data, size_t len);
/* Sends all that waits, with WebSocket the closing frame, and lets the link go. */
void wire_finish(struct wire *w, enum ws_close code);
/* Lets the link go at once. Frees what wire_init() made; twice is fine. */
void wire_free(struct wire *w);

#endif
