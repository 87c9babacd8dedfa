/*
 * phase.c - what a pod amounts to: kubelet's phases out of the states of its containers.
 */
#include "private.h"

struct counts {
    size_t waiting, running, succeeded, failed;
};

const char *phase_name(enum pod_phase phase)
{
    switch (phase) {
    case PHASE_PENDING:
        return "Pending";
    case PHASE_RUNNING:
        return "Running";
    case PHASE_SUCCEEDED:
        return "Succeeded";
    case PHASE_FAILED:
        return "Failed";
    }
    return "Unknown";
}

/* A container that waits for its next life counts by how the last one ended. */
static void count_member(struct counts *counts, const struct member *m)
{
    const struct container *c = member_container(m);

    if (c && c->state == CONTAINER_RUNNING) {
        counts->running++;
    } else if (c && (c->state == CONTAINER_EXITED || c->state == CONTAINER_UNKNOWN)) {
        if (c->exit_code == 0)
            counts->succeeded++;
        else
            counts->failed++;
    } else if (m->last.set) {
        if (m->last.exit_code == 0)
            counts->succeeded++;
        else
            counts->failed++;
    } else {
        counts->waiting++;
    }
}

static bool has_running_sidecar(const struct declared *d)
{
    for (size_t i = 0; i < d->n_init; i++) {
        const struct container *c = member_container(&d->members[i]);
        if (d->members[i].sidecar && c && c->state == CONTAINER_RUNNING)
            return true;
    }
    return false;
}

enum pod_phase declared_phase(const struct declared *d)
{
    int policy = d->manifest->spec->restart;
    struct counts counts = {0};

    if (d->finished)
        return d->final_phase;
    for (size_t i = 0; i < d->n_init; i++) {
        const struct container *c = member_container(&d->members[i]);
        if (!d->members[i].sidecar && policy == RESTART_NEVER && c &&
            c->state == CONTAINER_EXITED && c->exit_code != 0)
            return PHASE_FAILED;
    }
    if (!d->initialized)
        return PHASE_PENDING;
    for (size_t i = d->n_init; i < d->n_members; i++)
        count_member(&counts, &d->members[i]);
    if (counts.waiting > 0)
        return PHASE_PENDING;
    if (counts.running > 0 || policy == RESTART_UNSET || policy == RESTART_ALWAYS)
        return PHASE_RUNNING;
    if (has_running_sidecar(d)) /* the pod has ended when they have */
        return PHASE_RUNNING;
    if (counts.failed == 0)
        return PHASE_SUCCEEDED;
    return policy == RESTART_NEVER ? PHASE_FAILED : PHASE_RUNNING;
}
