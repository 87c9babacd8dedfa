/*
 * spec.c - copies of probe specs, for probes outlive the call that described them.
 */
#include "private.h"

static struct key_value *headers_copy(const struct key_value *headers, size_t n)
{
    struct key_value *copy = n ? xcalloc(n, sizeof(*copy)) : NULL;

    for (size_t i = 0; i < n; i++) {
        copy[i].key = xstrdup(headers[i].key);
        copy[i].value = xstrdup(headers[i].value);
    }
    return copy;
}

struct probe_spec *probe_spec_copy(const struct probe_spec *spec)
{
    struct probe_spec *copy = xmemdup(spec, sizeof(*spec));

    copy->command = strv_dup(spec->command, strv_len(spec->command));
    copy->host = xstrdup(spec->host);
    copy->path = xstrdup(spec->path);
    copy->grpc_service = xstrdup(spec->grpc_service);
    copy->headers = headers_copy(spec->headers, spec->n_headers);
    return copy;
}

void probe_spec_free(struct probe_spec *spec)
{
    if (!spec)
        return;
    strv_free((char **)spec->command);
    free((char *)spec->host);
    free((char *)spec->path);
    free((char *)spec->grpc_service);
    for (size_t i = 0; i < spec->n_headers; i++) {
        free(spec->headers[i].key);
        free(spec->headers[i].value);
    }
    free((struct key_value *)spec->headers);
    free(spec);
}
