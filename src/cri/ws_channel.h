/*
 * ws_channel.h - numbered channels in the messages of a WebSocket: the first byte of each message
 * is the channel; in the base64 form it is a digit, and the rest is encoded.
 */
#ifndef CRI_WS_CHANNEL_H
#define CRI_WS_CHANNEL_H

#include "stream_wire.h"

enum { WS_MESSAGE_MAX = 1 << 20 };

struct multiplex {
    struct wire *wire; /* of the owner */
    bool base64;
    bool taken; /* the message has been given out */
    struct strbuf message, decoded;
};

void multiplex_init(struct multiplex *m, struct wire *wire, bool base64);
void multiplex_free(struct multiplex *m);
void multiplex_send(struct multiplex *m, unsigned channel, const void *data, size_t len);
/* The next message among *data, which is moved; valid until the next call. 1: here it is; 0: all is
 * taken; -1: the peer is gone or has to go, and the link has been let go. */
int multiplex_next(struct multiplex *m, const uint8_t **data, size_t *len, unsigned *ret_channel,
                   const uint8_t **ret_payload, size_t *ret_len);

#endif
