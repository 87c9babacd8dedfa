"""Probes that a master attaches to containers of CRI."""
import grpc
import podd_pb2
import pytest

from lib import cri
from lib.cri import wait_until
from lib.patience import patient

STARTUP, READINESS, LIVENESS = podd_pb2.STARTUP, podd_pb2.READINESS, podd_pb2.LIVENESS


def scheduled(kind, *command, **options):
    return podd_pb2.ScheduledProbe(kind=kind, period_seconds=1, probe=podd_pb2.Probe(
        timeout_seconds=5, exec=podd_pb2.ExecProbe(command=command)), **options)


def set_probes(podd, container, *probes):
    podd.api.SetProbes(podd_pb2.SetProbesRequest(container_id=container, probes=probes))


def probed(podd, container=""):
    return podd.api.ListProbes(podd_pb2.ListProbesRequest(container_id=container)).containers


def test_probes_of_a_cri_container_are_reported(podd, pod):
    container = pod.start("busybox", ["sh", "-c", "touch /tmp/ok; sleep 1000"])
    watch = podd.api.WatchProbes(podd_pb2.WatchProbesRequest(), timeout=patient(60))
    assert next(watch).type == podd_pb2.WatchProbesResponse.BOOKMARK
    set_probes(podd, container, scheduled(READINESS, "test", "-e", "/tmp/ok"),
               scheduled(LIVENESS, "test", "!", "-e", "/tmp/bad", failure_threshold=2))
    assert next(watch).type == podd_pb2.WatchProbesResponse.ADDED
    change = next(watch)
    assert change.type == podd_pb2.WatchProbesResponse.MODIFIED
    assert change.container.container_id == container and change.container.ready
    wait_until(lambda: all(s.attempts for s in probed(podd, container)[0].status))

    cri_exec(podd, container, "rm", "/tmp/ok")
    assert not next(watch).container.ready
    cri_exec(podd, container, "touch", "/tmp/bad")
    failed = next(watch).container
    assert failed.failed and failed.message.startswith("liveness probe failed") and failed.running

    set_probes(podd, container)
    assert next(watch).type == podd_pb2.WatchProbesResponse.DELETED
    assert not probed(podd)
    watch.cancel()


def cri_exec(podd, container, *command):
    import cri_pb2  # pylint: disable=import-outside-toplevel,import-error

    podd.runtime.ExecSync(cri_pb2.ExecSyncRequest(container_id=container, cmd=command, timeout=10))


def test_probes_end_with_their_container(podd, pod):
    container = pod.start("busybox", ["sleep", "1000"])
    set_probes(podd, container, scheduled(READINESS, "true"))
    wait_until(lambda: probed(podd, container)[0].ready)
    pod.remove()
    assert not probed(podd, container)
    wait_until(lambda: not list((podd.root / "probes").iterdir()), what="the record to be gone")


@pytest.mark.parametrize("end", ["restart", "kill"])
def test_probes_outlive_a_restart_of_podd(own_podd, end):
    pod = cri.Pod(own_podd)
    container = pod.start("busybox", ["sleep", "1000"])
    set_probes(own_podd, container, scheduled(STARTUP, "true"), scheduled(READINESS, "true"))
    wait_until(lambda: probed(own_podd)[0].status[1].attempts >= 2)
    before = probed(own_podd)[0]
    if end == "kill":
        own_podd.kill()
        own_podd.start()
    else:
        own_podd.restart()
    after = probed(own_podd)[0]
    assert after.probes == before.probes and after.ready and after.started
    assert after.status[0].attempts == 1
    assert after.status[1].attempts >= before.status[1].attempts
    assert after.status[1].run >= before.status[1].run
    wait_until(lambda: probed(own_podd)[0].status[1].attempts > before.status[1].attempts)
    pod.remove()
    assert not probed(own_podd)


def test_what_has_failed_for_good_is_not_probed_again_after_a_restart(own_podd):
    pod = cri.Pod(own_podd)
    container = pod.start("busybox", ["sleep", "1000"])
    set_probes(own_podd, container, scheduled(LIVENESS, "false", failure_threshold=2))
    wait_until(lambda: probed(own_podd)[0].failed)
    own_podd.kill()
    own_podd.start()
    after = probed(own_podd)[0]
    assert after.failed and after.message.startswith("liveness probe failed")
    assert after.status[0].attempts == 2
    # Other probes in their place begin anew.
    set_probes(own_podd, container, scheduled(LIVENESS, "true"))
    wait_until(lambda: probed(own_podd)[0].status[0].attempts >= 1)
    assert not probed(own_podd)[0].failed and probed(own_podd)[0].status[0].failures == 0
    pod.remove()


@pytest.mark.parametrize("clears", [False, True])
def test_set_probes_answers_when_it_would_outlive_podd(own_podd, clears):
    pod = cri.Pod(own_podd)
    container = pod.start("busybox", ["sleep", "1000"])
    set_probes(own_podd, container, scheduled(READINESS, "true"))
    if clears:
        set_probes(own_podd, container)
    own_podd.kill()
    own_podd.start()
    assert [c.container_id for c in probed(own_podd)] == ([] if clears else [container])
    pod.remove()


BAD = {
    "no action": podd_pb2.ScheduledProbe(probe=podd_pb2.Probe()),
    "nothing": podd_pb2.ScheduledProbe(),
    "negative period": scheduled(READINESS, "true", initial_delay_seconds=-1),
    "liveness with two successes": scheduled(LIVENESS, "true", success_threshold=2),
    "no command": scheduled(READINESS),
    "port": podd_pb2.ScheduledProbe(probe=podd_pb2.Probe(tcp=podd_pb2.TcpProbe(port=70000))),
    "timeout": podd_pb2.ScheduledProbe(probe=podd_pb2.Probe(
        timeout_seconds=-1, tcp=podd_pb2.TcpProbe(port=1))),
    "unknown kind": podd_pb2.ScheduledProbe(kind=7, probe=podd_pb2.Probe(
        tcp=podd_pb2.TcpProbe(port=1))),
}


@pytest.mark.parametrize("name", BAD)
def test_impossible_values_change_nothing(podd, pod, name):
    container = pod.start("busybox", ["sleep", "1000"])
    set_probes(podd, container, scheduled(READINESS, "true"))
    before = probed(podd, container)[0].probes
    with pytest.raises(grpc.RpcError) as fault:
        set_probes(podd, container, BAD[name])
    assert fault.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.RpcError) as fault:
        set_probes(podd, container, scheduled(LIVENESS, "true"), scheduled(LIVENESS, "false"))
    assert fault.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert probed(podd, container)[0].probes == before


def test_only_a_running_cri_container_takes_probes(podd):
    with pytest.raises(grpc.RpcError) as fault:
        set_probes(podd, "0123456789abcdef", scheduled(READINESS, "true"))
    assert fault.value.code() == grpc.StatusCode.NOT_FOUND
