/*
 * sample.c - choosing, reading on a worker thread, and remembering. See sample.h.
 */
#include "sample.h"

#include <sys/resource.h>

/* A layer is measured again after this, or after this many times as long as that takes. */
#define LAYER_AGE_MIN (10 * NS_PER_SEC)
#define LAYER_COST_RATIO 100
#define RATE_AGE_MIN (1 * NS_PER_SEC)

/* ---- What is remembered ------------------------------------------------------------------------
 */

const struct usage_memory *usage_recall(const struct cri *c, const char *container_id)
{
    return map_get(c->usage, container_id);
}

void usage_forget(struct cri *c, const char *container_id)
{
    free(map_remove(c->usage, container_id));
}

void usage_forget_all(struct cri *c)
{
    size_t cursor = 0;
    const char *id;
    void *memory;

    while (map_next(c->usage, &cursor, &id, &memory))
        free(memory);
    map_free(c->usage);
}

static bool layer_is_old(const struct usage_memory *m, int64_t now)
{
    int64_t age = now - (m ? m->layer_time : 0);

    return !m || !m->layer_time || age < 0 ||
           (age >= LAYER_AGE_MIN && age >= m->layer_took * LAYER_COST_RATIO);
}

static void remember_rate(struct usage_memory *m, uint64_t cpu_ns, int64_t time)
{
    if (m->cpu_time && time - m->cpu_time < RATE_AGE_MIN)
        return;
    if (m->cpu_time && cpu_ns >= m->cpu_ns) {
        m->nano_cores =
            (uint64_t)((double)(cpu_ns - m->cpu_ns) * NS_PER_SEC / (double)(time - m->cpu_time));
        m->rate_known = true;
    }
    m->cpu_time = time;
    m->cpu_ns = cpu_ns;
}

static void remember(struct sample *s, const struct container_sample *cs)
{
    struct usage_memory *m = map_get(s->cri->usage, cs->id);

    if (!container_find(s->cri->config.pods, cs->id, NULL))
        return;
    if (!m) {
        m = xnew(struct usage_memory);
        map_put(s->cri->usage, cs->id, m);
    }
    if (cs->read)
        remember_rate(m, cs->usage.cpu_ns, s->time);
    if (cs->layer_read) {
        m->layer_time = s->time;
        m->layer_took = cs->layer_took;
        m->layer = cs->layer;
    }
}

/* ---- Choosing ----------------------------------------------------------------------------------
 */

struct sample *sample_new(struct cri *c, struct rpc_call *call, bool detailed,
                          void (*answer)(struct sample *sample))
{
    struct sample *s = xnew(struct sample);

    s->cri = c;
    s->call = call;
    s->detailed = detailed;
    s->answer = answer;
    return s;
}

void sample_add_container(struct sample *s, const struct container *c)
{
    struct container_sample *cs =
        array_push(&s->containers, &s->n_containers, sizeof(*s->containers));

    cs->id = xstrdup(c->id);
    cs->cgroup_path = c->state == CONTAINER_RUNNING ? xstrdup(c->cgroup_path) : NULL;
    cs->pid = c->pid;
    cs->layer_wanted = layer_is_old(usage_recall(s->cri, c->id), time_now_ns());
}

void sample_add_sandbox(struct sample *s, const struct sandbox *sandbox)
{
    struct sandbox_sample *ss = array_push(&s->sandboxes, &s->n_sandboxes, sizeof(*s->sandboxes));

    ss->id = xstrdup(sandbox->id);
    ss->cgroup_path = sandbox_own_cgroup(sandbox) ? xstrdup(sandbox_own_cgroup(sandbox)) : NULL;
    ss->netns = sandbox->host_network ? -1 : fd_dup(sandbox_netns(sandbox));
    list_for_each (item, &sandbox->containers)
        sample_add_container(s, container_of_sibling(item));
}

/* ---- Reading (on a worker thread) --------------------------------------------------------------
 */

/* A cgroup that cannot be read has just ended: its container then has no numbers. */
static void container_read(const struct sample *s, struct container_sample *cs)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct rlimit limit;

    cs->read = cgroup_read_usage(cs->cgroup_path, &cs->usage, &e) == 0;
    if (!s->detailed || !cs->read)
        return;
    cs->read = cgroup_read_detail(cs->cgroup_path, &cs->detail, &e) == 0 &&
               cgroup_read_processes(cs->cgroup_path, &cs->processes, &e) == 0;
    cs->open_files_limit =
        prlimit(cs->pid, RLIMIT_NOFILE, NULL, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY
            ? (int64_t)limit.rlim_cur
            : -1;
}

static void layer_read(const struct sample *s, struct container_sample *cs)
{
    _cleanup_err_ struct err e = ERR_INIT;
    int64_t since = time_mono_ns();

    cs->layer_read = rootfs_measure(s->cri->config.images, cs->id, &cs->layer, &e) == 0;
    cs->layer_took = time_mono_ns() - since;
}

static void sandbox_read(struct sandbox_sample *ss)
{
    _cleanup_err_ struct err e = ERR_INIT;

    ss->read = ss->cgroup_path && cgroup_read_usage(ss->cgroup_path, &ss->usage, &e) == 0;
    err_clear(&e);
    if (ss->netns >= 0 &&
        net_read_usage(ss->netns, ss->interfaces, INTERFACES_MAX, &ss->n_interfaces, &e) < 0)
        ss->n_interfaces = 0;
}

static void read_all(void *arg)
{
    struct sample *s = arg;

    for (size_t i = 0; i < s->n_containers; i++) {
        if (s->containers[i].cgroup_path)
            container_read(s, &s->containers[i]);
        if (s->containers[i].layer_wanted)
            layer_read(s, &s->containers[i]);
    }
    for (size_t i = 0; i < s->n_sandboxes; i++)
        sandbox_read(&s->sandboxes[i]);
    s->time = time_now_ns();
}

static void sample_free(struct sample *s)
{
    for (size_t i = 0; i < s->n_containers; i++) {
        free(s->containers[i].id);
        free(s->containers[i].cgroup_path);
    }
    for (size_t i = 0; i < s->n_sandboxes; i++) {
        free(s->sandboxes[i].id);
        free(s->sandboxes[i].cgroup_path);
        fd_close(s->sandboxes[i].netns);
    }
    free(s->containers);
    free(s->sandboxes);
    free(s);
}

static void on_read(void *arg)
{
    struct sample *s = arg;

    for (size_t i = 0; i < s->n_containers; i++)
        remember(s, &s->containers[i]);
    s->answer(s);
    sample_free(s);
}

void sample_run(struct sample *s)
{
    loop_work(s->cri->config.loop, read_all, on_read, s);
}
