/* How podd runs the compiler of AppArmor profiles: here scripts stand for it. */
#include "pod-kit.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "apparmor.h"

struct outcome {
    struct loop *loop;
    enum err_code code;
    char *text;
};

static void on_loaded(void *arg, const struct err *e)
{
    struct outcome *o = arg;

    o->code = e->code;
    o->text = xstrdup(err_text(e));
    loop_stop(o->loop);
}

static struct outcome load_with(const char *script, int64_t timeout_ms)
{
    char path[] = "/tmp/podd-test-parser-XXXXXX";
    struct outcome o = {.loop = loop_new()};
    int fd = mkstemp(path);

    assert_int_equal(fd_write_all(fd, script, strlen(script)), 0);
    assert_int_equal(fchmod(fd, 0700), 0);
    close(fd);
    apparmor_default_load(o.loop, path, timeout_ms, on_loaded, &o);
    assert_null(o.text); /* never from inside */
    loop_run(o.loop);
    loop_free(o.loop);
    unlink(path);
    return o;
}

static void test_the_profile_is_its_input(void **state)
{
    struct outcome o = load_with("#!/bin/sh\ngrep -q '^profile podd-default '\n", 10000);

    assert_int_equal(o.code, ERR_OK);
    free(o.text);
}

static void test_what_it_complains_of_is_told(void **state)
{
    struct outcome o = load_with("#!/bin/sh\necho line 3 is wrong >&2\nexit 7\n", 10000);

    assert_int_equal(o.code, ERR_INTERNAL);
    assert_non_null(strstr(o.text, "exited with 7: line 3 is wrong"));
    free(o.text);
}

static void test_one_that_does_not_end_is_killed(void **state)
{
    struct outcome o = load_with("#!/bin/sh\nexec sleep 1000\n", 200);

    assert_int_equal(o.code, ERR_DEADLINE_EXCEEDED);
    assert_non_null(strstr(o.text, "did not end"));
    free(o.text);
}

static void test_one_that_is_missing_is_an_error_too(void **state)
{
    struct outcome o = {.loop = loop_new()};

    apparmor_default_load(o.loop, "/nowhere/parser", 1000, on_loaded, &o);
    assert_null(o.text);
    loop_run(o.loop);
    loop_free(o.loop);
    assert_int_not_equal(o.code, ERR_OK);
    assert_non_null(strstr(o.text, "/nowhere/parser"));
    free(o.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_profile_is_its_input),
        cmocka_unit_test(test_what_it_complains_of_is_told),
        cmocka_unit_test(test_one_that_does_not_end_is_killed),
        cmocka_unit_test(test_one_that_is_missing_is_an_error_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
