/*
 * test-node-event-file.c - the history of events on disk: what was appended is read back, up to the
 * first record that is not whole, wherever its writer was killed.
 */
#include "../../src/node/event_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

static char dir[64], path[80];

static int enter(void **state)
{
    snprintf(dir, sizeof(dir), "/tmp/test-event-file-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof(path), "%s/events", dir);
    return 0;
}

static int leave(void **state)
{
    unlink(path);
    return rmdir(dir);
}

static Podd__V1__Event numbered(uint64_t version)
{
    Podd__V1__Event event = PODD__V1__EVENT__INIT;

    event.resource_version = version;
    event.count = 1;
    event.pod = (char *)"web";
    event.message = (char *)"something happened";
    return event;
}

static struct event_file *new_file(size_t count)
{
    struct event_file *f = event_file_open(path);
    struct strbuf empty = {0};

    event_file_replace(f, &empty, 0);
    for (size_t i = 1; i <= count; i++) {
        Podd__V1__Event event = numbered(i);
        event_file_append(f, &event);
    }
    return f;
}

struct seen {
    size_t count;
    uint64_t last;
};

static void see(void *arg, const Podd__V1__Event *event)
{
    struct seen *seen = arg;

    seen->count++;
    assert_true(event->resource_version > seen->last);
    seen->last = event->resource_version;
    assert_string_equal(event->pod, "web");
}

static struct seen read_all(void)
{
    struct event_file *f = event_file_open(path);
    struct seen seen = {0};

    event_file_read(f, see, &seen);
    event_file_close(f);
    return seen;
}

static void what_was_appended_is_read(void **state)
{
    assert_int_equal(read_all().count, 0); /* no file yet */
    struct event_file *f = new_file(3);
    assert_int_equal(event_file_count(f), 3);
    event_file_close(f);
    assert_int_equal(read_all().count, 3);
    assert_int_equal(read_all().last, 3);
}

static void replacing_forgets_the_rest(void **state)
{
    _cleanup_strbuf_ struct strbuf content = {0};
    struct event_file *f = new_file(3);
    Podd__V1__Event event = numbered(7);

    event_file_add_record(&content, &event);
    event_file_replace(f, &content, 1);
    event = numbered(8);
    event_file_append(f, &event);
    event_file_close(f);
    assert_int_equal(read_all().count, 2);
    assert_int_equal(read_all().last, 8);
}

/* Cut anywhere in the third record, the first two are there and nothing else is. */
static void a_torn_tail_ends_the_history(void **state)
{
    struct stat two, three;

    event_file_close(new_file(2));
    assert_int_equal(stat(path, &two), 0);
    event_file_close(new_file(3));
    assert_int_equal(stat(path, &three), 0);
    log_set_level(LOG_ERROR);
    for (off_t size = three.st_size; size-- > two.st_size;) {
        assert_int_equal(truncate(path, size), 0);
        assert_int_equal(read_all().count, 2);
    }
}

static void a_changed_byte_ends_the_history(void **state)
{
    struct stat one;

    event_file_close(new_file(1));
    assert_int_equal(stat(path, &one), 0);
    log_set_level(LOG_ERROR);
    for (long at = 0; at < 2 * one.st_size; at++) {
        event_file_close(new_file(3));
        FILE *file = fopen(path, "r+");
        assert_int_equal(fseek(file, at, SEEK_SET), 0);
        int c = fgetc(file);
        assert_int_equal(fseek(file, at, SEEK_SET), 0);
        fputc(c ^ 0x40, file);
        fclose(file);
        assert_int_equal(read_all().count, at < one.st_size ? 0 : 1);
    }
}

/* On a full disk: the write fails, and a history with a gap would be taken for a whole one. */
static void a_file_that_cannot_be_written_is_removed(void **state)
{
    struct rlimit before, small;
    struct event_file *f = new_file(2);
    Podd__V1__Event event = numbered(3);

    log_set_level(LOG_ERROR);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 100;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    event_file_append(f, &event);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(event_file_count(f), 3);
    assert_int_equal(access(path, F_OK), -1);

    struct strbuf empty = {0};
    event_file_replace(f, &empty, 0);
    event_file_append(f, &event);
    event_file_close(f);
    assert_int_equal(read_all().count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_appended_is_read, enter, leave),
        cmocka_unit_test_setup_teardown(replacing_forgets_the_rest, enter, leave),
        cmocka_unit_test_setup_teardown(a_torn_tail_ends_the_history, enter, leave),
        cmocka_unit_test_setup_teardown(a_changed_byte_ends_the_history, enter, leave),
        cmocka_unit_test_setup_teardown(a_file_that_cannot_be_written_is_removed, enter, leave),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
