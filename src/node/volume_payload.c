/*
 * volume_payload.c - files out of objects and fields of the pod, with Kubernetes' rules: without
 * items every key is a file; of several sources of a projected volume the later one wins a path.
 */
#include "volume_payload.h"

#define MODE_DEFAULT 0644

bool volume_has_payload(const struct manifest_volume *v)
{
    return v->config_map || v->secret || v->downward || v->projected;
}

bool volume_is_secret(const struct manifest_volume *v)
{
    return v->secret || v->projected;
}

void payload_free(struct payload *p)
{
    for (size_t i = 0; i < p->count; i++) {
        free(p->files[i].path);
        object_value_free(&p->files[i].data);
    }
    free(p->files);
    *p = (struct payload){0};
}

static void add_file(struct payload *p, const char *path, struct bytes data_take, mode_t mode)
{
    struct payload_file *file = NULL;

    for (size_t i = 0; i < p->count && !file; i++)
        if (str_equal(p->files[i].path, path))
            file = &p->files[i];
    if (!file) {
        file = array_push(&p->files, &p->count, sizeof(*file));
        file->path = xstrdup(path);
    }
    object_value_free(&file->data);
    file->data = data_take;
    file->mode = mode;
}

static mode_t mode_of(const struct opt_int *own, mode_t otherwise)
{
    return own->set ? (mode_t)own->value : otherwise;
}

/* ---- Objects -----------------------------------------------------------------------------------
 */

static void add_pairs(struct payload *p, const struct object_manifest *object,
                      const struct pair_list *pairs, mode_t mode)
{
    for (size_t i = 0; i < pairs->count; i++) {
        struct bytes value;
        if (object_value(object, pairs->items[i].key, &value))
            add_file(p, pairs->items[i].key, value, mode);
    }
}

static int add_items(struct payload *p, const struct object_manifest *object,
                     const struct volume_object *v, mode_t mode, struct err *e)
{
    const struct key_to_path *items = v->items.items;

    for (size_t i = 0; i < v->items.count; i++) {
        struct bytes value;
        if (object_value(object, items[i].key, &value))
            add_file(p, items[i].path, value, mode_of(&items[i].mode, mode));
        else if (!v->optional.value)
            return err_set(e, ERR_FAILED_PRECONDITION,
                           "references non-existent %s key: %s of \"%s\"",
                           object->kind == OBJECT_SECRET ? "secret" : "config", items[i].key,
                           object->metadata->name);
    }
    return 0;
}

static int add_object(struct payload *p, enum object_kind kind, const struct volume_object *v,
                      const struct env_context *context, mode_t mode, struct err *e)
{
    const char *name = v->secret_name ? v->secret_name : v->name;
    const struct object_manifest *object;

    if (object_source_get(&context->objects, kind, name, v->optional.value, &object, e) < 0)
        return -1;
    if (!object)
        return 0;
    if (v->items.count > 0)
        return add_items(p, object, v, mode, e);
    add_pairs(p, object, &object->data, mode);
    add_pairs(p, object, &object->binary_data, mode);
    return 0;
}

/* ---- downwardAPI -------------------------------------------------------------------------------
 */

const char *downward_check(const struct downward_file *f, const struct pod_spec *spec)
{
    static const char *const fields[] = {"metadata.name", "metadata.namespace", "metadata.uid",
                                         "metadata.labels", "metadata.annotations"};

    if (f->field && str_starts_with(f->field->path, "metadata.")) {
        for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
            if (str_equal(f->field->path, fields[i]))
                return NULL;
    } else if (f->field) {
        return "fieldRef can be metadata.name, metadata.namespace, metadata.uid, metadata.labels, "
               "metadata.annotations, metadata.labels['KEY'] or metadata.annotations['KEY']";
    }
    const struct env_source source = {.field = f->field, .resource = f->resource};
    return env_source_check(&source, spec);
}

static int compare_pairs(const void *a, const void *b)
{
    return strcmp((*(const struct key_value *const *)a)->key,
                  (*(const struct key_value *const *)b)->key);
}

/* A value in quotes, as programs that read these files expect it. */
static void add_quoted(struct strbuf *out, const char *s)
{
    static const char plain[] = "abfnrtv\"\\", escaped[] = "\a\b\f\n\r\t\v\"\\";

    strbuf_adds(out, "\"");
    for (; *s; s++) {
        const char *escape = strchr(escaped, *s);
        if (escape)
            strbuf_addf(out, "\\%c", plain[escape - escaped]);
        else if ((unsigned char)*s < ' ' || *s == 0x7f)
            strbuf_addf(out, "\\x%02x", (unsigned char)*s);
        else
            strbuf_add(out, s, 1);
    }
    strbuf_adds(out, "\"");
}

/* One line per pair, sorted. */
static char *pairs_text(const struct pair_list *pairs)
{
    const struct key_value **sorted = xcalloc(pairs->count + 1, sizeof(*sorted));
    struct strbuf text = {0};

    for (size_t i = 0; i < pairs->count; i++)
        sorted[i] = &pairs->items[i];
    qsort(sorted, pairs->count, sizeof(*sorted), compare_pairs);
    for (size_t i = 0; i < pairs->count; i++) {
        strbuf_addf(&text, "%s%s=", i ? "\n" : "", sorted[i]->key);
        add_quoted(&text, sorted[i]->value);
    }
    free(sorted);
    return strbuf_take(&text);
}

static char *downward_text(const struct downward_file *f, const struct env_context *context)
{
    const struct pod_metadata *metadata = context->manifest->metadata;
    const struct env_source source = {.field = f->field, .resource = f->resource};

    if (f->field && str_equal(f->field->path, "metadata.labels"))
        return pairs_text(&metadata->labels);
    if (f->field && str_equal(f->field->path, "metadata.annotations"))
        return pairs_text(&metadata->annotations);
    return env_source_value(&source, NULL, context);
}

static void add_downward(struct payload *p, const struct volume_downward *v,
                         const struct env_context *context, mode_t mode)
{
    const struct downward_file *items = v->items.items;

    for (size_t i = 0; i < v->items.count; i++) {
        char *text = downward_text(&items[i], context);
        add_file(p, items[i].path, (struct bytes){(uint8_t *)text, strlen(text)},
                 mode_of(&items[i].mode, mode));
    }
}

/* ---- The whole ---------------------------------------------------------------------------------
 */

static int add_source(struct payload *p, const struct volume_object *config_map,
                      const struct volume_object *secret, const struct volume_downward *downward,
                      const struct env_context *context, mode_t mode, struct err *e)
{
    if (config_map)
        return add_object(p, OBJECT_CONFIG_MAP, config_map, context, mode, e);
    if (secret)
        return add_object(p, OBJECT_SECRET, secret, context, mode, e);
    add_downward(p, downward, context, mode);
    return 0;
}

static int add_projected(struct payload *p, const struct volume_projected *v,
                         const struct env_context *context, struct err *e)
{
    const struct projected_source *sources = v->sources.items;
    mode_t mode = mode_of(&v->default_mode, MODE_DEFAULT);

    for (size_t i = 0; i < v->sources.count; i++)
        if (add_source(p, sources[i].config_map, sources[i].secret, sources[i].downward, context,
                       mode, e) < 0)
            return -1;
    return 0;
}

int payload_make(const struct manifest_volume *v, const struct env_context *context,
                 struct payload *ret, struct err *e)
{
    struct payload p = {0};
    const struct opt_int *mode = v->config_map ? &v->config_map->default_mode
                                 : v->secret   ? &v->secret->default_mode
                                 : v->downward ? &v->downward->default_mode
                                               : NULL;
    int r = v->projected ? add_projected(&p, v->projected, context, e)
                         : add_source(&p, v->config_map, v->secret, v->downward, context,
                                      mode ? mode_of(mode, MODE_DEFAULT) : MODE_DEFAULT, e);

    if (r < 0) {
        payload_free(&p);
        return err_wrap(e, "volume %s", v->name);
    }
    *ret = p;
    return 0;
}
