/*
 * archive_oci.c - OCI archives: index.json leads to a manifest among blobs/, perhaps by way of an
 * index per platform. Every blob that is read is checked against the digest that named it.
 */
#include <stdio.h>

#include "image_archive.h"

enum { INDEX_DEPTH_MAX = 3 };

static char *blob_path(const char *digest)
{
    return xasprintf("blobs/sha256/%s", digest_hex(digest));
}

static int read_blob(int root, const struct descriptor *d, size_t max, struct bytes *ret,
                     struct err *e)
{
    _cleanup_free_ char *path = blob_path(d->digest);
    char digest[DIGEST_TEXT_SIZE];

    if (archive_read_file(root, path, max, ret, e) < 0)
        return -1;
    digest_compute(ret->data, ret->len, digest);
    if (str_equal(digest, d->digest) && ret->len == d->size)
        return 0;
    bytes_free(ret);
    return err_set(e, ERR_DATA_LOSS, "the archive's blob %s has the wrong digest or size",
                   d->digest);
}

/* The canonical form of an entry's name; NULL when it has none that is a reference by itself. A
 * lone tag ("latest"), as some tools write, is not. */
static char *entry_reference(const struct index_entry *entry)
{
    _cleanup_err_ struct err ignored = ERR_INIT;
    struct image_ref ref;

    if (!entry->name || !strpbrk(entry->name, ":/") ||
        image_ref_parse(entry->name, &ref, &ignored) < 0)
        return NULL;
    char *full = image_ref_format(&ref);
    image_ref_clear(&ref);
    return full;
}

/* The entry called `name`, or when none is, the only image there is for this machine. */
static const struct index_entry *choose_entry(const struct manifest *index, const char *name,
                                              struct err *e)
{
    const struct index_entry *only = NULL;
    struct platform machine = platform_of_machine();
    size_t usable = 0;

    for (size_t i = 0; i < index->n_entries; i++) {
        const struct index_entry *entry = &index->entries[i];
        _cleanup_free_ char *full = entry_reference(entry);
        if (name && full && str_equal(full, name))
            return entry;
        if (entry->os && !platform_score(&machine, entry->os, entry->architecture, entry->variant))
            continue;
        only = entry;
        usable++;
    }
    if (usable == 1)
        return only;
    if (usable > 1)
        err_set(e, ERR_INVALID_ARGUMENT,
                "the archive holds %zu images; choose one of them by its name", usable);
    else
        return manifest_choose(index, &machine, e);
    return NULL;
}

/* Follows indexes down to a manifest. */
static int find_manifest(int root, const char *name, struct archive_image *a, struct manifest *ret,
                         struct err *e)
{
    _cleanup_bytes_ struct bytes text = {0};
    _cleanup_manifest_ struct manifest m = {0};

    if (archive_read_file(root, "index.json", MANIFEST_MAX, &text, e) < 0 ||
        manifest_parse(text.data, text.len, NULL, &m, e) < 0)
        return err_wrap(e, "index.json");
    for (int depth = 0; m.is_index; depth++) {
        const struct index_entry *entry = choose_entry(&m, depth == 0 ? name : NULL, e);
        if (!entry)
            return -1;
        if (depth >= INDEX_DEPTH_MAX)
            return err_set(e, ERR_INVALID_ARGUMENT, "the archive's indexes are nested too deep");
        if (depth == 0) {
            _cleanup_free_ char *full = entry_reference(entry);
            memcpy(a->manifest_digest, entry->descriptor.digest, DIGEST_TEXT_SIZE);
            if (full)
                strv_push(&a->names, full);
        }
        bytes_free(&text);
        if (read_blob(root, &entry->descriptor, MANIFEST_MAX, &text, e) < 0)
            return -1;
        _cleanup_free_ char *type = xstrdup(entry->descriptor.media_type);
        manifest_clear(&m);
        if (manifest_parse(text.data, text.len, type, &m, e) < 0)
            return -1;
    }
    *ret = m;
    m = (struct manifest){0};
    return 0;
}

int archive_read_oci(int root, const char *name, struct archive_image *ret, struct err *e)
{
    _cleanup_manifest_ struct manifest m = {0};
    struct bytes config = {0};

    if (find_manifest(root, name, ret, &m, e) < 0 ||
        read_blob(root, &m.config, CONFIG_MAX, &config, e) < 0 ||
        archive_take_config(ret, &config, e) < 0)
        return -1;
    for (size_t i = 0; i < m.n_layers; i++) {
        struct archive_layer *l = array_push(&ret->layers, &ret->n_layers, sizeof(*l));
        l->path = blob_path(m.layers[i].digest);
        l->size = m.layers[i].size;
        memcpy(l->digest, m.layers[i].digest, DIGEST_TEXT_SIZE);
    }
    return 0;
}
