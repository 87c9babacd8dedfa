/*
 * storage.c - pods that use more of the disk than they may: sizeLimit of an emptyDir, and limits of
 * ephemeral-storage, which count a container's writable layer and logs, and for the pod as a whole
 * its emptyDirs too.
 *
 * What they use is measured every ten seconds, as kubelet does, on a worker thread, and less often
 * when measuring takes long, so that it never costs more than a twentieth of a core. A pod that is
 * over a limit is evicted: it ends like one whose activeDeadlineSeconds have passed, and has
 * failed. An emptyDir in memory is bounded by its own file system instead.
 */
#include "private.h"

#include <fcntl.h>

#define PERIOD_MS 10000
#define SHARE 20 /* of the time, as one part in so many */

/* What is measured together, and how much it may be. */
struct limit {
    char *uid;  /* of the pod */
    char *over; /* what is said when it is more */
    int64_t bytes;
    char **trees;      /* strv of directories */
    char **containers; /* strv of ids, whose writable layers count */
    uint64_t used;
};

struct measure_job {
    struct work_job base;
    const struct image_store *images;
    struct limit *limits;
    size_t count;
    int64_t took; /* ns */
};

/* ---- Measuring ---------------------------------------------------------------------------------
 */

/* What cannot be measured is not there yet, or not any more. */
static void limit_measure(const struct image_store *images, struct limit *l)
{
    struct tree_size size;

    for (size_t i = 0; i < strv_len(l->trees); i++) {
        _cleanup_err_ struct err e = ERR_INIT;
        if (tree_measure(AT_FDCWD, l->trees[i], &size, &e) == 0)
            l->used += size.bytes;
    }
    for (size_t i = 0; i < strv_len(l->containers); i++) {
        _cleanup_err_ struct err e = ERR_INIT;
        if (rootfs_measure(images, l->containers[i], &size, &e) == 0)
            l->used += size.bytes;
    }
}

static void measure_work(struct work_job *base)
{
    struct measure_job *job = container_of(base, struct measure_job, base);
    int64_t since = time_mono_ns();

    for (size_t i = 0; i < job->count; i++)
        limit_measure(job->images, &job->limits[i]);
    job->took = time_mono_ns() - since;
}

static void job_free(struct measure_job *job)
{
    for (size_t i = 0; i < job->count; i++) {
        struct limit *l = &job->limits[i];
        free(l->uid);
        free(l->over);
        strv_free(l->trees);
        strv_free(l->containers);
    }
    free(job->limits);
    err_clear(&job->base.err);
    free(job);
}

static void evict(struct declared *d, const struct limit *l)
{
    if (d->evicted || d->deleting || d->finished)
        return;
    d->evicted = xstrdup(l->over);
    log_warn("node", d->key, "is evicted: %s", l->over);
    event_add(d, NULL, true, "Evicted", "%s", l->over);
    declared_cancel_pulls(d);
    declared_touch(d);
    declared_kick(d);
}

static void measured(struct op *op, const char *id, const struct err *e)
{
    struct measure_job *job = op->job;
    int64_t pause = job->took * SHARE / NS_PER_MS;

    for (size_t i = 0; i < job->count; i++) {
        const struct limit *l = &job->limits[i];
        struct declared *d = map_get(op->node->uids, l->uid);
        if (d && l->used > (uint64_t)l->bytes)
            evict(d, l);
    }
    timer_start(op->node->storage, pause > PERIOD_MS ? pause : PERIOD_MS);
    job_free(job);
}

/* ---- What is to be measured --------------------------------------------------------------------
 */

static struct limit *limit_add(struct measure_job *job, const struct declared *d, int64_t bytes)
{
    struct limit *l = array_push(&job->limits, &job->count, sizeof(*l));

    l->uid = xstrdup(d->uid);
    l->bytes = bytes;
    return l;
}

static void add_tree(struct limit *l, char *path_take)
{
    strv_push(&l->trees, path_take);
    free(path_take);
}

static void add_member(struct limit *l, const struct declared *d, const struct member *m)
{
    _cleanup_free_ char *logs = declared_log_dir(d);

    if (m->id)
        strv_push(&l->containers, m->id);
    add_tree(l, xasprintf("%s/%s", logs, m->spec->name));
}

static bool is_on_disk(const struct manifest_volume *v)
{
    return v->empty_dir && v->empty_dir->medium != MEDIUM_MEMORY;
}

static void add_volumes(struct measure_job *job, const struct declared *d, struct limit *whole)
{
    const struct pod_spec *spec = d->manifest->spec;
    struct volumes_place place = declared_volumes_place(d);

    for (size_t i = 0; i < spec->volumes.count; i++) {
        const struct manifest_volume *v = spec_volume(spec, i);
        if (!is_on_disk(v))
            continue;
        if (whole) {
            add_tree(whole, volume_path(&place, v));
        } else if (v->empty_dir->size_limit.set) {
            struct limit *l = limit_add(job, d, v->empty_dir->size_limit.units);
            l->over = xasprintf("usage of emptyDir volume %s exceeds its limit of %lld bytes",
                                v->name, (long long)l->bytes);
            add_tree(l, volume_path(&place, v));
        }
    }
    volumes_place_clear(&place);
}

static const struct quantity *storage_limit(const struct manifest_container *c)
{
    const struct quantity *q =
        c->resources && c->resources->limits ? &c->resources->limits->storage : NULL;

    return q && q->set ? q : NULL;
}

static void add_containers(struct measure_job *job, const struct declared *d)
{
    int64_t sum = 0;
    bool all = true; /* only then is there a limit for the pod */

    for (size_t i = 0; i < d->n_members; i++) {
        const struct quantity *limit = storage_limit(d->members[i].spec);
        all &= limit != NULL;
        if (!limit)
            continue;
        if (__builtin_add_overflow(sum, limit->units, &sum))
            sum = INT64_MAX;
        struct limit *l = limit_add(job, d, limit->units);
        l->over = xasprintf("container %s exceeds its limit of ephemeral-storage, %lld bytes",
                            d->members[i].spec->name, (long long)limit->units);
        add_member(l, d, &d->members[i]);
    }
    if (!all)
        return;
    struct limit *whole = limit_add(job, d, sum);
    whole->over = xasprintf("the pod exceeds its containers' limits of ephemeral-storage, %lld "
                            "bytes together",
                            (long long)sum);
    for (size_t i = 0; i < d->n_members; i++)
        add_member(whole, d, &d->members[i]);
    add_volumes(job, d, whole);
}

static void on_period(void *arg)
{
    struct node *n = arg;
    struct measure_job *job = xnew(struct measure_job);

    list_for_each (it, &n->declared) {
        const struct declared *d = container_of(it, struct declared, item);
        if (d->deleting || d->finished || d->evicted || !d->saved || !d->manifest)
            continue;
        add_volumes(job, d, NULL);
        add_containers(job, d);
    }
    if (job->count == 0) {
        free(job);
        timer_start(n->storage, PERIOD_MS);
        return;
    }
    job->base.work = measure_work;
    job->images = n->config.images;
    op_work(n->config.loop, op_new_for_node(n, measured, job), &job->base);
}

/* ---- What the room asks ------------------------------------------------------------------------
 */

void storage_open(struct node *n)
{
    n->storage = timer_new(n->config.loop, on_period, n);
    timer_start(n->storage, PERIOD_MS);
}

bool storage_sync(struct declared *d)
{
    if (!d->evicted)
        return false;
    declared_end(d);
    return true;
}
