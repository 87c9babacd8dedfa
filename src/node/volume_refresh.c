/*
 * volume_refresh.c - volumes follow the objects and labels that they show, while their pod runs.
 *
 * One refresh of a pod at a time; what changes meanwhile makes another one. What cannot be read any
 * more (an object was deleted) leaves the volume as it is.
 */
#include "private.h"
#include "volumes.h"

struct volumes_place declared_volumes_place(const struct declared *d)
{
    const struct node_config *c = &d->node->config;

    return (struct volumes_place){
        .dir = declared_volume_dir(d),
        .memory_dir = xasprintf("%s/volumes/%s", c->state, d->uid),
    };
}

struct payload *declared_payloads(struct declared *d, struct err *e)
{
    const struct pod_spec *spec = d->manifest->spec;
    const struct env_context context = {.manifest = d->manifest,
                                        .uid = d->uid,
                                        .node_name = d->node->hostname,
                                        .objects = declared_objects(d)};
    struct payload *payloads = xcalloc(spec->volumes.count + 1, sizeof(*payloads));

    for (size_t i = 0; i < spec->volumes.count; i++) {
        const struct manifest_volume *v = spec_volume(spec, i);
        if (!volume_has_payload(v) || payload_make(v, &context, &payloads[i], e) == 0)
            continue;
        payloads_free(payloads, spec->volumes.count);
        return NULL;
    }
    return payloads;
}

void payloads_free(struct payload *payloads, size_t count)
{
    for (size_t i = 0; payloads && i < count; i++)
        payload_free(&payloads[i]);
    free(payloads);
}

/* ---- Refreshing --------------------------------------------------------------------------------
 */

struct refresh_job {
    struct work_job base;
    const struct pod_spec *spec;
    struct volumes_place place;
    struct payload *payloads;
};

static void refresh_work(struct work_job *base)
{
    const struct refresh_job *job = container_of(base, struct refresh_job, base);

    (void)!volumes_fill(job->spec, &job->place, job->payloads, &base->err); /* the error tells */
}

static void failed(struct declared *d, const struct err *e)
{
    event_add(d, NULL, true, "FailedMount", "%s", err_text(e));
    log_warn("node", d->key, "volumes stay as they are: %s", err_text(e));
}

static void refreshed(struct op *op, const char *id, const struct err *e)
{
    struct refresh_job *job = op->job;
    struct declared *d = op->pod;

    if (e->code != ERR_OK)
        failed(d, e);
    payloads_free(job->payloads, job->spec->volumes.count);
    volumes_place_clear(&job->place);
    err_clear(&job->base.err);
    free(job);
    d->volumes_busy = false;
    if (d->volumes_again)
        volumes_refresh(d);
}

static bool has_payloads(const struct pod_spec *spec)
{
    for (size_t i = 0; i < spec->volumes.count; i++)
        if (volume_has_payload(spec_volume(spec, i)))
            return true;
    return false;
}

void volumes_refresh(struct declared *d)
{
    _cleanup_err_ struct err e = ERR_INIT;

    d->volumes_again = d->volumes_busy || d->sandbox_op;
    if (d->volumes_again || !d->sandbox_id || d->deleting || !has_payloads(d->manifest->spec))
        return;
    struct payload *payloads = declared_payloads(d, &e);
    if (!payloads) {
        failed(d, &e);
        return;
    }
    struct refresh_job *job = xnew(struct refresh_job);
    job->base.work = refresh_work;
    job->spec = d->manifest->spec;
    job->place = declared_volumes_place(d);
    job->payloads = payloads;
    d->volumes_busy = true;
    op_work(d->node->config.loop, op_new(d, NULL, refreshed, job), &job->base);
}
