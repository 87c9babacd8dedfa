/*
 * store.h - what the files of the image room share: the store and its objects.
 *
 *   <root>/images/blobs/sha256/<hex>   configurations
 *   <root>/images/layers/<hex>/fs      an unpacked layer; <hex> is that of its diff_id
 *   <root>/images/layers/<hex>/layer.json   what it takes on disk
 *   <root>/images/images/<hex>.json    records; <hex> is that of the image id
 *   <root>/images/empty                the only layer of images that have none
 *   <root>/images/tmp                  what is being made or deleted; emptied at start
 *   <root>/containers/<id>/{upper,work}   and .spare-*, made in advance
 *
 * A layer is named by the digest of its content alone, so layers are unpacked independently of
 * each other, in any order, and shared between images wherever they stand in the stack.
 */
#ifndef IMAGE_STORE_H
#define IMAGE_STORE_H

#include "digest.h"
#include "overlay.h"
#include "podd/image.h"
#include "spare.h"
#include "trash.h"

/* An unpacked layer. */
struct layer {
    char hex[DIGEST_HEX_LEN + 1];
    uint64_t bytes, inodes; /* on disk */
    unsigned references;    /* records, and whoever is about to make one */
};

/* One image as the store holds it. */
struct record {
    struct image image;
    struct layer **layers; /* referenced; distinct */
    size_t n_layers;
    int64_t updated_ns; /* when it last gained a name: decides when two records claim a tag */
    uint64_t config_bytes;
    bool removed;  /* by the user, while containers use it: hidden, kept until released */
    char *written; /* the text of its file */
};

struct registry_config {
    char *prefix, *ca, *auth_file;
    char **mirrors;
};

struct commit;
struct transfers;

struct image_store {
    struct loop *loop;
    char *root; /* absolute */
    char *unpack_path;
    struct registry_config *registries;
    size_t n_registries;

    /* Directories; constant while the store is open. */
    int images_fd, blobs_fd, layers_fd, records_fd, tmp_fd, containers_fd;
    struct overlay_kernel overlay;
    struct image_pull_counts pull_counts;

    struct record **records; /* sorted by id */
    size_t n_records;
    struct map *names;  /* id, tags and digests of visible images -> struct record */
    struct map *layers; /* hex -> struct layer */
    struct image_fs_usage usage;
    struct trash *trash;
    struct spares spares;

    struct list commits; /* struct commit: waiting or being written */
    bool committing;
    unsigned working; /* calls of store_work() under way */
    bool closed;      /* by its owner; freed when nothing works for it any more */

    struct map *fetches; /* diff_id -> struct layer_fetch: being downloaded or unpacked */
    struct list waiting; /* struct layer_fetch: when more are wanted than run */
    unsigned fetching;   /* those that run */
    struct list pulls;   /* struct pull */
    struct list imports; /* struct import */
    struct transfers *transfers;
};

/* ---- store.c */

/* loop_work() that the store outlives: after image_store_close() it is freed by the last `done`. */
void store_work(struct image_store *s, void (*work)(void *arg), void (*done)(void *arg), void *arg);
/* A layer that is in the store, with one more reference; NULL when it is not. */
struct layer *layer_hold(struct image_store *s, const char *hex);
void layer_release(struct image_store *s, struct layer *l);
/* A layer that has just got its place on disk; with one reference. */
struct layer *layer_add(struct image_store *s, const char *hex, uint64_t bytes, uint64_t inodes);
/* The record with this id, removed ones too. */
struct record *record_find(struct image_store *s, const char *id);
/* Puts `r` in the place of the record with the same id (which is freed), if there is one, and
 * takes its tags away from others. */
void record_replace(struct image_store *s, struct record *r_take);
void record_free(struct image_store *s, struct record *r);
/* Drops removed images that nobody holds. */
void store_drop_unused(struct image_store *s);

/* ---- record.c: records as files */

char *record_render(const struct record *r);
/* Reads the record `name` of records_fd with its configuration. Its layers are held. */
struct record *record_load(struct image_store *s, const char *name, struct err *e);
/* Fills in what an image's configuration says. */
int record_set_config(struct record *r, const struct bytes *config, struct err *e) MUST_CHECK;

/* ---- commit.c: making an image visible */

struct commit {
    char *id;            /* digest of the configuration */
    struct bytes config; /* its bytes */
    uint64_t size;
    char **tags, **digests; /* strv: names it gains */
    struct layer **layers;  /* lowest first, distinct, each held */
    size_t n_layers;
    void (*fn)(void *arg, const struct err *e); /* NULL: nobody waits any more */
    void *arg;

    /* of commit.c */
    int64_t now_ns;
    bool again; /* the image was removed while this was written */
    struct list link;
    bool running;
    char *text; /* the record that is being written */
    struct err error;
};
struct commit *commit_new(void);
/* Writes blobs and record to disk, then shows the image and calls fn. */
void commit_start(struct image_store *s, struct commit *c_take);
/* Releases its layers. Only before commit_start(). */
void commit_free(struct image_store *s, struct commit *c);
/* Writes the records that have changed, soon. */
void commit_changes(struct image_store *s);
/* The files of this image are about to be removed: who is writing them has to do it again. */
void commit_restart(struct image_store *s, const char *id);

/* ---- what else is under way when the store closes: ended without a word */

void pulls_abandon(struct image_store *s);
void imports_abandon(struct image_store *s);

/* rootfs.c: the directories of the layers, uppermost first, at least one; strv. */
char **store_lower_paths(struct image_store *s, char *const *layers);

#endif
