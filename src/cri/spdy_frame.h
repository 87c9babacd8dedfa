/*
 * spdy_frame.h - SPDY/3.1 on the wire: frames out of any pieces of bytes, header blocks, and the
 * few frames that a server sends.
 */
#ifndef CRI_SPDY_FRAME_H
#define CRI_SPDY_FRAME_H

#include "podd/base.h"

enum spdy_status {
    SPDY_PROTOCOL_ERROR = 1,
    SPDY_REFUSED_STREAM = 3,
    SPDY_CANCEL = 5,
};

enum {
    SPDY_FIN = 1,
    SPDY_UNIDIRECTIONAL = 2,
    SPDY_CONTROL_MAX = 64 << 10, /* bytes of a control frame */
    SPDY_BLOCK_MAX = 64 << 10,   /* bytes of an inflated header block */
    SPDY_HEADERS_MAX = 128,
    SPDY_DATA_MAX = (1 << 24) - 1,
};

enum spdy_event_type {
    SPDY_OPEN,  /* SYN_STREAM: headers */
    SPDY_DATA,  /* a piece of a data frame; fin only with its last */
    SPDY_RESET, /* RST_STREAM: status */
    SPDY_PING,  /* ping_id in `stream` */
    SPDY_GOAWAY,
    SPDY_FINISH, /* HEADERS with FIN: ends a direction like data with FIN */
};

struct spdy_event {
    enum spdy_event_type type;
    uint32_t stream;
    uint32_t status;
    bool fin, unidirectional;
    const uint8_t *data; /* borrowed from the input */
    size_t len;
    const struct key_value *headers; /* valid until the next event; no name comes twice */
    size_t n_headers;
};

struct spdy_reader;
struct spdy_reader *spdy_reader_new(void);
void spdy_reader_free(struct spdy_reader *r);
/* Takes bytes from *data, and moves it. 1: an event; 0: all is taken; -1: what came is not SPDY,
 * and nothing can be read any more. */
int spdy_reader_next(struct spdy_reader *r, const uint8_t **data, size_t *len,
                     struct spdy_event *ret, struct err *e) MUST_CHECK;
/* The value of a header or NULL. */
const char *spdy_header(const struct spdy_event *event, const char *name);

/* ---- What is sent: each writes into a buffer of at least SPDY_FRAME_SPACE and gives the length */

enum { SPDY_FRAME_SPACE = 40, SPDY_DATA_HEADER = 8 };
size_t spdy_write_reply(uint8_t *ret, uint32_t stream, bool first);
size_t spdy_write_data_header(uint8_t *ret, uint32_t stream, bool fin, size_t len);
size_t spdy_write_reset(uint8_t *ret, uint32_t stream, enum spdy_status status);
size_t spdy_write_ping(uint8_t *ret, uint32_t id);
size_t spdy_write_goaway(uint8_t *ret, uint32_t last_stream, bool fault);

/* What both sides' zlib is primed with; ret_len 1423. */
const uint8_t *spdy_dictionary(size_t *ret_len);

#endif
