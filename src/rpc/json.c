/*
 * json.c - any protobuf message as JSON, by its descriptor and with the field names of the .proto,
 * so that a new field shows without a line of code here. For people and scripts, not for the wire:
 * bytes are shown as text, numbers as numbers.
 */
#include "podd/rpc.h"

#include <jansson.h>

/* One value of a field; `at` points at it in the message's struct. */
static json_t *value_json(const ProtobufCFieldDescriptor *field, const void *at)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return json_integer(*(const int32_t *)at);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return json_integer(*(const uint32_t *)at);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return json_integer(*(const int64_t *)at);
    case PROTOBUF_C_TYPE_FLOAT:
        return json_real((double)*(const float *)at);
    case PROTOBUF_C_TYPE_DOUBLE:
        return json_real(*(const double *)at);
    case PROTOBUF_C_TYPE_BOOL:
        return json_boolean(*(const protobuf_c_boolean *)at);
    case PROTOBUF_C_TYPE_ENUM: {
        const ProtobufCEnumValue *value =
            protobuf_c_enum_descriptor_get_value(field->descriptor, *(const int *)at);
        return value ? json_string(value->name) : json_integer(*(const int *)at);
    }
    case PROTOBUF_C_TYPE_STRING:
        return json_string(*(char *const *)at);
    case PROTOBUF_C_TYPE_BYTES: {
        /* An environment's value: shown as text where it is text. */
        const ProtobufCBinaryData *data = at;
        json_t *text = json_stringn(data->len ? (const char *)data->data : "", data->len);
        return text ? text : json_string("(not text)");
    }
    case PROTOBUF_C_TYPE_MESSAGE:
        return message_to_json(*(ProtobufCMessage *const *)at);
    }
    return json_null();
}

static size_t value_size(const ProtobufCFieldDescriptor *field)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_ENUM:
        return 4;
    }
    return 0;
}

static json_t *repeated_json(const ProtobufCFieldDescriptor *field, size_t n, const char *items)
{
    bool map =
        field->type == PROTOBUF_C_TYPE_MESSAGE &&
        str_ends_with(((const ProtobufCMessageDescriptor *)field->descriptor)->name, "Entry");
    json_t *list = map ? json_object() : json_array();

    for (size_t i = 0; i < n; i++) {
        json_t *item = value_json(field, items + i * value_size(field));
        if (map) {
            const char *key = json_string_value(json_object_get(item, "key"));
            json_object_set(list, key ? key : "", json_object_get(item, "value"));
            json_decref(item);
        } else {
            json_array_append_new(list, item);
        }
    }
    return list;
}

json_t *message_to_json(const ProtobufCMessage *message)
{
    json_t *object = json_object();

    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        const char *at = (const char *)message + field->offset;

        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            size_t n = *(const size_t *)((const char *)message + field->quantifier_offset);
            json_object_set_new(object, field->name,
                                repeated_json(field, n, *(const char *const *)at));
        } else if (field->type != PROTOBUF_C_TYPE_MESSAGE || *(void *const *)at) {
            json_object_set_new(object, field->name, value_json(field, at));
        }
    }
    return object;
}
