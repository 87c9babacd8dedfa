"""Every field of a v1 Pod is implemented or refused with a reason, and docs/manifests.md says which.

The fields are listed here by hand, from the reference of the Kubernetes API; what podd makes of each
is asked of podd. After a change of podd, PODD_WRITE_DOCS=1 has this file write the page anew.
"""
import json
import os
import re

import grpc
import podd_pb2
import pytest

from lib.daemon import SOURCE

PAGE = SOURCE / "docs/manifests.md"
HEAD = """# What podd makes of a Pod

`podctl apply` takes objects of `kind: Pod` as Kubernetes has them (v1), in YAML or JSON. No field is left out in
silence: it works, it has to have one value, it is something that only Kubernetes writes, or it is refused with its
path, line and column before anything changes. Values that ask for nothing (null, an empty list) are never refused.

This page is written and checked by tests/integration/test_manifest_fields.py.
"""

BUSYBOX = {"name": "c", "image": "busybox"}


def pod(**spec):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
            "spec": {"containers": [BUSYBOX], **spec}}


def container(**fields):
    return pod(containers=[{**BUSYBOX, **fields}])


def volume(**source):
    return pod(volumes=[{"name": "v", **source}])


PORT = {"port": 1}
AT = {}  # the marker: where the object of the type is
# Type -> (a pod with the object AT in it, what else the object needs, its path, its fields).
TYPES = {
    "ObjectMeta": ({"apiVersion": "v1", "kind": "Pod", "metadata": AT, "spec": {"containers": [BUSYBOX]}},
                   {"name": "p"}, "metadata",
                   "annotations creationTimestamp deletionGracePeriodSeconds deletionTimestamp finalizers "
                   "generateName generation labels managedFields name namespace ownerReferences "
                   "resourceVersion selfLink uid"),
    "PodSpec": ({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": AT},
                {"containers": [BUSYBOX]}, "spec",
                "activeDeadlineSeconds affinity automountServiceAccountToken containers dnsConfig dnsPolicy "
                "enableServiceLinks ephemeralContainers hostAliases hostIPC hostNetwork hostPID hostUsers "
                "hostname hostnameOverride imagePullSecrets initContainers nodeName nodeSelector os overhead "
                "preemptionPolicy priority priorityClassName readinessGates resourceClaims resources "
                "restartPolicy runtimeClassName schedulerName schedulingGates schedulingGroup securityContext "
                "serviceAccount serviceAccountName setHostnameAsFQDN shareProcessNamespace subdomain "
                "terminationGracePeriodSeconds tolerations topologySpreadConstraints volumes workloadRef"),
    "PodSecurityContext": (pod(securityContext=AT), {}, "spec.securityContext",
                           "appArmorProfile fsGroup fsGroupChangePolicy runAsGroup runAsNonRoot runAsUser "
                           "seLinuxChangePolicy seLinuxOptions seccompProfile supplementalGroups "
                           "supplementalGroupsPolicy sysctls windowsOptions"),
    "Sysctl": (pod(securityContext={"sysctls": [AT]}), {"name": "net.x", "value": "1"},
               "spec.securityContext.sysctls[0]", "name value"),
    "PodDNSConfig": (pod(dnsConfig=AT), {}, "spec.dnsConfig", "nameservers options searches"),
    "PodDNSConfigOption": (pod(dnsConfig={"options": [AT]}), {"name": "x"}, "spec.dnsConfig.options[0]",
                           "name value"),
    "HostAlias": (pod(hostAliases=[AT]), {"ip": "192.0.2.1"}, "spec.hostAliases[0]", "hostnames ip"),
    "PodOS": (pod(os=AT), {}, "spec.os", "name"),
    "Container": (pod(containers=[AT]), BUSYBOX, "spec.containers[0]",
                  "args command env envFrom image imagePullPolicy lifecycle livenessProbe name ports "
                  "readinessProbe resizePolicy resources restartPolicy restartPolicyRules securityContext "
                  "startupProbe stdin stdinOnce terminationMessagePath terminationMessagePolicy tty "
                  "volumeDevices volumeMounts workingDir"),
    "Container, of initContainers": (
        pod(initContainers=[AT]), {**BUSYBOX, "name": "i"}, "spec.initContainers[0]",
        "args command env envFrom image imagePullPolicy lifecycle livenessProbe name ports readinessProbe "
        "resizePolicy resources restartPolicy restartPolicyRules securityContext startupProbe stdin stdinOnce "
        "terminationMessagePath terminationMessagePolicy tty volumeDevices volumeMounts workingDir"),
    "EnvVar": (container(env=[AT]), {"name": "A"}, "spec.containers[0].env[0]", "name value valueFrom"),
    "EnvVarSource": (container(env=[{"name": "A", "valueFrom": AT}]), {},
                     "spec.containers[0].env[0].valueFrom",
                     "configMapKeyRef fieldRef fileKeyRef resourceFieldRef secretKeyRef"),
    "ObjectFieldSelector": (container(env=[{"name": "A", "valueFrom": {"fieldRef": AT}}]),
                            {"fieldPath": "metadata.name"},
                            "spec.containers[0].env[0].valueFrom.fieldRef", "apiVersion fieldPath"),
    "ResourceFieldSelector": (container(env=[{"name": "A", "valueFrom": {"resourceFieldRef": AT}}]),
                              {"resource": "limits.cpu"},
                              "spec.containers[0].env[0].valueFrom.resourceFieldRef",
                              "containerName divisor resource"),
    "ConfigMapKeySelector": (container(env=[{"name": "A", "valueFrom": {"configMapKeyRef": AT}}]),
                             {"name": "a", "key": "b"},
                             "spec.containers[0].env[0].valueFrom.configMapKeyRef", "key name optional"),
    "SecretKeySelector": (container(env=[{"name": "A", "valueFrom": {"secretKeyRef": AT}}]),
                          {"name": "a", "key": "b"},
                          "spec.containers[0].env[0].valueFrom.secretKeyRef", "key name optional"),
    "EnvFromSource": (container(envFrom=[AT]), {}, "spec.containers[0].envFrom[0]",
                      "configMapRef prefix secretRef"),
    "ConfigMapEnvSource": (container(envFrom=[{"configMapRef": AT}]), {"name": "a"},
                           "spec.containers[0].envFrom[0].configMapRef", "name optional"),
    "SecretEnvSource": (container(envFrom=[{"secretRef": AT}]), {"name": "a"},
                        "spec.containers[0].envFrom[0].secretRef", "name optional"),
    "ContainerPort": (container(ports=[AT]), {"containerPort": 1}, "spec.containers[0].ports[0]",
                      "containerPort hostIP hostPort name protocol"),
    "ResourceRequirements": (container(resources=AT), {}, "spec.containers[0].resources",
                             "claims limits requests"),
    "ResourceList": (container(resources={"limits": AT}), {}, "spec.containers[0].resources.limits",
                     "cpu memory ephemeral-storage hugepages-2Mi hugepages-1Gi"),
    "VolumeMount": (container(volumeMounts=[AT]), {"name": "v", "mountPath": "/v"},
                    "spec.containers[0].volumeMounts[0]",
                    "mountPath mountPropagation name readOnly recursiveReadOnly subPath subPathExpr"),
    "SecurityContext": (container(securityContext=AT), {}, "spec.containers[0].securityContext",
                        "allowPrivilegeEscalation appArmorProfile capabilities privileged procMount "
                        "readOnlyRootFilesystem runAsGroup runAsNonRoot runAsUser seLinuxOptions "
                        "seccompProfile windowsOptions"),
    "Capabilities": (container(securityContext={"capabilities": AT}), {},
                     "spec.containers[0].securityContext.capabilities", "add drop"),
    "SeccompProfile": (container(securityContext={"seccompProfile": AT}), {"type": "Unconfined"},
                       "spec.containers[0].securityContext.seccompProfile", "localhostProfile type"),
    "AppArmorProfile": (container(securityContext={"appArmorProfile": AT}), {"type": "Unconfined"},
                        "spec.containers[0].securityContext.appArmorProfile", "localhostProfile type"),
    "Probe": (container(readinessProbe=AT), {"exec": {"command": ["true"]}},
              "spec.containers[0].readinessProbe",
              "exec failureThreshold grpc httpGet initialDelaySeconds periodSeconds successThreshold tcpSocket "
              "terminationGracePeriodSeconds timeoutSeconds"),
    "ExecAction": (container(readinessProbe={"exec": AT}), {"command": ["true"]},
                   "spec.containers[0].readinessProbe.exec", "command"),
    "HTTPGetAction": (container(readinessProbe={"httpGet": AT}), PORT,
                      "spec.containers[0].readinessProbe.httpGet", "host httpHeaders path port scheme"),
    "HTTPHeader": (container(readinessProbe={"httpGet": {**PORT, "httpHeaders": [AT]}}),
                   {"name": "a", "value": "b"},
                   "spec.containers[0].readinessProbe.httpGet.httpHeaders[0]", "name value"),
    "TCPSocketAction": (container(readinessProbe={"tcpSocket": AT}), PORT,
                        "spec.containers[0].readinessProbe.tcpSocket", "host port"),
    "GRPCAction": (container(readinessProbe={"grpc": AT}), PORT,
                   "spec.containers[0].readinessProbe.grpc", "port service"),
    "Lifecycle": (container(lifecycle=AT), {}, "spec.containers[0].lifecycle",
                  "postStart preStop stopSignal"),
    "LifecycleHandler": (container(lifecycle={"preStop": AT}), {"exec": {"command": ["true"]}},
                         "spec.containers[0].lifecycle.preStop", "exec httpGet sleep tcpSocket"),
    "SleepAction": (container(lifecycle={"preStop": {"sleep": AT}}), {"seconds": 1},
                    "spec.containers[0].lifecycle.preStop.sleep", "seconds"),
    "Volume": (pod(volumes=[AT]), {"name": "v", "emptyDir": {}}, "spec.volumes[0]",
               "awsElasticBlockStore azureDisk azureFile cephfs cinder configMap csi downwardAPI emptyDir "
               "ephemeral fc flexVolume flocker gcePersistentDisk gitRepo glusterfs hostPath image iscsi name "
               "nfs persistentVolumeClaim photonPersistentDisk portworxVolume projected quobyte rbd scaleIO "
               "secret storageos vsphereVolume"),
    "EmptyDirVolumeSource": (volume(emptyDir=AT), {}, "spec.volumes[0].emptyDir", "medium sizeLimit"),
    "HostPathVolumeSource": (volume(hostPath=AT), {"path": "/tmp"}, "spec.volumes[0].hostPath", "path type"),
    "ImageVolumeSource": (volume(image=AT), {"reference": "a"}, "spec.volumes[0].image",
                          "pullPolicy reference"),
    "ConfigMapVolumeSource": (volume(configMap=AT), {"name": "a"}, "spec.volumes[0].configMap",
                              "defaultMode items name optional"),
    "SecretVolumeSource": (volume(secret=AT), {"secretName": "a"}, "spec.volumes[0].secret",
                           "defaultMode items optional secretName"),
    "KeyToPath": (volume(secret={"secretName": "a", "items": [AT]}), {"key": "a", "path": "b"},
                  "spec.volumes[0].secret.items[0]", "key mode path"),
    "DownwardAPIVolumeSource": (volume(downwardAPI=AT), {}, "spec.volumes[0].downwardAPI",
                                "defaultMode items"),
    "DownwardAPIVolumeFile": (volume(downwardAPI={"items": [AT]}),
                              {"path": "a", "fieldRef": {"fieldPath": "metadata.name"}},
                              "spec.volumes[0].downwardAPI.items[0]",
                              "fieldRef mode path resourceFieldRef"),
    "ProjectedVolumeSource": (volume(projected=AT), {"sources": [{"secret": {"name": "a"}}]},
                              "spec.volumes[0].projected", "defaultMode sources"),
    "VolumeProjection": (volume(projected={"sources": [AT]}), {"secret": {"name": "a"}},
                         "spec.volumes[0].projected.sources[0]",
                         "clusterTrustBundle configMap downwardAPI podCertificate secret "
                         "serviceAccountToken"),
}


def placed(tree, what):
    """The tree with `what` in the place of AT."""
    if tree is AT:
        return what
    if isinstance(tree, dict):
        return {key: placed(value, what) for key, value in tree.items()}
    if isinstance(tree, list):
        return [placed(value, what) for value in tree]
    return tree


def ask(podd, document):
    """What is wrong with it, without file, line and column; "": nothing."""
    try:
        podd.api.Apply(podd_pb2.ApplyRequest(manifest=json.dumps(document).encode(), dry_run=True))
    except grpc.RpcError as fault:
        assert fault.code() == grpc.StatusCode.INVALID_ARGUMENT, fault.details()
        found = re.fullmatch(r"[^:]*:\d+:\d+: (.*)", fault.details(), re.S)
        assert found, f"no line and column: {fault.details()}"
        return found.group(1)
    return ""


def verdict(podd, kind, name):
    """Asks by a value that no field takes, first in its object, so that it is the first fault."""
    tree, needs, path, _ = TYPES[kind]
    full = f"{path}.{name}"
    answer = ask(podd, placed(tree, {name: {"no-such-field": [{}]}, **{k: v for k, v in needs.items() if k != name}}))
    assert not re.search(rf"unknown field {re.escape(full)}($|[ ,])", answer), answer
    refused = re.match(rf"{re.escape(full)} is not supported: (.+)", answer, re.S)
    if refused:
        return f"refused: {refused.group(1)}"
    only = re.match(rf"{re.escape(full)} (?:can|must) only be (.+)", answer, re.S) or \
        re.match(rf"{re.escape(full)} must be (\S+): (.+)", answer, re.S)
    if only:
        return "only " + ": ".join(only.groups())
    if full in answer:
        return "works"
    return "written by Kubernetes only: ignored"


def render(podd):
    text = HEAD
    for kind, (_, _, path, names) in TYPES.items():
        text += f"\n## {kind}\n\n`{path}`\n\n| field | |\n|---|---|\n"
        for name in names.split():
            text += f"| `{name}` | {verdict(podd, kind, name)} |\n"
    return text


def test_a_field_that_does_not_exist_is_found(podd):
    assert ask(podd, pod()) == ""
    for kind, (tree, needs, path, _) in TYPES.items():
        answer = ask(podd, placed(tree, {"noSuchThing": 1, **needs}))
        assert answer.startswith(f"unknown field {path}.noSuchThing"), kind


@pytest.mark.parametrize("kind", TYPES)
def test_every_field_is_implemented_or_refused_with_a_reason(podd, kind):
    for name in TYPES[kind][3].split():
        found = verdict(podd, kind, name)
        assert not found.startswith("refused") or len(found) > 20, name
        if found.startswith("written by"):
            assert kind == "ObjectMeta", name


def test_the_page_says_what_podd_does(podd):
    text = render(podd)
    if os.environ.get("PODD_WRITE_DOCS"):
        PAGE.write_text(text)
    assert PAGE.read_text() == text, "PODD_WRITE_DOCS=1 writes the page anew"
