/*
 * podd/health.h - health checks inside the daemon: exec, HTTP(S), TCP and gRPC probes on the event
 * loop, with kubelet's semantics for startup, liveness and readiness.
 *
 * No thread and no process per probe: a network probe is a socket of the loop's, made inside the
 * pod's network namespace; an exec probe is an exec through the shim.
 */
#ifndef PODD_HEALTH_H
#define PODD_HEALTH_H

#include "podd/base.h"
#include "podd/pod.h"

enum probe_kind { PROBE_STARTUP, PROBE_READINESS, PROBE_LIVENESS, PROBE_KIND_COUNT };
enum probe_action { PROBE_EXEC, PROBE_HTTP, PROBE_TCP, PROBE_GRPC };

/* A probe with its defaults filled in and its ports resolved to numbers. Borrowed strings; copied
 * by health_attach. Times as in the Kubernetes API, in seconds. */
struct probe_spec {
    enum probe_action action;
    char *const *command; /* exec: strv */
    const char *host;     /* http, tcp; NULL: the pod's address (host network: 127.0.0.1) */
    uint16_t port;        /* http, tcp, grpc */
    const char *path;     /* http; "/" when empty */
    bool https;           /* certificates are not verified */
    bool any_status;      /* http: whatever the server answers is a success, as for hooks */
    const struct key_value *headers;
    size_t n_headers;
    const char *grpc_service;
    int32_t initial_delay, period, timeout;       /* defaults 0, 10, 1 */
    int32_t success_threshold, failure_threshold; /* defaults 1, 3 */
    int64_t termination_grace;                    /* -1: the pod's */
};

/* What one attempt said. UNKNOWN (podd could not ask) never changes a state. */
enum probe_result { PROBE_UNKNOWN, PROBE_SUCCESS, PROBE_WARNING, PROBE_FAILURE };

struct health;
/* How probes stand is kept in <state>/probe-states. */
struct health *health_new(struct loop *loop, struct pods *pods, const char *state);
void health_free(struct health *h);

/* Attempts of probes since it was opened, by kind and result; constant as long as the loop is not
 * returned to. */
struct health_counts {
    uint64_t attempts[PROBE_KIND_COUNT][PROBE_FAILURE + 1];
    int64_t latency_ns[PROBE_KIND_COUNT]; /* of all together */
};
const struct health_counts *health_counts(const struct health *h);

/* ---- Probes of one container's life
 * -------------------------------------------------------------- */

struct health_events {
    /* startup and readiness together: the container takes traffic, or no longer does. */
    void (*on_ready)(void *arg, bool ready);
    /* startup has succeeded (at once without a startup probe). */
    void (*on_started)(void *arg);
    /* A liveness or startup probe has failed for good: kill with this grace (seconds; -1: the
     * pod's), then restart by policy. Probing is on hold from here. */
    void (*on_unhealthy)(void *arg, enum probe_kind kind, int64_t grace, const char *message);
    /* Every attempt, after its effect: for events and metrics. May be NULL. */
    void (*on_attempt)(void *arg, enum probe_kind kind, enum probe_result result,
                       const char *message, int64_t latency_ns);
};

/* How one probe stands. */
struct probe_state {
    enum probe_result last_result; /* the settled one: what counts */
    int32_t run;                   /* equal outcomes in a row */
    enum probe_result run_result;
    int64_t last_time, latency_ns; /* ns since the epoch; 0: never ran */
    uint64_t attempts, failures;
    char message[256];
};

/* Starts probing a running container: specs[kind] is NULL where there is none. With `resume` the
 * counts, results and schedule of an earlier podd go on, if there are any of this container's life;
 * on_unhealthy is then called again (soon) for a probe that has failed for good. NULL-safe to
 * detach; the container's exit need not be told: a container that does not run is not probed. */
struct health_container;
struct health_container *health_attach(struct health *h, const char *container_id,
                                       const struct probe_spec *const specs[PROBE_KIND_COUNT],
                                       bool resume, const struct health_events *events, void *arg);
void health_detach(struct health_container *hc);
bool health_is_ready(const struct health_container *hc);
bool health_is_started(const struct health_container *hc);
/* False when there is no such probe. */
bool health_probe_state(const struct health_container *hc, enum probe_kind kind,
                        struct probe_state *ret);

/* ---- One attempt, now
 * ------------------------------------------------------------------------------ */

typedef void probe_done_fn(void *arg, enum probe_result result, const char *message,
                           int64_t latency_ns);
struct probe_attempt;
/* Timeout is the spec's. A container that is unknown or not running is a PROBE_UNKNOWN. */
struct probe_attempt *probe_run(struct health *h, const char *container_id,
                                const struct probe_spec *spec, probe_done_fn *fn, void *arg);
void probe_cancel(struct probe_attempt *a); /* fn is not called afterwards */

#endif
