/*
 * podd/decode.h - of base: from a tree of YAML (podd/base.h) to C structs, by tables. Linked by who
 * links yaml_lib_dep. Any thread.
 *
 * Each kind of object has a table of its fields: name, type, where it goes, and what is allowed.
 * The one walker (decode.c) does the rest: types, unknown names, limits, positions. A field that
 * podd does not implement has a row too, with the reason, so that nothing is left out in silence.
 */
#ifndef PODD_DECODE_H
#define PODD_DECODE_H

#include "podd/base.h"

/* ---- What nodes are -----------------------------------------------------------------------------
 */

/* Quoted scalars are strings, plain ones what they look like (YAML 1.1, where yes, no, on and off
 * are booleans). */
enum tree_type {
    TREE_NULL,
    TREE_BOOL,
    TREE_INT,
    TREE_FLOAT,
    TREE_STRING,
    TREE_SEQUENCE,
    TREE_MAPPING
};
enum tree_type tree_type(const struct yaml_node *node);
bool tree_bool(const struct yaml_node *scalar); /* of a TREE_BOOL */
/* Of a TREE_INT: decimal, 0x1f, 0o17, 0b11, and octal with a leading 0 (modes of files). 0 or
 * -ERANGE. */
int tree_int(const struct yaml_node *scalar, int64_t min, int64_t max, int64_t *ret) MUST_CHECK;

/* The item of a sequence or the value of a mapping; NULL beyond the last. */
const struct yaml_node *tree_item(const struct yaml_node *node, size_t index);
/* The value of a mapping's key; NULL when there is none, it is null, or node is no mapping. */
const struct yaml_node *tree_child(const struct yaml_node *node, const char *key);

/* ---- Tables -------------------------------------------------------------------------------------
 */

struct opt_int {
    bool set;
    int64_t value;
};
struct opt_bool {
    bool set, value;
};
struct int_or_name {
    bool set;
    int64_t number;
    char *name; /* wins over number when set */
};
struct pair_list {
    struct key_value *items;
    size_t count;
};
struct int_list {
    int64_t *items;
    size_t count;
};
struct object_list {
    void *items; /* an array of the table's structs */
    size_t count;
};

enum field_type {
    FIELD_STRING,   /* char * */
    FIELD_BOOL,     /* struct opt_bool */
    FIELD_INT,      /* struct opt_int, min .. max */
    FIELD_ENUM,     /* int: 1 + index into `values`; 0: not given */
    FIELD_QUANTITY, /* struct quantity */
    FIELD_PORT,     /* struct int_or_name: 1 .. 65535 or a name that `check` likes */
    FIELD_STRINGS,  /* char ** (strv) */
    FIELD_INTS,     /* struct int_list, min .. max */
    FIELD_PAIRS,    /* struct pair_list: a mapping of strings */
    FIELD_OBJECT,   /* pointer to the struct of `object`; NULL: not given */
    FIELD_LIST,     /* struct object_list of `object` */
    FIELD_ONLY,     /* must be the scalar `only`; stored nowhere */
    FIELD_IGNORED,  /* written by Kubernetes, not by people (status, managedFields, ...) */
    FIELD_REFUSED,  /* `reason` says why */
};

struct field {
    const char *name;
    enum field_type type;
    size_t offset;
    bool required;
    bool secret; /* what is wrong with it is said without its value */
    int64_t min, max;
    const struct object_type *object;
    const char *const *values; /* NULL-terminated */
    const char *only, *reason;
    const char *(*check)(const char *);     /* of a string, or of each; NULL or what is wrong */
    const char *(*check_key)(const char *); /* of a FIELD_PAIRS key */
};

struct decode {
    const char *file;
    struct strbuf path; /* of the node at hand: spec.containers[0] */
    struct err *e;
};

struct object_type {
    size_t size;
    const struct field *fields;
    size_t n_fields;
    /* Checks across fields, once all are read. NULL: none. */
    int (*finish)(struct decode *d, const struct yaml_node *node, void *object);
};

/* Fills the zeroed struct at `object`. -1: what was filled so far is to be freed all the same. */
int decode_object(struct decode *d, const struct object_type *type, const struct yaml_node *node,
                  void *object) MUST_CHECK;
/* Frees what the fields own, not the struct itself. */
void decode_clear(const struct object_type *type, void *object);

/* Sets the error "<file>:<line>:<column>: <text>". Returns -1. */
int decode_fail(struct decode *d, const struct yaml_node *at, const char *fmt, ...) PRINTF(3, 4);
/* Goes down to a field or an item; returns what decode_leave needs to come back. */
size_t decode_enter(struct decode *d, const char *name);
size_t decode_enter_item(struct decode *d, size_t index);
void decode_leave(struct decode *d, size_t mark);
static inline const char *decode_path(const struct decode *d)
{
    return d->path.data ? d->path.data : "";
}

/* ---- Rows ---------------------------------------------------------------------------------------
 * Each file of tables defines S, the struct its rows point into, before the rows.
 */

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
