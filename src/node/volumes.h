/*
 * volumes.h - a pod's volumes and files on the node. Blocks: for worker threads.
 */
#ifndef NODE_VOLUMES_H
#define NODE_VOLUMES_H

#include "manifest.h"

/* Makes the emptyDir directories below `dir` (those there are stay as they are), and makes or
 * checks what hostPath volumes point to. */
int volumes_prepare(const struct pod_spec *spec, const char *dir, struct err *e) MUST_CHECK;

#endif
