/*
 * image_mount.c - see the header. Kubelet tells this kind of failure from others by its first word.
 */
#include "image_mount.h"

#define FAILED "ImageVolumeMountFailed"

void image_mounts_add(struct image_mounts *m, const char *reference, const char *sub_path)
{
    struct image_mount *item = array_push(&m->items, &m->count, sizeof(*item));

    item->reference = xstrdup(reference);
    item->sub_path = str_empty(sub_path) ? NULL : xstrdup(sub_path);
}

int image_mounts_find(struct image_mounts *m, struct image_store *images, struct err *e)
{
    for (size_t i = 0; i < m->count; i++) {
        struct image_mount *item = &m->items[i];
        const struct image *image = image_find(images, item->reference);
        if (!image)
            return err_set(e, ERR_NOT_FOUND, FAILED ": image %s is not on this node: pull it first",
                           item->reference);
        item->image_id = xstrdup(image->id);
        item->layers = strv_dup(image->layers, strv_len(image->layers));
    }
    return 0;
}

char **image_mounts_ids(const struct image_mounts *m)
{
    char **ids = NULL;

    for (size_t i = 0; i < m->count; i++)
        strv_push(&ids, m->items[i].image_id);
    return ids;
}

int image_mounts_open(struct image_mounts *m, struct image_store *images,
                      const struct rootfs_ids *ids, struct err *e)
{
    m->fds = xcalloc(m->count + 1, sizeof(*m->fds));
    for (size_t i = 0; i < m->count; i++)
        m->fds[i] = -1;
    for (size_t i = 0; i < m->count; i++) {
        const struct image_mount *item = &m->items[i];
        if (image_volume_open(images, item->layers, item->sub_path, ids, &m->fds[i], e) < 0)
            return err_wrap(e, FAILED ": image %s", item->reference);
    }
    return 0;
}

void image_mounts_clear(struct image_mounts *m)
{
    for (size_t i = 0; i < m->count; i++) {
        struct image_mount *item = &m->items[i];
        free(item->reference);
        free(item->sub_path);
        free(item->image_id);
        strv_free(item->layers);
        if (m->fds)
            fd_close(m->fds[i]);
    }
    free(m->items);
    free(m->fds);
    *m = (struct image_mounts){0};
}
