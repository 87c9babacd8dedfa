/*
 * podd/shim.h - the daemon's side of podd-shim: the zygote that forks shims, and a connection to
 * each shim (proto/shim.proto).
 *
 * All calls are asynchronous: the callback runs on the loop, exactly once, also when the shim dies
 * (ERR_UNAVAILABLE), and never before the call has returned. Callbacks get a zeroed error on
 * success; those of calls answered by shim_done_fn may be NULL. A callback may free the object it
 * came from. shim_free() and zygote_free() end what is pending with ERR_CANCELLED before they
 * return; nothing is called afterwards.
 *
 * On disk, below the pod's run directory: `shim.sock`; `shim.log`, for the rare thing that the shim
 * can tell nobody else (usually empty); and `<container id>.exit` (a packed ContainerExit), written
 * by the shim before it reaps, removed by RemoveRequest. So an exit that happens while no daemon
 * runs is not lost, not even when the shim is gone too. A start that failed has a record as well,
 * with code 128, but no exit event.
 *
 * A shim ends by shim_shutdown() or SIGKILL only; it ignores all other signals. The cgroup that it
 * was put into (SpawnRequest.cgroup_path) is left for cgroup_destroy().
 */
#ifndef PODD_SHIM_H
#define PODD_SHIM_H

#include "podd/base.h"
#include "podd/runtime.h"

typedef Podd__Shim__SpawnRequest spawn_request_t;
typedef Podd__Shim__ExitInfo exit_info_t;

/* ---- Zygote ---------------------------------------------------------------------------------- */

/* The single-threaded helper process that forks shims, warm. It ends with the daemon's socket;
 * shims do not. A zygote that dies is started again by the next spawn. Many spawns may be under way
 * at once. */
struct zygote;
int zygote_start(struct loop *loop, const char *shim_path, struct zygote **ret, struct err *e)
    MUST_CHECK;
void zygote_free(struct zygote *z);

struct shim;

/* Events of one shim. None is called before shim_spawn/shim_connect called back. */
struct shim_events {
    /* The log is complete by now. Told again when the connection was lost and made anew. */
    void (*on_container_exit)(void *arg, const char *container_id, const exit_info_t *exit);
    /* The shim's process is gone and with it the pod's namespaces. Called once, last. */
    void (*on_gone)(void *arg);
};

typedef void shim_ready_fn(void *arg, struct shim *shim_take, const struct err *e);

/* Forks a shim for the request and connects to it. A failure leaves no process behind. A shim that
 * nobody connected to within 30 s, because the daemon died meanwhile, ends by itself. */
void shim_spawn(struct zygote *z, const spawn_request_t *request, const struct shim_events *events,
                void *events_arg, shim_ready_fn *fn, void *arg);
/* Connects to the shim of an earlier daemon's pod in `directory`, checks by pid, start time and
 * boot that it is still the same process. ERR_NOT_FOUND: it is gone. pid 0, when the daemon died
 * before it could write the number down: whoever listens there, if anybody does. The boot id is
 * for the caller to compare. */
void shim_connect(struct loop *loop, const char *directory, pid_t pid, uint64_t start_time,
                  const struct shim_events *events, void *events_arg, shim_ready_fn *fn, void *arg);
/* Closes the connection. The shim and its pod go on. */
void shim_free(struct shim *s);

pid_t shim_pid(const struct shim *s);
uint64_t shim_start_time(const struct shim *s);
int shim_netns(const struct shim *s);   /* borrowed; -1 when the pod uses the host's */
int shim_user_ns(const struct shim *s); /* the same */
/* The containers that the shim knew when the connection was made (for recovery). */
const Podd__Shim__InfoResponse *shim_info(const struct shim *s);

/* ---- Calls ----------------------------------------------------------------------------------- */

typedef void shim_done_fn(void *arg, const struct err *e);

/* mounts_take: detached mounts, for those of the spec that name a descriptor. */
#define SHIM_MOUNTS_MAX 15
void shim_create(struct shim *s, const container_spec_t *spec, int rootfs_fd_take,
                 const int *mounts_take, size_t n_mounts, shim_done_fn *fn, void *arg);
typedef void shim_started_fn(void *arg, pid_t pid, int64_t started_at, const struct err *e);
void shim_start(struct shim *s, const char *container_id, shim_started_fn *fn, void *arg);
/* `all`: every process in the container's cgroup, execs included. ERR_FAILED_PRECONDITION: it does
 * not run; when it did, its exit event has come or is about to. */
void shim_signal(struct shim *s, const char *container_id, int signo, bool all, shim_done_fn *fn,
                 void *arg);
/* A created or ended container. What is left in its cgroup is killed; ERR_DEADLINE_EXCEEDED when
 * that does not die within 5 s. ERR_NOT_FOUND: the shim knows no such container. */
void shim_remove(struct shim *s, const char *container_id, shim_done_fn *fn, void *arg);
void shim_reopen_log(struct shim *s, const char *container_id, shim_done_fn *fn, void *arg);
void shim_update(struct shim *s, const char *container_id, cgroup_write_t *const *writes,
                 size_t n_writes, shim_done_fn *fn, void *arg);
/* Kills what runs, removes the containers' cgroups and ends the shim; on_gone follows. Exit records
 * stay. ERR_DEADLINE_EXCEEDED after 10 s when a process does not die: the shim is still there. */
void shim_shutdown(struct shim *s, shim_done_fn *fn, void *arg);
void shim_resize(struct shim *s, const char *id, uint32_t width, uint32_t height, shim_done_fn *fn,
                 void *arg);
/* -1: not wanted. Stream sockets; the shim sends without waiting and drops a client that is more
 * than its socket's buffer (1 MiB) behind, which then reads the end of the stream. */
void shim_attach(struct shim *s, const char *container_id, int stdin_fd_take, int stdout_fd_take,
                 int stderr_fd_take, shim_done_fn *fn, void *arg);

/* An exec: on_start once (with the terminal's master when the spec has a tty, the caller's; else
 * -1); then, if that succeeded, on_exit once. */
struct shim_exec_events {
    void (*on_start)(void *arg, pid_t pid, int tty_master_take, const struct err *e);
    /* NULL exit: the shim or the connection to it is gone, and the exec is killed. */
    void (*on_exit)(void *arg, const exit_info_t *exit);
};
/* exec_id is chosen by the caller, unique among the shim's running execs. The stdio fds are taken;
 * -1 is an empty input, or the host's /dev/null for output. on_exit does not wait for what the
 * process left running: until its id is used again, shim_exec_kill() reaches that too
 * (ERR_NOT_FOUND: nothing is left). */
void shim_exec(struct shim *s, const char *container_id, const char *exec_id,
               const process_spec_t *process, const int stdio_take[3],
               const struct shim_exec_events *events, void *arg);
void shim_exec_kill(struct shim *s, const char *exec_id, shim_done_fn *fn, void *arg);

/* Reads the exit record of a container whose shim is gone. ERR_NOT_FOUND when there is none. */
int shim_read_exit(const char *directory, const char *container_id, exit_info_t **ret,
                   struct err *e) MUST_CHECK;

#endif
