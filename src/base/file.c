/*
 * file.c - whole files and directories: read, write atomically, mkdir -p, open below a root.
 *
 * All work happens relative to directory fds. The functions with a struct err leave errno as the
 * failing system call set it, so that a caller can tell ENOENT from the rest. open_in_root() alone
 * is made for paths that a container can rearrange; the others take podd's own paths.
 */
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "private.h"

int open_parent(int dirfd, const char *path, char **ret_name)
{
    _cleanup_free_ char *copy = xstrdup(path);
    size_t len = strlen(copy);

    while (len > 1 && copy[len - 1] == '/')
        copy[--len] = '\0';
    char *slash = strrchr(copy, '/');
    const char *name = slash ? slash + 1 : copy;
    if (!*name || str_equal(name, ".") || str_equal(name, ".."))
        return -EINVAL;

    const char *parent = ".";
    char *name_copy = xstrdup(name);
    if (slash) {
        slash[slash == copy] = '\0'; /* keeps the slash of "/name" */
        parent = copy;
    }
    int fd = openat(dirfd, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        free(name_copy);
        return -errno;
    }
    *ret_name = name_copy;
    return fd;
}

/* ---- Reading -------------------------------------------------------------------------------- */

int file_read(int dirfd, const char *path, size_t max, struct bytes *ret, struct err *e)
{
    _cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return err_errno(e, errno, "open %s", path);

    /* The size is a guess only: files of proc and cgroupfs say 0 or 4096, and others may grow. */
    struct stat st;
    if (fstat(fd, &st) < 0)
        return err_errno(e, errno, "stat %s", path);
    if (max > SSIZE_MAX / 2)
        max = SSIZE_MAX / 2; /* "no limit" must not overflow below */
    size_t cap = st.st_size > 0 ? (size_t)st.st_size + 2 : 4096;
    _cleanup_bytes_ struct bytes b = {0};

    for (;;) {
        /* One byte more than allowed, to see the end or that there is none; one for the NUL. */
        if (cap > max + 2)
            cap = max + 2;
        b.data = xrealloc(b.data, cap);
        ssize_t n = fd_read_full(fd, b.data + b.len, cap - 1 - b.len);
        if (n < 0) {
            errno = (int)-n;
            return err_errno(e, errno, "read %s", path);
        }
        b.len += (size_t)n;
        if (b.len < cap - 1)
            break;
        if (b.len > max) {
            errno = EFBIG;
            return err_set(e, ERR_RESOURCE_EXHAUSTED, "read %s: longer than %zu bytes", path, max);
        }
        cap *= 2;
    }
    b.data[b.len] = '\0';
    *ret = b;
    b = (struct bytes){0};
    return 0;
}

/* ---- Atomic writing ------------------------------------------------------------------------- */

static int write_temporary(int dir, const char *name, const void *data, size_t len, mode_t mode,
                           bool durable)
{
    _cleanup_close_ int fd =
        openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int r = fd_write_all(fd, data, len);
    if (r < 0)
        return r;
    /* Not by open(): the umask would take bits away. */
    if (fchmod(fd, mode & 07777) < 0)
        return -errno;
    if (durable && fsync(fd) < 0)
        return -errno;
    return 0;
}

int file_write_atomic(int dirfd, const char *path, const void *data, size_t len, mode_t mode,
                      bool durable, struct err *e)
{
    _cleanup_free_ char *name = NULL;
    uint8_t raw[8];
    char suffix[2 * sizeof(raw) + 1], temporary[sizeof(suffix) + 8];
    int r;

    _cleanup_close_ int dir = open_parent(dirfd, path, &name);
    if (dir < 0) {
        errno = -take_fd(&dir);
        return err_errno(e, errno, "open the directory of %s", path);
    }
    /* Not made of `name`, which may have the full length allowed. O_TMPFILE would need no name but
     * linkat(2) cannot replace a file. The dot keeps it out of what lists the directory. */
    random_fill(raw, sizeof(raw));
    hex_encode(raw, sizeof(raw), suffix);
    snprintf(temporary, sizeof(temporary), ".tmp-%s", suffix);

    r = write_temporary(dir, temporary, data, len, mode, durable);
    if (r == 0 && renameat(dir, temporary, dir, name) < 0)
        r = -errno;
    if (r < 0) {
        unlinkat(dir, temporary, 0);
        errno = -r;
        return err_errno(e, errno, "write %s", path);
    }
    /* Until the directory is on disk too, a power loss brings the old content back. */
    if (durable && fsync(dir) < 0)
        return err_errno(e, errno, "sync the directory of %s", path);
    return 0;
}

/* ---- Directories ---------------------------------------------------------------------------- */

/* Opens one component, making it when missing. fd or -errno. */
static int enter_or_make(int dir, const char *name, mode_t mode)
{
    int made = mkdirat(dir, name, mode & 07777);
    int why = errno;

    if (made == 0) {
        _cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || fchmod(fd, mode & 07777) < 0) /* against the umask */
            return -errno;
        return take_fd(&fd);
    }
    /* EEXIST is the usual case, yet EACCES and EROFS do not mean that it is missing. */
    int fd = openat(dir, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT && why != EEXIST ? -why : -errno;
    return fd;
}

int dir_ensure(const char *path, mode_t mode, struct err *e)
{
    if (str_empty(path)) {
        errno = EINVAL;
        return err_set(e, ERR_INVALID_ARGUMENT, "make directory: the path is empty");
    }
    /* Nearly always all is there, or all but the last. */
    _cleanup_close_ int whole = enter_or_make(AT_FDCWD, path, mode);
    if (whole >= 0)
        return 0;
    _cleanup_free_ char *copy = xstrdup(path);
    _cleanup_close_ int dir = open(*path == '/' ? "/" : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return err_errno(e, errno, "make directory %s", path);

    for (char *p = copy + strspn(copy, "/"); *p;) {
        char *name = p;

        p += strcspn(p, "/");
        if (*p)
            *p++ = '\0';
        p += strspn(p, "/");
        int next = enter_or_make(dir, name, mode);
        if (next < 0) {
            errno = -next;
            return err_errno(e, errno, "make directory %s: %s", path, name);
        }
        fd_close(dir);
        dir = next;
    }
    return 0;
}

/* ---- Below a root that is not ours ---------------------------------------------------------- */

int open_in_root(int rootfd, const char *path, int flags, mode_t mode)
{
    bool creates = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;
    struct open_how how = {
        .flags = (uint64_t)(flags | O_CLOEXEC),
        .mode = creates ? mode & 07777 : 0, /* openat2 refuses a mode that has no use */
        .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
    };

    /* EAGAIN: something was renamed while ".." was being resolved. Tried again a few times only,
     * for the container could rename for ever. */
    for (int attempt = 0;; attempt++) {
        long fd = syscall(SYS_openat2, rootfd, path, &how, sizeof(how));
        if (fd >= 0)
            return (int)fd;
        if (errno != EAGAIN || attempt == 32)
            return -errno;
    }
}
