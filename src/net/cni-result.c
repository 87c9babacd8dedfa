/*
 * cni-result.c - results and errors that plugins print.
 *
 * A result goes to the next plugin as it is, unknown keys included; podd reads the addresses, and
 * checks the shape of what it reads, since what comes is a program's output and may be anything.
 * The versions from 0.3.1 on differ in one thing: before 1.0.0 each address says its family.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "addr.h"
#include "cni-result.h"

enum { LIST_MAX = 1024 };

/* ---- Results --------------------------------------------------------------------------------- */

/* "10.1.0.2/24" without the prefix length. */
static int parse_address(const char *text, struct ip *ret)
{
    const char *slash = text ? strchr(text, '/') : NULL;
    uint64_t prefix;

    if (!slash)
        return -EINVAL;
    _cleanup_free_ char *ip = xstrndup(text, (size_t)(slash - text));
    if (ip_parse(ip, ret) < 0)
        return -EINVAL;
    return parse_uint(slash + 1, ip_size(ret) * 8, &prefix);
}

static int fail(struct err *e, const char *what, size_t index, const char *why)
{
    return err_set(e, ERR_UNKNOWN, "its result is malformed: %s[%zu]: %s", what, index, why);
}

static int check_interfaces(const json_t *list, struct err *e)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i), *sandbox = json_object_get(item, "sandbox");
        if (!json_is_string(json_object_get(item, "name")))
            return fail(e, "interfaces", i, "it has no name");
        if (sandbox && !json_is_string(sandbox) && !json_is_null(sandbox))
            return fail(e, "interfaces", i, "its sandbox is no text");
    }
    return 0;
}

static int check_address(json_t *item, size_t index, size_t n_interfaces, enum cni_version version,
                         struct err *e)
{
    const json_t *interface = json_object_get(item, "interface");
    struct ip ip;

    if (!json_is_object(item) ||
        parse_address(json_string_value(json_object_get(item, "address")), &ip) < 0)
        return fail(e, "ips", index, "its address is not like 10.1.0.2/24");
    if (interface && !json_is_null(interface) &&
        (!json_is_integer(interface) || json_integer_value(interface) < 0 ||
         (uint64_t)json_integer_value(interface) >= n_interfaces))
        return fail(e, "ips", index, "its interface is not one of the result's");
    if (version >= CNI_1_0_0)
        json_object_del(item, "version");
    else
        json_object_set_new(item, "version", json_string(ip.family == AF_INET ? "4" : "6"));
    return 0;
}

static int check_result(json_t *result, enum cni_version version, struct err *e)
{
    const json_t *said = json_object_get(result, "cniVersion");
    const json_t *interfaces = json_object_get(result, "interfaces");
    const json_t *ips = json_object_get(result, "ips");
    enum cni_version v;

    if (!json_is_object(result))
        return err_set(e, ERR_UNKNOWN, "its result is no JSON object");
    if (said && cni_version_parse(json_string_value(said), &v) < 0)
        return err_set(e, ERR_UNKNOWN, "its result is of a version that podd does not speak");
    if ((interfaces && !json_is_array(interfaces) && !json_is_null(interfaces)) ||
        (ips && !json_is_array(ips) && !json_is_null(ips)) ||
        json_array_size(interfaces) > LIST_MAX || json_array_size(ips) > LIST_MAX)
        return err_set(e, ERR_UNKNOWN,
                       "its result is malformed: interfaces and ips are lists of at most %d",
                       LIST_MAX);
    if (check_interfaces(interfaces, e) < 0)
        return -1;
    for (size_t i = 0; i < json_array_size(ips); i++)
        if (check_address(json_array_get(ips, i), i, json_array_size(interfaces), version, e) < 0)
            return -1;
    json_object_set_new(result, "cniVersion", json_string(cni_version_text[version]));
    return 0;
}

int cni_result_parse(const void *data, size_t len, enum cni_version version, json_t **ret,
                     struct err *e)
{
    json_error_t where;
    _cleanup_json_ json_t *result = json_loadb(data, len, 0, &where);

    if (!result) {
        _cleanup_free_ char *shown = cni_text(data, len < 200 ? len : 200, false);
        return err_set(e, ERR_UNKNOWN, "it printed no result but%s%s%s",
                       *shown ? " \"" : " nothing", shown, *shown ? "\"" : "");
    }
    if (check_result(result, version, e) < 0)
        return -1;
    *ret = take_ptr(result);
    return 0;
}

/* Whether the address lies on that interface in the pod; on any, where `name` is NULL. One that
 * names no interface is the pod's. */
static bool is_on(const json_t *result, const json_t *item, const char *name)
{
    const json_t *index = json_object_get(item, "interface");

    if (!json_is_integer(index))
        return true;
    const json_t *interface =
        json_array_get(json_object_get(result, "interfaces"), (size_t)json_integer_value(index));
    if (str_empty(json_string_value(json_object_get(interface, "sandbox"))))
        return false; /* the node's own */
    return !name || str_equal(json_string_value(json_object_get(interface, "name")), name);
}

static void collect(const json_t *result, const char *name, struct net_addresses *ret)
{
    const json_t *ips = json_object_get(result, "ips");
    struct ip ip;

    for (size_t i = 0; i < json_array_size(ips) && ret->count < NET_ADDRESSES_MAX; i++) {
        const json_t *item = json_array_get(ips, i);
        if (is_on(result, item, name) &&
            parse_address(json_string_value(json_object_get(item, "address")), &ip) == 0)
            ip_format(&ip, ret->text[ret->count++]);
    }
}

int cni_result_addresses(const json_t *result, const char *interface, struct net_addresses *ret,
                         struct err *e)
{
    struct net_addresses found = {0};

    collect(result, interface, &found);
    if (found.count == 0)
        collect(result, NULL, &found);
    if (found.count == 0)
        return err_set(e, ERR_UNKNOWN, "the plugins gave the pod no address");
    *ret = found;
    return 0;
}

/* ---- Errors ---------------------------------------------------------------------------------- */

/* The specification's numbers; from 100 on they are the plugins' own. */
static enum err_code code_from(json_int_t code)
{
    switch (code) {
    case 1: /* version */
    case 2: /* a field that it does not support */
    case 7: /* the configuration */
        return ERR_FAILED_PRECONDITION;
    case 11: /* try again later */
    case 50: /* the plugin is not available */
    case 51: /* and pods that are there may be cut off */
        return ERR_UNAVAILABLE;
    default:
        return ERR_UNKNOWN;
    }
}

static bool read_error(const struct bytes *out, struct err *e)
{
    _cleanup_json_ json_t *error = json_loadb((const char *)out->data, out->len, 0, NULL);
    const json_t *code = json_object_get(error, "code");
    const char *msg = json_string_value(json_object_get(error, "msg"));
    const char *details = json_string_value(json_object_get(error, "details"));

    if (!json_is_integer(code) || (str_empty(msg) && str_empty(details)))
        return false;
    _cleanup_free_ char *shown = cni_text(msg ? msg : "", strlen(msg ? msg : ""), true);
    _cleanup_free_ char *more =
        cni_text(details ? details : "", strlen(details ? details : ""), true);
    err_set(e, code_from(json_integer_value(code)), "%s%s%s (code %lld)", shown,
            *shown && *more ? "; " : "", more, (long long)json_integer_value(code));
    return true;
}

int cni_failure(const struct bytes *out, const struct bytes *err_out, int status, struct err *e)
{
    char how[64];

    if (out->len > 0 && read_error(out, e))
        return -1;
    if (WIFSIGNALED(status))
        snprintf(how, sizeof(how), "it was ended by signal %d", WTERMSIG(status));
    else
        snprintf(how, sizeof(how), "it exited with %d", WEXITSTATUS(status));
    const struct bytes *said = err_out->len > 0 ? err_out : out;
    _cleanup_free_ char *shown = cni_text((const char *)said->data, said->len, false);
    return err_set(e, ERR_UNKNOWN, "%s%s%s", how, *shown ? ": " : " and said nothing", shown);
}
