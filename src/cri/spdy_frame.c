/*
 * spdy_frame.c - cutting SPDY/3.1 frames out of a byte stream, and writing those that a server
 * needs.
 *
 * The reader may be fed any pieces, down to single bytes. Control frames are collected, at most
 * SPDY_CONTROL_MAX bytes, in a buffer that grows with what has arrived, never with what a length
 * field claims; data frames are passed on in pieces as they come. Header blocks share one zlib
 * stream per direction for the life of the connection, so each is inflated, also when nobody wants
 * it; one that cannot be inflated ends the connection. Inflated blocks are bounded too: a few bytes
 * can stand for very many.
 *
 * What a server sends needs no zlib: its header blocks are always empty, and an empty block is a
 * constant. The first carries the stream's header and the four bytes in a stored block that does
 * not use the dictionary; every block ends with the empty stored block of a sync flush, without
 * which peers wait for more.
 */
#include <arpa/inet.h>
#include <zlib.h>

#include "spdy_frame.h"

enum frame_type {
    FRAME_SYN_STREAM = 1,
    FRAME_SYN_REPLY = 2,
    FRAME_RST_STREAM = 3,
    FRAME_SETTINGS = 4,
    FRAME_PING = 6,
    FRAME_GOAWAY = 7,
    FRAME_HEADERS = 8,
    FRAME_WINDOW_UPDATE = 9,
};

enum { HEAD_SIZE = 8, VERSION = 3 };

struct spdy_reader {
    uint8_t head[HEAD_SIZE];
    size_t head_len;
    bool broken;

    /* the frame that `head` begins */
    bool control;
    uint16_t type;
    uint8_t flags;
    uint32_t stream;
    size_t length, done;
    struct strbuf body; /* of a control frame */

    z_stream zlib;
    bool zlib_ready;
    struct strbuf block; /* inflated */
    struct key_value headers[SPDY_HEADERS_MAX];
    size_t n_headers;
};

static uint32_t get32(const void *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return ntohl(v);
}

static void put32(uint8_t *p, uint32_t v)
{
    v = htonl(v);
    memcpy(p, &v, sizeof(v));
}

struct spdy_reader *spdy_reader_new(void)
{
    return xnew(struct spdy_reader);
}

void spdy_reader_free(struct spdy_reader *r)
{
    if (!r)
        return;
    if (r->zlib_ready)
        inflateEnd(&r->zlib);
    strbuf_free(&r->body);
    strbuf_free(&r->block);
    free(r);
}

/* ---- Header blocks -------------------------------------------------------------------------- */

static int use_dictionary(struct spdy_reader *r)
{
    size_t len;
    const uint8_t *dictionary = spdy_dictionary(&len);

    return inflateSetDictionary(&r->zlib, dictionary, (unsigned)len);
}

/* All of a frame's compressed bytes into `block`. */
static int inflate_block(struct spdy_reader *r, const uint8_t *data, size_t len, struct err *e)
{
    uint8_t piece[4096];

    if (!r->zlib_ready) {
        if (inflateInit(&r->zlib) != Z_OK)
            return err_set(e, ERR_RESOURCE_EXHAUSTED, "no memory to inflate SPDY headers");
        r->zlib_ready = true;
    }
    r->block.len = 0;
    r->zlib.next_in = (uint8_t *)data;
    r->zlib.avail_in = (unsigned)len;
    do {
        r->zlib.next_out = piece;
        r->zlib.avail_out = sizeof(piece);
        int status = inflate(&r->zlib, Z_SYNC_FLUSH);
        if (status == Z_NEED_DICT && use_dictionary(r) == Z_OK)
            continue;
        size_t n = sizeof(piece) - r->zlib.avail_out;
        if (status != Z_OK && !(status == Z_BUF_ERROR && r->zlib.avail_in == 0))
            return err_set(e, ERR_INVALID_ARGUMENT, "SPDY headers cannot be inflated");
        if (r->block.len + n > SPDY_BLOCK_MAX)
            return err_set(e, ERR_INVALID_ARGUMENT, "SPDY headers of more than %d bytes",
                           SPDY_BLOCK_MAX);
        strbuf_add(&r->block, piece, n);
    } while (r->zlib.avail_in > 0 || r->zlib.avail_out == 0);
    return 0;
}

/* A length and so many bytes at *at of the block. Gives where they begin, or NULL. The length's
 * first byte becomes the NUL that ends the string before. */
static char *next_string(struct spdy_reader *r, size_t *at, size_t *ret_len)
{
    struct strbuf *b = &r->block;

    if (b->len - *at < 4)
        return NULL;
    size_t len = get32(b->data + *at);
    b->data[*at] = '\0';
    *at += 4;
    if (b->len - *at < len)
        return NULL;
    char *s = b->data + *at;
    *at += len;
    *ret_len = len;
    return s;
}

static bool is_header_name(const struct spdy_reader *r, const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (name[i] <= ' ' || name[i] > '~' || (name[i] >= 'A' && name[i] <= 'Z'))
            return false;
    for (size_t i = 0; i < r->n_headers; i++)
        if (strlen(r->headers[i].key) == len && memcmp(r->headers[i].key, name, len) == 0)
            return false;
    return len > 0;
}

/* Values are cut at a NUL, which joins several: none of the headers used here has more than one. */
static int parse_block(struct spdy_reader *r, struct err *e)
{
    r->n_headers = 0;
    if (r->block.len < 4)
        return err_set(e, ERR_INVALID_ARGUMENT, "SPDY headers are cut short");
    uint32_t count = get32(r->block.data);
    size_t at = 4, name_len, value_len;
    if (count > SPDY_HEADERS_MAX)
        return err_set(e, ERR_INVALID_ARGUMENT, "%u SPDY headers are too many", count);
    for (uint32_t i = 0; i < count; i++) {
        char *name = next_string(r, &at, &name_len);
        char *value = name ? next_string(r, &at, &value_len) : NULL;
        if (!value)
            return err_set(e, ERR_INVALID_ARGUMENT, "SPDY headers are cut short");
        if (!is_header_name(r, name, name_len))
            return err_set(e, ERR_INVALID_ARGUMENT, "SPDY headers with a bad or repeated name");
        r->headers[r->n_headers++] = (struct key_value){name, value};
        if (i + 1 == count && at < r->block.len)
            return err_set(e, ERR_INVALID_ARGUMENT, "SPDY headers are followed by other bytes");
    }
    return 0;
}

static int read_headers(struct spdy_reader *r, size_t offset, struct err *e)
{
    if (r->body.len < offset)
        return err_set(e, ERR_INVALID_ARGUMENT, "SPDY frame of type %u is too short", r->type);
    if (inflate_block(r, (const uint8_t *)r->body.data + offset, r->body.len - offset, e) < 0)
        return -1;
    return parse_block(r, e);
}

const char *spdy_header(const struct spdy_event *event, const char *name)
{
    for (size_t i = 0; i < event->n_headers; i++)
        if (str_equal(event->headers[i].key, name))
            return event->headers[i].value;
    return NULL;
}

/* ---- Frames --------------------------------------------------------------------------------- */

static int begin_frame(struct spdy_reader *r, struct err *e)
{
    uint32_t word = get32(r->head);
    uint32_t length = get32(r->head + 4);

    r->control = word >> 31;
    r->flags = (uint8_t)(length >> 24);
    r->length = length & 0xffffff;
    r->done = 0;
    r->body.len = 0;
    if (!r->control) {
        r->stream = word;
        return 0;
    }
    r->type = (uint16_t)word;
    if ((word >> 16 & 0x7fff) != VERSION)
        return err_set(e, ERR_INVALID_ARGUMENT, "SPDY version %u is not spoken",
                       word >> 16 & 0x7fff);
    if (r->length > SPDY_CONTROL_MAX)
        return err_set(e, ERR_INVALID_ARGUMENT, "SPDY control frame of %zu bytes", r->length);
    return 0;
}

/* A stream's frame whose payload begins with the stream's id and has `size` bytes. */
static int check_size(const struct spdy_reader *r, size_t size, struct err *e)
{
    if (r->body.len != size)
        return err_set(e, ERR_INVALID_ARGUMENT, "SPDY frame of type %u with %zu bytes", r->type,
                       r->body.len);
    return 0;
}

/* 1: an event, 0: nothing that matters. */
static int interpret_headers(struct spdy_reader *r, size_t offset, enum spdy_event_type type,
                             struct spdy_event *ret, struct err *e)
{
    if (read_headers(r, offset, e) < 0)
        return -1;
    *ret = (struct spdy_event){
        .type = type,
        .stream = get32(r->body.data) & 0x7fffffff,
        .fin = r->flags & SPDY_FIN,
        .unidirectional = r->flags & SPDY_UNIDIRECTIONAL,
        .headers = r->headers,
        .n_headers = r->n_headers,
    };
    return type == SPDY_OPEN || ret->fin ? 1 : 0;
}

static int interpret_control(struct spdy_reader *r, struct spdy_event *ret, struct err *e)
{
    const char *body = r->body.data;

    switch ((enum frame_type)r->type) {
    case FRAME_SYN_STREAM:
        return interpret_headers(r, 10, SPDY_OPEN, ret, e);
    case FRAME_HEADERS:
        return interpret_headers(r, 4, SPDY_FINISH, ret, e);
    case FRAME_RST_STREAM:
        if (check_size(r, 8, e) < 0)
            return -1;
        *ret = (struct spdy_event){
            .type = SPDY_RESET, .stream = get32(body) & 0x7fffffff, .status = get32(body + 4)};
        return 1;
    case FRAME_PING:
        if (check_size(r, 4, e) < 0)
            return -1;
        *ret = (struct spdy_event){.type = SPDY_PING, .stream = get32(body)};
        return 1;
    case FRAME_GOAWAY:
        *ret = (struct spdy_event){.type = SPDY_GOAWAY};
        return 1;
    case FRAME_SETTINGS:
    case FRAME_WINDOW_UPDATE:
        return 0;         /* no peer keeps windows: honouring them would stall after 64 KiB */
    case FRAME_SYN_REPLY: /* answers to streams that a server never opens */
        break;
    }
    return err_set(e, ERR_INVALID_ARGUMENT, "SPDY frame of type %u is not expected", r->type);
}

/* Collects the rest of a control frame. 1: it is whole. */
static int collect(struct spdy_reader *r, const uint8_t **data, size_t *len)
{
    size_t n = r->length - r->done;

    n = n < *len ? n : *len;
    strbuf_add(&r->body, *data, n);
    r->done += n;
    *data += n;
    *len -= n;
    return r->done == r->length;
}

static int pass_data(struct spdy_reader *r, const uint8_t **data, size_t *len,
                     struct spdy_event *ret)
{
    size_t n = r->length - r->done;

    if (n > 0 && *len == 0)
        return 0;
    n = n < *len ? n : *len;
    r->done += n;
    bool last = r->done == r->length;
    *ret = (struct spdy_event){.type = SPDY_DATA,
                               .stream = r->stream,
                               .fin = last && (r->flags & SPDY_FIN),
                               .data = *data,
                               .len = n};
    *data += n;
    *len -= n;
    if (last)
        r->head_len = 0;
    return 1;
}

int spdy_reader_next(struct spdy_reader *r, const uint8_t **data, size_t *len,
                     struct spdy_event *ret, struct err *e)
{
    if (r->broken)
        return err_set(e, ERR_INVALID_ARGUMENT, "the SPDY connection is broken");
    for (;;) {
        while (r->head_len<HEAD_SIZE && * len> 0) {
            r->head[r->head_len++] = *(*data)++;
            --*len;
            if (r->head_len == HEAD_SIZE && begin_frame(r, e) < 0)
                goto broken;
        }
        if (r->head_len < HEAD_SIZE)
            return 0;
        if (!r->control)
            return pass_data(r, data, len, ret);
        if (!collect(r, data, len))
            return 0;
        r->head_len = 0;
        /* An empty buffer has no memory yet. */
        strbuf_add(&r->body, "", 0);
        int found = interpret_control(r, ret, e);
        if (found < 0)
            goto broken;
        if (found > 0)
            return 1;
    }
broken:
    r->broken = true;
    return -1;
}

/* ---- Writing -------------------------------------------------------------------------------- */

static size_t write_control(uint8_t *ret, enum frame_type type, size_t length)
{
    put32(ret, 0x80000000u | VERSION << 16 | type);
    put32(ret + 4, (uint32_t)length);
    return HEAD_SIZE + length;
}

size_t spdy_write_reply(uint8_t *ret, uint32_t stream, bool first)
{
    static const uint8_t begin[] = {0x78, 0x20, 0xe3, 0xc6, 0xa7, 0xc2};
    static const uint8_t empty[] = {0, 4, 0, 0xfb, 0xff, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    size_t skip = first ? sizeof(begin) : 0;

    put32(ret + HEAD_SIZE, stream);
    memcpy(ret + HEAD_SIZE + 4, begin, skip);
    memcpy(ret + HEAD_SIZE + 4 + skip, empty, sizeof(empty));
    return write_control(ret, FRAME_SYN_REPLY, 4 + skip + sizeof(empty));
}

size_t spdy_write_data_header(uint8_t *ret, uint32_t stream, bool fin, size_t len)
{
    put32(ret, stream);
    put32(ret + 4, (uint32_t)len | (fin ? SPDY_FIN << 24 : 0));
    return SPDY_DATA_HEADER;
}

size_t spdy_write_reset(uint8_t *ret, uint32_t stream, enum spdy_status status)
{
    put32(ret + HEAD_SIZE, stream);
    put32(ret + HEAD_SIZE + 4, status);
    return write_control(ret, FRAME_RST_STREAM, 8);
}

size_t spdy_write_ping(uint8_t *ret, uint32_t id)
{
    put32(ret + HEAD_SIZE, id);
    return write_control(ret, FRAME_PING, 4);
}

size_t spdy_write_goaway(uint8_t *ret, uint32_t last_stream, bool fault)
{
    put32(ret + HEAD_SIZE, last_stream);
    put32(ret + HEAD_SIZE + 4, fault ? SPDY_PROTOCOL_ERROR : 0);
    return write_control(ret, FRAME_GOAWAY, 8);
}
