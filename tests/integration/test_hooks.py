"""Lifecycle hooks of declared pods, and the order in which containers end."""
import time

import podd_pb2
import pytest
import yaml

from lib.cri import wait_until

TRAP = "trap 'echo stopped > /shared/{0}; sleep 0.1; exit 0' TERM; touch /tmp/up; sleep 1000 & wait"


def container(name, command, **fields):
    return {"name": name, "image": "busybox", "imagePullPolicy": "Never",
            "command": ["sh", "-c", command], **fields}


def pod(name, *containers, **spec):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"containers": list(containers), **spec}}


@pytest.fixture
def apply(podd, no_leaks):
    names = []

    def do(document, **options):
        names.append(document["metadata"]["name"])
        return podd.podctl("apply", "-f", "-", stdin=yaml.safe_dump(document), **options)
    yield do
    for name in dict.fromkeys(names):
        podd.podctl("delete", "pod", name, "--grace-period", "0", check=False)


def status(podd, name):
    return podd.api.GetPod(podd_pb2.GetPodRequest(name=name)).pod.status


def is_running(podd, name):
    s = status(podd, name)
    return all(c.state == podd_pb2.ContainerStatus.RUNNING for c in s.containers)


def event_reasons(podd, name):
    return [e.reason for e in podd.api.ListEvents(podd_pb2.ListEventsRequest(pod=name))]


def delete(podd, name, *arguments):
    started = time.monotonic()
    podd.podctl("delete", "pod", name, *arguments)
    return time.monotonic() - started


@pytest.fixture
def shared(tmp_path):
    """A directory of the node's that a pod sees at /shared, to leave traces in."""
    tmp_path.chmod(0o777)
    return tmp_path, {
        "volumes": [{"name": "shared", "hostPath": {"path": str(tmp_path)}}]}, {
        "volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}


def test_post_start_runs_once_in_the_container(podd, apply, shared):
    directory, volumes, mounts = shared
    hook = {"postStart": {"exec": {"command": ["sh", "-c", "echo $GREETING >> /shared/hook"]}}}
    apply(pod("begin", container("main", "trap 'exit 0' TERM; sleep 1000 & wait", lifecycle=hook, env=[
        {"name": "GREETING", "value": "hello"}], **mounts), **volumes))
    wait_until(lambda: (directory / "hook").exists(), what="the hook")
    time.sleep(0.3)
    assert (directory / "hook").read_text() == "hello\n"
    assert is_running(podd, "begin")


def test_a_failed_post_start_kills_the_container(podd, apply):
    hook = {"postStart": {"exec": {"command": ["sh", "-c", "echo no luck; exit 3"]}}}
    apply(pod("unlucky", container("main", "trap 'exit 0' TERM; sleep 1000 & wait", lifecycle=hook),
              terminationGracePeriodSeconds=1))
    wait_until(lambda: status(podd, "unlucky").containers[0].restart_count == 1, 15, "a restart")
    assert "FailedPostStartHook" in event_reasons(podd, "unlucky")
    assert "no luck" in podd.podctl("describe", "unlucky").stdout


def test_pre_stop_runs_before_the_signal(podd, apply, shared):
    directory, volumes, mounts = shared
    hook = {"preStop": {"exec": {"command": [
        "sh", "-c", "[ -e /shared/main ] || echo first > /shared/hook; sleep 1"]}}}
    apply(pod("orderly", container("main", TRAP.format("main"), lifecycle=hook, **mounts),
              terminationGracePeriodSeconds=20, **volumes))
    wait_until(lambda: is_running(podd, "orderly"), what="running")
    wait_until(lambda: podd.podctl("exec", "orderly", "--", "test", "-e", "/tmp/up",
                                   check=False).returncode == 0)
    took = delete(podd, "orderly")
    assert (directory / "hook").read_text() == "first\n"
    assert (directory / "main").read_text() == "stopped\n"
    assert 1 <= took < 10


def test_pre_stop_has_no_more_than_the_grace(podd, apply):
    hook = {"preStop": {"sleep": {"seconds": 1000}}}
    apply(pod("sleepy", container("main", "trap 'exit 0' TERM; sleep 1000 & wait", lifecycle=hook),
              terminationGracePeriodSeconds=2))
    wait_until(lambda: is_running(podd, "sleepy"), what="running")
    assert 2 <= delete(podd, "sleepy") < 8


def test_a_shorter_grace_ends_a_hook_under_way(podd, apply):
    hook = {"preStop": {"sleep": {"seconds": 1000}}}
    apply(pod("hurried", container("main", "trap 'exit 0' TERM; sleep 1000 & wait", lifecycle=hook),
              terminationGracePeriodSeconds=300))
    wait_until(lambda: is_running(podd, "hurried"), what="running")
    podd.podctl("delete", "pod", "hurried", "--no-wait")
    time.sleep(0.5)
    assert is_running(podd, "hurried")
    assert delete(podd, "hurried", "--grace-period", "1") < 8


def test_pre_stop_also_runs_when_a_probe_kills(podd, apply, shared):
    directory, volumes, mounts = shared
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo again >> /shared/hook"]}}}
    probe = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1}
    apply(pod("failing", container("main", "trap 'exit 0' TERM; sleep 1000 & wait", lifecycle=hook, livenessProbe=probe,
                                   **mounts), terminationGracePeriodSeconds=1, **volumes))
    wait_until(lambda: status(podd, "failing").containers[0].restart_count >= 1, 20, "a restart")
    assert (directory / "hook").read_text().startswith("again\n")


def test_pre_stop_does_not_run_after_an_end_of_its_own(podd, apply, shared):
    directory, volumes, mounts = shared
    hook = {"preStop": {"exec": {"command": ["touch", "/shared/hook"]}}}
    apply(pod("done", container("main", "exit 0", lifecycle=hook, **mounts), restartPolicy="Never",
              **volumes))
    wait_until(lambda: status(podd, "done").phase == "Succeeded", what="the end")
    delete(podd, "done")
    assert not (directory / "hook").exists()


def test_http_hooks_take_any_status(podd, apply):
    serve = "mkdir /www; httpd -f -v -p 8080 -h /www & trap 'exit 0' TERM; wait"
    hook = {"preStop": {"httpGet": {"port": "web", "path": "/missing"}}}
    probe = {"exec": {"command": ["test", "!", "-e", "/tmp/kill"]}, "periodSeconds": 1,
             "failureThreshold": 1}
    apply(pod("asked", container("main", serve, lifecycle=hook, livenessProbe=probe, ports=[
        {"name": "web", "containerPort": 8080}]), terminationGracePeriodSeconds=5))
    wait_until(lambda: is_running(podd, "asked"), what="running")
    podd.podctl("exec", "asked", "--", "touch", "/tmp/kill")
    wait_until(lambda: status(podd, "asked").containers[0].restart_count == 1, 15, "a restart")
    assert "response:404" in (lambda done: done.stdout + done.stderr)(
        podd.podctl("logs", "asked", "--previous"))
    assert "FailedPreStopHook" not in event_reasons(podd, "asked")


def test_sidecars_end_after_the_others_last_first(podd, apply, shared):
    directory, volumes, mounts = shared
    note = "trap 'echo {0} >> /shared/order; exit 0' TERM; touch /shared/up-{0}; sleep 1000 & wait"
    sidecars = [container(name, note.format(name), restartPolicy="Always", **mounts)
                for name in ("one", "two")]
    apply(pod("convoy", container("main", note.format("main"), **mounts),
              initContainers=sidecars, terminationGracePeriodSeconds=20, **volumes))
    wait_until(lambda: all((directory / f"up-{name}").exists() for name in ("one", "two", "main")),
               what="all of them")
    assert delete(podd, "convoy") < 10
    assert (directory / "order").read_text().split() == ["main", "two", "one"]


@pytest.mark.parametrize("lifecycle, words", [
    ({"preStop": {"tcpSocket": {"port": 1}}}, "tcpSocket"),
    ({"preStop": {}}, "exactly one of exec, httpGet and sleep"),
    ({"postStart": {"exec": {"command": ["a"]}, "sleep": {"seconds": 1}}}, "exactly one"),
    ({"preStop": {"sleep": {"seconds": -1}}}, "seconds"),
    ({"postStart": {"httpGet": {"port": "nameless"}}}, "no port named nameless"),
    ({"prestop": {"sleep": {"seconds": 1}}}, "preStop"),
])
def test_what_is_no_hook_is_refused_with_its_place(podd, apply, lifecycle, words):
    done = apply(pod("bad", container("main", "true", lifecycle=lifecycle)), check=False)
    assert done.returncode == 2 and words in done.stderr
    assert "spec.containers[0].lifecycle" in done.stderr


def test_init_containers_have_no_hooks(podd, apply):
    init = container("init", "true", lifecycle={"preStop": {"sleep": {"seconds": 1}}})
    done = apply(pod("bad", container("main", "true"), initContainers=[init]), check=False)
    assert done.returncode == 2 and "spec.initContainers[0].lifecycle" in done.stderr
