/*
 * private.h - the declared pods as the files of this room share them.
 *
 * A struct declared is one pod as declared, a struct member one of its containers. What runs is not
 * repeated here: sandboxes and containers are asked for by id (podd/pod.h), so that there is one
 * truth. What is here is what podd is doing about them: the operation under way, what is waited
 * for, the back-off.
 *
 * Everything is driven by declared_kick(): it marks a pod, and soon, once, declared_sync()
 * (reconcile.c) compares what is with what should be and takes the next steps. Kicks come from
 * events of pods, ends of operations, probes, timers and calls. Nothing is polled.
 */
#ifndef NODE_PRIVATE_H
#define NODE_PRIVATE_H

#include "backoff.h"
#include "env.h"
#include "healthcheck.h"
#include "manifest.h"
#include "volumes.h"

#include "podd/node.h"

#include "podd.pb-c.h"

struct declared;
struct deletions;
struct events;
struct static_pods;

/* ---- The node ----------------------------------------------------------------------------------
 */

/* Calls that get one answer (calls.c). */
struct calls {
    struct rpc_call **items;
    size_t count;
};
void calls_add(struct calls *calls, struct rpc_call *call);
/* Answers all of them and empties the list: with the response, or with the error if there is one.
 */
void calls_answer(struct calls *calls, const ProtobufCMessage *response, const struct err *e);

struct node {
    struct node_config config; /* strings owned */
    char *hostname;
    struct kernel_features kernel;
    int64_t started_at;
    struct map *pods;     /* "<namespace>/<name>" -> struct declared, the newest of the name */
    struct map *uids;     /* uid -> struct declared */
    struct list declared; /* all, oldest first, those being deleted or replaced too */
    struct map *objects;  /* "<Kind>/<namespace>/<name>" -> struct object (object.h) */
    struct list object_list;
    struct list kicked; /* of struct declared, by `kick` */
    bool kick_posted;
    struct list ops;     /* of struct op: what is under way */
    struct list watches; /* of struct watch */
    struct list applies; /* of struct apply: one at a time */
    struct pod_watch *pod_watch;
    struct events *events;
    struct attached_table *attached;
    struct stop_all *stopping;   /* NULL: none under way */
    struct timer *storage;       /* the next look at what pods use of the disk */
    struct static_pods *statics; /* NULL: no directory of manifests is watched */
    uint64_t version;            /* of the last change of any pod */
    struct deletions *deletions; /* what watches that go on must be told (watch_log.c) */
    uint64_t order;              /* of the last declaration */
    uint64_t restarts;           /* of containers */
    bool started;                /* node_start was called */
    bool halted;                 /* StopAll: nothing is started any more */
};

/* ---- A container of a declared pod -------------------------------------------------------------
 */

struct termination {
    bool set;
    int32_t exit_code;
    char *reason, *message;
    int64_t started_at, finished_at;
};

struct member {
    struct declared *pod;
    const struct manifest_container *spec;
    bool init, sidecar, ephemeral;

    char *id;                /* of the current life; NULL: none yet */
    uint32_t attempt;        /* of the current life, or of the one to come */
    bool end_noted;          /* the current life's end has been seen */
    char *end_message;       /* what was said about it; NULL: nothing */
    struct termination last; /* of the life before */
    char *termination_file;  /* of the current life, on the node */

    struct op *op; /* what is under way for this container; NULL: nothing */
    struct image_pull *pull;
    int64_t pull_started;
    size_t images_ready; /* for the coming life: those that need not be pulled again */

    const char *waiting; /* reason, as kubectl shows it; NULL: nothing special */
    char *waiting_message;
    int64_t due; /* ns: when the next try may begin; 0: now */
    struct backoff crash, pull_backoff, create_backoff;

    struct health_container *health;
    struct healthcheck *healthcheck; /* of its image, when the manifest has no probe */
    bool kill;                       /* a probe or the postStart hook has failed for good */
    int64_t kill_grace;
    int64_t kill_deadline; /* monotonic ns; 0: the grace has not begun */

    /* Hooks of the current life (hook.c). */
    struct hook *hook; /* under way; NULL: none */
    bool post_started, pre_stopped;
};

/* ---- A declared pod ----------------------------------------------------------------------------
 */

#define GRACE_MIN_MS 2000 /* what is left of a grace period is never less, as in kubelet */

enum deletion_step { DELETION_STOP_MAIN, DELETION_STOP_INIT, DELETION_SANDBOX, DELETION_FILES };
enum pod_phase { PHASE_PENDING, PHASE_RUNNING, PHASE_SUCCEEDED, PHASE_FAILED };

struct declared {
    struct node *node;
    struct list item; /* of node->declared */
    struct list kick; /* of node->kicked */
    uint64_t order;   /* of declaration: grows */
    char *key, *namespace_, *name, *uid;
    int64_t created_at;
    char *source;      /* the file that declares it (static.c); NULL: a call did */
    uint32_t first_id; /* on the node, of its user namespace (id_range.c); 0: the node's ids */
    struct pod_manifest *manifest; /* NULL: only what is left of a pod is being removed */
    struct member *members;        /* init containers, then containers */
    size_t n_members, n_init;
    struct ephemeral **ephemeral; /* added to the running pod (ephemeral.c) */
    size_t n_ephemeral;

    char *sandbox_id; /* NULL: none yet */
    uint32_t sandbox_attempt;
    struct op *sandbox_op;
    size_t ops; /* under way, all kinds */
    struct backoff sandbox_backoff;
    int64_t sandbox_due;
    bool volumes_busy, volumes_again; /* volume_refresh.c */
    char *trouble;                    /* why the pod does not come up, for people; NULL: nothing */
    bool initialized;                 /* the init containers are done, for this sandbox */
    bool finished;                    /* all ended, and nothing is to be started again */
    bool expired;                     /* its activeDeadlineSeconds have passed */
    char *evicted;                    /* which limit of storage it is over; NULL: none */
    bool network_released;            /* finished, and its sandbox is stopped */
    enum pod_phase final_phase;
    struct timer *timer; /* the next thing that is due */

    /* The record on disk (store.c). */
    bool saved;       /* it is on disk: containers may be started */
    bool record_busy; /* it is being written or removed */
    bool write_again; /* it has changed since, or could not be written yet */
    /* Called once, when what was to be written is written, or could not be. */
    void (*on_saved)(struct declared *d, const struct err *e, void *arg);
    void *on_saved_arg;
    struct declared *replaces;    /* holds the name until this one is on disk (apply.c) */
    struct declared *replaced_by; /* the other way around */

    /* Ending (deletion.c). */
    bool deleting, superseded; /* superseded: the record belongs to another pod by now */
    int64_t grace;             /* seconds */
    enum deletion_step step;
    bool hasten;           /* the grace has become shorter: tell the containers */
    bool gone;             /* all is removed; only the struct is left */
    int64_t stop_deadline; /* monotonic ns; 0: not begun */
    int64_t retry_at;
    struct declared *successor; /* waits for this one to be gone */
    size_t blockers;            /* how many this one waits for */
    struct calls marking;       /* DeletePod calls that wait for the mark on disk, no longer */
    struct calls waiting;       /* DeletePod calls that wait for the end */

    /* What watchers were told (watch.c). */
    bool touched, announced;
    uint64_t version, added_version;
    uint8_t *told;
    size_t told_len;
    bool condition_state[4];
    int64_t condition_time[4];
};

/* declared.c */
struct declared *declared_new(struct node *n, const char *namespace_, const char *name,
                              const char *uid);
/* A pod without a manifest, of which only the removal is left; the pod of its name waits for it. */
struct declared *declared_new_remains(struct node *n, const char *namespace_, const char *name,
                                      const char *uid);
/* A random UUID. Caller frees. */
char *uid_new(void);
/* Takes the manifest: makes its members. */
void declared_set_manifest(struct declared *d, struct pod_manifest *manifest_take);
/* Takes it out of every index and frees it. No operation may be under way. */
void declared_free(struct declared *d);
struct declared *declared_find(struct node *n, const char *namespace_, const char *name);
/* Makes it the one that its name stands for. */
void declared_publish(struct declared *d);
bool declared_is_current(const struct declared *d);
void declared_kick(struct declared *d);
void declared_kick_all(struct node *n);
/* The ConfigMaps and Secrets that it may use. */
struct object_source declared_objects(struct declared *d);
/* A ConfigMap or Secret of its namespace is another one now. */
void declared_objects_changed(struct declared *d);
/* Wakes the pod at `due` (ns, wall clock), or earlier. */
void declared_wake_at(struct declared *d, int64_t due);
/* Where the pod's files are: below <root>/volumes and the log root. Caller frees. */
char *declared_volume_dir(const struct declared *d);
char *declared_log_dir(const struct declared *d);
/* The sandbox, when there is one and podd knows it. */
struct sandbox *declared_sandbox(const struct declared *d);

/* By the container's name; NULL when there is none. Those that were added too. */
struct member *declared_member(struct declared *d, const char *name);

/* id_range.c: the first of the ids for a new pod with a user namespace; 0: none is free. */
uint32_t id_range_choose(const struct node *n);

/* member.c: what a container of a pod is now. */
struct container *member_container(const struct member *m);
/* The environment that its process got; pair_list_free. */
void member_environment(const struct member *m, struct pair_list *ret);
void member_set_waiting(struct member *m, const char *reason, const char *fmt, ...) PRINTF(3, 4);
void member_clear(struct member *m);
bool member_is_running(const struct member *m);
/* Its end is final: by the pod's policy it is not started again. */
bool member_is_done(const struct member *m);
bool member_restarts(const struct member *m, const struct container *c);
void termination_clear(struct termination *t);
void termination_of(struct termination *t, const struct member *m, const struct container *c);

/* ---- Operations under way ----------------------------------------------------------------------
 */

/* One call into another room that will call back. Outlives the node when that closes first. */
struct op {
    struct list item;  /* of node->ops */
    struct node *node; /* NULL: closed, the answer interests nobody */
    struct declared *pod;
    struct member *member; /* NULL: of the pod itself */
    void (*done)(struct op *op, const char *id, const struct err *e);
    void *job; /* done's own */
};
struct op *op_new(struct declared *d, struct member *m,
                  void (*done)(struct op *op, const char *id, const struct err *e), void *job);
/* Of no pod: op->pod is NULL. */
struct op *op_new_for_node(struct node *n,
                           void (*done)(struct op *op, const char *id, const struct err *e),
                           void *job);
/* Callbacks of the other rooms, with the op as argument: call op->done, free the op, kick the pod.
 */
void op_on_id(void *arg, const char *id, const struct err *e);
void op_on_done(void *arg, const struct err *e);
/* Runs work(job) on a worker thread; the job's error is handed to done. */
struct work_job {
    struct op *op;
    void (*work)(struct work_job *job);
    struct err err;
};
void op_work(struct loop *loop, struct op *op, struct work_job *job);

/* ---- The reconciler ----------------------------------------------------------------------------
 */

void declared_sync(struct declared *d);   /* reconcile.c */
void declared_finish(struct declared *d); /* nothing of it is started again */
/* deadline.c: when the pod's time is up (ns since the epoch); 0: never. */
int64_t deadline_of(const struct declared *d);
/* Ends the pod when its time is up. False: it is not. */
bool deadline_sync(struct declared *d);
/* Stops its containers, step by step; when none runs any more it is finished. */
void declared_end(struct declared *d);
/* storage.c: looks after limits of storage; ends the pod that is over one. False: it is not. */
void storage_open(struct node *n);
bool storage_sync(struct declared *d);
bool sandbox_sync(struct declared *d);       /* sandbox.c: true when it is ready */
void sandbox_lost(struct declared *d);       /* containers.c follows a lost sandbox */
void sandbox_release(struct declared *d);    /* of a finished pod */
void member_sync(struct member *m);          /* life.c */
void member_start_life(struct member *m);    /* setup.c: pull, prepare, create, start */
void member_attach_health(struct member *m); /* probes.c */
void member_note_end(struct member *m);
/* hook.c: postStart once, when the container has started. True: it is over, or there is none. */
bool member_post_start(struct member *m);
/* preStop, before podd stops a running container, for as long as the grace lasts. True: it is over,
 * or there is none; else the pod is kicked when it is. */
bool member_pre_stop(struct member *m, int64_t left_ms);
/* The life has ended, or is given up: what is under way is ended, the next life begins anew. */
void member_reset_hooks(struct member *m);
/* The manifest's, or what its image says; NULL: none. */
const struct manifest_probe *member_probe(const struct member *m, enum probe_kind kind);
/* Begins to end it; `grace` < 0: its own. A shorter grace hastens one under way. */
void declared_delete(struct declared *d, int64_t grace); /* deletion.c */
void deletion_sync(struct declared *d);
/* One more step of stopping its containers, as before a deletion. True: none runs any more. */
bool declared_stop_containers(struct declared *d);
void declared_cancel_pulls(struct declared *d);
/* Answers the call when the mark is on disk, or, with `wait`, when the pod is gone. */
void declared_answer_deletion(struct declared *d, struct rpc_call *call, bool wait);
/* What the record says is on disk, or could not be written. */
void declared_marked(struct declared *d, const struct err *e);

/* ephemeral.c: containers that are added to a running pod. */
struct ephemeral {
    struct member member;
    struct manifest_container *spec; /* the member's */
    char *json;                      /* as it was added */
};
/* Reads what was added before, of a record. */
int ephemeral_load(struct declared *d, const char *json, struct err *e) MUST_CHECK;
void ephemeral_sync(struct declared *d);
/* They end with the sandbox, and are not started in the next one. */
void ephemeral_forget(struct declared *d);
void ephemeral_add(struct node *n, struct rpc_call *call,
                   const Podd__V1__AddEphemeralContainerRequest *request);

/* volume_refresh.c */
struct volumes_place declared_volumes_place(const struct declared *d);
/* What podd fills the pod's volumes with, one for each; payloads_free. NULL: *e says what is
 * missing.
 */
struct payload *declared_payloads(struct declared *d, struct err *e);
void payloads_free(struct payload *payloads, size_t count);
/* The objects or labels that the volumes show may have changed. */
void volumes_refresh(struct declared *d);

/* phase.c */
enum pod_phase declared_phase(const struct declared *d);
const char *phase_name(enum pod_phase phase);

/* ---- The store ---------------------------------------------------------------------------------
 */

/* Writes the record, durably, in the background; sets `saved` and kicks when it is there. */
void store_save(struct declared *d);
/* Removes the pod's volumes and logs and, unless it is superseded, its record. */
void store_remove(struct declared *d,
                  void (*done)(struct op *op, const char *id, const struct err *e));
/* Reads every record. A broken one is set aside with a warning. */
int store_load(struct node *n, struct err *e) MUST_CHECK;
void store_set_aside(const char *path, const struct err *why);

/* adopt.c: takes up what runs, after a restart. */
void adopt_all(struct node *n);

/* ---- Events and watches ------------------------------------------------------------------------
 */

/* The history of an earlier podd of this boot, from its file; versions grow from this one, or from
 * the last one there if that is later. */
struct events *events_open(const char *path, uint64_t version);
void events_free(struct events *ev);
/* One thing that happened to the pod; the same again is counted. */
void event_add(struct declared *d, const struct member *m, bool warning, const char *reason,
               const char *fmt, ...) PRINTF(5, 6);
void events_list(struct node *n, struct rpc_call *call, const Podd__V1__ListEventsRequest *request);

/* The pod may look different now: watchers are told soon, if it does. */
void declared_touch(struct declared *d);
void watch_flush(struct declared *d);
void watch_deleted(struct declared *d);
void watch_start(struct node *n, struct rpc_call *call, const Podd__V1__WatchPodsRequest *request);
void watches_close(struct node *n);

/* watch_log.c: the pods that were deleted lately. `now` is the version it begins with. */
struct deletion_entry {
    struct list item;
    uint64_t version;
    char *namespace_, *name;
    Podd__V1__Pod *pod; /* without its manifest */
};
struct deletions *deletions_new(uint64_t now);
void deletions_free(struct deletions *l);
void deletions_add(struct deletions *l, struct declared *d);
/* Versions below this cannot be gone on from: something after them is forgotten. */
uint64_t deletions_floor(const struct deletions *l);
/* The oldest one after `version`; NULL: none. */
const struct deletion_entry *deletions_after(const struct deletions *l, uint64_t version);

/* status.c: the pod as podd.v1 tells it; podd__v1__pod__free_unpacked(.., NULL). */
Podd__V1__Pod *declared_to_message(struct declared *d, bool with_probes);
Podd__V1__ProbeResult probe_result_number(enum probe_result result);

/* ---- The service -------------------------------------------------------------------------------
 */

void node_status_reply(struct node *n, struct rpc_call *call); /* node_status.c */
void apply_run(struct node *n, struct rpc_call *call, const Podd__V1__ApplyRequest *request);
/* Applies the text of a file of the directory of manifests, as a call would; done(arg, e) once, e
 * as in callbacks of other rooms, but never NULL. */
void apply_file(struct node *n, const char *name, const struct bytes *text,
                void (*done)(void *arg, const struct err *e), void *arg);
void applies_close(struct node *n);
struct probe_plan;
/* A probe as given by a caller, whose strings it borrows. */
int probe_plan_given(const Podd__V1__Probe *probe, struct probe_plan *plan, struct err *e)
    MUST_CHECK;
void probe_call(struct node *n, struct rpc_call *call, const Podd__V1__RunProbeRequest *request);
void image_call_pull(struct node *n, struct rpc_call *call,
                     const Podd__V1__PullImageRequest *request);
void image_call_import(struct node *n, struct rpc_call *call,
                       const Podd__V1__ImportImageRequest *request);
void stop_all_run(struct node *n, struct rpc_call *call, const Podd__V1__StopAllRequest *request);
void stop_all_check(struct node *n); /* a declared pod is gone */
void stop_all_close(struct node *n);

/* attached.c: the probes of containers that were started through CRI. */
struct attached;
struct attached_table;
struct attached_table *attached_open(struct node *n);
void attached_close(struct attached_table *t);
/* Takes up the probes of an earlier podd, once it is known what runs. */
void attached_restore(struct attached_table *t);
void attached_on_event(struct attached_table *t, const struct pod_event *event);
void attached_set(struct attached_table *t, struct rpc_call *call,
                  const Podd__V1__SetProbesRequest *request);
void attached_list(struct attached_table *t, struct rpc_call *call,
                   const Podd__V1__ListProbesRequest *request);
void attached_watch(struct attached_table *t, struct rpc_call *call,
                    const Podd__V1__WatchProbesRequest *request);

/* Callbacks of other rooms get NULL or a zeroed error on success. */
static inline bool err_is_set(const struct err *e)
{
    return e && e->code != ERR_OK;
}

/* Fails the call with one sentence. */
void call_fail(struct rpc_call *call, enum err_code code, const char *fmt, ...) PRINTF(3, 4);
const char *namespace_or_default(const char *namespace_);

#endif
