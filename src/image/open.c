/*
 * open.c - opening and closing the store.
 *
 * Opening makes what the disk says and what memory says the same: every record that is whole is
 * loaded, one that is not is set aside under another name (its layers may be fetched again), and
 * everything that no record lists is deleted: layers, configurations, and whatever lies in tmp.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "manifest.h"
#include "store.h"
#include "transfer.h"

/* ---- Directories ----------------------------------------------------------------------------- */

static int open_dir(const char *root, const char *below, int *ret_fd, struct err *e)
{
    _cleanup_free_ char *path = xasprintf("%s/%s", root, below);

    if (dir_ensure(path, 0700, e) < 0)
        return -1;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, errno, "open %s", path);
    fd_close(*ret_fd);
    *ret_fd = fd;
    return 0;
}

/* Sets the "T" of chattr(1): ext4 then lets each directory in here begin in a part of the disk of
 * its own. Otherwise all of them share one, and where trees come and go ext4 searches it long for
 * inodes that were not freed in the last minutes. Other file systems do not have it. */
static void spread_directories(int dirfd)
{
    int flags;

    if (ioctl(dirfd, FS_IOC_GETFLAGS, &flags) < 0 || (flags & FS_TOPDIR_FL))
        return;
    flags |= FS_TOPDIR_FL;
    if (ioctl(dirfd, FS_IOC_SETFLAGS, &flags) < 0)
        log_debug("image", NULL, "directories cannot be spread over the disk: %s", strerror(errno));
}

static int open_dirs(struct image_store *s, struct err *e)
{
    int empty = -1;

    if (open_dir(s->root, "images", &s->images_fd, e) < 0 ||
        open_dir(s->root, "images/blobs/sha256", &s->blobs_fd, e) < 0 ||
        open_dir(s->root, "images/layers", &s->layers_fd, e) < 0 ||
        open_dir(s->root, "images/images", &s->records_fd, e) < 0 ||
        open_dir(s->root, "images/tmp", &s->tmp_fd, e) < 0 ||
        open_dir(s->root, "containers", &s->containers_fd, e) < 0 ||
        open_dir(s->root, "images/empty", &empty, e) < 0)
        return -1;
    spread_directories(s->tmp_fd); /* where layers are unpacked */
    spread_directories(s->containers_fd);
    /* The root directory of a container without layers: everybody may look into it. */
    int r = fchmod(empty, 0755) < 0 ? -errno : 0;
    fd_close(empty);
    return r < 0 ? err_errno(e, r, "chmod %s/images/empty", s->root) : 0;
}

/* The names in a directory, as a strv. */
static int list_dir(int dirfd, char ***ret, struct err *e)
{
    int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;
    char **names = NULL;

    if (!d) {
        err_errno(e, errno, "list a directory of the image store");
        fd_close(fd);
        return -1;
    }
    while ((errno = 0, entry = readdir(d)))
        if (!str_equal(entry->d_name, ".") && !str_equal(entry->d_name, ".."))
            strv_push(&names, entry->d_name);
    int saved = errno;
    closedir(d);
    if (saved) {
        strv_free(names);
        return err_errno(e, saved, "list a directory of the image store");
    }
    *ret = names;
    return 0;
}

/* ---- Loading --------------------------------------------------------------------------------- */

static void set_aside(struct image_store *s, const char *name, const struct err *why)
{
    _cleanup_free_ char *target = xasprintf("%s.broken", name);

    log_warn("image", name, "the image is ignored: %s; its record is kept as %s", err_text(why),
             target);
    if (renameat(s->records_fd, name, s->records_fd, target) < 0)
        log_warn("image", name, "rename: %s", strerror(errno));
}

static int compare_age(const void *a, const void *b)
{
    const struct record *x = *(struct record *const *)a, *y = *(struct record *const *)b;

    return (x->updated_ns > y->updated_ns) - (x->updated_ns < y->updated_ns);
}

static int load_records(struct image_store *s, struct err *e)
{
    _cleanup_strv_ char **names = NULL;
    struct record **loaded = NULL;
    size_t n = 0;

    if (list_dir(s->records_fd, &names, e) < 0)
        return -1;
    for (char **name = names; name && *name; name++) {
        _cleanup_err_ struct err why = ERR_INIT;
        if (!str_ends_with(*name, ".json"))
            continue;
        struct record *r = record_load(s, *name, &why);
        if (r)
            *(struct record **)array_push(&loaded, &n, sizeof(r)) = r;
        else
            set_aside(s, *name, &why);
    }
    /* The younger one takes a tag from the older one. */
    if (n)
        qsort(loaded, n, sizeof(*loaded), compare_age);
    for (size_t i = 0; i < n; i++)
        record_replace(s, loaded[i]);
    free(loaded);
    return 0;
}

static int drop_unowned_layers(struct image_store *s, struct err *e)
{
    _cleanup_strv_ char **names = NULL;

    if (list_dir(s->layers_fd, &names, e) < 0)
        return -1;
    for (char **name = names; name && *name; name++) {
        if (map_get(s->layers, *name))
            continue;
        int r = trash_move(s->trash, s->layers_fd, *name);
        if (r < 0)
            return err_errno(e, r, "remove the unused layer %s", *name);
    }
    return 0;
}

static int drop_unowned_blobs(struct image_store *s, struct err *e)
{
    _cleanup_strv_ char **names = NULL;

    if (list_dir(s->blobs_fd, &names, e) < 0)
        return -1;
    for (char **name = names; name && *name; name++) {
        char digest[DIGEST_TEXT_SIZE];
        if (digest_hex_valid(*name)) {
            digest_from_hex(*name, digest);
            if (record_find(s, digest))
                continue;
        }
        if (unlinkat(s->blobs_fd, *name, 0) < 0)
            return err_errno(e, errno, "remove the unused blob %s", *name);
    }
    return 0;
}

static int empty_tmp(struct image_store *s, struct err *e)
{
    _cleanup_strv_ char **names = NULL;

    if (list_dir(s->tmp_fd, &names, e) < 0)
        return -1;
    for (char **name = names; name && *name; name++)
        trash_delete(s->trash, *name);
    return 0;
}

/* What an earlier podd had in stock was never used, and is as good as new. */
static int find_spares(struct image_store *s, struct err *e)
{
    _cleanup_strv_ char **names = NULL;

    if (list_dir(s->containers_fd, &names, e) < 0)
        return -1;
    for (char **name = names; name && *name; name++) {
        if (!str_starts_with(*name, SPARE_PREFIX) || spare_adopt(s, *name))
            continue;
        int r = trash_move(s->trash, s->containers_fd, *name);
        if (r < 0)
            return err_errno(e, r, "remove %s/containers/%s", s->root, *name);
    }
    return 0;
}

/* ---- Opening and closing --------------------------------------------------------------------- */

static void copy_config(struct image_store *s, const struct image_store_config *config)
{
    s->root = xstrdup(config->root);
    s->unpack_path = xstrdup(config->unpack_path);
    for (size_t i = 0; i < config->n_registries; i++) {
        const struct image_config_registry *from = &config->registries[i];
        struct registry_config *to =
            array_push(&s->registries, &s->n_registries, sizeof(*s->registries));
        to->prefix = xstrdup(from->prefix);
        to->ca = xstrdup(from->ca);
        to->auth_file = xstrdup(from->auth_file);
        to->mirrors = strv_dup(from->mirrors, strv_len(from->mirrors));
    }
}

static void free_config(struct image_store *s)
{
    for (size_t i = 0; i < s->n_registries; i++) {
        free(s->registries[i].prefix);
        free(s->registries[i].ca);
        free(s->registries[i].auth_file);
        strv_free(s->registries[i].mirrors);
    }
    free(s->registries);
    free(s->root);
    free(s->unpack_path);
}

static void destroy(struct image_store *s)
{
    list_for_each_safe (it, &s->commits)
        commit_free(s, container_of(it, struct commit, link));
    for (size_t i = 0; i < s->n_records; i++)
        record_free(s, s->records[i]);
    free(s->records);
    map_free(s->names);
    map_free(s->layers);
    map_free(s->fetches);
    spares_free(s);
    trash_free(s->trash);
    fd_close(s->images_fd);
    fd_close(s->blobs_fd);
    fd_close(s->layers_fd);
    fd_close(s->records_fd);
    fd_close(s->tmp_fd);
    fd_close(s->containers_fd);
    free_config(s);
    free(s);
}

static struct image_store *store_new(struct loop *loop, const struct image_store_config *config)
{
    struct image_store *s = xnew(struct image_store);

    s->loop = loop;
    copy_config(s, config);
    s->images_fd = s->blobs_fd = s->layers_fd = s->records_fd = s->tmp_fd = s->containers_fd = -1;
    s->names = map_new();
    s->layers = map_new();
    s->fetches = map_new();
    list_init(&s->commits);
    list_init(&s->waiting);
    list_init(&s->pulls);
    list_init(&s->imports);
    s->usage.mountpoint = s->root;
    return s;
}

int image_store_open(struct loop *loop, const struct image_store_config *config,
                     struct image_store **ret, struct err *e)
{
    struct image_store *s = store_new(loop, config);

    if (open_dirs(s, e) < 0)
        goto fail;
    s->trash = trash_new(loop, s->tmp_fd);
    if (empty_tmp(s, e) < 0 || load_records(s, e) < 0 || drop_unowned_layers(s, e) < 0 ||
        drop_unowned_blobs(s, e) < 0)
        goto fail;
    s->transfers = transfers_new(loop);
    spares_init(s);
    if (find_spares(s, e) < 0)
        goto fail;
    spares_fill(s);
    commit_changes(s); /* records that lost a tag to a younger one */
    *ret = s;
    return 0;
fail:
    s->closed = true;
    destroy(s);
    return err_wrap(e, "open the image store in %s", config->root);
}

void image_store_close(struct image_store *s)
{
    if (!s)
        return;
    s->closed = true;
    pulls_abandon(s);
    imports_abandon(s);
    transfers_free(take_ptr(s->transfers));
    if (s->working == 0)
        destroy(s);
}

/* ---- Work ------------------------------------------------------------------------------------ */

struct work {
    struct image_store *store;
    void (*work)(void *arg);
    void (*done)(void *arg);
    void *arg;
};

static void run_work(void *arg)
{
    struct work *w = arg;

    w->work(w->arg);
}

static void finish_work(void *arg)
{
    struct work *w = arg;
    struct image_store *s = w->store;

    w->done(w->arg);
    free(w);
    if (--s->working == 0 && s->closed)
        destroy(s);
}

void store_work(struct image_store *s, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
    struct work *w = xnew(struct work);

    w->store = s;
    w->work = work;
    w->done = done;
    w->arg = arg;
    s->working++;
    loop_work(s->loop, run_work, finish_work, w);
}
