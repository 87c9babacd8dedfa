/* test-image-manifest.c - manifests, configurations, platforms, URLs and challenges: everything a
 * registry says, in tables. What it does over the wire is tested by image-pull.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "credentials.h"
#include "json.h"
#include "manifest.h"
#include "unpacker.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define CONFIG                                                                                     \
    "{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"sha256:" HEX "\","   \
    "\"size\":2}"
#define LAYER(size)                                                                                \
    "{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\"digest\":\"sha256:" HEX      \
    "\",\"size\":" size "}"
#define MANIFEST(layers) "{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[" layers "]}"

static int parse(const char *text, const char *type, struct manifest *ret, struct err *e)
{
    return manifest_parse(text, strlen(text), type, ret, e);
}

static void refuse(const char *text, const char *type, const char *word)
{
    struct manifest m;
    struct err e = ERR_INIT;

    if (parse(text, type, &m, &e) == 0)
        fail_msg("accepted: %s", text);
    if (!strstr(e.message, word))
        fail_msg("%s: %s", text, e.message);
    err_clear(&e);
}

static void a_manifest_names_its_parts(void **state)
{
    struct manifest m;
    struct err e = ERR_INIT;

    assert_int_equal(
        parse(MANIFEST(LAYER("7") "," LAYER("0")), OCI_MANIFEST "; charset=utf-8", &m, &e), 0);
    assert_false(m.is_index);
    assert_int_equal(m.n_layers, 2);
    assert_int_equal(m.layers[0].size, 7);
    assert_string_equal(m.layers[0].digest, "sha256:" HEX);
    assert_string_equal(m.media_type, OCI_MANIFEST);
    manifest_clear(&m);
}

static void limits_hold_exactly(void **state)
{
    struct manifest m;
    struct err e = ERR_INIT;
    struct strbuf layers = {0};

    assert_int_equal(parse(MANIFEST(LAYER("68719476736")), OCI_MANIFEST, &m, &e), 0);
    manifest_clear(&m);
    refuse(MANIFEST(LAYER("68719476737")), OCI_MANIFEST, "size");
    refuse(MANIFEST(LAYER("-1")), OCI_MANIFEST, "size");
    refuse(MANIFEST(LAYER("1.5")), OCI_MANIFEST, "size");
    for (int n = 1; n <= LAYERS_MAX + 1; n++) {
        strbuf_adds(&layers, n > 1 ? "," LAYER("1") : LAYER("1"));
        if (n < LAYERS_MAX)
            continue;
        char *text =
            xasprintf("{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[%s]}", layers.data);
        if (n == LAYERS_MAX) {
            assert_int_equal(parse(text, OCI_MANIFEST, &m, &e), 0);
            manifest_clear(&m);
        } else {
            refuse(text, OCI_MANIFEST, "layers");
        }
        free(text);
    }
    strbuf_free(&layers);
    char *large = xcalloc(1, MANIFEST_MAX + 1);
    memset(large, ' ', MANIFEST_MAX + 1);
    assert_int_equal(manifest_parse(large, MANIFEST_MAX + 1, OCI_MANIFEST, &m, &e), -1);
    assert_int_equal(e.code, ERR_RESOURCE_EXHAUSTED);
    err_clear(&e);
    free(large);
}

static void a_document_means_one_thing(void **state)
{
    static const char both[] =
        "{\"schemaVersion\":2,\"manifests\":[],\"config\":" CONFIG ",\"layers\":[]}";
    static const char neither[] = "{\"schemaVersion\":2}";
    static const char layers_only[] = "{\"schemaVersion\":2,\"manifests\":[],\"layers\":[]}";

    refuse(both, OCI_MANIFEST, "both");
    refuse(both, OCI_INDEX, "both");
    refuse(both, NULL, "both");
    refuse(layers_only, OCI_INDEX, "both");
    refuse(neither, OCI_MANIFEST, "neither");
    refuse(MANIFEST(""), OCI_INDEX, "announced");
    refuse(MANIFEST(""), "text/html", "announced");
    refuse(MANIFEST(""), "", "neither the registry nor");
    refuse("{\"schemaVersion\":2,\"mediaType\":\"" DOCKER_MANIFEST "\",\"config\":" CONFIG
           ",\"layers\":[]}",
           OCI_MANIFEST, "announced");
    refuse("{\"schemaVersion\":1,\"fsLayers\":[]}", "", "schema 1");
    refuse("{\"schemaVersion\":3,\"config\":" CONFIG ",\"layers\":[]}", OCI_MANIFEST, "not 2");
    refuse("[]", OCI_MANIFEST, "object");
}

static void json_is_strict(void **state)
{
    static const char *const bad[] = {"{\"a\":1,\"a\":2}",
                                      "{} {}",
                                      "{}x",
                                      "{\"a\":\"\xff\"}",
                                      "{\"a\":\"\\u0000\"}",
                                      "{\"a\":1e999}",
                                      "{'a':1}",
                                      "{\"a\":1,}",
                                      "",
                                      "{\"a\":\"\\ud800\"}"};
    struct err e = ERR_INIT;
    char deep[130];

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        json_t *j = json_load_strict(bad[i], strlen(bad[i]), "it", &e);
        if (j)
            fail_msg("accepted: %s", bad[i]);
        err_clear(&e);
    }
    for (int depth = 64; depth <= 65; depth++) {
        memset(deep, '[', (size_t)depth);
        memset(deep + depth, ']', (size_t)depth);
        json_t *j = json_load_strict(deep, (size_t)depth * 2, "it", &e);
        assert_int_equal(j != NULL, depth == 64);
        json_decref(j);
        err_clear(&e);
    }
    /* Brackets in strings do not count. */
    char *text = xasprintf("[\"%0100d\\\"%s\"]", 0,
                           "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
                           "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[");
    json_t *j = json_load_strict(text, strlen(text), "it", &e);
    assert_non_null(j);
    json_decref(j);
    free(text);
}

#define ENTRY(platform)                                                                            \
    "{\"mediaType\":\"" OCI_MANIFEST "\",\"digest\":\"sha256:" HEX "\",\"size\":1" platform "}"
#define PLATFORM(os, arch, variant)                                                                \
    ",\"platform\":{\"os\":\"" os "\",\"architecture\":\"" arch "\",\"variant\":\"" variant "\"}"

static const char *choose(const char *entries, struct platform machine)
{
    static char chosen[64];
    struct manifest m;
    struct err e = ERR_INIT;
    char *text = xasprintf("{\"schemaVersion\":2,\"manifests\":[%s]}", entries);

    assert_int_equal(parse(text, OCI_INDEX, &m, &e), 0);
    free(text);
    const struct index_entry *entry = manifest_choose(&m, &machine, &e);
    chosen[0] = 0;
    if (entry)
        snprintf(chosen, sizeof(chosen), "%s/%s", entry->architecture ? entry->architecture : "?",
                 entry->variant ? entry->variant : "");
    else
        assert_int_equal(e.code, ERR_NOT_FOUND);
    err_clear(&e);
    manifest_clear(&m);
    return chosen;
}

static void the_best_platform_is_chosen(void **state)
{
    const struct platform v1 = {"linux", "amd64", "v1"}, v3 = {"linux", "amd64", "v3"};
    const struct platform arm7 = {"linux", "arm", "v7"}, arm64 = {"linux", "arm64", "v8"};
    static const char *const parts[] = {
        ENTRY(PLATFORM("windows", "amd64", "")), ENTRY(PLATFORM("linux", "arm", "v5")),
        ENTRY(PLATFORM("linux", "arm", "v7")),   ENTRY(PLATFORM("linux", "arm", "v8")),
        ENTRY(PLATFORM("linux", "arm64", "")),   ENTRY(PLATFORM("linux", "amd64", "")),
        ENTRY(PLATFORM("linux", "amd64", "v2")), ENTRY(PLATFORM("linux", "amd64", "v4")),
    };
    _cleanup_strbuf_ struct strbuf joined = {0};

    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        strbuf_addf(&joined, "%s%s", i ? "," : "", parts[i]);
    const char *all = joined.data;
    assert_string_equal(choose(all, v1), "amd64/");
    assert_string_equal(choose(all, v3), "amd64/v2");
    assert_string_equal(choose(all, arm7), "arm/v7");
    assert_string_equal(choose(all, arm64), "arm64/");
    assert_string_equal(choose(ENTRY(PLATFORM("linux", "amd64", "v4")), v3), "");
    assert_string_equal(choose(ENTRY(PLATFORM("linux", "s390x", "")), v3), "");
    assert_string_equal(choose(ENTRY(PLATFORM("unknown", "unknown", "")), v3), "");
    assert_string_equal(choose(ENTRY(""), v3), "?/"); /* an index of one that does not say */
    assert_string_equal(choose(ENTRY("") "," ENTRY(""), v3), "");
}

static int parse_config(const char *text, struct image_document *ret, struct err *e)
{
    return image_document_parse(text, strlen(text), ret, e);
}

static void a_configuration_is_taken_over(void **state)
{
    static const char text[] =
        "{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{\"User\":\"u:g\",\"Env\":[\"A="
        "b\","
        "\"C=\"],\"Entrypoint\":[\"/e\"],\"Cmd\":[\"a\",\"b\"],\"WorkingDir\":\"/"
        "w\",\"StopSignal\":"
        "\"SIGQUIT\",\"Labels\":{\"k\":\"v\"},\"Volumes\":{\"/z\":{},\"/a\":{}},\"Healthcheck\":{"
        "\"Test\":[\"CMD\",\"true\"],\"Interval\":1000000000,\"Retries\":3}},\"rootfs\":{\"type\":"
        "\"layers\",\"diff_ids\":[\"sha256:" HEX "\"]}}";
    struct image_document d;
    struct err e = ERR_INIT;

    if (parse_config(text, &d, &e) < 0)
        fail_msg("%s", err_text(&e));
    assert_string_equal(d.config.user, "u:g");
    assert_string_equal(d.config.env[1], "C=");
    assert_string_equal(d.config.entrypoint[0], "/e");
    assert_string_equal(d.config.cmd[1], "b");
    assert_string_equal(d.config.working_dir, "/w");
    assert_string_equal(d.config.stop_signal, "SIGQUIT");
    assert_string_equal(d.config.labels[0].value, "v");
    assert_string_equal(d.config.volumes[0], "/a");
    assert_string_equal(d.config.healthcheck[1], "true");
    assert_int_equal(d.config.health_interval_ns, 1000000000);
    assert_int_equal(d.config.health_retries, 3);
    assert_string_equal(d.diff_ids[0], "sha256:" HEX);
    image_document_clear(&d);
    /* Little is said by many: null and absent are the same. */
    assert_int_equal(parse_config("{\"config\":{\"Env\":null,\"Cmd\":null},\"rootfs\":{\"type\":"
                                  "\"layers\",\"diff_ids\":null}}",
                                  &d, &e),
                     0);
    assert_null(d.config.cmd);
    image_document_clear(&d);
}

static void a_malformed_configuration_is_refused(void **state)
{
#define ROOTFS ",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}"
    static const char *const bad[] = {
        "[]",
        "{}",
        "{\"rootfs\":{\"type\":\"other\",\"diff_ids\":[]}}",
        "{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:../x\"]}}",
        "{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[7]}}",
        "{\"config\":[]" ROOTFS,
        "{\"config\":{\"Env\":[\"PATH\"]}" ROOTFS,
        "{\"config\":{\"Env\":[\"=x\"]}" ROOTFS,
        "{\"config\":{\"Env\":[\"*\"]}" ROOTFS,
        "{\"config\":{\"Env\":\"A=b\"}" ROOTFS,
        "{\"config\":{\"Cmd\":\"sh\"}" ROOTFS,
        "{\"config\":{\"User\":7}" ROOTFS,
        "{\"config\":{\"Labels\":{\"a\":1}}" ROOTFS,
        "{\"config\":{\"Volumes\":[\"/a\"]}" ROOTFS,
        "{\"config\":{\"Healthcheck\":{\"Interval\":-1}}" ROOTFS,
        "{\"config\":{\"Healthcheck\":{\"Interval\":9000000000000000000}}" ROOTFS,
        "{\"config\":{\"Healthcheck\":[]}" ROOTFS,
        "{\"os\":1" ROOTFS,
    };

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct image_document d;
        struct err e = ERR_INIT;
        if (parse_config(bad[i], &d, &e) == 0)
            fail_msg("accepted: %s", bad[i]);
        assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
        err_clear(&e);
    }
}

static void urls_are_understood_or_refused(void **state)
{
    static const char *const bad[] = {"",
                                      "x",
                                      "/relative",
                                      "ftp://host/x",
                                      "file:///etc/passwd",
                                      "http://user@host/",
                                      "http://user:password@host/",
                                      "http://",
                                      "http://host:99999/",
                                      "http://ho st/",
                                      "http://host/\r\nX: y",
                                      "https://host\\@evil/"};
    struct err e = ERR_INIT;
    struct url a, b;

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        if (url_parse(bad[i], NULL, &a, &e) == 0)
            fail_msg("accepted: %s is %s", bad[i], a.text);
        err_clear(&e);
    }
    assert_int_equal(url_parse("https://Host.Example/x", NULL, &a, &e), 0);
    assert_string_equal(a.host, "host.example");
    assert_int_equal(a.port, 443);
    assert_int_equal(url_parse("../y?q#f", "https://host.example:443/v2/x", &b, &e), 0);
    assert_string_equal(b.host, "host.example");
    assert_null(strchr(b.text, '#'));
    assert_true(url_same_origin(&a, &b));
    url_clear(&b);
    assert_int_equal(url_parse("//other/y", "https://host.example/v2/x", &b, &e), 0);
    assert_false(url_same_origin(&a, &b));
    url_clear(&b);
    assert_int_equal(url_parse("http://host.example:443/", NULL, &b, &e), 0);
    assert_false(url_same_origin(&a, &b));
    url_clear(&a);
    url_clear(&b);
    char *escaped = url_escape("a b&c=d/\xc3");
    assert_string_equal(escaped, "a%20b%26c%3Dd%2F%C3");
    free(escaped);
}

static void loopback_is_told_apart(void **state)
{
    static const char *const yes[] = {"localhost",   "localhost:5000", "127.0.0.1",
                                      "127.9.9.9:1", "[::1]",          "[::1]:5000"};
    static const char *const no[] = {"localhost.evil.org",
                                     "127.0.0.1.evil.org",
                                     "128.0.0.1",
                                     "[::2]",
                                     "1.2.3.4",
                                     "127",
                                     "localhos"};

    for (size_t i = 0; i < ARRAY_SIZE(yes); i++)
        assert_true(host_is_loopback(yes[i]));
    for (size_t i = 0; i < ARRAY_SIZE(no); i++)
        assert_false(host_is_loopback(no[i]));
}

static void challenges_are_parsed(void **state)
{
    struct challenge c;

    challenge_parse("Bearer realm=\"https://a/t\",service=\"s, \\\"x\\\"\", scope=\"r:a:pull\"",
                    &c);
    assert_int_equal(c.scheme, CHALLENGE_BEARER);
    assert_string_equal(c.realm, "https://a/t");
    assert_string_equal(c.service, "s, \"x\"");
    assert_string_equal(c.scope, "r:a:pull");
    challenge_clear(&c);
    challenge_parse("bAsIc Realm=here", &c);
    assert_int_equal(c.scheme, CHALLENGE_BASIC);
    assert_string_equal(c.realm, "here");
    challenge_clear(&c);
    /* The first of two realms holds, and nothing runs over the end. */
    challenge_parse("Bearer realm=\"a\",realm=\"b\",x=\"unfinished", &c);
    assert_string_equal(c.realm, "a");
    challenge_clear(&c);
    static const char *const odd[] = {
        "",         "Bearer",       "Bearer ",       "Negotiate x",      "Basic=",
        "Bearer =", "Bearer realm", "Bearer realm=", "Bearer realm=\"\\"};
    for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
        challenge_parse(odd[i], &c);
        challenge_clear(&c);
    }
    challenge_parse(NULL, &c);
    assert_int_equal(c.scheme, CHALLENGE_NONE);
}

static bool trusts(const char *registry, const char *realm)
{
    struct err e = ERR_INIT;
    struct url a, b;

    assert_int_equal(url_parse(registry, NULL, &a, &e), 0);
    assert_int_equal(url_parse(realm, NULL, &b, &e), 0);
    bool trusted = realm_is_trusted(&a, &b);
    url_clear(&a);
    url_clear(&b);
    return trusted;
}

static void credentials_go_to_the_registry_alone(void **state)
{
    assert_true(trusts("https://r.example.org", "https://r.example.org/token"));
    assert_true(trusts("http://127.0.0.1:5000", "http://127.0.0.1:5000/token"));
    assert_true(trusts("https://registry.gitlab.com", "https://gitlab.com/jwt/auth"));
    assert_true(trusts("https://registry-1.docker.io", "https://auth.docker.io/token"));
    assert_false(trusts("https://r.example.org", "https://evil.org/token"));
    assert_false(trusts("https://r.example.org", "https://other.example.org/token"));
    assert_false(trusts("https://r.example.org", "https://evil-example.org/token"));
    assert_false(trusts("https://r.example.org", "https://org/token"));
    assert_false(trusts("https://r.example.org", "https://r.example.org:444/token"));
    assert_false(trusts("https://r.example.org", "https://example.org:444/token"));
    assert_false(trusts("https://r.example.org", "http://r.example.org/token"));
    assert_false(trusts("http://127.0.0.1:5000", "http://127.0.0.1:5001/token"));
    assert_false(trusts("https://1.2.3.4", "https://3.4/token"));
    assert_false(trusts("https://evil.org", "https://auth.docker.io/token"));
}

static void headers_cannot_be_broken_out_of(void **state)
{
    char *basic = header_basic("me", "pass\r\nX-Evil: 1");

    assert_null(strpbrk(basic, "\r\n"));
    free(basic);
    assert_null(header_bearer("token\r\nX-Evil: 1"));
    char *bearer = header_bearer("abc");
    assert_string_equal(bearer, "Authorization: Bearer abc");
    free(bearer);
}

static void reports_of_the_unpacker_are_not_believed_blindly(void **state)
{
#define REPORT(opaque, bytes)                                                                      \
    "{\"input_digest\":\"sha256:" HEX "\",\"tar_digest\":\"sha256:" HEX "\",\"input_bytes\":1,"    \
    "\"tar_bytes\":1,\"disk_bytes\":" bytes ",\"inodes\":1,\"skipped\":0,\"opaque\":[" opaque "]}"
    static const char *const bad[] = {
        "",
        "{}",
        "[]",
        REPORT("\"2f0", "1"),
        REPORT("\"zz\"", "1"),
        REPORT("\"00\"", "1"),
        REPORT("\"2\"", "1"),
        REPORT("\"\"", "1"),
        REPORT("", "-1"),
        "{\"error\":7}",
        "{\"input_digest\":\"x\"}",
    };
    struct unpack_report r;
    struct err e = ERR_INIT;

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        if (unpack_report_parse(bad[i], strlen(bad[i]), &r, &e) == 0)
            fail_msg("accepted: %s", bad[i]);
        err_clear(&e);
    }
    static const char good[] = REPORT("\"612f62\"", "77");
    assert_int_equal(unpack_report_parse(good, strlen(good), &r, &e), 0);
    assert_string_equal(r.opaque[0], "a/b");
    assert_int_equal(r.disk_bytes, 77);
    unpack_report_clear(&r);
    static const char failure[] = "{\"error\":\"it broke\",\"code\":3}";
    assert_int_equal(unpack_report_parse(failure, strlen(failure), &r, &e), -1);
    assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
    assert_string_equal(e.message, "it broke");
    err_clear(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_manifest_names_its_parts),
        cmocka_unit_test(limits_hold_exactly),
        cmocka_unit_test(a_document_means_one_thing),
        cmocka_unit_test(json_is_strict),
        cmocka_unit_test(the_best_platform_is_chosen),
        cmocka_unit_test(a_configuration_is_taken_over),
        cmocka_unit_test(a_malformed_configuration_is_refused),
        cmocka_unit_test(urls_are_understood_or_refused),
        cmocka_unit_test(loopback_is_told_apart),
        cmocka_unit_test(challenges_are_parsed),
        cmocka_unit_test(credentials_go_to_the_registry_alone),
        cmocka_unit_test(headers_cannot_be_broken_out_of),
        cmocka_unit_test(reports_of_the_unpacker_are_not_believed_blindly),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
