/*
 * env.c - resolves a container's environment, from nothing but the manifest and what the pod got
 * (uid, addresses).
 */
#include "env.h"
#include "expand.h"
#include "names.h"
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

const char *env_source_check(const struct env_source *from, const struct pod_spec *spec)
{
    static const char *const resources[] = {"limits.cpu", "limits.memory", "requests.cpu",
                                            "requests.memory"};

    if (from->config_map || from->secret)
        return NULL;
    if (from->field)
        return check_field(from->field);
    if (from->resource->container && !spec_find_container(spec, from->resource->container))
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
        ref->container ? spec_find_container(context->manifest->spec, ref->container) : c;
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

char *env_source_value(const struct env_source *from, const struct manifest_container *c,
                       const struct env_context *context)
{
    return from->field ? field_value(from->field, context)
                       : resource_value(c, from->resource, context);
}

/* ---- ConfigMaps and Secrets --------------------------------------------------------------------
 */

int object_source_get(const struct object_source *from, enum object_kind kind, const char *name,
                      bool optional, const struct object_manifest **ret, struct err *e)
{
    *ret = from->find ? from->find(from->arg, kind, name) : NULL;
    if (*ret || optional)
        return 0;
    return err_set(e, ERR_FAILED_PRECONDITION, "%s \"%s\" not found",
                   kind == OBJECT_SECRET ? "secret" : "configmap", name);
}

/* The value as an environment can hold it; NULL: the object has no such key. Caller frees. */
static int text_value(const struct object_manifest *object, const char *key, char **ret,
                      struct err *e)
{
    struct bytes value = {0};

    *ret = NULL;
    if (!object_value(object, key, &value))
        return 0;
    int r = memchr(value.data, '\0', value.len)
                ? err_set(e, ERR_FAILED_PRECONDITION,
                          "the value of key %s in %s \"%s\" has a NUL byte, which no environment "
                          "can hold",
                          key, object_kind_name(object->kind), object->metadata->name)
                : 0;
    if (r == 0)
        *ret = (char *)take_ptr(value.data);
    object_value_free(&value);
    return r;
}

/* *ret is NULL when there is no value, and there need not be one. */
static int key_value(const struct key_ref *ref, enum object_kind kind,
                     const struct env_context *context, char **ret, struct err *e)
{
    const struct object_manifest *object;

    *ret = NULL;
    if (object_source_get(&context->objects, kind, ref->name, ref->optional.value, &object, e) < 0)
        return -1;
    if (object && text_value(object, ref->key, ret, e) < 0)
        return -1;
    if (*ret || ref->optional.value)
        return 0;
    return err_set(e, ERR_FAILED_PRECONDITION, "couldn't find key %s in %s %s/%s", ref->key,
                   object_kind_name(kind), context->manifest->metadata->namespace_, ref->name);
}

/* ---- The whole ---------------------------------------------------------------------------------
 */

static void set_variable(struct pair_list *list, const char *name, char *value_take)
{
    struct key_value *pair = NULL;

    for (size_t i = 0; i < list->count && !pair; i++)
        if (str_equal(list->items[i].key, name))
            pair = &list->items[i];
    if (!pair) {
        pair = array_push(&list->items, &list->count, sizeof(*pair));
        pair->key = xstrdup(name);
    }
    free(pair->value);
    pair->value = value_take;
}

/* Keys that are no names of variables are left out, as in Kubernetes. */
static int add_all_keys(const struct manifest_env_from *from, const struct env_context *context,
                        struct pair_list *ret, struct err *e)
{
    const struct object_ref *ref = from->secret ? from->secret : from->config_map;
    enum object_kind kind = from->secret ? OBJECT_SECRET : OBJECT_CONFIG_MAP;
    const struct object_manifest *object;

    if (object_source_get(&context->objects, kind, ref->name, ref->optional.value, &object, e) < 0)
        return -1;
    for (size_t i = 0; object && i < object->data.count; i++) {
        const char *key = object->data.items[i].key;
        _cleanup_free_ char *name = xasprintf("%s%s", from->prefix ? from->prefix : "", key);
        char *value;
        if (name_check_env_name(name))
            continue;
        if (text_value(object, key, &value, e) < 0)
            return -1;
        set_variable(ret, name, value);
    }
    return 0;
}

static int variable_value(const struct manifest_container *c, const struct manifest_env *env,
                          const struct env_context *context, const struct pair_list *before,
                          char **ret, struct err *e)
{
    if (!env->from)
        *ret = expand_text(env->value ? env->value : "", before->items, before->count);
    else if (env->from->field || env->from->resource)
        *ret = env_source_value(env->from, c, context);
    else if (env->from->config_map)
        return key_value(env->from->config_map, OBJECT_CONFIG_MAP, context, ret, e);
    else
        return key_value(env->from->secret, OBJECT_SECRET, context, ret, e);
    return 0;
}

static int resolve_own(const struct manifest_container *c, const struct env_context *context,
                       struct pair_list *own, struct err *e)
{
    for (size_t i = 0; i < c->env.count; i++) {
        const struct manifest_env *env = container_env(c, i);
        char *value;
        if (variable_value(c, env, context, own, &value, e) < 0)
            return -1;
        if (value)
            set_variable(own, env->name, value);
    }
    return 0;
}

int env_resolve(const struct manifest_container *c, const struct env_context *context,
                struct pair_list *ret, struct err *e)
{
    const struct manifest_env_from *from = c->env_from.items;
    struct pair_list own = {0};
    int r = 0;

    for (size_t i = 0; i < c->env_from.count && r == 0; i++)
        r = add_all_keys(&from[i], context, ret, e);
    if (r == 0)
        r = resolve_own(c, context, &own, e);
    for (size_t i = 0; i < own.count && r == 0; i++)
        set_variable(ret, own.items[i].key, take_ptr(own.items[i].value));
    pair_list_free(&own);
    if (r < 0)
        pair_list_free(ret);
    return r;
}
