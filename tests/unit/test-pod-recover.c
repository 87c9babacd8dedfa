/*
 * Restarts of podd: what runs goes on, what ended meanwhile is known, what was half done is
 * finished or undone, and damaged records harm nobody else.
 */
#include "pod-life.h"

static void kill_process(pid_t pid)
{
    assert_true(pid > 1);
    assert_int_equal(kill(pid, SIGKILL), 0);
}

/* A dead one that PID 1 has not reaped yet does not count. */
static bool process_is_there(pid_t pid)
{
    _cleanup_free_ char *path = xasprintf("/proc/%d/stat", (int)pid);
    _cleanup_bytes_ struct bytes stat = {0};
    _cleanup_err_ struct err e = ERR_INIT;

    if (file_read(AT_FDCWD, path, 4096, &stat, &e) < 0)
        return false;
    const char *end = strrchr((char *)stat.data, ')');
    return end && end[2] != 'Z' && end[2] != 'X';
}

/* For what podd is not told because it does not run: a file that somebody else makes. */
static void wait_for_file(const char *path)
{
    for (int i = 0; i < 1000 && access(path, F_OK) < 0; i++)
        usleep(10000);
    assert_int_equal(access(path, F_OK), 0);
}

static void wait_for_end(pid_t pid)
{
    for (int i = 0; i < 1000 && process_is_there(pid); i++)
        usleep(10000);
    assert_false(process_is_there(pid));
}

/* ---- Restarts ------------------------------------------------------------------------------- */

static void test_a_running_container_goes_on(void **state)
{
    char sandbox[ID_SIZE], id[ID_SIZE], address[46];
    struct sandbox_config config = life_sandbox("web");
    static const struct key_value label = {(char *)"app", (char *)"web"};
    struct container_config c = life_container("c", STRV("sleep", "1000"));

    config.labels = &label;
    config.n_labels = 1;
    RUN(&config);
    memcpy(sandbox, life.id, ID_SIZE);
    CREATE(sandbox, &c);
    memcpy(id, life.id, ID_SIZE);
    START(id);
    pid_t pid = the_container(id)->pid;
    int64_t started_at = the_container(id)->started_at;
    memcpy(address, the_sandbox(sandbox)->addresses.text[0], sizeof(address));

    life_restart();
    assert_int_equal(the_sandbox(sandbox)->state, SANDBOX_READY);
    assert_string_equal(the_sandbox(sandbox)->addresses.text[0], address);
    assert_string_equal(the_sandbox(sandbox)->labels[0].value, "web");
    assert_int_equal(the_container(id)->state, CONTAINER_RUNNING);
    assert_int_equal(the_container(id)->pid, pid);
    assert_true(the_container(id)->started_at == started_at);
    EXEC(id, "sh", "-c", "echo $HOSTNAME");
    assert_int_equal(life.exit_code, 0);
    assert_int_equal(life.out.len, 13);
    /* The name is still taken, and new objects are newer. */
    OK(sandbox_run(life.pods, &config, life_on_id, NULL));
    assert_string_equal(life.id, sandbox);
    config.name = "other";
    RUN(&config);
    assert_true(the_sandbox(life.id)->created_at > the_container(id)->created_at);
    assert_string_not_equal(the_sandbox(life.id)->addresses.text[0], address);
    REMOVE_SANDBOX(life.id);
    REMOVE_SANDBOX(sandbox);
}

static void test_a_created_container_can_be_started_after_a_restart(void **state)
{
    struct sandbox_config config = life_sandbox("web");
    struct container_config c = life_container("c", STRV("sh", "-c", "exit 4"));
    char sandbox[ID_SIZE], id[ID_SIZE];

    RUN(&config);
    memcpy(sandbox, life.id, ID_SIZE);
    CREATE(sandbox, &c);
    memcpy(id, life.id, ID_SIZE);
    life_restart();
    assert_int_equal(the_container(id)->state, CONTAINER_CREATED);
    START(id);
    LIFE_WAIT(the_container(id)->state == CONTAINER_EXITED);
    assert_int_equal(the_container(id)->exit_code, 4);
    life_restart();
    assert_int_equal(the_container(id)->exit_code, 4);
    assert_true(the_container(id)->finished_at > 0);
    REMOVE_SANDBOX(sandbox);
}

static void test_an_exit_while_podd_is_down_is_known_exactly(void **state)
{
    char sandbox[ID_SIZE], id[ID_SIZE];

    life_run_pod("web", "trap 'exit 9' TERM; while :; do sleep 0.01; done", sandbox, id);
    WAIT_A_LITTLE();
    pid_t pid = the_container(id)->pid;
    _cleanup_free_ char *record = xasprintf("%s/pods/%s/%s.exit", life.run, sandbox, id);
    pods_close(life.pods);
    assert_int_equal(kill(pid, SIGTERM), 0);
    wait_for_file(record);
    life_open();
    assert_int_equal(the_container(id)->state, CONTAINER_EXITED);
    assert_int_equal(the_container(id)->exit_code, 9);
    assert_true(the_container(id)->finished_at >= the_container(id)->started_at);
    REMOVE_SANDBOX(sandbox);
}

static void test_exit_and_end_of_the_shim_while_podd_is_down(void **state)
{
    char sandbox[ID_SIZE], id[ID_SIZE];

    life_run_pod("web", "trap 'exit 9' TERM; while :; do sleep 0.01; done", sandbox, id);
    WAIT_A_LITTLE();
    pid_t pid = the_container(id)->pid, shim = the_sandbox(sandbox)->priv->shim_pid;
    _cleanup_free_ char *record = xasprintf("%s/pods/%s/%s.exit", life.run, sandbox, id);
    pods_close(life.pods);
    assert_int_equal(kill(pid, SIGTERM), 0);
    wait_for_file(record);
    kill_process(shim);
    wait_for_end(shim);
    life_open();
    assert_int_equal(the_sandbox(sandbox)->state, SANDBOX_NOTREADY);
    assert_int_equal(the_container(id)->exit_code, 9);
    REMOVE_SANDBOX(sandbox);
}

/* ---- The shim dies -------------------------------------------------------------------------- */

static void test_a_shim_that_dies_takes_its_pod_with_it(void **state)
{
    char sandbox[ID_SIZE], id[ID_SIZE];

    life_run_pod("web", "sleep 1000", sandbox, id);
    pid_t pid = the_container(id)->pid;
    kill_process(the_sandbox(sandbox)->priv->shim_pid);
    LIFE_WAIT(the_sandbox(sandbox)->state == SANDBOX_NOTREADY);
    assert_int_equal(the_container(id)->state, CONTAINER_EXITED);
    assert_int_equal(the_container(id)->exit_code, 255);
    assert_string_equal(the_container(id)->reason, "Unknown");
    EXEC(id, "true");
    assert_int_equal(life.error.code, ERR_FAILED_PRECONDITION);
    OK(sandbox_stop(life.pods, sandbox, life_on_done, NULL));
    assert_false(process_is_there(pid));
    assert_int_equal(count_cgroups(), 0);
    life_restart();
    assert_string_equal(the_container(id)->reason, "Unknown");
    REMOVE_SANDBOX(sandbox);
}

static void test_a_shim_that_hangs_is_not_waited_for_and_can_be_stopped(void **state)
{
    char sandbox[ID_SIZE], id[ID_SIZE], other[ID_SIZE], other_id[ID_SIZE];

    life_run_pod("hangs", "sleep 1000", sandbox, id);
    life_run_pod("fine", "sleep 1000", other, other_id);
    pid_t shim = the_sandbox(sandbox)->priv->shim_pid;
    assert_int_equal(kill(shim, SIGSTOP), 0);
    int64_t begin = time_mono_ns();
    life_restart();
    assert_true(time_mono_ns() - begin < 6000 * NS_PER_MS);
    assert_int_equal(the_container(other_id)->state, CONTAINER_RUNNING);
    EXEC(other_id, "true");
    assert_int_equal(life.exit_code, 0);
    OK(sandbox_stop(life.pods, sandbox, life_on_done, NULL));
    assert_false(process_is_there(shim));
    REMOVE_SANDBOX(sandbox);
    REMOVE_SANDBOX(other);
}

/* ---- Another boot --------------------------------------------------------------------------- */

static void test_after_a_reboot_records_remain(void **state)
{
    char sandbox[ID_SIZE], id[ID_SIZE];
    _cleanup_free_ char *run = NULL;
    _cleanup_err_ struct err e = ERR_INIT;

    life_run_pod("web", "sleep 1000", sandbox, id);
    struct sandbox *s = the_sandbox(sandbox);
    pid_t shim = s->priv->shim_pid;
    free(s->priv->boot_id);
    s->priv->boot_id = xstrdup("another boot");
    /* A process that has the number by now must not be touched. */
    s->priv->shim_pid = getpid();
    record_note_sandbox(s);
    run = sandbox_state_dir(life.pods, sandbox);
    pods_close(life.pods);
    kill_process(shim);
    wait_for_end(shim);
    assert_int_equal(tree_remove(AT_FDCWD, run, &e), 0);
    life_open();
    assert_int_equal(the_sandbox(sandbox)->state, SANDBOX_NOTREADY);
    assert_int_equal(the_container(id)->state, CONTAINER_EXITED);
    assert_string_equal(the_container(id)->reason, "Unknown");
    OK(sandbox_stop(life.pods, sandbox, life_on_done, NULL));
    REMOVE_SANDBOX(sandbox);
}

/* ---- Half done, damaged --------------------------------------------------------------------- */

static void damage(const char *path)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "x", 1, 40), 1);
    close(fd);
}

static void test_a_damaged_sandbox_is_set_aside_and_cleaned_up(void **state)
{
    char sandbox[ID_SIZE], id[ID_SIZE], other[ID_SIZE], other_id[ID_SIZE];

    life_run_pod("damaged", "sleep 1000", sandbox, id);
    life_run_pod("fine", "sleep 1000", other, other_id);
    pid_t pid = the_container(id)->pid;
    _cleanup_free_ char *record = xasprintf("%s/pods/%s/sandbox", life.root, sandbox);
    _cleanup_free_ char *broken = xasprintf("%s/pods/%s.sandbox.broken", life.root, sandbox);
    _cleanup_free_ char *rest = xasprintf("%s/pods/%s", life.root, sandbox);
    pods_close(life.pods);
    damage(record);
    life_open();
    assert_null(sandbox_find(life.pods, sandbox, NULL));
    assert_null(container_find(life.pods, id, NULL));
    wait_for_end(pid);
    assert_int_equal(access(rest, F_OK), -1);
    assert_int_equal(unlink(broken), 0);
    assert_int_equal(the_container(other_id)->state, CONTAINER_RUNNING);
    REMOVE_SANDBOX(other);
}

static void test_a_damaged_container_is_set_aside_and_cleaned_up(void **state)
{
    char sandbox[ID_SIZE], id[ID_SIZE];

    life_run_pod("web", "sleep 1000", sandbox, id);
    pid_t pid = the_container(id)->pid;
    _cleanup_free_ char *record = xasprintf("%s/pods/%s/%s.container", life.root, sandbox, id);
    _cleanup_free_ char *broken = xasprintf("%s/pods/%s.container.broken", life.root, id);
    pods_close(life.pods);
    assert_int_equal(truncate(record, 100), 0);
    life_open();
    assert_int_equal(the_sandbox(sandbox)->state, SANDBOX_READY);
    assert_null(container_find(life.pods, id, NULL));
    WAIT_A_LITTLE();
    assert_false(process_is_there(pid));
    assert_int_equal(unlink(broken), 0);
    /* The name is free. */
    struct container_config c = life_container("c", NULL);
    CREATE(sandbox, &c);
    REMOVE_SANDBOX(sandbox);
}

static void test_half_made_objects_are_undone(void **state)
{
    char sandbox[ID_SIZE], id[ID_SIZE], half[ID_SIZE], half_id[ID_SIZE];

    life_run_pod("web", "sleep 1000", sandbox, id);
    life_run_pod("half", "sleep 1000", half, half_id);
    pid_t pid = the_container(half_id)->pid;
    /* A sandbox whose record was not written yet, or is removed already. */
    _cleanup_free_ char *record = xasprintf("%s/pods/%s/sandbox", life.root, half);
    _cleanup_free_ char *directory = xasprintf("%s/pods/" OTHER_ID, life.root);
    _cleanup_free_ char *run_only = xasprintf("%s/pods/" TEST_ID, life.run);
    /* A container that the shim has not heard of. */
    struct container *c = the_container(id);
    free(c->id);
    c->id = xstrdup(TEST_ID);
    record_note_container(c);
    memcpy(c->id, id, ID_SIZE);
    pods_close(life.pods);
    assert_int_equal(unlink(record), 0);
    assert_int_equal(mkdir(directory, 0700), 0);
    assert_int_equal(mkdir(run_only, 0700), 0);
    life_open();
    wait_for_end(pid);
    assert_null(sandbox_find(life.pods, half, NULL));
    LIFE_WAIT(!container_find(life.pods, TEST_ID, NULL));
    assert_int_equal(access(directory, F_OK), -1);
    assert_int_equal(access(run_only, F_OK), -1);
    assert_int_equal(the_container(id)->state, CONTAINER_RUNNING);
    REMOVE_SANDBOX(sandbox);
}

#define TEST(fn) cmocka_unit_test_teardown(fn, life_check)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_running_container_goes_on),
        TEST(test_a_created_container_can_be_started_after_a_restart),
        TEST(test_an_exit_while_podd_is_down_is_known_exactly),
        TEST(test_exit_and_end_of_the_shim_while_podd_is_down),
        TEST(test_a_shim_that_dies_takes_its_pod_with_it),
        TEST(test_a_shim_that_hangs_is_not_waited_for_and_can_be_stopped),
        TEST(test_after_a_reboot_records_remain),
        TEST(test_a_damaged_sandbox_is_set_aside_and_cleaned_up),
        TEST(test_a_damaged_container_is_set_aside_and_cleaned_up),
        TEST(test_half_made_objects_are_undone),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, life_setup, life_teardown);
}
