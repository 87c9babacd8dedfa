/*
 * Starts one process of a container: the part that a container's first process and its execs
 * have in common.
 *
 *   parent (shim)                      child
 *   ------------------------------     ---------------------------------------------------------
 *   clone3 into the cgroup        -->  not dumpable, signals at their defaults
 *                                      v1 cgroups, oom_score_adj
 *                                      user namespace (and, with a new PID namespace in it, a
 *                                      second clone3 whose parent is the shim too)
 *                                      descriptor for the LSM label
 *                                      enter(): other namespaces, mount tree
 *                                 <--  master of the terminal, if any
 *                                      session, stdio, directory, limits, identity, filter
 *                                 <--  ready
 *   socket closed by execve       <--  execve
 *
 * The child is a fork with its own memory, not a vfork: sharing the shim's memory would save
 * 50 us, but the kernel's OOM killer takes all who share the memory of its victim, and a setting
 * such as "not dumpable" belongs to the memory. As the parent has one thread, the child may
 * allocate and use the C library; what it finds goes back as the finished sentence.
 *
 * Until execve the child's /proc/PID/exe is podd's own program and its descriptors are the shim's.
 * It is not dumpable from before it enters any namespace of the container, so nobody inside can
 * look at either.
 */
#include "child.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include <linux/magic.h>

#include "sys.h"

enum { START_TIMEOUT_MS = 60000, REAP_TIMEOUT_MS = 2000 };

/* ---- Child ----------------------------------------------------------------------------------- */

/* Handlers are at their defaults since clone3. It leaves ignored what is ignored: a shim ignores no
 * signal, it blocks them. */
static void signals_unblock(void)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Opens a file of /proc/self on the node's procfs, before anything of the container is in sight. */
static int proc_self_open(const char *name, struct err *e)
{
    _cleanup_free_ char *path = xasprintf("/proc/self/%s", name);
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
    struct statfs fs;
    if (fd < 0 || fstatfs(fd, &fs) < 0)
        return err_errno(e, errno, "open %s", path);
    if (fs.f_type != PROC_SUPER_MAGIC)
        return err_set(e, ERR_FAILED_PRECONDITION, "%s is not on a proc file system", path);
    return take_fd(&fd);
}

static int oom_score_adj_set(const process_spec_t *p, struct err *e)
{
    if (!p->set_oom_score_adj)
        return 0;
    _cleanup_close_ int fd = proc_self_open("oom_score_adj", e);
    if (fd < 0)
        return -1;
    char text[16];
    int len = snprintf(text, sizeof(text), "%d", p->oom_score_adj);
    int r = fd_write_all(fd, text, (size_t)len);
    if ((r == -EACCES || r == -EPERM) && p->oom_score_adj_best_effort)
        return 0;
    if (r == -EACCES || r == -EPERM)
        return err_set(e, ERR_PERMISSION_DENIED,
                       "set oom_score_adj to %s: lowering it needs CAP_SYS_RESOURCE, which podd "
                       "has not; restrict_oom_score_adj in podd.yaml keeps the current value",
                       text);
    return r < 0 ? err_errno(e, r, "set oom_score_adj to %s", text) : 0;
}

/* The label is written last, but its file must be opened while /proc is the node's, and by this
 * very process: the kernel refuses a write by another one, its own child included. */
static int lsm_open(struct child *c, struct err *e)
{
    c->lsm_exec = -1;
    if (str_empty(c->process->apparmor_profile) && str_empty(c->process->selinux_label))
        return 0;
    bool apparmor = !str_empty(c->process->apparmor_profile);
    if (apparmor && access("/proc/self/attr/apparmor/exec", F_OK) == 0)
        c->lsm_exec = proc_self_open("attr/apparmor/exec", e);
    else
        c->lsm_exec = proc_self_open("attr/exec", e);
    return c->lsm_exec < 0 ? -1 : 0;
}

/* Descriptors 0, 1 and 2 are about to be replaced: what is needed moves out of their way. */
static int fd_move_up(int *fd)
{
    if (*fd < 0 || *fd > 2)
        return 0;
    *fd = fcntl(*fd, F_DUPFD_CLOEXEC, 3);
    return *fd < 0 ? -errno : 0;
}

/* A program that runs as another user may open /dev/stdout anew only when the pipe is its own. */
static int pipe_give(const struct child *c, int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISFIFO(st.st_mode))
        return 0;
    return fchown(fd, c->stdio_uid, c->stdio_gid) < 0 ? -errno : 0;
}

static int stdio_prepare(struct child *c, struct err *e)
{
    const int io[3] = {c->io->stdin_fd, c->io->stdout_fd, c->io->stderr_fd};
    for (int i = 0; i < 3 && !c->process->tty; i++) {
        c->stdio[i] = io[i];
        if (fd_move_up(&c->stdio[i]) < 0)
            return err_errno(e, errno, "move descriptor %d", i);
        int r = pipe_give(c, c->stdio[i]);
        if (r < 0)
            return err_errno(e, r, "give descriptor %d to user %u", i, c->process->uid);
    }
    return fd_move_up(&c->report) < 0 ? err_errno(e, errno, "move the report's descriptor") : 0;
}

static int child_begin(struct child *c, struct err *e)
{
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return err_errno(e, errno, "become undumpable");
    signals_unblock();
    if (stdio_prepare(c, e) < 0)
        return -1;
    if (oom_score_adj_set(c->process, e) < 0)
        return -1;
    return c->cg ? cgroup_enter_v1(c->cg, e) : 0;
}

/* Becomes root of the user namespace. A PID namespace belongs to the user namespace it was made
 * from, so with a new one this process steps back for a second child of the shim. */
static int user_ns_enter(struct child *c, struct err *e)
{
    if (setns(c->user_ns, CLONE_NEWUSER) < 0)
        return err_errno(e, errno, "enter the pod's user namespace");
    if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
        return err_errno(e, errno, "become root of the pod's user namespace");
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (!c->new_pid_ns)
        return 0;
    struct clone_args args = {.flags = CLONE_PARENT | CLONE_NEWPID}; /* exit signal: inherited */
    pid_t pid = sys_clone3(&args);
    if (pid < 0)
        return err_errno(e, pid, "make the PID namespace");
    if (pid > 0)
        _exit(report_pid(c->report, pid) < 0);
    return 0;
}

static _Noreturn void child_main(struct child *c)
{
    _cleanup_err_ struct err e = ERR_INIT;
    if (child_begin(c, &e) < 0 || (c->user_ns >= 0 && user_ns_enter(c, &e) < 0) ||
        lsm_open(c, &e) < 0 || c->enter(c, &e) < 0 || process_become(c, &e) < 0)
        report_failure(c->report, &e);
    _exit(127);
}

/* ---- Parent ---------------------------------------------------------------------------------- */

/* Clones, the child being born into c->pid_ns. A pid (0 in the child) or -errno. */
static pid_t clone_into(const struct child *c, int *ret_pidfd)
{
    struct clone_args args = {.flags = CLONE_PIDFD | CLONE_CLEAR_SIGHAND,
                              .pidfd = (uintptr_t)ret_pidfd,
                              .exit_signal = SIGCHLD};
    if (c->new_pid_ns && c->user_ns < 0)
        args.flags |= CLONE_NEWPID;
    if (c->cg && c->cg->v2 >= 0) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (uint64_t)c->cg->v2;
    }
    if (c->pid_ns < 0)
        return sys_clone3(&args);

    _cleanup_close_ int own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
    if (own < 0 || setns(c->pid_ns, CLONE_NEWPID) < 0)
        return -errno;
    pid_t pid = sys_clone3(&args);
    if (pid != 0 && setns(own, CLONE_NEWPID) < 0)
        abort(); /* the next child would be born into somebody's container */
    return pid;
}

void process_discard(struct process *p)
{
    sys_pidfd_send_signal(p->pidfd, SIGKILL);
    struct pollfd poll_fd = {.fd = p->pidfd, .events = POLLIN};
    if (poll(&poll_fd, 1, REAP_TIMEOUT_MS) == 1) {
        siginfo_t info;
        waitid(P_PIDFD, (id_t)p->pidfd, &info, WEXITED | WNOHANG | __WALL);
    }
    fd_close(p->pidfd);
    p->pidfd = -1;
}

/* The first child of a user namespace start ended; the second is the process. */
static int process_replace(struct process *p, pid_t second, struct err *e)
{
    process_discard(p);
    p->pid = second;
    p->pidfd = sys_pidfd_open(second);
    return p->pidfd < 0 ? err_errno(e, p->pidfd, "open process %d", (int)second) : 0;
}

/* It is gone without a word: how did it end? */
static int death_tell(const struct process *p, struct err *e)
{
    siginfo_t info = {0};
    if (waitid(P_PIDFD, (id_t)p->pidfd, &info, WEXITED | WNOWAIT | __WALL) == 0 &&
        (info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED))
        return err_set(e, ERR_UNKNOWN,
                       "the new process was killed by signal %d (%s) before execve%s",
                       info.si_status, strsignal(info.si_status),
                       info.si_status == SIGKILL  ? ": is the memory limit too low?"
                       : info.si_status == SIGSYS ? ": the seccomp profile forbids what is needed "
                                                    "to start a program"
                                                  : "");
    return err_set(e, ERR_INTERNAL, "the new process ended before execve");
}

int child_start(struct child *c, struct process *ret, struct err *e)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return err_errno(e, errno, "make a socket pair");
    _cleanup_close_ int parent_end = pair[0], child_end = pair[1];

    struct process p = PROCESS_NULL;
    p.pid = clone_into(c, &p.pidfd);
    if (p.pid == 0) {
        fd_close(take_fd(&parent_end));
        c->report = take_fd(&child_end);
        child_main(c);
    }
    /* ENOMEM is what the kernel says of a PID namespace whose first process died. */
    if ((p.pid == -ENOMEM || p.pid == -ESRCH) && c->pid_ns >= 0)
        return err_set(e, ERR_FAILED_PRECONDITION,
                       "the container whose PID namespace is wanted does not run any more");
    if (p.pid < 0)
        return err_errno(e, p.pid, "clone");
    fd_close(take_fd(&child_end));

    struct report report = {.terminal = -1};
    int r = report_read(parent_end, START_TIMEOUT_MS, &report, e);
    if (report.pid > 0 && process_replace(&p, report.pid, e) < 0)
        r = -1;
    if (r == 0 && !report.ready)
        r = death_tell(&p, e);
    if (r < 0) {
        fd_close(report.terminal);
        process_discard(&p);
        return -1;
    }
    if (c->io->ret_tty_master)
        *c->io->ret_tty_master = report.terminal;
    *ret = p;
    return 0;
}
