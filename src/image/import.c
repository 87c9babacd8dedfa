/*
 * import.c - images out of files.
 *
 * Whatever the file is, it goes through the confined unpacker first, as a layer would. Then one
 * looks at the tree: if it is an OCI or docker-save archive, its layers are files in it and are
 * unpacked in turn; if not, the tree is itself the only layer of a new image, and is complete. So
 * a root file system is read once, and no archive is ever parsed in the daemon.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "image_archive.h"
#include "json.h"
#include "layer.h"

struct import;

struct import_layer {
    struct import *import;
    struct layer *layer; /* held, once it is here */
    struct layer_wait *wait;
};

struct import {
    struct list link;
    struct image_store *store;
    char *path, *name; /* name: canonical, or NULL */
    char **command;
    void (*fn)(void *arg, const char *image_id, const struct err *e);
    void *arg;

    struct unpacker *unpacker;
    char *tmp_name;
    int tree; /* "fs" of tmp_name */
    struct unpack_report report;
    struct archive_image image;
    struct import_layer *layers;
    size_t n_layers, n_here;
    bool working; /* on another thread: cannot be freed */
    bool abandoned;
    struct commit *commit;
    enum archive_kind kind;
    struct err error;
};

/* ---- Ends ------------------------------------------------------------------------------------ */

static void import_free(struct import *i)
{
    struct image_store *s = i->store;

    list_remove(&i->link);
    unpacker_cancel(i->unpacker);
    for (size_t n = 0; n < i->n_layers; n++) {
        if (i->layers[n].wait)
            layer_wait_cancel(i->layers[n].wait);
        if (i->layers[n].layer)
            layer_release(s, i->layers[n].layer);
    }
    if (i->commit)
        i->commit->fn = NULL;
    if (i->tmp_name && !s->closed)
        trash_delete(s->trash, i->tmp_name);
    fd_close(i->tree);
    free(i->layers);
    archive_image_clear(&i->image);
    unpack_report_clear(&i->report);
    err_clear(&i->error);
    strv_free(i->command);
    free(i->tmp_name);
    free(i->path);
    free(i->name);
    free(i);
}

static void end(struct import *i, const char *image_id, struct err *e)
{
    void (*fn)(void *, const char *, const struct err *) = i->fn;
    _cleanup_free_ char *id = xstrdup(image_id);
    _cleanup_err_ struct err error = ERR_INIT;
    void *arg = i->arg;

    if (e) {
        err_move(&error, e);
        err_wrap(&error, "import %s", i->path);
    }
    import_free(i);
    fn(arg, id, &error);
}

void imports_abandon(struct image_store *s)
{
    list_for_each_safe (it, &s->imports) {
        struct import *i = container_of(it, struct import, link);
        list_remove(&i->link);
        if (i->working)
            i->abandoned = true;
        else
            import_free(i);
    }
}

/* ---- The record ------------------------------------------------------------------------------ */

static void on_committed(void *arg, const struct err *e)
{
    struct import *i = arg;
    struct err error = ERR_INIT;

    i->commit = NULL;
    if (e) {
        err_copy(&error, e);
        end(i, NULL, &error);
        return;
    }
    _cleanup_free_ char *id = xstrdup(i->image.config_digest);
    end(i, id, NULL);
}

static uint64_t stream_size(const struct import *i)
{
    uint64_t size = 0;

    if (i->kind == ARCHIVE_ROOTFS)
        return i->report.input_bytes;
    for (size_t n = 0; n < i->image.n_layers; n++)
        size += i->image.layers[n].size;
    return size;
}

/* "repository@digest" for each name, when the archive has a manifest to speak of. */
static void add_digests(const struct import *i, struct commit *c)
{
    for (char **name = c->tags; *i->image.manifest_digest && name && *name; name++) {
        _cleanup_free_ char *digest = xasprintf("%.*s@%s", (int)(strrchr(*name, ':') - *name),
                                                *name, i->image.manifest_digest);
        strv_push(&c->digests, digest);
    }
}

static void commit(struct import *i)
{
    struct commit *c = commit_new();

    c->id = xstrdup(i->image.config_digest);
    c->config = i->image.config;
    i->image.config = (struct bytes){0};
    c->size = c->config.len + stream_size(i);
    if (i->name)
        strv_push(&c->tags, i->name);
    else
        c->tags = take_ptr(i->image.names);
    add_digests(i, c);
    for (size_t n = 0; n < i->n_layers; n++) {
        bool again = false;
        for (size_t k = n + 1; k < i->n_layers && !again; k++)
            again = i->layers[k].layer == i->layers[n].layer;
        if (!again)
            *(struct layer **)array_push(&c->layers, &c->n_layers, sizeof(struct layer *)) =
                layer_hold(i->store, i->layers[n].layer->hex);
    }
    c->fn = on_committed;
    c->arg = i;
    i->commit = c;
    commit_start(i->store, c);
}

/* ---- Layers ---------------------------------------------------------------------------------- */

static void layer_is_here(struct import *i, struct import_layer *l, struct layer *layer)
{
    l->layer = layer;
    i->n_here++;
}

static void on_layer(void *arg, struct layer *layer, const struct err *e)
{
    struct import_layer *l = arg;
    struct import *i = l->import;
    struct err error = ERR_INIT;

    l->wait = NULL;
    if (e) {
        err_copy(&error, e);
        end(i, NULL, &error);
        return;
    }
    layer_is_here(i, l, layer);
    if (i->n_here == i->n_layers)
        commit(i);
}

static int start_layer(struct import *i, size_t n, struct err *e)
{
    static const struct layer_wait_events EVENTS = {NULL, on_layer};
    const struct archive_layer *from = &i->image.layers[n];
    const char *diff_id = i->image.document.diff_ids[n];
    struct import_layer *l = &i->layers[n];

    l->import = i;
    struct layer *layer = layer_hold(i->store, digest_hex(diff_id));
    if (layer) {
        layer_is_here(i, l, layer);
        return 0;
    }
    _cleanup_close_ int fd = archive_open(i->tree, from->path, e);
    if (fd < 0)
        return -1;
    struct layer_source source = {.file_fd = fd, .size = from->size};
    memcpy(source.digest, from->digest, DIGEST_TEXT_SIZE);
    l->wait = layer_wait_start(i->store, diff_id, &source, &EVENTS, l);
    return 0;
}

static void start_layers(struct import *i)
{
    struct err e = ERR_INIT;

    i->n_layers = i->image.n_layers;
    i->layers = xcalloc(i->n_layers + 1, sizeof(*i->layers));
    for (size_t n = 0; n < i->n_layers; n++)
        if (start_layer(i, n, &e) < 0) {
            end(i, NULL, &e);
            return;
        }
    if (i->n_here == i->n_layers)
        commit(i);
}

/* ---- A root file system becomes an image ----------------------------------------------------- */

static json_t *command_to_json(char *const *command)
{
    json_t *list = json_array();

    for (; command && *command; command++)
        json_array_append_new(list, json_string(*command));
    return list;
}

/* The configuration of an image with one layer. Without a date: the same file makes the same
 * image. */
static int make_config(struct import *i, struct err *e)
{
    struct platform machine = platform_of_machine();
    _cleanup_json_ json_t *j = json_object();
    json_t *config = json_object(), *rootfs = json_object(), *diff_ids = json_array();
    struct bytes text = {0};

    json_object_set_new(j, "architecture", json_string(machine.architecture));
    json_object_set_new(j, "os", json_string(machine.os));
    json_object_set_new(j, "config", config);
    if (i->command)
        json_object_set_new(config, "Cmd", command_to_json(i->command));
    json_array_append_new(diff_ids, json_string(i->report.tar_digest));
    json_object_set_new(rootfs, "type", json_string("layers"));
    json_object_set_new(rootfs, "diff_ids", diff_ids);
    json_object_set_new(j, "rootfs", rootfs);
    text.data = (uint8_t *)json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS);
    if (!text.data)
        return err_set(e, ERR_INVALID_ARGUMENT, "the command is not valid UTF-8");
    text.len = strlen((char *)text.data);
    return archive_take_config(&i->image, &text, e);
}

static void on_rootfs_layer(void *arg, struct layer *layer, const struct err *e)
{
    struct import *i = arg;
    struct err error = ERR_INIT;

    i->working = false;
    if (i->abandoned) {
        if (layer)
            layer_release(i->store, layer);
        import_free(i);
        return;
    }
    if (e) {
        err_copy(&error, e);
        end(i, NULL, &error);
        return;
    }
    i->layers = xnew(struct import_layer);
    i->n_layers = 1;
    i->layers[0].import = i;
    layer_is_here(i, &i->layers[0], layer);
    commit(i);
}

static void take_rootfs(struct import *i)
{
    struct err e = ERR_INIT;

    if (!i->name) {
        err_set(&e, ERR_INVALID_ARGUMENT,
                "it is a plain root file system, not an image: give it a name");
        end(i, NULL, &e);
        return;
    }
    if (make_config(i, &e) < 0) {
        end(i, NULL, &e);
        return;
    }
    struct layer_commit *c = xnew(struct layer_commit);
    c->tmp_name = take_ptr(i->tmp_name);
    memcpy(c->hex, digest_hex(i->report.tar_digest), sizeof(c->hex));
    c->report = i->report;
    c->report.opaque = take_ptr(i->report.opaque);
    c->fn = on_rootfs_layer;
    c->arg = i;
    i->working = true;
    layer_commit_start(i->store, c);
}

/* ---- Looking at what has come out ------------------------------------------------------------ */

static void look_work(void *arg)
{
    struct import *i = arg;

    i->kind = archive_detect(i->tree);
    if (i->kind != ARCHIVE_ROOTFS)
        (void)!archive_read_image(i->tree, i->kind, i->name, &i->image, &i->error);
}

static void look_done(void *arg)
{
    struct import *i = arg;
    struct err e = ERR_INIT;

    i->working = false;
    if (i->abandoned) {
        import_free(i);
    } else if (i->error.code) {
        err_move(&e, &i->error);
        end(i, NULL, &e);
    } else if (i->kind == ARCHIVE_ROOTFS) {
        take_rootfs(i);
    } else if (!i->name && !i->image.names) {
        err_set(&e, ERR_INVALID_ARGUMENT, "the archive names no image: give it a name");
        end(i, NULL, &e);
    } else {
        start_layers(i);
    }
}

static void on_unpacked(void *arg, struct unpack_report *report, const struct err *e)
{
    struct import *i = arg;
    struct err error = ERR_INIT;

    i->unpacker = NULL;
    if (e) {
        err_copy(&error, e);
        end(i, NULL, &error);
        return;
    }
    i->report = *report;
    *report = (struct unpack_report){0};
    i->working = true;
    store_work(i->store, look_work, look_done, i);
}

/* ---- The beginning --------------------------------------------------------------------------- */

static int open_file(const char *path, int *ret_fd, struct err *e)
{
    struct stat st;
    _cleanup_close_ int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

    if (fd < 0 && errno == ENOENT)
        return err_set(e, ERR_NOT_FOUND, "no such file");
    if (fd < 0)
        return err_errno(e, errno, "open");
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return err_set(e, ERR_INVALID_ARGUMENT, "it is not a regular file");
    *ret_fd = take_fd(&fd);
    return 0;
}

static int parse_name(struct import *i, const char *name, struct err *e)
{
    struct image_ref ref;

    if (!name)
        return 0;
    if (image_ref_parse(name, &ref, e) < 0)
        return -1;
    if (ref.tag)
        i->name = image_ref_format(&ref);
    image_ref_clear(&ref);
    return i->name
               ? 0
               : err_set(e, ERR_INVALID_ARGUMENT, "the name \"%s\" must not have a digest", name);
}

static int start(struct import *i, const char *name, struct err *e)
{
    static const struct unpacker_events EVENTS = {NULL, on_unpacked};
    struct image_store *s = i->store;
    _cleanup_close_ int fd = -1;

    if (parse_name(i, name, e) < 0 || open_file(i->path, &fd, e) < 0 ||
        layer_tmp_make(s, &i->tmp_name, &i->tree, e) < 0)
        return -1;
    i->unpacker = unpacker_start(s->loop, s->unpack_path, fd, i->tree, &EVENTS, i, e);
    return i->unpacker ? 0 : -1;
}

static void nothing(void *arg)
{
    (void)arg;
}

static void fail_late(void *arg)
{
    struct import *i = arg;
    struct err e = ERR_INIT;

    i->working = false;
    if (i->abandoned) {
        import_free(i);
        return;
    }
    err_move(&e, &i->error);
    end(i, NULL, &e);
}

void image_import(struct image_store *s, const char *path, const char *name, char *const *command,
                  void (*fn)(void *arg, const char *image_id, const struct err *e), void *arg)
{
    struct import *i = xnew(struct import);

    i->store = s;
    i->path = xstrdup(path);
    i->command = command && *command ? strv_dup(command, strv_len(command)) : NULL;
    i->fn = fn;
    i->arg = arg;
    i->tree = -1;
    list_append(&s->imports, &i->link);
    if (start(i, name, &i->error) < 0) {
        i->working = true;
        store_work(s, nothing, fail_late, i);
    }
}
