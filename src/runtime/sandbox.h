/* The pieces of sandbox_enter. Theory: sandbox.c. */
#ifndef RUNTIME_SANDBOX_H
#define RUNTIME_SANDBOX_H

#include "podd/runtime.h"

/* Goes to a new mount namespace with one empty file system, keeping the node's root directory.
 * (podtree.c) */
int node_mounts_leave(struct err *e) MUST_CHECK;
/* Makes the pod's tree the root of the process's new mount namespace, which still holds the node's
 * mounts, or is `prepared` by node_mounts_leave. The root directory becomes node_root, opened
 * before the namespace was left. *ret_shm: O_PATH of the pod's /dev/shm, -1 when the pod shares the
 * node's. (podtree.c) */
int pod_tree_enter(const Podd__Shim__SpawnRequest *request, int node_root, bool prepared,
                   int *ret_shm, struct err *e) MUST_CHECK;

/* Refuses those that belong to no namespace, or to one the pod shares with the node. (sysctl.c) */
int sysctls_check(const Podd__Shim__SpawnRequest *request, struct err *e) MUST_CHECK;
int sysctls_apply(const Podd__Shim__SpawnRequest *request, struct err *e) MUST_CHECK;

#endif
