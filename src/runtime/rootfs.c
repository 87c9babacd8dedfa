/*
 * Builds a container's mount tree, in the child, in a mount namespace of its own.
 *
 * The namespace starts as a copy of the pod's tree (podtree.c): one small tmpfs, not the hundreds
 * of mounts of the node, so copying and leaving it is cheap, and there is no host path in reach
 * that a mistake could lead to. The steps:
 *
 *   1. the root file system, a detached mount, is attached over "/"; the process's own root stays
 *      the pod's tree below it
 *   2. every mount of the spec in its order: the target is pinned inside the root file system by
 *      descriptor (mount-target.c), the mount, detached until then, attached to it (move_mount(2))
 *   3. devices, masked and read-only paths
 *   4. /proc and /sys are looked at: no link and no volume of the image may have taken their place
 *   5. the root read-only, if asked; then the process's root changes to it
 *
 * What remains below the new root is the pod's tree: read-only, with a null device, empty
 * directories and the pod's own /dev/shm, and out of reach unless the root is unmounted. Only a
 * container that could do that (CAP_SYS_ADMIN, or a user namespace of its own) is worth pivot_root
 * and a lazy unmount; both wait for RCU and for every task of the machine to be looked at, a tenth
 * to a fifth of the time of a start. It comes last, because pivot_root stacks the old root over the
 * new one, where a ".." in a path of the image would step into it.
 *
 * No path is ever given to mount(2), and nothing of it is visible in the node's mount table.
 */
#include "mount.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#include "sys.h"

/* The files of procfs that may be covered one by one (as lxcfs does). */
static const char *const proc_files[] = {
    "/proc/cpuinfo",  "/proc/diskstats", "/proc/loadavg", "/proc/meminfo",
    "/proc/slabinfo", "/proc/stat",      "/proc/swaps",   "/proc/uptime",
};

static bool is_kernel_kind(const mount_spec_t *m)
{
    return m->kind == PODD__SHIM__MOUNT__KIND__PROC || m->kind == PODD__SHIM__MOUNT__KIND__SYSFS;
}

/* The file system's magic number, 0 when the kernel does not say. */
static unsigned long fs_type(int fd)
{
    struct statfs fs;
    return fstatfs(fd, &fs) < 0 ? 0 : (unsigned long)fs.f_type;
}

/* ---- 1, 5: the root -------------------------------------------------------------------------- */

static int root_attach(int rootfs, struct err *e)
{
    if (move_mount(rootfs, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return err_errno(e, errno, "attach the root file system");
    return 0;
}

/* Could the container unmount its root, now or after it gained what its bounding set allows? */
static bool may_unmount(const container_spec_t *spec)
{
    const uint64_t admin = UINT64_C(1) << CAP_SYS_ADMIN;
    return spec->n_uid_maps || (spec->process->cap_bounding & admin);
}

static int root_change(const container_spec_t *spec, int rootfs, int pod_tree, struct err *e)
{
    if (fchdir(rootfs) < 0)
        return err_errno(e, errno, "enter the root file system");
    if (!may_unmount(spec)) {
        if (chroot(".") < 0 || chdir("/") < 0)
            return err_errno(e, errno, "make the root file system the root");
        return 0;
    }
    int r = sys_pivot_root(".", ".");
    if (r < 0)
        return err_errno(e, r, "make the root file system the root");
    if (fchdir(pod_tree) < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
        return err_errno(e, errno, "detach the pod's mount tree");
    return 0;
}

/* ---- 2: mounts ------------------------------------------------------------------------------- */

/* /proc and /sys decide what labels and masks end up on, so they may not be links. */
static int kernel_target_open(int root, const mount_spec_t *m, struct err *e)
{
    const char *path = m->target + strspn(m->target, "/");
    int fd = sys_openat2(root, path, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0,
                         RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
    if (fd == -ELOOP || fd == -ENOTDIR)
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "%s of the image is not a directory, or is reached through a link: refused",
                       m->target);
    return fd == -ENOENT ? mount_target_open(root, m->target, true, e)
           : fd < 0      ? err_errno(e, fd, "mount target %s", m->target)
                         : fd;
}

/* What is mounted over parts of procfs can fake what others read there, so only known files. */
static int proc_cover_check(const mount_spec_t *m, int mount, int target, struct err *e)
{
    bool over_proc = str_equal(m->target, "/proc");
    if (over_proc ? fs_type(mount) == PROC_SUPER_MAGIC : fs_type(target) != PROC_SUPER_MAGIC)
        return 0;
    for (size_t i = 0; i < ARRAY_SIZE(proc_files); i++)
        if (str_equal(m->target, proc_files[i]))
            return 0;
    return err_set(e, ERR_INVALID_ARGUMENT, "mount on %s: nothing may be mounted over procfs",
                   m->target);
}

static int target_open(int root, const mount_spec_t *m, int mount, bool is_dir, struct err *e)
{
    if (is_kernel_kind(m))
        return kernel_target_open(root, m, e);
    _cleanup_close_ int target = mount_target_open(root, m->target, is_dir, e);
    if (target < 0 || proc_cover_check(m, mount, target, e) < 0)
        return -1;
    return take_fd(&target);
}

/* v1: a directory of mount points out of the pod's tree, and on each the container's own
 * directory of that hierarchy. */
static int cgroup_v1_attach(const mount_spec_t *m, int mount, const struct mount_sources *sources,
                            struct err *e)
{
    const struct cgroup_layout *l = cgroup_layout();
    for (size_t i = 0; i < sources->n_cgroups; i++) {
        _cleanup_close_ int target =
            openat(mount, l->v1[i].name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int r = target < 0 ? -errno : sys_mount_onto(sources->cgroups[i], target);
        if (r < 0)
            return err_errno(e, r, "mount on %s/%s", m->target, l->v1[i].name);
    }
    int r = mount_attributes_set(mount, m->attributes, true);
    return r < 0 ? err_errno(e, r, "set the attributes of the mount on %s", m->target) : 0;
}

static int mount_make(const container_spec_t *spec, const mount_spec_t *m, bool cgroup_v1,
                      int pod_tree, struct err *e)
{
    if (cgroup_v1) {
        int fd = sys_open_tree(pod_tree, POD_TREE_CGROUP, OPEN_TREE_CLONE);
        return fd < 0 ? err_errno(e, fd, "mount on %s", m->target) : fd;
    }
    bool dev = m->kind == PODD__SHIM__MOUNT__KIND__TMPFS && str_equal(m->target, "/dev");
    return dev ? dev_make(spec, m, e) : fs_mount_spec(m, e);
}

static int mount_attach(const container_spec_t *spec, size_t i, int root, int pod_tree,
                        const struct mount_sources *sources, struct err *e)
{
    const mount_spec_t *m = spec->mounts[i];
    bool cgroup_v1 = m->kind == PODD__SHIM__MOUNT__KIND__CGROUP && sources->n_cgroups > 0;
    _cleanup_close_ int made = -1;
    int mount = sources->mounts[i];
    if (mount < 0)
        mount = made = mount_make(spec, m, cgroup_v1, pod_tree, e);
    if (mount < 0)
        return -1;
    _cleanup_close_ int target = target_open(root, m, mount, sources->is_dir[i], e);
    if (target < 0)
        return -1;
    int r = sys_mount_onto(mount, target);
    if (r < 0)
        return err_errno(e, r, "mount on %s", m->target);
    return cgroup_v1 ? cgroup_v1_attach(m, mount, sources, e) : 0;
}

/* ---- 4: the result --------------------------------------------------------------------------- */

static int kernel_mount_verify(int root, const mount_spec_t *m, struct err *e)
{
    const char *path = m->target + strspn(m->target, "/");
    _cleanup_close_ int fd = sys_openat2(root, path, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0,
                                         RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
    if (fd < 0)
        return err_errno(e, fd, "look at %s", m->target);
    bool proc = m->kind == PODD__SHIM__MOUNT__KIND__PROC;
    if (fs_type(fd) != (proc ? PROC_SUPER_MAGIC : SYSFS_MAGIC))
        return err_set(e, ERR_INVALID_ARGUMENT, "%s is hidden by another mount: refused",
                       m->target);
    return 0;
}

int rootfs_enter(const container_spec_t *spec, int rootfs, const struct mount_sources *sources,
                 struct err *e)
{
    _cleanup_close_ int pod_tree = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (pod_tree < 0)
        return err_errno(e, errno, "open the pod's mount tree");
    if (root_attach(rootfs, e) < 0)
        return -1;
    for (size_t i = 0; i < spec->n_mounts; i++)
        if (mount_attach(spec, i, rootfs, pod_tree, sources, e) < 0)
            return -1;
    if (devices_make(spec, rootfs, e) < 0 || paths_hide(spec, rootfs, pod_tree, e) < 0)
        return -1;
    for (size_t i = 0; i < spec->n_mounts; i++)
        if (is_kernel_kind(spec->mounts[i]) && kernel_mount_verify(rootfs, spec->mounts[i], e) < 0)
            return -1;
    if (spec->rootfs_readonly) {
        int r = mount_attributes_set(rootfs, MOUNT_ATTR_RDONLY, false);
        if (r < 0)
            return err_errno(e, r, "make the root file system read-only");
    }
    return root_change(spec, rootfs, pod_tree, e);
}
