"""podd dies at any moment, and nobody but podd notices."""
import ctypes
import json
import os
import signal
import time

import cri_pb2 as cri
import grpc
import pytest

from lib.cri import (Pod, container_status, exec_sync, read_log, stop_container,
                     wait_exited, wait_until)

PR_SET_CHILD_SUBREAPER = 36  # orphans become children of this process
COUNTER = ["sh", "-c", "i=0; while :; do echo $i; i=$((i+1)); sleep 0.01; done"]


def pid_of(podd, container):
    answer = podd.runtime.ContainerStatus(
        cri.ContainerStatusRequest(container_id=container, verbose=True))
    return json.loads(answer.info["info"])["pid"]


def stat_of(pid):
    """The fields of /proc/PID/stat behind the name: state, parent, ..."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        return f.read().rpartition(")")[2].split()


def parent_of(pid):
    return int(stat_of(pid)[1])


@pytest.mark.vm
@pytest.mark.parametrize("end", ["kill", "stop"])
def test_containers_go_on_with_pids_addresses_and_logs(own_podd, end):
    podd = own_podd
    pod = Pod(podd, labels={"a": "b"})
    container = pod.start("busybox", COUNTER)
    created = pod.create("busybox", ["true"])
    exited = pod.start("busybox", ["sh", "-c", "exit 9"])
    wait_exited(podd, exited)
    before = (pod.status(), container_status(podd, container), pid_of(podd, container),
              container_status(podd, created), container_status(podd, exited))

    getattr(podd, end)()
    time.sleep(0.3)
    podd.start()

    after = (pod.status(), container_status(podd, container), pid_of(podd, container),
             container_status(podd, created), container_status(podd, exited))
    assert before == after
    assert before[0].network.ip
    path = before[1].log_path
    seen = len(read_log(path)["stdout"].split())
    wait_until(lambda: len(read_log(path)["stdout"].split()) > seen + 5)
    numbers = [int(n) for n in read_log(path)["stdout"].split()]
    assert numbers == list(range(len(numbers)))
    assert exec_sync(podd, container, "echo", "still here").stdout == b"still here\n"
    podd.runtime.StartContainer(cri.StartContainerRequest(container_id=created))
    assert wait_exited(podd, created).exit_code == 0
    stop_container(podd, container)
    pod.remove()


@pytest.mark.vm
def test_an_exit_while_podd_is_down_is_not_lost(own_podd):
    podd = own_podd
    pod = Pod(podd)
    codes = {pod.start("busybox", ["sh", "-c", f"sleep 0.5; exit {code}"]): code
             for code in (0, 3, 200)}
    podd.kill()
    time.sleep(1)
    podd.start()
    for container, code in codes.items():
        status = container_status(podd, container)
        assert (status.state, status.exit_code) == (cri.CONTAINER_EXITED, code)
        assert status.reason == ("Completed" if code == 0 else "Error")
        assert 0 < status.finished_at < time.time_ns() - 100_000_000
    pod.remove()


def test_a_shim_that_died_while_podd_was_down_is_noticed(own_podd):
    podd = own_podd
    pod = Pod(podd)
    container = pod.start("busybox", ["sleep", "1000"])
    with open(f"/proc/{pid_of(podd, container)}/status", encoding="ascii") as f:
        shim = int([line for line in f if line.startswith("PPid:")][0].split()[1])
    podd.kill()
    os.kill(shim, signal.SIGKILL)
    podd.start()
    assert pod.status().state == cri.SANDBOX_NOTREADY
    assert container_status(podd, container).state == cri.CONTAINER_EXITED
    pod.remove()


def test_a_stop_goes_on_after_its_client_has_left(own_podd):
    podd = own_podd
    pod = Pod(podd)
    container = pod.start("busybox", ["sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"])
    with pytest.raises(grpc.RpcError):
        podd.runtime.StopContainer(cri.StopContainerRequest(container_id=container, timeout=1),
                                   timeout=0.2)
    wait_until(lambda: container_status(podd, container).state == cri.CONTAINER_EXITED, 5)
    pod.remove()


@pytest.mark.slow
def test_killed_at_random_moments_nothing_is_lost_or_leaked(own_podd):
    """Pods come and go while podd is killed again and again; in the end all is clean."""
    import random
    import threading

    podd = own_podd
    random.seed(7)
    alive = True
    configs = []

    def churn():
        from lib.cri import sandbox_config
        while alive:
            config = sandbox_config(podd)
            configs.append(config)
            try:
                pod = Pod(podd, config=config)
                pod.start("busybox", ["sleep", "1000"])
                if random.random() < 0.5:
                    pod.remove()
            except (grpc.RpcError, ValueError):
                time.sleep(0.02)

    workers = [threading.Thread(target=churn) for _ in range(3)]
    for worker in workers:
        worker.start()
    for _ in range(12):
        time.sleep(random.uniform(0.05, 0.6))
        podd.process.kill()
        podd.process.wait()
        podd.start()
        podd.reconnect()
    alive = False
    for worker in workers:
        worker.join(30)
    podd.reconnect()
    for sandbox in podd.runtime.ListPodSandbox(cri.ListPodSandboxRequest()).items:
        podd.runtime.StopPodSandbox(cri.StopPodSandboxRequest(pod_sandbox_id=sandbox.id))
        podd.runtime.RemovePodSandbox(cri.RemovePodSandboxRequest(pod_sandbox_id=sandbox.id))
    assert not list((podd.root / "pods").iterdir())
    assert not list((podd.state / "net/leases").iterdir())
    assert [p for p in (podd.root / "containers").iterdir() if not p.name.startswith(".")] == []


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_a_corrupt_record_costs_only_its_own_object(own_podd, damage):
    podd = own_podd
    good, bad = Pod(podd), Pod(podd)
    container = good.start("busybox", COUNTER)
    bad.start("busybox", ["sleep", "1000"])
    podd.kill()
    record = podd.root / "pods" / bad.id / "sandbox"
    record.write_bytes(record.read_bytes()[:-3] if damage is None else damage)
    podd.start()
    ids = {s.id for s in podd.runtime.ListPodSandbox(cri.ListPodSandboxRequest()).items}
    assert ids == {good.id}
    assert container_status(podd, container).state == cri.CONTAINER_RUNNING
    assert bad.id[:12] in podd.log.read_text()
    good.remove()


def test_a_live_podds_socket_and_root_are_not_taken(own_podd):
    import subprocess

    for command in (own_podd.command(),
                    [*own_podd.command(), "--root", str(own_podd.directory / "other"), "--state",
                     str(own_podd.directory / "other-state")]):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=20,
                              encoding="utf-8", check=False)
        assert done.returncode != 0
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith("podd: ") and ("running" in last or "in use" in last)
    assert own_podd.is_ready()


@pytest.mark.parametrize("name, number", [("openat2", 437), ("clone3", 435), ("fsopen", 430)])
def test_a_kernel_that_lacks_something_is_named(tmp_path, name, number):
    """A system call is taken away by a filter, as an old kernel would lack it."""
    import subprocess

    from lib import daemon, kernel

    podd = daemon.Podd("lacks", "network: {bridge: podd3, pools: [10.89.0.0/24]}\n")
    try:
        done = subprocess.run(podd.command(), preexec_fn=lambda: kernel.lack_system_call(number),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
                              timeout=30, check=False)
    finally:
        podd.close()
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("podd: ") and (name in last or "mount" in last)


def test_a_user_who_is_not_root_is_told_so(own_podd):
    import subprocess

    done = subprocess.run(own_podd.command(), user=65534, stdout=subprocess.PIPE, timeout=20,
                          stderr=subprocess.PIPE, encoding="utf-8", check=False)
    assert done.returncode != 0
    assert "root" in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_a_shim_that_nobody_reaps_counts_as_dead(own_podd):
    """As where podd runs in a container whose first process waits for nobody."""
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        pod = Pod(own_podd)
        container = pod.start("busybox", ["sleep", "100"])
        shim = parent_of(pid_of(own_podd, container))
        own_podd.kill()
        os.kill(shim, signal.SIGKILL)
        wait_until(lambda: stat_of(shim)[0] == "Z")
        own_podd.start()
        assert pod.status().state == cri.SANDBOX_NOTREADY
        pod.remove()
        assert os.waitpid(shim, 0)[0] == shim
    finally:
        prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
