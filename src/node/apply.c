/*
 * apply.c - the Apply call: all documents of all files are read and checked, then the objects that
 * pods refer to are written, then all pods are declared, and the answer comes when their records
 * are on disk.
 *
 * The same again changes nothing. Other labels or annotations are taken over in place. Anything
 * else makes a new pod of the same name, which waits until the one before it has ended; that one is
 * told to end only when the new record is on disk, so that no crash leaves neither. Several calls
 * are served one after the other. A dry run goes as far as the checks, and says what it would do.
 */
#include "diff.h"
#include "object.h"
#include "static.h"

#include <jansson.h>

struct apply {
    struct list item; /* of node->applies; the first is under way */
    struct node *node;
    struct rpc_call *call; /* NULL: a file's */
    const Podd__V1__ApplyRequest *request;
    struct file_apply *file; /* NULL: a call's */
    struct manifests found;
    struct object_manifest **changed; /* of found.objects: what has to be written */
    size_t n_changed;
    struct err failed;
    size_t pending;
    Podd__V1__Applied **applied;
    size_t n_applied;
};

/* Of a file in the directory of manifests: no call asks, and none is answered. */
struct file_apply {
    Podd__V1__ApplyRequest request;
    char *name;
    void (*done)(void *arg, const struct err *e);
    void *arg;
};

/* ---- The answer --------------------------------------------------------------------------------
 */

static void apply_next(struct node *n);

static void answer_call(const struct apply *a)
{
    Podd__V1__ApplyResponse response = PODD__V1__APPLY_RESPONSE__INIT;

    response.objects = a->applied;
    response.n_objects = a->n_applied;
    if (a->failed.code != ERR_OK)
        rpc_fail(a->call, &a->failed);
    else
        rpc_reply(a->call, &response.base);
}

static void answer_file(struct file_apply *file, const struct err *failed)
{
    file->done(file->arg, failed);
    free(file->request.manifest.data);
    free(file->name);
    free(file);
}

static void apply_free(struct apply *a)
{
    if (a->call)
        answer_call(a);
    else
        answer_file(a->file, &a->failed);
    for (size_t i = 0; i < a->n_applied; i++)
        podd__v1__applied__free_unpacked(a->applied[i], NULL);
    free(a->applied);
    free(a->changed);
    manifests_free(&a->found);
    err_clear(&a->failed);
    list_remove(&a->item);
    free(a);
}

static void apply_end(struct apply *a)
{
    struct node *n = a->node;

    if (--a->pending > 0)
        return;
    apply_free(a);
    if (!list_empty(&n->applies))
        apply_next(n);
}

static Podd__V1__Applied *add_answer(struct apply *a, const char *kind,
                                     const struct pod_metadata *metadata,
                                     Podd__V1__Applied__Action action)
{
    Podd__V1__Applied **slot = array_push(&a->applied, &a->n_applied, sizeof(*a->applied));

    *slot = xmalloc(sizeof(**slot));
    podd__v1__applied__init(*slot);
    (*slot)->kind = xstrdup(kind);
    (*slot)->namespace_ = xstrdup(metadata->namespace_ ? metadata->namespace_ : "");
    (*slot)->name = xstrdup(metadata->name);
    (*slot)->action = action;
    return *slot;
}

/* ---- Declaring ---------------------------------------------------------------------------------
 */

static void unlink_replaced(struct declared *d)
{
    if (d->replaces)
        d->replaces->replaced_by = NULL;
    d->replaces = NULL;
}

/* It could not be written: as if it had never been declared. */
static void take_back(struct declared *d, const struct err *e)
{
    struct declared *before = d->replaces;

    unlink_replaced(d);
    if (before && before->write_again)
        store_save(before);
    d->superseded = d->deleting = d->saved = true; /* nothing of it is on disk */
    log_error("node", d->key, "was not declared: %s", err_text(e));
    declared_kick(d);
}

/* Nobody writes its record any more: whoever waits for that is told. */
static void drop_save(struct declared *d)
{
    void (*on_saved)(struct declared *, const struct err *, void *) = take_ptr(d->on_saved);
    _cleanup_err_ struct err e = ERR_INIT;

    if (!on_saved)
        return;
    err_set(&e, ERR_ABORTED, "pod %s was replaced meanwhile", d->key);
    on_saved(d, &e, d->on_saved_arg);
}

/* The name is this pod's from now on; the one before it ends. */
static void take_over(struct declared *d)
{
    struct declared *before = d->replaces;

    unlink_replaced(d);
    if (before) {
        watch_deleted(before);
        before->superseded = before->saved = true;
        drop_save(before);
        before->successor = d;
        d->blockers++;
        declared_delete(before, -1);
    }
    declared_publish(d);
    d->saved = true;
    log_info("node", d->key, "declared%s", before ? ", in place of the one before" : "");
    declared_touch(d);
}

static void declared_saved(struct declared *d, const struct err *e, void *arg)
{
    struct apply *a = arg;

    if (e->code == ERR_OK)
        take_over(d);
    else
        take_back(d, e);
    if (e->code != ERR_OK && a->failed.code == ERR_OK)
        err_copy(&a->failed, e);
    apply_end(a);
}

/* The file that the pod is declared by from now on. A call may restart a file's pod, no more. */
static const char *source_of(const struct apply *a, const struct declared *before)
{
    if (a->file)
        return a->file->name;
    return before && !before->deleting ? before->source : NULL;
}

static void declare(struct node *n, struct apply *a, struct pod_manifest *manifest_take,
                    struct declared *before)
{
    _cleanup_free_ char *uid = uid_new();
    struct declared *d =
        declared_new(n, manifest_take->metadata->namespace_, manifest_take->metadata->name, uid);

    add_answer(a, "Pod", manifest_take->metadata,
               before && !before->deleting ? PODD__V1__APPLIED__ACTION__CONFIGURED
                                           : PODD__V1__APPLIED__ACTION__CREATED);
    declared_set_manifest(d, manifest_take);
    d->source = xstrdup(source_of(a, before));
    if (spec_has_user_namespace(d->manifest->spec))
        d->first_id = id_range_choose(n);
    d->replaces = before;
    if (before)
        before->replaced_by = d;
    d->on_saved = declared_saved;
    d->on_saved_arg = a;
    a->pending++;
    store_save(d);
}

static bool same_spec(const struct pod_manifest *a, const struct pod_manifest *b)
{
    json_t *x = json_loads(a->json, 0, NULL), *y = json_loads(b->json, 0, NULL);
    bool same = json_equal(json_object_get(x, "spec"), json_object_get(y, "spec"));

    json_decref(x);
    json_decref(y);
    return same;
}

static void relabelled(struct declared *d, const struct err *e, void *arg)
{
    struct apply *a = arg;

    d->saved = true;
    if (e->code != ERR_OK && a->failed.code == ERR_OK)
        err_copy(&a->failed, e);
    apply_end(a);
}

/* New labels and annotations, or another file that declares it; the containers go on. */
static void relabel(struct apply *a, struct declared *d, struct pod_manifest *manifest_take)
{
    struct pod_manifest *m = d->manifest;
    struct pod_metadata *metadata = m->metadata;
    char *json = m->json;

    add_answer(a, "Pod", manifest_take->metadata, PODD__V1__APPLIED__ACTION__CONFIGURED);
    m->metadata = manifest_take->metadata;
    m->json = manifest_take->json;
    manifest_take->metadata = metadata;
    manifest_take->json = json;
    pod_manifest_free(manifest_take);
    char *source = xstrdup(source_of(a, d));
    free(d->source);
    d->source = source;
    a->pending++;
    d->on_saved = relabelled;
    d->on_saved_arg = a;
    declared_touch(d);
    store_save(d);
    volumes_refresh(d);
}

static void apply_pod(struct node *n, struct apply *a, struct pod_manifest *manifest_take)
{
    struct declared *d =
        declared_find(n, manifest_take->metadata->namespace_, manifest_take->metadata->name);

    if (!d || d->deleting || a->request->restart || !same_spec(d->manifest, manifest_take)) {
        declare(n, a, manifest_take, d);
    } else if (str_equal(d->manifest->json, manifest_take->json) &&
               str_equal(d->source, source_of(a, d))) {
        add_answer(a, "Pod", manifest_take->metadata, PODD__V1__APPLIED__ACTION__UNCHANGED);
        pod_manifest_free(manifest_take);
    } else {
        relabel(a, d, manifest_take);
    }
}

static void apply_pods(struct apply *a)
{
    for (size_t i = 0; i < a->found.count; i++)
        apply_pod(a->node, a, take_ptr(a->found.items[i]));
}

/* ---- Objects -----------------------------------------------------------------------------------
 */

static struct object *find_object(struct apply *a, const struct object_manifest *m)
{
    return object_find(a->node, m->kind, m->metadata->namespace_, m->metadata->name);
}

static void objects_saved(struct op *op, const char *id, const struct err *e)
{
    struct apply *a = op->job;

    for (size_t i = 0; i < a->n_changed; i++) {
        struct object *o = find_object(a, a->changed[i]);
        if (o)
            o->busy = false;
        if (e->code == ERR_OK)
            object_install(op->node, a->changed[i]);
        else
            object_manifest_free(a->changed[i]);
    }
    if (e->code == ERR_OK)
        apply_pods(a);
    else
        err_copy(&a->failed, e);
    apply_end(a);
}

/* Writes those that are new or other than before; the pods follow. */
static void apply_objects(struct apply *a)
{
    for (size_t i = 0; i < a->found.n_objects; i++) {
        struct object_manifest *m = a->found.objects[i];
        struct object *o = find_object(a, m);
        bool same = o && str_equal(o->manifest->json, m->json);
        add_answer(a, object_kind_name(m->kind), m->metadata,
                   !o     ? PODD__V1__APPLIED__ACTION__CREATED
                   : same ? PODD__V1__APPLIED__ACTION__UNCHANGED
                          : PODD__V1__APPLIED__ACTION__CONFIGURED);
        if (same)
            continue;
        if (o)
            o->busy = true;
        struct object_manifest **slot = array_push(&a->changed, &a->n_changed, sizeof(*slot));
        *slot = take_ptr(a->found.objects[i]);
    }
    if (a->n_changed == 0) {
        apply_pods(a);
        return;
    }
    a->pending++;
    objects_save(a->node, a->changed, a->n_changed, objects_saved, a);
}

/* ---- A dry run ---------------------------------------------------------------------------------
 */

static Podd__V1__Applied__Action action_of(const char *before, const char *after)
{
    if (!before)
        return PODD__V1__APPLIED__ACTION__CREATED;
    return str_equal(before, after) ? PODD__V1__APPLIED__ACTION__UNCHANGED
                                    : PODD__V1__APPLIED__ACTION__CONFIGURED;
}

static void preview(struct apply *a)
{
    for (size_t i = 0; i < a->found.n_objects; i++) {
        const struct object_manifest *m = a->found.objects[i];
        const struct object *o = find_object(a, m);
        const char *before = o ? o->manifest->json : NULL;
        Podd__V1__Applied *to =
            add_answer(a, object_kind_name(m->kind), m->metadata, action_of(before, m->json));
        diff_manifests(before, m->json, m->kind == OBJECT_SECRET, &to->changes, &to->n_changes);
    }
    for (size_t i = 0; i < a->found.count; i++) {
        const struct pod_manifest *m = a->found.items[i];
        const struct declared *d =
            declared_find(a->node, m->metadata->namespace_, m->metadata->name);
        const char *before = d && !d->deleting ? d->manifest->json : NULL;
        Podd__V1__Applied *to = add_answer(a, "Pod", m->metadata, action_of(before, m->json));
        to->replaces = before && (a->request->restart || !same_spec(d->manifest, m));
        diff_manifests(before, m->json, false, &to->changes, &to->n_changes);
    }
}

/* ---- The whole ---------------------------------------------------------------------------------
 */

static int read_files(struct apply *a, struct err *e)
{
    const Podd__V1__ApplyRequest *r = a->request;

    if (r->manifest.len == 0 && r->n_files == 0)
        return err_set(e, ERR_INVALID_ARGUMENT, "there is no manifest in this request");
    if (r->manifest.len > 0 && manifests_parse(r->manifest.data, r->manifest.len, r->file_name,
                                               r->namespace_, &a->found, e) < 0)
        return -1;
    for (size_t i = 0; i < r->n_files; i++)
        if (manifests_parse(r->files[i]->manifest.data, r->files[i]->manifest.len,
                            r->files[i]->file_name, r->namespace_, &a->found, e) < 0)
            return -1;
    return 0;
}

static int check_namespace(struct node *n, const struct pod_metadata *metadata, struct err *e)
{
    const char *name = metadata->namespace_ ? metadata->namespace_ : metadata->name;

    if (!namespace_is_ending(n, name))
        return 0;
    return err_set(e, ERR_FAILED_PRECONDITION,
                   "namespace %s is being deleted; apply again when it is gone", name);
}

/* What a file declares is the file's to change; the same again, and a restart of it, are fine. */
static int check_pod(struct apply *a, const struct pod_manifest *m, struct err *e)
{
    const struct declared *d = declared_find(a->node, m->metadata->namespace_, m->metadata->name);

    if (a->file || !d || str_equal(d->manifest->json, m->json))
        return 0;
    return static_check_owner(d, e);
}

/* What is wrong with the objects beside those that are there already. */
static int check_found(struct apply *a, struct err *e)
{
    for (size_t i = 0; i < a->found.n_objects; i++) {
        const struct object_manifest *m = a->found.objects[i];
        const struct object *o = find_object(a, m);
        if (check_namespace(a->node, m->metadata, e) < 0)
            return -1;
        if (o && o->busy)
            return err_set(e, ERR_ABORTED, "%s is being deleted; apply again when it is gone",
                           o->key);
        if (o && object_check_change(o, m, e) < 0)
            return -1;
    }
    for (size_t i = 0; i < a->found.count; i++)
        if (check_namespace(a->node, a->found.items[i]->metadata, e) < 0 ||
            check_pod(a, a->found.items[i], e) < 0)
            return -1;
    return 0;
}

static int apply_begin(struct apply *a, struct err *e)
{
    if (a->node->halted)
        return err_set(e, ERR_FAILED_PRECONDITION,
                       "podd is stopping its pods; declare pods when it runs again");
    if (read_files(a, e) < 0 || check_found(a, e) < 0)
        return -1;
    if (a->request->dry_run)
        preview(a);
    else
        apply_objects(a);
    return 0;
}

static void apply_next(struct node *n)
{
    struct apply *a = container_of(n->applies.next, struct apply, item);

    a->pending = 1;
    if (apply_begin(a, &a->failed) < 0)
        log_debug("node", NULL, "apply: %s", err_text(&a->failed));
    apply_end(a);
}

static void apply_add(struct node *n, struct apply *a)
{
    a->node = n;
    list_append(&n->applies, &a->item);
    if (n->applies.next == &a->item)
        apply_next(n);
}

void apply_run(struct node *n, struct rpc_call *call, const Podd__V1__ApplyRequest *request)
{
    struct apply *a = xnew(struct apply);

    a->call = call;
    a->request = request;
    apply_add(n, a);
}

void apply_file(struct node *n, const char *name, const struct bytes *text,
                void (*done)(void *arg, const struct err *e), void *arg)
{
    struct apply *a = xnew(struct apply);
    struct file_apply *file = xnew(struct file_apply);

    podd__v1__apply_request__init(&file->request);
    file->name = xstrdup(name);
    file->request.file_name = file->name;
    file->request.namespace_ = (char *)"default";
    file->request.manifest.data = xmemdup(text->data, text->len);
    file->request.manifest.len = text->len;
    file->done = done;
    file->arg = arg;
    a->file = file;
    a->request = &file->request;
    apply_add(n, a);
}

void applies_close(struct node *n)
{
    while (!list_empty(&n->applies)) {
        struct apply *a = container_of(n->applies.next, struct apply, item);
        if (a->failed.code == ERR_OK)
            err_set(&a->failed, ERR_UNAVAILABLE, "podd is stopping");
        a->pending = 0;
        apply_free(a);
    }
}
