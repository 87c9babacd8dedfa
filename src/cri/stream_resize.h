/*
 * stream_resize.h - sizes of a terminal out of the resize channel: JSON objects, one after another.
 */
#ifndef CRI_STREAM_RESIZE_H
#define CRI_STREAM_RESIZE_H

#include "podd/base.h"

struct resize {
    struct strbuf text; /* what is no whole object yet */
    bool broken;        /* no JSON: nothing more is read */
};

/* Takes more of the channel. True: *ret_width and *ret_height are the last size in it. */
bool resize_input(struct resize *r, const void *data, size_t len, uint16_t *ret_width,
                  uint16_t *ret_height);
void resize_free(struct resize *r);

#endif
