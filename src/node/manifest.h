/*
 * manifest.h - a declared pod as plain C: what a document of `kind: Pod` says, checked, with
 * nothing left out. Filled and freed by the tables in manifest_*.c (decode.h).
 */
#ifndef NODE_MANIFEST_H
#define NODE_MANIFEST_H

#include "podd/decode.h"

#include "podd/base.h"

/* Enums of the tables: 0 is "not given", the others follow the order of the table's words. */
enum restart_policy { RESTART_UNSET, RESTART_ALWAYS, RESTART_ON_FAILURE, RESTART_NEVER };
enum pull_policy { PULL_UNSET, PULL_ALWAYS, PULL_IF_NOT_PRESENT, PULL_NEVER };
enum port_protocol { PORT_UNSET, PORT_TCP, PORT_UDP, PORT_SCTP };
enum http_scheme { SCHEME_UNSET, SCHEME_HTTP, SCHEME_HTTPS };
enum propagation {
    PROPAGATION_UNSET,
    PROPAGATION_NONE,
    PROPAGATION_HOST_TO_CONTAINER,
    PROPAGATION_BIDIRECTIONAL
};
enum manifest_profile_type {
    MANIFEST_PROFILE_UNSET,
    MANIFEST_PROFILE_RUNTIME_DEFAULT,
    MANIFEST_PROFILE_UNCONFINED,
    MANIFEST_PROFILE_LOCALHOST
};
enum dns_policy {
    DNS_UNSET,
    DNS_CLUSTER_FIRST,
    DNS_CLUSTER_FIRST_WITH_HOST_NET,
    DNS_DEFAULT,
    DNS_NONE
};
enum host_path_type {
    HOST_PATH_UNSET,
    HOST_PATH_ANY,
    HOST_PATH_DIRECTORY_OR_CREATE,
    HOST_PATH_DIRECTORY,
    HOST_PATH_FILE_OR_CREATE,
    HOST_PATH_FILE,
    HOST_PATH_SOCKET,
    HOST_PATH_CHAR_DEVICE,
    HOST_PATH_BLOCK_DEVICE
};
enum medium { MEDIUM_UNSET, MEDIUM_DEFAULT, MEDIUM_MEMORY };
enum recursive_readonly {
    RECURSIVE_UNSET,
    RECURSIVE_DISABLED,
    RECURSIVE_IF_POSSIBLE,
    RECURSIVE_ENABLED
};
enum message_policy { MESSAGE_UNSET, MESSAGE_FILE, MESSAGE_FALLBACK_TO_LOGS };
enum groups_policy { GROUPS_UNSET, GROUPS_MERGE, GROUPS_STRICT };
enum proc_mount { PROC_MOUNT_UNSET, PROC_MOUNT_DEFAULT, PROC_MOUNT_UNMASKED };

struct field_ref {
    char *path;
};
struct resource_ref {
    char *container, *resource;
    struct quantity divisor;
};
/* A key of a ConfigMap or Secret. */
struct key_ref {
    char *name, *key;
    struct opt_bool optional;
};
struct env_source {
    struct field_ref *field;
    struct resource_ref *resource;
    struct key_ref *config_map, *secret;
};
struct manifest_env {
    char *name, *value;
    struct env_source *from;
};

/* A whole ConfigMap or Secret. */
struct object_ref {
    char *name;
    struct opt_bool optional;
};
struct manifest_env_from {
    char *prefix;
    struct object_ref *config_map, *secret;
};

struct manifest_port {
    char *name, *host_ip;
    struct opt_int container_port, host_port;
    int protocol; /* enum port_protocol */
};

struct resource_list {
    struct quantity cpu, memory, storage;
};
struct manifest_resources {
    struct resource_list *limits, *requests;
};

struct manifest_mount {
    char *name, *path, *sub_path, *sub_path_expr;
    struct opt_bool readonly;
    int propagation;        /* enum propagation */
    int recursive_readonly; /* enum recursive_readonly */
};

struct manifest_profile {
    int type; /* enum manifest_profile_type */
    char *localhost;
};
struct manifest_capabilities {
    char **add, **drop; /* strv */
};
struct container_security {
    struct opt_int user, group;
    struct opt_bool non_root, readonly_root, privileged, escalation;
    struct manifest_capabilities *capabilities;
    struct manifest_profile *seccomp, *apparmor;
    int proc_mount; /* enum proc_mount */
};

struct probe_exec {
    char **command; /* strv */
};
struct probe_header {
    char *name, *value;
};
struct probe_http {
    char *host, *path;
    struct int_or_name port;
    int scheme;                 /* enum http_scheme */
    struct object_list headers; /* of struct probe_header */
};
struct probe_tcp {
    char *host;
    struct int_or_name port;
};
struct probe_grpc {
    struct opt_int port; /* a number; names are not looked up */
    char *service;
};
struct manifest_probe {
    struct probe_exec *exec;
    struct probe_grpc *grpc;
    struct probe_http *http;
    struct probe_tcp *tcp;
    struct opt_int initial_delay, timeout, period, success_threshold, failure_threshold, grace;
};

/* What is done once a container has started, or before it is stopped. */
struct hook_sleep {
    struct opt_int seconds;
};
struct manifest_hook {
    struct probe_exec *exec;
    struct probe_http *http;
    struct hook_sleep *sleep;
};
struct manifest_lifecycle {
    struct manifest_hook *post_start, *pre_stop;
};

struct manifest_container {
    char *name, *image, *working_dir;
    int pull;                    /* enum pull_policy */
    char **command, **args;      /* strv */
    struct object_list env;      /* of struct manifest_env */
    struct object_list env_from; /* of struct manifest_env_from */
    struct object_list ports;
    struct object_list mounts;
    struct manifest_resources *resources;
    struct container_security *security;
    struct manifest_probe *liveness, *readiness, *startup;
    struct manifest_lifecycle *lifecycle;
    char *termination_path;
    int termination_policy; /* enum message_policy */
    struct opt_bool tty, stdin_open, stdin_once;
    int restart;  /* enum restart_policy; of init containers: Always makes a sidecar */
    char *target; /* of ephemeral containers: whose processes it sees */
};

struct volume_empty_dir {
    int medium; /* enum medium */
    struct quantity size_limit;
};
struct volume_host_path {
    char *path;
    int type; /* enum host_path_type */
};
/* A key of an object as a file. */
struct key_to_path {
    char *key, *path;
    struct opt_int mode;
};
/* A ConfigMap or Secret as files. As a volume of its own the name of a Secret is `secret_name`. */
struct volume_object {
    char *name, *secret_name;
    struct object_list items; /* of struct key_to_path; none: every key */
    struct opt_int default_mode;
    struct opt_bool optional;
};
struct downward_file {
    char *path;
    struct field_ref *field;
    struct resource_ref *resource;
    struct opt_int mode;
};
struct volume_downward {
    struct object_list items; /* of struct downward_file */
    struct opt_int default_mode;
};
struct projected_source {
    struct volume_object *config_map, *secret;
    struct volume_downward *downward;
};
struct volume_projected {
    struct object_list sources; /* of struct projected_source */
    struct opt_int default_mode;
};
struct volume_image {
    char *reference;
    int pull; /* enum pull_policy */
};
struct manifest_volume {
    char *name;
    struct volume_empty_dir *empty_dir;
    struct volume_host_path *host_path;
    struct volume_object *config_map, *secret;
    struct volume_downward *downward;
    struct volume_projected *projected;
    struct volume_image *image;
};

struct dns_option {
    char *name, *value;
};
struct dns_config {
    char **nameservers, **searches; /* strv */
    struct object_list options;     /* of struct dns_option */
};
struct host_alias {
    char *ip;
    char **hostnames; /* strv */
};
struct manifest_sysctl {
    char *name, *value;
};
struct pod_security {
    struct opt_int user, group, fs_group;
    struct opt_bool non_root;
    struct manifest_profile *seccomp, *apparmor;
    struct int_list groups;
    int groups_policy;          /* enum groups_policy */
    struct object_list sysctls; /* of struct manifest_sysctl */
};

struct pod_os {
    char none; /* its one field is checked, not kept */
};

struct pod_spec {
    struct object_list containers, init_containers; /* of struct manifest_container */
    struct object_list volumes;
    int restart; /* enum restart_policy */
    struct opt_int grace;
    struct opt_int active_deadline; /* seconds since the pod was declared */
    int dns_policy;                 /* enum dns_policy */
    struct dns_config *dns;
    struct object_list host_aliases;
    struct opt_bool host_network, host_pid, host_ipc, host_users, share_pid;
    char *hostname;
    struct pod_security *security;
    struct pod_os *os;
};

struct pod_metadata {
    char *name, *namespace_;
    struct pair_list labels, annotations;
};

struct pod_manifest {
    struct pod_metadata *metadata;
    struct pod_spec *spec;
    char *json; /* the document, normalised: keys sorted, the namespace filled in */
};

/* ---- What pods refer to ------------------------------------------------------------------------
 */

enum object_kind { OBJECT_NAMESPACE, OBJECT_CONFIG_MAP, OBJECT_SECRET, OBJECT_KIND_COUNT };

/* A Namespace, ConfigMap or Secret. Each kind has a table of its own (manifest_object.c). */
struct object_manifest {
    enum object_kind kind;
    struct pod_metadata *metadata; /* namespace_: NULL for a Namespace */
    struct pair_list data;         /* of a ConfigMap: text; of a Secret: base64 */
    struct pair_list binary_data;  /* base64 */
    struct pair_list string_data;  /* of a Secret, text; merged into data once it is read */
    char *type;                    /* of a Secret; NULL: Opaque */
    struct opt_bool immutable;
    char *json; /* the document, normalised as a pod's */
    char *uid;  /* given when it is first saved */
    int64_t created_at;
};

/* Typed access to the lists. */
static inline struct manifest_container *spec_container(const struct pod_spec *s, size_t i)
{
    return (struct manifest_container *)s->containers.items + i;
}
static inline struct manifest_container *spec_init_container(const struct pod_spec *s, size_t i)
{
    return (struct manifest_container *)s->init_containers.items + i;
}
static inline struct manifest_volume *spec_volume(const struct pod_spec *s, size_t i)
{
    return (struct manifest_volume *)s->volumes.items + i;
}
static inline struct manifest_port *container_port(const struct manifest_container *c, size_t i)
{
    return (struct manifest_port *)c->ports.items + i;
}
static inline struct manifest_mount *container_mount(const struct manifest_container *c, size_t i)
{
    return (struct manifest_mount *)c->mounts.items + i;
}
static inline struct manifest_env *container_env(const struct manifest_container *c, size_t i)
{
    return (struct manifest_env *)c->env.items + i;
}

static inline bool spec_has_user_namespace(const struct pod_spec *s)
{
    return s->host_users.set && !s->host_users.value;
}

bool pairs_have(const struct pair_list *pairs, const char *key, const char *value);
struct manifest_volume *spec_find_volume(const struct pod_spec *s, const char *name);
/* Init containers too. */
const struct manifest_container *spec_find_container(const struct pod_spec *s, const char *name);
struct manifest_port *container_find_port(const struct manifest_container *c, const char *name);

/* ---- Reading --------------------------------------------------------------------------------- */

struct manifests {
    struct pod_manifest **items;
    size_t count;
    struct object_manifest **objects;
    size_t n_objects;
};
/* Reads every document of a file, YAML or JSON, and the items of Lists, and checks all of it; on
 * the first fault nothing is added and *e says file:line:column, the path and what is wrong. Adds
 * to what is in *ret, of which no name may come again. Objects that name no namespace get
 * `namespace_`. */
int manifests_parse(const void *data, size_t len, const char *file, const char *namespace_,
                    struct manifests *ret, struct err *e) MUST_CHECK;
void manifests_free(struct manifests *m);
/* Reads one EphemeralContainer for a pod of `spec`; ephemeral_free. *ret_json (caller
 * frees) is its normalised form. */
int ephemeral_parse(const void *data, size_t len, const struct pod_spec *spec,
                    struct manifest_container **ret, char **ret_json, struct err *e) MUST_CHECK;
void ephemeral_free(struct manifest_container *c);
void pod_manifest_free(struct pod_manifest *m);
void object_manifest_free(struct object_manifest *m);

/* "Namespace", "ConfigMap", "Secret". */
const char *object_kind_name(enum object_kind kind);
/* OBJECT_KIND_COUNT: there is no such kind. */
enum object_kind object_kind_parse(const char *name);
/* The value of a key, decoded; false when the object has no such key. */
bool object_value(const struct object_manifest *m, const char *key, struct bytes *ret);
/* Frees a value and leaves nothing of it in memory. */
void object_value_free(struct bytes *value);
/* The same content: another apply of it changes nothing. */
bool object_same_data(const struct object_manifest *a, const struct object_manifest *b);

/* ---- The tables (manifest_pod.c, manifest_container.c, manifest_volume.c) -------------------- */

extern const struct object_type pod_type, metadata_type, volume_type;
extern const struct object_type field_ref_type, resource_ref_type;
extern const struct object_type container_type, init_container_type, ephemeral_container_type;
extern const struct object_type *const object_types[OBJECT_KIND_COUNT];

/* What a Secret or ConfigMap needs besides its fields: the values that its type asks for. */
int object_check(struct decode *d, const struct yaml_node *document, struct object_manifest *m);

/* What no single field can know: references, duplicates, collisions (manifest_check.c). */
int manifest_check(struct decode *d, const struct yaml_node *document, struct pod_manifest *m);
int manifest_check_ephemeral(struct decode *d, const struct yaml_node *document,
                             const struct manifest_container *c, const struct pod_spec *s);

#endif
