/*
 * layer_commit.c - an unpacked tree becomes a layer of the store.
 *
 * On a worker thread: overlayfs' mark is set on the opaque directories (the one thing that the
 * unpacker has no privilege for), what the layer takes on disk is written beside it, and the whole
 * is renamed into place. From then on it is there or not, never half. Making it durable is the
 * business of the image's record, which comes later.
 */
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#include "json.h"
#include "layer.h"

int layer_tmp_make(struct image_store *s, char **ret_name, int *ret_fd, struct err *e)
{
    _cleanup_free_ char *name = trash_name_new("layer");
    _cleanup_free_ char *fs = xasprintf("%s/fs", name);

    if (mkdirat(s->tmp_fd, name, 0700) < 0 || mkdirat(s->tmp_fd, fs, 0755) < 0)
        return err_errno(e, errno, "make %s/images/tmp/%s", s->root, fs);
    /* Whatever the umask is. */
    if (fchmodat(s->tmp_fd, fs, 0755, 0) < 0)
        return err_errno(e, errno, "chmod %s/images/tmp/%s", s->root, fs);
    int fd = openat(s->tmp_fd, fs, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, errno, "open %s/images/tmp/%s", s->root, fs);
    *ret_name = take_ptr(name);
    *ret_fd = fd;
    return 0;
}

/* The path is the word of a process that has parsed a stranger's archive. */
static int mark_opaque(int fs, const char *path, struct err *e)
{
    struct open_how how = {
        .flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
    };
    _cleanup_close_ int fd = (int)syscall(SYS_openat2, fs, path, &how, sizeof(how));

    if (fd < 0 || fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0) < 0)
        return err_errno(e, errno, "mark the directory \"%.200s\" opaque", path);
    return 0;
}

static int write_info(int dir, const struct unpack_report *r, struct err *e)
{
    _cleanup_json_ json_t *j = json_object();

    json_object_set_new(j, "bytes", json_integer((json_int_t)r->disk_bytes));
    json_object_set_new(j, "inodes", json_integer((json_int_t)r->inodes));
    _cleanup_free_ char *text = json_dumps(j, JSON_COMPACT);
    if (!text)
        abort(); /* only without memory */
    return file_write_atomic(dir, "layer.json", text, strlen(text), 0600, false, e);
}

static int prepare(struct layer_commit *c, struct err *e)
{
    struct image_store *s = c->store;
    _cleanup_close_ int dir =
        openat(s->tmp_fd, c->tmp_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    _cleanup_close_ int fs =
        dir < 0 ? -1 : openat(dir, "fs", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fs < 0)
        return err_errno(e, errno, "open the unpacked layer");
    for (char **path = c->report.opaque; path && *path; path++)
        if (mark_opaque(fs, *path, e) < 0)
            return -1;
    return write_info(dir, &c->report, e);
}

static void commit_work(void *arg)
{
    struct layer_commit *c = arg;

    (void)!prepare(c, &c->error);
}

static int rename_layer(struct image_store *s, const struct layer_commit *c)
{
    if (renameat(s->tmp_fd, c->tmp_name, s->layers_fd, c->hex) == 0)
        return 0;
    if (errno != ENOTEMPTY && errno != EEXIST)
        return -errno;
    /* Nobody's: what memory does not know was to be deleted, and could not be. */
    int r = trash_move(s->trash, s->layers_fd, c->hex);
    if (r < 0)
        return r;
    return renameat(s->tmp_fd, c->tmp_name, s->layers_fd, c->hex) < 0 ? -errno : 0;
}

/* Somebody else may have brought the same content meanwhile: theirs is as good. */
static struct layer *place_layer(struct image_store *s, struct layer_commit *c)
{
    struct layer *l = c->error.code ? NULL : layer_hold(s, c->hex);

    if (!l && !c->error.code) {
        int r = rename_layer(s, c);
        if (r == 0)
            return layer_add(s, c->hex, c->report.disk_bytes, c->report.inodes);
        err_errno(&c->error, r, "rename the layer %s", c->hex);
    }
    if (!s->closed)
        trash_delete(s->trash, c->tmp_name);
    return l;
}

static void commit_done(void *arg)
{
    struct layer_commit *c = arg;
    struct layer *l = place_layer(c->store, c);

    c->fn(c->arg, l, c->error.code ? &c->error : NULL);
    unpack_report_clear(&c->report);
    err_clear(&c->error);
    free(c->tmp_name);
    free(c);
}

void layer_commit_start(struct image_store *s, struct layer_commit *c_take)
{
    c_take->store = s;
    store_work(s, commit_work, commit_done, c_take);
}
