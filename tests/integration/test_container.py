"""Containers through CRI: life cycle, the process's environment, limits, exits."""
import concurrent.futures
import os
import time

import cri_pb2 as cri
import grpc
import pytest

from lib import kernel
from lib.cri import (Pod, code_of, container_config, container_status, exec_sync, read_log,
                     remove_container, stop_container, wait_exited, wait_until)
from lib.patience import patient

UNKNOWN = "e" * 64

pytestmark = pytest.mark.vm


def listed(podd, **filters):
    request = cri.ListContainersRequest(filter=cri.ContainerFilter(**filters))
    return {item.id: item for item in podd.runtime.ListContainers(request).containers}


# ---- Life cycle -----------------------------------------------------------------------------------


def test_goes_from_created_to_running_to_exited(podd, pod):
    container = pod.create("busybox", ["sh", "-c", "echo hello; sleep 1000"])
    assert container_status(podd, container).state == cri.CONTAINER_CREATED
    assert container_status(podd, container).started_at == 0
    assert not os.path.exists(container_status(podd, container).log_path)

    podd.runtime.StartContainer(cri.StartContainerRequest(container_id=container))
    status = container_status(podd, container)
    assert status.state == cri.CONTAINER_RUNNING
    assert status.created_at <= status.started_at
    assert os.path.exists(status.log_path)
    wait_until(lambda: read_log(status.log_path)["stdout"] == b"hello\n", what="its output")

    stop_container(podd, container)
    status = container_status(podd, container)
    assert status.state == cri.CONTAINER_EXITED
    assert (status.exit_code, status.reason) == (137, "Error")
    assert status.finished_at >= status.started_at

    remove_container(podd, container)
    code, _ = code_of(container_status, podd, container)
    assert code == grpc.StatusCode.NOT_FOUND
    assert read_log(status.log_path)["stdout"] == b"hello\n"  # the log outlives it


def test_stops_and_removes_of_what_is_not_there_succeed(podd):
    for _ in range(2):
        stop_container(podd, UNKNOWN)
        remove_container(podd, UNKNOWN)


def test_other_calls_on_what_is_not_there_are_not_found(podd):
    for call in (lambda: podd.runtime.StartContainer(cri.StartContainerRequest(container_id=UNKNOWN)),
                 lambda: container_status(podd, UNKNOWN), lambda: exec_sync(podd, UNKNOWN, "true"),
                 lambda: podd.runtime.ReopenContainerLog(
                     cri.ReopenContainerLogRequest(container_id=UNKNOWN))):
        assert code_of(call)[0] == grpc.StatusCode.NOT_FOUND


def test_removes_a_running_one_by_force(podd, pod):
    container = pod.start("busybox", ["sleep", "1000"])
    remove_container(podd, container)
    assert container not in listed(podd)


def test_cannot_be_started_twice(podd, pod):
    container = pod.start("busybox", ["true"])
    wait_exited(podd, container)
    code, message = code_of(podd.runtime.StartContainer,
                            cri.StartContainerRequest(container_id=container))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert container[:12] in message


def test_nothing_can_be_created_in_a_stopped_pod(podd, no_leaks):
    pod = Pod(podd)
    pod.stop()
    code, _ = code_of(pod.create, "busybox", ["true"])
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    pod.remove()


def test_a_retry_with_the_same_name_gets_the_same_container(podd, pod):
    config = container_config("busybox", ["true"], name="twice")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        ids = set(pool.map(lambda _: pod.create("", config=config), range(4)))
    assert len(ids) == 1
    config.command[:] = ["false"]
    code, _ = code_of(lambda: pod.create("", config=config))
    assert code == grpc.StatusCode.ALREADY_EXISTS


def test_gives_back_what_was_asked(podd, pod, work):
    (work / "data").mkdir(exist_ok=True)
    mount = cri.Mount(container_path="/data", host_path=str(work / "data"), readonly=True)
    config = container_config("busybox", ["sleep", "100"], labels={"a": "1"}, mounts=[mount],
                              annotations={"b": "2"}, attempt=7)
    config.linux.resources.memory_limit_in_bytes = 64 << 20
    container = pod.create("", config=config)
    status = container_status(podd, container)
    assert status.metadata == config.metadata
    assert dict(status.labels) == {"a": "1"} and dict(status.annotations) == {"b": "2"}
    assert list(status.mounts) == [mount]
    assert status.resources.linux.memory_limit_in_bytes == 64 << 20
    assert status.log_path == f"{pod.config.log_directory}/{config.log_path}"
    item = listed(podd, id=container)[container]
    assert item.metadata == config.metadata and item.image.image == "busybox"
    assert item.image_id == status.image_id and status.image_id.startswith("sha256:")
    assert item.pod_sandbox_id == pod.id


def test_filters_by_state_pod_and_label(podd, pod):
    running = pod.start("busybox", ["sleep", "100"], labels={"k": "r"})
    created = pod.create("busybox", ["true"], labels={"k": "c"})
    state = cri.ContainerStateValue(state=cri.CONTAINER_CREATED)
    assert set(listed(podd, pod_sandbox_id=pod.id)) == {running, created}
    assert set(listed(podd, pod_sandbox_id=pod.id, state=state)) == {created}
    assert set(listed(podd, pod_sandbox_id=pod.id, label_selector={"k": "r"})) == {running}
    assert set(listed(podd, id=created[:20])) == {created}


# ---- Stopping ----------------------------------------------------------------------------------------


def test_stop_lets_a_container_end_by_itself(podd, pod):
    container = pod.start("busybox", ["sh", "-c", "trap 'echo bye; exit 3' TERM; "
                                      "echo up; while :; do sleep 0.05; done"])
    log = container_status(podd, container).log_path
    while read_log(log)["stdout"] != b"up\n":
        time.sleep(0.01)
    started = time.monotonic()
    stop_container(podd, container, timeout=60)
    assert time.monotonic() - started < patient(10)
    assert container_status(podd, container).exit_code == 3
    assert read_log(log)["stdout"] == b"up\nbye\n"


def test_stop_kills_after_the_grace(podd, pod):
    container = pod.start("busybox", ["sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"])
    started = time.monotonic()
    stop_container(podd, container, timeout=1)
    assert 0.9 < time.monotonic() - started < patient(5)
    assert container_status(podd, container).exit_code == 137


def test_the_shorter_of_two_stops_wins(podd, pod):
    container = pod.start("busybox", ["sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"])
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        started = time.monotonic()
        long = pool.submit(stop_container, podd, container, 100)
        time.sleep(0.3)
        stop_container(podd, container, timeout=0)
        long.result(patient(5))
    assert time.monotonic() - started < patient(5)


def test_a_stop_that_waits_holds_nothing_up(podd, pod):
    container = pod.start("busybox", ["sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"])
    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        waiting = [pool.submit(stop_container, podd, container, 3) for _ in range(50)]
        time.sleep(0.3)
        threads = len(os.listdir(f"/proc/{podd.process.pid}/task"))
        started = time.monotonic()
        assert container_status(podd, container).state == cri.CONTAINER_RUNNING
        podd.runtime.ReopenContainerLog(cri.ReopenContainerLogRequest(container_id=container))
        assert time.monotonic() - started < patient(1)
        assert threads < 40
        for call in waiting:
            call.result(patient(20))


def test_uses_the_stop_signal_asked_for(podd, pod):
    config = container_config("busybox", ["sh", "-c", "trap 'exit 42' QUIT; echo up; "
                                          "while :; do sleep 0.05; done"])
    config.stop_signal = cri.Signal.Value("SIGNAL_SIGQUIT")
    container = pod.start("", config=config)
    log = container_status(podd, container).log_path
    while read_log(log)["stdout"] != b"up\n":
        time.sleep(0.01)
    stop_container(podd, container, timeout=20)
    assert container_status(podd, container).exit_code == 42


# ---- The process ---------------------------------------------------------------------------------------


def test_environment_is_image_then_config(podd, pod):
    envs = [cri.KeyValue(key="A", value=b"1"), cri.KeyValue(key="B", value=b"two\nlines"),
            cri.KeyValue(key="A", value=b"last wins"), cri.KeyValue(key="RAW", value=b"\xff")]
    code, log = pod.run("busybox", ["sh", "-c", "cat /proc/self/environ"], envs=envs)
    environment = dict(v.split(b"=", 1) for v in log["stdout"].split(b"\0") if b"=" in v)
    assert code == 0
    assert environment[b"A"] == b"last wins" and environment[b"B"] == b"two\nlines"
    assert environment[b"RAW"] == b"\xff"
    assert environment[b"PATH"] and environment[b"HOME"] == b"/root" and environment[b"HOSTNAME"]
    assert b"PODD_SOCKET" not in environment and b"PYTHONPATH" not in environment


def test_working_directory_is_made_when_missing(podd, pod):
    assert pod.run("busybox", ["pwd"], working_dir="/made/for/me")[1]["stdout"] == b"/made/for/me\n"


def test_working_directory_cannot_be_a_leaked_descriptor(podd, pod):
    for n in range(0, 40):
        container = pod.create("busybox", ["ls"], working_dir=f"/proc/self/fd/{n}")
        code, _ = code_of(podd.runtime.StartContainer,
                          cri.StartContainerRequest(container_id=container))
        assert code is not None


def test_only_standard_descriptors_are_open(podd, pod):
    container = pod.start("busybox", ["sleep", "100"])
    assert exec_sync(podd, container, "ls", "/proc/1/fd").stdout.split() == [b"0", b"1", b"2"]


def test_exit_code_and_reason(podd, pod):
    for command, expected in ((["true"], (0, "Completed")), (["sh", "-c", "exit 7"], (7, "Error")),
                              (["sh", "-c", "kill -9 $$; sleep 9"], None)):
        container = pod.start("busybox", command)
        if expected:
            status = wait_exited(podd, container)
            assert (status.exit_code, status.reason) == expected
        else:
            stop_container(podd, container)


def test_a_missing_command_fails_the_start_and_says_so(podd, pod):
    container = pod.create("busybox", ["/no/such/program"])
    code, message = code_of(podd.runtime.StartContainer,
                            cri.StartContainerRequest(container_id=container))
    assert code is not None and "/no/such/program" in message
    status = container_status(podd, container)
    assert status.state == cri.CONTAINER_EXITED
    assert (status.exit_code, status.reason) == (128, "StartError")
    assert "/no/such/program" in status.message
    assert status.finished_at > 0


def test_out_of_memory_is_told(podd, pod):
    config = container_config("busybox", ["sh", "-c", "x=a; while :; do x=$x$x; done"])
    config.linux.resources.memory_limit_in_bytes = 16 << 20
    config.linux.resources.memory_swap_limit_in_bytes = 16 << 20
    container = pod.start("", config=config)
    status = wait_exited(podd, container, 60)
    assert (status.exit_code, status.reason) == (137, "OOMKilled")


@pytest.mark.cgroup_v1
def test_limits_are_in_the_cgroup_v1(podd, pod):
    config = container_config("busybox", ["sleep", "100"])
    resources = config.linux.resources
    resources.cpu_period, resources.cpu_quota, resources.cpu_shares = 100000, 20000, 512
    resources.memory_limit_in_bytes = 64 << 20
    pod.start("", config=config)
    container = max(listed(podd, pod_sandbox_id=pod.id))
    roots = kernel.cgroup_roots()

    def value(controller, file):
        with open(f"{roots[controller]}/podd/{container}/{file}", encoding="ascii") as f:
            return f.read().strip()
    assert value("cpu", "cpu.cfs_quota_us") == "20000"
    assert value("cpu", "cpu.shares") == "512"
    assert value("memory", "memory.limit_in_bytes") == str(64 << 20)


@pytest.mark.cgroup_v2
def test_limits_are_in_the_cgroup_v2(podd, pod):
    config = container_config("busybox", ["sleep", "100"])
    resources = config.linux.resources
    resources.cpu_period, resources.cpu_quota, resources.cpu_shares = 100000, 20000, 1024
    resources.memory_limit_in_bytes = 64 << 20
    resources.memory_swap_limit_in_bytes = 64 << 20
    container = pod.start("", config=config)

    def value(file):
        with open(f"/sys/fs/cgroup/podd/{container}/{file}", encoding="ascii") as f:
            return f.read().strip()
    assert value("cpu.max") == "20000 100000"
    assert value("cpu.weight") == "100"
    assert value("memory.max") == str(64 << 20)
    assert value("memory.swap.max") == "0"


def test_cgroup_parent_holds_the_container_under_its_id(podd, pod_cgroup, no_leaks):
    linux = cri.LinuxPodSandboxConfig(cgroup_parent=pod_cgroup)
    linux.security_context.namespace_options.pid = cri.CONTAINER
    pod = Pod(podd, linux=linux)
    container = pod.start("busybox", ["sleep", "100"])
    roots = kernel.cgroup_roots()
    root = roots.get("memory", roots.get(""))
    assert os.path.isdir(f"{root}/podd-test/pod-abc/{container}")
    pod.remove()
    assert not os.path.exists(f"{root}/podd-test/pod-abc/{container}")


def test_a_cgroup_parent_must_fit_the_driver(podd, no_leaks):
    for parent, why in (("/a.slice/a-b.slice", "it is a slice"), ("a/b", "must be absolute"),
                        ("/a/../b", "without '..'")):
        code, message = code_of(lambda parent=parent: Pod(
            podd, linux=cri.LinuxPodSandboxConfig(cgroup_parent=parent)))
        assert code == grpc.StatusCode.INVALID_ARGUMENT and why in message, message


def test_oom_score_adj_is_set(podd, pod):
    config = container_config("busybox", ["cat", "/proc/self/oom_score_adj"])
    config.linux.resources.oom_score_adj = 777
    container = pod.start("", config=config)
    assert read_log(wait_exited(podd, container).log_path)["stdout"] == b"777\n"


# ---- Files -----------------------------------------------------------------------------------------------


def test_mounts_and_read_only_root(podd, pod, work):
    host = work / "volume"
    host.mkdir(exist_ok=True)
    (host / "from-host").write_text("hello\n")
    config = container_config("busybox", ["sh", "-c", "cat /rw/from-host; echo back > /rw/back; "
                                          "echo x > /ro/x || echo ro-refused; "
                                          "touch /file || echo root-refused; touch /dev/shm/ok"])
    config.mounts.add(container_path="/rw", host_path=str(host))
    config.mounts.add(container_path="/ro", host_path=str(host), readonly=True)
    config.linux.security_context.readonly_rootfs = True
    container = pod.start("", config=config)
    log = read_log(wait_exited(podd, container).log_path)
    assert log["stdout"] == b"hello\nro-refused\nroot-refused\n"
    assert (host / "back").read_text() == "back\n"
    assert not (host / "x").exists()


def test_writes_do_not_reach_the_image(podd, pod):
    assert pod.run("busybox", ["sh", "-c", "echo spoiled > /etc/passwd; rm /bin/ls"])[0] == 0
    code, log = pod.run("busybox", ["sh", "-c", "ls /bin/ls && head -n 1 /etc/passwd"])
    assert code == 0 and b"root:x:0:0" in log["stdout"]


def test_proc_sys_dev_are_as_users_expect(podd, pod):
    script = """set -e
    [ -c /dev/null ] && [ -c /dev/urandom ] && [ -c /dev/tty ] && [ -L /dev/fd ] && [ -L /dev/ptmx ]
    [ -d /dev/pts ] && [ -d /dev/mqueue ]
    ! mkdir /sys/kernel/x 2>/dev/null
    ! mknod /dev/sda b 8 0 2>/dev/null || ! dd if=/dev/sda of=/dev/null bs=512 count=1 2>/dev/null
    [ $$ = 1 ]
    mount | grep -q ' on / type overlay'
    echo fine"""
    code, log = pod.run("busybox", ["sh", "-c", script])
    assert (code, log["stdout"]) == (0, b"fine\n"), log


@pytest.mark.parametrize("spoil, word", [
    (lambda c: c.ClearField("metadata"), "metadata"),
    (lambda c: c.ClearField("image"), "image"),
    (lambda c: c.mounts.add(host_path="/tmp"), "container_path"),
    (lambda c: c.mounts.add(container_path="/x"), "host_path"),
    (lambda c: setattr(c.linux.security_context, "run_as_username", "nosuchuser"), "nosuchuser"),
    (lambda c: setattr(c.linux.security_context.run_as_group, "value", 5), "run_as_group"),
    (lambda c: setattr(c.linux.security_context.run_as_user, "value", 1 << 40), "run_as_user"),
    (lambda c: c.linux.security_context.capabilities.add_capabilities.append("NOSUCH"), "NOSUCH"),
    (lambda c: c.envs.add(key="A=B", value=b"x"), "envs"),
    (lambda c: c.envs.add(key="A", value=b"x\0y"), "NUL"),
    (lambda c: setattr(c, "log_path", "../../escape.log"), "log path"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_bad_create_says_what_is_wrong_and_leaves_nothing(podd, pod, spoil, word):
    config = container_config("busybox", ["true"])
    spoil(config)
    code, message = code_of(lambda: pod.create("", config=config))
    assert code == grpc.StatusCode.INVALID_ARGUMENT, message
    assert word in message
    assert not listed(podd, pod_sandbox_id=pod.id)


def test_no_such_image_and_no_such_pod_are_not_found(podd, pod):
    code, message = code_of(lambda: pod.create("no/such:image", ["true"]))
    assert code == grpc.StatusCode.NOT_FOUND and "no/such:image" in message
    request = cri.CreateContainerRequest(pod_sandbox_id=UNKNOWN, sandbox_config=pod.config,
                                         config=container_config("busybox", ["true"]))
    assert code_of(podd.runtime.CreateContainer, request)[0] == grpc.StatusCode.NOT_FOUND
