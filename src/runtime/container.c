/*
 * Starting containers and execs: which namespaces a process is born into and which it joins. How
 * a process is made out of a fork is child.c, the mount tree rootfs.c.
 */
#include "child.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "mount.h"
#include "sys.h"
#include "user-ns.h"

struct container_build {
    const container_spec_t *spec;
    const struct mount_sources *sources;
    int rootfs;
};

/* Goes to the root of the calling process's mount namespace. Its root directory may be elsewhere:
 * a shim's is the node's. */
static int mntns_root_enter(struct err *e)
{
    _cleanup_close_ int ns = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    if (ns < 0 || setns(ns, CLONE_NEWNS) < 0)
        return err_errno(e, errno, "enter the new mount namespace");
    return 0;
}

static int container_enter(struct child *c, struct err *e)
{
    const struct container_build *b = c->arg;
    int flags = CLONE_NEWNS | (b->spec->cgroup_namespace ? CLONE_NEWCGROUP : 0);
    if (unshare(flags) < 0)
        return err_errno(e, errno, "make the mount namespace");
    umask(0);
    if (mntns_root_enter(e) < 0)
        return -1;
    return rootfs_enter(b->spec, b->rootfs, b->sources, e);
}

/* Which PID namespace the container is born into. */
static int pid_ns_choose(const container_spec_t *spec, const struct pod_namespaces *ns,
                         int pid_target_pidfd, struct child *c, struct err *e)
{
    switch (spec->pid_mode) {
    case PODD__SHIM__PID_MODE__PID_OWN:
        c->new_pid_ns = true;
        return 0;
    case PODD__SHIM__PID_MODE__PID_HOST:
        return 0;
    case PODD__SHIM__PID_MODE__PID_POD:
        c->pid_ns = ns->pid_ns;
        return c->pid_ns >= 0
                   ? 0
                   : err_set(e, ERR_FAILED_PRECONDITION, "the pod has no shared PID namespace");
    case PODD__SHIM__PID_MODE__PID_TARGET:
        c->pid_ns = pid_target_pidfd;
        return c->pid_ns >= 0 ? 0
                              : err_set(e, ERR_FAILED_PRECONDITION,
                                        "container %s, whose PID namespace is wanted, does not run",
                                        spec->pid_target);
    case _PODD__SHIM__PID_MODE_IS_INT_SIZE:
        break;
    }
    return err_set(e, ERR_INVALID_ARGUMENT, "PID mode %d is unknown", (int)spec->pid_mode);
}

int container_start(const container_spec_t *spec, const struct pod_namespaces *ns, int rootfs_fd,
                    struct mount_sources *sources, struct cgroup *cg, int pid_target_pidfd,
                    const struct process_io *io, struct process *ret, struct err *e)
{
    struct container_build build = {.spec = spec, .sources = sources, .rootfs = rootfs_fd};
    struct child c = {.process = spec->process,
                      .io = io,
                      .cg = cg,
                      .pid_ns = -1,
                      .user_ns = ns->user_ns,
                      .enter = container_enter,
                      .arg = &build,
                      .is_init = true};
    if (!spec->process)
        return err_set(e, ERR_INVALID_ARGUMENT, "start container: it has no process");
    if (sources->count != spec->n_mounts)
        return err_set(e, ERR_INTERNAL, "start container: %zu mounts, %zu sources", spec->n_mounts,
                       sources->count);
    int r = pid_ns_choose(spec, ns, pid_target_pidfd, &c, e);
    if (r == 0)
        r = user_ns_id_map(spec->uid_maps, spec->n_uid_maps, c.process->uid, &c.stdio_uid, e);
    if (r == 0)
        r = user_ns_id_map(spec->gid_maps, spec->n_gid_maps, c.process->gid, &c.stdio_gid, e);
    if (r == 0)
        r = mount_sources_add_cgroup(sources, spec, ns, cg, e);
    if (r == 0)
        r = child_start(&c, ret, e);
    /* A descriptor of a mount keeps its file system busy: the container holds them now. */
    mount_sources_close(sources);
    return r < 0 ? err_wrap(e, "start container") : 0;
}

/* ---- Exec ------------------------------------------------------------------------------------ */

static int exec_enter(struct child *c, struct err *e)
{
    const struct process *init = c->arg;
    if (setns(init->pidfd, CLONE_NEWNS | CLONE_NEWCGROUP) < 0)
        return errno == ESRCH
                   ? err_set(e, ERR_FAILED_PRECONDITION, "the container does not run any more")
                   : err_errno(e, errno, "enter the container's namespaces");
    umask(0);
    return 0;
}

int container_exec(const process_spec_t *spec, const struct process *init,
                   const struct pod_namespaces *ns, struct cgroup *leaf,
                   const struct process_io *io, struct process *ret, struct err *e)
{
    struct child c = {.process = spec,
                      .io = io,
                      .cg = leaf,
                      .pid_ns = init->pidfd,
                      .user_ns = ns->user_ns,
                      .stdio_uid = spec->uid,
                      .stdio_gid = spec->gid,
                      .enter = exec_enter,
                      .arg = (void *)init};
    int r = 0;
    if (ns->user_ns >= 0)
        r = user_ns_id_of(init->pid, "uid_map", spec->uid, &c.stdio_uid, e);
    if (r == 0 && ns->user_ns >= 0)
        r = user_ns_id_of(init->pid, "gid_map", spec->gid, &c.stdio_gid, e);
    if (r == 0)
        r = child_start(&c, ret, e);
    cgroup_return_shared(leaf);
    return r < 0 ? err_wrap(e, "exec in container") : 0;
}
