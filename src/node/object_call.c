/*
 * object_call.c - the calls of podd.v1 about Namespaces, ConfigMaps and Secrets.
 */
#include "object.h"
#include "static.h"

#include <jansson.h>

/* ---- Answers -----------------------------------------------------------------------------------
 */

static Podd__V1__Object__LabelsEntry **labels_message(const struct pair_list *pairs, size_t *ret_n)
{
    Podd__V1__Object__LabelsEntry **entries = xcalloc(pairs->count + 1, sizeof(*entries));

    for (size_t i = 0; i < pairs->count; i++) {
        entries[i] = xmalloc(sizeof(**entries));
        podd__v1__object__labels_entry__init(entries[i]);
        entries[i]->key = xstrdup(pairs->items[i].key);
        entries[i]->value = xstrdup(pairs->items[i].value);
    }
    *ret_n = pairs->count;
    return entries;
}

static Podd__V1__Object__AnnotationsEntry **annotations_message(const struct pair_list *pairs,
                                                                size_t *ret_n)
{
    Podd__V1__Object__AnnotationsEntry **entries = xcalloc(pairs->count + 1, sizeof(*entries));

    for (size_t i = 0; i < pairs->count; i++) {
        entries[i] = xmalloc(sizeof(**entries));
        podd__v1__object__annotations_entry__init(entries[i]);
        entries[i]->key = xstrdup(pairs->items[i].key);
        entries[i]->value = xstrdup(pairs->items[i].value);
    }
    *ret_n = pairs->count;
    return entries;
}

static void add_keys(const struct object_manifest *m, const struct pair_list *pairs,
                     Podd__V1__Object *to)
{
    for (size_t i = 0; i < pairs->count; i++) {
        struct bytes value = {0};
        Podd__V1__ObjectKey **slot = array_push(&to->keys, &to->n_keys, sizeof(*slot));
        *slot = xmalloc(sizeof(**slot));
        podd__v1__object_key__init(*slot);
        (*slot)->name = xstrdup(pairs->items[i].key);
        if (object_value(m, pairs->items[i].key, &value))
            (*slot)->size = value.len;
        object_value_free(&value);
    }
}

/* The manifest as everybody may see it. Caller frees. */
static char *shown_json(const struct object_manifest *m)
{
    if (m->kind != OBJECT_SECRET)
        return xstrdup(m->json);
    json_t *json = json_loads(m->json, 0, NULL);
    json_object_del(json, "data");
    char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(json);
    if (!text)
        abort(); /* out of memory */
    return text;
}

static Podd__V1__Object *object_message(const struct object *o)
{
    const struct object_manifest *m = o->manifest;
    Podd__V1__Object *to = xmalloc(sizeof(*to));

    podd__v1__object__init(to);
    to->kind = xstrdup(object_kind_name(m->kind));
    to->namespace_ = xstrdup(m->metadata->namespace_ ? m->metadata->namespace_ : "");
    to->name = xstrdup(m->metadata->name);
    to->uid = xstrdup(m->uid);
    to->labels = labels_message(&m->metadata->labels, &to->n_labels);
    to->annotations = annotations_message(&m->metadata->annotations, &to->n_annotations);
    to->resource_version = o->version;
    to->created_at = m->created_at;
    to->manifest = shown_json(m);
    add_keys(m, &m->data, to);
    add_keys(m, &m->binary_data, to);
    if (m->kind == OBJECT_SECRET)
        to->type = xstrdup(m->type ? m->type : "Opaque");
    to->immutable = m->immutable.value;
    to->terminating = o->deleting;
    return to;
}

/* ---- Finding -----------------------------------------------------------------------------------
 */

/* NULL: the call was answered. */
static struct object *find_or_fail(struct node *n, struct rpc_call *call, const char *kind_name,
                                   const char *namespace_, const char *name)
{
    enum object_kind kind = object_kind_parse(kind_name);

    if (kind == OBJECT_KIND_COUNT) {
        call_fail(call, ERR_INVALID_ARGUMENT,
                  "kind must be Namespace, ConfigMap or Secret, not \"%s\"", kind_name);
        return NULL;
    }
    struct object *o = object_find(n, kind, namespace_or_default(namespace_), name);
    if (o)
        return o;
    if (kind == OBJECT_NAMESPACE)
        call_fail(call, ERR_NOT_FOUND, "there is no declared Namespace %s", name);
    else
        call_fail(call, ERR_NOT_FOUND, "there is no %s %s/%s", kind_name,
                  namespace_or_default(namespace_), name);
    return NULL;
}

void object_call_get(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const Podd__V1__GetObjectRequest *request = (const Podd__V1__GetObjectRequest *)message;
    Podd__V1__GetObjectResponse response = PODD__V1__GET_OBJECT_RESPONSE__INIT;
    const struct object *o =
        find_or_fail(ctx, call, request->kind, request->namespace_, request->name);

    if (!o)
        return;
    response.object = object_message(o);
    rpc_reply(call, &response.base);
    podd__v1__object__free_unpacked(response.object, NULL);
}

static bool is_selected(const struct object *o, const Podd__V1__ListObjectsRequest *request)
{
    const struct pod_metadata *metadata = o->manifest->metadata;

    if (!str_empty(request->kind) && !str_equal(request->kind, object_kind_name(o->manifest->kind)))
        return false;
    if (!str_empty(request->namespace_) && !str_equal(request->namespace_, metadata->namespace_))
        return false;
    for (size_t i = 0; i < request->n_label_selector; i++)
        if (!pairs_have(&metadata->labels, request->label_selector[i]->key,
                        request->label_selector[i]->value))
            return false;
    return true;
}

void object_call_list(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    struct node *n = ctx;
    const Podd__V1__ListObjectsRequest *request = (const Podd__V1__ListObjectsRequest *)message;
    Podd__V1__ListObjectsResponse response = PODD__V1__LIST_OBJECTS_RESPONSE__INIT;

    list_for_each (it, &n->object_list) {
        const struct object *o = container_of(it, struct object, item);
        if (!is_selected(o, request))
            continue;
        Podd__V1__Object **slot = array_push(&response.objects, &response.n_objects, sizeof(*slot));
        *slot = object_message(o);
    }
    response.resource_version = n->version;
    rpc_reply(call, &response.base);
    for (size_t i = 0; i < response.n_objects; i++)
        podd__v1__object__free_unpacked(response.objects[i], NULL);
    free(response.objects);
}

/* ---- Secrets -----------------------------------------------------------------------------------
 */

void object_call_secret_data(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const Podd__V1__GetSecretDataRequest *request = (const Podd__V1__GetSecretDataRequest *)message;
    Podd__V1__GetSecretDataResponse response = PODD__V1__GET_SECRET_DATA_RESPONSE__INIT;
    const struct object *o = find_or_fail(ctx, call, "Secret", request->namespace_, request->name);

    if (!o)
        return;
    const struct pair_list *data = &o->manifest->data;
    Podd__V1__GetSecretDataResponse__DataEntry *entries =
        xcalloc(data->count + 1, sizeof(*entries));
    response.data = xcalloc(data->count + 1, sizeof(*response.data));
    for (size_t i = 0; i < data->count; i++) {
        struct bytes value = {0};
        if (!object_value(o->manifest, data->items[i].key, &value))
            continue;
        podd__v1__get_secret_data_response__data_entry__init(&entries[i]);
        entries[i].key = data->items[i].key;
        entries[i].value = (ProtobufCBinaryData){value.len, value.data};
        response.data[response.n_data++] = &entries[i];
    }
    rpc_reply(call, &response.base);
    for (size_t i = 0; i < response.n_data; i++)
        object_value_free(
            &(struct bytes){response.data[i]->value.data, response.data[i]->value.len});
    free(response.data);
    free(entries);
}

/* ---- Deleting ----------------------------------------------------------------------------------
 */

static void deleted(struct op *op, const char *id, const struct err *e)
{
    const Podd__V1__DeleteObjectResponse response = PODD__V1__DELETE_OBJECT_RESPONSE__INIT;
    struct object *o = op->job;

    o->busy = false;
    calls_answer(&o->waiting, &response.base, e);
    if (e->code != ERR_OK)
        return;
    log_info("node", o->key, "is deleted");
    op->node->version++;
    object_free(o);
    namespaces_check(op->node);
}

/* A file's pods cannot be deleted with their namespace: the file would still declare them. */
static int check_pods(struct node *n, const struct object *namespace_, struct err *e)
{
    list_for_each (it, &n->declared) {
        const struct declared *d = container_of(it, struct declared, item);
        if (str_equal(d->namespace_, namespace_->manifest->metadata->name) &&
            declared_is_current(d) && static_check_owner(d, e) < 0)
            return -1;
    }
    return 0;
}

void object_call_delete(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const Podd__V1__DeleteObjectRequest *request = (const Podd__V1__DeleteObjectRequest *)message;
    struct object *o = find_or_fail(ctx, call, request->kind, request->namespace_, request->name);
    _cleanup_err_ struct err e = ERR_INIT;

    if (!o)
        return;
    if (o->manifest->kind == OBJECT_NAMESPACE && check_pods(ctx, o, &e) < 0) {
        rpc_fail(call, &e);
        return;
    }
    if (o->busy && !o->deleting) {
        call_fail(call, ERR_ABORTED, "%s is being changed by another call; try again", o->key);
    } else if (o->manifest->kind == OBJECT_NAMESPACE) {
        namespace_delete(o, call, !request->no_wait);
    } else {
        calls_add(&o->waiting, call);
        object_remove(o, deleted, o);
    }
}
