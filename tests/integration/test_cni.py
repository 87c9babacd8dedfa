"""CNI mode: Debian's plugins, and a plugin of the tests' own that shows how it was called."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import cri_pb2 as cri
import grpc
import pytest

from lib import daemon, leaks
from lib.cri import Pod, code_of, exec_sync, sandbox_config, wait_until
from lib.images import fetch
from lib.network import kill_shim_of, namespace_of
from lib.patience import patient

PLUGINS = pathlib.Path("/usr/lib/cni")
FAKE = pathlib.Path(__file__).parent / "lib/fake_cni.py"
SERVE = ["sh", "-c", "mkdir /www; hostname > /www/index.html; exec httpd -f -p 80 -h /www"]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(
    not (PLUGINS / "bridge").exists(), reason="containernetworking-plugins are not installed")]


class Cni:
    """A podd in CNI mode, its directory of configurations, and the fake plugins fake-a and fake-b."""

    def __init__(self, name="cni", timeout=30):
        self.podd = daemon.Podd(name)
        self.here = self.podd.directory / "fake"
        self.conf_dir = self.podd.directory / "net.d"
        self.bin = self.podd.directory / "bin"
        for path in (self.here, self.conf_dir, self.bin):
            path.mkdir()
        for plugin in ("fake-a", "fake-b"):
            (self.bin / plugin).write_bytes(FAKE.read_bytes())
            (self.bin / plugin).chmod(0o755)
        self.behave()
        self.podd.config.write_text(
            "network:\n  mode: cni\n"
            f"  cni: {{config_dir: {self.conf_dir}, plugin_dirs: [{self.bin}, {PLUGINS}], "
            f"timeout: {timeout}}}\nrestrict_oom_score_adj: true\n")

    def behave(self, **how):
        """behave(ADD="error:no") for all fakes, behave(**{"fake-a.ADD": ...}) for one."""
        (self.here / "behaviour.new").write_text(json.dumps(how))
        (self.here / "behaviour.new").rename(self.here / "behaviour")

    def configure(self, *plugins, name="10-test.conflist", version="1.0.0", network="test", **keys):
        plugins = [{"dir": str(self.here), **p} if p["type"].startswith("fake") else p for p in plugins]
        self.write(name, json.dumps({"cniVersion": version, "name": network, "plugins": plugins, **keys}))

    def write(self, name, text):
        (self.conf_dir / ".new").write_text(text)
        (self.conf_dir / ".new").rename(self.conf_dir / name)

    def start(self):
        self.podd.start()
        return self

    def calls(self, command=None, plugin=None):
        with contextlib.suppress(FileNotFoundError):
            all_calls = [json.loads(line) for line in (self.here / "calls").read_text().splitlines()]
            return [c for c in all_calls if command in (None, c["command"]) and
                    plugin in (None, c["type"])]
        return []

    def forget_calls(self):
        (self.here / "calls").unlink(missing_ok=True)

    def network_ready(self):
        """(ready, reason, message) as CRI says."""
        status = self.podd.runtime.Status(cri.StatusRequest()).status
        found = [c for c in status.conditions if c.type == "NetworkReady"][0]
        return found.status, found.reason, found.message

    def wait_not_ready(self, *words):
        def not_ready():
            ready, _, message = self.network_ready()
            return not ready and all(word in message for word in words)
        wait_until(not_ready, what=f"NetworkReady false with {words}; it is {self.network_ready()}")

    def wait_ready(self):
        wait_until(lambda: self.network_ready()[0], what="NetworkReady")

    def records(self):
        return sorted(p.stem for p in (self.podd.root / "cni").glob("*.json"))


@pytest.fixture
def made():
    before = leaks.snapshot(daemon.BUILD)
    all_of_them = []

    def make(**options):
        all_of_them.append(Cni(**options))
        return all_of_them[-1]
    yield make
    for one in all_of_them:
        one.behave()
        one.podd.close()
    undo_plugins()
    assert leaks.wait_clean(before, daemon.BUILD) == {}


def undo_plugins():
    """What plugins leave on a node by design: their bridge and the frames of their rules."""
    subprocess.run(["ip", "link", "del", "cnitest0"], stderr=subprocess.DEVNULL, check=False)
    for family in ("ip", "ip6"):
        for table in ("nat", "filter", "mangle", "raw"):
            subprocess.run(["nft", "delete", "table", family, table], stderr=subprocess.DEVNULL,
                           check=False)


@pytest.fixture
def fake(made):
    """Started, with the fakes a and b as its network."""
    cni = made()
    cni.configure({"type": "fake-a"}, {"type": "fake-b"})
    return cni.start()


def local(cni, ranges):
    return {"type": "host-local", "dataDir": str(cni.here / "ipam"), "ranges": ranges,
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}


def leases(cni):
    return sorted(p.name for p in (cni.here / "ipam").glob("*/*") if p.name[0] in "1f" and
                  not p.name.startswith("last"))


def with_busybox(podd, busybox_tar):
    podd.podctl("image", "import", "--name", "busybox", busybox_tar)
    return podd


# ---- Debian's plugins -----------------------------------------------------------------------------

def test_bridge_portmap_bandwidth_and_tuning(made, busybox_tar):
    cni = made()
    cni.configure(
        {"type": "bridge", "bridge": "cnitest0", "isGateway": True, "ipMasq": True, "hairpinMode": True,
         "ipam": local(cni, [[{"subnet": "10.96.0.0/24"}], [{"subnet": "fd00:96::/64"}]])},
        {"type": "portmap", "capabilities": {"portMappings": True}},
        {"type": "bandwidth", "capabilities": {"bandwidth": True}},
        {"type": "tuning", "sysctl": {"net.ipv4.conf.IFNAME.arp_ignore": "1"}})
    podd = with_busybox(cni.start().podd, busybox_tar)
    assert cni.network_ready()[0]
    pod = Pod(podd, hostname="cnipod", annotations={"kubernetes.io/egress-bandwidth": "20M"},
              port_mappings=[cri.PortMapping(container_port=80, host_port=8096)])
    container = pod.start("busybox", SERVE)
    network = pod.status().network
    assert network.ip.startswith("10.96.0.") and network.additional_ips[0].ip.startswith("fd00:96::")
    node = subprocess.run(["ip", "-4", "-o", "addr", "show", "cnitest0"], stdout=subprocess.PIPE,
                          check=True, encoding="utf-8").stdout
    assert "10.96.0.1/24" in node
    wait_until(lambda: fetch(network.ip) == b"cnipod\n")
    wait_until(lambda: fetch("10.96.0.1", 8096) == b"cnipod\n")
    assert exec_sync(podd, container, "ping", "-c", "1", "-W", "2", "127.0.0.1").exit_code == 0
    assert exec_sync(podd, container, "cat", "/proc/sys/net/ipv4/conf/eth0/arp_ignore").stdout == b"1\n"
    limits = subprocess.run(["tc", "qdisc"], stdout=subprocess.PIPE, check=True, encoding="utf-8").stdout
    assert "rate 20Mbit" in limits
    stats = podd.runtime.PodSandboxStats(
        cri.PodSandboxStatsRequest(pod_sandbox_id=pod.id)).stats.linux.network
    assert stats.default_interface.name == "eth0" and stats.default_interface.rx_bytes.value > 0

    before = network.SerializeToString()
    podd.kill()
    podd.start()
    assert pod.status().network.SerializeToString() == before
    assert fetch("10.96.0.1", 8096) == b"cnipod\n"
    assert len(leases(cni)) == 2 and cni.records() == [pod.id]
    rules = lambda: subprocess.run(["iptables-save"], stdout=subprocess.PIPE, check=True,  # noqa: E731
                                   encoding="utf-8").stdout
    assert "8096" in rules() and pod.id in rules()
    pod.stop()  # by a podd that did not call ADD
    assert leases(cni) == [] and cni.records() == []
    assert "8096" not in rules() and pod.id not in rules()
    pod.remove()


def test_ptp_with_an_old_version_and_one_plugin_alone(made, busybox_tar):
    cni = made()
    cni.write("5-ptp.conf", json.dumps({
        "cniVersion": "0.3.1", "name": "old", "type": "ptp",
        "ipam": local(cni, [[{"subnet": "10.97.0.0/24"}]])}))
    podd = with_busybox(cni.start().podd, busybox_tar)
    pod = Pod(podd)
    pod.start("busybox", SERVE)
    wait_until(lambda: fetch(pod.status().network.ip) != b"")
    assert pod.status().network.ip.startswith("10.97.0.")
    pod.remove()
    assert leases(cni) == []


def test_addresses_are_given_back_after_the_shim_died(made, busybox_tar):
    cni = made()
    cni.configure({"type": "bridge", "bridge": "cnitest0",
                   "ipam": local(cni, [[{"subnet": "10.96.0.0/24"}]])})
    podd = with_busybox(cni.start().podd, busybox_tar)
    pod = Pod(podd)
    kill_shim_of(namespace_of(podd, pod.start("busybox", ["sleep", "100"])))
    wait_until(lambda: pod.status().state == cri.SANDBOX_NOTREADY)
    assert len(leases(cni)) == 1
    pod.remove()
    assert leases(cni) == []


def test_the_plugins_own_check_is_content(made):
    cni = made()
    cni.configure({"type": "bridge", "bridge": "cnitest0", "isGateway": True, "ipMasq": True,
                   "ipam": local(cni, [[{"subnet": "10.96.0.0/24"}]])},
                  {"type": "portmap", "capabilities": {"portMappings": True}}, {"type": "fake-a"})
    podd = cni.start().podd
    pod = Pod(podd)
    podd.restart()
    wait_until(lambda: cni.calls("CHECK"))  # the last of the chain: the others were content
    assert cni.network_ready() == (True, "", "")
    pod.remove()


# ---- What plugins are told ------------------------------------------------------------------------

def test_what_plugins_are_told(made):
    cni = made()
    every = {"portMappings": True, "bandwidth": True, "dns": True, "ipRanges": True}
    cni.configure({"type": "fake-a", "capabilities": every, "own": {"key": [1, None]}},
                  {"type": "fake-b", "capabilities": {"portMappings": True, "dns": False}})
    podd = cni.start().podd
    podd.runtime.UpdateRuntimeConfig(cri.UpdateRuntimeConfigRequest(runtime_config=cri.RuntimeConfig(
        network_config=cri.NetworkConfig(pod_cidr="10.50.0.0/24,fd00:50::/64"))))
    podd.restart()
    pod = Pod(podd, name="web", uid="u-1",
              annotations={"kubernetes.io/ingress-bandwidth": "10M"},
              dns_config=cri.DNSConfig(servers=["10.0.0.10"], searches=["a.example"], options=["ndots:5"]),
              port_mappings=[cri.PortMapping(container_port=80, host_port=8080, host_ip="127.0.0.1"),
                             cri.PortMapping(container_port=53, host_port=53, protocol=cri.UDP),
                             cri.PortMapping(container_port=81)])
    network = pod.status().network
    # The address of the node's end is not the pod's.
    assert [network.ip, *(a.ip for a in network.additional_ips)] == ["10.99.0.7", "fd00:99::7"]
    first, second = cni.calls()
    assert [c["command"] for c in (first, second)] == ["ADD", "ADD"]
    env = first["env"]
    assert env["CNI_CONTAINERID"] == pod.id and env["CNI_IFNAME"] == "eth0"
    assert env["CNI_PATH"] == f"{cni.bin}:{PLUGINS}"
    assert env["CNI_ARGS"] == ("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;"
                               f"K8S_POD_INFRA_CONTAINER_ID={pod.id};K8S_POD_UID=u-1")
    assert first["netns"] not in (None, os.stat("/proc/self/ns/net").st_ino)
    assert first["netns"] == second["netns"]
    assert first["conf"]["name"] == "test" and first["conf"]["cniVersion"] == "1.0.0"
    assert first["conf"]["own"] == {"key": [1, None]} and "prevResult" not in first["conf"]
    given = first["conf"]["runtimeConfig"]
    assert given["portMappings"] == [
        {"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": "127.0.0.1"},
        {"hostPort": 53, "containerPort": 53, "protocol": "udp"}]
    assert given["bandwidth"]["ingressRate"] == 10_000_000 and given["bandwidth"]["ingressBurst"] > 0
    assert "egressRate" not in given["bandwidth"]
    assert given["dns"] == {"servers": ["10.0.0.10"], "searches": ["a.example"], "options": ["ndots:5"]}
    assert given["ipRanges"] == [[{"subnet": "10.50.0.0/24"}], [{"subnet": "fd00:50::/64"}]]
    assert list(second["conf"]["runtimeConfig"]) == ["portMappings"]
    assert second["conf"]["prevResult"]["seen"] == ["fake-a"]

    cni.configure({"type": "fake-b"}, network="another")  # DEL goes by what was, not by what is
    wait_until(lambda: "another" in podd.tail())
    cni.forget_calls()
    pod.remove()
    assert [(c["type"], c["command"], c["conf"]["name"]) for c in cni.calls()] == [
        ("fake-b", "DEL", "test"), ("fake-a", "DEL", "test")]
    last = cni.calls()[-1]
    assert last["env"]["CNI_ARGS"] == env["CNI_ARGS"] and last["conf"]["runtimeConfig"] == given
    assert last["conf"]["prevResult"]["seen"] == ["fake-a", "fake-b"]
    assert last["netns"] == first["netns"]  # it is there until DEL is done
    assert cni.records() == []


def test_statistics_of_an_interface_of_another_name(fake):
    pod = Pod(fake.podd)
    inside = ["nsenter", f"--net=/proc/{shim_of(fake, pod)}/ns/net"]
    for command in ("link add lan0 type veth peer name far0", "link set lan0 up", "link set far0 up",
                    "addr add 10.99.0.7/24 dev lan0"):
        subprocess.run([*inside, "ip", *command.split()], check=True)

    def counted():
        network = fake.podd.runtime.PodSandboxStats(
            cri.PodSandboxStatsRequest(pod_sandbox_id=pod.id)).stats.linux.network
        return network.default_interface.tx_bytes.value > 0 and network
    network = wait_until(counted)  # the kernel looks for neighbours
    names = {network.default_interface.name, *(i.name for i in network.interfaces)}
    assert {"lan0", "far0"} == names
    pod.remove()


def test_a_name_cannot_forge_an_argument(fake):
    code, message = code_of(lambda: Pod(fake.podd, uid="a;K8S_POD_NAMESPACE=kube-system"))
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "K8S_POD_UID" in message
    assert fake.calls() == []


# ---- Plugins that fail ----------------------------------------------------------------------------

@pytest.mark.parametrize("how, code, words", [
    ("error:the wire is cut", "UNKNOWN", ["the wire is cut; ask the fake (code 101)"]),
    ("later:busy just now", "UNAVAILABLE", ["busy just now (code 11)"]),
    ("garbage:hello", "UNKNOWN", ['it printed no result but "hello"']),
    ("garbage:", "UNKNOWN", ["it printed no result but nothing"]),
    ("crash:out \x1b[31mof cheese", "UNKNOWN", ["it exited with 3: out ?[31mof cheese"]),
    ("flood:", "UNKNOWN", ["it printed more than 1048576 bytes"]),
    ('result:{"cniVersion": "1.0.0"}', "UNKNOWN", ["gave the pod no address"]),
    ('result:{"cniVersion": "1.0.0", "ips": [{"address": "10.1"}]}', "UNKNOWN", ["ips[0]"]),
])
def test_a_plugin_that_fails_is_told_and_undone(fake, how, code, words):
    fake.behave(**{"fake-b.ADD": how})
    got, message = code_of(Pod, fake.podd)
    assert got == getattr(grpc.StatusCode, code), message
    assert all(word in message for word in words), message
    assert "network test" in message
    wait_until(lambda: fake.records() == [])
    assert [(c["type"], c["command"]) for c in fake.calls()] == [
        ("fake-a", "ADD"), ("fake-b", "ADD"), ("fake-b", "DEL"), ("fake-a", "DEL")]
    assert fake.calls("DEL", "fake-a")[0]["netns"] == fake.calls("ADD", "fake-a")[0]["netns"]
    assert not fake.podd.runtime.ListPodSandbox(cri.ListPodSandboxRequest()).items


def test_a_plugin_that_hangs_is_killed_with_all_it_started(made):
    cni = made(timeout=1)
    cni.configure({"type": "fake-a"})
    cni.start().behave(ADD="hang")
    begin = time.monotonic()
    code, message = code_of(Pod, cni.podd)
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED and "within 1 s and was killed" in message
    assert time.monotonic() - begin < patient(10)
    pids = [int(pid) for pid in (cni.here / "hanging").read_text().split()]
    assert len(pids) == 3
    wait_until(lambda: not any(is_alive(pid) for pid in pids))
    wait_until(lambda: cni.records() == [])


def is_alive(pid):
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_others_are_served_while_one_plugin_is_slow(fake):
    fake.behave(ADD="wait")
    call = fake.podd.runtime.RunPodSandbox.future(
        cri.RunPodSandboxRequest(config=sandbox_config(fake.podd)))
    wait_until((fake.here / "waiting").exists)
    fake.behave()
    pod = Pod(fake.podd)
    assert not call.done()
    pod.remove()
    (fake.here / "waiting").unlink()
    other = call.result().pod_sandbox_id
    fake.podd.runtime.StopPodSandbox(cri.StopPodSandboxRequest(pod_sandbox_id=other))


@pytest.mark.parametrize("trouble", ["missing", "failing"])
def test_a_pod_can_be_stopped_without_its_plugin_and_is_cleaned_up_later(fake, trouble):
    pod = Pod(fake.podd)
    if trouble == "missing":
        (fake.bin / "fake-b").rename(fake.bin / "elsewhere")
        fake.wait_not_ready("CNI plugin fake-b of network test", str(fake.bin))
    else:
        fake.behave(**{"fake-b.DEL": "error:not now"})
    pod.remove()
    assert fake.records() == [pod.id]
    assert [c["type"] for c in fake.calls("DEL")][-1] == "fake-a"  # which is called all the same
    if trouble == "missing":
        (fake.bin / "elsewhere").rename(fake.bin / "fake-b")
    else:
        ready, reason, message = fake.network_ready()
        assert ready and reason == "CNITrouble" and "1 stopped pods" in message and "not now" in message
        fake.behave()
    fake.forget_calls()
    wait_until(lambda: fake.records() == [], timeout=15)  # by itself
    calls = fake.calls("DEL")
    assert [c["type"] for c in calls] == ["fake-b", "fake-a"] and calls[0]["netns"] is None
    assert calls[0]["env"]["CNI_NETNS"] == "" and "prevResult" in calls[0]["conf"]
    wait_until(lambda: fake.network_ready() == (True, "", ""))


# ---- Restarts -------------------------------------------------------------------------------------

def test_podd_dies_while_a_plugin_adds(fake):
    fake.behave(ADD="wait")
    call = fake.podd.runtime.RunPodSandbox.future(
        cri.RunPodSandboxRequest(config=sandbox_config(fake.podd)))
    wait_until((fake.here / "waiting").exists)
    fake.podd.kill()
    assert call.exception()
    assert len(fake.records()) == 1
    pid = int((fake.here / "waiting").read_text())
    added = fake.calls("ADD")[0]
    assert is_alive(pid)
    fake.behave()
    fake.forget_calls()
    fake.podd.start()
    wait_until(lambda: fake.records() == [])
    assert [c["netns"] for c in fake.calls("DEL")] == [added["netns"]] * 2  # while it is still there
    assert not is_alive(pid)  # it would have gone on adding


def test_nothing_leaks_however_podd_dies(made):
    cni = made()
    cni.configure({"type": "bridge", "bridge": "cnitest0", "ipMasq": True, "isGateway": True,
                   "ipam": local(cni, [[{"subnet": "10.96.0.0/24"}]])},
                  {"type": "portmap", "capabilities": {"portMappings": True}})
    podd = cni.start().podd
    for delay in (0.03, 0.1, 0.3):
        calls = [podd.runtime.RunPodSandbox.future(cri.RunPodSandboxRequest(config=sandbox_config(
            podd, port_mappings=[cri.PortMapping(container_port=80, host_port=7000 + n)])))
                 for n in range(4)]
        time.sleep(delay)  # at any moment of their start
        podd.kill()
        for call in calls:
            call.exception()
        podd.start()
        for item in podd.runtime.ListPodSandbox(cri.ListPodSandboxRequest()).items:
            podd.runtime.RemovePodSandbox(cri.RemovePodSandboxRequest(pod_sandbox_id=item.id))
        wait_until(lambda: cni.records() == [], 30, f"no record left after {delay} s")
    assert leases(cni) == []
    rules = subprocess.run(["iptables-save", "-t", "nat"], stdout=subprocess.PIPE, check=True,
                           encoding="utf-8").stdout
    assert "10.96.0" not in rules and "--dport 700" not in rules
    wait_until(lambda: subprocess.run(["ip", "link", "show", "master", "cnitest0"], check=True,
                                      stdout=subprocess.PIPE).stdout == b"")


def test_a_podd_that_stops_takes_its_plugins_along(fake):
    fake.behave(ADD="hang")
    call = fake.podd.runtime.RunPodSandbox.future(
        cri.RunPodSandboxRequest(config=sandbox_config(fake.podd)))
    wait_until((fake.here / "hanging").exists)
    pids = [int(pid) for pid in (fake.here / "hanging").read_text().split()]
    assert fake.podd.stop() == 0 and call.exception()
    wait_until(lambda: not any(is_alive(pid) for pid in pids))
    fake.behave()
    fake.podd.start()
    wait_until(lambda: fake.records() == [])


def test_check_and_garbage_collection_at_the_start(made):
    cni = made()
    cni.configure({"type": "fake-a"}, {"type": "fake-b"}, version="1.1.0")
    cni.start()
    cni.wait_ready()
    keeps, goes = Pod(cni.podd), Pod(cni.podd)
    wait_until(lambda: cni.calls("GC"))
    cni.podd.kill()
    os.kill(int(shim_of(cni, goes)), signal.SIGKILL)
    cni.forget_calls()
    cni.behave(**{"fake-a.CHECK": "error:no such veth", "fake-a.GC": "error:no"})
    cni.podd.start()
    wait_until(lambda: cni.calls("GC", "fake-b"))
    assert [(c["type"], c["env"]["CNI_CONTAINERID"]) for c in cni.calls("DEL")] == [
        ("fake-b", goes.id), ("fake-a", goes.id)]
    checks = cni.calls("CHECK")
    assert [(c["type"], c["env"]["CNI_CONTAINERID"]) for c in checks] == [("fake-a", keeps.id)]
    assert "prevResult" in checks[0]["conf"]
    assert checks[0]["env"]["CNI_NETNS"] == checks[0]["conf"]["prevResult"]["interfaces"][1]["sandbox"]
    assert cni.calls("GC", "fake-b")[0]["conf"]["cni.dev/valid-attachments"] == [
        {"containerID": keeps.id, "ifname": "eth0"}]
    wait_until(lambda: "1 running pods fail CHECK" in cni.network_ready()[2])
    assert "no such veth" in cni.network_ready()[2]
    keeps.remove()
    goes.remove()
    assert cni.records() == []


def test_check_and_garbage_collection_can_be_turned_off(made):
    cni = made()
    cni.configure({"type": "fake-a"}, version="1.1.0", disableCheck=True, disableGC=True)
    cni.start()
    pod = Pod(cni.podd)
    cni.podd.restart()
    other = Pod(cni.podd)
    pod.remove()
    other.remove()
    assert {c["command"] for c in cni.calls()} == {"STATUS", "ADD", "DEL"}


def test_a_declared_pod_has_a_cni_network(made, busybox_tar):
    cni = made()
    cni.configure({"type": "fake-a", "capabilities": {"portMappings": True}})
    podd = with_busybox(cni.start().podd, busybox_tar)
    podd.podctl("apply", "-f", "-", stdin=json.dumps({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [
            {"name": "c", "image": "busybox", "imagePullPolicy": "Never", "command": ["sleep", "100"],
             "ports": [{"containerPort": 80, "hostPort": 8081}]}]}}))
    call = wait_until(lambda: cni.calls("ADD"))[0]
    assert "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;" in call["env"]["CNI_ARGS"]
    assert call["conf"]["runtimeConfig"]["portMappings"] == [
        {"hostPort": 8081, "containerPort": 80, "protocol": "tcp"}]
    wait_until(lambda: "10.99.0.7" in podd.podctl("get", "pods", "-n", "shop",
                                               "-o", "wide").stdout)
    podd.podctl("delete", "web", "-n", "shop")
    wait_until(lambda: cni.records() == [])


def shim_of(cni, pod):
    record = json.loads((cni.podd.root / "cni" / f"{pod.id}.json").read_text())
    return record["netns"].split("/")[2]


# ---- Configuration --------------------------------------------------------------------------------

def test_configurations_come_break_and_go(made):
    cni = made()
    shutil.rmtree(cni.conf_dir)
    cni.start()
    cni.wait_not_ready("no CNI configuration", str(cni.conf_dir))
    code, message = code_of(Pod, cni.podd)
    assert code == grpc.StatusCode.FAILED_PRECONDITION and "no CNI configuration" in message
    cni.conf_dir.mkdir()
    cni.write("20-broken.conflist", '{"cniVersion": "1.0.0",\n "name": oops}')
    cni.wait_not_ready(f"{cni.conf_dir}/20-broken.conflist:2:", "oops")
    cni.configure({"type": "fake-a"}, name="10-good.conflist")
    cni.wait_ready()
    cni.write("10-good.conflist", '{"cniVersion": "1.0.0", "name": "x", "plugins": [{"type": "../sh"}]}')
    wait_until(lambda: "plugins[0].type" in cni.network_ready()[2])
    assert cni.network_ready()[:2] == (True, "CNITrouble")
    pod = Pod(cni.podd)  # with what was there before
    assert cni.calls("ADD")[-1]["conf"]["name"] == "test"
    cni.configure({"type": "fake-b"}, name="00-first.conflist", network="newer")
    wait_until(lambda: cni.network_ready() == (True, "", ""))
    other = Pod(cni.podd)
    assert cni.calls("ADD")[-1]["conf"]["name"] == "newer"
    for path in cni.conf_dir.iterdir():
        path.unlink()
    cni.wait_not_ready("no CNI configuration")
    pod.remove()
    other.remove()
    assert [c["type"] for c in cni.calls("DEL")] == ["fake-a", "fake-b"]


def test_ready_means_that_the_plugins_say_so(made):
    cni = made()
    cni.configure({"type": "fake-a"}, {"type": "fake-b"}, version="0.4.0", cniVersions=["1.1.0", "9.0.0"])
    cni.behave(**{"fake-b.STATUS": "error:the controller is away"})
    cni.start()
    cni.wait_not_ready("CNI plugin fake-b of network test, STATUS: the controller is away")
    assert cni.calls("STATUS")[0]["conf"]["cniVersion"] == "1.1.0"
    cni.behave()
    wait_until(lambda: cni.network_ready()[0], timeout=15)
