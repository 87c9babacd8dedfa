/*
 * cri.c - the services' tables, and what CRI asks of the runtime as a whole.
 */
#include "sample.h"
#include "stream_server.h"

static const struct rpc_method runtime_methods[] = {
    {"Version", cri_version},
    {"Status", cri_status},
    {"RuntimeConfig", cri_runtime_config},
    {"RunPodSandbox", cri_run_pod_sandbox},
    {"StopPodSandbox", cri_stop_pod_sandbox},
    {"RemovePodSandbox", cri_remove_pod_sandbox},
    {"PodSandboxStatus", cri_pod_sandbox_status},
    {"ListPodSandbox", cri_list_pod_sandbox},
    {"CreateContainer", cri_create_container},
    {"StartContainer", cri_start_container},
    {"StopContainer", cri_stop_container},
    {"RemoveContainer", cri_remove_container},
    {"ContainerStatus", cri_container_status},
    {"ListContainers", cri_list_containers},
    {"ReopenContainerLog", cri_reopen_container_log},
    {"ExecSync", cri_exec_sync},
    {"Exec", cri_exec},
    {"Attach", cri_attach},
    {"PortForward", cri_port_forward},
    {"UpdateRuntimeConfig", cri_update_runtime_config},
    {"UpdateContainerResources", cri_update_container_resources},
    {"UpdatePodSandboxResources", cri_update_pod_sandbox_resources},
    {"ContainerStats", cri_container_stats},
    {"ListContainerStats", cri_list_container_stats},
    {"PodSandboxStats", cri_pod_sandbox_stats},
    {"ListPodSandboxStats", cri_list_pod_sandbox_stats},
    {"ListMetricDescriptors", cri_list_metric_descriptors},
    {"ListPodSandboxMetrics", cri_list_pod_sandbox_metrics},
    {"StreamPodSandboxMetrics", cri_stream_pod_sandbox_metrics, .streaming = true},
    {"GetContainerEvents", cri_get_container_events, .streaming = true},
    {"StreamPodSandboxes", cri_stream_pod_sandboxes, .streaming = true},
    {"StreamContainers", cri_stream_containers, .streaming = true},
    {"StreamContainerStats", cri_stream_container_stats, .streaming = true},
    {"StreamPodSandboxStats", cri_stream_pod_sandbox_stats, .streaming = true},
};

static const struct rpc_method image_methods[] = {
    {"PullImage", cri_pull_image},      {"ListImages", cri_list_images},
    {"ImageStatus", cri_image_status},  {"RemoveImage", cri_remove_image},
    {"ImageFsInfo", cri_image_fs_info}, {"StreamImages", cri_stream_images, .streaming = true},
};

static void on_pod_event(void *arg, const struct pod_event *event)
{
    if (event->type == POD_DELETED && event->container)
        usage_forget(arg, event->container->id);
}

int cri_open(const struct cri_config *config, struct cri **ret, struct err *e)
{
    struct cri *c = xnew(struct cri);

    const struct stream_config streaming = {
        .loop = config->loop,
        .pods = config->pods,
        .address = config->streaming_address,
        .port = config->streaming_port,
    };

    if (kernel_probe(&c->features, e) < 0 || stream_server_open(&streaming, &c->streaming, e) < 0) {
        free(c);
        return -1;
    }
    c->config = *config;
    c->root = xstrdup(config->root);
    c->state = xstrdup(config->state);
    c->socket = xstrdup(config->socket);
    c->usage = map_new();
    c->pod_watch = pods_watch(config->pods, on_pod_event, c);
    *ret = c;
    return 0;
}

void cri_register(struct cri *c, struct rpc_server *server)
{
    rpc_server_add_service(server, &runtime__v1__runtime_service__descriptor, runtime_methods,
                           ARRAY_SIZE(runtime_methods), c);
    rpc_server_add_service(server, &runtime__v1__image_service__descriptor, image_methods,
                           ARRAY_SIZE(image_methods), c);
}

void cri_set_ready(struct cri *c)
{
    c->ready = true;
}

void cri_close(struct cri *c)
{
    if (!c)
        return;
    stream_server_close(c->streaming);
    pod_watch_free(c->pod_watch);
    usage_forget_all(c);
    free(c->root);
    free(c->state);
    free(c->socket);
    free(c);
}

/* ---- What handlers share
 * ------------------------------------------------------------------------------ */

bool cri_accept(const struct cri *c, struct rpc_call *call)
{
    _cleanup_err_ struct err e = ERR_INIT;

    if (c->ready)
        return true;
    err_set(&e, ERR_UNAVAILABLE,
            "podd is starting and still looks at the pods it finds; try again");
    rpc_fail(call, &e);
    return false;
}

bool require_id(struct rpc_call *call, const char *id, const char *field)
{
    _cleanup_err_ struct err e = ERR_INIT;

    if (!str_empty(id))
        return true;
    err_set(&e, ERR_INVALID_ARGUMENT, "%s is empty", field);
    rpc_fail(call, &e);
    return false;
}

struct empty_answer *empty_answer_new(struct rpc_call *call,
                                      const ProtobufCMessageDescriptor *response)
{
    struct empty_answer *answer = xnew(struct empty_answer);

    answer->call = call;
    answer->response = response;
    return answer;
}

void reply_empty(void *arg, const struct err *e)
{
    struct empty_answer *answer = arg;
    _cleanup_arena_ struct arena a = {0};

    if (e->code != ERR_OK)
        rpc_fail(answer->call, e);
    else
        rpc_reply(answer->call, arena_message(&a, answer->response));
    free(answer);
}

/* ---- The runtime as a whole
 * ------------------------------------------------------------------------------ */

void cri_version(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    Runtime__V1__VersionResponse response = RUNTIME__V1__VERSION_RESPONSE__INIT;

    response.version = "0.1.0"; /* of the protocol; kubelet compares it */
    response.runtime_name = "podd";
    response.runtime_version = PODD_VERSION;
    response.runtime_api_version = "v1";
    rpc_reply(call, &response.base);
}

static Runtime__V1__RuntimeCondition *condition(struct arena *a, char *type, const char *reason,
                                                const char *message)
{
    Runtime__V1__RuntimeCondition *c = ARENA_MESSAGE(a, runtime__v1__runtime_condition);

    c->type = type;
    c->status = !reason;
    if (reason) {
        c->reason = (char *)reason;
        c->message = arena_printf(a, "%s", message);
    }
    return c;
}

void cri_status(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const struct cri *c = ctx;
    const Runtime__V1__StatusRequest *request = (const void *)message;
    Runtime__V1__StatusResponse response = RUNTIME__V1__STATUS_RESPONSE__INIT;
    Runtime__V1__RuntimeStatus status = RUNTIME__V1__RUNTIME_STATUS__INIT;
    Runtime__V1__RuntimeHandler handler = RUNTIME__V1__RUNTIME_HANDLER__INIT;
    Runtime__V1__RuntimeHandlerFeatures handler_features =
        RUNTIME__V1__RUNTIME_HANDLER_FEATURES__INIT;
    Runtime__V1__RuntimeFeatures features = RUNTIME__V1__RUNTIME_FEATURES__INIT;
    Runtime__V1__RuntimeHandler *handlers[] = {&handler};
    Runtime__V1__RuntimeCondition *conditions[2];
    _cleanup_arena_ struct arena a = {0};
    _cleanup_err_ struct err net_error = ERR_INIT;

    const char *warning = net_warning(c->config.net);
    bool net_ready = net_status(c->config.net, &net_error) == 0;
    conditions[0] = condition(&a, "RuntimeReady", c->ready ? NULL : "Recovering",
                              "podd still looks at the pods it found");
    conditions[1] = condition(&a, "NetworkReady", net_ready ? NULL : "NetworkPluginNotReady",
                              err_text(&net_error));
    if (net_ready && warning) { /* a node whose pods reach each other is ready */
        conditions[1]->reason = (char *)net_warning_reason(c->config.net);
        conditions[1]->message = (char *)warning;
    }
    status.conditions = conditions;
    status.n_conditions = ARRAY_SIZE(conditions);
    handler_features.recursive_read_only_mounts = c->features.recursive_read_only;
    handler_features.user_namespaces = c->features.user_namespaces;
    handler.features = &handler_features;
    features.supplemental_groups_policy = true;
    features.user_namespaces_host_network = c->features.user_namespaces;
    features.mount_options = true;
    response.status = &status;
    response.runtime_handlers = handlers;
    response.n_runtime_handlers = 1;
    response.features = &features;
    if (request->verbose)
        status_add_info(c, &response, &a);
    rpc_reply(call, &response.base);
}

void cri_runtime_config(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const struct cri *c = ctx;
    Runtime__V1__RuntimeConfigResponse response = RUNTIME__V1__RUNTIME_CONFIG_RESPONSE__INIT;
    Runtime__V1__LinuxRuntimeConfiguration config = RUNTIME__V1__LINUX_RUNTIME_CONFIGURATION__INIT;

    config.cgroup_driver = c->config.systemd_cgroups ? RUNTIME__V1__CGROUP_DRIVER__SYSTEMD
                                                     : RUNTIME__V1__CGROUP_DRIVER__CGROUPFS;
    response.linux = &config;
    rpc_reply(call, &response.base);
}
