/*
 * podd/pod.h - pods (sandboxes) and their containers: states, names, records on disk, recovery,
 * events.
 *
 * Callers (cri, node) describe what they want in plain structs; the one translation of those, with
 * the image's configuration, into a resolved container spec happens in this room (spec.c). What the
 * caller was itself asked rides along as opaque bytes (`asked`) and is kept and given back
 * verbatim.
 *
 * Objects live on the loop's thread. Functions that take time call back, exactly once; the work
 * goes on when the caller loses interest, so that a name is never left reserved for nothing. A
 * callback is never called from inside the call that was given it.
 * Reading (find, for_each, the fields of the structs) never waits for anything: not for a stop, not
 * for the disk, not for another process.
 *
 * On disk: <root>/pods/<sandbox id>/{sandbox,<container id>.container} (records, written before
 * what they announce is done) and <state>/pods/<sandbox id>/ (the shim's, see podd/shim.h;
 * resolv.conf, hostname, hosts of the pod). After a reboot the records remain: sandboxes are then
 * NOTREADY and containers EXITED.
 */
#ifndef PODD_POD_H
#define PODD_POD_H

#include "podd/base.h"
#include "podd/image.h"
#include "podd/net.h"
#include "podd/shim.h"

/* ==== What is wanted ============================================================================
 */

enum namespace_mode { NAMESPACE_POD, NAMESPACE_CONTAINER, NAMESPACE_NODE, NAMESPACE_TARGET };

struct id_range {
    uint32_t container_id, host_id, length;
};

/* Everything is borrowed for the duration of the call; NULL strings mean "not given". */
struct sandbox_config {
    const char *name, *namespace_, *uid; /* with attempt: the name that must be unique */
    uint32_t attempt;
    const char *hostname; /* "": the node's for a host-network pod, else the first 12 of the id */
    const char *log_directory; /* absolute, or "" */
    bool dns_given;            /* false: the node's resolv.conf */
    char *const *dns_servers, *const *dns_searches, *const *dns_options; /* strv */
    const struct net_port *ports;
    size_t n_ports;
    const struct key_value *labels, *annotations, *sysctls;
    size_t n_labels, n_annotations, n_sysctls;
    const char *cgroup_parent; /* "": podd's own; a directory, or a slice of systemd */
    enum namespace_mode network, pid, ipc;
    const struct id_range *uid_maps, *gid_maps; /* user namespace; none: the host's */
    size_t n_uid_maps, n_gid_maps;
    bool privileged;   /* may hold privileged containers */
    uint64_t shm_size; /* 0: 64 MiB */
    const char *runtime_handler;
    const char *origin; /* "cri" or "node": who `asked` belongs to */
    struct bytes asked;
};

enum mount_propagation { MOUNT_PRIVATE, MOUNT_HOST_TO_CONTAINER, MOUNT_BIDIRECTIONAL };

struct mount_config {
    /* host_path must exist: a missing one is ERR_FAILED_PRECONDITION; with create_source it is
     * made, as a directory of root's with mode 0755. */
    const char *container_path, *host_path;
    bool create_source;
    const char *sub_path; /* below host_path, which no link in it can leave; NULL: all of it */
    mode_t file_type;     /* what host_path must be (S_IFDIR, ...), or 0 */
    bool readonly, recursive_readonly, selinux_relabel;
    enum mount_propagation propagation;
    const struct id_range *uid_maps, *gid_maps;
    size_t n_uid_maps, n_gid_maps;
    const char *image; /* instead of host_path: an image that is on the node; always read-only */
    const char *image_sub_path; /* NULL or "": all of it */
    bool noexec, nosuid, nodev;
};

struct device_config {
    const char *container_path, *host_path, *permissions;
};

enum profile_type { PROFILE_RUNTIME_DEFAULT, PROFILE_UNCONFINED, PROFILE_LOCALHOST };
struct profile_config {
    enum profile_type type;
    bool asked; /* for RuntimeDefault of AppArmor: without it, none is taken where there is none */
    const char *localhost_ref;
};

struct id_maps {
    const struct id_range *uids, *gids;
    size_t n_uids, n_gids;
};

struct security_config {
    char *const *add_capabilities, *const *drop_capabilities,
                                       *const *ambient_capabilities; /* strv */
    bool privileged;
    bool no_new_privs;
    bool readonly_rootfs;
    enum namespace_mode pid;
    enum namespace_mode network, ipc; /* NODE: only where it is the pod's; POD: what the pod has */
    const char *pid_target;           /* container id */
    const struct id_maps *user_ns;    /* what the pod's must be; NULL: not stated */
    bool has_run_as_user, has_run_as_group;
    uint32_t run_as_user, run_as_group;
    const char *run_as_username; /* wins over run_as_user */
    const uint32_t *supplemental_groups;
    size_t n_supplemental_groups;
    bool groups_strict; /* only the given groups, none from the image's /etc/group */
    char *const *masked_paths, *const *readonly_paths; /* strv, exactly these */
    struct profile_config seccomp, apparmor;
    const char *selinux_user, *selinux_role, *selinux_type, *selinux_level;
};

struct container_config {
    const char *name; /* with attempt unique within the sandbox */
    uint32_t attempt;
    const char *image;                  /* any reference; resolved locally, never pulled */
    char *const *command, *const *args; /* strv: override entrypoint and cmd */
    const char *working_dir;
    const struct key_value *envs;
    size_t n_envs;
    const struct mount_config *mounts;
    size_t n_mounts;
    const struct device_config *devices;
    size_t n_devices;
    char *const *cdi_devices; /* strv */
    const struct key_value *labels, *annotations;
    size_t n_labels, n_annotations;
    const char *log_path;  /* relative to the sandbox's log_directory; "": none. Missing directories
                            * are made */
    uint64_t log_size_max; /* bytes, of each file of a rotated log; 0: nobody rotates it here */
    uint32_t log_files_max; /* at least 2 */
    bool stdin_open, stdin_once, tty;
    int stop_signal; /* 0: the image's, else SIGTERM */
    struct cgroup_limits limits;
    int64_t oom_score_adj;
    bool has_oom_score_adj;
    struct security_config security;
    struct bytes asked;
};

/* ==== What is there ==============================================================================
 */

enum sandbox_state { SANDBOX_READY, SANDBOX_NOTREADY };
enum container_state { CONTAINER_CREATED, CONTAINER_RUNNING, CONTAINER_EXITED, CONTAINER_UNKNOWN };

/* Read-only for other rooms. Valid until control returns to the loop. */
struct sandbox {
    char *id;
    char *name, *namespace_, *uid;
    uint32_t attempt;
    enum sandbox_state state;
    int64_t created_at;             /* ns; strictly increasing from object to object */
    struct net_addresses addresses; /* empty for host network and after a stop */
    bool host_network;
    struct key_value *labels, *annotations;
    size_t n_labels, n_annotations;
    char *runtime_handler, *log_directory, *cgroup_parent, *hostname;
    char *origin;
    struct bytes asked;
    struct list containers; /* of struct container, by `siblings`; oldest first */
    struct sandbox_private *priv;
};

struct container {
    char *id;
    struct sandbox *sandbox;
    struct list siblings;
    char *name;
    uint32_t attempt;
    enum container_state state;
    int64_t created_at, started_at, finished_at; /* ns; 0: not yet */
    int32_t exit_code;
    int exit_signal;        /* 0 unless it was killed */
    char *reason, *message; /* "" or e.g. "Completed", "Error", "OOMKilled", "StartError" */
    pid_t pid;              /* 0 unless running */
    char *image;            /* as asked for */
    char *image_id;         /* struct image.id */
    char *image_digest;     /* a repo digest at creation, or the image id */
    char *log_path;         /* absolute; "" */
    char *cgroup_path;
    struct key_value *labels, *annotations;
    size_t n_labels, n_annotations;
    int stop_signal; /* resolved */
    uint32_t uid, gid;
    uint32_t *groups; /* sorted, primary group included */
    size_t n_groups;
    bool tty, stdin_open, stdin_once;
    char *const *env; /* strv, as the process got it */
    struct bytes asked;
    struct container_private *priv;
};

static inline struct container *container_of_sibling(struct list *item)
{
    return container_of(item, struct container, siblings);
}

/* ==== All pods of this daemon
 * ===================================================================== */

struct pods_config {
    struct loop *loop;
    struct zygote *zygote;
    struct image_store *images;
    struct net *net;
    const char *root, *state;
    bool restrict_oom_score_adj;         /* keep the current value when lowering is refused */
    const char *seccomp_default_profile; /* JSON file; NULL: the built-in profile */
    const char *cgroup_parent;           /* of pods that name none: "/podd" */
    bool systemd_cgroups;                /* parents that pods name are slices; needs cgroup v2 */
    char *const *dns_servers; /* strv: for pods that say nothing of DNS; NULL: the node's */
    char *const *cdi_dirs;    /* strv: of descriptions of devices, the last has the last word */
};

struct pods;
/* Loads the records. One that cannot be read is set aside (<root>/pods/<id>.<kind>.broken) with a
 * warning, and its object is cleaned up by pods_recover(); the others load. */
int pods_open(const struct pods_config *config, struct pods **ret, struct err *e) MUST_CHECK;
/* Finds out what is true after a restart: reconnects to shims in parallel, reads exit records,
 * finishes or undoes what was half done, frees what no record owns. Calls back when lists are
 * exact, or after a few seconds, when a shim does not answer (it is tried further). Once, before
 * anything else is made. */
void pods_recover(struct pods *p, void (*done)(void *arg), void *arg);
/* The AppArmor profile of containers that name none; NULL where they run without. */
const char *pods_apparmor_default(const struct pods *p);
/* Forgets the objects in memory; pods go on. Calls under way are not answered any more: what they
 * left half done is for the next start. Before zygote, images, net and loop are freed. */
void pods_close(struct pods *p);

/* By id or unique id prefix; NULL when there is none (ERR_NOT_FOUND) or several
 * could be meant (ERR_INVALID_ARGUMENT); both name the id when e is given.
 */
struct sandbox *sandbox_find(struct pods *p, const char *id, struct err *e);
struct container *container_find(struct pods *p, const char *id, struct err *e);
/* Oldest first. */
void sandbox_for_each(struct pods *p, void (*fn)(void *arg, const struct sandbox *s), void *arg);
void container_for_each(struct pods *p, void (*fn)(void *arg, const struct container *c),
                        void *arg);

typedef void pod_id_fn(void *arg, const char *id, const struct err *e);
typedef void pod_done_fn(void *arg, const struct err *e);

/* Makes a pod ready for containers, or joins the making under way of the same name, or gives the id
 * of the ready one that has it already (only a retry can ask so; a different config under the same
 * name is ERR_ALREADY_EXISTS, and so is one that has been stopped). Undone wholly on failure. */
void sandbox_run(struct pods *p, const struct sandbox_config *config, pod_id_fn *fn, void *arg);
/* Kills its containers, gives back its network and ends its shim. Unknown is success. */
void sandbox_stop(struct pods *p, const char *id, pod_done_fn *fn, void *arg);
/* Stops, then removes containers, records and files; not logs. Unknown is success. */
void sandbox_remove(struct pods *p, const char *id, pod_done_fn *fn, void *arg);

/* Prepares everything that can fail, runs nothing. Retries as for sandbox_run, until it is started.
 * Errors: ERR_NOT_FOUND for the image, ERR_INVALID_ARGUMENT for what no node could do,
 * ERR_FAILED_PRECONDITION for what this one cannot. */
void container_create(struct pods *p, const char *sandbox_id, const struct container_config *config,
                      pod_id_fn *fn, void *arg);
/* Calls back when execve succeeded. A failure makes it EXITED with "StartError", 128. */
void container_start_up(struct pods *p, const char *id, pod_done_fn *fn, void *arg);
/* Sends the stop signal once, SIGKILL to all of it after timeout_ms; calls back when it is EXITED.
 * Of several stops the earliest deadline counts. Unknown or not running is success. */
void container_stop(struct pods *p, const char *id, int64_t timeout_ms, pod_done_fn *fn, void *arg);
/* Kills a running one first. The log file stays. Unknown is success. */
void container_remove(struct pods *p, const char *id, pod_done_fn *fn, void *arg);
void container_reopen_log(struct pods *p, const char *id, pod_done_fn *fn, void *arg);
/* Applies limits (zero fields: unchanged) and, on success, replaces `asked`. */
void container_update(struct pods *p, const char *id, const struct cgroup_limits *limits,
                      const struct bytes *asked, pod_done_fn *fn, void *arg);
/* Replaces the sandbox's stored request. */
int sandbox_set_asked(struct pods *p, const char *id, const struct bytes *asked, struct err *e)
    MUST_CHECK;

/* Runs argv in a running container and collects its output, at most EXEC_OUTPUT_MAX bytes of each
 * stream (the rest is read and dropped). After timeout_ms (0: none) all of it is killed:
 * ERR_DEADLINE_EXCEEDED, "... timed out". A command that cannot be run is an error; one that exits
 * non-zero is not. */
#define EXEC_OUTPUT_MAX (7u << 20)
typedef void exec_done_fn(void *arg, int exit_code, const struct bytes *out,
                          const struct bytes *err_out, const struct err *e);
struct exec;
struct exec *container_exec_sync(struct pods *p, const char *id, char *const *argv,
                                 int64_t timeout_ms, exec_done_fn *fn, void *arg);
/* Kills it; fn is not called afterwards. */
void exec_cancel(struct exec *x);

/* An exec with the caller's own stdio (taken; -1: /dev/null), or a terminal. */
struct exec_stream_events {
    void (*on_start)(void *arg, int tty_master_take, const struct err *e);
    void (*on_exit)(void *arg, int exit_code, const struct err *e); /* only after a good start */
};
struct exec *container_exec_stream(struct pods *p, const char *id, char *const *argv, bool tty,
                                   const int stdio_take[3], const struct exec_stream_events *events,
                                   void *arg);
void exec_resize(struct exec *x, uint32_t width, uint32_t height);
/* See shim_attach(); fds taken. */
void container_attach(struct pods *p, const char *id, const int stdio_take[3], pod_done_fn *fn,
                      void *arg);
void container_resize(struct pods *p, const char *id, uint32_t width, uint32_t height);

/* The process that is the sandbox and lives in its namespaces; 0: gone. */
pid_t sandbox_pid(const struct sandbox *s);
/* The pod's network namespace, borrowed; -1: the host's, or gone. */
int sandbox_netns(const struct sandbox *s);
/* The ids of the node that are those of its user namespace; false: it has none. */
bool sandbox_ids(const struct sandbox *s, struct id_range *ret_uids, struct id_range *ret_gids);
/* The cgroup that its master made for this pod, borrowed; NULL: it is in podd's own, with others.
 */
const char *sandbox_own_cgroup(const struct sandbox *s);

/* ==== Events
 * ====================================================================================== */

enum pod_event_type { POD_CREATED, POD_STARTED, POD_STOPPED, POD_DELETED };
/* One change, told after it is readable. Sandboxes too: container is then NULL. */
struct pod_event {
    enum pod_event_type type;
    uint64_t sequence; /* +1 each */
    int64_t time;      /* ns, never going back */
    const struct sandbox *sandbox;
    const struct container *container;
};
struct pod_watch;
/* fn is called on the loop, in order; it may call anything but pods_close. */
struct pod_watch *pods_watch(struct pods *p, void (*fn)(void *arg, const struct pod_event *event),
                             void *arg);
void pod_watch_free(struct pod_watch *w);

#endif
