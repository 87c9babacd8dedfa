/* layer.h - getting a layer into the store: from a registry or out of an archive, once for all who
 * want it. */
#ifndef IMAGE_LAYER_H
#define IMAGE_LAYER_H

#include "registry.h"
#include "store.h"
#include "unpacker.h"

/* Where a layer's stream comes from. */
struct layer_source {
    struct registry *registry;     /* or NULL: */
    int file_fd;                   /* a regular file, at its start; borrowed, for the call */
    char digest[DIGEST_TEXT_SIZE]; /* of the stream; "" when only the diff_id is known */
    uint64_t size;                 /* of the stream; UINT64_MAX when not known */
};

struct layer_wait;
struct layer_wait_events {
    void (*on_progress)(void *arg, uint64_t bytes); /* of the stream so far */
    /* Once; the wait is gone afterwards. The layer is held for the callee. */
    void (*on_done)(void *arg, struct layer *layer, const struct err *e);
};
/* Gets the layer with this diff_id, or waits for whoever is getting it. Calls back later. */
struct layer_wait *layer_wait_start(struct image_store *s, const char *diff_id,
                                    const struct layer_source *source,
                                    const struct layer_wait_events *events, void *arg);
void layer_wait_cancel(struct layer_wait *w);

/* ---- layer_commit.c: an unpacked tree becomes a layer */

struct layer_commit {
    char *tmp_name; /* in tmp: the directory that holds "fs" */
    char hex[DIGEST_HEX_LEN + 1];
    struct unpack_report report;
    void (*fn)(void *arg, struct layer *layer, const struct err *e); /* layer: held */
    void *arg;

    struct image_store *store;
    struct err error;
};
/* Marks the opaque directories, and renames the tree to its place. What fails is thrown away. */
void layer_commit_start(struct image_store *s, struct layer_commit *c_take);
/* An empty "<tmp>/<name>/fs"; ret_fd is that of "fs". */
int layer_tmp_make(struct image_store *s, char **ret_name, int *ret_fd, struct err *e) MUST_CHECK;

#endif
