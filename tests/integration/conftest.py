"""Fixtures of the integration tests: real daemons, a real registry, real images, as root.

The whole test process moves to a network namespace of its own before anything else, so that the
machine's network is not touched. Each test ends with an account of what podd left behind; the
daemon shared by the session is watched by the same account at its end.
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from lib import daemon, images, kernel, leaks  # noqa: E402

_stubs = tempfile.mkdtemp(prefix="podd-stubs-")
daemon.generate_stubs(_stubs)
if os.geteuid() == 0:
    kernel.enter_own_network()

CAP_SYS_RESOURCE = 24
MARKERS = {
    "cgroup_v2": (kernel.is_cgroup_v2, "needs cgroup v2"),
    "cgroup_v1": (lambda: not kernel.is_cgroup_v2(), "needs cgroup v1"),
    "sys_resource": (lambda: kernel.has_capability(CAP_SYS_RESOURCE), "needs CAP_SYS_RESOURCE"),
    "apparmor": (lambda: os.path.isdir("/sys/kernel/security/apparmor"), "needs AppArmor"),
    "systemd": (lambda: os.environ.get("PODD_VM") == "systemd", "needs a VM that systemd has booted"),
}
# What this machine must have: a skip for one of these is a failure.
REQUIRED = set(filter(None, os.environ.get("PODD_REQUIRE", "").split(",")))


def pytest_configure(config):
    for name, (_, reason) in MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {reason}; runs in the VM otherwise")
    config.addinivalue_line("markers", "slow: takes more than ten seconds")
    config.addinivalue_line("markers", "vm: touches what differs between kernels and machines; "
                            "also runs in the VM")
    if REQUIRED - set(MARKERS):
        pytest.exit(f"PODD_REQUIRE: no such marker: {', '.join(sorted(REQUIRED - set(MARKERS)))}", 2)
    if os.geteuid() != 0:
        pytest.exit("the integration tests must run as root", 2)


def pytest_unconfigure(config):
    shutil.rmtree(_stubs, ignore_errors=True)


def pytest_runtest_setup(item):
    """A test says what it needs; it is skipped only where the machine truly lacks that."""
    for mark in item.iter_markers():
        if mark.name in MARKERS:
            present, reason = MARKERS[mark.name]
            if not present() and mark.name in REQUIRED:
                pytest.fail(f"{reason}, and PODD_REQUIRE says that it is here", pytrace=False)
            if not present():
                pytest.skip(reason)


NODE = """network: {mode: bridge, bridge: podd0, pools: [10.86.0.0/16]}
restrict_oom_score_adj: true
"""


@pytest.fixture(scope="session")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("podd")


@pytest.fixture(scope="session")
def busybox_tar(work):
    path = work / "busybox.tar"
    path.write_bytes(images.busybox_layer())
    return path


@pytest.fixture(scope="session")
def registry(work):
    directory = work / "registry"
    directory.mkdir()
    server = images.Registry(directory).start()
    yield server
    server.stop()


def _with_busybox(server, busybox_tar):
    server.podctl("image", "import", "--name", "busybox", busybox_tar)
    return server


@pytest.fixture(scope="session")
def podd(busybox_tar):
    """The daemon that most tests share, with the image `busybox`."""
    before = leaks.snapshot(daemon.BUILD)
    server = _with_busybox(daemon.Podd("shared", NODE).start(), busybox_tar)
    yield server
    server.close()
    leaks.assert_clean(before, server)


@pytest.fixture
def own_podd(busybox_tar):
    """A daemon for one test: to be killed, restarted, misconfigured. The shared one may run
    beside it."""
    before = leaks.snapshot(daemon.BUILD)
    server = _with_busybox(
        daemon.Podd("own", "network: {bridge: podd1, pools: [10.87.0.0/16]}\n"
                    "restrict_oom_score_adj: true\n").start(), busybox_tar)
    yield server
    server.close()
    leaks.assert_clean(before, server)


@pytest.fixture
def no_leaks(podd):
    """The test leaves the shared daemon's machine as it found it."""
    before = leaks.snapshot(daemon.BUILD)
    yield
    leaks.assert_clean(before, podd)


@pytest.fixture
def pod(podd, no_leaks):
    """An ordinary pod on the shared daemon, removed afterwards."""
    from lib import cri

    made = cri.Pod(podd)
    yield made
    made.remove()


@pytest.fixture
def outside():
    """Another host: a network namespace beyond the node, which knows no route to the pods. Its name;
    it has 192.0.2.2 and 2001:db8::2, and the node 192.0.2.1 and 2001:db8::1."""
    name = f"podd-out-{os.getpid()}"
    run = lambda *command: subprocess.run(command, check=True)  # noqa: E731
    run("ip", "netns", "add", name)
    try:
        run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "out0", "netns", name)
        for place, device, host in (((), "up0", 1), (("-n", name), "out0", 2)):
            run("ip", *place, "addr", "add", f"192.0.2.{host}/24", "dev", device)
            run("ip", *place, "addr", "add", f"2001:db8::{host}/64", "dev", device, "nodad")
            run("ip", *place, "link", "set", device, "up")
        run("ip", "-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        subprocess.run(["ip", "link", "del", "up0"], check=False)
        run("ip", "netns", "del", name)


@pytest.fixture
def pod_cgroup():
    """A pod's cgroup, made and removed by its owner, as kubelet does."""
    roots = [root for root in kernel.cgroup_roots().values() if os.access(root, os.W_OK)]
    for root in roots:
        os.makedirs(f"{root}/podd-test/pod-abc", exist_ok=True)
    yield "/podd-test/pod-abc"
    for root in roots:
        os.rmdir(f"{root}/podd-test/pod-abc")
        os.rmdir(f"{root}/podd-test")
