"""kubelet's rules of probing, one test each; those of thresholds are in test-health-machine.c, those of HTTP and gRPC in
test_probes.py."""
import podd_pb2
import pytest
import yaml

from lib.cri import wait_until

UNKNOWN, SUCCESS, FAILURE = (podd_pb2.PROBE_RESULT_UNKNOWN, podd_pb2.PROBE_RESULT_SUCCESS,
                             podd_pb2.PROBE_RESULT_FAILURE)
STUBBORN = "trap '' TERM; while true; do sleep 0.1; done"


def manifest(name, command="sleep 1000", grace=1, **container):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
        "terminationGracePeriodSeconds": grace, "containers": [
            {"name": "main", "image": "busybox", "imagePullPolicy": "Never",
             "command": ["sh", "-c", command], **container}]}}


def probe(*command, **fields):
    return {"exec": {"command": command}, "periodSeconds": 1, "timeoutSeconds": 5, **fields}


@pytest.fixture
def apply(podd, no_leaks):
    names = []

    def do(document):
        names.append(document["metadata"]["name"])
        podd.podctl("apply", "-f", "-", stdin=yaml.safe_dump(document))
        wait_until(lambda: main(podd, names[-1]).pid, what="a process")
    yield do
    for name in names:
        podd.podctl("delete", "pod", name, "--grace-period", "0", check=False)


def main(podd, name):
    return podd.api.GetPod(podd_pb2.GetPodRequest(name=name)).pod.status.containers[0]


def attempted(podd, name, attempts=1):
    return wait_until(lambda: [p for p in main(podd, name).probes if p.attempts >= attempts], 20)[0]


def events(podd, name, reason):
    return [e.message for e in podd.api.ListEvents(podd_pb2.ListEventsRequest(pod=name))
            if e.reason == reason]


def test_what_a_command_may_come_to(podd, apply):
    apply(manifest("commands"))

    def run(*command, timeout=5):
        return podd.api.RunProbe(podd_pb2.RunProbeRequest(pod="commands", probe=podd_pb2.Probe(
            timeout_seconds=timeout, exec=podd_pb2.ExecProbe(command=command))))
    assert run("true").result == SUCCESS
    failed = run("sh", "-c", "echo why; exit 3")
    assert failed.result == FAILURE and "3" in failed.message and "why" in failed.message
    late = run("sleep", "30", timeout=1)
    assert late.result == FAILURE and "timed out" in late.message and late.latency < 20e9
    # One that cannot be started says nothing about the container.
    missing = run("/no/such/program")
    assert missing.result == UNKNOWN and "/no/such/program" in missing.message
    long = run("sh", "-c", "yes | head -c 100000; exit 1")
    assert long.result == FAILURE and 1000 < len(long.message) <= 10240 + 100


def test_a_command_knows_the_containers_environment(podd, apply):
    apply(manifest("knows", env=[{"name": "A", "value": "b"}],
                   readinessProbe=probe("test", "$(A)", "=", "b")))
    wait_until(lambda: main(podd, "knows").ready)


def test_without_readiness_it_is_ready_when_it_runs(podd, apply):
    apply(manifest("plain"))
    wait_until(lambda: main(podd, "plain").ready and main(podd, "plain").started)


def test_the_first_attempt_is_at_once_or_after_its_delay(podd, apply):
    apply(manifest("soon", readinessProbe=probe("true", periodSeconds=1000)))
    apply(manifest("later", readinessProbe=probe("true", periodSeconds=1000, initialDelaySeconds=3)))
    wait_until(lambda: main(podd, "soon").ready)
    assert not main(podd, "later").ready
    last = attempted(podd, "later").last_time
    assert last >= main(podd, "later").started_at + 3e9


def test_a_new_life_begins_anew(podd, apply):
    apply(manifest("again", readinessProbe=probe("true"),
                   livenessProbe=probe("test", "!", "-e", "/tmp/bad", failureThreshold=2)))
    wait_until(lambda: main(podd, "again").ready and min(p.attempts for p in main(podd, "again").probes) >= 3)
    podd.podctl("exec", "again", "--", "touch", "/tmp/bad")
    wait_until(lambda: main(podd, "again").restart_count == 1 and main(podd, "again").probes, 20)
    now = {p.kind: p for p in main(podd, "again").probes}
    assert now[podd_pb2.LIVENESS].failures == 0 and now[podd_pb2.READINESS].attempts < 3
    wait_until(lambda: main(podd, "again").ready)
    # Failures are not retried: two attempts, two failures.
    assert any("will be restarted" in m for m in events(podd, "again", "Killing"))
    assert any(m.startswith("Liveness probe failed: ") for m in events(podd, "again", "Unhealthy"))


def test_a_startup_probe_that_fails_for_good_ends_the_life(podd, apply):
    apply(manifest("never", startupProbe=probe("false", failureThreshold=2), readinessProbe=probe("true"),
                   livenessProbe=probe("true")))
    wait_until(lambda: main(podd, "never").restart_count >= 1, 20)
    assert any("failed startup probe" in m for m in events(podd, "never", "Killing"))
    # The others have waited for it in vain.
    assert not main(podd, "never").ready
    assert all(p.attempts == 0 for p in main(podd, "never").probes if p.kind != podd_pb2.STARTUP)


def test_the_probes_own_grace_goes_before_the_pods(podd, apply):
    apply(manifest("stuck", STUBBORN, grace=600,
                   livenessProbe=probe("false", failureThreshold=1, terminationGracePeriodSeconds=1)))
    wait_until(lambda: main(podd, "stuck").restart_count >= 1, 20, "a restart within the probe's grace")


def test_a_failing_readiness_probe_never_restarts(podd, apply):
    apply(manifest("aside", readinessProbe=probe("false", failureThreshold=1)))
    assert attempted(podd, "aside", 3).failures >= 3
    assert main(podd, "aside").restart_count == 0 and not main(podd, "aside").ready


def test_a_pod_that_is_deleted_is_not_killed_by_liveness(podd, apply):
    apply(manifest("leaving", "trap 'touch /tmp/bad' TERM; while true; do sleep 0.1; done", grace=4,
                   readinessProbe=probe("test", "!", "-e", "/tmp/bad", failureThreshold=1),
                   livenessProbe=probe("test", "!", "-e", "/tmp/bad", failureThreshold=1)))
    wait_until(lambda: main(podd, "leaving").ready)
    podd.podctl("delete", "pod", "leaving")
    assert not any("failed liveness" in m for m in events(podd, "leaving", "Killing"))
