/*
 * Turns limits as CRI counts them (in the terms of cgroup v1) into writes for the cgroup version of
 * this machine.
 *
 * cpu.shares runs from 2 to 262144 with 1024 as the default, cpu.weight from 1 to 10000 with 100.
 * The conversion keeps all three points: weight = 10^((l^2 + 125 l) / 612 - 7/34), l = log2 shares.
 */
#include "podd/runtime.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "cgroup-layout.h"

struct plan {
    cgroup_write_t ***writes;
    size_t *n;
    bool v2;
};

enum { PERIOD_DEFAULT_US = 100000, SHARES_MIN = 2, SHARES_MAX = 262144 };

static void write_add(struct plan *p, const char *controller, const char *file, bool optional,
                      const char *value)
{
    cgroup_write_t *w = xnew(cgroup_write_t);
    podd__shim__cgroup_write__init(w);
    w->controller = xstrdup(p->v2 ? "" : controller);
    w->file = xstrdup(file);
    w->value = xstrdup(value);
    w->optional = optional;
    *(cgroup_write_t **)array_push(p->writes, p->n, sizeof(w)) = w;
}

static void write_add_int(struct plan *p, const char *controller, const char *file, bool optional,
                          int64_t value)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRId64, value);
    write_add(p, controller, file, optional, text);
}

/* "max" on v2, -1 on v1 for what is not limited. */
static void write_add_limit(struct plan *p, const char *controller, const char *file, bool optional,
                            int64_t value)
{
    if (p->v2 && value < 0)
        write_add(p, controller, file, optional, "max");
    else
        write_add_int(p, controller, file, optional, value < 0 ? -1 : value);
}

static int64_t weight_of_shares(int64_t shares)
{
    shares = shares < SHARES_MIN ? SHARES_MIN : shares > SHARES_MAX ? SHARES_MAX : shares;
    double l = log2((double)shares);
    double weight = pow(10, (l * l + 125 * l) / 612.0 - 7.0 / 34.0);
    return (int64_t)ceil(weight - 1e-6);
}

static void plan_cpu(struct plan *p, const struct cgroup_limits *l)
{
    if (l->cpu_shares > 0 && p->v2)
        write_add_int(p, "cpu", "cpu.weight", false, weight_of_shares(l->cpu_shares));
    else if (l->cpu_shares > 0)
        write_add_int(p, "cpu", "cpu.shares", false, l->cpu_shares);

    if (!l->cpu_quota && l->cpu_period <= 0)
        return;
    if (!p->v2) { /* the period first: the quota is checked against it */
        if (l->cpu_period > 0)
            write_add_int(p, "cpu", "cpu.cfs_period_us", false, l->cpu_period);
        if (l->cpu_quota)
            write_add_int(p, "cpu", "cpu.cfs_quota_us", false,
                          l->cpu_quota > 0 ? l->cpu_quota : -1);
        return;
    }
    char text[64];
    int64_t period = l->cpu_period > 0 ? l->cpu_period : PERIOD_DEFAULT_US;
    if (l->cpu_quota > 0)
        snprintf(text, sizeof(text), "%" PRId64 " %" PRId64, l->cpu_quota, period);
    else
        snprintf(text, sizeof(text), "max %" PRId64, period);
    write_add(p, "cpu", "cpu.max", false, text);
}

static int plan_memory(struct plan *p, const struct cgroup_limits *l, struct err *e)
{
    int64_t limit = l->memory_bytes, total = l->memory_swap_bytes;
    if (!limit && !total)
        return 0;
    if (limit <= 0 && total > 0)
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "a limit of memory and swap (%" PRId64 ") without one of memory", total);
    if (limit > 0 && total > 0 && total < limit)
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "the limit of memory and swap (%" PRId64 ") is below that of memory "
                       "(%" PRId64 ")",
                       total, limit);
    if (limit)
        write_add_limit(p, "memory", p->v2 ? "memory.max" : "memory.limit_in_bytes", false, limit);
    int64_t both = total ? total : limit;
    /* Kernels without swap accounting lack the file; then there is nothing to limit. */
    if (!p->v2)
        write_add_limit(p, "memory", "memory.memsw.limit_in_bytes", true, both);
    else
        write_add_limit(p, "memory", "memory.swap.max", true, both < 0 ? -1 : both - limit);
    return 0;
}

static bool page_size_valid(const char *s)
{
    size_t digits = strspn(s, "0123456789");
    const char *unit = s + digits;
    return digits > 0 && digits < 8 &&
           (str_equal(unit, "KB") || str_equal(unit, "MB") || str_equal(unit, "GB"));
}

/* In the hybrid shape hugetlb may be the v2 tree's. Every size is named by the kubelet, also where
 * the kernel has none of it. */
static int plan_hugepages(struct plan *p, const struct cgroup_limits *l, struct err *e)
{
    struct plan own = *p;
    if (cgroup_layout_v1_index(cgroup_layout(), "hugetlb") < 0)
        own.v2 = true;
    for (size_t i = 0; i < l->n_hugepages; i++) {
        const struct hugepage_limit *h = &l->hugepages[i];
        if (!h->page_size || !page_size_valid(h->page_size))
            return err_set(e, ERR_INVALID_ARGUMENT, "\"%s\" is not a size of huge pages",
                           h->page_size ? h->page_size : "");
        if (!cgroup_has_controller("hugetlb"))
            continue;
        static const char *const files[2][2] = {{"limit_in_bytes", "rsvd.limit_in_bytes"},
                                                {"max", "rsvd.max"}};
        char value[24];
        snprintf(value, sizeof(value), "%" PRIu64, h->bytes);
        for (int k = 0; k < 2; k++) {
            _cleanup_free_ char *file = xasprintf("hugetlb.%s.%s", h->page_size, files[own.v2][k]);
            write_add(&own, "hugetlb", file, true, value);
        }
    }
    return 0;
}

static int plan_unified(struct plan *p, const struct cgroup_limits *l, struct err *e)
{
    for (size_t i = 0; i < l->n_unified; i++) {
        const struct key_value *kv = &l->unified[i];
        if (!p->v2)
            return err_set(e, ERR_INVALID_ARGUMENT,
                           "unified cgroup setting %s: this machine has cgroup v1 controllers",
                           kv->key);
        if (str_empty(kv->key) || strchr(kv->key, '/') || kv->key[0] == '.')
            return err_set(e, ERR_INVALID_ARGUMENT,
                           "unified cgroup setting \"%s\" is not a name of a cgroup file", kv->key);
        write_add(p, "", kv->key, false, kv->value);
    }
    return 0;
}

static int plan_all(struct plan *p, const struct cgroup_limits *l, struct err *e)
{
    plan_cpu(p, l);
    if (plan_memory(p, l, e) < 0)
        return -1;
    if (l->pids)
        write_add_limit(p, "pids", "pids.max", false, l->pids);
    if (!str_empty(l->cpuset_cpus))
        write_add(p, "cpuset", "cpuset.cpus", false, l->cpuset_cpus);
    if (!str_empty(l->cpuset_mems))
        write_add(p, "cpuset", "cpuset.mems", false, l->cpuset_mems);
    if (plan_hugepages(p, l, e) < 0)
        return -1;
    return plan_unified(p, l, e);
}

int cgroup_plan(const struct cgroup_limits *limits, cgroup_write_t ***writes, size_t *n_writes,
                struct err *e)
{
    size_t before = *n_writes;
    struct plan p = {.writes = writes, .n = n_writes, .v2 = cgroup_mode() == CGROUP_V2};
    if (plan_all(&p, limits, e) == 0)
        return 0;
    while (*n_writes > before)
        podd__shim__cgroup_write__free_unpacked((*writes)[--*n_writes], NULL);
    return -1;
}
