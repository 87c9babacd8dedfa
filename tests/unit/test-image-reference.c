/* test-image-reference.c - image references and digests: what is accepted, and what it means. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "digest.h"
#include "podd/image.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define DIGEST "sha256:" HEX64

struct good {
    const char *text, *canonical;
};

static const struct good GOOD[] = {
    {"busybox", "docker.io/library/busybox:latest"},
    {"busybox:1.36", "docker.io/library/busybox:1.36"},
    {"team/app", "docker.io/team/app:latest"},
    {"docker.io/busybox", "docker.io/library/busybox:latest"},
    {"index.docker.io/busybox", "docker.io/library/busybox:latest"},
    {"docker.io/library/busybox:x", "docker.io/library/busybox:x"},
    {"localhost/app", "localhost/app:latest"},
    {"localhost:5000/app:2", "localhost:5000/app:2"},
    {"127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c:latest"},
    {"[::1]:5000/app", "[::1]:5000/app:latest"},
    {"host.with.dot/a", "host.with.dot/a:latest"},
    {"UPPER/a", "UPPER/a:latest"}, /* upper-case letters make it a host */
    {"a.b/c_d/e__f/g-h/i--j:T_.-1", "a.b/c_d/e__f/g-h/i--j:T_.-1"},
    {"busybox@" DIGEST, "docker.io/library/busybox@" DIGEST},
    {"busybox:1@" DIGEST, "docker.io/library/busybox@" DIGEST}, /* the digest wins */
    {"app:_", "docker.io/library/app:_"},
};

static const char *const BAD[] = {
    "",
    " ",
    "a b",
    "a\nb",
    "/a",
    "a/",
    "a//b",
    "./a",
    "../a",
    "a/../b",
    "-a",
    "a-",
    "a.",
    "_a",
    "a._b",
    "a___b",
    "repo/UPPER",
    "Busybox",
    "a:",
    "a:-x",
    "a:.x",
    "a:b:c",
    "a:x/",
    "a@",
    "a@sha256:",
    "a@sha256:12",
    "a@sha512:" HEX64 HEX64,
    "a@sha256:" HEX64 "0",
    "a@sha256:0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef",
    "a@" DIGEST "@" DIGEST,
    HEX64,
    "host.x:99999/a",
    "host.x:0/a",
    "host.x:/a",
    "host..x/a",
    ".host.x/a",
    "-host.x/a",
    "[::1/a",
    "[x]:1/a",
    "http://host.x/a",
    "user@host.x/a",
    "caf\xc3\xa9",
};

static void references_are_brought_into_one_form(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(GOOD); i++) {
        struct err e = ERR_INIT;
        struct image_ref ref, again;
        if (image_ref_parse(GOOD[i].text, &ref, &e) < 0)
            fail_msg("%s: %s", GOOD[i].text, err_text(&e));
        char *full = image_ref_format(&ref);
        assert_string_equal(full, GOOD[i].canonical);
        assert_true(!ref.tag != !ref.digest);
        /* The canonical form is its own canonical form. */
        assert_int_equal(image_ref_parse(full, &again, &e), 0);
        char *twice = image_ref_format(&again);
        assert_string_equal(twice, full);
        free(full);
        free(twice);
        image_ref_clear(&ref);
        image_ref_clear(&again);
    }
}

static void malformed_references_are_refused(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(BAD); i++) {
        struct err e = ERR_INIT;
        struct image_ref ref;
        if (image_ref_parse(BAD[i], &ref, &e) == 0)
            fail_msg("\"%s\" was accepted", BAD[i]);
        assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
        err_clear(&e);
    }
}

static bool accepts(const char *prefix, char filler, size_t n)
{
    struct strbuf b = {0};
    struct err e = ERR_INIT;
    struct image_ref ref = {0};

    strbuf_adds(&b, prefix);
    for (size_t i = 0; i < n; i++)
        strbuf_add(&b, &filler, 1);
    bool ok = image_ref_parse(b.data, &ref, &e) == 0;
    image_ref_clear(&ref);
    err_clear(&e);
    strbuf_free(&b);
    return ok;
}

static void lengths_are_limited(void **state)
{
    assert_true(accepts("h.x/", 'a', 255));
    assert_false(accepts("h.x/", 'a', 256));
    assert_true(accepts("h.x/a:", 't', 128));
    assert_false(accepts("h.x/a:", 't', 129));
    assert_false(accepts("h.x/a:", 't', 100000));
}

static void only_well_formed_digests_become_names(void **state)
{
    static const char *const bad[] = {
        "",
        "sha256:",
        HEX64,
        "sha256:" HEX64 "/",
        "sha256:../../../../../../../../../../../../../../../../../etc/passwdd",
        "SHA256:" HEX64,
        " " DIGEST,
        DIGEST "\n"};

    assert_true(digest_valid(DIGEST));
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_false(digest_valid(bad[i]));
    assert_false(digest_valid(NULL));
    assert_false(digest_hex_valid(NULL));
}

static void digests_are_sha256(void **state)
{
    char text[DIGEST_TEXT_SIZE], parts[DIGEST_TEXT_SIZE];
    struct digester *d = digester_new();

    digest_compute("abc", 3, text);
    assert_string_equal(text, "sha256:"
                              "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    digester_add(d, "a", 1);
    digester_add(d, "bc", 2);
    digester_finish(d, parts);
    digester_free(d);
    assert_string_equal(parts, text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(references_are_brought_into_one_form),
        cmocka_unit_test(malformed_references_are_refused),
        cmocka_unit_test(lengths_are_limited),
        cmocka_unit_test(only_well_formed_digests_become_names),
        cmocka_unit_test(digests_are_sha256),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
