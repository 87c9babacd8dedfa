/*
 * metrics.h - what podd tells of itself to Prometheus; see docs/metrics.md.
 */
#ifndef PODD_METRICS_H
#define PODD_METRICS_H

#include "podd/base.h"
#include "podd/pod.h"
#include "podd/rpc.h"

struct metrics;
/* Counts from here on, and serves the page on `address`. */
int metrics_open(struct loop *loop, struct pods *pods, struct rpc_server *server,
                 const char *address, struct metrics **ret, struct err *e) MUST_CHECK;
/* Before pods and server are closed. NULL is fine. */
void metrics_close(struct metrics *m);

#endif
