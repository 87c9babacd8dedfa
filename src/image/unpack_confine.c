/*
 * unpack_confine.c - makes the unpacker a process that can do nothing but build its tree.
 *
 * What it is about to parse comes from strangers, and the parser may have errors. So before the
 * first byte is read:
 *
 *   namespaces    Mounts, network, IPC and host name of its own; the network one is empty.
 *   root          A new tmpfs, read-only, in which there is nothing but a mount of the target
 *                 directory (no set-id, no devices, no programs). The host's tree is detached, so
 *                 ".." and absolute names end inside. Nothing of the image lies where libc might
 *                 look for a module to load.
 *   privileges    no_new_privs, not dumpable, and of the capabilities only those that give files
 *                 their owners, modes and attributes. Whiteouts need no CAP_MKNOD.
 *   limits        Memory, fds, file size, CPU time; no core, no new processes.
 *   system calls  An allow-list (unpack_seccomp.c); others kill.
 *
 * It dies with the thread of the daemon that started it.
 */
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "unpack.h"

#define TARGET "target"

/* A sanitizer's runtime reserves terabytes of addresses and makes system calls of its own: a build
 * for finding errors goes without the bound on memory and the allow-list. */
#ifdef __SANITIZE_ADDRESS__
#define IS_SANITIZED true
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0"; /* which would need a second process at exit */
}
#else
#define IS_SANITIZED false
#endif

static int fail(struct err *e, const char *what)
{
    return err_errno(e, errno, "confine the unpacker: %s", what);
}

/* ---- The new root ---------------------------------------------------------------------------- */

/* A detached copy of the mount of the working directory, with fewer rights. */
static int clone_target(int *ret_fd, struct err *e)
{
    struct mount_attr attr = {
        .attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
    };
    int fd = open_tree(AT_FDCWD, ".", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

    if (fd < 0)
        return fail(e, "open_tree of the target");
    if (mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0) {
        fail(e, "mount_setattr of the target");
        fd_close(fd);
        return -1;
    }
    *ret_fd = fd;
    return 0;
}

/* A tmpfs with one empty directory. Detached. */
static int make_root(int *ret_fd, struct err *e)
{
    _cleanup_close_ int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);

    if (fs < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "size", "64k", 0) < 0 ||
        fsconfig(fs, FSCONFIG_SET_STRING, "mode", "0700", 0) < 0 ||
        fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return fail(e, "make a tmpfs");
    _cleanup_close_ int fd =
        fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    if (fd < 0)
        return fail(e, "mount a tmpfs");
    if (mkdirat(fd, TARGET, 0700) < 0)
        return fail(e, "mkdir in the tmpfs");
    *ret_fd = take_fd(&fd);
    return 0;
}

static int enter_root(int *target_fd, struct err *e)
{
    struct mount_attr read_only = {.attr_set = MOUNT_ATTR_RDONLY};
    _cleanup_close_ int root = -1, target = -1;

    if (clone_target(&target, e) < 0 || make_root(&root, e) < 0)
        return -1;
    /* pivot_root(2) wants the new root attached somewhere; "/tmp" may be missing, "/" is there. */
    if (move_mount(root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return fail(e, "attach the tmpfs");
    if (move_mount(target, "", root, TARGET, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return fail(e, "attach the target");
    if (fchdir(root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
        return fail(e, "pivot_root");
    if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
        return fail(e, "detach the old root");
    if (mount_setattr(root, "", AT_EMPTY_PATH, &read_only, sizeof(read_only)) < 0)
        return fail(e, "make the root read-only");
    int fd = open("/" TARGET, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return fail(e, "open the target");
    fd_close(*target_fd);
    *target_fd = fd;
    return 0;
}

static int make_world(int *target_fd, struct err *e)
{
    /* An fd stays in the old mount namespace, the working directory comes along to the new one. */
    if (fchdir(*target_fd) < 0)
        return fail(e, "chdir to the target");
    if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) < 0)
        return fail(e, "unshare");
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return fail(e, "make the mounts private");
    return enter_root(target_fd, e);
}

/* ---- Privileges and limits ------------------------------------------------------------------- */

static const int KEPT[] = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_SETFCAP};

static bool is_kept(int cap)
{
    for (size_t i = 0; i < ARRAY_SIZE(KEPT); i++)
        if (KEPT[i] == cap)
            return true;
    return false;
}

static int drop_capabilities(struct err *e)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};

    for (int cap = 0; cap < 64; cap++)
        /* EINVAL: beyond the kernel's last one. */
        if (!is_kept(cap) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EINVAL)
            return fail(e, "drop capabilities");
    for (size_t i = 0; i < ARRAY_SIZE(KEPT); i++) {
        data[0].effective |= 1U << KEPT[i];
        data[0].permitted |= 1U << KEPT[i];
    }
    if (syscall(SYS_capset, &header, data) < 0)
        return fail(e, "capset");
    return 0;
}

static int set_limit(int resource, rlim_t value, struct err *e)
{
    struct rlimit old, new = {value, value};

    if (getrlimit(resource, &old) < 0)
        return fail(e, "getrlimit");
    /* Only ever lower: raising needs a privilege that not every host gives. */
    if (new.rlim_max > old.rlim_max)
        new.rlim_cur = new.rlim_max = old.rlim_max;
    if (setrlimit(resource, &new) < 0)
        return fail(e, "setrlimit");
    return 0;
}

static int set_limits(struct err *e)
{
    static const struct {
        int resource;
        rlim_t value;
    } LIMITS[] = {
        {RLIMIT_AS, 1UL << 30}, {RLIMIT_NOFILE, 512}, {RLIMIT_FSIZE, 64UL << 30},
        {RLIMIT_CPU, 3600},     {RLIMIT_CORE, 0},     {RLIMIT_NPROC, 0},
        {RLIMIT_MEMLOCK, 0},    {RLIMIT_MSGQUEUE, 0},
    };

    /* Too large a file is an error for us, not the end. */
    signal(SIGXFSZ, SIG_IGN);
    for (size_t i = IS_SANITIZED ? 1 : 0; i < ARRAY_SIZE(LIMITS); i++)
        if (set_limit(LIMITS[i].resource, LIMITS[i].value, e) < 0)
            return -1;
    return 0;
}

int confine_process(int *target_fd, struct err *e)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return fail(e, "prctl");
    umask(0);
    if (setgroups(0, NULL) < 0)
        return fail(e, "setgroups");
    if (make_world(target_fd, e) < 0 || set_limits(e) < 0 || drop_capabilities(e) < 0)
        return -1;
    return IS_SANITIZED ? 0 : confine_system_calls(e);
}
