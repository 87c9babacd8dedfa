/*
 * test-node-translate.c - what a manifest becomes: sandbox, container, probes.
 */
#include "../../src/node/expand.h"
#include "../../src/node/resources.h"
#include "../../src/node/translate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define GIB (1LL << 30)
#define HEAD "apiVersion: v1\nkind: Pod\nmetadata: {name: web, labels: {app: a}}\nspec:\n"

static struct manifests parse(const char *text)
{
    struct err e = ERR_INIT;
    struct manifests found = {0};

    if (manifests_parse(text, strlen(text), "web.yaml", "default", &found, &e) < 0)
        fail_msg("refused: %s", err_text(&e));
    return found;
}

static struct container_plan plan(const struct manifests *m, const char *image_user)
{
    static const char *const ips[] = {"10.85.0.7", "fd00::7"};
    static const struct volumes_place volumes = {.dir = (char *)"/var/lib/podd/volumes/u-1",
                                                 .memory_dir = (char *)"/run/podd/volumes/u-1"};
    const struct container_place place = {
        .manifest = m->items[0],
        .uid = "u-1",
        .node_name = "node1",
        .ips = ips,
        .n_ips = 2,
        .attempt = 3,
        .volumes = &volumes,
        .termination_file = "/t",
        .image_user = image_user,
        .node_memory = 4 * GIB,
    };
    struct container_plan p;
    struct err e = ERR_INIT;

    if (container_plan_make(spec_container(m->items[0]->spec, 0), &place, &p, &e) < 0)
        fail_msg("refused: %s", err_text(&e));
    return p;
}

static const char *env_of(const struct container_plan *p, const char *key)
{
    for (size_t i = 0; i < p->config.n_envs; i++)
        if (str_equal(p->config.envs[i].key, key))
            return p->config.envs[i].value;
    return NULL;
}

/* ---- $(NAME) -----------------------------------------------------------------------------------
 */

static void references_are_expanded_as_kubernetes_does(void **state)
{
    const struct key_value vars[] = {{(char *)"A", (char *)"1"}, {(char *)"B", (char *)"$(A)"}};
    static const char *const cases[][2] = {
        {"$(A)", "1"},    {"x$(A)y$(A)", "x1y1"},
        {"$(C)", "$(C)"}, {"$$(A)", "$(A)"},
        {"$$$(A)", "$1"}, {"$A", "$A"},
        {"$", "$"},       {"$(A", "$(A"},
        {"$(B)", "$(A)"}, {"", ""},
        {"$$", "$"},      {"$()", "$()"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *got = expand_text(cases[i][0], vars, 2);
        assert_string_equal(got, cases[i][1]);
        free(got);
    }
}

static void environments_see_what_came_before_and_the_pod(void **state)
{
    struct manifests m = parse(
        HEAD "  containers:\n  - name: c\n    image: i\n    args: ['--at=$(URL)']\n"
             "    resources: {limits: {cpu: 1500m, memory: 100Mi}}\n    env:\n"
             "    - {name: LATE, value: $(URL)}\n"
             "    - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}\n"
             "    - {name: IPS, valueFrom: {fieldRef: {fieldPath: status.podIPs}}}\n"
             "    - {name: URL, value: 'http://$(IP):80'}\n"
             "    - {name: APP, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['app']\"}}}\n"
             "    - {name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}\n"
             "    - {name: MIB, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: "
             "1Mi}}}\n");
    struct container_plan p = plan(&m, NULL);

    assert_string_equal(env_of(&p, "LATE"), "$(URL)");
    assert_string_equal(env_of(&p, "URL"), "http://10.85.0.7:80");
    assert_string_equal(env_of(&p, "IPS"), "10.85.0.7,fd00::7");
    assert_string_equal(env_of(&p, "APP"), "a");
    assert_string_equal(env_of(&p, "CPU"), "2");
    assert_string_equal(env_of(&p, "MIB"), "100");
    assert_string_equal(p.config.args[0], "--at=http://10.85.0.7:80");
    container_plan_free(&p);
    manifests_free(&m);
}

/* ---- Resources ---------------------------------------------------------------------------------
 */

static void resources_become_kubelets_numbers(void **state)
{
    static const struct {
        const char *resources;
        int64_t shares, period, quota, memory, oom;
    } cases[] = {
        {"{}", 2, 0, 0, 0, 1000},
        {"{requests: {cpu: 250m}}", 256, 0, 0, 0, 999},
        {"{limits: {cpu: 500m}}", 512, 100000, 50000, 0, 999},
        {"{limits: {cpu: 1m}}", 2, 100000, 1000, 0, 999},
        {"{limits: {cpu: 1, memory: 1Gi}}", 1024, 100000, 100000, GIB, -997},
        {"{limits: {memory: 2Gi}, requests: {memory: 1Gi}}", 2, 0, 0, 2 * GIB, 750},
        {"{requests: {memory: 4Gi}}", 2, 0, 0, 0, 3},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *text = xasprintf(HEAD "  containers: [{name: c, image: i, resources: %s}]\n",
                               cases[i].resources);
        struct manifests m = parse(text);
        struct container_plan p = plan(&m, NULL);
        const struct cgroup_limits *l = &p.config.limits;
        if (l->cpu_shares != cases[i].shares || l->cpu_period != cases[i].period ||
            l->cpu_quota != cases[i].quota || l->memory_bytes != cases[i].memory ||
            p.config.oom_score_adj != cases[i].oom)
            fail_msg("%s: shares %lld period %lld quota %lld memory %lld oom %lld",
                     cases[i].resources, (long long)l->cpu_shares, (long long)l->cpu_period,
                     (long long)l->cpu_quota, (long long)l->memory_bytes,
                     (long long)p.config.oom_score_adj);
        container_plan_free(&p);
        manifests_free(&m);
        free(text);
    }
}

static void one_container_without_limits_makes_the_pod_burstable(void **state)
{
    struct manifests m =
        parse(HEAD "  containers:\n  - {name: a, image: i, resources: {limits: {cpu: 1, memory: "
                   "1Mi}}}\n  - {name: b, image: i}\n");

    assert_int_equal(resources_qos(m.items[0]->spec), QOS_BURSTABLE);
    manifests_free(&m);
}

/* ---- Security ----------------------------------------------------------------------------------
 */

static void defaults_confine(void **state)
{
    struct manifests m = parse(HEAD "  containers: [{name: c, image: i}]\n");
    struct container_plan p = plan(&m, NULL);
    const struct security_config *s = &p.config.security;

    assert_int_equal(s->seccomp.type, PROFILE_RUNTIME_DEFAULT);
    assert_int_equal(s->apparmor.type, PROFILE_RUNTIME_DEFAULT);
    assert_false(s->apparmor.asked);
    assert_false(s->no_new_privs);
    assert_false(s->has_run_as_user);
    assert_true(strv_len(s->masked_paths) >= 12);
    assert_int_equal(strv_len(s->readonly_paths), 5);
    assert_int_equal(s->pid, NAMESPACE_CONTAINER);
    container_plan_free(&p);
    manifests_free(&m);
}

static void the_container_wins_over_the_pod(void **state)
{
    struct manifests m = parse(
        HEAD
        "  securityContext: {runAsUser: 5, runAsGroup: 6, fsGroup: 7, supplementalGroups: "
        "[8], seccompProfile: {type: Unconfined}, appArmorProfile: {type: Localhost, "
        "localhostProfile: web}}\n  containers: [{name: c, image: i, "
        "securityContext: {runAsUser: 9, allowPrivilegeEscalation: false, capabilities: {drop: "
        "[ALL]}}}]\n");
    struct container_plan p = plan(&m, NULL);
    const struct security_config *s = &p.config.security;

    assert_int_equal(s->run_as_user, 9);
    assert_int_equal(s->run_as_group, 6);
    assert_int_equal(s->n_supplemental_groups, 2);
    assert_int_equal(s->supplemental_groups[0], 8);
    assert_int_equal(s->supplemental_groups[1], 7);
    assert_int_equal(s->seccomp.type, PROFILE_UNCONFINED);
    assert_int_equal(s->apparmor.type, PROFILE_LOCALHOST);
    assert_string_equal(s->apparmor.localhost_ref, "web");
    assert_true(s->apparmor.asked);
    assert_true(s->no_new_privs);
    assert_string_equal(s->drop_capabilities[0], "ALL");
    container_plan_free(&p);
    manifests_free(&m);
}

static void an_annotation_gives_a_profile_too(void **state)
{
    static const struct {
        const char *own, *value;
        enum profile_type type;
        const char *reference;
    } cases[] = {
        {"{}", "runtime/default", PROFILE_RUNTIME_DEFAULT, NULL},
        {"{}", "unconfined", PROFILE_UNCONFINED, NULL},
        {"{}", "localhost/mine", PROFILE_LOCALHOST, "mine"},
        {"{appArmorProfile: {type: RuntimeDefault}}", "unconfined", PROFILE_RUNTIME_DEFAULT, NULL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *text =
            xasprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: web, annotations: "
                      "{container.apparmor.security.beta.kubernetes.io/c: %s}}\nspec:\n"
                      "  securityContext: {appArmorProfile: {type: Localhost, localhostProfile: "
                      "pods}}\n"
                      "  containers: [{name: c, image: i, securityContext: %s}]\n",
                      cases[i].value, cases[i].own);
        struct manifests m = parse(text);
        struct container_plan p = plan(&m, NULL);
        assert_int_equal(p.config.security.apparmor.type, cases[i].type);
        assert_true(p.config.security.apparmor.asked);
        if (cases[i].reference)
            assert_string_equal(p.config.security.apparmor.localhost_ref, cases[i].reference);
        container_plan_free(&p);
        manifests_free(&m);
    }
}

static void a_group_alone_takes_the_images_user(void **state)
{
    struct manifests m = parse(HEAD "  securityContext: {runAsGroup: 6}\n"
                                    "  containers: [{name: c, image: i}]\n");
    struct container_plan by_id = plan(&m, "12:13"), by_name = plan(&m, "www"), none = plan(&m, "");

    assert_int_equal(by_id.config.security.run_as_user, 12);
    assert_string_equal(by_name.config.security.run_as_username, "www");
    assert_true(none.config.security.has_run_as_user);
    assert_int_equal(none.config.security.run_as_user, 0);
    container_plan_free(&by_id);
    container_plan_free(&by_name);
    container_plan_free(&none);
    manifests_free(&m);
}

static void run_as_non_root_is_kept(void **state)
{
    static const char *const refused[] = {NULL, "", "0", "0:5", "www"};
    struct manifests m = parse(HEAD "  securityContext: {runAsNonRoot: true}\n"
                                    "  containers: [{name: c, image: i}]\n");
    struct container_place place = {.manifest = m.items[0], .uid = "u", .node_name = "n"};
    struct container_plan p;

    for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
        struct err e = ERR_INIT;
        place.image_user = refused[i];
        assert_int_equal(container_plan_make(spec_container(m.items[0]->spec, 0), &place, &p, &e),
                         -1);
        assert_int_equal(e.code, ERR_FAILED_PRECONDITION);
        err_clear(&e);
    }
    p = plan(&m, "1000");
    container_plan_free(&p);
    manifests_free(&m);
}

/* ---- Mounts, sandbox, probes -------------------------------------------------------------------
 */

static void volumes_become_mounts(void **state)
{
    struct manifests m = parse(
        HEAD
        "  volumes: [{name: e, emptyDir: {}}, {name: h, hostPath: {path: /srv}}]\n"
        "  containers: [{name: c, image: i, volumeMounts: [{name: e, mountPath: /e}, {name: h, "
        "mountPath: /h, readOnly: true}]}]\n");
    struct container_plan p = plan(&m, NULL);

    assert_int_equal(p.config.n_mounts, 3);
    assert_string_equal(p.config.mounts[0].host_path, "/var/lib/podd/volumes/u-1/e");
    assert_string_equal(p.config.mounts[1].host_path, "/srv");
    assert_true(p.config.mounts[1].readonly);
    assert_string_equal(p.config.mounts[2].container_path, "/dev/termination-log");
    assert_string_equal(p.config.log_path, "c/3.log");
    container_plan_free(&p);
    manifests_free(&m);
}

static void the_sandbox_has_the_pods_names(void **state)
{
    struct manifests m =
        parse(HEAD "  dnsConfig: {nameservers: [1.1.1.1], options: [{name: ndots, value: '5'}]}\n"
                   "  shareProcessNamespace: true\n  containers: [{name: c, image: i, ports: "
                   "[{containerPort: 80, hostPort: 8080, protocol: UDP}]}]\n");
    struct sandbox_plan p;

    sandbox_plan_make(m.items[0], "u-1", 2, "/logs", "search a\nsearch b c\nnameserver 9.9.9.9\n",
                      0, &p);
    assert_string_equal(p.config.hostname, "web");
    assert_int_equal(p.config.attempt, 2);
    assert_int_equal(p.config.pid, NAMESPACE_POD);
    assert_int_equal(p.config.n_ports, 1);
    assert_int_equal(p.config.ports[0].host_port, 8080);
    assert_int_equal(p.config.n_labels, 4);
    assert_string_equal(p.config.labels[3].value, "u-1");
    assert_true(p.config.dns_given);
    assert_string_equal(p.config.dns_servers[0], "9.9.9.9");
    assert_string_equal(p.config.dns_servers[1], "1.1.1.1");
    assert_int_equal(strv_len(p.config.dns_searches), 2);
    assert_string_equal(p.config.dns_searches[0], "b");
    assert_string_equal(p.config.dns_options[0], "ndots:5");
    sandbox_plan_free(&p);
    manifests_free(&m);
}

static void probes_get_defaults_and_ports_of_names(void **state)
{
    struct manifests m = parse(HEAD "  containers: [{name: c, image: i, ports: [{name: http, "
                                    "containerPort: 8080}], livenessProbe: {httpGet: {port: http, "
                                    "path: x}, initialDelaySeconds: 3}}]\n");
    const struct manifest_container *c = spec_container(m.items[0]->spec, 0);
    struct probe_plan p;

    probe_plan_make(c, c->liveness, NULL, &p);
    assert_int_equal(p.spec.port, 8080);
    assert_string_equal(p.spec.path, "/x");
    assert_null(p.spec.host);
    assert_int_equal(p.spec.period, 10);
    assert_int_equal(p.spec.failure_threshold, 3);
    assert_int_equal(p.spec.termination_grace, -1);
    probe_plan_free(&p);
    char *text = probe_describe(c, c->liveness);
    assert_string_equal(
        text, "http-get http://:8080/x delay=3s timeout=1s period=10s #success=1 #failure=3");
    free(text);
    manifests_free(&m);
}

static void hosts_have_the_aliases(void **state)
{
    static const char *const ips[] = {"10.85.0.7"};
    struct manifests m = parse(HEAD "  hostAliases: [{ip: 1.2.3.4, hostnames: [db, db.example]}]\n"
                                    "  containers: [{name: c, image: i}]\n");
    char *text = hosts_text(m.items[0], ips, 1, NULL);

    assert_non_null(strstr(text, "127.0.0.1\tlocalhost\n"));
    assert_non_null(strstr(text, "10.85.0.7\tweb\n"));
    assert_non_null(strstr(text, "1.2.3.4\tdb\tdb.example\n"));
    free(text);
    manifests_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(references_are_expanded_as_kubernetes_does),
        cmocka_unit_test(environments_see_what_came_before_and_the_pod),
        cmocka_unit_test(resources_become_kubelets_numbers),
        cmocka_unit_test(one_container_without_limits_makes_the_pod_burstable),
        cmocka_unit_test(defaults_confine),
        cmocka_unit_test(the_container_wins_over_the_pod),
        cmocka_unit_test(an_annotation_gives_a_profile_too),
        cmocka_unit_test(a_group_alone_takes_the_images_user),
        cmocka_unit_test(run_as_non_root_is_kept),
        cmocka_unit_test(volumes_become_mounts),
        cmocka_unit_test(the_sandbox_has_the_pods_names),
        cmocka_unit_test(probes_get_defaults_and_ports_of_names),
        cmocka_unit_test(hosts_have_the_aliases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
