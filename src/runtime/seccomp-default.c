/*
 * The default system call filter: a list of what ordinary programs need; the rest is refused.
 *
 * Left out are calls that change the machine rather than the container (modules, clocks, mounts,
 * swap), that open large parts of the kernel few programs use (bpf, io_uring, userfaultfd, perf,
 * keys, kexec), and that are long dead. Some come back with the capability that the kernel asks for
 * anyway. Sockets are limited to the families that containers use, which leaves out the kernel's
 * crypto interface (AF_ALG) and the way to the hypervisor (AF_VSOCK).
 *
 * A known call that is refused fails with EPERM, an unknown one with ENOSYS. clone3 fails with
 * ENOSYS too, since a filter cannot see its flags: the C library then uses clone. On x86-64 32-bit
 * programs work, but for socketcall, whose arguments a filter cannot see either; the x32 interface
 * does not exist.
 */
#include "seccomp-filter.h"

#include <inttypes.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

/* Words, to be split at blanks. */
static const char allowed[] =
    /* files */
    "access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 "
    "faccessat faccessat2 fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 fchown "
    "fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fremovexattr fsetxattr "
    "fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futimesat getcwd "
    "getdents getdents64 getxattr lchown lchown32 lgetxattr link linkat listxattr llistxattr "
    "_llseek lremovexattr lseek lsetxattr lstat lstat64 mkdir mkdirat mknod mknodat "
    "name_to_handle_at newfstatat _newselect oldfstat oldlstat oldstat open openat openat2 pread64 "
    "preadv preadv2 pwrite64 pwritev pwritev2 read readahead readdir readlink readlinkat readv "
    "removexattr rename renameat renameat2 rmdir sendfile sendfile64 setxattr splice stat stat64 "
    "statfs statfs64 statx symlink symlinkat sync sync_file_range sync_file_range2 syncfs tee "
    "truncate truncate64 umask unlink unlinkat utime utimensat utimensat_time64 utimes vmsplice "
    "write writev "
    /* watching and waiting */
    "epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait "
    "epoll_wait_old eventfd eventfd2 fanotify_mark inotify_add_watch inotify_init inotify_init1 "
    "inotify_rm_watch poll ppoll ppoll_time64 pselect6 pselect6_time64 select signalfd signalfd4 "
    "timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 "
    "io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit "
    /* memory */
    "brk cachestat madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock "
    "mlock2 mlockall mmap mmap2 mprotect mremap mseal msync munlock munlockall munmap pkey_alloc "
    "pkey_free pkey_mprotect process_mrelease remap_file_pages shmat shmctl shmdt shmget "
    /* processes and threads */
    "alarm arch_prctl capget capset clone execve execveat exit exit_group fork futex futex_requeue "
    "futex_time64 futex_wait futex_waitv futex_wake get_robust_list get_thread_area getcpu getegid "
    "getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getpgid getpgrp getpid "
    "getppid getpriority getresgid getresgid32 getresuid getresuid32 getrlimit getrusage getsid "
    "gettid getuid getuid32 ioprio_get ioprio_set kill landlock_add_rule landlock_create_ruleset "
    "landlock_restrict_self modify_ldt nice pause pidfd_open pidfd_send_signal prctl prlimit64 "
    "process_vm_readv process_vm_writev ptrace restart_syscall rseq rt_sigaction rt_sigpending "
    "rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait "
    "rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min "
    "sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval "
    "sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam "
    "sched_setscheduler sched_yield seccomp set_robust_list set_thread_area set_tid_address "
    "setfsgid "
    "setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setpgid setpriority "
    "setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit "
    "setsid setuid setuid32 sigaction sigaltstack signal sigpending sigprocmask sigreturn "
    "sigsuspend "
    "tgkill tkill ugetrlimit unshare vfork wait4 waitid waitpid "
    /* time */
    "adjtimex clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime "
    "clock_gettime64 clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep "
    "setitimer time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 "
    "timer_settime timer_settime64 times "
    /* talking to each other */
    "accept accept4 bind connect getpeername getsockname getsockopt ipc listen mq_getsetattr "
    "mq_notify "
    "mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink "
    "msgctl msgget msgrcv msgsnd pipe pipe2 recv recvfrom recvmmsg recvmmsg_time64 recvmsg semctl "
    "semget semop semtimedop semtimedop_time64 send sendmmsg sendmsg sendto setsockopt shutdown "
    "socketpair "
    /* the rest */
    "getrandom ioctl oldolduname olduname sysinfo uname "
    /* of other machines */
    "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush riscv_flush_icache "
    "s390_pci_mmio_read "
    "s390_pci_mmio_write s390_runtime_instr set_tls swapcontext sys_debug_setcontext";

/* mseal, setxattrat, getxattrat, listxattrat and removexattrat are newer than the libseccomp of
 * some distributions; the numbers are the same on all architectures. */
enum { ALLOWED_NEW_FIRST = 462, ALLOWED_NEW_LAST = 466 };

static const struct {
    unsigned cap;
    const char *names;
} by_capability[] = {
    {CAP_BPF, "bpf"},
    {CAP_DAC_READ_SEARCH, "open_by_handle_at"},
    {CAP_PERFMON, "perf_event_open"},
    {CAP_SYSLOG, "syslog"},
    {CAP_SYS_ADMIN,
     "bpf clone3 fanotify_init fsconfig fsmount fsopen fspick listmount lookup_dcookie mount "
     "mount_setattr move_mount open_tree perf_event_open pivot_root quotactl quotactl_fd "
     "setdomainname sethostname setns statmount syslog umount umount2"},
    {CAP_SYS_BOOT, "reboot"},
    {CAP_SYS_CHROOT, "chroot"},
    {CAP_SYS_MODULE, "delete_module finit_module init_module"},
    {CAP_SYS_NICE, "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"},
    {CAP_SYS_PACCT, "acct"},
    {CAP_SYS_PTRACE, "kcmp pidfd_getfd process_madvise"},
    {CAP_SYS_RAWIO, "ioperm iopl"},
    {CAP_SYS_TIME, "clock_settime clock_settime64 settimeofday stime"},
    {CAP_SYS_TTY_CONFIG, "vhangup"},
};

static const uint64_t socket_families[] = {AF_UNIX,   AF_INET, AF_INET6, AF_NETLINK,
                                           AF_PACKET, AF_KEY,  AF_CAN,   AF_XDP};

/* Values of personality(2): Linux, UNAME26, and 32-bit x86 with both; the query. */
static const uint64_t personalities[] = {0x0, 0x8, 0x20000, 0x20008, 0xffffffff};

#define CLONE_NAMESPACES                                                                           \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |  \
     CLONE_NEWNET)

static const struct seccomp_guard guards[] = {
    /* Typing into a terminal that somebody else reads. */
    {.syscall = "ioctl", .arg = 1, .bits = TIOCSTI, .equal = true},
    {.syscall = "ioctl", .arg = 1, .bits = TIOCLINUX, .equal = true},
    /* Only without CAP_SYS_ADMIN: */
    {.syscall = "clone", .arg = 0, .bits = CLONE_NAMESPACES},
    {.syscall = "unshare", .arg = 0, .bits = CLONE_NAMESPACES | CLONE_NEWTIME},
};
enum { GUARDS_ALWAYS = 2 };

static void allow_names(struct seccomp_table *t, const char *names)
{
    _cleanup_free_ char *copy = xstrdup(names);
    char *rest = copy;
    for (char *name; (name = strsep(&rest, " "));)
        if (*name)
            seccomp_table_add(t, name, SCMP_ACT_ALLOW);
}

/* Allows a call when its first argument is one of the values. */
static int allow_values(struct seccomp_table *t, const char *name, const uint64_t *values, size_t n,
                        struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        const struct scmp_arg_cmp arg = SCMP_A0(SCMP_CMP_EQ, values[i]);
        if (seccomp_table_add_args(t, name, SCMP_ACT_ALLOW, &arg, 1, e) < 0)
            return -1;
    }
    return 0;
}

static void allow_by_capability(struct seccomp_table *t, uint64_t caps)
{
    for (size_t i = 0; i < ARRAY_SIZE(by_capability); i++)
        if (caps & (UINT64_C(1) << by_capability[i].cap))
            allow_names(t, by_capability[i].names);
}

static int default_rules(struct seccomp_table *t, uint64_t caps, struct err *e)
{
    bool admin = caps & (UINT64_C(1) << CAP_SYS_ADMIN);
    t->unknown_enosys = true;
    t->foreign_action = SCMP_ACT_ERRNO(ENOSYS);
    t->guards = guards;
    t->n_guards = admin ? GUARDS_ALWAYS : ARRAY_SIZE(guards);
    if (seccomp_arch_native() == SCMP_ARCH_X86_64 &&
        seccomp_table_add_arch(t, SCMP_ARCH_X86, e) < 0)
        return -1;
    allow_names(t, allowed);
    allow_by_capability(t, caps);
    if (allow_values(t, "socket", socket_families, ARRAY_SIZE(socket_families), e) < 0 ||
        allow_values(t, "personality", personalities, ARRAY_SIZE(personalities), e) < 0)
        return -1;
    for (uint32_t number = ALLOWED_NEW_FIRST; number <= ALLOWED_NEW_LAST; number++)
        seccomp_table_add_number(t, number, SCMP_ACT_ALLOW);
    /* Those whose arguments are out of a filter's sight. */
    if (!admin)
        seccomp_table_add(t, "clone3", SCMP_ACT_ERRNO(ENOSYS));
    seccomp_table_add(t, "socketcall", SCMP_ACT_ERRNO(ENOSYS));
    return 0;
}

int seccomp_compile_default(uint64_t caps, struct bytes *ret, struct err *e)
{
    /* Capabilities that change nothing are the same program. */
    uint64_t relevant = 0;
    for (size_t i = 0; i < ARRAY_SIZE(by_capability); i++)
        relevant |= UINT64_C(1) << by_capability[i].cap;
    char key[40];
    snprintf(key, sizeof(key), "default %016" PRIx64, caps & relevant);
    uint32_t flags;
    if (seccomp_cache_get(key, ret, &flags))
        return 0;

    _cleanup_table_ struct seccomp_table t;
    if (seccomp_table_init(&t, SCMP_ACT_ERRNO(EPERM), e) < 0 || default_rules(&t, caps, e) < 0 ||
        seccomp_table_compile(&t, ret, e) < 0)
        return err_wrap(e, "default seccomp profile");
    seccomp_cache_put(key, ret, 0);
    return 0;
}
