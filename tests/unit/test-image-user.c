/* test-image-user.c - users out of the image's own files, which are hostile until proven otherwise.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "podd/image.h"

static const char PASSWD[] = "root:x:0:0:root:/root:/bin/sh\n"
                             "1000:x:0:0:a name of digits:/evil:/bin/sh\n"
                             "alice:x:1000:1001:Alice:/home/alice:/bin/sh\n"
                             "alice:x:0:0:a second one:/:/bin/sh\n"
                             "big:x:4294967294:4294967294::/big:\n"
                             "huge:x:4294967295:0::/:\n"
                             "minus:x:-1:0::/:\n"
                             "words:x:zero:0::/:\n"
                             "short:x\n"
                             ":x:7:7::/:\n"
                             "nohome:x:8:8::relative:\n"
                             "\n"
                             "last:x:9:9::/last";
static const char GROUP[] = "root:x:0:\n"
                            "staff:x:50:alice,bob\n"
                            "1001:x:0:alice\n"
                            "wheel:x:10:bob,alice\n"
                            "twice:x:10:alice\n"
                            "almost:x:11:alice2,malice\n"
                            "broken:x:4294967295:alice\n";

struct fixture {
    char path[64];
    int fd;
};

static void put(struct fixture *f, const char *name, const char *text)
{
    struct err e = ERR_INIT;

    assert_int_equal(file_write_atomic(f->fd, name, text, strlen(text), 0644, false, &e), 0);
}

static int set_up(void **state)
{
    struct fixture *f = xnew(struct fixture);

    strncpy(f->path, "/tmp/podd-test-user-XXXXXX", sizeof(f->path) - 1);
    assert_non_null(mkdtemp(f->path));
    f->fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(mkdirat(f->fd, "etc", 0755), 0);
    put(f, "etc/passwd", PASSWD);
    put(f, "etc/group", GROUP);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;

    assert_int_equal(tree_remove(AT_FDCWD, f->path, &e), 0);
    close(f->fd);
    free(f);
    return 0;
}

struct row {
    const char *user;
    uint32_t uid, gid;
    const char *name, *home;
};

static void users_are_found_by_name_and_number(void **state)
{
    static const struct row rows[] = {
        {"", 0, 0, "root", "/root"},
        {"root", 0, 0, "root", "/root"},
        {"0", 0, 0, "root", "/root"},
        {"alice", 1000, 1001, "alice", "/home/alice"},
        {"1000", 1000, 1001, "alice", "/home/alice"}, /* a number, not the user called 1000 */
        {"alice:staff", 1000, 50, "alice", "/home/alice"},
        {"alice:7", 1000, 7, "alice", "/home/alice"},
        {"1000:staff", 1000, 50, "alice", "/home/alice"},
        {"alice:1001", 1000, 1001, "alice", "/home/alice"}, /* not the group called 1001 */
        {"12345", 12345, 0, "", "/"},
        {"12345:staff", 12345, 50, "", "/"},
        {"12345:54321", 12345, 54321, "", "/"},
        {"4294967294", 4294967294U, 4294967294U, "big", "/big"},
        {"nohome", 8, 8, "nohome", "/"},
        {"last", 9, 9, "last", "/last"},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct err e = ERR_INIT;
        struct image_user u;
        if (image_user_resolve(f->fd, rows[i].user, &u, &e) < 0)
            fail_msg("\"%s\": %s", rows[i].user, err_text(&e));
        assert_int_equal(u.uid, rows[i].uid);
        assert_int_equal(u.gid, rows[i].gid);
        assert_string_equal(u.name, rows[i].name);
        assert_string_equal(u.home, rows[i].home);
        image_user_clear(&u);
    }
}

static void expect_refusal(struct fixture *f, const char *user, const char *word)
{
    struct err e = ERR_INIT;
    struct image_user u;

    if (image_user_resolve(f->fd, user, &u, &e) == 0)
        fail_msg("\"%s\" was accepted", user);
    assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
    if (!strstr(e.message, word))
        fail_msg("\"%s\": %s", user, e.message);
    err_clear(&e);
}

static void what_the_image_does_not_have_is_refused(void **state)
{
    struct fixture *f = *state;

    expect_refusal(f, "nobody", "no user \"nobody\"");
    expect_refusal(f, "alice:nogroup", "no group \"nogroup\"");
    expect_refusal(f, "12345:nogroup", "no group");
    expect_refusal(f, "huge", "no user");
    expect_refusal(f, "minus", "no user");
    expect_refusal(f, "words", "no user");
    expect_refusal(f, "short", "no user");
    expect_refusal(f, "4294967295", "not in");
    expect_refusal(f, "99999999999999999999", "not in");
    expect_refusal(f, "0:4294967295", "not in");
    expect_refusal(f, "alice:broken", "no group");
    expect_refusal(f, "-1", "no user");
    expect_refusal(f, "+1", "no user");
    expect_refusal(f, "0x10", "no user");
    expect_refusal(f, ":", "form");
    expect_refusal(f, "alice:", "form");
    expect_refusal(f, ":staff", "form");
    expect_refusal(f, "alice:staff:x", "no group");
}

static void groups_are_those_that_list_the_user(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    struct image_user u;

    assert_int_equal(image_user_resolve(f->fd, "alice", &u, &e), 0);
    assert_int_equal(u.n_groups, 3);
    assert_int_equal(u.groups[0], 50);
    assert_int_equal(u.groups[1], 0);
    assert_int_equal(u.groups[2], 10);
    image_user_clear(&u);
    assert_int_equal(image_user_resolve(f->fd, "12345", &u, &e), 0);
    assert_int_equal(u.n_groups, 0);
    image_user_clear(&u);
}

static void an_image_without_the_files_knows_numbers_only(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    struct image_user u;

    unlinkat(f->fd, "etc/passwd", 0);
    unlinkat(f->fd, "etc/group", 0);
    assert_int_equal(image_user_resolve(f->fd, "5:6", &u, &e), 0);
    assert_int_equal(u.uid, 5);
    assert_int_equal(u.gid, 6);
    image_user_clear(&u);
    assert_int_equal(image_user_resolve(f->fd, NULL, &u, &e), 0);
    assert_int_equal(u.uid, 0);
    image_user_clear(&u);
    expect_refusal(f, "root", "no user");
}

static void things_that_are_no_files_do_not_block(void **state)
{
    struct fixture *f = *state;

    unlinkat(f->fd, "etc/passwd", 0);
    assert_int_equal(mkfifoat(f->fd, "etc/passwd", 0644), 0);
    expect_refusal(f, "alice", "not a regular file");
    unlinkat(f->fd, "etc/passwd", 0);
    assert_int_equal(mkdirat(f->fd, "etc/passwd", 0755), 0);
    expect_refusal(f, "alice", "not a regular file");
}

static void links_stay_inside(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    struct image_user u;

    /* The host certainly has this one, and this image has not. */
    unlinkat(f->fd, "etc/passwd", 0);
    assert_int_equal(symlinkat("/etc/passwd-", f->fd, "etc/passwd"), 0);
    expect_refusal(f, "daemon", "no user");
    unlinkat(f->fd, "etc/passwd", 0);
    assert_int_equal(symlinkat("../../../../../etc/inside", f->fd, "etc/passwd"), 0);
    put(f, "etc/inside", "daemon:x:77:77::/:\n");
    assert_int_equal(image_user_resolve(f->fd, "daemon", &u, &e), 0);
    assert_int_equal(u.uid, 77);
    image_user_clear(&u);
}

static void large_files_are_refused(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    struct image_user u;
    char path[128];

    snprintf(path, sizeof(path), "%s/etc/group", f->path);
    assert_int_equal(truncate(path, 1 << 20), 0);
    assert_int_equal(image_user_resolve(f->fd, "alice", &u, &e), 0);
    image_user_clear(&u);
    assert_int_equal(truncate(path, (1 << 20) + 1), 0);
    expect_refusal(f, "alice", "larger");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(users_are_found_by_name_and_number, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_the_image_does_not_have_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(groups_are_those_that_list_the_user, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_image_without_the_files_knows_numbers_only, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(things_that_are_no_files_do_not_block, set_up, tear_down),
        cmocka_unit_test_setup_teardown(links_stay_inside, set_up, tear_down),
        cmocka_unit_test_setup_teardown(large_files_are_refused, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
