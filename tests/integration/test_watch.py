"""Watches of declared pods: going on where one ended, and being cut off."""
import grpc
import podd_pb2
import pytest
import yaml

from lib.cri import wait_until
from lib.patience import patient

ADDED, MODIFIED, DELETED, BOOKMARK = (podd_pb2.WatchPodsResponse.Type.Value(name) for name in (
    "ADDED", "MODIFIED", "DELETED", "BOOKMARK"))


def manifest(name, command="sleep 1000", restart="Always", **metadata):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **metadata}, "spec": {
        "restartPolicy": restart, "terminationGracePeriodSeconds": 1, "containers": [
            {"name": "main", "image": "busybox", "imagePullPolicy": "Never",
             "command": ["sh", "-c", command]}]}}


def apply(podd, *documents):
    podd.podctl("apply", "-f", "-", stdin=yaml.safe_dump_all(documents))


def delete(podd, *names):
    for name in names:
        podd.podctl("delete", "pod", name, "--grace-period", "0")


def running(podd, name):
    pod = podd.api.GetPod(podd_pb2.GetPodRequest(name=name)).pod
    return pod.status.containers[0].state == podd_pb2.ContainerStatus.RUNNING


def catch_up(podd, version=0, **which):
    """What a watch says up to its bookmark, whose version comes last."""
    seen = []
    stream = podd.api.WatchPods(podd_pb2.WatchPodsRequest(resource_version=version, **which),
                                timeout=patient(20))
    for change in stream:
        seen.append(change)
        if change.type == BOOKMARK:
            stream.cancel()
            return [(c.type, c.pod.name) for c in seen[:-1]], seen
    raise AssertionError("the watch ended without a bookmark")


def test_a_watch_goes_on_without_a_gap(podd, no_leaks):
    apply(podd, manifest("stays"), manifest("goes"),
          manifest("changes", "until [ -e /tmp/end ]; do sleep 0.1; done"))
    wait_until(lambda: all(running(podd, n) for n in ("stays", "changes", "goes")))
    first, messages = catch_up(podd)
    assert sorted(first) == [(ADDED, "changes"), (ADDED, "goes"), (ADDED, "stays")]
    version = messages[-1].resource_version
    assert catch_up(podd, version)[0] == []

    delete(podd, "goes")
    pid = podd.api.GetPod(podd_pb2.GetPodRequest(name="changes")).pod.status.containers[0].pid
    podd.podctl("exec", "changes", "--", "touch", "/tmp/end")
    wait_until(lambda: podd.api.GetPod(podd_pb2.GetPodRequest(
        name="changes")).pod.status.containers[0].pid not in (0, pid), what="a restart")
    apply(podd, manifest("new"))
    wait_until(lambda: running(podd, "new"))
    later, messages = catch_up(podd, version)
    assert sorted(later) == [(ADDED, "new"), (MODIFIED, "changes"), (DELETED, "goes")]
    versions = [m.resource_version for m in messages]
    assert versions == sorted(versions) and versions[0] > version
    assert catch_up(podd, version, name="goes")[0] == [(DELETED, "goes")]
    # From the middle: what came later, once more.
    assert catch_up(podd, versions[0])[0] == later[1:]
    delete(podd, "stays", "changes", "new")
    assert catch_up(podd)[0] == []


@pytest.mark.parametrize("version", [1, 1 << 62])
def test_a_version_that_podd_does_not_know_is_told_to_list_again(podd, version):
    with pytest.raises(grpc.RpcError) as fault:
        catch_up(podd, version)
    assert fault.value.code() == grpc.StatusCode.OUT_OF_RANGE
    assert "watch again" in fault.value.details()


def test_a_watch_from_before_a_restart_is_told_to_list_again(own_podd):
    apply(own_podd, manifest("web"))
    wait_until(lambda: running(own_podd, "web"))
    version = catch_up(own_podd)[1][-1].resource_version
    own_podd.restart()
    with pytest.raises(grpc.RpcError) as fault:
        catch_up(own_podd, version)
    assert fault.value.code() == grpc.StatusCode.OUT_OF_RANGE
    wait_until(lambda: running(own_podd, "web"))
    seen, messages = catch_up(own_podd)
    assert seen == [(ADDED, "web")] and messages[-1].resource_version > version


def test_a_watch_that_is_never_read_is_cut_off(podd, no_leaks):
    stream = podd.api.WatchPods(podd_pb2.WatchPodsRequest(), timeout=patient(60))
    assert next(stream).type == BOOKMARK
    names = [f"big-{i}" for i in range(12)]
    for name in names:
        apply(podd, manifest(name, "true", "Never", annotations={"a": "x" * 200000}))
    for name in names:
        wait_until(lambda n=name: podd.api.GetPod(
            podd_pb2.GetPodRequest(name=n)).pod.status.phase == "Succeeded", 30)
    delete(podd, *names)
    with pytest.raises(grpc.RpcError) as fault:
        last = 0
        for change in stream:
            assert change.resource_version > last
            last = change.resource_version
    assert fault.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    late = catch_up(podd, last)[0]
    assert late and all(kind == DELETED for kind, _ in late)


def test_events_go_on_after_the_last_one_read(podd, no_leaks):
    def events(version=0):
        return list(podd.api.ListEvents(podd_pb2.ListEventsRequest(resource_version=version)))
    apply(podd, manifest("told"))
    wait_until(lambda: running(podd, "told"))
    before = events()
    versions = [e.resource_version for e in before]
    assert versions == sorted(set(versions)) and events(versions[-1]) == []
    assert events(versions[0]) == before[1:]
    delete(podd, "told")
    assert "Killing" in [e.reason for e in events(versions[-1])]
    for version in (1, 1 << 62):
        with pytest.raises(grpc.RpcError) as fault:
            events(version)
        assert fault.value.code() == grpc.StatusCode.OUT_OF_RANGE


def read_events(podd, version=0, **which):
    return list(podd.api.ListEvents(podd_pb2.ListEventsRequest(resource_version=version, **which),
                                    timeout=patient(20)))


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_events_outlive_podd(own_podd, how):
    """With their counts, times and versions; who has read some goes on where that ended."""
    apply(own_podd, manifest("told"))
    wait_until(lambda: running(own_podd, "told"))
    before = read_events(own_podd)
    assert before and len({e.pod_uid for e in before}) == 1
    getattr(own_podd, how)()
    own_podd.start()
    assert read_events(own_podd)[:len(before)] == before
    assert read_events(own_podd, before[0].resource_version)[:len(before) - 1] == before[1:]
    late = before[-1].resource_version
    delete(own_podd, "told")
    later = read_events(own_podd, late)
    assert "Killing" in [e.reason for e in later]
    assert all(e.resource_version > late for e in later)
    # Deleted and declared anew, it is another pod.
    apply(own_podd, manifest("told"))
    wait_until(lambda: running(own_podd, "told"))
    assert len({e.pod_uid for e in read_events(own_podd, pod="told")}) == 2


def test_an_event_is_counted_on_after_a_restart(own_podd):
    probed = manifest("again")
    probed["spec"]["containers"][0]["readinessProbe"] = {
        "exec": {"command": ["false"]}, "periodSeconds": 1}
    apply(own_podd, probed)

    def failed():
        return [e for e in read_events(own_podd, pod="again") if e.reason == "Unhealthy"]
    wait_until(lambda: failed() and failed()[0].count > 1)
    before = failed()
    own_podd.kill()
    own_podd.start()
    assert failed()[0].count >= before[0].count
    wait_until(lambda: failed()[0].count > before[0].count)
    assert len(failed()) == 1 and failed()[0].first_time == before[0].first_time
    delete(own_podd, "again")


def test_a_history_that_was_cut_off_in_the_middle_is_read_up_to_there(own_podd):
    apply(own_podd, manifest("told"))
    wait_until(lambda: running(own_podd, "told"))
    before = read_events(own_podd)
    own_podd.kill()
    history = own_podd.state / "events"
    history.write_bytes(history.read_bytes()[:-3])
    own_podd.start()
    assert read_events(own_podd)[:len(before) - 1] == before[:-1]
    delete(own_podd, "told")
    known = read_events(own_podd)
    own_podd.restart()
    assert read_events(own_podd)[:len(known)] == known
