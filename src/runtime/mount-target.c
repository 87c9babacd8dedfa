/*
 * Finds, and where needed makes, the places inside a root file system that something is mounted
 * on. The root file system is hostile: any part of any path may be a link to anywhere.
 *
 * A path that exists is resolved by the kernel (RESOLVE_IN_ROOT), so absolute and climbing links
 * end inside the root. For one that does not, the deepest part that exists is opened the same way
 * and the rest is made one name at a time from the descriptor before. A dangling link is read and
 * its target taken instead, as the kernel would have if it had been there (images with
 * /etc/resolv.conf -> ../run/systemd/...), a bounded number of times.
 */
#include "mount.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

#include "sys.h"

enum { LINKS_MAX = 40 };

static int path_open(int root, const char *path, int flags)
{
    return open_in_root(root, path, O_PATH | O_CLOEXEC | flags, 0);
}

/* Splits "/a/b/c" into "/a/b" and "c". False when there is no last name to make. */
static bool path_split(const char *path, char **ret_parent, const char **ret_name)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    if (!*name || str_equal(name, ".") || str_equal(name, "..") || strlen(name) > NAME_MAX)
        return false;
    *ret_parent = slash && slash > path ? xstrndup(path, (size_t)(slash - path)) : xstrdup("/");
    *ret_name = name;
    return true;
}

/* What a dangling link at parent/name stands for, seen from the root. */
static char *link_follow(int parent_fd, const char *parent, const char *name)
{
    char target[PATH_MAX];
    ssize_t n = readlinkat(parent_fd, name, target, sizeof(target) - 1);
    if (n <= 0)
        return NULL;
    target[n] = '\0';
    while (n > 1 && target[n - 1] == '/')
        target[--n] = '\0';
    return target[0] == '/' ? xstrdup(target) : xasprintf("%s/%s", parent, target);
}

static int directory_make(int root, const char *path, int *links);

/* Opens or makes parent/name below root. */
static int entry_make(int root, const char *path, bool is_dir, int *links)
{
    _cleanup_free_ char *parent = NULL;
    const char *name;
    if (!path_split(path, &parent, &name))
        return -ENOENT;
    _cleanup_close_ int parent_fd = directory_make(root, parent, links);
    if (parent_fd < 0)
        return parent_fd;
    int r = is_dir ? mkdirat(parent_fd, name, 0755) : mknodat(parent_fd, name, S_IFREG | 0644, 0);
    if (r < 0 && errno != EEXIST)
        return -errno;
    _cleanup_close_ int fd = sys_openat2(parent_fd, name, O_PATH | O_NOFOLLOW, 0,
                                         RESOLVE_NO_MAGICLINKS | RESOLVE_BENEATH);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return fd < 0 ? fd : -errno;
    if (!S_ISLNK(st.st_mode))
        return take_fd(&fd);
    _cleanup_free_ char *target = --*links > 0 ? link_follow(parent_fd, parent, name) : NULL;
    return target ? entry_make(root, target, is_dir, links) : -ELOOP;
}

static int directory_make(int root, const char *path, int *links)
{
    int fd = path_open(root, path, O_DIRECTORY);
    return fd == -ENOENT ? entry_make(root, path, true, links) : fd;
}

int directory_ensure(int root, const char *path)
{
    int links = LINKS_MAX;
    return directory_make(root, path, &links);
}

int mount_target_open(int root, const char *path, bool is_dir, struct err *e)
{
    if (!path || path[0] != '/')
        return err_set(e, ERR_INVALID_ARGUMENT, "mount target \"%s\" is not absolute",
                       path ? path : "");
    _cleanup_free_ char *clean = xstrdup(path);
    for (size_t len = strlen(clean); len > 1 && clean[len - 1] == '/'; len--)
        clean[len - 1] = '\0';
    if (str_equal(clean, "/"))
        return err_set(e, ERR_INVALID_ARGUMENT, "nothing can be mounted on / of a container");

    int links = LINKS_MAX;
    _cleanup_close_ int fd = path_open(root, clean, 0);
    if (fd == -ENOENT)
        fd = entry_make(root, clean, is_dir, &links);
    struct stat st;
    if (fd == -ELOOP)
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "mount target %s: it goes through a link of procfs, or in circles", path);
    if (fd < 0)
        return err_errno(e, fd, "mount target %s", path);
    if (fstat(fd, &st) < 0)
        return err_errno(e, errno, "mount target %s", path);
    if (is_dir != S_ISDIR(st.st_mode))
        return err_set(e, ERR_INVALID_ARGUMENT,
                       is_dir ? "mount target %s is not a directory, but what to mount there is"
                              : "mount target %s is a directory, but what to mount there is not",
                       path);
    return take_fd(&fd);
}
