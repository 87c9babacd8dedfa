/*
 * rootfs.c - the root file system of a container: its writable layer and the overlay over the
 * layers of its image.
 *
 * The mount is never attached on the host: whoever gets the fd moves it into the container's mount
 * namespace, and with that it goes. The writable layer is made anew each time: what a half-made
 * container left is thrown away first, also because overlayfs refuses a work directory of a
 * volatile mount a second time.
 *
 * rootfs_create() runs on any thread: it uses only what does not change while the store is open,
 * and the stock of spare.c.
 */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "store.h"

/* Container ids become names of directories. */
static bool id_valid(const char *id)
{
    size_t len = strlen(id);

    if (len == 0 || len > 128 || id[0] == '.')
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)id[i]) && !strchr("_.-", id[i]))
            return false;
    return true;
}

/* A layer that is in the stack twice counts where it is highest: below, all of it would be covered
 * by itself (and overlayfs takes no directory twice). */
char **store_lower_paths(struct image_store *s, char *const *layers)
{
    size_t n = strv_len(layers);
    char **paths = NULL;

    for (size_t i = n; i > 0; i--) {
        bool covered = false;
        for (size_t k = i; k < n && !covered; k++)
            covered = str_equal(layers[k], layers[i - 1]);
        if (covered)
            continue;
        _cleanup_free_ char *path = xasprintf("%s/images/layers/%s/fs", s->root, layers[i - 1]);
        strv_push(&paths, path);
    }
    if (!paths) {
        _cleanup_free_ char *path = xasprintf("%s/images/empty", s->root);
        strv_push(&paths, path);
    }
    return paths;
}

/* "/" of the container looks like "/" of the uppermost layer. */
static int dress_upper(const char *upper, const char *top, const struct rootfs_ids *ids,
                       struct err *e)
{
    struct stat st;

    if (stat(top, &st) < 0)
        return err_errno(e, errno, "the image's layer %s", top);
    uid_t uid = st.st_uid + (ids ? ids->uid : 0);
    gid_t gid = st.st_gid + (ids ? ids->gid : 0);
    if ((uid || gid) && chown(upper, uid, gid) < 0)
        return err_errno(e, errno, "chown %s", upper);
    if (chmod(upper, st.st_mode & 07777) < 0)
        return err_errno(e, errno, "chmod %s", upper);
    return 0;
}

/* containers/<id> with nothing in it but empty "upper" and "work". -errno */
static int make_dirs(struct image_store *s, const char *id)
{
    _cleanup_free_ char *spare = spare_take(s);
    _cleanup_free_ char *upper = xasprintf("%s/upper", id);
    _cleanup_free_ char *work = xasprintf("%s/work", id);

    if (spare) {
        if (renameat2(s->containers_fd, spare, s->containers_fd, id, RENAME_NOREPLACE) == 0)
            return 0;
        int r = -errno;
        _cleanup_err_ struct err ignored = ERR_INIT;
        (void)!tree_remove(s->containers_fd, spare, &ignored);
        return r;
    }
    if (mkdirat(s->containers_fd, id, 0700) < 0 || mkdirat(s->containers_fd, upper, 0700) < 0 ||
        mkdirat(s->containers_fd, work, 0700) < 0)
        return -errno;
    return 0;
}

/* The same, in the place of what a half-made container may have left. */
static int make_layer_dir(struct image_store *s, const char *id, struct err *e)
{
    int r = make_dirs(s, id);

    if (r == -EEXIST) {
        if (tree_remove(s->containers_fd, id, e) < 0)
            return -1;
        r = make_dirs(s, id);
    }
    return r < 0 ? err_errno(e, r, "make the directory %s/containers/%s", s->root, id) : 0;
}

static int create(struct image_store *s, const char *id, char *const *layers,
                  const struct rootfs_ids *ids, int *ret_fd, struct err *e)
{
    _cleanup_strv_ char **lowers = store_lower_paths(s, layers);
    _cleanup_free_ char *upper = xasprintf("%s/containers/%s/upper", s->root, id);
    _cleanup_free_ char *work = xasprintf("%s/containers/%s/work", s->root, id);

    if (make_layer_dir(s, id, e) < 0 || dress_upper(upper, lowers[0], ids, e) < 0)
        return -1;
    struct overlay overlay = {
        .lowers = lowers, .upper = upper, .work = work, .user_ns = ids ? ids->user_ns : -1};
    return overlay_mount(&s->overlay, &overlay, ret_fd, e);
}

int rootfs_create(struct image_store *s, const char *container_id, char *const *layers,
                  const struct rootfs_ids *ids, int *ret_fd, struct err *e)
{
    if (!id_valid(container_id))
        return err_set(e, ERR_INVALID_ARGUMENT, "the container id \"%.140s\" is malformed",
                       container_id);
    for (char *const *hex = layers; hex && *hex; hex++)
        if (!digest_hex_valid(*hex))
            return err_set(e, ERR_INVALID_ARGUMENT, "the layer \"%.100s\" is malformed", *hex);
    if (create(s, container_id, layers, ids, ret_fd, e) == 0)
        return 0;
    _cleanup_err_ struct err ignored = ERR_INIT;
    (void)!tree_remove(s->containers_fd, container_id, &ignored);
    return err_wrap(e, "root file system of container %s", container_id);
}

int rootfs_remove(struct image_store *s, const char *container_id, struct err *e)
{
    if (!id_valid(container_id))
        return err_set(e, ERR_INVALID_ARGUMENT, "the container id \"%.140s\" is malformed",
                       container_id);
    int r = trash_move(s->trash, s->containers_fd, container_id);
    if (r < 0)
        return err_errno(e, r, "remove the root file system of container %s", container_id);
    spares_fill(s);
    return 0;
}

int rootfs_measure(const struct image_store *s, const char *container_id, struct tree_size *ret,
                   struct err *e)
{
    if (!id_valid(container_id))
        return err_set(e, ERR_INVALID_ARGUMENT, "the container id \"%.140s\" is malformed",
                       container_id);
    _cleanup_free_ char *upper = xasprintf("%s/upper", container_id);
    return tree_measure(s->containers_fd, upper, ret, e);
}

static bool is_listed(const char *id, char *const *ids, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_equal(ids[i], id))
            return true;
    return false;
}

int rootfs_reconcile(struct image_store *s, char *const *container_ids, size_t count, struct err *e)
{
    int fd = openat(s->containers_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;
    int r = 0;

    if (!d) {
        err_errno(e, errno, "list %s/containers", s->root);
        fd_close(fd);
        return -1;
    }
    while (r == 0 && (entry = readdir(d))) {
        if (entry->d_name[0] == '.' || is_listed(entry->d_name, container_ids, count))
            continue;
        r = trash_move(s->trash, s->containers_fd, entry->d_name);
        if (r < 0)
            err_errno(e, r, "remove the left-over root file system of container %s", entry->d_name);
    }
    closedir(d);
    /* Whoever uses an image holds it by now. */
    store_drop_unused(s);
    return r < 0 ? -1 : 0;
}
