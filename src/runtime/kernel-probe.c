/*
 * Finds out by trying which kernel features are there. A call with arguments that cannot work tells
 * a kernel that has it (EINVAL, EBADF, EFAULT) from one that has not (ENOSYS); nothing is changed.
 */
#include "podd/runtime.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <sys/utsname.h>

#include "cgroup-layout.h"
#include "sys.h"

static bool known(long result)
{
    return result >= 0 || errno != ENOSYS;
}

static bool clone3_known(void)
{
    return known(syscall(SYS_clone3, NULL, 0));
}

static bool pidfd_known(void)
{
    _cleanup_close_ int fd = sys_pidfd_open(getpid());
    return fd >= 0;
}

static bool mount_api_known(void)
{
    return known(fsopen(NULL, 0)) && known(open_tree(-1, "", AT_EMPTY_PATH)) &&
           known(mount_setattr(-1, "", AT_EMPTY_PATH, NULL, 0));
}

/* An attribute that the kernel does not know is EINVAL, one that it knows gets as far as the
 * descriptor. */
static bool mount_attribute_known(uint64_t attribute)
{
    struct mount_attr attr = {.attr_set = attribute, .userns_fd = INT_MAX};
    return mount_setattr(-1, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) < 0 &&
           errno == EBADF;
}

static bool kernel_at_least(int major, int minor)
{
    struct utsname name;
    int a = 0, b = 0;
    return uname(&name) == 0 && sscanf(name.release, "%d.%d", &a, &b) == 2 &&
           (a > major || (a == major && b >= minor));
}

/* Layers of an overlay can be mapped since 5.19, file systems in memory, of which nearly every pod
 * has a volume, since 6.3. */
static bool mapped_mounts_usable(int major, int minor)
{
    return access("/proc/self/ns/user", F_OK) == 0 && mount_attribute_known(MOUNT_ATTR_IDMAP) &&
           kernel_at_least(major, minor);
}

static bool seccomp_known(void)
{
    uint32_t action = SECCOMP_RET_ERRNO;
    return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

/* Opening the type loads its module. */
static bool overlayfs_known(void)
{
    _cleanup_close_ int fd = sys_result(fsopen("overlay", FSOPEN_CLOEXEC));
    return fd >= 0;
}

/* The root has no cgroup.kill, so the first child is asked; without one, the version. */
static bool cgroup_kill_known(void)
{
    int root = cgroup_layout()->v2_root_fd;
    int fd = root < 0 ? -1 : openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        fd_close(fd);
        return false;
    }
    bool found = kernel_at_least(5, 14);
    for (struct dirent *d; (d = readdir(dir));) {
        if (d->d_type != DT_DIR || d->d_name[0] == '.')
            continue;
        _cleanup_free_ char *path = xasprintf("%s/cgroup.kill", d->d_name);
        found = faccessat(root, path, F_OK, 0) == 0;
        break;
    }
    closedir(dir);
    return found;
}

static bool apparmor_enabled(void)
{
    char text[4] = "";
    int fd = open("/sys/module/apparmor/parameters/enabled", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
    fd_close(fd);
    return n > 0 && text[0] == 'Y';
}

int kernel_probe(struct kernel_features *ret, struct err *e)
{
    if (geteuid() != 0)
        return err_set(e, ERR_PERMISSION_DENIED, "podd must run as root");
    int openat2_fd = sys_openat2(AT_FDCWD, "/", O_PATH, 0, 0);
    fd_close(openat2_fd);
    struct kernel_features f = {
        .openat2 = openat2_fd >= 0,
        .clone3 = clone3_known(),
        .pidfd = pidfd_known(),
        .mount_api = mount_api_known(),
        .seccomp_filter = seccomp_known(),
        .overlayfs = overlayfs_known(),
        .idmapped_mounts = mount_attribute_known(MOUNT_ATTR_IDMAP),
        .mapped_layers = mapped_mounts_usable(5, 19),
        .user_namespaces = mapped_mounts_usable(6, 3),
        .recursive_read_only = mount_attribute_known(MOUNT_ATTR_RDONLY),
        .cgroup_kill = cgroup_kill_known(),
        .apparmor = apparmor_enabled(),
        .selinux = access("/sys/fs/selinux/enforce", F_OK) == 0,
    };
    const struct {
        bool there;
        const char *what;
    } needed[] = {
        {f.openat2, "openat2 (Linux 5.6)"},
        {f.clone3, "clone3 (Linux 5.3)"},
        {f.pidfd, "pidfds (Linux 5.3)"},
        {f.mount_api, "the mount API with mount_setattr (Linux 5.12)"},
        {f.seccomp_filter, "seccomp filters (CONFIG_SECCOMP_FILTER)"},
        {f.overlayfs, "overlayfs (CONFIG_OVERLAY_FS, or CAP_SYS_ADMIN is missing)"},
        {cgroup_layout()->n_v1 > 0 || cgroup_layout()->v2_root_fd >= 0,
         "a mounted cgroup hierarchy (mount -t cgroup2 cgroup2 /sys/fs/cgroup)"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
        if (!needed[i].there)
            return err_set(e, ERR_FAILED_PRECONDITION, "this kernel lacks %s", needed[i].what);
    *ret = f;
    return 0;
}
