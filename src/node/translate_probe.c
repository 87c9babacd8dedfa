/*
 * translate_probe.c - a probe of a manifest as a probe_spec: defaults filled in, ports of names
 * looked up, commands expanded.
 */
#include "expand.h"
#include "translate.h"

enum { HOOK_TIMEOUT_MAX_S = 7 * 86400 }; /* who runs it ends it earlier */

static int32_t value_or(const struct opt_int *value, int32_t fallback)
{
    return value->set ? (int32_t)value->value : fallback;
}

static uint16_t port_number(const struct manifest_container *c, const struct int_or_name *port)
{
    const struct manifest_port *named = port->name ? container_find_port(c, port->name) : NULL;

    return (uint16_t)(named ? named->container_port.value : port->number);
}

static void plan_http(const struct manifest_container *c, const struct probe_http *http,
                      struct probe_plan *ret)
{
    struct probe_spec *spec = &ret->spec;
    const struct probe_header *from = http->headers.items;
    struct key_value *headers = keep_alloc(&ret->keep, http->headers.count, sizeof(*headers));

    for (size_t i = 0; i < http->headers.count; i++)
        headers[i] = (struct key_value){from[i].name, from[i].value};
    spec->action = PROBE_HTTP;
    spec->host = str_empty(http->host) ? NULL : http->host;
    spec->port = port_number(c, &http->port);
    spec->path = str_empty(http->path)  ? "/"
                 : http->path[0] == '/' ? http->path
                                        : keep_printf(&ret->keep, "/%s", http->path);
    spec->https = http->scheme == SCHEME_HTTPS;
    spec->headers = headers;
    spec->n_headers = http->headers.count;
}

static void plan_exec(const struct probe_exec *exec, const struct pair_list *env,
                      struct probe_plan *ret)
{
    ret->spec.action = PROBE_EXEC;
    ret->spec.command = keep_strv(
        &ret->keep, expand_strv(exec->command, env ? env->items : NULL, env ? env->count : 0));
}

void hook_plan_make(const struct manifest_container *c, const struct manifest_hook *h,
                    const struct pair_list *env, struct probe_plan *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (h->exec)
        plan_exec(h->exec, env, ret);
    else
        plan_http(c, h->http, ret);
    ret->spec.any_status = true;
    ret->spec.timeout = HOOK_TIMEOUT_MAX_S;
}

void probe_plan_make(const struct manifest_container *c, const struct manifest_probe *p,
                     const struct pair_list *env, struct probe_plan *ret)
{
    struct probe_spec *spec = &ret->spec;

    memset(ret, 0, sizeof(*ret));
    if (p->exec) {
        plan_exec(p->exec, env, ret);
    } else if (p->http) {
        plan_http(c, p->http, ret);
    } else if (p->grpc) {
        spec->action = PROBE_GRPC;
        spec->port = (uint16_t)p->grpc->port.value;
        spec->grpc_service = p->grpc->service;
    } else {
        spec->action = PROBE_TCP;
        spec->host = str_empty(p->tcp->host) ? NULL : p->tcp->host;
        spec->port = port_number(c, &p->tcp->port);
    }
    spec->initial_delay = value_or(&p->initial_delay, 0);
    spec->period = value_or(&p->period, 10);
    spec->timeout = value_or(&p->timeout, 1);
    spec->success_threshold = value_or(&p->success_threshold, 1);
    spec->failure_threshold = value_or(&p->failure_threshold, 3);
    spec->termination_grace = p->grace.set ? p->grace.value : -1;
}

void probe_plan_free(struct probe_plan *p)
{
    keep_free(&p->keep);
}

const struct manifest_probe *container_probe(const struct manifest_container *c,
                                             enum probe_kind kind)
{
    switch (kind) {
    case PROBE_STARTUP:
        return c->startup;
    case PROBE_READINESS:
        return c->readiness;
    case PROBE_LIVENESS:
        return c->liveness;
    case PROBE_KIND_COUNT:
        break;
    }
    return NULL;
}

char *probe_describe(const struct manifest_container *c, const struct manifest_probe *p)
{
    struct strbuf text = {0};
    struct probe_plan plan;

    probe_plan_make(c, p, NULL, &plan);
    const struct probe_spec *s = &plan.spec;
    if (p->exec) {
        strbuf_adds(&text, "exec [");
        for (char *const *word = s->command; word && *word; word++)
            strbuf_addf(&text, "%s%s", word == s->command ? "" : " ", *word);
        strbuf_adds(&text, "]");
    } else if (p->http) {
        strbuf_addf(&text, "http-get %s://%s:%u%s", s->https ? "https" : "http",
                    s->host ? s->host : "", s->port, s->path);
    } else if (p->grpc) {
        strbuf_addf(&text, "grpc :%u", s->port);
        if (!str_empty(s->grpc_service))
            strbuf_addf(&text, " service=%s", s->grpc_service);
    } else {
        strbuf_addf(&text, "tcp-socket %s:%u", s->host ? s->host : "", s->port);
    }
    strbuf_addf(&text, " delay=%ds timeout=%ds period=%ds #success=%d #failure=%d",
                s->initial_delay, s->timeout, s->period, s->success_threshold,
                s->failure_threshold);
    probe_plan_free(&plan);
    return strbuf_take(&text);
}
