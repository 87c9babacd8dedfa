/*
 * sandbox.c - the RPCs of pod sandboxes.
 */
#include "private.h"

static void on_run(void *arg, const char *id, const struct err *e)
{
    struct rpc_call *call = arg;
    Runtime__V1__RunPodSandboxResponse response = RUNTIME__V1__RUN_POD_SANDBOX_RESPONSE__INIT;

    if (e->code != ERR_OK) {
        rpc_fail(call, e);
        return;
    }
    response.pod_sandbox_id = (char *)id;
    rpc_reply(call, &response.base);
}

void cri_run_pod_sandbox(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const struct cri *c = ctx;
    _cleanup_arena_ struct arena a = {0};
    _cleanup_err_ struct err e = ERR_INIT;
    struct sandbox_config config;

    if (!cri_accept(c, call))
        return;
    if (sandbox_config_from((const Runtime__V1__RunPodSandboxRequest *)message, &a, &config, &e) <
        0) {
        rpc_fail(call, &e);
        return;
    }
    if (!str_empty(config.runtime_handler)) {
        err_set(&e, ERR_INVALID_ARGUMENT,
                "runtime_handler \"%s\" is not known; podd has only the default one, \"\"",
                config.runtime_handler);
        rpc_fail(call, &e);
        return;
    }
    sandbox_run(c->config.pods, &config, on_run, call);
}

void cri_stop_pod_sandbox(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const struct cri *c = ctx;
    const Runtime__V1__StopPodSandboxRequest *request = (const void *)message;

    if (!cri_accept(c, call) || !require_id(call, request->pod_sandbox_id, "pod_sandbox_id"))
        return;
    sandbox_stop(c->config.pods, request->pod_sandbox_id, reply_empty,
                 empty_answer_new(call, &runtime__v1__stop_pod_sandbox_response__descriptor));
}

void cri_remove_pod_sandbox(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const struct cri *c = ctx;
    const Runtime__V1__RemovePodSandboxRequest *request = (const void *)message;

    if (!cri_accept(c, call) || !require_id(call, request->pod_sandbox_id, "pod_sandbox_id"))
        return;
    sandbox_remove(c->config.pods, request->pod_sandbox_id, reply_empty,
                   empty_answer_new(call, &runtime__v1__remove_pod_sandbox_response__descriptor));
}

static void add_containers(const struct cri *c, const struct sandbox *s,
                           Runtime__V1__PodSandboxStatusResponse *response, struct arena *a)
{
    size_t n = 0;

    list_for_each (item, &s->containers)
        n++;
    response->containers_statuses = arena_alloc(a, n * sizeof(*response->containers_statuses));
    list_for_each (item, &s->containers) {
        response->containers_statuses[response->n_containers_statuses++] =
            container_to_status(c, container_of_sibling(item), a);
    }
}

void cri_pod_sandbox_status(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const struct cri *c = ctx;
    const Runtime__V1__PodSandboxStatusRequest *request = (const void *)message;
    Runtime__V1__PodSandboxStatusResponse response = RUNTIME__V1__POD_SANDBOX_STATUS_RESPONSE__INIT;
    _cleanup_arena_ struct arena a = {0};
    _cleanup_err_ struct err e = ERR_INIT;

    if (!cri_accept(c, call) || !require_id(call, request->pod_sandbox_id, "pod_sandbox_id"))
        return;
    const struct sandbox *s = sandbox_find(c->config.pods, request->pod_sandbox_id, &e);
    if (!s) {
        rpc_fail(call, &e);
        return;
    }
    response.status = sandbox_to_status(s, &a);
    add_containers(c, s, &response, &a);
    response.timestamp = time_now_ns();
    if (request->verbose)
        sandbox_add_info(s, &response, &a);
    rpc_reply(call, &response.base);
}

/* ---- Lists
 * ---------------------------------------------------------------------------------------- */

bool sandbox_is_wanted(const struct cri *c, const Runtime__V1__PodSandboxFilter *f,
                       const struct sandbox *s)
{
    if (!f)
        return true;
    if (!str_empty(f->id) && s != sandbox_find(c->config.pods, f->id, NULL))
        return false;
    if (f->state) {
        bool ready = f->state->state == RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_READY;
        if (ready != (s->state == SANDBOX_READY))
            return false;
    }
    return labels_match(s->labels, s->n_labels, f->label_selector, f->n_label_selector);
}

struct sandbox_list {
    const struct cri *cri;
    const Runtime__V1__PodSandboxFilter *filter; /* may be NULL */
    struct arena *arena;
    Runtime__V1__PodSandbox **items;
    size_t n_items;
};

static void add_item(void *arg, const struct sandbox *s)
{
    struct sandbox_list *l = arg;

    if (sandbox_is_wanted(l->cri, l->filter, s))
        *(Runtime__V1__PodSandbox **)array_push(&l->items, &l->n_items, sizeof(*l->items)) =
            sandbox_to_item(s, l->arena);
}

void cri_list_pod_sandbox(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const struct cri *c = ctx;
    const Runtime__V1__ListPodSandboxRequest *request = (const void *)message;
    Runtime__V1__ListPodSandboxResponse response = RUNTIME__V1__LIST_POD_SANDBOX_RESPONSE__INIT;
    _cleanup_arena_ struct arena a = {0};
    struct sandbox_list list = {.cri = c, .filter = request->filter, .arena = &a};

    if (!cri_accept(c, call))
        return;
    sandbox_for_each(c->config.pods, add_item, &list);
    response.items = list.items;
    response.n_items = list.n_items;
    rpc_reply(call, &response.base);
    free(list.items);
}
