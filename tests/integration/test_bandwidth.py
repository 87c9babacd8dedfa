"""Bandwidth limits by the annotations kubernetes.io/ingress-bandwidth and egress-bandwidth."""
import grpc
import pytest
import yaml

from lib import network
from lib.cri import Pod, code_of, wait_until

INGRESS, EGRESS = "kubernetes.io/ingress-bandwidth", "kubernetes.io/egress-bandwidth"


def near(got, wanted):
    assert 0.5 * wanted < got < 1.3 * wanted, f"{got / 1e6:.1f} Mbit/s instead of {wanted / 1e6:.1f}"


def throughput(podd, container, ip):
    """(into the pod, out of it)."""
    pod = network.namespace_of(podd, container)
    with network.listen(pod, 5001) as server:
        into = network.pour(server, None, ip, 5001)
    with network.listen(None, 5002) as server:
        return into, network.pour(server, pod, "10.86.0.1", 5002)


def test_a_pod_of_a_master_is_limited(podd, no_leaks):
    pod = Pod(podd, annotations={INGRESS: "30M", EGRESS: "8000k"})
    into, out = throughput(podd, pod.start("busybox", ["sleep", "100"]), pod.status().network.ip)
    near(into, 30e6)
    near(out, 8e6)
    pod.remove()


@pytest.mark.vm
def test_a_declared_pod_is_limited_and_goes_on_across_a_restart(own_podd):
    document = {"apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": "slow", "annotations": {EGRESS: "5M"}},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [
                    {"name": "c", "image": "busybox", "imagePullPolicy": "Never",
                     "command": ["sleep", "100"]}]}}
    own_podd.podctl("apply", "-f", "-", stdin=yaml.safe_dump(document))

    def qdiscs():
        done = own_podd.podctl("exec", "slow", "--", "cat", "/proc/1/net/dev", check=False)
        return done.returncode == 0
    wait_until(qdiscs, 20)
    own_podd.restart()
    import podd_pb2  # pylint: disable=import-outside-toplevel

    container = own_podd.api.GetPod(podd_pb2.GetPodRequest(name="slow")).pod.status.containers[0]
    with network.listen(None, 5003) as server:
        near(network.pour(server, network.namespace_of(own_podd, container.container_id),
                          "10.87.0.1", 5003), 5e6)
    own_podd.podctl("delete", "pod", "slow")


@pytest.mark.parametrize("value", ["fast", "10Mbit", "-1M", "100", "2P", ""])
def test_nonsense_is_refused(podd, no_leaks, value):
    code, message = code_of(lambda: Pod(podd, annotations={EGRESS: value}))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert f"{EGRESS}: {value} is not" in message


def test_nonsense_in_a_manifest_is_refused_with_its_place(podd):
    text = ("apiVersion: v1\nkind: Pod\nmetadata:\n  name: wrong\n  annotations:\n"
            f"    {INGRESS}: quick\nspec:\n  containers:\n  - {{name: c, image: busybox}}\n")
    done = podd.podctl("apply", "-f", "-", stdin=text, check=False)
    assert done.returncode != 0
    assert f":6:38: metadata.annotations: {INGRESS}: quick is not" in done.stderr
