"""Devices as their vendors describe them (Container Device Interface)."""
import json
import os

import cri_pb2 as cri
import grpc
import pytest
import yaml

from lib import cri as lib
from lib.cri import code_of, container_config, read_log, wait_exited

pytestmark = pytest.mark.vm


class Node:
    """A podd with two directories for descriptions, and a pod."""

    def __init__(self, podd):
        self.podd = podd
        self.low, self.high = podd.directory / "cdi", podd.directory / "run-cdi"
        podd.config.write_text(f"{podd.config.read_text()}cdi_dirs: [{self.low}, {self.high}]\n")
        podd.restart()
        self.pod = lib.Pod(podd)

    def describe(self, edits, name="0", of_all=None, file="vendor.json", directory=None):
        directory = directory or self.low
        directory.mkdir(exist_ok=True)
        spec = {"cdiVersion": "1.0.0", "kind": "vendor.com/thing",
                "devices": [{"name": name, "containerEdits": edits}]}
        if of_all:
            spec["containerEdits"] = of_all
        (directory / file).write_text(
            json.dumps(spec) if file.endswith("json") else yaml.safe_dump(spec))

    def config(self, command, *devices, **options):
        return container_config("busybox", ["sh", "-c", command],
                                CDI_devices=[cri.CDIDevice(name=d) for d in devices], **options)

    def run(self, command, *devices, **options):
        container = self.pod.start("", config=self.config(command, *devices, **options))
        status = wait_exited(self.podd, container)
        log = read_log(status.log_path)
        assert status.exit_code == 0, log
        return log["stdout"].decode()

    def refusal(self, *devices, **options):
        return code_of(self.podd.runtime.CreateContainer, cri.CreateContainerRequest(
            pod_sandbox_id=self.pod.id, config=self.config("true", *devices, **options),
            sandbox_config=self.pod.config))


@pytest.fixture
def node(own_podd):
    made = Node(own_podd)
    yield made
    made.pod.remove()


def test_a_device_with_all_that_it_brings(node, tmp_path):
    (tmp_path / "library").write_text("code\n")
    node.describe({"env": ["THING=0", "PATH=/vendor:/bin"], "additionalGids": [4444],
                   "deviceNodes": [{"path": "/dev/thing", "hostPath": "/dev/zero", "fileMode": 0o640,
                                    "uid": 7, "gid": 4444}],
                   "mounts": [{"hostPath": str(tmp_path), "containerPath": "/vendor",
                               "options": ["ro", "nosuid", "rbind"]}]},
                  of_all={"env": ["ALL=yes"]})
    text = node.run("echo $THING $ALL $PATH; stat -c '%F %a %u %g %t:%T' /dev/thing; id -G; "
                    "head -c 4 /dev/thing | wc -c; cat /vendor/library; touch /vendor/x || echo kept",
                    "vendor.com/thing=0")
    assert text.splitlines() == ["0 yes /vendor:/bin", "character special file 640 7 4444 1:5", "0 4444",
                                 "4", "code", "kept"]


def test_permissions_are_kept_to(node):
    """The device need not be there: its driver answers something else than the device cgroup."""
    node.describe({"deviceNodes": [{"path": "/dev/thing", "type": "c", "major": 10, "minor": 237,
                                    "permissions": "r"}]})
    script = "exec 2>&1; (: < /dev/thing); (: > /dev/thing); true"
    text = node.run(script, "vendor.com/thing=0").splitlines()
    assert text[-1].endswith("Operation not permitted")
    assert len(text) == 1 or not text[0].endswith("Operation not permitted")


def test_by_annotation_and_each_once(node):
    node.describe({"env": ["THING=one"]}, "1", file="a.yaml")
    node.describe({"env": ["OTHER=two"]}, "2", file="b.yaml")
    text = node.run("echo $THING $OTHER", "vendor.com/thing=1",
                    annotations={"cdi.k8s.io/plugin": "vendor.com/thing=2,vendor.com/thing=1"})
    assert text == "one two\n"


def test_the_containers_own_mount_counts(node, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "file").write_text("own\n")
    node.describe({"mounts": [{"hostPath": str(tmp_path), "containerPath": "/v"}]})
    config = node.config("cat /v/file", "vendor.com/thing=0")
    config.mounts.add(container_path="/v", host_path=str(tmp_path / "own"))
    container = node.pod.start("", config=config)
    assert read_log(wait_exited(node.podd, container).log_path)["stdout"] == b"own\n"


def test_a_changed_file_counts_from_the_next_container_on(node):
    node.describe({"env": ["V=low"]})
    assert node.run("echo $V", "vendor.com/thing=0") == "low\n"
    node.describe({"env": ["V=changed"]})
    assert node.run("echo $V", "vendor.com/thing=0") == "changed\n"
    node.describe({"env": ["V=high"]}, directory=node.high)
    assert node.run("echo $V", "vendor.com/thing=0") == "high\n"
    os.unlink(node.high / "vendor.json")
    assert node.run("echo $V", "vendor.com/thing=0") == "changed\n"


def test_what_cannot_be_had_is_refused(node):
    code, message = node.refusal("nonsense")
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "vendor.com/class=device" in message
    code, message = node.refusal(annotations={"cdi.k8s.io/x": "nonsense"})
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "annotation cdi.k8s.io/x" in message
    code, message = node.refusal("vendor.com/thing=0")
    assert code == grpc.StatusCode.FAILED_PRECONDITION and "no file describes it" in message
    node.describe({"hooks": [{"hookName": "createContainer", "path": "/bin/hook"}]}, file="h.json")
    code, message = node.refusal("vendor.com/thing=0")
    assert code == grpc.StatusCode.UNIMPLEMENTED and "/bin/hook" in message
    node.describe({"deviceNodes": [{"path": "/dev/no-such-thing"}]}, file="h.json")
    code, message = node.refusal("vendor.com/thing=0")
    assert code == grpc.StatusCode.FAILED_PRECONDITION and "/dev/no-such-thing" in message
    node.describe({"mounts": [{"hostPath": "/tmp", "containerPath": "/t", "options": ["size=1"]}]},
                  file="h.json")
    code, message = node.refusal("vendor.com/thing=0")
    assert code == grpc.StatusCode.UNIMPLEMENTED and "size=1" in message
    (node.low / "h.json").write_text('{"cdiVersion": "1.0.0", "kind": "vendor.com/thing", "devices": [{}]}')
    code, message = node.refusal("vendor.com/thing=0")
    assert code == grpc.StatusCode.FAILED_PRECONDITION and "h.json:1:" in message
    node.describe({"env": ["A=a"]}, file="h.json")
    node.describe({"env": ["A=b"]}, file="i.yaml")
    code, message = node.refusal("vendor.com/thing=0")
    assert code == grpc.StatusCode.FAILED_PRECONDITION and "one of them has to go" in message
