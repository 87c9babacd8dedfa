/*
 * manifest.c - from the bytes of a file to checked manifests.
 *
 * The YAML reader (JSON is YAML) gives one tree per document; the kind chooses the table; the
 * cross-checks follow. A List is one document with many objects. Everything is read before anything
 * is handed out, so that a fault in the last document leaves the first without effect.
 */
#include "manifest.h"
#include "names.h"
#include "tree.h"

bool pairs_have(const struct pair_list *pairs, const char *key, const char *value)
{
    for (size_t i = 0; i < pairs->count; i++)
        if (str_equal(pairs->items[i].key, key))
            return str_equal(pairs->items[i].value, value);
    return false;
}

struct manifest_volume *spec_find_volume(const struct pod_spec *s, const char *name)
{
    for (size_t i = 0; i < s->volumes.count; i++)
        if (str_equal(spec_volume(s, i)->name, name))
            return spec_volume(s, i);
    return NULL;
}

const struct manifest_container *spec_find_container(const struct pod_spec *s, const char *name)
{
    for (size_t i = 0; i < s->containers.count; i++)
        if (str_equal(spec_container(s, i)->name, name))
            return spec_container(s, i);
    for (size_t i = 0; i < s->init_containers.count; i++)
        if (str_equal(spec_init_container(s, i)->name, name))
            return spec_init_container(s, i);
    return NULL;
}

struct manifest_port *container_find_port(const struct manifest_container *c, const char *name)
{
    for (size_t i = 0; i < c->ports.count; i++)
        if (str_equal(container_port(c, i)->name, name))
            return container_port(c, i);
    return NULL;
}

void pod_manifest_free(struct pod_manifest *m)
{
    if (!m)
        return;
    decode_clear(&pod_type, m);
    free(m->json);
    free(m);
}

static void free_manifestp(struct pod_manifest **m)
{
    pod_manifest_free(*m);
}

static void free_objectp(struct object_manifest **m)
{
    object_manifest_free(*m);
}

void manifests_free(struct manifests *m)
{
    for (size_t i = 0; i < m->count; i++)
        pod_manifest_free(m->items[i]);
    free(m->items);
    for (size_t i = 0; i < m->n_objects; i++)
        object_manifest_free(m->objects[i]);
    free(m->objects);
    *m = (struct manifests){0};
}

/* ---- The normalised form -----------------------------------------------------------------------
 */

/* A Secret's data as it was merged. */
static void set_data(json_t *json, const struct object_manifest *object)
{
    json_t *data = json_object();

    for (size_t i = 0; i < object->data.count; i++)
        json_object_set_new(data, object->data.items[i].key,
                            json_string(object->data.items[i].value));
    json_object_del(json, "stringData");
    json_object_set_new(json, "data", data);
}

/* What was applied, in one form: without what Kubernetes adds, with the namespace it got. `object`
 * is NULL for a pod. */
static char *manifest_json(const struct yaml_node *document, const char *namespace_,
                           const struct object_manifest *object)
{
    static const char *const added[] = {"creationTimestamp", "generation", "managedFields",
                                        "resourceVersion",   "selfLink",   "uid"};
    json_t *json = tree_to_json(document);
    json_t *metadata = json_object_get(json, "metadata");

    json_object_del(json, "status");
    if (object && object->kind == OBJECT_NAMESPACE)
        json_object_del(json, "spec");
    if (object && object->kind == OBJECT_SECRET &&
        (object->data.count || object->string_data.count))
        set_data(json, object);
    for (size_t i = 0; i < ARRAY_SIZE(added); i++)
        json_object_del(metadata, added[i]);
    if (namespace_)
        json_object_set_new(metadata, "namespace", json_string(namespace_));
    char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(json);
    if (!text)
        abort(); /* out of memory: the tree is valid UTF-8 */
    return text;
}

/* It must be readable again from its record. */
static int check_size(struct decode *d, const struct yaml_node *document, const char *json)
{
    if (strlen(json) <= YAML_MAX_SIZE)
        return 0;
    return decode_fail(d, document,
                       "with its aliases written out, this object is larger than %d KiB",
                       YAML_MAX_SIZE >> 10);
}

/* ---- Kinds -------------------------------------------------------------------------------------
 */

#define KINDS "Pod, Namespace, ConfigMap, Secret and List"

static int fail_kind(struct decode *d, const struct yaml_node *kind)
{
    static const char *const known[] = {"Pod", "Namespace", "ConfigMap", "Secret", "List", NULL};
    const char *closest = str_closest(kind->text, known);

    return decode_fail(
        d, kind, "kind %s is not supported: podd knows objects of kind " KINDS "%s%s%s", kind->text,
        closest ? "; did you mean " : "", closest ? closest : "", closest ? "?" : "");
}

/* NULL: *d->e says what is wrong with the document's kind. */
static const char *check_kind(struct decode *d, const struct yaml_node *document)
{
    const struct yaml_node *version = tree_child(document, "apiVersion");
    const struct yaml_node *kind = tree_child(document, "kind");

    if (tree_type(document) != TREE_MAPPING)
        decode_fail(d, document, "this is no Kubernetes object: a mapping is expected");
    else if (!version || tree_type(version) != TREE_STRING)
        decode_fail(d, version ? version : document, "missing field apiVersion");
    else if (!kind || tree_type(kind) != TREE_STRING)
        decode_fail(d, kind ? kind : document, "missing field kind");
    else if (!str_equal(kind->text, "Pod") && !str_equal(kind->text, "List") &&
             object_kind_parse(kind->text) == OBJECT_KIND_COUNT)
        fail_kind(d, kind);
    else if (!str_equal(version->text, "v1"))
        decode_fail(d, version, "apiVersion of a %s must be v1, not %s", kind->text, version->text);
    else
        return kind->text;
    return NULL;
}

/* ---- Pods --------------------------------------------------------------------------------------
 */

static int check_pod_is_new(struct decode *d, const struct yaml_node *document,
                            const struct manifests *before, const struct pod_manifest *m)
{
    for (size_t i = 0; i < before->count; i++)
        if (str_equal(before->items[i]->metadata->name, m->metadata->name) &&
            str_equal(before->items[i]->metadata->namespace_, m->metadata->namespace_))
            return decode_fail(d, document, "pod %s/%s is declared twice", m->metadata->namespace_,
                               m->metadata->name);
    return 0;
}

static int parse_pod(struct decode *d, const struct yaml_node *document, const char *namespace_,
                     struct manifests *ret)
{
    CLEANUP(free_manifestp) struct pod_manifest *m = xnew(struct pod_manifest);

    if (decode_object(d, &pod_type, document, m) < 0)
        return -1;
    if (!m->metadata->namespace_)
        m->metadata->namespace_ = xstrdup(namespace_);
    if (manifest_check(d, document, m) < 0)
        return -1;
    m->json = manifest_json(document, m->metadata->namespace_, NULL);
    if (check_size(d, document, m->json) < 0 || check_pod_is_new(d, document, ret, m) < 0)
        return -1;
    struct pod_manifest **slot = array_push(&ret->items, &ret->count, sizeof(*ret->items));
    *slot = take_ptr(m);
    return 0;
}

/* ---- What pods refer to ------------------------------------------------------------------------
 */

static int check_object_is_new(struct decode *d, const struct yaml_node *document,
                               const struct manifests *before, const struct object_manifest *m)
{
    for (size_t i = 0; i < before->n_objects; i++)
        if (before->objects[i]->kind == m->kind &&
            str_equal(before->objects[i]->metadata->name, m->metadata->name) &&
            str_equal(before->objects[i]->metadata->namespace_, m->metadata->namespace_))
            return decode_fail(d, document, "%s %s%s%s is declared twice",
                               object_kind_name(m->kind),
                               m->metadata->namespace_ ? m->metadata->namespace_ : "",
                               m->metadata->namespace_ ? "/" : "", m->metadata->name);
    return 0;
}

static int parse_object(struct decode *d, enum object_kind kind, const struct yaml_node *document,
                        const char *namespace_, struct manifests *ret)
{
    CLEANUP(free_objectp) struct object_manifest *m = xnew(struct object_manifest);

    m->kind = kind;
    if (decode_object(d, object_types[kind], document, m) < 0)
        return -1;
    if (kind != OBJECT_NAMESPACE && !m->metadata->namespace_)
        m->metadata->namespace_ = xstrdup(namespace_);
    if (object_check(d, document, m) < 0)
        return -1;
    m->json = manifest_json(document, m->metadata->namespace_, m);
    if (check_size(d, document, m->json) < 0 || check_object_is_new(d, document, ret, m) < 0)
        return -1;
    struct object_manifest **slot = array_push(&ret->objects, &ret->n_objects, sizeof(*slot));
    *slot = take_ptr(m);
    return 0;
}

/* ---- Documents ---------------------------------------------------------------------------------
 */

static int parse_document(struct decode *d, const struct yaml_node *document,
                          const char *namespace_, struct manifests *ret);

/* The objects of `kind: List`; its own metadata says nothing. */
static int parse_list(struct decode *d, const struct yaml_node *document, const char *namespace_,
                      struct manifests *ret)
{
    static const char *const fields[] = {"apiVersion", "items", "kind", "metadata", NULL};
    const struct yaml_node *items = tree_child(document, "items");

    for (size_t i = 0; i < document->count; i++) {
        const struct yaml_node *key = document->entries[i].key;
        const char *closest = str_closest(key->text, fields);
        if (!str_equal(closest, key->text))
            return decode_fail(d, key, "unknown field %s%s%s%s", key->text,
                               closest ? ", did you mean " : "", closest ? closest : "",
                               closest ? "?" : "");
    }
    if (items && tree_type(items) != TREE_SEQUENCE)
        return decode_fail(d, items, "items must be a list");
    for (size_t i = 0; items && i < items->count; i++)
        if (parse_document(d, items->items[i], namespace_, ret) < 0)
            return -1;
    return 0;
}

static int parse_document(struct decode *d, const struct yaml_node *document,
                          const char *namespace_, struct manifests *ret)
{
    const char *kind = check_kind(d, document);

    if (!kind)
        return -1;
    decode_leave(d, 0);
    if (str_equal(kind, "Pod"))
        return parse_pod(d, document, namespace_, ret);
    if (str_equal(kind, "List"))
        return parse_list(d, document, namespace_, ret);
    return parse_object(d, object_kind_parse(kind), document, namespace_, ret);
}

static int parse_documents(struct decode *d, const struct yaml_tree *yaml, const char *namespace_,
                           struct manifests *ret)
{
    for (size_t i = 0; i < yaml->n_documents; i++)
        if (tree_type(yaml->documents[i]) != TREE_NULL &&
            parse_document(d, yaml->documents[i], namespace_, ret) < 0)
            return -1;
    return 0;
}

/* Takes back what this file has added. */
static void shrink(struct manifests *m, size_t count, size_t n_objects)
{
    while (m->count > count)
        pod_manifest_free(m->items[--m->count]);
    while (m->n_objects > n_objects)
        object_manifest_free(m->objects[--m->n_objects]);
    if (m->count + m->n_objects == 0)
        manifests_free(m);
}

int manifests_parse(const void *data, size_t len, const char *file, const char *namespace_,
                    struct manifests *ret, struct err *e)
{
    struct decode d = {.file = str_empty(file) ? "manifest" : file, .e = e};
    size_t count = ret->count, n_objects = ret->n_objects;
    struct yaml_tree *yaml = NULL;

    if (str_empty(namespace_))
        namespace_ = "default";
    const char *wrong = name_check_dns_label(namespace_);
    if (wrong)
        return err_set(e, ERR_INVALID_ARGUMENT, "namespace \"%s\" %s", namespace_, wrong);
    if (yaml_tree_parse(data, len, d.file, &yaml, e) < 0)
        return -1;
    int r = parse_documents(&d, yaml, namespace_, ret);
    yaml_tree_free(yaml);
    strbuf_free(&d.path);
    if (r == 0 && ret->count + ret->n_objects == count + n_objects)
        r = err_set(e, ERR_INVALID_ARGUMENT, "%s: there is no object in this file", d.file);
    if (r < 0)
        shrink(ret, count, n_objects);
    return r;
}

/* ---- Ephemeral containers ----------------------------------------------------------------------
 */

void ephemeral_free(struct manifest_container *c)
{
    if (!c)
        return;
    decode_clear(&ephemeral_container_type, c);
    free(c);
}

static int parse_ephemeral(struct decode *d, const struct yaml_tree *yaml,
                           const struct pod_spec *spec, struct manifest_container *c,
                           char **ret_json)
{
    if (yaml->n_documents != 1)
        return err_set(d->e, ERR_INVALID_ARGUMENT, "%s: one container is expected", d->file);
    if (decode_object(d, &ephemeral_container_type, yaml->documents[0], c) < 0 ||
        manifest_check_ephemeral(d, yaml->documents[0], c, spec) < 0)
        return -1;
    json_t *json = tree_to_json(yaml->documents[0]);
    *ret_json = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(json);
    if (!*ret_json)
        abort(); /* out of memory: the tree is valid UTF-8 */
    return 0;
}

int ephemeral_parse(const void *data, size_t len, const struct pod_spec *spec,
                    struct manifest_container **ret, char **ret_json, struct err *e)
{
    struct decode d = {.file = "container", .e = e};
    struct yaml_tree *yaml = NULL;

    if (yaml_tree_parse(data, len, d.file, &yaml, e) < 0)
        return -1;
    struct manifest_container *c = xnew(struct manifest_container);
    int r = parse_ephemeral(&d, yaml, spec, c, ret_json);
    yaml_tree_free(yaml);
    strbuf_free(&d.path);
    if (r < 0)
        ephemeral_free(c);
    else
        *ret = c;
    return r;
}
