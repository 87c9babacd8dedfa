/*
 * record.c - records of images as files: JSON, one file per image.
 *
 * A record says what the store cannot find out by itself: names, size and layers. What containers
 * need comes from the configuration, whose digest is the image's id and is verified whenever it is
 * read. Layers that are named must be there. A record that fails any of this is an error for the
 * caller to report; the other images do not depend on it.
 */
#include "json.h"
#include "manifest.h"
#include "store.h"

enum {
    RECORD_VERSION = 1,
    RECORD_MAX = 4 << 20,
    LAYER_INFO_MAX = 4096,
};

static json_t *texts_to_json(char *const *v)
{
    json_t *j = json_array();

    for (; v && *v; v++)
        json_array_append_new(j, json_string(*v));
    return j;
}

char *record_render(const struct record *r)
{
    _cleanup_json_ json_t *j = json_object();

    json_object_set_new(j, "version", json_integer(RECORD_VERSION));
    json_object_set_new(j, "id", json_string(r->image.id));
    json_object_set_new(j, "tags", texts_to_json(r->image.repo_tags));
    json_object_set_new(j, "digests", texts_to_json(r->image.repo_digests));
    json_object_set_new(j, "layers", texts_to_json(r->image.layers));
    json_object_set_new(j, "size", json_integer((json_int_t)r->image.size));
    json_object_set_new(j, "pinned", json_boolean(r->image.pinned));
    json_object_set_new(j, "removed", json_boolean(r->removed));
    json_object_set_new(j, "updated", json_integer(r->updated_ns));
    char *dumped = json_dumps(j, JSON_INDENT(1));
    if (!dumped)
        abort(); /* only without memory */
    return dumped;
}

int record_set_config(struct record *r, const struct bytes *config, struct err *e)
{
    _cleanup_document_ struct image_document d = {0};

    if (image_document_parse(config->data, config->len, &d, e) < 0)
        return -1;
    image_config_clear(&r->image.config);
    r->image.config = d.config;
    d.config = (struct image_config){0};
    r->config_bytes = config->len;
    return 0;
}

static int load_config(struct image_store *s, struct record *r, struct err *e)
{
    _cleanup_bytes_ struct bytes config = {0};
    char digest[DIGEST_TEXT_SIZE];

    if (file_read(s->blobs_fd, digest_hex(r->image.id), CONFIG_MAX, &config, e) < 0)
        return -1;
    digest_compute(config.data, config.len, digest);
    if (!str_equal(digest, r->image.id))
        return err_set(e, ERR_DATA_LOSS, "the image's configuration on disk is damaged");
    return record_set_config(r, &config, e);
}

/* What an unpacked layer takes; its file is written with it, before it gets its name. */
static int load_layer_info(struct image_store *s, const char *hex, uint64_t *ret_bytes,
                           uint64_t *ret_inodes, struct err *e)
{
    _cleanup_free_ char *path = xasprintf("%s/layer.json", hex);
    _cleanup_bytes_ struct bytes text = {0};
    bool bad = false;

    if (file_read(s->layers_fd, path, LAYER_INFO_MAX, &text, e) < 0)
        return -1;
    _cleanup_json_ json_t *j = json_load_strict(text.data, text.len, path, e);
    if (!j)
        return -1;
    int64_t bytes = json_get_number(j, "bytes", &bad), inodes = json_get_number(j, "inodes", &bad);
    if (bad || bytes < 0 || inodes < 0)
        return err_set(e, ERR_DATA_LOSS, "%s is damaged", path);
    *ret_bytes = (uint64_t)bytes;
    *ret_inodes = (uint64_t)inodes;
    return 0;
}

static int load_layer(struct image_store *s, struct record *r, const char *hex, struct err *e)
{
    uint64_t bytes = 0, inodes = 0;

    if (!digest_hex_valid(hex))
        return err_set(e, ERR_DATA_LOSS, "a layer's name is malformed");
    struct layer *l = layer_hold(s, hex);
    if (!l) {
        if (load_layer_info(s, hex, &bytes, &inodes, e) < 0)
            return -1;
        l = layer_add(s, hex, bytes, inodes);
    }
    *(struct layer **)array_push(&r->layers, &r->n_layers, sizeof(l)) = l;
    return 0;
}

static int parse_record(struct image_store *s, const json_t *j, struct record *r, struct err *e)
{
    bool bad = !json_is_object(j);
    int64_t version = json_get_number(j, "version", &bad);

    if (!bad && version > RECORD_VERSION)
        return err_set(e, ERR_FAILED_PRECONDITION,
                       "the record has version %lld; this podd knows %d", (long long)version,
                       RECORD_VERSION);
    r->image.id = xstrdup(json_get_text(j, "id", &bad));
    r->image.repo_tags = json_get_texts(j, "tags", &bad);
    r->image.repo_digests = json_get_texts(j, "digests", &bad);
    r->image.layers = json_get_texts(j, "layers", &bad);
    int64_t size = json_get_number(j, "size", &bad);
    r->updated_ns = json_get_number(j, "updated", &bad);
    r->image.pinned = json_is_true(json_object_get(j, "pinned"));
    r->removed = json_is_true(json_object_get(j, "removed"));
    if (bad || !digest_valid(r->image.id) || size <= 0)
        return err_set(e, ERR_DATA_LOSS, "the record is damaged");
    r->image.size = (uint64_t)size;
    for (char **hex = r->image.layers; hex && *hex; hex++)
        if (load_layer(s, r, *hex, e) < 0)
            return -1;
    return load_config(s, r, e);
}

struct record *record_load(struct image_store *s, const char *name, struct err *e)
{
    _cleanup_bytes_ struct bytes text = {0};

    if (file_read(s->records_fd, name, RECORD_MAX, &text, e) < 0)
        return NULL;
    _cleanup_json_ json_t *j = json_load_strict(text.data, text.len, name, e);
    if (!j)
        return NULL;
    struct record *r = xnew(struct record);
    if (parse_record(s, j, r, e) < 0 || !str_starts_with(name, digest_hex(r->image.id))) {
        if (!e->code)
            err_set(e, ERR_DATA_LOSS, "the record belongs to another image");
        record_free(s, r);
        return NULL;
    }
    r->written = xstrdup((char *)text.data);
    return r;
}
