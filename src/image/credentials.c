/*
 * credentials.c - credentials, and the rules of who gets to see them.
 *
 * A registry answers 401 with a challenge that names the server to log in at. If that were
 * believed, any registry could send the password to whomever it likes; so credentials go to the
 * registry's own origin, or to a domain above it (who controls that controls the registry's name
 * anyway). To all others we are anonymous.
 */
#include <ctype.h>
#include <fcntl.h>
#include <openssl/evp.h>

#include "credentials.h"
#include "json.h"

enum { AUTH_FILE_MAX = 1 << 20 };

void credentials_clear(struct credentials *c)
{
    free(c->username);
    free(c->password);
    free(c->identity_token);
    free(c->registry_token);
    *c = (struct credentials){0};
}

bool credentials_empty(const struct credentials *c)
{
    return !c->username && !c->identity_token && !c->registry_token;
}

bool credentials_equal(const struct credentials *a, const struct credentials *b)
{
    return str_equal(a->username, b->username) && str_equal(a->password, b->password) &&
           str_equal(a->identity_token, b->identity_token) &&
           str_equal(a->registry_token, b->registry_token);
}

/* ---- Choosing -------------------------------------------------------------------------------- */

/* The host of "https://index.docker.io/v1/" and the like; Docker Hub has many names. */
static char *server_host(const char *address)
{
    const char *scheme = strstr(address, "://");
    const char *host = scheme ? scheme + 3 : address;
    char *name = xstrndup(host, strcspn(host, "/"));

    if (str_equal(name, "index.docker.io") || str_equal(name, "registry-1.docker.io")) {
        free(name);
        name = xstrdup("docker.io");
    }
    return name;
}

static bool is_for(const char *address, const char *registry)
{
    _cleanup_free_ char *host = server_host(address);

    return str_equal(host, registry);
}

static char *dup_nonempty(const char *s)
{
    return str_empty(s) ? NULL : xstrdup(s);
}

/* base64("user:password") */
static bool decode_auth(const char *text, struct credentials *ret)
{
    size_t len = strlen(text);

    if (len == 0 || len % 4 || len > INT32_MAX)
        return false;
    /* What pads it are NULs, and end the password. */
    _cleanup_free_ char *plain = xcalloc(1, len + 1);
    if (EVP_DecodeBlock((unsigned char *)plain, (const unsigned char *)text, (int)len) < 0)
        return false;
    char *colon = strchr(plain, ':');
    if (!colon || colon == plain)
        return false;
    *colon = 0;
    ret->username = xstrdup(plain);
    ret->password = xstrdup(colon + 1);
    return true;
}

/* The strongest of what there is. */
static int take_given(const struct image_auth *auth, struct credentials *ret, struct err *e)
{
    if (!str_empty(auth->username)) {
        ret->username = xstrdup(auth->username);
        ret->password = xstrdup(auth->password ? auth->password : "");
        return 0;
    }
    ret->identity_token = dup_nonempty(auth->identity_token);
    if (ret->identity_token)
        return 0;
    if (!str_empty(auth->encoded))
        return decode_auth(auth->encoded, ret)
                   ? 0
                   : err_set(e, ERR_INVALID_ARGUMENT,
                             "the credentials are not base64 of \"user:password\"");
    ret->registry_token = dup_nonempty(auth->registry_token);
    return 0;
}

static int read_entry(const json_t *entry, const char *file, const char *registry,
                      struct credentials *ret, struct err *e)
{
    bool bad = !json_is_object(entry);
    struct image_auth given = {
        .username = json_get_text(entry, "username", &bad),
        .password = json_get_text(entry, "password", &bad),
        .encoded = json_get_text(entry, "auth", &bad),
        .identity_token = json_get_text(entry, "identitytoken", &bad),
        .registry_token = json_get_text(entry, "registrytoken", &bad),
    };

    if (bad)
        return err_set(e, ERR_INVALID_ARGUMENT, "%s: the entry of %s is malformed", file, registry);
    if (take_given(&given, ret, e) < 0)
        return err_wrap(e, "%s: the entry of %s", file, registry);
    return 0;
}

/* Docker's config.json. */
static int read_auth_file(const char *file, const char *registry, struct credentials *ret,
                          struct err *e)
{
    _cleanup_bytes_ struct bytes text = {0};
    const char *address;
    json_t *entry;

    if (file_read(AT_FDCWD, file, AUTH_FILE_MAX, &text, e) < 0)
        return -1;
    _cleanup_json_ json_t *j = json_load_strict(text.data, text.len, file, e);
    if (!j)
        return -1;
    json_object_foreach(json_object_get(j, "auths"), address,
                        entry) if (is_for(address, registry)) return read_entry(entry, file,
                                                                                registry, ret, e);
    return 0;
}

int credentials_choose(const struct image_auth *auth, const char *auth_file, const char *registry,
                       struct credentials *ret, struct err *e)
{
    struct credentials c = {0};

    if (auth && (str_empty(auth->server_address) || is_for(auth->server_address, registry)) &&
        take_given(auth, &c, e) < 0)
        return -1;
    if (!auth && auth_file && read_auth_file(auth_file, registry, &c, e) < 0)
        return -1;
    *ret = c;
    return 0;
}

/* ---- Headers --------------------------------------------------------------------------------- */

static bool is_printable(const char *s)
{
    for (; *s; s++)
        if (!isprint((unsigned char)*s))
            return false;
    return true;
}

char *header_basic(const char *username, const char *password)
{
    _cleanup_free_ char *plain = xasprintf("%s:%s", username, password);
    size_t len = strlen(plain);
    _cleanup_free_ char *encoded = xcalloc(1, 4 * ((len + 2) / 3) + 1);

    EVP_EncodeBlock((unsigned char *)encoded, (const unsigned char *)plain, (int)len);
    return xasprintf("Authorization: Basic %s", encoded);
}

char *header_bearer(const char *token)
{
    return is_printable(token) ? xasprintf("Authorization: Bearer %s", token) : NULL;
}

/* ---- Challenges ------------------------------------------------------------------------------ */

/* A token or a quoted string at *s; moves *s behind it. */
static char *parse_value(const char **s)
{
    struct strbuf b = {0};

    if (**s != '"') {
        size_t len = strcspn(*s, ", \t");
        strbuf_add(&b, *s, len);
        *s += len;
        return strbuf_take(&b);
    }
    for (++*s; **s && **s != '"'; ++*s) {
        if (**s == '\\' && (*s)[1])
            ++*s;
        strbuf_add(&b, *s, 1);
    }
    if (**s == '"')
        ++*s;
    return strbuf_take(&b);
}

static void set_once(char **slot, char *value_take)
{
    if (*slot)
        free(value_take);
    else
        *slot = value_take;
}

static void parse_parameters(const char *s, struct challenge *ret)
{
    for (;;) {
        s += strspn(s, ", \t");
        size_t len = strcspn(s, "=, \t");
        if (!len || s[len] != '=')
            return; /* the end, or the next challenge of the same header */
        const char *value = s + len + 1;
        char *text = parse_value(&value);
        if (len == 5 && strncasecmp(s, "realm", len) == 0)
            set_once(&ret->realm, text);
        else if (len == 7 && strncasecmp(s, "service", len) == 0)
            set_once(&ret->service, text);
        else if (len == 5 && strncasecmp(s, "scope", len) == 0)
            set_once(&ret->scope, text);
        else
            free(text);
        s = value;
    }
}

void challenge_parse(const char *header, struct challenge *ret)
{
    *ret = (struct challenge){0};
    if (!header)
        return;
    header += strspn(header, " \t");
    if (strncasecmp(header, "Bearer ", 7) == 0)
        ret->scheme = CHALLENGE_BEARER;
    else if (strncasecmp(header, "Basic", 5) == 0 && (!header[5] || header[5] == ' '))
        ret->scheme = CHALLENGE_BASIC;
    else
        return;
    header += strcspn(header, " ");
    parse_parameters(header, ret);
}

void challenge_clear(struct challenge *c)
{
    free(c->realm);
    free(c->service);
    free(c->scope);
    *c = (struct challenge){0};
}

/* ---- Realms ---------------------------------------------------------------------------------- */

/* "example.org" is above "registry.example.org"; a name without a dot is above nothing. */
static bool is_domain_above(const char *above, const char *host)
{
    size_t a = strlen(above), h = strlen(host);

    /* The names above an address are not domains. */
    if (isdigit((unsigned char)host[h - 1]) || host[0] == '[')
        return false;
    return strchr(above, '.') && h > a + 1 && host[h - a - 1] == '.' &&
           str_equal(host + h - a, above);
}

bool realm_is_trusted(const struct url *registry, const struct url *realm)
{
    if (url_same_origin(registry, realm))
        return true;
    if (!str_equal(registry->scheme, "https") || !str_equal(realm->scheme, "https") ||
        realm->port != 443)
        return false;
    if (str_equal(registry->host, "registry-1.docker.io") &&
        str_equal(realm->host, "auth.docker.io"))
        return true;
    return is_domain_above(realm->host, registry->host);
}
