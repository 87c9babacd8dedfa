/* test-base-err.c - errors: codes of errno, sentences that grow, moving and copying. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <podd/base.h>

static void setting_returns_minus_one_and_keeps_the_sentence(void **state)
{
    _cleanup_err_ struct err e = ERR_INIT;

    assert_string_equal(err_text(&e), "");
    assert_int_equal(err_set(&e, ERR_NOT_FOUND, "pod %s", "a"), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_string_equal(err_text(&e), "pod a");
}

static void errno_chooses_the_code(void **state)
{
    static const struct {
        int errnum;
        enum err_code code;
    } cases[] = {
        {EACCES, ERR_PERMISSION_DENIED},
        {-EPERM, ERR_PERMISSION_DENIED},
        {ENOSPC, ERR_RESOURCE_EXHAUSTED},
        {EDQUOT, ERR_RESOURCE_EXHAUSTED},
        {-EMFILE, ERR_RESOURCE_EXHAUSTED},
        {ENFILE, ERR_RESOURCE_EXHAUSTED},
        {ENOMEM, ERR_RESOURCE_EXHAUSTED},
        {ETIMEDOUT, ERR_DEADLINE_EXCEEDED},
        {ENOENT, ERR_UNKNOWN},
        {-EIO, ERR_UNKNOWN},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_err_ struct err e = ERR_INIT;
        assert_int_equal(err_errno(&e, cases[i].errnum, "x"), -1);
        assert_int_equal(e.code, cases[i].code);
    }
}

static void errno_text_is_appended_for_either_sign(void **state)
{
    _cleanup_err_ struct err a = ERR_INIT, b = ERR_INIT, c = ERR_INIT;

    err_errno(&a, ENOENT, "open %s", "/x");
    err_errno(&b, -ENOENT, "open %s", "/x");
    err_errno(&c, 99999, "open");
    assert_string_equal(err_text(&a), "open /x: No such file or directory");
    assert_string_equal(err_text(&b), err_text(&a));
    assert_string_equal(err_text(&c), "open: errno 99999");
}

static void wrapping_grows_to_the_left_and_keeps_the_code(void **state)
{
    _cleanup_err_ struct err e = ERR_INIT;

    err_set(&e, ERR_ABORTED, "inner");
    assert_int_equal(err_wrap(&e, "middle %d", 2), -1);
    assert_int_equal(err_wrap(&e, "outer"), -1);
    assert_string_equal(err_text(&e), "outer: middle 2: inner");
    assert_int_equal(e.code, ERR_ABORTED);
}

static void wrapping_may_quote_the_message_itself(void **state)
{
    _cleanup_err_ struct err e = ERR_INIT;

    err_set(&e, ERR_ABORTED, "inner");
    err_wrap(&e, "(%s)", e.message);
    assert_string_equal(err_text(&e), "(inner): inner");
}

static void moving_empties_the_source(void **state)
{
    _cleanup_err_ struct err a = ERR_INIT, b = ERR_INIT;

    err_set(&a, ERR_INTERNAL, "x");
    assert_int_equal(err_move(&b, &a), -1);
    assert_int_equal(a.code, ERR_OK);
    assert_null(a.message);
    assert_string_equal(err_text(&b), "x");
}

static void copying_leaves_two(void **state)
{
    _cleanup_err_ struct err a = ERR_INIT, b = ERR_INIT;

    err_set(&a, ERR_INTERNAL, "x");
    err_copy(&b, &a);
    err_clear(&a);
    assert_int_equal(b.code, ERR_INTERNAL);
    assert_string_equal(err_text(&b), "x");
}

static void clearing_twice_is_harmless(void **state)
{
    struct err e = ERR_INIT;

    err_set(&e, ERR_INTERNAL, "x");
    err_clear(&e);
    err_clear(&e);
    assert_int_equal(e.code, ERR_OK);
}

static void errno_is_kept(void **state)
{
    _cleanup_err_ struct err e = ERR_INIT;

    errno = ENOENT;
    err_errno(&e, EIO, "x");
    err_wrap(&e, "y");
    assert_int_equal(errno, ENOENT);
}

static void codes_have_grpc_names(void **state)
{
    assert_string_equal(err_code_name(ERR_OK), "OK");
    assert_string_equal(err_code_name(ERR_NOT_FOUND), "NOT_FOUND");
    assert_string_equal(err_code_name(ERR_UNAUTHENTICATED), "UNAUTHENTICATED");
    assert_string_equal(err_code_name((enum err_code)17), "UNKNOWN");
    assert_string_equal(err_code_name((enum err_code) - 1), "UNKNOWN");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(setting_returns_minus_one_and_keeps_the_sentence),
        cmocka_unit_test(errno_chooses_the_code),
        cmocka_unit_test(errno_text_is_appended_for_either_sign),
        cmocka_unit_test(wrapping_grows_to_the_left_and_keeps_the_code),
        cmocka_unit_test(wrapping_may_quote_the_message_itself),
        cmocka_unit_test(moving_empties_the_source),
        cmocka_unit_test(copying_leaves_two),
        cmocka_unit_test(clearing_twice_is_harmless),
        cmocka_unit_test(errno_is_kept),
        cmocka_unit_test(codes_have_grpc_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
