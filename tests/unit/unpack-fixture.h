/* unpack-fixture.h - a directory to unpack into, beside a canary that every test looks after. */
#ifndef UNPACK_FIXTURE_H
#define UNPACK_FIXTURE_H

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cmocka.h>

#include "image-tar.h"
#include "unpack.h"

struct fixture {
    char top[64]; /* holds "canary" and "tree" */
    int top_fd, tree_fd;
    struct strbuf tar;
    struct unpack_result result;
    struct stat canary, canary_dir, top_before;
};

static inline void put(int dir, const char *name, const char *text)
{
    struct err e = ERR_INIT;

    assert_int_equal(file_write_atomic(dir, name, text, strlen(text), 0640, false, &e), 0);
}

static inline int set_up(void **state)
{
    struct fixture *f = xnew(struct fixture);

    strncpy(f->top, "/tmp/podd-test-unpack-XXXXXX", sizeof(f->top) - 1);
    assert_non_null(mkdtemp(f->top));
    f->top_fd = open(f->top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(mkdirat(f->top_fd, "canary", 0750), 0);
    put(f->top_fd, "canary/file", "untouched\n");
    assert_int_equal(mkdirat(f->top_fd, "tree", 0755), 0);
    f->tree_fd = openat(f->top_fd, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(fstatat(f->top_fd, "canary/file", &f->canary, 0), 0);
    assert_int_equal(fstatat(f->top_fd, "canary", &f->canary_dir, 0), 0);
    assert_int_equal(fstat(f->top_fd, &f->top_before), 0);
    *state = f;
    return 0;
}

static inline void assert_same(const struct stat *a, const struct stat *b)
{
    assert_int_equal(a->st_ino, b->st_ino);
    assert_int_equal(a->st_mode, b->st_mode);
    assert_int_equal(a->st_uid, b->st_uid);
    assert_int_equal(a->st_nlink, b->st_nlink);
    assert_int_equal(a->st_size, b->st_size);
    assert_int_equal(a->st_ctim.tv_sec, b->st_ctim.tv_sec);
    assert_int_equal(a->st_ctim.tv_nsec, b->st_ctim.tv_nsec);
}

static inline int tear_down(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    struct stat file, dir, top;

    assert_int_equal(fstatat(f->top_fd, "canary/file", &file, 0), 0);
    assert_int_equal(fstatat(f->top_fd, "canary", &dir, 0), 0);
    assert_int_equal(fstat(f->top_fd, &top), 0);
    assert_same(&file, &f->canary);
    assert_same(&dir, &f->canary_dir);
    assert_same(&top, &f->top_before);
    unpack_result_clear(&f->result);
    strbuf_free(&f->tar);
    close(f->tree_fd);
    close(f->top_fd);
    assert_int_equal(tree_remove(AT_FDCWD, f->top, &e), 0);
    free(f);
    return 0;
}

/* ---- Helpers --------------------------------------------------------------------------------- */

#define ADD(...) tar_add(&f->tar, &(struct tar_entry){__VA_ARGS__})

static inline int unpack_bytes(struct fixture *f, const void *data, size_t len,
                               const struct unpack_limits *limits, struct err *e)
{
    _cleanup_close_ int fd = memory_file(data, len);

    return unpack_stream(fd, f->tree_fd, limits, &f->result, e);
}

static inline void must_unpack(struct fixture *f)
{
    struct err e = ERR_INIT;

    tar_end(&f->tar);
    if (unpack_bytes(f, f->tar.data, f->tar.len, &UNPACK_LIMITS, &e) < 0)
        fail_msg("%s", err_text(&e));
}

static inline void must_fail_with(struct fixture *f, const struct unpack_limits *limits,
                                  const char *word)
{
    struct err e = ERR_INIT;

    tar_end(&f->tar);
    if (unpack_bytes(f, f->tar.data, f->tar.len, limits, &e) == 0)
        fail_msg("it was unpacked; expected: %s", word);
    if (!strstr(err_text(&e), word))
        fail_msg("the message is: %s", err_text(&e));
    err_clear(&e);
}

static inline void must_fail(struct fixture *f, const char *word)
{
    must_fail_with(f, &UNPACK_LIMITS, word);
}

static inline struct stat look(struct fixture *f, const char *path)
{
    struct stat st;

    if (fstatat(f->tree_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        fail_msg("%s: %s", path, strerror(errno));
    return st;
}

static inline bool exists(struct fixture *f, const char *path)
{
    struct stat st;

    return fstatat(f->tree_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static inline void assert_content(struct fixture *f, const char *path, const char *text)
{
    struct bytes b = {0};
    struct err e = ERR_INIT;

    assert_int_equal(file_read(f->tree_fd, path, 1 << 20, &b, &e), 0);
    assert_string_equal((char *)b.data, text);
    bytes_free(&b);
}

static inline bool is_whiteout(struct fixture *f, const char *path)
{
    struct stat st = look(f, path);

    return S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

#endif
