/*
 * unpack_finish.c - what remains to be done when all entries of a layer are there.
 *
 * Times of directories are set last, when nothing changes them any more. Then the tree is counted:
 * a walk over what the caches still hold costs little beside the making of it, and is right
 * whatever the entries did to each other. An inode with n names is counted as n times one nth.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>

#include "unpack_tree.h"

static int set_time(struct tree *t, const struct dir_time *d, struct err *e)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, d->mtime};
    _cleanup_close_ int fd = tree_open_beneath(
        t->root, d->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, RESOLVE_NO_SYMLINKS);

    if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP)
        return 0; /* a later entry took its place, or it was reached through a link */
    if (fd < 0 || futimens(fd, times) < 0)
        return err_errno(e, fd < 0 ? -fd : errno, "set the time of the directory \"%.300s\"",
                         d->path);
    return 0;
}

struct count {
    uint64_t bytes, inodes;             /* of those with one name */
    double shared_bytes, shared_inodes; /* the parts of others */
};

static void count_inode(struct count *c, const struct stat *st)
{
    if (S_ISDIR(st->st_mode) || st->st_nlink <= 1) {
        c->bytes += (uint64_t)st->st_blocks * 512;
        c->inodes++;
    } else {
        c->shared_bytes += (double)st->st_blocks * 512 / (double)st->st_nlink;
        c->shared_inodes += 1.0 / (double)st->st_nlink;
    }
}

/* Recursive: the depth of the tree is limited by that of the entries' paths. */
static int count_dir(struct count *c, int fd_take, struct err *e)
{
    DIR *d = fdopendir(fd_take);
    const struct dirent *entry;
    struct stat st;
    int r = 0;

    if (!d) {
        err_errno(e, errno, "count the layer");
        fd_close(fd_take);
        return -1;
    }
    while (r == 0 && (entry = readdir(d))) {
        const char *name = entry->d_name;
        if (str_equal(name, ".") || str_equal(name, ".."))
            continue;
        if (fstatat(dirfd(d), name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
            r = err_errno(e, errno, "count the layer");
            break;
        }
        count_inode(c, &st);
        if (!S_ISDIR(st.st_mode))
            continue;
        int fd = openat(dirfd(d), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        r = fd < 0 ? err_errno(e, errno, "count the layer") : count_dir(c, fd, e);
    }
    closedir(d);
    return r;
}

static int count_tree(struct tree *t, struct unpack_result *ret, struct err *e)
{
    struct count c = {0};
    struct stat st;
    int fd = tree_open_beneath(t->root, "", O_RDONLY | O_DIRECTORY, 0);

    if (fd < 0 || fstat(fd, &st) < 0) {
        err_errno(e, fd < 0 ? -fd : errno, "count the layer");
        fd_close(fd < 0 ? -1 : fd);
        return -1;
    }
    count_inode(&c, &st);
    if (count_dir(&c, fd, e) < 0)
        return -1;
    ret->disk_bytes = c.bytes + (uint64_t)(c.shared_bytes + 0.5);
    ret->inodes = c.inodes + (uint64_t)(c.shared_inodes + 0.5);
    return 0;
}

/* Those that are still directories. A path that goes through a link names one that is elsewhere. */
static void list_opaque(struct tree *t, struct unpack_result *ret)
{
    size_t cursor = 0;
    const char *path;
    void *anything;

    while (map_next(t->opaque, &cursor, &path, &anything)) {
        int fd = tree_open_beneath(t->root, path, O_PATH | O_DIRECTORY | O_NOFOLLOW,
                                   RESOLVE_NO_SYMLINKS);
        if (fd >= 0)
            strv_push(&ret->opaque, *path ? path : ".");
        fd_close(fd < 0 ? -1 : fd);
    }
}

int tree_finish(struct tree *t, struct unpack_result *ret, struct err *e)
{
    /* In the order of appearance, so that the last entry's time holds. */
    for (size_t i = 0; i < t->n_times; i++)
        if (set_time(t, &t->times[i], e) < 0)
            return -1;
    if (count_tree(t, ret, e) < 0)
        return -1;
    list_opaque(t, ret);
    return 0;
}
