/*
 * stats.c - what containers and pods use: ContainerStats, PodSandboxStats and their lists.
 *
 * Counters are files of cgroups and of network namespaces, and reading them takes a moment: a
 * worker thread does it, from a list that the loop made and with descriptors of its own. Back on
 * the loop the numbers meet the objects again; one that is gone by then is left out.
 */
#include "private.h"

#define INTERFACES_MAX 16

/* What is to be read for one container. */
struct container_sample {
    char *id;
    char *cgroup_path; /* NULL: it does not run, there is nothing to read */
    struct cgroup_usage usage;
    bool read;
};

/* What is to be read for one sandbox besides its containers. */
struct sandbox_sample {
    char *id;
    int netns; /* -1: none of its own */
    struct net_usage interfaces[INTERFACES_MAX];
    size_t n_interfaces;
};

struct stats_job {
    const struct cri *cri;
    struct rpc_call *call;
    struct container_sample *containers;
    size_t n_containers;
    struct sandbox_sample *sandboxes;
    size_t n_sandboxes;
    void (*answer)(struct stats_job *job);
    int64_t time;
};

/* ---- Choosing and reading
 * --------------------------------------------------------------------------- */

static void add_container(struct stats_job *job, const struct container *c)
{
    struct container_sample *s =
        array_push(&job->containers, &job->n_containers, sizeof(*job->containers));

    s->id = xstrdup(c->id);
    s->cgroup_path = c->state == CONTAINER_RUNNING ? xstrdup(c->cgroup_path) : NULL;
}

static void add_sandbox(struct stats_job *job, const struct sandbox *s)
{
    struct sandbox_sample *sample =
        array_push(&job->sandboxes, &job->n_sandboxes, sizeof(*job->sandboxes));

    sample->id = xstrdup(s->id);
    sample->netns = s->host_network ? -1 : fd_dup(sandbox_netns(s));
    list_for_each (item, &s->containers)
        add_container(job, container_of_sibling(item));
}

static void read_all(void *arg)
{
    struct stats_job *job = arg;

    for (size_t i = 0; i < job->n_containers; i++) {
        struct container_sample *s = &job->containers[i];
        _cleanup_err_ struct err e = ERR_INIT;
        /* A cgroup that cannot be read has just ended: its container then has no numbers. */
        s->read = s->cgroup_path && cgroup_read_usage(s->cgroup_path, &s->usage, &e) == 0;
    }
    for (size_t i = 0; i < job->n_sandboxes; i++) {
        struct sandbox_sample *s = &job->sandboxes[i];
        _cleanup_err_ struct err e = ERR_INIT;
        if (s->netns >= 0 &&
            net_read_usage(s->netns, s->interfaces, INTERFACES_MAX, &s->n_interfaces, &e) < 0)
            s->n_interfaces = 0;
    }
    job->time = time_now_ns();
}

static void job_free(struct stats_job *job)
{
    for (size_t i = 0; i < job->n_containers; i++) {
        free(job->containers[i].id);
        free(job->containers[i].cgroup_path);
    }
    for (size_t i = 0; i < job->n_sandboxes; i++) {
        free(job->sandboxes[i].id);
        fd_close(job->sandboxes[i].netns);
    }
    free(job->containers);
    free(job->sandboxes);
    free(job);
}

static void on_read(void *arg)
{
    struct stats_job *job = arg;

    job->answer(job);
    job_free(job);
}

static struct stats_job *job_new(const struct cri *c, struct rpc_call *call,
                                 void (*answer)(struct stats_job *job))
{
    struct stats_job *job = xnew(struct stats_job);

    job->cri = c;
    job->call = call;
    job->answer = answer;
    return job;
}

static void job_run(struct stats_job *job)
{
    loop_work(job->cri->config.loop, read_all, on_read, job);
}

/* ---- Messages
 * ------------------------------------------------------------------------------------------ */

static Runtime__V1__UInt64Value *number(struct arena *a, uint64_t value)
{
    Runtime__V1__UInt64Value *v = ARENA_MESSAGE(a, runtime__v1__uint64_value);

    v->value = value;
    return v;
}

static Runtime__V1__CpuUsage *cpu_of(const struct cgroup_usage *u, int64_t time, struct arena *a)
{
    Runtime__V1__CpuUsage *cpu = ARENA_MESSAGE(a, runtime__v1__cpu_usage);

    cpu->timestamp = time;
    cpu->usage_core_nano_seconds = number(a, u->cpu_ns);
    return cpu;
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
container_stats_of(const struct stats_job *job, const struct container_sample *s, struct arena *a)
{
    const struct container *c = container_find(job->cri->config.pods, s->id, NULL);

    if (!c)
        return NULL;
    Runtime__V1__ContainerStats *stats = ARENA_MESSAGE(a, runtime__v1__container_stats);
    stats->attributes = attributes_of(c, a);
    if (s->read) {
        stats->cpu = cpu_of(&s->usage, job->time, a);
        stats->memory = memory_of(&s->usage, job->time, a);
        stats->swap = ARENA_MESSAGE(a, runtime__v1__swap_usage);
        stats->swap->timestamp = job->time;
        stats->swap->swap_usage_bytes = number(a, s->usage.swap_bytes);
        stats->swap->swap_available_bytes = number(a, 0);
    }
    return stats;
}

/* Those of one sandbox, or (NULL) all; *ret is in the arena. */
static size_t stats_list(const struct stats_job *job, const struct sandbox *of,
                         Runtime__V1__ContainerStats ***ret, struct arena *a)
{
    size_t n = 0;

    *ret = arena_alloc(a, job->n_containers * sizeof(**ret));
    for (size_t i = 0; i < job->n_containers; i++) {
        const struct container *c =
            of ? container_find(job->cri->config.pods, job->containers[i].id, NULL) : NULL;
        if (of && (!c || c->sandbox != of))
            continue;
        Runtime__V1__ContainerStats *stats = container_stats_of(job, &job->containers[i], a);
        if (stats)
            (*ret)[n++] = stats;
    }
    return n;
}

/* ---- Containers
 * ------------------------------------------------------------------------------------------ */

static void fail_gone(struct stats_job *job, const char *what, const char *id)
{
    _cleanup_err_ struct err e = ERR_INIT;

    err_set(&e, ERR_NOT_FOUND, "%s %s is gone", what, id);
    rpc_fail(job->call, &e);
}

static void answer_container(struct stats_job *job)
{
    Runtime__V1__ContainerStatsResponse response = RUNTIME__V1__CONTAINER_STATS_RESPONSE__INIT;
    _cleanup_arena_ struct arena a = {0};

    response.stats = container_stats_of(job, &job->containers[0], &a);
    if (!response.stats)
        fail_gone(job, "container", job->containers[0].id);
    else
        rpc_reply(job->call, &response.base);
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
    struct stats_job *job = job_new(c, call, answer_container);
    add_container(job, found);
    job_run(job);
}

struct container_selection {
    struct stats_job *job;
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
    add_container(s->job, c);
}

static void select_containers(struct stats_job *job,
                              const Runtime__V1__ContainerStatsFilter *filter)
{
    struct container_selection s = {.job = job, .filter = filter};
    struct pods *pods = job->cri->config.pods;

    if (filter && !str_empty(filter->id))
        s.only = container_find(pods, filter->id, NULL);
    if (filter && !str_empty(filter->pod_sandbox_id))
        s.only_sandbox = sandbox_find(pods, filter->pod_sandbox_id, NULL);
    container_for_each(pods, select_container, &s);
}

static void answer_containers(struct stats_job *job)
{
    Runtime__V1__ListContainerStatsResponse response =
        RUNTIME__V1__LIST_CONTAINER_STATS_RESPONSE__INIT;
    _cleanup_arena_ struct arena a = {0};

    response.n_stats = stats_list(job, NULL, &response.stats, &a);
    rpc_reply(job->call, &response.base);
}

void cri_list_container_stats(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const struct cri *c = ctx;
    const Runtime__V1__ListContainerStatsRequest *request = (const void *)message;

    if (!cri_accept(c, call))
        return;
    struct stats_job *job = job_new(c, call, answer_containers);
    select_containers(job, request->filter);
    job_run(job);
}

static void answer_container_stream(struct stats_job *job)
{
    Runtime__V1__StreamContainerStatsResponse response =
        RUNTIME__V1__STREAM_CONTAINER_STATS_RESPONSE__INIT;
    _cleanup_arena_ struct arena a = {0};

    response.n_container_stats = stats_list(job, NULL, &response.container_stats, &a);
    if (response.n_container_stats)
        rpc_send(job->call, &response.base);
    rpc_finish(job->call);
}

void cri_stream_container_stats(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const struct cri *c = ctx;
    const Runtime__V1__StreamContainerStatsRequest *request = (const void *)message;

    if (!cri_accept(c, call))
        return;
    struct stats_job *job = job_new(c, call, answer_container_stream);
    select_containers(job, request->filter);
    job_run(job);
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
static Runtime__V1__NetworkUsage *network_of(const struct sandbox_sample *s, int64_t time,
                                             struct arena *a)
{
    Runtime__V1__NetworkUsage *network = ARENA_MESSAGE(a, runtime__v1__network_usage);

    network->timestamp = time;
    network->interfaces = arena_alloc(a, s->n_interfaces * sizeof(*network->interfaces));
    for (size_t i = 0; i < s->n_interfaces; i++) {
        const struct net_usage *u = &s->interfaces[i];
        if (str_equal(u->name, "lo"))
            continue;
        if (!network->default_interface && str_equal(u->name, "eth0"))
            network->default_interface = interface_of(u, a);
        else
            network->interfaces[network->n_interfaces++] = interface_of(u, a);
    }
    return network;
}

/* The sum of the pod's containers: podd puts no limit on the pod's own cgroup, the kubelet does. */
static struct cgroup_usage pod_usage(const struct stats_job *job, const struct sandbox *s)
{
    struct cgroup_usage sum = {0};

    for (size_t i = 0; i < job->n_containers; i++) {
        const struct container_sample *sample = &job->containers[i];
        const struct container *c = container_find(job->cri->config.pods, sample->id, NULL);
        if (!c || c->sandbox != s || !sample->read)
            continue;
        sum.cpu_ns += sample->usage.cpu_ns;
        sum.memory_bytes += sample->usage.memory_bytes;
        sum.working_set_bytes += sample->usage.working_set_bytes;
        sum.rss_bytes += sample->usage.rss_bytes;
        sum.page_faults += sample->usage.page_faults;
        sum.major_page_faults += sample->usage.major_page_faults;
        sum.pids += sample->usage.pids;
    }
    return sum;
}

static Runtime__V1__PodSandboxStats *
sandbox_stats_of(const struct stats_job *job, const struct sandbox_sample *sample, struct arena *a)
{
    const struct sandbox *s = sandbox_find(job->cri->config.pods, sample->id, NULL);

    if (!s)
        return NULL;
    Runtime__V1__PodSandboxStats *stats = ARENA_MESSAGE(a, runtime__v1__pod_sandbox_stats);
    Runtime__V1__LinuxPodSandboxStats *l = ARENA_MESSAGE(a, runtime__v1__linux_pod_sandbox_stats);
    struct cgroup_usage usage = pod_usage(job, s);

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
    l->cpu = cpu_of(&usage, job->time, a);
    l->memory = memory_of(&usage, job->time, a);
    if (sample->n_interfaces)
        l->network = network_of(sample, job->time, a);
    l->process = ARENA_MESSAGE(a, runtime__v1__process_usage);
    l->process->timestamp = job->time;
    l->process->process_count = number(a, usage.pids);
    l->n_containers = stats_list(job, s, &l->containers, a);
    stats->linux = l;
    return stats;
}

static void answer_sandbox(struct stats_job *job)
{
    Runtime__V1__PodSandboxStatsResponse response = RUNTIME__V1__POD_SANDBOX_STATS_RESPONSE__INIT;
    _cleanup_arena_ struct arena a = {0};

    response.stats = sandbox_stats_of(job, &job->sandboxes[0], &a);
    if (!response.stats)
        fail_gone(job, "pod sandbox", job->sandboxes[0].id);
    else
        rpc_reply(job->call, &response.base);
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
    struct stats_job *job = job_new(c, call, answer_sandbox);
    add_sandbox(job, s);
    job_run(job);
}

struct sandbox_selection {
    struct stats_job *job;
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
    add_sandbox(selection->job, s);
}

static void select_sandboxes(struct stats_job *job,
                             const Runtime__V1__PodSandboxStatsFilter *filter)
{
    struct sandbox_selection s = {.job = job, .filter = filter};

    if (filter && !str_empty(filter->id))
        s.only = sandbox_find(job->cri->config.pods, filter->id, NULL);
    sandbox_for_each(job->cri->config.pods, select_sandbox, &s);
}

static size_t sandbox_stats_list(struct stats_job *job, Runtime__V1__PodSandboxStats ***ret,
                                 struct arena *a)
{
    size_t n = 0;

    *ret = arena_alloc(a, job->n_sandboxes * sizeof(**ret));
    for (size_t i = 0; i < job->n_sandboxes; i++) {
        Runtime__V1__PodSandboxStats *stats = sandbox_stats_of(job, &job->sandboxes[i], a);
        if (stats)
            (*ret)[n++] = stats;
    }
    return n;
}

static void answer_sandboxes(struct stats_job *job)
{
    Runtime__V1__ListPodSandboxStatsResponse response =
        RUNTIME__V1__LIST_POD_SANDBOX_STATS_RESPONSE__INIT;
    _cleanup_arena_ struct arena a = {0};

    response.n_stats = sandbox_stats_list(job, &response.stats, &a);
    rpc_reply(job->call, &response.base);
}

void cri_list_pod_sandbox_stats(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const struct cri *c = ctx;
    const Runtime__V1__ListPodSandboxStatsRequest *request = (const void *)message;

    if (!cri_accept(c, call))
        return;
    struct stats_job *job = job_new(c, call, answer_sandboxes);
    select_sandboxes(job, request->filter);
    job_run(job);
}

static void answer_sandbox_stream(struct stats_job *job)
{
    Runtime__V1__StreamPodSandboxStatsResponse response =
        RUNTIME__V1__STREAM_POD_SANDBOX_STATS_RESPONSE__INIT;
    _cleanup_arena_ struct arena a = {0};

    response.n_pod_sandbox_stats = sandbox_stats_list(job, &response.pod_sandbox_stats, &a);
    if (response.n_pod_sandbox_stats)
        rpc_send(job->call, &response.base);
    rpc_finish(job->call);
}

void cri_stream_pod_sandbox_stats(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const struct cri *c = ctx;
    const Runtime__V1__StreamPodSandboxStatsRequest *request = (const void *)message;

    if (!cri_accept(c, call))
        return;
    struct stats_job *job = job_new(c, call, answer_sandbox_stream);
    select_sandboxes(job, request->filter);
    job_run(job);
}
