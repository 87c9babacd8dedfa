/*
 * test-node-manifest.c - manifests: what is read, and each way to be wrong with its exact words.
 */
#include "../../src/node/manifest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define POD "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n"

static void assert_refused(const char *text, const char *message)
{
    struct err e = ERR_INIT;
    struct manifests found = {0};

    int r = manifests_parse(text, strlen(text), "web.yaml", "default", &found, &e);
    if (r == 0)
        fail_msg("was accepted, should say: %s", message);
    assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
    assert_string_equal(err_text(&e), message);
    assert_null(found.items);
    err_clear(&e);
}

static struct manifests parse(const char *text)
{
    struct err e = ERR_INIT;
    struct manifests found = {0};

    if (manifests_parse(text, strlen(text), "web.yaml", "default", &found, &e) < 0)
        fail_msg("refused: %s", err_text(&e));
    return found;
}

/* ---- What is read ------------------------------------------------------------------------------
 */

static void the_example_is_read(void **state)
{
    struct manifests m = parse("apiVersion: v1\n"
                               "kind: Pod\n"
                               "metadata:\n"
                               "  name: web\n"
                               "  labels: {app: web}\n"
                               "spec:\n"
                               "  terminationGracePeriodSeconds: 2\n"
                               "  containers:\n"
                               "    - name: server\n"
                               "      image: busybox\n"
                               "      imagePullPolicy: Never\n"
                               "      command: [sh, -c]\n"
                               "      ports:\n"
                               "        - {name: http, containerPort: 8080}\n"
                               "      readinessProbe:\n"
                               "        httpGet: {path: /, port: http}\n"
                               "        periodSeconds: 1\n");
    assert_int_equal(m.count, 1);
    const struct pod_manifest *pod = m.items[0];
    assert_string_equal(pod->metadata->name, "web");
    assert_string_equal(pod->metadata->namespace_, "default");
    assert_string_equal(pod->metadata->labels.items[0].value, "web");
    assert_int_equal(pod->spec->grace.value, 2);
    assert_int_equal(pod->spec->restart, RESTART_UNSET);
    const struct manifest_container *c = spec_container(pod->spec, 0);
    assert_string_equal(c->command[1], "-c");
    assert_int_equal(c->pull, PULL_NEVER);
    assert_int_equal(container_find_port(c, "http")->container_port.value, 8080);
    assert_string_equal(c->readiness->http->port.name, "http");
    assert_int_equal(c->readiness->period.value, 1);
    assert_null(c->liveness);
    manifests_free(&m);
}

static void json_is_read_and_normalised(void **state)
{
    struct manifests m =
        parse("{\"kind\": \"Pod\", \"apiVersion\": \"v1\", \"status\": {\"x\": 1},\n"
              " \"metadata\": {\"name\": \"a\", \"uid\": \"7\", \"labels\": null},\n"
              " \"spec\": {\"containers\": [{\"name\": \"c\", \"image\": \"i\"}]}}");
    assert_string_equal(m.items[0]->json,
                        "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\","
                        "\"namespace\":\"default\"},\"spec\":{\"containers\":[{\"image\":\"i\","
                        "\"name\":\"c\"}]}}");
    manifests_free(&m);
}

static void the_normalised_form_reads_back_the_same(void **state)
{
    struct manifests m =
        parse(POD "  containers:\n  - {name: c, image: i, resources: {limits: {cpu: 0.1, memory: "
                  "1e3}}, env: [{name: A, value: \"8080\"}, {name: B, value: \"yes\"}]}\n");
    struct manifests again = parse(m.items[0]->json);

    assert_string_equal(m.items[0]->json, again.items[0]->json);
    assert_int_equal(spec_container(again.items[0]->spec, 0)->resources->limits->cpu.milli, 100);
    assert_string_equal(container_env(spec_container(again.items[0]->spec, 0), 1)->value, "yes");
    manifests_free(&m);
    manifests_free(&again);
}

static void several_documents_and_empty_ones_are_read(void **state)
{
    struct manifests m = parse("---\n" POD "  containers: [{name: c, image: i}]\n---\n---\n"
                               "apiVersion: v1\nkind: Pod\nmetadata: {name: b, namespace: other}\n"
                               "spec: {containers: [{name: c, image: i}]}\n");
    assert_int_equal(m.count, 2);
    assert_string_equal(m.items[1]->metadata->namespace_, "other");
    manifests_free(&m);
}

static void what_asks_for_nothing_is_not_refused(void **state)
{
    struct manifests m = parse(POD "  tolerations: []\n  affinity: {}\n  nodeSelector: ~\n"
                                   "  automountServiceAccountToken: false\n  os: {name: linux}\n"
                                   "  containers: [{name: c, image: i, envFrom: []}]\n");
    assert_int_equal(m.count, 1);
    manifests_free(&m);
}

/* ---- Names of fields ---------------------------------------------------------------------------
 */

static void an_unknown_field_is_named_with_a_suggestion(void **state)
{
    assert_refused(POD "  containers:\n    - name: c\n      image: i\n      livenesProbe: {}\n",
                   "web.yaml:8:7: unknown field spec.containers[0].livenesProbe, did you mean "
                   "livenessProbe?");
    assert_refused("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspc: {}\n",
                   "web.yaml:4:1: unknown field spc, did you mean spec?");
    assert_refused(POD "  containers: [{name: c, image: i, zzzzzzzzzz: 1}]\n",
                   "web.yaml:5:36: unknown field spec.containers[0].zzzzzzzzzz");
}

static void a_field_podd_lacks_is_refused_with_the_reason(void **state)
{
    assert_refused(POD "  nodeName: other\n  containers: [{name: c, image: i}]\n",
                   "web.yaml:5:3: spec.nodeName is not supported: podd is one node, nothing is "
                   "scheduled");
    assert_refused(POD "  dnsPolicy: Default\n  setHostnameAsFQDN: true\n"
                       "  containers: [{name: c, image: i}]\n",
                   "web.yaml:6:22: spec.setHostnameAsFQDN can only be false: podd's pods have no "
                   "domain");
    assert_refused(POD "  hostUsers: false\n  hostPID: true\n"
                       "  containers: [{name: c, image: i}]\n",
                   "web.yaml:5:14: spec.hostUsers: false and spec.hostPID exclude each other");
    assert_refused(POD
                   "  containers: [{name: c, image: i, securityContext: {procMount: Unmasked}}]\n",
                   "web.yaml:5:65: spec.containers[0].securityContext.procMount: Unmasked needs "
                   "hostUsers: false");
}

static void a_missing_field_is_named(void **state)
{
    assert_refused(POD "  containers: [{name: c}]\n",
                   "web.yaml:5:16: missing field spec.containers[0].image");
    assert_refused(POD "  restartPolicy: Never\n", "web.yaml:5:3: missing field spec.containers");
    assert_refused(POD "  securityContext: {appArmorProfile: {type: Localhost}}\n"
                       "  containers: [{name: c, image: i}]\n",
                   "web.yaml:5:38: missing field "
                   "spec.securityContext.appArmorProfile.localhostProfile");
    assert_refused(
        POD "  securityContext: {appArmorProfile: {type: Unconfined, localhostProfile: a}}\n"
            "  containers: [{name: c, image: i}]\n",
        "web.yaml:5:38: spec.securityContext.appArmorProfile.localhostProfile needs type "
        "Localhost");
    assert_refused(POD "  containers: []\n", "web.yaml:5:15: spec.containers must not be empty");
    assert_refused("apiVersion: v1\nkind: Pod\nmetadata: {}\nspec: {}\n",
                   "web.yaml:3:11: missing field metadata.name");
    assert_refused("kind: Pod\n", "web.yaml:1:1: missing field apiVersion");
    assert_refused("", "web.yaml: there is no object in this file");
}

static void other_kinds_are_named(void **state)
{
    assert_refused("apiVersion: apps/v1\nkind: Deployment\n",
                   "web.yaml:2:7: kind Deployment is not supported: podd knows objects of kind "
                   "Pod, Namespace, ConfigMap, Secret and List");
    assert_refused("apiVersion: v2\nkind: Pod\n",
                   "web.yaml:1:13: apiVersion of a Pod must be v1, not v2");
    assert_refused("- a\n- b\n",
                   "web.yaml:1:1: this is no Kubernetes object: a mapping is expected");
}

/* ---- Types and values --------------------------------------------------------------------------
 */

static void a_wrong_type_says_what_is_wanted(void **state)
{
    assert_refused(POD "  containers: {name: c}\n",
                   "web.yaml:5:15: spec.containers must be a list, not a mapping");
    assert_refused(POD "  containers: [{name: c, image: i, args: [1]}]\n",
                   "web.yaml:5:43: spec.containers[0].args[0] must be a string, not a number; put "
                   "it in quotes: \"1\"");
    assert_refused(
        POD "  containers: [{name: c, image: i, env: [{name: A, value: yes}]}]\n",
        "web.yaml:5:59: spec.containers[0].env[0].value must be a string, not a boolean; "
        "put it in quotes: \"yes\"");
    assert_refused(POD "  containers: [{name: c, image: i, tty: \"true\"}]\n",
                   "web.yaml:5:41: spec.containers[0].tty must be true or false, not true");
    assert_refused(
        POD "  terminationGracePeriodSeconds: [1]\n  containers: [{name: c, image: i}]\n",
        "web.yaml:5:34: spec.terminationGracePeriodSeconds must be a whole number, not a "
        "list");
}

static void impossible_values_are_refused(void **state)
{
    assert_refused(POD "  containers: [{name: Server, image: i}]\n",
                   "web.yaml:5:23: spec.containers[0].name must be at most 63 lower-case letters, "
                   "digits and '-', with a letter or digit at either end, not \"Server\"");
    assert_refused(POD "  containers: [{name: c, image: i, ports: [{containerPort: 70000}]}]\n",
                   "web.yaml:5:60: spec.containers[0].ports[0].containerPort must be 1 to 65535, "
                   "not 70000");
    assert_refused(POD "  restartPolicy: always\n  containers: [{name: c, image: i}]\n",
                   "web.yaml:5:18: spec.restartPolicy must be Always, OnFailure or Never, not "
                   "\"always\"");
    assert_refused(POD "  containers: [{name: c, image: i, livenessProbe: {periodSeconds: 0, "
                       "tcpSocket: {port: 1}}}]\n",
                   "web.yaml:5:67: spec.containers[0].livenessProbe.periodSeconds must be at least "
                   "1, not 0");
    assert_refused(POD
                   "  containers: [{name: c, image: i, resources: {limits: {memory: 64MiB}}}]\n",
                   "web.yaml:5:65: spec.containers[0].resources.limits.memory must be a quantity "
                   "such as 100m or 64Mi, not 64MiB");
    assert_refused(POD "  containers: [{name: c, image: \"a b\"}]\n",
                   "web.yaml:5:33: spec.containers[0].image must be an image name such as "
                   "docker.io/library/busybox:1.36, not \"a b\"");
    assert_refused(POD "  volumes: [{name: v, emptyDir: {}}]\n  containers: [{name: c, image: i, "
                       "volumeMounts: [{name: v, mountPath: /a/../b}]}]\n",
                   "web.yaml:6:72: spec.containers[0].volumeMounts[0].mountPath must not contain "
                   "'..', not \"/a/../b\"");
}

static void the_syntax_of_the_file_is_checked_first(void **state)
{
    struct err e = ERR_INIT;
    struct manifests found = {0};
    const char text[] = "apiVersion: v1\nkind: [\n";

    assert_int_equal(manifests_parse(text, strlen(text), "web.yaml", "", &found, &e), -1);
    assert_true(str_starts_with(err_text(&e), "web.yaml:"));
    err_clear(&e);
}

/* ---- Across fields -----------------------------------------------------------------------------
 */

static void references_must_lead_somewhere(void **state)
{
    assert_refused(POD "  containers: [{name: c, image: i, volumeMounts: [{name: v, mountPath: "
                       "/a}]}]\n",
                   "web.yaml:5:58: spec.containers[0].volumeMounts[0].name: the pod has no volume "
                   "named v");
    assert_refused(POD "  containers: [{name: c, image: i, readinessProbe: {httpGet: {port: "
                       "http}}}]\n",
                   "web.yaml:5:62: spec.containers[0].readinessProbe: the container has no port "
                   "named http");
    assert_refused(POD "  containers: [{name: c, image: i, env: [{name: A, valueFrom: {fieldRef: "
                       "{fieldPath: metadata.color}}}]}]\n",
                   "web.yaml:5:63: spec.containers[0].env[0].valueFrom fieldRef can be "
                   "metadata.name, metadata.namespace, metadata.uid, metadata.labels['KEY'], "
                   "metadata.annotations['KEY'], spec.nodeName, status.podIP or status.podIPs");
}

static void annotations_of_profiles_are_checked(void **state)
{
#define ANNOTATED(container, value)                                                                \
    "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  annotations:\n"                            \
    "    container.apparmor.security.beta.kubernetes.io/" container ": " value "\n"                \
    "spec: {containers: [{name: c, image: i}]}\n"
    assert_refused(ANNOTATED("d", "unconfined"),
                   "web.yaml:6:55: metadata.annotations: "
                   "container.apparmor.security.beta.kubernetes.io/d: there is no container of "
                   "that name");
    assert_refused(ANNOTATED("c", "localhost/"),
                   "web.yaml:6:55: metadata.annotations: "
                   "container.apparmor.security.beta.kubernetes.io/c must be runtime/default, "
                   "unconfined or localhost/PROFILE, not \"localhost/\"");
}

static void duplicates_are_found(void **state)
{
    assert_refused(POD "  initContainers: [{name: c, image: i}]\n"
                       "  containers: [{name: c, image: i}]\n",
                   "web.yaml:6:23: spec.containers[0].name: another container is named c");
    assert_refused(POD "  containers:\n"
                       "  - {name: a, image: i, ports: [{containerPort: 1, hostPort: 80}]}\n"
                       "  - {name: b, image: i, ports: [{containerPort: 2, hostPort: 80}]}\n",
                   "web.yaml:7:33: spec.containers[1].ports[0].hostPort: 80 is taken by container "
                   "a");
    assert_refused(POD "  containers: [{name: c, image: i}]\n---\n" POD
                       "  containers: [{name: c, image: i}]\n",
                   "web.yaml:7:1: pod default/web is declared twice");
}

static void values_that_exclude_each_other_are_refused(void **state)
{
    assert_refused(POD "  containers: [{name: c, image: i, livenessProbe: {exec: {command: [a]}, "
                       "tcpSocket: {port: 1}}}]\n",
                   "web.yaml:5:51: spec.containers[0].livenessProbe must have exactly one of exec, "
                   "grpc, httpGet and tcpSocket");
    assert_refused(POD "  containers: [{name: c, image: i, livenessProbe: {exec: {command: [a]}, "
                       "successThreshold: 2}}]\n",
                   "web.yaml:5:92: spec.containers[0].livenessProbe.successThreshold must be 1");
    assert_refused(POD "  containers: [{name: c, image: i, resources: {requests: {cpu: 2}, limits: "
                       "{cpu: 1500m}}}]\n",
                   "web.yaml:5:64: spec.containers[0].resources.requests.cpu is more than the "
                   "limit");
    assert_refused(POD "  shareProcessNamespace: true\n  hostPID: true\n"
                       "  containers: [{name: c, image: i}]\n",
                   "web.yaml:5:26: spec.shareProcessNamespace and spec.hostPID exclude each other");
}

static void a_fault_in_the_last_document_refuses_all(void **state)
{
    assert_refused(POD "  containers: [{name: c, image: i}]\n---\napiVersion: v1\nkind: Pod\n"
                       "metadata: {name: b}\nspec: {containers: [{name: c}]}\n",
                   "web.yaml:10:21: missing field spec.containers[0].image");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_is_read),
        cmocka_unit_test(json_is_read_and_normalised),
        cmocka_unit_test(the_normalised_form_reads_back_the_same),
        cmocka_unit_test(several_documents_and_empty_ones_are_read),
        cmocka_unit_test(what_asks_for_nothing_is_not_refused),
        cmocka_unit_test(an_unknown_field_is_named_with_a_suggestion),
        cmocka_unit_test(a_field_podd_lacks_is_refused_with_the_reason),
        cmocka_unit_test(a_missing_field_is_named),
        cmocka_unit_test(other_kinds_are_named),
        cmocka_unit_test(a_wrong_type_says_what_is_wanted),
        cmocka_unit_test(impossible_values_are_refused),
        cmocka_unit_test(the_syntax_of_the_file_is_checked_first),
        cmocka_unit_test(references_must_lead_somewhere),
        cmocka_unit_test(annotations_of_profiles_are_checked),
        cmocka_unit_test(duplicates_are_found),
        cmocka_unit_test(values_that_exclude_each_other_are_refused),
        cmocka_unit_test(a_fault_in_the_last_document_refuses_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
