/*
 * machine.h - what the outcomes of one probe add up to. Pure: no time, no I/O.
 */
#ifndef HEALTH_MACHINE_H
#define HEALTH_MACHINE_H

#include "podd/health.h"

/* What an outcome did to the probe's settled result. */
enum machine_change {
    MACHINE_SAME,
    MACHINE_RETRY,   /* podd could not ask: try again at once */
    MACHINE_HEALTHY, /* settled on success */
    MACHINE_FAILING, /* settled on failure */
};

struct machine {
    enum probe_kind kind;
    int32_t success_threshold, failure_threshold;
    bool on_hold; /* no more probing until the container is replaced */
    int retries;  /* attempts in a row that podd could not make */
    struct probe_state state;
};

/* Before anything was asked: readiness counts as failed, liveness as good, startup as open. */
void machine_init(struct machine *m, enum probe_kind kind, const struct probe_spec *spec);
enum machine_change machine_feed(struct machine *m, enum probe_result result, const char *message,
                                 int64_t now_ns, int64_t latency_ns);

#endif
