/*
 * config_file.c - podd.yaml: which keys there are and what each may hold.
 *
 * A mapping is described by a table of keys; a key has a function that checks its value and stores
 * it. Everything is checked when it is read, so that a mistake is told with its line and column
 * before anything was begun. A key without a value keeps its default.
 */
#include "config_check.h"

#include "config.h"

#define LOG_SIZE_LEAST 65536 /* with less, a log is mostly being rotated */

struct file {
    const char *name;
    struct err *e;
};

struct key;
/* `at` is where the key's value lives, as its table says. */
typedef int read_fn(struct file *f, const struct key *key, const struct yaml_node *node, void *at);

struct key {
    const char *name;
    read_fn *read;
    size_t offset;
    /* For the functions that need more. */
    const struct key *keys;                        /* of a mapping, ending with a NULL name */
    const char *const *choices;                    /* of an enum, in its order */
    int (*check)(const char *text, struct err *e); /* of a string */
    uint64_t max;                                  /* of a number */
};

/* ---- Values ---------------------------------------------------------------------------------- */

static const char *kind_name(const struct yaml_node *node)
{
    if (node->kind == YAML_MAPPING)
        return "a mapping";
    if (node->kind == YAML_SEQUENCE)
        return "a list";
    return node->text;
}

static int fail_type(struct file *f, const struct key *key, const struct yaml_node *node,
                     const char *wanted)
{
    return yaml_error(f->e, f->name, node, "%s: expected %s, not %s", key->name, wanted,
                      kind_name(node));
}

/* A plain scalar that YAML takes for something else than text. */
static bool looks_typed(const struct yaml_node *node)
{
    static const char *const words[] = {"true", "false", "yes", "no", "on", "off", NULL};
    char *end = NULL;

    if (!node->plain)
        return false;
    for (const char *const *w = words; *w; w++)
        if (strcasecmp(node->text, *w) == 0)
            return true;
    strtod(node->text, &end);
    return yaml_is_null(node) || *end == '\0';
}

static int read_text(struct file *f, const struct key *key, const struct yaml_node *node,
                     const char **ret)
{
    _cleanup_err_ struct err e = ERR_INIT;

    if (node->kind != YAML_SCALAR)
        return fail_type(f, key, node, "a text");
    if (looks_typed(node))
        return yaml_error(f->e, f->name, node,
                          "%s: expected a text, not %s; put it in quotes if it is meant so",
                          key->name, node->text);
    if (node->text[0] == '\0')
        return yaml_error(f->e, f->name, node, "%s: must not be empty", key->name);
    if (key->check && key->check(node->text, &e) < 0)
        return yaml_error(f->e, f->name, node, "%s: %s", key->name, err_text(&e));
    *ret = node->text;
    return 0;
}

static int read_string(struct file *f, const struct key *key, const struct yaml_node *node,
                       void *at)
{
    const char *text;

    if (read_text(f, key, node, &text) < 0)
        return -1;
    free(*(char **)at);
    *(char **)at = xstrdup(text);
    return 0;
}

/* A list of texts into a strv, in place of what was there. */
static int read_strings(struct file *f, const struct key *key, const struct yaml_node *node,
                        void *at)
{
    _cleanup_strv_ char **list = NULL;
    const char *text;

    if (node->kind != YAML_SEQUENCE)
        return fail_type(f, key, node, "a list of texts");
    for (size_t i = 0; i < node->count; i++) {
        if (read_text(f, key, node->items[i], &text) < 0)
            return -1;
        strv_push(&list, text);
    }
    strv_free(*(char ***)at);
    *(char ***)at = take_ptr(list);
    return 0;
}

static int read_bool(struct file *f, const struct key *key, const struct yaml_node *node, void *at)
{
    bool *ret = at;

    if (node->kind != YAML_SCALAR || !node->plain ||
        (!str_equal(node->text, "true") && !str_equal(node->text, "false")))
        return fail_type(f, key, node, "true or false");
    *ret = str_equal(node->text, "true");
    return 0;
}

static int read_number(struct file *f, const struct key *key, const struct yaml_node *node,
                       uint64_t *ret)
{
    if (node->kind != YAML_SCALAR || !node->plain || parse_uint(node->text, UINT64_MAX, ret) < 0)
        return fail_type(f, key, node, "a number");
    if (*ret > key->max)
        return yaml_error(f->e, f->name, node, "%s: must be at most %llu", key->name,
                          (unsigned long long)key->max);
    return 0;
}

static int read_port(struct file *f, const struct key *key, const struct yaml_node *node, void *at)
{
    uint64_t value;

    if (read_number(f, key, node, &value) < 0)
        return -1;
    *(uint16_t *)at = (uint16_t)value;
    return 0;
}

static int read_mtu(struct file *f, const struct key *key, const struct yaml_node *node, void *at)
{
    const unsigned least = 1280; /* of IPv6; less serves nobody */
    uint64_t value;

    if (read_number(f, key, node, &value) < 0)
        return -1;
    if (value != 0 && value < least)
        return yaml_error(f->e, f->name, node, "%s: must be 0 (that of the uplink) or at least %u",
                          key->name, least);
    *(unsigned *)at = (unsigned)value;
    return 0;
}

/* Of bytes, as Kubernetes writes them: 10Mi. */
static int read_size(struct file *f, const struct key *key, const struct yaml_node *node, void *at)
{
    struct quantity q;

    if (node->kind != YAML_SCALAR || quantity_parse(node->text, &q) < 0)
        return fail_type(f, key, node, "a size like 10Mi");
    if (q.units != 0 && q.units < LOG_SIZE_LEAST)
        return yaml_error(f->e, f->name, node, "%s: must be 0 (no bound) or at least %d bytes",
                          key->name, LOG_SIZE_LEAST);
    *(uint64_t *)at = (uint64_t)q.units;
    return 0;
}

static int read_files(struct file *f, const struct key *key, const struct yaml_node *node, void *at)
{
    uint64_t value;

    if (read_number(f, key, node, &value) < 0)
        return -1;
    if (value < 2)
        return yaml_error(f->e, f->name, node, "%s: must be at least 2", key->name);
    *(uint32_t *)at = (uint32_t)value;
    return 0;
}

static int read_seconds(struct file *f, const struct key *key, const struct yaml_node *node,
                        void *at)
{
    uint64_t value;

    if (read_number(f, key, node, &value) < 0)
        return -1;
    if (value == 0)
        return yaml_error(f->e, f->name, node, "%s: must be at least 1 (second)", key->name);
    *(unsigned *)at = (unsigned)value;
    return 0;
}

static int read_choice(struct file *f, const struct key *key, const struct yaml_node *node,
                       void *at)
{
    _cleanup_strbuf_ struct strbuf all = {0};

    if (node->kind != YAML_SCALAR)
        return fail_type(f, key, node, "a text");
    for (int i = 0; key->choices[i]; i++) {
        if (str_equal(node->text, key->choices[i])) {
            *(int *)at = i;
            return 0;
        }
        strbuf_addf(&all, "%s%s", i > 0 ? ", " : "", key->choices[i]);
    }
    return yaml_error(f->e, f->name, node, "%s: \"%s\" is not one of %s", key->name, node->text,
                      all.data);
}

/* ---- Mappings -------------------------------------------------------------------------------- */

#define KEYS_MAX 16

static int fail_unknown(struct file *f, const struct key *keys, const char *where,
                        const struct yaml_node *node)
{
    const char *names[KEYS_MAX + 1] = {NULL};
    const char *dot = where ? "." : "";

    where = where ? where : "";
    for (size_t i = 0; keys[i].name && i < KEYS_MAX; i++)
        names[i] = keys[i].name;
    const char *close = str_closest(node->text, names);
    if (close)
        return yaml_error(f->e, f->name, node, "unknown key %s%s%s, did you mean %s?", where, dot,
                          node->text, close);
    return yaml_error(f->e, f->name, node, "unknown key %s%s%s", where, dot, node->text);
}

static const struct key *find_key(const struct key *keys, const char *name)
{
    for (; keys->name; keys++)
        if (str_equal(keys->name, name))
            return keys;
    return NULL;
}

static int read_entries(struct file *f, const struct key *keys, const char *where,
                        const struct yaml_node *node, void *at)
{
    for (size_t i = 0; i < node->count; i++) {
        const struct yaml_entry *entry = &node->entries[i];
        const struct key *key = find_key(keys, entry->key->text);
        if (!key)
            return fail_unknown(f, keys, where, entry->key);
        if (yaml_is_null(entry->value))
            continue;
        if (key->read(f, key, entry->value, (char *)at + key->offset) < 0)
            return -1;
    }
    return 0;
}

static int read_mapping(struct file *f, const struct key *key, const struct yaml_node *node,
                        void *at)
{
    if (node->kind != YAML_MAPPING)
        return fail_type(f, key, node, "a mapping");
    return read_entries(f, key->keys, key->name, node, at);
}

/* ---- The network ----------------------------------------------------------------------------- */

static int read_pools(struct file *f, const struct key *key, const struct yaml_node *node, void *at)
{
    char ***pools = at;

    if (read_strings(f, key, node, pools) < 0)
        return -1;
    if (strv_len(*pools) == 0)
        return yaml_error(f->e, f->name, node, "%s: at least one is needed", key->name);
    if (strv_len(*pools) > NET_POOLS_MAX)
        return yaml_error(f->e, f->name, node, "%s: at most %d are possible", key->name,
                          NET_POOLS_MAX);
    return 0;
}

static int read_plugin_dirs(struct file *f, const struct key *key, const struct yaml_node *node,
                            void *at)
{
    if (read_strings(f, key, node, at) < 0)
        return -1;
    if (strv_len(*(char ***)at) == 0)
        return yaml_error(f->e, f->name, node, "%s: at least one is needed", key->name);
    return 0;
}

/* ---- Registries ------------------------------------------------------------------------------ */

struct mirror {
    char *url;
};

static const struct key mirror_keys[] = {
    {"url", read_string, offsetof(struct mirror, url), .check = check_url},
    {NULL},
};

static int read_mirrors(struct file *f, const struct key *key, const struct yaml_node *node,
                        void *at)
{
    _cleanup_strv_ char **urls = NULL;

    if (node->kind != YAML_SEQUENCE)
        return fail_type(f, key, node, "a list of mappings with a url");
    for (size_t i = 0; i < node->count; i++) {
        struct mirror mirror = {0};
        if (node->items[i]->kind != YAML_MAPPING)
            return fail_type(f, key, node->items[i], "a mapping with a url");
        int r = read_entries(f, mirror_keys, key->name, node->items[i], &mirror);
        _cleanup_free_ char *url = mirror.url;
        if (r < 0)
            return -1;
        if (!url)
            return yaml_error(f->e, f->name, node->items[i], "%s: the key url is missing",
                              key->name);
        strv_push(&urls, url);
    }
    *(char ***)at = take_ptr(urls);
    return 0;
}

static const struct key registry_keys[] = {
    {"prefix", read_string, offsetof(struct image_config_registry, prefix), .check = check_prefix},
    {"mirrors", read_mirrors, offsetof(struct image_config_registry, mirrors)},
    {"ca", read_string, offsetof(struct image_config_registry, ca), .check = check_path},
    {"auth_file", read_string, offsetof(struct image_config_registry, auth_file),
     .check = check_path},
    {NULL},
};

static int read_registries(struct file *f, const struct key *key, const struct yaml_node *node,
                           void *at)
{
    struct config *c = at;

    if (node->kind != YAML_SEQUENCE)
        return fail_type(f, key, node, "a list of mappings");
    for (size_t i = 0; i < node->count; i++) {
        const struct yaml_node *item = node->items[i];
        if (item->kind != YAML_MAPPING)
            return fail_type(f, key, item, "a mapping");
        struct image_config_registry *r =
            array_push(&c->registries, &c->n_registries, sizeof(*c->registries));
        if (read_entries(f, registry_keys, key->name, item, r) < 0)
            return -1;
        if (!r->prefix)
            return yaml_error(f->e, f->name, item, "%s: the key prefix is missing", key->name);
        for (size_t k = 0; k + 1 < c->n_registries; k++)
            if (str_equal(c->registries[k].prefix, r->prefix))
                return yaml_error(f->e, f->name, item, "%s: %s is there already", key->name,
                                  r->prefix);
    }
    return 0;
}

/* ---- The whole file -------------------------------------------------------------------------- */

static const char *const log_levels[] = {"error", "warn", "info", "debug", NULL};
static const char *const cgroup_drivers[] = {"auto", "cgroupfs", "systemd", NULL};
static const char *const network_modes[] = {"bridge", "cni", NULL};

static const struct key cni_keys[] = {
    {"config_dir", read_string, offsetof(struct config, network.cni.config_dir),
     .check = check_path},
    {"plugin_dirs", read_plugin_dirs, offsetof(struct config, network.cni.plugin_dirs),
     .check = check_plugin_dir},
    {"timeout", read_seconds, offsetof(struct config, network.cni.timeout), .max = 3600},
    {NULL},
};

static const struct key network_keys[] = {
    {"mode", read_choice, offsetof(struct config, network.mode), .choices = network_modes},
    {"bridge", read_string, offsetof(struct config, network.bridge), .check = check_interface},
    {"pools", read_pools, offsetof(struct config, network.pools), .check = check_cidr},
    {"mtu", read_mtu, offsetof(struct config, network.mtu), .max = 65535},
    {"dns", read_strings, offsetof(struct config, network.dns), .check = config_check_ip},
    {"cni", read_mapping, 0, .keys = cni_keys},
    {NULL},
};

static const struct key streaming_keys[] = {
    {"address", read_string, offsetof(struct config, streaming.address), .check = config_check_ip},
    {"port", read_port, offsetof(struct config, streaming.port), .max = UINT16_MAX},
    {NULL},
};

static const struct key logs_keys[] = {
    {"max_size", read_size, offsetof(struct config, logs.max_size)},
    {"max_files", read_files, offsetof(struct config, logs.max_files), .max = 100},
    {NULL},
};

static const struct key metrics_keys[] = {
    {"address", read_string, offsetof(struct config, metrics.address), .check = check_ip_port},
    {NULL},
};

static const struct key role_keys[] = {
    {"read", read_strings, offsetof(struct config, listen.readers)},
    {"full", read_strings, offsetof(struct config, listen.full)},
    {NULL},
};

static const struct key listen_keys[] = {
    {"address", read_string, offsetof(struct config, listen.address), .check = check_ip_port},
    {"cert", read_string, offsetof(struct config, listen.cert), .check = check_path},
    {"key", read_string, offsetof(struct config, listen.key), .check = check_path},
    {"client_ca", read_string, offsetof(struct config, listen.client_ca), .check = check_path},
    {"roles", read_mapping, 0, .keys = role_keys},
    {NULL},
};

/* All or nothing: a port that nobody can use, or that serves half of this, is a mistake. */
static int read_listen(struct file *f, const struct key *key, const struct yaml_node *node,
                       void *at)
{
    struct config *c = at;

    if (read_mapping(f, key, node, c) < 0)
        return -1;
    if (!c->listen.address || !c->listen.cert || !c->listen.key || !c->listen.client_ca)
        return yaml_error(f->e, f->name, node,
                          "%s: the keys address, cert, key and client_ca are all needed",
                          key->name);
    if (!c->listen.readers && !c->listen.full)
        return yaml_error(f->e, f->name, node,
                          "%s: roles.read or roles.full must name who may connect", key->name);
    return 0;
}

static const struct key top_keys[] = {
    {"root", read_string, offsetof(struct config, root), .check = check_path},
    {"state", read_string, offsetof(struct config, state), .check = check_path},
    {"socket", read_string, offsetof(struct config, socket), .check = check_socket},
    {"manifests", read_string, offsetof(struct config, manifests), .check = check_path},
    {"cdi_dirs", read_strings, offsetof(struct config, cdi_dirs), .check = check_path},
    {"log_level", read_choice, offsetof(struct config, log_level), .choices = log_levels},
    {"cgroup_driver", read_choice, offsetof(struct config, cgroup_driver),
     .choices = cgroup_drivers},
    {"restrict_oom_score_adj", read_bool, offsetof(struct config, restrict_oom_score_adj)},
    {"seccomp_default_profile", read_string, offsetof(struct config, seccomp_default_profile),
     .check = check_path},
    {"network", read_mapping, 0, .keys = network_keys},
    {"registries", read_registries, 0},
    {"streaming", read_mapping, 0, .keys = streaming_keys},
    {"logs", read_mapping, 0, .keys = logs_keys},
    {"metrics", read_mapping, 0, .keys = metrics_keys},
    {"listen", read_listen, 0, .keys = listen_keys},
    {NULL},
};
/* read_choice() stores an int where the enum lives. */
_Static_assert(sizeof(enum log_level) == sizeof(int) &&
                   sizeof(enum config_cgroup_driver) == sizeof(int) &&
                   sizeof(enum config_network_mode) == sizeof(int),
               "enums are ints");
_Static_assert(ARRAY_SIZE(top_keys) <= KEYS_MAX, "fail_unknown() knows all keys");
_Static_assert(ARRAY_SIZE(log_levels) == LOG_DEBUG + 2, "a name for each level");

static int read_tree(struct file *f, const struct yaml_tree *y, struct config *c)
{
    if (y->n_documents == 0)
        return 0;
    const struct yaml_node *root = y->documents[0];
    if (y->n_documents > 1)
        return yaml_error(f->e, f->name, y->documents[1], "there is more than one document");
    if (root->kind != YAML_MAPPING)
        return yaml_error(f->e, f->name, root, "expected a mapping of settings");
    return read_entries(f, top_keys, NULL, root, c);
}

int config_read(struct config *c, const void *data, size_t len, const char *name, struct err *e)
{
    struct file f = {name, e};
    struct yaml_tree *y = NULL;

    if (yaml_tree_parse(data, len, name, &y, e) < 0)
        return -1;
    int r = read_tree(&f, y, c);
    c->network.n_pools = strv_len(c->network.pools);
    yaml_tree_free(y);
    return r;
}
