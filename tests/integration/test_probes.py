"""Probes against real servers: gRPC and HTTPS, from inside the pod's network."""
import pathlib
import subprocess
import sys

import cri_pb2 as cri
import grpc
import podd_pb2
import pytest
import yaml

from lib import certs, health_server, images
from lib.cri import wait_until

SUCCESS, WARNING, FAILURE = (podd_pb2.PROBE_RESULT_SUCCESS, podd_pb2.PROBE_RESULT_WARNING,
                             podd_pb2.PROBE_RESULT_FAILURE)


def manifest(name, **container):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
        "terminationGracePeriodSeconds": 1, "containers": [
            {"name": "main", "image": "busybox", "imagePullPolicy": "Never",
             "command": ["sleep", "1000"], **container}]}}


@pytest.fixture
def apply(podd, no_leaks):
    names = []

    def do(document):
        names.append(document["metadata"]["name"])
        podd.podctl("apply", "-f", "-", stdin=yaml.safe_dump(document))
        wait_until(lambda: main(podd, names[-1]).pid, what="a process")
        return podd.api.GetPod(podd_pb2.GetPodRequest(name=names[-1])).pod
    yield do
    for name in names:
        podd.podctl("delete", "pod", name, "--grace-period", "0", check=False)


def main(podd, name):
    return podd.api.GetPod(podd_pb2.GetPodRequest(name=name)).pod.status.containers[0]


@pytest.fixture
def serve():
    """Starts a server in the network of a process."""
    servers = []

    def do(pid, *arguments):
        server = subprocess.Popen(["nsenter", f"--net=/proc/{pid}/ns/net", sys.executable,
                                   health_server.__file__, *map(str, arguments)],
                                  stdout=subprocess.PIPE)
        servers.append(server)
        assert server.stdout.readline() == b"ready\n"
        return server
    yield do
    for server in servers:
        server.kill()
        server.wait()
        server.stdout.close()


def stubs():
    return pathlib.Path(cri.__file__).parent


def test_grpc_probes_decide_readiness_and_restarts(podd, apply, serve):
    pod = apply(manifest("grpc", readinessProbe={"grpc": {"port": 9000, "service": "good"},
                                                 "periodSeconds": 1},
                         livenessProbe={"grpc": {"port": 9001}, "periodSeconds": 1,
                                        "failureThreshold": 3, "initialDelaySeconds": 5}))
    assert not main(podd, "grpc").ready
    serve(main(podd, "grpc").pid, "grpc", f"{pod.status.ips[0]}:9000", stubs())
    wait_until(lambda: main(podd, "grpc").ready, what="ready")
    probes = {p.kind: p for p in main(podd, "grpc").probes}
    assert probes[podd_pb2.READINESS].description.startswith("grpc :9000 service=good ")
    wait_until(lambda: main(podd, "grpc").restart_count == 1, 20, "a restart")
    assert "Liveness probe failed" in podd.podctl("describe", "grpc").stdout


def test_what_a_grpc_server_may_answer(podd, apply, serve):
    pod = apply(manifest("answers"))
    serve(main(podd, "answers").pid, "grpc", f"{pod.status.ips[0]}:9000", stubs())

    def probe(port=9000, service=""):
        return podd.api.RunProbe(podd_pb2.RunProbeRequest(pod="answers", probe=podd_pb2.Probe(
            timeout_seconds=5, grpc=podd_pb2.GrpcProbe(port=port, service=service))))
    assert probe().result == SUCCESS
    assert probe(service="good").result == SUCCESS
    bad = probe(service="bad")
    assert bad.result == FAILURE and "not serving" in bad.message
    assert probe(service="unknown").result == FAILURE
    assert probe(port=9999).result == FAILURE
    for port in (0, 65536):
        with pytest.raises(grpc.RpcError) as fault:
            probe(port=port)
        assert fault.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_https_probes_as_kubelet_makes_them(podd, apply, serve, tmp_path):
    pod = apply(manifest("tls"))
    address = f"{pod.status.ips[0]}:8443"
    cert, key = certs.Authority(tmp_path).issue("nobody.example", days=-1)  # neither name nor date fits
    serve(main(podd, "tls").pid, "https", address, cert, key)

    def probe(path, **headers):
        return podd.api.RunProbe(podd_pb2.RunProbeRequest(pod="tls", probe=podd_pb2.Probe(
            timeout_seconds=5, http=podd_pb2.HttpProbe(
                port=8443, path=path, https=True, headers=[
                    podd_pb2.HttpHeader(name=n.replace("_", "-"), value=v)
                    for n, v in headers.items()]))))
    assert probe("/").result == SUCCESS
    again = probe("/again")
    assert again.result == FAILURE and "10 redirects" in again.message
    assert probe("/big").result == SUCCESS
    assert "kube-probe/" in probe("/agent").message
    assert "mine" in probe("/agent", User_Agent="mine").message
    assert address in probe("/host").message
    assert "example.org" in probe("/host", Host="example.org").message
    assert probe("/code/399").result == SUCCESS
    assert probe("/code/400").result == FAILURE
    assert probe(f"/to/https://{address}/").result == SUCCESS
    assert probe(f"/to/https://{address}/code/404").result == FAILURE
    elsewhere = probe("/to/https://192.0.2.1/")
    assert elsewhere.result == WARNING and "192.0.2.1" in elsewhere.message


def test_network_probes_need_no_route_and_cost_no_conntrack_entry(podd, apply, serve):
    """The pod's addresses are unreachable from the node; probes still arrive."""
    pod = apply(manifest("inside", command=["httpd", "-f", "-p", "8080", "-h", "/etc"]))
    pid, address = main(podd, "inside").pid, pod.status.ips[0]
    serve(pid, "grpc", f"{address}:9000", stubs())
    subprocess.run(["ip", "route", "add", "blackhole", f"{address}/32"], check=True)
    try:
        for action in ({"grpc": podd_pb2.GrpcProbe(port=9000)},
                       {"tcp": podd_pb2.TcpProbe(port=9000)},
                       {"http": podd_pb2.HttpProbe(port=8080, path="/passwd")}):
            answer = podd.api.RunProbe(podd_pb2.RunProbeRequest(
                pod="inside", probe=podd_pb2.Probe(timeout_seconds=5, **action)))
            assert answer.result == SUCCESS, answer.message
    finally:
        subprocess.run(["ip", "route", "del", "blackhole", f"{address}/32"], check=True)
    table = pathlib.Path("/proc/net/nf_conntrack")
    assert not table.exists() or address not in table.read_text()


def test_an_images_healthcheck_counts_when_the_manifest_has_no_probe(podd, apply, busybox_tar,
                                                                     tmp_path):
    layout = images.Layout(tmp_path / "layout")
    check = {"Test": ["CMD-SHELL", "test $$ -gt 0 && test -e /tmp/ok"], "Interval": 1000000000,
             "Timeout": 5000000000, "StartPeriod": 60000000000, "Retries": 1}
    layout.tag(layout.image([busybox_tar.read_bytes()], {"Healthcheck": check}), "checked:1")
    archive = tmp_path / "checked.tar"
    layout.archive(archive)
    podd.podctl("image", "import", archive, "--name", "checked:1")
    try:
        apply(manifest("checked", image="checked:1"))
        wait_until(lambda: [p.attempts > 1 for p in main(podd, "checked").probes][:1] == [True])
        assert not main(podd, "checked").ready
        podd.podctl("exec", "checked", "--", "touch", "/tmp/ok")
        wait_until(lambda: main(podd, "checked").ready, what="ready")
        podd.podctl("exec", "checked", "--", "rm", "/tmp/ok")
        wait_until(lambda: main(podd, "checked").restart_count == 1, 20, "a restart")

        apply(manifest("own", image="checked:1", readinessProbe={"exec": {"command": ["true"]},
                                                                 "periodSeconds": 1}))
        wait_until(lambda: main(podd, "own").ready, what="ready")
        assert [p.kind for p in main(podd, "own").probes] == [podd_pb2.READINESS]
    finally:
        podd.podctl("delete", "pod", "checked", "own", "--grace-period", "0", check=False)
        podd.podctl("image", "rm", "checked:1", check=False)


# ---- Restarts of podd -------------------------------------------------------------------------------


def declare(podd, document):
    podd.podctl("apply", "-f", "-", stdin=yaml.safe_dump(document))


def probe_of(podd, name):
    return main(podd, name).probes[0]


def test_counts_and_schedule_outlive_podd(own_podd):
    """Killed right after an attempt, podd goes on with the next one when that is due."""
    often = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1000}
    declare(own_podd, manifest("often", livenessProbe=often))
    declare(own_podd, manifest("rare", readinessProbe={**often, "periodSeconds": 60}))
    wait_until(lambda: main(own_podd, "rare").probes and probe_of(own_podd, "rare").attempts == 1)
    wait_until(lambda: probe_of(own_podd, "often").attempts >= 3)
    before, rare = probe_of(own_podd, "often"), probe_of(own_podd, "rare")
    own_podd.kill()
    own_podd.start()
    after = probe_of(own_podd, "often")
    assert after.attempts >= before.attempts and after.failures >= before.failures
    assert after.run >= before.run and after.run_result == FAILURE
    wait_until(lambda: probe_of(own_podd, "often").run >= before.run + 2)
    assert probe_of(own_podd, "rare") == rare
    assert main(own_podd, "often").restart_count == 0


def test_a_container_that_was_to_be_killed_is_killed_by_the_next_podd(own_podd):
    document = manifest("stuck", livenessProbe={
        "exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1,
        "terminationGracePeriodSeconds": 3})
    document["spec"]["containers"][0]["command"] = ["sh", "-c", "trap '' TERM; while true; do sleep 1; done"]
    declare(own_podd, document)
    wait_until(lambda: any(e.reason == "Killing" for e in own_podd.api.ListEvents(
        podd_pb2.ListEventsRequest(pod="stuck"))))
    own_podd.kill()
    own_podd.start()
    assert main(own_podd, "stuck").restart_count == 0
    wait_until(lambda: main(own_podd, "stuck").restart_count == 1, 20, "a restart")
