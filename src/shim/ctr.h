/*
 * ctr.h - one container in its shim.
 */
#ifndef SHIM_CTR_H
#define SHIM_CTR_H

#include "ctr_state.h"
#include "sandbox.h"

struct ctr {
    struct list link; /* in sandbox.ctrs */
    struct sandbox *sb;
    char *id;
    enum ctr_state state;
    Podd__Shim__PidMode pid_mode;
    bool set_oom_score_adj;
    int32_t oom_score_adj; /* for execs that say nothing */

    /* Only until it is started. */
    struct message *message;
    const container_spec_t *spec; /* within the message */
    int rootfs_fd;
    struct mount_sources *sources;

    struct cgroup *cgroup;
    struct process process; /* pid 0 when none runs */
    struct streams streams;
    unsigned last_leaf; /* numbers the cgroups of its execs */
    struct deadline leaf_tick;
    unsigned leaf_attempts;

    bool started;
    int64_t started_at;
    exit_info_t exit; /* when ended, or when the start failed */

    struct deadline drain_tick; /* while DRAINING */
    int64_t drain_until;
    struct deadline record_retry; /* the exit record could not be written yet */

    bool removing;
    struct reply remove_reply;
    struct deadline remove_tick;
    int64_t remove_until, remove_delay_ms;
};

struct ctr *ctr_find(struct sandbox *sb, const char *id);
/* The same for a request: ERR_NOT_FOUND, or ERR_FAILED_PRECONDITION when `op` makes no sense. */
struct ctr *ctr_get(struct sandbox *sb, const char *id, enum ctr_op op, struct err *e) MUST_CHECK;

/* The spec lies within the message. It and the root file system are taken on success; the mounts,
 * which the spec names by their number, are borrowed. */
int ctr_create(struct sandbox *sb, const container_spec_t *spec, struct message *message_take,
               int rootfs_fd_take, const int *mounts, size_t n_mounts, struct err *e) MUST_CHECK;
int ctr_start(struct ctr *c, struct err *e) MUST_CHECK;
int ctr_signal(struct ctr *c, int signo, bool all, struct err *e) MUST_CHECK;
/* Answers by itself, as soon as the cgroup is gone. */
void ctr_remove(struct ctr *c, struct reply reply);

/* reaper.c: its first process ended (and is not reaped yet). */
void ctr_ended(struct ctr *c, int32_t code, int32_t signo);

/* Kills what runs in it. */
void ctr_kill(struct ctr *c);
/* Removes the cgroups of its ended execs and its own. True when nothing is left. */
bool ctr_remove_cgroups(struct ctr *c);

#endif
