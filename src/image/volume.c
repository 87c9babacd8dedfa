/*
 * volume.c - an image, or a part of it, as a read-only volume: an overlay of its layers without a
 * writable one, detached like a root file system.
 *
 * A part is found below the volume's root as below a chroot, so that no link in the image leads out
 * of it. The kernel clones a part only of a mount that is attached in the caller's namespace. A
 * thread with a mount namespace of its own attaches the overlay there, takes the clone, and ends.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "store.h"

struct part {
    int volume;
    const char *place, *sub_path;
    int fd; /* the result; -1 when it failed */
    struct err error;
};

static int namespace_enter(struct err *e)
{
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return err_errno(e, errno, "mount an image: make a mount namespace");
    return 0;
}

static int part_open(const struct part *part, struct err *e)
{
    if (namespace_enter(e) < 0)
        return -1;
    if (move_mount(part->volume, "", AT_FDCWD, part->place, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return err_errno(e, errno, "mount an image at %s", part->place);
    _cleanup_close_ int found = open_in_root(part->volume, part->sub_path, O_PATH, 0);
    if (found == -ENOENT || found == -ENOTDIR || found == -ELOOP)
        return err_set(e, ERR_INVALID_ARGUMENT, "sub path %s is not in the image", part->sub_path);
    if (found < 0)
        return err_errno(e, found, "sub path %s of the image", part->sub_path);
    int fd = open_tree(found, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    return fd < 0 ? err_errno(e, errno, "clone sub path %s of the image", part->sub_path) : fd;
}

static void *part_main(void *arg)
{
    struct part *part = arg;

    part->fd = part_open(part, &part->error);
    return NULL;
}

/* Takes the volume. */
static int part_take(struct image_store *s, int volume_take, const char *sub_path, struct err *e)
{
    _cleanup_close_ int volume = volume_take;
    _cleanup_free_ char *place = xasprintf("%s/images/empty", s->root);
    struct part part = {.volume = volume, .place = place, .sub_path = sub_path, .fd = -1};
    pthread_t thread;

    int r = pthread_create(&thread, NULL, part_main, &part);
    if (r)
        return err_errno(e, r, "mount an image: start a thread");
    pthread_join(thread, NULL);
    return part.fd < 0 ? err_move(e, &part.error) : part.fd;
}

int image_volume_open(struct image_store *s, char *const *layers, const char *sub_path,
                      const struct rootfs_ids *ids, int *ret_fd, struct err *e)
{
    _cleanup_strv_ char **lowers = store_lower_paths(s, layers);
    struct overlay overlay = {.user_ns = ids ? ids->user_ns : -1};
    int fd;

    if (strv_len(lowers) == 1) { /* of read-only layers overlayfs wants two */
        _cleanup_free_ char *empty = xasprintf("%s/images/empty", s->root);
        if (!str_equal(lowers[0], empty))
            strv_push(&lowers, empty);
    }
    overlay.lowers = lowers;
    if (overlay_mount(&s->overlay, &overlay, &fd, e) < 0)
        return -1;
    if (!str_empty(sub_path))
        fd = part_take(s, fd, sub_path, e);
    if (fd < 0)
        return -1;
    *ret_fd = fd;
    return 0;
}
