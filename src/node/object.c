/*
 * object.c - the table of objects, what may change in one, and the end of a namespace.
 */
#include "object.h"

static char *object_key(enum object_kind kind, const char *namespace_, const char *name)
{
    return xasprintf("%s/%s/%s", object_kind_name(kind), namespace_ ? namespace_ : "", name);
}

struct object *object_find(struct node *n, enum object_kind kind, const char *namespace_,
                           const char *name)
{
    _cleanup_free_ char *key = object_key(kind, kind == OBJECT_NAMESPACE ? NULL : namespace_, name);

    return map_get(n->objects, key);
}

static const struct object_manifest *find_for_pod(void *arg, enum object_kind kind,
                                                  const char *name)
{
    const struct declared *d = arg;
    const struct object *o = object_find(d->node, kind, d->namespace_, name);

    return o ? o->manifest : NULL;
}

struct object_source declared_objects(struct declared *d)
{
    return (struct object_source){.find = find_for_pod, .arg = d};
}

/* ---- Changing ----------------------------------------------------------------------------------
 */

static bool uses_namespace(const struct declared *d, const struct object_manifest *m)
{
    return d->manifest && !d->deleting && m->kind != OBJECT_NAMESPACE &&
           str_equal(d->namespace_, m->metadata->namespace_);
}

/* What waits for something of this namespace need not wait for its next try. */
static void wake_pods(struct node *n, const struct object_manifest *m)
{
    list_for_each (it, &n->declared) {
        struct declared *d = container_of(it, struct declared, item);
        if (!uses_namespace(d, m))
            continue;
        declared_objects_changed(d);
    }
}

struct object *object_install(struct node *n, struct object_manifest *manifest_take)
{
    _cleanup_free_ char *key = object_key(manifest_take->kind, manifest_take->metadata->namespace_,
                                          manifest_take->metadata->name);
    struct object *o = map_get(n->objects, key);

    if (!o) {
        o = xnew(struct object);
        o->node = n;
        o->key = take_ptr(key);
        map_put(n->objects, o->key, o);
        list_append(&n->object_list, &o->item);
    }
    object_manifest_free(o->manifest);
    o->manifest = manifest_take;
    o->version = ++n->version;
    wake_pods(n, o->manifest);
    return o;
}

void object_free(struct object *o)
{
    map_remove(o->node->objects, o->key);
    list_remove(&o->item);
    object_manifest_free(o->manifest);
    free(o->key);
    free(o);
}

void objects_close(struct node *n)
{
    while (!list_empty(&n->object_list)) {
        struct object *o = container_of(n->object_list.next, struct object, item);
        _cleanup_err_ struct err e = ERR_INIT;
        err_set(&e, ERR_UNAVAILABLE,
                "podd is stopping; the namespace is deleted when it runs again");
        calls_answer(&o->waiting, NULL, &e);
        calls_answer(&o->marking, NULL, &e);
        object_free(o);
    }
}

int object_check_change(const struct object *before, const struct object_manifest *m, struct err *e)
{
    const struct object_manifest *now = before->manifest;

    if (!str_equal(now->type ? now->type : "Opaque", m->type ? m->type : "Opaque"))
        return err_set(e, ERR_FAILED_PRECONDITION,
                       "%s: the type of a Secret cannot change; delete it first", before->key);
    if (!now->immutable.value)
        return 0;
    if (!m->immutable.value || !object_same_data(now, m))
        return err_set(e, ERR_FAILED_PRECONDITION,
                       "%s is immutable; delete it first, or use another name", before->key);
    return 0;
}

/* ---- The end of a namespace --------------------------------------------------------------------
 */

bool namespace_is_ending(struct node *n, const char *namespace_)
{
    const struct object *o = object_find(n, OBJECT_NAMESPACE, NULL, namespace_);

    return o && o->deleting;
}

static const Podd__V1__DeleteObjectResponse deleted_response =
    PODD__V1__DELETE_OBJECT_RESPONSE__INIT;

static void namespace_removed(struct op *op, const char *id, const struct err *e)
{
    struct object *o = op->job;

    o->busy = false;
    calls_answer(&o->waiting, &deleted_response.base, e);
    if (e->code != ERR_OK) {
        log_error("node", o->key, "%s", err_text(e));
        return;
    }
    log_info("node", o->key, "is deleted");
    o->node->version++;
    object_free(o);
}

static void content_removed(struct op *op, const char *id, const struct err *e)
{
    struct object *gone = op->job;

    gone->busy = false;
    if (e->code != ERR_OK) {
        log_error("node", gone->key, "%s", err_text(e));
        return;
    }
    object_free(gone);
    namespaces_check(op->node);
}

static bool delete_pods(struct node *n, const char *namespace_)
{
    bool any = false;

    list_for_each (it, &n->declared) {
        struct declared *d = container_of(it, struct declared, item);
        if (!str_equal(d->namespace_, namespace_))
            continue;
        any = true;
        if (!d->deleting)
            declared_delete(d, -1);
    }
    return any;
}

static struct object *any_content(struct node *n, const char *namespace_)
{
    list_for_each (it, &n->object_list) {
        struct object *o = container_of(it, struct object, item);
        if (o->manifest->kind != OBJECT_NAMESPACE &&
            str_equal(o->manifest->metadata->namespace_, namespace_))
            return o;
    }
    return NULL;
}

static void namespace_sync(struct object *o)
{
    const char *name = o->manifest->metadata->name;
    bool pods_left = delete_pods(o->node, name);
    struct object *content = any_content(o->node, name);

    if (o->busy || pods_left || (content && content->busy))
        return; /* whatever ends comes back here */
    if (content)
        object_remove(content, content_removed, content);
    else
        object_remove(o, namespace_removed, o);
}

static void marked(struct op *op, const char *id, const struct err *e)
{
    struct object *o = op->job;

    o->busy = false;
    if (e->code != ERR_OK) /* ending it counts more than the mark */
        log_error("node", o->key, "%s", err_text(e));
    o->marked = true;
    calls_answer(&o->marking, &deleted_response.base, e);
    namespace_sync(o);
}

void namespace_delete(struct object *o, struct rpc_call *call, bool wait)
{
    if (!wait && o->marked)
        rpc_reply(call, &deleted_response.base);
    else
        calls_add(wait ? &o->waiting : &o->marking, call);
    if (o->deleting)
        return;
    o->deleting = o->busy = true;
    o->version = ++o->node->version;
    objects_save(o->node, &o->manifest, 1, marked, o);
}

void namespaces_check(struct node *n)
{
    list_for_each_safe (it, &n->object_list) {
        struct object *o = container_of(it, struct object, item);
        if (o->deleting)
            namespace_sync(o);
    }
}
