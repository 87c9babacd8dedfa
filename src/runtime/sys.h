/*
 * System calls that the C library has no wrapper for, and constants that its headers lack. Each
 * wrapper returns a result or -errno.
 */
#ifndef RUNTIME_SYS_H
#define RUNTIME_SYS_H

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#ifndef MOUNT_ATTR_NOSYMFOLLOW
#define MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#endif
#ifndef CLONE_CLEAR_SIGHAND
#define CLONE_CLEAR_SIGHAND 0x100000000ULL
#endif
#ifndef CLONE_NEWCGROUP
#define CLONE_NEWCGROUP 0x02000000
#endif

static inline int sys_result(long r)
{
    return r < 0 ? -errno : (int)r;
}

static inline int sys_openat2(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned)flags | O_CLOEXEC, .mode = mode, .resolve = resolve};
    return sys_result(syscall(SYS_openat2, dirfd, path, &how, sizeof(how)));
}

/* Forks (no shared memory): 0 in the child. Only for single-threaded processes. */
static inline pid_t sys_clone3(struct clone_args *args)
{
    return sys_result(syscall(SYS_clone3, args, sizeof(*args)));
}

static inline int sys_pivot_root(const char *new_root, const char *put_old)
{
    return sys_result(syscall(SYS_pivot_root, new_root, put_old));
}

static inline int sys_pidfd_open(pid_t pid)
{
    return sys_result(syscall(SYS_pidfd_open, pid, 0));
}

static inline int sys_pidfd_send_signal(int pidfd, int signo)
{
    return sys_result(syscall(SYS_pidfd_send_signal, pidfd, signo, NULL, 0));
}

static inline int sys_close_range(unsigned first, unsigned last, unsigned flags)
{
    return sys_result(syscall(SYS_close_range, first, last, flags));
}

/* fd of a clone of the mount at path (detached), or -errno. */
static inline int sys_open_tree(int dirfd, const char *path, unsigned flags)
{
    return sys_result(open_tree(dirfd, path, flags | OPEN_TREE_CLOEXEC));
}

/* Attaches the detached mount onto what the fd `target` refers to. */
static inline int sys_mount_onto(int mount, int target)
{
    return sys_result(
        move_mount(mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH));
}

#endif
