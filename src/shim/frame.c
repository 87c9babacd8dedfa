/*
 * frame.c - cuts a byte stream into frames.
 *
 * Pure: no file descriptors, so that it can be fed by a fuzzer. The buffer grows with the bytes
 * that arrive, never with the length that a header claims, and is given back as soon as it is
 * empty: a shim has connections that are silent for weeks.
 */
#include "frame.h"

enum { SPACE_MIN = 1024, CAP_MIN = 4096 };

uint8_t *frame_reader_space(struct frame_reader *r, size_t *ret_len)
{
    if (r->start > 0) {
        memmove(r->data, r->data + r->start, r->end - r->start);
        r->end -= r->start;
        r->start = 0;
    }
    if (r->cap - r->end < SPACE_MIN) {
        r->cap = r->cap ? r->cap * 2 : CAP_MIN;
        r->data = xrealloc(r->data, r->cap);
    }
    *ret_len = r->cap - r->end;
    return r->data + r->end;
}

void frame_reader_add(struct frame_reader *r, size_t n)
{
    r->end += n;
}

static size_t header_read(const uint8_t *p)
{
    return (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
}

int frame_reader_next(struct frame_reader *r, const uint8_t **ret, size_t *ret_len)
{
    size_t have = r->end - r->start;

    if (have == 0) {
        frame_reader_free(r);
        return 0;
    }
    if (have < FRAME_HEADER)
        return 0;
    size_t len = header_read(r->data + r->start);
    if (len == 0 || len > FRAME_MAX)
        return -EPROTO;
    if (have - FRAME_HEADER < len)
        return 0;
    *ret = r->data + r->start + FRAME_HEADER;
    *ret_len = len;
    r->start += FRAME_HEADER + len;
    return 1;
}

bool frame_reader_is_empty(const struct frame_reader *r)
{
    return r->start == r->end;
}

void frame_reader_free(struct frame_reader *r)
{
    free(r->data);
    *r = (struct frame_reader){0};
}

void frame_header_write(uint8_t *ret, size_t len)
{
    ret[0] = (uint8_t)len;
    ret[1] = (uint8_t)(len >> 8);
    ret[2] = (uint8_t)(len >> 16);
    ret[3] = (uint8_t)(len >> 24);
}
