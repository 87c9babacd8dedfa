/*
 * image_mount.h - the images that a container mounts as volumes.
 */
#ifndef POD_IMAGE_MOUNT_H
#define POD_IMAGE_MOUNT_H

#include <podd/base.h>
#include <podd/image.h>

/* What the plan wants: the n-th is descriptor n + 1 of the spec. */
struct image_mount {
    char *reference, *sub_path; /* NULL: all of it */
    char *image_id;             /* once it is found */
    char **layers;              /* strv */
};
struct image_mounts {
    struct image_mount *items;
    size_t count;
    int *fds; /* once they are open: `count` of them, of which the rest is -1 */
};
void image_mounts_add(struct image_mounts *m, const char *reference, const char *sub_path);
/* Finds the images, which have to be on the node. */
int image_mounts_find(struct image_mounts *m, struct image_store *images, struct err *e) MUST_CHECK;
/* The ids of the images; strv, the caller's. */
char **image_mounts_ids(const struct image_mounts *m);
/* Blocks; any thread. */
int image_mounts_open(struct image_mounts *m, struct image_store *images,
                      const struct rootfs_ids *ids, struct err *e) MUST_CHECK;
void image_mounts_clear(struct image_mounts *m);

#endif
