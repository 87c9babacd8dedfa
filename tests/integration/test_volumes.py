"""Volumes of declared pods: what they hold, how they follow changes, and what cannot leave them."""
import os
import pathlib

import podd_pb2
import pytest

from lib.cri import wait_until
from test_declared import get, main, manifest
from test_objects import apply, config_map, secret  # noqa: F401  pylint: disable=unused-import

RUNNING = podd_pb2.ContainerStatus.RUNNING
TERMINATED = podd_pb2.ContainerStatus.TERMINATED


def with_volume(name, command, source, mount=None, restart="Never", **pod):
    return manifest(name, command, restart=restart,
                    pod={"volumes": [{"name": "v", **source}], **pod},
                    volumeMounts=[{"name": "v", "mountPath": "/v", **(mount or {})}])


def run(podd, apply, document, *objects):
    apply(document, *objects)
    name = document["metadata"]["name"]
    wait_until(lambda: main(podd, name).state == TERMINATED or main(podd, name).message,
               what=f"the end of {name}")
    assert main(podd, name).state == TERMINATED, main(podd, name).message
    return podd.podctl("logs", name).stdout


def test_files_of_objects_have_their_paths_and_modes(podd, apply):
    out = run(podd, apply, with_volume(
        "files", "cat /v/a /v/d/b; stat -Lc %a /v/a /v/d/b; touch /v/x 2>&1; grep ' /v ' /proc/mounts",
        {"projected": {"defaultMode": 0o400, "sources": [
            {"configMap": {"name": "files", "items": [{"key": "a", "path": "a", "mode": 0o640}]}},
            {"secret": {"name": "files", "items": [{"key": "b", "path": "d/b"}]}},
            {"secret": {"name": "none", "optional": True}}]}}),
        config_map("files", {"a": "one\n"}), secret("files", {"b": "two\n"}))
    assert out.startswith("one\ntwo\n640\n400\n")
    assert "Read-only file system" in out and "tmpfs" in out


def test_fields_of_the_pod_are_files(podd, apply):
    document = with_volume("fields", "cat /v/labels; echo; cat /v/name /v/limit", {"downwardAPI": {
        "items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
                  {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}},
                  {"path": "limit", "resourceFieldRef": {"containerName": "main", "divisor": "1Mi",
                                                         "resource": "limits.memory"}}]}})
    document["metadata"]["labels"] = {"b": "2", "a": "1"}
    document["spec"]["containers"][0]["resources"] = {"limits": {"memory": "32Mi"}}
    assert run(podd, apply, document) == 'a="1"\nb="2"\nfields32'


def test_a_volume_follows_its_object(podd, apply):
    apply(with_volume("follows", "sleep 1000", {"secret": {"secretName": "follows"}}),
          secret("follows", {"a": "1", "old": "x"}))
    wait_until(lambda: main(podd, "follows").state == RUNNING)
    apply(secret("follows", {"a": "2", "new": "z"}))

    def shown():
        return podd.podctl("exec", "follows", "--", "sh", "-c", "cat /v/a; ls /v").stdout
    wait_until(lambda: shown() == "2a\nnew\n")


def test_a_missing_object_holds_the_pod_until_it_is_there(podd, apply):
    apply(with_volume("holds", "cat /v/k", {"configMap": {"name": "late"}}))
    wait_until(lambda: 'configmap "late" not found' in get(podd, "holds").status.message)
    apply(config_map("late", {"k": "here"}))
    wait_until(lambda: main(podd, "holds").state == TERMINATED, 5)
    assert podd.podctl("logs", "holds").stdout == "here"


def test_a_volume_in_memory_has_its_size_and_leaves_no_mount(podd, apply):
    out = run(podd, apply, with_volume(
        "memory", "dd if=/dev/zero of=/v/f bs=1M count=3 2>&1; stat -c %s /v/f; df -k /v | tail -1",
        {"emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}))
    assert "No space left on device" in out and "\n1048576\n" in out
    uid = get(podd, "memory").uid
    assert uid in pathlib.Path("/proc/self/mounts").read_text()
    podd.podctl("delete", "pod", "memory")
    assert uid not in pathlib.Path("/proc/self/mounts").read_text()


@pytest.mark.parametrize("mount", [{"subPath": "p/q"}, {"subPathExpr": "p/$(NAME)"}])
def test_a_part_of_a_volume_is_made_and_mounted(podd, apply, tmp_path, mount):
    document = with_volume("part", "echo in > /v/file", {"hostPath": {"path": str(tmp_path)}}, mount)
    document["spec"]["containers"][0]["env"] = [{"name": "NAME", "value": "q"}]
    run(podd, apply, document)
    assert (tmp_path / "p" / "q" / "file").read_text() == "in\n"


def test_a_link_in_a_volume_leads_nowhere_else(podd, apply, tmp_path):
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    (outside / "canary").write_text("secret")
    os.symlink(outside, inside / "link")
    apply(with_volume("escape", "ls /v", {"hostPath": {"path": str(inside)}}, {"subPath": "link"}))
    wait_until(lambda: main(podd, "escape").reason in ("CreateContainerConfigError",
                                                       "CreateContainerError") or
               main(podd, "escape").state == TERMINATED)
    assert main(podd, "escape").state != TERMINATED or \
        "canary" not in podd.podctl("logs", "escape").stdout
    assert sorted(os.listdir(outside)) == ["canary"]


# ---- Limits of storage --------------------------------------------------------------------------------

WRITES = "dd if=/dev/zero of={} bs=1M count=2 2>/dev/null; sleep 1000"


def limited(name, path, spec_of_volume=None, limits=None):
    document = with_volume(name, WRITES.format(path), {"emptyDir": spec_of_volume or {}}, restart="Always")
    if limits:
        document["spec"]["containers"][0]["resources"] = {"limits": {"ephemeral-storage": limits}}
    return document


@pytest.mark.slow
def test_a_pod_that_uses_too_much_of_the_disk_is_evicted(podd, apply):
    cases = {
        "volume": (limited("volume", "/v/f", {"sizeLimit": "1Mi"}), "emptyDir volume v exceeds its limit"),
        "layer": (limited("layer", "/tmp/f", limits="1Mi"), "container main exceeds its limit"),
        "whole": (limited("whole", "/v/f", limits="1Mi"), "the pod exceeds its containers' limits"),
        "modest": (limited("modest", "/v/f", {"sizeLimit": "4Mi"}, "4Mi"), None),
    }
    for document, _ in cases.values():
        apply(document)
    for name, (_, words) in cases.items():
        if words:
            wait_until(lambda: get(podd, name).status.phase == "Failed", 40,  # pylint: disable=W0640
                       f"the eviction of {name}")
            status = get(podd, name).status
            assert status.reason == "Evicted" and words in status.message
            assert words in podd.podctl("describe", name).stdout
            assert status.containers[0].state == TERMINATED
    assert get(podd, "modest").status.phase == "Running"
    assert main(podd, "modest").restart_count == 0
