/*
 * decode.h - from a tree of YAML to C structs, by tables.
 *
 * Each kind of object has a table of its fields: name, type, where it goes, and what is allowed.
 * The one walker (decode.c) does the rest: types, unknown names, limits, positions. A field that
 * podd does not implement has a row too, with the reason, so that nothing is left out in silence.
 */
#ifndef NODE_DECODE_H
#define NODE_DECODE_H

#include "podd/base.h"

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
    FIELD_PORT,     /* struct int_or_name: 1 .. 65535 or a port's name */
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

struct yaml_node;
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

#endif
