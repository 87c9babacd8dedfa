/*
 * resources.h - from requests and limits to the numbers of a cgroup, with kubelet's arithmetic.
 */
#ifndef NODE_RESOURCES_H
#define NODE_RESOURCES_H

#include "manifest.h"

#include "podd/pod.h"

enum qos { QOS_BEST_EFFORT, QOS_BURSTABLE, QOS_GUARANTEED };
enum qos resources_qos(const struct pod_spec *spec);

/* What is asked for: thousandths of a CPU, or bytes. A missing request is the limit's, a missing
 * limit all that the node has; else 0. */
int64_t resources_amount(const struct manifest_resources *r, bool limit, bool cpu);

/* Fills limits (what is not limited stays 0, shares are always set). */
void resources_limits(const struct manifest_resources *r, struct cgroup_limits *ret);
int64_t resources_oom_score_adj(const struct manifest_resources *r, enum qos qos,
                                int64_t node_memory);
int64_t resources_node_memory(void);

#endif
