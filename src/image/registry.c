/*
 * registry.c - which servers are asked for a repository, and as whom.
 *
 * Mirrors come first, in the order of the configuration, then the registry itself. Credentials
 * belong to the registry alone. A registry on the loopback interface is spoken to in plain HTTP
 * (unless a CA is configured for it), every other one in HTTPS.
 */
#include "registry.h"
#include "json.h"

enum { MESSAGE_MAX = 200 };

/* The configuration with the longest prefix of "registry/repository". */
static const struct registry_config *find_config(const struct image_store *s,
                                                 const struct image_ref *ref)
{
    _cleanup_free_ char *name = xasprintf("%s/%s", ref->registry, ref->repository);
    const struct registry_config *best = NULL;

    for (size_t i = 0; i < s->n_registries; i++) {
        const struct registry_config *c = &s->registries[i];
        size_t len = strlen(c->prefix);
        if (!str_starts_with(name, c->prefix) || (name[len] && name[len] != '/'))
            continue;
        if (!best || len > strlen(best->prefix))
            best = c;
    }
    return best;
}

static int add_endpoint(struct registry *r, const char *text, bool is_origin, struct err *e)
{
    _cleanup_url_ struct url url = {0};

    if (url_parse(text, NULL, &url, e) < 0)
        return -1;
    struct endpoint *endpoint = array_push(&r->endpoints, &r->n_endpoints, sizeof(*endpoint));
    size_t len = strlen(url.text);
    while (len > 0 && url.text[len - 1] == '/')
        url.text[--len] = 0;
    endpoint->name = xstrdup(strstr(url.text, "://") + 3);
    endpoint->is_origin = is_origin;
    endpoint->url = url;
    url = (struct url){0};
    return 0;
}

static char *origin_url(const struct image_ref *ref, bool has_ca)
{
    if (str_equal(ref->registry, "docker.io"))
        return xstrdup("https://registry-1.docker.io");
    return xasprintf("%s://%s", host_is_loopback(ref->registry) && !has_ca ? "http" : "https",
                     ref->registry);
}

static int add_endpoints(struct registry *r, const struct registry_config *c, struct err *e)
{
    _cleanup_free_ char *origin = origin_url(&r->ref, c && c->ca);

    for (char **mirror = c ? c->mirrors : NULL; mirror && *mirror; mirror++)
        if (add_endpoint(r, *mirror, false, e) < 0)
            return err_wrap(e, "mirror of %s", c->prefix);
    return add_endpoint(r, origin, true, e);
}

static void copy_ref(const struct image_ref *from, struct image_ref *to)
{
    to->registry = xstrdup(from->registry);
    to->repository = xstrdup(from->repository);
    to->tag = xstrdup(from->tag);
    to->digest = xstrdup(from->digest);
}

struct registry *registry_open(struct image_store *s, const struct image_ref *ref,
                               const struct image_auth *auth, struct err *e)
{
    const struct registry_config *c = find_config(s, ref);
    struct registry *r = xnew(struct registry);

    r->references = 1;
    r->transfers = s->transfers;
    copy_ref(ref, &r->ref);
    r->ca = c ? xstrdup(c->ca) : NULL;
    if (add_endpoints(r, c, e) < 0 ||
        credentials_choose(auth, c ? c->auth_file : NULL, ref->registry, &r->credentials, e) < 0) {
        registry_release(r);
        return NULL;
    }
    if (r->credentials.registry_token) {
        struct endpoint *origin = &r->endpoints[r->n_endpoints - 1];
        origin->authorization = header_bearer(r->credentials.registry_token);
    }
    return r;
}

struct registry *registry_hold(struct registry *r)
{
    r->references++;
    return r;
}

void registry_release(struct registry *r)
{
    if (!r || --r->references > 0)
        return;
    for (size_t i = 0; i < r->n_endpoints; i++) {
        url_clear(&r->endpoints[i].url);
        free(r->endpoints[i].name);
        free(r->endpoints[i].authorization);
    }
    free(r->endpoints);
    image_ref_clear(&r->ref);
    credentials_clear(&r->credentials);
    free(r->ca);
    free(r);
}

bool registry_equal(const struct registry *a, const struct registry *b)
{
    return str_equal(a->ref.registry, b->ref.registry) &&
           str_equal(a->ref.repository, b->ref.repository) &&
           credentials_equal(&a->credentials, &b->credentials);
}

char *registry_error_text(const struct bytes *body)
{
    _cleanup_err_ struct err ignored = ERR_INIT;
    _cleanup_json_ json_t *j = json_load_strict(body->data, body->len, "the answer", &ignored);
    const json_t *first = json_array_get(json_object_get(j, "errors"), 0);
    bool bad = false;
    const char *text = json_get_text(first, "message", &bad);

    if (str_empty(text))
        text = json_get_text(first, "code", &bad);
    char *printable = xstrndup(text ? text : "", MESSAGE_MAX);
    for (char *c = printable; *c; c++)
        if ((unsigned char)*c < 0x20 || (unsigned char)*c > 0x7e)
            *c = '?';
    return printable;
}
