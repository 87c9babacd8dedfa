/* test-base-log.c - lines on stderr, caught through a pipe. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>

#include <podd/base.h>

static int saved_stderr, caught;

static int catch_stderr(void **state)
{
    int fds[2];

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    fcntl(fds[0], F_SETPIPE_SZ, 1 << 20);
    saved_stderr = fd_dup(STDERR_FILENO);
    dup2(fds[1], STDERR_FILENO);
    fd_close(fds[1]);
    caught = fds[0];
    return 0;
}

/* What has been written; stderr is itself again. */
static char *release_stderr(void)
{
    char *text = xcalloc(1, 1 << 20);

    dup2(saved_stderr, STDERR_FILENO);
    fd_close(saved_stderr);
    assert_true(fd_read_full(caught, text, (1 << 20) - 1) >= 0);
    fd_close(caught);
    return text;
}

static int reset_level(void **state)
{
    log_set_level(LOG_INFO);
    return 0;
}

static void a_line_has_five_fields(void **state)
{
    log_info("pod", "web", "started %d of %d", 1, 2);
    _cleanup_free_ char *text = release_stderr();

    assert_int_equal(strlen(text), 30 + strlen(" info pod web started 1 of 2\n"));
    assert_int_equal(text[4], '-');
    assert_int_equal(text[29], 'Z');
    assert_string_equal(text + 30, " info pod web started 1 of 2\n");
}

static void no_object_is_a_dash(void **state)
{
    log_error("net", NULL, "a");
    log_warn("net", "", "b");
    _cleanup_free_ char *text = release_stderr();

    assert_non_null(strstr(text, " error net - a\n"));
    assert_non_null(strstr(text, " warn net - b\n"));
}

static void nothing_from_outside_forges_a_line(void **state)
{
    log_info("pod", "a b\n", "x\ny\tz\r\x1b[31m\x7f\xc2\x9bq \xc3\xa9\n");
    _cleanup_free_ char *text = release_stderr();

    assert_string_equal(text + 30, " info pod a\\x20b\\n "
                                   "x\\ny\\tz\\x0d\\x1b[31m\\x7f\\xc2\\x9bq \xc3\xa9\\n\n");
}

static void an_endless_message_is_cut(void **state)
{
    _cleanup_free_ char *message = xcalloc(1, 100001);

    memset(message, 'a', 100000);
    log_info("pod", NULL, "%s", message);
    _cleanup_free_ char *text = release_stderr();
    assert_true(strlen(text) < 9000);
    assert_true(str_ends_with(text, "aaa...\n"));
}

static void levels_above_the_set_one_are_silent(void **state)
{
    log_debug("pod", NULL, "no");
    log_set_level(LOG_WARN);
    log_info("pod", NULL, "no");
    log_warn("pod", NULL, "yes");
    log_set_level(LOG_DEBUG);
    log_debug("pod", NULL, "yes");
    _cleanup_free_ char *text = release_stderr();

    assert_null(strstr(text, "no"));
    assert_non_null(strstr(text, " warn pod - yes\n"));
    assert_non_null(strstr(text, " debug pod - yes\n"));
}

static void logging_keeps_errno(void **state)
{
    errno = ENOENT;
    log_info("pod", NULL, "x");
    int after = errno;
    _cleanup_free_ char *text = release_stderr();

    assert_int_equal(after, ENOENT);
}

static void *log_many(void *arg)
{
    for (int i = 0; i < 500; i++)
        log_info("thread", arg, "begin %d end", i);
    return NULL;
}

static void lines_of_threads_do_not_mix(void **state)
{
    pthread_t threads[4];
    char name[4][2] = {"a", "b", "c", "d"};
    int lines = 0;

    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, log_many, name[i]);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    _cleanup_free_ char *text = release_stderr();
    for (char *p = text, *end; (end = strchr(p, '\n')); p = end + 1, lines++) {
        *end = '\0';
        assert_true(str_starts_with(p + 30, " info thread "));
        assert_true(str_ends_with(p, " end"));
    }
    assert_int_equal(lines, 2000);
}

static void levels_are_parsed_by_name(void **state)
{
    enum log_level level;

    assert_int_equal(log_level_parse("error", &level), 0);
    assert_int_equal(level, LOG_ERROR);
    assert_int_equal(log_level_parse("debug", &level), 0);
    assert_int_equal(level, LOG_DEBUG);
    assert_int_equal(log_level_parse("Debug", &level), -EINVAL);
    assert_int_equal(log_level_parse("", &level), -EINVAL);
    assert_int_equal(log_level_parse(NULL, &level), -EINVAL);
    assert_int_equal(level, LOG_DEBUG);
}

#define CAUGHT(fn) cmocka_unit_test_setup_teardown(fn, catch_stderr, reset_level)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CAUGHT(a_line_has_five_fields),
        CAUGHT(no_object_is_a_dash),
        CAUGHT(nothing_from_outside_forges_a_line),
        CAUGHT(an_endless_message_is_cut),
        CAUGHT(levels_above_the_set_one_are_silent),
        CAUGHT(logging_keeps_errno),
        CAUGHT(lines_of_threads_do_not_mix),
        cmocka_unit_test(levels_are_parsed_by_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
