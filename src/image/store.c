/*
 * store.c - the images that are here: looking up, holding, removing.
 *
 * Records and layers live in memory (a node has tens of images), so every question is answered
 * without touching the disk. A layer is counted by the records that list it and by whoever is about
 * to make a record of it; at zero it is renamed into the trash. An image that containers use is
 * only hidden when the user removes it: its record stays on disk, marked, so that a restart does
 * not take its layers from under running containers.
 */
#include <fcntl.h>

#include "manifest.h"
#include "store.h"

enum { ID_PREFIX_MIN = 4 };

/* ---- Layers ---------------------------------------------------------------------------------- */

struct layer *layer_hold(struct image_store *s, const char *hex)
{
    struct layer *l = map_get(s->layers, hex);

    if (l)
        l->references++;
    return l;
}

void layer_release(struct image_store *s, struct layer *l)
{
    if (--l->references > 0)
        return;
    /* On the way out the layers stay where they are. */
    if (!s->closed) {
        int r = trash_move(s->trash, s->layers_fd, l->hex);
        if (r < 0)
            log_warn("image", l->hex, "remove the layer: %s", strerror(-r));
    }
    s->usage.used_bytes -= l->bytes;
    s->usage.inodes_used -= l->inodes;
    map_remove(s->layers, l->hex);
    free(l);
}

struct layer *layer_add(struct image_store *s, const char *hex, uint64_t bytes, uint64_t inodes)
{
    struct layer *l = xnew(struct layer);

    memcpy(l->hex, hex, sizeof(l->hex));
    l->bytes = bytes;
    l->inodes = inodes;
    l->references = 1;
    map_put(s->layers, l->hex, l);
    s->usage.used_bytes += bytes;
    s->usage.inodes_used += inodes;
    return l;
}

/* ---- Records --------------------------------------------------------------------------------- */

void record_free(struct image_store *s, struct record *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->n_layers; i++)
        layer_release(s, r->layers[i]);
    free(r->layers);
    free(r->image.id);
    strv_free(r->image.repo_tags);
    strv_free(r->image.repo_digests);
    strv_free(r->image.layers);
    image_config_clear(&r->image.config);
    free(r->written);
    free(r);
}

/* Where the record with this id is, or would be. */
static size_t record_index(struct image_store *s, const char *id, bool *ret_found)
{
    size_t low = 0, high = s->n_records;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(s->records[middle]->image.id, id);
        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_found = false;
    return low;
}

struct record *record_find(struct image_store *s, const char *id)
{
    bool found;
    size_t i = record_index(s, id, &found);

    return found ? s->records[i] : NULL;
}

static void remove_name(char **names, const char *name)
{
    for (char **p = names; p && *p; p++)
        if (str_equal(*p, name)) {
            free(*p);
            do
                p[0] = p[1];
            while (*p++);
            return;
        }
}

static void forget_names(struct image_store *s, struct record *r)
{
    for (char **name = r->image.repo_tags; name && *name; name++)
        map_remove(s->names, *name);
    for (char **name = r->image.repo_digests; name && *name; name++)
        map_remove(s->names, *name);
    map_remove(s->names, r->image.id);
}

/* A name belongs to one image: the one that got it last. */
static void claim_names(struct image_store *s, struct record *r, char **names)
{
    for (char **name = names; name && *name; name++) {
        struct record *other = map_put(s->names, *name, r);
        if (!other || other == r)
            continue;
        remove_name(other->image.repo_tags, *name);
        remove_name(other->image.repo_digests, *name);
    }
}

/* What a record and its configuration take: two small files, by blocks. */
static void count_record(struct image_store *s, const struct record *r, int sign)
{
    const uint64_t block = 4096;
    uint64_t bytes = block + (r->config_bytes + block - 1) / block * block;

    s->usage.used_bytes += sign > 0 ? bytes : -bytes;
    s->usage.inodes_used += sign > 0 ? 2 : (uint64_t)-2;
}

static void take_out(struct image_store *s, size_t i)
{
    struct record *r = s->records[i];

    forget_names(s, r);
    count_record(s, r, -1);
    memmove(&s->records[i], &s->records[i + 1], (s->n_records - i - 1) * sizeof(r));
    s->n_records--;
}

void record_replace(struct image_store *s, struct record *r_take)
{
    struct record *r = r_take, *old = NULL;
    bool found;
    size_t i = record_index(s, r->image.id, &found);

    if (found) {
        old = s->records[i];
        take_out(s, i);
    }
    array_push(&s->records, &s->n_records, sizeof(r));
    memmove(&s->records[i + 1], &s->records[i], (s->n_records - i - 1) * sizeof(r));
    s->records[i] = r;
    count_record(s, r, 1);
    if (!r->removed) {
        map_put(s->names, r->image.id, r);
        claim_names(s, r, r->image.repo_tags);
        claim_names(s, r, r->image.repo_digests);
    }
    record_free(s, old);
}

/* ---- Looking up ------------------------------------------------------------------------------ */

/* The image whose id begins with these hex digits, when there is just one. */
static struct record *find_by_prefix(struct image_store *s, const char *hex)
{
    struct record *match = NULL;

    if (strlen(hex) < ID_PREFIX_MIN)
        return NULL;
    for (size_t i = 0; i < s->n_records; i++) {
        struct record *r = s->records[i];
        if (r->removed || !str_starts_with(digest_hex(r->image.id), hex))
            continue;
        if (match)
            return NULL;
        match = r;
    }
    return match;
}

static struct record *find_by_name(struct image_store *s, const char *name)
{
    _cleanup_err_ struct err ignored = ERR_INIT;
    struct image_ref ref;

    if (image_ref_parse(name, &ref, &ignored) < 0)
        return NULL;
    _cleanup_free_ char *full = image_ref_format(&ref);
    image_ref_clear(&ref);
    return map_get(s->names, full);
}

static struct record *find(struct image_store *s, const char *any)
{
    struct record *r;

    if (str_empty(any))
        return NULL;
    r = map_get(s->names, any);
    if (!r && !str_starts_with(any, DIGEST_PREFIX))
        r = find_by_name(s, any);
    if (!r)
        r = find_by_prefix(s, str_starts_with(any, DIGEST_PREFIX) ? digest_hex(any) : any);
    return r;
}

const struct image *image_find(struct image_store *s, const char *any_reference)
{
    struct record *r = find(s, any_reference);

    return r ? &r->image : NULL;
}

void image_for_each(struct image_store *s, void (*fn)(void *arg, const struct image *image),
                    void *arg)
{
    for (size_t i = 0; i < s->n_records; i++)
        if (!s->records[i]->removed)
            fn(arg, &s->records[i]->image);
}

void image_fs_usage(struct image_store *s, struct image_fs_usage *ret)
{
    *ret = s->usage;
}

/* ---- Holding and removing -------------------------------------------------------------------- */

/* Takes the record off the disk and out of memory; its layers go with the last reference. */
static int drop_record(struct image_store *s, struct record *r, struct err *e)
{
    _cleanup_free_ char *name = xasprintf("%s.json", digest_hex(r->image.id));
    bool found;

    commit_restart(s, r->image.id);
    if (unlinkat(s->records_fd, name, 0) < 0 && errno != ENOENT)
        return err_errno(e, errno, "remove the record of image %s", r->image.id);
    if (unlinkat(s->blobs_fd, digest_hex(r->image.id), 0) < 0 && errno != ENOENT)
        log_warn("image", r->image.id, "remove the configuration: %s", strerror(errno));
    take_out(s, record_index(s, r->image.id, &found));
    record_free(s, r);
    return 0;
}

static void hide_record(struct image_store *s, struct record *r)
{
    forget_names(s, r);
    strv_free(take_ptr(r->image.repo_tags));
    strv_free(take_ptr(r->image.repo_digests));
    r->removed = true;
    commit_changes(s);
}

int image_remove(struct image_store *s, const char *any_reference, struct err *e)
{
    struct record *r = find(s, any_reference);

    if (!r)
        return 0;
    if (r->image.references == 0)
        return drop_record(s, r, e);
    hide_record(s, r);
    return 0;
}

void image_hold(struct image_store *s, const char *image_id)
{
    struct record *r = record_find(s, image_id);

    if (r)
        r->image.references++;
    /* Holding comes with a container, which will want a writable layer. */
    spares_fill(s);
}

void image_release(struct image_store *s, const char *image_id)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct record *r = record_find(s, image_id);

    if (!r || r->image.references == 0)
        return;
    r->image.references--;
    if (r->removed && r->image.references == 0 && drop_record(s, r, &e) < 0)
        log_warn("image", image_id, "%s", err_text(&e));
}

void store_drop_unused(struct image_store *s)
{
    for (size_t i = s->n_records; i > 0; i--) {
        struct record *r = s->records[i - 1];
        _cleanup_err_ struct err e = ERR_INIT;
        if (r->removed && r->image.references == 0 && drop_record(s, r, &e) < 0)
            log_warn("image", r->image.id, "%s", err_text(&e));
    }
}
