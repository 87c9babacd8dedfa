/*
 * test-health-table.c - how probes stand, kept on disk: what was put is there for the next podd,
 * and slots of containers that have gone are used again.
 */
#include "../../src/health/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

static char dir[64], path[96];
static char gone; /* containers whose id begins with this have gone */

static int enter(void **state)
{
    snprintf(dir, sizeof(dir), "/tmp/test-health-table-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof(path), "%s/probe-states", dir);
    gone = '-';
    return 0;
}

static int leave(void **state)
{
    unlink(path);
    return rmdir(dir);
}

static bool exists(void *arg, const char *id)
{
    return id[0] != gone;
}

static struct probe_table *open_table(void)
{
    return probe_table_open(path, exists, NULL);
}

static struct kept_probe numbered(uint64_t attempts)
{
    struct kept_probe kept = {.due = 77, .on_hold = attempts % 2};

    kept.state.attempts = attempts;
    kept.state.last_result = PROBE_FAILURE;
    snprintf(kept.state.message, sizeof(kept.state.message), "attempt %d", (int)attempts);
    return kept;
}

static size_t put(struct probe_table *t, const char *id, enum probe_kind kind, uint64_t attempts)
{
    struct kept_probe kept = numbered(attempts), before;
    size_t slot;

    (void)!probe_table_claim(t, id, kind, &slot, &before);
    probe_table_put(t, slot, id, kind, &kept);
    return slot;
}

static void assert_kept(struct probe_table *t, const char *id, enum probe_kind kind,
                        uint64_t attempts)
{
    struct kept_probe want = numbered(attempts), got;
    size_t slot;

    assert_true(probe_table_claim(t, id, kind, &slot, &got));
    assert_int_equal(got.state.attempts, attempts);
    assert_int_equal(got.on_hold, want.on_hold);
    assert_int_equal(got.due, 77);
    assert_int_equal(got.state.last_result, PROBE_FAILURE);
    assert_string_equal(got.state.message, want.state.message);
}

static void assert_unknown(struct probe_table *t, const char *id, enum probe_kind kind)
{
    struct kept_probe got;
    size_t slot;

    assert_false(probe_table_claim(t, id, kind, &slot, &got));
}

static void what_was_put_is_there_for_the_next(void **state)
{
    struct probe_table *t = open_table();

    assert_unknown(t, "a", PROBE_STARTUP);
    for (int i = 0; i < 40; i++) { /* grows */
        char id[16];
        snprintf(id, sizeof(id), "c%d", i);
        put(t, id, PROBE_READINESS, (uint64_t)i);
        put(t, id, PROBE_LIVENESS, (uint64_t)i + 100);
    }
    put(t, "c7", PROBE_READINESS, 8); /* over what was there */
    probe_table_close(t);

    t = open_table();
    assert_kept(t, "c7", PROBE_READINESS, 8);
    assert_kept(t, "c7", PROBE_LIVENESS, 107);
    assert_kept(t, "c39", PROBE_LIVENESS, 139);
    assert_unknown(t, "c7", PROBE_STARTUP);
    assert_unknown(t, "c40", PROBE_LIVENESS);
    probe_table_close(t);
}

static void slots_of_those_that_have_gone_are_used_again(void **state)
{
    struct probe_table *t = open_table();
    struct stat before, after;
    size_t slot = 0;

    for (int i = 0; i < 16; i++) {
        char id[16];
        snprintf(id, sizeof(id), "%c%d", i % 2 ? 'x' : 'y', i);
        slot = put(t, id, PROBE_READINESS, 1);
    }
    assert_int_equal(stat(path, &before), 0);
    gone = 'x';
    for (int i = 0; i < 8; i++) {
        char id[16];
        snprintf(id, sizeof(id), "z%d", i);
        put(t, id, PROBE_READINESS, 2);
    }
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_size, after.st_size);
    /* The slot is another's: its former owner cannot write to it any more. */
    struct kept_probe late = numbered(99);
    probe_table_put(t, slot, "x15", PROBE_READINESS, &late);
    probe_table_close(t);
    t = open_table();
    assert_kept(t, "y14", PROBE_READINESS, 1);
    assert_kept(t, "z7", PROBE_READINESS, 2);
    assert_unknown(t, "x15", PROBE_READINESS);
    probe_table_close(t);
}

static void another_file_is_begun_anew(void **state)
{
    static const char *const texts[] = {"", "x", "podd-probes and more that is no table"};

    log_set_level(LOG_ERROR);
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        _cleanup_err_ struct err e = ERR_INIT;
        char large[2048] = "";
        memcpy(large, texts[i], strlen(texts[i]));
        for (int whole = 0; whole < 2; whole++) {
            assert_int_equal(file_write_atomic(AT_FDCWD, path, whole ? large : texts[i],
                                               whole ? sizeof(large) : strlen(texts[i]), 0600,
                                               false, &e),
                             0);
            struct probe_table *t = open_table();
            put(t, "a", PROBE_LIVENESS, 3);
            probe_table_close(t);
            t = open_table();
            assert_kept(t, "a", PROBE_LIVENESS, 3);
            probe_table_close(t);
        }
    }
}

/* Every byte of a slot turned over: nothing worse than other numbers comes of it. */
static void a_damaged_slot_does_no_harm(void **state)
{
    struct probe_table *first = open_table();

    put(first, "a", PROBE_LIVENESS, 3);
    probe_table_close(first);
    log_set_level(LOG_ERROR);
    for (off_t at = 512; at < 1024; at++) {
        struct kept_probe got;
        size_t slot;
        uint8_t byte;
        int fd = open(path, O_RDWR | O_CLOEXEC);
        if (pread(fd, &byte, 1, at) != 1)
            byte = 0;
        byte ^= 0xff;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        struct probe_table *t = open_table();
        if (probe_table_claim(t, "a", PROBE_LIVENESS, &slot, &got)) {
            assert_in_range(got.state.last_result, PROBE_UNKNOWN, PROBE_FAILURE);
            assert_true(strlen(got.state.message) < sizeof(got.state.message));
        }
        probe_table_close(t);
        byte ^= 0xff;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        close(fd);
    }
}

static void without_a_file_it_works_in_memory(void **state)
{
    log_set_level(LOG_ERROR);
    struct probe_table *t = probe_table_open("/proc/none/probe-states", exists, NULL);

    put(t, "a", PROBE_LIVENESS, 3);
    assert_unknown(t, "a", PROBE_LIVENESS);
    probe_table_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_put_is_there_for_the_next, enter, leave),
        cmocka_unit_test_setup_teardown(slots_of_those_that_have_gone_are_used_again, enter, leave),
        cmocka_unit_test_setup_teardown(another_file_is_begun_anew, enter, leave),
        cmocka_unit_test_setup_teardown(a_damaged_slot_does_no_harm, enter, leave),
        cmocka_unit_test_setup_teardown(without_a_file_it_works_in_memory, enter, leave),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
