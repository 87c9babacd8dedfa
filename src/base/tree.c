/*
 * tree.c - tree_remove(): delete a directory tree that somebody else has filled.
 *
 * The tree comes from a container: any depth, any number of entries, links and mounts that lead
 * out of it, and names that change under our hands. So:
 *
 *   - The walk is a loop. It has one directory open at a time, and a stack on the heap tells the
 *     way back up: a directory's parent is opened as "..", and must be the same inode that we came
 *     from (a directory moved elsewhere ends the removal).
 *   - Each step down is an openat2(2) of one name without links and without crossing a mount.
 *     RESOLVE_NO_XDEV sees bind mounts of the same file system as well, which the comparison of
 *     st_dev does not: a forgotten volume mount must not cost the user's data.
 *   - A directory is read in batches: files are unlinked at once, names of directories are kept
 *     and visited. That reads every directory once (plus once per full batch), not once per
 *     subdirectory.
 *
 * Below the top of the stack lies a level for the directory that holds the tree; of it only the
 * one name is visited, and it is not removed.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "private.h"

enum {
    BATCH = 1024,    /* names of subdirectories that are kept per level */
    RETRIES_MAX = 64 /* times that a directory may be found filled again */
};

struct level {
    dev_t dev;
    ino_t ino;
    char *name;  /* owned: how the level above calls it */
    char **dirs; /* owned: names of subdirectories still to be visited */
    size_t n_dirs;
    bool more;   /* the last batch was full */
    int retries; /* how often in turn a subdirectory could not be removed */
};

struct walk {
    const char *what; /* borrowed: the caller's name for the tree */
    int dir;          /* the directory of the last level */
    dev_t dev;        /* of the tree; set by the first step down */
    struct level *levels;
    size_t depth;
};

static void pop_level(struct walk *w)
{
    struct level *l = &w->levels[--w->depth];

    for (size_t i = 0; i < l->n_dirs; i++)
        free(l->dirs[i]);
    free(l->dirs);
    free(l->name);
}

static void walk_done(struct walk *w)
{
    while (w->depth)
        pop_level(w);
    free(w->levels);
    fd_close(w->dir);
}

/* `fd_take` becomes the current directory, one level deeper. */
static struct level *push_level(struct walk *w, int fd_take, const struct stat *st,
                                const char *name)
{
    struct level *l = array_push(&w->levels, &w->depth, sizeof(*l));

    l->dev = st->st_dev;
    l->ino = st->st_ino;
    l->name = xstrdup(name);
    fd_close(w->dir);
    w->dir = fd_take;
    return l;
}

static void add_dir(struct level *l, const char *name)
{
    char **slot = array_push(&l->dirs, &l->n_dirs, sizeof(*slot));

    *slot = xstrdup(name);
}

static int open_child(int dir, const char *name)
{
    struct open_how how = {
        .flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
    };
    long fd = syscall(SYS_openat2, dir, name, &how, sizeof(how));

    /* Only without CAP_DAC_OVERRIDE. glibc goes through an O_PATH fd, so no link is followed. */
    if (fd < 0 && errno == EACCES && fchmodat(dir, name, 0700, AT_SYMLINK_NOFOLLOW) == 0)
        fd = syscall(SYS_openat2, dir, name, &how, sizeof(how));
    return fd < 0 ? -errno : (int)fd;
}

/* Unlinks what is no directory in the current one and keeps the names of those that are. */
static int scan(struct walk *w, struct err *e)
{
    struct level *l = &w->levels[w->depth - 1];
    /* A new open file: its position is at the start, and closedir() may take it. */
    int fd = openat(w->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    int r = 0;

    if (!d) {
        err_errno(e, errno, "remove %s: open %s", w->what, l->name);
        fd_close(fd);
        return -1;
    }
    l->more = false;
    while (r == 0 && !l->more) {
        errno = 0;
        const struct dirent *entry = readdir(d);
        if (!entry) {
            if (errno)
                r = err_errno(e, errno, "remove %s: read %s", w->what, l->name);
            break;
        }
        const char *name = entry->d_name;
        if (str_equal(name, ".") || str_equal(name, ".."))
            continue;
        /* Not all file systems tell the type; then the refusal to unlink does. */
        if (entry->d_type != DT_DIR) {
            if (unlinkat(w->dir, name, 0) == 0 || errno == ENOENT)
                continue;
            if (errno != EISDIR) {
                r = err_errno(e, errno, "remove %s: entry %s", w->what, name);
                continue;
            }
        }
        add_dir(l, name);
        l->more = l->n_dirs == BATCH;
    }
    closedir(d);
    return r;
}

/* Steps into a directory and empties it of files. What has vanished or changed meanwhile is fine.
 */
static int go_down(struct walk *w, const char *name, struct err *e)
{
    _cleanup_close_ int fd = open_child(w->dir, name);
    struct stat st;

    if (fd == -ENOENT)
        return 0;
    if (fd == -ENOTDIR || fd == -ELOOP) {
        if (unlinkat(w->dir, name, 0) < 0 && errno != ENOENT)
            return err_errno(e, errno, "remove %s: entry %s", w->what, name);
        return 0;
    }
    if (fd == -EXDEV)
        return err_set(e, ERR_FAILED_PRECONDITION,
                       "remove %s: something is still mounted on %s in it", w->what, name);
    if (fd < 0)
        return err_errno(e, fd, "remove %s: open %s", w->what, name);
    if (fstat(fd, &st) < 0)
        return err_errno(e, errno, "remove %s: stat %s", w->what, name);
    if (w->depth == 1)
        w->dev = st.st_dev;
    if (st.st_dev != w->dev)
        return err_set(e, ERR_FAILED_PRECONDITION, "remove %s: %s in it is another file system",
                       w->what, name);
    if ((st.st_mode & 0700) != 0700)
        (void)fchmod(fd, 0700); /* matters without CAP_DAC_OVERRIDE only */
    push_level(w, take_fd(&fd), &st, name);
    return scan(w, e);
}

/* Leaves the current directory, which is empty, and removes it. */
static int go_up(struct walk *w, struct err *e)
{
    _cleanup_free_ char *name = take_ptr(w->levels[w->depth - 1].name);
    struct level *up = &w->levels[w->depth - 2];
    struct stat st;

    _cleanup_close_ int fd = openat(w->dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_errno(e, errno, "remove %s: go back from %s", w->what, name);
    if (st.st_dev != up->dev || st.st_ino != up->ino)
        return err_set(e, ERR_ABORTED, "remove %s: %s was moved meanwhile", w->what, name);
    pop_level(w);
    fd_close(w->dir);
    w->dir = take_fd(&fd);

    if (unlinkat(w->dir, name, AT_REMOVEDIR) == 0 || errno == ENOENT) {
        up->retries = 0;
        return 0;
    }
    /* Somebody added to it, or its file system let readdir() skip an entry while others were being
     * removed: once more. */
    if ((errno == ENOTEMPTY || errno == EEXIST) && ++up->retries <= RETRIES_MAX) {
        add_dir(up, name);
        return 0;
    }
    return err_errno(e, errno, "remove %s: directory %s", w->what, name);
}

static int walk_tree(struct walk *w, struct err *e)
{
    for (;;) {
        struct level *l = &w->levels[w->depth - 1];
        int r;

        if (l->n_dirs) {
            _cleanup_free_ char *name = l->dirs[--l->n_dirs];
            r = go_down(w, name, e);
        } else if (l->more) {
            r = scan(w, e);
        } else if (w->depth > 1) {
            r = go_up(w, e);
        } else {
            return 0;
        }
        if (r < 0)
            return r;
    }
}

int tree_remove(int dirfd, const char *name, struct err *e)
{
    __attribute__((cleanup(walk_done))) struct walk w = {.what = name, .dir = -1};
    _cleanup_free_ char *last = NULL;
    struct stat st;

    _cleanup_close_ int parent = open_parent(dirfd, name, &last);
    if (parent == -ENOENT)
        return 0;
    if (parent == -EINVAL)
        return err_set(e, ERR_INVALID_ARGUMENT, "remove '%s': not the name of a directory", name);
    if (parent < 0)
        return err_errno(e, parent, "remove %s", name);

    if (unlinkat(parent, last, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR)
        return err_errno(e, errno, "remove %s", name);
    if (fstat(parent, &st) < 0)
        return err_errno(e, errno, "remove %s", name);
    add_dir(push_level(&w, take_fd(&parent), &st, NULL), last);
    return walk_tree(&w, e);
}
