/*
 * config_check.c - whether a text of the configuration is what it should be: a path, an address, a
 * network, a name. The errors do not say where the text stood; the callers know.
 */
#include "config_check.h"

#include <arpa/inet.h>
#include <linux/if.h>
#include <sys/un.h>

static int fail_text(struct err *e, const char *what)
{
    return err_set(e, ERR_INVALID_ARGUMENT, "%s", what);
}

int check_path(const char *path, struct err *e)
{
    size_t len = strlen(path);

    if (path[0] != '/')
        return err_set(e, ERR_INVALID_ARGUMENT, "path %s is not absolute", path);
    if (len == 1)
        return fail_text(e, "the path / is too much");
    if (path[len - 1] == '/' || strstr(path, "//") || strstr(path, "/./") || strstr(path, "/../") ||
        str_ends_with(path, "/..") || str_ends_with(path, "/."))
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "path %s is not in its shortest form (no //, /./, /../, / at the end)",
                       path);
    return 0;
}

/* They are told to plugins as one text with colons between them. */
int check_plugin_dir(const char *path, struct err *e)
{
    if (strchr(path, ':'))
        return err_set(e, ERR_INVALID_ARGUMENT, "path %s has a colon in it", path);
    return check_path(path, e);
}

int check_socket(const char *address, struct err *e)
{
    const size_t max = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;
    const char *prefix = "unix://";

    if (!str_starts_with(address, "unix:///"))
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "address %s is not of the form unix:///path/to/socket", address);
    if (strlen(address + strlen(prefix)) > max)
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "path of the socket is longer than the %zu bytes that the kernel takes",
                       max);
    return check_path(address + strlen(prefix), e);
}

static bool is_ip(const char *text)
{
    uint8_t binary[16];

    return inet_pton(AF_INET, text, binary) == 1 || inet_pton(AF_INET6, text, binary) == 1;
}

int config_check_ip(const char *text, struct err *e)
{
    if (is_ip(text))
        return 0;
    return err_set(e, ERR_INVALID_ARGUMENT, "%s is not an IP address", text);
}

/* "10.85.0.0/16". Overlaps are the network's to find. */
int check_cidr(const char *text, struct err *e)
{
    const char *slash = strchr(text, '/');
    _cleanup_free_ char *ip = xstrndup(text, slash ? (size_t)(slash - text) : strlen(text));
    uint64_t max = strchr(ip, ':') ? 128 : 32;
    uint64_t bits;

    if (slash && is_ip(ip) && parse_uint(slash + 1, max, &bits) == 0 && bits >= 1)
        return 0;
    return err_set(e, ERR_INVALID_ARGUMENT, "%s is not a network like 10.85.0.0/16", text);
}

/* "127.0.0.1:9100", "[::1]:9100" */
int check_ip_port(const char *text, struct err *e)
{
    const char *colon = strrchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : 0;
    bool brackets = len > 2 && text[0] == '[' && colon[-1] == ']';
    _cleanup_free_ char *ip = brackets ? xstrndup(text + 1, len - 2) : xstrndup(text, len);
    uint64_t port;

    /* Without brackets the last part of an IPv6 address would pass for a port. */
    if (colon && is_ip(ip) && brackets == (strchr(ip, ':') != NULL) &&
        parse_uint(colon + 1, UINT16_MAX, &port) == 0 && port > 0)
        return 0;
    return err_set(e, ERR_INVALID_ARGUMENT, "%s is not of the form 127.0.0.1:9100", text);
}

int check_interface(const char *text, struct err *e)
{
    if (strlen(text) >= IFNAMSIZ)
        return err_set(e, ERR_INVALID_ARGUMENT, "%s is longer than the %d bytes of an interface",
                       text, IFNAMSIZ - 1);
    for (const char *p = text; *p; p++)
        if (*p <= ' ' || *p > '~' || strchr("/:%", *p))
            return err_set(e, ERR_INVALID_ARGUMENT, "%s is no name for an interface", text);
    if (str_equal(text, ".") || str_equal(text, ".."))
        return err_set(e, ERR_INVALID_ARGUMENT, "%s is no name for an interface", text);
    return 0;
}

int check_url(const char *text, struct err *e)
{
    const char *rest = str_starts_with(text, "http://")    ? text + strlen("http://")
                       : str_starts_with(text, "https://") ? text + strlen("https://")
                                                           : "";

    if (rest[0] == '\0' || rest[0] == '/' || strpbrk(text, " \t\r\n\"<>\\"))
        return err_set(e, ERR_INVALID_ARGUMENT, "%s is not a URL like https://mirror.example",
                       text);
    return 0;
}

int check_prefix(const char *text, struct err *e)
{
    if (strstr(text, "://") || text[0] == '/' || str_ends_with(text, "/") ||
        strpbrk(text, " \t\r\n\"@"))
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "%s is not a registry like docker.io or example.org/team", text);
    return 0;
}
