/*
 * test-cri-token.c - streaming tokens: unguessable, good once, for one thing, for a minute.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../src/cri/stream_token.h"

static struct stream_request *request(enum stream_kind kind, const char *id)
{
    struct stream_request *r = xnew(struct stream_request);

    r->kind = kind;
    r->id = xstrdup(id);
    return r;
}

static void issue(struct tokens *t, enum stream_kind kind, int64_t now, char token[TOKEN_SIZE])
{
    struct err e = ERR_INIT;

    assert_int_equal(tokens_issue(t, request(kind, "c1"), now, token, &e), 0);
}

static bool redeem(struct tokens *t, const char *token, enum stream_kind kind, int64_t now)
{
    struct stream_request *r = tokens_redeem(t, token, kind, now);

    if (!r)
        return false;
    assert_string_equal(r->id, "c1");
    assert_int_equal(r->kind, kind);
    stream_request_free(r);
    return true;
}

static void a_token_works_once(void **state)
{
    struct tokens *t = tokens_new();
    char token[TOKEN_SIZE];

    issue(t, STREAM_EXEC, 0, token);
    assert_int_equal(strlen(token), 32);
    assert_int_equal(strspn(token, "0123456789abcdef"), 32);
    assert_false(redeem(t, "", STREAM_EXEC, 0));
    assert_false(redeem(t, "00000000000000000000000000000000", STREAM_EXEC, 0));
    assert_true(redeem(t, token, STREAM_EXEC, 0));
    assert_false(redeem(t, token, STREAM_EXEC, 0));
    assert_int_equal(tokens_count(t), 0);
    tokens_free(t);
}

static void another_kind_uses_it_up(void **state)
{
    struct tokens *t = tokens_new();
    char token[TOKEN_SIZE];

    issue(t, STREAM_EXEC, 0, token);
    assert_false(redeem(t, token, STREAM_ATTACH, 0));
    assert_false(redeem(t, token, STREAM_EXEC, 0));
    tokens_free(t);
}

static void it_expires_after_a_minute(void **state)
{
    struct tokens *t = tokens_new();
    char first[TOKEN_SIZE], second[TOKEN_SIZE];

    issue(t, STREAM_EXEC, 0, first);
    issue(t, STREAM_EXEC, 10 * NS_PER_SEC, second);
    assert_true(redeem(t, second, STREAM_EXEC, 70 * NS_PER_SEC - 1));
    assert_false(redeem(t, first, STREAM_EXEC, 60 * NS_PER_SEC));
    tokens_free(t);
}

static void no_more_than_the_limit_are_outstanding(void **state)
{
    struct tokens *t = tokens_new();
    char token[TOKEN_SIZE];
    struct err e = ERR_INIT;

    for (int i = 0; i < TOKENS_MAX; i++)
        issue(t, STREAM_ATTACH, i, token);
    struct stream_request *r = request(STREAM_EXEC, "c1");
    assert_int_equal(tokens_issue(t, r, TOKENS_MAX, token, &e), -1);
    assert_int_equal(e.code, ERR_RESOURCE_EXHAUSTED);
    err_clear(&e);
    /* The first has expired by then. */
    assert_int_equal(tokens_issue(t, r, 60 * NS_PER_SEC, token, &e), 0);
    assert_int_equal(tokens_count(t), TOKENS_MAX);
    tokens_free(t);
}

static void tokens_differ(void **state)
{
    struct tokens *t = tokens_new();
    struct map *seen = map_new();
    char token[TOKEN_SIZE];

    for (int i = 0; i < TOKENS_MAX; i++) {
        issue(t, STREAM_EXEC, 0, token);
        assert_null(map_put(seen, token, t));
    }
    map_free(seen);
    tokens_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_works_once),
        cmocka_unit_test(another_kind_uses_it_up),
        cmocka_unit_test(it_expires_after_a_minute),
        cmocka_unit_test(no_more_than_the_limit_are_outstanding),
        cmocka_unit_test(tokens_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
