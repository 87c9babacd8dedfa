/* test-base-fd.c - closing, copying, whole reads and writes, with pipes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>

#include <podd/base.h>

struct pipe_fds {
    int read, write;
};

static struct pipe_fds new_pipe(void)
{
    int fds[2];

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    return (struct pipe_fds){fds[0], fds[1]};
}

static void closing_keeps_errno_and_ignores_none(void **state)
{
    struct pipe_fds p = new_pipe();

    errno = ENOENT;
    fd_close(p.read);
    fd_close(p.write);
    fd_close(-1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(fcntl(p.read, F_GETFD), -1);
}

static void taking_leaves_minus_one(void **state)
{
    int fd = 5;

    assert_int_equal(take_fd(&fd), 5);
    assert_int_equal(fd, -1);
}

static void a_copy_is_closed_on_exec(void **state)
{
    struct pipe_fds p = new_pipe();
    _cleanup_close_ int copy = fd_dup(p.read);

    assert_true(copy > 2);
    assert_int_equal(fcntl(copy, F_GETFD), FD_CLOEXEC);
    fd_close(p.read);
    fd_close(p.write);
    assert_int_equal(fd_dup(p.read), -EBADF);
}

static void nonblocking_is_switched(void **state)
{
    struct pipe_fds p = new_pipe();
    char c;

    assert_int_equal(fd_set_nonblock(p.read, true), 0);
    assert_int_equal(fd_read_full(p.read, &c, 1), -EAGAIN);
    assert_int_equal(fd_set_nonblock(p.read, false), 0);
    assert_false(fcntl(p.read, F_GETFL) & O_NONBLOCK);
    fd_close(p.read);
    fd_close(p.write);
    assert_int_equal(fd_set_nonblock(p.read, true), -EBADF);
}

static void *slow_reader(void *arg)
{
    const struct pipe_fds *p = arg;
    static char buf[1 << 20];

    return (void *)fd_read_full(p->read, buf, sizeof(buf));
}

static void more_than_a_pipe_holds_arrives_whole(void **state)
{
    struct pipe_fds p = new_pipe();
    size_t len = 1 << 20;
    _cleanup_free_ char *data = xcalloc(1, len);
    pthread_t thread;
    void *got;

    pthread_create(&thread, NULL, slow_reader, &p);
    assert_int_equal(fd_write_all(p.write, data, len), 0);
    pthread_join(thread, &got);
    assert_int_equal((size_t)got, len);
    fd_close(p.read);
    fd_close(p.write);
}

static void reading_stops_at_the_end(void **state)
{
    struct pipe_fds p = new_pipe();
    char buf[10];

    assert_int_equal(fd_write_all(p.write, "abc", 3), 0);
    fd_close(p.write);
    assert_int_equal(fd_read_full(p.read, buf, sizeof(buf)), 3);
    assert_memory_equal(buf, "abc", 3);
    assert_int_equal(fd_read_full(p.read, buf, sizeof(buf)), 0);
    fd_close(p.read);
}

static void writing_to_nobody_is_epipe(void **state)
{
    struct pipe_fds p = new_pipe();

    signal(SIGPIPE, SIG_IGN);
    fd_close(p.read);
    assert_int_equal(fd_write_all(p.write, "abc", 3), -EPIPE);
    assert_int_equal(fd_write_all(p.write, "", 0), 0);
    fd_close(p.write);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closing_keeps_errno_and_ignores_none),
        cmocka_unit_test(taking_leaves_minus_one),
        cmocka_unit_test(a_copy_is_closed_on_exec),
        cmocka_unit_test(nonblocking_is_switched),
        cmocka_unit_test(more_than_a_pipe_holds_arrives_whole),
        cmocka_unit_test(reading_stops_at_the_end),
        cmocka_unit_test(writing_to_nobody_is_epipe),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
