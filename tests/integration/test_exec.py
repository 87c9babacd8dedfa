"""ExecSync: output, exit codes, timeouts, and what it leaves behind."""
import concurrent.futures
import os
import time

import cri_pb2 as cri
import grpc
import pytest

from lib.cri import code_of, exec_sync, stop_container, wait_until
from lib.patience import patient


@pytest.fixture
def container(podd, pod):
    return pod.start("busybox", ["sleep", "1000"])


@pytest.mark.vm
def test_output_streams_and_exit_code(podd, container):
    answer = exec_sync(podd, container, "sh", "-c", "echo -n out; echo -n err >&2; exit 5")
    assert (answer.stdout, answer.stderr, answer.exit_code) == (b"out", b"err", 5)


@pytest.mark.vm
def test_killed_by_a_signal_is_128_plus_n(podd, container):
    assert exec_sync(podd, container, "sh", "-c", "kill -TERM $$").exit_code == 143


@pytest.mark.vm
def test_runs_inside_the_container(podd, container):
    assert exec_sync(podd, container, "cat", "/proc/1/cmdline").stdout == b"sleep\x001000\x00"
    assert exec_sync(podd, container, "sh", "-c", "readlink /proc/self/ns/net").stdout == \
        exec_sync(podd, container, "sh", "-c", "readlink /proc/1/ns/net").stdout


def test_standard_input_is_empty(podd, container):
    assert exec_sync(podd, container, "cat").stdout == b""


def test_a_command_that_does_not_exist_is_an_error(podd, container):
    code, message = code_of(exec_sync, podd, container, "no-such-command")
    assert code not in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.NOT_FOUND)
    assert "no-such-command" in message


def test_no_command_and_no_container(podd, container):
    assert code_of(exec_sync, podd, container)[0] == grpc.StatusCode.INVALID_ARGUMENT
    stop_container(podd, container)
    assert code_of(exec_sync, podd, container, "true")[0] == grpc.StatusCode.FAILED_PRECONDITION


def processes(podd, container):
    """Command lines in the container, without the one that asks, and without zombies, which are the
    container's own PID 1 to reap."""
    out = exec_sync(podd, container, "ps", "-o", "args").stdout.decode().splitlines()[1:]
    return [line for line in out if not line.startswith(("ps ", "["))]


@pytest.mark.vm
def test_a_timeout_kills_all_of_it_and_nothing_else(podd, container):
    script = "sleep 4321 & setsid sleep 4322 & (setsid sleep 4323 &) ; trap '' TERM; sleep 4324"
    started = time.monotonic()
    code, message = code_of(lambda: exec_sync(podd, container, "sh", "-c", script, timeout=1))
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED and "timed out" in message
    assert time.monotonic() - started < patient(3)
    assert processes(podd, container) == ["sleep 1000"]


@pytest.mark.vm
def test_background_children_do_not_delay_the_answer(podd, container):
    started = time.monotonic()
    answer = exec_sync(podd, container, "sh", "-c", "echo done; sleep 60 &")
    assert answer.stdout == b"done\n" and answer.exit_code == 0
    assert time.monotonic() - started < patient(5)


@pytest.mark.vm
def test_a_client_that_leaves_takes_its_command_along(podd, container):
    call = podd.runtime.ExecSync.future(cri.ExecSyncRequest(
        container_id=container, cmd=["sleep", "5555"]))
    wait_until(lambda: "sleep 5555" in processes(podd, container))
    call.cancel()
    wait_until(lambda: processes(podd, container) == ["sleep 1000"])


def test_endless_output_is_capped(podd, container):
    answer = podd.runtime.ExecSync(cri.ExecSyncRequest(
        container_id=container, cmd=["sh", "-c", "head -c 40000000 /dev/zero"], timeout=60))
    assert answer.exit_code == 0
    assert 1 << 20 < len(answer.stdout) <= 16 << 20


def test_a_thousand_execs_leave_nothing(podd, container):
    def descriptors():
        return len(os.listdir(f"/proc/{podd.process.pid}/fd"))
    exec_sync(podd, container, "true")
    before = descriptors()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda n: exec_sync(podd, container, "sh", "-c",
                                                  f"exit {n % 7}").exit_code, range(1000)))
    assert codes == [n % 7 for n in range(1000)]
    wait_until(lambda: descriptors() <= before + 8, what="closed descriptors")
    assert processes(podd, container) == ["sleep 1000"]
