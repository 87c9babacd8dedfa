/*
 * test-podd-config.c - podd.yaml and flags: defaults, every key, precedence, and each mistake with
 * its place.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>

#include "config.h"

static struct config *read_good(const char *text)
{
    struct config *c = config_new();
    _cleanup_err_ struct err e = ERR_INIT;

    if (config_read(c, text, strlen(text), "p.yaml", &e) < 0)
        fail_msg("%s", err_text(&e));
    return c;
}

static void refuse(const char *text, const char *message)
{
    struct config *c = config_new();
    _cleanup_err_ struct err e = ERR_INIT;

    assert_int_equal(config_read(c, text, strlen(text), "p.yaml", &e), -1);
    assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
    assert_string_equal(err_text(&e), message);
    config_free(c);
}

static void assert_defaults(const struct config *c)
{
    assert_string_equal(c->root, "/var/lib/podd");
    assert_string_equal(c->state, "/run/podd");
    assert_string_equal(c->socket, "unix:///run/podd/podd.sock");
    assert_int_equal(c->log_level, LOG_INFO);
    assert_int_equal(c->cgroup_driver, CGROUP_DRIVER_AUTO);
    assert_false(c->restrict_oom_score_adj);
    assert_null(c->seccomp_default_profile);
    assert_int_equal(c->network.mode, NETWORK_MODE_BRIDGE);
    assert_string_equal(c->network.bridge, "podd0");
    assert_int_equal(c->network.n_pools, 1);
    assert_string_equal(c->network.pools[0], "10.85.0.0/16");
    assert_int_equal(c->network.mtu, 0);
    assert_null(c->network.dns);
    assert_string_equal(c->network.cni.config_dir, "/etc/cni/net.d");
    assert_string_equal(c->network.cni.plugin_dirs[0], "/opt/cni/bin");
    assert_string_equal(c->network.cni.plugin_dirs[1], "/usr/lib/cni");
    assert_int_equal(c->network.cni.timeout, 60);
    assert_string_equal(c->streaming.address, "127.0.0.1");
    assert_int_equal(c->streaming.port, 0);
    assert_int_equal(c->logs.max_size, 10 << 20);
    assert_int_equal(c->logs.max_files, 5);
    assert_null(c->metrics.address);
    assert_null(c->listen.address);
    assert_int_equal(c->n_registries, 0);
}

static void nothing_said_means_the_defaults(void **state)
{
    const char *const texts[] = {"", "# only a comment\n", "---\n", "root:\nnetwork:\n", "{}"};

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct config *c = read_good(texts[i]);
        assert_defaults(c);
        config_free(c);
    }
}

static void every_key_is_taken(void **state)
{
    struct config *c =
        read_good("root: /srv/podd\n"
                  "state: /run/other\n"
                  "socket: unix:///run/other/s.sock\n"
                  "manifests: /srv/manifests\n"
                  "cdi_dirs: [/srv/cdi]\n"
                  "log_level: debug\n"
                  "cgroup_driver: systemd\n"
                  "restrict_oom_score_adj: true\n"
                  "seccomp_default_profile: /etc/podd/seccomp.json\n"
                  "network:\n"
                  "  mode: cni\n"
                  "  bridge: br-x\n"
                  "  pools: [10.1.0.0/16, 'fd00:85::/64']\n"
                  "  mtu: 1450\n"
                  "  dns: [10.0.0.53, '::1']\n"
                  "  cni: {config_dir: /etc/net.d, plugin_dirs: [/opt/a, /opt/b], timeout: 7}\n"
                  "registries:\n"
                  "- prefix: docker.io\n"
                  "  mirrors: [{url: 'http://127.0.0.1:5000'}, {url: https://m.example}]\n"
                  "  ca: /etc/ca.pem\n"
                  "  auth_file: /root/auth.json\n"
                  "- {prefix: example.org/team}\n"
                  "streaming: {address: 10.0.0.1, port: 10250}\n"
                  "metrics: {address: '[::1]:9100'}\n"
                  "logs: {max_size: 1Mi, max_files: 3}\n"
                  "listen: {address: 0.0.0.0:9443, cert: /c.pem, key: /c.key, client_ca: /ca.pem, "
                  "roles: {read: [a, b], full: [m]}}\n");

    assert_string_equal(c->root, "/srv/podd");
    assert_string_equal(c->state, "/run/other");
    assert_string_equal(c->socket, "unix:///run/other/s.sock");
    assert_string_equal(c->manifests, "/srv/manifests");
    assert_string_equal(c->cdi_dirs[0], "/srv/cdi");
    assert_null(c->cdi_dirs[1]);
    assert_int_equal(c->log_level, LOG_DEBUG);
    assert_int_equal(c->cgroup_driver, CGROUP_DRIVER_SYSTEMD);
    assert_true(c->restrict_oom_score_adj);
    assert_string_equal(c->seccomp_default_profile, "/etc/podd/seccomp.json");
    assert_int_equal(c->network.mode, NETWORK_MODE_CNI);
    assert_string_equal(c->network.bridge, "br-x");
    assert_int_equal(c->network.n_pools, 2);
    assert_string_equal(c->network.pools[1], "fd00:85::/64");
    assert_int_equal(c->network.mtu, 1450);
    assert_string_equal(c->network.dns[1], "::1");
    assert_string_equal(c->network.cni.config_dir, "/etc/net.d");
    assert_string_equal(c->network.cni.plugin_dirs[1], "/opt/b");
    assert_null(c->network.cni.plugin_dirs[2]);
    assert_int_equal(c->network.cni.timeout, 7);
    assert_int_equal(c->n_registries, 2);
    assert_string_equal(c->registries[0].prefix, "docker.io");
    assert_string_equal(c->registries[0].mirrors[1], "https://m.example");
    assert_null(c->registries[0].mirrors[2]);
    assert_string_equal(c->registries[0].ca, "/etc/ca.pem");
    assert_string_equal(c->registries[0].auth_file, "/root/auth.json");
    assert_string_equal(c->registries[1].prefix, "example.org/team");
    assert_null(c->registries[1].mirrors);
    assert_string_equal(c->streaming.address, "10.0.0.1");
    assert_int_equal(c->streaming.port, 10250);
    assert_string_equal(c->metrics.address, "[::1]:9100");
    assert_int_equal(c->logs.max_size, 1 << 20);
    assert_int_equal(c->logs.max_files, 3);
    assert_string_equal(c->listen.address, "0.0.0.0:9443");
    assert_string_equal(c->listen.cert, "/c.pem");
    assert_string_equal(c->listen.key, "/c.key");
    assert_string_equal(c->listen.client_ca, "/ca.pem");
    assert_string_equal(c->listen.readers[1], "b");
    assert_string_equal(c->listen.full[0], "m");
    config_free(c);
}

static void unknown_keys_are_named_with_the_nearest(void **state)
{
    refuse("log_levl: info\n", "p.yaml:1:1: unknown key log_levl, did you mean log_level?");
    refuse("network:\n  mode: bridge\n  pool: []\n",
           "p.yaml:3:3: unknown key network.pool, did you mean pools?");
    refuse("zzzzzzzz: 1\n", "p.yaml:1:1: unknown key zzzzzzzz");
    refuse("registries: [{prefix: a, mirror: []}]\n",
           "p.yaml:1:26: unknown key registries.mirror, did you mean mirrors?");
    refuse("registries: [{prefix: a, mirrors: [{uri: x}]}]\n",
           "p.yaml:1:37: unknown key mirrors.uri, did you mean url?");
    refuse("root: /a\nroot: /b\n", "p.yaml:2:1: the key root is there already, in line 1");
}

static void wrong_values_are_refused(void **state)
{
    refuse("- root\n", "p.yaml:1:1: expected a mapping of settings");
    refuse("root: [/a]\n", "p.yaml:1:7: root: expected a text, not a list");
    refuse("root: 12\n",
           "p.yaml:1:7: root: expected a text, not 12; put it in quotes if it is meant so");
    refuse("root: ''\n", "p.yaml:1:7: root: must not be empty");
    refuse("root: var/lib\n", "p.yaml:1:7: root: path var/lib is not absolute");
    refuse("root: /a/../b\n", "p.yaml:1:7: root: path /a/../b is not in its shortest form (no //, "
                              "/./, /../, / at the end)");
    refuse("socket: tcp://0.0.0.0:1\n", "p.yaml:1:9: socket: address tcp://0.0.0.0:1 is not of the "
                                        "form unix:///path/to/socket");
    refuse("log_level: loud\n",
           "p.yaml:1:12: log_level: \"loud\" is not one of error, warn, info, debug");
    refuse("restrict_oom_score_adj: yes\n",
           "p.yaml:1:25: restrict_oom_score_adj: expected true or false, not yes");
    refuse("restrict_oom_score_adj: 'true'\n",
           "p.yaml:1:25: restrict_oom_score_adj: expected true or false, not true");
    refuse("network: bridge\n", "p.yaml:1:10: network: expected a mapping, not bridge");
    refuse("network: {mode: host}\n", "p.yaml:1:17: mode: \"host\" is not one of bridge, cni");
    refuse("network: {bridge: podd0123456789ab}\n",
           "p.yaml:1:19: bridge: podd0123456789ab is longer than the 15 bytes of an interface");
    refuse("network: {bridge: 'a/b'}\n", "p.yaml:1:19: bridge: a/b is no name for an interface");
    refuse("network: {pools: 10.0.0.0/8}\n",
           "p.yaml:1:18: pools: expected a list of texts, not 10.0.0.0/8");
    refuse("network: {pools: []}\n", "p.yaml:1:18: pools: at least one is needed");
    refuse("network: {pools: [10.0.0.0/33]}\n",
           "p.yaml:1:19: pools: 10.0.0.0/33 is not a network like 10.85.0.0/16");
    refuse("network: {pools: [10.0.0/8]}\n",
           "p.yaml:1:19: pools: 10.0.0/8 is not a network like 10.85.0.0/16");
    refuse("network: {pools: [1.0.0.0/8, 2.0.0.0/8, 3.0.0.0/8, 4.0.0.0/8, 5.0.0.0/8]}\n",
           "p.yaml:1:18: pools: at most 4 are possible");
    refuse("network: {mtu: 500}\n",
           "p.yaml:1:16: mtu: must be 0 (that of the uplink) or at least 1280");
    refuse("network: {mtu: 70000}\n", "p.yaml:1:16: mtu: must be at most 65535");
    refuse("network: {mtu: -1}\n", "p.yaml:1:16: mtu: expected a number, not -1");
    refuse("network: {cni: {config_dir: etc}}\n",
           "p.yaml:1:29: config_dir: path etc is not absolute");
    refuse("network: {cni: {plugin_dirs: []}}\n",
           "p.yaml:1:30: plugin_dirs: at least one is needed");
    refuse("network: {cni: {plugin_dirs: [/opt/cni, '/a:b']}}\n",
           "p.yaml:1:41: plugin_dirs: path /a:b has a colon in it");
    refuse("network: {cni: {timeout: 0}}\n", "p.yaml:1:26: timeout: must be at least 1 (second)");
    refuse("network: {cni: {timeout: 3601}}\n", "p.yaml:1:26: timeout: must be at most 3600");
    refuse("network: {cni: {plugins: [/a]}}\n", "p.yaml:1:17: unknown key cni.plugins");
    refuse("network: {dns: [dns.example]}\n", "p.yaml:1:17: dns: dns.example is not an IP address");
    refuse("streaming: {port: 65536}\n", "p.yaml:1:19: port: must be at most 65535");
    refuse("streaming: {port: '80'}\n", "p.yaml:1:19: port: expected a number, not 80");
    refuse("streaming: {address: localhost}\n",
           "p.yaml:1:22: address: localhost is not an IP address");
    refuse("logs: {max_size: big}\n", "p.yaml:1:18: max_size: expected a size like 10Mi, not big");
    refuse("logs: {max_size: 1k}\n",
           "p.yaml:1:18: max_size: must be 0 (no bound) or at least 65536 bytes");
    refuse("logs: {max_files: 1}\n", "p.yaml:1:19: max_files: must be at least 2");
    refuse("metrics: {address: '::1:9100'}\n",
           "p.yaml:1:20: address: ::1:9100 is not of the form 127.0.0.1:9100");
    refuse("listen: {address: 0.0.0.0:9443, cert: /c, key: /k, roles: {full: [m]}}\n",
           "p.yaml:1:9: listen: the keys address, cert, key and client_ca are all needed");
    refuse("listen: {address: 0.0.0.0:9443, cert: /c, key: /k, client_ca: /a}\n",
           "p.yaml:1:9: listen: roles.read or roles.full must name who may connect");
    refuse("metrics: {address: 127.0.0.1}\n",
           "p.yaml:1:20: address: 127.0.0.1 is not of the form 127.0.0.1:9100");
    refuse("registries: {}\n",
           "p.yaml:1:13: registries: expected a list of mappings, not a mapping");
    refuse("registries: [{}]\n", "p.yaml:1:14: registries: the key prefix is missing");
    refuse("registries: [{prefix: a}, {prefix: a}]\n",
           "p.yaml:1:27: registries: a is there already");
    refuse("registries: [{prefix: 'https://a'}]\n", "p.yaml:1:23: prefix: https://a is not a "
                                                    "registry like docker.io or example.org/team");
    refuse("registries: [{prefix: a, mirrors: [b]}]\n",
           "p.yaml:1:36: mirrors: expected a mapping with a url, not b");
    refuse("registries: [{prefix: a, mirrors: [{}]}]\n",
           "p.yaml:1:36: mirrors: the key url is missing");
    refuse("registries: [{prefix: a, mirrors: [{url: 'ftp://b'}]}]\n",
           "p.yaml:1:42: url: ftp://b is not a URL like https://mirror.example");
    refuse("registries: [{prefix: a, mirrors: [{url: 'http://b'}], mirrors: []}]\n",
           "p.yaml:1:56: the key mirrors is there already, in line 1");
    refuse("root: /a\n---\nstate: /b\n", "p.yaml:3:1: there is more than one document");
}

/* ---- Flags ----------------------------------------------------------------------------------- */

static int load(struct config **c, struct err *e, ...)
{
    char *argv[12] = {(char *)"podd"};
    int argc = 1;
    va_list ap;

    va_start(ap, e);
    while ((argv[argc] = va_arg(ap, char *)))
        argc++;
    va_end(ap);
    return config_load(argc, argv, c, e);
}

#define refuse_flags(message, ...)                                                                 \
    do {                                                                                           \
        struct config *refused = NULL;                                                             \
        struct err error = ERR_INIT;                                                               \
        assert_int_equal(load(&refused, &error, __VA_ARGS__, NULL), -1);                           \
        assert_null(refused);                                                                      \
        assert_string_equal(err_text(&error), message);                                            \
        err_clear(&error);                                                                         \
    } while (0)

static void flags_win_over_the_file(void **state)
{
    char path[] = "/tmp/podd-config-XXXXXX";
    _cleanup_err_ struct err e = ERR_INIT;
    struct config *c = NULL;
    const char text[] = "root: /srv/a\nstate: /srv/b\nlog_level: error\n";

    fd_close(mkstemp(path));
    assert_int_equal(file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600, false, &e), 0);
    assert_int_equal(load(&c, &e, "--config", path, "--state=/srv/c", "--log-level", "debug",
                          "--socket", "unix:///srv/c/s", NULL),
                     0);
    assert_string_equal(c->root, "/srv/a");
    assert_string_equal(c->state, "/srv/c");
    assert_string_equal(c->socket, "unix:///srv/c/s");
    assert_string_equal(c->log_root, "/srv/a/logs");
    assert_null(c->manifests); /* they are for the machine's own podd */
    assert_int_equal(c->log_level, LOG_DEBUG);
    config_free(c);
    c = NULL;
    unlink(path);
    assert_int_equal(load(&c, &e, "--config", path, NULL), -1);
    assert_non_null(strstr(err_text(&e), path));
}

static void wrong_flags_are_refused(void **state)
{
    refuse_flags("unknown flag --sockt, did you mean --socket?", "--sockt", "x");
    refuse_flags("unknown flag --sockt, did you mean --socket?", "--sockt=x");
    refuse_flags("unknown flag -x; see podd --help", "-x");
    refuse_flags("unexpected argument \"run\"; see podd --help", "run");
    refuse_flags("flag --root needs a value", "--root");
    refuse_flags("flag --root needs a value", "--root=");
    refuse_flags("flag --help takes no value", "--help=1");
    refuse_flags("flag --root: path here is not absolute", "--config", "/dev/null", "--root",
                 "here");
    refuse_flags("flag --socket: address /s is not of the form unix:///path/to/socket", "--config",
                 "/dev/null", "--socket", "/s");
    refuse_flags("flag --log-level: \"x\" is not one of error, warn, info, debug", "--config",
                 "/dev/null", "--log-level", "x");
    refuse_flags("root /a and state /a/b must not be the same directory or one in the other: the "
                 "state ends with a reboot, the root does not",
                 "--config", "/dev/null", "--root", "/a", "--state", "/a/b");
}

static void default_root_logs_where_kubernetes_looks(void **state)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct config *c = NULL;

    assert_int_equal(load(&c, &e, "--config", "/dev/null", NULL), 0);
    assert_defaults(c);
    assert_string_equal(c->log_root, "/var/log/pods");
    assert_string_equal(c->manifests, "/etc/podd/manifests");
    assert_string_equal(c->cdi_dirs[1], "/var/run/cdi");
    config_free(c);
}

static void help_and_version_are_all_that_happens(void **state)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct config *c = NULL;

    assert_int_equal(load(&c, &e, "--help", "--config", "/missing", NULL), 1);
    assert_int_equal(load(&c, &e, "--version", NULL), 1);
    assert_null(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_said_means_the_defaults),
        cmocka_unit_test(every_key_is_taken),
        cmocka_unit_test(unknown_keys_are_named_with_the_nearest),
        cmocka_unit_test(wrong_values_are_refused),
        cmocka_unit_test(flags_win_over_the_file),
        cmocka_unit_test(wrong_flags_are_refused),
        cmocka_unit_test(default_root_logs_where_kubernetes_looks),
        cmocka_unit_test(help_and_version_are_all_that_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
