/*
 * cni-conf.c - a CNI network configuration out of its text.
 *
 * Only what podd itself goes by is checked: versions, names, the types of plugins (they become
 * names of programs) and their capabilities. All else is the plugins' business and is handed on as
 * it is. Whether a text is a list or one plugin is told by its keys and not by the file's name.
 */
#include "cni-conf.h"

const char *const cni_version_text[] = {"0.3.1", "0.4.0", "1.0.0", "1.1.0", NULL};
enum { NAME_MAX_LEN = 200 };

int cni_version_parse(const char *text, enum cni_version *ret)
{
    for (int i = 0; cni_version_text[i]; i++)
        if (str_equal(text, cni_version_text[i])) {
            *ret = (enum cni_version)i;
            return 0;
        }
    return -EINVAL;
}

/* A letter or digit first, then also '_', '.' and '-': it becomes a part of file names. */
static bool is_name(const char *s)
{
    static const char first[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    static const char rest[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";

    return !str_empty(s) && strlen(s) <= NAME_MAX_LEN && strchr(first, s[0]) &&
           strspn(s, rest) == strlen(s);
}

const char *cni_plugin_type(const json_t *plugin)
{
    return json_string_value(json_object_get(plugin, "type"));
}

bool cni_plugin_can(const json_t *plugin, const char *capability)
{
    return json_is_true(json_object_get(json_object_get(plugin, "capabilities"), capability));
}

bool cni_conf_can(const struct cni_conf *c, const char *capability)
{
    for (size_t i = 0; i < json_array_size(c->plugins); i++)
        if (cni_plugin_can(json_array_get(c->plugins, i), capability))
            return true;
    return false;
}

/* ---- Checks ---------------------------------------------------------------------------------- */

static int check_plugin(const json_t *plugin, size_t index, const char *name, struct err *e)
{
    const json_t *capabilities = json_object_get(plugin, "capabilities");
    const char *type = cni_plugin_type(plugin), *key;
    json_t *value;

    if (!json_is_object(plugin))
        return err_set(e, ERR_INVALID_ARGUMENT, "%s: plugins[%zu]: it is no object", name, index);
    if (!is_name(type))
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "%s: plugins[%zu].type: the name of the plugin's program is %s", name, index,
                       str_empty(type) ? "missing" : "malformed");
    if (capabilities && !json_is_object(capabilities))
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "%s: plugins[%zu].capabilities: it is no object of booleans", name, index);
    json_object_foreach((json_t *)capabilities, key, value) if (!json_is_boolean(value))
    {
        _cleanup_free_ char *shown = cni_text(key, strlen(key), true);
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "%s: plugins[%zu].capabilities.%s: it is neither true nor false", name,
                       index, shown);
    }
    return 0;
}

static int check_plugins(const json_t *plugins, const char *name, struct err *e)
{
    size_t count = json_array_size(plugins);

    if (!json_is_array(plugins) || count == 0)
        return err_set(e, ERR_INVALID_ARGUMENT, "%s: plugins: it is no list of plugins", name);
    if (count > CNI_PLUGINS_MAX)
        return err_set(e, ERR_INVALID_ARGUMENT, "%s: plugins: there are more than %d", name,
                       CNI_PLUGINS_MAX);
    for (size_t i = 0; i < count; i++)
        if (check_plugin(json_array_get(plugins, i), i, name, e) < 0)
            return -1;
    return 0;
}

/* A text that is missing is "". */
static int read_text(const json_t *list, const char *key, const char *name, const char **ret,
                     struct err *e)
{
    const json_t *value = json_object_get(list, key);

    if (value && !json_is_string(value))
        return err_set(e, ERR_INVALID_ARGUMENT, "%s: %s: it is no text", name, key);
    *ret = value ? json_string_value(value) : "";
    return 0;
}

/* Some networks in use write their booleans as texts. */
static int read_flag(const json_t *list, const char *key, const char *name, bool *ret,
                     struct err *e)
{
    const json_t *value = json_object_get(list, key);
    const char *text = json_string_value(value);

    *ret = json_is_true(value) || (text && strcasecmp(text, "true") == 0);
    if (!value || *ret || json_is_false(value) || (text && strcasecmp(text, "false") == 0))
        return 0;
    return err_set(e, ERR_INVALID_ARGUMENT, "%s: %s: it is neither true nor false", name, key);
}

/* The newest of `cniVersions` that podd speaks, or the one of `cniVersion`. */
static int read_version(const json_t *list, const char *name, enum cni_version *ret, struct err *e)
{
    const json_t *several = json_object_get(list, "cniVersions");
    enum cni_version v;
    const char *text = "";
    bool found = false;

    if (read_text(list, "cniVersion", name, &text, e) < 0)
        return -1;
    if (several && !json_is_array(several))
        return err_set(e, ERR_INVALID_ARGUMENT, "%s: cniVersions: it is no list", name);
    for (size_t i = 0; i < json_array_size(several); i++)
        if (cni_version_parse(json_string_value(json_array_get(several, i)), &v) == 0) {
            *ret = found && *ret > v ? *ret : v;
            found = true;
        }
    if (cni_version_parse(text, &v) == 0) {
        *ret = found && *ret > v ? *ret : v;
        found = true;
    }
    if (found)
        return 0;
    _cleanup_free_ char *shown = cni_text(text, strlen(text), true);
    return err_set(e, ERR_INVALID_ARGUMENT,
                   "%s: cniVersion: %s%s; podd speaks 0.3.1, 0.4.0, 1.0.0 and 1.1.0", name,
                   *shown ? shown : "it is missing", *shown ? " is not spoken here" : "");
}

/* ---- Making ---------------------------------------------------------------------------------- */

/* A list around the one plugin. */
static json_t *list_around(json_t *plugin)
{
    static const char *const shared[] = {"cniVersion", "cniVersions", "name", "disableCheck",
                                         "disableGC"};
    json_t *list = json_object();

    for (size_t i = 0; i < ARRAY_SIZE(shared); i++) {
        json_t *value = json_object_get(plugin, shared[i]);
        if (value)
            json_object_set(list, shared[i], value);
    }
    json_object_set_new(list, "plugins", json_pack("[O]", plugin));
    return list;
}

static int fill(struct cni_conf *c, const char *file, struct err *e)
{
    const char *name = "";

    if (read_text(c->list, "name", file, &name, e) < 0)
        return -1;
    if (!is_name(name))
        return err_set(e, ERR_INVALID_ARGUMENT, "%s: name: the network's name is %s", file,
                       *name ? "malformed" : "missing");
    if (read_version(c->list, file, &c->version, e) < 0 ||
        read_flag(c->list, "disableCheck", file, &c->disable_check, e) < 0 ||
        read_flag(c->list, "disableGC", file, &c->disable_gc, e) < 0)
        return -1;
    c->name = xstrdup(name);
    c->plugins = json_object_get(c->list, "plugins");
    return check_plugins(c->plugins, file, e);
}

int cni_conf_from_json(json_t *value, const char *name, struct cni_conf **ret, struct err *e)
{
    if (!json_is_object(value))
        return err_set(e, ERR_INVALID_ARGUMENT, "%s: it is no JSON object", name);
    bool is_list = json_object_get(value, "plugins") != NULL;
    if (!is_list && !json_object_get(value, "type"))
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "%s: it has neither the key plugins nor the key type", name);
    struct cni_conf *c = xnew(struct cni_conf);
    c->refs = 1;
    c->list = is_list ? json_incref(value) : list_around(value);
    if (fill(c, name, e) < 0) {
        cni_conf_unref(c);
        return -1;
    }
    *ret = c;
    return 0;
}

int cni_conf_parse(const void *data, size_t len, const char *name, struct cni_conf **ret,
                   struct err *e)
{
    json_error_t where;

    if (len > CNI_CONF_MAX)
        return err_set(e, ERR_INVALID_ARGUMENT, "%s: it is larger than %d bytes", name,
                       CNI_CONF_MAX);
    _cleanup_json_ json_t *value = json_loadb(data, len, 0, &where);
    if (!value) {
        _cleanup_free_ char *why = cni_text(where.text, strlen(where.text), false);
        return err_set(e, ERR_INVALID_ARGUMENT, "%s:%d:%d: %s", name, where.line,
                       where.column < 1 ? 1 : where.column, why);
    }
    return cni_conf_from_json(value, name, ret, e);
}

struct cni_conf *cni_conf_ref(struct cni_conf *c)
{
    c->refs++;
    return c;
}

void cni_conf_unref(struct cni_conf *c)
{
    if (!c || --c->refs > 0)
        return;
    json_decref(c->list);
    free(c->name);
    free(c);
}
