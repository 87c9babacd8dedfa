"""What only machines with a pure cgroup v2 tree, all capabilities or AppArmor can show: CI runs it in
a virtual machine, where none of these tests may be skipped."""
import json
import os
import pathlib
import subprocess

import cri_pb2 as cri
import grpc
import pytest

from lib import daemon
from lib.cri import (Pod, code_of, container_config, container_status, exec_sync, read_log,
                     wait_exited, wait_until)
from lib.patience import patient

pytestmark = pytest.mark.vm
MIB = 1 << 20


def cgroup_file(container, file):
    with open(f"/sys/fs/cgroup/podd/{container}/{file}", encoding="ascii") as f:
        return f.read().strip()


def sleeper(**resources):
    config = container_config("busybox", ["sleep", "1000"])
    for name, value in resources.items():
        setattr(config.linux.resources, name, value)
    return config


# ---- cgroup v2 ---------------------------------------------------------------------------------------


@pytest.mark.cgroup_v2
def test_every_controller_reaches_the_containers(podd, pod):
    container = pod.start("", config=sleeper())
    enabled = cgroup_file(container, "cgroup.controllers").split()
    assert {"cpu", "cpuset", "io", "memory", "pids"} <= set(enabled)
    assert cgroup_file(container, "cgroup.subtree_control") == ""
    assert cgroup_file(container, "memory.max") == "max"


@pytest.mark.cgroup_v2
def test_limits_change_while_it_runs(podd, pod):
    container = pod.start("", config=sleeper(memory_limit_in_bytes=64 * MIB, cpu_shares=2))
    assert cgroup_file(container, "cpu.weight") == "1"

    def update(**values):
        podd.runtime.UpdateContainerResources(cri.UpdateContainerResourcesRequest(
            container_id=container, linux=cri.LinuxContainerResources(**values)))
    update(memory_limit_in_bytes=128 * MIB, cpu_shares=262144, cpu_quota=50000, cpu_period=100000,
           cpuset_cpus="0")
    assert cgroup_file(container, "memory.max") == str(128 * MIB)
    assert cgroup_file(container, "cpu.weight") == "10000"
    assert cgroup_file(container, "cpu.max") == "50000 100000"
    assert cgroup_file(container, "cpuset.cpus.effective") == "0"
    update(cpu_quota=-1, cpu_period=100000)
    assert cgroup_file(container, "cpu.max") == "max 100000"
    assert cgroup_file(container, "memory.max") == str(128 * MIB)


@pytest.mark.cgroup_v2
def test_raw_settings_are_written_and_bad_ones_named(podd, pod):
    config = sleeper()
    config.linux.resources.unified.update({"memory.high": str(32 * MIB), "pids.max": "77"})
    container = pod.start("", config=config)
    assert cgroup_file(container, "memory.high") == str(32 * MIB)
    assert cgroup_file(container, "pids.max") == "77"
    config = sleeper()
    config.linux.resources.unified["memory.nosuch"] = "1"
    code, message = code_of(lambda: pod.create("", config=config))
    assert code == grpc.StatusCode.FAILED_PRECONDITION and "memory.nosuch" in message


@pytest.mark.cgroup_v2
def test_every_kind_of_raw_setting_reaches_its_controller(podd, pod):
    settings = {"memory.min": str(MIB), "memory.low": str(2 * MIB), "memory.oom.group": "1",
                "cpu.max": "50000 100000", "cpu.max.burst": "20000", "cpu.idle": "0",
                "io.weight": "default 50", "pids.max": "9", "hugetlb.2MB.max": str(4 * MIB),
                "hugetlb.2MB.rsvd.max": str(2 * MIB), "cpuset.cpus": "0"}
    config = sleeper()
    config.linux.resources.unified.update(settings)
    try:
        container = pod.start("", config=config)
    except grpc.RpcError as error:  # io.weight is bfq's or iocost's, which a kernel may lack
        assert "io.weight" in error.details(), error.details()
        del settings["io.weight"], config.linux.resources.unified["io.weight"]
        container = pod.start("", config=config)
    assert {file: cgroup_file(container, file) for file in settings} == settings


@pytest.mark.cgroup_v2
def test_swap_is_what_is_left_of_both(podd, pod):
    """CRI limits memory and swap together, cgroup v2 swap alone."""
    for both, swap in ((96 * MIB, str(32 * MIB)), (64 * MIB, "0"), (0, "0"), (-1, "max")):
        container = pod.start("", config=sleeper(memory_limit_in_bytes=64 * MIB,
                                                 memory_swap_limit_in_bytes=both))
        assert cgroup_file(container, "memory.swap.max") == swap, both


@pytest.mark.cgroup_v2
def test_a_disk_is_limited_by_its_number(podd, pod):
    disk = next(pathlib.Path("/sys/block").glob("vd*/dev")).read_text().strip()
    config = sleeper()
    config.linux.resources.unified["io.max"] = f"{disk} rbps=1048576 wiops=100"
    container = pod.start("", config=config)
    assert cgroup_file(container, "io.max") == f"{disk} rbps=1048576 wbps=max riops=max wiops=100"
    assert "misc" in cgroup_file(container, "cgroup.controllers").split()


@pytest.mark.cgroup_v2
def test_a_privileged_container_may_make_cgroups(podd, no_leaks):
    linux = cri.LinuxPodSandboxConfig()
    linux.security_context.privileged = True
    linux.security_context.namespace_options.pid = cri.CONTAINER
    pod = Pod(podd, linux=linux)
    config = container_config("busybox", ["sh", "-c", "cd /sys/fs/cgroup/$(sed s,0::/,, /proc/self/cgroup)"
                                          " && mkdir own && sh -c 'echo 0 > own/cgroup.procs' && echo done"])
    config.linux.security_context.privileged = True
    log = read_log(wait_exited(podd, pod.start("", config=config)).log_path)
    assert log == {"stdout": b"done\n", "stderr": b""}
    pod.remove()


@pytest.mark.cgroup_v2
def test_limits_of_huge_pages_count_reservations_too(podd, pod):
    config = sleeper()
    config.linux.resources.hugepage_limits.add(page_size="2MB", limit=4 * MIB)
    container = pod.start("", config=config)
    assert cgroup_file(container, "hugetlb.2MB.max") == str(4 * MIB)
    assert cgroup_file(container, "hugetlb.2MB.rsvd.max") == str(4 * MIB)


def pressure_file(container, what):
    """What the kernel says of both kinds, in the unit of CRI: {some: ns, full: ns}."""
    lines = [line.split() for line in cgroup_file(container, f"{what}.pressure").splitlines()]
    return {line[0]: 1000 * int(line[-1].removeprefix("total=")) for line in lines}


@pytest.mark.cgroup_v2
@pytest.mark.parametrize("what, script, resources", [
    # Two of them share a twentieth of a processor: one waits, or both.
    ("cpu", "sh -c 'while :; do :; done' & while :; do :; done",
     {"cpu_period": 100000, "cpu_quota": 5000}),
    # What is written fills the memory, and each further page waits for another one's end.
    ("memory", "while :; do dd if=/dev/zero of=/big bs=1M count=48 2>/dev/null; done",
     {"memory_limit_in_bytes": 16 * MIB}),
], ids=["cpu", "memory"])
def test_pressure_is_told(podd, pod, what, script, resources):
    def told(container):
        stats = podd.runtime.ContainerStats(cri.ContainerStatsRequest(container_id=container)).stats
        psi = getattr(stats, what).psi
        return {"some": psi.Some, "full": psi.Full}

    idle = pod.start("", config=sleeper())
    config = sleeper(**resources)
    config.command[:] = ["sh", "-c", script]
    container = pod.start("", config=config)
    wait_until(lambda: min(kind.Total for kind in told(container).values()) > 50_000_000, 20, "waiting")
    wait_until(lambda: min(kind.Avg10 for kind in told(container).values()) > 0, 20, "an average")
    before = pressure_file(container, what)
    between, after = told(container), pressure_file(container, what)
    for kind, stall in between.items():
        assert before[kind] <= stall.Total <= after[kind]
        assert 0 < stall.Avg10 <= 100 and 0 <= stall.Avg60 <= 100 and 0 <= stall.Avg300 <= 100
    assert between["full"].Total <= between["some"].Total
    assert told(idle)["some"].Total < between["some"].Total


@pytest.mark.cgroup_v2
def test_a_frozen_container_can_be_stopped(podd, pod):
    container = pod.start("", config=sleeper())
    with open(f"/sys/fs/cgroup/podd/{container}/cgroup.freeze", "w", encoding="ascii") as f:
        f.write("1")
    wait_until(lambda: "frozen 1" in cgroup_file(container, "cgroup.events"), what="the freezing")
    podd.runtime.StopContainer(cri.StopContainerRequest(container_id=container, timeout=1))
    status = container_status(podd, container)
    assert (status.state, status.exit_code) == (cri.CONTAINER_EXITED, 137)


@pytest.mark.cgroup_v2
def test_a_container_sees_its_own_cgroup_as_the_root(podd, pod):
    container = pod.start("", config=sleeper(memory_limit_in_bytes=64 * MIB))
    seen = exec_sync(podd, container, "sh", "-c", "cat /proc/1/cgroup; cat /sys/fs/cgroup/memory.max;"
                     "echo 1 > /sys/fs/cgroup/memory.max || echo refused").stdout.split()
    assert seen == [b"0::/", str(64 * MIB).encode(), b"refused"]
    assert cgroup_file(container, "memory.max") == str(64 * MIB)


HOG = "tail -c 200000000 /dev/zero >/dev/null"  # tail keeps what it reads


@pytest.mark.cgroup_v2
@pytest.mark.parametrize("command, group, expected", [
    (f"exec {HOG}", False, (137, "OOMKilled")),
    (f"{HOG}; exit 3", False, (3, "OOMKilled")),     # a child of it, and it says so
    (f"{HOG}; exit 0", False, (0, "Completed")),     # ... and it got over that
    (f"{HOG}; exit 0", True, (137, "OOMKilled")),    # as kubelet asks for: all or nobody
])
def test_out_of_memory(podd, pod, command, group, expected):
    config = container_config("busybox", ["sh", "-c", command])
    config.linux.resources.memory_limit_in_bytes = 16 * MIB
    config.linux.resources.memory_swap_limit_in_bytes = 16 * MIB
    if group:
        config.linux.resources.unified["memory.oom.group"] = "1"
    status = wait_exited(podd, pod.start("", config=config), 30)
    assert (status.exit_code, status.reason) == expected


@pytest.mark.cgroup_v2
def test_devices_are_those_it_was_given(podd, pod):
    """By a BPF program: the nodes may be made, but not opened."""
    device = os.stat("/dev/fuse").st_rdev  # one that everybody may open
    script = (f"mknod /k c {os.major(device)} {os.minor(device)}; (: < /k) && echo read;"
              " (: > /k) && echo written; (: > /dev/null) && echo null")
    code, log = pod.run("busybox", ["sh", "-c", script])
    assert (code, log["stdout"]) == (0, b"null\n")
    assert log["stderr"].count(b"Operation not permitted") == 2
    given = cri.Device(host_path="/dev/fuse", container_path="/dev/fuse", permissions="rm")
    code, log = pod.run("busybox", ["sh", "-c", script], devices=[given])
    assert (code, log["stdout"]) == (0, b"read\nnull\n")


@pytest.mark.cgroup_v2
def test_an_exec_has_a_leaf_that_ends_with_it(podd, pod):
    container = pod.start("", config=sleeper(memory_limit_in_bytes=64 * MIB))

    def leaves():
        top = f"/sys/fs/cgroup/podd/{container}"
        return [name for name in os.listdir(top) if os.path.isdir(f"{top}/{name}")]
    call = podd.runtime.ExecSync.future(cri.ExecSyncRequest(
        container_id=container, cmd=["sh", "-c", "setsid sleep 999 & sleep 999"]))
    wait_until(lambda: len(leaves()) == 1, what="a leaf")
    assert len(cgroup_file(container, "cgroup.procs").split()) == 1
    call.cancel()
    wait_until(lambda: not leaves(), what="the leaf's end")
    assert container_status(podd, container).state == cri.CONTAINER_RUNNING


@pytest.mark.cgroup_v2
def test_usage_is_counted(podd, pod):
    container = pod.start("busybox", ["sh", "-c", "x=$(head -c 8000000 /dev/zero | tr '\\0' x); sleep 1000"])

    def stats():
        return podd.runtime.ContainerStats(
            cri.ContainerStatsRequest(container_id=container)).stats
    wait_until(lambda: stats().memory.working_set_bytes.value > 8000000, what="the memory used")
    assert stats().cpu.usage_core_nano_seconds.value > 0


# Those that neither measure time nor count on being fast.
KERNEL_TESTS = ["image-rootfs", "runtime-cgroup", "runtime-container", "runtime-exec",
                "runtime-mount", "runtime-sandbox"]


@pytest.mark.cgroup_v2
@pytest.mark.parametrize("name", KERNEL_TESTS)
def test_unit_tests_of_the_kernels_work_hold_here(name):
    done = subprocess.run([daemon.BUILD / f"tests/unit/test-{name}"], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, encoding="utf-8", errors="replace", check=False,
                          cwd=daemon.BUILD, timeout=patient(60))
    assert done.returncode == 0, done.stdout
    assert "[  SKIPPED ]" not in done.stdout, done.stdout


# ---- Capabilities ------------------------------------------------------------------------------------


@pytest.mark.sys_resource
def test_oom_score_adj_can_be_lowered(busybox_tar):
    """Strictly: without restrict_oom_score_adj a value that cannot be set is an error."""
    podd = daemon.Podd("strict", "network: {bridge: podd2, pools: [10.88.0.0/16]}\n").start()
    try:
        podd.podctl("image", "import", "--name", "busybox", busybox_tar)
        pod = Pod(podd)
        config = container_config("busybox", ["cat", "/proc/self/oom_score_adj"])
        config.linux.resources.oom_score_adj = -500
        container = pod.start("", config=config)
        assert read_log(wait_exited(podd, container).log_path)["stdout"] == b"-500\n"
        pod.remove()
    finally:
        podd.close()


@pytest.mark.sys_resource
def test_a_privileged_container_has_real_devices_and_rights(podd, no_leaks):
    linux = cri.LinuxPodSandboxConfig()
    linux.security_context.privileged = True
    linux.security_context.namespace_options.pid = cri.CONTAINER
    pod = Pod(podd, linux=linux)
    config = container_config("busybox", ["sh", "-c", "ulimit -n 2000000 && ulimit -n;"
                                          " (: < /dev/kmsg) && echo kmsg"])
    config.linux.security_context.privileged = True
    container = pod.start("", config=config)
    log = read_log(wait_exited(podd, container).log_path)
    nr_open = int(open("/proc/sys/fs/nr_open", encoding="ascii").read())
    expected = b"2000000\nkmsg\n" if nr_open >= 2000000 else b"kmsg\n"
    assert log["stdout"] == expected, log
    pod.remove()


# ---- AppArmor ----------------------------------------------------------------------------------------

PROFILE = """
profile podd-test-deny flags=(attach_disconnected,mediate_deleted) {
  file,
  capability,
  network,
  signal,
  deny /denied/** w,
}
"""


@pytest.fixture
def profile(tmp_path):
    path = tmp_path / "profile"
    path.write_text(PROFILE)
    subprocess.run(["apparmor_parser", "--replace", "--skip-cache", path], check=True)
    yield "podd-test-deny"
    subprocess.run(["apparmor_parser", "--remove", path], check=True)


def with_profile(command, kind, reference=""):
    config = container_config("busybox", ["sh", "-c", command])
    config.linux.security_context.apparmor.profile_type = kind
    config.linux.security_context.apparmor.localhost_ref = reference
    return config


@pytest.mark.apparmor
def test_an_apparmor_profile_holds_for_the_container_and_its_execs(podd, profile, pod):
    script = "cat /proc/self/attr/current; mkdir /denied; touch /denied/x || echo refused; touch /y"
    container = pod.start("", config=with_profile(
        script + "; sleep 1000", cri.SecurityProfile.Localhost, profile))
    path = container_status(podd, container).log_path
    wait_until(lambda: b"refused" in read_log(path)["stdout"])
    assert read_log(path)["stdout"] == b"podd-test-deny (enforce)\nrefused\n"
    answer = exec_sync(podd, container, "cat", "/proc/self/attr/current")
    assert answer.stdout == b"podd-test-deny (enforce)\n"


@pytest.mark.apparmor
def test_a_profile_that_is_not_loaded_is_named(podd, pod):
    config = with_profile("true", cri.SecurityProfile.Localhost, "podd-no-such-profile")
    code, message = code_of(lambda: pod.create("", config=config))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "podd-no-such-profile is not loaded" in message


SHOW_PROFILE = "cat /proc/self/attr/current"
DEFAULT = b"podd-default (enforce)\n"
FIELD_AND_TEXT = [  # the profile by the field, by the deprecated text, and what comes of it
    (None, "", DEFAULT),
    ("RuntimeDefault", "", DEFAULT),
    (None, "runtime/default", DEFAULT),
    ("Unconfined", "", b"unconfined\n"),
    (None, "unconfined", b"unconfined\n"),
    (None, "localhost/podd-test-deny", b"podd-test-deny (enforce)\n"),
    ("localhost/podd-test-deny", "", b"podd-test-deny (enforce)\n"),
    ("podd-test-deny", "localhost/podd-no-such-profile", b"podd-test-deny (enforce)\n"),
    ("Unconfined", "localhost/podd-no-such-profile", b"unconfined\n"),
]


def with_both(field, text):
    config = container_config("busybox", ["sh", "-c", SHOW_PROFILE])
    security = config.linux.security_context
    security.apparmor_profile = text
    if field in ("RuntimeDefault", "Unconfined"):
        security.apparmor.profile_type = getattr(cri.SecurityProfile, field)
    elif field:
        security.apparmor.profile_type = cri.SecurityProfile.Localhost
        security.apparmor.localhost_ref = field
    return config


@pytest.mark.apparmor
def test_the_profile_is_that_of_the_field_then_of_the_text_then_the_default(podd, profile, pod):
    containers = [pod.start("", config=with_both(field, text)) for field, text, _ in FIELD_AND_TEXT]
    seen = [read_log(wait_exited(podd, c).log_path)["stdout"] for c in containers]
    assert seen == [expected for *_, expected in FIELD_AND_TEXT]


@pytest.mark.apparmor
@pytest.mark.parametrize("field, text", [
    (None, "localhost/podd-no-such-profile"),
    ("podd-no-such-profile", "localhost/podd-test-deny"),
])
def test_a_missing_profile_is_an_error_in_either_form(podd, profile, pod, field, text):
    code, message = code_of(lambda: pod.create("", config=with_both(field, text)))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "podd-no-such-profile is not loaded" in message


@pytest.mark.apparmor
def test_the_default_profile_keeps_the_node_from_the_containers_root(podd, pod):
    """With every capability and nothing masked, so that only the profile is in the way."""
    script = ("mkdir /m; mount -t tmpfs none /m; (: > /proc/sysrq-trigger); cat /proc/kcore;"
              " (echo 1 > /proc/sys/vm/drop_caches); echo done > /m/x; cat /m/x;"
              " sleep 100 & kill $! && echo killed")
    config = container_config("busybox", ["sh", "-c", script])
    config.linux.security_context.capabilities.add_capabilities.append("ALL")
    container = pod.start("", config=config)
    log = read_log(wait_exited(podd, container).log_path)
    assert log["stdout"] == b"done\nkilled\n", log
    assert log["stderr"].count(b"ermission denied") == 4, log


@pytest.mark.apparmor
def test_execs_are_held_by_the_default_profile_too(podd, pod):
    config = container_config("busybox", ["sleep", "1000"])
    config.linux.security_context.capabilities.add_capabilities.append("ALL")
    answer = exec_sync(podd, pod.start("", config=config), "sh", "-c",
                       "cat /proc/self/attr/current; (: > /proc/sysrq-trigger) || echo refused")
    assert answer.stdout == DEFAULT + b"refused\n"


@pytest.mark.apparmor
def test_the_status_tells_of_the_profile(podd):
    info = json.loads(podd.runtime.Status(cri.StatusRequest(verbose=True)).info["config"])
    assert (info["apparmor"], info["apparmorDefaultProfile"]) == (True, "podd-default")
    assert info["cgroupDriver"] == "cgroupfs"
