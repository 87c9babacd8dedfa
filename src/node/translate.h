/*
 * translate.h - from a manifest to what the pod room is asked for. Pure: everything it needs is
 * given, nothing is changed.
 */
#ifndef NODE_TRANSLATE_H
#define NODE_TRANSLATE_H

#include "env.h"
#include "manifest.h"
#include "volumes.h"

#include "podd/health.h"
#include "podd/pod.h"

#define LABEL_POD_NAME "io.kubernetes.pod.name"
#define LABEL_POD_NAMESPACE "io.kubernetes.pod.namespace"
#define LABEL_POD_UID "io.kubernetes.pod.uid"
#define LABEL_CONTAINER_NAME "io.kubernetes.container.name"
#define ANNOTATION_RESTARTS "io.kubernetes.container.restartCount"
#define NODE_ORIGIN "node"

/* Memory that lives as long as a plan. Zeroed is empty. */
struct keep {
    void **items;
    size_t count;
};
void *keep_take(struct keep *k, void *ptr_take);
void *keep_alloc(struct keep *k, size_t count, size_t size);
char *keep_printf(struct keep *k, const char *fmt, ...) PRINTF(2, 3);
char **keep_strv(struct keep *k, char **v_take);
void keep_free(struct keep *k);
#define ID_RANGE_LENGTH 65536
/* The map of a user namespace whose ids begin with first_id on the node. */
const struct id_range *id_map_plan(struct keep *k, uint32_t first_id);

/* ---- The sandbox -------------------------------------------------------------------------------
 */

struct sandbox_plan {
    struct sandbox_config config;
    struct keep keep;
};
/* resolv_conf: the node's, as text; dnsConfig adds to it. first_id: of the pod's user namespace on
 * the node; 0: it has none. */
void sandbox_plan_make(const struct pod_manifest *m, const char *uid, uint32_t attempt,
                       const char *log_directory, const char *resolv_conf, uint32_t first_id,
                       struct sandbox_plan *ret);
void sandbox_plan_free(struct sandbox_plan *p);

/* ---- A container -------------------------------------------------------------------------------
 */

struct container_place {
    const struct pod_manifest *manifest;
    const char *uid, *node_name;
    uint32_t first_id;      /* of its user namespace, on the node; 0: it has none */
    const char *const *ips; /* of the pod */
    size_t n_ips;
    uint32_t attempt;
    const struct volumes_place *volumes;
    bool can_recurse_readonly;    /* this kernel can */
    const char *termination_file; /* on the node */
    const char *hosts_file;       /* NULL: the pod's own */
    const char *pid_target;       /* whose PID namespace it joins, by container id; NULL: none */
    const char *image_user;       /* USER of the image; NULL: root */
    int64_t node_memory;
    struct object_source objects;
    uint64_t log_size_max;
    uint32_t log_files_max;
};
struct container_plan {
    struct container_config config;
    struct keep keep;
    struct pair_list env;
};
/* ERR_FAILED_PRECONDITION: runAsNonRoot, and it would run as root. */
int container_plan_make(const struct manifest_container *c, const struct container_place *place,
                        struct container_plan *ret, struct err *e) MUST_CHECK;
void container_plan_free(struct container_plan *p);

/* translate_security.c */
int security_plan(const struct manifest_container *c, const struct container_place *place,
                  struct container_plan *ret, struct err *e) MUST_CHECK;

/* ---- Probes ------------------------------------------------------------------------------------
 */

struct probe_plan {
    struct probe_spec spec;
    struct keep keep;
};
/* env: the container's, for $(NAME) in an exec's command. */
void probe_plan_make(const struct manifest_container *c, const struct manifest_probe *p,
                     const struct pair_list *env, struct probe_plan *ret);
/* A hook that is an exec or httpGet, likewise; without a time limit of its own. */
void hook_plan_make(const struct manifest_container *c, const struct manifest_hook *h,
                    const struct pair_list *env, struct probe_plan *ret);
void probe_plan_free(struct probe_plan *p);
/* "http-get http://:80/ delay=0s timeout=1s period=10s #success=1 #failure=3". Caller frees. */
char *probe_describe(const struct manifest_container *c, const struct manifest_probe *p);
const struct manifest_probe *container_probe(const struct manifest_container *c,
                                             enum probe_kind kind);

/* A pod's /etc/hosts with its hostAliases, as kubelet writes it. Caller frees. */
char *hosts_text(const struct pod_manifest *m, const char *const *ips, size_t n_ips,
                 const char *node_hosts);
/* The pod's host name. Caller frees. */
char *pod_hostname(const struct pod_manifest *m);

#endif
