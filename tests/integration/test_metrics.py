"""podd's own metrics: every line of the page, what it counts, and clients that misbehave."""
import os
import pathlib
import re
import socket

import cri_pb2
import grpc
import pytest
import yaml

from lib import cri, daemon, images
from lib.cri import wait_until
from lib.patience import patient

PORT = 19100
SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z]+="[^"\\\n]*",?)+)\})? (\d+(?:\.\d+)?)')


@pytest.fixture(scope="module")
def measured():
    server = daemon.Podd("metrics", f"""network: {{bridge: podd3, pools: [10.89.0.0/16]}}
restrict_oom_score_adj: true
metrics: {{address: 127.0.0.1:{PORT}}}
""").start()
    yield server
    server.close()


def connect():
    return socket.create_connection(("127.0.0.1", PORT), timeout=patient(10))


def read_all(s):
    answer = b""
    while part := s.recv(65536):
        answer += part
    return answer


def ask(request):
    """The status, the headers and the body that a request of bytes is answered with."""
    with connect() as s:
        s.sendall(request)
        answer = read_all(s)
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    assert int(headers["Content-Length"]) == len(body)
    return int(lines[0].split()[1]), headers, body.decode()


def family_of(name, types):
    for suffix in ("_bucket", "_sum", "_count"):
        if name.endswith(suffix) and types.get(name.removesuffix(suffix)) == "histogram":
            return name.removesuffix(suffix)
    return name


def scrape():
    """{(name, labels): value}; fails on a line that is not exactly of the format."""
    status, headers, page = ask(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status == 200
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert page.endswith("\n")
    samples, helps, types, family = {}, {}, {}, None
    for line in page.splitlines():
        if line.startswith("# HELP "):
            _, _, family, text = line.split(" ", 3)
            assert family not in helps and text
            helps[family] = text
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name == family and kind in ("counter", "gauge", "histogram")
            types[name] = kind
        else:
            match = SAMPLE.fullmatch(line)
            assert match, line
            name, labels, value = match.groups()
            assert family_of(name, types) == family, line
            key = (name, labels or "")
            assert key not in samples, line
            samples[key] = float(value)
    assert set(helps) == set(types)
    return samples, types


def value(name, labels=""):
    return scrape()[0].get((name, labels), 0)


def test_every_line_and_every_histogram_is_well_formed(measured):
    measured.runtime.Version(cri_pb2.VersionRequest(), timeout=patient(10))
    wait_until(lambda: value("podd_loop_lag_seconds_count") > 0)
    samples, types = scrape()
    assert any(name == "podd_build_info" for name, _ in samples)
    documented = set(re.findall(r"^\| `(podd_\w+)`", (daemon.SOURCE / "docs/metrics.md").read_text(),
                                re.MULTILINE))
    assert documented == set(types)
    buckets = {}
    for (name, labels), number in samples.items():
        if name.endswith("_bucket"):
            rest, bound = re.fullmatch(r'(.*?),?le="(.*)"', labels).groups()
            buckets.setdefault((name.removesuffix("_bucket"), rest), []).append(
                (float(bound), number))
    assert ("podd_loop_lag_seconds", "") in buckets
    for (name, rest), series in buckets.items():
        assert series == sorted(series) and series[-1][0] == float("inf")
        assert [n for _, n in series] == sorted(n for _, n in series)
        assert series[-1][1] == samples[name + "_count", rest]
        assert (name + "_sum", rest) in samples


def test_calls_are_counted_by_method_and_status(measured):
    stub = measured.runtime
    method = 'method="/runtime.v1.RuntimeService/%s"'
    ok = ("podd_rpc_calls_total", method % "Version" + ',code="OK"')
    bad = ("podd_rpc_calls_total", method % "ContainerStatus" + ',code="NOT_FOUND"')
    took = ("podd_rpc_duration_seconds_count", method % "Version")
    before = [value(*row) for row in (ok, bad, took)]
    for _ in range(3):
        stub.Version(cri_pb2.VersionRequest(), timeout=patient(10))
    with pytest.raises(grpc.RpcError):
        stub.ContainerStatus(cri_pb2.ContainerStatusRequest(container_id="nothing"),
                             timeout=patient(10))
    assert [value(*row) for row in (ok, bad, took)] == [before[0] + 3, before[1] + 1, before[2] + 3]


@pytest.mark.vm
def test_pods_and_containers_are_counted_by_state(measured, busybox_tar):
    measured.podctl("image", "import", "--name", "busybox", busybox_tar)
    names = ("creations", "starts", "exits")
    before = [value(f"podd_container_{name}_total") for name in names]
    pod = cri.Pod(measured)
    try:
        pod.start("busybox", ["sleep", "1000"])
        assert value("podd_pods", 'state="ready"') == 1
        assert value("podd_containers", 'state="running"') == 1
    finally:
        pod.remove()
    assert value("podd_pods", 'state="ready"') == 0
    assert value("podd_containers", 'state="running"') == 0
    assert [value(f"podd_container_{name}_total") for name in names] == [n + 1 for n in before]


@pytest.mark.parametrize("request_, status", [
    (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 405),
    (b"GET / HTTP/1.1\r\n\r\n", 404),
    (b"GET /metrics HTTP/2.0\r\n\r\n", 400),
    (b"GET\r\n\r\n", 400),
    (b"\r\n\r\n", 400),
    (b"GET /\0metrics HTTP/1.1\r\n\r\n", 400),
    (b"GET /metrics HTTP/1.1\r\nA: " + b"a" * 9000 + b"\r\n\r\n", 431),
    (b"GET /" + b"a" * 100000, 431),
])
def test_bad_requests_are_refused(measured, request_, status):
    got, headers, _ = ask(request_)
    assert got == status
    assert status != 405 or headers["Allow"] == "GET"
    assert value("podd_build_info", f'version="{version()}"') == 1


def version():
    return next(labels for name, labels in scrape()[0] if name == "podd_build_info").split('"')[1]


def test_a_request_in_pieces_is_served(measured):
    with connect() as s:
        for byte in b"GET /metrics?x=1 HTTP/1.0\r\n\r\n":
            s.send(bytes([byte]))
        assert read_all(s).startswith(b"HTTP/1.1 200 OK\r\n")


def test_slow_clients_are_dropped_after_five_seconds(measured):
    """Sixteen fill the house; the next is turned away, and all are gone after five seconds."""
    slow = [connect() for _ in range(16)]
    try:
        for s in slow:
            s.sendall(b"GET /metrics")
        with connect() as one_more:
            assert one_more.recv(1) == b""
        assert [s.recv(1) for s in slow] == [b""] * 16
        assert value("podd_start_time_seconds") > 0
    finally:
        for s in slow:
            s.close()


def test_nothing_listens_unless_told(podd):
    """A daemon without the key has one TCP listener, which is for streaming."""
    fds = pathlib.Path(f"/proc/{podd.process.pid}/fd")
    sockets = {os.readlink(fd) for fd in fds.iterdir()}
    rows = [line.split() for name in ("tcp", "tcp6")
            for line in pathlib.Path(f"/proc/{podd.process.pid}/net/{name}").read_text().splitlines()[1:]]
    assert len([row for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets]) == 1


@pytest.mark.vm
def test_probes_and_restarts_are_counted(measured, busybox_tar):
    measured.podctl("image", "import", "--name", "busybox", busybox_tar)
    success = 'kind="readiness",result="success"'
    failure = 'kind="liveness",result="failure"'
    before = value("podd_container_restarts_total")
    measured.podctl("apply", "-f", "-", stdin=yaml.safe_dump({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probed"},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [
            {"name": "main", "image": "busybox", "imagePullPolicy": "Never", "command": ["sleep", "1000"],
             "readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1},
             "livenessProbe": {"exec": {"command": ["false"]}, "periodSeconds": 1,
                               "failureThreshold": 1}}]}}))
    try:
        wait_until(lambda: value("podd_container_restarts_total") > before, 20, "a restart")
        assert value("podd_probe_attempts_total", success) > 0
        assert value("podd_probe_attempts_total", failure) > 0
        assert value("podd_probe_seconds_total", 'kind="readiness"') > 0
    finally:
        measured.podctl("delete", "pod", "probed")


def test_pulls_are_counted(measured, registry, tmp_path):
    succeeded, failed = 'result="success"', 'result="failure"'
    before = [value("podd_image_pulls_total", r) for r in (succeeded, failed)]
    layout = images.Layout(tmp_path)
    layout.tag(layout.image([images.busybox_layer([("counted", b"a layer of its own")])]), "counted")
    reference = registry.push(layout, "counted", "test/counted:1")
    measured.images.PullImage(cri_pb2.PullImageRequest(image=cri_pb2.ImageSpec(image=reference)))
    with pytest.raises(grpc.RpcError):
        measured.images.PullImage(cri_pb2.PullImageRequest(
            image=cri_pb2.ImageSpec(image=f"{registry.host}/none:1")))
    after = [value("podd_image_pulls_total", r) for r in (succeeded, failed)]
    assert after == [before[0] + 1, before[1] + 1]
    assert value("podd_image_pull_bytes_total") > 0 and value("podd_image_pull_seconds_total") > 0
