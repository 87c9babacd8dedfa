/* test-image-hostile.c - hostile and broken layers become errors that name the entry, and nothing
 * outside of the tree is ever touched. */
#include "unpack-fixture.h"

/* ---- Hostile layers -------------------------------------------------------------------------- */

static void names_that_leave_the_root_are_refused(void **state)
{
    static const char *const names[] = {
        "../canary/file",  "a/../../canary/file", "..",  "./..", "a/..", "/etc/x", "//etc/x",
        "/../canary/file", "./../canary/file",    "a/.."};
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        static const char types[] = "0123456";
        for (const char *type = types; *type; type++) {
            strbuf_free(&f->tar);
            ADD(names[i], .type = *type, .link = "x", .data = *type == '0' ? "x" : NULL);
            must_fail(f, names[i]);
        }
    }
}

static void entries_through_links_out_are_refused(void **state)
{
    struct fixture *f = *state;
    char absolute[128];

    snprintf(absolute, sizeof(absolute), "%s/canary", f->top);
    const char *const targets[] = {"../canary", absolute, "/", "../../../../../../../tmp", "loop"};
    static const char types[] = "01256";
    for (size_t i = 0; i < ARRAY_SIZE(targets); i++)
        for (const char *type = types; *type; type++) {
            struct err e = ERR_INIT;
            strbuf_free(&f->tar);
            assert_int_equal(tree_remove(f->tree_fd, "loop", &e), 0);
            ADD("ok", .data = "x");
            ADD("loop", .type = '2', .link = targets[i]);
            ADD("loop/file", .type = *type, .link = "ok", .data = *type == '0' ? "x" : NULL);
            must_fail(f, "loop/file");
        }
    /* Whiteouts, too. */
    strbuf_free(&f->tar);
    ADD("out", .type = '2', .link = "../canary");
    ADD("out/.wh.file");
    must_fail(f, "out/.wh.file");
    strbuf_free(&f->tar);
    ADD("out", .type = '2', .link = "../canary");
    ADD("out/.wh..wh..opq");
    must_fail(f, "opq");
    /* A directory entry in the place of the link replaces the link, not what it leads to. */
    strbuf_free(&f->tar);
    ADD("out", .type = '2', .link = "../canary");
    ADD("out/", .type = '5', .mode = 0777);
    ADD("out/file", .data = "x");
    must_unpack(f);
    assert_true(S_ISDIR(look(f, "out").st_mode));
}

static void links_that_change_under_the_way_are_noticed(void **state)
{
    struct fixture *f = *state;

    /* The directory is remembered from the entry before; then a link takes its place. */
    ADD("d/a", .data = "x");
    ADD("d", .type = '2', .link = "../canary");
    ADD("d/file", .data = "overwritten");
    must_fail(f, "d/file");
    strbuf_free(&f->tar);
    ADD("e/f/a", .data = "x");
    ADD("e", .type = '2', .link = "../canary");
    ADD("e/f/file", .data = "overwritten");
    must_fail(f, "e/f/file");
}

static void hard_links_lead_only_to_files_of_the_archive(void **state)
{
    struct fixture *f = *state;
    char absolute[128];

    snprintf(absolute, sizeof(absolute), "%s/canary/file", f->top);
    const char *const targets[] = {"../canary/file", absolute,   "none", "dir",         "",
                                   "out/file",       ".wh.gone", "gone", "inside/file", "."};
    for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
        strbuf_free(&f->tar);
        ADD("dir/file", .data = "x");
        ADD("out", .type = '2', .link = "../canary");
        ADD("inside", .type = '2', .link = "dir");
        ADD(".wh.gone");
        ADD("hard", .type = '1', .link = targets[i]);
        must_fail(f, "hard");
    }
    /* To a link it is a link, and follows nothing. */
    strbuf_free(&f->tar);
    ADD("out2", .type = '2', .link = "../canary/file");
    ADD("hard", .type = '1', .link = "out2");
    ADD("self", .data = "x");
    ADD("self", .type = '1', .link = "self");
    must_unpack(f);
    assert_true(S_ISLNK(look(f, "hard").st_mode));
    assert_content(f, "self", "x");
}

static void writing_to_a_hard_linked_name_leaves_the_other(void **state)
{
    struct fixture *f = *state;

    ADD("a", .data = "one");
    ADD("b", .type = '1', .link = "a");
    ADD("b", .data = "two");
    must_unpack(f);
    assert_content(f, "a", "one");
    assert_content(f, "b", "two");
}

static void malformed_whiteouts_are_refused(void **state)
{
    static const char *const names[] = {".wh.",     "d/.wh.",  ".wh..",         ".wh...",
                                        "d/.wh...", ".wh.a/x", "d/.wh.b/.wh.c", ".wh..wh..opq/x"};
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        strbuf_free(&f->tar);
        ADD(names[i]);
        must_fail(f, names[i]);
    }
}

static void limits_hold_exactly(void **state)
{
    struct fixture *f = *state;
    struct unpack_limits limits = UNPACK_LIMITS;
    struct err e = ERR_INIT;
    char deep[1024] = "";

    limits.entries = 3;
    ADD("1");
    ADD("2");
    ADD("3");
    struct strbuf three = {0};
    strbuf_add(&three, f->tar.data, f->tar.len);
    tar_end(&three);
    assert_int_equal(unpack_bytes(f, three.data, three.len, &limits, &e), 0);
    unpack_result_clear(&f->result);
    strbuf_free(&three);
    ADD("4");
    must_fail_with(f, &limits, "entries");

    limits = UNPACK_LIMITS;
    limits.depth = 10;
    for (int depth = 10; depth <= 11; depth++) {
        strbuf_free(&f->tar);
        deep[0] = 0;
        for (int i = 0; i < depth; i++)
            memcpy(deep + 2 * i, "d/", 3);
        ADD(deep, .type = '5');
        if (depth == 11) {
            must_fail_with(f, &limits, "deep");
        } else {
            tar_end(&f->tar);
            assert_int_equal(unpack_bytes(f, f->tar.data, f->tar.len, &limits, &e), 0);
            unpack_result_clear(&f->result);
        }
    }

    strbuf_free(&f->tar);
    char *value = xcalloc(1, 70000);
    memset(value, 'v', 69999);
    tar_add_pax(&f->tar, "SCHILY.xattr.user.big", value, 65530);
    ADD("big", .data = "x");
    must_fail(f, "attributes");
    strbuf_free(&f->tar);
    memset(value, 'n', 69999);
    value[5000] = 0;
    tar_add_pax(&f->tar, "path", value, 5000);
    ADD("x");
    must_fail(f, "too long");
    free(value);
}

static void opaque_directories_are_limited(void **state)
{
    struct fixture *f = *state;
    struct unpack_limits limits = UNPACK_LIMITS;

    limits.opaque_bytes = 100;
    for (int i = 0; i < 30; i++) {
        char name[64];
        snprintf(name, sizeof(name), "dir%d/.wh..wh..opq", i);
        ADD(name);
    }
    must_fail_with(f, &limits, "opaque");
}

static void owners_out_of_range_are_refused(void **state)
{
    static const char *const ids[] = {"4294967295", "-1", "99999999999"};
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        strbuf_free(&f->tar);
        tar_add_pax(&f->tar, "uid", ids[i], strlen(ids[i]));
        ADD("x");
        must_fail(f, "");
    }
    strbuf_free(&f->tar);
    tar_add_pax(&f->tar, "uid", "4294967294", 10);
    ADD("x");
    must_unpack(f);
    assert_int_equal(look(f, "x").st_uid, 4294967294U);
}

static void strange_times_do_no_harm(void **state)
{
    static const char *const times[] = {"99999999999999", "-99999999999", "0.999999999",
                                        "1.9999999999"};
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
        strbuf_free(&f->tar);
        tar_add_pax(&f->tar, "mtime", times[i], strlen(times[i]));
        ADD("x");
        must_unpack(f);
        unpack_result_clear(&f->result);
    }
}

static void damaged_headers_are_errors(void **state)
{
    struct fixture *f = *state;

    ADD("a", .data = "x");
    ADD("b", .data = "y");
    f->tar.data[1024 + 10] ^= 1; /* in the name of b: the checksum is wrong */
    must_fail(f, "damaged");
    /* A pax record that lies about its length. */
    strbuf_free(&f->tar);
    tar_header(&f->tar, &(struct tar_entry){.name = "pax", .type = 'x'}, 20);
    strbuf_adds(&f->tar, "99999 path=../escape");
    tar_pad(&f->tar);
    ADD("a", .data = "x");
    must_fail(f, "damaged");
    /* A file that is longer than the archive. */
    strbuf_free(&f->tar);
    tar_header(&f->tar, &(struct tar_entry){.name = "long"}, 1 << 30);
    strbuf_adds(&f->tar, "only this");
    must_fail(f, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(names_that_leave_the_root_are_refused),
        TEST(entries_through_links_out_are_refused),
        TEST(links_that_change_under_the_way_are_noticed),
        TEST(hard_links_lead_only_to_files_of_the_archive),
        TEST(writing_to_a_hard_linked_name_leaves_the_other),
        TEST(malformed_whiteouts_are_refused),
        TEST(limits_hold_exactly),
        TEST(opaque_directories_are_limited),
        TEST(owners_out_of_range_are_refused),
        TEST(strange_times_do_no_harm),
        TEST(damaged_headers_are_errors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
