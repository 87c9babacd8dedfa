/*
 * System call filters: what the kernel answers to a process that has one, and what is said of a
 * broken profile.
 */
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "runtime-pod.h"

enum { UNKNOWN_CALL = 900, X32_BIT = 0x40000000 };

static void filter_load(const struct bytes *program)
{
    struct sock_fprog p = {.len = (unsigned short)(program->len / sizeof(struct sock_filter)),
                           .filter = (struct sock_filter *)program->data};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p) == 0);
}

/* Runs body in a process with the filter; its wait status. */
static int with_filter(const struct bytes *program, void (*body)(void))
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL); /* not cmocka's, which would go on with the next test here */
        filter_load(program);
        body();
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static int errno_of(long result)
{
    return result < 0 ? errno : 0;
}

static struct bytes program_default(uint64_t caps)
{
    struct bytes program;
    struct err e = ERR_INIT;
    if (seccomp_compile_default(caps, &program, &e) < 0)
        fail_msg("%s", err_text(&e));
    return program;
}

/* A 32-bit call from a 64-bit process. */
static long call32(long number, long a, long b)
{
#ifdef __x86_64__
    long result;
    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "a"(number), "b"(a), "c"(b), "d"(0L)
                     : "memory", "r8", "r9", "r10", "r11");
    return result;
#else
    return number == 20 ? getpid() : -ENOSYS;
#endif
}

static void body_default(void)
{
    static const long denied[] = {
        SYS_mount,
        SYS_umount2,
        SYS_pivot_root,
        SYS_fsopen,
        SYS_open_tree,
        SYS_move_mount,
        SYS_mount_setattr,
        SYS_bpf,
        SYS_keyctl,
        SYS_add_key,
        SYS_request_key,
        SYS_perf_event_open,
        SYS_userfaultfd,
        SYS_io_uring_setup,
        SYS_io_uring_enter,
        SYS_kexec_load,
        SYS_init_module,
        SYS_delete_module,
        SYS_open_by_handle_at,
        SYS_setns,
        SYS_swapon,
        SYS_reboot,
        SYS_acct,
        SYS_settimeofday,
        SYS_clock_settime,
        SYS_quotactl,
        SYS_syslog,
        SYS_vhangup,
        SYS_lookup_dcookie,
        SYS_kcmp,
        SYS_pidfd_getfd,
        SYS_sethostname,
    };
    for (size_t i = 0; i < ARRAY_SIZE(denied); i++)
        if (errno_of(syscall(denied[i], -1, -1, -1, -1, -1, -1)) != EPERM) {
            fprintf(stderr, "call %ld: %s\n", denied[i], strerror(errno));
            _exit(1);
        }
    CHECK(errno_of(syscall(SYS_clone3, NULL, 0)) == ENOSYS);
    CHECK(errno_of(syscall(UNKNOWN_CALL)) == ENOSYS);
    CHECK(errno_of(syscall(X32_BIT | SYS_getpid)) == ENOSYS);

    CHECK(errno_of(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0)) == EPERM);
    CHECK(errno_of(unshare(CLONE_NEWUSER)) == EPERM && errno_of(unshare(CLONE_NEWNET)) == EPERM);
    CHECK(unshare(CLONE_FILES) == 0);
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    CHECK(pid > 0 && waitpid(pid, NULL, 0) == pid);
}

static void body_arguments(void)
{
    CHECK(errno_of(socket(AF_ALG, SOCK_SEQPACKET, 0)) == EPERM);
    CHECK(errno_of(socket(AF_VSOCK, SOCK_STREAM, 0)) == EPERM);
    CHECK(errno_of(socket(AF_BLUETOOTH, SOCK_RAW, 0)) == EPERM);
    CHECK(socket(AF_INET, SOCK_STREAM, 0) >= 0 && socket(AF_UNIX, SOCK_STREAM, 0) >= 0);
    CHECK(socket(AF_NETLINK, SOCK_RAW, 0) >= 0);
    CHECK(errno_of(ioctl(0, TIOCSTI, "x")) == EPERM);
    /* The kernel looks at 32 bits; so must the filter. */
    CHECK(errno_of(syscall(SYS_ioctl, 0, 0xf00000000 | TIOCSTI, "x")) == EPERM);
    CHECK(errno_of(ioctl(-1, TIOCLINUX, "x")) == EPERM);
    CHECK(errno_of(ioctl(-1, TIOCGWINSZ, 0)) == EBADF);
    CHECK(personality(0xffffffff) >= 0 && errno_of(personality(ADDR_NO_RANDOMIZE)) == EPERM);
}

static void body_32bit(void)
{
    CHECK(call32(20, 0, 0) == getpid());
#ifdef __x86_64__
    CHECK(call32(102, 1, 0) == -ENOSYS); /* socketcall */
    CHECK(call32(359, AF_ALG, SOCK_SEQPACKET) == -EPERM);
    CHECK(call32(359, AF_INET, SOCK_STREAM) >= 0);
    CHECK(call32(21, 0, 0) == -EPERM); /* mount */
    CHECK(call32(54, 0, TIOCSTI) == -EPERM);
    CHECK(call32(310, CLONE_NEWUSER, 0) == -EPERM); /* unshare */
#endif
}

static void test_default_profile_refuses_what_is_not_needed(void **state)
{
    struct bytes program = program_default(capability_default());
    assert_int_equal(with_filter(&program, body_default), 0);
    bytes_free(&program);
}

static void test_default_profile_looks_at_arguments(void **state)
{
    struct bytes program = program_default(capability_default());
    assert_int_equal(with_filter(&program, body_arguments), 0);
    bytes_free(&program);
}

static void body_can_32bit(void)
{
    CHECK(call32(20, 0, 0) == getpid());
}

/* A kernel may be built or told to have none of them. */
static bool has_32bit_calls(void)
{
    struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct bytes program = {.data = (uint8_t *)&allow, .len = sizeof(allow)};

    return with_filter(&program, body_can_32bit) == 0;
}

static void test_default_profile_holds_for_32_bit_calls(void **state)
{
    if (!has_32bit_calls())
        skip();
    struct bytes program = program_default(capability_default());
    assert_int_equal(with_filter(&program, body_32bit), 0);
    bytes_free(&program);
}

static void body_admin(void)
{
    CHECK(errno_of(syscall(SYS_fsopen, NULL, 0)) == EFAULT);
    CHECK(errno_of(syscall(SYS_setns, -1, 0)) == EBADF);
    CHECK(errno_of(syscall(SYS_clone3, NULL, 0)) == EINVAL);
    CHECK(unshare(CLONE_NEWNS) == 0);
    CHECK(errno_of(syscall(SYS_keyctl, 0)) == EPERM);
    CHECK(errno_of(ioctl(-1, TIOCSTI, "x")) == EPERM);
}

static void test_capabilities_open_their_calls(void **state)
{
    struct bytes program = program_default(UINT64_C(1) << CAP_SYS_ADMIN);
    assert_int_equal(with_filter(&program, body_admin), 0);
    bytes_free(&program);
}

/* The cost of a filter is paid by every start: it stays small. */
static void test_default_profile_is_small_and_cached(void **state)
{
    struct bytes a = program_default(capability_default()),
                 b = program_default(capability_default());
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
    assert_ptr_not_equal(a.data, b.data);
    assert_true(a.len / sizeof(struct sock_filter) < 600);
    bytes_free(&a);
    bytes_free(&b);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static struct bytes program_json(const char *json, uint64_t caps, uint32_t *flags)
{
    struct bytes program = {0};
    struct err e = ERR_INIT;
    if (seccomp_compile_json(json, strlen(json), caps, &program, flags, &e) < 0)
        fail_msg("%s", err_text(&e));
    return program;
}

static void body_json_deny(void)
{
    CHECK(errno_of(mkdir("/", 0)) == ENOTDIR);
    CHECK(errno_of(rmdir("/nothing")) == ENOENT);
    CHECK(errno_of(syscall(SYS_dup, -1)) == EBADF);
    CHECK(errno_of(syscall(SYS_dup, 77)) == EPERM);
    CHECK(errno_of(syscall(SYS_umask, 1)) == EPERM && errno_of(syscall(SYS_umask, 2)) == EPERM);
    CHECK(errno_of(syscall(SYS_umask, 022)) == 0);
    CHECK(errno_of(chroot("/")) == EPERM);
    CHECK(errno_of(syscall(UNKNOWN_CALL)) == ENOSYS); /* the kernel's own */
}

static void test_json_profile_of_refusals(void **state)
{
    uint32_t flags;
    struct bytes program = program_json(
        "{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"architectures\": [\"SCMP_ARCH_X86_64\", "
        "\"SCMP_ARCH_X86\", \"SCMP_ARCH_X32\", \"SCMP_ARCH_AARCH64\"],"
        "\"flags\": [\"SECCOMP_FILTER_FLAG_LOG\"], \"syscalls\": ["
        "{\"names\": [\"mkdir\", \"mkdirat\", \"no_such_call\"], \"action\": \"SCMP_ACT_ERRNO\","
        " \"errnoRet\": 20},"
        "{\"name\": \"chroot\", \"action\": \"SCMP_ACT_ERRNO\"},"
        "{\"names\": [\"dup\"], \"action\": \"SCMP_ACT_ERRNO\","
        " \"args\": [{\"index\": 0, \"value\": 77, \"op\": \"SCMP_CMP_EQ\"}]},"
        "{\"names\": [\"umask\"], \"action\": \"SCMP_ACT_ERRNO\", \"args\": ["
        "{\"index\": 0, \"value\": 1, \"op\": \"SCMP_CMP_EQ\"},"
        "{\"index\": 0, \"value\": 2, \"op\": \"SCMP_CMP_EQ\"}]}]}",
        0, &flags);
    assert_int_equal(flags, SECCOMP_FILTER_FLAG_LOG);
    assert_int_equal(with_filter(&program, body_json_deny), 0);
    bytes_free(&program);
}

static void body_json_allow(void)
{
    CHECK(errno_of(getppid()) == 0);
    CHECK(errno_of(mkdir("/", 0)) == EPERM);
    CHECK(errno_of(syscall(UNKNOWN_CALL)) == ENOSYS);
    CHECK(errno_of(syscall(SYS_chroot, "/")) == 0);
    CHECK(errno_of(syscall(SYS_acct, NULL)) == EPERM);
    CHECK(errno_of(syscall(SYS_getuid)) == EPERM); /* wants a newer kernel */
    CHECK(errno_of(syscall(SYS_getgid)) == EPERM); /* wants another machine */
}

static const char allow_profile[] =
    "{\"defaultAction\": \"SCMP_ACT_ERRNO\", \"defaultErrnoRet\": 1, \"archMap\": ["
    "{\"architecture\": \"SCMP_ARCH_X86_64\", \"subArchitectures\": [\"SCMP_ARCH_X86\"]},"
    "{\"architecture\": \"SCMP_ARCH_S390X\", \"subArchitectures\": [\"SCMP_ARCH_S390\"]}],"
    "\"syscalls\": ["
    "{\"names\": [\"write\", \"exit_group\", \"getppid\", \"mmap\", \"munmap\", \"madvise\", "
    "\"sigaltstack\"], "
    "\"action\": \"SCMP_ACT_ALLOW\"},"
    "{\"names\": [\"chroot\"], \"action\": \"SCMP_ACT_ALLOW\","
    " \"includes\": {\"caps\": [\"CAP_SYS_CHROOT\"], \"minKernel\": \"4.8\"}},"
    "{\"names\": [\"acct\"], \"action\": \"SCMP_ACT_ALLOW\","
    " \"includes\": {\"caps\": [\"CAP_SYS_PACCT\"]}},"
    "{\"names\": [\"getuid\"], \"action\": \"SCMP_ACT_ALLOW\","
    " \"includes\": {\"minKernel\": \"99.0\"}},"
    "{\"names\": [\"getgid\"], \"action\": \"SCMP_ACT_ALLOW\","
    " \"excludes\": {\"arches\": [\"amd64\", \"arm64\", \"riscv64\"]}}]}";

static void test_json_profile_of_permissions(void **state)
{
    uint32_t flags;
    struct bytes program = program_json(allow_profile, UINT64_C(1) << CAP_SYS_CHROOT, &flags);
    assert_int_equal(with_filter(&program, body_json_allow), 0);
    bytes_free(&program);
}

static void body_first_counts(void)
{
    CHECK(errno_of(syscall(SYS_umask, 022)) == EACCES);
    CHECK(errno_of(syscall(SYS_dup, 77)) == EACCES);
}

/* Profiles in wide use contradict themselves. */
static void test_first_of_several_actions_counts(void **state)
{
    uint32_t flags;
    struct bytes program = program_json(
        "{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": ["
        "{\"names\": [\"dup\"], \"action\": \"SCMP_ACT_ERRNO\", \"errnoRet\": 1,"
        " \"args\": [{\"index\": 0, \"value\": 77, \"op\": \"SCMP_CMP_EQ\"}]},"
        "{\"names\": [\"umask\", \"dup\"], \"action\": \"SCMP_ACT_ERRNO\", \"errnoRet\": 13},"
        "{\"names\": [\"umask\"], \"action\": \"SCMP_ACT_KILL\"}]}",
        0, &flags);
    assert_int_equal(with_filter(&program, body_first_counts), 0);
    bytes_free(&program);
}

static void body_unused(void)
{
}

static void test_empty_list_of_calls_kills_even_exit(void **state)
{
    uint32_t flags;
    struct bytes program =
        program_json("{\"defaultAction\": \"SCMP_ACT_KILL_PROCESS\"}", 0, &flags);
    int status = with_filter(&program, body_unused);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
    bytes_free(&program);
}

static void test_broken_profiles_are_refused_with_the_place(void **state)
{
    static const char *const broken[][2] = {
        {"", "it is empty"},
        {"{", "line 1, column 1"},
        {"[]", "not a JSON object"},
        {"{}", "defaultAction: has no action"},
        {"{\"defaultAction\": \"SCMP_ACT_ALLOW\"} x", "end of file expected"},
        {"{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"defaultAction\": \"SCMP_ACT_KILL\"}",
         "duplicate object key"},
        {"{\"defaultAction\": \"ALLOW\"}", "action \"ALLOW\" is unknown"},
        {"{\"defaultAction\": 7}", "\"defaultAction\" is not a string"},
        {"{\"defaultAction\": \"SCMP_ACT_NOTIFY\"}", "not supported"},
        {"{\"defaultAction\": \"SCMP_ACT_ERRNO\", \"defaultErrnoRet\": 5000}", "is not an errno"},
        {"{\"defaultAction\": \"SCMP_ACT_ERRNO\", \"defaultErrnoRet\": -1}", "not a whole number"},
        {"{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": {}}",
         "\"syscalls\" is not an array"},
        {"{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": [1]}",
         "syscalls[0]: is not an object"},
        {"{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": [{\"names\": [], \"action\": "
         "\"SCMP_ACT_KILL\"}]}",
         "syscalls[0]: names no system call"},
        {"{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": [{\"names\": [\"read\"]}]}",
         "syscalls[0]: has no action"},
        {"{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": [{\"names\": [\"read\"], "
         "\"action\": "
         "\"SCMP_ACT_KILL\", \"args\": [{\"index\": 6, \"op\": \"SCMP_CMP_EQ\"}]}]}",
         "have no argument 6"},
        {"{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": [{\"names\": [\"read\"], "
         "\"action\": "
         "\"SCMP_ACT_KILL\", \"args\": [{\"index\": 0, \"op\": \"EQ\"}]}]}",
         "comparison \"EQ\" is unknown"},
        {"{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": [{\"names\": [\"read\"], "
         "\"action\": "
         "\"SCMP_ACT_KILL\", \"includes\": {\"caps\": [\"CAP_NONE\"]}}]}",
         "capability \"CAP_NONE\" is unknown"},
        {"{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"architectures\": [\"X86\"]}",
         "architecture \"X86\" is unknown"},
        {"{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"flags\": [\"X\"]}", "flags: \"X\" is unknown"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
        struct bytes program;
        uint32_t flags;
        struct err e = ERR_INIT;
        int r = seccomp_compile_json(broken[i][0], strlen(broken[i][0]), 0, &program, &flags, &e);
        if (r == 0 || !strstr(err_text(&e), broken[i][1]))
            fail_msg("%s\n-> %s", broken[i][0], r == 0 ? "accepted" : err_text(&e));
        assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
        err_clear(&e);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default_profile_refuses_what_is_not_needed),
        cmocka_unit_test(test_default_profile_looks_at_arguments),
        cmocka_unit_test(test_default_profile_holds_for_32_bit_calls),
        cmocka_unit_test(test_capabilities_open_their_calls),
        cmocka_unit_test(test_default_profile_is_small_and_cached),
        cmocka_unit_test(test_json_profile_of_refusals),
        cmocka_unit_test(test_json_profile_of_permissions),
        cmocka_unit_test(test_first_of_several_actions_counts),
        cmocka_unit_test(test_empty_list_of_calls_kills_even_exit),
        cmocka_unit_test(test_broken_profiles_are_refused_with_the_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
