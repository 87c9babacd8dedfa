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


@pytest.mark.parametrize("network, word", [
    ("{pools: [10.88.0.0/33]}", "10.88.0.0/33"),
    ("{pools: [nonsense]}", "nonsense"),
    ("{pools: [10.88.0.0/16, 10.88.1.0/24]}", "10.88.1.0/24"),
    ("{bridge: lo, pools: [10.88.0.0/24]}", "lo"),
    ("{bridge: this-name-is-too-long, pools: [10.88.0.0/24]}", "this-name-is-too-long"),
    ("{brigde: podd0}", "bridge"),
])
def test_a_bad_network_configuration_is_one_clear_line(network, word):
    podd = daemon.Podd("bad", f"network: {network}\n")
    try:
        podd.spawn()
        assert podd.process.wait(20) != 0
        last = podd.tail().splitlines()[-1]
        assert last.startswith("podd: ") and word in last
    finally:
        podd.close()


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
