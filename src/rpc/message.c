/*
 * message.c - protobuf-c messages as gRPC's byte buffers, and back; status texts.
 *
 * Stateless, so all of it may run on gRPC's thread. What arrives is looked at by message_check()
 * before protobuf-c unpacks it.
 */
#include "private.h"

grpc_byte_buffer *message_pack(const ProtobufCMessage *m)
{
    grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(m));

    protobuf_c_message_pack(m, GRPC_SLICE_START_PTR(slice));
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return buffer;
}

static int unpack_slice(grpc_slice slice, const ProtobufCMessageDescriptor *type, const char *what,
                        ProtobufCMessage **ret, struct err *e)
{
    const uint8_t *data = GRPC_SLICE_START_PTR(slice);
    size_t len = GRPC_SLICE_LENGTH(slice);

    if (message_check(data, len, type, e) < 0)
        return err_wrap(e, "%s %s", what, type->name);
    ProtobufCMessage *m = protobuf_c_message_unpack(type, NULL, len, data);
    if (!m)
        return err_set(e, ERR_INVALID_ARGUMENT, "%s %s: not a message of this type", what,
                       type->name);
    *ret = m;
    return 0;
}

int message_unpack(grpc_byte_buffer *buffer, const ProtobufCMessageDescriptor *type,
                   const char *what, ProtobufCMessage **ret, struct err *e)
{
    grpc_byte_buffer_reader reader;

    if (grpc_byte_buffer_length(buffer) > MESSAGE_MAX)
        return err_set(e, ERR_RESOURCE_EXHAUSTED, "%s %s: longer than %d bytes", what, type->name,
                       MESSAGE_MAX);
    if (!grpc_byte_buffer_reader_init(&reader, buffer))
        return err_set(e, ERR_INTERNAL, "%s %s: cannot be read", what, type->name);
    grpc_slice slice = grpc_byte_buffer_reader_readall(&reader);
    grpc_byte_buffer_reader_destroy(&reader);
    int r = unpack_slice(slice, type, what, ret, e);
    grpc_slice_unref(slice);
    return r;
}

void message_free(ProtobufCMessage *m)
{
    if (m)
        protobuf_c_message_free_unpacked(m, NULL);
}

/* ---- Status texts ---------------------------------------------------------------------------- */

/* Clients bound all trailing metadata, 8 KiB in gRPC's own libraries, and what is no printable
 * ASCII travels as three characters. */
#define STATUS_MAX (7 << 10)

static size_t wire_size(uint8_t c)
{
    return c >= 0x20 && c <= 0x7e && c != '%' ? 1 : 3;
}

/* The bytes of s[0..len) that fit into STATUS_MAX, never splitting a character. */
static size_t fitting(const uint8_t *s, size_t len)
{
    size_t used = 0;
    size_t i = 0;

    while (i < len && used + wire_size(s[i]) <= STATUS_MAX)
        used += wire_size(s[i++]);
    return i == len ? len : utf8_prefix(s, i);
}

grpc_slice status_slice(const char *text)
{
    _cleanup_strbuf_ struct strbuf clean = {0};
    const uint8_t *s = (const uint8_t *)text;
    size_t len = strnlen(text, STATUS_MAX + 4); /* no more can ever fit */

    while (len > 0) {
        size_t good = utf8_prefix(s, len);
        strbuf_add(&clean, s, good);
        s += good;
        len -= good;
        if (len > 0) {
            strbuf_adds(&clean, "?");
            s++;
            len--;
        }
    }
    return grpc_slice_from_copied_buffer(
        clean.data ? clean.data : "",
        fitting((const uint8_t *)(clean.data ? clean.data : ""), clean.len));
}
