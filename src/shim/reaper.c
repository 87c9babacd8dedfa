/*
 * reaper.c - waits for every child: first processes of containers, execs, the pod's PID 1, and
 * orphans that fall to the shim as their subreaper.
 *
 * A child is looked at first and reaped afterwards (WNOWAIT): while it is a zombie its number
 * cannot be another's, and the exit record of a container is on disk before the last trace of it
 * disappears from the process table. Then it is reaped at once, for the next look would find the
 * same child again.
 */
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "exec.h"

static struct ctr *ctr_by_pid(struct sandbox *sb, pid_t pid)
{
    list_for_each (it, &sb->ctrs) {
        struct ctr *c = container_of(it, struct ctr, link);
        if (c->process.pid == pid)
            return c;
    }
    return NULL;
}

static struct exec_run *exec_by_pid(struct sandbox *sb, pid_t pid)
{
    list_for_each (it, &sb->execs) {
        struct exec_run *x = container_of(it, struct exec_run, link);
        if (x->process.pid == pid)
            return x;
    }
    return NULL;
}

static void reap(pid_t pid)
{
    while (waitid(P_PID, (id_t)pid, NULL, WEXITED | __WALL | WNOHANG) < 0 && errno == EINTR)
        ;
}

static void child_ended(struct sandbox *sb, const siginfo_t *si)
{
    int32_t signo = si->si_code == CLD_EXITED ? 0 : si->si_status;
    int32_t code = signo ? 128 + signo : si->si_status;
    struct ctr *c = ctr_by_pid(sb, si->si_pid);
    struct exec_run *x = c ? NULL : exec_by_pid(sb, si->si_pid);

    if (c)
        ctr_ended(c, code, signo);
    reap(si->si_pid);
    /* Its cgroup can only be removed after that. */
    if (x)
        exec_ended(x, code, signo);
    if (si->si_pid == sb->init.pid) {
        fd_close(take_fd(&sb->init.pidfd));
        sb->init.pid = 0;
    }
}

static void on_sigchld(struct watch *w, uint32_t events)
{
    struct sandbox *sb = container_of(w, struct sandbox, sigchld);
    struct signalfd_siginfo ignored;

    /* One signal may stand for many children. */
    while (read(w->fd, &ignored, sizeof(ignored)) > 0)
        ;
    for (;;) {
        siginfo_t si = {0};
        int r = waitid(P_ALL, 0, &si, WEXITED | WNOHANG | WNOWAIT | __WALL);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0 || si.si_pid == 0)
            return;
        child_ended(sb, &si);
    }
}

int reaper_start(struct sandbox *sb)
{
    sigset_t chld;

    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    int fd = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return -errno;
    return watch_add(&sb->poller, &sb->sigchld, fd, EPOLLIN, on_sigchld);
}
