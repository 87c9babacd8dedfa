/*
 * Hides paths of a container and makes others read-only.
 *
 * A file is hidden by a null device and a directory by an empty, read-only one, both out of the
 * pod's own tree, which no container can reach; nothing of the container's /dev takes part. One
 * tmpfs serves all of them. What is to be hidden is pinned by descriptor before it is covered, and
 * a path that is not there has nothing to hide.
 */
#include "mount.h"

#include <fcntl.h>
#include <sys/sysmacros.h>

#include "sys.h"

/* The path pinned, -ENOENT when there is nothing there. */
static int pinned_open(int root, const char *path)
{
    int fd = open_in_root(root, path, O_PATH | O_CLOEXEC, 0);
    return fd == -ENOTDIR ? -ENOENT : fd;
}

static int cover_open(int pod_tree, bool is_dir)
{
    _cleanup_close_ int cover = sys_open_tree(pod_tree, is_dir ? POD_TREE_EMPTY : POD_TREE_NULL,
                                              OPEN_TREE_CLONE | AT_SYMLINK_NOFOLLOW);
    struct stat st;
    if (cover < 0 || fstat(cover, &st) < 0)
        return cover < 0 ? cover : -errno;
    if (!is_dir && (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3)))
        return -EBADF;
    int r = is_dir ? mount_attributes_set(cover, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC, false) : 0;
    return r < 0 ? r : take_fd(&cover);
}

static int path_mask(int root, int pod_tree, const char *path)
{
    _cleanup_close_ int target = pinned_open(root, path);
    struct stat st;
    if (target < 0)
        return target == -ENOENT ? 0 : target;
    if (fstat(target, &st) < 0)
        return -errno;
    _cleanup_close_ int cover = cover_open(pod_tree, S_ISDIR(st.st_mode));
    return cover < 0 ? cover : sys_mount_onto(cover, target);
}

static int path_readonly(int root, const char *path)
{
    _cleanup_close_ int target = pinned_open(root, path);
    if (target < 0)
        return target == -ENOENT ? 0 : target;
    _cleanup_close_ int mount =
        sys_open_tree(target, "", OPEN_TREE_CLONE | AT_EMPTY_PATH | AT_RECURSIVE);
    int r = mount < 0 ? mount : mount_attributes_set(mount, MOUNT_ATTR_RDONLY, true);
    return r < 0 ? r : sys_mount_onto(mount, target);
}

int paths_hide(const container_spec_t *spec, int root, int pod_tree, struct err *e)
{
    for (size_t i = 0; i < spec->n_readonly_paths; i++) {
        int r = path_readonly(root, spec->readonly_paths[i]);
        if (r < 0)
            return err_errno(e, r, "make %s read-only", spec->readonly_paths[i]);
    }
    for (size_t i = 0; i < spec->n_masked_paths; i++) {
        int r = path_mask(root, pod_tree, spec->masked_paths[i]);
        if (r < 0)
            return err_errno(e, r, "mask %s", spec->masked_paths[i]);
    }
    return 0;
}
