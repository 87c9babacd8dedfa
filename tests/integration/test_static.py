"""Pods that files declare: the directory of manifests, watched."""
import grpc
import podd_pb2
import pytest
import yaml

from lib.cri import wait_until


def manifest(name, label="one", **metadata):
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": {"version": label}, **metadata},
            "spec": {"terminationGracePeriodSeconds": 0,
                     "containers": [{"name": "main", "image": "busybox", "imagePullPolicy": "Never",
                                     "command": ["sleep", "1000"]}]}}


class Directory:
    """The directory of manifests of a podd of the test's own."""

    def __init__(self, podd):
        self.podd = podd
        self.path = podd.directory / "manifests"
        podd.config.write_text(f"{podd.config.read_text()}manifests: {self.path}\n")

    def write(self, name, *documents):
        text = documents[0] if isinstance(documents[0], str) else yaml.safe_dump_all(documents)
        (self.path / name).write_text(text)

    def names(self):
        return sorted(p.name for p in self.podd.api.ListPods(podd_pb2.ListPodsRequest()).pods
                      if not p.status.terminating)

    def get(self, name):
        return self.podd.api.GetPod(podd_pb2.GetPodRequest(name=name)).pod

    def wait(self, *names, timeout=10):
        wait_until(lambda: self.names() == sorted(names), timeout, f"pods {names}")

    def broken(self, name):
        events = self.podd.api.ListEvents(podd_pb2.ListEventsRequest(pod=name))
        return [e.message for e in events if e.reason == "ManifestBroken"]


@pytest.fixture
def files(own_podd):
    directory = Directory(own_podd)
    directory.path.mkdir()
    own_podd.restart()
    return directory


def test_edits_renames_and_deletions_take_effect(files):
    files.write("web.yaml", manifest("web"))
    files.wait("web")
    wait_until(lambda: files.get("web").status.phase == "Running", what="running")
    first = files.get("web")
    assert first.manifest_file == "web.yaml"
    assert "web.yaml" in files.podd.podctl("describe", "web").stdout

    files.write("web.yaml", manifest("web", "two"))
    wait_until(lambda: files.get("web").labels["version"] == "two", what="the new label")
    assert files.get("web").uid == first.uid, "a label does not restart a pod"

    (files.path / "web.yaml").rename(files.path / "site.yml")
    wait_until(lambda: files.get("web").manifest_file == "site.yml", what="the new name")
    assert files.get("web").uid == first.uid, "a rename does not restart a pod"

    files.write("site.yml", manifest("web"), manifest("more"))
    files.wait("web", "more")
    files.write("site.yml", manifest("more"))
    files.wait("more")
    (files.path / "site.yml").unlink()
    files.wait()


def test_another_spec_makes_another_pod(files):
    files.write("a.json", manifest("a"))
    files.wait("a")
    before = files.get("a")
    changed = manifest("a")
    changed["spec"]["containers"][0]["command"] = ["sleep", "2000"]
    files.write("a.json", changed)
    wait_until(lambda: files.get("a").uid != before.uid, what="another pod")
    wait_until(lambda: files.get("a").status.phase == "Running", what="running")


def test_a_broken_file_keeps_the_last_good_one_and_says_so(files):
    files.write("a.yaml", manifest("a"))
    files.wait("a")
    uid = files.get("a").uid
    files.write("a.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containrs: []}\n")
    wait_until(lambda: files.broken("a"), what="an event")
    assert "a.yaml:4:8" in files.broken("a")[0] and "did you mean" in files.broken("a")[0]
    files.podd.restart()
    wait_until(lambda: files.podd.log.read_text().count("a.yaml is not applied") == 2, what="the log")
    assert files.names() == ["a"] and files.get("a").uid == uid
    files.write("a.yaml", manifest("a", "mended"))
    wait_until(lambda: files.get("a").labels["version"] == "mended", what="the mended one")
    assert files.get("a").uid == uid


def test_what_changed_while_podd_was_down_is_found(files):
    files.write("a.yaml", manifest("a"))
    files.write("b.yaml", manifest("b"))
    files.wait("a", "b")
    kept = files.get("b").uid
    files.podd.kill()
    (files.path / "a.yaml").unlink()
    files.write("c.yaml", manifest("c"))
    files.podd.start()
    files.wait("b", "c")
    assert files.get("b").uid == kept


def test_a_directory_that_comes_later_and_goes(own_podd):
    files = Directory(own_podd)
    own_podd.restart()
    files.path.mkdir()
    files.write("a.yaml", manifest("a"))
    files.wait("a")
    uid = files.get("a").uid
    files.path.rename(files.path.with_name("elsewhere"))
    wait_until(lambda: "the pods of its files stay" in own_podd.log.read_text(), what="the log")
    assert files.get("a").uid == uid
    files.path.with_name("elsewhere").rename(files.path)
    files.write("b.yaml", manifest("b"))
    files.wait("a", "b")
    assert files.get("a").uid == uid


def test_other_names_and_kinds(files):
    files.write(".a.yaml.swp", manifest("hidden"))
    files.write("a.yaml~", manifest("backup"))
    files.write("a.txt", manifest("text"))
    (files.path / "directory.yaml").mkdir()
    files.write("map.yaml", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}})
    files.write("z.yaml", manifest("z"))
    files.wait("z")
    wait_until(lambda: "ConfigMap m: only kind: Pod" in files.podd.log.read_text(), what="the log")
    assert files.names() == ["z"]


def test_two_files_do_not_fight_for_a_pod(files):
    files.write("a.yaml", manifest("same", "a"))
    files.wait("same")
    files.write("b.yaml", manifest("same", "b"))
    wait_until(lambda: "pod default/same is declared by the file a.yaml already" in
               files.podd.log.read_text(), what="the log")
    files.podd.restart()
    files.wait("same")
    assert files.get("same").labels["version"] == "a"
    (files.path / "a.yaml").unlink()
    wait_until(lambda: files.get("same").labels["version"] == "b", 15, "the other file's")


def test_a_files_pod_is_changed_by_its_file_alone(files):
    files.write("a.yaml", manifest("a", namespace="apart"))
    files.podd.podctl("apply", "-f", "-", stdin=yaml.safe_dump(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "apart"}}))
    files.wait("a")
    uid = files.podd.api.GetPod(podd_pb2.GetPodRequest(namespace="apart", name="a")).pod.uid
    for call, request in (
            (files.podd.api.DeletePod, podd_pb2.DeletePodRequest(namespace="apart", name="a")),
            (files.podd.api.DeleteObject, podd_pb2.DeleteObjectRequest(kind="Namespace", name="apart")),
            (files.podd.api.Apply, podd_pb2.ApplyRequest(
                manifest=yaml.safe_dump(manifest("a", "other", namespace="apart")).encode()))):
        with pytest.raises(grpc.RpcError) as refusal:
            call(request)
        assert refusal.value.code() == grpc.StatusCode.FAILED_PRECONDITION
        assert "is declared by the file a.yaml" in refusal.value.details()
    again = files.podd.api.Apply(podd_pb2.ApplyRequest(
        manifest=yaml.safe_dump(manifest("a", namespace="apart")).encode()))
    assert again.objects[0].action == podd_pb2.Applied.UNCHANGED
    assert files.podd.api.GetPod(podd_pb2.GetPodRequest(namespace="apart", name="a")).pod.uid == uid

    files.podd.podctl("restart", "a", "-n", "apart")
    pod = files.podd.api.GetPod(podd_pb2.GetPodRequest(namespace="apart", name="a")).pod
    assert pod.uid != uid and pod.manifest_file == "a.yaml"
    (files.path / "a.yaml").unlink()
    files.wait()


def test_a_pod_of_an_apply_is_not_taken_by_a_file(files):
    files.podd.podctl("apply", "-f", "-", stdin=yaml.safe_dump(manifest("a", "applied")))
    files.write("a.yaml", manifest("a", "file"))
    wait_until(lambda: "was declared by an apply already" in files.podd.log.read_text(), what="the log")
    assert files.get("a").labels["version"] == "applied"
    files.podd.podctl("delete", "pod", "a")
    wait_until(lambda: files.names() == ["a"] and files.get("a").manifest_file == "a.yaml", 15,
               "the file's pod")
