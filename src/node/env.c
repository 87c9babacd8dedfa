/*
 * env.c - resolves a container's environment, from nothing but the manifest and what the pod got
 * (uid, addresses).
 */
#include "env.h"
#include "expand.h"
#include "resources.h"

void pair_list_free(struct pair_list *l)
{
    for (size_t i = 0; i < l->count; i++) {
        free(l->items[i].key);
        free(l->items[i].value);
    }
    free(l->items);
    *l = (struct pair_list){0};
}

/* ---- Fields ------------------------------------------------------------------------------------
 */

static const char *const simple_fields[] = {
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName",
    "status.podIP",  "status.podIPs",      NULL,
};

/* The KEY of metadata.labels['KEY']; NULL when path has another form. Caller frees. */
static char *subscript(const char *path, const char *field)
{
    size_t prefix = strlen(field), len = strlen(path);

    if (!str_starts_with(path, field) || len < prefix + 5 || strncmp(path + prefix, "['", 2) != 0 ||
        !str_ends_with(path, "']"))
        return NULL;
    return xstrndup(path + prefix + 2, len - prefix - 4);
}

static const char *check_field(const struct field_ref *ref)
{
    _cleanup_free_ char *label = subscript(ref->path, "metadata.labels");
    _cleanup_free_ char *annotation = subscript(ref->path, "metadata.annotations");

    if (label || annotation)
        return NULL;
    for (size_t i = 0; simple_fields[i]; i++)
        if (str_equal(simple_fields[i], ref->path))
            return NULL;
    return "fieldRef can be metadata.name, metadata.namespace, metadata.uid, "
           "metadata.labels['KEY'], metadata.annotations['KEY'], spec.nodeName, status.podIP or "
           "status.podIPs";
}

static char *pair_value(const struct pair_list *pairs, const char *key)
{
    for (size_t i = 0; i < pairs->count; i++)
        if (str_equal(pairs->items[i].key, key))
            return xstrdup(pairs->items[i].value);
    return xstrdup("");
}

static char *all_ips(const struct env_context *context)
{
    struct strbuf text = {0};

    for (size_t i = 0; i < context->n_ips; i++)
        strbuf_addf(&text, "%s%s", i ? "," : "", context->ips[i]);
    return strbuf_take(&text);
}

static char *field_value(const struct field_ref *ref, const struct env_context *context)
{
    const struct pod_metadata *metadata = context->manifest->metadata;
    _cleanup_free_ char *label = subscript(ref->path, "metadata.labels");
    _cleanup_free_ char *annotation = subscript(ref->path, "metadata.annotations");

    if (label)
        return pair_value(&metadata->labels, label);
    if (annotation)
        return pair_value(&metadata->annotations, annotation);
    if (str_equal(ref->path, "metadata.name"))
        return xstrdup(metadata->name);
    if (str_equal(ref->path, "metadata.namespace"))
        return xstrdup(metadata->namespace_);
    if (str_equal(ref->path, "metadata.uid"))
        return xstrdup(context->uid);
    if (str_equal(ref->path, "spec.nodeName"))
        return xstrdup(context->node_name);
    if (str_equal(ref->path, "status.podIP"))
        return xstrdup(context->n_ips ? context->ips[0] : "");
    return all_ips(context);
}

/* ---- Resources ---------------------------------------------------------------------------------
 */

static const struct manifest_container *find_container(const struct pod_spec *s, const char *name)
{
    for (size_t i = 0; i < s->containers.count; i++)
        if (str_equal(spec_container(s, i)->name, name))
            return spec_container(s, i);
    for (size_t i = 0; i < s->init_containers.count; i++)
        if (str_equal(spec_init_container(s, i)->name, name))
            return spec_init_container(s, i);
    return NULL;
}

const char *env_source_check(const struct env_source *from, const struct pod_spec *spec)
{
    static const char *const resources[] = {"limits.cpu", "limits.memory", "requests.cpu",
                                            "requests.memory"};

    if (from->field)
        return check_field(from->field);
    if (from->resource->container && !find_container(spec, from->resource->container))
        return "resourceFieldRef.containerName: the pod has no such container";
    for (size_t i = 0; i < ARRAY_SIZE(resources); i++)
        if (str_equal(from->resource->resource, resources[i]))
            return NULL;
    return "resourceFieldRef.resource must be limits.cpu, limits.memory, requests.cpu or "
           "requests.memory";
}

static char *resource_value(const struct manifest_container *c, const struct resource_ref *ref,
                            const struct env_context *context)
{
    const struct manifest_container *of =
        ref->container ? find_container(context->manifest->spec, ref->container) : c;
    bool limit = str_starts_with(ref->resource, "limits.");
    bool cpu = str_ends_with(ref->resource, ".cpu");
    int64_t divisor = ref->divisor.set && ref->divisor.milli > 0 ? ref->divisor.milli : 1000;
    int64_t amount = resources_amount(of->resources, limit, cpu); /* thousandths, or bytes */

    if (!cpu) { /* bytes are many: divide before multiplying could overflow */
        int64_t unit = ref->divisor.set && ref->divisor.units > 0 ? ref->divisor.units : 1;
        return xasprintf("%lld", (long long)(amount / unit + (amount % unit != 0)));
    }
    return xasprintf("%lld", (long long)(amount / divisor + (amount % divisor != 0)));
}

/* ---- The whole ---------------------------------------------------------------------------------
 */

void env_resolve(const struct manifest_container *c, const struct env_context *context,
                 struct pair_list *ret)
{
    for (size_t i = 0; i < c->env.count; i++) {
        const struct manifest_env *env = container_env(c, i);
        char *value;
        if (env->from && env->from->field)
            value = field_value(env->from->field, context);
        else if (env->from)
            value = resource_value(c, env->from->resource, context);
        else
            value = expand_text(env->value ? env->value : "", ret->items, ret->count);
        struct key_value *pair = array_push(&ret->items, &ret->count, sizeof(*pair));
        pair->key = xstrdup(env->name);
        pair->value = value;
    }
}
