"""Namespaces, ConfigMaps and Secrets: declared, used, changed, deleted; and dry runs."""
import base64
import json
import pathlib
import subprocess

import grpc
import podd_pb2
import pytest
import yaml

from lib.cri import wait_until
from test_declared import get, main, manifest

RUNNING = podd_pb2.ContainerStatus.RUNNING
TERMINATED = podd_pb2.ContainerStatus.TERMINATED
MARK = "s3cret-marker-value"


def config_map(name, data, **more):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data, **more}


def secret(name, data, **more):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data,
            **more}


def namespace(name):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def request(*documents, **options):
    return podd_pb2.ApplyRequest(manifest=yaml.safe_dump_all(documents).encode(),
                                 file_name="test.yaml", **options)


@pytest.fixture
def apply(podd, no_leaks):
    """Applies documents; what they declare is deleted afterwards."""
    applied = {}

    def do(*documents, **options):
        answer = podd.api.Apply(request(*documents, **options))
        applied.update({(o.kind, o.namespace, o.name): o for o in answer.objects})
        return answer.objects
    yield do
    for kind, space, name in applied:
        try:
            if kind == "Pod":
                podd.api.DeletePod(podd_pb2.DeletePodRequest(
                    namespace=space, name=name, has_grace_period=True, grace_period=0))
            else:
                podd.api.DeleteObject(podd_pb2.DeleteObjectRequest(
                    kind=kind, namespace=space, name=name))
        except grpc.RpcError as e:
            assert e.code() == grpc.StatusCode.NOT_FOUND, e.details()


def get_object(podd, kind, name, space="default"):
    return podd.api.GetObject(podd_pb2.GetObjectRequest(kind=kind, namespace=space,
                                                        name=name)).object


def environment(*variables, **options):
    return {"env": [{"name": n, "valueFrom": {f"{kind}KeyRef": {"name": obj, "key": key, **options}}}
                    for n, kind, obj, key in variables]}


def logs_of_the_end(podd, name):
    wait_until(lambda: main(podd, name).state == TERMINATED)
    return podd.podctl("logs", name).stdout


# ---- Using ----------------------------------------------------------------------------------------


def test_a_container_gets_values_of_objects_applied_with_it(podd, apply):
    apply(manifest("uses", "echo $A $B $X_p", restart="Never",
                   envFrom=[{"configMapRef": {"name": "m"}}, {"prefix": "X_", "secretRef": {"name": "s"}}],
                   **environment(("B", "secret", "s", "p"))),
          config_map("m", {"A": "from-map"}), secret("s", {"p": "pass"}))
    assert logs_of_the_end(podd, "uses") == "from-map pass pass\n"


@pytest.mark.parametrize("ref, words", [
    (("X", "configMap", "later", "k"), 'configmap "later" not found'),
    (("X", "secret", "later", "k"), 'secret "later" not found'),
])
def test_a_missing_object_is_waited_for(podd, apply, ref, words):
    name = f"waits-{ref[1].lower()}"
    apply(manifest(name, "echo got $X", restart="Never", **environment(ref)))
    wait_until(lambda: main(podd, name).reason == "CreateContainerConfigError")
    assert words in main(podd, name).message
    assert get(podd, name).status.phase == "Pending"
    make = config_map if ref[1] == "configMap" else secret
    apply(make("later", {"k": "it"}))
    wait_until(lambda: main(podd, name).state == TERMINATED, 5, "it goes on at once, without back-off")
    assert podd.podctl("logs", name).stdout == "got it\n"


def test_what_is_optional_may_be_missing(podd, apply):
    apply(manifest("optional", "echo [$X][$Z]", restart="Never",
                   **environment(("X", "configMap", "none", "k"), ("Z", "secret", "none", "k"),
                                 optional=True)))
    assert logs_of_the_end(podd, "optional") == "[][]\n"


# ---- Keeping --------------------------------------------------------------------------------------


def test_objects_survive_podd_and_their_files_are_private(own_podd):
    podd = own_podd
    podd.api.Apply(request(config_map("m", {"a": "1"}), secret("s", {"p": MARK}), namespace("space")))
    before = [get_object(podd, "ConfigMap", "m").uid, get_object(podd, "Secret", "s").uid]
    podd.kill()
    podd.start()
    assert [get_object(podd, "ConfigMap", "m").uid, get_object(podd, "Secret", "s").uid] == before
    assert get_object(podd, "Namespace", "space").name == "space"
    directory = pathlib.Path(podd.root) / "objects"
    assert (directory.stat().st_mode & 0o777) == 0o700
    files = list(directory.iterdir())
    assert len(files) == 3 and all((f.stat().st_mode & 0o777) == 0o600 for f in files)
    assert podd.api.Apply(request(secret("s", {"p": MARK}))).objects[0].action == \
        podd_pb2.Applied.UNCHANGED


def test_a_broken_record_of_an_object_is_set_aside(own_podd):
    podd = own_podd
    podd.api.Apply(request(config_map("good", {}), config_map("bad", {})))
    podd.stop()
    record = pathlib.Path(podd.root) / "objects" / "ConfigMap_default_bad.json"
    record.write_text("{")
    podd.start()
    names = [o.name for o in podd.api.ListObjects(podd_pb2.ListObjectsRequest()).objects]
    assert names == ["good"] and record.with_name(record.name + ".broken").exists()


def test_values_of_secrets_are_shown_to_nobody_who_does_not_ask(own_podd):
    podd = own_podd
    podd.api.Apply(request(secret("s", {"p": MARK}), manifest(
        "leak", "sleep 1000", **environment(("P", "secret", "s", "p")))))
    wait_until(lambda: main(podd, "leak").state == RUNNING)
    podd.podctl("describe", "leak")
    with pytest.raises(grpc.RpcError):
        podd.api.Apply(request(secret("s", {"p": 7}), secret("t", {"x": MARK})))
    shown = [str(get_object(podd, "Secret", "s")), str(get(podd, "leak")),
             str(podd.api.ListObjects(podd_pb2.ListObjectsRequest())),
             str(podd.api.Apply(request(secret("s", {"p": "other"}), dry_run=True))),
             podd.log.read_text(errors="replace")]
    for text in shown:
        assert MARK not in text and base64.b64encode(MARK.encode()).decode() not in text
    assert [(k.name, k.size) for k in get_object(podd, "Secret", "s").keys] == [("p", len(MARK))]
    data = podd.api.GetSecretData(podd_pb2.GetSecretDataRequest(name="s")).data
    assert data["p"] == MARK.encode()
    found = subprocess.run(["grep", "-rlF", MARK, str(podd.root), str(podd.state)],
                           stdout=subprocess.PIPE, encoding="utf-8", check=False).stdout.split()
    for path in found:  # records that hold the environment of a process
        assert (pathlib.Path(path).stat().st_mode & 0o777) == 0o600, path


# ---- Changing -------------------------------------------------------------------------------------


def test_an_apply_says_what_it_did_and_the_same_again_changes_nothing(podd, apply):
    documents = [namespace("ns-act"), config_map("act", {"a": "1"}), secret("act", {"b": "2"})]
    actions = [o.action for o in apply(*documents)]
    assert actions == [podd_pb2.Applied.CREATED] * 3
    version = get_object(podd, "ConfigMap", "act").resource_version
    assert [o.action for o in apply(*documents)] == [podd_pb2.Applied.UNCHANGED] * 3
    assert get_object(podd, "ConfigMap", "act").resource_version == version
    assert [o.action for o in apply(config_map("act", {"a": "2"}))] == [podd_pb2.Applied.CONFIGURED]
    assert get_object(podd, "ConfigMap", "act").resource_version > version


@pytest.mark.parametrize("before, after, words", [
    (config_map("im", {"a": "1"}, immutable=True), config_map("im", {"a": "2"}, immutable=True),
     "is immutable"),
    (config_map("im", {"a": "1"}, immutable=True), config_map("im", {"a": "1"}), "is immutable"),
    (secret("im", {"a": "1"}), secret("im", {"a": "1"}, type="example.org/x"), "type of a Secret"),
])
def test_what_may_not_change_is_refused_before_anything_does(podd, apply, before, after, words):
    apply(before)
    with pytest.raises(grpc.RpcError) as caught:
        apply(config_map("other", {}), after)
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert words in caught.value.details()
    assert "other" not in [o.name for o in podd.api.ListObjects(podd_pb2.ListObjectsRequest()).objects]


def test_a_dry_run_tells_each_field_and_changes_nothing(podd, apply):
    document = manifest("dry", "sleep 1000")
    apply(document, config_map("dry", {"a": "1"}))
    wait_until(lambda: main(podd, "dry").state == RUNNING)
    uid = get(podd, "dry").uid
    document["spec"]["containers"][0]["command"][2] = "sleep 2000"
    answer = podd.api.Apply(request(document, config_map("dry", {"a": "2"}), config_map("new", {}),
                                    dry_run=True)).objects
    found = {(o.kind, o.name): o for o in answer}
    pod = found["Pod", "dry"]
    assert pod.action == podd_pb2.Applied.CONFIGURED and pod.replaces
    assert [(c.path, json.loads(c.before), json.loads(c.after)) for c in pod.changes] == \
        [("spec.containers[0].command[2]", "sleep 1000", "sleep 2000")]
    change = found["ConfigMap", "dry"].changes[0]
    assert (change.path, change.before, change.after) == ("data.a", '"1"', '"2"')
    assert found["ConfigMap", "new"].action == podd_pb2.Applied.CREATED
    assert get(podd, "dry").uid == uid and not get(podd, "dry").status.reason
    assert get_object(podd, "ConfigMap", "dry").keys[0].size == 1
    assert "new" not in [o.name for o in podd.api.ListObjects(podd_pb2.ListObjectsRequest()).objects]


def test_several_files_are_one_apply(podd, apply):
    good = yaml.safe_dump(config_map("one", {})).encode()
    bad = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: two}\ndat: {}\n"
    with pytest.raises(grpc.RpcError) as caught:
        podd.api.Apply(podd_pb2.ApplyRequest(files=[
            podd_pb2.ManifestFile(manifest=good, file_name="a.yaml"),
            podd_pb2.ManifestFile(manifest=bad, file_name="b.yaml")]))
    assert caught.value.details() == "b.yaml:4:1: unknown field dat, did you mean data?"
    assert not podd.api.ListObjects(podd_pb2.ListObjectsRequest(kind="ConfigMap")).objects


# ---- Deleting -------------------------------------------------------------------------------------


def test_deleting_a_namespace_ends_all_that_is_in_it(podd, apply):
    inside = [manifest("in", "sleep 1000"), config_map("in", {}), secret("in", {})]
    for document in inside:
        document["metadata"]["namespace"] = "gone"
    apply(namespace("gone"), config_map("stays", {}), *inside)
    wait_until(lambda: podd.api.GetPod(podd_pb2.GetPodRequest(namespace="gone", name="in"))
               .pod.status.phase == "Running")
    podd.api.DeleteObject(podd_pb2.DeleteObjectRequest(kind="Namespace", name="gone"), timeout=30)
    left = podd.api.ListObjects(podd_pb2.ListObjectsRequest()).objects
    assert [o.name for o in left if o.name in ("gone", "in", "stays")] == ["stays"]
    assert not podd.api.ListPods(podd_pb2.ListPodsRequest(namespace="gone")).pods


def test_the_end_of_a_namespace_outlives_podd(own_podd):
    podd = own_podd
    document = manifest("in", "trap '' TERM; while :; do sleep 0.1; done",
                        pod={"terminationGracePeriodSeconds": 3})
    document["metadata"]["namespace"] = "gone"
    podd.api.Apply(request(namespace("gone"), document))
    wait_until(lambda: podd.api.GetPod(podd_pb2.GetPodRequest(namespace="gone", name="in"))
               .pod.status.phase == "Running")
    podd.api.DeleteObject(podd_pb2.DeleteObjectRequest(kind="Namespace", name="gone", no_wait=True))
    podd.kill()  # what was answered is on disk
    podd.start()
    assert get_object(podd, "Namespace", "gone").terminating
    with pytest.raises(grpc.RpcError) as caught:
        podd.api.Apply(request(document))
    assert "is being deleted" in caught.value.details()
    wait_until(lambda: not podd.api.ListObjects(podd_pb2.ListObjectsRequest()).objects, 20)


@pytest.mark.parametrize("call, message, code", [
    ("GetObject", podd_pb2.GetObjectRequest(kind="Secret", name="nope"), "NOT_FOUND"),
    ("DeleteObject", podd_pb2.DeleteObjectRequest(kind="Namespace", name="nope"), "NOT_FOUND"),
    ("GetSecretData", podd_pb2.GetSecretDataRequest(name="nope"), "NOT_FOUND"),
    ("GetObject", podd_pb2.GetObjectRequest(kind="Service", name="nope"), "INVALID_ARGUMENT"),
    ("Apply", podd_pb2.ApplyRequest(), "INVALID_ARGUMENT"),
])
def test_what_is_not_there_is_said(podd, call, message, code):
    with pytest.raises(grpc.RpcError) as caught:
        getattr(podd.api, call)(message)
    assert caught.value.code().name == code
