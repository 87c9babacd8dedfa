/* test-base-loop.c - timers, fds, posts, work, signals and children on the event loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <podd/base.h>

static struct loop *loop;
static struct timer *deadline;
static int calls;

static void too_late(void *arg)
{
    print_error("the test did not stop its loop\n");
    abort();
}

static int start_loop(void **state)
{
    calls = 0;
    loop = loop_new();
    deadline = timer_new(loop, too_late, NULL);
    timer_start(deadline, 20000);
    return 0;
}

static int end_loop(void **state)
{
    timer_free(deadline);
    loop_free(loop);
    return 0;
}

static void stop_now(void *arg)
{
    loop_stop(loop);
}

static void stop_after_ms(int ms)
{
    struct timer *t = timer_new(loop, stop_now, NULL);

    timer_start(t, ms);
    loop_run(loop);
    timer_free(t);
}

static void count(void *arg)
{
    calls++;
}

/* ---- Timers --------------------------------------------------------------------------------- */

static void a_timer_fires_once_after_its_delay(void **state)
{
    struct timer *t = timer_new(loop, count, NULL);
    int64_t begin = time_mono_ns();

    timer_start(t, 30);
    while (!calls)
        stop_after_ms(1);
    assert_true(time_mono_ns() - begin >= 28 * NS_PER_MS);
    stop_after_ms(60);
    assert_int_equal(calls, 1);
    timer_free(t);
    timer_free(NULL);
}

static void the_delay_counts_from_now_and_not_from_the_turn(void **state)
{
    struct timer *t = timer_new(loop, stop_now, NULL);

    usleep(50000); /* the loop's own clock stands still meanwhile */
    int64_t begin = time_mono_ns();
    timer_start(t, 30);
    loop_run(loop);
    assert_true(time_mono_ns() - begin >= 28 * NS_PER_MS);
    timer_free(t);
}

static void a_stopped_timer_is_silent_and_a_restart_moves_it(void **state)
{
    struct timer *t = timer_new(loop, count, NULL);

    timer_start(t, 5);
    timer_stop(t);
    stop_after_ms(20);
    assert_int_equal(calls, 0);
    timer_start(t, 5);
    timer_start(t, 10000);
    stop_after_ms(20);
    assert_int_equal(calls, 0);
    timer_start(t, -5);
    stop_after_ms(5);
    assert_int_equal(calls, 1);
    timer_free(t);
}

static struct timer *self;

static void free_myself(void *arg)
{
    calls++;
    timer_free(self);
    loop_stop(loop);
}

static void a_timer_may_free_itself(void **state)
{
    self = timer_new(loop, free_myself, NULL);
    timer_start(self, 1);
    loop_run(loop);
    assert_int_equal(calls, 1);
}

static void a_freed_timer_is_silent(void **state)
{
    struct timer *t = timer_new(loop, count, NULL);

    timer_start(t, 1);
    timer_free(t);
    stop_after_ms(10);
    assert_int_equal(calls, 0);
}

/* ---- Fds ------------------------------------------------------------------------------------ */

static unsigned last_events;
static struct io *watched;

static void remember(void *arg, unsigned events)
{
    calls++;
    last_events = events;
    loop_stop(loop);
}

static void new_pair(int fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

static void readable_and_writable_are_told_apart(void **state)
{
    int fds[2];

    new_pair(fds);
    struct io *io = io_new(loop, fds[0], IO_READ, remember, NULL);
    stop_after_ms(10);
    assert_int_equal(calls, 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    loop_run(loop);
    assert_int_equal(last_events, IO_READ);

    io_set(io, IO_WRITE);
    loop_run(loop);
    assert_int_equal(last_events, IO_WRITE);
    io_set(io, IO_READ | IO_WRITE);
    loop_run(loop);
    assert_int_equal(last_events, IO_READ | IO_WRITE);

    io_set(io, 0);
    calls = 0;
    stop_after_ms(10);
    assert_int_equal(calls, 0);
    io_free(io);
    io_free(NULL);
    fd_close(fds[0]);
    fd_close(fds[1]);
}

static void the_end_of_a_socket_is_a_hangup(void **state)
{
    int fds[2];

    new_pair(fds);
    struct io *io = io_new(loop, fds[0], IO_HANGUP, remember, NULL);
    assert_int_equal(write(fds[1], "x", 1), 1);
    stop_after_ms(10);
    assert_int_equal(calls, 0);
    fd_close(fds[1]);
    loop_run(loop);
    assert_int_equal(last_events, IO_HANGUP);
    io_free(io);
    fd_close(fds[0]);
}

static void the_end_of_a_pipe_is_seen_from_either_side(void **state)
{
    int fds[2];

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    struct io *io = io_new(loop, fds[0], IO_READ, remember, NULL);
    fd_close(fds[1]);
    loop_run(loop);
    assert_int_equal(last_events, IO_READ);
    io_free(io);
    fd_close(fds[0]);

    /* The write end without a reader has EPOLLERR. It is reported again as long as it lasts. */
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    io = io_new(loop, fds[1], IO_HANGUP, remember, NULL);
    stop_after_ms(10);
    last_events = 0;
    fd_close(fds[0]);
    for (int i = 0; i < 3; i++) {
        loop_run(loop);
        assert_int_equal(last_events, IO_HANGUP);
        last_events = 0;
    }
    io_free(io);
    fd_close(fds[1]);
}

static void free_and_close(void *arg, unsigned events)
{
    int fd = *(int *)arg;

    calls++;
    io_free(watched);
    fd_close(fd);
    loop_stop(loop);
}

static void a_watch_may_free_itself_and_its_fd_be_closed(void **state)
{
    int fds[2];

    new_pair(fds);
    watched = io_new(loop, fds[0], IO_READ | IO_HANGUP, free_and_close, &fds[0]);
    fd_close(fds[1]);
    loop_run(loop);
    stop_after_ms(10);
    assert_int_equal(calls, 1);
}

static void must_not_fire(void *arg, unsigned events)
{
    fail();
}

static void a_reused_fd_number_is_watched_anew(void **state)
{
    for (int i = 0; i < 10; i++) {
        int fds[2];

        new_pair(fds);
        struct io *old = io_new(loop, fds[0], IO_READ, must_not_fire, NULL);
        if (i % 2)
            stop_after_ms(1); /* with and without having been in epoll */
        io_free(old);
        fd_close(fds[0]);
        int number = fds[0], other[2];
        new_pair(other);
        assert_int_equal(other[0], number);
        struct io *io = io_new(loop, other[0], IO_READ, remember, NULL);
        assert_int_equal(write(other[1], "x", 1), 1);
        calls = 0;
        loop_run(loop);
        assert_true(calls > 0);
        io_free(io);
        fd_close(other[0]);
        fd_close(other[1]);
        fd_close(fds[1]);
    }
}

struct pair_watch {
    struct io *io[2];
    int fds[2][2];
};

static void free_both(void *arg, unsigned events)
{
    struct pair_watch *p = arg;

    calls++;
    for (int i = 0; i < 2; i++) {
        io_free(p->io[i]);
        fd_close(p->fds[i][0]);
    }
    loop_stop(loop);
}

static void a_watch_freed_by_another_is_silent_though_ready(void **state)
{
    struct pair_watch p;

    for (int i = 0; i < 2; i++) {
        new_pair(p.fds[i]);
        p.io[i] = io_new(loop, p.fds[i][0], IO_READ, free_both, &p);
        assert_int_equal(write(p.fds[i][1], "x", 1), 1);
    }
    loop_run(loop);
    stop_after_ms(5);
    assert_int_equal(calls, 1);
    fd_close(p.fds[0][1]);
    fd_close(p.fds[1][1]);
}

/* ---- Posts, work, stopping ------------------------------------------------------------------ */

static pthread_t loop_thread;
static int next_expected;

static void in_order(void *arg)
{
    assert_true(pthread_equal(pthread_self(), loop_thread));
    assert_int_equal((int)(intptr_t)arg, next_expected++);
}

static void *post_many(void *arg)
{
    for (intptr_t i = 0; i < 10000; i++)
        loop_post(loop, in_order, (void *)i);
    loop_stop(loop);
    return NULL;
}

static void posts_of_a_thread_run_in_order_before_its_stop(void **state)
{
    pthread_t thread;

    next_expected = 0;
    loop_thread = pthread_self();
    pthread_create(&thread, NULL, post_many, NULL);
    loop_run(loop);
    pthread_join(thread, NULL);
    assert_int_equal(next_expected, 10000);
}

static bool stop_posting;

static void post_once_more(void *arg)
{
    calls++;
    if (!stop_posting)
        loop_post(loop, post_once_more, NULL);
}

struct job {
    pthread_t thread;
    bool worked, done;
};

static void do_job(void *arg)
{
    struct job *job = arg;

    usleep(5000);
    job->thread = pthread_self();
    job->worked = true;
}

static void finish_job(void *arg)
{
    struct job *job = arg;

    assert_true(job->worked);
    assert_true(pthread_equal(pthread_self(), loop_thread));
    job->done = true;
    calls++;
}

static void count_signal(void *arg, int signo)
{
    assert_true(signo == SIGUSR1 || signo == SIGUSR2);
    calls++;
    loop_stop(loop);
}

static void drop_signal(void *arg, int signo)
{
    fail();
}

static void give_up_signal(void *arg, int signo)
{
    loop_on_signal(loop, signo, NULL, NULL);
    loop_stop(loop);
}

static void remember_status(void *arg, int status)
{
    *(int *)arg = status;
    loop_stop(loop);
}

static void count_status(void *arg, int status)
{
    *(int *)arg = status;
    calls++;
}

static void a_post_that_posts_does_not_starve_timers(void **state)
{
    stop_posting = false;
    loop_post(loop, post_once_more, NULL);
    stop_after_ms(20);
    assert_true(calls > 1);
    stop_posting = true;
}

static void stopping_before_running_returns_at_once(void **state)
{
    loop_stop(loop);
    loop_run(loop);
    loop_post(loop, stop_now, NULL);
    loop_run(loop);
}

static void work_runs_elsewhere_and_finishes_here(void **state)
{
    struct job jobs[20] = {0};

    loop_thread = pthread_self();
    for (size_t i = 0; i < ARRAY_SIZE(jobs); i++)
        loop_work(loop, do_job, finish_job, &jobs[i]);
    while (calls < (int)ARRAY_SIZE(jobs))
        stop_after_ms(1);
    for (size_t i = 0; i < ARRAY_SIZE(jobs); i++) {
        assert_true(jobs[i].done);
        assert_false(pthread_equal(jobs[i].thread, loop_thread));
    }
}

static void freeing_the_loop_finishes_posts_and_work(void **state)
{
    struct loop *l = loop_new();
    struct job job = {0};

    loop_thread = pthread_self();
    loop_post(l, count, NULL);
    loop_work(l, do_job, finish_job, &job);
    loop_free(l);
    assert_int_equal(calls, 2);
    assert_true(job.done);
    loop_free(NULL);
}

static void freeing_the_loop_frees_what_is_left(void **state)
{
    struct loop *l = loop_new();
    int fds[2], pidfd;
    pid_t pid;
    _cleanup_err_ struct err e = ERR_INIT;
    char *argv[] = {"sleep", "60", NULL};
    struct spawn s = {.path = "/bin/sleep", .argv = argv};

    new_pair(fds);
    timer_start(timer_new(l, count, NULL), 0);
    io_new(l, fds[0], IO_WRITE, remember, NULL);
    loop_on_signal(l, SIGUSR1, count_signal, NULL);
    assert_int_equal(spawn_process(&s, &pid, &pidfd, &e), 0);
    loop_on_exit(l, pidfd, remember_status, NULL);
    loop_free(l);
    assert_int_equal(calls, 0);
    assert_int_equal(fcntl(pidfd, F_GETFD), -1);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    fd_close(fds[0]);
    fd_close(fds[1]);
}

static void an_idle_loop_does_not_wake_up(void **state)
{
    struct rusage before, after;
    int fds[2];

    new_pair(fds);
    struct io *io = io_new(loop, fds[0], IO_READ | IO_HANGUP, remember, NULL);
    loop_on_signal(loop, SIGUSR1, count_signal, NULL);
    stop_after_ms(5);
    getrusage(RUSAGE_THREAD, &before);
    stop_after_ms(300);
    getrusage(RUSAGE_THREAD, &after);
    assert_true(after.ru_nvcsw - before.ru_nvcsw <= 3);
    loop_on_signal(loop, SIGUSR1, NULL, NULL);
    io_free(io);
    fd_close(fds[0]);
    fd_close(fds[1]);
}

/* ---- Signals -------------------------------------------------------------------------------- */

static void signals_arrive_on_the_loop(void **state)
{
    struct sigaction sa;

    loop_on_signal(loop, SIGUSR1, count_signal, NULL);
    loop_on_signal(loop, SIGUSR2, drop_signal, NULL);
    kill(getpid(), SIGUSR1);
    loop_run(loop);
    assert_int_equal(calls, 1);

    /* Another function takes the place of the first. */
    loop_on_signal(loop, SIGUSR2, count_signal, NULL);
    kill(getpid(), SIGUSR2);
    loop_run(loop);
    assert_int_equal(calls, 2);

    loop_on_signal(loop, SIGUSR1, NULL, NULL);
    loop_on_signal(loop, SIGUSR2, NULL, NULL);
    sigaction(SIGUSR1, NULL, &sa);
    assert_ptr_equal(sa.sa_handler, SIG_DFL);
    signal(SIGUSR1, SIG_IGN);
    loop_on_signal(loop, SIGUSR1, NULL, NULL);
    sigaction(SIGUSR1, NULL, &sa);
    assert_ptr_equal(sa.sa_handler, SIG_DFL);
}

static void a_signal_may_be_given_up_in_its_own_callback(void **state)
{
    loop_on_signal(loop, SIGUSR1, give_up_signal, NULL);
    kill(getpid(), SIGUSR1);
    loop_run(loop);
    stop_after_ms(5);
    loop_on_signal(loop, SIGUSR1, count_signal, NULL);
    kill(getpid(), SIGUSR1);
    loop_run(loop);
    assert_int_equal(calls, 1);
    loop_on_signal(loop, SIGUSR1, NULL, NULL);
}

/* ---- Children ------------------------------------------------------------------------------- */

static int run_shell(const char *script)
{
    _cleanup_err_ struct err e = ERR_INIT;
    char *argv[] = {"sh", "-c", (char *)script, NULL};
    struct spawn s = {.path = "/bin/sh", .argv = argv};
    int pidfd, status = 12345;
    pid_t pid;

    assert_int_equal(spawn_process(&s, &pid, &pidfd, &e), 0);
    loop_on_exit(loop, pidfd, remember_status, &status);
    loop_run(loop);
    assert_int_equal(waitpid(pid, NULL, WNOHANG), -1); /* reaped */
    assert_int_equal(fcntl(pidfd, F_GETFD), -1);
    return status;
}

static void exits_are_reported_as_waitpid_does(void **state)
{
    _cleanup_err_ struct err e = ERR_INIT;
    char *argv[] = {"true", NULL};
    struct spawn s = {.path = "/bin/true", .argv = argv};
    int pidfd, status = 12345;
    pid_t pid;

    assert_int_equal(spawn_process(&s, &pid, &pidfd, &e), 0);
    loop_on_exit(loop, pidfd, remember_status, &status);
    loop_run(loop);
    assert_int_equal(status, 0);

    status = run_shell("exit 42");
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 42);
    status = run_shell("kill -TERM $$");
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    status = run_shell("sleep 0.05; exit 255");
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 255);
}

static void a_child_reaped_by_others_has_no_status(void **state)
{
    _cleanup_err_ struct err e = ERR_INIT;
    char *argv[] = {"true", NULL};
    struct spawn s = {.path = "/bin/true", .argv = argv};
    int pidfd, status = 12345;
    pid_t pid;

    assert_int_equal(spawn_process(&s, &pid, &pidfd, &e), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    loop_on_exit(loop, pidfd, remember_status, &status);
    loop_run(loop);
    assert_int_equal(status, -1);
    assert_false(WIFEXITED(status));
    assert_false(WIFSIGNALED(status));
}

static void many_children_are_all_reported(void **state)
{
    int status[50];

    for (size_t i = 0; i < ARRAY_SIZE(status); i++) {
        _cleanup_err_ struct err e = ERR_INIT;
        char *argv[] = {"true", NULL};
        struct spawn s = {.path = "/bin/true", .argv = argv};
        int pidfd;
        pid_t pid;

        status[i] = 12345;
        assert_int_equal(spawn_process(&s, &pid, &pidfd, &e), 0);
        loop_on_exit(loop, pidfd, count_status, &status[i]);
    }
    while (calls < (int)ARRAY_SIZE(status))
        stop_after_ms(5);
    for (size_t i = 0; i < ARRAY_SIZE(status); i++)
        assert_int_equal(status[i], 0);
}

#define ON_LOOP(fn) cmocka_unit_test_setup_teardown(fn, start_loop, end_loop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_LOOP(a_timer_fires_once_after_its_delay),
        ON_LOOP(the_delay_counts_from_now_and_not_from_the_turn),
        ON_LOOP(a_stopped_timer_is_silent_and_a_restart_moves_it),
        ON_LOOP(a_timer_may_free_itself),
        ON_LOOP(a_freed_timer_is_silent),
        ON_LOOP(readable_and_writable_are_told_apart),
        ON_LOOP(the_end_of_a_socket_is_a_hangup),
        ON_LOOP(the_end_of_a_pipe_is_seen_from_either_side),
        ON_LOOP(a_watch_may_free_itself_and_its_fd_be_closed),
        ON_LOOP(a_reused_fd_number_is_watched_anew),
        ON_LOOP(a_watch_freed_by_another_is_silent_though_ready),
        ON_LOOP(posts_of_a_thread_run_in_order_before_its_stop),
        ON_LOOP(a_post_that_posts_does_not_starve_timers),
        ON_LOOP(stopping_before_running_returns_at_once),
        ON_LOOP(work_runs_elsewhere_and_finishes_here),
        ON_LOOP(freeing_the_loop_finishes_posts_and_work),
        ON_LOOP(freeing_the_loop_frees_what_is_left),
        ON_LOOP(an_idle_loop_does_not_wake_up),
        ON_LOOP(signals_arrive_on_the_loop),
        ON_LOOP(a_signal_may_be_given_up_in_its_own_callback),
        ON_LOOP(exits_are_reported_as_waitpid_does),
        ON_LOOP(a_child_reaped_by_others_has_no_status),
        ON_LOOP(many_children_are_all_reported),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
