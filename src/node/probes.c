/*
 * probes.c - a container's probes: attached while it runs, their verdicts turned into kills, events
 * and status.
 */
#include "private.h"
#include "translate.h"

static const char *const kind_names[PROBE_KIND_COUNT] = {"Startup", "Readiness", "Liveness"};

static void on_ready(void *arg, bool ready)
{
    struct member *m = arg;

    declared_touch(m->pod);
}

static void on_started(void *arg)
{
    struct member *m = arg;

    declared_touch(m->pod);
    declared_kick(m->pod);
}

/* In a pod that is being deleted only readiness still counts: its containers are ended anyway, with
 * the grace of the deletion. */
static bool counts(const struct member *m, enum probe_kind kind)
{
    return !m->pod->deleting || kind == PROBE_READINESS;
}

static void on_unhealthy(void *arg, enum probe_kind kind, int64_t grace, const char *message)
{
    struct member *m = arg;

    if (!counts(m, kind))
        return;
    m->kill = true;
    m->kill_grace = grace;
    m->due = 0;
    event_add(m->pod, m, false, "Killing", "Container %s failed %s probe, will be %s",
              m->spec->name, kind == PROBE_STARTUP ? "startup" : "liveness",
              m->pod->manifest->spec->restart == RESTART_NEVER && !m->sidecar ? "stopped"
                                                                              : "restarted");
    log_info("node", m->pod->key, "container %s is unhealthy: %s", m->spec->name, message);
    declared_kick(m->pod);
}

static void on_attempt(void *arg, enum probe_kind kind, enum probe_result result,
                       const char *message, int64_t latency_ns)
{
    struct member *m = arg;

    if (!counts(m, kind))
        return;
    switch (result) {
    case PROBE_SUCCESS:
        break;
    case PROBE_WARNING:
        event_add(m->pod, m, true, "ProbeWarning", "%s probe warning: %s", kind_names[kind],
                  message);
        break;
    case PROBE_UNKNOWN:
        event_add(m->pod, m, true, "Unhealthy", "%s probe errored: %s", kind_names[kind], message);
        break;
    case PROBE_FAILURE:
        event_add(m->pod, m, true, "Unhealthy", "%s probe failed: %s", kind_names[kind], message);
        break;
    }
}

static bool has_probes(const struct member *m)
{
    return m->spec->startup || m->spec->readiness || m->spec->liveness;
}

const struct manifest_probe *member_probe(const struct member *m, enum probe_kind kind)
{
    return has_probes(m) ? container_probe(m->spec, kind) : healthcheck_probe(m->healthcheck, kind);
}

/* What the image of the current life says. Containers that are to end by themselves have none. */
static void find_healthcheck(struct member *m)
{
    const struct container *c = member_container(m);
    const struct image *image = c ? image_find(m->pod->node->config.images, c->image_id) : NULL;

    healthcheck_free(take_ptr(m->healthcheck));
    if (image && !has_probes(m) && (!m->init || m->sidecar))
        m->healthcheck = healthcheck_new(&image->config);
}

void member_attach_health(struct member *m)
{
    static const struct health_events events = {
        .on_ready = on_ready,
        .on_started = on_started,
        .on_unhealthy = on_unhealthy,
        .on_attempt = on_attempt,
    };
    const struct probe_spec *specs[PROBE_KIND_COUNT] = {NULL};
    struct probe_plan plans[PROBE_KIND_COUNT];
    struct pair_list env = {0};

    find_healthcheck(m);
    member_environment(m, &env);
    for (int kind = 0; kind < PROBE_KIND_COUNT; kind++) {
        const struct manifest_probe *p = member_probe(m, kind);
        if (!p)
            continue;
        probe_plan_make(m->spec, p, &env, &plans[kind]);
        specs[kind] = &plans[kind].spec;
    }
    m->health = health_attach(m->pod->node->config.health, m->id, specs, true, &events, m);
    for (int kind = 0; kind < PROBE_KIND_COUNT; kind++)
        if (specs[kind])
            probe_plan_free(&plans[kind]);
    pair_list_free(&env);
    declared_touch(m->pod);
    if (m->sidecar)
        declared_kick(m->pod);
}
