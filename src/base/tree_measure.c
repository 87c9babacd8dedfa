/*
 * tree_measure.c - tree_measure(): how much a directory tree that somebody else fills takes on
 * disk.
 *
 * It may change meanwhile: what is gone by the time it is looked at does not count, and no link or
 * mount leads out of it. A file with several names counts for its share at each of them, so that it
 * counts once when all are inside.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "private.h"

enum { DEPTH_MAX = 256 }; /* directories open at a time */

static int directory_open(int dirfd, const char *name)
{
    struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
                           .resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH};

    return (int)syscall(SYS_openat2, dirfd, name, &how, sizeof(how));
}

static int measure(int dirfd_take, int depth, struct tree_size *ret)
{
    DIR *dir = fdopendir(dirfd_take);
    int r = 0;

    if (!dir) {
        r = -errno;
        fd_close(dirfd_take);
        return r;
    }
    for (struct dirent *entry; r == 0 && (entry = readdir(dir));) {
        struct stat st;
        if (str_equal(entry->d_name, ".") || str_equal(entry->d_name, "..") ||
            fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        ret->inodes++;
        ret->bytes += (uint64_t)st.st_blocks * 512 /
                      (!S_ISDIR(st.st_mode) && st.st_nlink > 1 ? (uint64_t)st.st_nlink : 1);
        if (!S_ISDIR(st.st_mode))
            continue;
        int below = depth < DEPTH_MAX ? directory_open(dirfd(dir), entry->d_name) : -1;
        if (below >= 0)
            r = measure(below, depth + 1, ret);
        else if (depth >= DEPTH_MAX)
            r = -ELOOP;
    }
    closedir(dir);
    return r;
}

int tree_measure(int dirfd, const char *name, struct tree_size *ret, struct err *e)
{
    *ret = (struct tree_size){0};
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int r = fd < 0 ? -errno : measure(fd, 0, ret);

    return r < 0 ? err_errno(e, r, "measure %s", name) : 0;
}
