/*
 * unpack_tree.c - builds the tree of a layer, below one directory and never beside it.
 *
 * Every step starts at the target's fd. Directories on the way are resolved by openat2(2) with
 * RESOLVE_BENEATH, so a link in the archive may lead elsewhere inside the tree, and one that leads
 * out (absolute, or by "..") ends the unpacking. The last component is never followed: files are
 * made with O_EXCL, whatever had the name before is removed first, so the last of several entries
 * of one name wins.
 *
 * Whiteouts become overlayfs' own form, a character device 0:0 (which needs no privilege). Opaque
 * directories need trusted.overlay.opaque, which does: they are only noted, for the daemon. A
 * whiteout speaks of lower layers alone; where this layer has the name too, a directory becomes
 * opaque and a file needs nothing.
 */
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "unpack_tree.h"

enum { IMPLIED_MODE = 0755 };

struct tree *tree_new(int target_fd, const struct unpack_limits *limits)
{
    struct tree *t = xnew(struct tree);

    t->root = target_fd;
    t->limits = limits;
    t->parent = -1;
    t->opaque = map_new();
    return t;
}

void tree_free(struct tree *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->n_times; i++)
        free(t->times[i].path);
    free(t->times);
    free(t->parent_path);
    fd_close(t->parent);
    map_free(t->opaque);
    free(t);
}

static int fail(struct err *e, int errnum, const char *what)
{
    if (errnum == EXDEV || errnum == ELOOP)
        return err_set(e, ERR_INVALID_ARGUMENT, "it goes through a link that leaves the root");
    if (errnum == ENOTDIR)
        return err_set(e, ERR_INVALID_ARGUMENT, "it lies below something that is not a directory");
    return err_errno(e, errnum, "%s", what);
}

/* ---- Finding the way ------------------------------------------------------------------------- */

int tree_open_beneath(int dir, const char *path, int flags, uint64_t resolve)
{
    struct open_how how = {
        .flags = (uint64_t)(flags | O_CLOEXEC),
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | resolve,
    };
    long fd;

    /* A rename or mount anywhere on the machine may disturb the resolution of "..". */
    do
        fd = syscall(SYS_openat2, dir, *path ? path : ".", &how, sizeof(how));
    while (fd < 0 && (errno == EAGAIN || errno == EINTR));
    return fd < 0 ? -errno : (int)fd;
}

static bool is_whiteout(const struct stat *st)
{
    return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

static int note_opaque(struct tree *t, const char *path, struct err *e)
{
    static char anything[1];

    if (map_put(t->opaque, path, anything))
        return 0;
    t->opaque_bytes += strlen(path) + 1;
    if (t->opaque_bytes > t->limits->opaque_bytes)
        return err_set(e, ERR_RESOURCE_EXHAUSTED, "the layer has too many opaque directories");
    return 0;
}

/* Removes what has the name `name`. The directory that is remembered is by now that of the entry
 * itself, so nothing on the way to it goes away. */
static int clear_place(int dir, const char *name, const struct stat *st, struct err *e)
{
    if (S_ISDIR(st->st_mode))
        return tree_remove(dir, name, e);
    if (unlinkat(dir, name, 0) < 0)
        return fail(e, errno, "remove an earlier entry of that name");
    return 0;
}

/* Makes the directory `name`, whose clean path is `path`, unless it is there. A whiteout in its
 * place says that what lower layers have there is gone: then the directory is opaque. Anything else
 * in its place goes only with `replace`. */
static int ensure_dir(struct tree *t, int dir, const char *name, const char *path, mode_t mode,
                      bool replace, struct err *e)
{
    struct stat st;

    if (mkdirat(dir, name, mode) == 0)
        return 0;
    if (errno != EEXIST || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return fail(e, errno, "mkdir");
    bool hidden = is_whiteout(&st);
    if (S_ISDIR(st.st_mode) || (!hidden && !replace))
        return 0; /* without `replace`, perhaps a link: the next step down will tell */
    if (clear_place(dir, name, &st, e) < 0)
        return -1;
    if (mkdirat(dir, name, mode) < 0)
        return fail(e, errno, "mkdir");
    return hidden ? note_opaque(t, path, e) : 0;
}

/* Makes every missing directory of `path`, which is not the root. */
static int make_dirs(struct tree *t, const char *path, struct err *e)
{
    _cleanup_free_ char *prefix = xstrdup(path);
    _cleanup_close_ int dir = tree_open_beneath(t->root, "", O_PATH | O_DIRECTORY, 0);

    for (char *name = prefix; dir >= 0 && name;) {
        char *slash = strchr(name, '/');
        if (slash)
            *slash = 0;
        if (ensure_dir(t, dir, name, prefix, IMPLIED_MODE, false, e) < 0)
            return -1;
        fd_close(dir);
        dir = tree_open_beneath(t->root, prefix, O_PATH | O_DIRECTORY, 0);
        if (slash)
            *slash = '/';
        name = slash ? slash + 1 : NULL;
    }
    return dir < 0 ? fail(e, -dir, "open a directory of its path") : 0;
}

static char *parent_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? xstrndup(path, (size_t)(slash - path)) : xstrdup("");
}

static const char *last_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* The directory that `path` lies in, made if need be. Borrowed until the next call. */
static int find_parent(struct tree *t, const char *path, int *ret_dir, struct err *e)
{
    _cleanup_free_ char *parent = parent_of(path);

    if (t->parent_path && str_equal(parent, t->parent_path)) {
        *ret_dir = t->parent;
        return 0;
    }
    int fd = tree_open_beneath(t->root, parent, O_PATH | O_DIRECTORY, 0);
    /* ENOTDIR: a whiteout may stand where a directory is implied. */
    if (fd == -ENOENT || fd == -ENOTDIR) {
        if (make_dirs(t, parent, e) < 0)
            return -1;
        fd = tree_open_beneath(t->root, parent, O_PATH | O_DIRECTORY, 0);
    }
    if (fd < 0)
        return fail(e, -fd, "open its directory");
    fd_close(t->parent);
    free(t->parent_path);
    t->parent = *ret_dir = fd;
    t->parent_path = take_ptr(parent);
    return 0;
}

/* The same, and nothing has the entry's name any more. */
static int find_place(struct tree *t, const char *path, int *ret_dir, struct err *e)
{
    struct stat st;

    if (!*path)
        return err_set(e, ERR_INVALID_ARGUMENT, "the root is not a directory");
    if (find_parent(t, path, ret_dir, e) < 0)
        return -1;
    if (fstatat(*ret_dir, last_of(path), &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : fail(e, errno, "stat");
    return clear_place(*ret_dir, last_of(path), &st, e);
}

/* ---- Attributes ------------------------------------------------------------------------------ */

/* Capabilities of programs, and what users attach. Never what has a meaning for overlayfs. */
static bool xattr_allowed(const char *name)
{
    return str_equal(name, "security.capability") ||
           (str_starts_with(name, "user.") && !str_starts_with(name, "user.overlay."));
}

static int set_xattrs(struct tree *t, int fd, const struct entry_meta *m, struct err *e)
{
    size_t total = 0;

    for (size_t i = 0; i < m->n_xattrs; i++) {
        const struct entry_xattr *x = &m->xattrs[i];
        if (!xattr_allowed(x->name))
            continue;
        total += strlen(x->name) + x->size;
        if (total > t->limits->xattr_bytes)
            return err_set(e, ERR_RESOURCE_EXHAUSTED,
                           "it has more than %zu bytes of extended attributes",
                           t->limits->xattr_bytes);
        if (fsetxattr(fd, x->name, x->value, x->size, 0) == 0)
            continue;
        /* File systems without them exist; a program's capabilities must not get lost. */
        if (errno == ENOTSUP && str_starts_with(x->name, "user."))
            continue;
        return err_errno(e, errno, "set the attribute %.100s", x->name);
    }
    return 0;
}

/* In this order: a change of the owner drops set-id bits and capabilities. */
static int set_meta(struct tree *t, int fd, const struct entry_meta *m, struct err *e)
{
    if (fchown(fd, m->uid, m->gid) < 0)
        return err_errno(e, errno, "chown");
    if (fchmod(fd, m->mode) < 0)
        return err_errno(e, errno, "chmod");
    return set_xattrs(t, fd, m, e);
}

static int set_time_at(int dir, const char *name, const struct entry_meta *m, struct err *e)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_NOW},
                                {.tv_sec = m->mtime, .tv_nsec = m->mtime_ns}};

    if (utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW) < 0)
        return err_errno(e, errno, "set the time");
    return 0;
}

/* ---- Entries --------------------------------------------------------------------------------- */

int tree_add_dir(struct tree *t, const char *path, const struct entry_meta *m, struct err *e)
{
    int dir = t->root;

    if (*path && (find_parent(t, path, &dir, e) < 0 ||
                  ensure_dir(t, dir, last_of(path), path, 0700, true, e) < 0))
        return -1;
    _cleanup_close_ int fd = tree_open_beneath(
        dir, last_of(path), O_RDONLY | O_DIRECTORY | O_NOFOLLOW, RESOLVE_NO_SYMLINKS);
    if (fd < 0)
        return fail(e, -fd, "open");
    if (set_meta(t, fd, m, e) < 0)
        return -1;
    struct dir_time *time = array_push(&t->times, &t->n_times, sizeof(*time));
    time->path = xstrdup(path);
    time->mtime = (struct timespec){.tv_sec = m->mtime, .tv_nsec = m->mtime_ns};
    return 0;
}

int tree_begin_file(struct tree *t, const char *path, int *ret_fd, struct err *e)
{
    int dir;

    if (find_place(t, path, &dir, e) < 0)
        return -1;
    int fd = openat(dir, last_of(path), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail(e, errno, "make the file");
    *ret_fd = fd;
    return 0;
}

int tree_end_file(struct tree *t, int fd, const struct entry_meta *m, struct err *e)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_NOW},
                                {.tv_sec = m->mtime, .tv_nsec = m->mtime_ns}};

    if (set_meta(t, fd, m, e) < 0)
        return -1;
    if (futimens(fd, times) < 0)
        return err_errno(e, errno, "set the time");
    return 0;
}

int tree_add_symlink(struct tree *t, const char *path, const char *target,
                     const struct entry_meta *m, struct err *e)
{
    int dir;

    if (str_empty(target))
        return err_set(e, ERR_INVALID_ARGUMENT, "it is a link without a target");
    if (find_place(t, path, &dir, e) < 0)
        return -1;
    if (symlinkat(target, dir, last_of(path)) < 0)
        return fail(e, errno, "make the link");
    if (fchownat(dir, last_of(path), m->uid, m->gid, AT_SYMLINK_NOFOLLOW) < 0)
        return err_errno(e, errno, "chown");
    return set_time_at(dir, last_of(path), m, e);
}

/* The directory of what a hard link names: inside, not reached through any link, and with
 * something in it that can be linked. -errno when it is not like that. */
static int open_link_dir(struct tree *t, const char *target, struct stat *ret_st)
{
    _cleanup_err_ struct err ignored = ERR_INIT;
    _cleanup_free_ char *parent = parent_of(target);
    enum entry_kind kind;

    if (!*target || entry_path_kind(target, &kind, &ignored) < 0 || kind != ENTRY_PLAIN)
        return -EINVAL;
    _cleanup_close_ int dir =
        tree_open_beneath(t->root, parent, O_PATH | O_DIRECTORY, RESOLVE_NO_SYMLINKS);
    if (dir < 0)
        return dir;
    if (fstatat(dir, last_of(target), ret_st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (S_ISDIR(ret_st->st_mode) || is_whiteout(ret_st))
        return -EINVAL;
    return take_fd(&dir);
}

int tree_add_hardlink(struct tree *t, const char *path, const char *target, struct err *e)
{
    struct stat st, old;
    int dir;

    _cleanup_close_ int from = open_link_dir(t, target, &st);
    if (from < 0)
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "it is a hard link to \"%.300s\", which is no file of this archive", target);
    if (find_parent(t, path, &dir, e) < 0)
        return -1;
    /* A link to itself, or one that is there already: clearing its place could remove the file. */
    if (fstatat(dir, last_of(path), &old, AT_SYMLINK_NOFOLLOW) == 0 && old.st_dev == st.st_dev &&
        old.st_ino == st.st_ino)
        return 0;
    if (find_place(t, path, &dir, e) < 0)
        return -1;
    if (linkat(from, last_of(target), dir, last_of(path), 0) < 0)
        return fail(e, errno, "make the hard link");
    return 0;
}

int tree_add_fifo(struct tree *t, const char *path, const struct entry_meta *m, struct err *e)
{
    int dir;

    if (find_place(t, path, &dir, e) < 0)
        return -1;
    const char *name = last_of(path);
    if (mkfifoat(dir, name, 0600) < 0)
        return fail(e, errno, "make the fifo");
    /* Nobody else works in this directory: the name is still the fifo. */
    if (fchownat(dir, name, m->uid, m->gid, AT_SYMLINK_NOFOLLOW) < 0 ||
        fchmodat(dir, name, m->mode, 0) < 0)
        return err_errno(e, errno, "chown");
    return set_time_at(dir, name, m, e);
}

int tree_add_whiteout(struct tree *t, const char *path, struct err *e)
{
    struct stat st;
    int dir;

    if (find_parent(t, path, &dir, e) < 0)
        return -1;
    if (mknodat(dir, last_of(path), S_IFCHR, makedev(0, 0)) == 0)
        return 0;
    if (errno != EEXIST)
        return fail(e, errno, "make the whiteout");
    if (fstatat(dir, last_of(path), &st, AT_SYMLINK_NOFOLLOW) < 0)
        return fail(e, errno, "stat");
    return S_ISDIR(st.st_mode) ? note_opaque(t, path, e) : 0;
}

int tree_add_opaque(struct tree *t, const char *path, struct err *e)
{
    int dir = t->root;

    if (*path && (find_parent(t, path, &dir, e) < 0 ||
                  ensure_dir(t, dir, last_of(path), path, IMPLIED_MODE, false, e) < 0))
        return -1;
    _cleanup_close_ int fd = tree_open_beneath(
        dir, last_of(path), O_PATH | O_DIRECTORY | O_NOFOLLOW, RESOLVE_NO_SYMLINKS);
    if (fd < 0)
        return fail(e, -fd, "open its directory");
    return note_opaque(t, path, e);
}
