/*
 * check.c - looks at a message on the wire before protobuf-c unpacks it.
 *
 * protobuf-c keeps strings as C strings and checks neither their encoding nor for NUL, so that
 * "a\0b" would be unpacked as "a"; and a few bytes on the wire may cost a hundred times as much in
 * memory. One walk along the wire format with the descriptor in hand bounds all of that, and can
 * name the field at fault.
 */
#include "private.h"

#define DEPTH_MAX 32
/* What protobuf-c keeps for every field it meets while it unpacks. */
#define FIELD_COST 48

struct walk {
    const uint8_t *pos;
    const uint8_t *end;
};

struct checker {
    size_t cost;
    unsigned depth;
    const char *path[DEPTH_MAX]; /* the fields that lead to where we are */
    struct err *e;
};

/* ---- UTF-8 ----------------------------------------------------------------------------------- */

/* Unicode's table of well-formed sequences, row by first byte: length and range of the second. */
static size_t sequence_length(const uint8_t *s, size_t len)
{
    static const struct {
        uint8_t first, last, length, low, high;
    } rows[] = {
        {0xc2, 0xdf, 2, 0x80, 0xbf}, {0xe0, 0xe0, 3, 0xa0, 0xbf}, {0xe1, 0xec, 3, 0x80, 0xbf},
        {0xed, 0xed, 3, 0x80, 0x9f}, {0xee, 0xef, 3, 0x80, 0xbf}, {0xf0, 0xf0, 4, 0x90, 0xbf},
        {0xf1, 0xf3, 4, 0x80, 0xbf}, {0xf4, 0xf4, 4, 0x80, 0x8f},
    };

    if (s[0] < 0x80)
        return 1;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if (s[0] < rows[i].first || s[0] > rows[i].last)
            continue;
        if (len < rows[i].length || s[1] < rows[i].low || s[1] > rows[i].high)
            return 0;
        for (size_t k = 2; k < rows[i].length; k++)
            if ((s[k] & 0xc0) != 0x80)
                return 0;
        return rows[i].length;
    }
    return 0;
}

size_t utf8_prefix(const uint8_t *s, size_t len)
{
    size_t i = 0;

    while (i < len) {
        size_t n = sequence_length(s + i, len - i);
        if (n == 0)
            break;
        i += n;
    }
    return i;
}

/* ---- Errors ---------------------------------------------------------------------------------- */

static int fail(struct checker *c, enum err_code code, const char *what)
{
    _cleanup_strbuf_ struct strbuf path = {0};

    for (unsigned i = 0; i < c->depth && i < DEPTH_MAX; i++)
        strbuf_addf(&path, "%s%s", i > 0 ? "." : "", c->path[i]);
    if (path.len > 0)
        return err_set(c->e, code, "field %s: %s", path.data, what);
    return err_set(c->e, code, "%s", what);
}

static int fail_broken(struct checker *c)
{
    return fail(c, ERR_INVALID_ARGUMENT, "the bytes are not a protobuf message");
}

static int charge(struct checker *c, size_t bytes)
{
    c->cost += bytes;
    if (c->cost > MESSAGE_COST_MAX)
        return fail(c, ERR_RESOURCE_EXHAUSTED, "the message has too many parts");
    return 0;
}

/* ---- The wire format ------------------------------------------------------------------------- */

static bool read_varint(struct walk *w, uint64_t *ret)
{
    uint64_t v = 0;

    for (unsigned shift = 0; shift < 70 && w->pos < w->end; shift += 7) {
        uint8_t b = *w->pos++;
        if (shift < 64)
            v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80)) {
            *ret = v;
            return true;
        }
    }
    return false;
}

static bool skip(struct walk *w, uint64_t n)
{
    if (n > (uint64_t)(w->end - w->pos))
        return false;
    w->pos += n;
    return true;
}

static int check_message(struct checker *c, struct walk w, const ProtobufCMessageDescriptor *type);

static int check_string(struct checker *c, struct walk w)
{
    size_t len = (size_t)(w.end - w.pos);

    if (utf8_prefix(w.pos, len) != len)
        return fail(c, ERR_INVALID_ARGUMENT, "the string is not valid UTF-8");
    if (memchr(w.pos, 0, len))
        return fail(c, ERR_INVALID_ARGUMENT, "the string has a NUL character");
    return 0;
}

/* The content of a length-delimited field. */
static int check_content(struct checker *c, struct walk w, const ProtobufCFieldDescriptor *field)
{
    if (charge(c, (size_t)(w.end - w.pos)) < 0)
        return -1;
    if (field->type == PROTOBUF_C_TYPE_STRING)
        return check_string(c, w);
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return check_message(c, w, field->descriptor);
    if (field->type == PROTOBUF_C_TYPE_BYTES)
        return 0;
    /* Packed numbers: at most eight bytes of memory for each byte here. */
    return charge(c, 8 * (size_t)(w.end - w.pos));
}

static int check_delimited(struct checker *c, struct walk *w,
                           const ProtobufCMessageDescriptor *type, uint32_t number)
{
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(type, number);
    uint64_t len;

    if (!read_varint(w, &len))
        return fail_broken(c);
    struct walk content = {w->pos, w->pos};
    if (!skip(w, len))
        return fail_broken(c);
    content.end = w->pos;
    if (!field)
        return charge(c, len);
    if (c->depth == DEPTH_MAX)
        return fail(c, ERR_INVALID_ARGUMENT, "nested too deeply");
    c->path[c->depth++] = field->name;
    int r = check_content(c, content, field);
    c->depth--;
    return r;
}

static int check_message(struct checker *c, struct walk w, const ProtobufCMessageDescriptor *type)
{
    if (charge(c, type->sizeof_message) < 0)
        return -1;
    while (w.pos < w.end) {
        uint64_t tag, ignored;
        bool good = true;

        if (!read_varint(&w, &tag) || tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
            return fail_broken(c);
        if (charge(c, FIELD_COST) < 0)
            return -1;
        switch (tag & 7) {
        case 0:
            good = read_varint(&w, &ignored);
            break;
        case 1:
            good = skip(&w, 8);
            break;
        case 2:
            if (check_delimited(c, &w, type, (uint32_t)(tag >> 3)) < 0)
                return -1;
            break;
        case 5:
            good = skip(&w, 4);
            break;
        default: /* groups are proto2's */
            good = false;
        }
        if (!good)
            return fail_broken(c);
    }
    return 0;
}

int message_check(const uint8_t *data, size_t len, const ProtobufCMessageDescriptor *type,
                  struct err *e)
{
    struct checker c = {.e = e};
    struct walk w = {data, data + len};

    return check_message(&c, w, type);
}
