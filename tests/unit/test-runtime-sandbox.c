/*
 * What a process is after sandbox_enter(): its own network, names and settings, the node's files.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/utsname.h>

#include "runtime-pod.h"

static sysctl_t sysctl_init(const char *key, const char *value)
{
    sysctl_t s = PODD__SHIM__SYSCTL__INIT;
    s.key = (char *)key;
    s.value = (char *)value;
    return s;
}

static char *file_text(const char *path)
{
    struct bytes text = {0};
    CHECK_OK(file_read(AT_FDCWD, path, 4096, &text, e));
    return (char *)text.data;
}

static void prepare_sysctls(struct pod *pod)
{
    static sysctl_t s[4];
    static sysctl_t *list[] = {&s[0], &s[1], &s[2], &s[3]};
    s[0] = sysctl_init("net.ipv4.ip_unprivileged_port_start", "7");
    s[1] = sysctl_init("net/ipv4/conf/lo/rp_filter", "2");
    s[2] = sysctl_init("net.ipv4.ping_group_range", "0 77");
    s[3] = sysctl_init("kernel.shm_rmid_forced", "1");
    pod->request.sysctls = list;
    pod->request.n_sysctls = ARRAY_SIZE(list);
    pod->request.shm_size = 1 << 20;
}

static void body_settings(struct pod *pod)
{
    struct utsname name;
    CHECK(uname(&name) == 0 && str_equal(name.nodename, "test-pod"));
    CHECK_TEXT(file_text("/proc/sys/net/ipv4/ip_unprivileged_port_start"), "7\n");
    CHECK_TEXT(file_text("/proc/sys/net/ipv4/conf/lo/rp_filter"), "2\n");
    CHECK_TEXT(file_text("/proc/sys/net/ipv4/ping_group_range"), "0\t77\n");
    CHECK_TEXT(file_text("/proc/sys/kernel/shm_rmid_forced"), "1\n");

    container_spec_t *spec = spec_new(pod, "cat /proc/sys/net/ipv4/ip_unprivileged_port_start; "
                                           "mount; dd if=/dev/zero of=/dev/shm/x bs=1M count=2");
    char *text = pod_run(pod, spec, NULL);
    CHECK_TEXT(text, "7\n");
    CHECK_TEXT(text, "No space left");
}

static void test_settings_are_the_pods_alone(void **state)
{
    char *port = file_text("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    char *range = file_text("/proc/sys/net/ipv4/ping_group_range");
    struct utsname before, after;
    uname(&before);
    with_sandbox(prepare_sysctls, body_settings);
    uname(&after);
    assert_string_equal(before.nodename, after.nodename);
    char *port_after = file_text("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    char *range_after = file_text("/proc/sys/net/ipv4/ping_group_range");
    assert_string_equal(port, port_after);
    assert_string_equal(range, range_after);
    free(port);
    free(range);
    free(port_after);
    free(range_after);
}

static void body_loopback(struct pod *pod)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(server, (struct sockaddr *)&address, len) == 0 && listen(server, 1) == 0);
    CHECK(getsockname(server, (struct sockaddr *)&address, &len) == 0);
    CHECK(connect(client, (struct sockaddr *)&address, len) == 0);
    close(server);
    close(client);
}

static void test_loopback_is_up(void **state)
{
    with_sandbox(NULL, body_loopback);
}

static char node_dir[] = "/tmp/podd-test-runtime-node-XXXXXX";

/* The process sees the node's file system as it is, also what is mounted later. */
static void body_node_files(struct pod *pod)
{
    char *path = xasprintf("%s/log", node_dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    CHECK(fd >= 0);
    close(fd);
    CHECK(access("/proc/self/status", F_OK) == 0);
    /* One more mount on the node, made from there. */
    pid_t pid = fork();
    if (pid == 0) {
        CHECK(setns(pod->ns.host_mntns, CLONE_NEWNS) == 0);
        CHECK(mount("tmpfs", node_dir, "tmpfs", 0, "") == 0);
        char *inner = xasprintf("%s/inner", node_dir);
        CHECK(close(open(inner, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)) == 0);
        _exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    char *inner = xasprintf("%s/inner", node_dir);
    CHECK(access(inner, F_OK) == 0);
    /* A mount source is found there, too. */
    container_spec_t *spec = spec_new(pod, "ls /data");
    spec_mount(spec, PODD__SHIM__MOUNT__KIND__BIND, "/data", node_dir, "", 0);
    CHECK_TEXT(pod_run(pod, spec, NULL), "inner\n");
    pid = fork();
    if (pid == 0)
        _exit(setns(pod->ns.host_mntns, CLONE_NEWNS) < 0 || umount2(node_dir, 0) < 0);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0); /* nothing keeps it busy */
    CHECK(access(inner, F_OK) < 0);
}

static void test_node_files_stay_in_reach(void **state)
{
    assert_non_null(mkdtemp(node_dir));
    with_sandbox(NULL, body_node_files);
    struct err e = ERR_INIT;
    assert_int_equal(tree_remove(AT_FDCWD, node_dir, &e), 0);
}

static void body_shared_shm(struct pod *pod)
{
    pod_run(pod, spec_new(pod, "echo from one > /dev/shm/file; chmod 600 /dev/shm/file"), NULL);
    pod->rootfs = rootfs_new(0);
    CHECK_TEXT(pod_run(pod, spec_new(pod, "cat /dev/shm/file"), NULL), "from one\n");
    CHECK(access("/dev/shm/file", F_OK) < 0); /* the node's is another */
}

static void test_containers_of_a_pod_share_dev_shm(void **state)
{
    with_sandbox(NULL, body_shared_shm);
}

static void prepare_host(struct pod *pod)
{
    pod->request.host_network = pod->request.host_ipc = pod->request.host_uts = true;
}

static void body_host(struct pod *pod)
{
    static const char *const names[] = {"net", "ipc", "uts", "user", "pid"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        char own[64] = "", parent[64] = "", *a = xasprintf("/proc/self/ns/%s", names[i]),
             *b = xasprintf("/proc/%d/ns/%s", (int)getppid(), names[i]);
        CHECK(readlink(a, own, sizeof(own) - 1) > 0 && readlink(b, parent, sizeof(parent) - 1) > 0);
        CHECK(str_equal(own, parent));
    }
    CHECK(pod->ns.shm == -1);
    char *text = pod_run(pod, spec_new(pod, "hostname; cat /proc/self/mountinfo"), NULL);
    CHECK_TEXT(text, " /dev/shm ");
}

static void test_host_namespaces_are_kept(void **state)
{
    with_sandbox(prepare_host, body_host);
}

static void prepare_prepared(struct pod *pod)
{
    CHECK_OK(sandbox_prepare(e));
}

static void test_prepared_process_makes_the_same_sandbox(void **state)
{
    char again[] = "/tmp/podd-test-runtime-node-XXXXXX";
    memcpy(node_dir, again, sizeof(again));
    assert_non_null(mkdtemp(node_dir));
    with_sandbox(prepare_prepared, body_node_files);
    struct err e = ERR_INIT;
    assert_int_equal(tree_remove(AT_FDCWD, node_dir, &e), 0);
    with_sandbox(prepare_prepared, body_shared_shm);
}

static void prepare_prepared_user_ns(struct pod *pod)
{
    static id_map_t map = {.base = PROTOBUF_C_MESSAGE_INIT(&podd__shim__id_map__descriptor),
                           .host_id = 300000,
                           .length = 65536};
    static id_map_t *maps[] = {&map};
    pod->request.uid_maps = pod->request.gid_maps = maps;
    pod->request.n_uid_maps = pod->request.n_gid_maps = 1;
    CHECK_OK(sandbox_prepare(e));
}

static void body_uid_map(struct pod *pod)
{
    CHECK_TEXT(pod_run(pod, spec_new(pod, "cat /proc/self/uid_map"), NULL), "300000");
}

static void test_prepared_process_makes_user_namespaces(void **state)
{
    with_sandbox(prepare_prepared_user_ns, body_uid_map);
}

/* ---- Refused sysctls ------------------------------------------------------------------------- */

static void expect_refused(const char *key, bool host, const char *why)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        Podd__Shim__SpawnRequest request = PODD__SHIM__SPAWN_REQUEST__INIT;
        sysctl_t s = sysctl_init(key, "1"), *list[] = {&s};
        request.host_network = request.host_ipc = request.host_uts = host;
        request.sysctls = list;
        request.n_sysctls = 1;
        struct pod_namespaces ns;
        struct err e = ERR_INIT;
        CHECK(sandbox_enter(&request, &ns, &e) < 0);
        CHECK(e.code == ERR_INVALID_ARGUMENT);
        CHECK_TEXT(err_text(&e), why);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void test_foreign_sysctls_are_refused(void **state)
{
    static const char *const malformed[] = {
        "",
        ".",
        "net..x",
        "net.ipv4.",
        ".net",
        "net/../kernel/core_pattern",
        "net/ipv4/./x",
        "net.ipv4.../../kernel.core_pattern",
        "net.ipv4.x\n",
        "net ipv4",
        "net/ipv4//x",
        "net.*",
        "net.ipv4.conf.lo.rp_filter=1",
    };
    for (size_t i = 0; i < ARRAY_SIZE(malformed); i++)
        expect_refused(malformed[i], false, "is not a name of a kernel setting");
    expect_refused("kernel.core_pattern", false, "belongs to the whole node");
    expect_refused("vm.swappiness", false, "belongs to the whole node");
    expect_refused("kernel/../net", false, "is not a name");
    expect_refused("network.x", false, "belongs to the whole node");
    expect_refused("kernel.hostname", false, "belongs to the whole node");
    expect_refused("net.ipv4.ip_forward", true, "shares the node's network namespace");
    expect_refused("kernel.shmmax", true, "shares the node's IPC namespace");
    expect_refused("fs.mqueue.msg_max", true, "shares the node's IPC namespace");
    expect_refused("kernel.domainname", true, "shares the node's UTS namespace");
    expect_refused("net.ipv4.no_such_setting", false, "this kernel has no such setting");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings_are_the_pods_alone),
        cmocka_unit_test(test_loopback_is_up),
        cmocka_unit_test(test_node_files_stay_in_reach),
        cmocka_unit_test(test_containers_of_a_pod_share_dev_shm),
        cmocka_unit_test(test_host_namespaces_are_kept),
        cmocka_unit_test(test_prepared_process_makes_the_same_sandbox),
        cmocka_unit_test(test_prepared_process_makes_user_namespaces),
        cmocka_unit_test(test_foreign_sysctls_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
