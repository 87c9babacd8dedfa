/*
 * The log writer: whatever is fed in whatever pieces, the file reads back as exactly that.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "../../src/shim/logger.h"

struct fixture {
    char dir[40], path[64], old[64];
    struct log_buffer buffer;
    struct logger logger;
    unsigned random;
};

static int setup(void **state)
{
    struct fixture *f = xnew(struct fixture);

    snprintf(f->dir, sizeof(f->dir), "/tmp/podd-test-logger-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof(f->path), "%s/0.log", f->dir);
    snprintf(f->old, sizeof(f->old), "%s/0.log.old", f->dir);
    assert_int_equal(log_buffer_init(&f->buffer), 0);
    logger_init(&f->logger, f->path, 0);
    f->random = 1;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    _cleanup_err_ struct err e = ERR_INIT;

    logger_free(&f->logger);
    log_buffer_free(&f->buffer);
    assert_int_equal(tree_remove(AT_FDCWD, f->dir, &e), 0);
    free(f);
    return 0;
}

static unsigned draw(struct fixture *f, unsigned below)
{
    f->random = f->random * 1103515245u + 12345u;
    return (f->random >> 8) % below;
}

static void feed(struct fixture *f, enum log_stream stream, const void *data, size_t len)
{
    while (len) {
        size_t n = len < LOG_READ_SIZE ? len : LOG_READ_SIZE;
        memcpy(f->buffer.in, data, n);
        logger_feed(&f->logger, &f->buffer, stream, n);
        data = (const char *)data + n;
        len -= n;
    }
}

static void feeds(struct fixture *f, enum log_stream stream, const char *text)
{
    feed(f, stream, text, strlen(text));
}

static void start(struct fixture *f)
{
    _cleanup_err_ struct err e = ERR_INIT;

    if (logger_open(&f->logger, &e) < 0)
        fail_msg("%s", err_text(&e));
}

static void finish(struct fixture *f)
{
    logger_finish(&f->logger, &f->buffer, LOG_STDOUT);
    logger_finish(&f->logger, &f->buffer, LOG_STDERR);
}

/* ---- Reading back --------------------------------------------------------------------------- */

struct parsed {
    struct strbuf text[LOG_N_STREAMS];
    size_t records, longest, notices;
    unsigned long long dropped;
};

static void parsed_free(struct parsed *p)
{
    strbuf_free(&p->text[0]);
    strbuf_free(&p->text[1]);
}
#define _cleanup_parsed_ CLEANUP(parsed_free)

static void check_time(const char *t)
{
    static const char form[] = "0000-00-00T00:00:00.000000000Z";

    for (size_t i = 0; form[i]; i++) {
        if (form[i] == '0')
            assert_in_range(t[i], '0', '9');
        else
            assert_int_equal(t[i], form[i]);
    }
}

static void parse_record(struct parsed *p, const char *record, size_t len)
{
    assert_true(len >= 40);
    check_time(record);
    bool out = memcmp(record + 30, " stdout ", 8) == 0;
    assert_true(out || memcmp(record + 30, " stderr ", 8) == 0);
    char tag = record[38];
    assert_true(tag == 'F' || tag == 'P');
    assert_int_equal(record[39], ' ');
    const char *text = record + 40;
    size_t n = len - 40;
    unsigned long long dropped;

    if (n > 5 && sscanf(text, "podd: %llu bytes of output were lost here:", &dropped) == 1) {
        p->notices++;
        p->dropped += dropped;
        return;
    }
    p->records++;
    p->longest = n > p->longest ? n : p->longest;
    struct strbuf *b = &p->text[out ? LOG_STDOUT : LOG_STDERR];
    strbuf_add(b, text, n);
    if (tag == 'F')
        strbuf_add(b, "\n", 1);
}

static void parse_file(const char *path, struct parsed *p)
{
    _cleanup_bytes_ struct bytes b = {0};
    _cleanup_err_ struct err e = ERR_INIT;

    assert_int_equal(file_read(AT_FDCWD, path, 1 << 30, &b, &e), 0);
    for (const char *at = (char *)b.data, *end = at + b.len; at < end;) {
        const char *nl = memchr(at, '\n', (size_t)(end - at));
        assert_non_null(nl);
        parse_record(p, at, (size_t)(nl - at));
        at = nl + 1;
    }
}

static void assert_text(const struct parsed *p, enum log_stream stream, const struct strbuf *want)
{
    assert_int_equal(p->text[stream].len, want->len);
    if (want->len)
        assert_memory_equal(p->text[stream].data, want->data, want->len);
}

static void assert_file(const char *path, const char *want)
{
    _cleanup_bytes_ struct bytes b = {0};
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_strbuf_ struct strbuf got = {0};

    assert_int_equal(file_read(AT_FDCWD, path, 1 << 20, &b, &e), 0);
    for (char *line = (char *)b.data; *line;) {
        size_t n = strcspn(line, "\n") + 1;
        strbuf_add(&got, line + 31, n - 31);
        line += n;
    }
    assert_string_equal(got.data ? got.data : "", want);
}

/* ---- Tests ---------------------------------------------------------------------------------- */

static void lines_become_full_records(void **state)
{
    struct fixture *f = *state;

    start(f);
    feeds(f, LOG_STDOUT, "one\n\ntwo\r\n");
    feeds(f, LOG_STDERR, "other\n");
    finish(f);
    assert_file(f->path, "stdout F one\nstdout F \nstdout F two\r\nstderr F other\n");
}

static void a_line_waits_for_its_end(void **state)
{
    struct fixture *f = *state;

    start(f);
    feeds(f, LOG_STDOUT, "hel");
    feeds(f, LOG_STDERR, "in between\n");
    feeds(f, LOG_STDOUT, "lo ");
    feeds(f, LOG_STDOUT, "world\nrest");
    assert_file(f->path, "stderr F in between\nstdout F hello world\n");
    finish(f);
    assert_file(f->path, "stderr F in between\nstdout F hello world\nstdout P rest\n");
}

static void only_what_is_longer_is_split(void **state)
{
    struct fixture *f = *state;

    logger_free(&f->logger);
    logger_init(&f->logger, f->path, 4);
    start(f);
    feeds(f, LOG_STDOUT, "1234\n12345\n12345678\n123456789");
    assert_file(f->path, "stdout F 1234\nstdout P 1234\nstdout F 5\nstdout P 1234\nstdout F 5678\n"
                         "stdout P 1234\nstdout P 5678\n");
    finish(f);
    assert_file(f->path, "stdout F 1234\nstdout P 1234\nstdout F 5\nstdout P 1234\nstdout F 5678\n"
                         "stdout P 1234\nstdout P 5678\nstdout P 9\n");
}

static void text_cannot_forge_a_record(void **state)
{
    struct fixture *f = *state;

    start(f);
    feeds(f, LOG_STDOUT, "2020-01-01T00:00:00.000000000Z stderr F not me\r\x1b[2J\n");
    finish(f);
    assert_file(f->path, "stdout F 2020-01-01T00:00:00.000000000Z stderr F not me\r\x1b[2J\n");
}

/* A piece of output: mostly short lines, some long, any byte. */
static void make_piece(struct fixture *f, struct strbuf *ret)
{
    static const unsigned sizes[] = {1, 3, 60, 500, 5000, 40000, 300000};
    size_t len = 1 + draw(f, sizes[draw(f, ARRAY_SIZE(sizes))]);
    unsigned newlines = 1 + draw(f, 2000);
    _cleanup_free_ char *bytes = xmalloc(len);

    for (size_t i = 0; i < len; i++)
        bytes[i] = draw(f, newlines) == 0 ? '\n' : (char)draw(f, 256);
    strbuf_add(ret, bytes, len);
}

static void any_bytes_in_any_pieces_read_back(void **state)
{
    struct fixture *f = *state;

    for (unsigned seed = 1; seed <= 25; seed++) {
        struct strbuf want[LOG_N_STREAMS] = {0};
        _cleanup_parsed_ struct parsed p = {0};

        f->random = seed;
        logger_free(&f->logger);
        unlink(f->path);
        size_t max = 1 + draw(f, seed % 2 ? 100 : LOG_LINE_MAX);
        logger_init(&f->logger, f->path, max);
        start(f);
        for (int i = 0; i < 60; i++) {
            enum log_stream stream = draw(f, 2) ? LOG_STDOUT : LOG_STDERR;
            _cleanup_strbuf_ struct strbuf piece = {0};
            make_piece(f, &piece);
            feed(f, stream, piece.data, piece.len);
            strbuf_add(&want[stream], piece.data, piece.len);
            assert_true(f->logger.lines[stream].carry_len <= max);
        }
        finish(f);
        parse_file(f->path, &p);
        assert_text(&p, LOG_STDOUT, &want[0]);
        assert_text(&p, LOG_STDERR, &want[1]);
        assert_true(p.longest <= max);
        strbuf_free(&want[0]);
        strbuf_free(&want[1]);
    }
}

static void reopening_in_a_flood_loses_nothing(void **state)
{
    struct fixture *f = *state;
    struct strbuf want[LOG_N_STREAMS] = {0};
    _cleanup_parsed_ struct parsed p = {0};
    _cleanup_err_ struct err e = ERR_INIT;
    char path[80];

    start(f);
    for (int i = 0; i < 200; i++) {
        enum log_stream stream = draw(f, 2) ? LOG_STDOUT : LOG_STDERR;
        _cleanup_strbuf_ struct strbuf piece = {0};
        make_piece(f, &piece);
        feed(f, stream, piece.data, piece.len);
        strbuf_add(&want[stream], piece.data, piece.len);
        if (i % 20 == 19) {
            struct stat before, after;
            snprintf(path, sizeof(path), "%s.%d", f->path, i);
            assert_int_equal(rename(f->path, path), 0);
            assert_int_equal(stat(path, &before), 0);
            assert_int_equal(logger_reopen(&f->logger, &e), 0);
            assert_int_equal(access(f->path, F_OK), 0);
            feeds(f, LOG_STDERR, "new\n");
            strbuf_adds(&want[LOG_STDERR], "new\n");
            assert_int_equal(stat(path, &after), 0);
            assert_int_equal(before.st_size, after.st_size);
            parse_file(path, &p);
        }
    }
    finish(f);
    parse_file(f->path, &p);
    assert_text(&p, LOG_STDOUT, &want[0]);
    assert_text(&p, LOG_STDERR, &want[1]);
    strbuf_free(&want[0]);
    strbuf_free(&want[1]);
}

/* ---- Rotation ------------------------------------------------------------------------------- */

static char *rotated(const struct fixture *f, unsigned number)
{
    return number ? xasprintf("%s.%u", f->path, number) : xstrdup(f->path);
}

static size_t count_files(const struct fixture *f)
{
    for (unsigned n = 0;; n++) {
        _cleanup_free_ char *path = rotated(f, n);
        if (access(path, F_OK) < 0)
            return n;
    }
}

static void a_log_is_rotated_before_it_is_too_large(void **state)
{
    struct fixture *f = *state;
    const char *line = "0123456789\n"; /* a record of 51 bytes */

    logger_rotate(&f->logger, 120, 3);
    start(f);
    for (int i = 0; i < 2; i++)
        feeds(f, LOG_STDOUT, line);
    assert_int_equal(count_files(f), 1);
    feeds(f, LOG_STDOUT, "third\n");
    assert_int_equal(count_files(f), 2);
    assert_file(f->path, "stdout F third\n");
    for (int i = 0; i < 6; i++)
        feeds(f, LOG_STDERR, line);
    assert_int_equal(count_files(f), 3);
    for (unsigned n = 0; n < 3; n++) {
        _cleanup_free_ char *path = rotated(f, n);
        struct stat st;
        assert_int_equal(stat(path, &st), 0);
        assert_in_range(st.st_size, 51, 120);
    }
}

static void a_rotated_log_reads_as_if_it_were_not(void **state)
{
    struct fixture *f = *state;
    struct strbuf want[LOG_N_STREAMS] = {0};
    _cleanup_parsed_ struct parsed p = {0};

    logger_rotate(&f->logger, 100000, 1000);
    start(f);
    for (int i = 0; i < 100; i++) {
        enum log_stream stream = draw(f, 2) ? LOG_STDOUT : LOG_STDERR;
        _cleanup_strbuf_ struct strbuf piece = {0};
        make_piece(f, &piece);
        feed(f, stream, piece.data, piece.len);
        strbuf_add(&want[stream], piece.data, piece.len);
    }
    finish(f);
    size_t files = count_files(f);
    assert_true(files > 3);
    for (size_t n = files; n-- > 0;) {
        _cleanup_free_ char *path = rotated(f, (unsigned)n);
        parse_file(path, &p);
    }
    for (int i = 0; i < LOG_N_STREAMS; i++) {
        assert_text(&p, i, &want[i]);
        strbuf_free(&want[i]);
    }
}

/* A file that is there already counts with what it holds: podd-shim's life may begin with one. */
static void a_log_that_goes_on_is_rotated_too(void **state)
{
    struct fixture *f = *state;

    start(f);
    feeds(f, LOG_STDOUT, "0123456789\n0123456789\n");
    logger_free(&f->logger);
    logger_init(&f->logger, f->path, 0);
    logger_rotate(&f->logger, 120, 2);
    start(f);
    feeds(f, LOG_STDOUT, "next\n");
    assert_int_equal(count_files(f), 2);
    assert_file(f->path, "stdout F next\n");
}

static void a_rotation_that_fails_loses_nothing(void **state)
{
    struct fixture *f = *state;
    _cleanup_free_ char *other = rotated(f, 1);

    log_set_level(LOG_ERROR);
    logger_rotate(&f->logger, 60, 2);
    start(f);
    /* What is in the way cannot be replaced by a rename. */
    assert_int_equal(mkdir(other, 0700), 0);
    feeds(f, LOG_STDOUT, "one\n");
    feeds(f, LOG_STDOUT, "two\n");
    assert_file(f->path, "stdout F one\nstdout F two\n");
    assert_int_equal(rmdir(other), 0);
    feeds(f, LOG_STDOUT, "three\n");
    feeds(f, LOG_STDOUT, "four\n");
    assert_int_equal(count_files(f), 2);
}

static void a_reopen_that_fails_changes_nothing(void **state)
{
    struct fixture *f = *state;
    _cleanup_err_ struct err e = ERR_INIT;

    start(f);
    feeds(f, LOG_STDOUT, "one\n");
    assert_int_equal(rename(f->path, f->old), 0);
    assert_int_equal(symlink(f->old, f->path), 0);
    assert_int_equal(logger_reopen(&f->logger, &e), -1);
    assert_int_equal(e.code, ERR_FAILED_PRECONDITION);
    assert_non_null(strstr(err_text(&e), "symbolic link"));
    assert_int_equal(unlink(f->path), 0);
    feeds(f, LOG_STDOUT, "two\n");
    assert_file(f->old, "stdout F one\nstdout F two\n");
    assert_int_equal(access(f->path, F_OK), -1);
}

static void only_a_regular_file_is_a_log(void **state)
{
    struct fixture *f = *state;
    _cleanup_err_ struct err e = ERR_INIT;

    assert_int_equal(mkfifo(f->path, 0600), 0);
    assert_int_equal(logger_open(&f->logger, &e), -1);
    assert_non_null(strstr(err_text(&e), f->path));
}

static void the_file_is_private_and_is_continued(void **state)
{
    struct fixture *f = *state;
    struct stat st;

    umask(022);
    start(f);
    feeds(f, LOG_STDOUT, "one\n");
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    logger_free(&f->logger);
    logger_init(&f->logger, f->path, 0);
    start(f);
    feeds(f, LOG_STDOUT, "two\n");
    assert_file(f->path, "stdout F one\nstdout F two\n");
}

static void without_a_path_output_is_dropped(void **state)
{
    struct fixture *f = *state;

    logger_free(&f->logger);
    logger_init(&f->logger, "", 0);
    start(f);
    feeds(f, LOG_STDOUT, "lost\nand gone");
    finish(f);
    assert_null(f->logger.lines[LOG_STDOUT].carry);
}

static void limit_file_size(rlim_t size)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = size < limit.rlim_max ? size : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* A file that cannot grow stands for a disk that is full: the write that meets the limit is cut
 * short, those after it fail. */
static void a_full_disk_loses_counted_bytes_and_no_record_is_torn(void **state)
{
    struct fixture *f = *state;
    size_t fed = 0;
    _cleanup_parsed_ struct parsed p = {0};

    signal(SIGXFSZ, SIG_IGN);
    start(f);
    for (int round = 0; round < 6; round++) {
        struct stat st;
        assert_int_equal(stat(f->path, &st), 0);
        limit_file_size((rlim_t)st.st_size + 1000 + draw(f, 30000));
        for (int i = 0; i < 10; i++) {
            _cleanup_strbuf_ struct strbuf piece = {0};
            make_piece(f, &piece);
            feed(f, draw(f, 2) ? LOG_STDOUT : LOG_STDERR, piece.data, piece.len);
            fed += piece.len;
        }
        limit_file_size(RLIM_INFINITY);
        feeds(f, LOG_STDOUT, "works again\n");
        feeds(f, LOG_STDERR, "works again\n");
        fed += 2 * strlen("works again\n");
    }
    finish(f);
    parse_file(f->path, &p);
    assert_true(p.notices >= 6);
    assert_true(p.dropped > 0);
    assert_int_equal(p.text[0].len + p.text[1].len + p.dropped, fed);
}

static void a_burst_leaves_no_memory_behind(void **state)
{
    struct fixture *f = *state;
    _cleanup_strbuf_ struct strbuf burst = {0};
    unsigned char resident[(LOG_LINE_MAX + LOG_READ_SIZE + LOG_OUT_SIZE) / 4096];
    size_t n = 0;

    start(f);
    for (int i = 0; i < 20000; i++)
        strbuf_adds(&burst, "some line of a burst\n");
    feed(f, LOG_STDOUT, burst.data, burst.len);
    assert_true(f->buffer.used_max > 64 * 1024);
    log_buffer_trim(&f->buffer);
    assert_int_equal(mincore(f->buffer.map, sizeof(resident) * 4096, resident), 0);
    for (size_t i = 0; i < sizeof(resident); i++)
        n += resident[i] & 1;
    assert_int_equal(n, 0);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(lines_become_full_records),
        TEST(a_line_waits_for_its_end),
        TEST(only_what_is_longer_is_split),
        TEST(text_cannot_forge_a_record),
        TEST(any_bytes_in_any_pieces_read_back),
        TEST(reopening_in_a_flood_loses_nothing),
        TEST(a_log_is_rotated_before_it_is_too_large),
        TEST(a_rotated_log_reads_as_if_it_were_not),
        TEST(a_log_that_goes_on_is_rotated_too),
        TEST(a_rotation_that_fails_loses_nothing),
        TEST(a_reopen_that_fails_changes_nothing),
        TEST(only_a_regular_file_is_a_log),
        TEST(the_file_is_private_and_is_continued),
        TEST(without_a_path_output_is_dropped),
        TEST(a_full_disk_loses_counted_bytes_and_no_record_is_torn),
        TEST(a_burst_leaves_no_memory_behind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
