"""podd as a service of systemd, with the unit file that it ships: where systemd has booted."""
import json
import os
import pathlib
import stat
import subprocess

import cri_pb2 as cri
import grpc
import pytest

from lib import daemon
from lib.cri import (Pod, code_of, container_config, container_status, exec_sync, read_log,
                     wait_exited, wait_until)
from lib.patience import patient

pytestmark = pytest.mark.systemd
UNITS = pathlib.Path("/run/systemd/system")
CGROUPS = pathlib.Path("/sys/fs/cgroup")
MIB = 1 << 20


def systemctl(*arguments):
    return subprocess.run(["systemctl", *arguments], stdout=subprocess.PIPE, check=True,
                          encoding="utf-8", timeout=patient(60)).stdout.strip()


def main_pid():
    return int(systemctl("show", "--property=MainPID", "--value", "podd.service"))


class Service(daemon.Podd):
    """The podd that systemd runs, at its usual places."""

    def __init__(self, directory):  # pylint: disable=super-init-not-called
        self.directory = directory
        self.logs = directory / "logs"
        self.logs.mkdir()
        self.state = pathlib.Path("/run/podd")
        self.socket = self.state / "podd.sock"
        self.process = self.channel = None


@pytest.fixture
def service(tmp_path, busybox_tar):
    """contrib/systemd/podd.service; only the place of the program is another one."""
    (UNITS / "podd.service").write_text(
        (daemon.SOURCE / "contrib/systemd/podd.service").read_text())
    (UNITS / "podd.service.d").mkdir(exist_ok=True)
    (UNITS / "podd.service.d/test.conf").write_text(
        f"[Service]\nExecStart=\nExecStart={daemon.BUILD}/src/podd/podd\n")
    systemctl("daemon-reload")
    systemctl("start", "podd.service")
    podd = Service(tmp_path)
    podd.podctl("image", "import", "--name", "busybox", busybox_tar)
    yield podd
    podd.reconnect()
    import podd_pb2

    podd.api.StopAll(podd_pb2.StopAllRequest(reset=True), timeout=patient(60))
    systemctl("stop", "podd.service")


def pid_of(podd, container):
    info = podd.runtime.ContainerStatus(cri.ContainerStatusRequest(
        container_id=container, verbose=True)).info
    return json.loads(info["info"])["pid"]


def start_time(pid):
    """Tells a process from another one that got its number."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        return f.read().rsplit(")", 1)[1].split()[19]


def test_runs_as_shipped_and_pods_outlive_it(service):
    podd = service
    assert systemctl("is-active", "podd.service") == "active"  # `start` waited for its word
    assert stat.S_IMODE(os.stat(podd.state).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(podd.socket).st_mode) & 0o077 == 0
    assert systemctl("show", "--property=Delegate", "--value", "podd.service") == "yes"
    with open(f"/proc/{main_pid()}/oom_score_adj", encoding="ascii") as f:
        assert f.read() == "-999\n"

    pod = Pod(podd)
    script = "i=0; while :; do echo $i; i=$((i+1)); sleep 0.1; done"
    counter = pod.start("busybox", ["sh", "-c", script])
    quiet = pod.start("busybox", ["cat", "/proc/self/oom_score_adj", "-"], stdin=True)
    log = container_status(podd, counter).log_path
    pids = {c: pid_of(podd, c) for c in (counter, quiet)}
    born = {c: start_time(pid) for c, pid in pids.items()}
    for pid in pids.values():
        with open(f"/proc/{pid}/cgroup", encoding="ascii") as f:
            assert "podd.service" not in f.read()

    for verb in (["restart"], ["kill", "--signal=KILL"]):
        before, seen = main_pid(), len(read_log(log)["stdout"].split())
        systemctl(*verb, "podd.service")
        wait_until(lambda: main_pid() not in (0, before) and
                   systemctl("show", "--property=ActiveState", "--value", "podd.service") == "active",
                   20, f"podd after {verb[0]}")
        podd.reconnect()
        assert {c: pid_of(podd, c) for c in pids} == pids
        assert {c: start_time(pid) for c, pid in pids.items()} == born
        assert exec_sync(podd, counter, "echo", "hello").stdout == b"hello\n"
        wait_until(lambda: len(read_log(log)["stdout"].split()) > seen + 3)
    numbers = read_log(log)["stdout"].split()
    assert numbers == [str(n).encode() for n in range(len(numbers))]

    systemctl("stop", "podd.service")
    assert {c: start_time(pid) for c, pid in pids.items()} == born
    controllers = pathlib.Path(f"/sys/fs/cgroup/podd/{counter}/cgroup.controllers").read_text()
    assert {"cpu", "memory", "pids"} <= set(controllers.split())
    systemctl("start", "podd.service")
    podd.reconnect()
    assert {c: pid_of(podd, c) for c in pids} == pids
    pod.remove()
    journal = subprocess.run(["journalctl", "--unit=podd.service", "--output=cat", "--no-pager"],
                             stdout=subprocess.PIPE, check=True, encoding="utf-8").stdout
    assert journal.count("ready on unix:///run/podd/podd.sock") == 4
    assert "remains running" not in journal and "left-over" not in journal  # shims are not its own


# ---- The systemd cgroup driver ---------------------------------------------------------------------

SLICE = "podtest-burstable-pod1_2.slice"
SLICE_PATH = "podtest.slice/podtest-burstable.slice/" + SLICE


@pytest.fixture
def pod_slice():
    """A pod's slice as the kubelet makes one, with a limit of memory."""
    (UNITS / SLICE).write_text("[Slice]\nMemoryMax=64M\nMemorySwapMax=0\n")
    systemctl("daemon-reload")
    systemctl("start", SLICE)
    yield CGROUPS / SLICE_PATH
    systemctl("stop", "podtest.slice")
    (UNITS / SLICE).unlink()
    systemctl("daemon-reload")


def slice_pod(podd, parent="/" + SLICE_PATH):
    linux = cri.LinuxPodSandboxConfig(cgroup_parent=parent)
    linux.security_context.namespace_options.pid = cri.CONTAINER
    return Pod(podd, linux=linux)


def cgroup_of(pid):
    with open(f"/proc/{pid}/cgroup", encoding="ascii") as f:
        return f.read().strip().removeprefix("0::")


def scope_state(pod):
    return systemctl("show", "--property=LoadState", "--value", f"podd-{pod.id}.scope")


def sleeper(memory):
    config = container_config("busybox", ["sleep", "1000"])
    config.linux.resources.memory_limit_in_bytes = memory
    return config


def test_a_pod_in_a_slice_has_a_scope_of_its_own(service, pod_slice):
    podd = service
    config = podd.runtime.RuntimeConfig(cri.RuntimeConfigRequest())
    assert config.linux.cgroup_driver == cri.SYSTEMD
    pod = slice_pod(podd)
    scope = pod_slice / f"podd-{pod.id}.scope"
    container = pod.start("", config=sleeper(16 * MIB))
    pid = pid_of(podd, container)
    assert cgroup_of(pid) == f"/{SLICE_PATH}/podd-{pod.id}.scope/{container}"
    unit = dict(line.split("=", 1) for line in systemctl(
        "show", "--property=Slice,Delegate,TasksMax,ControlGroup,Description",
        scope.name).splitlines())
    assert unit == {"Slice": SLICE, "Delegate": "yes", "TasksMax": "infinity",
                    "ControlGroup": f"/{SLICE_PATH}/{scope.name}",
                    "Description": f"podd pod default/{pod.config.metadata.name}"}
    shown = systemctl("status", "--full", "--no-pager", scope.name)
    assert "sleep 1000" in shown and "podd-shim" in shown

    # What podd has set below stays as it is, whatever systemd does above.
    def limit():
        return (scope / container / "memory.max").read_text().strip()
    systemctl("daemon-reload")
    assert limit() == str(16 * MIB)
    podd.runtime.UpdateContainerResources(cri.UpdateContainerResourcesRequest(
        container_id=container, linux=cri.LinuxContainerResources(memory_limit_in_bytes=32 * MIB)))
    systemctl("set-property", "--runtime", SLICE, "CPUWeight=50")
    systemctl("daemon-reload")
    assert limit() == str(32 * MIB)

    # Nor does a restart of podd change anything.
    systemctl("restart", "podd.service")
    podd.reconnect()
    assert pid_of(podd, container) == pid and limit() == str(32 * MIB)
    assert exec_sync(podd, container, "echo", "hello").stdout == b"hello\n"
    second = pod.start("", config=sleeper(16 * MIB))
    assert cgroup_of(pid_of(podd, second)).endswith(f"/{scope.name}/{second}")
    stats = podd.runtime.ContainerStats(cri.ContainerStatsRequest(container_id=second)).stats
    assert stats.memory.usage_bytes.value > 0
    pod.remove()
    wait_until(lambda: not scope.exists() and scope_state(pod) == "not-found", what="its end")


def test_scopes_end_with_what_they_were_made_for(service, pod_slice):
    podd = service
    pod = slice_pod(podd, parent=SLICE)  # the name alone will do
    pod.start("", config=sleeper(16 * MIB))
    shim, = (pod_slice / f"podd-{pod.id}.scope/shim/cgroup.procs").read_text().split()
    os.kill(int(shim), 9)
    wait_until(lambda: not (pod_slice / f"podd-{pod.id}.scope").exists() and
               scope_state(pod) == "not-found", what="the end of a scope whose shim died")
    wait_until(lambda: pod.status().state == cri.SANDBOX_NOTREADY)
    pod.remove()
    # As the kubelet ends a pod that it does not know any more.
    pod = slice_pod(podd)
    container = pod.start("", config=sleeper(16 * MIB))
    # It complains of cgroups that go while it walks through them.
    subprocess.run(["systemctl", "kill", "--signal=KILL", SLICE], check=False, timeout=patient(60))
    wait_until(lambda: pod.status().state == cri.SANDBOX_NOTREADY)
    assert container_status(podd, container).state == cri.CONTAINER_EXITED
    pod.remove()
    assert not list(pod_slice.glob("podd-*"))


def test_a_pod_that_is_out_of_memory_keeps_its_shim(service, pod_slice):
    podd = service
    pod = slice_pod(podd)
    hog = pod.start("busybox", ["sh", "-c", "exec tail -c 200000000 /dev/zero >/dev/null"])
    status = wait_exited(podd, hog, 60)
    assert (status.exit_code, status.reason) == (137, "OOMKilled")
    assert pod.status().state == cri.SANDBOX_READY
    assert pod.run("busybox", ["echo", "again"])[0] == 0
    pod.remove()


def test_only_the_making_of_a_pod_needs_the_bus(service, pod_slice):
    """... and where it is gone, that is said; when it is back, pods are made again."""
    podd = service
    pod = slice_pod(podd)
    systemctl("stop", "dbus.socket", "dbus.service")
    try:
        container = pod.start("", config=sleeper(16 * MIB))
        assert exec_sync(podd, container, "echo", "hello").stdout == b"hello\n"
        code, message = code_of(lambda: slice_pod(podd))
        assert code == grpc.StatusCode.UNAVAILABLE and "system bus" in message
    finally:
        systemctl("start", "dbus.socket")
    other = slice_pod(podd)
    pod.remove()
    other.remove()
    wait_until(lambda: not list(pod_slice.glob("podd-*")), what="the end of all scopes")


def test_a_parent_must_fit_the_driver(service):
    podd = service
    for parent, why in (("/kubepods/burstable/pod1", "it must be a slice"),
                        ("/a-b.slice", "systemd has that slice at /a.slice/a-b.slice"),
                        ("a--b.slice", "no name of a slice")):
        code, message = code_of(lambda parent=parent: slice_pod(podd, parent=parent))
        assert code == grpc.StatusCode.INVALID_ARGUMENT and why in message, message
