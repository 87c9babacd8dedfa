/*
 * manifest_object.c - Namespace, ConfigMap and Secret: their tables, their checks and their values.
 *
 * Values of a Secret are kept as they are written, in base64, and decoded where they are used, so
 * that nothing but a value's own reader ever holds it in the clear. No error names one.
 */
#include "base64.h"
#include "manifest.h"
#include "names.h"
#include "tree.h"

static const char *const kind_names[OBJECT_KIND_COUNT] = {"Namespace", "ConfigMap", "Secret"};

const char *object_kind_name(enum object_kind kind)
{
    return kind_names[kind];
}

enum object_kind object_kind_parse(const char *name)
{
    for (int kind = 0; kind < OBJECT_KIND_COUNT; kind++)
        if (str_equal(kind_names[kind], name))
            return (enum object_kind)kind;
    return OBJECT_KIND_COUNT;
}

/* ---- The tables --------------------------------------------------------------------------------
 */

#define S object_manifest
#define HEAD                                                                                       \
    IGNORED("apiVersion"), IGNORED("kind"), OBJECT("metadata", metadata, metadata_type, REQUIRED), \
        IGNORED("status")

static const struct field namespace_fields[] = {
    HEAD, IGNORED("spec"), /* finalizers, which Kubernetes adds to every one */
};
static const struct object_type namespace_type = TYPE_OF(namespace_fields);

static const struct field config_map_fields[] = {
    HEAD,
    ROW("binaryData", FIELD_PAIRS, binary_data, .check = base64_check,
        .check_key = name_check_data_key, .secret = true),
    ROW("data", FIELD_PAIRS, data, .check_key = name_check_data_key),
    BOOL("immutable", immutable),
};
static const struct object_type config_map_type = TYPE_OF(config_map_fields);

static const struct field secret_fields[] = {
    HEAD,
    ROW("data", FIELD_PAIRS, data, .check = base64_check, .check_key = name_check_data_key,
        .secret = true),
    BOOL("immutable", immutable),
    ROW("stringData", FIELD_PAIRS, string_data, .check_key = name_check_data_key, .secret = true),
    STRING("type", type, .check = name_check_not_empty),
};
static const struct object_type secret_type = TYPE_OF(secret_fields);
#undef S

const struct object_type *const object_types[OBJECT_KIND_COUNT] = {
    &namespace_type,
    &config_map_type,
    &secret_type,
};

/* ---- Values ------------------------------------------------------------------------------------
 */

static const struct key_value *find_pair(const struct pair_list *pairs, const char *key)
{
    for (size_t i = 0; i < pairs->count; i++)
        if (str_equal(pairs->items[i].key, key))
            return &pairs->items[i];
    return NULL;
}

bool object_value(const struct object_manifest *m, const char *key, struct bytes *ret)
{
    const struct key_value *pair = find_pair(&m->data, key);

    if (pair && m->kind != OBJECT_SECRET) {
        *ret = (struct bytes){xmemdup(pair->value, strlen(pair->value)), strlen(pair->value)};
        return true;
    }
    if (!pair)
        pair = find_pair(&m->binary_data, key);
    return pair && base64_decode(pair->value, ret) == 0;
}

void object_value_free(struct bytes *value)
{
    if (value->data)
        explicit_bzero(value->data, value->len);
    bytes_free(value);
}

static bool same_pairs(const struct pair_list *a, const struct pair_list *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        const struct key_value *other = find_pair(b, a->items[i].key);
        if (!other || !str_equal(a->items[i].value, other->value))
            return false;
    }
    return true;
}

bool object_same_data(const struct object_manifest *a, const struct object_manifest *b)
{
    return same_pairs(&a->data, &b->data) && same_pairs(&a->binary_data, &b->binary_data);
}

/* ---- Checks ------------------------------------------------------------------------------------
 */

/* stringData is another way to write data, and wins over it. */
static void merge_string_data(struct object_manifest *m)
{
    for (size_t i = 0; i < m->string_data.count; i++) {
        const struct key_value *from = &m->string_data.items[i];
        struct key_value *to = (struct key_value *)find_pair(&m->data, from->key);
        if (!to) {
            to = array_push(&m->data.items, &m->data.count, sizeof(*to));
            to->key = xstrdup(from->key);
        }
        free(to->value);
        to->value = base64_encode(from->value, strlen(from->value));
    }
}

/* What the well-known types of Secrets must hold: any one of the keys. */
static const struct {
    const char *type, *keys[3];
} secret_types[] = {
    {"kubernetes.io/basic-auth", {"username", "password", NULL}},
    {"kubernetes.io/ssh-auth", {"ssh-privatekey", NULL}},
    {"kubernetes.io/dockercfg", {".dockercfg", NULL}},
    {"kubernetes.io/dockerconfigjson", {".dockerconfigjson", NULL}},
};

static int check_any_key(struct decode *d, const struct yaml_node *document,
                         const struct object_manifest *m, const char *const *keys)
{
    for (const char *const *key = keys; *key; key++)
        if (find_pair(&m->data, *key))
            return 0;
    return decode_fail(d, document, "data: a Secret of type %s must have the key %s%s%s", m->type,
                       keys[0], keys[1] ? " or " : "", keys[1] ? keys[1] : "");
}

static int check_docker_config(struct decode *d, const struct yaml_node *document,
                               const struct object_manifest *m)
{
    _cleanup_bytes_ struct bytes value = {0};

    if (!object_value(m, ".dockerconfigjson", &value))
        return 0;
    json_t *json = json_loadb((const char *)value.data, value.len, JSON_REJECT_DUPLICATES, NULL);
    bool good = json_is_object(json_object_get(json, "auths"));
    json_decref(json);
    if (good)
        return 0;
    return decode_fail(d, document,
                       "data[.dockerconfigjson] must be JSON with an object \"auths\"");
}

static int check_secret(struct decode *d, const struct yaml_node *document,
                        const struct object_manifest *m)
{
    static const char *const tls_keys[] = {"tls.crt", "tls.key"};

    for (size_t i = 0; i < ARRAY_SIZE(secret_types); i++)
        if (str_equal(m->type, secret_types[i].type) &&
            check_any_key(d, document, m, secret_types[i].keys) < 0)
            return -1;
    for (size_t i = 0; str_equal(m->type, "kubernetes.io/tls") && i < ARRAY_SIZE(tls_keys); i++)
        if (!find_pair(&m->data, tls_keys[i]))
            return decode_fail(d, document, "data: a Secret of type %s must have the key %s",
                               m->type, tls_keys[i]);
    if (str_equal(m->type, "kubernetes.io/service-account-token"))
        return decode_fail(d, tree_child(document, "type"),
                           "type: podd has no service accounts, and makes no tokens for them");
    return check_docker_config(d, document, m);
}

static int check_keys_once(struct decode *d, const struct yaml_node *document,
                           const struct object_manifest *m)
{
    for (size_t i = 0; i < m->binary_data.count; i++)
        if (find_pair(&m->data, m->binary_data.items[i].key))
            return decode_fail(d, tree_child(document, "binaryData"),
                               "binaryData: the key %s is in data as well",
                               m->binary_data.items[i].key);
    return 0;
}

int object_check(struct decode *d, const struct yaml_node *document, struct object_manifest *m)
{
    const struct yaml_node *metadata = tree_child(document, "metadata");

    if (m->kind == OBJECT_NAMESPACE) {
        const char *wrong = name_check_dns_label(m->metadata->name);
        if (wrong)
            return decode_fail(d, tree_child(metadata, "name"), "metadata.name %s, not \"%s\"",
                               wrong, m->metadata->name);
        if (m->metadata->namespace_)
            return decode_fail(d, tree_child(metadata, "namespace"),
                               "metadata.namespace: a Namespace is in no namespace");
        return 0;
    }
    merge_string_data(m);
    if (m->kind == OBJECT_SECRET && check_secret(d, document, m) < 0)
        return -1;
    return check_keys_once(d, document, m);
}

void object_manifest_free(struct object_manifest *m)
{
    if (!m)
        return;
    decode_clear(object_types[m->kind], m);
    free(m->json);
    free(m->uid);
    free(m);
}
