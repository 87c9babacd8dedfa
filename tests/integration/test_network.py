"""The pod network: addresses, routes, who reaches whom, and a pool that is full."""
import concurrent.futures
import os
import subprocess
import sys

import cri_pb2 as cri
import grpc
import pytest

from lib import daemon, leaks
from lib.cri import Pod, code_of, exec_sync, wait_until
from lib.images import fetch
from lib.network import converse, listen, named, namespace_of, pour

SERVE = ["sh", "-c", "mkdir /www; hostname > /www/index.html; exec httpd -f -p 80 -h /www"]


def ip_of(pod):
    return pod.status().network.ip


@pytest.mark.vm
def test_pods_reach_each_other_and_the_node_reaches_pods(podd, no_leaks):
    one, two = Pod(podd, hostname="one"), Pod(podd, hostname="two")
    one.start("busybox", SERVE)
    client = two.start("busybox", ["sleep", "100"])
    assert ip_of(one) != ip_of(two) and ip_of(one).startswith("10.86.")
    wait_until(lambda: fetch(ip_of(one)) == b"one\n")
    assert exec_sync(podd, client, "wget", "-q", "-O", "-", f"http://{ip_of(one)}/").stdout == b"one\n"
    seen = exec_sync(podd, client, "ip", "-4", "addr", "show", "eth0").stdout
    assert ip_of(two).encode() in seen
    assert b"default via 10.86.0.1" in exec_sync(podd, client, "ip", "route").stdout
    assert exec_sync(podd, client, "ping", "-c", "1", "-W", "2", "127.0.0.1").exit_code == 0
    one.remove()
    two.remove()


@pytest.mark.vm
def test_the_outside_sees_the_nodes_address(podd, outside, pod, tmp_path):
    www = tmp_path / "www"
    www.mkdir()
    (www / "index.html").write_text("outside\n")
    server = subprocess.Popen(["ip", "netns", "exec", outside, sys.executable, "-m", "http.server",
                               "--bind", "192.0.2.2", "--directory", str(www), "80"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        client = pod.start("busybox", ["sleep", "100"])
        wait_until(lambda: exec_sync(podd, client, "wget", "-q", "-O", "-",
                                     "http://192.0.2.2/").stdout == b"outside\n")
    finally:
        server.terminate()
    assert b"192.0.2.1" in server.communicate()[1]


def test_a_hundred_at_once_get_addresses_of_their_own(podd, no_leaks):
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        pods = list(pool.map(lambda _: Pod(podd), range(100)))
        assert len({ip_of(pod) for pod in pods}) == 100
        list(pool.map(lambda pod: pod.remove(), pods))


def test_a_full_pool_is_a_clear_error_and_heals(busybox_tar):
    before = leaks.snapshot(daemon.BUILD)
    podd = daemon.Podd("small", "network: {bridge: podd2, pools: [10.88.0.0/29]}\n").start()
    try:
        pods = []
        for _ in range(5):
            pods.append(Pod(podd))
        code, message = code_of(Pod, podd)
        assert code == grpc.StatusCode.RESOURCE_EXHAUSTED and "10.88.0.0/29" in message
        pods.pop().remove()
        pods.append(Pod(podd))
        for pod in pods:
            pod.remove()
    finally:
        podd.close()
    assert leaks.wait_clean(before, daemon.BUILD) == {}


@pytest.mark.vm
def test_addresses_are_not_given_twice_across_a_restart(own_podd):
    one = Pod(own_podd)
    own_podd.kill()
    own_podd.start()
    two = Pod(own_podd)
    assert ip_of(one) != ip_of(two)
    one.remove()
    two.remove()


@pytest.fixture
def lan():
    """A link of the node that is no bridge, and a network that it is connected to."""
    subprocess.run("ip link add lan7 type veth peer lan8; ip link set lan7 up; "
                   "ip addr add 172.31.5.1/24 dev lan7", shell=True, check=True)
    yield
    subprocess.run(["ip", "link", "del", "lan7"], check=True)


@pytest.mark.parametrize("network, word", [
    ("{pools: [10.88.0.0/33]}", "10.88.0.0/33"),
    ("{pools: [nonsense]}", "nonsense"),
    ("{pools: [10.88.0.0/16, 10.88.1.0/24]}", "10.88.1.0/24"),
    ("{bridge: lo, pools: [10.88.0.0/24]}", "lo"),
    ("{bridge: this-name-is-too-long, pools: [10.88.0.0/24]}", "this-name-is-too-long"),
    ("{bridge: lan7, pools: [10.88.0.0/24]}", "lan7 is not a bridge but a link of kind veth"),
    ("{pools: ['fd00:88::/127']}", "too small"),
    ("{pools: [10.88.0.1/24]}", "the network is 10.88.0.0/24"),
    ("{pools: ['10.88.0.0/24', 'fe80::/64']}", "fe80::/10 is reserved"),
    ("{pools: [10.88.0.0/32]}", "too small"),
    ("{pools: [172.31.0.0/16]}", "collides with the node's route to 172.31.5.0/24 on lan7"),
    ("{pools: []}", "pools"),
    ("{pools: [10.1.0.0/24, 10.2.0.0/24, 10.3.0.0/24, 10.4.0.0/24, 10.5.0.0/24]}", "4"),
    ("{brigde: podd0}", "bridge"),
])
def test_a_bad_network_configuration_is_one_clear_line(network, word, lan):
    podd = daemon.Podd("bad", f"network: {network}\n")
    try:
        podd.spawn()
        assert podd.process.wait(20) != 0
        last = podd.tail().splitlines()[-1]
        assert last.startswith("podd: ") and word in last
    finally:
        podd.close()


# ---- Families, pools that change, counters -----------------------------------------------------------


def addresses_of(pod):
    network = pod.status().network
    return [network.ip, *(ip.ip for ip in network.additional_ips)]


@pytest.mark.vm
@pytest.mark.parametrize("pools, beginnings", [
    ("['fd00:88::/64', 10.88.0.0/24]", ["fd00:88::", "10.88.0."]),
    ("[10.88.0.0/24, 'fd00:88::/64']", ["10.88.0.", "fd00:88::"]),
    ("['fd00:88::/64']", ["fd00:88::"]),
], ids=["v6-first", "v4-first", "v6-only"])
def test_addresses_come_in_the_order_of_the_pools(busybox_tar, outside, pools, beginnings):
    before = leaks.snapshot(daemon.BUILD)
    podd = daemon.Podd("order", f"network: {{bridge: podd2, pools: {pools}}}\n"
                       "restrict_oom_score_adj: true\n").start()
    try:
        podd.podctl("image", "import", "--name", "busybox", busybox_tar)
        one, two = Pod(podd), Pod(podd)
        ips = addresses_of(one)
        assert [ip.startswith(start) for ip, start in zip(ips, beginnings)] == [True] * len(ips)
        assert len(ips) == len(beginnings)
        place = namespace_of(podd, one.start("busybox", ["sleep", "1000"]))
        other = namespace_of(podd, two.start("busybox", ["sleep", "1000"]))
        for ip in ips:
            wildcard = "::" if ":" in ip else "0.0.0.0"
            with listen(place, 80, wildcard) as server:
                assert converse(server, other, ip, 80) in addresses_of(two)
                assert converse(server, None, ip, 80)
            far, node = ("2001:db8::2", "2001:db8::1") if ":" in ip else ("192.0.2.2", "192.0.2.1")
            with listen(named(outside), 80, wildcard) as server:
                assert converse(server, place, far, 80) == node  # masqueraded
        one.remove()  # at once; podd's end would wait for what its processes do not heed
        two.remove()
    finally:
        podd.close()
    assert leaks.wait_clean(before, daemon.BUILD) == {}


def set_pod_cidr(podd, cidr):
    config = cri.RuntimeConfig(network_config=cri.NetworkConfig(pod_cidr=cidr))
    podd.runtime.UpdateRuntimeConfig(cri.UpdateRuntimeConfigRequest(runtime_config=config))


def test_a_pod_cidr_of_kubelet_counts_until_the_next_boot(own_podd, lan):
    old = Pod(own_podd)
    place = namespace_of(own_podd, old.start("busybox", ["sleep", "1000"]))
    set_pod_cidr(own_podd, "10.200.7.0/24,fd00:200::/64")
    set_pod_cidr(own_podd, "10.200.7.0/24,fd00:200::/64")  # again
    set_pod_cidr(own_podd, "")                              # nothing to change
    new = Pod(own_podd)
    assert addresses_of(new) == ["10.200.7.2", "fd00:200::2"] and ip_of(old).startswith("10.87.")
    other = namespace_of(own_podd, new.start("busybox", ["sleep", "1000"]))
    with listen(place, 80) as server:
        assert converse(server, other, ip_of(old), 80) == "10.200.7.2"
    for wrong, word in (("10.200.7.0/33", "10.200.7.0/33"), ("x", "x"), ("10.0.0.0/8,10.1.0.0/16",
                        "overlap"), ("172.31.0.0/16", "collides"), ("1::/64,", "not a CIDR")):
        code, message = code_of(set_pod_cidr, own_podd, wrong)
        assert code == grpc.StatusCode.INVALID_ARGUMENT and word in message
    own_podd.kill()  # kubelet does not say it again when only podd starts anew
    own_podd.start()
    third = Pod(own_podd)
    assert addresses_of(third) == ["10.200.7.3", "fd00:200::3"]
    for pod in (old, new, third):
        pod.remove()


@pytest.mark.vm
def test_counters_of_the_pods_interface(podd, pod):
    place = namespace_of(podd, pod.start("busybox", ["sleep", "1000"]))

    def network():
        return podd.runtime.PodSandboxStats(
            cri.PodSandboxStatsRequest(pod_sandbox_id=pod.id)).stats.linux.network
    before = network().default_interface
    assert before.name == "eth0"
    with listen(place, 5001) as server:
        pour(server, None, ip_of(pod), 5001, seconds=0.2, warm_up=0)
    after = network()
    assert after.timestamp > 0 and not after.interfaces
    # The kernel counts what the sender handed down, in both directions.
    received = after.default_interface.rx_bytes.value - before.rx_bytes.value
    assert received > 100000
    assert 0 < after.default_interface.tx_bytes.value - before.tx_bytes.value < received
    assert after.default_interface.rx_errors.value == 0


@pytest.mark.vm
def test_port_mappings_work_from_the_node_and_from_outside(podd, outside, no_leaks):
    port = cri.PortMapping(container_port=80, host_port=12080)
    pod = Pod(podd, hostname="mapped", port_mappings=[port])
    pod.start("busybox", SERVE)
    wait_until(lambda: fetch(ip_of(pod)) == b"mapped\n")
    assert fetch("127.0.0.1", 12080) == b"mapped\n"
    assert fetch("192.0.2.1", 12080) == b"mapped\n"
    script = ("import urllib.request;"
              "print(urllib.request.urlopen('http://192.0.2.1:12080/', timeout=5).read().decode())")
    done = subprocess.run(["ip", "netns", "exec", outside, sys.executable, "-c", script],
                          stdout=subprocess.PIPE, check=False)
    assert done.stdout.strip() == b"mapped"
    pod.remove()
    assert fetch("127.0.0.1", 12080) == b""
