/*
 * container.c - the RPCs of containers.
 */
#include "private.h"

/* ---- Create, start, stop, remove
 * ------------------------------------------------------------------- */

static void on_create(void *arg, const char *id, const struct err *e)
{
    struct rpc_call *call = arg;
    Runtime__V1__CreateContainerResponse response = RUNTIME__V1__CREATE_CONTAINER_RESPONSE__INIT;

    if (e->code != ERR_OK) {
        rpc_fail(call, e);
        return;
    }
    response.container_id = (char *)id;
    rpc_reply(call, &response.base);
}

void cri_create_container(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const struct cri *c = ctx;
    const Runtime__V1__CreateContainerRequest *request = (const void *)message;
    _cleanup_arena_ struct arena a = {0};
    _cleanup_err_ struct err e = ERR_INIT;
    struct container_config config;

    if (!cri_accept(c, call) || !require_id(call, request->pod_sandbox_id, "pod_sandbox_id"))
        return;
    if (container_config_from(request->config, &a, &config, &e) < 0) {
        rpc_fail(call, &e);
        return;
    }
    container_create(c->config.pods, request->pod_sandbox_id, &config, on_create, call);
}

void cri_start_container(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const struct cri *c = ctx;
    const Runtime__V1__StartContainerRequest *request = (const void *)message;

    if (!cri_accept(c, call) || !require_id(call, request->container_id, "container_id"))
        return;
    container_start_up(c->config.pods, request->container_id, reply_empty,
                       empty_answer_new(call, &runtime__v1__start_container_response__descriptor));
}

void cri_stop_container(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const struct cri *c = ctx;
    const Runtime__V1__StopContainerRequest *request = (const void *)message;
    int64_t seconds = request->timeout < 0 ? 0 : request->timeout;

    if (!cri_accept(c, call) || !require_id(call, request->container_id, "container_id"))
        return;
    if (seconds > INT32_MAX)
        seconds = INT32_MAX;
    container_stop(c->config.pods, request->container_id, seconds * 1000, reply_empty,
                   empty_answer_new(call, &runtime__v1__stop_container_response__descriptor));
}

void cri_remove_container(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const struct cri *c = ctx;
    const Runtime__V1__RemoveContainerRequest *request = (const void *)message;

    if (!cri_accept(c, call) || !require_id(call, request->container_id, "container_id"))
        return;
    container_remove(c->config.pods, request->container_id, reply_empty,
                     empty_answer_new(call, &runtime__v1__remove_container_response__descriptor));
}

void cri_reopen_container_log(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const struct cri *c = ctx;
    const Runtime__V1__ReopenContainerLogRequest *request = (const void *)message;

    if (!cri_accept(c, call) || !require_id(call, request->container_id, "container_id"))
        return;
    container_reopen_log(
        c->config.pods, request->container_id, reply_empty,
        empty_answer_new(call, &runtime__v1__reopen_container_log_response__descriptor));
}

/* ---- Status and lists
 * --------------------------------------------------------------------------------- */

void cri_container_status(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const struct cri *c = ctx;
    const Runtime__V1__ContainerStatusRequest *request = (const void *)message;
    Runtime__V1__ContainerStatusResponse response = RUNTIME__V1__CONTAINER_STATUS_RESPONSE__INIT;
    _cleanup_arena_ struct arena a = {0};
    _cleanup_err_ struct err e = ERR_INIT;

    if (!cri_accept(c, call) || !require_id(call, request->container_id, "container_id"))
        return;
    const struct container *found = container_find(c->config.pods, request->container_id, &e);
    if (!found) {
        rpc_fail(call, &e);
        return;
    }
    response.status = container_to_status(c, found, &a);
    if (request->verbose)
        container_add_info(found, &response, &a);
    rpc_reply(call, &response.base);
}

bool container_is_wanted(const struct cri *cri, const Runtime__V1__ContainerFilter *f,
                         const struct container *c)
{
    struct pods *pods = cri->config.pods;

    if (!f)
        return true;
    /* The numbers of both enums are the same: created, running, exited, unknown. */
    if (f->state && (int)f->state->state != (int)c->state)
        return false;
    if (!str_empty(f->id) && c != container_find(pods, f->id, NULL))
        return false;
    if (!str_empty(f->pod_sandbox_id) && c->sandbox != sandbox_find(pods, f->pod_sandbox_id, NULL))
        return false;
    return labels_match(c->labels, c->n_labels, f->label_selector, f->n_label_selector);
}

struct container_list {
    const struct cri *cri;
    const Runtime__V1__ContainerFilter *filter; /* may be NULL */
    struct arena *arena;
    Runtime__V1__Container **items;
    size_t n_items;
};

static void add_item(void *arg, const struct container *c)
{
    struct container_list *l = arg;

    if (container_is_wanted(l->cri, l->filter, c))
        *(Runtime__V1__Container **)array_push(&l->items, &l->n_items, sizeof(*l->items)) =
            container_to_item(c, l->arena);
}

void cri_list_containers(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const struct cri *c = ctx;
    const Runtime__V1__ListContainersRequest *request = (const void *)message;
    Runtime__V1__ListContainersResponse response = RUNTIME__V1__LIST_CONTAINERS_RESPONSE__INIT;
    _cleanup_arena_ struct arena a = {0};
    struct container_list list = {.cri = c, .filter = request->filter, .arena = &a};

    if (!cri_accept(c, call))
        return;
    container_for_each(c->config.pods, add_item, &list);
    response.containers = list.items;
    response.n_containers = list.n_items;
    rpc_reply(call, &response.base);
    free(list.items);
}
