/*
 * Processes started in a running container, and how its cgroup finds them.
 */
#include <poll.h>
#include <sys/pidfd.h>

#include "runtime-pod.h"

/* Runs a command in the container; its output. */
static char *exec_run(struct pod *pod, const struct running *r, process_spec_t *p, int *ret_code)
{
    static int serial;
    int pipes[2], null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK(null >= 0 && pipe2(pipes, O_CLOEXEC) == 0);
    struct process_io io = {.stdin_fd = null, .stdout_fd = pipes[1], .stderr_fd = pipes[1]};
    struct process process = PROCESS_NULL;
    struct cgroup *leaf;
    char *name = xasprintf("exec%d", serial++);
    CHECK_OK(cgroup_create_leaf(r->cgroup, name, &leaf, e));
    CHECK_OK(container_exec(p, &r->process, &pod->ns, leaf, &io, &process, e));
    close(pipes[1]);
    char *text = output_read(pipes[0]);
    *ret_code = process_wait(&process);
    CHECK(cgroup_remove(leaf) == 0);
    cgroup_free(leaf);
    close(pipes[0]);
    close(null);
    free(name);
    return text;
}

static void running_kill(struct running *r)
{
    CHECK(cgroup_signal(r->cgroup, SIGKILL) == 0);
    int code;
    running_end(r, &code);
    CHECK(code == 128 + SIGKILL);
}

static void body_joins(struct pod *pod)
{
    container_spec_t *spec = spec_new(pod, "touch /marker; exec sleep 100");
    struct running r;
    CHECK_OK(pod_start(pod, spec, &r, e));
    process_spec_t *p = process_new(
        STRINGS("sh", "-c",
                "for n in mnt pid net ipc uts cgroup; do test \"$(readlink /proc/1/ns/$n)\" = "
                "\"$(readlink /proc/self/ns/$n)\" || echo other $n; done; ls /marker; cat "
                "/proc/self/status /proc/self/cgroup; for i in /proc/self/fd/*; do echo $i; done; "
                "exit 7"));
    int code;
    char *text = exec_run(pod, &r, p, &code);
    CHECK(code == 7);
    CHECK(!strstr(text, "other"));
    CHECK_TEXT(text, "/marker\n");
    CHECK_TEXT(text, "NoNewPrivs:\t1\n");
    /* The leaf, in the container's view. */
    CHECK_TEXT(text, cgroup_mode() == CGROUP_V1 ? "freezer:/exec" : "0::/exec");
    CHECK(!strstr(text, "/proc/self/fd/4")); /* 3 is the directory being listed */
    running_kill(&r);
}

static void test_exec_joins_every_namespace(void **state)
{
    with_sandbox(NULL, body_joins);
}

static void body_same_limits(struct pod *pod)
{
    container_spec_t *spec = spec_new(pod, "exec sleep 100");
    const struct cgroup_limits limits = {.pids = 20, .memory_bytes = 32 << 20};
    CHECK_OK(cgroup_plan(&limits, &spec->cgroup_writes, &spec->n_cgroup_writes, e));
    struct running r;
    CHECK_OK(pod_start(pod, spec, &r, e));
    int code;
    char *text = exec_run(
        pod, &r, process_new(STRINGS("sh", "-c", "dd if=/dev/zero of=/dev/shm/x bs=1M count=60")),
        &code);
    CHECK(code == 128 + SIGKILL || strstr(text, "No space"));
    CHECK(cgroup_oom_killed(r.cgroup));
    struct cgroup_usage usage;
    CHECK_OK(cgroup_read_usage(spec->cgroup_path, &usage, e));
    CHECK(usage.memory_limit_bytes == 32 << 20);
    CHECK(usage.memory_bytes > 0 && usage.memory_bytes <= 32 << 20);
    CHECK(usage.pids >= 1 && usage.cpu_ns > 0 && usage.page_faults > 0);
    running_kill(&r);
}

static void test_exec_counts_against_the_containers_limits(void **state)
{
    with_sandbox(NULL, body_same_limits);
}

static void body_killing(struct pod *pod)
{
    container_spec_t *spec = spec_new(pod, "exec sleep 100");
    struct running r;
    CHECK_OK(pod_start(pod, spec, &r, e));
    struct process_io io = {.stdin_fd = 0, .stdout_fd = 1, .stderr_fd = 2};
    struct cgroup *leaf;
    struct process p = PROCESS_NULL;
    CHECK_OK(cgroup_create_leaf(r.cgroup, "exec-kill", &leaf, e));
    /* Leaves its session and its parent; only the cgroup still knows it. */
    CHECK_OK(
        container_exec(process_new(STRINGS("sh", "-c", "setsid sh -c 'sleep 100 & sleep 100' &")),
                       &r.process, &pod->ns, leaf, &io, &p, e));
    CHECK(process_wait(&p) == 0);
    CHECK(!cgroup_is_empty(leaf));
    CHECK(cgroup_remove(leaf) == -EBUSY);
    CHECK(cgroup_signal(leaf, SIGKILL) == 0);
    for (int i = 0; i < 1000 && !cgroup_is_empty(leaf); i++)
        usleep(1000);
    CHECK(cgroup_remove(leaf) == 0);
    cgroup_free(leaf);
    CHECK(kill(r.process.pid, 0) == 0); /* the container is untouched */
    CHECK(!cgroup_is_empty(r.cgroup));
    running_kill(&r);
}

static void test_killing_an_exec_kills_all_of_it_and_nothing_else(void **state)
{
    with_sandbox(NULL, body_killing);
}

static void body_errors(struct pod *pod)
{
    container_spec_t *spec = spec_new(pod, "exec sleep 100");
    struct running r;
    CHECK_OK(pod_start(pod, spec, &r, e));
    struct process_io io = {.stdin_fd = 0, .stdout_fd = 1, .stderr_fd = 2};
    struct cgroup *leaf;
    struct process p = PROCESS_NULL;
    struct err failure = ERR_INIT;
    CHECK_OK(cgroup_create_leaf(r.cgroup, "exec-bad", &leaf, e));
    CHECK(container_exec(process_new(STRINGS("nope")), &r.process, &pod->ns, leaf, &io, &p,
                         &failure) < 0);
    CHECK_TEXT(err_text(&failure), "exec in container: exec nope: no such command in PATH (/bin)");
    CHECK(cgroup_is_empty(leaf));
    err_clear(&failure);
    CHECK(sigqueue(r.process.pid, SIGKILL, (union sigval){0}) == 0);
    usleep(50000);
    CHECK(container_exec(process_new(STRINGS("true")), &r.process, &pod->ns, leaf, &io, &p,
                         &failure) < 0);
    CHECK(failure.code == ERR_FAILED_PRECONDITION);
    CHECK(cgroup_remove(leaf) == 0);
    running_kill(&r);
}

static void test_exec_errors_are_told(void **state)
{
    with_sandbox(NULL, body_errors);
}

/* A shim that dies takes its containers along. */
static void body_shim_dies(struct pod *pod)
{
    int pipes[2];
    CHECK(pipe2(pipes, O_CLOEXEC) == 0);
    pid_t shim = fork();
    if (shim == 0) {
        struct running r;
        CHECK_OK(pod_start(pod, spec_new(pod, "exec sleep 100"), &r, e));
        CHECK(write(pipes[1], &r.process.pid, sizeof(pid_t)) == sizeof(pid_t));
        pause();
    }
    pid_t pid;
    CHECK(read(pipes[0], &pid, sizeof(pid)) == sizeof(pid));
    int pidfd = pidfd_open(pid, 0);
    CHECK(pidfd >= 0);
    struct pollfd p = {.fd = pidfd, .events = POLLIN};
    CHECK(poll(&p, 1, 50) == 0);
    CHECK(kill(shim, SIGKILL) == 0 && waitpid(shim, NULL, 0) == shim);
    CHECK(poll(&p, 1, 5000) == 1);
}

static void test_containers_die_with_their_shim(void **state)
{
    with_sandbox(NULL, body_shim_dies);
}

/* ---- PID namespaces -------------------------------------------------------------------------- */

static void prepare_shared_pid(struct pod *pod)
{
    pod->request.shared_pid = true;
}

static void body_shared_pid(struct pod *pod)
{
    struct process init = PROCESS_NULL;
    CHECK_OK(sandbox_start_init(&pod->ns, &init, e));
    container_spec_t *spec = spec_new(pod, "(sleep 0.2 &) ; cat /proc/1/comm /proc/1/status; echo "
                                           "pid=$$; ls /proc/1/root; ls /proc/1/fd; sleep 0.5; ps");
    spec->pid_mode = PODD__SHIM__PID_MODE__PID_POD;
    char *text = pod_run(pod, spec, NULL);
    CHECK_TEXT(text, "pod-init\n");
    CHECK_TEXT(text, "CapEff:\t0000000000000000\n");
    CHECK(!strstr(text, "pid=1\n"));
    CHECK_TEXT(text, "/proc/1/root: Permission denied");
    CHECK(!strstr(text, "[sleep]")); /* the orphan was reaped */
    CHECK(sigqueue(init.pid, SIGKILL, (union sigval){0}) == 0);
    CHECK(process_wait(&init) == 128 + SIGKILL);
}

static void test_shared_pid_namespace_has_a_reaper(void **state)
{
    with_sandbox(prepare_shared_pid, body_shared_pid);
}

static void body_host_pid(struct pod *pod)
{
    container_spec_t *spec = spec_new(pod, "readlink /proc/self/ns/pid; echo pid=$$");
    spec->pid_mode = PODD__SHIM__PID_MODE__PID_HOST;
    char own[64] = "";
    CHECK(readlink("/proc/self/ns/pid", own, sizeof(own) - 1) > 0);
    char *text = pod_run(pod, spec, NULL);
    CHECK_TEXT(text, own);
}

static void test_host_pid_namespace_is_the_nodes(void **state)
{
    with_sandbox(NULL, body_host_pid);
}

static void prepare_user_ns(struct pod *pod)
{
    static id_map_t map = {.base = PROTOBUF_C_MESSAGE_INIT(&podd__shim__id_map__descriptor),
                           .host_id = 200000,
                           .length = 65536};
    static id_map_t *maps[] = {&map};
    pod->request.uid_maps = pod->request.gid_maps = maps;
    pod->request.n_uid_maps = pod->request.n_gid_maps = 1;
}

static void body_user_ns(struct pod *pod)
{
    struct process init = PROCESS_NULL;
    CHECK_OK(sandbox_start_init(&pod->ns, &init, e));
    container_spec_t *spec = spec_new(pod, "exec sleep 100");
    spec->pid_mode = PODD__SHIM__PID_MODE__PID_POD;
    struct running r;
    CHECK_OK(pod_start(pod, spec, &r, e));
    int code;
    process_spec_t *p =
        process_new(STRINGS("sh", "-c", "id; cat /proc/self/uid_map; echo > /dev/stdout"));
    p->uid = 5;
    char *text = exec_run(pod, &r, p, &code);
    CHECK_TEXT(text, "uid=5 gid=0");
    CHECK_TEXT(text, "200000");
    CHECK(code == 0);
    running_kill(&r);
    CHECK(sigqueue(init.pid, SIGKILL, (union sigval){0}) == 0);
    CHECK(process_wait(&init) == 128 + SIGKILL);
}

static void test_exec_and_shared_pid_work_in_a_user_namespace(void **state)
{
    with_sandbox(prepare_user_ns, body_user_ns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exec_joins_every_namespace),
        cmocka_unit_test(test_exec_counts_against_the_containers_limits),
        cmocka_unit_test(test_killing_an_exec_kills_all_of_it_and_nothing_else),
        cmocka_unit_test(test_exec_errors_are_told),
        cmocka_unit_test(test_containers_die_with_their_shim),
        cmocka_unit_test(test_shared_pid_namespace_has_a_reaper),
        cmocka_unit_test(test_host_pid_namespace_is_the_nodes),
        cmocka_unit_test(test_exec_and_shared_pid_work_in_a_user_namespace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
