/* image_archive.h - images in archives: what an unpacked OCI or docker-save archive holds. */
#ifndef IMAGE_ARCHIVE_H
#define IMAGE_ARCHIVE_H

#include "manifest.h"

struct archive_layer {
    char *path;                    /* in the archive */
    char digest[DIGEST_TEXT_SIZE]; /* of the file; "" when the archive does not say */
    uint64_t size;                 /* of the file */
};

/* One image of an archive. */
struct archive_image {
    char **names; /* strv: canonical references */
    struct bytes config;
    char config_digest[DIGEST_TEXT_SIZE];
    struct image_document document;
    char manifest_digest[DIGEST_TEXT_SIZE]; /* of what names point to; "" when there is none */
    struct archive_layer *layers;           /* as many as document.diff_ids */
    size_t n_layers;
};
void archive_image_clear(struct archive_image *a);

enum archive_kind { ARCHIVE_ROOTFS, ARCHIVE_OCI, ARCHIVE_DOCKER };
/* What the tree below `root` is. */
enum archive_kind archive_detect(int root);
/* Reads the image that `name` chooses (NULL: the only one) out of an archive of that kind. */
int archive_read_image(int root, enum archive_kind kind, const char *name,
                       struct archive_image *ret, struct err *e) MUST_CHECK;
/* A regular file of the archive, for reading. fd or -1. */
int archive_open(int root, const char *path, struct err *e);

/* ---- archive_oci.c and archive_docker.c: the two forms */

int archive_read_oci(int root, const char *name, struct archive_image *ret, struct err *e)
    MUST_CHECK;
int archive_read_docker(int root, const char *name, struct archive_image *ret, struct err *e)
    MUST_CHECK;
/* A whole file of the archive, at most `max` bytes. */
int archive_read_file(int root, const char *path, size_t max, struct bytes *ret, struct err *e)
    MUST_CHECK;
/* Takes the configuration of the image, and checks that it fits this machine. */
int archive_take_config(struct archive_image *a, struct bytes *config_take, struct err *e)
    MUST_CHECK;

#endif
