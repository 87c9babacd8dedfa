"""Declared pods: apply, probes, restarts, and what podctl shows of them."""
import json
import os
import subprocess
import time

import cri_pb2 as cri
import grpc
import podd_pb2
import pytest
import yaml

from lib import images
from lib.cri import wait_until

WEB = "mkdir -p /www; echo page > /www/index.html; httpd -f -p 8080 -h /www & wait"


def manifest(name, command, restart="Always", pod=None, **container):
    spec = {"restartPolicy": restart, "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": "busybox", "imagePullPolicy": "Never",
                            "command": ["sh", "-c", command], **container}], **(pod or {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def http_probe(**options):
    return {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1, **options}


@pytest.fixture
def apply(podd, no_leaks):
    """Declares pods and deletes them afterwards."""
    names = []

    def do(*documents):
        names.extend(d["metadata"]["name"] for d in documents)
        return podd.podctl("apply", "-f", "-", stdin=yaml.safe_dump_all(documents)).stdout
    yield do
    for name in dict.fromkeys(names):
        podd.podctl("delete", "pod", name, "--grace-period", "0", check=False)


def get(podd, name):
    return podd.api.GetPod(podd_pb2.GetPodRequest(name=name)).pod


def main(podd, name):
    return get(podd, name).status.containers[0]


def fetch(pod):
    return images.fetch(pod.status.ips[0], 8080)


# ---- The main job -------------------------------------------------------------------------------------


def test_a_pod_becomes_ready_is_wedged_and_mended(podd, apply):
    assert apply(manifest("web", WEB, readinessProbe=http_probe(),
                          livenessProbe=http_probe(failureThreshold=2, timeoutSeconds=1))) == \
        "Pod/web created\n"
    wait_until(lambda: main(podd, "web").ready, what="ready")
    pod = get(podd, "web")
    assert pod.status.phase == "Running" and fetch(pod) == b"page\n"
    assert {c.type: c.status for c in pod.status.conditions}["Ready"]
    first = pod.status.containers[0]
    assert first.restart_count == 0

    podd.podctl("exec", "web", "--", "killall", "-STOP", "httpd")
    wait_until(lambda: not main(podd, "web").ready, 15, "not ready")
    wait_until(lambda: main(podd, "web").restart_count == 1, 20, "a restart")
    wait_until(lambda: main(podd, "web").ready, 15, "ready again")
    second = main(podd, "web")
    assert second.container_id != first.container_id
    assert second.last_termination.exit_code in (137, 143)
    assert get(podd, "web").status.sandbox_id == pod.status.sandbox_id
    assert fetch(get(podd, "web")) == b"page\n"
    text = podd.podctl("describe", "web").stdout
    assert "Liveness probe failed" in text and "Killing" in text
    kinds = {p.kind: p for p in second.probes}
    assert kinds[podd_pb2.READINESS].result == podd_pb2.PROBE_RESULT_SUCCESS
    assert kinds[podd_pb2.LIVENESS].attempts >= 1


def test_a_crashing_container_backs_off(podd, apply):
    apply(manifest("crash", "echo life; sleep 0.1; exit 3"))
    wait_until(lambda: main(podd, "crash").restart_count == 1, what="the first restart, at once")
    wait_until(lambda: main(podd, "crash").reason == "CrashLoopBackOff")
    waiting = main(podd, "crash")
    assert waiting.last_termination.exit_code == 3
    left = waiting.backoff_until - time.time_ns()
    assert 7e9 < left <= 10e9
    assert "CrashLoopBackOff" in podd.podctl("get", "pods").stdout
    wait_until(lambda: main(podd, "crash").restart_count == 2, 15, "the restart after 10 s")


@pytest.mark.parametrize("policy, command, phase, restarts", [
    ("Never", "exit 0", "Succeeded", 0),
    ("Never", "exit 4", "Failed", 0),
    ("OnFailure", "exit 0", "Succeeded", 0),
    ("OnFailure", "[ -e /tmp/x ] || exit 1", "Running", 1),
])
def test_restart_policies(podd, apply, policy, command, phase, restarts):
    name = f"policy-{policy.lower()}-{phase.lower()}"
    apply(manifest(name, command, restart=policy))
    if restarts:
        wait_until(lambda: main(podd, name).restart_count >= restarts)
    else:
        wait_until(lambda: get(podd, name).status.phase == phase, what=phase)
        time.sleep(0.5)
    assert main(podd, name).restart_count == restarts
    assert get(podd, name).status.phase == phase


def test_exec_and_tcp_probes(podd, apply):
    apply(manifest("probes", "touch /tmp/ok; nc -ll -p 9000 -e cat",
                   readinessProbe={"exec": {"command": ["cat", "/tmp/ok"]}, "periodSeconds": 1},
                   livenessProbe={"tcpSocket": {"port": 9000}, "periodSeconds": 1,
                                  "failureThreshold": 30}))
    wait_until(lambda: main(podd, "probes").ready)
    podd.podctl("exec", "probes", "--", "rm", "/tmp/ok")
    wait_until(lambda: not main(podd, "probes").ready, 15)
    assert main(podd, "probes").restart_count == 0
    podd.podctl("exec", "probes", "--", "touch", "/tmp/ok")
    wait_until(lambda: main(podd, "probes").ready)


def test_a_startup_probe_gates_the_others(podd, apply):
    apply(manifest("slow", "sleep 2; touch /tmp/up; sleep 1000",
                   startupProbe={"exec": {"command": ["cat", "/tmp/up"]}, "periodSeconds": 1,
                                 "failureThreshold": 30},
                   livenessProbe={"exec": {"command": ["cat", "/tmp/up"]}, "periodSeconds": 1,
                                  "failureThreshold": 1}))
    wait_until(lambda: main(podd, "slow").state == podd_pb2.ContainerStatus.RUNNING)
    assert not main(podd, "slow").started and not main(podd, "slow").ready
    wait_until(lambda: main(podd, "slow").ready)
    assert main(podd, "slow").started and main(podd, "slow").restart_count == 0


def test_initial_delay_and_thresholds_are_kept(podd, apply):
    apply(manifest("delay", "sleep 1000",
                   readinessProbe={"exec": {"command": ["true"]}, "initialDelaySeconds": 2,
                                   "periodSeconds": 1, "successThreshold": 2}))
    wait_until(lambda: main(podd, "delay").state == podd_pb2.ContainerStatus.RUNNING)
    started = main(podd, "delay").started_at
    wait_until(lambda: main(podd, "delay").ready)
    assert 2.9e9 < time.time_ns() - started < 6e9


def test_many_probes_need_no_threads(podd, apply):
    def threads():
        return len(os.listdir(f"/proc/{podd.process.pid}/task"))
    before = threads()
    apply(*(manifest(f"many-{n}", "sleep 1000",
                     livenessProbe={"exec": {"command": ["sleep", "5"]}, "timeoutSeconds": 10,
                                    "periodSeconds": 1}) for n in range(20)))
    wait_until(lambda: all(p.status.phase == "Running" for p in
                           podd.api.ListPods(podd_pb2.ListPodsRequest()).pods), 30)
    time.sleep(1)
    assert threads() <= before + 4  # libuv's pool may have been started meanwhile


# ---- The API ----------------------------------------------------------------------------------------------


def test_apply_again_changes_nothing_and_a_change_replaces(podd, apply):
    document = manifest("same", "sleep 1000")
    apply(document)
    wait_until(lambda: main(podd, "same").state == podd_pb2.ContainerStatus.RUNNING)
    before = main(podd, "same").container_id
    assert apply(document) == "Pod/same unchanged\n"
    assert main(podd, "same").container_id == before
    document["spec"]["containers"][0]["command"][2] = "sleep 2000"
    assert apply(document) == "Pod/same configured\n"
    wait_until(lambda: main(podd, "same").container_id not in ("", before), 20)


def test_watch_tells_everything_in_order(podd, apply):
    stream = podd.api.WatchPods(podd_pb2.WatchPodsRequest(name="watched"))
    apply(manifest("watched", "sleep 1000"))
    seen, versions = [], []
    for change in stream:
        seen.append(change.type)
        if change.type != podd_pb2.WatchPodsResponse.BOOKMARK:
            versions.append(change.resource_version)
        if change.pod.status.phase == "Running" and not change.pod.status.terminating:
            podd.api.DeletePod(podd_pb2.DeletePodRequest(name="watched", has_grace_period=True,
                                                         no_wait=True))
        if change.type == podd_pb2.WatchPodsResponse.DELETED:
            break
    stream.cancel()
    assert seen[0] == podd_pb2.WatchPodsResponse.BOOKMARK
    assert seen[1] == podd_pb2.WatchPodsResponse.ADDED
    assert versions == sorted(versions)


def test_a_probe_of_any_container_now(podd, pod):
    container = pod.start("busybox", ["sh", "-c", WEB])

    def probe(**action):
        return podd.api.RunProbe(podd_pb2.RunProbeRequest(
            container_id=container, probe=podd_pb2.Probe(timeout_seconds=1, **action)))
    wait_until(lambda: probe(http=podd_pb2.HttpProbe(port=8080, path="/")).result ==
               podd_pb2.PROBE_RESULT_SUCCESS)
    assert probe(tcp=podd_pb2.TcpProbe(port=8080)).result == podd_pb2.PROBE_RESULT_SUCCESS
    assert probe(tcp=podd_pb2.TcpProbe(port=81)).result == podd_pb2.PROBE_RESULT_FAILURE
    missing = probe(http=podd_pb2.HttpProbe(port=8080, path="/none"))
    assert missing.result == podd_pb2.PROBE_RESULT_FAILURE and "404" in missing.message
    assert probe(exec=podd_pb2.ExecProbe(command=["true"])).result == podd_pb2.PROBE_RESULT_SUCCESS
    slow = probe(exec=podd_pb2.ExecProbe(command=["sleep", "10"]))
    assert slow.result == podd_pb2.PROBE_RESULT_FAILURE and "timed out" in slow.message
    assert probe(exec=podd_pb2.ExecProbe(command=["no-such"])).result == \
        podd_pb2.PROBE_RESULT_UNKNOWN


def test_get_and_delete_of_what_is_not_there(podd):
    for call, request in ((podd.api.GetPod, podd_pb2.GetPodRequest(name="nope")),
                          (podd.api.DeletePod, podd_pb2.DeletePodRequest(name="nope"))):
        with pytest.raises(grpc.RpcError) as caught:
            call(request)
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND and "nope" in caught.value.details()


def test_declared_pods_survive_podd(own_podd):
    podd = own_podd
    podd.podctl("apply", "-f", "-", stdin=yaml.safe_dump(
        manifest("kept", WEB, readinessProbe=http_probe(), livenessProbe=http_probe())))
    wait_until(lambda: main(podd, "kept").ready)
    before = get(podd, "kept")
    attempts = before.status.containers[0].probes[0].attempts
    podd.kill()
    time.sleep(0.3)
    podd.start()
    after = get(podd, "kept")
    assert after.uid == before.uid and after.status.sandbox_id == before.status.sandbox_id
    assert after.status.containers[0].container_id == before.status.containers[0].container_id
    assert after.status.containers[0].pid == before.status.containers[0].pid
    assert after.status.containers[0].restart_count == 0
    wait_until(lambda: main(podd, "kept").ready)
    wait_until(lambda: main(podd, "kept").probes[0].attempts > 1 or
               main(podd, "kept").probes[0].attempts > attempts)
    podd.podctl("exec", "kept", "--", "killall", "-STOP", "httpd")
    wait_until(lambda: main(podd, "kept").restart_count == 1, 30, "a restart after podd's own")


def test_a_container_that_died_while_podd_was_down_is_started_again(own_podd):
    podd = own_podd
    podd.podctl("apply", "-f", "-", stdin=yaml.safe_dump(manifest("again", "sleep 0.7; exit 1")))
    wait_until(lambda: main(podd, "again").state == podd_pb2.ContainerStatus.RUNNING)
    podd.kill()
    time.sleep(1)
    podd.start()
    wait_until(lambda: main(podd, "again").restart_count >= 1)


def test_stop_all_stops_cris_pods_too_and_declared_ones_come_back(own_podd):
    from lib.cri import Pod

    podd = own_podd
    pod = Pod(podd)
    pod.start("busybox", ["sleep", "1000"])
    podd.podctl("apply", "-f", "-", stdin=yaml.safe_dump(manifest("back", "sleep 1000")))
    wait_until(lambda: get(podd, "back").status.phase == "Running")
    podd.podctl("system", "stop", "--exit")
    assert podd.process.wait(20) == 0
    podd.start()
    wait_until(lambda: get(podd, "back").status.phase == "Running")
    assert all(s.state == cri.SANDBOX_NOTREADY for s in
               podd.runtime.ListPodSandbox(cri.ListPodSandboxRequest()).items if s.id == pod.id)


# ---- podctl -------------------------------------------------------------------------------------------------


def test_logs_of_both_lives_and_following(podd, apply):
    apply(manifest("talk", "echo life; sleep 1; exit 1"))
    wait_until(lambda: main(podd, "talk").restart_count == 1)
    wait_until(lambda: podd.podctl("logs", "talk").stdout == "life\n")
    assert podd.podctl("logs", "talk", "--previous").stdout == "life\n"
    apply(manifest("count", "i=0; while [ $i -lt 50 ]; do echo $i; i=$((i+1)); sleep 0.02; done",
                   restart="Never"))
    wait_until(lambda: main(podd, "count").container_id)
    wait_until(lambda: main(podd, "count").log_path and os.path.exists(main(podd, "count").log_path))
    out = podd.podctl("logs", "-f", "count", timeout=30).stdout
    assert out.split() == [str(n) for n in range(50)]
    assert podd.podctl("logs", "--tail", "2", "count").stdout.split() == ["48", "49"]


def talk(lines, pause):
    """A command that prints numbered lines, in bursts of 500."""
    return (f"i=0; while [ $i -lt {lines} ]; do seq $i $((i+499)); i=$((i+500)); sleep {pause}; done;"
            " sleep 1000")


def test_a_log_is_rotated_and_read_over_its_files(own_podd):
    podd = own_podd
    settings = podd.config.read_text()
    podd.config.write_text(settings + "logs: {max_size: 64Ki, max_files: 3}\n")
    podd.restart()
    podd.podctl("apply", "-f", "-", stdin=yaml.safe_dump(manifest("loud", talk(10000, 0))))
    wait_until(lambda: "\n9999\n" in podd.podctl("logs", "loud", check=False).stdout, 30)
    kept = [int(line) for line in podd.podctl("logs", "loud").stdout.split()]
    assert kept == list(range(kept[0], 10000)) and 0 < kept[0] < 9000
    path = main(podd, "loud").log_path
    sizes = {name: os.path.getsize(os.path.join(os.path.dirname(path), name))
             for name in os.listdir(os.path.dirname(path))}
    assert sorted(sizes) == ["0.log", "0.log.1", "0.log.2"]
    assert all(size <= 65536 for size in sizes.values()), sizes
    # More than the newest file holds.
    tail = podd.podctl("logs", "loud", "--tail", "2500").stdout.split()
    assert tail == [str(n) for n in range(7500, 10000)]
    assert podd.podctl("logs", "loud", "--tail", "1").stdout == "9999\n"


def test_following_a_log_misses_no_line_of_its_files(own_podd):
    podd = own_podd
    podd.config.write_text(podd.config.read_text() + "logs: {max_size: 64Ki, max_files: 100}\n")
    podd.restart()
    podd.podctl("apply", "-f", "-", stdin=yaml.safe_dump(
        manifest("loud", talk(20000, 0.05).replace(" sleep 1000", " true"), restart="Never")))
    wait_until(lambda: main(podd, "loud").log_path and os.path.exists(main(podd, "loud").log_path))
    out = podd.podctl("logs", "-f", "loud", timeout=60).stdout
    assert out.split() == [str(n) for n in range(20000)]
    assert len(os.listdir(os.path.dirname(main(podd, "loud").log_path))) > 10


@pytest.mark.slow
def test_an_old_life_goes_with_all_files_of_its_log(own_podd):
    podd = own_podd
    podd.config.write_text(podd.config.read_text() + "logs: {max_size: 64Ki, max_files: 3}\n")
    podd.restart()
    podd.podctl("apply", "-f", "-", stdin=yaml.safe_dump(
        manifest("loud", "seq 10000; exit 1")))
    wait_until(lambda: main(podd, "loud").restart_count == 2, 30)

    def lives():
        return {name.split(".")[0] for name in os.listdir(os.path.dirname(main(podd, "loud").log_path))}
    wait_until(lambda: lives() == {"1", "2"})


def test_get_watches(podd, apply):
    from lib.daemon import BUILD

    watch = subprocess.Popen([BUILD / "src/cli/podctl", "get", "pods", "-w"], encoding="utf-8",
                             stdout=subprocess.PIPE, env={**os.environ, "PODD_SOCKET": podd.address})
    try:
        assert watch.stdout.readline().startswith("NAME")
        apply(manifest("seen", "sleep 1000"))
        while True:
            line = watch.stdout.readline()
            assert line, "the watch ended"
            if line.startswith("seen") and "1/1" in line and "Running" in line:
                break
    finally:
        watch.terminate()
        watch.wait()


def test_version_names_both(podd):
    out = podd.podctl("version").stdout
    assert out.startswith("podctl 0.") and "\npodd   0." in out
    assert podd.podctl("version", "--client").stdout.count("\n") == 1


def test_probe_by_name_and_on_the_command_line(podd, apply):
    apply(manifest("asked", WEB, readinessProbe=http_probe()))
    wait_until(lambda: main(podd, "asked").ready)
    assert podd.podctl("probe", "asked", "readiness").stdout.startswith("success")
    assert podd.podctl("probe", "asked", "tcp", "8080").stdout.startswith("success")
    assert podd.podctl("probe", "asked", "exec", "--", "true").stdout.startswith("success")
    done = podd.podctl("probe", "asked", "http", "8080", "/none", check=False)
    assert done.returncode == 1 and "404" in done.stdout


def test_exec_gives_output_and_exit_status(podd, apply):
    apply(manifest("run", "sleep 1000"))
    wait_until(lambda: main(podd, "run").state == podd_pb2.ContainerStatus.RUNNING)
    done = podd.podctl("exec", "run", "--", "sh", "-c", "echo out; echo err >&2; exit 3", check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 3)


def test_output_forms(podd, apply):
    apply(manifest("forms", "sleep 1000"))
    wait_until(lambda: get(podd, "forms").status.phase == "Running")
    assert "forms" in podd.podctl("get", "pods").stdout
    wide = podd.podctl("get", "pods", "-o", "wide").stdout
    assert get(podd, "forms").status.ips[0] in wide
    as_json = json.loads(podd.podctl("get", "pods", "forms", "-o", "json").stdout)
    as_yaml = yaml.safe_load(podd.podctl("-o", "yaml", "get", "pods", "forms").stdout)
    assert as_json["name"] == as_yaml["name"] == "forms"
    assert as_json["status"]["sandbox_id"] == get(podd, "forms").status.sandbox_id


def test_podctl_without_podd_says_what_to_do(tmp_path):
    from lib.daemon import BUILD

    done = subprocess.run([BUILD / "src/cli/podctl", "--socket", f"unix://{tmp_path}/none", "get",
                           "pods"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
                          timeout=20, check=False)
    assert done.returncode == 3
    assert len(done.stderr.strip().splitlines()) == 1 and f"{tmp_path}/none" in done.stderr


@pytest.mark.parametrize("arguments, word", [
    (["gte", "pods"], "did you mean get"), (["get"], "what"), (["get", "nodes"], "nodes"),
    (["logs"], "POD"), (["apply"], "-f"), (["get", "pods", "--wach"], "--watch"),
    (["exec", "x"], "COMMAND"), (["-o", "xml", "images"], "xml"),
])
def test_wrong_usage_is_one_line_and_status_2(podd, arguments, word):
    done = podd.podctl(*arguments, check=False)
    assert done.returncode == 2 and word in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


# ---- Bad manifests ----------------------------------------------------------------------------------------------


BAD = {
    "unknown field": ("containers:\n  - {name: a, image: b, livenesProbe: {}}",
                      "unknown field spec.containers[0].livenesProbe, did you mean livenessProbe?"),
    "missing name": ("containers:\n  - {image: b}", "spec.containers[0].name"),
    "no containers": ("restartPolicy: Always", "spec.containers"),
    "wrong type": ("containers: 7", "spec.containers"),
    "bad policy": ("restartPolicy: Sometimes\ncontainers:\n  - {name: a, image: b}", "Sometimes"),
    "bad port": ("containers:\n  - {name: a, image: b, ports: [{containerPort: 70000}]}", "70000"),
    "twice": ("containers:\n  - {name: a, image: b}\n  - {name: a, image: b}", "spec.containers[1].name"),
    "two probes": ("containers:\n  - name: a\n    image: b\n    livenessProbe: {exec: {command: [x]}, "
                   "tcpSocket: {port: 1}}", "livenessProbe"),
    "named port": ("containers:\n  - name: a\n    image: b\n    livenessProbe: {tcpSocket: {port: web}}",
                   "web"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_manifest_is_one_line_with_its_place(podd, name, tmp_path):
    spec, word = BAD[name]
    path = tmp_path / "bad.yaml"
    path.write_text("apiVersion: v1\nkind: Pod\nmetadata: {name: bad}\nspec:\n" +
                    "".join(f"  {line}\n" for line in spec.splitlines()))
    done = podd.podctl("apply", "-f", path, check=False)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert word in done.stderr and f"{path}:" in done.stderr
    assert "bad" not in [p.name for p in podd.api.ListPods(podd_pb2.ListPodsRequest()).pods]


def test_one_bad_document_stops_all(podd):
    good = manifest("good", "sleep 1")
    bad = manifest("bad", "sleep 1")
    bad["spec"]["nonsense"] = 1
    done = podd.podctl("apply", "-f", "-", stdin=yaml.safe_dump_all([good, bad]), check=False)
    assert done.returncode == 2 and "spec.nonsense" in done.stderr
    assert not podd.api.ListPods(podd_pb2.ListPodsRequest()).pods or \
        "good" not in [p.name for p in podd.api.ListPods(podd_pb2.ListPodsRequest()).pods]


@pytest.mark.parametrize("text, word", [
    ("{", "1:"), ("a: [", ""), ("kind: Deployment\napiVersion: apps/v1\n", "Deployment"),
    ("- 1\n", ""), ("\t", ""), ("a: &x [*x]", ""), ("[" * 100000, ""),
], ids=["brace", "bracket", "kind", "list", "tab", "alias", "deep"])
def test_malformed_yaml_is_a_clear_error(podd, text, word):
    started = time.monotonic()
    done = podd.podctl("apply", "-f", "-", stdin=text, check=False)
    assert done.returncode == 2 and word in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert time.monotonic() - started < 5


def test_a_missing_image_is_said_in_the_status(podd, apply):
    apply(manifest("noimage", "true", image="no-such-image:1"))
    wait_until(lambda: main(podd, "noimage").reason == "ErrImageNeverPull")
    assert "no-such-image:1" in main(podd, "noimage").message
