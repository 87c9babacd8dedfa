/*
 * probe_call.c - the RunProbe call: one attempt, now, against any running container.
 */
#include "private.h"
#include "text.h"
#include "translate.h"

#define MESSAGE_MAX 10240 /* what health keeps of a probe's output */

/* A call that waits for its attempt; orphaned when the caller goes. */
struct probe_wait {
    struct rpc_call *call;
    struct probe_attempt *attempt;
};

static void on_probed(void *arg, enum probe_result result, const char *message, int64_t latency_ns)
{
    struct probe_wait *w = arg;
    Podd__V1__RunProbeResponse response = PODD__V1__RUN_PROBE_RESPONSE__INIT;

    _cleanup_free_ char *text = text_clean(message, message ? strlen(message) : 0, MESSAGE_MAX);
    response.result = probe_result_number(result);
    response.message = text;
    response.latency = latency_ns;
    rpc_reply(w->call, &response.base);
    free(w);
}

static void on_gone(void *arg)
{
    struct probe_wait *w = arg;

    probe_cancel(w->attempt);
    call_fail(w->call, ERR_CANCELLED, "the caller has gone");
    free(w);
}

static void run(struct node *n, struct rpc_call *call, const char *id,
                const struct probe_spec *spec)
{
    struct probe_wait *w = xnew(struct probe_wait);

    w->call = call;
    w->attempt = probe_run(n->config.health, id, spec, on_probed, w);
    rpc_on_cancel(call, on_gone, w);
}

/* ---- Which container ---------------------------------------------------------------------------
 */

static struct member *find_member(struct declared *d, const char *name, struct err *e)
{
    if (str_empty(name) && d->n_members - d->n_init == 1)
        return &d->members[d->n_init];
    if (str_empty(name)) {
        err_set(e, ERR_INVALID_ARGUMENT, "pod %s has %zu containers; name one", d->key,
                d->n_members - d->n_init);
        return NULL;
    }
    for (size_t i = 0; i < d->n_members; i++)
        if (str_equal(d->members[i].spec->name, name))
            return &d->members[i];
    err_set(e, ERR_NOT_FOUND, "pod %s has no container %s", d->key, name);
    return NULL;
}

static struct member *find_declared(struct node *n, const Podd__V1__RunProbeRequest *request,
                                    struct err *e)
{
    const char *namespace_ = namespace_or_default(request->namespace_);
    struct declared *d = declared_find(n, namespace_, request->pod);

    if (!d) {
        err_set(e, ERR_NOT_FOUND, "there is no declared pod %s/%s", namespace_, request->pod);
        return NULL;
    }
    return find_member(d, request->container, e);
}

/* ---- Which probe -------------------------------------------------------------------------------
 */

static int check_port(uint32_t port, struct err *e)
{
    if (port >= 1 && port <= 65535)
        return 0;
    return err_set(e, ERR_INVALID_ARGUMENT, "the probe's port must be 1 to 65535, not %u", port);
}

static int plan_http(const Podd__V1__HttpProbe *http, struct probe_plan *plan, struct err *e)
{
    struct key_value *headers = keep_alloc(&plan->keep, http->n_headers, sizeof(*headers));

    for (size_t i = 0; i < http->n_headers; i++)
        headers[i] = (struct key_value){http->headers[i]->name, http->headers[i]->value};
    plan->spec.action = PROBE_HTTP;
    plan->spec.host = str_empty(http->host) ? NULL : http->host;
    plan->spec.port = (uint16_t)http->port;
    plan->spec.path = str_empty(http->path) ? "/" : http->path;
    plan->spec.https = http->https;
    plan->spec.headers = headers;
    plan->spec.n_headers = http->n_headers;
    return check_port(http->port, e);
}

static int plan_exec(const Podd__V1__ExecProbe *exec, struct probe_plan *plan, struct err *e)
{
    char **command = NULL;

    if (exec->n_command == 0)
        return err_set(e, ERR_INVALID_ARGUMENT, "the probe has no command");
    for (size_t i = 0; i < exec->n_command; i++)
        strv_push(&command, exec->command[i]);
    plan->spec.action = PROBE_EXEC;
    plan->spec.command = keep_strv(&plan->keep, command);
    return 0;
}

int probe_plan_given(const Podd__V1__Probe *probe, struct probe_plan *plan, struct err *e)
{
    if (probe->timeout_seconds < 0)
        return err_set(e, ERR_INVALID_ARGUMENT, "the probe's timeout must not be negative");
    plan->spec.timeout = probe->timeout_seconds ? probe->timeout_seconds : 1;
    plan->spec.termination_grace = -1;
    switch (probe->action_case) {
    case PODD__V1__PROBE__ACTION_EXEC:
        return plan_exec(probe->exec, plan, e);
    case PODD__V1__PROBE__ACTION_HTTP:
        return plan_http(probe->http, plan, e);
    case PODD__V1__PROBE__ACTION_TCP:
        plan->spec.action = PROBE_TCP;
        plan->spec.host = str_empty(probe->tcp->host) ? NULL : probe->tcp->host;
        plan->spec.port = (uint16_t)probe->tcp->port;
        return check_port(probe->tcp->port, e);
    case PODD__V1__PROBE__ACTION_GRPC:
        plan->spec.action = PROBE_GRPC;
        plan->spec.port = (uint16_t)probe->grpc->port;
        plan->spec.grpc_service = probe->grpc->service;
        return check_port(probe->grpc->port, e);
    case PODD__V1__PROBE__ACTION__NOT_SET:
    case _PODD__V1__PROBE__ACTION__CASE_IS_INT_SIZE:
        break;
    }
    return err_set(e, ERR_INVALID_ARGUMENT, "the probe must be one of exec, http, tcp and grpc");
}

static int plan_declared(const struct member *m, Podd__V1__ProbeKind kind, struct probe_plan *plan,
                         struct err *e)
{
    const struct manifest_probe *p = kind == PODD__V1__PROBE_KIND__STARTUP     ? m->spec->startup
                                     : kind == PODD__V1__PROBE_KIND__READINESS ? m->spec->readiness
                                                                               : m->spec->liveness;
    struct pair_list env = {0};

    if (!p)
        return err_set(e, ERR_NOT_FOUND, "container %s of pod %s has no such probe", m->spec->name,
                       m->pod->key);
    member_environment(m, &env);
    probe_plan_make(m->spec, p, &env, plan);
    pair_list_free(&env);
    return 0;
}

/* ---- The call ----------------------------------------------------------------------------------
 */

static int find_target(struct node *n, const Podd__V1__RunProbeRequest *request,
                       const struct container **ret, struct probe_plan *plan, struct err *e)
{
    struct member *m = NULL;

    if (!str_empty(request->container_id)) {
        *ret = container_find(n->config.pods, request->container_id, e);
        if (!*ret)
            return -1;
        if (!request->probe)
            return err_set(e, ERR_INVALID_ARGUMENT,
                           "a container that is given by id needs a probe; only declared pods "
                           "have probes of their own");
    } else {
        m = find_declared(n, request, e);
        if (!m)
            return -1;
        *ret = member_container(m);
    }
    if (!*ret || (*ret)->state != CONTAINER_RUNNING)
        return err_set(e, ERR_FAILED_PRECONDITION, "container %s is not running",
                       m ? m->spec->name : request->container_id);
    return request->probe ? probe_plan_given(request->probe, plan, e)
                          : plan_declared(m, request->declared, plan, e);
}

void probe_call(struct node *n, struct rpc_call *call, const Podd__V1__RunProbeRequest *request)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct probe_plan plan = {0};
    const struct container *c = NULL;

    if (find_target(n, request, &c, &plan, &e) < 0)
        rpc_fail(call, &e);
    else
        run(n, call, c->id, &plan.spec);
    probe_plan_free(&plan);
}
