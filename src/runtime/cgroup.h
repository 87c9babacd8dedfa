/*
 * A cgroup as the doing half holds it. Theory: cgroup.c.
 */
#ifndef RUNTIME_CGROUP_H
#define RUNTIME_CGROUP_H

#include "cgroup-layout.h"

struct cgroup {
    char *path; /* below each hierarchy's root, without a leading slash */
    int v2;     /* directory in the v2 tree, or -1 */
    int *v1;    /* directories in layout->v1[], in its order */
    size_t n_v1;
    bool leaf;      /* v1[] is the parent's but for what is owned */
    bool v2_owned;  /* the directory was made by us */
    bool *v1_owned; /* the same for v1[]; a leaf owns only the one that tracks it */
    int tracker;    /* without a v2 tree: the index in v1[] of the hierarchy that names its
                       processes */
    int oom_fd;     /* the file with the oom_kill counter, or -1 */
};

/* The calling, single-threaded process enters the v1 directories; v2 is entered by clone3. */
int cgroup_enter_v1(const struct cgroup *cg, struct err *e) MUST_CHECK;

/* Forgets the directories that a leaf borrows from its container's cgroup: once its process has
 * entered they are not needed, and the leaf may outlive the container. */
void cgroup_return_shared(struct cgroup *leaf);

/* Sets who may use which device in the cgroup. */
int cgroup_devices_apply(const struct cgroup *cg, device_rule_t *const *rules, size_t n,
                         struct err *e) MUST_CHECK;

/* Applies writes in order. With `undo` every value is read first, and put back when a later one
 * fails. */
int cgroup_writes_apply(const struct cgroup *cg, cgroup_write_t *const *writes, size_t n, bool undo,
                        struct err *e) MUST_CHECK;

#endif
