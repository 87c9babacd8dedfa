/*
 * resources.c - quality of service, cgroup numbers and the out-of-memory score, as kubelet derives
 * them from a pod's requests and limits.
 */
#include "resources.h"

#define CPU_PERIOD_US 100000
#define CPU_QUOTA_MIN_US 1000
#define CPU_SHARES_MIN 2
#define CPU_SHARES_MAX 262144

static const struct quantity *find_quantity(const struct resource_list *list, bool cpu)
{
    const struct quantity *q = !list ? NULL : cpu ? &list->cpu : &list->memory;

    return q && q->set ? q : NULL;
}

static const struct quantity *find_limit(const struct manifest_resources *r, bool cpu)
{
    return r ? find_quantity(r->limits, cpu) : NULL;
}

static const struct quantity *find_request(const struct manifest_resources *r, bool cpu)
{
    const struct quantity *q = r ? find_quantity(r->requests, cpu) : NULL;

    return q ? q : find_limit(r, cpu);
}

int64_t resources_node_memory(void)
{
    return (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
}

int64_t resources_amount(const struct manifest_resources *r, bool limit, bool cpu)
{
    const struct quantity *q = limit ? find_limit(r, cpu) : find_request(r, cpu);

    if (q)
        return cpu ? q->milli : q->units;
    if (!limit)
        return 0;
    return cpu ? sysconf(_SC_NPROCESSORS_ONLN) * 1000 : resources_node_memory();
}

/* ---- Quality of service ------------------------------------------------------------------------
 */

static bool is_positive(const struct quantity *q)
{
    return q && (q->units > 0 || q->milli > 0);
}

static bool is_guaranteed(const struct manifest_resources *r)
{
    for (int cpu = 0; cpu <= 1; cpu++) {
        const struct quantity *limit = find_limit(r, cpu), *request = find_request(r, cpu);
        if (!is_positive(limit) || !request || limit->units != request->units ||
            limit->milli != request->milli)
            return false;
    }
    return true;
}

static bool asks_for_nothing(const struct manifest_resources *r)
{
    return !is_positive(find_request(r, true)) && !is_positive(find_request(r, false));
}

static void count_qos(const struct object_list *containers, size_t *guaranteed, size_t *nothing)
{
    const struct manifest_container *items = containers->items;

    for (size_t i = 0; i < containers->count; i++) {
        *guaranteed += is_guaranteed(items[i].resources);
        *nothing += asks_for_nothing(items[i].resources);
    }
}

enum qos resources_qos(const struct pod_spec *spec)
{
    size_t guaranteed = 0, nothing = 0;
    size_t all = spec->containers.count + spec->init_containers.count;

    count_qos(&spec->containers, &guaranteed, &nothing);
    count_qos(&spec->init_containers, &guaranteed, &nothing);
    if (guaranteed == all)
        return QOS_GUARANTEED;
    return nothing == all ? QOS_BEST_EFFORT : QOS_BURSTABLE;
}

/* ---- Numbers -----------------------------------------------------------------------------------
 */

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

void resources_limits(const struct manifest_resources *r, struct cgroup_limits *ret)
{
    const struct quantity *cpu_limit = find_limit(r, true), *memory = find_limit(r, false);
    const struct quantity *cpu_request = find_request(r, true);
    const int64_t milli_max = (int64_t)1 << 40; /* far above any machine, far below overflow */

    ret->cpu_shares = CPU_SHARES_MIN;
    if (cpu_request)
        ret->cpu_shares = clamp(clamp(cpu_request->milli, 0, milli_max) * 1024 / 1000,
                                CPU_SHARES_MIN, CPU_SHARES_MAX);
    if (is_positive(cpu_limit)) {
        ret->cpu_period = CPU_PERIOD_US;
        ret->cpu_quota = clamp(clamp(cpu_limit->milli, 0, milli_max) * CPU_PERIOD_US / 1000,
                               CPU_QUOTA_MIN_US, INT64_MAX);
    }
    if (is_positive(memory))
        ret->memory_bytes = memory->units;
}

int64_t resources_oom_score_adj(const struct manifest_resources *r, enum qos qos,
                                int64_t node_memory)
{
    const struct quantity *request = find_request(r, false);

    if (qos == QOS_GUARANTEED)
        return -997;
    if (qos == QOS_BEST_EFFORT)
        return 1000;
    int64_t bytes = request ? clamp(request->units, 0, node_memory) : 0;
    if (node_memory <= 0)
        return 999;
    return clamp(1000 - (int64_t)((__int128)1000 * bytes / node_memory), 3, 999);
}
