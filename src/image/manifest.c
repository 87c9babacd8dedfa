/*
 * manifest.c - manifests and indexes.
 *
 * One sequence of bytes must never be an index for one reader and a manifest for another (that is
 * how a check of one image lets another one run). So the kind is agreed upon three times: by the
 * content type that came with it, by its own mediaType, and by which members it has; any two that
 * differ refuse the document. Everything else is taken over with limits; unknown members are
 * ignored, as both specifications demand. "urls" of foreign layers are never followed.
 */
#include "manifest.h"
#include "json.h"

const char MANIFEST_ACCEPT[] = "application/vnd.oci.image.index.v1+json, "
                               "application/vnd.docker.distribution.manifest.list.v2+json, "
                               "application/vnd.oci.image.manifest.v1+json, "
                               "application/vnd.docker.distribution.manifest.v2+json";

enum kind { KIND_UNKNOWN, KIND_INDEX, KIND_MANIFEST };

struct media_type {
    const char *name;
    enum kind kind;
};

static const struct media_type MEDIA_TYPES[] = {
    {"application/vnd.oci.image.index.v1+json", KIND_INDEX},
    {"application/vnd.docker.distribution.manifest.list.v2+json", KIND_INDEX},
    {"application/vnd.oci.image.manifest.v1+json", KIND_MANIFEST},
    {"application/vnd.docker.distribution.manifest.v2+json", KIND_MANIFEST},
};

static const char *const CONFIG_TYPES[] = {
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
};

static const char *const LAYER_TYPES[] = {
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
};

static bool is_one_of(const char *s, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_equal(s, list[i]))
            return true;
    return false;
}

/* A content type may carry parameters: "application/json; charset=utf-8". */
static char *media_type_bare(const char *content_type)
{
    size_t len = strcspn(content_type, ";");

    while (len > 0 && content_type[len - 1] == ' ')
        len--;
    return xstrndup(content_type, len);
}

static enum kind media_type_kind(const char *media_type)
{
    for (size_t i = 0; i < ARRAY_SIZE(MEDIA_TYPES); i++)
        if (str_equal(media_type, MEDIA_TYPES[i].name))
            return MEDIA_TYPES[i].kind;
    return KIND_UNKNOWN;
}

/* ---- Which kind ------------------------------------------------------------------------------ */

/* What the members say; refuses documents that could be read both ways. */
static int kind_of_members(const json_t *j, enum kind *ret, struct err *e)
{
    bool index = json_object_get(j, "manifests");
    bool manifest = json_object_get(j, "config") || json_object_get(j, "layers");

    if (json_object_get(j, "fsLayers"))
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "the manifest is of Docker's schema 1, which is no longer supported: push "
                       "the image again with a current tool");
    if (index == manifest)
        return err_set(e, ERR_INVALID_ARGUMENT,
                       index ? "the manifest claims to be both an index and an image"
                             : "the manifest is neither an index nor an image");
    *ret = index ? KIND_INDEX : KIND_MANIFEST;
    return 0;
}

/* Registries that know no better send one of these. */
static bool says_nothing(const char *content_type)
{
    return str_empty(content_type) || str_equal(content_type, "application/json") ||
           str_equal(content_type, "application/octet-stream") ||
           str_equal(content_type, "text/plain");
}

static int check_kind(const json_t *j, const char *content_type, enum kind *ret, char **ret_type,
                      struct err *e)
{
    bool bad = false;
    const char *own = json_get_text(j, "mediaType", &bad);
    _cleanup_free_ char *outer = content_type ? media_type_bare(content_type) : NULL;
    enum kind kind;

    if (bad || json_integer_value(json_object_get(j, "schemaVersion")) != 2)
        return kind_of_members(j, &kind, e) < 0
                   ? -1
                   : err_set(e, ERR_INVALID_ARGUMENT, "the manifest's schemaVersion is not 2");
    if (kind_of_members(j, &kind, e) < 0)
        return -1;
    if (says_nothing(outer)) {
        if (!own && content_type)
            return err_set(e, ERR_INVALID_ARGUMENT,
                           "neither the registry nor the manifest says what type it is");
    } else if (media_type_kind(outer) != kind) {
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "the manifest is %s, but it was announced as \"%s\"",
                       kind == KIND_INDEX ? "an index" : "an image", outer);
    } else if (own && !str_equal(own, outer)) {
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "the manifest says it is \"%s\", but it was announced as \"%s\"", own,
                       outer);
    }
    if (own && media_type_kind(own) != kind)
        return err_set(e, ERR_INVALID_ARGUMENT, "the manifest says it is \"%s\", but is %s", own,
                       kind == KIND_INDEX ? "an index" : "an image");
    *ret = kind;
    *ret_type = xstrdup(own ? own : says_nothing(outer) ? NULL : outer);
    return 0;
}

/* ---- Parts ----------------------------------------------------------------------------------- */

static int parse_descriptor(const json_t *j, const char *what, uint64_t size_max,
                            struct descriptor *ret, struct err *e)
{
    bool bad = !json_is_object(j);
    const char *media_type = json_get_text(j, "mediaType", &bad);
    const char *digest = json_get_text(j, "digest", &bad);
    const json_t *size = json_object_get(j, "size");

    if (bad || !media_type || !digest || !json_is_integer(size))
        return err_set(e, ERR_INVALID_ARGUMENT, "%s lacks mediaType, digest or size", what);
    if (!digest_valid(digest))
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "%s has the digest \"%.100s\"; only sha256 is supported", what, digest);
    json_int_t n = json_integer_value(size);
    if (n < 0 || (uint64_t)n > size_max)
        return err_set(e, ERR_INVALID_ARGUMENT, "%s has the size %lld; at most %llu are allowed",
                       what, (long long)n, (unsigned long long)size_max);
    memcpy(ret->digest, digest, DIGEST_TEXT_SIZE);
    ret->size = (uint64_t)n;
    ret->media_type = xstrdup(media_type);
    return 0;
}

static char *dup_text(const json_t *j, const char *key, bool *bad)
{
    return xstrdup(json_get_text(j, key, bad));
}

static int parse_entry(const json_t *j, struct index_entry *ret, struct err *e)
{
    const json_t *platform = json_object_get(j, "platform");
    const json_t *notes = json_object_get(j, "annotations");
    bool bad = false;

    if (parse_descriptor(j, "an entry of the index", MANIFEST_MAX, &ret->descriptor, e) < 0)
        return -1;
    if (platform && !json_is_null(platform)) {
        ret->os = dup_text(platform, "os", &bad);
        ret->architecture = dup_text(platform, "architecture", &bad);
        ret->variant = dup_text(platform, "variant", &bad);
    }
    ret->name = dup_text(notes, "io.containerd.image.name", &bad);
    if (!ret->name)
        ret->name = dup_text(notes, "org.opencontainers.image.ref.name", &bad);
    return bad ? err_set(e, ERR_INVALID_ARGUMENT, "an entry of the index is malformed") : 0;
}

static int parse_index(const json_t *j, struct manifest *m, struct err *e)
{
    const json_t *entries = json_object_get(j, "manifests");
    size_t i;
    json_t *item;

    m->is_index = true;
    if (!json_is_array(entries))
        return err_set(e, ERR_INVALID_ARGUMENT, "the index's manifests are not a list");
    if (json_array_size(entries) > INDEX_ENTRIES_MAX)
        return err_set(e, ERR_RESOURCE_EXHAUSTED,
                       "the index has %zu entries; at most %d are "
                       "allowed",
                       json_array_size(entries), INDEX_ENTRIES_MAX);
    json_array_foreach(entries, i, item)
    {
        struct index_entry *entry = array_push(&m->entries, &m->n_entries, sizeof(*entry));
        if (parse_entry(item, entry, e) < 0)
            return -1;
    }
    return 0;
}

static int parse_layers(const json_t *layers, struct manifest *m, struct err *e)
{
    size_t i;
    json_t *item;

    if (!json_is_array(layers))
        return err_set(e, ERR_INVALID_ARGUMENT, "the manifest's layers are not a list");
    if (json_array_size(layers) > LAYERS_MAX)
        return err_set(e, ERR_RESOURCE_EXHAUSTED,
                       "the image has %zu layers; at most %d are allowed", json_array_size(layers),
                       LAYERS_MAX);
    json_array_foreach(layers, i, item)
    {
        struct descriptor *d = array_push(&m->layers, &m->n_layers, sizeof(*d));
        if (parse_descriptor(item, "a layer", LAYER_SIZE_MAX, d, e) < 0)
            return -1;
        if (!is_one_of(d->media_type, LAYER_TYPES, ARRAY_SIZE(LAYER_TYPES)))
            return err_set(e, ERR_INVALID_ARGUMENT,
                           "layers of type \"%s\" are not supported (gzip, zstd and plain tar are)",
                           d->media_type);
    }
    return 0;
}

static int parse_image(const json_t *j, struct manifest *m, struct err *e)
{
    if (parse_descriptor(json_object_get(j, "config"), "the image's configuration", CONFIG_MAX,
                         &m->config, e) < 0)
        return -1;
    if (!is_one_of(m->config.media_type, CONFIG_TYPES, ARRAY_SIZE(CONFIG_TYPES)))
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "this is not a container image: its configuration is of type \"%s\"",
                       m->config.media_type);
    return parse_layers(json_object_get(j, "layers"), m, e);
}

int manifest_parse(const void *data, size_t len, const char *content_type, struct manifest *ret,
                   struct err *e)
{
    _cleanup_manifest_ struct manifest m = {0};
    enum kind kind = KIND_UNKNOWN;

    if (len > MANIFEST_MAX)
        return err_set(e, ERR_RESOURCE_EXHAUSTED, "the manifest is larger than %d bytes",
                       MANIFEST_MAX);
    _cleanup_json_ json_t *j = json_load_strict(data, len, "the manifest", e);
    if (!j)
        return -1;
    if (!json_is_object(j))
        return err_set(e, ERR_INVALID_ARGUMENT, "the manifest is not a JSON object");
    if (check_kind(j, content_type, &kind, &m.media_type, e) < 0)
        return -1;
    if ((kind == KIND_INDEX ? parse_index(j, &m, e) : parse_image(j, &m, e)) < 0)
        return -1;
    *ret = m;
    m = (struct manifest){0};
    return 0;
}

void manifest_clear(struct manifest *m)
{
    for (size_t i = 0; i < m->n_entries; i++) {
        free(m->entries[i].descriptor.media_type);
        free(m->entries[i].os);
        free(m->entries[i].architecture);
        free(m->entries[i].variant);
        free(m->entries[i].name);
    }
    free(m->entries);
    for (size_t i = 0; i < m->n_layers; i++)
        free(m->layers[i].media_type);
    free(m->layers);
    free(m->config.media_type);
    free(m->media_type);
    *m = (struct manifest){0};
}

/* ---- Choosing -------------------------------------------------------------------------------- */

static char *platforms_of(const struct manifest *index)
{
    _cleanup_strbuf_ struct strbuf b = {0};

    for (size_t i = 0; i < index->n_entries && b.len < 200; i++) {
        const struct index_entry *entry = &index->entries[i];
        if (!entry->os || str_equal(entry->os, "unknown"))
            continue;
        strbuf_addf(&b, "%s%s/%s%s%s", b.len ? ", " : "", entry->os,
                    entry->architecture ? entry->architecture : "?",
                    str_empty(entry->variant) ? "" : "/",
                    str_empty(entry->variant) ? "" : entry->variant);
    }
    if (!b.len)
        strbuf_adds(&b, "nothing");
    return strbuf_take(&b);
}

const struct index_entry *manifest_choose(const struct manifest *index,
                                          const struct platform *machine, struct err *e)
{
    const struct index_entry *best = NULL;
    unsigned best_score = 0;

    for (size_t i = 0; i < index->n_entries; i++) {
        const struct index_entry *entry = &index->entries[i];
        unsigned score = platform_score(machine, entry->os, entry->architecture, entry->variant);
        if (score > best_score) {
            best = entry;
            best_score = score;
        }
    }
    /* An index of one that does not say: its configuration will. */
    if (!best && index->n_entries == 1 && !index->entries[0].os && !index->entries[0].architecture)
        best = &index->entries[0];
    if (!best) {
        _cleanup_free_ char *has = platforms_of(index);
        err_set(e, ERR_NOT_FOUND, "the image is not found for %s/%s; it is built for %s",
                machine->os, machine->architecture, has);
    }
    return best;
}
