/*
 * metrics.h - what podd tells of itself to Prometheus; see docs/metrics.md.
 */
#ifndef PODD_METRICS_H
#define PODD_METRICS_H

#include "podd/base.h"
#include "podd/health.h"
#include "podd/image.h"
#include "podd/node.h"
#include "podd/pod.h"
#include "podd/rpc.h"

/* What is told of. All borrowed. */
struct metrics_sources {
    struct pods *pods;
    struct image_store *images;
    struct health *health;
    struct node *node;
    struct rpc_server *server;
};
struct metrics;
/* Counts from here on, and serves the page on `address`. */
int metrics_open(struct loop *loop, const struct metrics_sources *sources, const char *address,
                 struct metrics **ret, struct err *e) MUST_CHECK;
/* Before any of the sources is closed. NULL is fine. */
void metrics_close(struct metrics *m);

#endif
