/*
 * ctr.c - one container, from its spec to its removal (states: ctr_state.h).
 *
 * What belongs to it: a cgroup, made with the container and removed with it; until the start its
 * spec, root file system and opened mount sources; while it runs its process and streams; from its
 * end on the exit record on disk.
 *
 * The end, in this order: reaper.c sees that the first process ended; what the cgroup still holds
 * is killed where no PID namespace does that; the exit record is written; the process is reaped;
 * output is read to its end, for a second at most (somebody else may hold the pipe); the exit is
 * told. So whoever hears of the exit finds the log complete, and when the shim dies in between the
 * record is there.
 */
#include <assert.h>
#include <signal.h>
#include <sys/pidfd.h>

#include "ctr.h"
#include "exec.h"
#include "exit_record.h"
#include "server.h"

enum {
    START_FAILED_CODE = 128, /* as other CRI runtimes have it */
    TICK_MS = 5,
    DRAIN_MS = 1000,
    REMOVE_MS = 5000,
    REMOVE_DELAY_MAX_MS = 32,
    RECORD_RETRY_MS = 1000,
};

static void on_streams_end(struct streams *io);
static void on_drain_tick(struct deadline *d);
static void on_remove_tick(struct deadline *d);
static void on_record_retry(struct deadline *d);

/* ---- Finding -------------------------------------------------------------------------------- */

struct ctr *ctr_find(struct sandbox *sb, const char *id)
{
    list_for_each (it, &sb->ctrs) {
        struct ctr *c = container_of(it, struct ctr, link);
        if (str_equal(c->id, id))
            return c;
    }
    return NULL;
}

struct ctr *ctr_get(struct sandbox *sb, const char *id, enum ctr_op op, struct err *e)
{
    struct ctr *c = ctr_find(sb, id);

    if (!c) {
        err_set(e, ERR_NOT_FOUND, "pod %s has no container %s", sb->id, id);
        return NULL;
    }
    if (c->removing) {
        err_set(e, ERR_FAILED_PRECONDITION, "container %s is being removed", id);
        return NULL;
    }
    return ctr_state_check(c->state, op, id, e) < 0 ? NULL : c;
}

/* ---- Making --------------------------------------------------------------------------------- */

static void forget_spec(struct ctr *c)
{
    mount_sources_free(take_ptr(c->sources));
    fd_close(take_fd(&c->rootfs_fd));
    c->spec = NULL;
    message_free(take_ptr(c->message));
}

static void ctr_free(struct ctr *c)
{
    list_remove(&c->link);
    deadline_stop(&c->leaf_tick);
    deadline_stop(&c->drain_tick);
    deadline_stop(&c->record_retry);
    deadline_stop(&c->remove_tick);
    streams_close(&c->streams);
    forget_spec(c);
    cgroup_free(c->cgroup);
    fd_close(c->process.pidfd);
    free(c->id);
    free(c);
}

static int check_spec(struct sandbox *sb, const container_spec_t *spec, struct err *e)
{
    if (!spec || !spec->process)
        return err_set(e, ERR_INVALID_ARGUMENT, "create: the container has no process");
    if (!exit_record_id_ok(spec->id))
        return err_set(e, ERR_INVALID_ARGUMENT, "create: \"%s\" is not a container id", spec->id);
    if (ctr_find(sb, spec->id))
        return err_set(e, ERR_ALREADY_EXISTS, "container %s exists already", spec->id);
    if (spec->log_line_max > LOG_LINE_MAX)
        return err_set(e, ERR_INVALID_ARGUMENT, "log lines of %u bytes: the most is %d",
                       spec->log_line_max, LOG_LINE_MAX);
    if (spec->log_size_max && spec->log_files_max < 2)
        return err_set(e, ERR_INVALID_ARGUMENT, "a log that is rotated needs two files or more");
    if (!str_empty(spec->log_path) && spec->log_path[0] != '/')
        return err_set(e, ERR_INVALID_ARGUMENT, "log path \"%s\" is not absolute", spec->log_path);
    return 0;
}

/* Who does not ask for a value must not get the shim's own protection. */
static void complete_oom_score_adj(struct ctr *c, process_spec_t *process)
{
    if (!process->set_oom_score_adj && c->sb->protected_from_oom) {
        process->set_oom_score_adj = true;
        process->oom_score_adj = c->sb->oom_score_adj;
        process->oom_score_adj_best_effort = true;
    }
    c->set_oom_score_adj = process->set_oom_score_adj;
    c->oom_score_adj = process->oom_score_adj;
}

static struct ctr *ctr_new(struct sandbox *sb, const container_spec_t *spec)
{
    struct ctr *c = xnew(struct ctr);

    list_init(&c->link);
    c->sb = sb;
    c->id = xstrdup(spec->id);
    c->state = CTR_CREATED;
    c->pid_mode = spec->pid_mode;
    c->rootfs_fd = -1;
    c->process = (struct process)PROCESS_NULL;
    podd__shim__exit_info__init(&c->exit);
    streams_init(&c->streams, &sb->hub, on_streams_end);
    deadline_init(&c->leaf_tick, exec_leaf_tick);
    deadline_init(&c->drain_tick, on_drain_tick);
    deadline_init(&c->record_retry, on_record_retry);
    deadline_init(&c->remove_tick, on_remove_tick);
    complete_oom_score_adj(c, spec->process);
    return c;
}

int ctr_create(struct sandbox *sb, const container_spec_t *spec, struct message *message_take,
               int rootfs_fd_take, const int *mounts, size_t n_mounts, struct err *e)
{
    struct cgroup *cgroup;

    if (check_spec(sb, spec, e) < 0)
        return -1;
    /* Some clients leave the mode of a pod and of its containers to different defaults. */
    if (spec->pid_mode == PODD__SHIM__PID_MODE__PID_POD && sb->ns.pid_ns < 0 &&
        sandbox_start_init(&sb->ns, &sb->init, e) < 0)
        return -1;
    if (cgroup_create(spec->cgroup_path, spec->cgroup_writes, spec->n_cgroup_writes,
                      spec->device_rules, spec->n_device_rules, &cgroup, e) < 0)
        return -1;
    struct ctr *c = ctr_new(sb, spec);
    c->cgroup = cgroup;
    if (mount_sources_open(spec, &sb->ns, mounts, n_mounts, &c->sources, e) < 0) {
        cgroup_remove(c->cgroup);
        ctr_free(c);
        return -1;
    }
    c->message = message_take;
    c->spec = spec;
    c->rootfs_fd = rootfs_fd_take;
    list_append(&sb->ctrs, &c->link);
    return 0;
}

/* ---- Starting ------------------------------------------------------------------------------- */

/* The pidfd of the container whose PID namespace it joins; -1 when it joins none. */
static int find_pid_target(struct ctr *c, int *ret, struct err *e)
{
    *ret = -1;
    if (c->pid_mode != PODD__SHIM__PID_MODE__PID_TARGET)
        return 0;
    struct ctr *target = ctr_find(c->sb, c->spec->pid_target);
    if (!target || target->state != CTR_RUNNING)
        return err_set(e, ERR_FAILED_PRECONDITION,
                       "container %s, whose processes container %s wants to see, does not run",
                       c->spec->pid_target, c->id);
    *ret = target->process.pidfd;
    return 0;
}

static int start_process(struct ctr *c, struct err *e)
{
    struct process_io io;
    int target;

    if (find_pid_target(c, &target, e) < 0 || streams_open(&c->streams, c->spec, &io, e) < 0 ||
        container_start(c->spec, &c->sb->ns, c->rootfs_fd, c->sources, c->cgroup, target, &io,
                        &c->process, e) < 0)
        return -1;
    if (streams_started(&c->streams, e) < 0) {
        /* It runs, and nobody could read what it says. The reaper finds nothing that belongs to
         * this process later, and reaps it. */
        ctr_kill(c);
        fd_close(take_fd(&c->process.pidfd));
        c->process.pid = 0;
        return -1;
    }
    return 0;
}

static void write_record(struct ctr *c)
{
    _cleanup_err_ struct err e = ERR_INIT;

    if (exit_record_write(c->sb->dir_fd, c->id, &c->exit, &e) == 0)
        return;
    log_error("shim", c->id, "%s", err_text(&e));
    deadline_start(&c->sb->poller, &c->record_retry, RECORD_RETRY_MS);
}

static void on_record_retry(struct deadline *d)
{
    write_record(container_of(d, struct ctr, record_retry));
}

int ctr_start(struct ctr *c, struct err *e)
{
    if (start_process(c, e) == 0) {
        c->state = ctr_state_next(c->state, CTR_STARTED);
        c->started = true;
        c->started_at = time_now_ns();
        forget_spec(c);
        return 0;
    }
    c->state = ctr_state_next(c->state, CTR_START_FAILED);
    c->exit.code = START_FAILED_CODE;
    c->exit.finished_at = time_now_ns();
    write_record(c);
    streams_close(&c->streams);
    forget_spec(c);
    return -1;
}

int ctr_signal(struct ctr *c, int signo, bool all, struct err *e)
{
    int r;

    if (signo < 1 || signo > SIGRTMAX)
        return err_set(e, ERR_INVALID_ARGUMENT, "there is no signal %d", signo);
    if (all)
        r = cgroup_signal(c->cgroup, signo);
    else
        r = pidfd_send_signal(c->process.pidfd, signo, NULL, 0) < 0 ? -errno : 0;
    if (r == -ESRCH)
        return 0; /* it has ended by itself; the reaper hears of it next */
    return r < 0 ? err_errno(e, r, "send signal %d to container %s", signo, c->id) : 0;
}

void ctr_kill(struct ctr *c)
{
    int r = cgroup_signal(c->cgroup, SIGKILL);

    if (r < 0 && r != -ESRCH)
        log_error("shim", c->id, "kill what runs in its cgroup: %s", strerror(-r));
    if (c->process.pid)
        pidfd_send_signal(c->process.pidfd, SIGKILL, NULL, 0);
}

/* ---- Ending --------------------------------------------------------------------------------- */

static bool has_own_pid_namespace(const struct ctr *c)
{
    return c->pid_mode == PODD__SHIM__PID_MODE__PID_OWN;
}

void ctr_ended(struct ctr *c, int32_t code, int32_t signo)
{
    fd_close(take_fd(&c->process.pidfd));
    c->process.pid = 0;
    if (!has_own_pid_namespace(c))
        ctr_kill(c);
    c->exit.code = code;
    c->exit.signal = signo;
    c->exit.oom_killed = cgroup_oom_killed(c->cgroup);
    c->exit.finished_at = time_now_ns();
    write_record(c);

    c->state = ctr_state_next(c->state, CTR_ENDED);
    streams_stopped(&c->streams);
    c->drain_until = time_mono_ns() + DRAIN_MS * NS_PER_MS;
    deadline_start(&c->sb->poller, &c->drain_tick, 0);
}

static void tell_exit(struct ctr *c)
{
    Podd__Shim__ContainerExit event = PODD__SHIM__CONTAINER_EXIT__INIT;

    streams_close(&c->streams);
    deadline_stop(&c->drain_tick);
    c->state = ctr_state_next(c->state, CTR_DRAINED);
    event.id = c->id;
    event.exit = &c->exit;
    server_send_event(c->sb, PODD__SHIM__ENVELOPE__BODY_CONTAINER_EXIT, &event);
}

/* Its output has ended, and nothing of it runs? */
static bool is_drained(struct ctr *c)
{
    return streams_has_ended(&c->streams) &&
           (has_own_pid_namespace(c) || cgroup_is_empty(c->cgroup));
}

static void on_drain_tick(struct deadline *d)
{
    struct ctr *c = container_of(d, struct ctr, drain_tick);

    if (is_drained(c)) {
        tell_exit(c);
    } else if (time_mono_ns() >= c->drain_until) {
        streams_drain(&c->streams);
        tell_exit(c);
    } else {
        deadline_start(&c->sb->poller, d, TICK_MS);
    }
}

static void on_streams_end(struct streams *io)
{
    struct ctr *c = container_of(io, struct ctr, streams);

    if (c->state == CTR_DRAINING && is_drained(c))
        tell_exit(c);
}

/* ---- Removing ------------------------------------------------------------------------------- */

bool ctr_remove_cgroups(struct ctr *c)
{
    return exec_remove_leaves(c) && cgroup_remove(c->cgroup) == 0;
}

static void answer_removed(struct ctr *c)
{
    Podd__Shim__RemoveResponse done = PODD__SHIM__REMOVE_RESPONSE__INIT;
    _cleanup_err_ struct err e = ERR_INIT;

    c->removing = false;
    if (exit_record_remove(c->sb->dir_fd, c->id, &e) < 0) {
        server_answer_failure(c->sb, c->remove_reply, &e);
        return;
    }
    server_answer(c->sb, c->remove_reply, PODD__SHIM__ENVELOPE__BODY_REMOVE_DONE, &done, NULL, 0);
    ctr_free(c);
}

static void on_remove_tick(struct deadline *d)
{
    struct ctr *c = container_of(d, struct ctr, remove_tick);

    if (ctr_remove_cgroups(c)) {
        answer_removed(c);
        return;
    }
    if (time_mono_ns() < c->remove_until) {
        ctr_kill(c);
        deadline_start(&c->sb->poller, d, c->remove_delay_ms);
        c->remove_delay_ms =
            c->remove_delay_ms < REMOVE_DELAY_MAX_MS ? c->remove_delay_ms * 2 : REMOVE_DELAY_MAX_MS;
        return;
    }
    _cleanup_err_ struct err e = ERR_INIT;
    err_set(&e, ERR_DEADLINE_EXCEEDED,
            "remove container %s: processes are left in its cgroup that do not die", c->id);
    c->removing = false;
    server_answer_failure(c->sb, c->remove_reply, &e);
}

void ctr_remove(struct ctr *c, struct reply reply)
{
    c->removing = true;
    c->remove_reply = reply;
    c->remove_delay_ms =
        1; /* the kernel may take a moment to let go of a process that was reaped */
    c->remove_until = time_mono_ns() + REMOVE_MS * NS_PER_MS;
    on_remove_tick(&c->remove_tick);
}
