"""The server as a whole: version, status, health, methods of later, bad bytes."""
import os

import cri_pb2 as cri
import grpc
import health_pb2
import health_pb2_grpc
import podd_pb2
import pytest

from lib import daemon
from lib.cri import code_of, wait_until


def test_version_status_and_config(podd):
    version = podd.runtime.Version(cri.VersionRequest())
    assert (version.version, version.runtime_name, version.runtime_api_version) == \
        ("0.1.0", "podd", "v1")
    assert version.runtime_version
    status = podd.runtime.Status(cri.StatusRequest(verbose=True))
    conditions = {c.type: c.status for c in status.status.conditions}
    assert conditions == {"RuntimeReady": True, "NetworkReady": True}
    assert [h.name for h in status.runtime_handlers] == [""]
    assert "config" in status.info
    config = podd.runtime.RuntimeConfig(cri.RuntimeConfigRequest())
    assert config.linux.cgroup_driver == cri.CGROUPFS


@pytest.mark.skipif(os.path.exists("/run/systemd/system"), reason="systemd has booted here")
def test_a_cgroup_driver_that_cannot_work_is_refused_at_the_start():
    podd = daemon.Podd("misfit", "cgroup_driver: systemd\n")
    try:
        with pytest.raises(AssertionError, match="systemd has not booted this machine; use auto"):
            podd.start()
    finally:
        podd.close()


def test_name_servers_of_the_configuration(busybox_tar):
    podd = daemon.Podd("dns", "network: {bridge: podd3, pools: [10.91.0.0/16], dns: [10.0.0.53]}\n"
                       "restrict_oom_score_adj: true\n").start()
    try:
        podd.podctl("image", "import", "--name", "busybox", busybox_tar)
        text = lambda name, more: (  # noqa: E731
            f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  restartPolicy: Never\n"
            f"{more}  containers: [{{name: c, image: busybox, imagePullPolicy: Never,"
            " command: [cat, /etc/resolv.conf]}]\n")
        podd.podctl("apply", "-f", "-", stdin=text("silent", "") + "---\n" + text(
            "adds", "  dnsConfig: {searches: [example.org]}\n"))
        for name, wanted in (("silent", "nameserver 10.0.0.53\n"),
                             ("adds", "search example.org\nnameserver 10.0.0.53\n")):
            wait_until(lambda name=name: podd.api.GetPod(podd_pb2.GetPodRequest(name=name))
                       .pod.status.phase == "Succeeded")
            assert podd.podctl("logs", name).stdout == wanted
    finally:
        podd.close()


def test_grpc_health(podd):
    stub = health_pb2_grpc.HealthStub(podd.connect())
    assert stub.Check(health_pb2.HealthCheckRequest()).status == \
        health_pb2.HealthCheckResponse.SERVING
    code, _ = code_of(stub.Check, health_pb2.HealthCheckRequest(service="no.such"))
    assert code == grpc.StatusCode.NOT_FOUND


def test_methods_of_later_are_unimplemented(podd):
    code, message = code_of(podd.runtime.CheckpointContainer,
                            cri.CheckpointContainerRequest(container_id="x", location="/tmp/x"))
    assert code == grpc.StatusCode.UNIMPLEMENTED and "CheckpointContainer" in message
    with pytest.raises(grpc.RpcError) as caught:
        podd.connect().unary_unary("/runtime.v1.RuntimeService/NoSuchMethod")(b"")
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_broken_bytes_are_invalid(podd):
    call = podd.connect().unary_unary("/runtime.v1.RuntimeService/RunPodSandbox")
    with pytest.raises(grpc.RpcError) as caught:
        call(b"\xff\xff\xff\xff\xff\xff\xff")
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert podd.is_ready()


def test_the_socket_is_roots_only(podd):
    assert podd.socket.stat().st_mode & 0o777 == 0o600
    assert podd.root.stat().st_mode & 0o777 == 0o700
    assert podd.state.stat().st_mode & 0o777 == 0o700


def test_a_node_says_what_it_is_and_has(podd):
    node = podd.api.GetNode(podd_pb2.GetNodeRequest())
    machine, disk = os.uname(), os.statvfs(podd.root)
    assert (node.name, node.kernel_version, node.architecture) == \
        (machine.nodename, machine.release, machine.machine)
    assert node.capacity.cpu_millis == os.sysconf("SC_NPROCESSORS_ONLN") * 1000
    assert abs(node.capacity.memory - os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")) < 1 << 20
    assert node.capacity.disk == disk.f_blocks * disk.f_frsize
    assert 0 < node.allocatable.disk <= node.capacity.disk
    assert [c.type for c in node.conditions] == ["Ready", "NetworkReady", "DiskPressure"]
    assert node.ready and node.conditions[0].status and node.conditions[1].status
    assert "127.0.0.1" not in node.addresses
