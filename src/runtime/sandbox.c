/*
 * Turns the calling process, a fresh fork of the zygote, into the pod's sandbox.
 *
 * The process itself moves into the pod's network, IPC and UTS namespaces, so that they live as
 * long as it does. It stays in the node's PID and user namespace: it has the node's privileges and
 * is the one who makes things that a container may not. With a user namespace the others must
 * belong to it; they are born together with a short-lived process inside and joined from outside.
 */
#include "sandbox.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/keyctl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "sys.h"
#include "user-ns.h"

static int namespaces_of(const Podd__Shim__SpawnRequest *request)
{
    return (request->host_network ? 0 : CLONE_NEWNET) | (request->host_ipc ? 0 : CLONE_NEWIPC) |
           (request->host_uts ? 0 : CLONE_NEWUTS);
}

/* *ret_user_ns: -1 for the node's. */
static int namespaces_enter(const Podd__Shim__SpawnRequest *request, int *ret_user_ns,
                            struct err *e)
{
    int flags = namespaces_of(request);
    if (!request->n_uid_maps && !request->n_gid_maps) {
        if (unshare(flags | CLONE_NEWNS) < 0)
            return err_errno(e, errno, "make the pod's namespaces");
        return 0;
    }
    struct process holder = PROCESS_NULL;
    if (user_ns_holder_start(request->uid_maps, request->n_uid_maps, request->gid_maps,
                             request->n_gid_maps, (uint64_t)flags, &holder, e) < 0)
        return -1;
    _cleanup_close_ int user_ns = user_ns_holder_open(&holder, e);
    int r = user_ns < 0 ? -1 : 0;
    if (r == 0 && flags && setns(holder.pidfd, flags) < 0)
        r = err_errno(e, errno, "enter the pod's namespaces");
    if (r == 0 && unshare(CLONE_NEWNS) < 0)
        r = err_errno(e, errno, "make the pod's mount namespace");
    user_ns_holder_end(&holder);
    if (r == 0)
        *ret_user_ns = take_fd(&user_ns);
    return r;
}

/* The addresses of the loopback link come by themselves once it is up. */
static int loopback_up(struct err *e)
{
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
        return err_errno(e, errno, "bring the pod's loopback link up");
    return 0;
}

static int hostname_set(const Podd__Shim__SpawnRequest *request, struct err *e)
{
    if (request->host_uts || str_empty(request->hostname))
        return 0;
    if (sethostname(request->hostname, strlen(request->hostname)) < 0)
        return err_errno(e, errno, "set the hostname to \"%s\"", request->hostname);
    return 0;
}

/* Nothing of a pod may see the keys of whoever started podd. */
static int keyring_leave(struct err *e)
{
    if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) < 0 && errno != ENOSYS)
        return err_errno(e, errno, "make a session keyring for the pod");
    return 0;
}

/* The node's mount namespace, kept by sandbox_prepare() for the forks of the process; else -1. */
static int prepared_from = -1;

int sandbox_prepare(struct err *e)
{
    cgroup_mode(); /* probes while the node's mount table is the process's own */
    _cleanup_close_ int node = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    if (node < 0)
        return err_errno(e, errno, "open the node's mount namespace");
    if (node_mounts_leave(e) < 0)
        return -1;
    prepared_from = take_fd(&node);
    return 0;
}

int sandbox_enter(const Podd__Shim__SpawnRequest *request, struct pod_namespaces *ret,
                  struct err *e)
{
    if (sysctls_check(request, e) < 0)
        return -1;
    cgroup_mode();
    bool prepared = prepared_from >= 0;
    _cleanup_close_ int host_mntns =
        prepared ? fd_dup(prepared_from) : open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    _cleanup_close_ int node_root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (host_mntns < 0 || node_root < 0)
        return err_errno(e, errno, "open the node's mount namespace");
    _cleanup_close_ int user_ns = -1, shm = -1;
    if (namespaces_enter(request, &user_ns, e) < 0 || keyring_leave(e) < 0 ||
        hostname_set(request, e) < 0)
        return -1;
    if (!request->host_network && loopback_up(e) < 0)
        return -1;
    if (sysctls_apply(request, e) < 0 || pod_tree_enter(request, node_root, prepared, &shm, e) < 0)
        return -1;
    *ret = (struct pod_namespaces){.host_mntns = take_fd(&host_mntns),
                                   .user_ns = take_fd(&user_ns),
                                   .pid_ns = -1,
                                   .shm = take_fd(&shm)};
    return 0;
}
