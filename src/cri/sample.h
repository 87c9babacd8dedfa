/*
 * sample.h - what containers and pods use at one moment, read for statistics and metrics.
 *
 * Counters are files of cgroups, of network namespaces and of procfs, and what a container has
 * written is found by walking its writable layer. A worker thread does all that, from a list that
 * the loop made and with descriptors of its own. Back on the loop the numbers meet the objects
 * again; an object that is gone by then is left out.
 */
#ifndef CRI_SAMPLE_H
#define CRI_SAMPLE_H

#include "private.h"

#define INTERFACES_MAX 16

/* What is read for one container. */
struct container_sample {
    char *id;
    char *cgroup_path; /* NULL: it does not run, there is nothing to read */
    pid_t pid;
    bool read; /* usage, and for a detailed sample the next three, are valid */
    struct cgroup_usage usage;
    struct cgroup_detail detail;
    struct cgroup_processes processes;
    int64_t open_files_limit; /* of its first process; -1: none */
    bool layer_wanted, layer_read;
    struct tree_size layer; /* what it has written */
    int64_t layer_took;     /* ns */
};

/* What is read for one sandbox besides its containers. */
struct sandbox_sample {
    char *id;
    char *cgroup_path; /* the cgroup that its master made for it; NULL: none */
    bool read;
    struct cgroup_usage usage;
    int netns; /* -1: none of its own */
    struct net_usage interfaces[INTERFACES_MAX];
    size_t n_interfaces;
};

struct sample {
    struct cri *cri;
    struct rpc_call *call;
    bool detailed; /* for metrics */
    struct container_sample *containers;
    size_t n_containers;
    struct sandbox_sample *sandboxes;
    size_t n_sandboxes;
    void (*answer)(struct sample *sample);
    int64_t time; /* ns since the epoch, after the reading */
};

struct sample *sample_new(struct cri *c, struct rpc_call *call, bool detailed,
                          void (*answer)(struct sample *sample));
void sample_add_container(struct sample *s, const struct container *c);
/* With its containers. */
void sample_add_sandbox(struct sample *s, const struct sandbox *sandbox);
/* Reads, calls answer on the loop, and frees the sample. */
void sample_run(struct sample *s);

/* ---- What is remembered from sample to sample --------------------------------------------------
 */

/* Walking a writable layer takes time, and a rate needs two readings: both are kept per container.
 */
struct usage_memory {
    int64_t cpu_time; /* of the reading below; 0: none yet */
    uint64_t cpu_ns;
    bool rate_known;
    uint64_t nano_cores; /* between the last two readings */
    int64_t layer_time;  /* 0: never measured */
    int64_t layer_took;
    struct tree_size layer;
};
/* NULL: nothing is known of the container. */
const struct usage_memory *usage_recall(const struct cri *c, const char *container_id);
void usage_forget(struct cri *c, const char *container_id);
void usage_forget_all(struct cri *c);

#endif
