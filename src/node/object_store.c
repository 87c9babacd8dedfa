/*
 * object_store.c - the records of objects: <root>/objects/<Kind>_<namespace>_<name>.json.
 *
 * A save stages every record as <record>.new, on disk, and then renames them one after the other. A
 * stage that was left behind by a crash is removed by the next start: its apply was never answered.
 */
#include "object.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>

#define RECORD_SIZE_MAX (8 << 20)
#define STAGE ".new"

static char *objects_dir(const struct node *n)
{
    return xasprintf("%s/objects", n->config.root);
}

static char *object_path(const struct node *n, const struct object_manifest *m)
{
    return xasprintf("%s/objects/%s_%s_%s.json", n->config.root, object_kind_name(m->kind),
                     m->metadata->namespace_ ? m->metadata->namespace_ : "", m->metadata->name);
}

/* ---- Writing -----------------------------------------------------------------------------------
 */

struct save_job {
    struct work_job base;
    char **paths, **stages, **texts; /* strv, of the same length */
    void (*done)(struct op *op, const char *id, const struct err *e);
    void *job;
};

static void save_work(struct work_job *base)
{
    const struct save_job *job = container_of(base, struct save_job, base);
    struct err *e = &base->err;
    size_t n = strv_len(job->paths);

    for (size_t i = 0; i < n && e->code == ERR_OK; i++)
        if (file_write_atomic(AT_FDCWD, job->stages[i], job->texts[i], strlen(job->texts[i]), 0600,
                              true, e) < 0)
            break;
    for (size_t i = 0; i < n && e->code == ERR_OK; i++)
        if (rename(job->stages[i], job->paths[i]) < 0)
            err_errno(e, errno, "rename %s to %s", job->stages[i], job->paths[i]);
    for (size_t i = 0; i < n && e->code != ERR_OK; i++)
        if (unlink(job->stages[i]) < 0 && errno != ENOENT)
            log_warn("node", NULL, "remove %s: %m", job->stages[i]);
}

static void save_done(struct op *op, const char *id, const struct err *e)
{
    struct save_job *job = op->job;

    op->job = job->job;
    job->done(op, id, e);
    err_clear(&job->base.err);
    strv_free(job->paths);
    strv_free(job->stages);
    for (char **text = job->texts; text && *text; text++)
        explicit_bzero(*text, strlen(*text));
    strv_free(job->texts);
    free(job);
}

static void identify(struct object_manifest *m, const struct object *o)
{
    if (m->uid)
        return;
    m->uid = o ? xstrdup(o->manifest->uid) : uid_new();
    m->created_at = o ? o->manifest->created_at : time_now_ns();
}

static char *record_text(const struct object_manifest *m, bool deleting)
{
    json_t *record =
        json_pack("{s:s, s:I, s:b, s:o}", "uid", m->uid, "created_at", (json_int_t)m->created_at,
                  "deleting", deleting, "manifest", json_loads(m->json, 0, NULL));
    char *text = json_dumps(record, JSON_COMPACT);

    json_decref(record);
    if (!text)
        abort(); /* out of memory */
    return text;
}

static void add_record(struct save_job *job, const struct node *n, const struct object_manifest *m,
                       bool deleting)
{
    _cleanup_free_ char *path = object_path(n, m), *stage = xasprintf("%s" STAGE, path);
    char *text = record_text(m, deleting);

    strv_push(&job->paths, path);
    strv_push(&job->stages, stage);
    strv_push(&job->texts, text);
    explicit_bzero(text, strlen(text));
    free(text);
}

void objects_save(struct node *n, struct object_manifest *const *manifests, size_t count,
                  void (*done)(struct op *op, const char *id, const struct err *e), void *job_arg)
{
    struct save_job *job = xnew(struct save_job);

    job->base.work = save_work;
    job->done = done;
    job->job = job_arg;
    for (size_t i = 0; i < count; i++) {
        struct object_manifest *m = manifests[i];
        const struct object *o =
            object_find(n, m->kind, m->metadata->namespace_, m->metadata->name);
        identify(m, o);
        add_record(job, n, m, o && o->deleting);
    }
    op_work(n->config.loop, op_new_for_node(n, save_done, job), &job->base);
}

/* ---- Removing ----------------------------------------------------------------------------------
 */

struct remove_job {
    struct work_job base;
    char *path;
    void (*done)(struct op *op, const char *id, const struct err *e);
    void *job;
};

static void remove_work(struct work_job *base)
{
    const struct remove_job *job = container_of(base, struct remove_job, base);

    if (unlink(job->path) < 0 && errno != ENOENT)
        err_errno(&base->err, errno, "remove %s", job->path);
}

static void remove_done(struct op *op, const char *id, const struct err *e)
{
    struct remove_job *job = op->job;

    op->job = job->job;
    job->done(op, id, e);
    err_clear(&job->base.err);
    free(job->path);
    free(job);
}

void object_remove(struct object *o,
                   void (*done)(struct op *op, const char *id, const struct err *e), void *job_arg)
{
    struct remove_job *job = xnew(struct remove_job);

    o->busy = true;
    job->base.work = remove_work;
    job->path = object_path(o->node, o->manifest);
    job->done = done;
    job->job = job_arg;
    op_work(o->node->config.loop, op_new_for_node(o->node, remove_done, job), &job->base);
}

/* ---- Reading -----------------------------------------------------------------------------------
 */

static int read_record(struct node *n, const char *path, struct err *e)
{
    _cleanup_bytes_ struct bytes text = {0};
    struct manifests found = {0};

    if (file_read(AT_FDCWD, path, RECORD_SIZE_MAX, &text, e) < 0)
        return -1;
    json_t *record = json_loadb((const char *)text.data, text.len, 0, NULL);
    char *manifest = json_dumps(json_object_get(record, "manifest"), JSON_COMPACT);
    int r = manifest ? manifests_parse(manifest, strlen(manifest), path, "default", &found, e)
                     : err_set(e, ERR_DATA_LOSS, "%s holds no object", path);
    if (r == 0 && (found.n_objects != 1 || found.count > 0 ||
                   !json_is_string(json_object_get(record, "uid"))))
        r = err_set(e, ERR_DATA_LOSS, "%s holds no object", path);
    if (r == 0) {
        struct object_manifest *m = take_ptr(found.objects[0]);
        m->uid = xstrdup(json_string_value(json_object_get(record, "uid")));
        m->created_at = json_integer_value(json_object_get(record, "created_at"));
        struct object *o = object_install(n, m);
        o->deleting = o->marked = json_is_true(json_object_get(record, "deleting"));
    }
    if (manifest)
        explicit_bzero(manifest, strlen(manifest));
    free(manifest);
    json_decref(record);
    manifests_free(&found);
    return r;
}

static void read_entry(struct node *n, const char *dir, const char *name)
{
    _cleanup_free_ char *path = xasprintf("%s/%s", dir, name);
    _cleanup_err_ struct err e = ERR_INIT;

    if (str_ends_with(name, STAGE)) {
        if (unlink(path) < 0)
            log_warn("node", NULL, "remove %s: %m", path);
    } else if (name[0] != '.' && str_ends_with(name, ".json") && read_record(n, path, &e) < 0) {
        store_set_aside(path, &e);
    }
}

int objects_load(struct node *n, struct err *e)
{
    _cleanup_free_ char *dir = objects_dir(n);

    if (dir_ensure(dir, 0700, e) < 0)
        return -1;
    DIR *stream = opendir(dir);
    if (!stream)
        return err_errno(e, errno, "open %s", dir);
    for (struct dirent *entry; (entry = readdir(stream));)
        read_entry(n, dir, entry->d_name);
    closedir(stream);
    return 0;
}
