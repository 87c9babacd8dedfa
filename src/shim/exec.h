/*
 * exec.h - processes run in a running container beside its first one.
 */
#ifndef SHIM_EXEC_H
#define SHIM_EXEC_H

#include "ctr.h"

struct exec_run {
    struct list link; /* in sandbox.execs */
    struct sandbox *sb;
    char *id;
    struct ctr *ctr;
    struct process process; /* pid 0 when it ended */
    struct cgroup *leaf;
    int tty_peer;        /* for resizing; -1 without a terminal */
    uint64_t connection; /* who hears of it */
};

/* The running one of that name, or one that ended and left processes behind. */
struct exec_run *exec_find(struct sandbox *sb, const char *id);
/* stdio: three borrowed descriptors, unless the process has a terminal: then its master is put
 * into *ret_tty_master. */
int exec_start(struct ctr *c, const Podd__Shim__ExecRequest *request, uint64_t connection,
               const int stdio[3], int *ret_tty_master, struct exec_run **ret, struct err *e)
    MUST_CHECK;
/* Kills all that it started, also when itself is gone. */
int exec_kill(struct exec_run *x, struct err *e) MUST_CHECK;
int exec_resize(struct exec_run *x, uint32_t width, uint32_t height, struct err *e) MUST_CHECK;

/* reaper.c: it ended and is reaped. May free it. */
void exec_ended(struct exec_run *x, int32_t code, int32_t signo);
/* Nobody is left to hear of its execs: kills them. */
void exec_connection_closed(struct sandbox *sb, uint64_t connection);
/* Removes the cgroups of the container's ended execs and forgets those. True when no exec of it
 * is left. */
bool exec_remove_leaves(struct ctr *c);
/* Of ctr.leaf_tick: tries again what could not be removed. */
void exec_leaf_tick(struct deadline *d);

#endif
