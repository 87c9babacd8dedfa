/*
 * The PID 1 of a pod whose containers share their PID namespace.
 *
 * A fork of the shim that drops everything and sleeps for ever. Orphans are reaped by the kernel,
 * because SIGCHLD is ignored, so the process never wakes up and needs no code. It has no
 * privileges, no descriptors, and the pod's read-only tree as its root, since a container with
 * enough capabilities can look at it. It dies with the shim, and the kernel then ends all others
 * in the namespace.
 */
#include "child.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>

#include "sys.h"

static int privileges_drop(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {0};
    if (syscall(SYS_capset, &header, none) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return -errno;
    return prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 ? -errno : 0;
}

/* Comes back only on failure. */
static int pod_init_become(struct child *c, struct err *e)
{
    /* The pod's mount namespace is the node's user namespace's; with another a copy is needed. */
    if (c->user_ns >= 0 && unshare(CLONE_NEWNS) < 0)
        return err_errno(e, errno, "make a mount namespace");
    _cleanup_close_ int tree = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    if (tree < 0 || setns(tree, CLONE_NEWNS) < 0)
        return err_errno(e, errno, "enter the pod's mount tree");
    struct sigaction ignore = {.sa_handler = SIG_IGN, .sa_flags = SA_NOCLDWAIT};
    if (sigaction(SIGCHLD, &ignore, NULL) < 0 || setsid() < 0)
        return err_errno(e, errno, "set the pod's PID 1 up");
    prctl(PR_SET_NAME, "pod-init", 0, 0, 0);
    int r = privileges_drop();
    if (r < 0)
        return err_errno(e, r, "drop the privileges of the pod's PID 1");
    r = report_ready(c->report);
    if (r < 0)
        return err_errno(e, r, "report to the shim");
    sys_close_range(0, ~0U, 0);
    for (;;)
        pause();
}

int sandbox_start_init(struct pod_namespaces *ns, struct process *ret, struct err *e)
{
    process_spec_t none = PODD__SHIM__PROCESS_SPEC__INIT;
    struct process_io io = {.stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};
    struct child c = {.process = &none,
                      .io = &io,
                      .pid_ns = -1,
                      .new_pid_ns = true,
                      .user_ns = ns->user_ns,
                      .enter = pod_init_become};
    struct process p = PROCESS_NULL;
    if (child_start(&c, &p, e) < 0)
        return err_wrap(e, "start the pod's PID 1");
    _cleanup_free_ char *path = xasprintf("/proc/%d/ns/pid", (int)p.pid);
    int pid_ns = open(path, O_RDONLY | O_CLOEXEC);
    if (pid_ns < 0) {
        err_errno(e, errno, "open the pod's PID namespace");
        process_discard(&p);
        return -1;
    }
    ns->pid_ns = pid_ns;
    *ret = p;
    return 0;
}
