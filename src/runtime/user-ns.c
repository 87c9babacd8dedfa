/*
 * Makes user namespaces.
 *
 * A user namespace is born with a process; that process is a fork which waits to be killed. Its id
 * maps are written from outside, by the shim with the node's privileges. Namespaces asked for in
 * the same clone belong to the new user namespace.
 *
 * The kernel makes no user namespace for a process whose root directory is not that of its mount
 * namespace, as a shim's is not; so it goes to the latter for the moment of the clone.
 */
#include "user-ns.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "sys.h"

static int maps_write(pid_t pid, const char *file, id_map_t *const *maps, size_t n, struct err *e)
{
    _cleanup_strbuf_ struct strbuf text = {0};
    for (size_t i = 0; i < n; i++)
        strbuf_addf(&text, "%u %u %u\n", maps[i]->container_id, maps[i]->host_id, maps[i]->length);
    if (!n)
        return err_set(e, ERR_INVALID_ARGUMENT, "a user namespace needs both uid and gid mappings");
    _cleanup_free_ char *path = xasprintf("/proc/%d/%s", (int)pid, file);
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, errno, "open %s", path);
    if (write(fd, text.data, text.len) != (ssize_t)text.len) {
        text.data[strcspn(text.data, "\n")] = '\0';
        err_errno(e, errno, "write the %s of a user namespace (%s...)", file, text.data);
        if (errno == EINVAL)
            e->code = ERR_INVALID_ARGUMENT;
        return -1;
    }
    return 0;
}

static _Noreturn void holder_main(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    for (;;)
        pause();
}

void user_ns_holder_end(struct process *holder)
{
    if (holder->pidfd < 0)
        return;
    siginfo_t info;
    sys_pidfd_send_signal(holder->pidfd, SIGKILL);
    while (waitid(P_PIDFD, (id_t)holder->pidfd, &info, WEXITED | __WALL) < 0 && errno == EINTR)
        ;
    fd_close(holder->pidfd);
    holder->pidfd = -1;
}

/* A pid, 0 in the child, or -errno. */
static pid_t clone_at_root(struct clone_args *args)
{
    _cleanup_close_ int own = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    _cleanup_close_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (own < 0 || root < 0 || setns(own, CLONE_NEWNS) < 0)
        return -errno;
    pid_t pid = sys_clone3(args);
    if (pid != 0 && (fchdir(root) < 0 || chroot(".") < 0 || chdir("/") < 0))
        abort(); /* no path would mean what it should */
    return pid;
}

int user_ns_holder_start(id_map_t *const *uid_maps, size_t n_uid_maps, id_map_t *const *gid_maps,
                         size_t n_gid_maps, uint64_t other_namespaces, struct process *ret,
                         struct err *e)
{
    struct process p = PROCESS_NULL;
    struct clone_args args = {.flags = CLONE_NEWUSER | CLONE_PIDFD | other_namespaces,
                              .pidfd = (uintptr_t)&p.pidfd,
                              .exit_signal = SIGCHLD};
    p.pid = clone_at_root(&args);
    if (p.pid == 0)
        holder_main();
    if (p.pid == -ENOSPC || p.pid == -EUSERS)
        return err_set(e, ERR_RESOURCE_EXHAUSTED,
                       "make a user namespace: the limit of user.max_user_namespaces is reached");
    if (p.pid < 0)
        return err_errno(e, p.pid, "make a user namespace");
    if (maps_write(p.pid, "uid_map", uid_maps, n_uid_maps, e) < 0 ||
        maps_write(p.pid, "gid_map", gid_maps, n_gid_maps, e) < 0) {
        user_ns_holder_end(&p);
        return -1;
    }
    *ret = p;
    return 0;
}

int user_ns_holder_open(const struct process *holder, struct err *e)
{
    _cleanup_free_ char *path = xasprintf("/proc/%d/ns/user", (int)holder->pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? err_errno(e, errno, "open the user namespace") : fd;
}

int user_ns_from_maps(id_map_t *const *uid_maps, size_t n_uid_maps, id_map_t *const *gid_maps,
                      size_t n_gid_maps, int *ret, struct err *e)
{
    struct process holder = PROCESS_NULL;
    if (user_ns_holder_start(uid_maps, n_uid_maps, gid_maps, n_gid_maps, 0, &holder, e) < 0)
        return -1;
    int fd = user_ns_holder_open(&holder, e);
    user_ns_holder_end(&holder);
    if (fd < 0)
        return -1;
    *ret = fd;
    return 0;
}

int user_ns_id_map(id_map_t *const *maps, size_t n, uint32_t id, uint32_t *ret, struct err *e)
{
    for (size_t i = 0; i < n; i++)
        if (id >= maps[i]->container_id && id - maps[i]->container_id < maps[i]->length) {
            *ret = maps[i]->host_id + (id - maps[i]->container_id);
            return 0;
        }
    if (n)
        return err_set(e, ERR_INVALID_ARGUMENT, "id %u is not in the pod's user namespace", id);
    *ret = id;
    return 0;
}

int user_ns_id_of(pid_t pid, const char *file, uint32_t id, uint32_t *ret, struct err *e)
{
    _cleanup_free_ char *path = xasprintf("/proc/%d/%s", (int)pid, file);
    FILE *f = fopen(path, "re");
    if (!f)
        return err_errno(e, errno, "open %s", path);
    uint32_t inside, outside, length;
    bool found = false;
    while (!found && fscanf(f, "%u %u %u", &inside, &outside, &length) == 3)
        found = id >= inside && id - inside < length;
    fclose(f);
    if (!found)
        return err_set(e, ERR_INVALID_ARGUMENT, "id %u is not in the pod's user namespace", id);
    *ret = outside + (id - inside);
    return 0;
}
