"""Pods go up and down by the hundred while podd is killed over and over: nothing may be left.

CI runs a short version. In full, as root on a machine that may be busy for some minutes:

    PODD_SOAK_PODS=1000 PODD_SOAK_KILLS=50 tests/run integration -k soak

Ends with an account of every kind of thing that has a name in the kernel or a file of podd's.
"""
import contextlib
import os
import random
import re
import socket
import subprocess
import threading
import time

import cri_pb2 as cri
import grpc
import pytest

from lib import daemon, leaks
from lib.cri import Pod, code_of, wait_until

PODS = int(os.environ.get("PODD_SOAK_PODS", "60"))
KILLS = int(os.environ.get("PODD_SOAK_KILLS", "4"))
WORKERS = 8
CONFIG = ("network: {bridge: podd3, pools: [10.89.0.0/27, 'fd00:89::/123']}\n"
          "restrict_oom_score_adj: true\n")
POOL = 29  # pods that the smaller pool has room for
OURS = re.compile(r"10\.89\.0\.|fd00:0*89:")


def output(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False,
                          encoding="utf-8").stdout


def account(podd):
    """What there is of the network, by kind, without what belongs to the bridge itself."""
    connections = []
    with contextlib.suppress(FileNotFoundError):  # a kernel without that file
        with open("/proc/net/nf_conntrack", encoding="utf-8") as f:
            connections = [line for line in f if OURS.search(line)]
    routes = output("ip", "route", "show", "table", "all") + output("ip", "-6", "route", "show",
                                                                    "table", "all")
    return {
        "links": output("ip", "-br", "link").split("\n"),
        "bridge ports and fixed hardware addresses": output("bridge", "fdb").split("\n"),
        "addresses": re.findall(r"inet6? (\S+)", output("ip", "addr")),
        "routes": [line for line in routes.split("\n") if "dev pd" in line or OURS.search(line)],
        "neighbours": [line for line in output("ip", "neigh").split("\n") if OURS.search(line)],
        "rules": output("nft", "list", "ruleset").split("\n"),
        "connections": connections,
        "leases": os.listdir(podd.state / "net/leases"),
        "published ports": os.listdir(podd.state / "net/ports"),
        "network namespaces": sorted({os.readlink(f"/proc/{pid}/ns/net") for pid in os.listdir("/proc")
                                      if pid.isdigit() and os.path.exists(f"/proc/{pid}/ns/net")}),
    }


def more(before, after):
    return {kind: sorted(set(after[kind]) - set(before[kind])) for kind in before
            if set(after[kind]) - set(before[kind])}


class Churn:
    """Workers that bring pods up and down, and somebody who kills podd meanwhile."""

    def __init__(self, podd):
        self.podd = podd
        self.lock = threading.Lock()
        self.done = self.retried = self.shims_killed = 0
        self.alive = threading.Event()
        self.alive.set()
        self.failures = []

    def one(self, worker, number):
        """A pod with published ports, somebody who talks to it, and sometimes a shim that dies."""
        ports = [cri.PortMapping(container_port=80, host_port=20000 + worker),
                 cri.PortMapping(container_port=53, host_port=20000 + worker, protocol=cri.UDP)]
        pod = Pod(self.podd, name=f"soak-{worker}-{number}", port_mappings=ports)
        pod.start("busybox", ["sleep", "1000"])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"?", ("127.0.0.1", 20000 + worker))
            s.sendto(b"?", (pod.status().network.ip, 53))
        if number % 20 == 7 and self.kill_shim(pod.id):
            self.shims_killed += 1
        pod.remove()

    @staticmethod
    def kill_shim(sandbox):
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as f:
                    command = f.read()
                if sandbox in command and "podd-shim" in command:
                    os.kill(int(pid), 9)
                    return True
        return False

    def work(self, worker):
        number = 0
        while self.done < PODS:
            number += 1
            self.alive.wait()
            try:
                self.one(worker, number)
            except grpc.RpcError as error:
                self.recover(worker, error)
                continue
            with self.lock:
                self.done += 1

    def recover(self, worker, error):
        """As kubelet would: what is there of this worker's goes, and then the next one comes."""
        self.retried += 1
        if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
            self.failures.append(f"{error.code()}: {error.details()}")
        while True:
            self.alive.wait()
            try:
                items = self.podd.runtime.ListPodSandbox(cri.ListPodSandboxRequest()).items
                for item in items:
                    if item.metadata.name.startswith(f"soak-{worker}-"):
                        self.podd.runtime.StopPodSandbox(
                            cri.StopPodSandboxRequest(pod_sandbox_id=item.id))
                        self.podd.runtime.RemovePodSandbox(
                            cri.RemovePodSandboxRequest(pod_sandbox_id=item.id))
                return
            except grpc.RpcError:
                time.sleep(0.05)

    def run(self):
        threads = [threading.Thread(target=self.work, args=(i,)) for i in range(WORKERS)]
        for thread in threads:
            thread.start()
        for kill in range(1, KILLS + 1):
            while self.done < PODS * kill / (KILLS + 1) and any(t.is_alive() for t in threads):
                time.sleep(0.005)
            time.sleep(random.random() * 0.03)
            self.alive.clear()
            self.podd.kill()
            self.podd.start()
            self.alive.set()
        for thread in threads:
            thread.join()


@pytest.mark.slow
def test_soak(busybox_tar):
    before_all = leaks.snapshot(daemon.BUILD)
    podd = daemon.Podd("soak", CONFIG).start()
    try:
        podd.podctl("image", "import", "--name", "busybox", busybox_tar)
        first = Pod(podd)  # the bridge's first port changes its state
        first.remove()
        wait_until(lambda: not [k for k in account(podd)["links"] if k.startswith("pd")], 20)
        before = account(podd)
        began = time.monotonic()
        churn = Churn(podd)
        churn.run()
        took = time.monotonic() - began
        assert not churn.failures, churn.failures[:5]
        assert not podd.runtime.ListPodSandbox(cri.ListPodSandboxRequest()).items
        deadline = time.monotonic() + 30
        while (left := more(before, account(podd))) and time.monotonic() < deadline:
            time.sleep(0.2)
        print(f"\n{churn.done} pods up and down in {took:.0f} s, podd killed {KILLS} times, "
              f"{churn.shims_killed} shims killed, {churn.retried} calls interrupted; "
              f"left: {left or 'nothing'}")
        assert not left

        pods = [Pod(podd) for _ in range(POOL)]  # the pool is whole
        code, _ = code_of(Pod, podd)
        assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
        for pod in pods:
            pod.remove()
    finally:
        podd.close()
    assert leaks.wait_clean(before_all, daemon.BUILD) == {}
