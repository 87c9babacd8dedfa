/*
 * manifest.c - from the bytes of a file to checked manifests.
 *
 * The YAML reader (JSON is YAML) gives one tree per document; the kind chooses the table; the
 * cross-checks follow. Everything is read before anything is handed out, so that a fault in the
 * last document leaves the first without effect.
 */
#include "manifest.h"
#include "names.h"
#include "tree.h"

struct manifest_volume *spec_find_volume(const struct pod_spec *s, const char *name)
{
    for (size_t i = 0; i < s->volumes.count; i++)
        if (str_equal(spec_volume(s, i)->name, name))
            return spec_volume(s, i);
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

void manifests_free(struct manifests *m)
{
    for (size_t i = 0; i < m->count; i++)
        pod_manifest_free(m->items[i]);
    free(m->items);
    *m = (struct manifests){0};
}

/* What was applied, in one form: without what Kubernetes adds, with the namespace it got. */
static char *manifest_json(const struct yaml_node *document, const char *namespace_)
{
    static const char *const added[] = {"creationTimestamp", "generation", "managedFields",
                                        "resourceVersion",   "selfLink",   "uid"};
    json_t *json = tree_to_json(document);
    json_t *metadata = json_object_get(json, "metadata");

    json_object_del(json, "status");
    for (size_t i = 0; i < ARRAY_SIZE(added); i++)
        json_object_del(metadata, added[i]);
    json_object_set_new(metadata, "namespace", json_string(namespace_));
    char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(json);
    if (!text)
        abort(); /* out of memory: the tree is valid UTF-8 */
    return text;
}

static int check_kind(struct decode *d, const struct yaml_node *document)
{
    const struct yaml_node *version = tree_child(document, "apiVersion");
    const struct yaml_node *kind = tree_child(document, "kind");

    if (tree_type(document) != TREE_MAPPING)
        return decode_fail(d, document, "this is no Kubernetes object: a mapping is expected");
    if (!version || tree_type(version) != TREE_STRING)
        return decode_fail(d, version ? version : document, "missing field apiVersion");
    if (!kind || tree_type(kind) != TREE_STRING)
        return decode_fail(d, kind ? kind : document, "missing field kind");
    if (!str_equal(kind->text, "Pod"))
        return decode_fail(d, kind, "kind %s is not supported: podd runs objects of kind Pod",
                           kind->text);
    if (!str_equal(version->text, "v1"))
        return decode_fail(d, version, "apiVersion of a Pod must be v1, not %s", version->text);
    return 0;
}

static int parse_document(struct decode *d, const struct yaml_node *document,
                          const char *namespace_, struct pod_manifest **ret)
{
    CLEANUP(free_manifestp) struct pod_manifest *m = xnew(struct pod_manifest);

    if (check_kind(d, document) < 0 || decode_object(d, &pod_type, document, m) < 0)
        return -1;
    if (!m->metadata->namespace_)
        m->metadata->namespace_ = xstrdup(namespace_);
    if (manifest_check(d, document, m) < 0)
        return -1;
    m->json = manifest_json(document, m->metadata->namespace_);
    if (strlen(m->json) > YAML_MAX_SIZE) /* it could not be read again from its record */
        return decode_fail(d, document,
                           "with its aliases written out, this object is larger than "
                           "%d KiB",
                           YAML_MAX_SIZE >> 10);
    *ret = take_ptr(m);
    return 0;
}

static int check_unique(struct decode *d, const struct yaml_node *document,
                        const struct manifests *before, const struct pod_manifest *m)
{
    for (size_t i = 0; i < before->count; i++)
        if (str_equal(before->items[i]->metadata->name, m->metadata->name) &&
            str_equal(before->items[i]->metadata->namespace_, m->metadata->namespace_))
            return decode_fail(d, document, "pod %s/%s is in this file twice",
                               m->metadata->namespace_, m->metadata->name);
    return 0;
}

static int parse_documents(struct decode *d, const struct yaml_tree *yaml, const char *namespace_,
                           struct manifests *ret)
{
    for (size_t i = 0; i < yaml->n_documents; i++) {
        const struct yaml_node *document = yaml->documents[i];
        CLEANUP(free_manifestp) struct pod_manifest *m = NULL;

        if (tree_type(document) == TREE_NULL)
            continue;
        decode_leave(d, 0);
        if (parse_document(d, document, namespace_, &m) < 0 ||
            check_unique(d, document, ret, m) < 0)
            return -1;
        struct pod_manifest **slot = array_push(&ret->items, &ret->count, sizeof(*ret->items));
        *slot = take_ptr(m);
    }
    if (ret->count == 0)
        return err_set(d->e, ERR_INVALID_ARGUMENT, "%s: there is no object in this file", d->file);
    return 0;
}

int manifests_parse(const void *data, size_t len, const char *file, const char *namespace_,
                    struct manifests *ret, struct err *e)
{
    struct decode d = {.file = str_empty(file) ? "manifest" : file, .e = e};
    struct manifests found = {0};
    struct yaml_tree *yaml = NULL;

    if (str_empty(namespace_))
        namespace_ = "default";
    const char *wrong = name_check_dns_label(namespace_);
    if (wrong)
        return err_set(e, ERR_INVALID_ARGUMENT, "namespace \"%s\" %s", namespace_, wrong);
    if (yaml_tree_parse(data, len, d.file, &yaml, e) < 0)
        return -1;
    int r = parse_documents(&d, yaml, namespace_, &found);
    yaml_tree_free(yaml);
    strbuf_free(&d.path);
    if (r < 0) {
        manifests_free(&found);
        return -1;
    }
    *ret = found;
    return 0;
}
