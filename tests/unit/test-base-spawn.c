/* test-base-spawn.c - what a started program gets: fds, environment, signals.
 * The program is /bin/sh, which reports through the fds that it was given. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include <podd/base.h>

static int finish(pid_t pid, int pidfd)
{
    int status;

    assert_int_equal(fcntl(pidfd, F_GETFD), FD_CLOEXEC);
    fd_close(pidfd);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

/* Runs the script with the given fds and the write end of a pipe as fd `out`; returns what came. */
static char *output_of(const char *script, const struct spawn_fd *fds, size_t n_fds, int out,
                       char *const *envp)
{
    _cleanup_err_ struct err e = ERR_INIT;
    char *argv[] = {"sh", "-c", (char *)script, NULL};
    struct spawn_fd all[16];
    char *text = xcalloc(1, 8192);
    int pipe_fds[2], pidfd;
    pid_t pid;

    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    for (size_t i = 0; i < n_fds; i++)
        all[i] = fds[i];
    all[n_fds] = (struct spawn_fd){pipe_fds[1], out};
    struct spawn s = {
        .path = "/bin/sh", .argv = argv, .envp = envp, .fds = all, .n_fds = n_fds + 1};
    assert_int_equal(spawn_process(&s, &pid, &pidfd, &e), 0);
    fd_close(pipe_fds[1]);
    assert_true(fd_read_full(pipe_fds[0], text, 8191) >= 0);
    fd_close(pipe_fds[0]);
    assert_int_equal(finish(pid, pidfd), 0);
    return text;
}

/* A file with one letter of content at exactly this number. */
static void letter_at(int number, char letter)
{
    char path[] = "/tmp/test-base-spawn-XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC);

    assert_true(fd >= 0);
    unlink(path);
    assert_int_equal(write(fd, &letter, 1), 1);
    lseek(fd, 0, SEEK_SET);
    if (fd != number) {
        assert_int_equal(dup3(fd, number, O_CLOEXEC), number);
        fd_close(fd);
    }
}

static void unmapped_standard_fds_are_dev_null_and_others_closed(void **state)
{
    int leaky = open("/dev/zero", O_RDONLY); /* not O_CLOEXEC, against the convention */
    int leaky_high = fcntl(leaky, F_DUPFD, 500);
    _cleanup_free_ char *text = output_of("for f in /proc/$$/fd/*; do echo ${f##*/}:$(readlink $f);"
                                          " done >&7",
                                          NULL, 0, 7, (char *[]){"PATH=/usr/bin:/bin", NULL});

    fd_close(leaky);
    fd_close(leaky_high);
    assert_non_null(strstr(text, "0:/dev/null\n1:"));
    assert_non_null(strstr(text, "2:/dev/null\n"));
    assert_non_null(strstr(text, "7:pipe:"));
    assert_null(strstr(text, "/dev/zero"));
}

static void fds_that_swap_and_rotate_arrive_right(void **state)
{
    const struct spawn_fd fds[] = {{20, 21}, {21, 22}, {22, 20}, {23, 0}, {20, 24}};

    letter_at(20, 'a');
    letter_at(21, 'b');
    letter_at(22, 'c');
    letter_at(23, 'd');
    /* The same file behind 21 and 24 has one position: reopen it by /proc. */
    _cleanup_free_ char *text =
        output_of("cat /proc/self/fd/20 /proc/self/fd/21 /proc/self/fd/22 /proc/self/fd/0 "
                  "/proc/self/fd/24",
                  fds, ARRAY_SIZE(fds), 1, (char *[]){"PATH=/usr/bin:/bin", NULL});
    for (int fd = 20; fd <= 23; fd++)
        fd_close(fd);
    assert_string_equal(text, "cabda");
}

static void an_fd_mapped_to_itself_is_inherited(void **state)
{
    const struct spawn_fd fds[] = {{9, 9}};

    letter_at(9, 'z');
    _cleanup_free_ char *text =
        output_of("cat <&9", fds, 1, 1, (char *[]){"PATH=/usr/bin:/bin", NULL});
    assert_string_equal(text, "z");
    assert_int_equal(fcntl(9, F_GETFD), FD_CLOEXEC); /* the parent's is as it was */
    fd_close(9);
}

static int open_fds(void)
{
    int n = 0;

    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void the_parent_keeps_no_extra_fd(void **state)
{
    const struct spawn_fd fds[] = {{2, 3}, {1, 4}};
    int before = open_fds();
    _cleanup_free_ char *text = output_of("echo x", fds, 2, 1, NULL);

    assert_string_equal(text, "x\n");
    assert_int_equal(open_fds(), before);
}

static void the_environment_is_exactly_the_given_one(void **state)
{
    char *env[] = {"A=1", "B=two words", NULL};
    setenv("SECRET", "x", 1);
    _cleanup_free_ char *given =
        output_of("/usr/bin/env | grep -v ^_= | grep -v ^PWD= | "
                  "/usr/bin/sort",
                  NULL, 0, 1, (char *[]){"A=1", "B=two words", "PATH=/usr/bin:/bin", NULL});
    _cleanup_free_ char *none = output_of("echo \"[$A$SECRET$HOME]\"", NULL, 0, 1, NULL);
    _cleanup_free_ char *few = output_of("echo \"$A $B\"", NULL, 0, 1, env);

    assert_string_equal(given, "A=1\nB=two words\nPATH=/usr/bin:/bin\n");
    assert_string_equal(none, "[]\n");
    assert_string_equal(few, "1 two words\n");
}

static void signals_are_unblocked_and_at_their_defaults(void **state)
{
    sigset_t block, old;

    sigfillset(&block);
    sigprocmask(SIG_BLOCK, &block, &old);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    _cleanup_free_ char *text =
        output_of("while read k v; do case $k in SigBlk:|SigIgn:) echo $k$v;; esac; done "
                  "</proc/self/status",
                  NULL, 0, 1, NULL);
    sigprocmask(SIG_SETMASK, &old, NULL);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGUSR1, SIG_DFL);
    assert_string_equal(text, "SigBlk:0000000000000000\nSigIgn:0000000000000000\n");
}

static void a_group_of_its_own_can_be_killed_as_one(void **state)
{
    _cleanup_err_ struct err e = ERR_INIT;
    char *argv[] = {"sh", "-c", "sleep 60 & wait", NULL};
    struct spawn s = {.path = "/bin/sh", .argv = argv, .own_group = true};
    int pidfd;
    pid_t pid;

    assert_int_equal(spawn_process(&s, &pid, &pidfd, &e), 0);
    assert_int_equal(getpgid(pid), pid);
    assert_int_equal(kill(-pid, SIGKILL), 0);
    assert_int_equal(finish(pid, pidfd), SIGKILL);
    s.own_group = false;
    argv[2] = "exit 0";
    assert_int_equal(spawn_process(&s, &pid, &pidfd, &e), 0);
    assert_int_equal(getpgid(pid), getpgrp());
    assert_int_equal(finish(pid, pidfd), 0);
}

static void a_missing_program_is_an_error(void **state)
{
    _cleanup_err_ struct err e = ERR_INIT;
    char *argv[] = {"none", NULL};
    struct spawn s = {.path = "/nonexistent/none", .argv = argv};
    int pidfd = -7;
    pid_t pid = -7;

    assert_int_equal(spawn_process(&s, &pid, &pidfd, &e), -1);
    assert_string_equal(err_text(&e), "start /nonexistent/none: No such file or directory");
    assert_int_equal(pid, -7);
    assert_int_equal(pidfd, -7);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unmapped_standard_fds_are_dev_null_and_others_closed),
        cmocka_unit_test(fds_that_swap_and_rotate_arrive_right),
        cmocka_unit_test(an_fd_mapped_to_itself_is_inherited),
        cmocka_unit_test(the_parent_keeps_no_extra_fd),
        cmocka_unit_test(the_environment_is_exactly_the_given_one),
        cmocka_unit_test(signals_are_unblocked_and_at_their_defaults),
        cmocka_unit_test(a_group_of_its_own_can_be_killed_as_one),
        cmocka_unit_test(a_missing_program_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
