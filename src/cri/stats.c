/*
 * stats.c - what containers and pods use: ContainerStats, PodSandboxStats and their lists. How the
 * numbers are got is sample.c's.
 */
#include "sample.h"

/* ---- Messages
 * ------------------------------------------------------------------------------------------ */

static Runtime__V1__UInt64Value *number(struct arena *a, uint64_t value)
{
    Runtime__V1__UInt64Value *v = ARENA_MESSAGE(a, runtime__v1__uint64_value);

    v->value = value;
    return v;
}

static Runtime__V1__PsiData *stall_of(const struct cgroup_stall *stall, struct arena *a)
{
    Runtime__V1__PsiData *data = ARENA_MESSAGE(a, runtime__v1__psi_data);

    data->total = stall->total_ns;
    data->avg10 = stall->avg10;
    data->avg60 = stall->avg60;
    data->avg300 = stall->avg300;
    return data;
}

/* NULL where the kernel does not tell. */
static Runtime__V1__PsiStats *pressure_of(const struct cgroup_pressure *p, struct arena *a)
{
    if (!p->known)
        return NULL;
    Runtime__V1__PsiStats *psi = ARENA_MESSAGE(a, runtime__v1__psi_stats);
    psi->some = stall_of(&p->some, a);
    psi->full = stall_of(&p->full, a);
    return psi;
}

static Runtime__V1__CpuUsage *cpu_of(const struct cgroup_usage *u, int64_t time, struct arena *a)
{
    Runtime__V1__CpuUsage *cpu = ARENA_MESSAGE(a, runtime__v1__cpu_usage);

    cpu->timestamp = time;
    cpu->usage_core_nano_seconds = number(a, u->cpu_ns);
    cpu->psi = pressure_of(&u->cpu_pressure, a);
    return cpu;
}

static Runtime__V1__IoUsage *io_of(const struct cgroup_usage *u, int64_t time, struct arena *a)
{
    Runtime__V1__IoUsage *io = ARENA_MESSAGE(a, runtime__v1__io_usage);

    io->timestamp = time;
    io->psi = pressure_of(&u->io_pressure, a);
    return io;
}

static Runtime__V1__SwapUsage *swap_of(const struct cgroup_usage *u, int64_t time, struct arena *a)
{
    Runtime__V1__SwapUsage *swap = ARENA_MESSAGE(a, runtime__v1__swap_usage);
    uint64_t limit = u->swap_limit_bytes, used = u->swap_bytes;

    swap->timestamp = time;
    swap->swap_usage_bytes = number(a, used);
    swap->swap_available_bytes = number(a, limit > used ? limit - used : 0);
    return swap;
}

/* What the container has written. NULL: not known, and no guess is made. */
static Runtime__V1__FilesystemUsage *layer_of(const struct cri *c, const struct usage_memory *m,
                                              struct arena *a)
{
    if (!m || !m->layer_time)
        return NULL;
    Runtime__V1__FilesystemUsage *layer = ARENA_MESSAGE(a, runtime__v1__filesystem_usage);
    layer->timestamp = m->layer_time;
    layer->fs_id = ARENA_MESSAGE(a, runtime__v1__filesystem_identifier);
    layer->fs_id->mountpoint = c->root;
    layer->used_bytes = number(a, m->layer.bytes);
    layer->inodes_used = number(a, m->layer.inodes);
    return layer;
}

static Runtime__V1__MemoryUsage *memory_of(const struct cgroup_usage *u, int64_t time,
                                           struct arena *a)
{
    Runtime__V1__MemoryUsage *memory = ARENA_MESSAGE(a, runtime__v1__memory_usage);
    uint64_t limit = u->memory_limit_bytes, used = u->working_set_bytes;

    memory->timestamp = time;
    memory->usage_bytes = number(a, u->memory_bytes);
    memory->working_set_bytes = number(a, used);
    memory->available_bytes = number(a, limit > used ? limit - used : 0);
    memory->rss_bytes = number(a, u->rss_bytes);
    memory->page_faults = number(a, u->page_faults);
    memory->major_page_faults = number(a, u->major_page_faults);
    memory->psi = pressure_of(&u->memory_pressure, a);
    return memory;
}

static Runtime__V1__ContainerAttributes *attributes_of(const struct container *c, struct arena *a)
{
    Runtime__V1__ContainerAttributes *attributes =
        ARENA_MESSAGE(a, runtime__v1__container_attributes);

    attributes->id = c->id;
    attributes->metadata = ARENA_MESSAGE(a, runtime__v1__container_metadata);
    attributes->metadata->name = c->name;
    attributes->metadata->attempt = c->attempt;
    attributes->labels = arena_to_map(
        a, &runtime__v1__container_attributes__labels_entry__descriptor, c->labels, c->n_labels);
    attributes->n_labels = c->n_labels;
    attributes->annotations =
        arena_to_map(a, &runtime__v1__container_attributes__annotations_entry__descriptor,
                     c->annotations, c->n_annotations);
    attributes->n_annotations = c->n_annotations;
    return attributes;
}

/* NULL when the container has gone meanwhile. */
static Runtime__V1__ContainerStats *
container_stats_of(const struct sample *sample, const struct container_sample *s, struct arena *a)
{
    const struct container *c = container_find(sample->cri->config.pods, s->id, NULL);

    if (!c)
        return NULL;
    Runtime__V1__ContainerStats *stats = ARENA_MESSAGE(a, runtime__v1__container_stats);
    stats->attributes = attributes_of(c, a);
    const struct usage_memory *memory = usage_recall(sample->cri, s->id);
    stats->writable_layer = layer_of(sample->cri, memory, a);
    if (!s->read)
        return stats;
    stats->cpu = cpu_of(&s->usage, sample->time, a);
    if (memory && memory->rate_known)
        stats->cpu->usage_nano_cores = number(a, memory->nano_cores);
    stats->memory = memory_of(&s->usage, sample->time, a);
    stats->swap = swap_of(&s->usage, sample->time, a);
    stats->io = io_of(&s->usage, sample->time, a);
    return stats;
}

/* Those of one sandbox, or (NULL) all; *ret is in the arena. */
static size_t stats_list(const struct sample *sample, const struct sandbox *of,
                         Runtime__V1__ContainerStats ***ret, struct arena *a)
{
    size_t n = 0;

    *ret = arena_alloc(a, sample->n_containers * sizeof(**ret));
    for (size_t i = 0; i < sample->n_containers; i++) {
        const struct container *c =
            of ? container_find(sample->cri->config.pods, sample->containers[i].id, NULL) : NULL;
        if (of && (!c || c->sandbox != of))
            continue;
        Runtime__V1__ContainerStats *stats = container_stats_of(sample, &sample->containers[i], a);
        if (stats)
            (*ret)[n++] = stats;
    }
    return n;
}

/* ---- Containers
 * ------------------------------------------------------------------------------------------ */

static void fail_gone(struct sample *sample, const char *what, const char *id)
{
    _cleanup_err_ struct err e = ERR_INIT;

    err_set(&e, ERR_NOT_FOUND, "%s %s is gone", what, id);
    rpc_fail(sample->call, &e);
}

static void answer_container(struct sample *sample)
{
    Runtime__V1__ContainerStatsResponse response = RUNTIME__V1__CONTAINER_STATS_RESPONSE__INIT;
    _cleanup_arena_ struct arena a = {0};

    response.stats = container_stats_of(sample, &sample->containers[0], &a);
    if (!response.stats)
        fail_gone(sample, "container", sample->containers[0].id);
    else
        rpc_reply(sample->call, &response.base);
}

void cri_container_stats(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const struct cri *c = ctx;
    const Runtime__V1__ContainerStatsRequest *request = (const void *)message;
    _cleanup_err_ struct err e = ERR_INIT;

    if (!cri_accept(c, call) || !require_id(call, request->container_id, "container_id"))
        return;
    const struct container *found = container_find(c->config.pods, request->container_id, &e);
    if (!found) {
        rpc_fail(call, &e);
        return;
    }
    struct sample *sample = sample_new(ctx, call, false, answer_container);
    sample_add_container(sample, found);
    sample_run(sample);
}

struct container_selection {
    struct sample *sample;
    const Runtime__V1__ContainerStatsFilter *filter; /* may be NULL */
    const struct container *only;
    const struct sandbox *only_sandbox;
};

static void select_container(void *arg, const struct container *c)
{
    struct container_selection *s = arg;
    const Runtime__V1__ContainerStatsFilter *f = s->filter;

    if (f && !str_empty(f->id) && c != s->only)
        return;
    if (f && !str_empty(f->pod_sandbox_id) && c->sandbox != s->only_sandbox)
        return;
    if (f && !labels_match(c->labels, c->n_labels, f->label_selector, f->n_label_selector))
        return;
    sample_add_container(s->sample, c);
}

static void select_containers(struct sample *sample,
                              const Runtime__V1__ContainerStatsFilter *filter)
{
    struct container_selection s = {.sample = sample, .filter = filter};
    struct pods *pods = sample->cri->config.pods;

    if (filter && !str_empty(filter->id))
        s.only = container_find(pods, filter->id, NULL);
    if (filter && !str_empty(filter->pod_sandbox_id))
        s.only_sandbox = sandbox_find(pods, filter->pod_sandbox_id, NULL);
    container_for_each(pods, select_container, &s);
}

static void answer_containers(struct sample *sample)
{
    Runtime__V1__ListContainerStatsResponse response =
        RUNTIME__V1__LIST_CONTAINER_STATS_RESPONSE__INIT;
    _cleanup_arena_ struct arena a = {0};

    response.n_stats = stats_list(sample, NULL, &response.stats, &a);
    rpc_reply(sample->call, &response.base);
}

void cri_list_container_stats(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const struct cri *c = ctx;
    const Runtime__V1__ListContainerStatsRequest *request = (const void *)message;

    if (!cri_accept(c, call))
        return;
    struct sample *sample = sample_new(ctx, call, false, answer_containers);
    select_containers(sample, request->filter);
    sample_run(sample);
}

static void answer_container_stream(struct sample *sample)
{
    Runtime__V1__StreamContainerStatsResponse response =
        RUNTIME__V1__STREAM_CONTAINER_STATS_RESPONSE__INIT;
    _cleanup_arena_ struct arena a = {0};

    response.n_container_stats = stats_list(sample, NULL, &response.container_stats, &a);
    if (response.n_container_stats)
        rpc_send(sample->call, &response.base);
    rpc_finish(sample->call);
}

void cri_stream_container_stats(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const struct cri *c = ctx;
    const Runtime__V1__StreamContainerStatsRequest *request = (const void *)message;

    if (!cri_accept(c, call))
        return;
    struct sample *sample = sample_new(ctx, call, false, answer_container_stream);
    select_containers(sample, request->filter);
    sample_run(sample);
}

/* ---- Pods
 * ---------------------------------------------------------------------------------------------------
 */

static Runtime__V1__NetworkInterfaceUsage *interface_of(const struct net_usage *u, struct arena *a)
{
    Runtime__V1__NetworkInterfaceUsage *i = ARENA_MESSAGE(a, runtime__v1__network_interface_usage);

    i->name = (char *)u->name;
    i->rx_bytes = number(a, u->rx_bytes);
    i->rx_errors = number(a, u->rx_errors);
    i->tx_bytes = number(a, u->tx_bytes);
    i->tx_errors = number(a, u->tx_errors);
    return i;
}

/* eth0 is the default interface; the loopback is nobody's business. */
/* eth0; where CNI plugins gave the pod's interface another name, the first one. */
static const struct net_usage *default_interface(const struct sandbox_sample *s)
{
    const struct net_usage *first = NULL;

    for (size_t i = 0; i < s->n_interfaces; i++) {
        const struct net_usage *u = &s->interfaces[i];
        if (str_equal(u->name, "eth0"))
            return u;
        if (!first && !str_equal(u->name, "lo"))
            first = u;
    }
    return first;
}

static Runtime__V1__NetworkUsage *network_of(const struct sandbox_sample *s, int64_t time,
                                             struct arena *a)
{
    Runtime__V1__NetworkUsage *network = ARENA_MESSAGE(a, runtime__v1__network_usage);
    const struct net_usage *main_one = default_interface(s);

    network->timestamp = time;
    network->interfaces = arena_alloc(a, s->n_interfaces * sizeof(*network->interfaces));
    for (size_t i = 0; i < s->n_interfaces; i++) {
        const struct net_usage *u = &s->interfaces[i];
        if (str_equal(u->name, "lo"))
            continue;
        if (u == main_one)
            network->default_interface = interface_of(u, a);
        else
            network->interfaces[network->n_interfaces++] = interface_of(u, a);
    }
    return network;
}

/* The pod's own cgroup, which a kubelet makes and limits; without one, the sum of its containers.
 */
static struct cgroup_usage pod_usage(const struct sample *sample, const struct sandbox_sample *pod,
                                     const struct sandbox *s)
{
    struct cgroup_usage sum = {0};

    if (pod->read)
        return pod->usage;

    for (size_t i = 0; i < sample->n_containers; i++) {
        const struct container_sample *cs = &sample->containers[i];
        const struct container *c = container_find(sample->cri->config.pods, cs->id, NULL);
        if (!c || c->sandbox != s || !cs->read)
            continue;
        sum.cpu_ns += cs->usage.cpu_ns;
        sum.memory_bytes += cs->usage.memory_bytes;
        sum.working_set_bytes += cs->usage.working_set_bytes;
        sum.rss_bytes += cs->usage.rss_bytes;
        sum.page_faults += cs->usage.page_faults;
        sum.major_page_faults += cs->usage.major_page_faults;
        sum.pids += cs->usage.pids;
    }
    return sum;
}

static Runtime__V1__PodSandboxStats *
sandbox_stats_of(const struct sample *sample, const struct sandbox_sample *pod, struct arena *a)
{
    const struct sandbox *s = sandbox_find(sample->cri->config.pods, pod->id, NULL);

    if (!s)
        return NULL;
    Runtime__V1__PodSandboxStats *stats = ARENA_MESSAGE(a, runtime__v1__pod_sandbox_stats);
    Runtime__V1__LinuxPodSandboxStats *l = ARENA_MESSAGE(a, runtime__v1__linux_pod_sandbox_stats);
    struct cgroup_usage usage = pod_usage(sample, pod, s);

    stats->attributes = ARENA_MESSAGE(a, runtime__v1__pod_sandbox_attributes);
    stats->attributes->id = s->id;
    stats->attributes->metadata = sandbox_to_item(s, a)->metadata;
    stats->attributes->labels = arena_to_map(
        a, &runtime__v1__pod_sandbox_attributes__labels_entry__descriptor, s->labels, s->n_labels);
    stats->attributes->n_labels = s->n_labels;
    stats->attributes->annotations =
        arena_to_map(a, &runtime__v1__pod_sandbox_attributes__annotations_entry__descriptor,
                     s->annotations, s->n_annotations);
    stats->attributes->n_annotations = s->n_annotations;
    l->cpu = cpu_of(&usage, sample->time, a);
    l->memory = memory_of(&usage, sample->time, a);
    if (pod->n_interfaces)
        l->network = network_of(pod, sample->time, a);
    l->io = io_of(&usage, sample->time, a);
    l->process = ARENA_MESSAGE(a, runtime__v1__process_usage);
    l->process->timestamp = sample->time;
    l->process->process_count = number(a, usage.pids);
    l->n_containers = stats_list(sample, s, &l->containers, a);
    stats->linux = l;
    return stats;
}

static void answer_sandbox(struct sample *sample)
{
    Runtime__V1__PodSandboxStatsResponse response = RUNTIME__V1__POD_SANDBOX_STATS_RESPONSE__INIT;
    _cleanup_arena_ struct arena a = {0};

    response.stats = sandbox_stats_of(sample, &sample->sandboxes[0], &a);
    if (!response.stats)
        fail_gone(sample, "pod sandbox", sample->sandboxes[0].id);
    else
        rpc_reply(sample->call, &response.base);
}

void cri_pod_sandbox_stats(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const struct cri *c = ctx;
    const Runtime__V1__PodSandboxStatsRequest *request = (const void *)message;
    _cleanup_err_ struct err e = ERR_INIT;

    if (!cri_accept(c, call) || !require_id(call, request->pod_sandbox_id, "pod_sandbox_id"))
        return;
    const struct sandbox *s = sandbox_find(c->config.pods, request->pod_sandbox_id, &e);
    if (s && s->state != SANDBOX_READY)
        err_set(&e, ERR_FAILED_PRECONDITION, "pod sandbox %s is not ready: it uses nothing", s->id);
    if (e.code != ERR_OK) {
        rpc_fail(call, &e);
        return;
    }
    struct sample *sample = sample_new(ctx, call, false, answer_sandbox);
    sample_add_sandbox(sample, s);
    sample_run(sample);
}

struct sandbox_selection {
    struct sample *sample;
    const Runtime__V1__PodSandboxStatsFilter *filter; /* may be NULL */
    const struct sandbox *only;
};

static void select_sandbox(void *arg, const struct sandbox *s)
{
    struct sandbox_selection *selection = arg;
    const Runtime__V1__PodSandboxStatsFilter *f = selection->filter;

    if (s->state != SANDBOX_READY || (f && !str_empty(f->id) && s != selection->only))
        return;
    if (f && !labels_match(s->labels, s->n_labels, f->label_selector, f->n_label_selector))
        return;
    sample_add_sandbox(selection->sample, s);
}

static void select_sandboxes(struct sample *sample,
                             const Runtime__V1__PodSandboxStatsFilter *filter)
{
    struct sandbox_selection s = {.sample = sample, .filter = filter};

    if (filter && !str_empty(filter->id))
        s.only = sandbox_find(sample->cri->config.pods, filter->id, NULL);
    sandbox_for_each(sample->cri->config.pods, select_sandbox, &s);
}

static size_t sandbox_stats_list(struct sample *sample, Runtime__V1__PodSandboxStats ***ret,
                                 struct arena *a)
{
    size_t n = 0;

    *ret = arena_alloc(a, sample->n_sandboxes * sizeof(**ret));
    for (size_t i = 0; i < sample->n_sandboxes; i++) {
        Runtime__V1__PodSandboxStats *stats = sandbox_stats_of(sample, &sample->sandboxes[i], a);
        if (stats)
            (*ret)[n++] = stats;
    }
    return n;
}

static void answer_sandboxes(struct sample *sample)
{
    Runtime__V1__ListPodSandboxStatsResponse response =
        RUNTIME__V1__LIST_POD_SANDBOX_STATS_RESPONSE__INIT;
    _cleanup_arena_ struct arena a = {0};

    response.n_stats = sandbox_stats_list(sample, &response.stats, &a);
    rpc_reply(sample->call, &response.base);
}

void cri_list_pod_sandbox_stats(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const struct cri *c = ctx;
    const Runtime__V1__ListPodSandboxStatsRequest *request = (const void *)message;

    if (!cri_accept(c, call))
        return;
    struct sample *sample = sample_new(ctx, call, false, answer_sandboxes);
    select_sandboxes(sample, request->filter);
    sample_run(sample);
}

static void answer_sandbox_stream(struct sample *sample)
{
    Runtime__V1__StreamPodSandboxStatsResponse response =
        RUNTIME__V1__STREAM_POD_SANDBOX_STATS_RESPONSE__INIT;
    _cleanup_arena_ struct arena a = {0};

    response.n_pod_sandbox_stats = sandbox_stats_list(sample, &response.pod_sandbox_stats, &a);
    if (response.n_pod_sandbox_stats)
        rpc_send(sample->call, &response.base);
    rpc_finish(sample->call);
}

void cri_stream_pod_sandbox_stats(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const struct cri *c = ctx;
    const Runtime__V1__StreamPodSandboxStatsRequest *request = (const void *)message;

    if (!cri_accept(c, call))
        return;
    struct sample *sample = sample_new(ctx, call, false, answer_sandbox_stream);
    select_sandboxes(sample, request->filter);
    sample_run(sample);
}
