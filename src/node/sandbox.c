/*
 * sandbox.c - the sandbox of a declared pod: made with its volumes, made again when it is lost,
 * given back when the pod has finished.
 */
#include "private.h"
#include "translate.h"
#include "volumes.h"

#include <fcntl.h>

#define RESOLV_CONF "/etc/resolv.conf"

/* ---- Making ------------------------------------------------------------------------------------
 */

struct setup_job {
    struct work_job base;
    const struct pod_spec *spec;
    struct volumes_place place;
    struct payload *payloads;
    char *log_dir;
    char *const *dns_servers; /* borrowed */
    struct bytes resolv_conf;
};

static struct bytes resolv_conf_of(char *const *servers)
{
    struct strbuf b = {0};

    for (char *const *it = servers; *it; it++) {
        strbuf_adds(&b, "nameserver ");
        strbuf_adds(&b, *it);
        strbuf_adds(&b, "\n");
    }
    return (struct bytes){.data = (uint8_t *)b.data, .len = b.len};
}

static void setup_work(struct work_job *base)
{
    struct setup_job *job = container_of(base, struct setup_job, base);
    struct err ignored = ERR_INIT;

    if (volumes_prepare(job->spec, &job->place, job->payloads, &base->err) < 0 ||
        dir_ensure(job->log_dir, 0755, &base->err) < 0)
        return;
    /* Only needed where dnsConfig adds to it; a node without one has nothing to add to. */
    if (job->dns_servers)
        job->resolv_conf = resolv_conf_of(job->dns_servers);
    else if (file_read(AT_FDCWD, RESOLV_CONF, 1 << 20, &job->resolv_conf, &ignored) < 0)
        err_clear(&ignored);
}

static void setup_job_free(struct setup_job *job)
{
    err_clear(&job->base.err);
    bytes_free(&job->resolv_conf);
    payloads_free(job->payloads, job->spec->volumes.count);
    volumes_place_clear(&job->place);
    free(job->log_dir);
    free(job);
}

static void set_trouble(struct declared *d, const char *reason, const struct err *e)
{
    free(d->trouble);
    d->trouble = xstrdup(err_text(e));
    backoff_fail(&d->sandbox_backoff, time_now_ns());
    d->sandbox_due = time_now_ns() + d->sandbox_backoff.delay_ns;
    event_add(d, NULL, true, reason, "%s", err_text(e));
    log_warn("node", d->key, "%s: %s", reason, err_text(e));
    declared_touch(d);
}

static void sandbox_made(struct op *op, const char *id, const struct err *e)
{
    struct declared *d = op->pod;

    if (e->code != ERR_OK) {
        set_trouble(d, "FailedCreatePodSandBox", e);
        return;
    }
    free(d->sandbox_id);
    d->sandbox_id = xstrdup(id);
    d->sandbox_backoff = (struct backoff){0};
    free(take_ptr(d->trouble));
    declared_touch(d);
    if (d->volumes_again)
        volumes_refresh(d);
}

static void setup_done(struct op *op, const char *id, const struct err *e)
{
    struct setup_job *job = op->job;
    struct declared *d = op->pod;
    struct sandbox_plan plan;

    _cleanup_err_ struct err none_free = ERR_INIT;
    if (e->code != ERR_OK) {
        set_trouble(d, "FailedMount", e);
    } else if (spec_has_user_namespace(d->manifest->spec) && !d->first_id) {
        err_set(&none_free, ERR_RESOURCE_EXHAUSTED,
                "every range of ids for user namespaces is taken by other pods; delete some, and "
                "declare this one anew");
        set_trouble(d, "FailedCreatePodSandBox", &none_free);
    } else if (!d->deleting && !d->node->halted) {
        sandbox_plan_make(d->manifest, d->uid, d->sandbox_attempt, job->log_dir,
                          (const char *)job->resolv_conf.data, d->first_id, &plan);
        d->sandbox_op = op_new(d, NULL, sandbox_made, NULL);
        sandbox_run(d->node->config.pods, &plan.config, op_on_id, d->sandbox_op);
        sandbox_plan_free(&plan);
    }
    setup_job_free(job);
}

static void sandbox_make(struct declared *d)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct payload *payloads = declared_payloads(d, &e);

    if (!payloads) {
        set_trouble(d, "FailedMount", &e);
        return;
    }
    struct setup_job *job = xnew(struct setup_job);
    job->base.work = setup_work;
    job->spec = d->manifest->spec;
    job->place = declared_volumes_place(d);
    job->payloads = payloads;
    job->log_dir = declared_log_dir(d);
    job->dns_servers = d->node->config.dns_servers;
    d->sandbox_op = op_new(d, NULL, setup_done, job);
    op_work(d->node->config.loop, d->sandbox_op, &job->base);
}

/* ---- Losing ------------------------------------------------------------------------------------
 */

static void old_removed(struct op *op, const char *id, const struct err *e)
{
    struct declared *d = op->pod;

    if (e->code != ERR_OK) {
        set_trouble(d, "FailedKillPod", e);
        return;
    }
    free(take_ptr(d->sandbox_id));
    d->sandbox_attempt++;
    d->initialized = false;
}

/* A container of a lost sandbox begins again, as the next attempt. */
static void member_leave_sandbox(struct member *m)
{
    const struct container *c = member_container(m);

    if (!m->id)
        return;
    if (c)
        termination_of(&m->last, m, c);
    health_detach(take_ptr(m->health));
    member_reset_hooks(m);
    m->kill_deadline = 0;
    free(take_ptr(m->id));
    m->attempt++;
    m->end_noted = m->kill = false;
    m->images_ready = 0;
    m->waiting = NULL;
    m->due = 0;
}

/* Nothing of it is to be started again: it ended as it should, before its sandbox did. */
static bool was_over(struct declared *d)
{
    for (size_t i = d->n_init; i < d->n_members; i++)
        if (!member_is_done(&d->members[i]))
            return false;
    return d->n_members > d->n_init;
}

static void sandbox_replace(struct declared *d)
{
    event_add(d, NULL, false, "SandboxChanged",
              "Pod sandbox changed, it will be killed and re-created.");
    log_warn("node", d->key, "has lost its sandbox; it is made again");
    for (size_t i = 0; i < d->n_members; i++)
        member_leave_sandbox(&d->members[i]);
    ephemeral_forget(d);
    store_save(d);
    declared_touch(d);
    d->sandbox_op = op_new(d, NULL, old_removed, NULL);
    sandbox_remove(d->node->config.pods, d->sandbox_id, op_on_done, d->sandbox_op);
}

/* ---- The pass ----------------------------------------------------------------------------------
 */

bool sandbox_sync(struct declared *d)
{
    const struct sandbox *s = declared_sandbox(d);

    if (d->sandbox_op)
        return false;
    if (s && s->state == SANDBOX_READY)
        return true;
    if (d->ops > 0 || d->sandbox_due > time_now_ns())
        return false; /* first let what is under way in the lost one come to its end */
    if (!d->sandbox_id)
        sandbox_make(d);
    else if (s && was_over(d))
        return true;
    else
        sandbox_replace(d);
    return false;
}

static void released(struct op *op, const char *id, const struct err *e)
{
    struct declared *d = op->pod;

    if (e->code != ERR_OK)
        log_warn("node", d->key, "stop the sandbox: %s", err_text(e));
    d->network_released = true;
    declared_touch(d);
}

void sandbox_release(struct declared *d)
{
    if (d->network_released || d->sandbox_op || !declared_sandbox(d))
        return;
    d->sandbox_op = op_new(d, NULL, released, NULL);
    sandbox_stop(d->node->config.pods, d->sandbox_id, op_on_done, d->sandbox_op);
}
