/*
 * test-node-objects.c - Namespaces, ConfigMaps, Secrets and Lists: what is read, what is refused
 * with which words, and that no error names a Secret's value.
 */
#include "../../src/node/base64.h"
#include "../../src/node/diff.h"
#include "../../src/node/env.h"
#include "../../src/node/manifest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define SECRET "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"
#define CONFIG "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"

static struct manifests parse(const char *text)
{
    struct err e = ERR_INIT;
    struct manifests found = {0};

    if (manifests_parse(text, strlen(text), "o.yaml", "shop", &found, &e) < 0)
        fail_msg("refused: %s", err_text(&e));
    return found;
}

static void assert_refused(const char *text, const char *message)
{
    struct err e = ERR_INIT;
    struct manifests found = {0};

    if (manifests_parse(text, strlen(text), "o.yaml", "shop", &found, &e) == 0)
        fail_msg("was accepted, should say: %s", message);
    assert_string_equal(err_text(&e), message);
    assert_int_equal(found.n_objects, 0);
    err_clear(&e);
}

static void assert_value(const struct object_manifest *m, const char *key, const char *value)
{
    struct bytes got = {0};

    assert_true(object_value(m, key, &got));
    assert_int_equal(got.len, strlen(value));
    assert_memory_equal(got.data, value, got.len);
    object_value_free(&got);
}

/* ---- Reading -----------------------------------------------------------------------------------
 */

static void each_kind_is_read(void **state)
{
    struct manifests m = parse("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"
                               "spec: {finalizers: [kubernetes]}\n---\n" CONFIG
                               "data: {a: text}\nbinaryData: {b: AAEC}\n---\n" SECRET
                               "data: {user: YWRtaW4=}\nstringData: {user: root, pass: x}\n");

    assert_int_equal(m.n_objects, 3);
    assert_null(m.objects[0]->metadata->namespace_);
    assert_string_equal(m.objects[0]->json,
                        "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":"
                        "\"shop\"}}");
    assert_string_equal(m.objects[1]->metadata->namespace_, "shop");
    assert_value(m.objects[1], "a", "text");
    struct bytes binary = {0};
    assert_true(object_value(m.objects[1], "b", &binary));
    assert_memory_equal(binary.data, "\0\1\2", 3);
    bytes_free(&binary);
    assert_value(m.objects[2], "user", "root"); /* stringData wins */
    assert_value(m.objects[2], "pass", "x");
    assert_null(strstr(m.objects[2]->json, "stringData"));
    manifests_free(&m);
}

static void a_list_is_its_items(void **state)
{
    struct manifests m =
        parse("apiVersion: v1\nkind: List\nmetadata: {resourceVersion: ''}\nitems:\n"
              "- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n"
              "- {apiVersion: v1, kind: Pod, metadata: {name: p},\n"
              "   spec: {containers: [{name: c, image: i}]}}\n");

    assert_int_equal(m.n_objects, 1);
    assert_int_equal(m.count, 1);
    manifests_free(&m);
    assert_refused("apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Service}\n",
                   "o.yaml:4:26: kind Service is not supported: podd knows objects of kind Pod, "
                   "Namespace, ConfigMap, Secret and List");
    assert_refused("apiVersion: v1\nkind: List\nitem: []\n",
                   "o.yaml:3:1: unknown field item, did you mean items?");
}

static void a_second_file_adds_or_leaves_the_first_alone(void **state)
{
    struct manifests m = parse(CONFIG);
    struct err e = ERR_INIT;

    assert_int_equal(manifests_parse(SECRET, strlen(SECRET), "2", "shop", &m, &e), 0);
    assert_int_equal(m.n_objects, 2);
    assert_int_equal(manifests_parse(CONFIG, strlen(CONFIG), "3.yaml", "shop", &m, &e), -1);
    assert_string_equal(err_text(&e), "3.yaml:1:1: ConfigMap shop/c is declared twice");
    assert_int_equal(m.n_objects, 2);
    err_clear(&e);
    manifests_free(&m);
}

/* ---- Refusing ----------------------------------------------------------------------------------
 */

static void faults_are_told_without_values(void **state)
{
    assert_refused(SECRET "data: {p: hunter2!}\n",
                   "o.yaml:4:11: data.p must be base64; plain text belongs into stringData");
    assert_refused(SECRET "stringData: {p: 12345}\n",
                   "o.yaml:4:17: stringData.p must be a string; put it in quotes");
    assert_refused(SECRET "data: {'../p': YQ==}\n",
                   "o.yaml:4:8: data: the key \"../p\" must be at most 253 letters, digits, '-', "
                   "'_' and '.', and not begin with '..'");
    assert_refused(SECRET "type: kubernetes.io/tls\nstringData: {tls.crt: x}\n",
                   "o.yaml:1:1: data: a Secret of type kubernetes.io/tls must have the key "
                   "tls.key");
    assert_refused(SECRET "type: kubernetes.io/dockerconfigjson\n"
                          "stringData: {.dockerconfigjson: '{}'}\n",
                   "o.yaml:1:1: data[.dockerconfigjson] must be JSON with an object \"auths\"");
    assert_refused(CONFIG "data: {a: x}\nbinaryData: {a: AA==}\n",
                   "o.yaml:5:13: binaryData: the key a is in data as well");
    assert_refused("apiVersion: v1\nkind: Namespace\nmetadata: {name: a.b}\n",
                   "o.yaml:3:18: metadata.name must be at most 63 lower-case letters, digits and "
                   "'-', with a letter or digit at either end, not \"a.b\"");
    assert_refused("apiVersion: v1\nkind: Secrets\n",
                   "o.yaml:2:7: kind Secrets is not supported: podd knows objects of kind Pod, "
                   "Namespace, ConfigMap, Secret and List; did you mean Secret?");
}

static void base64_is_strict_but_for_line_breaks(void **state)
{
    static const char *const bad[] = {"A", "AA", "AAA", "A===", "AA=A", "AA AA", "AA==AA==", "é"};
    struct bytes got = {0};

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(base64_decode(bad[i], &got), -EINVAL);
    assert_int_equal(base64_decode("YWJj\nZGU=\n", &got), 0);
    assert_string_equal((char *)got.data, "abcde");
    bytes_free(&got);
    assert_int_equal(base64_decode("", &got), 0);
    assert_int_equal(got.len, 0);
    bytes_free(&got);
    char *text = base64_encode("abcd", 4);
    assert_string_equal(text, "YWJjZA==");
    free(text);
}

/* ---- References --------------------------------------------------------------------------------
 */

static const struct object_manifest *find(void *arg, enum object_kind kind, const char *name)
{
    const struct manifests *m = arg;

    for (size_t i = 0; i < m->n_objects; i++)
        if (m->objects[i]->kind == kind && str_equal(m->objects[i]->metadata->name, name))
            return m->objects[i];
    return NULL;
}

static int resolve(struct manifests *m, struct pair_list *ret, struct err *e)
{
    const struct env_context context = {.manifest = m->items[0],
                                        .objects = {.find = find, .arg = m}};

    return env_resolve(spec_container(m->items[0]->spec, 0), &context, ret, e);
}

static const char *value_of(const struct pair_list *env, const char *name)
{
    for (size_t i = 0; i < env->count; i++)
        if (str_equal(env->items[i].key, name))
            return env->items[i].value;
    return NULL;
}

#define POD_WITH                                                                                   \
    CONFIG "data: {A: from-map, B: $(A)}\n---\n" SECRET                                            \
           "stringData: {p: hunter2}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: p}\n"       \
           "spec: {containers: [{name: m, image: i, "

static void environments_take_from_objects(void **state)
{
    struct manifests m = parse(
        POD_WITH "envFrom: [{configMapRef: {name: c}}, {prefix: S_, secretRef: {name: s}},\n"
                 "  {configMapRef: {name: none, optional: true}}],\n"
                 " env: [{name: B, value: own},\n"
                 "  {name: P, valueFrom: {secretKeyRef: {name: s, key: p}}},\n"
                 "  {name: Q, value: '$(P) $(A)'},\n"
                 "  {name: R, valueFrom: {secretKeyRef: {name: s, key: q, optional: true}}}]}]}\n");
    struct pair_list env = {0};
    struct err e = ERR_INIT;

    assert_int_equal(resolve(&m, &env, &e), 0);
    assert_string_equal(value_of(&env, "A"), "from-map");
    assert_string_equal(value_of(&env, "B"), "own");
    assert_string_equal(value_of(&env, "S_p"), "hunter2");
    assert_string_equal(value_of(&env, "Q"), "hunter2 $(A)"); /* envFrom is not expanded */
    assert_null(value_of(&env, "R"));
    assert_int_equal(env.count, 5);
    pair_list_free(&env);
    manifests_free(&m);
}

static void missing_objects_and_keys_are_named(void **state)
{
    static const char *const cases[][2] = {
        {POD_WITH "envFrom: [{configMapRef: {name: none}}]}]}\n", "configmap \"none\" not found"},
        {POD_WITH "env: [{name: X, valueFrom: {secretKeyRef: {name: nope, key: k}}}]}]}\n",
         "secret \"nope\" not found"},
        {POD_WITH "env: [{name: X, valueFrom: {configMapKeyRef: {name: c, key: k}}}]}]}\n",
         "couldn't find key k in ConfigMap shop/c"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct manifests m = parse(cases[i][0]);
        struct pair_list env = {0};
        struct err e = ERR_INIT;
        assert_int_equal(resolve(&m, &env, &e), -1);
        assert_int_equal(e.code, ERR_FAILED_PRECONDITION);
        assert_string_equal(err_text(&e), cases[i][1]);
        assert_null(env.items);
        err_clear(&e);
        manifests_free(&m);
    }
}

/* ---- Differences -------------------------------------------------------------------------------
 */

static void differences_are_told_by_path(void **state)
{
    Podd__V1__FieldChange **changes = NULL;
    size_t n = 0;

    diff_manifests("{\"metadata\":{\"labels\":{\"a.b/c\":\"1\"}},\"spec\":{\"x\":[{\"y\":1}]}}",
                   "{\"metadata\":{},\"spec\":{\"x\":[{\"y\":2},{\"y\":3}]}}", false, &changes, &n);
    static const char *const wanted[][3] = {
        {"metadata.labels", "{\"a.b/c\":\"1\"}", ""},
        {"spec.x[0].y", "1", "2"},
        {"spec.x[1]", "", "{\"y\":3}"},
    };
    assert_int_equal(n, ARRAY_SIZE(wanted));
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(changes[i]->path, wanted[i][0]);
        assert_string_equal(changes[i]->before, wanted[i][1]);
        assert_string_equal(changes[i]->after, wanted[i][2]);
        podd__v1__field_change__free_unpacked(changes[i], NULL);
    }
    free(changes);
}

static void differences_of_secrets_show_keys_only(void **state)
{
    static const char *const before[] = {"{\"data\":{\"p\":\"aHVudGVyMg==\"}}", NULL};

    for (size_t k = 0; k < ARRAY_SIZE(before); k++) {
        Podd__V1__FieldChange **changes = NULL;
        size_t n = 0;
        diff_manifests(before[k], "{\"data\":{\"p\":\"aHVudGVyMw==\",\"q\":\"eA==\"}}", true,
                       &changes, &n);
        assert_int_equal(n, 2);
        for (size_t i = 0; i < n; i++) {
            assert_string_equal(changes[i]->path, i ? "data.q" : "data.p");
            assert_string_equal(changes[i]->after, "***");
            assert_string_equal(changes[i]->before, before[k] && i == 0 ? "***" : "");
            podd__v1__field_change__free_unpacked(changes[i], NULL);
        }
        free(changes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_is_read),
        cmocka_unit_test(a_list_is_its_items),
        cmocka_unit_test(a_second_file_adds_or_leaves_the_first_alone),
        cmocka_unit_test(faults_are_told_without_values),
        cmocka_unit_test(base64_is_strict_but_for_line_breaks),
        cmocka_unit_test(environments_take_from_objects),
        cmocka_unit_test(missing_objects_and_keys_are_named),
        cmocka_unit_test(differences_are_told_by_path),
        cmocka_unit_test(differences_of_secrets_show_keys_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
