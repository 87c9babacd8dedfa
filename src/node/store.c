/*
 * store.c - the records of declared pods: <root>/declared/<namespace>_<name>.json.
 *
 * A record is the manifest with what must outlive podd: uid, attempts, back-off, the file that
 * declares it, and whether the pod is being deleted or has finished. It is written as a whole, on a
 * worker thread; while one write is under way another one waits, and then writes what is true by
 * then. Two pods of one name never touch the record at once: the newer one waits until the older
 * one's write or removal has ended, and from then on the older one leaves it alone.
 */
#include "private.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>

#define RECORD_VERSION 1
#define RECORD_SIZE_MAX (8 << 20)

static char *record_dir(const struct node *n)
{
    return xasprintf("%s/declared", n->config.root);
}

static char *record_path(const struct declared *d)
{
    return xasprintf("%s/declared/%s_%s.json", d->node->config.root, d->namespace_, d->name);
}

/* ---- Writing -----------------------------------------------------------------------------------
 */

static json_t *member_json(const struct member *m)
{
    return json_pack("{s:I, s:I, s:I}", "attempt", (json_int_t)m->attempt, "crash_delay",
                     (json_int_t)m->crash.delay_ns, "crash_at", (json_int_t)m->crash.updated_at);
}

/* The pods of this name whose end has not come yet: a restart must not lose sight of them. */
static json_t *before_json(const struct declared *d)
{
    json_t *uids = json_array();

    list_for_each (it, &d->node->declared) {
        const struct declared *other = container_of(it, struct declared, item);
        if (other == d)
            break; /* the list is in the order of declaration */
        if (str_equal(other->key, d->key) && !other->gone)
            json_array_append_new(uids, json_string(other->uid));
    }
    return uids;
}

static json_t *ephemeral_json(const struct declared *d)
{
    json_t *list = json_array();

    for (size_t i = 0; i < d->n_ephemeral; i++)
        json_array_append_new(list, json_string(d->ephemeral[i]->json));
    return list;
}

static char *record_text(const struct declared *d)
{
    json_t *record = json_pack("{s:i, s:s, s:s, s:s, s:I, s:I, s:b}", "version", RECORD_VERSION,
                               "namespace", d->namespace_, "name", d->name, "uid", d->uid,
                               "created_at", (json_int_t)d->created_at, "sandbox_attempt",
                               (json_int_t)d->sandbox_attempt, "deleting", d->deleting);
    json_t *containers = json_object();

    if (d->source)
        json_object_set_new(record, "source", json_string(d->source));
    if (d->first_id)
        json_object_set_new(record, "first_id", json_integer(d->first_id));
    if (d->deleting)
        json_object_set_new(record, "grace", json_integer(d->grace));
    if (d->evicted)
        json_object_set_new(record, "evicted", json_string(d->evicted));
    if (d->expired)
        json_object_set_new(record, "expired", json_true());
    if (d->finished)
        json_object_set_new(record, "finished", json_string(phase_name(d->final_phase)));
    for (size_t i = 0; i < d->n_members; i++)
        json_object_set_new(containers, d->members[i].spec->name, member_json(&d->members[i]));
    json_object_set_new(record, "containers", containers);
    json_object_set_new(record, "ephemeral", ephemeral_json(d));
    json_object_set_new(record, "before", before_json(d));
    json_object_set_new(record, "manifest", json_loads(d->manifest->json, 0, NULL));
    char *text = json_dumps(record, JSON_INDENT(1));
    json_decref(record);
    if (!text)
        abort(); /* out of memory */
    return text;
}

struct write_job {
    struct work_job base;
    char *path, *text;
};

static void write_work(struct work_job *base)
{
    const struct write_job *job = container_of(base, struct write_job, base);

    if (file_write_atomic(AT_FDCWD, job->path, job->text, strlen(job->text), 0600, true,
                          &base->err) < 0)
        return;
}

/* Goes on with what had to wait for the record. */
static void record_idle(struct declared *d)
{
    d->record_busy = false;
    if (d->replaced_by && d->replaced_by->write_again)
        store_save(d->replaced_by);
    else if (d->write_again)
        store_save(d);
}

static void write_done(struct op *op, const char *id, const struct err *e)
{
    struct declared *d = op->pod;
    struct write_job *job = op->job;

    if (e->code != ERR_OK)
        log_error("node", d->key, "%s", err_text(e));
    if (!d->write_again || d->superseded) {
        void (*on_saved)(struct declared *, const struct err *, void *) = take_ptr(d->on_saved);
        if (on_saved)
            on_saved(d, e, d->on_saved_arg);
    }
    record_idle(d);
    if (!d->record_busy && !d->write_again)
        declared_marked(d, e);
    err_clear(&job->base.err);
    free(job->path);
    free(job->text);
    free(job);
}

void store_save(struct declared *d)
{
    if (d->superseded || !d->manifest)
        return;
    d->write_again = d->record_busy || d->replaced_by || (d->replaces && d->replaces->record_busy);
    if (d->write_again)
        return;
    struct write_job *job = xnew(struct write_job);
    job->base.work = write_work;
    job->path = record_path(d);
    job->text = record_text(d);
    d->record_busy = true;
    struct op *op = op_new(d, NULL, write_done, job);
    op_work(d->node->config.loop, op, &job->base);
}

/* ---- Removing ----------------------------------------------------------------------------------
 */

struct remove_job {
    struct work_job base;
    char *record; /* NULL: stays */
    struct volumes_place volumes;
    char *logs;
    void (*done)(struct op *op, const char *id, const struct err *e);
};

static void remove_work(struct work_job *base)
{
    const struct remove_job *job = container_of(base, struct remove_job, base);

    if (volumes_remove(&job->volumes, &base->err) < 0 ||
        tree_remove(AT_FDCWD, job->logs, &base->err) < 0)
        return;
    /* Last: while it is there, a restart finds the rest and goes on. */
    if (job->record && unlink(job->record) < 0 && errno != ENOENT)
        err_errno(&base->err, errno, "remove %s", job->record);
}

static void remove_done(struct op *op, const char *id, const struct err *e)
{
    struct remove_job *job = op->job;

    job->done(op, id, e);
    record_idle(op->pod);
    err_clear(&job->base.err);
    free(job->record);
    volumes_place_clear(&job->volumes);
    free(job->logs);
    free(job);
}

void store_remove(struct declared *d,
                  void (*done)(struct op *op, const char *id, const struct err *e))
{
    struct remove_job *job = xnew(struct remove_job);

    job->base.work = remove_work;
    job->record = d->superseded || !d->manifest || d->replaced_by ? NULL : record_path(d);
    d->record_busy = job->record != NULL;
    job->volumes = declared_volumes_place(d);
    job->logs = declared_log_dir(d);
    job->done = done;
    struct op *op = op_new(d, NULL, remove_done, job);
    op_work(d->node->config.loop, op, &job->base);
}

/* ---- Reading -----------------------------------------------------------------------------------
 */

static int64_t get_int(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static void read_members(struct declared *d, const json_t *containers)
{
    for (size_t i = 0; i < d->n_members; i++) {
        struct member *m = &d->members[i];
        const json_t *saved = json_object_get(containers, m->spec->name);
        m->attempt = (uint32_t)get_int(saved, "attempt");
        m->crash.delay_ns = get_int(saved, "crash_delay");
        m->crash.updated_at = get_int(saved, "crash_at");
    }
}

static void read_state(struct declared *d, const json_t *record)
{
    const char *finished = json_string_value(json_object_get(record, "finished"));

    d->created_at = get_int(record, "created_at");
    d->sandbox_attempt = (uint32_t)get_int(record, "sandbox_attempt");
    d->first_id = (uint32_t)get_int(record, "first_id");
    d->source = xstrdup(json_string_value(json_object_get(record, "source")));
    d->deleting = json_is_true(json_object_get(record, "deleting"));
    if (d->deleting)
        d->grace = get_int(record, "grace");
    d->evicted = xstrdup(json_string_value(json_object_get(record, "evicted")));
    d->expired = json_is_true(json_object_get(record, "expired"));
    if (finished) {
        d->finished = true;
        d->final_phase = str_equal(finished, "Succeeded") ? PHASE_SUCCEEDED : PHASE_FAILED;
    }
    d->saved = true;
    read_members(d, json_object_get(record, "containers"));
}

/* One that cannot be read any more is left out: it cannot be started again anyway. */
static void read_ephemeral(struct declared *d, const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *json = json_string_value(json_array_get(list, i));
        _cleanup_err_ struct err e = ERR_INIT;
        if (json && ephemeral_load(d, json, &e) < 0)
            log_warn("node", d->key, "an ephemeral container is forgotten: %s", err_text(&e));
    }
}

static void read_before(struct declared *d, const json_t *uids)
{
    for (size_t i = 0; i < json_array_size(uids); i++) {
        const char *uid = json_string_value(json_array_get(uids, i));
        if (!str_empty(uid) && !strchr(uid, '/') && !map_get(d->node->uids, uid))
            declared_new_remains(d->node, d->namespace_, d->name, uid);
    }
}

/* The record's manifest, decoded by the same rules as when it was applied. */
static int read_manifest(const json_t *record, const char *path, struct pod_manifest **ret,
                         struct err *e)
{
    char *text = json_dumps(json_object_get(record, "manifest"), JSON_COMPACT | JSON_SORT_KEYS);
    struct manifests found = {0};

    if (!text)
        return err_set(e, ERR_DATA_LOSS, "%s holds no manifest", path);
    int r = manifests_parse(text, strlen(text), path, "default", &found, e);
    free(text);
    if (r < 0)
        return -1;
    *ret = take_ptr(found.items[0]);
    manifests_free(&found);
    return 0;
}

static int read_record(struct node *n, const json_t *record, const char *path, struct err *e)
{
    const char *namespace_ = json_string_value(json_object_get(record, "namespace"));
    const char *name = json_string_value(json_object_get(record, "name"));
    const char *uid = json_string_value(json_object_get(record, "uid"));
    struct pod_manifest *manifest = NULL;

    if (get_int(record, "version") != RECORD_VERSION)
        return err_set(e, ERR_DATA_LOSS, "%s is of version %lld, this podd knows version %d", path,
                       (long long)get_int(record, "version"), RECORD_VERSION);
    if (str_empty(namespace_) || str_empty(name) || str_empty(uid) || strchr(uid, '/'))
        return err_set(e, ERR_DATA_LOSS, "%s names no pod", path);
    if (read_manifest(record, path, &manifest, e) < 0)
        return -1;
    if (!str_equal(manifest->metadata->name, name) ||
        !str_equal(manifest->metadata->namespace_, namespace_)) {
        pod_manifest_free(manifest);
        return err_set(e, ERR_DATA_LOSS, "%s names one pod and holds the manifest of another",
                       path);
    }
    struct declared *d = declared_new(n, namespace_, name, uid);
    declared_set_manifest(d, manifest);
    read_state(d, record);
    declared_publish(d);
    read_before(d, json_object_get(record, "before"));
    read_ephemeral(d, json_object_get(record, "ephemeral"));
    return 0;
}

static int read_file(struct node *n, const char *path, struct err *e)
{
    _cleanup_bytes_ struct bytes text = {0};
    json_error_t fault;

    if (file_read(AT_FDCWD, path, RECORD_SIZE_MAX, &text, e) < 0)
        return -1;
    json_t *record = json_loadb((char *)text.data, text.len, JSON_REJECT_DUPLICATES, &fault);
    if (!record)
        return err_set(e, ERR_DATA_LOSS, "%s:%d:%d: %s", path, fault.line, fault.column,
                       fault.text);
    int r = read_record(n, record, path, e);
    json_decref(record);
    return r;
}

/* A broken record must not keep the other pods down; it is kept for whoever wants to mend it. */
void store_set_aside(const char *path, const struct err *why)
{
    _cleanup_free_ char *aside = xasprintf("%s.broken", path);

    log_error("node", NULL, "what was declared cannot be read and is set aside as %s: %s", aside,
              err_text(why));
    if (rename(path, aside) < 0)
        log_error("node", NULL, "rename %s: %m", path);
}

int store_load(struct node *n, struct err *e)
{
    _cleanup_free_ char *dir = record_dir(n);
    if (dir_ensure(dir, 0700, e) < 0)
        return -1;
    DIR *stream = opendir(dir);
    if (!stream)
        return err_errno(e, errno, "open %s", dir);
    for (struct dirent *entry; (entry = readdir(stream));) {
        _cleanup_free_ char *path = xasprintf("%s/%s", dir, entry->d_name);
        _cleanup_err_ struct err why = ERR_INIT;
        if (str_ends_with(entry->d_name, ".json") && entry->d_name[0] != '.' &&
            read_file(n, path, &why) < 0)
            store_set_aside(path, &why);
    }
    closedir(stream);
    return 0;
}
