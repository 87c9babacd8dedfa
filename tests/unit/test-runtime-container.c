/*
 * A container as a process inside sees it: what container_start() builds, and what it says when it
 * cannot.
 */
#include <linux/capability.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#include "runtime-pod.h"

#define CAP(name) (UINT64_C(1) << CAP_##name)

static void seccomp_set(process_spec_t *p)
{
    struct bytes program;
    CHECK_OK(seccomp_compile_default(p->cap_bounding, &program, e));
    p->seccomp.data = program.data;
    p->seccomp.len = program.len;
}

/* ---- Identity -------------------------------------------------------------------------------- */

static void body_default_identity(struct pod *pod)
{
    container_spec_t *spec = spec_new(pod, "cat /proc/self/status; echo end=$$");
    seccomp_set(spec->process);
    int code;
    char *text = pod_run(pod, spec, &code);
    char caps[64];
    snprintf(caps, sizeof(caps), "CapEff:\t%016llx\n", (unsigned long long)capability_default());
    CHECK(code == 0);
    CHECK_TEXT(text, caps);
    CHECK_TEXT(text, "CapInh:\t0000000000000000\n");
    CHECK_TEXT(text, "CapAmb:\t0000000000000000\n");
    CHECK_TEXT(text, "NoNewPrivs:\t1\n");
    CHECK_TEXT(text, "Seccomp:\t2\n");
    CHECK_TEXT(text, "Seccomp_filters:\t1\n");
    CHECK_TEXT(text, "Uid:\t0\t0\t0\t0\n");
    CHECK_TEXT(text, "Groups:\t \n");
    CHECK_TEXT(text, "SigBlk:\t0000000000000000\n");
    CHECK_TEXT(text, "SigIgn:\t0000000000000000\n");
    CHECK_TEXT(text, "end=1\n"); /* PID 1 of its own namespace */
}

static void test_default_container_has_default_capabilities_and_a_filter(void **state)
{
    with_sandbox(NULL, body_default_identity);
}

static void body_user(struct pod *pod)
{
    container_spec_t *spec = spec_new(pod, "cat /proc/self/status; id; umask");
    process_spec_t *p = spec->process;
    uint32_t groups[] = {1234, 50000};
    p->uid = 1000;
    p->gid = 1001;
    p->groups = groups;
    p->n_groups = 2;
    p->umask = 027;
    p->no_new_privs = false; /* the filter is loaded with CAP_SYS_ADMIN still there */
    seccomp_set(p);
    char *text = pod_run(pod, spec, NULL);
    CHECK_TEXT(text, "Uid:\t1000\t1000\t1000\t1000\n");
    CHECK_TEXT(text, "Gid:\t1001\t1001\t1001\t1001\n");
    CHECK_TEXT(text, "Groups:\t1234 50000 \n");
    CHECK_TEXT(text, "CapEff:\t0000000000000000\n");
    CHECK_TEXT(text, "CapPrm:\t0000000000000000\n");
    CHECK_TEXT(text, "NoNewPrivs:\t0\n");
    CHECK_TEXT(text, "Seccomp:\t2\n");
    CHECK_TEXT(text, "0027\n");
}

static void test_user_loses_capabilities_and_has_its_groups(void **state)
{
    with_sandbox(NULL, body_user);
}

static void body_ambient(struct pod *pod)
{
    container_spec_t *spec = spec_new(pod, "cat /proc/self/status");
    process_spec_t *p = spec->process;
    p->uid = 1000;
    p->cap_bounding = p->cap_permitted = p->cap_effective = CAP(CHOWN) | CAP(NET_RAW);
    p->cap_inheritable = p->cap_ambient = CAP(NET_RAW);
    char *text = pod_run(pod, spec, NULL);
    CHECK_TEXT(text, "CapEff:\t0000000000002000\n");
    CHECK_TEXT(text, "CapAmb:\t0000000000002000\n");
    CHECK_TEXT(text, "CapBnd:\t0000000000002001\n");
}

static void test_ambient_capabilities_survive_for_a_user(void **state)
{
    with_sandbox(NULL, body_ambient);
}

/* ---- What is in sight ------------------------------------------------------------------------ */

static void body_no_leaks(struct pod *pod)
{
    int stray = open("/etc", O_RDONLY); /* not even close-on-exec */
    CHECK(stray >= 0);
    container_spec_t *spec = spec_new(pod, "for i in /proc/1/fd/*; do readlink $i; done; cd "
                                           "/proc/1/fd && echo fds: *; env; pwd; hostname");
    spec->process->cwd = (char *)"/tmp";
    char *text = pod_run(pod, spec, NULL);
    CHECK_TEXT(text, "fds: 0 1 2 "); /* and the shell's own */
    CHECK(!strstr(text, "/etc"));
    CHECK_TEXT(text, "NAME=of the pod\n");
    CHECK(!strstr(text, "PODD"));
    CHECK_TEXT(text, "test-pod\n");
}

static void test_nothing_of_the_shim_leaks_in(void **state)
{
    setenv("PODD_SECRET", "1", 1);
    with_sandbox(NULL, body_no_leaks);
    unsetenv("PODD_SECRET");
}

static void body_devices(struct pod *pod)
{
    container_spec_t *spec =
        spec_new(pod, "ls -l /dev; echo x > /dev/null && head -c 4 /dev/zero | wc -c; for i in "
                      "ptmx fd stdin stdout "
                      "stderr; do readlink /dev/$i; done; stat -c '%t:%T %a' /dev/null /dev/tty; "
                      "mknod /tmp/disk b 8 0 && dd if=/tmp/disk of=/dev/null count=1; echo dd=$?; "
                      "mknod /tmp/kmsg c 1 11; head -c 1 /tmp/kmsg; echo kmsg=$?; "
                      "mknod /tmp/zero c 1 5; head -c 3 /tmp/zero | wc -c");
    char *text = pod_run(pod, spec, NULL);
    CHECK_TEXT(text, "1:3 666\n5:0 666\n");
    CHECK_TEXT(text,
               "pts/ptmx\n/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\n");
    CHECK_TEXT(text, "4\n");
    CHECK_TEXT(text, "dd=1\n");
    CHECK_TEXT(text, "kmsg=1\n");
    CHECK_TEXT(text, "Operation not permitted");
    CHECK_TEXT(text, "3\n");
}

static void test_only_listed_devices_open(void **state)
{
    with_sandbox(NULL, body_devices);
}

static void body_mount_table(struct pod *pod)
{
    container_spec_t *spec =
        spec_new(pod, "cat /proc/self/mountinfo; ls /sys/fs/cgroup; cat /proc/self/cgroup; "
                      "mkdir /sys/fs/cgroup/*/x; echo w=$?; ls -d /dev/shm/. && touch /dev/shm/a");
    char *text = pod_run(pod, spec, NULL);
    CHECK_TEXT(text, " / / rw");
    CHECK_TEXT(text, " /proc rw,nosuid,nodev,noexec");
    CHECK_TEXT(text, " /sys ro,nosuid,nodev,noexec");
    CHECK_TEXT(text, " - devpts ");
    CHECK_TEXT(text, " - mqueue ");
    CHECK_TEXT(text, " /dev/shm rw,nosuid,nodev,noexec");
    CHECK(!strstr(text, "shared:") && !strstr(text, "master:"));
    CHECK(!strstr(text, "podd-test")); /* its cgroups are the root to it */
    CHECK(!strstr(text, "w=0"));
    if (cgroup_mode() == CGROUP_V2)
        CHECK_TEXT(text, "cgroup.controllers");
    else
        CHECK_TEXT(text, "memory");
}

static void test_mounts_are_those_of_the_spec(void **state)
{
    with_sandbox(NULL, body_mount_table);
}

static void body_limits_in_sight(struct pod *pod)
{
    container_spec_t *spec = spec_new(
        pod,
        "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null");
    const struct cgroup_limits limits = {.memory_bytes = 64 << 20};
    CHECK_OK(cgroup_plan(&limits, &spec->cgroup_writes, &spec->n_cgroup_writes, e));
    char *text = pod_run(pod, spec, NULL);
    CHECK_TEXT(text, "67108864\n");
}

static void test_memory_limit_is_in_sight(void **state)
{
    with_sandbox(NULL, body_limits_in_sight);
}

/* ---- Errors ---------------------------------------------------------------------------------- */

static void expect_failure(struct pod *pod, const container_spec_t *spec, const char *text)
{
    struct running r;
    struct err e = ERR_INIT;
    CHECK(pod_start(pod, spec, &r, &e) < 0);
    CHECK_TEXT(err_text(&e), text);
    CHECK(e.code == ERR_INVALID_ARGUMENT);
    pod->rootfs = rootfs_new(0);
}

static container_spec_t *spec_args(struct pod *pod, char *const *args)
{
    container_spec_t *spec = spec_new(pod, "");
    strings_set(&spec->process->args, &spec->process->n_args, args);
    return spec;
}

static void body_bad_commands(struct pod *pod)
{
    expect_failure(pod, spec_args(pod, STRINGS("/bin/nope")),
                   "start container: exec /bin/nope: No such file or directory");
    expect_failure(pod, spec_args(pod, STRINGS("nope")),
                   "start container: exec nope: no such command in PATH (/bin)");
    expect_failure(pod, spec_args(pod, STRINGS("/etc")), "exec /etc: Permission denied");
    file_put(pod->rootfs, "bin/plain", "x", 0644);
    expect_failure(pod, spec_args(pod, STRINGS("plain")), "exec /bin/plain: Permission denied");
    file_put(pod->rootfs, "bin/script", "#!/no/interpreter\n", 0755);
    expect_failure(pod, spec_args(pod, STRINGS("script")),
                   "exec /bin/script: the file is there, but its interpreter");
    file_put(pod->rootfs, "bin/garbage", "\177ELFgarbage", 0755);
    expect_failure(pod, spec_args(pod, STRINGS("/bin/garbage")), "not a program for this machine");
    expect_failure(pod, spec_args(pod, STRINGS("")), "no command was given");
}

static void test_bad_commands_are_told_apart(void **state)
{
    with_sandbox(NULL, body_bad_commands);
}

static void body_rlimits(struct pod *pod)
{
    container_spec_t *spec = spec_new(pod, "cat /proc/self/limits");
    Podd__Shim__Rlimit limit = PODD__SHIM__RLIMIT__INIT, *limits[] = {&limit};
    limit.resource = RLIMIT_NOFILE;
    limit.soft = 77;
    limit.hard = 88;
    spec->process->rlimits = limits;
    spec->process->n_rlimits = 1;
    spec->process->set_oom_score_adj = true;
    spec->process->oom_score_adj = 500;
    char *text = pod_run(pod, spec, NULL);
    CHECK_TEXT(text, "Max open files            77                   88 ");
}

static void test_resource_limits_are_set(void **state)
{
    with_sandbox(NULL, body_rlimits);
}

/* ---- Working directory ----------------------------------------------------------------------- */

static void body_cwd(struct pod *pod)
{
    container_spec_t *spec = spec_new(pod, "pwd; stat -c %a:%u /made/for/me");
    spec->process->cwd = (char *)"/made/for/me/";
    char *text = pod_run(pod, spec, NULL);
    CHECK_TEXT(text, "/made/for/me\n755:0\n");

    pod->rootfs = rootfs_new(0);
    for (int fd = 0; fd < 40; fd++) {
        spec = spec_new(pod, "true");
        spec->process->cwd = xasprintf("/proc/self/fd/%d", fd);
        struct running r;
        struct err e = ERR_INIT;
        CHECK(pod_start(pod, spec, &r, &e) < 0);
        CHECK_TEXT(err_text(&e), "working directory /proc/self/fd/");
        pod->rootfs = rootfs_new(0);
    }
}

static void test_working_directory_is_made_and_stays_inside(void **state)
{
    with_sandbox(NULL, body_cwd);
}

/* ---- Terminal -------------------------------------------------------------------------------- */

static void body_terminal(struct pod *pod)
{
    container_spec_t *spec = spec_new(
        pod, "tty; test -t 0 && test -t 1 && test -t 2 && echo terminals; ls -l /dev/console; "
             "stat -c %u /dev/pts/0; echo hello > /dev/console; echo hi > /dev/tty");
    spec->process->tty = true;
    spec->process->uid = 1000;
    struct running r;
    CHECK_OK(pod_start(pod, spec, &r, e));
    CHECK(r.master >= 0);
    struct winsize size = {.ws_row = 10, .ws_col = 20};
    CHECK(ioctl(r.master, TIOCSWINSZ, &size) == 0);
    char *text = output_read(r.master);
    int code;
    running_end(&r, &code);
    CHECK(code == 0);
    CHECK_TEXT(text, "/dev/pts/0\r\n");
    CHECK_TEXT(text, "terminals\r\n");
    CHECK_TEXT(text, "/dev/console");
    CHECK_TEXT(text, "1000\r\n");
    CHECK_TEXT(text, "hello\r\nhi\r\n");
}

static void test_terminal_is_the_containers_own(void **state)
{
    with_sandbox(NULL, body_terminal);
}

/* Whoever could unmount the root finds nothing below it; whoever could not, cannot. */
static void body_root_is_the_bottom(struct pod *pod)
{
    const char *script = "cd /; i=0; while [ $i -lt 20 ]; do cd ..; i=$((i+1)); done; ls -d bin; "
                         "umount -l /; echo um=$?; ls /; ls -d /null /shm /../null; unshare -m "
                         "true; echo unshare=$?";
    char *text = pod_run(pod, spec_new(pod, script), NULL);
    CHECK_TEXT(text, "bin\n");
    CHECK_TEXT(text, "um=1\n");
    CHECK(!strstr(text, "\n/null") && !strstr(text, "\n/shm"));

    pod->rootfs = rootfs_new(0);
    container_spec_t *spec = spec_new(pod, script);
    process_spec_t *p = spec->process;
    p->cap_bounding = p->cap_permitted = p->cap_effective = capability_all();
    text = pod_run(pod, spec, NULL);
    CHECK_TEXT(text, "bin\n");
    CHECK(!strstr(text, "\n/null") && !strstr(text, "\n/shm"));
}

static void test_nothing_is_to_be_found_below_the_root(void **state)
{
    with_sandbox(NULL, body_root_is_the_bottom);
}

/* Seen by the kernel as not chrooted: user namespaces can be made. */
static void body_user_ns_inside(struct pod *pod)
{
    container_spec_t *spec = spec_new(pod, "unshare -U true; echo made=$?");
    char *text = pod_run(pod, spec, NULL);
    CHECK_TEXT(text, "made=0\n");
}

static void test_container_counts_as_not_chrooted(void **state)
{
    with_sandbox(NULL, body_user_ns_inside);
}

/* ---- Labels -----------------------------------------------------------------------------------
 */

static void body_apparmor(struct pod *pod)
{
    struct kernel_features features;
    CHECK_OK(kernel_probe(&features, e));
    container_spec_t *spec = spec_new(pod, "cat /proc/self/attr/apparmor/current");
    spec->process->apparmor_profile = (char *)"podd-test-no-such-profile";
    struct running r;
    struct err failure = ERR_INIT;
    CHECK(pod_start(pod, spec, &r, &failure) < 0);
    CHECK_TEXT(err_text(&failure), features.apparmor
                                       ? "AppArmor profile podd-test-no-such-profile is not loaded"
                                       : "AppArmor profile \"podd-test-no-such-profile\"");
    if (!features.apparmor)
        return;
    pod->rootfs = rootfs_new(0);
    spec->process->apparmor_profile = (char *)"unconfined";
    CHECK_TEXT(pod_run(pod, spec, NULL), "unconfined");
}

static void test_apparmor_profile_is_taken_or_refused(void **state)
{
    with_sandbox(NULL, body_apparmor);
}

/* ---- User namespace -------------------------------------------------------------------------- */

static id_map_t map_ids = {.base = PROTOBUF_C_MESSAGE_INIT(&podd__shim__id_map__descriptor),
                           .container_id = 0,
                           .host_id = 100000,
                           .length = 65536};
static id_map_t *map_list[] = {&map_ids};

static void prepare_user_ns(struct pod *pod)
{
    pod->request.uid_maps = pod->request.gid_maps = map_list;
    pod->request.n_uid_maps = pod->request.n_gid_maps = 1;
}

static void body_user_ns(struct pod *pod)
{
    container_spec_t *spec = spec_new(
        pod,
        "cat /proc/self/uid_map; id; ls -ln /dev/null /dev/shm -d; cat /proc/self/mountinfo; "
        "echo x > /dev/null; echo null=$?; cat /proc/self/status; touch /dev/shm/x; echo shm=$?; "
        "echo $$");
    seccomp_set(spec->process);
    char *text = pod_run(pod, spec, NULL);
    CHECK_TEXT(text, "         0     100000      65536\n");
    CHECK_TEXT(text, "uid=0 gid=0");
    CHECK_TEXT(text, "null=0\n");
    CHECK_TEXT(text, "crw-rw-rw-");
    CHECK_TEXT(text, "shm=0\n");
    CHECK_TEXT(text, " - proc ");
    CHECK_TEXT(text, " - sysfs ");
    CHECK_TEXT(text, "Seccomp:\t2\n");
    CHECK_TEXT(text, "\n1\n");
}

static void test_user_namespace_maps_root(void **state)
{
    with_sandbox(prepare_user_ns, body_user_ns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default_container_has_default_capabilities_and_a_filter),
        cmocka_unit_test(test_user_loses_capabilities_and_has_its_groups),
        cmocka_unit_test(test_ambient_capabilities_survive_for_a_user),
        cmocka_unit_test(test_nothing_of_the_shim_leaks_in),
        cmocka_unit_test(test_only_listed_devices_open),
        cmocka_unit_test(test_mounts_are_those_of_the_spec),
        cmocka_unit_test(test_memory_limit_is_in_sight),
        cmocka_unit_test(test_bad_commands_are_told_apart),
        cmocka_unit_test(test_resource_limits_are_set),
        cmocka_unit_test(test_working_directory_is_made_and_stays_inside),
        cmocka_unit_test(test_terminal_is_the_containers_own),
        cmocka_unit_test(test_nothing_is_to_be_found_below_the_root),
        cmocka_unit_test(test_container_counts_as_not_chrooted),
        cmocka_unit_test(test_apparmor_profile_is_taken_or_refused),
        cmocka_unit_test(test_user_namespace_maps_root),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
