/*
 * volume.c - an anonymous volume starts as a copy of what the image has at its place.
 *
 * The image is not trusted: its directory is opened inside the root file system, and below it every
 * step is one name, by descriptor, without following links. Directories, regular files and symbolic
 * links are copied with owner, mode and times; device nodes, sockets and pipes are left out, for
 * they would be new ways around what the container may do.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#include "volume.h"

enum { DEPTH_MAX = 256, CHUNK = 1 << 20 };

static int copy_directory(int from, int to, unsigned depth, struct err *e);

static int copy_attributes(int fd, const struct stat *st)
{
    const struct timespec times[2] = {st->st_atim, st->st_mtim};

    /* The owner first: changing it takes set-id bits away. */
    if (fchown(fd, st->st_uid, st->st_gid) < 0 || fchmod(fd, st->st_mode & 07777) < 0 ||
        futimens(fd, times) < 0)
        return -errno;
    return 0;
}

static int copy_data(int in, int out)
{
    for (;;) {
        ssize_t n = copy_file_range(in, NULL, out, NULL, CHUNK, 0);
        if (n == 0)
            return 0;
        if (n < 0 && errno != EINTR)
            break;
    }
    if (errno != EXDEV && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP)
        return -errno;
    _cleanup_free_ char *buffer = xmalloc(CHUNK);
    for (;;) {
        ssize_t n = read(in, buffer, CHUNK);
        if (n <= 0)
            return n < 0 ? -errno : 0;
        int r = fd_write_all(out, buffer, (size_t)n);
        if (r < 0)
            return r;
    }
}

static int copy_file(int from, int to, const char *name, struct err *e)
{
    struct stat st;

    _cleanup_close_ int in =
        openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (in < 0 || fstat(in, &st) < 0)
        return err_errno(e, errno, "open %s of the image", name);
    _cleanup_close_ int out =
        openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (out < 0)
        return err_errno(e, errno, "make %s", name);
    int r = copy_data(in, out);
    if (r == 0)
        r = copy_attributes(out, &st);
    return r < 0 ? err_errno(e, r, "copy %s", name) : 0;
}

static int copy_link(int from, int to, const char *name, const struct stat *st, struct err *e)
{
    char target[PATH_MAX];

    ssize_t n = readlinkat(from, name, target, sizeof(target) - 1);
    if (n < 0)
        return err_errno(e, errno, "read the link %s of the image", name);
    target[n] = '\0';
    if (symlinkat(target, to, name) < 0 ||
        fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
        return err_errno(e, errno, "make the link %s", name);
    return 0;
}

static int copy_subdirectory(int from, int to, const char *name, unsigned depth, struct err *e)
{
    _cleanup_close_ int in = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (in < 0)
        return err_errno(e, errno, "open %s of the image", name);
    if (mkdirat(to, name, 0700) < 0)
        return err_errno(e, errno, "make %s", name);
    _cleanup_close_ int out = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (out < 0)
        return err_errno(e, errno, "open %s", name);
    return copy_directory(in, out, depth + 1, e);
}

static int copy_entry(int from, int to, const char *name, unsigned depth, struct err *e)
{
    struct stat st;

    if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return err_errno(e, errno, "stat %s of the image", name);
    if (S_ISDIR(st.st_mode))
        return copy_subdirectory(from, to, name, depth, e);
    if (S_ISREG(st.st_mode))
        return copy_file(from, to, name, e);
    if (S_ISLNK(st.st_mode))
        return copy_link(from, to, name, &st, e);
    return 0;
}

/* Both descriptors are borrowed. */
static int copy_directory(int from, int to, unsigned depth, struct err *e)
{
    const struct dirent *entry;
    struct stat st;
    int r = 0;

    if (depth > DEPTH_MAX)
        return err_set(e, ERR_INVALID_ARGUMENT, "directories deeper than %d levels", DEPTH_MAX);
    int listing = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = listing < 0 ? NULL : fdopendir(listing);
    if (!dir) {
        err_errno(e, errno, "list a directory of the image");
        fd_close(listing);
        return -1;
    }
    while (r == 0 && (entry = readdir(dir)))
        if (!str_equal(entry->d_name, ".") && !str_equal(entry->d_name, ".."))
            r = copy_entry(from, to, entry->d_name, depth, e);
    closedir(dir);
    if (r < 0)
        return r;
    /* Last: filling it has changed its times. */
    if (fstat(from, &st) < 0)
        return err_errno(e, errno, "stat a directory of the image");
    r = copy_attributes(to, &st);
    return r < 0 ? err_errno(e, r, "set owner and mode of a directory") : 0;
}

int volume_make(int rootfs_fd, const char *path, const char *dest, uint32_t uid, uint32_t gid,
                struct err *e)
{
    if (mkdir(dest, 0755) < 0 || ((uid || gid) && chown(dest, uid, gid) < 0))
        return err_errno(e, errno, "make %s", dest);
    _cleanup_close_ int from = open_in_root(rootfs_fd, path, O_RDONLY | O_DIRECTORY, 0);
    if (from == -ENOENT)
        return 0;
    if (from < 0)
        return err_errno(e, take_fd(&from), "volume of the image at %s", path);
    _cleanup_close_ int to = open(dest, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (to < 0)
        return err_errno(e, errno, "open %s", dest);
    if (copy_directory(from, to, 0, e) < 0)
        return err_wrap(e, "volume of the image at %s", path);
    return 0;
}
