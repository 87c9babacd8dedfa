"""podd as a service of systemd, with the unit file that it ships: where systemd has booted."""
import json
import os
import pathlib
import stat
import subprocess

import cri_pb2 as cri
import pytest

from lib import daemon
from lib.cri import Pod, container_status, exec_sync, read_log, wait_until
from lib.patience import patient

pytestmark = pytest.mark.systemd
UNITS = pathlib.Path("/run/systemd/system")


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
