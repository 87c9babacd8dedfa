/*
 * private.h - what the files of this room share: the objects behind the public structs, the
 * registry, name reservations, and the operations that one file starts in another.
 *
 * Who may hold what: everything belongs to the loop's thread. An operation that waits keeps a
 * pointer to a sandbox only while it is counted in sandbox_private.busy or is that sandbox's own
 * stop or removal; containers are looked up anew by id when an answer comes.
 */
#ifndef POD_PRIVATE_H
#define POD_PRIVATE_H

#include <podd/pod.h>

#define ID_SIZE 65 /* 64 hex digits and the NUL */

struct pods {
    unsigned refs; /* its owner's, and one of each operation under way */
    struct loop *loop;
    struct zygote *zygote;
    struct image_store *images;
    struct net *net;
    char *root, *state; /* <root>/pods and <state>/pods exist */
    bool restrict_oom_score_adj;
    char *seccomp_default_profile; /* NULL: the built-in one */
    char **dns_servers;            /* strv, for pods that say nothing of DNS; NULL: the node's */
    char *cgroup_parent;
    struct systemd *systemd; /* NULL: cgroups are directories */
    struct kernel_features kernel;
    bool apparmor_default_loaded; /* after pods_recover(), where it can be */

    struct cdi *cdi;
    struct map *sandboxes, *containers;        /* by id; only what may be listed */
    struct list all_sandboxes, all_containers; /* oldest first */
    struct map *names;                         /* struct name by its key */
    int64_t last_created_at;

    struct list watches;
    unsigned emitting; /* depth of pod_emit() */
    uint64_t sequence;
    int64_t last_event_time;

    bool closing;                    /* answers are told to nobody any more */
    uint64_t exec_prefix, last_exec; /* exec ids never repeat, not even after a restart */
};

/* Answers of workers and other rooms may come after pods_close(): what waits for one holds the pods
 * and looks at `closing` before anything else. */
struct pods *pods_hold(struct pods *p);
void pods_release(struct pods *p);

/* The argument of a call about one object, which may be gone when the answer comes. */
struct by_id {
    struct pods *p;
    char id[ID_SIZE];
};
struct by_id *by_id_new(struct pods *p, const char *id);
/* The object, or NULL; frees b. */
struct sandbox *by_id_sandbox(struct by_id *b);
struct container *by_id_container(struct by_id *b);

/* ---- Callbacks that must not be called from inside the call that was given them ---------------
 */

void done_later(struct pods *p, pod_done_fn *fn, void *arg, struct err *e_take);
/* Answers a stop or removal of what was not found: success, unless several could be meant. */
void done_absent(struct pods *p, pod_done_fn *fn, void *arg, struct err *e_take);
void id_later(struct pods *p, pod_id_fn *fn, void *arg, const char *id, struct err *e_take);

/* Several callers that wait for one thing. */
void waiters_add(struct list *waiters, pod_done_fn *fn, void *arg);
void waiters_finish(struct list *waiters, const struct err *e);

/* ---- Names (names.c) --------------------------------------------------------------------------
 */

/* A name in use: by an operation that makes the object (busy), then by the object. */
struct name {
    char *key;
    char id[ID_SIZE];
    uint64_t fingerprint;
    bool busy;
    struct list waiters; /* those who want the id, while busy */
};
/* Keys cannot collide, whatever the parts contain. */
char *name_key_sandbox(const char *name, const char *namespace_, const char *uid, uint32_t attempt);
char *name_key_container(const char *sandbox_id, const char *name, uint32_t attempt);
struct name *name_find(struct pods *p, const char *key);
struct name *name_add(struct pods *p, const char *key, const char *id, uint64_t fingerprint);
void name_wait(struct name *n, pod_id_fn *fn, void *arg);
/* Tells everybody who waits; with an error the name is free again. */
void name_finish(struct pods *p, struct name *n, const struct err *e);
/* Of an object that is removed. NULL is fine. */
void name_release(struct pods *p, struct name *n);

/* What a retry must have in common with the request it repeats. Maps count in any order. */
uint64_t fingerprint_sandbox(const struct sandbox_config *config);
uint64_t fingerprint_container(const struct container_config *config);

/* ---- Objects (objects.c) -----------------------------------------------------------------------
 */

struct sandbox_private {
    struct sandbox *self;
    struct pods *pods;
    struct list all;
    struct name *name;
    uint64_t fingerprint;
    char *boot_id;
    pid_t shim_pid;
    uint64_t shim_start_time;
    struct shim *shim; /* NULL: not there (yet, or any more) */
    bool stopped;      /* as in the record */
    bool host_ipc, privileged, shared_pid;
    struct id_range *uid_maps, *gid_maps;
    size_t n_uid_maps, n_gid_maps;

    bool published;             /* in the registry */
    bool stopping;              /* nothing new may begin */
    unsigned busy;              /* container creations under way */
    void (*on_idle)(void *arg); /* called when busy drops to 0 */
    void *on_idle_arg;
    struct list ending;     /* waiters of shim_end() */
    bool shutdown_answered; /* the shim cleaned up before it went */
    bool cleaning;          /* cgroups of a shim that did not */
    bool shim_killed;       /* it did not end when asked to */
    bool connecting;        /* after a restart: the shim may be there */
    struct timer *ending_timer;
    struct list stop_waiters, remove_waiters;
    bool removing;
};

struct container_private {
    struct container *self;
    struct list all;
    struct name *name;
    uint64_t fingerprint;
    process_spec_t *process; /* what execs start from; owned */
    bool pid_target_mode;
    char *pid_target;
    char **volume_images; /* strv of ids */
    bool images_held;

    bool starting;
    exit_info_t *early_exit;  /* told before the start was answered */
    struct list after_start;  /* waiters: the start ended, one way or the other */
    struct list stop_waiters; /* not empty or signalled: a stop is under way */
    bool stop_signalled, killing;
    int64_t stop_deadline; /* monotonic, ns */
    unsigned kill_rounds;
    struct timer *stop_timer;
    struct list remove_waiters;
    bool removing;
};

struct sandbox *sandbox_new(const char *id);
void sandbox_object_free(struct sandbox *s); /* with its containers' list empty */
struct container *container_new(const char *id);
void container_object_free(struct container *c);
/* Its image and those that it mounts stay on the node for as long as it is there. */
void container_hold_images(struct container *c);
void container_release_images(struct container *c);

struct key_value *key_values_dup(const struct key_value *kvs, size_t n);
void key_values_free(struct key_value *kvs, size_t n);
struct bytes bytes_dup(const struct bytes *b);
id_map_t **id_maps_new(const struct id_range *ranges, size_t n);
char *str_or_empty(const char *s); /* a copy, "" for NULL */

/* ---- What is wanted of a sandbox (sandbox_config.c) -------------------------------------------
 */

int sandbox_config_check(const struct pods *p, const struct sandbox_config *config, struct err *e)
    MUST_CHECK;
struct sandbox *sandbox_from_config(struct pods *p, const struct sandbox_config *config,
                                    const char *id);

/* ---- Registry (pods.c) -------------------------------------------------------------------------
 */

/* Exact ids only; NULL when there is none. */
struct sandbox *sandbox_by_id(struct pods *p, const char *id);
struct container *container_by_id(struct pods *p, const char *id);
/* Makes an object visible, and no longer so. */
void sandbox_publish(struct pods *p, struct sandbox *s);
void sandbox_withdraw(struct sandbox *s);
void container_publish(struct sandbox *s, struct container *c);
void container_withdraw(struct container *c);
/* Now, and later than that of every object before. */
int64_t created_at_next(struct pods *p);
void container_set_env(struct container *c); /* after priv->process */

char *sandbox_root_dir(const struct pods *p, const char *id);  /* <root>/pods/<id> */
char *sandbox_state_dir(const struct pods *p, const char *id); /* <state>/pods/<id> */

/* ---- Records (record.c, record_codec.c) --------------------------------------------------------
 */

int record_write_sandbox(const struct sandbox *s, struct err *e) MUST_CHECK;
int record_write_container(const struct container *c, struct err *e) MUST_CHECK;
/* The point of no return of a removal. Missing is success. */
int record_unlink_sandbox(const struct sandbox *s, struct err *e) MUST_CHECK;
int record_unlink_container(const struct container *c, struct err *e) MUST_CHECK;
/* For changes that have happened whether or not they can be written: a failure is logged. */
void record_note_sandbox(const struct sandbox *s);
void record_note_container(const struct container *c);
/* Loads what <root>/pods holds into the registry. Directories without a readable sandbox are left
 * for recover.c. */
int records_load(struct pods *p, struct err *e) MUST_CHECK;

/* Pure; for record.c, tests and the fuzzer. */
struct bytes record_encode_sandbox(const struct sandbox *s);
struct bytes record_encode_container(const struct container *c);
int record_decode_sandbox(const void *data, size_t len, struct sandbox **ret, struct err *e)
    MUST_CHECK;
/* Without the link to its sandbox, whose id is given back for the caller to check. */
int record_decode_container(const void *data, size_t len, struct container **ret,
                            char **ret_sandbox_id, struct err *e) MUST_CHECK;
bool id_is_valid(const char *id); /* 64 lower-case hex digits */

/* ---- Events (events.c) -------------------------------------------------------------------------
 */

struct pod_watch *pod_watch_of(struct list *item);
void pod_emit(struct pods *p, enum pod_event_type type, const struct sandbox *s,
              const struct container *c);

/* ---- Shims (shim_link.c) -----------------------------------------------------------------------
 */

extern const struct shim_events shim_link_events; /* argument: struct sandbox * */
/* The shim is gone: exits of its containers, state, event, cgroups. */
void sandbox_lost_shim(struct sandbox *s);
/* Kills exactly this process. Gone is success. 0 or -errno. */
int shim_process_kill(pid_t pid, uint64_t start_time);
/* Ends the shim and waits until it is gone; calls back at once when it is gone already. */
void shim_end(struct sandbox *s, pod_done_fn *fn, void *arg);

/* ---- Containers --------------------------------------------------------------------------------
 */

struct container_exit {
    int32_t code;
    int signal;
    int64_t finished_at; /* 0: now */
    const char *reason;  /* NULL: by the code */
    const char *message;
};
/* The one way to become EXITED: fields, record, event, and whoever waits for it. */
void container_exited(struct container *c, const struct container_exit *x);
/* As above, from what the shim says; ignored for one that is EXITED already. */
void container_exit_told(struct container *c, const exit_info_t *exit);
void container_stop_ended(struct container *c); /* container_stop.c: it is EXITED */
/* The sandbox's creations have ended, one way or the other. */
void sandbox_busy_end(struct sandbox *s);

/* "container <12 digits>" for messages: %.12s of the id. */
#define ID_SHORT "%.12s"

#endif
