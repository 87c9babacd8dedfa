/* CNI mode's pure parts: configurations, results, errors, what plugins are told, records; and one
 * program that is run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

#include "../../src/net/cni-attachment.h"
#include "../../src/net/cni-dir.h"
#include "../../src/net/cni-result.h"
#include "../../src/net/cni-run.h"

/* ---- Configurations -------------------------------------------------------------------------- */

static struct cni_conf *conf_of(const char *text)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct cni_conf *c = NULL;

    if (cni_conf_parse(text, strlen(text), "f", &c, &e) < 0)
        fail_msg("%s: %s", text, err_text(&e));
    return c;
}

static void a_list_and_one_plugin_are_read(void **state)
{
    struct cni_conf *list =
        conf_of("{\"cniVersion\": \"0.4.0\", \"name\": \"n.1\", \"disableCheck\": true,"
                " \"disableGC\": \"TRUE\", \"plugins\": [{\"type\": \"a\"},"
                " {\"type\": \"b\", \"capabilities\": {\"dns\": true, \"x\": false}}]}");
    struct cni_conf *one =
        conf_of("{\"cniVersion\": \"0.3.1\", \"name\": \"m\", \"type\": \"ptp\"}");

    assert_string_equal(list->name, "n.1");
    assert_int_equal(list->version, CNI_0_4_0);
    assert_true(list->disable_check && list->disable_gc);
    assert_int_equal(json_array_size(list->plugins), 2);
    assert_string_equal(cni_plugin_type(json_array_get(list->plugins, 1)), "b");
    assert_true(cni_conf_can(list, "dns"));
    assert_false(cni_conf_can(list, "x") || cni_conf_can(list, "y"));
    assert_false(cni_plugin_can(json_array_get(list->plugins, 0), "dns"));
    assert_int_equal(one->version, CNI_0_3_1);
    assert_int_equal(json_array_size(one->plugins), 1);
    assert_string_equal(cni_plugin_type(json_array_get(one->plugins, 0)), "ptp");
    assert_false(one->disable_check || one->disable_gc);
    cni_conf_unref(list);
    cni_conf_unref(one);
}

static void the_newest_version_that_both_speak_is_taken(void **state)
{
    struct cni_conf *c =
        conf_of("{\"cniVersion\": \"0.4.0\", \"cniVersions\": [\"2.0.0\", \"1.1.0\", \"1.0.0\", 3],"
                " \"name\": \"n\", \"type\": \"t\"}");

    assert_int_equal(c->version, CNI_1_1_0);
    cni_conf_unref(c);
    c = conf_of("{\"cniVersion\": \"9.0.0\", \"cniVersions\": [\"0.3.1\"], \"name\": \"n\","
                " \"type\": \"t\"}");
    assert_int_equal(c->version, CNI_0_3_1);
    cni_conf_unref(c);
}

static void a_broken_configuration_is_told_with_its_place(void **state)
{
    static const char *const cases[][2] = {
        {"", "f:1:1: "},
        {"{\n  \"name\": x}", "f:2:"},
        {"[]", "f: it is no JSON object"},
        {"{}", "neither the key plugins nor the key type"},
        {"{\"name\": \"n\", \"type\": \"t\"}", "cniVersion: it is missing"},
        {"{\"cniVersion\": \"0.2.0\", \"name\": \"n\", \"type\": \"t\"}",
         "cniVersion: 0.2.0 is not spoken here"},
        {"{\"cniVersion\": 1, \"name\": \"n\", \"type\": \"t\"}", "cniVersion: it is no text"},
        {"{\"cniVersion\": \"1.0.0\", \"type\": \"t\"}", "f: name: the network's name is missing"},
        {"{\"cniVersion\": \"1.0.0\", \"name\": \"../x\", \"type\": \"t\"}",
         "name: the network's name is malformed"},
        {"{\"cniVersion\": \"1.0.0\", \"name\": \"n\", \"plugins\": {}}", "it is no list"},
        {"{\"cniVersion\": \"1.0.0\", \"name\": \"n\", \"plugins\": []}", "it is no list"},
        {"{\"cniVersion\": \"1.0.0\", \"name\": \"n\", \"plugins\": [7]}", "plugins[0]: it is no"},
        {"{\"cniVersion\": \"1.0.0\", \"name\": \"n\", \"plugins\": [{\"type\": \"a\"}, {}]}",
         "plugins[1].type: the name of the plugin's program is missing"},
        {"{\"cniVersion\": \"1.0.0\", \"name\": \"n\", \"plugins\": [{\"type\": \"a/b\"}]}",
         "plugins[0].type: the name of the plugin's program is malformed"},
        {"{\"cniVersion\": \"1.0.0\", \"name\": \"n\", \"type\": \"t\", \"capabilities\": [1]}",
         "capabilities: it is no object"},
        {"{\"cniVersion\": \"1.0.0\", \"name\": \"n\", \"type\": \"t\","
         " \"capabilities\": {\"dns\": 1}}",
         "plugins[0].capabilities.dns: it is neither"},
        {"{\"cniVersion\": \"1.0.0\", \"name\": \"n\", \"type\": \"t\", \"disableGC\": \"maybe\"}",
         "disableGC: it is neither true nor false"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_err_ struct err e = ERR_INIT;
        struct cni_conf *c = NULL;
        assert_int_equal(cni_conf_parse(cases[i][0], strlen(cases[i][0]), "f", &c, &e), -1);
        if (!strstr(err_text(&e), cases[i][1]))
            fail_msg("%s: \"%s\" has no \"%s\"", cases[i][0], err_text(&e), cases[i][1]);
        assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
        assert_null(c);
    }
}

/* ---- Results --------------------------------------------------------------------------------- */

static json_t *result_of(const char *text, enum cni_version version)
{
    _cleanup_err_ struct err e = ERR_INIT;
    json_t *result = NULL;

    if (cni_result_parse(text, strlen(text), version, &result, &e) < 0)
        fail_msg("%s: %s", text, err_text(&e));
    return result;
}

static const char full_result[] =
    "{\"cniVersion\": \"0.4.0\", \"interfaces\": [{\"name\": \"veth\"},"
    " {\"name\": \"eth0\", \"sandbox\": \"/ns\"}, {\"name\": \"net1\", \"sandbox\": \"/ns\"}],"
    " \"ips\": [{\"version\": \"4\", \"address\": \"10.0.0.1/24\", \"interface\": 0},"
    " {\"version\": \"4\", \"address\": \"10.0.0.2/24\", \"interface\": 1},"
    " {\"version\": \"6\", \"address\": \"fd00:0::2/64\"},"
    " {\"version\": \"4\", \"address\": \"10.9.0.2/24\", \"interface\": 2}],"
    " \"own\": {\"kept\": true}}";

static void a_pod_has_the_addresses_of_its_interface(void **state)
{
    _cleanup_json_ json_t *result = result_of(full_result, CNI_0_4_0);
    _cleanup_err_ struct err e = ERR_INIT;
    struct net_addresses a;

    assert_int_equal(cni_result_addresses(result, "eth0", &a, &e), 0);
    assert_int_equal(a.count, 2);
    assert_string_equal(a.text[0], "10.0.0.2");
    assert_string_equal(a.text[1], "fd00::2");
}

static void an_interface_of_another_name_is_the_pods_too(void **state)
{
    _cleanup_json_ json_t *result =
        result_of("{\"interfaces\": [{\"name\": \"v\"}, {\"name\": \"lan\", \"sandbox\": \"/ns\"}],"
                  " \"ips\": [{\"address\": \"10.0.0.1/24\", \"interface\": 0},"
                  " {\"address\": \"10.0.0.2/24\", \"interface\": 1}]}",
                  CNI_1_0_0);
    _cleanup_err_ struct err e = ERR_INIT;
    struct net_addresses a;

    assert_int_equal(cni_result_addresses(result, "eth0", &a, &e), 0);
    assert_int_equal(a.count, 1);
    assert_string_equal(a.text[0], "10.0.0.2");
}

static void a_result_is_brought_to_the_networks_version(void **state)
{
    _cleanup_json_ json_t *old = result_of(full_result, CNI_1_0_0);
    _cleanup_json_ json_t *new = result_of(
        "{\"ips\": [{\"address\": \"10.0.0.2/24\"}, {\"address\": \"fd00::2/64\"}]}", CNI_0_3_1);
    const json_t *ip = json_array_get(json_object_get(old, "ips"), 0);

    assert_string_equal(json_string_value(json_object_get(old, "cniVersion")), "1.0.0");
    assert_null(json_object_get(ip, "version"));
    assert_true(json_is_true(json_object_get(json_object_get(old, "own"), "kept")));
    assert_string_equal(json_string_value(json_object_get(new, "cniVersion")), "0.3.1");
    ip = json_array_get(json_object_get(new, "ips"), 0);
    assert_string_equal(json_string_value(json_object_get(ip, "version")), "4");
    ip = json_array_get(json_object_get(new, "ips"), 1);
    assert_string_equal(json_string_value(json_object_get(ip, "version")), "6");
}

static void what_is_no_result_is_refused(void **state)
{
    static const char *const cases[][2] = {
        {"", "nothing"},
        {"oops\n\033[0m", "it printed no result but \"oops ?[0m\""},
        {"[]", "no JSON object"},
        {"{\"cniVersion\": \"0.2.0\", \"ip4\": {}}", "of a version"},
        {"{\"ips\": {}}", "interfaces and ips are lists"},
        {"{\"interfaces\": [{}]}", "interfaces[0]: it has no name"},
        {"{\"interfaces\": [{\"name\": \"a\", \"sandbox\": 1}]}", "its sandbox is no text"},
        {"{\"ips\": [7]}", "ips[0]: its address"},
        {"{\"ips\": [{\"address\": \"10.0.0.1\"}]}", "ips[0]: its address"},
        {"{\"ips\": [{\"address\": \"10.0.0.1/33\"}]}", "ips[0]: its address"},
        {"{\"ips\": [{\"address\": \"10.0.0.1/24\", \"interface\": 0}]}", "its interface is not"},
        {"{\"ips\": [{\"address\": \"10.0.0.1/24\", \"interface\": -1}]}", "its interface is not"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_err_ struct err e = ERR_INIT;
        json_t *result = NULL;
        assert_int_equal(cni_result_parse(cases[i][0], strlen(cases[i][0]), CNI_1_0_0, &result, &e),
                         -1);
        if (!strstr(err_text(&e), cases[i][1]))
            fail_msg("%s: \"%s\" has no \"%s\"", cases[i][0], err_text(&e), cases[i][1]);
        assert_null(result);
    }
}

static void a_failure_says_what_the_plugin_said(void **state)
{
    static const struct {
        const char *out, *err_out, *wanted;
        int status;
        enum err_code code;
    } cases[] = {
        {"{\"code\": 7, \"msg\": \"no bridge\", \"details\": \"in the\\nfile\"}", "noise",
         "no bridge; in the file (code 7)", 256, ERR_FAILED_PRECONDITION},
        {"{\"code\": 11, \"msg\": \"later\"}", "", "later (code 11)", 256, ERR_UNAVAILABLE},
        {"{\"code\": 999, \"details\": \"only\"}", "", "only (code 999)", 256, ERR_UNKNOWN},
        {"{\"code\": \"x\", \"msg\": \"y\"}", "words", "it exited with 1: words", 256, ERR_UNKNOWN},
        {"on stdout", "", "it exited with 2: on stdout", 512, ERR_UNKNOWN},
        {"", "", "it exited with 2 and said nothing", 512, ERR_UNKNOWN},
        {"", "", "it was ended by signal 9 and said nothing", SIGKILL, ERR_UNKNOWN},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_err_ struct err e = ERR_INIT;
        const struct bytes out = {(uint8_t *)cases[i].out, strlen(cases[i].out)};
        const struct bytes err_out = {(uint8_t *)cases[i].err_out, strlen(cases[i].err_out)};
        assert_int_equal(cni_failure(&out, &err_out, cases[i].status, &e), -1);
        assert_string_equal(err_text(&e), cases[i].wanted);
        assert_int_equal(e.code, cases[i].code);
    }
}

static void texts_are_cut_between_characters(void **state)
{
    char long_text[CNI_TEXT_MAX + 10];

    for (size_t i = 0; i + 1 < sizeof(long_text); i += 2)
        memcpy(long_text + i, "\xc3\xa9", 2);
    _cleanup_free_ char *even = cni_text(long_text, sizeof(long_text), true);
    _cleanup_free_ char *odd = cni_text(long_text + 1, sizeof(long_text) - 1, false);
    memmove(long_text + 1, long_text, sizeof(long_text) - 1);
    long_text[0] = 'x';
    _cleanup_free_ char *shifted = cni_text(long_text, sizeof(long_text), true);

    assert_int_equal(strlen(even), CNI_TEXT_MAX + 3);
    assert_int_equal(strlen(shifted), CNI_TEXT_MAX - 1 + 3);
    assert_int_equal(strspn(odd, "?."), strlen(odd));
}

/* ---- Attachments ----------------------------------------------------------------------------- */

static struct cni_attachment *attachment_of(struct cni_conf *conf)
{
    static const struct net_port ports[] = {{IPPROTO_SCTP, 9, 90, "::1"},
                                            {IPPROTO_TCP, 80, 0, NULL}};
    static char *servers[] = {(char *)"10.0.0.53", NULL};
    const struct net_pod pod = {.sandbox_id = "abc",
                                .name = "web",
                                .namespace_ = "prod",
                                .pid = 77,
                                .ports = ports,
                                .n_ports = ARRAY_SIZE(ports),
                                .bandwidth = {.egress = 1000000000000ULL},
                                .dns_servers = servers};
    _cleanup_err_ struct err e = ERR_INIT;
    struct cni_attachment *a = NULL;

    assert_int_equal(cni_attachment_new(&pod, conf, NULL, &a, &e), 0);
    return a;
}

static void a_plugin_is_told_what_it_can_use(void **state)
{
    struct cni_conf *c = conf_of(
        "{\"cniVersion\": \"1.1.0\", \"name\": \"n\", \"plugins\": [{\"type\": \"a\","
        " \"cniVersion\": \"0.1.0\", \"capabilities\": {\"portMappings\": true, \"dns\": true,"
        " \"bandwidth\": true}}, {\"type\": \"b\", \"k\": null}]}");
    struct cni_attachment *a = attachment_of(c);

    assert_string_equal(a->args, "IgnoreUnknown=1;K8S_POD_NAMESPACE=prod;K8S_POD_NAME=web;"
                                 "K8S_POD_INFRA_CONTAINER_ID=abc");
    assert_string_equal(a->netns, "/proc/77/ns/net");
    _cleanup_free_ char *first =
        cni_request(c, json_array_get(c->plugins, 0), a->runtime, NULL, NULL);
    assert_string_equal(
        first,
        "{\"type\":\"a\",\"cniVersion\":\"1.1.0\",\"capabilities\":{\"portMappings\":true,\"dns\":"
        "true,\"bandwidth\":true},\"name\":\"n\",\"runtimeConfig\":{\"portMappings\":[{"
        "\"hostPort\":"
        "90,\"containerPort\":9,\"protocol\":\"sctp\",\"hostIP\":\"::1\"}],\"bandwidth\":{"
        "\"egressRate\":1000000000000,\"egressBurst\":4294967295},\"dns\":{\"servers\":[\"10.0.0."
        "53\"],"
        "\"searches\":[],\"options\":[]}}}");
    _cleanup_json_ json_t *result = json_pack("{s:s}", "r", "1"), *valid = json_pack("[]");
    _cleanup_free_ char *second =
        cni_request(c, json_array_get(c->plugins, 1), a->runtime, result, valid);
    assert_string_equal(second,
                        "{\"type\":\"b\",\"k\":null,\"cniVersion\":\"1.1.0\",\"name\":\"n\","
                        "\"prevResult\":{\"r\":\"1\"},\"cni.dev/valid-attachments\":[],"
                        "\"cni.dev/attachments\":[]}");
    /* The configuration itself stays as it was. */
    assert_string_equal(
        json_string_value(json_object_get(json_array_get(c->plugins, 0), "cniVersion")), "0.1.0");
    cni_attachment_free(a);
    cni_conf_unref(c);
}

static void names_cannot_forge_arguments(void **state)
{
    struct cni_conf *c = conf_of("{\"cniVersion\": \"1.0.0\", \"name\": \"n\", \"type\": \"t\"}");
    static const char *const bad[] = {"a;b", "a=b", "a b", "a\nb"};

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        const struct net_pod pod = {.sandbox_id = "abc", .name = bad[i]};
        _cleanup_err_ struct err e = ERR_INIT;
        struct cni_attachment *a = NULL;
        assert_int_equal(cni_attachment_new(&pod, c, NULL, &a, &e), -1);
        assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
        assert_int_equal(c->refs, 1);
    }
    cni_conf_unref(c);
}

static void a_namespace_is_found_again_only_if_it_is_the_same(void **state)
{
    struct cni_conf *c = conf_of("{\"cniVersion\": \"1.0.0\", \"name\": \"n\", \"type\": \"t\"}");
    _cleanup_close_ int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    const struct net_pod pod = {.sandbox_id = "abc", .name = "a", .pid = getpid(), .netns = own};
    _cleanup_err_ struct err e = ERR_INIT;
    struct cni_attachment *a = NULL;

    assert_int_equal(cni_attachment_new(&pod, c, NULL, &a, &e), 0);
    _cleanup_close_ int again = cni_attachment_open_netns(a);
    assert_true(again >= 0);
    a->netns_inode++; /* the pid is somebody else's by now */
    assert_int_equal(cni_attachment_open_netns(a), -1);
    cni_attachment_free(a);
    cni_conf_unref(c);
}

struct loaded {
    struct cni_attachment *a[4];
    size_t count;
};

static void add_loaded(void *arg, struct cni_attachment *a_take)
{
    struct loaded *l = arg;

    assert_true(l->count < ARRAY_SIZE(l->a));
    l->a[l->count++] = a_take;
}

static int directory(char *path)
{
    assert_non_null(mkdtemp(path));
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void write_file(int dirfd, const char *name, const char *text)
{
    _cleanup_err_ struct err e = ERR_INIT;

    assert_int_equal(file_write_atomic(dirfd, name, text, strlen(text), 0600, false, &e), 0);
}

static void remove_directory(int dirfd, const char *path)
{
    _cleanup_err_ struct err e = ERR_INIT;

    fd_close(dirfd);
    assert_int_equal(tree_remove(AT_FDCWD, path, &e), 0);
}

static void records_survive_and_broken_ones_are_set_aside(void **state)
{
    struct cni_conf *c = conf_of("{\"cniVersion\": \"0.4.0\", \"name\": \"n\", \"type\": \"t\"}");
    struct cni_attachment *a = attachment_of(c);
    char path[] = "/tmp/test-net-cni-XXXXXX";
    _cleanup_err_ struct err e = ERR_INIT;
    struct loaded l = {0};
    int fd = directory(path);

    a->result = json_pack("{s:[]}", "ips"); /* one that failed for that is deleted all the same */
    a->deleting = true;
    assert_int_equal(cni_attachment_write(fd, a, &e), 0);
    assert_int_equal(cni_attachments_load(fd, add_loaded, &l, &e), 0);
    assert_int_equal(l.count, 1);
    cni_attachment_free(l.a[0]);
    l.count = 0;
    json_decref(a->result);
    a->result = result_of(full_result, CNI_0_4_0);
    assert_int_equal(cni_attachment_write(fd, a, &e), 0);
    write_file(fd, "half.json", "{\"format\": 1");
    write_file(fd, "other.json", "{}");
    write_file(fd, "note.txt", "no record");
    assert_int_equal(cni_attachments_load(fd, add_loaded, &l, &e), 0);
    assert_int_equal(l.count, 1);
    assert_string_equal(l.a[0]->id, "abc");
    assert_string_equal(l.a[0]->args, a->args);
    assert_string_equal(l.a[0]->netns, a->netns);
    assert_true(l.a[0]->netns_inode == a->netns_inode);
    assert_true(l.a[0]->deleting);
    assert_int_equal(l.a[0]->conf->version, CNI_0_4_0);
    assert_true(json_equal(l.a[0]->result, a->result));
    assert_true(json_equal(l.a[0]->runtime, a->runtime));
    assert_true(json_equal(l.a[0]->conf->list, c->list));
    assert_int_equal(faccessat(fd, "half.json.broken", F_OK, 0), 0);
    assert_int_equal(faccessat(fd, "other.json.broken", F_OK, 0), 0);
    assert_int_equal(cni_attachment_unlink(fd, a, &e), 0);
    assert_int_equal(cni_attachment_unlink(fd, a, &e), 0);
    assert_int_equal(renameat(fd, "half.json.broken", fd, "abc.json"), 0);
    l.count = 0;
    cni_attachment_free(l.a[0]);
    assert_int_equal(cni_attachments_load(fd, add_loaded, &l, &e), 0);
    assert_int_equal(l.count, 0);
    cni_attachment_free(a);
    cni_conf_unref(c);
    remove_directory(fd, path);
}

/* ---- A directory of configurations, a program ------------------------------------------------ */

static void nothing_changed(void *arg)
{
}

static void the_first_file_by_name_counts(void **state)
{
    char path[] = "/tmp/test-net-cni-XXXXXX";
    _cleanup_err_ struct err e = ERR_INIT;
    struct loop *loop = loop_new();
    int fd = directory(path);

    write_file(fd, "00-readme.txt", "not this");
    write_file(fd, ".01-hidden.conf", "nor this");
    write_file(fd, "20.conflist", "later");
    write_file(fd, "00-lo.conf",
               "{\"cniVersion\": \"1.0.0\", \"name\": \"lo\", \"type\": \"loopback\"}");
    write_file(fd, "10.json", "{\"cniVersion\": \"1.0.0\", \"name\": \"n\", \"type\": \"t\"}");
    assert_int_equal(mkdirat(fd, "05.conf", 0700), 0);
    struct cni_dir *d = cni_dir_open(loop, path, nothing_changed, NULL);
    assert_non_null(cni_dir_conf(d, &e));
    assert_string_equal(cni_dir_conf(d, &e)->name, "n");
    assert_null(cni_dir_complaint(d));
    cni_dir_close(d);
    write_file(fd, "10.json", "{");
    d = cni_dir_open(loop, path, nothing_changed, NULL);
    assert_null(cni_dir_conf(d, &e));
    assert_non_null(strstr(err_text(&e), "/10.json:1:1: "));
    cni_dir_close(d);
    unlinkat(fd, "10.json", 0);
    unlinkat(fd, "20.conflist", 0);
    err_clear(&e);
    d = cni_dir_open(loop, path, nothing_changed, NULL);
    assert_null(cni_dir_conf(d, &e));
    assert_non_null(strstr(err_text(&e), "declares a network"));
    cni_dir_close(d);
    loop_free(loop);
    remove_directory(fd, path);
}

struct ran {
    struct loop *loop;
    char *out;
    struct err e;
};

static void on_ran(void *arg, const struct bytes *out, const struct err *e)
{
    struct ran *r = arg;

    r->out = xstrndup(out->data ? (char *)out->data : "", out->len);
    err_copy(&r->e, e);
    loop_stop(r->loop);
}

static struct ran run_script(const char *script, const char *input, int64_t timeout_ms)
{
    char path[] = "/tmp/test-net-cni-XXXXXX";
    struct ran r = {.loop = loop_new()};
    char *env[] = {(char *)"PATH=/usr/bin:/bin", (char *)"GREETING=hello", NULL};
    int fd = directory(path);

    write_file(fd, "plugin", script);
    assert_int_equal(fchmodat(fd, "plugin", 0700, 0), 0);
    _cleanup_free_ char *program = xasprintf("%s/plugin", path);
    const struct cni_program p = {.path = program,
                                  .envp = env,
                                  .input = input,
                                  .input_len = strlen(input),
                                  .timeout_ms = timeout_ms};
    cni_run_start(r.loop, &p, on_ran, &r);
    assert_null(r.out); /* never from inside */
    loop_run(r.loop);
    loop_free(r.loop);
    remove_directory(fd, path);
    return r;
}

static void ran_free(struct ran *r)
{
    free(r->out);
    err_clear(&r->e);
}

static void a_program_gets_its_input_and_is_heard(void **state)
{
    _cleanup_free_ char *large = xmalloc(300001);

    memset(large, 'x', 300000);
    large[300000] = '\0';
    struct ran r = run_script("#!/bin/sh\necho $GREETING; wc -c\n", large, 60000);
    assert_string_equal(err_text(&r.e), "");
    assert_string_equal(r.out, "hello\n300000\n");
    ran_free(&r);
    r = run_script("#!/bin/sh\necho why >&2; exit 4\n", "", 60000);
    assert_string_equal(err_text(&r.e), "it exited with 4: why");
    ran_free(&r);
    r = run_script("#!/nonexistent\n", "", 60000);
    assert_non_null(strstr(err_text(&r.e), "No such file"));
    ran_free(&r);
}

/* The pipe stays open in the child that is left behind, and nobody waits for that. */
static void a_child_left_behind_is_not_waited_for(void **state)
{
    int64_t begin = time_mono_ns();
    struct ran r = run_script("#!/bin/sh\nsleep 5 & echo done\n", "", 60000);

    assert_string_equal(r.out, "done\n");
    assert_true(time_mono_ns() - begin < 4 * NS_PER_SEC);
    ran_free(&r);
}

static void a_program_that_hangs_or_floods_is_killed(void **state)
{
    struct ran r = run_script("#!/bin/sh\necho $$; (setsid sleep 60 & echo $!; wait)\n", "", 300);
    int group = 0, child = 0;

    assert_int_equal(r.e.code, ERR_DEADLINE_EXCEEDED);
    assert_int_equal(sscanf(r.out, "%d %d", &group, &child), 2);
    for (int i = 0; i < 500 && kill(child, 0) == 0; i++)
        usleep(10000);
    assert_int_equal(kill(child, 0), -1);
    assert_int_equal(kill(-group, 0), -1);
    ran_free(&r);
    r = run_script("#!/bin/sh\nexec yes\n", "", 60000);
    assert_non_null(strstr(err_text(&r.e), "it printed more than"));
    assert_int_equal(strlen(r.out), CNI_OUTPUT_MAX);
    ran_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_and_one_plugin_are_read),
        cmocka_unit_test(the_newest_version_that_both_speak_is_taken),
        cmocka_unit_test(a_broken_configuration_is_told_with_its_place),
        cmocka_unit_test(a_pod_has_the_addresses_of_its_interface),
        cmocka_unit_test(an_interface_of_another_name_is_the_pods_too),
        cmocka_unit_test(a_result_is_brought_to_the_networks_version),
        cmocka_unit_test(what_is_no_result_is_refused),
        cmocka_unit_test(a_failure_says_what_the_plugin_said),
        cmocka_unit_test(texts_are_cut_between_characters),
        cmocka_unit_test(a_plugin_is_told_what_it_can_use),
        cmocka_unit_test(names_cannot_forge_arguments),
        cmocka_unit_test(a_namespace_is_found_again_only_if_it_is_the_same),
        cmocka_unit_test(records_survive_and_broken_ones_are_set_aside),
        cmocka_unit_test(the_first_file_by_name_counts),
        cmocka_unit_test(a_program_gets_its_input_and_is_heard),
        cmocka_unit_test(a_child_left_behind_is_not_waited_for),
        cmocka_unit_test(a_program_that_hangs_or_floods_is_killed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
