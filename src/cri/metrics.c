/*
 * metrics.c - ListMetricDescriptors and ListPodSandboxMetrics: the table of metrics.h, filled from
 * a detailed sample.
 *
 * A descriptor is told only where this machine gives it values, and no value without a descriptor:
 * a kubelet drops the one and its users miss the other. Block devices appear once they were used.
 */
#include "metrics.h"

#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

/* Labels that all have, first; they say whose value it is. */
static const char *const common_labels[] = {"container", "id", "image", "name", "namespace", "pod"};
enum {
    COMMON = ARRAY_SIZE(common_labels),
    LABELS_MAX = COMMON + 4,
    VALUES_MAX = 64,
    STREAM_CHUNK = 100
}; /* pods in one message */

struct metric_sink {
    struct arena *arena;
    const struct metric_row *row;
    const char *common[COMMON];
    int64_t time;
    Runtime__V1__Metric **metrics;
    size_t count, capacity;
};

static size_t extra_labels(const struct metric_row *row)
{
    size_t n = 0;

    while (n < ARRAY_SIZE(row->labels) && row->labels[n])
        n++;
    return n;
}

/* ---- Descriptors -------------------------------------------------------------------------------
 */

static Runtime__V1__MetricDescriptor *descriptor_of(const struct metric_row *row, struct arena *a)
{
    Runtime__V1__MetricDescriptor *d = ARENA_MESSAGE(a, runtime__v1__metric_descriptor);
    size_t extra = extra_labels(row);

    d->name = (char *)row->name;
    d->help = (char *)row->help;
    d->label_keys = arena_alloc(a, (COMMON + extra) * sizeof(*d->label_keys));
    memcpy(d->label_keys, common_labels, sizeof(common_labels));
    memcpy(d->label_keys + COMMON, row->labels, extra * sizeof(*row->labels));
    d->n_label_keys = COMMON + extra;
    return d;
}

void cri_list_metric_descriptors(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    Runtime__V1__ListMetricDescriptorsResponse response =
        RUNTIME__V1__LIST_METRIC_DESCRIPTORS_RESPONSE__INIT;
    _cleanup_arena_ struct arena a = {0};

    response.descriptors = arena_alloc(&a, n_metric_rows * sizeof(*response.descriptors));
    for (size_t i = 0; i < n_metric_rows; i++)
        if (metric_is_offered(&metric_rows[i]))
            response.descriptors[response.n_descriptors++] = descriptor_of(&metric_rows[i], &a);
    rpc_reply(call, &response.base);
}

/* ---- Values ------------------------------------------------------------------------------------
 */

static void sink_grow(struct metric_sink *sink)
{
    size_t capacity = sink->capacity ? sink->capacity * 2 : VALUES_MAX;
    Runtime__V1__Metric **metrics = arena_alloc(sink->arena, capacity * sizeof(*metrics));

    if (sink->count)
        memcpy(metrics, sink->metrics, sink->count * sizeof(*metrics));
    sink->metrics = metrics;
    sink->capacity = capacity;
}

void metric_tell(struct metric_sink *sink, uint64_t value, const char *const *labels)
{
    struct arena *a = sink->arena;
    Runtime__V1__Metric *m = ARENA_MESSAGE(a, runtime__v1__metric);
    size_t extra = extra_labels(sink->row);

    m->name = (char *)sink->row->name;
    m->timestamp = sink->time;
    m->metric_type =
        sink->row->counter ? RUNTIME__V1__METRIC_TYPE__COUNTER : RUNTIME__V1__METRIC_TYPE__GAUGE;
    m->label_values = arena_alloc(a, LABELS_MAX * sizeof(*m->label_values));
    memcpy(m->label_values, sink->common, sizeof(sink->common));
    for (size_t i = 0; i < extra; i++)
        m->label_values[COMMON + i] = arena_printf(a, "%s", labels[i]);
    m->n_label_values = COMMON + extra;
    m->value = ARENA_MESSAGE(a, runtime__v1__uint64_value);
    m->value->value = value;
    if (sink->count == sink->capacity)
        sink_grow(sink);
    sink->metrics[sink->count++] = m;
}

static void tell_rows(struct metric_sink *sink, enum metric_level level,
                      const struct metric_source *source)
{
    for (size_t i = 0; i < n_metric_rows; i++) {
        sink->row = &metric_rows[i];
        if (sink->row->level == level && metric_is_offered(sink->row))
            sink->row->tell(source, sink);
    }
}

/* The block device below the file system, or its numbers where it has none of its own. */
static void disk_read(const char *path, struct disk_usage *ret)
{
    char link[96], target[256];
    struct statvfs fs;
    struct stat st;

    *ret = (struct disk_usage){0};
    if (statvfs(path, &fs) < 0 || stat(path, &st) < 0)
        return;
    ret->bytes = (uint64_t)fs.f_blocks * fs.f_frsize;
    ret->inodes = fs.f_files;
    ret->inodes_free = fs.f_ffree;
    snprintf(ret->device, sizeof(ret->device), "%u:%u", major(st.st_dev), minor(st.st_dev));
    snprintf(link, sizeof(link), "/sys/dev/block/%s", ret->device);
    ssize_t n = readlink(link, target, sizeof(target) - 1);
    target[n < 0 ? 0 : n] = '\0';
    const char *name = strrchr(target, '/');
    if (name)
        snprintf(ret->device, sizeof(ret->device), "/dev/%.50s", name + 1);
}

/* What is the same for all values of one answer. */
struct metrics_answer {
    const struct sample *sample;
    struct arena *arena;
    struct disk_usage disk;
};

static struct metric_sink sink_of(const struct metrics_answer *m, const struct sandbox *s,
                                  const struct container *c)
{
    return (struct metric_sink){
        .arena = m->arena,
        .time = m->sample->time,
        .common = {c ? c->name : "", c ? c->cgroup_path : s->cgroup_parent, c ? c->image : "",
                   c ? c->id : "", s->namespace_, s->name},
    };
}

static Runtime__V1__ContainerMetrics *container_metrics_of(const struct metrics_answer *m,
                                                           const struct container *c,
                                                           const struct container_sample *cs)
{
    Runtime__V1__ContainerMetrics *to = ARENA_MESSAGE(m->arena, runtime__v1__container_metrics);
    const struct usage_memory *memory = usage_recall(m->sample->cri, c->id);
    struct metric_sink sink = sink_of(m, c->sandbox, c);
    const struct metric_source source = {
        .container = cs,
        .layer = memory && memory->layer_time ? &memory->layer : NULL,
        .started_s = (uint64_t)(c->started_at / NS_PER_SEC),
        .now_s = (uint64_t)(m->sample->time / NS_PER_SEC),
        .disk = m->disk,
    };

    tell_rows(&sink, METRIC_CONTAINER, &source);
    to->container_id = c->id;
    to->metrics = sink.metrics;
    to->n_metrics = sink.count;
    return to;
}

static void add_containers(const struct metrics_answer *m, const struct sandbox *s,
                           Runtime__V1__PodSandboxMetrics *to)
{
    const struct sample *sample = m->sample;

    to->container_metrics =
        arena_alloc(m->arena, sample->n_containers * sizeof(*to->container_metrics));
    for (size_t i = 0; i < sample->n_containers; i++) {
        const struct container_sample *cs = &sample->containers[i];
        const struct container *c = container_find(sample->cri->config.pods, cs->id, NULL);
        if (c && c->sandbox == s && cs->read)
            to->container_metrics[to->n_container_metrics++] = container_metrics_of(m, c, cs);
    }
}

/* NULL when the pod has gone meanwhile. */
static Runtime__V1__PodSandboxMetrics *pod_metrics_of(const struct metrics_answer *m,
                                                      const struct sandbox_sample *ss)
{
    const struct sandbox *s = sandbox_find(m->sample->cri->config.pods, ss->id, NULL);

    if (!s)
        return NULL;
    Runtime__V1__PodSandboxMetrics *to = ARENA_MESSAGE(m->arena, runtime__v1__pod_sandbox_metrics);
    struct metric_sink sink = sink_of(m, s, NULL);
    tell_rows(&sink, METRIC_POD, &(struct metric_source){.sandbox = ss});
    to->pod_sandbox_id = s->id;
    to->metrics = sink.metrics;
    to->n_metrics = sink.count;
    add_containers(m, s, to);
    return to;
}

static size_t metrics_list(const struct sample *sample, Runtime__V1__PodSandboxMetrics ***ret,
                           struct arena *a)
{
    struct metrics_answer m = {.sample = sample, .arena = a};
    size_t n = 0;

    disk_read(sample->cri->root, &m.disk);
    *ret = arena_alloc(a, sample->n_sandboxes * sizeof(**ret));
    for (size_t i = 0; i < sample->n_sandboxes; i++) {
        Runtime__V1__PodSandboxMetrics *metrics = pod_metrics_of(&m, &sample->sandboxes[i]);
        if (metrics)
            (*ret)[n++] = metrics;
    }
    return n;
}

/* ---- Calls -------------------------------------------------------------------------------------
 */

static void add_if_ready(void *arg, const struct sandbox *s)
{
    if (s->state == SANDBOX_READY)
        sample_add_sandbox(arg, s);
}

static void start(struct cri *c, struct rpc_call *call, void (*answer)(struct sample *sample))
{
    if (!cri_accept(c, call))
        return;
    struct sample *sample = sample_new(c, call, true, answer);
    sandbox_for_each(c->config.pods, add_if_ready, sample);
    sample_run(sample);
}

static void answer_list(struct sample *sample)
{
    Runtime__V1__ListPodSandboxMetricsResponse response =
        RUNTIME__V1__LIST_POD_SANDBOX_METRICS_RESPONSE__INIT;
    _cleanup_arena_ struct arena a = {0};

    response.n_pod_metrics = metrics_list(sample, &response.pod_metrics, &a);
    rpc_reply(sample->call, &response.base);
}

void cri_list_pod_sandbox_metrics(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    start(ctx, call, answer_list);
}

static void answer_stream(struct sample *sample)
{
    _cleanup_arena_ struct arena a = {0};
    Runtime__V1__PodSandboxMetrics **metrics;
    size_t count = metrics_list(sample, &metrics, &a);

    for (size_t i = 0; i < count; i += STREAM_CHUNK) {
        Runtime__V1__StreamPodSandboxMetricsResponse response =
            RUNTIME__V1__STREAM_POD_SANDBOX_METRICS_RESPONSE__INIT;
        response.pod_sandbox_metrics = metrics + i;
        response.n_pod_sandbox_metrics = count - i < STREAM_CHUNK ? count - i : STREAM_CHUNK;
        rpc_send(sample->call, &response.base);
    }
    rpc_finish(sample->call);
}

void cri_stream_pod_sandbox_metrics(struct rpc_call *call, const ProtobufCMessage *message,
                                    void *ctx)
{
    start(ctx, call, answer_stream);
}
