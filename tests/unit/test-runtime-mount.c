/*
 * The mounts of a container: hidden and read-only paths, volumes of the node and their propagation.
 */
#include <sched.h>

#include "runtime-pod.h"

/* ---- Hidden and read-only -------------------------------------------------------------------- */

static void body_masks(struct pod *pod)
{
    file_put(pod->rootfs, "etc/secret", "secret", 0600);
    CHECK(mkdirat(pod->rootfs, "etc/dir", 0755) == 0);
    file_put(pod->rootfs, "etc/dir/file", "x", 0644);
    container_spec_t *spec =
        spec_new(pod, "cat /etc/secret /proc/keys; ls -A /etc/dir /proc/scsi | grep -v :; touch "
                      "/etc/dir/a; echo dir=$?; "
                      "echo x > /etc/secret; echo file=$?; cat /etc/secret; "
                      "touch /tmp/a; echo tmp=$?; echo 1 > /proc/sys/kernel/hostname; echo sys=$?; "
                      "umount /etc/secret; echo um=$?");
    strings_set(&spec->masked_paths, &spec->n_masked_paths,
                STRINGS("/etc/secret", "/etc/dir", "/proc/keys", "/proc/scsi", "/not/there",
                        "/etc/secret/below"));
    strings_set(&spec->readonly_paths, &spec->n_readonly_paths, STRINGS("/tmp", "/proc/sys"));
    char *text = pod_run(pod, spec, NULL);
    CHECK(!strstr(text, "secret\n") || !strstr(text, "secretx"));
    CHECK_TEXT(text, "dir=1\n");
    CHECK_TEXT(text, "Read-only file system");
    CHECK_TEXT(text, "file=0\n"); /* goes nowhere */
    CHECK_TEXT(text, "tmp=1\n");
    CHECK_TEXT(text, "sys=1\n");
    CHECK_TEXT(text, "um=1\n");
    CHECK(strncmp(text, "ls: ", 4) == 0 || strncmp(text, "touch: ", 7) == 0); /* nothing before */
}

static void test_masked_paths_show_nothing(void **state)
{
    with_sandbox(NULL, body_masks);
}

static void body_readonly_root(struct pod *pod)
{
    container_spec_t *spec =
        spec_new(pod, "touch /a; echo root=$?; touch /dev/shm/a; echo shm=$?; touch /vol/a; echo "
                      "vol=$?; touch /dev/a; echo dev=$?");
    spec->rootfs_readonly = true;
    spec_mount(spec, PODD__SHIM__MOUNT__KIND__TMPFS, "/vol", "", "size=1m", 0);
    char *text = pod_run(pod, spec, NULL);
    CHECK_TEXT(text, "root=1\n");
    CHECK_TEXT(text, "shm=0\n");
    CHECK_TEXT(text, "vol=0\n"); /* its mount point was made before the root became read-only */
    CHECK_TEXT(text, "dev=0\n");
}

static void test_readonly_root_leaves_volumes_writable(void **state)
{
    with_sandbox(NULL, body_readonly_root);
}

/* ---- Binds ----------------------------------------------------------------------------------- */

static char host_dir[] = "/tmp/podd-test-runtime-XXXXXX";

static void body_binds(struct pod *pod)
{
    container_spec_t *spec = spec_new(
        pod, "cat /data/deep/file /etc/hosts; echo w > /data/new; echo rw=$?; echo w > /ro/new; "
             "echo ro=$?; ls /made; cat /run/x/resolv.conf; mount | grep /data");
    char *hosts = xasprintf("%s/hosts", host_dir), *made = xasprintf("%s/made/up", host_dir);
    CHECK(symlinkat("../run/x/resolv.conf", pod->rootfs, "etc/resolv.conf") == 0);
    spec_mount(spec, PODD__SHIM__MOUNT__KIND__BIND, "/data", host_dir, "", MOUNT_ATTR_NODEV);
    spec_mount(spec, PODD__SHIM__MOUNT__KIND__BIND, "/etc/hosts", hosts, "", 0);
    spec_mount(spec, PODD__SHIM__MOUNT__KIND__BIND, "/ro", host_dir, "", MOUNT_ATTR_RDONLY)
        ->recursive = true;
    spec_mount(spec, PODD__SHIM__MOUNT__KIND__BIND, "/made", made, "", 0)->create_source = true;
    /* A dangling link of the image stands for what it names, inside. */
    spec_mount(spec, PODD__SHIM__MOUNT__KIND__BIND, "/etc/resolv.conf", hosts, "", 0);
    char *text = pod_run(pod, spec, NULL);
    CHECK_TEXT(text, "deep file\n");
    CHECK_TEXT(text, "127.0.0.1 pod\n");
    CHECK_TEXT(text, "rw=0\n");
    CHECK_TEXT(text, "ro=1\n");
    CHECK_TEXT(text, "nodev");
    CHECK(access(made, F_OK) == 0);
    const char *first = strstr(text, "127.0.0.1 pod\n");
    CHECK(first && strstr(first + 1, "127.0.0.1 pod\n"));
}

static void body_idmapped(struct pod *pod)
{
    static id_map_t ids = {.base = PROTOBUF_C_MESSAGE_INIT(&podd__shim__id_map__descriptor),
                           .container_id = 0,
                           .host_id = 4000,
                           .length = 10};
    static id_map_t *maps[] = {&ids};
    container_spec_t *spec = spec_new(pod, "stat -c %u:%g /data");
    char *dir = xasprintf("%s/idmapped", host_dir);
    mount_spec_t *m = spec_mount(spec, PODD__SHIM__MOUNT__KIND__BIND, "/data", dir, "", 0);
    m->uid_maps = m->gid_maps = maps;
    m->n_uid_maps = m->n_gid_maps = 1;
    m->create_source = true;
    char *text = pod_run(pod, spec, NULL);
    CHECK_TEXT(text, "4000:4000\n");
}

static void test_binds_show_files_of_the_node(void **state)
{
    assert_non_null(mkdtemp(host_dir));
    int fd = open(host_dir, O_RDONLY | O_DIRECTORY);
    mkdirat(fd, "deep", 0755);
    file_put(fd, "deep/file", "deep file\n", 0644);
    file_put(fd, "hosts", "127.0.0.1 pod\n", 0644);
    close(fd);
    with_sandbox(NULL, body_binds);
    with_sandbox(NULL, body_idmapped);
    struct err e = ERR_INIT;
    assert_int_equal(tree_remove(AT_FDCWD, host_dir, &e), 0);
}

/* ---- Propagation ------------------------------------------------------------------------------
 */

static char shared_dir[] = "/tmp/podd-test-runtime-shared-XXXXXX";

/* The node of this pod has a shared mount. */
static void prepare_shared_mount(struct pod *pod)
{
    CHECK(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    CHECK(mount("tmpfs", shared_dir, "tmpfs", 0, "") == 0);
    CHECK(mount(NULL, shared_dir, NULL, MS_SHARED, NULL) == 0);
    char *inner = xasprintf("%s/inner", shared_dir);
    CHECK(mkdir(inner, 0755) == 0);
}

/* Something is mounted on inner/ of the node's directory, or looked for there. */
static int on_node(const struct pod *pod, const char *path, bool do_mount)
{
    pid_t pid = fork();
    if (pid == 0) {
        CHECK(setns(pod->ns.host_mntns, CLONE_NEWNS) == 0);
        if (do_mount)
            CHECK(mount("tmpfs", path, "tmpfs", 0, "") == 0);
        char *file = xasprintf("%s/file", path);
        if (do_mount)
            CHECK(close(open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0644)) == 0);
        _exit(access(file, F_OK) == 0 ? 0 : 2);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void body_propagation(struct pod *pod)
{
    char *inner = xasprintf("%s/inner", shared_dir);
    const char *wait = "i=0; while [ $i -lt 100 ] && ! [ -e /data/inner/file ]; do sleep 0.02; "
                       "i=$((i+1)); done; ls /data/inner/file";
    static const Podd__Shim__Mount__Propagation kinds[] = {
        PODD__SHIM__MOUNT__PROPAGATION__HOST_TO_CONTAINER,
        PODD__SHIM__MOUNT__PROPAGATION__PRIVATE,
    };
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        container_spec_t *spec = spec_new(pod, wait);
        spec_mount(spec, PODD__SHIM__MOUNT__KIND__BIND, "/data", shared_dir, "", 0)->propagation =
            kinds[i];
        struct running r;
        CHECK_OK(pod_start(pod, spec, &r, e));
        CHECK(on_node(pod, inner, true) == 0);
        char *text = running_end(&r, NULL);
        CHECK(str_equal(text, "/data/inner/file\n") == (i == 0));
        pod->rootfs = rootfs_new(0);
        CHECK(umount2(inner, MNT_DETACH) < 0); /* not from here */
        pid_t pid = fork();
        if (pid == 0)
            _exit(setns(pod->ns.host_mntns, CLONE_NEWNS) < 0 || umount2(inner, 0) < 0);
        int status;
        CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    }
    container_spec_t *spec =
        spec_new(pod, "mount -t tmpfs x /data/inner && touch /data/inner/file");
    process_spec_t *p = spec->process;
    p->cap_bounding = p->cap_permitted = p->cap_effective = capability_all();
    spec_mount(spec, PODD__SHIM__MOUNT__KIND__BIND, "/data", shared_dir, "", 0)->propagation =
        PODD__SHIM__MOUNT__PROPAGATION__BIDIRECTIONAL;
    int code;
    char *text = pod_run(pod, spec, &code);
    CHECK(str_equal(text, "") && code == 0);
    CHECK(on_node(pod, inner, false) == 0);

    pod->rootfs = rootfs_new(0);
    spec = spec_new(pod, "true");
    spec_mount(spec, PODD__SHIM__MOUNT__KIND__BIND, "/data", "/etc", "", 0)->propagation =
        PODD__SHIM__MOUNT__PROPAGATION__HOST_TO_CONTAINER;
    struct running r;
    struct err failure = ERR_INIT;
    CHECK(pod_start(pod, spec, &r, &failure) < 0);
    CHECK_TEXT(err_text(&failure), "/etc is not on a shared or slave mount");
}

static void test_mounts_propagate_as_asked(void **state)
{
    assert_non_null(mkdtemp(shared_dir));
    with_sandbox(prepare_shared_mount, body_propagation);
    assert_int_equal(rmdir(shared_dir), 0);
}

static void body_missing_source(struct pod *pod)
{
    container_spec_t *spec = spec_new(pod, "true");
    spec_mount(spec, PODD__SHIM__MOUNT__KIND__BIND, "/data", "/no/such/source", "", 0);
    struct running r;
    struct err e = ERR_INIT;
    CHECK(pod_start(pod, spec, &r, &e) < 0);
    CHECK(e.code == ERR_INVALID_ARGUMENT);
    CHECK_TEXT(err_text(&e), "mount source /no/such/source: No such file or directory");
    CHECK(access("/no", F_OK) < 0);
}

static void test_missing_mount_source_is_named(void **state)
{
    with_sandbox(NULL, body_missing_source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_masked_paths_show_nothing),
        cmocka_unit_test(test_readonly_root_leaves_volumes_writable),
        cmocka_unit_test(test_binds_show_files_of_the_node),
        cmocka_unit_test(test_mounts_propagate_as_asked),
        cmocka_unit_test(test_missing_mount_source_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
