"""Containers that are added to a running pod."""
import grpc
import podd_pb2
import pytest
import yaml

from lib.cri import wait_until
from test_declared import apply, get, main, manifest  # noqa: F401  pylint: disable=unused-import

RUNNING = podd_pb2.ContainerStatus.RUNNING
TERMINATED = podd_pb2.ContainerStatus.TERMINATED


def add(podd, pod, **container):
    spec = {"image": "busybox", "imagePullPolicy": "Never", **container}
    podd.api.AddEphemeralContainer(podd_pb2.AddEphemeralContainerRequest(
        pod=pod, container=yaml.safe_dump(spec).encode()))


def ephemeral(podd, pod, index=0):
    return get(podd, pod).status.ephemeral_containers[index]


def test_one_sees_its_targets_processes_and_the_pods_network(podd, apply):
    apply(manifest("looked", "sleep 54321"))
    wait_until(lambda: main(podd, "looked").state == RUNNING)
    add(podd, "looked", name="debug", targetContainerName="main",
        command=["sh", "-c", "ps; ip -4 addr show eth0; exit 3"])
    wait_until(lambda: ephemeral(podd, "looked").state == TERMINATED)
    out = open(ephemeral(podd, "looked").log_path, encoding="utf-8").read()
    assert "sleep 54321" in out and get(podd, "looked").status.ips[0] in out
    status = ephemeral(podd, "looked")
    assert (status.name, status.exit_code, status.restart_count) == ("debug", 3, 0)
    assert get(podd, "looked").status.phase == "Running" and main(podd, "looked").state == RUNNING
    podd.podctl("delete", "pod", "looked")


def test_one_outlives_podd_and_is_not_started_twice(own_podd):
    podd = own_podd
    podd.podctl("apply", "-f", "-", stdin=yaml.safe_dump(manifest("kept", "sleep 1000")))
    wait_until(lambda: main(podd, "kept").state == RUNNING)
    add(podd, "kept", name="stays", command=["sleep", "1000"])
    add(podd, "kept", name="ends", command=["true"])
    wait_until(lambda: ephemeral(podd, "kept", 0).state == RUNNING)
    wait_until(lambda: ephemeral(podd, "kept", 1).state == TERMINATED)
    before = [c.container_id for c in get(podd, "kept").status.ephemeral_containers]
    podd.kill()
    podd.start()
    after = get(podd, "kept").status.ephemeral_containers
    assert [c.container_id for c in after] == before
    assert [c.state for c in after] == [RUNNING, TERMINATED]


@pytest.mark.parametrize("container, code, words", [
    ({"name": "main"}, "INVALID_ARGUMENT", "another container is named main"),
    ({"name": "x", "targetContainerName": "none"}, "INVALID_ARGUMENT", "no container named none"),
    ({"name": "x", "ports": [{"containerPort": 1}]}, "INVALID_ARGUMENT", "ports is not supported"),
    ({"name": "x", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}, "INVALID_ARGUMENT",
     "no volume named v"),
    ({}, "INVALID_ARGUMENT", "missing field name"),
])
def test_what_cannot_be_added_is_refused(podd, apply, container, code, words):
    apply(manifest("refuses", "sleep 1000"))
    wait_until(lambda: main(podd, "refuses").state == RUNNING)
    with pytest.raises(grpc.RpcError) as caught:
        add(podd, "refuses", **container)
    assert caught.value.code().name == code and words in caught.value.details()
    assert not get(podd, "refuses").status.ephemeral_containers


def test_only_running_pods_can_be_added_to(podd, apply):
    apply(manifest("over", "true", restart="Never"))
    wait_until(lambda: get(podd, "over").status.phase == "Succeeded")
    with pytest.raises(grpc.RpcError) as caught:
        add(podd, "over", name="x")
    assert caught.value.code().name == "FAILED_PRECONDITION"
    with pytest.raises(grpc.RpcError) as caught:
        add(podd, "nope", name="x")
    assert caught.value.code().name == "NOT_FOUND"
