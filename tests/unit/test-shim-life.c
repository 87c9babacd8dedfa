/*
 * The life of a shim and its containers, with the real runtime: needs root. Everything happens in
 * a directory and cgroups of the test's own.
 */
#include "shim-kit.h"

#include "../../src/shim/client.h"

static void a_spawned_shim_has_its_own_network_and_session(void **state)
{
    struct kit *k = *state;
    struct stat own, pods;

    kit_spawn(k);
    assert_true(shim_pid(k->shim) > 0);
    assert_true(shim_start_time(k->shim) > 0);
    assert_true(shim_netns(k->shim) >= 0);
    assert_int_equal(stat("/proc/self/ns/net", &own), 0);
    assert_int_equal(fstat(shim_netns(k->shim), &pods), 0);
    assert_int_not_equal(own.st_ino, pods.st_ino);
    assert_int_equal(getsid(shim_pid(k->shim)), shim_pid(k->shim));
    assert_int_equal(shim_info(k->shim)->n_containers, 0);
}

static void a_pod_of_the_hosts_network_has_none_of_its_own(void **state)
{
    struct kit *k = *state;
    spawn_request_t request;

    kit_request(k, &request);
    request.host_network = true;
    kit_spawn_with(k, &request);
    assert_ok(&k->error);
    assert_int_equal(shim_netns(k->shim), -1);
}

static void a_failed_spawn_says_why_and_leaves_nothing(void **state)
{
    struct kit *k = *state;
    spawn_request_t request;

    kit_request(k, &request);
    request.directory = "/nonexistent/pod";
    kit_spawn_with(k, &request);
    assert_null(k->shim);
    assert_non_null(strstr(err_text(&k->error), "/nonexistent/pod"));
    /* The zygote is as good as before. */
    kit_spawn(k);
}

struct many {
    struct kit *kit;
    char directory[96], id[16];
    struct shim *shim;
    bool ready;
};

static void many_on_ready(void *arg, struct shim *shim_take, const struct err *e)
{
    struct many *m = arg;

    m->ready = true;
    m->shim = shim_take;
    if (!shim_take)
        print_error("%s: %s\n", m->id, err_text(e));
    loop_stop(m->kit->loop);
}

static void many_on_done(void *arg, const struct err *e)
{
    struct many *m = arg;

    m->ready = true;
    assert_ok(e);
    loop_stop(m->kit->loop);
}

static bool all_ready(const struct many *pods, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!pods[i].ready)
            return false;
    return true;
}

static void many_pods_come_up_and_go_down_at_once(void **state)
{
    static const struct shim_events none = {NULL, NULL};
    struct kit *k = *state;
    struct many pods[12];

    for (size_t i = 0; i < ARRAY_SIZE(pods); i++) {
        spawn_request_t request;
        char cgroup[96];
        pods[i] = (struct many){.kit = k};
        snprintf(pods[i].id, sizeof(pods[i].id), "pod%zu", i);
        snprintf(pods[i].directory, sizeof(pods[i].directory), "%s/%s", k->directory, pods[i].id);
        snprintf(cgroup, sizeof(cgroup), "%s/%s/shim", k->cgroup, pods[i].id);
        assert_int_equal(mkdir(pods[i].directory, 0700), 0);
        kit_request(k, &request);
        request.sandbox_id = pods[i].id;
        request.directory = pods[i].directory;
        request.cgroup_path = cgroup;
        shim_spawn(k->zygote, &request, &none, NULL, many_on_ready, &pods[i]);
    }
    WAIT_FOR(k, all_ready(pods, ARRAY_SIZE(pods)));
    for (size_t i = 0; i < ARRAY_SIZE(pods); i++) {
        char path[64], want[128];
        assert_non_null(pods[i].shim);
        assert_string_equal(shim_info(pods[i].shim)->sandbox_id, pods[i].id);
        /* It lies in its cgroup, and its command line says whose it is. */
        snprintf(path, sizeof(path), "/proc/%d/cgroup", shim_pid(pods[i].shim));
        snprintf(want, sizeof(want), "%s/%s/shim\n", k->cgroup, pods[i].id);
        _cleanup_free_ char *cgroups = kit_read_file(path);
        assert_non_null(strstr(cgroups, want));
        snprintf(path, sizeof(path), "/proc/%d/cmdline", shim_pid(pods[i].shim));
        _cleanup_free_ char *cmdline = kit_read_file(path);
        assert_string_equal(cmdline + strlen(cmdline) + 1, pods[i].id);
        pods[i].ready = false;
        shim_shutdown(pods[i].shim, many_on_done, &pods[i]);
    }
    WAIT_FOR(k, all_ready(pods, ARRAY_SIZE(pods)));
    for (size_t i = 0; i < ARRAY_SIZE(pods); i++)
        shim_free(pods[i].shim);
}

static void the_program_cannot_be_overwritten(void **state)
{
    struct kit *k = *state;
    char path[64];

    kit_spawn(k);
    snprintf(path, sizeof(path), "/proc/%d/exe", shim_pid(k->shim));
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    int seals = fcntl(fd, F_GET_SEALS);
    assert_true(seals > 0 && (seals & F_SEAL_WRITE) && (seals & F_SEAL_SEAL));
}

static void nothing_of_the_daemons_stays_open_in_a_shim(void **state)
{
    struct kit *k = *state;
    char path[64], target[256];
    _cleanup_err_ struct err e = ERR_INIT;
    int fds[2];

    assert_int_equal(pipe(fds), 0); /* without O_CLOEXEC */
    zygote_free(k->zygote);
    assert_int_equal(zygote_start(k->loop, PODD_SHIM_PATH, &k->zygote, &e), 0);
    kit_spawn(k);
    fd_close(fds[1]);
    struct pollfd p = {.fd = fds[0], .events = POLLIN};
    assert_int_equal(poll(&p, 1, 0), 1); /* its end: nobody else has the other side */
    fd_close(fds[0]);
    for (int fd = 0; fd < 3; fd++) {
        snprintf(path, sizeof(path), "/proc/%d/fd/%d", shim_pid(k->shim), fd);
        ssize_t n = readlink(path, target, sizeof(target) - 1);
        assert_true(n > 0);
        target[n] = '\0';
        assert_non_null(strstr(target, fd < 2 ? "/dev/null" : "/shim.log"));
    }
}

static void output_and_exit_code_come_back(void **state)
{
    struct kit *k = *state;
    _cleanup_err_ struct err e = ERR_INIT;
    exit_info_t *record;

    kit_spawn(k);
    kit_run(k, "c1", "echo to out; echo to err >&2; printf rest; exit 7");
    kit_wait_exit(k, 0);
    assert_string_equal(k->exited_id, "c1");
    assert_int_equal(k->exit_code, 7);
    assert_int_equal(k->exit_signal, 0);

    _cleanup_free_ char *log = kit_log_text(k, "c1");
    assert_non_null(strstr(log, "stdout F to out\n"));
    assert_non_null(strstr(log, "stderr F to err\n"));
    assert_non_null(strstr(log, "stdout P rest\n"));

    assert_int_equal(shim_read_exit(k->directory, "c1", &record, &e), 0);
    assert_int_equal(record->code, 7);
    podd__shim__exit_info__free_unpacked(record, NULL);
    CALL(k, shim_remove, "c1");
    assert_ok(&k->error);
    assert_int_equal(shim_read_exit(k->directory, "c1", &record, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
}

static void a_container_starts_with_clean_signals(void **state)
{
    struct kit *k = *state;

    struct kit_spec s;

    kit_spawn(k);
    kit_spec(k, &s, "c1", "/proc/self/status");
    s.args[0] = "cat"; /* and no shell, which sets its own */
    s.args[1] = "/proc/self/status";
    s.process.n_args = 2;
    kit_run_spec(k, &s);
    kit_wait_exit(k, 0);
    _cleanup_free_ char *log = kit_log_text(k, "c1");
    assert_non_null(strstr(log, "SigBlk:\t0000000000000000\n"));
    assert_non_null(strstr(log, "SigIgn:\t0000000000000000\n"));
}

static void a_program_that_is_not_there_fails_the_start(void **state)
{
    struct kit *k = *state;
    struct kit_spec s;

    kit_spawn(k);
    kit_spec(k, &s, "c1", "");
    s.args[0] = "/bin/nonexistent";
    CALL(k, shim_create, &s.spec, kit_rootfs(), NULL, 0);
    assert_ok(&k->error);
    kit_start(k, "c1");
    assert_non_null(strstr(err_text(&k->error), "/bin/nonexistent"));
    /* It has ended, and cannot be started once more, but removed. */
    kit_start(k, "c1");
    assert_int_equal(k->error.code, ERR_FAILED_PRECONDITION);
    CALL(k, shim_remove, "c1");
    assert_ok(&k->error);
    CALL(k, shim_remove, "c1");
    assert_int_equal(k->error.code, ERR_NOT_FOUND);
}

static void a_signal_ends_it_and_is_told(void **state)
{
    struct kit *k = *state;

    kit_spawn(k);
    kit_run(k, "c1", "sleep 1000 & wait");
    CALL(k, shim_remove, "c1");
    assert_int_equal(k->error.code, ERR_FAILED_PRECONDITION);
    CALL(k, shim_signal, "c1", SIGKILL, true);
    assert_ok(&k->error);
    kit_wait_exit(k, 0);
    assert_int_equal(k->exit_code, 128 + SIGKILL);
    assert_int_equal(k->exit_signal, SIGKILL);
    CALL(k, shim_signal, "c1", SIGKILL, true);
    assert_int_equal(k->error.code, ERR_FAILED_PRECONDITION);
}

static void sigterm_does_not_end_a_shim(void **state)
{
    struct kit *k = *state;

    kit_spawn(k);
    kit_run(k, "c1", "sleep 1000");
    assert_int_equal(kill(shim_pid(k->shim), SIGTERM), 0);
    assert_int_equal(kill(shim_pid(k->shim), SIGHUP), 0);
    CALL(k, shim_signal, "c1", SIGKILL, false);
    assert_ok(&k->error);
    kit_wait_exit(k, 0);
    assert_false(k->gone);
}

static void a_killed_shim_takes_its_containers_along(void **state)
{
    struct kit *k = *state;
    unsigned before;

    kit_spawn(k);
    kit_run(k, "c1", "sleep 1000");
    pid_t pid = k->started_pid;
    assert_true(kit_process_lives(pid));
    before = k->calls_done;
    assert_int_equal(kill(shim_pid(k->shim), SIGKILL), 0);
    shim_signal(k->shim, "c1", SIGTERM, false, kit_on_done, k);
    WAIT_FOR(k, k->gone);
    assert_int_equal(k->calls_done, before + 1);
    assert_true(kit_process_ends(pid));
    /* A call after the end fails too. */
    CALL(k, shim_remove, "c1");
    assert_int_equal(k->error.code, ERR_UNAVAILABLE);
}

static void a_new_client_finds_what_happened_without_one(void **state)
{
    struct kit *k = *state;

    kit_spawn(k);
    kit_run(k, "c1", "exit 3");
    kit_wait_exit(k, 0);
    kit_run(k, "c2", "sleep 1000");
    pid_t pid = shim_pid(k->shim);
    uint64_t start_time = shim_start_time(k->shim);
    shim_free(take_ptr(k->shim));

    kit_connect(k, pid, start_time);
    assert_ok(&k->error);
    const Podd__Shim__InfoResponse *info = shim_info(k->shim);
    assert_int_equal(info->n_containers, 2);
    assert_string_equal(info->sandbox_id, "0123456789abcdef");
    assert_string_equal(info->containers[0]->id, "c1");
    assert_int_equal(info->containers[0]->exit->code, 3);
    assert_string_equal(info->containers[1]->id, "c2");
    assert_null(info->containers[1]->exit);
    assert_int_equal(info->containers[1]->pid, k->started_pid);
    CALL(k, shim_signal, "c2", SIGKILL, false);
    kit_wait_exit(k, 1);
    assert_string_equal(k->exited_id, "c2");
}

static bool catches_term(pid_t pid)
{
    char path[64], text[4096];
    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    text[n < 0 ? 0 : n] = '\0';
    const char *caught = strstr(text, "SigCgt:");
    return caught && strtoull(caught + strlen("SigCgt:"), NULL, 16) & 1ULL << (SIGTERM - 1);
}

/* Asks it to end, once it listens. */
static void ask_to_end(pid_t pid)
{
    for (int i = 0; i < 2000 && !catches_term(pid); i++)
        usleep(5000);
    assert_int_equal(kill(pid, SIGTERM), 0);
}

static void assert_exit_record(struct kit *k, const char *id, int code)
{
    exit_info_t *record = NULL;

    for (int i = 0; !record && i < 1000; i++) {
        _cleanup_err_ struct err e = ERR_INIT;
        if (shim_read_exit(k->directory, id, &record, &e) < 0)
            usleep(5000);
    }
    assert_non_null(record);
    assert_int_equal(record->code, code);
    podd__shim__exit_info__free_unpacked(record, NULL);
}

/* The output is drained after the record is written. */
static void assert_log(struct kit *k, const char *id, const char *expected)
{
    _cleanup_free_ char *log = kit_log_text(k, id);

    for (int i = 0; i < 1000 && strlen(log) < strlen(expected); i++) {
        usleep(5000);
        free(log);
        log = kit_log_text(k, id);
    }
    assert_string_equal(log, expected);
}

static void exits_of_a_time_without_clients_are_exact(void **state)
{
    struct kit *k = *state;
    enum { N = 20 };
    pid_t pids[N];
    char ids[N][16];

    kit_spawn(k);
    for (int i = 0; i < N; i++) {
        char script[96];
        snprintf(ids[i], sizeof(ids[i]), "c%d", i);
        snprintf(script, sizeof(script),
                 "trap 'echo bye; exit %d' TERM; while :; do sleep 0.01; done", 100 + i);
        kit_run(k, ids[i], script);
        pids[i] = k->started_pid;
    }
    pid_t pid = shim_pid(k->shim);
    uint64_t start_time = shim_start_time(k->shim);
    shim_free(take_ptr(k->shim));
    assert_int_equal(k->n_exits, 0);
    for (int i = 0; i < N; i++)
        ask_to_end(pids[i]);
    for (int i = 0; i < N; i++) {
        assert_exit_record(k, ids[i], 100 + i);
        assert_log(k, ids[i], "stdout F bye\n");
    }
    kit_connect(k, pid, start_time);
    assert_ok(&k->error);
    assert_int_equal(shim_info(k->shim)->n_containers, N);
    for (size_t i = 0; i < N; i++)
        assert_int_equal(shim_info(k->shim)->containers[i]->exit->code, 100 + (int)i);
    assert_int_equal(kit_zombies(k), 0);
}

static void a_broken_connection_is_made_anew(void **state)
{
    static const uint8_t nonsense[4] = {0};
    struct kit *k = *state;

    kit_spawn(k);
    kit_run(k, "c1", "sleep 0.1; exit 5");
    kit_run(k, "c2", "sleep 1000");
    /* The shim ends a connection that makes no sense; the call on its way fails. */
    assert_int_equal(write(k->shim->ch.fd, nonsense, sizeof(nonsense)), sizeof(nonsense));
    CALL(k, shim_signal, "c2", SIGTERM, false);
    assert_int_equal(k->error.code, ERR_UNAVAILABLE);
    /* What happens meanwhile is told, and calls work again. */
    kit_wait_exit(k, 0);
    assert_string_equal(k->exited_id, "c1");
    assert_int_equal(k->exit_code, 5);
    WAIT_FOR(k, k->shim->state == SHIM_READY);
    CALL(k, shim_signal, "c2", SIGKILL, false);
    assert_ok(&k->error);
    assert_false(k->gone);
}

static void calls_on_their_way_end_with_shim_free(void **state)
{
    struct kit *k = *state;
    unsigned before;

    kit_spawn(k);
    before = k->calls_done;
    for (int i = 0; i < 5; i++)
        shim_resize(k->shim, "nobody", 1, 1, kit_on_done, k);
    shim_free(take_ptr(k->shim));
    assert_int_equal(k->calls_done, before + 5);
    assert_int_equal(k->error.code, ERR_CANCELLED);
    WAIT_MS(k, 50);
    assert_int_equal(k->calls_done, before + 5);
    kit_connect(k, 0, 0);
    assert_ok(&k->error);
}

static void orphans_in_the_hosts_pid_namespace_are_reaped(void **state)
{
    struct kit *k = *state;
    struct kit_spec s;
    struct kit_exec x;
    int none[3] = {-1, -1, -1};

    kit_spawn(k);
    kit_spec(k, &s, "c1", "sleep 1000");
    s.spec.pid_mode = PODD__SHIM__PID_MODE__PID_HOST;
    kit_run_spec(k, &s);
    for (int i = 0; i < 10; i++) {
        kit_exec(k, &x, "c1", "e", "setsid sleep 0.1 & setsid sleep 0.2 & exit 0", none, false);
        assert_ok(&x.error);
        WAIT_FOR(k, x.ended);
    }
    WAIT_MS(k, 500);
    assert_int_equal(kit_zombies(k), 0);
    CALL(k, shim_signal, "c1", SIGKILL, false);
    kit_wait_exit(k, 0);
    CALL(k, shim_remove, "c1");
    assert_ok(&k->error);
}

static void a_limit_is_updated_while_it_runs(void **state)
{
    struct kit *k = *state;
    cgroup_write_t write = PODD__SHIM__CGROUP_WRITE__INIT, *writes[] = {&write};
    char path[160];

    kit_spawn(k);
    kit_run(k, "c1", "sleep 1000");
    bool v1 = cgroup_mode() != CGROUP_V2;
    write.controller = v1 ? "pids" : "";
    write.file = "pids.max";
    write.value = "77";
    CALL(k, shim_update, "c1", writes, 1);
    assert_ok(&k->error);
    snprintf(path, sizeof(path), "/sys/fs/cgroup/%s%s/c1/pids.max", v1 ? "pids" : "", k->cgroup);
    _cleanup_free_ char *text = kit_read_file(path);
    assert_string_equal(text, "77\n");
    write.value = "no number";
    CALL(k, shim_update, "c1", writes, 1);
    assert_int_not_equal(k->error.code, ERR_OK);
}

static void an_oom_kill_is_told(void **state)
{
    struct kit *k = *state;
    cgroup_write_t write = PODD__SHIM__CGROUP_WRITE__INIT, *writes[] = {&write};
    struct kit_spec s;
    exit_info_t *record;
    _cleanup_err_ struct err e = ERR_INIT;

    kit_spawn(k);
    kit_spec(k, &s, "c1", "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done");
    bool v1 = cgroup_mode() != CGROUP_V2;
    write.controller = v1 ? "memory" : "";
    write.file = v1 ? "memory.limit_in_bytes" : "memory.max";
    write.value = "33554432";
    s.spec.cgroup_writes = writes;
    s.spec.n_cgroup_writes = 1;
    kit_run_spec(k, &s);
    kit_wait_exit(k, 0);
    assert_int_equal(k->exit_signal, SIGKILL);
    assert_int_equal(shim_read_exit(k->directory, "c1", &record, &e), 0);
    assert_true(record->oom_killed);
    podd__shim__exit_info__free_unpacked(record, NULL);
}

static void another_process_of_the_same_number_is_not_the_shim(void **state)
{
    struct kit *k = *state;

    kit_spawn(k);
    pid_t pid = shim_pid(k->shim);
    uint64_t start_time = shim_start_time(k->shim);
    struct shim *first = take_ptr(k->shim);
    kit_connect(k, pid, start_time + 1);
    assert_null(k->shim);
    assert_int_equal(k->error.code, ERR_NOT_FOUND);
    kit_connect(k, getpid(), 0);
    assert_null(k->shim);
    /* Not knowing the number, whoever listens is taken. */
    kit_connect(k, 0, 0);
    assert_ok(&k->error);
    assert_int_equal(shim_pid(k->shim), pid);
    assert_int_equal(shim_start_time(k->shim), start_time);
    shim_free(first);
}

static void a_zygote_that_died_is_started_again(void **state)
{
    struct kit *k = *state;

    kit_spawn(k);
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
    _cleanup_free_ char *children = kit_read_file(path);
    pid_t zygote = (pid_t)strtol(children, NULL, 10);
    assert_true(zygote > 0);
    CALL(k, shim_shutdown);
    WAIT_FOR(k, k->gone);
    shim_free(take_ptr(k->shim));
    k->gone = false;

    assert_int_equal(kill(zygote, SIGKILL), 0);
    spawn_request_t request;
    kit_request(k, &request);
    kit_spawn_with(k, &request); /* perhaps still to the dead one */
    if (!k->shim)
        kit_spawn_with(k, &request);
    assert_ok(&k->error);
}

static void shutdown_kills_and_removes_all(void **state)
{
    struct kit *k = *state;
    char path[128];

    kit_spawn(k);
    kit_run(k, "c1", "sleep 1000");
    pid_t pid = k->started_pid;
    struct kit_spec s;
    kit_spec(k, &s, "c2", "never started");
    CALL(k, shim_create, &s.spec, kit_rootfs(), NULL, 0);
    CALL(k, shim_shutdown);
    assert_ok(&k->error);
    assert_false(kit_process_lives(pid));
    WAIT_FOR(k, k->gone);
    snprintf(path, sizeof(path), "/sys/fs/cgroup/freezer%s", k->cgroup);
    if (access("/sys/fs/cgroup/freezer", F_OK) == 0) {
        strncat(path, "/c1", sizeof(path) - strlen(path) - 1);
        assert_int_equal(access(path, F_OK), -1);
    }
    /* The records stay for a daemon that has not heard of it. */
    exit_info_t *record;
    _cleanup_err_ struct err e = ERR_INIT;
    assert_int_equal(shim_read_exit(k->directory, "c1", &record, &e), 0);
    podd__shim__exit_info__free_unpacked(record, NULL);
}

static void a_shared_pid_namespace_outlives_a_container(void **state)
{
    struct kit *k = *state;
    spawn_request_t request;
    struct kit_spec s;

    kit_request(k, &request);
    request.shared_pid = true;
    kit_spawn_with(k, &request);
    assert_ok(&k->error);
    /* Its background process is killed with it, though the namespace lives on. */
    kit_spec(k, &s, "c1", "echo pid $$; sleep 1000 & echo $!; exit 0");
    s.spec.pid_mode = PODD__SHIM__PID_MODE__PID_POD;
    int64_t begin = time_mono_ns();
    kit_run_spec(k, &s);
    kit_wait_exit(k, 0);
    assert_true(time_mono_ns() - begin < 900 * NS_PER_MS);
    _cleanup_free_ char *log = kit_log_text(k, "c1");
    assert_null(strstr(log, "pid 1\n"));
    CALL(k, shim_remove, "c1");
    assert_ok(&k->error);
    kit_spec(k, &s, "c2", "sleep 1000");
    s.spec.pid_mode = PODD__SHIM__PID_MODE__PID_POD;
    kit_run_spec(k, &s);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, kit_setup, kit_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_spawned_shim_has_its_own_network_and_session),
        TEST(a_pod_of_the_hosts_network_has_none_of_its_own),
        TEST(a_failed_spawn_says_why_and_leaves_nothing),
        TEST(many_pods_come_up_and_go_down_at_once),
        TEST(the_program_cannot_be_overwritten),
        TEST(nothing_of_the_daemons_stays_open_in_a_shim),
        TEST(output_and_exit_code_come_back),
        TEST(a_container_starts_with_clean_signals),
        TEST(a_program_that_is_not_there_fails_the_start),
        TEST(a_signal_ends_it_and_is_told),
        TEST(sigterm_does_not_end_a_shim),
        TEST(a_killed_shim_takes_its_containers_along),
        TEST(a_new_client_finds_what_happened_without_one),
        TEST(exits_of_a_time_without_clients_are_exact),
        TEST(a_broken_connection_is_made_anew),
        TEST(calls_on_their_way_end_with_shim_free),
        TEST(orphans_in_the_hosts_pid_namespace_are_reaped),
        TEST(a_limit_is_updated_while_it_runs),
        TEST(an_oom_kill_is_told),
        TEST(another_process_of_the_same_number_is_not_the_shim),
        TEST(a_zygote_that_died_is_started_again),
        TEST(shutdown_kills_and_removes_all),
        TEST(a_shared_pid_namespace_outlives_a_container),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
