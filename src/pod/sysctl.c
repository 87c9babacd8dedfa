/*
 * sysctl.c - which sysctls a pod gets: podd's defaults, then what was asked.
 *
 * Only names that belong to a namespace the pod owns are let through, for any other one would
 * change the node. Both separators are known to users ("net/ipv4/ip_forward"); a name uses one.
 */
#include <stdio.h>

#include "private.h"
#include "sysctl.h"

#define PING_GROUPS "net.ipv4.ping_group_range"

static bool has_bad_part(const char *key)
{
    for (const char *part = key;; part++) {
        size_t len = strcspn(part, ".");
        if (len == 0 ||
            strspn(part, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") < len)
            return true;
        part += len;
        if (!*part)
            return false;
    }
}

static int normalise(const char *key, char **ret, struct err *e)
{
    _cleanup_free_ char *copy = str_or_empty(key);

    if (strchr(copy, '/') && strchr(copy, '.'))
        return err_set(e, ERR_INVALID_ARGUMENT, "sysctl %s: use either '.' or '/' as separator",
                       copy);
    for (char *c = copy; *c; c++)
        if (*c == '/')
            *c = '.';
    if (has_bad_part(copy))
        return err_set(e, ERR_INVALID_ARGUMENT, "sysctl %s: this is no name of a sysctl", copy);
    *ret = take_ptr(copy);
    return 0;
}

static int check_owner(const char *key, const struct sandbox_config *config, struct err *e)
{
    bool net = str_starts_with(key, "net.");
    bool ipc = str_starts_with(key, "kernel.shm") || str_starts_with(key, "kernel.msg") ||
               str_equal(key, "kernel.sem") || str_starts_with(key, "fs.mqueue.");

    if (!net && !ipc)
        return err_set(e, ERR_INVALID_ARGUMENT, "sysctl %s belongs to the whole node, not to a pod",
                       key);
    if (net && config->network == NAMESPACE_NODE)
        return err_set(e, ERR_INVALID_ARGUMENT, "sysctl %s: the pod uses the node's network", key);
    if (ipc && config->ipc == NAMESPACE_NODE)
        return err_set(e, ERR_INVALID_ARGUMENT, "sysctl %s: the pod uses the node's IPC", key);
    return 0;
}

static int check_value(const char *key, const char *value, struct err *e)
{
    if (str_empty(value))
        return err_set(e, ERR_INVALID_ARGUMENT, "sysctl %s: the value is empty", key);
    for (const char *c = value; *c; c++)
        if ((unsigned char)*c < ' ' && *c != '\t')
            return err_set(e, ERR_INVALID_ARGUMENT, "sysctl %s: control characters are not allowed",
                           key);
    return 0;
}

/* A later value replaces an earlier one of the same key. */
static void set_sysctl(spawn_request_t *request, const char *key, const char *value)
{
    for (size_t i = 0; i < request->n_sysctls; i++) {
        sysctl_t *old = request->sysctls[i];
        if (str_equal(old->key, key)) {
            free(old->value);
            old->value = xstrdup(value);
            return;
        }
    }
    sysctl_t *sysctl = xmalloc(sizeof(*sysctl));
    podd__shim__sysctl__init(sysctl);
    sysctl->key = xstrdup(key);
    sysctl->value = xstrdup(value);
    *(sysctl_t **)array_push(&request->sysctls, &request->n_sysctls, sizeof(sysctl)) = sysctl;
}

/* Ordinary users may ping and listen on any port of a network that is the pod's alone. */
static void set_defaults(spawn_request_t *request)
{
    set_sysctl(request, "net.ipv4.ip_unprivileged_port_start", "0");
    set_sysctl(request, PING_GROUPS, "0 2147483647");
}

/* The kernel takes these groups to be of the user namespace of who writes them, and the shim is in
 * the node's. Those that the pod cannot have are left out. */
static void map_ping_groups(const struct id_range *map, spawn_request_t *request)
{
    unsigned long long low = 0, high = 0;
    char range[64] = "1 0"; /* none */

    for (size_t i = 0; i < request->n_sysctls; i++) {
        const sysctl_t *s = request->sysctls[i];
        if (!str_equal(s->key, PING_GROUPS) || sscanf(s->value, "%llu %llu", &low, &high) != 2)
            continue;
        high = high < map->length ? high : map->length - 1;
        /* The kernel knows no higher group here. */
        if (low <= high && map->host_id + high <= INT32_MAX)
            snprintf(range, sizeof(range), "%llu %llu", map->host_id + low, map->host_id + high);
        set_sysctl(request, PING_GROUPS, range);
        return;
    }
}

int sysctl_plan(const struct sandbox_config *config, spawn_request_t *request, struct err *e)
{
    if (config->network != NAMESPACE_NODE)
        set_defaults(request);
    for (size_t i = 0; i < config->n_sysctls; i++) {
        const char *value = config->sysctls[i].value;
        _cleanup_free_ char *key = NULL;
        if (normalise(config->sysctls[i].key, &key, e) < 0 || check_owner(key, config, e) < 0 ||
            check_value(key, value, e) < 0)
            return -1;
        set_sysctl(request, key, value);
    }
    if (config->n_gid_maps > 0)
        map_ping_groups(&config->gid_maps[0], request);
    return 0;
}
