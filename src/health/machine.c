/*
 * machine.c - thresholds.
 *
 * Equal outcomes in a row are counted; the settled result flips when the run is as long as the
 * threshold of its side says. A verdict that gets the container killed (liveness failed, startup
 * failed) or ends the probe's purpose (startup succeeded) puts the machine on hold. An attempt that
 * podd could not make is repeated a few times at once and then ignored: it says nothing about the
 * container.
 */
#include "machine.h"

#include <stdio.h>

#define RETRIES_MAX 2 /* after the first attempt */

void machine_init(struct machine *m, enum probe_kind kind, const struct probe_spec *spec)
{
    memset(m, 0, sizeof(*m));
    m->kind = kind;
    m->success_threshold = spec->success_threshold > 0 ? spec->success_threshold : 1;
    m->failure_threshold = spec->failure_threshold > 0 ? spec->failure_threshold : 3;
    switch (kind) {
    case PROBE_READINESS:
        m->state.last_result = PROBE_FAILURE;
        break;
    case PROBE_LIVENESS:
        m->state.last_result = PROBE_SUCCESS;
        break;
    case PROBE_STARTUP:
    case PROBE_KIND_COUNT:
        m->state.last_result = PROBE_UNKNOWN;
        break;
    }
}

static void state_note(struct probe_state *s, const char *message, int64_t now_ns,
                       int64_t latency_ns, bool failed)
{
    snprintf(s->message, sizeof(s->message), "%s", message ? message : "");
    s->last_time = now_ns;
    s->latency_ns = latency_ns;
    s->attempts++;
    if (failed)
        s->failures++;
}

enum machine_change machine_feed(struct machine *m, enum probe_result result, const char *message,
                                 int64_t now_ns, int64_t latency_ns)
{
    struct probe_state *s = &m->state;

    if (m->on_hold)
        return MACHINE_SAME;
    state_note(s, message, now_ns, latency_ns, result == PROBE_FAILURE);
    if (result == PROBE_UNKNOWN) {
        if (m->retries < RETRIES_MAX) {
            m->retries++;
            return MACHINE_RETRY;
        }
        m->retries = 0;
        return MACHINE_SAME;
    }
    m->retries = 0;

    bool good = result == PROBE_SUCCESS || result == PROBE_WARNING;
    enum probe_result outcome = good ? PROBE_SUCCESS : PROBE_FAILURE;
    s->run = s->run_result == outcome ? s->run + 1 : 1;
    s->run_result = outcome;
    if (s->run < (good ? m->success_threshold : m->failure_threshold))
        return MACHINE_SAME;

    bool changed = s->last_result != outcome;
    s->last_result = outcome;
    if (m->kind == PROBE_STARTUP || (m->kind == PROBE_LIVENESS && !good)) {
        m->on_hold = true;
        s->run = 0;
        changed = true;
    }
    if (!changed)
        return MACHINE_SAME;
    return good ? MACHINE_HEALTHY : MACHINE_FAILING;
}
