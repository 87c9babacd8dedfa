/*
 * decode.c - the walker of the tables in podd/decode.h.
 *
 * It goes through the keys of a mapping (so that unknown ones are found in the order of the file),
 * reads each by its row, and then asks for the required ones. One function per type of field turns
 * a node into memory. Explicit nulls count as "not given", as in Kubernetes.
 */
#include "podd/decode.h"

/* ---- Saying what is wrong ----------------------------------------------------------------------
 */

int decode_fail(struct decode *d, const struct yaml_node *at, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    _cleanup_free_ char *text = xvasprintf(fmt, ap);
    va_end(ap);
    return yaml_error(d->e, d->file, at, "%s", text);
}

size_t decode_enter(struct decode *d, const char *name)
{
    size_t mark = d->path.len;

    strbuf_addf(&d->path, "%s%s", mark ? "." : "", name);
    return mark;
}

size_t decode_enter_item(struct decode *d, size_t index)
{
    size_t mark = d->path.len;

    strbuf_addf(&d->path, "[%zu]", index);
    return mark;
}

void decode_leave(struct decode *d, size_t mark)
{
    d->path.len = mark;
    if (d->path.data)
        d->path.data[mark] = '\0';
}

static int fail_unknown(struct decode *d, const struct object_type *type,
                        const struct yaml_node *key)
{
    const char **names = xcalloc(type->n_fields + 1, sizeof(*names));
    const char *prefix = decode_path(d), *dot = *prefix ? "." : "";

    for (size_t i = 0; i < type->n_fields; i++)
        names[i] = type->fields[i].name;
    const char *closest = str_closest(key->text, names);
    int r = closest ? decode_fail(d, key, "unknown field %s%s%s, did you mean %s?", prefix, dot,
                                  key->text, closest)
                    : decode_fail(d, key, "unknown field %s%s%s", prefix, dot, key->text);
    free(names);
    return r;
}

static int fail_type(struct decode *d, const struct yaml_node *node, const char *wanted)
{
    switch (tree_type(node)) {
    case TREE_MAPPING:
        return decode_fail(d, node, "%s must be %s, not a mapping", decode_path(d), wanted);
    case TREE_SEQUENCE:
        return decode_fail(d, node, "%s must be %s, not a list", decode_path(d), wanted);
    case TREE_NULL:
        return decode_fail(d, node, "%s must be %s, but is empty", decode_path(d), wanted);
    case TREE_STRING:
    case TREE_BOOL:
    case TREE_INT:
    case TREE_FLOAT:
        break;
    }
    return decode_fail(d, node, "%s must be %s, not %s", decode_path(d), wanted, node->text);
}

static int fail_string(struct decode *d, const struct field *f, const struct yaml_node *node)
{
    enum tree_type type = tree_type(node);

    if (f->secret)
        return decode_fail(d, node, "%s must be a string; put it in quotes", decode_path(d));
    if (type == TREE_BOOL || type == TREE_INT || type == TREE_FLOAT)
        return decode_fail(d, node, "%s must be a string, not a %s; put it in quotes: \"%s\"",
                           decode_path(d), type == TREE_BOOL ? "boolean" : "number", node->text);
    return fail_type(d, node, "a string");
}

/* ---- One value of each type --------------------------------------------------------------------
 */

static int check_text(struct decode *d, const struct field *f, const struct yaml_node *node)
{
    if (tree_type(node) != TREE_STRING)
        return fail_string(d, f, node);
    const char *wrong = f->check ? f->check(node->text) : NULL;
    if (wrong && f->secret)
        return decode_fail(d, node, "%s %s", decode_path(d), wrong);
    if (wrong)
        return decode_fail(d, node, "%s %s, not \"%s\"", decode_path(d), wrong, node->text);
    return 0;
}

static int decode_string(struct decode *d, const struct field *f, const struct yaml_node *node,
                         char **ret)
{
    if (check_text(d, f, node) < 0)
        return -1;
    *ret = xstrdup(node->text);
    return 0;
}

static int decode_bool(struct decode *d, const struct yaml_node *node, struct opt_bool *ret)
{
    if (tree_type(node) != TREE_BOOL)
        return fail_type(d, node, "true or false");
    *ret = (struct opt_bool){.set = true, .value = tree_bool(node)};
    return 0;
}

static int decode_number(struct decode *d, const struct field *f, const struct yaml_node *node,
                         int64_t *ret)
{
    if (tree_type(node) != TREE_INT)
        return fail_type(d, node, "a whole number");
    if (tree_int(node, f->min, f->max, ret) < 0) {
        if (f->max == INT64_MAX || f->max == INT32_MAX)
            return decode_fail(d, node, "%s must be at least %lld, not %s", decode_path(d),
                               (long long)f->min, node->text);
        return decode_fail(d, node, "%s must be %lld to %lld, not %s", decode_path(d),
                           (long long)f->min, (long long)f->max, node->text);
    }
    return 0;
}

static int decode_int(struct decode *d, const struct field *f, const struct yaml_node *node,
                      struct opt_int *ret)
{
    if (decode_number(d, f, node, &ret->value) < 0)
        return -1;
    ret->set = true;
    return 0;
}

static int decode_enum(struct decode *d, const struct field *f, const struct yaml_node *node,
                       int *ret)
{
    _cleanup_strbuf_ struct strbuf words = {0};

    if (tree_type(node) != TREE_STRING)
        return fail_string(d, f, node);
    for (int i = 0; f->values[i]; i++) {
        if (str_equal(node->text, f->values[i])) {
            *ret = i + 1;
            return 0;
        }
        strbuf_addf(&words, "%s%s",
                    i == 0             ? ""
                    : f->values[i + 1] ? ", "
                                       : " or ",
                    *f->values[i] ? f->values[i] : "\"\"");
    }
    return decode_fail(d, node, "%s must be %s, not \"%s\"", decode_path(d), words.data,
                       node->text);
}

static int decode_quantity(struct decode *d, const struct yaml_node *node, struct quantity *ret)
{
    enum tree_type type = tree_type(node);

    if (type != TREE_STRING && type != TREE_INT && type != TREE_FLOAT)
        return fail_type(d, node, "a quantity such as 100m or 64Mi");
    int r = quantity_parse(node->text, ret);
    if (r == -ERANGE)
        return decode_fail(d, node, "%s is too large: %s", decode_path(d), node->text);
    if (r < 0)
        return decode_fail(d, node, "%s must be a quantity such as 100m or 64Mi, not %s",
                           decode_path(d), node->text);
    return 0;
}

static int decode_port(struct decode *d, const struct field *f, const struct yaml_node *node,
                       struct int_or_name *ret)
{
    if (tree_type(node) == TREE_STRING) {
        const char *wrong = f->check ? f->check(node->text) : "is not possible here";
        if (wrong)
            return decode_fail(d, node, "%s must be a number, or the name of a port, which %s",
                               decode_path(d), wrong);
        *ret = (struct int_or_name){.set = true, .name = xstrdup(node->text)};
        return 0;
    }
    const struct field range = {.name = f->name, .min = 1, .max = 65535};
    if (decode_number(d, &range, node, &ret->number) < 0)
        return -1;
    ret->set = true;
    return 0;
}

static int decode_only(struct decode *d, const struct field *f, const struct yaml_node *node)
{
    enum tree_type type = tree_type(node);
    bool scalar = type == TREE_STRING || type == TREE_BOOL || type == TREE_INT;

    if (scalar && str_equal(node->text, f->only))
        return 0;
    return decode_fail(d, node, "%s can only be %s: %s", decode_path(d), f->only, f->reason);
}

/* What asks for nothing (an empty list, as templates leave behind) is not refused. */
static int decode_refused(struct decode *d, const struct field *f, const struct yaml_node *key,
                          const struct yaml_node *node)
{
    enum tree_type type = tree_type(node);

    if ((type == TREE_SEQUENCE || type == TREE_MAPPING) && node->count == 0)
        return 0;
    return decode_fail(d, key, "%s is not supported: %s", decode_path(d), f->reason);
}

/* ---- Lists and mappings ------------------------------------------------------------------------
 */

static int decode_strings(struct decode *d, const struct field *f, const struct yaml_node *node,
                          char ***ret)
{
    if (tree_type(node) != TREE_SEQUENCE)
        return fail_type(d, node, "a list of strings");
    for (size_t i = 0; i < node->count; i++) {
        size_t mark = decode_enter_item(d, i);
        if (check_text(d, f, tree_item(node, i)) < 0)
            return -1;
        strv_push(ret, tree_item(node, i)->text);
        decode_leave(d, mark);
    }
    return 0;
}

static int decode_ints(struct decode *d, const struct field *f, const struct yaml_node *node,
                       struct int_list *ret)
{
    if (tree_type(node) != TREE_SEQUENCE)
        return fail_type(d, node, "a list of numbers");
    for (size_t i = 0; i < node->count; i++) {
        size_t mark = decode_enter_item(d, i);
        int64_t *item = array_push(&ret->items, &ret->count, sizeof(*item));
        if (decode_number(d, f, tree_item(node, i), item) < 0)
            return -1;
        decode_leave(d, mark);
    }
    return 0;
}

static int decode_pairs(struct decode *d, const struct field *f, const struct yaml_node *node,
                        struct pair_list *ret)
{
    if (tree_type(node) != TREE_MAPPING)
        return fail_type(d, node, "a mapping of strings");
    for (size_t i = 0; i < node->count; i++) {
        const struct yaml_node *key = node->entries[i].key;
        const char *wrong = f->check_key ? f->check_key(key->text) : NULL;
        if (wrong)
            return decode_fail(d, key, "%s: the key \"%s\" %s", decode_path(d), key->text, wrong);
        size_t mark = decode_enter(d, key->text);
        if (check_text(d, f, tree_item(node, i)) < 0)
            return -1;
        decode_leave(d, mark);
        struct key_value *pair = array_push(&ret->items, &ret->count, sizeof(*pair));
        pair->key = xstrdup(key->text);
        pair->value = xstrdup(tree_item(node, i)->text);
    }
    return 0;
}

static int decode_list(struct decode *d, const struct field *f, const struct yaml_node *node,
                       struct object_list *ret)
{
    if (tree_type(node) != TREE_SEQUENCE)
        return fail_type(d, node, "a list");
    if (f->required && node->count == 0)
        return decode_fail(d, node, "%s must not be empty", decode_path(d));
    ret->items = xcalloc(node->count + 1, f->object->size);
    for (size_t i = 0; i < node->count; i++) {
        size_t mark = decode_enter_item(d, i);
        ret->count = i + 1;
        if (decode_object(d, f->object, tree_item(node, i),
                          (char *)ret->items + i * f->object->size) < 0)
            return -1;
        decode_leave(d, mark);
    }
    return 0;
}

/* ---- Objects -----------------------------------------------------------------------------------
 */

static int decode_field(struct decode *d, const struct field *f, const struct yaml_node *key,
                        const struct yaml_node *node, void *object)
{
    void *to = (char *)object + f->offset;

    switch (f->type) {
    case FIELD_STRING:
        return decode_string(d, f, node, to);
    case FIELD_BOOL:
        return decode_bool(d, node, to);
    case FIELD_INT:
        return decode_int(d, f, node, to);
    case FIELD_ENUM:
        return decode_enum(d, f, node, to);
    case FIELD_QUANTITY:
        return decode_quantity(d, node, to);
    case FIELD_PORT:
        return decode_port(d, f, node, to);
    case FIELD_STRINGS:
        return decode_strings(d, f, node, to);
    case FIELD_INTS:
        return decode_ints(d, f, node, to);
    case FIELD_PAIRS:
        return decode_pairs(d, f, node, to);
    case FIELD_OBJECT:
        *(void **)to = xcalloc(1, f->object->size);
        return decode_object(d, f->object, node, *(void **)to);
    case FIELD_LIST:
        return decode_list(d, f, node, to);
    case FIELD_ONLY:
        return decode_only(d, f, node);
    case FIELD_IGNORED:
        return 0;
    case FIELD_REFUSED:
        return decode_refused(d, f, key, node);
    }
    return 0;
}

static const struct field *find_field(const struct object_type *type, const char *name)
{
    for (size_t i = 0; i < type->n_fields; i++)
        if (str_equal(type->fields[i].name, name))
            return &type->fields[i];
    return NULL;
}

static int check_required(struct decode *d, const struct object_type *type,
                          const struct yaml_node *node)
{
    for (size_t i = 0; i < type->n_fields; i++) {
        const struct field *f = &type->fields[i];
        if (f->required && !tree_child(node, f->name))
            return decode_fail(d, node, "missing field %s%s%s", decode_path(d),
                               d->path.len ? "." : "", f->name);
    }
    return 0;
}

int decode_object(struct decode *d, const struct object_type *type, const struct yaml_node *node,
                  void *object)
{
    if (tree_type(node) != TREE_MAPPING)
        return fail_type(d, node, "a mapping");
    for (size_t i = 0; i < node->count; i++) {
        const struct yaml_node *key = node->entries[i].key, *value = tree_item(node, i);
        const struct field *f = find_field(type, key->text);
        if (!f)
            return fail_unknown(d, type, key);
        if (tree_type(value) == TREE_NULL)
            continue;
        size_t mark = decode_enter(d, f->name);
        if (decode_field(d, f, key, value, object) < 0)
            return -1;
        decode_leave(d, mark);
    }
    if (check_required(d, type, node) < 0)
        return -1;
    return type->finish ? type->finish(d, node, object) : 0;
}

/* ---- Freeing -----------------------------------------------------------------------------------
 */

static void clear_field(const struct field *f, void *at)
{
    struct pair_list *pairs = at;
    struct object_list *list = at;

    switch (f->type) {
    case FIELD_STRING:
        free(*(char **)at);
        break;
    case FIELD_PORT:
        free(((struct int_or_name *)at)->name);
        break;
    case FIELD_STRINGS:
        strv_free(*(char ***)at);
        break;
    case FIELD_INTS:
        free(((struct int_list *)at)->items);
        break;
    case FIELD_PAIRS:
        for (size_t i = 0; i < pairs->count; i++) {
            free(pairs->items[i].key);
            free(pairs->items[i].value);
        }
        free(pairs->items);
        break;
    case FIELD_OBJECT:
        if (*(void **)at)
            decode_clear(f->object, *(void **)at);
        free(*(void **)at);
        break;
    case FIELD_LIST:
        for (size_t i = 0; i < list->count; i++)
            decode_clear(f->object, (char *)list->items + i * f->object->size);
        free(list->items);
        break;
    case FIELD_BOOL:
    case FIELD_INT:
    case FIELD_ENUM:
    case FIELD_QUANTITY:
    case FIELD_ONLY:
    case FIELD_IGNORED:
    case FIELD_REFUSED:
        break;
    }
}

void decode_clear(const struct object_type *type, void *object)
{
    for (size_t i = 0; i < type->n_fields; i++)
        clear_field(&type->fields[i], (char *)object + type->fields[i].offset);
}
