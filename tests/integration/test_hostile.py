"""Masters that do not behave: that never read, vanish, race each other, or send what is too much."""
import concurrent.futures
import os
import signal
import subprocess
import sys
import textwrap

import grpc
import podd_pb2
import pytest
import yaml

from lib.cri import wait_until
from lib.patience import patient


def manifest(name, command="sleep 1000", **metadata):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **metadata}, "spec": {
        "terminationGracePeriodSeconds": 1, "containers": [
            {"name": "main", "image": "busybox", "imagePullPolicy": "Never",
             "command": ["sh", "-c", command]}]}}


def apply(podd, text, name="bad.yaml"):
    return podd.api.Apply(podd_pb2.ApplyRequest(manifest=text, file_name=name), timeout=patient(60))


def pods(podd):
    return [p.name for p in podd.api.ListPods(podd_pb2.ListPodsRequest(), timeout=patient(5)).pods]


def gone(podd, name):
    return name not in pods(podd)


def delete(podd, *names):
    podd.podctl("delete", "pod", *names, "--grace-period", "0", check=False)


# ---- Readers that do not read -----------------------------------------------------------------------


def test_a_watch_of_probes_that_is_never_read_is_cut_off(podd, pod):
    container = pod.start("busybox", ["sleep", "1000"])
    stream = podd.api.WatchProbes(podd_pb2.WatchProbesRequest(), timeout=patient(60))
    assert next(stream).type == podd_pb2.WatchProbesResponse.BOOKMARK
    for i in range(40):
        podd.api.SetProbes(podd_pb2.SetProbesRequest(container_id=container, probes=[
            podd_pb2.ScheduledProbe(kind=podd_pb2.READINESS, initial_delay_seconds=1000, probe=podd_pb2.Probe(
                exec=podd_pb2.ExecProbe(command=["true", str(i), "x" * 400000])))]), timeout=patient(10))
    seen = []
    with pytest.raises(grpc.RpcError) as fault:
        for change in stream:
            seen.append(int(change.container.probes[0].probe.exec.command[1]))
    # Without a gap up to the cut.
    assert seen == list(range(len(seen))) and 0 < len(seen) < 40
    assert fault.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "watch again" in fault.value.details()
    # Watching again begins with what is.
    again = podd.api.WatchProbes(podd_pb2.WatchProbesRequest(), timeout=patient(20))
    assert next(again).container.probes[0].probe.exec.command[1] == "39"
    again.cancel()


# ---- Masters that vanish ----------------------------------------------------------------------------

CLIENT = textwrap.dedent("""
    import sys
    import grpc
    sys.path[:0] = sys.argv[2].split(":")
    import podd_pb2, podd_pb2_grpc
    channel = grpc.insecure_channel(sys.argv[1])
    api = podd_pb2_grpc.PoddStub(channel)
    calls = eval(sys.argv[3])
    print("ready", flush=True)
    sys.stdin.read()
""")


def vanishing_master(podd, calls):
    """Makes the calls from a process that is then killed."""
    stubs = [p for p in sys.path if os.path.exists(os.path.join(p, "podd_pb2.py"))]
    client = subprocess.Popen([sys.executable, "-c", CLIENT, podd.address, ":".join(stubs), calls],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert client.stdout.readline() == b"ready\n"
    return client


def kill(client):
    client.send_signal(signal.SIGKILL)
    client.wait()
    client.stdin.close()
    client.stdout.close()


def descriptors(podd):
    return len(os.listdir(f"/proc/{podd.process.pid}/fd"))


def test_watches_of_a_master_that_vanished_are_forgotten(podd, no_leaks):
    pods(podd)
    before = descriptors(podd)
    client = vanishing_master(podd, """(
        [next(s) and s for s in
         [api.WatchPods(podd_pb2.WatchPodsRequest()) for _ in range(20)] +
         [api.WatchProbes(podd_pb2.WatchProbesRequest()) for _ in range(20)]] +
        [api.ListEvents(podd_pb2.ListEventsRequest(follow=True)) for _ in range(20)])""")
    assert descriptors(podd) > before
    kill(client)
    podd.podctl("apply", "-f", "-", stdin=yaml.safe_dump(manifest("told")))
    delete(podd, "told")  # podd has told the watches of it
    wait_until(lambda: descriptors(podd) <= before, what="its connection to be closed")


def test_a_deletion_goes_on_when_who_asked_for_it_has_vanished(podd, no_leaks):
    podd.podctl("apply", "-f", "-", stdin=yaml.safe_dump(
        manifest("slow", "trap '' TERM; while true; do sleep 0.1; done")))
    wait_until(lambda: podd.api.GetPod(podd_pb2.GetPodRequest(
        name="slow")).pod.status.phase == "Running")
    client = vanishing_master(podd, "[api.DeletePod.future(podd_pb2.DeletePodRequest(name='slow'))]")
    wait_until(lambda: gone(podd, "slow") or podd.api.GetPod(podd_pb2.GetPodRequest(
        name="slow")).pod.status.terminating)
    kill(client)
    wait_until(lambda: gone(podd, "slow"), 20)


# ---- Masters that race ------------------------------------------------------------------------------


def test_two_applies_at_once_of_the_same_pod(podd, no_leaks):
    """One after the other, in some order: both are answered, and one of the two is what is declared."""
    texts = [yaml.safe_dump(manifest("raced", f"echo {i}; sleep 1000")).encode() for i in range(8)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda t: apply(podd, t), texts))
    actions = sorted(a.objects[0].action for a in answers)
    assert actions.count(podd_pb2.Applied.CREATED) == 1
    assert actions.count(podd_pb2.Applied.CONFIGURED) == 7
    assert pods(podd).count("raced") == 1
    declared = podd.api.GetPod(podd_pb2.GetPodRequest(name="raced")).pod
    command = yaml.safe_load(declared.manifest)["spec"]["containers"][0]["command"][2]
    wait_until(lambda: podd.podctl("logs", "raced", check=False).stdout == command.split()[1][:-1] + "\n", 30)
    delete(podd, "raced")


def test_the_same_applied_at_once_is_created_once(podd, no_leaks):
    text = yaml.safe_dump(manifest("same")).encode()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: apply(podd, text), range(8)))
    actions = sorted(a.objects[0].action for a in answers)
    assert actions == [podd_pb2.Applied.UNCHANGED] * 7 + [podd_pb2.Applied.CREATED]
    delete(podd, "same")


# ---- Files that are too much ------------------------------------------------------------------------


def bomb(levels=9, width=9):
    """A few lines that would be hundreds of millions when written out."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for i in range(1, levels):
        lines.append(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * width)}]")
    return "\n".join(lines).encode()


TOO_MUCH = {
    "an alias bomb": bomb(),
    "deep nesting": b"a: " + b"[" * 100000 + b"]" * 100000,
    "deep mappings": b"{a: " * 5000 + b"1" + b"}" * 5000,
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_a_file_that_is_too_much_is_refused_at_its_place(podd, tmp_path, name):
    text = TOO_MUCH[name]
    before = pods(podd)
    with pytest.raises(grpc.RpcError) as fault:
        apply(podd, text)
    assert fault.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert fault.value.details().startswith("bad.yaml:"), fault.value.details()
    path = tmp_path / "bad.yaml"
    path.write_bytes(text)
    done = podd.podctl("apply", "-f", path, check=False)
    assert done.returncode != 0 and f"{path}:" in done.stderr and done.stdout == ""
    assert pods(podd) == before


def test_a_file_of_50_mib_is_refused(podd, tmp_path):
    path = tmp_path / "large.yaml"
    path.write_bytes(b"#" * (50 << 20))
    for source, stdin, name in ((path, None, str(path)), ("-", "#" * (50 << 20), "standard input")):
        done = podd.podctl("apply", "-f", source, stdin=stdin, check=False)
        assert done.returncode != 0 and name in done.stderr and "1048576" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    # Many files that are each small enough.
    directory = tmp_path / "many"
    directory.mkdir()
    for i in range(20):
        (directory / f"{i:02}.yaml").write_bytes(b"#" * (1 << 20))
    done = podd.podctl("apply", "-f", directory, check=False)
    assert done.returncode != 0 and "apply them in parts" in done.stderr
    with pytest.raises(grpc.RpcError) as fault:
        apply(podd, b"#" * (50 << 20))
    assert fault.value.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT)
    assert podd.process.poll() is None and isinstance(pods(podd), list)
    # One that is just too large for a file, but not for a message.
    with pytest.raises(grpc.RpcError) as fault:
        apply(podd, b"#" * ((1 << 20) + 1))
    assert fault.value.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT)
    assert "bad.yaml" in fault.value.details()
