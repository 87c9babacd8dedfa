/*
 * record.c - the records on disk: written, unlinked, and loaded at start.
 *
 *   <root>/pods/<sandbox id>/sandbox                   written when the sandbox is ready
 *   <root>/pods/<sandbox id>/<container id>.container  written before the shim hears of it
 *
 * The directory itself is the intent of a sandbox: one without a record is half made or half
 * removed, and recover.c undoes it by its name. A container's record says that it was made if its
 * shim knows it too. Unlinking a record is the point from which a removal is finished, not undone.
 *
 * Records are not flushed to the disk: they must survive every process, yet not a power loss, after
 * which there is nothing left that they could describe. One that a power loss tore apart is set
 * aside like any other that cannot be read: as <root>/pods/<id>.<kind>.broken, for people.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

#include "private.h"

enum { RECORD_MAX = 64 << 20 };

static const char sandbox_file[] = "sandbox";
static const char container_suffix[] = ".container";

static char *sandbox_record_path(const struct sandbox *s)
{
    return xasprintf("%s/pods/%s/%s", s->priv->pods->root, s->id, sandbox_file);
}

static char *container_record_path(const struct container *c)
{
    return xasprintf("%s/pods/%s/%s%s", c->sandbox->priv->pods->root, c->sandbox->id, c->id,
                     container_suffix);
}

int record_write_sandbox(const struct sandbox *s, struct err *e)
{
    _cleanup_free_ char *path = sandbox_record_path(s);
    _cleanup_bytes_ struct bytes record = record_encode_sandbox(s);

    return file_write_atomic(AT_FDCWD, path, record.data, record.len, 0600, false, e);
}

int record_write_container(const struct container *c, struct err *e)
{
    _cleanup_free_ char *path = container_record_path(c);
    _cleanup_bytes_ struct bytes record = record_encode_container(c);

    return file_write_atomic(AT_FDCWD, path, record.data, record.len, 0600, false, e);
}

static int unlink_record(const char *path, struct err *e)
{
    if (unlink(path) < 0 && errno != ENOENT)
        return err_errno(e, errno, "remove the record %s", path);
    return 0;
}

int record_unlink_sandbox(const struct sandbox *s, struct err *e)
{
    _cleanup_free_ char *path = sandbox_record_path(s);

    return unlink_record(path, e);
}

int record_unlink_container(const struct container *c, struct err *e)
{
    _cleanup_free_ char *path = container_record_path(c);

    return unlink_record(path, e);
}

void record_note_sandbox(const struct sandbox *s)
{
    _cleanup_err_ struct err e = ERR_INIT;

    if (record_write_sandbox(s, &e) < 0)
        log_error("pod", s->id, "its state will be lost by a restart of podd: %s", err_text(&e));
}

void record_note_container(const struct container *c)
{
    _cleanup_err_ struct err e = ERR_INIT;

    if (record_write_container(c, &e) < 0)
        log_error("pod", c->id, "its state will be lost by a restart of podd: %s", err_text(&e));
}

/* ---- Loading -------------------------------------------------------------------------------- */

static void set_aside(struct pods *p, const char *path, const char *id, const char *kind,
                      const char *why)
{
    _cleanup_free_ char *broken = xasprintf("%s/pods/%s.%s.broken", p->root, id, kind);

    if (rename(path, broken) < 0) {
        log_error("pod", id, "%s: %s; it cannot be set aside: %s", path, why, strerror(errno));
        return;
    }
    log_warn("pod", id, "%s: %s; it is kept as %s, and what it described is cleaned up", path, why,
             broken);
}

static struct sandbox *load_sandbox(struct pods *p, const char *id)
{
    _cleanup_free_ char *path = xasprintf("%s/pods/%s/%s", p->root, id, sandbox_file);
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_bytes_ struct bytes data = {0};
    struct sandbox *s = NULL;

    if (access(path, F_OK) < 0 && errno == ENOENT)
        return NULL; /* half made or half removed */
    if (file_read(AT_FDCWD, path, RECORD_MAX, &data, &e) == 0 &&
        record_decode_sandbox(data.data, data.len, &s, &e) == 0 && !str_equal(s->id, id)) {
        sandbox_object_free(take_ptr(s));
        err_set(&e, ERR_DATA_LOSS, "the record is that of another sandbox");
    }
    if (!s)
        set_aside(p, path, id, "sandbox", err_text(&e));
    return s;
}

static struct container *load_container(struct pods *p, struct sandbox *s, const char *id)
{
    _cleanup_free_ char *path = xasprintf("%s/pods/%s/%s%s", p->root, s->id, id, container_suffix);
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_bytes_ struct bytes data = {0};
    _cleanup_free_ char *owner = NULL;
    struct container *c = NULL;

    if (file_read(AT_FDCWD, path, RECORD_MAX, &data, &e) == 0 &&
        record_decode_container(data.data, data.len, &c, &owner, &e) == 0 &&
        (!str_equal(c->id, id) || !str_equal(owner, s->id) || container_by_id(p, id))) {
        container_object_free(take_ptr(c));
        err_set(&e, ERR_DATA_LOSS, "the record is that of another container");
    }
    if (!c)
        set_aside(p, path, id, "container", err_text(&e));
    return c;
}

static int compare_created(const void *a, const void *b)
{
    const struct container *const *x = a, *const *y = b;

    return ((*x)->created_at > (*y)->created_at) - ((*x)->created_at < (*y)->created_at);
}

static void load_containers(struct pods *p, struct sandbox *s)
{
    _cleanup_free_ char *path = sandbox_root_dir(p, s->id);
    _cleanup_free_ struct container **found = NULL;
    size_t n = 0;
    DIR *dir = opendir(path);

    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        _cleanup_free_ char *id = NULL;
        if (!str_ends_with(entry->d_name, container_suffix))
            continue;
        id = xstrndup(entry->d_name, strlen(entry->d_name) - strlen(container_suffix));
        struct container *c = id_is_valid(id) ? load_container(p, s, id) : NULL;
        if (c)
            *(struct container **)array_push(&found, &n, sizeof(*found)) = c;
    }
    if (dir)
        closedir(dir);
    if (n > 0)
        qsort(found, n, sizeof(*found), compare_created);
    for (size_t i = 0; i < n; i++) {
        _cleanup_free_ char *key = name_key_container(s->id, found[i]->name, found[i]->attempt);
        if (!name_find(p, key)) {
            found[i]->priv->name = name_add(p, key, found[i]->id, found[i]->priv->fingerprint);
            found[i]->priv->name->busy = false;
        }
        container_publish(s, found[i]);
    }
}

static int compare_sandboxes(const void *a, const void *b)
{
    const struct sandbox *const *x = a, *const *y = b;

    return ((*x)->created_at > (*y)->created_at) - ((*x)->created_at < (*y)->created_at);
}

int records_load(struct pods *p, struct err *e)
{
    _cleanup_free_ char *path = xasprintf("%s/pods", p->root);
    _cleanup_free_ struct sandbox **found = NULL;
    size_t n = 0;

    DIR *dir = opendir(path);
    if (!dir)
        return err_errno(e, errno, "open %s", path);
    for (struct dirent *entry; (entry = readdir(dir));) {
        struct sandbox *s = id_is_valid(entry->d_name) ? load_sandbox(p, entry->d_name) : NULL;
        if (s)
            *(struct sandbox **)array_push(&found, &n, sizeof(*found)) = s;
    }
    closedir(dir);
    if (n > 0)
        qsort(found, n, sizeof(*found), compare_sandboxes);
    for (size_t i = 0; i < n; i++) {
        struct sandbox *s = found[i];
        _cleanup_free_ char *key = name_key_sandbox(s->name, s->namespace_, s->uid, s->attempt);
        s->priv->pods = p;
        if (!name_find(p, key)) {
            s->priv->name = name_add(p, key, s->id, s->priv->fingerprint);
            s->priv->name->busy = false;
        }
        sandbox_publish(p, s);
    }
    /* Only now: a container's record that carries another container's id is then found out. */
    for (size_t i = 0; i < n; i++)
        load_containers(p, found[i]);
    return 0;
}
