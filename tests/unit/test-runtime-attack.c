/*
 * Images and volumes that try to lead mounts, devices and directories astray. The canary is a tree
 * on the node that must look the same afterwards.
 */
#include "runtime-pod.h"

static char canary[] = "/tmp/podd-test-runtime-canary-XXXXXX";

static int canary_setup(void **state)
{
    if (!mkdtemp(canary))
        return -1;
    int fd = open(canary, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    file_put(fd, "file", "untouched", 0644);
    close(fd);
    return 0;
}

static int canary_teardown(void **state)
{
    struct err e = ERR_INIT;
    return tree_remove(AT_FDCWD, canary, &e);
}

/* The canary holds its one file and nothing else. */
static void canary_check(void)
{
    struct stat st;
    char *path = xasprintf("%s/file", canary);
    CHECK(stat(canary, &st) == 0 && st.st_nlink == 2);
    CHECK(stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 9);
    int fd = open(canary, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(unlinkat(fd, "file", 0) == 0);
    CHECK(rmdir(canary) == 0); /* so nothing else was in it */
    CHECK(mkdir(canary, 0700) == 0);
    close(fd);
    fd = open(canary, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    file_put(fd, "file", "untouched", 0644);
    close(fd);
    free(path);
}

/* Starts it; true when it ran, with its output. */
static bool try_run(struct pod *pod, const container_spec_t *spec, char **ret_output, struct err *e)
{
    struct running r;
    bool started = pod_start(pod, spec, &r, e) == 0;
    if (started)
        *ret_output = running_end(&r, NULL);
    canary_check();
    pod->rootfs = rootfs_new(0);
    return started;
}

static void link_put(struct pod *pod, const char *path, const char *target)
{
    CHECK(symlinkat(target, pod->rootfs, path) == 0);
}

/* ---- /proc and /sys -------------------------------------------------------------------------- */

static void body_kernel_links(struct pod *pod)
{
    static const char *const names[] = {"proc", "sys"};
    for (size_t i = 0; i < 2; i++) {
        struct err e = ERR_INIT;
        char *text;
        CHECK(mkdirat(pod->rootfs, "elsewhere", 0755) == 0);
        link_put(pod, names[i], "elsewhere");
        CHECK(!try_run(pod, spec_new(pod, "true"), &text, &e));
        CHECK_TEXT(err_text(&e), "refused");
        CHECK(e.code == ERR_INVALID_ARGUMENT);
        err_clear(&e);
        link_put(pod, names[i], canary);
        CHECK(!try_run(pod, spec_new(pod, "true"), &text, &e));
        CHECK_TEXT(err_text(&e), "refused");
        err_clear(&e);
    }
}

static void test_proc_and_sys_as_links_are_refused(void **state)
{
    with_sandbox(NULL, body_kernel_links);
}

static void body_volume_over_proc(struct pod *pod)
{
    static const char *const targets[] = {"/proc", "/proc/self/attr", "/proc/sys", "/proc/1/fd",
                                          "/sneaky/self"};
    for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
        struct err e = ERR_INIT;
        char *text;
        link_put(pod, "sneaky", "/proc");
        container_spec_t *spec = spec_new(pod, "true");
        spec_mount(spec, PODD__SHIM__MOUNT__KIND__BIND, targets[i], canary, "", 0);
        CHECK(!try_run(pod, spec, &text, &e));
        CHECK(e.code == ERR_INVALID_ARGUMENT);
        err_clear(&e);
    }
    /* lxcfs does this. */
    char *file = xasprintf("%s/file", canary), *text;
    struct err e = ERR_INIT;
    container_spec_t *spec = spec_new(pod, "cat /proc/meminfo");
    spec_mount(spec, PODD__SHIM__MOUNT__KIND__BIND, "/proc/meminfo", file, "", 0);
    CHECK(try_run(pod, spec, &text, &e));
    CHECK_TEXT(text, "untouched");
}

static void test_volumes_over_proc_are_refused(void **state)
{
    with_sandbox(NULL, body_volume_over_proc);
}

static void body_volume_over_sys(struct pod *pod)
{
    struct err e = ERR_INIT;
    char *text;
    container_spec_t *spec = spec_new(pod, "true");
    spec_mount(spec, PODD__SHIM__MOUNT__KIND__TMPFS, "/sys", "", "", 0);
    CHECK(!try_run(pod, spec, &text, &e));
    CHECK_TEXT(err_text(&e), "/sys is hidden by another mount");
}

static void test_hidden_sys_is_refused(void **state)
{
    with_sandbox(NULL, body_volume_over_sys);
}

/* ---- /dev ------------------------------------------------------------------------------------ */

static void body_dev_links(struct pod *pod)
{
    /* As a link, absolute, climbing, or dangling. */
    char *climbing = xasprintf("../../../../..%s", canary);
    const char *targets[] = {canary, climbing, "/no/where"};
    for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
        struct err e = ERR_INIT;
        char *text = NULL;
        link_put(pod, "dev", targets[i]);
        if (try_run(pod, spec_new(pod, "ls -l /dev/null; stat -f /dev/."), &text, &e))
            CHECK_TEXT(text, "1,   3");
        err_clear(&e);
    }
    /* Entries of the image's own /dev. */
    struct err e = ERR_INIT;
    char *text;
    CHECK(mkdirat(pod->rootfs, "dev", 0755) == 0);
    link_put(pod, "dev/null", "/proc/sys/kernel/core_pattern");
    link_put(pod, "dev/pts", canary);
    link_put(pod, "dev/shm", canary);
    link_put(pod, "dev/ptmx", canary);
    container_spec_t *spec = spec_new(pod, "stat -c %t:%T /dev/null; cat /proc/keys");
    strings_set(&spec->masked_paths, &spec->n_masked_paths, STRINGS("/proc/keys"));
    CHECK(try_run(pod, spec, &text, &e));
    CHECK(str_equal(text, "1:3\n"));
}

static void test_dev_of_the_image_takes_no_part(void **state)
{
    with_sandbox(NULL, body_dev_links);
}

static void body_device_elsewhere(struct pod *pod)
{
    Podd__Shim__Device device = PODD__SHIM__DEVICE__INIT;
    device.path = (char *)"/opt/dev/node";
    device.mode = S_IFCHR | 0600;
    device.major = 1;
    device.minor = 5;
    container_spec_t *spec = spec_new(pod, "stat -c %t:%T /opt/dev/node");
    *(Podd__Shim__Device **)array_push(&spec->devices, &spec->n_devices, sizeof(void *)) = &device;
    struct err e = ERR_INIT;
    char *text;
    CHECK(try_run(pod, spec, &text, &e));
    CHECK(str_equal(text, "1:5\n"));
    link_put(pod, "opt", canary);
    if (try_run(pod, spec, &text, &e))
        CHECK(str_equal(text, "1:5\n"));
    err_clear(&e);
    /* Something else is there already. */
    CHECK(mkdirat(pod->rootfs, "opt", 0755) == 0 && mkdirat(pod->rootfs, "opt/dev", 0755) == 0);
    file_put(pod->rootfs, "opt/dev/node", "x", 0644);
    CHECK(!try_run(pod, spec, &text, &e));
    CHECK_TEXT(err_text(&e), "make device /opt/dev/node (1:5): File exists");
}

static void test_devices_elsewhere_stay_inside(void **state)
{
    with_sandbox(NULL, body_device_elsewhere);
}

/* ---- Targets --------------------------------------------------------------------------------- */

static void body_target_links(struct pod *pod)
{
    char *climbing = xasprintf("../../../../../..%s/made", canary);
    char *absolute = xasprintf("%s/made", canary);
    static const char *const targets[] = {"/data", "/data/below", "/etc/data/deep/er", "/loop/x"};
    const char *links[][2] = {
        {"data", absolute}, {"data", climbing}, {"etc/data", canary}, {"loop", "loop"}};
    for (size_t i = 0; i < ARRAY_SIZE(targets); i++)
        for (size_t k = 0; k < ARRAY_SIZE(links); k++) {
            struct err e = ERR_INIT;
            char *text = NULL;
            link_put(pod, links[k][0], links[k][1]);
            container_spec_t *spec = spec_new(pod, "mount");
            spec_mount(spec, PODD__SHIM__MOUNT__KIND__TMPFS, targets[i], "", "", 0);
            (void)try_run(pod, spec, &text, &e); /* inside or an error; the canary decides */
            err_clear(&e);
        }
}

static void test_target_links_stay_inside(void **state)
{
    with_sandbox(NULL, body_target_links);
}

static void body_magic_links(struct pod *pod)
{
    struct err e = ERR_INIT;
    char *text;
    link_put(pod, "out", "/proc/1/root/tmp");
    container_spec_t *spec = spec_new(pod, "true");
    spec_mount(spec, PODD__SHIM__MOUNT__KIND__TMPFS, "/out/x", "", "", 0);
    CHECK(!try_run(pod, spec, &text, &e));
    CHECK_TEXT(err_text(&e), "link of procfs");
    err_clear(&e);
    link_put(pod, "work", "/proc/self/fd/3");
    spec = spec_new(pod, "pwd; ls");
    spec->process->cwd = (char *)"/work";
    CHECK(!try_run(pod, spec, &text, &e));
    CHECK_TEXT(err_text(&e), "working directory /work");
}

static void test_links_of_procfs_are_refused(void **state)
{
    with_sandbox(NULL, body_magic_links);
}

static void body_masked_links(struct pod *pod)
{
    struct err e = ERR_INIT;
    char *text;
    char *file = xasprintf("%s/file", canary);
    link_put(pod, "etc/secret", file);
    link_put(pod, "etc/up", "../../../../../../etc");
    container_spec_t *spec = spec_new(pod, "true");
    strings_set(&spec->masked_paths, &spec->n_masked_paths,
                STRINGS("/etc/secret", "/etc/up/passwd"));
    strings_set(&spec->readonly_paths, &spec->n_readonly_paths, STRINGS("/etc/secret", "/etc/up"));
    CHECK(try_run(pod, spec, &text, &e));
}

static void test_masked_links_stay_inside(void **state)
{
    with_sandbox(NULL, body_masked_links);
}

/* Someone renames a directory and a link over each other while containers with a mount below it
 * start. */
static void body_race(struct pod *pod)
{
    char volume[] = "/tmp/podd-test-runtime-volume-XXXXXX";
    CHECK(mkdtemp(volume));
    int dir = open(volume, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(mkdirat(dir, "a", 0755) == 0 && symlinkat(canary, dir, "b") == 0);
    pid_t racer = fork();
    if (racer == 0)
        for (;;)
            renameat2(dir, "a", dir, "b", RENAME_EXCHANGE);
    for (int i = 0; i < 40; i++) {
        struct err e = ERR_INIT;
        char *text = NULL;
        container_spec_t *spec = spec_new(pod, "true");
        spec_mount(spec, PODD__SHIM__MOUNT__KIND__BIND, "/vol", volume, "", 0);
        spec_mount(spec, PODD__SHIM__MOUNT__KIND__TMPFS, "/vol/a/made", "", "", 0);
        (void)try_run(pod, spec, &text, &e);
        free(text);
        err_clear(&e);
    }
    kill(racer, SIGKILL);
    waitpid(racer, NULL, 0);
    close(dir);
    CHECK_OK(tree_remove(AT_FDCWD, volume, e));
}

static void test_racing_volume_stays_inside(void **state)
{
    with_sandbox(NULL, body_race);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_proc_and_sys_as_links_are_refused),
        cmocka_unit_test(test_volumes_over_proc_are_refused),
        cmocka_unit_test(test_hidden_sys_is_refused),
        cmocka_unit_test(test_dev_of_the_image_takes_no_part),
        cmocka_unit_test(test_devices_elsewhere_stay_inside),
        cmocka_unit_test(test_target_links_stay_inside),
        cmocka_unit_test(test_links_of_procfs_are_refused),
        cmocka_unit_test(test_masked_links_stay_inside),
        cmocka_unit_test(test_racing_volume_stays_inside),
    };
    return cmocka_run_group_tests(tests, canary_setup, canary_teardown);
}
