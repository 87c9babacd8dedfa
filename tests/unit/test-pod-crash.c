/*
 * podd is killed at any moment, by SIGKILL, while pods come and go; the next podd must know what is
 * true and leave nothing behind.
 *
 * A child process is podd: it makes, starts, stops and removes pods without end. It is killed after
 * a while, a little later in each round. Then another child is the next podd: it recovers, looks
 * whether all that it lists can be used, and removes it; nothing may be left then.
 */
#include "pod-life.h"

enum { ROUNDS = 40, STEP_US = 700 };

/* ---- The podd that is killed ---------------------------------------------------------------- */

static void live_for_ever(void)
{
    for (unsigned n = 0;; n++) {
        struct sandbox_config config = life_sandbox(n % 2 ? "odd" : "even");
        struct container_config c = life_container("c", STRV("sleep", "1000"));
        char sandbox[ID_SIZE], id[ID_SIZE];

        RUN(&config);
        memcpy(sandbox, life.id, ID_SIZE);
        CREATE(sandbox, &c);
        memcpy(id, life.id, ID_SIZE);
        START(id);
        EXEC(id, "true");
        if (n % 3 == 0)
            OK(container_stop(life.pods, id, 0, life_on_done, NULL));
        if (n % 3 == 1)
            OK(sandbox_stop(life.pods, sandbox, life_on_done, NULL));
        REMOVE_SANDBOX(sandbox);
    }
}

/* ---- The next one --------------------------------------------------------------------------- */

static void check_object(void *arg, const struct container *c)
{
    if (c->state == CONTAINER_RUNNING)
        assert_true(c->pid > 0 && kill(c->pid, 0) == 0 && c->started_at > 0);
    if (c->state == CONTAINER_EXITED)
        assert_true(c->finished_at > 0 && c->reason[0]);
}

static void check_sandbox(void *arg, const struct sandbox *s)
{
    if (s->state == SANDBOX_READY)
        assert_true(s->addresses.count == 1 && sandbox_netns(s) >= 0);
}

static void recover_and_clear(void)
{
    sandbox_for_each(life.pods, check_sandbox, NULL);
    container_for_each(life.pods, check_object, NULL);
    life_clear();
    assert_nothing_left();
    /* It works as before. */
    struct sandbox_config config = life_sandbox("even");
    RUN(&config);
    REMOVE_SANDBOX(life.id);
}

/* ---- Children ------------------------------------------------------------------------------- */

/* Runs fn in a child that has started as podd does. It says "ready" on ready_fd (-1: to nobody). */
static pid_t fork_podd(void (*fn)(void), int ready_fd)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    life_start();
    life_open();
    if (ready_fd >= 0)
        (void)!write(ready_fd, "r", 1);
    fn();
    life_end();
    _exit(0);
}

static int status_of(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void test_killed_at_any_moment(void **state)
{
    char ready;
    int fds[2];

    assert_int_equal(status_of(fork_podd(life_import, -1)), 0);
    for (int round = 0; round < ROUNDS; round++) {
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        pid_t pid = fork_podd(live_for_ever, fds[1]);
        assert_int_equal(read(fds[0], &ready, 1), 1);
        usleep((useconds_t)(round * STEP_US));
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(status_of(pid), SIGKILL);
        close(fds[0]);
        close(fds[1]);
        if (status_of(fork_podd(recover_and_clear, -1)) != 0)
            fail_msg("killed after %d us: something is wrong or left", round * STEP_US);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed_at_any_moment),
    };

    life_prepare();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (failed == 0)
        life_remove_files();
    return failed;
}
