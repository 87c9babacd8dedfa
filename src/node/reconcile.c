/*
 * reconcile.c - one pass over one declared pod: what is, what should be, and the next steps.
 *
 * A pass may be run at any time and any number of times; it starts what is missing and not already
 * under way. The order is Kubernetes': the sandbox, init containers one after the other (a sidecar
 * counts once it has started), then all containers at once. When every container has ended for good
 * the pod is finished: sidecars are stopped and the sandbox gives back its network.
 */
#include "private.h"

/* ---- Init containers ---------------------------------------------------------------------------
 */

static bool sidecar_has_started(const struct member *m)
{
    const struct container *c = member_container(m);

    return c && c->state == CONTAINER_RUNNING && health_is_started(m->health) &&
           (m->post_started || !m->spec->lifecycle || !m->spec->lifecycle->post_start);
}

static bool init_has_succeeded(const struct member *m)
{
    const struct container *c = member_container(m);

    return c && c->state == CONTAINER_EXITED && c->exit_code == 0 &&
           !str_equal(c->reason, "OOMKilled");
}

/* Goes on with the first that is not done. */
static void init_sync(struct declared *d)
{
    for (size_t i = 0; i < d->n_init; i++) {
        struct member *m = &d->members[i];
        if (m->sidecar) {
            member_sync(m);
            if (!sidecar_has_started(m))
                return;
        } else if (!init_has_succeeded(m)) {
            member_sync(m);
            return;
        } else {
            member_note_end(m);
        }
    }
    d->initialized = true;
    declared_touch(d);
}

/* ---- Ending by itself --------------------------------------------------------------------------
 */

static bool has_failed_init(const struct declared *d)
{
    for (size_t i = 0; i < d->n_init; i++)
        if (!d->members[i].sidecar && member_is_done(&d->members[i]) &&
            !init_has_succeeded(&d->members[i]))
            return true;
    return false;
}

static bool main_is_over(const struct declared *d)
{
    for (size_t i = d->n_init; i < d->n_members; i++)
        if (!member_is_done(&d->members[i]))
            return false;
    return true;
}

static void stop_done(struct op *op, const char *id, const struct err *e)
{
    if (e->code != ERR_OK)
        log_warn("node", op->pod->key, "stop sidecar %s: %s", op->member->spec->name, err_text(e));
}

static void sidecar_stop(struct member *m, const struct container *c, int64_t left_ms)
{
    struct declared *d = m->pod;

    if (!member_pre_stop(m, left_ms))
        return;
    event_add(d, m, false, "Killing", "Stopping container %s", m->spec->name);
    struct op *op = op_new(d, m, stop_done, NULL);
    container_stop(d->node->config.pods, c->id, left_ms < GRACE_MIN_MS ? GRACE_MIN_MS : left_ms,
                   op_on_done, op);
}

/* One after the other, the last first, within one grace for all. True when none runs any more. */
static bool sidecars_stop(struct declared *d)
{
    if (!d->stop_deadline)
        d->stop_deadline = time_mono_ns() + d->grace * NS_PER_SEC;
    for (size_t i = d->n_init; i-- > 0;) {
        struct member *m = &d->members[i];
        const struct container *c = member_container(m);
        if (m->op)
            return false;
        if (!c || c->state != CONTAINER_RUNNING)
            continue;
        sidecar_stop(m, c, (d->stop_deadline - time_mono_ns()) / NS_PER_MS);
        return false;
    }
    return true;
}

void declared_finish(struct declared *d)
{
    for (size_t i = 0; i < d->n_members; i++)
        member_note_end(&d->members[i]);
    d->final_phase = d->expired || d->evicted ? PHASE_FAILED : declared_phase(d);
    d->finished = true;
    log_info("node", d->key, "has ended: %s", phase_name(d->final_phase));
    declared_touch(d);
    store_save(d);
}

void declared_end(struct declared *d)
{
    if (!declared_stop_containers(d))
        return;
    declared_finish(d);
    declared_kick(d);
}

/* ---- The pass ----------------------------------------------------------------------------------
 */

static void containers_sync(struct declared *d)
{
    ephemeral_sync(d);
    if (!d->initialized)
        init_sync(d);
    else
        for (size_t i = 0; i < d->n_init; i++)
            if (d->members[i].sidecar)
                member_sync(&d->members[i]);
    if (!d->initialized)
        return;
    for (size_t i = d->n_init; i < d->n_members; i++)
        member_sync(&d->members[i]);
}

static bool is_over(struct declared *d)
{
    if (!has_failed_init(d) && !(d->initialized && main_is_over(d)))
        return false;
    for (size_t i = d->n_init; i < d->n_members; i++)
        member_note_end(&d->members[i]);
    return true;
}

/* The earliest thing that is only a matter of time. */
static void wake_for_due(struct declared *d)
{
    int64_t now = time_now_ns(), due = 0;

    if (d->sandbox_due > now)
        due = d->sandbox_due;
    if (deadline_of(d) && (due == 0 || deadline_of(d) < due))
        due = deadline_of(d);
    for (size_t i = 0; i < d->n_members + d->n_ephemeral; i++) {
        int64_t at =
            i < d->n_members ? d->members[i].due : d->ephemeral[i - d->n_members]->member.due;
        if (at > now && (due == 0 || at < due))
            due = at;
    }
    if (due)
        declared_wake_at(d, due);
}

void declared_sync(struct declared *d)
{
    struct node *n = d->node;

    if (!n->started)
        return;
    if (d->deleting) {
        deletion_sync(d);
        return;
    }
    if (n->halted || d->blockers > 0 || !d->saved)
        return;
    if (d->finished) {
        sandbox_release(d);
        return;
    }
    if (deadline_sync(d) || storage_sync(d))
        return;
    if (!sandbox_sync(d)) {
        wake_for_due(d);
        return;
    }
    if (is_over(d)) {
        if (sidecars_stop(d) && d->ops == 0) {
            declared_finish(d);
            declared_kick(d);
        }
        return;
    }
    containers_sync(d);
    wake_for_due(d);
}
