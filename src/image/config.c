/*
 * config.c - the configuration of an image (OCI's image configuration, which is Docker's too).
 *
 * What it says about containers is data for later; only what could be misread is refused: an
 * environment entry without "=", wrong JSON types, digests that are none.
 */
#include "json.h"
#include "manifest.h"

enum { HEALTHCHECK_NS_MAX = 24 }; /* hours; more is a mistake */

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int parse_env(const json_t *j, struct image_config *c, struct err *e)
{
    bool bad = false;

    c->env = json_get_texts(j, "Env", &bad);
    if (bad)
        return err_set(e, ERR_INVALID_ARGUMENT, "the image's Env is not a list of strings");
    for (char **entry = c->env; entry && *entry; entry++)
        if (!strchr(*entry, '=') || **entry == '=')
            return err_set(e, ERR_INVALID_ARGUMENT,
                           "the image's Env has the entry \"%.100s\", which is not NAME=value",
                           *entry);
    return 0;
}

static int parse_labels(const json_t *j, struct image_config *c, struct err *e)
{
    json_t *labels = json_object_get(j, "Labels");
    const char *key;
    json_t *value;

    if (!labels || json_is_null(labels))
        return 0;
    if (!json_is_object(labels))
        return err_set(e, ERR_INVALID_ARGUMENT, "the image's Labels are not an object");
    json_object_foreach(labels, key, value)
    {
        if (!json_is_string(value))
            return err_set(e, ERR_INVALID_ARGUMENT, "the image's label \"%.100s\" is not a string",
                           key);
        struct key_value *kv = array_push(&c->labels, &c->n_labels, sizeof(*kv));
        kv->key = xstrdup(key);
        kv->value = xstrdup(json_string_value(value));
    }
    return 0;
}

static int parse_volumes(const json_t *j, struct image_config *c, struct err *e)
{
    json_t *volumes = json_object_get(j, "Volumes");
    const char *key;
    json_t *value;

    if (!volumes || json_is_null(volumes))
        return 0;
    if (!json_is_object(volumes))
        return err_set(e, ERR_INVALID_ARGUMENT, "the image's Volumes are not an object");
    size_t n = 0;
    if (json_object_size(volumes) == 0)
        return 0;
    c->volumes = xcalloc(json_object_size(volumes) + 1, sizeof(char *));
    json_object_foreach(volumes, key, value) c->volumes[n++] = xstrdup(key);
    qsort(c->volumes, n, sizeof(char *), compare_texts);
    return 0;
}

static int parse_healthcheck(const json_t *j, struct image_config *c, struct err *e)
{
    const json_t *h = json_object_get(j, "Healthcheck");
    const int64_t max = HEALTHCHECK_NS_MAX * 3600 * NS_PER_SEC;
    bool bad = false;

    if (!h || json_is_null(h))
        return 0;
    bad = !json_is_object(h);
    c->healthcheck = json_get_texts(h, "Test", &bad);
    c->health_interval_ns = json_get_number(h, "Interval", &bad);
    c->health_timeout_ns = json_get_number(h, "Timeout", &bad);
    c->health_start_period_ns = json_get_number(h, "StartPeriod", &bad);
    c->health_retries = json_get_number(h, "Retries", &bad);
    if (bad || c->health_interval_ns < 0 || c->health_interval_ns > max ||
        c->health_timeout_ns < 0 || c->health_timeout_ns > max || c->health_start_period_ns < 0 ||
        c->health_start_period_ns > max || c->health_retries < 0 || c->health_retries > INT32_MAX)
        return err_set(e, ERR_INVALID_ARGUMENT, "the image's Healthcheck is malformed");
    return 0;
}

static int parse_config(const json_t *j, struct image_config *c, struct err *e)
{
    bool bad = false;

    if (!j || json_is_null(j))
        return 0;
    if (!json_is_object(j))
        return err_set(e, ERR_INVALID_ARGUMENT, "the image's config is not an object");
    c->entrypoint = json_get_texts(j, "Entrypoint", &bad);
    c->cmd = json_get_texts(j, "Cmd", &bad);
    c->user = xstrdup(json_get_text(j, "User", &bad));
    c->working_dir = xstrdup(json_get_text(j, "WorkingDir", &bad));
    c->stop_signal = xstrdup(json_get_text(j, "StopSignal", &bad));
    if (bad)
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "the image's config has a member of the wrong type (Entrypoint, Cmd, User, "
                       "WorkingDir or StopSignal)");
    if (parse_env(j, c, e) < 0 || parse_labels(j, c, e) < 0 || parse_volumes(j, c, e) < 0)
        return -1;
    return parse_healthcheck(j, c, e);
}

static int parse_rootfs(const json_t *j, struct image_document *d, struct err *e)
{
    const json_t *rootfs = json_object_get(j, "rootfs");
    bool bad = !json_is_object(rootfs);
    const char *type = json_get_text(rootfs, "type", &bad);

    d->diff_ids = json_get_texts(rootfs, "diff_ids", &bad);
    if (bad || !str_equal(type, "layers"))
        return err_set(e, ERR_INVALID_ARGUMENT, "the image's configuration has no rootfs.diff_ids");
    for (char **id = d->diff_ids; id && *id; id++)
        if (!digest_valid(*id))
            return err_set(e, ERR_INVALID_ARGUMENT,
                           "the image's configuration has the diff_id \"%.100s\"; only sha256 is "
                           "supported",
                           *id);
    return 0;
}

int image_document_parse(const void *data, size_t len, struct image_document *ret, struct err *e)
{
    _cleanup_document_ struct image_document d = {0};
    bool bad = false;

    if (len > CONFIG_MAX)
        return err_set(e, ERR_RESOURCE_EXHAUSTED,
                       "the image's configuration is larger than %d bytes", CONFIG_MAX);
    _cleanup_json_ json_t *j = json_load_strict(data, len, "the image's configuration", e);
    if (!j)
        return -1;
    d.os = xstrdup(json_get_text(j, "os", &bad));
    d.architecture = xstrdup(json_get_text(j, "architecture", &bad));
    d.variant = xstrdup(json_get_text(j, "variant", &bad));
    if (bad || !json_is_object(j))
        return err_set(e, ERR_INVALID_ARGUMENT, "the image's configuration is malformed");
    if (parse_rootfs(j, &d, e) < 0 || parse_config(json_object_get(j, "config"), &d.config, e) < 0)
        return -1;
    *ret = d;
    d = (struct image_document){0};
    return 0;
}

int image_document_check_platform(const struct image_document *d, const struct platform *machine,
                                  struct err *e)
{
    /* Old tools leave them out; then there is nothing to compare. */
    if (str_empty(d->os) || str_empty(d->architecture))
        return 0;
    if (platform_score(machine, d->os, d->architecture, d->variant) > 0)
        return 0;
    return err_set(e, ERR_NOT_FOUND, "the image is not found for %s/%s; it is built for %s/%s%s%s",
                   machine->os, machine->architecture, d->os, d->architecture,
                   str_empty(d->variant) ? "" : "/", str_empty(d->variant) ? "" : d->variant);
}

void image_config_clear(struct image_config *c)
{
    strv_free(c->entrypoint);
    strv_free(c->cmd);
    strv_free(c->env);
    free(c->user);
    free(c->working_dir);
    free(c->stop_signal);
    strv_free(c->volumes);
    for (size_t i = 0; i < c->n_labels; i++) {
        free(c->labels[i].key);
        free(c->labels[i].value);
    }
    free(c->labels);
    strv_free(c->healthcheck);
    *c = (struct image_config){0};
}

void image_document_clear(struct image_document *d)
{
    image_config_clear(&d->config);
    free(d->os);
    free(d->architecture);
    free(d->variant);
    strv_free(d->diff_ids);
    *d = (struct image_document){0};
}
