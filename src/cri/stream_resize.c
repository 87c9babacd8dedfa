/*
 * stream_resize.c - reading {"Width":80,"Height":24} {...} ... in any pieces.
 *
 * Unknown keys are ignored and names may be in any case, as Go's decoder has it. A size with a zero
 * in it changes nothing; text that is no JSON ends resizing, not the session.
 */
#include <jansson.h>
#include <strings.h>

#include "stream_resize.h"

enum { TEXT_MAX = 64 << 10 };

static uint16_t number(const json_t *object, const char *name)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)object, key, value)
    {
        json_int_t n = json_integer_value(value);
        if (strcasecmp(key, name) == 0 && n > 0 && n <= UINT16_MAX)
            return (uint16_t)n;
    }
    return 0;
}

/* Bytes of the first object in the text, read into *ret when it is a size; 0: it is not whole yet;
 * -1: it is no JSON. */
static ssize_t take_object(const char *text, size_t len, uint16_t ret[2])
{
    json_error_t error;
    json_t *object = json_loadb(text, len, JSON_DISABLE_EOF_CHECK, &error);

    if (!object)
        return json_error_code(&error) == json_error_premature_end_of_input ? 0 : -1;
    uint16_t width = number(object, "Width"), height = number(object, "Height");
    if (width && height) {
        ret[0] = width;
        ret[1] = height;
    }
    json_decref(object);
    return error.position;
}

bool resize_input(struct resize *r, const void *data, size_t len, uint16_t *ret_width,
                  uint16_t *ret_height)
{
    uint16_t size[2] = {0, 0};
    size_t at = 0;
    ssize_t n = 1;

    if (r->broken)
        return false;
    strbuf_add(&r->text, data, len);
    while (n > 0) {
        at += strspn(r->text.data + at, " \t\r\n");
        n = at < r->text.len ? take_object(r->text.data + at, r->text.len - at, size) : 0;
        at += n > 0 ? (size_t)n : 0;
    }
    memmove(r->text.data, r->text.data + at, r->text.len - at);
    r->text.len -= at;
    r->text.data[r->text.len] = '\0';
    if (n < 0 || r->text.len > TEXT_MAX) {
        r->broken = true;
        strbuf_free(&r->text);
    }
    *ret_width = size[0];
    *ret_height = size[1];
    return size[0] != 0;
}

void resize_free(struct resize *r)
{
    strbuf_free(&r->text);
}
