/* Where systemd puts the slice that a pod's cgroup parent names. */
#include "pod-kit.h"

#include "slice.h"

static void assert_path(const char *parent, const char *expected)
{
    _cleanup_free_ char *path = NULL;
    _cleanup_err_ struct err e = ERR_INIT;

    assert_int_equal(slice_path(parent, &path, &e), 0);
    assert_string_equal(path, expected);
}

static void test_each_dash_is_a_level(void **state)
{
    assert_path("test.slice", "/test.slice");
    assert_path("a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice");
    assert_path("kubepods-pod1_2.slice", "/kubepods.slice/kubepods-pod1_2.slice");
}

static void test_the_whole_path_may_be_said(void **state)
{
    assert_path("/test.slice", "/test.slice");
    assert_path("/a.slice/a-b.slice", "/a.slice/a-b.slice");
}

static void test_what_is_no_slice_is_refused(void **state)
{
    static const char *const wrong[] = {
        "/kubepods/burstable/pod1",
        "/",
        "slice",
        "a.service",
        ".slice",
        "-.slice",
        "-a.slice",
        "a-.slice",
        "a--b.slice",
        "a b.slice",
        "a%b.slice",
        "/a-b.slice",
        "/a.slice/b.slice",
        "../a.slice",
        "/x.slice/../a.slice",
        "/a.slice/",
    };
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        _cleanup_free_ char *path = NULL;
        _cleanup_err_ struct err e = ERR_INIT;
        assert_int_equal(slice_path(wrong[i], &path, &e), -1);
        assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
        assert_non_null(strstr(e.message, wrong[i]));
    }
    char longest[300];
    memset(longest, 'x', sizeof(longest));
    memcpy(longest + sizeof(longest) - 7, ".slice", 7);
    _cleanup_free_ char *path = NULL;
    _cleanup_err_ struct err e = ERR_INIT;
    assert_int_equal(slice_path(longest, &path, &e), -1);
}

static void test_slices_are_told_from_directories(void **state)
{
    assert_true(slice_is_meant("/kubepods.slice/kubepods-pod1.slice"));
    assert_true(slice_is_meant("a.slice"));
    assert_false(slice_is_meant("/kubepods/pod1"));
    assert_false(slice_is_meant("/a.slice/pod1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_dash_is_a_level),
        cmocka_unit_test(test_the_whole_path_may_be_said),
        cmocka_unit_test(test_what_is_no_slice_is_refused),
        cmocka_unit_test(test_slices_are_told_from_directories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
