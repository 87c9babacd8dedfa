/* manifest.h - manifests, indexes and configurations of images: OCI's and Docker's schema 2. */
#ifndef IMAGE_MANIFEST_H
#define IMAGE_MANIFEST_H

#include "digest.h"
#include "platform.h"
#include "podd/image.h"

enum {
    MANIFEST_MAX = 4 << 20,
    CONFIG_MAX = 8 << 20,
    INDEX_ENTRIES_MAX = 1000,
    /* overlayfs stacks at most 500 directories. */
    LAYERS_MAX = 500,
};
#define LAYER_SIZE_MAX (UINT64_C(64) << 30)

/* What a registry is asked for; also every media type that is understood as a manifest. */
extern const char MANIFEST_ACCEPT[];

struct descriptor {
    char digest[DIGEST_TEXT_SIZE];
    uint64_t size;
    char *media_type;
};

struct index_entry {
    struct descriptor descriptor;
    char *os, *architecture, *variant; /* NULL when not said */
    char *name;                        /* the name that an archive gives it, or NULL */
};

/* Either an index (then only `entries`) or a manifest (then only `config` and `layers`). */
struct manifest {
    bool is_index;
    char *media_type; /* what everybody agrees it is; NULL: nobody said */
    struct index_entry *entries;
    size_t n_entries;
    struct descriptor config;
    struct descriptor *layers;
    size_t n_layers;
};

/* `content_type`: what the registry or the descriptor said that this is; NULL when nobody did
 * (the document's own mediaType, or for an OCI layout's index.json its shape, decides then). What
 * the document says and what it looks like must agree with it. */
int manifest_parse(const void *data, size_t len, const char *content_type, struct manifest *ret,
                   struct err *e) MUST_CHECK;
void manifest_clear(struct manifest *m);
/* The entry of an index that runs best on `machine`. Borrowed. NULL, with *e: none. */
const struct index_entry *manifest_choose(const struct manifest *index,
                                          const struct platform *machine, struct err *e);

/* The configuration of an image: what its containers are made from, and its layers' contents. */
struct image_document {
    struct image_config config;
    char *os, *architecture, *variant; /* NULL when not said */
    char **diff_ids;                   /* strv of valid digests, lowest first */
};
int image_document_parse(const void *data, size_t len, struct image_document *ret, struct err *e)
    MUST_CHECK;
void image_document_clear(struct image_document *d);
void image_config_clear(struct image_config *c);
/* Whether it may run here: manifests without an index say it only in the configuration. */
int image_document_check_platform(const struct image_document *d, const struct platform *machine,
                                  struct err *e) MUST_CHECK;

#define _cleanup_manifest_ CLEANUP(manifest_clear)
#define _cleanup_document_ CLEANUP(image_document_clear)

#endif
