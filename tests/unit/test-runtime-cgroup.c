/*
 * Cgroups on the kernel at hand: made, limited, entered, killed, asked, removed.
 */
#include "runtime-pod.h"

/* What the tests allocate lives in one message and one list until the end. */
static char **names;
static container_spec_t plans = PODD__SHIM__CONTAINER_SPEC__INIT;

static int free_all(void **state)
{
    strv_free(names);
    for (size_t i = 0; i < plans.n_cgroup_writes; i++)
        podd__shim__cgroup_write__free_unpacked(plans.cgroup_writes[i], NULL);
    free(plans.cgroup_writes);
    return 0;
}

static char *name_keep(char *name_take)
{
    strv_push(&names, name_take);
    free(name_take);
    return names[strv_len(names) - 1];
}

static char *cgroup_name(void)
{
    static int serial;
    return name_keep(xasprintf("/podd-test-%d-cg%d", (int)getpid(), serial++));
}

static void plan(const struct cgroup_limits *limits, cgroup_write_t ***writes, size_t *n)
{
    struct err e = ERR_INIT;
    size_t before = plans.n_cgroup_writes;
    if (cgroup_plan(limits, &plans.cgroup_writes, &plans.n_cgroup_writes, &e) < 0)
        fail_msg("%s", err_text(&e));
    *writes = plans.cgroup_writes + before;
    *n = plans.n_cgroup_writes - before;
}

static struct cgroup *create(const char *path, const struct cgroup_limits *limits)
{
    cgroup_write_t **writes;
    size_t n;
    struct cgroup *cg;
    struct err e = ERR_INIT;
    plan(limits, &writes, &n);
    if (cgroup_create(path, writes, n, NULL, 0, &cg, &e) < 0)
        fail_msg("%s", err_text(&e));
    return cg;
}

static void destroy(const char *path)
{
    struct err e = ERR_INIT;
    if (cgroup_destroy(path, 2000, &e) < 0)
        fail_msg("%s", err_text(&e));
}

/* A child in the cgroup that sleeps. */
static pid_t sleeper(struct cgroup *cg)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct err e = ERR_INIT;
        if (cgroup_enter(cg, &e) < 0)
            _exit(1);
        for (;;)
            pause();
    }
    for (int i = 0; i < 1000 && cgroup_is_empty(cg); i++)
        usleep(1000);
    assert_false(cgroup_is_empty(cg));
    return pid;
}

static int reap(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void test_limits_are_written_and_updated(void **state)
{
    char *parent = cgroup_name(), *path = name_keep(xasprintf("%s/pod/ctr", parent));
    const struct cgroup_limits limits = {.cpu_shares = 512,
                                         .cpu_quota = 20000,
                                         .cpu_period = 100000,
                                         .memory_bytes = 64 << 20,
                                         .pids = 33};
    struct cgroup *cg = create(path, &limits);
    struct cgroup_usage usage;
    struct err e = ERR_INIT;
    assert_int_equal(cgroup_read_usage(path, &usage, &e), 0);
    assert_int_equal(usage.memory_limit_bytes, 64 << 20);
    assert_int_equal(usage.pids, 0);

    /* Up needs another order of the writes than down. */
    const int64_t sizes[] = {128 << 20, 32 << 20, -1, 16 << 20};
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        const struct cgroup_limits changed = {.memory_bytes = sizes[i]};
        cgroup_write_t **writes;
        size_t n;
        plan(&changed, &writes, &n);
        if (cgroup_update(cg, writes, n, &e) < 0)
            fail_msg("%s", err_text(&e));
        assert_int_equal(cgroup_read_usage(path, &usage, &e), 0);
        assert_int_equal(usage.memory_limit_bytes, sizes[i] < 0 ? 0 : sizes[i]);
    }
    assert_int_equal(cgroup_remove(cg), 0);
    cgroup_free(cg);
    assert_int_equal(cgroup_read_usage(path, &usage, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    err_clear(&e);
    destroy(parent);
}

static void test_failed_update_is_undone(void **state)
{
    char *path = cgroup_name();
    const struct cgroup_limits limits = {.memory_bytes = 64 << 20};
    struct cgroup *cg = create(path, &limits);
    const struct cgroup_limits changed = {.memory_bytes = 32 << 20, .cpuset_cpus = "9999"};
    cgroup_write_t **writes;
    size_t n;
    struct err e = ERR_INIT;
    plan(&changed, &writes, &n);
    assert_int_equal(cgroup_update(cg, writes, n, &e), -1);
    assert_non_null(strstr(err_text(&e), "set cpuset.cpus of cgroup"));
    assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
    err_clear(&e);
    struct cgroup_usage usage;
    assert_int_equal(cgroup_read_usage(path, &usage, &e), 0);
    assert_int_equal(usage.memory_limit_bytes, 64 << 20);
    assert_int_equal(cgroup_remove(cg), 0);
    cgroup_free(cg);
}

static void test_failed_create_leaves_nothing(void **state)
{
    char *path = cgroup_name();
    const struct cgroup_limits limits = {.cpuset_cpus = "9999"};
    cgroup_write_t **writes;
    size_t n;
    struct cgroup *cg;
    struct err e = ERR_INIT;
    struct cgroup_usage usage;
    plan(&limits, &writes, &n);
    assert_int_equal(cgroup_create(path, writes, n, NULL, 0, &cg, &e), -1);
    err_clear(&e);
    assert_int_equal(cgroup_read_usage(path, &usage, &e), -1);
    err_clear(&e);
    static const char *const bad[] = {"/", "", "relative", "/a/../b", "/..", "/a/./b"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(cgroup_create(bad[i], NULL, 0, NULL, 0, &cg, &e), -1);
        assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
        err_clear(&e);
        assert_int_equal(cgroup_destroy(bad[i], 0, &e), -1);
        err_clear(&e);
    }
}

static void test_signals_reach_everyone_inside(void **state)
{
    struct cgroup *cg = create(cgroup_name(), &(struct cgroup_limits){0}), *leaf;
    struct err e = ERR_INIT;
    assert_int_equal(cgroup_create_leaf(cg, "leaf", &leaf, &e), 0);
    pid_t a = sleeper(cg), b = sleeper(leaf);
    assert_int_equal(cgroup_signal(cg, SIGTERM), 0);
    assert_int_equal(reap(a), SIGTERM);
    assert_int_equal(reap(b), SIGTERM);
    a = sleeper(cg);
    b = sleeper(leaf);
    assert_int_equal(cgroup_signal(leaf, SIGKILL), 0);
    assert_int_equal(reap(b), SIGKILL);
    assert_int_equal(kill(a, 0), 0);
    assert_true(cgroup_is_empty(leaf));
    assert_false(cgroup_is_empty(cg));
    assert_int_equal(cgroup_remove(cg), -EBUSY);
    assert_int_equal(cgroup_signal(cg, SIGKILL), 0);
    assert_int_equal(reap(a), SIGKILL);
    assert_int_equal(cgroup_remove(leaf), 0);
    assert_int_equal(cgroup_remove(cg), 0);
    assert_int_equal(cgroup_signal(cg, SIGKILL), 0); /* of the removed: nobody */
    cgroup_free(leaf);
    cgroup_free(cg);
}

static void test_fork_bomb_is_killed(void **state)
{
    struct cgroup *cg = create(cgroup_name(), &(struct cgroup_limits){.pids = 50});
    pid_t pid = fork();
    if (pid == 0) {
        struct err e = ERR_INIT;
        signal(SIGCHLD, SIG_IGN);
        if (cgroup_enter(cg, &e) < 0)
            _exit(1);
        for (;;)
            if (fork() < 0)
                usleep(100);
    }
    usleep(50000);
    assert_int_equal(cgroup_signal(cg, SIGKILL), 0);
    reap(pid);
    for (int i = 0; i < 2000 && !cgroup_is_empty(cg); i++)
        usleep(1000);
    assert_true(cgroup_is_empty(cg));
    assert_int_equal(cgroup_remove(cg), 0);
    cgroup_free(cg);
}

static void test_oom_kill_is_counted(void **state)
{
    struct cgroup *cg = create(cgroup_name(), &(struct cgroup_limits){.memory_bytes = 8 << 20});
    assert_false(cgroup_oom_killed(cg));
    pid_t pid = fork();
    if (pid == 0) {
        struct err e = ERR_INIT;
        if (cgroup_enter(cg, &e) < 0)
            _exit(1);
        volatile char *memory = malloc(64 << 20);
        for (size_t i = 0; i < 64 << 20; i += 4096)
            memory[i] = 1;
        _exit(0);
    }
    assert_int_equal(reap(pid), SIGKILL);
    assert_true(cgroup_oom_killed(cg)); /* its last process is gone, the counter is not */
    assert_int_equal(cgroup_remove(cg), 0);
    cgroup_free(cg);
}

static void test_destroy_ends_what_a_lost_shim_left(void **state)
{
    char *pod = cgroup_name(), *path = name_keep(xasprintf("%s/ctr", pod));
    struct cgroup *cg = create(path, &(struct cgroup_limits){0}), *leaf;
    struct err e = ERR_INIT;
    assert_int_equal(cgroup_create_leaf(cg, "exec", &leaf, &e), 0);
    pid_t a = sleeper(cg), b = sleeper(leaf);
    cgroup_free(leaf);
    cgroup_free(cg);
    signal(SIGCHLD, SIG_IGN); /* nobody else reaps here */
    destroy(pod);
    signal(SIGCHLD, SIG_DFL);
    assert_int_equal(kill(a, 0), -1);
    assert_int_equal(kill(b, 0), -1);
    struct cgroup_usage usage;
    assert_int_equal(cgroup_read_usage(pod, &usage, &e), -1);
    err_clear(&e);
    destroy(pod); /* missing is success */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits_are_written_and_updated),
        cmocka_unit_test(test_failed_update_is_undone),
        cmocka_unit_test(test_failed_create_leaves_nothing),
        cmocka_unit_test(test_signals_reach_everyone_inside),
        cmocka_unit_test(test_fork_bomb_is_killed),
        cmocka_unit_test(test_oom_kill_is_counted),
        cmocka_unit_test(test_destroy_ends_what_a_lost_shim_left),
    };
    return cmocka_run_group_tests(tests, NULL, free_all);
}
