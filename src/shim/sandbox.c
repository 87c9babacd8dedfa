/*
 * sandbox.c - a shim from its birth to its end.
 *
 * Born as a fork of the zygote (and once more, into its cgroup) it becomes, in a row of named
 * steps, the sandbox of one pod: a session of its own, nothing of the daemon's but the report
 * socket, its cgroup, the pod's namespaces, its socket. The last step reports; a failure of any
 * step is reported instead, and the shim ends with nothing left behind.
 *
 * All signals are blocked and only SIGCHLD is ever looked at, so that none but SIGKILL ends a
 * shim: a service manager that ends podd's processes with SIGTERM does not end the pods. When it is
 * killed, the kernel ends its containers (their parent-death signal).
 *
 * Standard error is `shim.log` in the pod's directory, for what cannot be told otherwise.
 */
#include <assert.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "exec.h"
#include "proc.h"
#include "sandbox.h"
#include "server.h"

enum { OOM_SCORE_ADJ = -998, SHUTDOWN_MS = 10000, SHUTDOWN_TICK_MS = 1 };

static void on_shutdown_tick(struct deadline *d);

/* ---- The steps of becoming one --------------------------------------------------------------- */

typedef int step_fn(struct sandbox *sb, const Podd__Shim__SpawnRequest *request, struct err *e);

static int detach(struct sandbox *sb, const Podd__Shim__SpawnRequest *request, struct err *e)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t all;

    /* The two that the zygote ignores: children of who ignores SIGCHLD cannot be waited for. */
    sigaction(SIGCHLD, &action, NULL);
    sigaction(SIGPIPE, &action, NULL);
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    umask(022);
    prctl(PR_SET_NAME, "podd-shim");
    if (setsid() < 0 || chdir("/") < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        return err_errno(e, errno, "detach from the daemon");
    return 0;
}

static int open_directory(struct sandbox *sb, const Podd__Shim__SpawnRequest *request,
                          struct err *e)
{
    sb->dir_fd = open(request->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (sb->dir_fd < 0)
        return err_errno(e, errno, "open the pod's directory %s", request->directory);
    _cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    _cleanup_close_ int log = openat(sb->dir_fd, "shim.log",
                                     O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (null < 0 || log < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
        dup2(log, STDERR_FILENO) < 0)
        return err_errno(e, errno, "open /dev/null and %s/shim.log", request->directory);
    return 0;
}

/* Goes on as a child that is born in the cgroup: for a process to move there by itself the kernel
 * waits 10 ms. Where this is not possible, cgroup_enter() moves it. */
static void be_born_again(struct cgroup *cg)
{
    struct clone_args args = {
        .flags = CLONE_INTO_CGROUP,
        .exit_signal = SIGCHLD,
        .cgroup = (uint64_t)cgroup_v2_fd(cg),
    };

    if (cgroup_v2_fd(cg) >= 0 && syscall(SYS_clone3, &args, sizeof(args)) > 0)
        _exit(0);
}

static int enter_cgroup(struct sandbox *sb, const Podd__Shim__SpawnRequest *request, struct err *e)
{
    struct cgroup *cg;

    if (str_empty(request->cgroup_path))
        return 0;
    if (cgroup_create(request->cgroup_path, NULL, 0, NULL, 0, &cg, e) < 0)
        return -1;
    be_born_again(cg);
    int r = cgroup_enter(cg, e);
    if (r < 0)
        cgroup_remove(cg);
    cgroup_free(cg); /* it stays; removed by the daemon when the shim is gone */
    return r;
}

/* Best effort: lowering it needs a privilege that not every host gives. */
static int protect_from_oom(struct sandbox *sb, const Podd__Shim__SpawnRequest *request,
                            struct err *e)
{
    _cleanup_close_ int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    char text[16];
    int64_t before = 0;

    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
    if (n <= 0)
        return 0;
    text[strcspn(text, "\n")] = '\0';
    if (parse_int(text, -1000, 1000, &before) < 0)
        return 0;
    int len = snprintf(text, sizeof(text), "%d", OOM_SCORE_ADJ);
    bool done = pwrite(fd, text, (size_t)len, 0) == len;
    /* A container that says nothing gets what the daemon has, but never more than usual. */
    sb->oom_score_adj = before > 0 ? (int)before : 0;
    sb->protected_from_oom = done || before < 0;
    return 0;
}

static int enter_namespaces(struct sandbox *sb, const Podd__Shim__SpawnRequest *request,
                            struct err *e)
{
    if (sandbox_enter(request, &sb->ns, e) < 0)
        return -1;
    sb->netns_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (sb->netns_fd < 0)
        return err_errno(e, errno, "open the pod's network namespace");
    return 0;
}

static int start_init(struct sandbox *sb, const Podd__Shim__SpawnRequest *request, struct err *e)
{
    return request->shared_pid ? sandbox_start_init(&sb->ns, &sb->init, e) : 0;
}

static int serve(struct sandbox *sb, const Podd__Shim__SpawnRequest *request, struct err *e)
{
    int r = poller_init(&sb->poller);

    if (r == 0)
        r = streams_hub_init(&sb->hub, &sb->poller);
    if (r == 0)
        r = reaper_start(sb);
    if (r < 0)
        return err_errno(e, r, "set up the event loop");
    return server_start(sb, e);
}

static step_fn *const steps[] = {
    enter_cgroup, detach, open_directory, protect_from_oom, enter_namespaces, start_init, serve,
};

static int become_sandbox(struct sandbox *sb, const Podd__Shim__SpawnRequest *request,
                          struct err *e)
{
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
        if (steps[i](sb, request, e) < 0)
            return -1;
    return 0;
}

/* ---- Reporting ------------------------------------------------------------------------------ */

/* 0, or -1 when nobody listens any more. */
static int report_failure(struct channel *ch, uint64_t call, const struct err *e)
{
    Podd__Shim__Failure failure = PODD__SHIM__FAILURE__INIT;

    failure.code = (int32_t)e->code;
    failure.message = (char *)err_text(e);
    envelope_t env = envelope_of(call, PODD__SHIM__ENVELOPE__BODY_FAILURE, &failure);
    channel_send(ch, &env, NULL, 0);
    return channel_flush(ch) == 0 ? 0 : -1;
}

static int report_success(struct sandbox *sb, struct channel *ch, uint64_t call, struct err *e)
{
    Podd__Shim__SpawnResponse response = PODD__SHIM__SPAWN_RESPONSE__INIT;
    int fds[2] = {pidfd_open(getpid(), 0), fd_dup(sb->netns_fd)};

    response.pid = getpid();
    int r = proc_start_time(getpid(), &response.start_time);
    if (fds[0] < 0 || fds[1] < 0 || r < 0) {
        fd_close(fds[0]);
        fd_close(fds[1]);
        return err_errno(e, r < 0 ? r : EMFILE, "describe the shim's process");
    }
    envelope_t env = envelope_of(call, PODD__SHIM__ENVELOPE__BODY_SPAWN_DONE, &response);
    channel_send(ch, &env, fds, ARRAY_SIZE(fds));
    if (channel_flush(ch) != 0)
        return err_set(e, ERR_UNAVAILABLE, "nobody waits for the shim any more");
    return 0;
}

/* ---- Life ----------------------------------------------------------------------------------- */

static void sandbox_init(struct sandbox *sb, const char *id)
{
    *sb = (struct sandbox){
        .id = xstrdup(id),
        .dir_fd = -1,
        .netns_fd = -1,
        .ns = {.host_mntns = -1, .user_ns = -1, .pid_ns = -1, .shm = -1},
        .init = PROCESS_NULL,
        .poller.epfd = -1,
        .sigchld = WATCH_NULL,
        .server = {.watch = WATCH_NULL, .fd = -1},
    };
    list_init(&sb->server.connections);
    list_init(&sb->ctrs);
    list_init(&sb->execs);
    deadline_init(&sb->shutdown_tick, on_shutdown_tick);
}

static void run(struct sandbox *sb)
{
    while (!sb->ended) {
        int r = poller_run(&sb->poller);
        if (r < 0) {
            log_error("shim", sb->id, "wait for events: %s", strerror(-r));
            return;
        }
        server_sweep(sb);
    }
}

int sandbox_main(struct message *message_take, int report_fd_take)
{
    const Podd__Shim__SpawnRequest *request = message_take->env->spawn;
    uint64_t call = message_take->env->call;
    _cleanup_err_ struct err e = ERR_INIT;
    struct sandbox sb;
    struct channel report;

    channel_init(&report, report_fd_take);
    sandbox_init(&sb, request->sandbox_id);
    bool ready = become_sandbox(&sb, request, &e) == 0;
    message_free(message_take);
    if (ready && report_success(&sb, &report, call, &e) < 0)
        ready = false;
    if (!ready)
        report_failure(&report, call, &e);
    channel_close(&report);
    if (ready)
        run(&sb);
    if (sb.poller.epfd >= 0)
        server_stop(&sb);
    if (sb.init.pid)
        pidfd_send_signal(sb.init.pidfd, SIGKILL, NULL, 0);
    return ready ? 0 : 1;
}

/* ---- Shutdown ------------------------------------------------------------------------------- */

/* The first container that is still there, killed or half removed. */
static struct ctr *find_leftover(struct sandbox *sb)
{
    list_for_each (it, &sb->ctrs) {
        struct ctr *c = container_of(it, struct ctr, link);
        if (c->state == CTR_RUNNING || c->state == CTR_DRAINING || !ctr_remove_cgroups(c))
            return c;
    }
    return NULL;
}

static void kill_all(struct sandbox *sb)
{
    list_for_each (it, &sb->ctrs)
        ctr_kill(container_of(it, struct ctr, link));
}

static void on_shutdown_tick(struct deadline *d)
{
    struct sandbox *sb = container_of(d, struct sandbox, shutdown_tick);
    struct ctr *leftover = find_leftover(sb);

    if (!leftover) {
        Podd__Shim__ShutdownResponse done = PODD__SHIM__SHUTDOWN_RESPONSE__INIT;
        server_answer(sb, sb->shutdown_reply, PODD__SHIM__ENVELOPE__BODY_SHUTDOWN_DONE, &done, NULL,
                      0);
        sb->ended = true;
        return;
    }
    if (time_mono_ns() < sb->shutdown_until) {
        kill_all(sb);
        deadline_start(&sb->poller, d, SHUTDOWN_TICK_MS);
        return;
    }
    _cleanup_err_ struct err e = ERR_INIT;
    err_set(&e, ERR_DEADLINE_EXCEEDED, "shut down pod %s: processes of container %s do not die",
            sb->id, leftover->id);
    sb->shutdown_until = 0; /* may be asked for again */
    server_answer_failure(sb, sb->shutdown_reply, &e);
}

void sandbox_shutdown(struct sandbox *sb, struct reply reply)
{
    sb->shutdown_reply = reply;
    sb->shutdown_until = time_mono_ns() + SHUTDOWN_MS * NS_PER_MS;
    kill_all(sb);
    deadline_start(&sb->poller, &sb->shutdown_tick, 0);
}
