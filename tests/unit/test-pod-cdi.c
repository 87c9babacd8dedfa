/* Tests of cdi_file.c and cdi.c: descriptions of devices, and finding them. */
#include "podd/base.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cdi.h"

static struct cdi_spec *read_good(const char *text)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct cdi_spec *spec = NULL;

    if (cdi_spec_parse(text, strlen(text), "v.yaml", &spec, &e) < 0)
        fail_msg("%s", err_text(&e));
    return spec;
}

static void refuse(const char *text, const char *why)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct cdi_spec *spec = NULL;

    assert_int_equal(cdi_spec_parse(text, strlen(text), "v.yaml", &spec, &e), -1);
    assert_null(spec);
    assert_string_equal(err_text(&e), why);
}

static void every_field_is_read(void **state)
{
    struct cdi_spec *spec = read_good(
        "{\"cdiVersion\": \"0.7.0\", \"kind\": \"vendor.com/gpu\", \"annotations\": {\"a\": "
        "\"b\"},\n"
        " \"containerEdits\": {\"env\": [\"ALL=1\"]},\n"
        " \"devices\": [{\"name\": \"0\", \"annotations\": {\"x\": \"y\"}, \"containerEdits\": {\n"
        "   \"deviceNodes\": [{\"path\": \"/dev/g0\", \"hostPath\": \"/dev/gpu0\", \"type\": "
        "\"c\",\n"
        "      \"major\": 195, \"minor\": 0, \"fileMode\": 438, \"permissions\": \"rw\",\n"
        "      \"uid\": 1, \"gid\": 2}],\n"
        "   \"mounts\": [{\"hostPath\": \"/lib/g\", \"containerPath\": \"/lib/g\", \"type\": "
        "\"bind\",\n"
        "      \"options\": [\"ro\"]}],\n"
        "   \"hooks\": [{\"hookName\": \"createContainer\", \"path\": \"/bin/h\", \"args\": "
        "[\"h\"],\n"
        "      \"env\": [\"A=b\"], \"timeout\": 3}],\n"
        "   \"additionalGids\": [44]}}]}\n");
    const struct cdi_device *device = cdi_spec_device(spec, 0);
    const struct cdi_node *node = device->edits->nodes.items;
    const struct cdi_mount *mount = device->edits->mounts.items;

    assert_string_equal(spec->kind, "vendor.com/gpu");
    assert_string_equal(spec->edits->env[0], "ALL=1");
    assert_string_equal(device->name, "0");
    assert_string_equal(node->host_path, "/dev/gpu0");
    assert_int_equal(node->major.value, 195);
    assert_int_equal(node->mode.value, 0666);
    assert_int_equal(node->gid.value, 2);
    assert_string_equal(mount->options[0], "ro");
    assert_int_equal(device->edits->hooks.count, 1);
    assert_int_equal(device->edits->groups.items[0], 44);
    cdi_spec_free(spec);
}

#define DEVICES "devices: [{name: a, containerEdits: {}}]\n"
#define SPEC "cdiVersion: 1.1.0\nkind: vendor.com/gpu\n"

static void what_is_wrong_is_told_with_its_place(void **state)
{
    refuse("kind: a.b/c\n" DEVICES, "v.yaml:1:1: missing field cdiVersion");
    refuse(SPEC "devices: []\n", "v.yaml:3:10: devices must not be empty");
    refuse("cdiVersion: 2.0.0\nkind: vendor.com/gpu\n" DEVICES,
           "v.yaml:1:13: cdiVersion must be a version from 0.3.0 to 1.1.x, not \"2.0.0\"");
    refuse("cdiVersion: 1.1.0\nkind: gpu\n" DEVICES,
           "v.yaml:2:7: kind must be vendor.com/class, not \"gpu\"");
    refuse(SPEC "devices: [{name: 'a b', containerEdits: {}}]\n",
           "v.yaml:3:18: devices[0].name must be made of letters, digits and - _ . : between "
           "them, not \"a b\"");
    refuse(SPEC "devices: [{name: a, containerEdit: {}}]\n",
           "v.yaml:3:21: unknown field devices[0].containerEdit, did you mean containerEdits?");
    refuse(SPEC "devices: [{name: a, containerEdits: {env: [x]}}]\n",
           "v.yaml:3:44: devices[0].containerEdits.env[0] must be NAME=value, not \"x\"");
    refuse(SPEC "devices: [{name: a, containerEdits: {deviceNodes: [{path: dev/x}]}}]\n",
           "v.yaml:3:59: devices[0].containerEdits.deviceNodes[0].path must be an absolute "
           "path, not \"dev/x\"");
    refuse(SPEC "devices: [{name: a, containerEdits: {}}, {name: a, containerEdits: {}}]\n",
           "v.yaml:3:49: devices[1].name: a is there already");
    refuse("a: 1\n---\nb: 2\n", "v.yaml: it holds 2 documents, not one");
}

static void names_have_three_parts(void **state)
{
    static const char *const good[] = {"vendor.com/gpu=0", "v/c=d", "a.b-c_d/e.f=g:h.i-j_k"};
    static const char *const bad[] = {"",       "gpu",    "vendor.com/gpu", "/gpu=0",
                                      "v/=0",   "v/c=",   "v/c=a b",        "-v/c=0",
                                      "v/c-=0", "v/c=0.", "v/a/b=0",        "v c/d=0"};

    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        assert_true(cdi_name_is_valid(good[i]));
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_false(cdi_name_is_valid(bad[i]));
}

static void devices_are_asked_for_by_field_and_annotation(void **state)
{
    _cleanup_err_ struct err e = ERR_INIT;
    char *const fields[] = {"v.com/c=a", NULL};
    const struct key_value annotations[] = {{"cdi.k8s.io/x", "v.com/c=b,v.com/c=a"},
                                            {"other/cdi.k8s.io", "nonsense"}};
    const struct key_value wrong = {"cdi.k8s.io/y", "nonsense"};
    char **names = NULL;

    assert_int_equal(cdi_names(fields, annotations, 2, &names, &e), 0);
    assert_int_equal(strv_len(names), 2);
    assert_string_equal(names[0], "v.com/c=a");
    assert_string_equal(names[1], "v.com/c=b");
    strv_free(names);
    assert_int_equal(cdi_names(NULL, &wrong, 1, &names, &e), -1);
    assert_string_equal(err_text(&e),
                        "annotation cdi.k8s.io/y: CDI device \"nonsense\": it must be "
                        "named vendor.com/class=device");
}

/* ---- Files ------------------------------------------------------------------------------------
 */

struct fixture {
    char top[32];
    char *low, *high;
    struct cdi *cdi;
};

static int setup(void **state)
{
    struct fixture *f = xnew(struct fixture);

    memcpy(f->top, "/tmp/podd-cdi-XXXXXX", 21);
    assert_non_null(mkdtemp(f->top));
    f->low = xasprintf("%s/low", f->top);
    f->high = xasprintf("%s/high", f->top);
    char *const dirs[] = {f->low, f->high, NULL};
    f->cdi = cdi_new(dirs);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    _cleanup_err_ struct err e = ERR_INIT;

    cdi_free(f->cdi);
    assert_int_equal(tree_remove(AT_FDCWD, f->top, &e), 0);
    free(f->low);
    free(f->high);
    free(f);
    return 0;
}

static void put(const char *dir, const char *name, const char *device, const char *env)
{
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_free_ char *path = xasprintf("%s/%s", dir, name);
    _cleanup_free_ char *text =
        xasprintf(SPEC "containerEdits: {env: [ALL=%s]}\n"
                       "devices: [{name: '%s', containerEdits: {env: [ONE=%s]}}]\n",
                  env, device, env);

    assert_int_equal(dir_ensure(dir, 0755, &e), 0);
    assert_int_equal(file_write_atomic(AT_FDCWD, path, text, strlen(text), 0644, false, &e), 0);
}

static void expect(struct fixture *f, const char *device, const char *all, const char *one)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct cdi_request r = {0};
    char *const names[] = {(char *)device, NULL};

    if (cdi_find(f->cdi, names, &r, &e) < 0)
        fail_msg("%s", err_text(&e));
    assert_int_equal(r.count, 2);
    assert_string_equal(r.edits[0]->env[0], all);
    assert_string_equal(r.edits[1]->env[0], one);
    cdi_request_clear(&r);
}

static void expect_none(struct fixture *f, const char *device, const char *words)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct cdi_request r = {0};
    char *const names[] = {(char *)device, NULL};

    assert_int_equal(cdi_find(f->cdi, names, &r, &e), -1);
    assert_int_equal(e.code, ERR_FAILED_PRECONDITION);
    if (!strstr(err_text(&e), words))
        fail_msg("%s", err_text(&e));
}

static void the_later_directory_has_the_last_word(void **state)
{
    struct fixture *f = *state;

    expect_none(f, "vendor.com/gpu=0", "no file describes it");
    put(f->low, "a.json", "0", "low");
    expect(f, "vendor.com/gpu=0", "ALL=low", "ONE=low");
    put(f->high, "a.yaml", "0", "high");
    expect(f, "vendor.com/gpu=0", "ALL=high", "ONE=high");
    put(f->high, "a.yaml", "1", "other");
    expect(f, "vendor.com/gpu=0", "ALL=low", "ONE=low");
    put(f->low, "b.txt", "2", "ignored");
    expect_none(f, "vendor.com/gpu=2", "no file describes it");
}

static void two_in_one_directory_are_none(void **state)
{
    struct fixture *f = *state;

    put(f->low, "a.yaml", "0", "a");
    put(f->low, "b.yaml", "0", "b");
    expect_none(f, "vendor.com/gpu=0", "describe it; one of them has to go");
    put(f->high, "c.yaml", "0", "c");
    expect(f, "vendor.com/gpu=0", "ALL=c", "ONE=c");
}

static void a_broken_file_harms_only_its_own_devices(void **state)
{
    struct fixture *f = *state;

    put(f->low, "a.yaml", "0", "a");
    put(f->low, "b.yaml", "x y", "b");
    expect(f, "vendor.com/gpu=0", "ALL=a", "ONE=a");
    expect_none(f, "vendor.com/gpu=1", "b.yaml:4:18: devices[0].name");
    put(f->low, "b.yaml", "1", "b");
    expect(f, "vendor.com/gpu=1", "ALL=b", "ONE=b");
}

static void a_files_own_edits_come_once(void **state)
{
    struct fixture *f = *state;
    _cleanup_err_ struct err e = ERR_INIT;
    struct cdi_request r = {0};
    char *const names[] = {"vendor.com/gpu=0", "vendor.com/gpu=1", "vendor.com/gpu=0", NULL};

    put(f->low, "a.yaml", "0", "a");
    put(f->low, "b.yaml", "1", "b");
    assert_int_equal(cdi_find(f->cdi, names, &r, &e), 0);
    assert_int_equal(r.count, 4);
    assert_string_equal(r.edits[3]->env[0], "ONE=b");
    assert_string_equal(r.of[3], "vendor.com/gpu=1");
    cdi_request_clear(&r);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_is_read),
        cmocka_unit_test(what_is_wrong_is_told_with_its_place),
        cmocka_unit_test(names_have_three_parts),
        cmocka_unit_test(devices_are_asked_for_by_field_and_annotation),
        TEST(the_later_directory_has_the_last_word),
        TEST(two_in_one_directory_are_none),
        TEST(a_broken_file_harms_only_its_own_devices),
        TEST(a_files_own_edits_come_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
