/*
 * The life of pods and containers, with the real shim, root file systems, network and disk.
 */
#include "pod-life.h"

/* ---- The main job --------------------------------------------------------------------------- */

static void test_a_pod_lives_and_leaves_nothing(void **state)
{
    struct sandbox_config config = life_sandbox("web");
    struct container_config c = life_container("main", STRV("sh", "-c", "echo hi; exit 3"));
    char sandbox[ID_SIZE];

    RUN(&config);
    memcpy(sandbox, life.id, ID_SIZE);
    assert_int_equal(the_sandbox(sandbox)->state, SANDBOX_READY);
    assert_int_equal(the_sandbox(sandbox)->addresses.count, 1);
    assert_true(str_starts_with(the_sandbox(sandbox)->addresses.text[0], "10.99."));
    assert_true(sandbox_netns(the_sandbox(sandbox)) >= 0);

    CREATE(sandbox, &c);
    struct container *object = the_container(life.id);
    assert_int_equal(object->state, CONTAINER_CREATED);
    assert_true(object->created_at > the_sandbox(sandbox)->created_at);
    assert_int_equal(object->started_at, 0);
    START(object->id);
    assert_true(object->started_at >= object->created_at);
    LIFE_WAIT(object->state == CONTAINER_EXITED);
    assert_int_equal(object->exit_code, 3);
    assert_string_equal(object->reason, "Error");
    assert_true(object->finished_at >= object->started_at);
    assert_int_equal(object->pid, 0);

    _cleanup_bytes_ struct bytes log = {0};
    _cleanup_err_ struct err e = ERR_INIT;
    assert_int_equal(file_read(AT_FDCWD, object->log_path, 4096, &log, &e), 0);
    assert_non_null(strstr((char *)log.data, " stdout F hi\n"));

    OK(sandbox_stop(life.pods, sandbox, life_on_done, NULL));
    assert_int_equal(the_sandbox(sandbox)->state, SANDBOX_NOTREADY);
    assert_int_equal(the_sandbox(sandbox)->addresses.count, 0);
    OK(sandbox_stop(life.pods, sandbox, life_on_done, NULL));
    REFUSED(container_create(life.pods, sandbox, &c, life_on_id, NULL), ERR_FAILED_PRECONDITION,
            "not ready");
    assert_int_equal(object->exit_code, 3);
    REMOVE_SANDBOX(sandbox);
    OK(sandbox_stop(life.pods, sandbox, life_on_done, NULL));
    OK(sandbox_remove(life.pods, sandbox, life_on_done, NULL));
    OK(container_stop(life.pods, sandbox, 0, life_on_done, NULL));
    OK(container_remove(life.pods, sandbox, life_on_done, NULL));
}

static void test_what_a_container_sees(void **state)
{
    struct sandbox_config config = life_sandbox("web");
    struct container_config c = life_container("main", STRV("sh", "-c", "cd /data && sleep 1000"));
    static const struct key_value env = {(char *)"A", (char *)"b"};
    char sandbox[ID_SIZE], id[ID_SIZE];

    config.hostname = "web-0";
    config.dns_given = true;
    config.dns_servers = STRV("10.10.10.10");
    c.envs = &env;
    c.n_envs = 1;
    c.working_dir = "/data";
    c.security.run_as_username = "www";
    RUN(&config);
    memcpy(sandbox, life.id, ID_SIZE);
    CREATE(sandbox, &c);
    memcpy(id, life.id, ID_SIZE);
    START(id);
    EXEC(id, "sh", "-c",
         "cat /etc/hostname /etc/resolv.conf; hostname; pwd; id -u; id -g; id -G; echo $HOME $A");
    _cleanup_free_ char *seen = xstrdup((char *)life.out.data);
    assert_string_equal(seen, "web-0\nnameserver 10.10.10.10\nweb-0\n/data\n33\n34\n34 50\n"
                              "/srv b\n");
    EXEC(id, "cat", "/etc/hosts");
    _cleanup_free_ char *line = xasprintf("\n%s\tweb-0\n", the_sandbox(sandbox)->addresses.text[0]);
    assert_non_null(strstr((char *)life.out.data, line));
    assert_int_equal(the_container(id)->uid, 33);
    assert_int_equal(the_container(id)->n_groups, 2);
    REMOVE_SANDBOX(sandbox);
}

static void test_host_network_pod(void **state)
{
    struct sandbox_config config = life_sandbox("host");

    config.network = NAMESPACE_NODE;
    RUN(&config);
    assert_int_equal(the_sandbox(life.id)->addresses.count, 0);
    assert_int_equal(sandbox_netns(the_sandbox(life.id)), -1);
    REMOVE_SANDBOX(life.id);
}

/* ---- Retries -------------------------------------------------------------------------------- */

static void test_retries_join_or_get_the_same_id(void **state)
{
    struct sandbox_config config = life_sandbox("web"), other = life_sandbox("web");
    char first[ID_SIZE], second[ID_SIZE], third[ID_SIZE];

    life.pending = 2;
    sandbox_run(life.pods, &config, life_on_id, first);
    sandbox_run(life.pods, &config, life_on_id, second);
    LIFE_WAIT(life.pending == 0);
    assert_string_equal(first, second);
    OK(sandbox_run(life.pods, &config, life_on_id, third));
    assert_string_equal(first, third);
    other.hostname = "another";
    REFUSED(sandbox_run(life.pods, &other, life_on_id, NULL), ERR_ALREADY_EXISTS, first);

    struct container_config c = life_container("c", NULL), d = c;
    life.pending = 2;
    container_create(life.pods, first, &c, life_on_id, second);
    container_create(life.pods, first, &c, life_on_id, third);
    LIFE_WAIT(life.pending == 0);
    assert_true(strlen(second) == ID_SIZE - 1);
    assert_string_equal(second, third);
    d.working_dir = "/tmp";
    REFUSED(container_create(life.pods, first, &d, life_on_id, NULL), ERR_ALREADY_EXISTS, second);
    START(second);
    REFUSED(container_create(life.pods, first, &c, life_on_id, NULL), ERR_ALREADY_EXISTS, second);
    OK(container_remove(life.pods, second, life_on_done, NULL));
    CREATE(first, &c);

    OK(sandbox_stop(life.pods, first, life_on_done, NULL));
    REFUSED(sandbox_run(life.pods, &config, life_on_id, NULL), ERR_ALREADY_EXISTS, "remove it");
    REMOVE_SANDBOX(first);
    RUN(&config);
    assert_string_not_equal(life.id, first);
    REMOVE_SANDBOX(life.id);
}

/* ---- What fails ----------------------------------------------------------------------------- */

static void test_a_failed_creation_leaves_nothing(void **state)
{
    struct sandbox_config config = life_sandbox("web");
    struct container_config c = life_container("c", NULL);
    struct mount_config mount = {.container_path = "/m", .host_path = "/no/such/source"};
    char sandbox[ID_SIZE];
    _cleanup_free_ char *containers = xasprintf("%s/containers", life.root);

    RUN(&config);
    memcpy(sandbox, life.id, ID_SIZE);
    c.image = "no/such:image";
    REFUSED(container_create(life.pods, sandbox, &c, life_on_id, NULL), ERR_NOT_FOUND,
            "image no/such:image not found: pull it first");
    c.image = "test/busybox";
    c.security.run_as_username = "nobody-here";
    REFUSED(container_create(life.pods, sandbox, &c, life_on_id, NULL), ERR_INVALID_ARGUMENT,
            "nobody-here");
    c.security.run_as_username = NULL;
    c.mounts = &mount;
    c.n_mounts = 1;
    REFUSED(container_create(life.pods, sandbox, &c, life_on_id, NULL), ERR_FAILED_PRECONDITION,
            "mount source /no/such/source does not exist");
    /* One that only the shim finds out: it must be undone there, too. */
    mount.host_path = life.dir;
    mount.propagation = MOUNT_PRIVATE;
    c.working_dir = NULL;
    c.limits.cpuset_cpus = "4095";
    DO(container_create(life.pods, sandbox, &c, life_on_id, NULL));
    assert_int_not_equal(life.error.code, ERR_OK);
    assert_int_equal(count_entries(containers), 0);
    assert_int_equal(count_cgroups(), 0);
    assert_true(list_empty(&the_sandbox(sandbox)->containers));
    c.limits.cpuset_cpus = NULL;
    CREATE(sandbox, &c);
    REMOVE_SANDBOX(sandbox);
    REFUSED(container_create(life.pods, sandbox, &c, life_on_id, NULL), ERR_NOT_FOUND, sandbox);
}

static void test_a_failed_sandbox_leaves_nothing(void **state)
{
    struct sandbox_config config = life_sandbox("web");
    static const struct key_value sysctl = {(char *)"net.ipv4.no_such_thing", (char *)"1"};

    config.sysctls = &sysctl;
    config.n_sysctls = 1;
    DO(sandbox_run(life.pods, &config, life_on_id, NULL));
    assert_int_not_equal(life.error.code, ERR_OK);
    assert_non_null(strstr(err_text(&life.error), "no_such_thing"));
    assert_nothing_left();
    config.n_sysctls = 0;
    RUN(&config); /* the name is free again */
    REMOVE_SANDBOX(life.id);
}

static void test_a_command_that_does_not_exist(void **state)
{
    struct sandbox_config config = life_sandbox("web");
    struct container_config c = life_container("c", STRV("/no/such/command"));
    char sandbox[ID_SIZE], id[ID_SIZE];

    RUN(&config);
    memcpy(sandbox, life.id, ID_SIZE);
    CREATE(sandbox, &c);
    memcpy(id, life.id, ID_SIZE);
    DO(container_start_up(life.pods, id, life_on_done, NULL));
    assert_int_not_equal(life.error.code, ERR_OK);
    assert_non_null(strstr(err_text(&life.error), "/no/such/command"));
    assert_int_equal(the_container(id)->state, CONTAINER_EXITED);
    assert_int_equal(the_container(id)->exit_code, 128);
    assert_string_equal(the_container(id)->reason, "StartError");
    assert_string_equal(the_container(id)->message, err_text(&life.error));
    assert_int_equal(the_container(id)->started_at, 0);
    REFUSED(container_start_up(life.pods, id, life_on_done, NULL), ERR_FAILED_PRECONDITION,
            "has exited");
    OK(container_remove(life.pods, id, life_on_done, NULL));
    REMOVE_SANDBOX(sandbox);
}

/* ---- Volumes -------------------------------------------------------------------------------- */

static void test_mounts_and_limits(void **state)
{
    struct sandbox_config config = life_sandbox("web");
    struct mount_config mount = {.container_path = "/m", .host_path = life.dir, .readonly = true};
    struct container_config c = life_container("c", NULL);
    char sandbox[ID_SIZE], id[ID_SIZE];

    c.mounts = &mount;
    c.n_mounts = 1;
    c.limits.memory_bytes = 64 << 20;
    c.limits.pids = 50;
    RUN(&config);
    memcpy(sandbox, life.id, ID_SIZE);
    CREATE(sandbox, &c);
    memcpy(id, life.id, ID_SIZE);
    START(id);
    EXEC(id, "sh", "-c", "ls /m/image/bin/busybox && echo > /m/x");
    assert_string_equal((char *)life.out.data, "/m/image/bin/busybox\n");
    assert_int_not_equal(life.exit_code, 0);

    struct cgroup_usage usage;
    _cleanup_err_ struct err e = ERR_INIT;
    assert_int_equal(cgroup_read_usage(the_container(id)->cgroup_path, &usage, &e), 0);
    assert_int_equal(usage.memory_limit_bytes, 64 << 20);
    struct cgroup_limits more = {.memory_bytes = 128 << 20};
    struct bytes asked = {.data = (uint8_t *)"new", .len = 3};
    OK(container_update(life.pods, id, &more, &asked, life_on_done, NULL));
    assert_int_equal(cgroup_read_usage(the_container(id)->cgroup_path, &usage, &e), 0);
    assert_int_equal(usage.memory_limit_bytes, 128 << 20);
    assert_int_equal(the_container(id)->asked.len, 3);
    REMOVE_SANDBOX(sandbox);
}

/* ---- Stopping ------------------------------------------------------------------------------- */

static void test_the_stop_signal_comes_once_and_the_earliest_deadline_counts(void **state)
{
    char sandbox[ID_SIZE], id[ID_SIZE];
    int64_t begin;

    life_run_pod("web", "trap 'echo term' TERM; while :; do sleep 0.01; done", sandbox, id);
    WAIT_A_LITTLE(); /* until the trap is set */
    begin = time_mono_ns();
    life.pending = 3;
    container_stop(life.pods, id, 60000, life_on_done, NULL);
    container_stop(life.pods, id, 300, life_on_done, NULL);
    container_stop(life.pods, id, 30000, life_on_done, NULL);
    LIFE_WAIT(life.pending == 0);
    assert_true(time_mono_ns() - begin >= 300 * NS_PER_MS);
    assert_true(time_mono_ns() - begin < 5000 * NS_PER_MS);
    assert_int_equal(the_container(id)->state, CONTAINER_EXITED);
    assert_int_equal(the_container(id)->exit_code, 137);
    assert_int_equal(the_container(id)->exit_signal, SIGKILL);

    _cleanup_bytes_ struct bytes log = {0};
    _cleanup_err_ struct err e = ERR_INIT;
    assert_int_equal(file_read(AT_FDCWD, the_container(id)->log_path, 65536, &log, &e), 0);
    const char *once = strstr((char *)log.data, "F term\n");
    assert_non_null(once);
    assert_null(strstr(once + 1, "F term\n"));
    OK(container_stop(life.pods, id, 0, life_on_done, NULL));
    REMOVE_SANDBOX(sandbox);
}

static void test_a_graceful_stop(void **state)
{
    char sandbox[ID_SIZE], id[ID_SIZE];

    life_run_pod("web", "trap 'exit 0' TERM; while :; do sleep 0.01; done", sandbox, id);
    WAIT_A_LITTLE();
    OK(container_stop(life.pods, id, 10000, life_on_done, NULL));
    assert_int_equal(the_container(id)->exit_code, 0);
    assert_string_equal(the_container(id)->reason, "Completed");
    REMOVE_SANDBOX(sandbox);
}

static void test_running_containers_are_removed(void **state)
{
    char sandbox[ID_SIZE], id[ID_SIZE];

    life_run_pod("web", "sleep 1000", sandbox, id);
    OK(container_remove(life.pods, id, life_on_done, NULL));
    assert_null(container_find(life.pods, id, NULL));
    REMOVE_SANDBOX(sandbox);
    life_run_pod("web", "sleep 1000", sandbox, id);
    life.pending = 3;
    sandbox_stop(life.pods, sandbox, life_on_done, NULL);
    sandbox_remove(life.pods, sandbox, life_on_done, NULL);
    sandbox_remove(life.pods, sandbox, life_on_done, NULL);
    LIFE_WAIT(life.pending == 0);
}

static void test_a_stop_overtakes_a_start_and_a_creation(void **state)
{
    struct sandbox_config config = life_sandbox("web");
    struct container_config c = life_container("c", NULL), d = life_container("d", NULL);
    char sandbox[ID_SIZE], id[ID_SIZE];

    RUN(&config);
    memcpy(sandbox, life.id, ID_SIZE);
    CREATE(sandbox, &c);
    memcpy(id, life.id, ID_SIZE);
    life.pending = 4;
    container_start_up(life.pods, id, life_on_done, NULL);
    container_stop(life.pods, id, 0, life_on_done, NULL);
    container_create(life.pods, sandbox, &d, life_on_id, NULL);
    sandbox_remove(life.pods, sandbox, life_on_done, NULL);
    LIFE_WAIT(life.pending == 0);
    assert_nothing_left();
}

/* ---- Execs ---------------------------------------------------------------------------------- */

static void test_execs(void **state)
{
    char sandbox[ID_SIZE], id[ID_SIZE];
    int64_t begin;

    life_run_pod("web", "sleep 1000", sandbox, id);
    EXEC(id, "sh", "-c", "echo -n out; echo err >&2; exit 7");
    assert_int_equal(life.error.code, ERR_OK);
    assert_int_equal(life.exit_code, 7);
    assert_string_equal((char *)life.out.data, "out");
    assert_string_equal((char *)life.err_out.data, "err\n");

    EXEC(id, "/no/such/command");
    assert_int_not_equal(life.error.code, ERR_OK);
    assert_non_null(strstr(err_text(&life.error), "/no/such/command"));

    begin = time_mono_ns();
    REFUSED(container_exec_sync(life.pods, id, STRV("sh", "-c", "sleep 4321 & sleep 4322"), 200,
                                life_on_exec, NULL),
            ERR_DEADLINE_EXCEEDED, "timed out");
    assert_true(time_mono_ns() - begin < 1000 * NS_PER_MS);
    EXEC(id, "sh", "-c", "for p in /proc/[0-9]*; do cat $p/cmdline; echo; done");
    assert_null(strstr((char *)life.out.data, "432"));

    /* A child in the background holds the pipe. */
    begin = time_mono_ns();
    EXEC(id, "sh", "-c", "sleep 30 & echo done");
    assert_string_equal((char *)life.out.data, "done\n");
    assert_true(time_mono_ns() - begin < 3000 * NS_PER_MS);

    DO(container_exec_sync(life.pods, id, STRV("dd", "if=/dev/zero", "bs=1048576", "count=20"), 0,
                           life_on_exec, NULL));
    assert_int_equal(life.exit_code, 0);
    assert_int_equal(life.out.len, EXEC_OUTPUT_MAX);

    OK(container_stop(life.pods, id, 0, life_on_done, NULL));
    EXEC(id, "true");
    assert_error(&life.error, ERR_FAILED_PRECONDITION, "not running");
    EXEC(sandbox, "true");
    assert_error(&life.error, ERR_NOT_FOUND, "does not exist");
    REMOVE_SANDBOX(sandbox);
}

static void test_a_cancelled_exec_is_killed_and_not_answered(void **state)
{
    char sandbox[ID_SIZE], id[ID_SIZE];

    life_run_pod("web", "sleep 1000", sandbox, id);
    struct exec *x =
        container_exec_sync(life.pods, id, STRV("sleep", "4321"), 0, life_on_exec, NULL);
    exec_cancel(x);
    x = container_exec_sync(life.pods, id, STRV("sleep", "4321"), 0, life_on_exec, NULL);
    WAIT_A_LITTLE();
    exec_cancel(x);
    x = container_exec_sync(life.pods, "nobody", STRV("true"), 0, life_on_exec, NULL);
    exec_cancel(x);
    WAIT_A_LITTLE();
    EXEC(id, "sh", "-c", "for p in /proc/[0-9]*; do cat $p/cmdline; echo; done");
    assert_null(strstr((char *)life.out.data, "432"));
    REMOVE_SANDBOX(sandbox);
}

/* ---- Events --------------------------------------------------------------------------------- */

static void on_event(void *arg, const struct pod_event *event)
{
    static const char letters[] = {
        [POD_CREATED] = 'c', [POD_STARTED] = 's', [POD_STOPPED] = 'x', [POD_DELETED] = 'd'};
    struct strbuf *b = arg;

    /* What is told can be read. */
    if (event->container)
        assert_true(event->type == POD_DELETED ||
                    container_find(life.pods, event->container->id, NULL) == event->container);
    else
        assert_ptr_equal(sandbox_find(life.pods, event->sandbox->id, NULL), event->sandbox);
    strbuf_addf(b, "%c%c ", event->container ? 'C' : 'S', letters[event->type]);
}

static void test_events_tell_the_life(void **state)
{
    _cleanup_strbuf_ struct strbuf seen = {0};
    struct pod_watch *w = pods_watch(life.pods, on_event, &seen);
    char sandbox[ID_SIZE], id[ID_SIZE];

    life_run_pod("web", "exit 0", sandbox, id);
    LIFE_WAIT(the_container(id)->state == CONTAINER_EXITED);
    REMOVE_SANDBOX(sandbox);
    assert_string_equal(seen.data, "Sc Ss Cc Cs Cx Sx Cd Sd ");
    pod_watch_free(w);
}

#define TEST(fn) cmocka_unit_test_teardown(fn, life_check)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_pod_lives_and_leaves_nothing),
        TEST(test_what_a_container_sees),
        TEST(test_host_network_pod),
        TEST(test_retries_join_or_get_the_same_id),
        TEST(test_a_failed_creation_leaves_nothing),
        TEST(test_a_failed_sandbox_leaves_nothing),
        TEST(test_a_command_that_does_not_exist),
        TEST(test_mounts_and_limits),
        TEST(test_the_stop_signal_comes_once_and_the_earliest_deadline_counts),
        TEST(test_a_graceful_stop),
        TEST(test_running_containers_are_removed),
        TEST(test_a_stop_overtakes_a_start_and_a_creation),
        TEST(test_execs),
        TEST(test_a_cancelled_exec_is_killed_and_not_answered),
        TEST(test_events_tell_the_life),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, life_setup, life_teardown);
}
