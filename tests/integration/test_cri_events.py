"""GetContainerEvents and the lists as streams: order, completeness, and clients that read slowly."""
import concurrent.futures
import queue
import threading
import time

import cri_pb2 as cri
import grpc
import pytest

from lib.cri import Pod, container_status, remove_container, stop_container, wait_exited, wait_until
from lib.patience import patient

CREATED, STARTED, STOPPED, DELETED = (cri.CONTAINER_CREATED_EVENT, cri.CONTAINER_STARTED_EVENT,
                                      cri.CONTAINER_STOPPED_EVENT, cri.CONTAINER_DELETED_EVENT)


class Subscriber:
    """Reads events in a thread of its own until it is closed; each with the moment of its arrival."""

    def __init__(self, podd):
        self.call = podd.runtime.GetContainerEvents(cri.GetEventsRequest())
        self.events = queue.Queue()
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        try:
            for event in self.call:
                self.events.put(event)
        except grpc.RpcError:
            pass

    def take(self, n):
        return [self.events.get(timeout=patient(10)) for _ in range(n)]

    def close(self):
        self.call.cancel()
        self.thread.join(patient(10))
        assert self.events.empty()


@pytest.fixture
def subscriber(podd, no_leaks):
    """Subscribed for sure: a pod's first event has been seen."""
    made = Subscriber(podd)
    probes = []

    def seen():
        probes.append(Pod(podd))
        return not made.events.empty()
    wait_until(seen, what="a subscription")
    for pod in probes:
        pod.remove()
    last = probes[-1].id
    while True:
        event = made.events.get(timeout=patient(10))
        if event.container_id == last and event.container_event_type == DELETED:
            break
    yield made
    made.close()


def test_events_tell_each_change_once_and_in_order(podd, subscriber):
    pod = Pod(podd)
    container = pod.start("busybox", ["sh", "-c", "exit 3"])
    wait_exited(podd, container)
    remove_container(podd, container)
    pod.remove()
    events = subscriber.take(8)
    kinds = [(e.container_id, e.container_event_type) for e in events]
    assert kinds == [(pod.id, CREATED), (pod.id, STARTED), (container, CREATED), (container, STARTED),
                     (container, STOPPED), (container, DELETED), (pod.id, STOPPED), (pod.id, DELETED)]
    times = [e.created_at for e in events]
    assert times == sorted(times) and len(set(times)) == 8
    assert abs(times[-1] - time.time_ns()) < patient(60) * 1_000_000_000
    for event in events:
        assert event.pod_sandbox_status.id == pod.id
        assert event.pod_sandbox_status.metadata == pod.config.metadata
    states = [[c.state for c in e.containers_statuses] for e in events]
    assert states == [[], [], [cri.CONTAINER_CREATED], [cri.CONTAINER_RUNNING], [cri.CONTAINER_EXITED],
                      [], [], []]
    assert events[4].containers_statuses[0].exit_code == 3
    assert [e.pod_sandbox_status.state for e in events] == [cri.SANDBOX_READY] * 6 + \
        [cri.SANDBOX_NOTREADY] * 2


def test_an_event_comes_after_its_state_is_readable(podd, subscriber):
    """Whoever asks on an event sees at least that state: no later answer is older."""
    pod = Pod(podd)
    subscriber.take(2)
    order = [cri.CONTAINER_CREATED, cri.CONTAINER_RUNNING, cri.CONTAINER_EXITED]
    for _ in range(10):
        container = pod.start("busybox", ["true"])
        for state in order:
            event = subscriber.take(1)[0]
            (told,) = [c for c in event.containers_statuses if c.id == container]
            assert told.state == state
            assert order.index(container_status(podd, container).state) >= order.index(state)
        remove_container(podd, container)
        subscriber.take(1)
    pod.remove()
    subscriber.take(2)


def test_every_subscriber_gets_everything(podd, subscriber):
    second = Subscriber(podd)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        pods = list(pool.map(lambda _: Pod(podd), range(8)))
        list(pool.map(lambda pod: pod.remove(), pods))
    first = subscriber.take(4 * 8)
    for pod in pods:
        kinds = [e.container_event_type for e in first if e.container_id == pod.id]
        assert kinds == [CREATED, STARTED, STOPPED, DELETED]
    # The second may have come a little late, but then it has no gap.
    wait_until(lambda: not second.events.empty(), what="events")
    rest = []
    while not rest or rest[-1] != first[-1]:
        rest.append(second.events.get(timeout=patient(10)))
    assert rest == first[len(first) - len(rest):]
    second.close()


def test_a_subscriber_that_does_not_read_is_cut_off_and_lists_again(own_podd):
    """Never a gap and never silence: the stream ends with a code, and a new one goes on from a list.
    Meanwhile nobody else waits, and podd keeps no more than the bounded rest for it."""
    podd = own_podd
    pod = Pod(podd, annotations={"big": "x" * 200000})
    slow = podd.runtime.GetContainerEvents(cri.GetEventsRequest())
    fast = Subscriber(podd)
    ids = []
    deadline = time.monotonic() + patient(60)
    log = "reads its events too slowly"
    code = None
    while time.monotonic() < deadline and code is None:
        for _ in range(10):
            container = pod.create("busybox", ["true"])
            ids.append(container)
            remove_container(podd, container)
        if len(ids) >= 60:
            try:
                while True:
                    next(slow)
            except StopIteration:
                raise AssertionError("the stream ended as if nothing had happened")
            except grpc.RpcError as error:
                code, message = error.code(), error.details()
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED and log in message
    began = time.monotonic()
    survivor = pod.create("busybox", ["true"])
    listed = podd.runtime.ListContainers(cri.ListContainersRequest()).containers
    assert [c.id for c in listed] == [survivor]
    assert time.monotonic() - began < patient(2)
    again = Subscriber(podd)

    def hears():
        stop_container(podd, pod.start("busybox", ["sleep", "100"]))
        return not again.events.empty()
    wait_until(hears, what="events of the new stream")
    for reader in (fast, again):
        reader.call.cancel()
    pod.remove()


# ---- Lists as streams ----------------------------------------------------------------------------------


def ids_of(stream, field):
    messages = [[item.id for item in getattr(message, field)] for message in stream]
    assert all(messages), "no message is empty"
    return [i for message in messages for i in message], len(messages)


def test_a_stream_of_nothing_ends_at_once(podd):
    nothing = cri.ContainerFilter(id="0" * 64)
    assert not list(podd.runtime.StreamContainers(cri.StreamContainersRequest(filter=nothing)))
    nowhere = cri.PodSandboxFilter(id="0" * 64)
    assert not list(podd.runtime.StreamPodSandboxes(cri.StreamPodSandboxesRequest(filter=nowhere)))


def test_a_stream_has_what_the_list_has(podd, pod):
    state = cri.ContainerStateValue(state=cri.CONTAINER_RUNNING)
    running = pod.start("busybox", ["sleep", "100"], labels={"k": "v"})
    created = pod.create("busybox", ["true"])
    for wish, expected in (({}, {running, created}), ({"state": state}, {running}),
                           ({"label_selector": {"k": "v"}}, {running}), ({"id": created[:16]}, {created})):
        wish = cri.ContainerFilter(pod_sandbox_id=pod.id, **wish)
        streamed = [c for message in podd.runtime.StreamContainers(
            cri.StreamContainersRequest(filter=wish)) for c in message.containers]
        assert {c.id for c in streamed} == expected
        assert streamed == list(podd.runtime.ListContainers(
            cri.ListContainersRequest(filter=wish)).containers)
    streamed = [s for message in podd.runtime.StreamPodSandboxes(cri.StreamPodSandboxesRequest())
                for s in message.pod_sandboxes]
    assert streamed == list(podd.runtime.ListPodSandbox(cri.ListPodSandboxRequest()).items)
    images = [i for message in podd.images.StreamImages(cri.StreamImagesRequest()) for i in message.images]
    assert images == list(podd.images.ListImages(cri.ListImagesRequest()).images)


@pytest.mark.slow
def test_a_long_list_streams_whole_also_after_a_restart(own_podd):
    """More than one message holds, made by several clients at once in several pods, so that the order
    of their making is not that of the requests."""
    podd = own_podd
    pods = [Pod(podd) for _ in range(4)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: pods[n % 4].create("busybox", ["true"]), range(1100)))
    for again in range(2):
        ids, messages = ids_of(podd.runtime.StreamContainers(cri.StreamContainersRequest()), "containers")
        assert messages >= 2
        assert len(ids) == len(made) and set(ids) == set(made)
        if again == 0:
            podd.restart()
    for pod in pods:
        pod.remove()
