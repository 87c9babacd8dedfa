/*
 * service.c - podd.v1: the table of its calls, and the short ones among them.
 */
#include "object.h"
#include "private.h"
#include "static.h"

void call_fail(struct rpc_call *call, enum err_code code, const char *fmt, ...)
{
    _cleanup_err_ struct err e = ERR_INIT;
    va_list ap;

    va_start(ap, fmt);
    _cleanup_free_ char *text = xvasprintf(fmt, ap);
    va_end(ap);
    err_set(&e, code, "%s", text);
    rpc_fail(call, &e);
}

const char *namespace_or_default(const char *namespace_)
{
    return str_empty(namespace_) ? "default" : namespace_;
}

/* ---- The node ----------------------------------------------------------------------------------
 */

static void call_get_node(struct rpc_call *call, const ProtobufCMessage *request, void *ctx)
{
    node_status_reply(ctx, call);
}

/* ---- Pods --------------------------------------------------------------------------------------
 */

/* NULL: the call was answered with NOT_FOUND. */
static struct declared *find_or_fail(struct node *n, struct rpc_call *call, const char *namespace_,
                                     const char *name)
{
    struct declared *d = declared_find(n, namespace_or_default(namespace_), name);

    if (!d)
        call_fail(call, ERR_NOT_FOUND, "there is no declared pod %s/%s",
                  namespace_or_default(namespace_), name);
    return d;
}

static void call_get_pod(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const Podd__V1__GetPodRequest *request = (const Podd__V1__GetPodRequest *)message;
    Podd__V1__GetPodResponse response = PODD__V1__GET_POD_RESPONSE__INIT;
    struct declared *d = find_or_fail(ctx, call, request->namespace_, request->name);

    if (!d)
        return;
    response.pod = declared_to_message(d, true);
    rpc_reply(call, &response.base);
    podd__v1__pod__free_unpacked(response.pod, NULL);
}

static bool is_selected(const struct declared *d, const Podd__V1__ListPodsRequest *request)
{
    if (!declared_is_current(d) ||
        (!str_empty(request->namespace_) && !str_equal(request->namespace_, d->namespace_)))
        return false;
    for (size_t i = 0; i < request->n_label_selector; i++)
        if (!pairs_have(&d->manifest->metadata->labels, request->label_selector[i]->key,
                        request->label_selector[i]->value))
            return false;
    return true;
}

static void call_list_pods(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    struct node *n = ctx;
    const Podd__V1__ListPodsRequest *request = (const Podd__V1__ListPodsRequest *)message;
    Podd__V1__ListPodsResponse response = PODD__V1__LIST_PODS_RESPONSE__INIT;

    list_for_each (it, &n->declared) {
        struct declared *d = container_of(it, struct declared, item);
        if (!is_selected(d, request))
            continue;
        Podd__V1__Pod **slot = array_push(&response.pods, &response.n_pods, sizeof(*slot));
        *slot = declared_to_message(d, true);
    }
    response.resource_version = n->version;
    rpc_reply(call, &response.base);
    for (size_t i = 0; i < response.n_pods; i++)
        podd__v1__pod__free_unpacked(response.pods[i], NULL);
    free(response.pods);
}

static void call_delete_pod(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const Podd__V1__DeletePodRequest *request = (const Podd__V1__DeletePodRequest *)message;
    struct declared *d = find_or_fail(ctx, call, request->namespace_, request->name);

    if (!d)
        return;
    if (request->has_grace_period &&
        (request->grace_period < 0 || request->grace_period > INT32_MAX)) {
        call_fail(call, ERR_INVALID_ARGUMENT, "grace_period must be 0 to %d seconds, not %lld",
                  INT32_MAX, (long long)request->grace_period);
        return;
    }
    _cleanup_err_ struct err e = ERR_INIT;
    if (static_check_owner(d, &e) < 0) {
        rpc_fail(call, &e);
        return;
    }
    declared_delete(d, request->has_grace_period ? request->grace_period : -1);
    declared_answer_deletion(d, call, !request->no_wait);
}

/* ---- Those with files of their own --------------------------------------------------------------
 */

static void call_apply(struct rpc_call *call, const ProtobufCMessage *request, void *ctx)
{
    apply_run(ctx, call, (const Podd__V1__ApplyRequest *)request);
}

static void call_watch_pods(struct rpc_call *call, const ProtobufCMessage *request, void *ctx)
{
    watch_start(ctx, call, (const Podd__V1__WatchPodsRequest *)request);
}

static void call_list_events(struct rpc_call *call, const ProtobufCMessage *request, void *ctx)
{
    events_list(ctx, call, (const Podd__V1__ListEventsRequest *)request);
}

static void call_run_probe(struct rpc_call *call, const ProtobufCMessage *request, void *ctx)
{
    probe_call(ctx, call, (const Podd__V1__RunProbeRequest *)request);
}

static void call_set_probes(struct rpc_call *call, const ProtobufCMessage *request, void *ctx)
{
    struct node *n = ctx;

    attached_set(n->attached, call, (const Podd__V1__SetProbesRequest *)request);
}

static void call_list_probes(struct rpc_call *call, const ProtobufCMessage *request, void *ctx)
{
    struct node *n = ctx;

    attached_list(n->attached, call, (const Podd__V1__ListProbesRequest *)request);
}

static void call_watch_probes(struct rpc_call *call, const ProtobufCMessage *request, void *ctx)
{
    struct node *n = ctx;

    attached_watch(n->attached, call, (const Podd__V1__WatchProbesRequest *)request);
}

static void call_pull_image(struct rpc_call *call, const ProtobufCMessage *request, void *ctx)
{
    image_call_pull(ctx, call, (const Podd__V1__PullImageRequest *)request);
}

static void call_import_image(struct rpc_call *call, const ProtobufCMessage *request, void *ctx)
{
    image_call_import(ctx, call, (const Podd__V1__ImportImageRequest *)request);
}

static void call_stop_all(struct rpc_call *call, const ProtobufCMessage *request, void *ctx)
{
    stop_all_run(ctx, call, (const Podd__V1__StopAllRequest *)request);
}

static void call_add_ephemeral(struct rpc_call *call, const ProtobufCMessage *request, void *ctx)
{
    ephemeral_add(ctx, call, (const Podd__V1__AddEphemeralContainerRequest *)request);
}

void node_register(struct node *n, struct rpc_server *server)
{
    static const struct rpc_method methods[] = {
        {"GetNode", call_get_node, false, true},
        {"Apply", call_apply, false},
        {"GetPod", call_get_pod, false, true},
        {"ListPods", call_list_pods, false, true},
        {"WatchPods", call_watch_pods, true, true},
        {"DeletePod", call_delete_pod, false},
        {"ListEvents", call_list_events, true, true},
        {"RunProbe", call_run_probe, false},
        {"SetProbes", call_set_probes, false},
        {"ListProbes", call_list_probes, false, true},
        {"WatchProbes", call_watch_probes, true, true},
        {"PullImage", call_pull_image, true},
        {"ImportImage", call_import_image, false},
        {"StopAll", call_stop_all, false},
        {"AddEphemeralContainer", call_add_ephemeral, false},
        {"GetObject", object_call_get, false},
        {"ListObjects", object_call_list, false},
        {"DeleteObject", object_call_delete, false},
        {"GetSecretData", object_call_secret_data, false},
    };

    rpc_server_add_service(server, &podd__v1__podd__descriptor, methods, ARRAY_SIZE(methods), n);
}
