/*
 * names.c - the grammars of names, one function each. The texts say the rule, for whoever reads
 * them has just broken it.
 */
#include "names.h"

#include "podd/image.h"

#include <arpa/inet.h>

static bool is_lower_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(char c)
{
    return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

/* One label: [a-z0-9]([-a-z0-9]*[a-z0-9])? */
static bool is_dns_label(const char *s, size_t len)
{
    if (len == 0 || !is_lower_alnum(s[0]) || !is_lower_alnum(s[len - 1]))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!is_lower_alnum(s[i]) && s[i] != '-')
            return false;
    return true;
}

static bool is_dns_subdomain(const char *s, size_t len)
{
    const char *end = s + len;

    if (len == 0 || len > 253)
        return false;
    for (;;) {
        const char *dot = memchr(s, '.', (size_t)(end - s));
        if (!is_dns_label(s, (size_t)((dot ? dot : end) - s)))
            return false;
        if (!dot)
            return true;
        s = dot + 1;
    }
}

/* [A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?, at most 63: the name part of a label. */
static bool is_qualified_name(const char *s)
{
    size_t len = strlen(s);

    if (len == 0 || len > 63 || !is_alnum(s[0]) || !is_alnum(s[len - 1]))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!is_alnum(s[i]) && s[i] != '-' && s[i] != '_' && s[i] != '.')
            return false;
    return true;
}

const char *name_check_dns_label(const char *s)
{
    if (strlen(s) <= 63 && is_dns_label(s, strlen(s)))
        return NULL;
    return "must be at most 63 lower-case letters, digits and '-', with a letter or digit at "
           "either end";
}

const char *name_check_dns_subdomain(const char *s)
{
    if (is_dns_subdomain(s, strlen(s)))
        return NULL;
    return "must be at most 253 lower-case letters, digits, '-' and '.', with a letter or digit at "
           "either end of each part";
}

const char *name_check_label_key(const char *s)
{
    const char *slash = strchr(s, '/');

    if (slash && !is_dns_subdomain(s, (size_t)(slash - s)))
        return "must have a domain name before the '/'";
    if (!is_qualified_name(slash ? slash + 1 : s))
        return "must be at most 63 letters, digits, '-', '_' and '.', with a letter or digit at "
               "either end (a domain and '/' may come first)";
    return NULL;
}

const char *name_check_label_value(const char *s)
{
    if (*s == '\0' || is_qualified_name(s))
        return NULL;
    return "must be at most 63 letters, digits, '-', '_' and '.', with a letter or digit at "
           "either end";
}

const char *name_check_env_name(const char *s)
{
    if (*s == '\0')
        return "must not be empty";
    for (; *s; s++)
        if (*s <= ' ' || *s > '~' || *s == '=')
            return "must be printable ASCII characters other than blanks and '='";
    return NULL;
}

const char *name_check_port_name(const char *s)
{
    size_t len = strlen(s);
    bool letter = false;

    for (size_t i = 0; i < len; i++)
        letter = letter || (s[i] >= 'a' && s[i] <= 'z');
    if (len <= 15 && letter && is_dns_label(s, len) && !strstr(s, "--"))
        return NULL;
    return "must be at most 15 lower-case letters, digits and single '-', at least one letter "
           "among them";
}

const char *name_check_ip(const char *s)
{
    unsigned char address[sizeof(struct in6_addr)];

    if (inet_pton(AF_INET, s, address) == 1 || inet_pton(AF_INET6, s, address) == 1)
        return NULL;
    return "must be an IPv4 or IPv6 address";
}

static bool has_parent_component(const char *s)
{
    for (const char *part = s; part; part = strchr(part, '/')) {
        part += *part == '/';
        if (strncmp(part, "..", 2) == 0 && (part[2] == '/' || part[2] == '\0'))
            return true;
    }
    return false;
}

const char *name_check_absolute_path(const char *s)
{
    if (*s != '/')
        return "must be an absolute path";
    return has_parent_component(s) ? "must not contain '..'" : NULL;
}

const char *name_check_relative_path(const char *s)
{
    if (*s == '/')
        return "must be a relative path";
    return has_parent_component(s) ? "must not contain '..'" : NULL;
}

const char *name_check_file_path(const char *s)
{
    const char *wrong = name_check_relative_path(s);

    if (wrong)
        return wrong;
    if (*s == '\0' || s[strlen(s) - 1] == '/' || strstr(s, "//") || str_equal(s, ".") ||
        strncmp(s, "./", 2) == 0 || strstr(s, "/./") || str_ends_with(s, "/."))
        return "must be the path of a file";
    return strncmp(s, "..", 2) == 0 ? "must not begin with '..'" : NULL;
}

const char *name_check_not_empty(const char *s)
{
    return *s ? NULL : "must not be empty";
}

const char *name_check_data_key(const char *s)
{
    size_t len = strlen(s);
    bool good = len > 0 && len <= 253 && strncmp(s, "..", 2) != 0 && !str_equal(s, ".");

    for (size_t i = 0; i < len; i++)
        good = good && (is_alnum(s[i]) || s[i] == '-' || s[i] == '_' || s[i] == '.');
    if (good)
        return NULL;
    return "must be at most 253 letters, digits, '-', '_' and '.', and not begin with '..'";
}

const char *name_check_image(const char *s)
{
    struct image_ref ref = {0};
    _cleanup_err_ struct err e = ERR_INIT;

    if (image_ref_parse(s, &ref, &e) < 0)
        return "must be an image name such as docker.io/library/busybox:1.36";
    image_ref_clear(&ref);
    return NULL;
}
