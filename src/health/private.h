/*
 * private.h - what the files of the health room share.
 */
#ifndef HEALTH_PRIVATE_H
#define HEALTH_PRIVATE_H

#include "podd/health.h"
#include "podd/http.h"

#include "table.h"

struct health {
    struct loop *loop;
    struct pods *pods;
    struct http *http;
    struct probe_table *table;
    struct health_counts counts;
    int64_t opened_at; /* what started before was started under an earlier podd */
};

/* ---- A spec of one's own (spec.c) ----------------------------------------------------------- */

struct probe_spec *probe_spec_copy(const struct probe_spec *spec);
void probe_spec_free(struct probe_spec *spec); /* of a copy; NULL is fine */

/* ---- One attempt (attempt.c), carried out by one of its ways ----------------------------------
 */

/* What the ways to probe have in common. A way starts with way_start and ends with
 * attempt_finish() once, or with way_cancel. */
struct probe_way {
    void (*start)(struct probe_attempt *a);
    void (*cancel)(struct probe_attempt *a); /* frees what start made; never calls back */
};

struct probe_attempt {
    struct health *health;
    struct probe_spec *spec;
    const struct probe_way *way;
    void *state; /* the way's own */
    int netns;   /* of the pod, owned; -1: the host's */
    char *host;  /* to connect to: the spec's, or the pod's address */
    char *container_id;
    struct timer *timer; /* the timeout, or 0 ms for a verdict known at once */
    int64_t started_ns;  /* monotonic */
    enum probe_result early_result;
    char *early_message;
    probe_done_fn *fn;
    void *arg;
};

/* Tells the verdict and frees the attempt with its way's state (through way->cancel). */
void attempt_finish(struct probe_attempt *a, enum probe_result result, const char *fmt, ...)
    PRINTF(3, 4);

extern const struct probe_way probe_way_exec; /* exec.c */
extern const struct probe_way probe_way_tcp;  /* tcp.c */
extern const struct probe_way probe_way_http; /* http.c */
extern const struct probe_way probe_way_grpc; /* grpc.c */

#endif
