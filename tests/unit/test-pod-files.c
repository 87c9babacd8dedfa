/*
 * resolv.conf, hostname, hosts and sysctls: right text, and no way to smuggle a line in.
 */
#include "pod-kit.h"

#include "files.h"
#include "private.h"
#include "sysctl.h"

/* ---- resolv.conf ---------------------------------------------------------------------------- */

static void test_resolv_conf_as_given(void **state)
{
    struct sandbox_config config = {.dns_given = true,
                                    .dns_servers = STRV("10.10.10.10", "fe80::1%eth0"),
                                    .dns_searches = STRV("google.com", "x.y"),
                                    .dns_options = STRV("ndots:8")};
    _cleanup_strbuf_ struct strbuf b = {0}, empty = {0};
    _cleanup_err_ struct err e = ERR_INIT;

    assert_int_equal(resolv_conf_make(&config, NULL, &b, &e), 0);
    assert_string_equal(b.data, "search google.com x.y\nnameserver 10.10.10.10\n"
                                "nameserver fe80::1%eth0\noptions ndots:8\n");
    config = (struct sandbox_config){.dns_given = true};
    assert_int_equal(resolv_conf_make(&config, NULL, &empty, &e), 0);
    assert_int_equal(empty.len, 0);
}

static void test_servers_for_who_says_nothing(void **state)
{
    char *const *servers = STRV("10.0.0.53", "::1");
    struct sandbox_config config = {.network = NAMESPACE_POD};
    _cleanup_strbuf_ struct strbuf b = {0}, given = {0}, host = {0};
    _cleanup_err_ struct err e = ERR_INIT;

    assert_int_equal(resolv_conf_make(&config, servers, &b, &e), 0);
    assert_string_equal(b.data, "nameserver 10.0.0.53\nnameserver ::1\n");
    config.network = NAMESPACE_NODE; /* is where the node is, and asks whom it asks */
    assert_int_equal(resolv_conf_make(&config, servers, &host, &e), 0);
    assert_true(!host.data || !strstr(host.data, "10.0.0.53"));
    config = (struct sandbox_config){.dns_given = true, .dns_servers = STRV("10.9.9.9")};
    assert_int_equal(resolv_conf_make(&config, servers, &given, &e), 0);
    assert_string_equal(given.data, "nameserver 10.9.9.9\n");
}

static void refuse_dns(struct sandbox_config *config)
{
    _cleanup_strbuf_ struct strbuf b = {0};
    _cleanup_err_ struct err e = ERR_INIT;

    config->dns_given = true;
    assert_int_equal(resolv_conf_make(config, NULL, &b, &e), -1);
    assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
    assert_null(strpbrk(err_text(&e), "\n\r"));
}

static void test_nothing_can_be_smuggled_into_resolv_conf(void **state)
{
    static const char *const bad[] = {"a\nnameserver 6.6.6.6", "a b", "a\r", "a\t", "", "\x7f",
                                      "a\xe2\x80\xa8"};

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        refuse_dns(&(struct sandbox_config){.dns_searches = STRV((char *)bad[i])});
        refuse_dns(&(struct sandbox_config){.dns_options = STRV((char *)bad[i])});
        refuse_dns(&(struct sandbox_config){.dns_servers = STRV((char *)bad[i])});
    }
    refuse_dns(&(struct sandbox_config){.dns_servers = STRV("dns.example.org")});
    refuse_dns(&(struct sandbox_config){.dns_servers = STRV("10.0.0.256")});
}

/* ---- hostname, hosts ------------------------------------------------------------------------ */

static void test_hostnames(void **state)
{
    static const char *const bad[] = {"a\nb",
                                      "a b",
                                      "a/b",
                                      "a:b",
                                      "",
                                      "\xc3\xa4",
                                      "01234567890123456789012345678901234567890123456789"
                                      "012345678901234"};
    struct err e = ERR_INIT;

    assert_int_equal(hostname_check("web-0.x_y", &e), 0);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(hostname_check(bad[i], &e), -1);
        assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
        err_clear(&e);
    }
}

static void test_hosts_names_the_pod_by_every_address(void **state)
{
    struct sandbox *s = sandbox_new(TEST_ID);
    _cleanup_strbuf_ struct strbuf b = {0};
    _cleanup_err_ struct err e = ERR_INIT;

    s->hostname = xstrdup("web");
    s->addresses.count = 2;
    memcpy(s->addresses.text[0], "10.85.0.2", 10);
    memcpy(s->addresses.text[1], "fd00::2", 8);
    assert_int_equal(hosts_make(s, &b, &e), 0);
    assert_non_null(strstr(b.data, "127.0.0.1\tlocalhost\n"));
    assert_non_null(strstr(b.data, "\n10.85.0.2\tweb\nfd00::2\tweb\n"));
    sandbox_object_free(s);
}

/* ---- sysctls -------------------------------------------------------------------------------- */

static void request_clear(spawn_request_t *r)
{
    for (size_t i = 0; i < r->n_sysctls; i++)
        podd__shim__sysctl__free_unpacked(r->sysctls[i], NULL);
    free(r->sysctls);
}

static const char *value_of(const spawn_request_t *r, const char *key)
{
    for (size_t i = 0; i < r->n_sysctls; i++)
        if (str_equal(r->sysctls[i]->key, key))
            return r->sysctls[i]->value;
    return NULL;
}

static void test_sysctl_defaults_can_be_overridden(void **state)
{
    struct key_value asked[] = {{(char *)"net/ipv4/ping_group_range", (char *)"1 0"},
                                {(char *)"kernel.shm_rmid_forced", (char *)"1"}};
    struct sandbox_config config = {.sysctls = asked, .n_sysctls = 2};
    spawn_request_t r = PODD__SHIM__SPAWN_REQUEST__INIT;
    struct err e = ERR_INIT;

    assert_int_equal(sysctl_plan(&config, &r, &e), 0);
    assert_int_equal(r.n_sysctls, 3);
    assert_string_equal(value_of(&r, "net.ipv4.ip_unprivileged_port_start"), "0");
    assert_string_equal(value_of(&r, "net.ipv4.ping_group_range"), "1 0");
    assert_string_equal(value_of(&r, "kernel.shm_rmid_forced"), "1");
    request_clear(&r);

    spawn_request_t host = PODD__SHIM__SPAWN_REQUEST__INIT;
    config = (struct sandbox_config){.network = NAMESPACE_NODE};
    assert_int_equal(sysctl_plan(&config, &host, &e), 0);
    assert_int_equal(host.n_sysctls, 0);
    request_clear(&host);
}

static void test_groups_that_may_ping_are_those_of_the_user_namespace(void **state)
{
    static const struct {
        uint32_t first;
        const char *asked, *written;
    } rows[] = {
        {1000000, NULL, "1000000 1065535"},
        {1000000, "0 2147483647", "1000000 1065535"},
        {1000000, "1000 2000", "1001000 1002000"},
        {1000000, "1000\t1000", "1001000 1001000"},
        {1000000, "1 0", "1 0"},
        {1000000, "65536 70000", "1 0"},
        {3000000000, NULL, "1 0"},
        {1000000, "nonsense", "nonsense"}, /* the kernel says what it thinks of it */
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct key_value asked = {(char *)"net.ipv4.ping_group_range", (char *)rows[i].asked};
        struct id_range map = {.host_id = rows[i].first, .length = 65536};
        struct sandbox_config config = {.sysctls = &asked,
                                        .n_sysctls = rows[i].asked ? 1 : 0,
                                        .gid_maps = &map,
                                        .n_gid_maps = 1};
        spawn_request_t r = PODD__SHIM__SPAWN_REQUEST__INIT;
        struct err e = ERR_INIT;
        assert_int_equal(sysctl_plan(&config, &r, &e), 0);
        assert_string_equal(value_of(&r, "net.ipv4.ping_group_range"), rows[i].written);
        request_clear(&r);
    }
}

static void test_sysctls_of_the_node_are_refused(void **state)
{
    static const struct {
        const char *key, *value;
        enum namespace_mode network, ipc;
    } rows[] = {
        {"kernel.core_pattern", "|x", NAMESPACE_POD, NAMESPACE_POD},
        {"vm.swappiness", "1", NAMESPACE_POD, NAMESPACE_POD},
        {"net.ipv4.ip_forward", "1", NAMESPACE_NODE, NAMESPACE_POD},
        {"kernel.sem", "1", NAMESPACE_POD, NAMESPACE_NODE},
        {"fs.mqueue.msg_max", "1", NAMESPACE_POD, NAMESPACE_NODE},
        {"net/../kernel/core_pattern", "x", NAMESPACE_POD, NAMESPACE_POD},
        {"net..kernel", "x", NAMESPACE_POD, NAMESPACE_POD},
        {"net.ipv4/ip_forward", "1", NAMESPACE_POD, NAMESPACE_POD},
        {"net.", "1", NAMESPACE_POD, NAMESPACE_POD},
        {"", "1", NAMESPACE_POD, NAMESPACE_POD},
        {"net.ipv4.ip_forward", "", NAMESPACE_POD, NAMESPACE_POD},
        {"net.ipv4.ip_forward", "1\n2", NAMESPACE_POD, NAMESPACE_POD},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct key_value asked = {(char *)rows[i].key, (char *)rows[i].value};
        struct sandbox_config config = {
            .sysctls = &asked, .n_sysctls = 1, .network = rows[i].network, .ipc = rows[i].ipc};
        spawn_request_t r = PODD__SHIM__SPAWN_REQUEST__INIT;
        _cleanup_err_ struct err e = ERR_INIT;
        if (sysctl_plan(&config, &r, &e) == 0)
            fail_msg("%s was let through", rows[i].key);
        assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
        request_clear(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resolv_conf_as_given),
        cmocka_unit_test(test_servers_for_who_says_nothing),
        cmocka_unit_test(test_nothing_can_be_smuggled_into_resolv_conf),
        cmocka_unit_test(test_hostnames),
        cmocka_unit_test(test_hosts_names_the_pod_by_every_address),
        cmocka_unit_test(test_sysctl_defaults_can_be_overridden),
        cmocka_unit_test(test_groups_that_may_ping_are_those_of_the_user_namespace),
        cmocka_unit_test(test_sysctls_of_the_node_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
