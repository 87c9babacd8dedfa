/*
 * The pod's own mount tree.
 *
 * A shim needs a mount namespace that containers' namespaces are copied from. Were it a copy of
 * the node's, every start would copy and drop hundreds of mounts, every mount on the node would be
 * repeated in every pod, and each container would be built with the whole node in reach. So the
 * pod's namespace has one small, read-only tmpfs as its root:
 *
 *   null     character device 1:3, which hides masked files
 *   empty/   hides masked directories
 *   shm/     the pod's /dev/shm
 *   cgroup/  an empty directory per cgroup v1 hierarchy: where containers get theirs mounted
 *   proc/    only with a user namespace: the kernel lets its root mount a procfs only where one
 *            is in sight already
 *
 * Leaving the node's mounts behind costs 0.3 ms and a wait for RCU, so the zygote may do it once
 * for all its shims (sandbox_prepare): they then start from a namespace with nothing but an empty,
 * read-only tmpfs, and the pod's tree is put on top of that.
 *
 * The shim's root directory stays the node's, though the node's mounts are in another namespace:
 * a root directory is only a place, and lookups from it see the node's mounts as they are. So log
 * files and sockets are opened by their names on the node, now and after the node's mounts change.
 */
#include "sandbox.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "mount.h"
#include "sys.h"

static const uint64_t shm_size_default = 64ULL << 20;

/* "cpu" -> "cpu,cpuacct", as the node has it beside the directory. */
static int cgroup_links_make(int dirfd, const struct cgroup_hierarchy *h)
{
    for (size_t i = 0; strv_len(h->controllers) > 1 && i < strv_len(h->controllers); i++)
        if (symlinkat(h->name, dirfd, h->controllers[i]) < 0)
            return -errno;
    return 0;
}

static int cgroup_points_make(int tree)
{
    const struct cgroup_layout *l = cgroup_layout();
    _cleanup_close_ int dirfd = openat(tree, POD_TREE_CGROUP, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dirfd < 0)
        return -errno;
    for (size_t i = 0; i < l->n_v1; i++) {
        int r =
            mkdirat(dirfd, l->v1[i].name, 0555) < 0 ? -errno : cgroup_links_make(dirfd, &l->v1[i]);
        if (r < 0)
            return r;
    }
    return 0;
}

static int tree_fill(int tree)
{
    static const char *const dirs[] = {POD_TREE_EMPTY, POD_TREE_SHM, POD_TREE_PROC,
                                       POD_TREE_CGROUP};
    for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
        if (mkdirat(tree, dirs[i], i == 0 ? 0555 : 0755) < 0)
            return -errno;
    if (mknodat(tree, POD_TREE_NULL, S_IFCHR | 0666, makedev(1, 3)) < 0 ||
        fchmodat(tree, POD_TREE_NULL, 0666, 0) < 0)
        return -errno;
    return cgroup_points_make(tree);
}

/* Makes the tree the root of the current mount namespace, alone. */
static int tree_pivot(int tree)
{
    _cleanup_close_ int old = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (old < 0)
        return -errno;
    /* What is unmounted below must not be unmounted on the node. */
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        move_mount(tree, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0 || fchdir(tree) < 0)
        return -errno;
    int r = sys_pivot_root(".", ".");
    if (r < 0)
        return r;
    return fchdir(old) < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0 ? -errno : 0;
}

/* Puts the tree on the root of the current mount namespace, which is a copy of the zygote's. */
static int tree_stack(int tree)
{
    _cleanup_close_ int own = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    if (own < 0 || setns(own, CLONE_NEWNS) < 0 ||
        move_mount(tree, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return -errno;
    return 0;
}

static int root_return(int node_root)
{
    return fchdir(node_root) < 0 || chroot(".") < 0 || chdir("/") < 0 ? -errno : 0;
}

int node_mounts_leave(struct err *e)
{
    _cleanup_close_ int node_root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    const char *step;
    _cleanup_close_ int empty =
        fs_mount("tmpfs", "mode=0555,size=4k,nr_inodes=1", MOUNT_ATTR_RDONLY, &step);
    if (node_root < 0 || empty < 0)
        return err_errno(e, empty < 0 ? empty : errno, "%s an empty file system", step);
    if (unshare(CLONE_NEWNS) < 0)
        return err_errno(e, errno, "make a mount namespace");
    int r = tree_pivot(empty);
    if (r == 0)
        r = root_return(node_root);
    return r < 0 ? err_errno(e, r, "leave the node's mounts") : 0;
}

static int submount(int tree, const char *name, const char *type, const char *data, struct err *e)
{
    const char *step;
    _cleanup_close_ int mount =
        fs_mount(type, data, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, &step);
    if (mount < 0)
        return err_errno(e, mount, "%s the pod's %s", step, name);
    _cleanup_close_ int target = openat(tree, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int r = target < 0 ? -errno : sys_mount_onto(mount, target);
    return r < 0 ? err_errno(e, r, "mount the pod's %s", name) : take_fd(&mount);
}

static int shm_mount(const Podd__Shim__SpawnRequest *request, int tree, struct err *e)
{
    char data[96];
    uint64_t size = request->shm_size ? request->shm_size : shm_size_default;
    uint32_t uid = request->n_uid_maps ? request->uid_maps[0]->host_id : 0;
    uint32_t gid = request->n_gid_maps ? request->gid_maps[0]->host_id : 0;
    snprintf(data, sizeof(data), "mode=1777,size=%llu,uid=%u,gid=%u", (unsigned long long)size, uid,
             gid);
    return submount(tree, POD_TREE_SHM, "tmpfs", data, e);
}

int pod_tree_enter(const Podd__Shim__SpawnRequest *request, int node_root, bool prepared,
                   int *ret_shm, struct err *e)
{
    const char *step;
    _cleanup_close_ int tree = fs_mount("tmpfs", "mode=0755,size=64k", MOUNT_ATTR_NOSUID, &step);
    if (tree < 0)
        return err_errno(e, tree, "%s the pod's mount tree", step);
    mode_t mask = umask(0);
    int r = tree_fill(tree);
    umask(mask);
    if (r == 0)
        r = prepared ? tree_stack(tree) : tree_pivot(tree);
    if (r < 0)
        return err_errno(e, r, "set the pod's mount tree up");

    _cleanup_close_ int shm = -1, proc = -1;
    if (!request->host_ipc && (shm = shm_mount(request, tree, e)) < 0)
        return -1;
    if (request->n_uid_maps && (proc = submount(tree, POD_TREE_PROC, "proc", "", e)) < 0)
        return -1;
    r = mount_attributes_set(tree, MOUNT_ATTR_RDONLY, false);
    if (r < 0)
        return err_errno(e, r, "make the pod's mount tree read-only");
    r = root_return(node_root);
    if (r < 0)
        return err_errno(e, r, "go back to the node's root directory");
    *ret_shm = take_fd(&shm);
    return 0;
}
