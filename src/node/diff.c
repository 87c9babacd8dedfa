/*
 * diff.c - walks two JSON trees side by side. Mappings are compared key by key and lists item by
 * item; what only one side has is told as a whole.
 */
#include "diff.h"

#include "podd/base.h"

#include <jansson.h>

struct diff {
    struct strbuf path;
    bool secret;
    Podd__V1__FieldChange **changes;
    size_t n;
};

static char *value_text(const struct diff *d, const json_t *value)
{
    if (!value)
        return xstrdup("");
    if (d->secret && str_starts_with(d->path.data, "data"))
        return xstrdup("***");
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS);
    if (!text)
        abort(); /* out of memory */
    return text;
}

static void add_change(struct diff *d, const json_t *before, const json_t *after)
{
    Podd__V1__FieldChange **slot = array_push(&d->changes, &d->n, sizeof(*slot));

    *slot = xmalloc(sizeof(**slot));
    podd__v1__field_change__init(*slot);
    (*slot)->path = xstrdup(d->path.data ? d->path.data : "");
    (*slot)->before = value_text(d, before);
    (*slot)->after = value_text(d, after);
}

static void compare(struct diff *d, json_t *before, json_t *after);

/* Goes down to a field, and comes back. */
static void compare_key(struct diff *d, const char *key, json_t *before, json_t *after)
{
    size_t mark = d->path.len;
    bool plain = key[strcspn(key, "./[]")] == '\0';

    if (plain)
        strbuf_addf(&d->path, "%s%s", mark ? "." : "", key);
    else
        strbuf_addf(&d->path, "[\"%s\"]", key);
    compare(d, before, after);
    d->path.len = mark;
    d->path.data[mark] = '\0';
}

static void compare_objects(struct diff *d, json_t *before, json_t *after)
{
    json_t *keys = json_object();
    const char *key;
    json_t *value;

    json_object_update(keys, before);
    json_object_update(keys, after);
    char **sorted = NULL;
    json_object_foreach(keys, key, value) strv_push(&sorted, key);
    json_decref(keys);
    for (char **k = sorted; k && *k; k++)
        compare_key(d, *k, json_object_get(before, *k), json_object_get(after, *k));
    strv_free(sorted);
}

static void compare_arrays(struct diff *d, json_t *before, json_t *after)
{
    size_t mark = d->path.len, a = json_array_size(before), b = json_array_size(after);

    for (size_t i = 0; i < (a > b ? a : b); i++) {
        strbuf_addf(&d->path, "[%zu]", i);
        compare(d, json_array_get(before, i), json_array_get(after, i));
        d->path.len = mark;
        d->path.data[mark] = '\0';
    }
}

static void compare(struct diff *d, json_t *before, json_t *after)
{
    if (before && after && json_equal(before, after))
        return;
    bool hidden = d->secret && str_equal(d->path.data, "data");
    if (json_is_object(before) && json_is_object(after))
        compare_objects(d, before, after);
    else if (json_is_array(before) && json_is_array(after))
        compare_arrays(d, before, after);
    else if (hidden && (json_is_object(before) || json_is_object(after)))
        compare_objects(d, before, after); /* its keys are no secret */
    else
        add_change(d, before, after);
}

void diff_manifests(const char *before, const char *after, bool secret,
                    Podd__V1__FieldChange ***ret, size_t *ret_n)
{
    struct diff d = {.secret = secret};
    json_t *a = before ? json_loads(before, 0, NULL) : json_object();
    json_t *b = json_loads(after, 0, NULL);

    compare_objects(&d, a, b);
    json_decref(a);
    json_decref(b);
    strbuf_free(&d.path);
    *ret = d.changes;
    *ret_n = d.n;
}
