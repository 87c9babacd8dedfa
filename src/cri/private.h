/*
 * private.h - what the files of the cri room share.
 */
#ifndef CRI_PRIVATE_H
#define CRI_PRIVATE_H

#include "podd/cri.h"
#include "podd/runtime.h"

#include "cri.pb-c.h"

struct cri {
    struct cri_config config;
    char *root, *state, *socket;
    bool ready;
    struct kernel_features features;
    struct stream_server *streaming;
    struct map *usage; /* container id -> struct usage_memory (sample.h) */
    struct pod_watch *pod_watch;
};

/* ---- Memory of one request (arena.c): freed all at once -------------------------------------- */

struct arena {
    struct arena_block *blocks;
};
void *arena_alloc(struct arena *a, size_t size); /* zeroed */
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF(2, 3);
void arena_free(struct arena *a);
#define _cleanup_arena_ CLEANUP(arena_free)

/* A new message of the generated type, initialised: ARENA_MESSAGE(a, runtime__v1__pod_sandbox). */
void *arena_message(struct arena *a, const ProtobufCMessageDescriptor *descriptor);
#define ARENA_MESSAGE(a, type) arena_message(a, &type##__descriptor)

/* Unpacks into the arena; NULL when the bytes are not such a message. */
void *arena_unpack(struct arena *a, const ProtobufCMessageDescriptor *descriptor, const void *data,
                   size_t len);

/* A NULL-terminated vector of the same, borrowed strings. */
char **arena_strv(struct arena *a, char *const *strings, size_t n);

/* map<string,string> fields: every such map has an entry type of its own with the same layout. */
struct key_value *arena_from_map(struct arena *a, void *entries, size_t n);
void *arena_to_map(struct arena *a, const ProtobufCMessageDescriptor *entry,
                   const struct key_value *values, size_t n);

/* ---- Requests into the structs of podd/pod.h (from_*.c)
 * ------------------------------------------ */

/* All borrow from the request and the arena. Errors name the field by its path. */
int sandbox_config_from(const Runtime__V1__RunPodSandboxRequest *request, struct arena *a,
                        struct sandbox_config *ret, struct err *e) MUST_CHECK;
int container_config_from(const Runtime__V1__ContainerConfig *config, struct arena *a,
                          struct container_config *ret, struct err *e) MUST_CHECK;
int limits_from(const Runtime__V1__LinuxContainerResources *resources, struct arena *a,
                struct cgroup_limits *ret, struct err *e) MUST_CHECK;
/* Nothing when there is none, or the node's is meant. */
int user_namespace_from(const Runtime__V1__UserNamespace *u, struct arena *a, struct id_maps *ret,
                        struct err *e) MUST_CHECK;
struct id_range *id_ranges_from(struct arena *a, Runtime__V1__IDMapping *const *maps, size_t n);
/* The number of a CRI signal; 0 for "the image's". */
int signal_from(Runtime__V1__Signal signal, int *ret, struct err *e) MUST_CHECK;
struct bytes arena_pack(struct arena *a, const ProtobufCMessage *message);

/* ---- Objects into answers (to_*.c); borrowed from object and arena
 * ------------------------------- */

Runtime__V1__PodSandbox *sandbox_to_item(const struct sandbox *s, struct arena *a);
Runtime__V1__PodSandboxStatus *sandbox_to_status(const struct sandbox *s, struct arena *a);
Runtime__V1__Container *container_to_item(const struct container *c, struct arena *a);
Runtime__V1__ContainerStatus *container_to_status(const struct cri *cri, const struct container *c,
                                                  struct arena *a);
Runtime__V1__Image *image_to_item(const struct image *image, struct arena *a);

/* The `info` of verbose answers (info.c). */
void container_add_info(const struct container *c, Runtime__V1__ContainerStatusResponse *response,
                        struct arena *a);
void sandbox_add_info(const struct sandbox *s, Runtime__V1__PodSandboxStatusResponse *response,
                      struct arena *a);
void image_add_info(const struct image *image, Runtime__V1__ImageStatusResponse *response,
                    struct arena *a);
void status_add_info(const struct cri *c, Runtime__V1__StatusResponse *response, struct arena *a);

/* ---- Handlers: one table per service, filled by rows of each file
 * ---------------------------------- */

rpc_handler_fn cri_version, cri_status, cri_runtime_config, cri_update_runtime_config;
rpc_handler_fn cri_container_stats, cri_list_container_stats, cri_stream_container_stats,
    cri_pod_sandbox_stats, cri_list_pod_sandbox_stats, cri_stream_pod_sandbox_stats;
rpc_handler_fn cri_list_metric_descriptors, cri_list_pod_sandbox_metrics,
    cri_stream_pod_sandbox_metrics;
rpc_handler_fn cri_get_container_events;
rpc_handler_fn cri_update_container_resources, cri_update_pod_sandbox_resources;
rpc_handler_fn cri_stream_pod_sandboxes, cri_stream_containers, cri_stream_images;
rpc_handler_fn cri_run_pod_sandbox, cri_stop_pod_sandbox, cri_remove_pod_sandbox,
    cri_pod_sandbox_status, cri_list_pod_sandbox;
rpc_handler_fn cri_create_container, cri_start_container, cri_stop_container, cri_remove_container,
    cri_container_status, cri_list_containers, cri_reopen_container_log;
rpc_handler_fn cri_exec_sync, cri_exec, cri_attach, cri_port_forward;
rpc_handler_fn cri_pull_image, cri_list_images, cri_image_status, cri_remove_image,
    cri_image_fs_info;

/* False, and the call is answered, while recovery still runs. */
bool cri_accept(const struct cri *c, struct rpc_call *call);
/* The pod_done_fn of calls whose answer is empty: arg is a struct empty_answer, freed. */
struct empty_answer {
    struct rpc_call *call;
    const ProtobufCMessageDescriptor *response;
};
void reply_empty(void *arg, const struct err *e);
struct empty_answer *empty_answer_new(struct rpc_call *call,
                                      const ProtobufCMessageDescriptor *response);
/* Fails with INVALID_ARGUMENT when the id is empty. */
bool require_id(struct rpc_call *call, const char *id, const char *field);
/* Does a list's filter (NULL: everything) take the object? */
bool sandbox_is_wanted(const struct cri *c, const Runtime__V1__PodSandboxFilter *f,
                       const struct sandbox *s);
bool container_is_wanted(const struct cri *c, const Runtime__V1__ContainerFilter *f,
                         const struct container *container);
/* Do the labels hold every pair of the selector? */
bool labels_match(const struct key_value *labels, size_t n, void *selector_entries,
                  size_t n_selector);

#endif
