/* test-image-unpack.c - honest layers become trees, whatever they are compressed with. */
#include <sys/xattr.h>
#include <zlib.h>
#include <zstd.h>

#include "unpack-fixture.h"

/* ---- Honest layers --------------------------------------------------------------------------- */

static void files_keep_what_the_archive_says(void **state)
{
    struct fixture *f = *state;

    ADD("./", .type = '5', .mode = 0711, .mtime = 1000);
    ADD("./dir/", .type = '5', .mode = 01777, .uid = 5, .gid = 6, .mtime = 2000);
    ADD("./dir/file", .data = "hello", .mode = 04755, .uid = 7, .gid = 8, .mtime = 3000);
    ADD("link", .type = '2', .link = "/absolute/is/fine", .uid = 9, .mtime = 4000);
    ADD("up", .type = '2', .link = "../../..");
    ADD("hard", .type = '1', .link = "./dir/file");
    ADD("fifo", .type = '6', .mode = 0600, .uid = 3);
    ADD("implied/deep/file", .data = "x");
    must_unpack(f);

    struct stat st = look(f, ".");
    assert_int_equal(st.st_mode & 07777, 0711);
    assert_int_equal(st.st_mtim.tv_sec, 1000);
    st = look(f, "dir");
    assert_int_equal(st.st_mode & 07777, 01777);
    assert_int_equal(st.st_uid, 5);
    assert_int_equal(st.st_mtim.tv_sec, 2000);
    st = look(f, "dir/file");
    assert_int_equal(st.st_mode & 07777, 04755);
    assert_int_equal(st.st_uid, 7);
    assert_int_equal(st.st_gid, 8);
    assert_int_equal(st.st_mtim.tv_sec, 3000);
    assert_int_equal(st.st_nlink, 2);
    assert_int_equal(look(f, "hard").st_ino, st.st_ino);
    st = look(f, "link");
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(st.st_uid, 9);
    assert_int_equal(st.st_mtim.tv_sec, 4000);
    assert_true(S_ISFIFO(look(f, "fifo").st_mode));
    assert_int_equal(look(f, "implied/deep").st_mode & 07777, 0755);
    assert_content(f, "dir/file", "hello");
}

static void what_it_takes_is_counted(void **state)
{
    struct fixture *f = *state;
    char tar_digest[DIGEST_TEXT_SIZE];

    ADD("a", .data = "x");
    ADD("b", .type = '1', .link = "a");
    ADD("c", .type = '1', .link = "a");
    ADD("d/", .type = '5');
    must_unpack(f);
    assert_int_equal(f->result.inodes, 3); /* the root, a, d */
    digest_compute(f->tar.data, f->tar.len, tar_digest);
    assert_string_equal(f->result.tar_digest, tar_digest);
    assert_string_equal(f->result.input_digest, tar_digest);
    assert_int_equal(f->result.tar_bytes, f->tar.len);
    assert_int_equal(f->result.disk_bytes, 512 * (look(f, ".").st_blocks + look(f, "a").st_blocks +
                                                  look(f, "d").st_blocks));
}

static void whiteouts_take_the_form_of_overlayfs(void **state)
{
    struct fixture *f = *state;

    ADD(".wh.gone");
    ADD("dir/.wh.gone2");
    ADD("opaque/.wh..wh..opq");
    ADD("opaque/new", .data = "x");
    ADD(".wh..wh.aufs", .data = "AUFS");
    ADD(".wh..wh.plnk/1.2", .data = "AUFS");
    ADD("raw", .type = '3', .major = 0, .minor = 0);
    must_unpack(f);
    assert_true(is_whiteout(f, "gone"));
    assert_true(is_whiteout(f, "dir/gone2"));
    assert_true(is_whiteout(f, "raw"));
    assert_false(exists(f, ".wh..wh.aufs"));
    assert_false(exists(f, ".wh..wh.plnk"));
    assert_false(exists(f, "opaque/.wh..wh..opq"));
    assert_int_equal(strv_len(f->result.opaque), 1);
    assert_string_equal(f->result.opaque[0], "opaque");
}

static void a_whiteout_speaks_of_lower_layers_only(void **state)
{
    struct fixture *f = *state;

    ADD("file", .data = "x");
    ADD(".wh.file");
    ADD("dir/inside", .data = "x");
    ADD(".wh.dir");
    ADD(".wh.later");
    ADD("later/inside", .data = "x");
    ADD(".wh.file2");
    ADD("file2", .data = "y");
    must_unpack(f);
    assert_content(f, "file", "x");
    assert_content(f, "dir/inside", "x");
    assert_content(f, "later/inside", "x");
    assert_content(f, "file2", "y");
    assert_int_equal(strv_len(f->result.opaque), 2); /* dir and later hide those below */
}

static void the_root_may_be_opaque(void **state)
{
    struct fixture *f = *state;

    ADD(".wh..wh..opq");
    must_unpack(f);
    assert_string_equal(f->result.opaque[0], ".");
}

static void the_last_of_equal_names_wins(void **state)
{
    struct fixture *f = *state;

    ADD("file", .data = "first");
    ADD("file", .data = "second");
    ADD("dir/inside", .data = "x");
    ADD("dir", .data = "a file now");
    ADD("other", .data = "x");
    ADD("other/", .type = '5', .mode = 0700);
    ADD("link", .type = '2', .link = "dir");
    ADD("link", .data = "a file now");
    ADD("kept/inside", .data = "x");
    ADD("kept/", .type = '5', .mode = 0700); /* a directory twice: its content stays */
    must_unpack(f);
    assert_content(f, "file", "second");
    assert_content(f, "dir", "a file now");
    assert_true(S_ISDIR(look(f, "other").st_mode));
    assert_content(f, "link", "a file now");
    assert_content(f, "kept/inside", "x");
    assert_int_equal(look(f, "kept").st_mode & 07777, 0700);
}

static void a_directory_that_is_replaced_is_looked_up_again(void **state)
{
    struct fixture *f = *state;

    ADD("dir/a", .data = "x");
    ADD("dir", .data = "a file in between");
    ADD("dir/", .type = '5');
    ADD("dir/b", .data = "b");
    ADD("real/", .type = '5');
    ADD("link", .type = '2', .link = "real");
    ADD("link/a", .data = "x");
    ADD("link/", .type = '5');
    ADD("link/b", .data = "b");
    must_unpack(f);
    assert_false(exists(f, "dir/a"));
    assert_content(f, "dir/b", "b");
    assert_content(f, "real/a", "x");
    assert_false(exists(f, "real/b"));
    assert_content(f, "link/b", "b");
}

static void a_link_to_a_directory_inside_may_be_passed(void **state)
{
    struct fixture *f = *state;

    ADD("usr/lib/", .type = '5');
    ADD("lib", .type = '2', .link = "usr/lib");
    ADD("lib/x", .data = "x");
    ADD("usr/up", .type = '2', .link = "../usr/lib");
    ADD("usr/up/y", .data = "y");
    must_unpack(f);
    assert_content(f, "usr/lib/x", "x");
    assert_content(f, "usr/lib/y", "y");
    assert_true(S_ISLNK(look(f, "lib").st_mode));
}

static void names_are_bytes(void **state)
{
    struct fixture *f = *state;
    /* Decomposed, precomposed, Latin-1, and a control character. */
    static const char *const names[] = {"cafe\xcc\x81", "caf\xc3\xa9", "caf\xe9", "a\nb", "A", "a"};

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        tar_add_pax(&f->tar, "path", names[i], strlen(names[i]));
        ADD("short", .data = names[i]);
    }
    must_unpack(f);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        assert_content(f, names[i], names[i]);
}

static void devices_are_left_out_and_counted(void **state)
{
    struct fixture *f = *state;

    ADD("null", .type = '3', .major = 1, .minor = 3);
    ADD("sda", .type = '4', .major = 8, .minor = 0);
    ADD("file", .data = "x");
    must_unpack(f);
    assert_int_equal(f->result.skipped, 2);
    assert_false(exists(f, "null"));
    assert_false(exists(f, "sda"));
}

static void only_harmless_attributes_are_kept(void **state)
{
    static const unsigned char capability[] = {1, 0, 0, 2, 0, 4, 0, 0, 0, 0,
                                               0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    struct fixture *f = *state;
    char value[64];

    tar_add_pax(&f->tar, "SCHILY.xattr.user.note", "hi", 2);
    ADD("user", .data = "x");
    tar_add_pax(&f->tar, "SCHILY.xattr.trusted.overlay.redirect", "/etc", 4);
    ADD("redirect/", .type = '5');
    tar_add_pax(&f->tar, "SCHILY.xattr.user.overlay.opaque", "y", 1);
    ADD("opaque/", .type = '5');
    tar_add_pax(&f->tar, "SCHILY.xattr.security.selinux", "x", 1);
    ADD("selinux", .data = "x");
    tar_add_pax(&f->tar, "SCHILY.xattr.security.capability", capability, sizeof(capability));
    ADD("capable", .data = "x", .uid = 4);
    must_unpack(f);

    _cleanup_close_ int user = openat(f->tree_fd, "user", O_RDONLY | O_CLOEXEC);
    assert_int_equal(fgetxattr(user, "user.note", value, sizeof(value)), 2);
    _cleanup_close_ int capable = openat(f->tree_fd, "capable", O_RDONLY | O_CLOEXEC);
    assert_true(fgetxattr(capable, "security.capability", value, sizeof(value)) > 0);
    static const char *const plain[] = {"redirect", "opaque"};
    for (size_t i = 0; i < ARRAY_SIZE(plain); i++) {
        _cleanup_close_ int fd = openat(f->tree_fd, plain[i], O_RDONLY | O_CLOEXEC);
        assert_int_equal(flistxattr(fd, NULL, 0), 0);
    }
}

static void holes_stay_holes(void **state)
{
    struct fixture *f = *state;
    static const char map[] = "1\n1048576\n5\n";
    char data[TAR_BLOCK + 5] = {0};

    memcpy(data, map, sizeof(map) - 1);
    memcpy(data + TAR_BLOCK, "hello", 5);
    /* GNU's sparse format 1.0: the map comes before the data. */
    tar_add_pax(&f->tar, "GNU.sparse.major", "1", 1);
    strbuf_free(&f->tar);
    struct strbuf records = {0};
    strbuf_adds(&records, "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"
                          "24 GNU.sparse.name=hole\n31 GNU.sparse.realsize=1048581\n");
    tar_header(&f->tar, &(struct tar_entry){.name = "pax", .type = 'x'}, records.len);
    strbuf_add(&f->tar, records.data, records.len);
    strbuf_free(&records);
    tar_pad(&f->tar);
    ADD("GNUSparseFile/hole", .data = data, .size = sizeof(data));
    must_unpack(f);
    struct stat st = look(f, "hole");
    assert_int_equal(st.st_size, 1048581);
    assert_true(st.st_blocks * 512 < 1 << 16);
}

/* ---- Compression ----------------------------------------------------------------------------- */

static struct bytes gzip_of(const void *data, size_t len)
{
    struct bytes b = {.data = xmalloc(len + 1024)};
    z_stream z = {0};

    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)data;
    z.avail_in = (uInt)len;
    z.next_out = b.data;
    z.avail_out = (uInt)(len + 1024);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    b.len = z.total_out;
    deflateEnd(&z);
    return b;
}

static struct bytes zstd_of(const void *data, size_t len)
{
    struct bytes b = {.data = xmalloc(ZSTD_compressBound(len))};

    b.len = ZSTD_compress(b.data, ZSTD_compressBound(len), data, len, 3);
    assert_false(ZSTD_isError(b.len));
    return b;
}

/* The tar in two members, as parallel compressors write. */
static struct bytes in_two(const struct strbuf *tar,
                           struct bytes (*compress)(const void *data, size_t len))
{
    size_t half = tar->len / 2 + 17;
    struct bytes a = compress(tar->data, half), b = compress(tar->data + half, tar->len - half);

    a.data = xrealloc(a.data, a.len + b.len);
    memcpy(a.data + a.len, b.data, b.len);
    a.len += b.len;
    bytes_free(&b);
    return a;
}

static void compressed_streams_are_recognised(void **state)
{
    static struct bytes (*const compressors[])(const void *, size_t) = {gzip_of, zstd_of};
    struct fixture *f = *state;
    char tar_digest[DIGEST_TEXT_SIZE], digest[DIGEST_TEXT_SIZE];

    ADD("a", .data = "hello");
    ADD("b", .data = "there");
    tar_end(&f->tar);
    digest_compute(f->tar.data, f->tar.len, tar_digest);
    for (size_t i = 0; i < ARRAY_SIZE(compressors); i++) {
        struct err e = ERR_INIT;
        struct bytes b = in_two(&f->tar, compressors[i]);
        if (unpack_bytes(f, b.data, b.len, &UNPACK_LIMITS, &e) < 0)
            fail_msg("%s", err_text(&e));
        digest_compute(b.data, b.len, digest);
        assert_string_equal(f->result.tar_digest, tar_digest);
        assert_string_equal(f->result.input_digest, digest);
        assert_int_equal(f->result.input_bytes, b.len);
        assert_content(f, "b", "there");
        unpack_result_clear(&f->result);
        bytes_free(&b);
    }
}

static void a_stream_cut_anywhere_is_an_error(void **state)
{
    static struct bytes (*const compressors[])(const void *, size_t) = {gzip_of, zstd_of};
    struct fixture *f = *state;

    ADD("a", .data = "hello");
    tar_end(&f->tar);
    for (size_t i = 0; i < ARRAY_SIZE(compressors); i++) {
        struct bytes b = compressors[i](f->tar.data, f->tar.len);
        for (size_t len = 0; len < b.len; len++) {
            struct err e = ERR_INIT;
            if (unpack_bytes(f, b.data, len, &UNPACK_LIMITS, &e) == 0)
                fail_msg("%zu of %zu bytes were enough", len, b.len);
            err_clear(&e);
        }
        /* And rubbish behind the end. */
        struct err e = ERR_INIT;
        b.data = xrealloc(b.data, b.len + 10);
        memset(b.data + b.len, 'x', 10);
        assert_int_equal(unpack_bytes(f, b.data, b.len + 10, &UNPACK_LIMITS, &e), -1);
        err_clear(&e);
        bytes_free(&b);
    }
}

static void other_compressions_are_named(void **state)
{
    struct fixture *f = *state;

    strbuf_add(&f->tar,
               "\xfd"
               "7zXZ\0rubbish",
               13);
    must_fail(f, "xz");
}

static void bombs_are_stopped(void **state)
{
    struct fixture *f = *state;
    struct unpack_limits limits = UNPACK_LIMITS;
    size_t size = 8 << 20;
    char *zeros = xcalloc(1, size);
    struct bytes b = zstd_of(zeros, size);
    struct err e = ERR_INIT;

    free(zeros);
    limits.ratio_free = 1 << 20;
    assert_int_equal(unpack_bytes(f, b.data, b.len, &limits, &e), -1);
    assert_non_null(strstr(e.message, "times its size"));
    err_clear(&e);
    limits = UNPACK_LIMITS;
    limits.tar_bytes = 1 << 20;
    assert_int_equal(unpack_bytes(f, b.data, b.len, &limits, &e), -1);
    assert_non_null(strstr(e.message, "more than"));
    err_clear(&e);
    bytes_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(files_keep_what_the_archive_says),
        TEST(what_it_takes_is_counted),
        TEST(whiteouts_take_the_form_of_overlayfs),
        TEST(a_whiteout_speaks_of_lower_layers_only),
        TEST(the_root_may_be_opaque),
        TEST(the_last_of_equal_names_wins),
        TEST(a_directory_that_is_replaced_is_looked_up_again),
        TEST(a_link_to_a_directory_inside_may_be_passed),
        TEST(names_are_bytes),
        TEST(devices_are_left_out_and_counted),
        TEST(only_harmless_attributes_are_kept),
        TEST(holes_stay_holes),
        TEST(compressed_streams_are_recognised),
        TEST(a_stream_cut_anywhere_is_an_error),
        TEST(other_compressions_are_named),
        TEST(bombs_are_stopped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
