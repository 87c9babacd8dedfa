/*
 * reference.c - image references: Docker's grammar, normalised the way the kubelet does.
 *
 *   reference  = [ registry "/" ] path { "/" path } [ ":" tag ] [ "@" digest ]
 *
 * The first component is a registry only when it looks like a host ("." or ":" in it, upper-case
 * letters, or "localhost"); else the registry is docker.io, where a lone component lives below
 * "library/". Parsing is pure: nothing here knows about the store or the network.
 */
#include <ctype.h>

#include "digest.h"
#include "podd/image.h"

enum {
    REFERENCE_MAX = 1024, /* longer texts are not worth looking at */
    REPOSITORY_MAX = 255,
    TAG_MAX = 128,
};

static const char DEFAULT_REGISTRY[] = "docker.io";
static const char OLD_DEFAULT_REGISTRY[] = "index.docker.io";

static bool is_lower_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(char c)
{
    return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

/* How many characters of `s` are one separator of a path component: ".", "_", "__" or dashes. */
static size_t separator_len(const char *s, size_t len)
{
    size_t n = 0;

    if (s[0] == '.')
        return 1;
    if (s[0] == '_')
        return len > 1 && s[1] == '_' ? 2 : 1;
    while (n < len && s[n] == '-')
        n++;
    return n;
}

static bool path_component_valid(const char *s, size_t len)
{
    size_t i = 0;

    if (len == 0 || !is_lower_alnum(s[0]))
        return false;
    while (i < len) {
        if (is_lower_alnum(s[i])) {
            i++;
            continue;
        }
        size_t n = separator_len(s + i, len - i);
        i += n;
        if (n == 0 || i >= len || !is_lower_alnum(s[i]))
            return false;
    }
    return true;
}

static bool repository_valid(const char *s)
{
    if (strlen(s) > REPOSITORY_MAX)
        return false;
    for (;;) {
        size_t len = strcspn(s, "/");
        if (!path_component_valid(s, len))
            return false;
        if (!s[len])
            return true;
        s += len + 1;
    }
}

static bool port_valid(const char *s)
{
    uint64_t port;

    return parse_uint(s, 65535, &port) == 0 && port > 0;
}

/* A host name or IPv4 address: labels of letters, digits and inner dashes. */
static bool host_valid(const char *s, size_t len)
{
    bool at_start = true;

    for (size_t i = 0; i < len; i++) {
        bool last = i + 1 == len || s[i + 1] == '.';
        if (s[i] == '.') {
            if (at_start)
                return false;
            at_start = true;
        } else if (is_alnum(s[i]) || (s[i] == '-' && !at_start && !last)) {
            at_start = false;
        } else {
            return false;
        }
    }
    return len > 0 && !at_start;
}

static bool registry_valid(const char *s)
{
    if (s[0] == '[') {
        size_t len = strspn(s + 1, "0123456789abcdefABCDEF:.");
        const char *end = s + 1 + len;
        return len >= 2 && *end == ']' && (!end[1] || (end[1] == ':' && port_valid(end + 2)));
    }
    size_t len = strcspn(s, ":");
    return host_valid(s, len) && (!s[len] || port_valid(s + len + 1));
}

static bool tag_valid(const char *s)
{
    size_t len = strlen(s);

    if (len == 0 || len > TAG_MAX || !(is_alnum(s[0]) || s[0] == '_'))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!is_alnum(s[i]) && !strchr("_.-", s[i]))
            return false;
    return true;
}

static bool looks_like_registry(const char *s, size_t len)
{
    if (len == strlen("localhost") && memcmp(s, "localhost", len) == 0)
        return true;
    for (size_t i = 0; i < len; i++)
        if (s[i] == '.' || s[i] == ':' || isupper((unsigned char)s[i]))
            return true;
    return false;
}

/* Splits `name` (neither tag nor digest in it) into registry and repository. */
static int split_name(const char *name, struct image_ref *ref)
{
    const char *slash = strchr(name, '/');

    if (slash && looks_like_registry(name, (size_t)(slash - name))) {
        ref->registry = xstrndup(name, (size_t)(slash - name));
        name = slash + 1;
    } else {
        ref->registry = xstrdup(DEFAULT_REGISTRY);
    }
    if (!registry_valid(ref->registry))
        return -1;
    if (str_equal(ref->registry, OLD_DEFAULT_REGISTRY)) {
        free(ref->registry);
        ref->registry = xstrdup(DEFAULT_REGISTRY);
    }
    if (str_equal(ref->registry, DEFAULT_REGISTRY) && !strchr(name, '/'))
        ref->repository = xasprintf("library/%s", name);
    else
        ref->repository = xstrdup(name);
    return repository_valid(ref->repository) ? 0 : -1;
}

/* Why `name` is no repository, in words that help. */
static int refuse_name(const char *text, const char *name, struct err *e)
{
    for (const char *s = name; *s; s++)
        if (isupper((unsigned char)*s))
            return err_set(e, ERR_INVALID_ARGUMENT,
                           "image reference \"%s\": the repository name must be lower-case", text);
    return err_set(e, ERR_INVALID_ARGUMENT,
                   "image reference \"%s\" is not of the form [registry/]name[:tag][@digest]",
                   text);
}

static int parse_parts(const char *text, char *name, struct image_ref *ref, struct err *e)
{
    char *at = strchr(name, '@');
    if (at) {
        *at = 0;
        if (!digest_valid(at + 1))
            return err_set(e, ERR_INVALID_ARGUMENT,
                           "image reference \"%s\": the digest must be sha256: and 64 lower-case "
                           "hex digits",
                           text);
        ref->digest = xstrdup(at + 1);
    }
    char *slash = strrchr(name, '/');
    char *colon = strrchr(name, ':');
    if (colon && (!slash || colon > slash)) {
        *colon = 0;
        if (!tag_valid(colon + 1))
            return err_set(e, ERR_INVALID_ARGUMENT, "image reference \"%s\": invalid tag", text);
        ref->tag = xstrdup(colon + 1);
    }
    if (digest_hex_valid(name))
        return err_set(e, ERR_INVALID_ARGUMENT, "image reference \"%s\" is an image id, not a name",
                       text);
    if (split_name(name, ref) < 0)
        return refuse_name(text, name, e);
    /* With a digest the tag says nothing. */
    if (ref->digest) {
        free(ref->tag);
        ref->tag = NULL;
    } else if (!ref->tag) {
        ref->tag = xstrdup("latest");
    }
    return 0;
}

int image_ref_parse(const char *text, struct image_ref *ret, struct err *e)
{
    struct image_ref ref = {0};

    if (str_empty(text))
        return err_set(e, ERR_INVALID_ARGUMENT, "the image reference is empty");
    if (strlen(text) > REFERENCE_MAX)
        return err_set(e, ERR_INVALID_ARGUMENT, "the image reference is longer than %d characters",
                       REFERENCE_MAX);
    _cleanup_free_ char *name = xstrdup(text);
    if (parse_parts(text, name, &ref, e) < 0) {
        image_ref_clear(&ref);
        return -1;
    }
    *ret = ref;
    return 0;
}

char *image_ref_format(const struct image_ref *ref)
{
    return xasprintf("%s/%s%s%s", ref->registry, ref->repository, ref->digest ? "@" : ":",
                     ref->digest ? ref->digest : ref->tag);
}

void image_ref_clear(struct image_ref *ref)
{
    free(ref->registry);
    free(ref->repository);
    free(ref->tag);
    free(ref->digest);
    *ref = (struct image_ref){0};
}
