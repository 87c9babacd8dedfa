/* test-base-file.c - files and trees, in a directory of its own under /tmp. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <podd/base.h>

static char top[64]; /* the directory of the running test; also the working directory */

static int enter_new_dir(void **state)
{
    snprintf(top, sizeof(top), "/tmp/test-base-file-XXXXXX");
    return mkdtemp(top) && chdir(top) == 0 ? 0 : -1;
}

static int leave_dir(void **state)
{
    _cleanup_err_ struct err e = ERR_INIT;

    if (chdir("/") < 0 || tree_remove(AT_FDCWD, top, &e) < 0)
        print_error("%s\n", err_text(&e));
    return e.code ? -1 : 0;
}

static void put(const char *path, const char *text)
{
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
}

static bool exists(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

static mode_t mode_of(const char *path)
{
    struct stat st;

    assert_int_equal(lstat(path, &st), 0);
    return st.st_mode & 07777;
}

/* ---- file_read ------------------------------------------------------------------------------ */

static void a_file_is_read_up_to_the_limit(void **state)
{
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_bytes_ struct bytes b = {0};

    put("f", "hello");
    assert_int_equal(file_read(AT_FDCWD, "f", 5, &b, &e), 0);
    assert_int_equal(b.len, 5);
    assert_string_equal((char *)b.data, "hello");
    bytes_free(&b);
    assert_int_equal(file_read(AT_FDCWD, "f", SIZE_MAX, &b, &e), 0);
    assert_string_equal((char *)b.data, "hello");
    bytes_free(&b);

    assert_int_equal(file_read(AT_FDCWD, "f", 4, &b, &e), -1);
    assert_int_equal(e.code, ERR_RESOURCE_EXHAUSTED);
    assert_null(b.data);
}

static void an_empty_file_is_read_as_nothing(void **state)
{
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_bytes_ struct bytes b = {0};

    put("f", "");
    assert_int_equal(file_read(AT_FDCWD, "f", 0, &b, &e), 0);
    assert_int_equal(b.len, 0);
    assert_string_equal((char *)b.data, "");
}

static void large_files_and_files_without_size_come_whole(void **state)
{
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_bytes_ struct bytes b = {0}, status = {0};
    size_t len = 300000;
    _cleanup_free_ char *text = xcalloc(1, len + 1);

    memset(text, 'x', len);
    put("f", text);
    assert_int_equal(file_read(AT_FDCWD, "f", len, &b, &e), 0);
    assert_int_equal(b.len, len);
    assert_string_equal((char *)b.data, text);

    /* /proc says that it has 0 bytes. */
    assert_int_equal(file_read(AT_FDCWD, "/proc/self/smaps", 1 << 24, &status, &e), 0);
    assert_true(status.len > 4096);
    assert_int_equal(file_read(AT_FDCWD, "/proc/self/smaps", 10, &status, &e), -1);
}

static void a_missing_file_is_told_by_errno(void **state)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct bytes b;

    assert_int_equal(file_read(AT_FDCWD, "none", 10, &b, &e), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(e.code, ERR_UNKNOWN);
    err_clear(&e);
    assert_int_equal(file_read(AT_FDCWD, ".", 10, &b, &e), -1);
    assert_int_equal(errno, EISDIR);
}

/* ---- file_write_atomic ---------------------------------------------------------------------- */

static void writing_replaces_the_content_and_sets_the_mode(void **state)
{
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_bytes_ struct bytes b = {0};
    mode_t mask = umask(077);

    assert_int_equal(file_write_atomic(AT_FDCWD, "f", "one", 3, 0644, false, &e), 0);
    assert_int_equal(file_write_atomic(AT_FDCWD, "f", "second", 6, 0640, true, &e), 0);
    umask(mask);
    assert_int_equal(file_read(AT_FDCWD, "f", 100, &b, &e), 0);
    assert_string_equal((char *)b.data, "second");
    assert_int_equal(mode_of("f"), 0640);
}

static void writing_replaces_a_link_and_not_its_target(void **state)
{
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_bytes_ struct bytes b = {0};

    put("target", "safe");
    assert_int_equal(symlink("target", "f"), 0);
    assert_int_equal(file_write_atomic(AT_FDCWD, "f", "new", 3, 0600, false, &e), 0);
    assert_int_equal(file_read(AT_FDCWD, "target", 100, &b, &e), 0);
    assert_string_equal((char *)b.data, "safe");
}

static void names_of_full_length_and_absolute_paths_work(void **state)
{
    _cleanup_err_ struct err e = ERR_INIT;
    char name[256] = {0};
    _cleanup_free_ char *absolute = xasprintf("%s/absolute", top);

    memset(name, 'n', 255);
    assert_int_equal(file_write_atomic(AT_FDCWD, name, "x", 1, 0600, false, &e), 0);
    assert_true(exists(name));
    assert_int_equal(file_write_atomic(AT_FDCWD, absolute, "x", 1, 0600, false, &e), 0);
    assert_true(exists("absolute"));
}

static void a_failed_write_leaves_nothing_behind(void **state)
{
    _cleanup_err_ struct err e = ERR_INIT;

    assert_int_equal(mkdir("d", 0755), 0);
    assert_int_equal(mkdir("d/f", 0755), 0);
    assert_int_equal(mkdir("d/f/full", 0755), 0);
    assert_int_equal(file_write_atomic(AT_FDCWD, "d/f", "x", 1, 0600, false, &e), -1);
    assert_int_equal(errno, EISDIR);
    err_clear(&e);
    assert_int_equal(rmdir("d/f/full"), 0);
    assert_int_equal(rmdir("d/f"), 0);
    assert_int_equal(rmdir("d"), 0); /* it is empty */
    assert_int_equal(mkdir("d", 0755), 0);

    assert_int_equal(file_write_atomic(AT_FDCWD, "none/f", "x", 1, 0600, false, &e), -1);
    assert_int_equal(errno, ENOENT);
    err_clear(&e);
    assert_int_equal(file_write_atomic(AT_FDCWD, "d/..", "x", 1, 0600, false, &e), -1);
    assert_int_equal(errno, EINVAL);
}

/* ---- dir_ensure ----------------------------------------------------------------------------- */

static void missing_directories_are_made_with_the_mode(void **state)
{
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_free_ char *absolute = xasprintf("%s//abs/b/", top);
    mode_t mask = umask(077);

    assert_int_equal(dir_ensure("a/b//c/", 0711, &e), 0);
    assert_int_equal(dir_ensure("a/b/c", 0700, &e), 0);
    assert_int_equal(dir_ensure(absolute, 0755, &e), 0);
    assert_int_equal(dir_ensure("/", 0755, &e), 0);
    umask(mask);
    assert_int_equal(mode_of("a"), 0711);
    assert_int_equal(mode_of("a/b/c"), 0711); /* existing ones keep theirs */
    assert_int_equal(mode_of("abs/b"), 0755);
}

static void links_to_directories_are_followed(void **state)
{
    _cleanup_err_ struct err e = ERR_INIT;

    assert_int_equal(mkdir("real", 0755), 0);
    assert_int_equal(symlink("real", "link"), 0);
    assert_int_equal(dir_ensure("link/a", 0755, &e), 0);
    assert_true(exists("real/a"));
}

static void a_file_in_the_way_is_an_error(void **state)
{
    _cleanup_err_ struct err e = ERR_INIT;

    put("f", "");
    assert_int_equal(dir_ensure("f/a", 0755, &e), -1);
    assert_int_equal(errno, ENOTDIR);
    err_clear(&e);
    assert_int_equal(dir_ensure("", 0755, &e), -1);
    assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
}

/* ---- tree_remove ---------------------------------------------------------------------------- */

static void removing_what_is_missing_succeeds(void **state)
{
    _cleanup_err_ struct err e = ERR_INIT;

    assert_int_equal(tree_remove(AT_FDCWD, "none", &e), 0);
    assert_int_equal(tree_remove(AT_FDCWD, "none/below", &e), 0);
}

static void names_that_are_no_entry_are_refused(void **state)
{
    static const char *const bad[] = {"", "/", ".", "..", "a/..", "a/.", "///"};

    assert_int_equal(mkdir("a", 0755), 0);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        _cleanup_err_ struct err e = ERR_INIT;
        assert_int_equal(tree_remove(AT_FDCWD, bad[i], &e), -1);
        assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
    }
    assert_true(exists("a"));
}

static void files_and_trees_are_removed_and_links_not_followed(void **state)
{
    _cleanup_err_ struct err e = ERR_INIT;

    assert_int_equal(dir_ensure("t/a/b", 0755, &e), 0);
    assert_int_equal(dir_ensure("keep/inner", 0755, &e), 0);
    put("keep/file", "x");
    put("t/a/file", "x");
    assert_int_equal(symlink("../../keep", "t/a/link"), 0);
    assert_int_equal(symlink("nowhere", "t/dangling"), 0);
    assert_int_equal(mkfifo("t/fifo", 0600), 0);
    assert_int_equal(mkdir("t/locked", 0), 0);
    put("t/locked/f", "");
    assert_int_equal(tree_remove(AT_FDCWD, "t/", &e), 0);
    assert_false(exists("t"));

    assert_int_equal(symlink("keep", "link"), 0);
    assert_int_equal(tree_remove(AT_FDCWD, "link", &e), 0);
    assert_false(exists("link"));
    assert_true(exists("keep/file") && exists("keep/inner"));

    put("plain", "x");
    assert_int_equal(tree_remove(AT_FDCWD, "plain", &e), 0);
    assert_false(exists("plain"));
}

static void more_entries_than_a_batch_are_removed(void **state)
{
    _cleanup_err_ struct err e = ERR_INIT;

    assert_int_equal(mkdir("t", 0755), 0);
    for (int i = 0; i < 2500; i++) {
        char path[64];
        snprintf(path, sizeof(path), "t/dir-%d", i);
        assert_int_equal(mkdir(path, 0755), 0);
        snprintf(path, sizeof(path), i % 2 ? "t/dir-%d/file" : "t/file-%d", i);
        put(path, "");
    }
    assert_int_equal(tree_remove(AT_FDCWD, "t", &e), 0);
    assert_false(exists("t"));
}

static void a_very_deep_tree_takes_neither_stack_nor_fds(void **state)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct rlimit old, small;

    assert_int_equal(mkdir("t", 0755), 0);
    int dir = open("t", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < 11000; i++) {
        assert_int_equal(mkdirat(dir, "d", 0755), 0);
        int next = openat(dir, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(next >= 0);
        fd_close(dir);
        dir = next;
    }
    fd_close(dir);
    getrlimit(RLIMIT_NOFILE, &old);
    small = old;
    small.rlim_cur = 24;
    setrlimit(RLIMIT_NOFILE, &small);
    int r = tree_remove(AT_FDCWD, "t", &e);
    setrlimit(RLIMIT_NOFILE, &old);
    assert_string_equal(err_text(&e), "");
    assert_int_equal(r, 0);
    assert_false(exists("t"));
}

static void mounts_are_not_crossed(void **state)
{
    _cleanup_err_ struct err e = ERR_INIT, again = ERR_INIT;

    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        skip();
    assert_int_equal(dir_ensure("volume", 0755, &e), 0);
    assert_int_equal(dir_ensure("t/a/mnt", 0755, &e), 0);
    put("volume/precious", "x");
    /* A bind mount has the same st_dev as the tree. */
    assert_int_equal(mount("volume", "t/a/mnt", NULL, MS_BIND, NULL), 0);
    int r = tree_remove(AT_FDCWD, "t", &e);
    int r_top = tree_remove(AT_FDCWD, "t/a/mnt", &again);
    umount2("t/a/mnt", MNT_DETACH);
    assert_int_equal(r, -1);
    assert_int_equal(e.code, ERR_FAILED_PRECONDITION);
    assert_int_equal(r_top, -1);
    assert_true(exists("volume/precious"));

    err_clear(&e);
    assert_int_equal(mount("tmpfs", "t/a/mnt", "tmpfs", 0, NULL), 0);
    put("t/a/mnt/precious", "x");
    assert_int_equal(tree_remove(AT_FDCWD, "t", &e), -1);
    assert_true(exists("t/a/mnt/precious"));
    umount2("t/a/mnt", MNT_DETACH);
    err_clear(&e);
    assert_int_equal(tree_remove(AT_FDCWD, "t", &e), 0);
    assert_false(exists("t"));
}

/* ---- open_in_root --------------------------------------------------------------------------- */

static void links_and_dots_stay_below_the_root(void **state)
{
    _cleanup_err_ struct err e = ERR_INIT;
    char text[8] = {0};

    assert_int_equal(dir_ensure("root/etc", 0755, &e), 0);
    put("outside", "outside");
    put("root/etc/passwd", "inside");
    put("root/outside", "inner");
    assert_int_equal(symlink("/etc/passwd", "root/link"), 0);
    assert_int_equal(symlink("../../outside", "root/etc/escape"), 0);
    assert_int_equal(symlink("/proc/self/root", "root/magic"), 0);
    _cleanup_close_ int root = open("root", O_PATH | O_DIRECTORY | O_CLOEXEC);

    _cleanup_close_ int a = open_in_root(root, "/link", O_RDONLY, 0644);
    assert_true(a >= 0);
    assert_int_equal(fd_read_full(a, text, 7), 6);
    assert_string_equal(text, "inside");
    assert_int_equal(fcntl(a, F_GETFD), FD_CLOEXEC);
    memset(text, 0, sizeof(text));
    _cleanup_close_ int b = open_in_root(root, "etc/escape", O_RDONLY, 0);
    assert_true(b >= 0);
    fd_read_full(b, text, 7);
    assert_string_equal(text, "inner");
    assert_int_equal(open_in_root(root, "magic/etc", O_RDONLY, 0), -ENOENT);
    assert_int_equal(open_in_root(root, "none", O_RDONLY, 0), -ENOENT);
}

static void creating_below_a_root_uses_the_mode(void **state)
{
    assert_int_equal(mkdir("root", 0755), 0);
    _cleanup_close_ int root = open("root", O_PATH | O_DIRECTORY | O_CLOEXEC);
    _cleanup_close_ int fd = open_in_root(root, "f", O_WRONLY | O_CREAT | O_EXCL, S_IFREG | 0600);

    assert_true(fd >= 0);
    assert_int_equal(mode_of("root/f"), 0600);
}

#define IN_DIR(fn) cmocka_unit_test_setup_teardown(fn, enter_new_dir, leave_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIR(a_file_is_read_up_to_the_limit),
        IN_DIR(an_empty_file_is_read_as_nothing),
        IN_DIR(large_files_and_files_without_size_come_whole),
        IN_DIR(a_missing_file_is_told_by_errno),
        IN_DIR(writing_replaces_the_content_and_sets_the_mode),
        IN_DIR(writing_replaces_a_link_and_not_its_target),
        IN_DIR(names_of_full_length_and_absolute_paths_work),
        IN_DIR(a_failed_write_leaves_nothing_behind),
        IN_DIR(missing_directories_are_made_with_the_mode),
        IN_DIR(links_to_directories_are_followed),
        IN_DIR(a_file_in_the_way_is_an_error),
        IN_DIR(removing_what_is_missing_succeeds),
        IN_DIR(names_that_are_no_entry_are_refused),
        IN_DIR(files_and_trees_are_removed_and_links_not_followed),
        IN_DIR(more_entries_than_a_batch_are_removed),
        IN_DIR(a_very_deep_tree_takes_neither_stack_nor_fds),
        IN_DIR(mounts_are_not_crossed),
        IN_DIR(links_and_dots_stay_below_the_root),
        IN_DIR(creating_below_a_root_uses_the_mode),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
