/*
 * podd/node.h - the machine alone: declared pods, kept as declared. Manifests (`kind: Pod`),
 * restart policy and back-off, probes wired to restarts, events, and the podd.v1 service.
 *
 * On disk: <root>/declared/<namespace>_<name>.json, one declared pod each (what was applied, its
 * uid and restart counts), written durably before anything is started; and below <root>/objects the
 * Namespaces, ConfigMaps and Secrets that pods refer to.
 */
#ifndef PODD_NODE_H
#define PODD_NODE_H

#include "podd/base.h"
#include "podd/health.h"
#include "podd/image.h"
#include "podd/net.h"
#include "podd/pod.h"
#include "podd/rpc.h"

struct node_config {
    struct loop *loop;
    struct pods *pods;
    struct image_store *images;
    struct net *net;
    struct health *health;
    const char *root, *state;
    char *const
        *dns_servers;       /* strv, in place of the node's; NULL: the node's. Outlives the node */
    const char *log_root;   /* of container logs: /var/log/pods, or below <root> */
    uint64_t log_size_max;  /* bytes of each file of such a log; 0: it is not rotated */
    uint32_t log_files_max; /* at least 2 */
    const char *manifest_dir; /* of files that declare pods; it may be missing. NULL: none */
    bool restrict_oom_score_adj;
    /* Called by the Shutdown RPC once everything is stopped: ends the daemon. */
    void (*on_shutdown)(void *arg);
    void *on_shutdown_arg;
};

struct node;
/* Loads what was declared. A broken file is set aside with a warning. */
int node_open(const struct node_config *config, struct node **ret, struct err *e) MUST_CHECK;
/* After pods_recover: takes up the pods that run, starts those that should. */
void node_start(struct node *n);
/* Containers of declared pods that were started again since it was opened. */
uint64_t node_restarts(const struct node *n);
/* Adds podd.v1 to the server. */
void node_register(struct node *n, struct rpc_server *server);
/* Pods go on. */
void node_close(struct node *n);

#endif
