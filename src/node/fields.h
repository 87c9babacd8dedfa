/*
 * fields.h - short forms of the rows of a table. Each table file defines S, the struct its rows
 * point into, before the rows.
 */
#ifndef NODE_FIELDS_H
#define NODE_FIELDS_H

#include "decode.h"

#define ROW(n, t, member, ...)                                                                     \
    {                                                                                              \
        .name = n, .type = t, .offset = offsetof(struct S, member), __VA_ARGS__                    \
    }
#define STRING(n, member, ...) ROW(n, FIELD_STRING, member, __VA_ARGS__)
#define BOOL(n, member) ROW(n, FIELD_BOOL, member)
#define INT(n, member, low, high, ...)                                                             \
    ROW(n, FIELD_INT, member, .min = low, .max = high, __VA_ARGS__)
#define ENUM(n, member, words) ROW(n, FIELD_ENUM, member, .values = words)
#define QUANTITY(n, member) ROW(n, FIELD_QUANTITY, member)
#define STRINGS(n, member, ...) ROW(n, FIELD_STRINGS, member, __VA_ARGS__)
#define OBJECT(n, member, type_of, ...)                                                            \
    ROW(n, FIELD_OBJECT, member, .object = &type_of, __VA_ARGS__)
#define LIST(n, member, type_of, ...) ROW(n, FIELD_LIST, member, .object = &type_of, __VA_ARGS__)
#define ONLY(n, value, why)                                                                        \
    {                                                                                              \
        .name = n, .type = FIELD_ONLY, .only = value, .reason = why                                \
    }
#define IGNORED(n)                                                                                 \
    {                                                                                              \
        .name = n, .type = FIELD_IGNORED                                                           \
    }
#define REFUSED(n, why)                                                                            \
    {                                                                                              \
        .name = n, .type = FIELD_REFUSED, .reason = why                                            \
    }
#define TYPE_OF(rows, ...)                                                                         \
    {                                                                                              \
        .size = sizeof(struct S), .fields = rows, .n_fields = ARRAY_SIZE(rows), __VA_ARGS__        \
    }
#define REQUIRED .required = true

#endif
