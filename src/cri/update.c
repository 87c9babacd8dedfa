/*
 * update.c - changing what was asked: resources of containers and pods, the node's pod CIDRs.
 *
 * A field that an update leaves at zero stays as it was; the stored request is merged accordingly,
 * so that status shows what now holds.
 */
#include "private.h"

#include <string.h>

/* ---- Containers
 * ------------------------------------------------------------------------------------ */

static void merge_unified(Runtime__V1__LinuxContainerResources *to,
                          const Runtime__V1__LinuxContainerResources *from, struct arena *a)
{
    typedef Runtime__V1__LinuxContainerResources__UnifiedEntry entry_t;
    entry_t **merged = arena_alloc(a, (to->n_unified + from->n_unified) * sizeof(*merged));
    size_t n = 0;

    for (size_t i = 0; i < to->n_unified; i++)
        merged[n++] = to->unified[i];
    for (size_t i = 0; i < from->n_unified; i++) {
        size_t at = 0;
        while (at < n && !str_equal(merged[at]->key, from->unified[i]->key))
            at++;
        merged[at] = from->unified[i];
        n += at == n;
    }
    to->unified = merged;
    to->n_unified = n;
}

static void merge_resources(Runtime__V1__LinuxContainerResources *to,
                            const Runtime__V1__LinuxContainerResources *from, struct arena *a)
{
    if (from->cpu_period)
        to->cpu_period = from->cpu_period;
    if (from->cpu_quota)
        to->cpu_quota = from->cpu_quota;
    if (from->cpu_shares)
        to->cpu_shares = from->cpu_shares;
    if (from->memory_limit_in_bytes)
        to->memory_limit_in_bytes = from->memory_limit_in_bytes;
    if (from->memory_swap_limit_in_bytes)
        to->memory_swap_limit_in_bytes = from->memory_swap_limit_in_bytes;
    if (!str_empty(from->cpuset_cpus))
        to->cpuset_cpus = from->cpuset_cpus;
    if (!str_empty(from->cpuset_mems))
        to->cpuset_mems = from->cpuset_mems;
    if (from->n_hugepage_limits) {
        to->hugepage_limits = from->hugepage_limits;
        to->n_hugepage_limits = from->n_hugepage_limits;
    }
    if (from->n_unified)
        merge_unified(to, from, a);
}

/* The stored request with the update merged in; empty for a container that CRI did not make. */
static struct bytes merged_request(const struct container *c,
                                   const Runtime__V1__LinuxContainerResources *update,
                                   struct arena *a)
{
    Runtime__V1__ContainerConfig *config = NULL;

    if (str_equal(c->sandbox->origin, "cri"))
        config = arena_unpack(a, &runtime__v1__container_config__descriptor, c->asked.data,
                              c->asked.len);
    if (!config)
        return (struct bytes){0};
    if (!config->linux)
        config->linux = ARENA_MESSAGE(a, runtime__v1__linux_container_config);
    if (!config->linux->resources)
        config->linux->resources = ARENA_MESSAGE(a, runtime__v1__linux_container_resources);
    merge_resources(config->linux->resources, update, a);
    return arena_pack(a, &config->base);
}

void cri_update_container_resources(struct rpc_call *call, const ProtobufCMessage *message,
                                    void *ctx)
{
    const struct cri *c = ctx;
    const Runtime__V1__UpdateContainerResourcesRequest *request = (const void *)message;
    _cleanup_arena_ struct arena a = {0};
    _cleanup_err_ struct err e = ERR_INIT;
    struct cgroup_limits limits = {0};

    if (!cri_accept(c, call) || !require_id(call, request->container_id, "container_id"))
        return;
    const struct container *found = container_find(c->config.pods, request->container_id, &e);
    if (found && request->windows) {
        err_set(&e, ERR_INVALID_ARGUMENT, "windows: this node runs Linux");
        found = NULL;
    }
    if (!found || limits_from(request->linux, &a, &limits, &e) < 0) {
        rpc_fail(call, &e);
        return;
    }
    struct bytes asked = request->linux ? merged_request(found, request->linux, &a) : found->asked;
    container_update(
        c->config.pods, found->id, &limits, &asked, reply_empty,
        empty_answer_new(call, &runtime__v1__update_container_resources_response__descriptor));
}

/* ---- Pods
 * --------------------------------------------------------------------------------------------- */

/* The pod's own cgroup is the kubelet's to write; podd keeps what it was told. */
void cri_update_pod_sandbox_resources(struct rpc_call *call, const ProtobufCMessage *message,
                                      void *ctx)
{
    const struct cri *c = ctx;
    const Runtime__V1__UpdatePodSandboxResourcesRequest *request = (const void *)message;
    Runtime__V1__UpdatePodSandboxResourcesResponse response =
        RUNTIME__V1__UPDATE_POD_SANDBOX_RESOURCES_RESPONSE__INIT;
    _cleanup_arena_ struct arena a = {0};
    _cleanup_err_ struct err e = ERR_INIT;

    if (!cri_accept(c, call) || !require_id(call, request->pod_sandbox_id, "pod_sandbox_id"))
        return;
    const struct sandbox *s = sandbox_find(c->config.pods, request->pod_sandbox_id, &e);
    Runtime__V1__PodSandboxConfig *config =
        s && str_equal(s->origin, "cri")
            ? arena_unpack(&a, &runtime__v1__pod_sandbox_config__descriptor, s->asked.data,
                           s->asked.len)
            : NULL;
    if (config) {
        if (!config->linux)
            config->linux = ARENA_MESSAGE(&a, runtime__v1__linux_pod_sandbox_config);
        if (request->overhead)
            config->linux->overhead = request->overhead;
        if (request->resources)
            config->linux->resources = request->resources;
        struct bytes asked = arena_pack(&a, &config->base);
        if (sandbox_set_asked(c->config.pods, s->id, &asked, &e) < 0)
            s = NULL;
    }
    if (!s)
        rpc_fail(call, &e);
    else
        rpc_reply(call, &response.base);
}

/* ---- The node
 * ------------------------------------------------------------------------------------------- */

#define POD_CIDRS_MAX 4

void cri_update_runtime_config(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const struct cri *c = ctx;
    const Runtime__V1__UpdateRuntimeConfigRequest *request = (const void *)message;
    const Runtime__V1__NetworkConfig *network =
        request->runtime_config ? request->runtime_config->network_config : NULL;
    const char *pools[POD_CIDRS_MAX];
    _cleanup_arena_ struct arena a = {0};
    _cleanup_err_ struct err e = ERR_INIT;
    size_t n = 0;

    struct empty_answer *answer =
        empty_answer_new(call, &runtime__v1__update_runtime_config_response__descriptor);
    if (!network || str_empty(network->pod_cidr)) {
        reply_empty(answer, &e); /* nothing to change */
        return;
    }
    char *rest = arena_printf(&a, "%s", network->pod_cidr);
    for (char *cidr; (cidr = strsep(&rest, ","));) {
        if (n == POD_CIDRS_MAX) {
            err_set(&e, ERR_INVALID_ARGUMENT, "pod_cidr: more than %d ranges in \"%s\"",
                    POD_CIDRS_MAX, network->pod_cidr);
            reply_empty(answer, &e);
            return;
        }
        pools[n++] = cidr;
    }
    net_set_pools(c->config.net, pools, n, reply_empty, answer);
}
