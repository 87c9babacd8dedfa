/*
 * frame.h - frames on a byte stream: 4 bytes of length, little-endian, then that many bytes.
 */
#ifndef SHIM_FRAME_H
#define SHIM_FRAME_H

#include <podd/base.h>

enum {
    FRAME_HEADER = 4,
    FRAME_MAX = 16 * 1024 * 1024, /* bytes behind the header */
};

/* What was received and is not yet taken. Zeroed is empty, and it holds no memory while empty. */
struct frame_reader {
    uint8_t *data;
    size_t start, end, cap; /* the bytes are data[start..end) */
};

/* Where to put what is received next: at least 1 KiB. */
uint8_t *frame_reader_space(struct frame_reader *r, size_t *ret_len);
/* Counts n bytes that were put there. */
void frame_reader_add(struct frame_reader *r, size_t n);
/* 1: the next frame, borrowed until the reader is touched again. 0: it is not complete yet.
 * -EPROTO: its length is zero or more than FRAME_MAX; the stream cannot be read any further. */
int frame_reader_next(struct frame_reader *r, const uint8_t **ret, size_t *ret_len) MUST_CHECK;
/* Not a single byte is waiting. */
bool frame_reader_is_empty(const struct frame_reader *r);
void frame_reader_free(struct frame_reader *r);

void frame_header_write(uint8_t *ret /* FRAME_HEADER bytes */, size_t len);

#endif
