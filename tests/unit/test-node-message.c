/*
 * test-node-message.c - the end of a log as a termination message.
 */
#include "../../src/node/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define OUT "2026-01-02T03:04:05.000000006Z stdout F "
#define PART "2026-01-02T03:04:05.000000006Z stderr P "

static void assert_message(const char *log, bool cut, const char *expected)
{
    char *got = message_of_log_text(log, strlen(log), cut);

    if (expected)
        assert_string_equal(got, expected);
    else
        assert_null(got);
    free(got);
}

static void lines_lose_their_heads(void **state)
{
    assert_message(OUT "one\n" OUT "two\n", false, "one\ntwo\n");
    assert_message(OUT "a b  c\n" OUT "\n", false, "a b  c\n\n");
    assert_message("", false, NULL);
}

static void parts_are_joined(void **state)
{
    assert_message(PART "on"
                        "e"
                        "\n" OUT " line\n",
                   false, "one line\n");
}

static void a_line_that_is_not_whole_is_left_out(void **state)
{
    assert_message("stdout F half\n" OUT "whole\n", true, "whole\n");
    assert_message("no end", true, NULL);
    assert_message("no head\n" OUT "x\n", false, "x\n");
}

static void only_the_last_lines_count(void **state)
{
    struct strbuf log = {0}, expected = {0};

    for (int i = 0; i < 200; i++)
        strbuf_addf(&log, OUT "%d\n", i);
    for (int i = 120; i < 200; i++)
        strbuf_addf(&expected, "%d\n", i);
    assert_message(log.data, false, expected.data);
    strbuf_free(&log);
    strbuf_free(&expected);
}

static void only_the_last_bytes_count(void **state)
{
    struct strbuf log = {0};

    strbuf_adds(&log, OUT);
    for (int i = 0; i < 5000; i++)
        strbuf_adds(&log, "x");
    strbuf_adds(&log, "end\n");
    char *got = message_of_log_text(log.data, log.len, false);
    assert_int_equal(strlen(got), MESSAGE_LOG_MAX);
    assert_true(str_ends_with(got, "xend\n"));
    free(got);
    strbuf_free(&log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_lose_their_heads),
        cmocka_unit_test(parts_are_joined),
        cmocka_unit_test(a_line_that_is_not_whole_is_left_out),
        cmocka_unit_test(only_the_last_lines_count),
        cmocka_unit_test(only_the_last_bytes_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
