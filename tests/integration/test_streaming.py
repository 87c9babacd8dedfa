"""Exec, attach and port forwarding, over SPDY and WebSocket, as Kubernetes' clients speak them."""
import concurrent.futures
import json
import os
import socket
import struct
import threading
import time

import cri_pb2 as cri
import grpc
import pytest

from lib import kernel, spdy, websocket
from lib.cri import Pod, code_of, container_status, exec_sync, read_log, stop_container, \
    wait_exited, wait_until


@pytest.fixture
def container(podd, pod):
    return pod.start("busybox", ["sleep", "1000"])


def exec_url(podd, container, *command, tty=False, stdin=False, stdout=True, stderr=None):
    return podd.runtime.Exec(cri.ExecRequest(
        container_id=container, cmd=command, tty=tty, stdin=stdin, stdout=stdout,
        stderr=not tty if stderr is None else stderr)).url


def open_exec(podd, container, *command, version=spdy.V4, **options):
    kinds = []
    if options.get("stdin"):
        kinds.append("stdin")
    kinds.append("stdout")
    if not options.get("tty"):
        kinds.append("stderr")
    else:
        kinds.append("resize")
    session = spdy.Command.dial(exec_url(podd, container, *command, **options), (version,))
    return session.begin(*kinds)


def attach_url(podd, container, **options):
    options = {"stdin": True, "stdout": True, "stderr": True, **options}
    return podd.runtime.Attach(cri.AttachRequest(container_id=container, **options)).url


def forward_url(podd, pod, *ports):
    return podd.runtime.PortForward(
        cri.PortForwardRequest(pod_sandbox_id=pod.id, port=ports)).url


def descriptors(podd):
    return len(os.listdir(f"/proc/{podd.process.pid}/fd"))


def thread_count(podd):
    return len(os.listdir(f"/proc/{podd.process.pid}/task"))


def resident_kib(podd):
    with open(f"/proc/{podd.process.pid}/status", encoding="utf-8") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def commands(podd, container):
    out = exec_sync(podd, container, "ps", "-o", "args").stdout.decode().splitlines()[1:]
    # Without those that have ended, which "sleep" as a container's first process does not reap.
    return [line for line in out if not line.startswith(("ps ", "["))]


# ---- Addresses ----------------------------------------------------------------------------------


def test_an_address_works_once(podd, container):
    url = exec_url(podd, container, "true")
    assert url.startswith("http://127.0.0.1:") and len(url.rsplit("/", 1)[1]) >= 22
    with spdy.Command.dial(url) as session:
        assert spdy.exit_code(session.begin("stdout", "stderr").finish()) == 0
    with pytest.raises(spdy.Refused) as refused:
        spdy.upgrade(url, [spdy.V4])
    assert refused.value.status == 404


def test_an_address_is_for_one_thing(podd, container):
    url = exec_url(podd, container, "true")
    for path in (url.replace("/exec/", "/attach/"), url):
        with pytest.raises(spdy.Refused) as refused:
            spdy.upgrade(path, [spdy.V4])
        assert refused.value.status == 404


def test_requests_that_make_no_sense(podd, container):
    def code(**options):
        return code_of(podd.runtime.Exec, cri.ExecRequest(**options))[0]
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    assert code(cmd=["true"], stdout=True) == invalid
    assert code(container_id=container, stdout=True) == invalid
    assert code(container_id=container, cmd=["true"]) == invalid
    assert code(container_id=container, cmd=["true"], tty=True, stdout=True, stderr=True) == invalid
    assert code(container_id="missing", cmd=["true"], stdout=True) == grpc.StatusCode.NOT_FOUND
    assert code_of(podd.runtime.Attach, cri.AttachRequest(container_id=container))[0] == invalid
    assert code_of(podd.runtime.PortForward, cri.PortForwardRequest())[0] == invalid
    stop_container(podd, container)
    stopped = grpc.StatusCode.FAILED_PRECONDITION
    assert code(container_id=container, cmd=["true"], stdout=True) == stopped


def test_a_thousand_addresses_may_wait(own_podd):
    made = Pod(own_podd)
    container = made.start("busybox", ["sleep", "1000"])
    urls = {exec_url(own_podd, container, "true") for _ in range(1000)}
    assert len(urls) == 1000
    assert code_of(exec_url, own_podd, container, "true")[0] == grpc.StatusCode.RESOURCE_EXHAUSTED
    with spdy.Command.dial(urls.pop()) as session:
        assert spdy.exit_code(session.begin("stdout", "stderr").finish()) == 0
    urls.add(exec_url(own_podd, container, "true"))
    text = own_podd.log.read_text()
    assert not any(url.rsplit("/", 1)[1] in text for url in urls)
    made.remove()


# ---- HTTP ---------------------------------------------------------------------------------------


def refusal(url, method="POST", *headers):
    sock, status, answer, _ = spdy.request(url, method, headers)
    sock.close()
    return status, answer


UPGRADE = ("Connection: Upgrade", "Upgrade: SPDY/3.1")


def test_refusals(podd, container):
    def url():
        return exec_url(podd, container, "true")
    base = url().rsplit("/", 2)[0]
    version = f"X-Stream-Protocol-Version: {spdy.V4}"
    assert refusal(f"{base}/exec/0123456789abcdef", "GET", *UPGRADE, version)[0] == 404
    assert refusal(f"{base}/", "GET")[0] == 404
    kept = url()
    status, answer = refusal(kept, "PUT", *UPGRADE, version)
    assert (status, answer["allow"]) == (405, ["GET, POST"])
    with spdy.Command.dial(kept) as session:  # was not used up
        session.begin("stdout", "stderr").finish()
    assert refusal(url(), "POST", *UPGRADE)[0] == 400
    assert refusal(url(), "POST", version)[0] == 400
    unknown = "X-Stream-Protocol-Version: v9.channel.k8s.io"
    status, answer = refusal(url(), "POST", *UPGRADE, unknown)
    assert status == 403
    assert "v4.channel.k8s.io" in answer["x-accepted-stream-protocol-versions"]


@pytest.mark.parametrize("garbage", [
    b"\x80\x03\x00\x01\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n", b"\r\n\r\n",
    b"GET /" + b"a" * 20000, b"\0" * 20000], ids=["spdy", "old", "empty", "endless", "zeros"])
def test_garbage_is_answered_and_closed(podd, container, garbage):
    with spdy.connect(exec_url(podd, container, "true")) as sock:
        sock.sendall(garbage)
        assert sock.recv(100).startswith(b"HTTP/1.1 400 ")
        while sock.recv(65536):
            pass


def test_callers_that_say_nothing_keep_nobody_out(podd, container):
    url = exec_url(podd, container, "true")
    before = descriptors(podd)
    silent = [spdy.connect(url) for _ in range(600)]
    with spdy.Command.dial(url) as session:
        assert spdy.exit_code(session.begin("stdout", "stderr").finish()) == 0
    assert descriptors(podd) < before + 400
    for sock in silent:
        sock.close()
    wait_until(lambda: descriptors(podd) <= before, what="closed descriptors")


def test_a_session_one_byte_at_a_time(podd, container):
    class Slow(spdy.Transport):
        def send(self, data):
            for i in range(len(data)):
                self.sock.sendall(data[i:i + 1])

    sock, _ = spdy.upgrade(exec_url(podd, container, "cat", stdin=True), [spdy.V4])
    with spdy.Command(Slow(sock)).begin("stdin", "stdout", "stderr") as session:
        session.send(session.stdin, b"slowly", fin=True)
        assert spdy.exit_code(session.finish()) == 0
        assert session.stdout.data == b"slowly"


# ---- Exec over SPDY -----------------------------------------------------------------------------


def test_exec_output_and_exit_code(podd, container):
    script = "echo out; echo err >&2; exit 7"
    with open_exec(podd, container, "sh", "-c", script) as session:
        assert spdy.exit_code(session.finish()) == 7
        assert session.stdout.data == b"out\n" and session.stderr.data == b"err\n"


def test_exec_killed_by_a_signal(podd, container):
    with open_exec(podd, container, "sh", "-c", "kill -KILL $$") as session:
        assert spdy.exit_code(session.finish()) == 137


def test_exec_of_a_missing_command(podd, container):
    with open_exec(podd, container, "no-such-command") as session:
        status = session.finish()
    assert status["reason"] == "InternalError" and "no-such-command" in status["message"]


def test_exec_in_a_container_that_has_stopped_since(podd, container):
    url = exec_url(podd, container, "true")
    stop_container(podd, container)
    with spdy.Command.dial(url) as session:
        status = session.begin("stdout", "stderr").finish()
    assert status["status"] == "Failure" and "not running" in status["message"]


def test_exec_old_versions_tell_failures_as_text(podd, container):
    for version in ("v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"):
        with open_exec(podd, container, "sh", "-c", "exit 3", version=version) as session:
            session.wait(lambda: False)
            assert b"3" in session.error.data and b"{" not in session.error.data
        with open_exec(podd, container, "true", version=version) as session:
            session.wait(lambda: False)
            assert session.error.data == b"" and session.error.ended


def test_exec_half_close(podd, container):
    with open_exec(podd, container, "sh", "-c", "cat; echo end", stdin=True) as session:
        session.send(session.stdin, b"one ")
        assert session.wait(lambda: session.stdout.data == b"one ")
        session.send(session.stdin, b"two ", fin=True)
        assert spdy.exit_code(session.finish()) == 0
        assert session.stdout.data == b"one two end\n"


def test_exec_much_output_arrives_whole(podd, container):
    script = "head -c 20000000 /dev/zero; head -c 1000000 /dev/zero >&2"
    with open_exec(podd, container, "sh", "-c", script) as session:
        pieces = [0, 0]

        def count():
            for i, stream in enumerate((session.stdout, session.stderr)):
                pieces[i] += len(stream.data)
                stream.data = b""
            return False
        session.wait(count, timeout=60)
        count()
    assert pieces == [20000000, 1000000]


def test_exec_input_that_nobody_reads(podd, container):
    """The client is held back, and the session still ends."""
    with open_exec(podd, container, "sh", "-c", "sleep 1; exit 4", stdin=True) as session:
        session.transport.sock.settimeout(0.5)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 64 << 20:
                session.send(session.stdin, bytes(32768))
                sent += 32768
        session.transport.sock.settimeout(20)
        # What was cut in mid-frame cannot go on; the answer comes all the same.
        assert spdy.exit_code(session.finish()) == 4


def test_exec_with_closed_input_ends(podd, container):
    with open_exec(podd, container, "sh", "-c", "exec 0<&-; sleep 0.3", stdin=True) as session:
        session.send(session.stdin, bytes(100000))
        assert spdy.exit_code(session.finish()) == 0


def test_exec_terminal_and_resize(podd, container):
    with open_exec(podd, container, "sh", tty=True, stdin=True) as session:
        session.send(session.resize, b'{"Width":132,"Height":40}\n')
        session.send(session.stdin, b"stty -echo\n")
        session.send(session.stdin, b"stty size; echo $TERM; test -t 1 && echo a-'terminal'\n")
        assert session.wait(lambda: b"a-terminal\r\n" in session.stdout.data)
        assert b"40 132\r\n" in session.stdout.data and b"xterm\r\n" in session.stdout.data
        session.send(session.resize, b'{"Width":0,"Height":0}{"Width":80,')
        session.send(session.resize, b'"Height":24}')
        session.send(session.stdin, b"stty size\n")
        assert session.wait(lambda: b"24 80\r\n" in session.stdout.data)
        session.send(session.stdin, b"exit 9\n")
        assert spdy.exit_code(session.finish()) == 9


def test_exec_background_children_do_not_hold_it(podd, container):
    started = time.monotonic()
    with open_exec(podd, container, "sh", "-c", "sleep 30 & echo x") as session:
        assert spdy.exit_code(session.finish()) == 0
        assert session.stdout.data == b"x\n"
    assert time.monotonic() - started < 5


def test_exec_streams_that_are_not_wanted_are_refused(podd, container):
    with spdy.Command.dial(exec_url(podd, container, "true")) as session:
        assert session.open(streamtype="stdin").reset
        assert session.open(streamtype="resize").reset
        assert session.open(streamtype="nonsense").reset
        assert session.open().reset
        session.begin("stdout")
        assert session.open(streamtype="stdout").reset
        session.ping(1)
        session.ping(2)
        session.stderr = session.open(streamtype="stderr")
        assert spdy.exit_code(session.finish()) == 0
        assert session.pongs == [1]


def test_a_client_that_leaves_takes_its_command_along(podd, container):
    exec_sync(podd, container, "true")
    before = descriptors(podd)
    sessions = [open_exec(podd, container, "sh", "-c", "sleep 5555 & sleep 5555", stdin=True)
                for _ in range(5)]
    sessions.append(open_exec(podd, container, "sleep", "5555", tty=True))
    wait_until(lambda: commands(podd, container).count("sleep 5555") == 11)
    for session in sessions:
        session.transport.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                          struct.pack("ii", 1, 0))
        session.close()
    wait_until(lambda: commands(podd, container) == ["sleep 1000"])
    wait_until(lambda: descriptors(podd) <= before, what="closed descriptors")


def test_a_client_that_reads_nothing_holds_up_nobody(podd, container):
    with open_exec(podd, container, "cat", "/dev/zero"):
        started = time.monotonic()
        for _ in range(20):
            with open_exec(podd, container, "echo", "hello") as session:
                assert spdy.exit_code(session.finish()) == 0
                assert session.stdout.data == b"hello\n"
        assert time.monotonic() - started < 5
    wait_until(lambda: commands(podd, container) == ["sleep 1000"])


def test_a_hundred_sessions_at_once(podd, container):
    before = descriptors(podd)

    def run(number):
        with open_exec(podd, container, "sh", "-c", f"cat; exit {number}", stdin=True) as session:
            session.send(session.stdin, b"ping")
            assert session.wait(lambda: session.stdout.data == b"ping")
            everybody.wait(60)
            session.send(session.stdin, b"", fin=True)
            return spdy.exit_code(session.finish())

    everybody = threading.Barrier(100)
    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        assert list(pool.map(run, range(100))) == list(range(100))
    wait_until(lambda: descriptors(podd) <= before + 8, what="closed descriptors")
    assert commands(podd, container) == ["sleep 1000"]


@pytest.mark.slow
def test_a_thousand_sessions_at_once(podd, container):
    before, threads = descriptors(podd), thread_count(podd)
    sessions = [open_exec(podd, container, "cat", stdin=True) for _ in range(1000)]
    assert thread_count(podd) <= threads + 8, "sessions live on the event loop"
    for number, session in enumerate(sessions):
        session.send(session.stdin, b"%d" % number, fin=True)
    for number, session in enumerate(sessions):
        assert spdy.exit_code(session.finish()) == 0
        assert session.stdout.data == b"%d" % number
        session.close()
    wait_until(lambda: descriptors(podd) <= before + 8, what="closed descriptors")
    assert commands(podd, container) == ["sleep 1000"]


@pytest.mark.slow
def test_thousands_of_clients_that_are_cut_off_leave_nothing(podd, container):
    def cut(number):
        kinds = {"tty": number % 2 == 0, "stdin": True}
        sock, _ = spdy.upgrade(exec_url(podd, container, "sleep", "7777", **kinds), [spdy.V4])
        session = spdy.Command(spdy.Transport(sock))
        if number % 5 > 0:
            session.error = session.open(streamtype="error")
        if number % 5 > 1:
            session.stdin = session.open(streamtype="stdin")
            session.send(session.stdin, bytes(number % 7 * 1000))
        if number % 5 > 2:
            session.open(streamtype="stdout")
            session.open(streamtype="resize" if kinds["tty"] else "stderr")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(cut, range(500)))
        wait_until(lambda: commands(podd, container) == ["sleep 1000"])
        before, memory, threads = descriptors(podd), resident_kib(podd), thread_count(podd)
        list(pool.map(cut, range(3000)))
    wait_until(lambda: commands(podd, container) == ["sleep 1000"], timeout=30)
    wait_until(lambda: descriptors(podd) <= before, what="closed descriptors")
    assert resident_kib(podd) < memory + 4096
    assert thread_count(podd) <= threads + 8


@pytest.mark.parametrize("broken", [
    b"\x80\x03\x00\x05\0\0\0\0", b"\x80\x02\x00\x06\0\0\0\x04\0\0\0\x01",
    b"\x80\x03\x00\x01\0\xff\xff\xff" + bytes(100),
    b"\x80\x03\x00\x01\0\0\0\x0e\0\0\0\x01\0\0\0\0\0\0\xde\xad\xbe\xef"],
    ids=["type", "version", "length", "zlib"])
def test_broken_spdy_ends_the_session(podd, container, broken):
    before = descriptors(podd)
    sock, _ = spdy.upgrade(exec_url(podd, container, "true"), [spdy.V4])
    with sock:
        sock.sendall(broken)
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
        assert answer == b"\x80\x03\x00\x07\0\0\0\x08\0\0\0\0\0\0\0\x01"
    wait_until(lambda: descriptors(podd) <= before, what="closed descriptors")


def test_sessions_end_with_a_failure_when_podd_stops(own_podd):
    made = Pod(own_podd)
    container = made.start("busybox", ["sleep", "1000"])
    with open_exec(own_podd, container, "sleep", "5555") as session:
        wait_until(lambda: "sleep 5555" in commands(own_podd, container))
        assert own_podd.stop() == 0
        status = session.finish()
    assert status["status"] == "Failure" and "stopping" in status["message"]
    own_podd.start()
    wait_until(lambda: commands(own_podd, container) == ["sleep 1000"])
    made.remove()


# ---- Attach -------------------------------------------------------------------------------------


def open_attach(podd, container, *kinds, **options):
    return spdy.Command.dial(attach_url(podd, container, **options)).begin(*kinds)


def test_attach_in_and_out(podd, pod):
    container = pod.start("busybox", ["sh"], stdin=True, stdin_once=True)
    with open_attach(podd, container, "stdin", "stdout", "stderr") as session:
        session.send(session.stdin, b"echo hello; echo oops >&2\n")
        assert session.wait(lambda: session.stdout.data and session.stderr.data)
        session.send(session.stdin, b"", fin=True)
        assert session.finish()["status"] == "Success"
        assert session.stdout.data == b"hello\n" and session.stderr.data == b"oops\n"
    status = wait_exited(podd, container)
    assert status.exit_code == 0
    assert read_log(status.log_path) == {"stdout": b"hello\n", "stderr": b"oops\n"}


def test_attach_detaches_at_the_end_of_input(podd, pod):
    container = pod.start("busybox", ["sh"], stdin=True)
    for word in (b"one", b"two"):
        with open_attach(podd, container, "stdin", "stdout", "stderr") as session:
            session.send(session.stdin, b"echo " + word + b"\n")
            assert session.wait(lambda: session.stdout.data == word + b"\n")
            session.send(session.stdin, b"", fin=True)
            assert session.finish()["status"] == "Success"
    assert container_status(podd, container).state == cri.CONTAINER_RUNNING


def test_attach_of_two_clients(podd, pod):
    container = pod.start("busybox", ["sh"], stdin=True)
    kinds = ("stdin", "stdout", "stderr")
    with open_attach(podd, container, *kinds) as one, open_attach(podd, container, *kinds) as two:
        two.ping(1)
        assert two.wait(lambda: two.pongs)
        one.send(one.stdin, b"echo from one\n")
        for session in (one, two):
            assert session.wait(lambda: session.stdout.data == b"from one\n")
        two.send(two.stdin, b"exit 3\n")
        assert one.finish()["status"] == two.finish()["status"] == "Success"


def test_attach_to_a_terminal(podd, pod):
    container = pod.start("busybox", ["sh"], stdin=True, tty=True)
    with open_attach(podd, container, "stdin", "stdout", "resize", tty=True,
                     stderr=False) as session:
        session.send(session.resize, b'{"Width":101,"Height":33}')
        session.send(session.stdin, b"sleep 0.2; stty size\n")
        assert session.wait(lambda: b"33 101\r\n" in session.stdout.data)


def test_an_attached_client_that_reads_nothing(podd, pod):
    """The container goes on, its log is complete, and the client is told that it was detached."""
    script = "read x; head -c 30000000 /dev/zero | tr '\\0' a; echo; echo done; read y"
    container = pod.start("busybox", ["sh", "-c", script], stdin=True)
    path = container_status(podd, container).log_path

    def log():
        with open(path, "rb") as f:
            lines = f.read().split(b"\n")[:-1]  # the last may be half written
        return [line.split(b" ", 3)[3] for line in lines]
    with open_attach(podd, container, "stdin", "stdout", "stderr") as session:
        session.send(session.stdin, b"go\n")
        wait_until(lambda: log()[-1:] == [b"done"], timeout=60)
        assert sum(map(len, log())) == 30000004
        status = session.finish()
    assert status["status"] == "Failure" and "faster" in status["message"]


# ---- Port forwarding ----------------------------------------------------------------------------


class Pair:
    def __init__(self, session, port, number):
        self.session = session
        self.error = session.open(streamtype="error", port=port, requestid=number)
        session.send(self.error, b"", fin=True)
        self.data = session.open(streamtype="data", port=port, requestid=number)


def dial(podd, pod):
    return spdy.Session.dial(forward_url(podd, pod), [spdy.FORWARD])


class Server:
    """A TCP server of this process inside of the pod's network namespace; serve(connection) runs in a
    thread for each connection."""

    def __init__(self, podd, container, serve, address="127.0.0.1"):
        info = podd.runtime.ContainerStatus(cri.ContainerStatusRequest(
            container_id=container, verbose=True)).info["info"]
        self.pid = json.loads(info)["pid"]
        self.serve, self.address = serve, address
        self.ready = threading.Event()
        threading.Thread(target=self.run, daemon=True).start()
        assert self.ready.wait(10)

    def run(self):
        with open(f"/proc/{self.pid}/ns/net", "rb") as namespace:
            kernel.setns(namespace.fileno())  # of this thread only
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        self.listener = socket.create_server((self.address, 7000), family=family, backlog=64)
        self.ready.set()
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.one, args=(connection,), daemon=True).start()

    def one(self, connection):
        with connection:
            self.serve(connection)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def send_back(connection):
    while data := connection.recv(65536):
        connection.sendall(data)


@pytest.fixture
def echo(podd, pod):
    """A server on port 7000 of the pod that sends back what it gets."""
    server = Server(podd, pod.start("busybox", ["sleep", "1000"]), send_back)
    yield server
    server.close()


def forward_round_trips(session):
    one, two = Pair(session, 7000, 0), Pair(session, 7000, 1)
    session.send(one.data, b"first")
    session.send(two.data, b"second")
    assert session.wait(lambda: one.data.data == b"first" and two.data.data == b"second")
    session.send(two.data, b" more", fin=True)
    assert session.wait(lambda: two.data.ended and two.error.ended)
    assert two.data.data == b"second more" and two.error.data == b""
    session.send(one.data, b" too")
    assert session.wait(lambda: one.data.data == b"first too")
    session.reset(one.data)
    three = Pair(session, 7000, 2)
    session.send(three.data, b"third", fin=True)
    assert session.wait(lambda: three.data.ended)
    assert three.data.data == b"third"


def test_forward_several_connections(podd, pod, echo):
    before = descriptors(podd)
    with dial(podd, pod) as session:
        forward_round_trips(session)
    wait_until(lambda: descriptors(podd) <= before, what="closed descriptors")


def test_forward_a_refused_port_spoils_no_other(podd, pod, echo):
    with dial(podd, pod) as session:
        good, bad = Pair(session, 7000, 0), Pair(session, 7001, 1)
        assert session.wait(lambda: bad.error.data and bad.data.reset)
        assert b"7001" in bad.error.data and b"refused" in bad.error.data
        session.send(good.data, b"still", fin=True)
        assert session.wait(lambda: good.data.ended) and good.data.data == b"still"


def test_forward_streams_that_make_no_sense_are_refused(podd, pod, echo):
    with dial(podd, pod) as session:
        for headers in ({"streamtype": "data"}, {"port": 80}, {"streamtype": "data", "port": "0"},
                        {"streamtype": "data", "port": "65536"}, {"streamtype": "x", "port": "80"},
                        {"streamtype": "data", "port": "-1"}):
            assert session.open(**headers).reset
        error = session.open(streamtype="error", port=7000)  # as very old clients: no request id
        data = session.open(streamtype="data", port=7000)
        session.send(data, b"old", fin=True)
        assert session.wait(lambda: data.ended and error.ended) and data.data == b"old"


def test_forward_to_ipv6_only(podd, pod):
    server = Server(podd, pod.start("busybox", ["sleep", "1000"]), send_back, "::1")
    with dial(podd, pod) as session:
        pair = Pair(session, 7000, 0)
        session.send(pair.data, b"six", fin=True)
        assert session.wait(lambda: pair.data.ended) and pair.data.data == b"six"
    server.close()


def test_forward_much_both_ways(podd, pod, echo):
    block = os.urandom(1 << 20)
    with dial(podd, pod) as session:
        pair = Pair(session, 7000, 0)
        sender = threading.Thread(
            target=lambda: session.send(pair.data, block * 16, fin=True), daemon=True)
        sender.start()
        assert session.wait(lambda: pair.data.ended, timeout=60)
        sender.join(10)
        assert pair.data.data == block * 16


def test_forward_a_server_that_answers_after_the_clients_end(podd, pod):
    def late(connection):
        while connection.recv(100):
            pass
        time.sleep(2)
        connection.sendall(b"late")

    server = Server(podd, pod.start("busybox", ["sleep", "1000"]), late)
    with dial(podd, pod) as session:
        pair = Pair(session, 7000, 0)
        session.send(pair.data, b"x", fin=True)
        assert session.wait(lambda: pair.data.ended)
        assert pair.data.data == b"late" and pair.error.data == b""
    server.close()


def test_forward_a_connection_that_is_cut(podd, pod):
    """Only its own stream is reset, and no error text makes the client give up the others."""
    def cut(connection):
        connection.recv(100)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    server = Server(podd, pod.start("busybox", ["sleep", "1000"]), cut)
    with dial(podd, pod) as session:
        one, two = Pair(session, 7000, 0), Pair(session, 7000, 1)
        session.send(one.data, b"x")
        assert session.wait(lambda: one.data.reset and one.error.ended)
        assert one.error.data == b"" and not two.data.reset
    server.close()


def test_forward_to_a_server_that_reads_nothing(podd, pod):
    """The client is held back; podd keeps no more than its bound, and serves others."""
    stuck = threading.Event()
    before = resident_kib(podd)
    server = Server(podd, pod.start("busybox", ["sleep", "1000"]), lambda _: stuck.wait(60))
    with dial(podd, pod) as session:
        pair = Pair(session, 7000, 0)
        session.transport.sock.settimeout(0.5)
        with pytest.raises(TimeoutError):
            for _ in range(4096):
                session.send(pair.data, bytes(32768))
        assert resident_kib(podd) < before + (16 << 10)
    stuck.set()
    server.close()


def test_forward_to_a_pod_that_has_stopped_since(podd, pod, echo):
    with dial(podd, pod) as session:
        pod.stop()
        pair = Pair(session, 7000, 0)
        assert session.wait(lambda: pair.error.data) and b"not ready" in pair.error.data
    assert code_of(forward_url, podd, pod)[0] == grpc.StatusCode.FAILED_PRECONDITION


# ---- WebSocket ----------------------------------------------------------------------------------


V5 = "v5.channel.k8s.io"
V4 = "v4.channel.k8s.io"
V4_BASE64 = "v4.base64.channel.k8s.io"
BASE64 = "base64.channel.k8s.io"


@pytest.mark.parametrize("protocol", [V5, V4, V4_BASE64])
def test_websocket_exec(podd, container, protocol):
    script = "read x; echo $x; echo err >&2; exit 7"
    url = exec_url(podd, container, "sh", "-c", script, stdin=True)
    with websocket.Channels(url, protocol) as session:
        assert session.protocol == protocol
        assert session.read_channel() == (1, b"")
        session.write(0, b"hello\n")
        assert spdy.exit_code(session.status()) == 7
        assert session.data[1] == b"hello\n" and session.data[2] == b"err\n"


@pytest.mark.parametrize("protocol", ["channel.k8s.io", BASE64, None])
def test_websocket_exec_of_old_clients(podd, container, protocol):
    offered = [protocol] if protocol else []
    url = exec_url(podd, container, "sh", "-c", "echo out; exit 7")
    with websocket.Channels(url, *offered) as session:
        assert b"7" in session.finish() and session.data[1] == b"out\n"
    with websocket.Channels(exec_url(podd, container, "true"), *offered) as session:
        assert session.finish() == b""


def test_websocket_half_close(podd, container):
    url = exec_url(podd, container, "cat", stdin=True)
    with websocket.Channels(url, V5) as session:
        session.frame(websocket.BINARY, b"\0frag", fin=False)
        session.frame(websocket.PING, b"within")
        session.frame(0, b"ments", fin=True)
        session.write(255, b"\0")
        assert spdy.exit_code(session.status()) == 0
        assert session.data[1] == b"fragments" and session.pongs == [b"within"]


def test_websocket_terminal_and_resize(podd, container):
    url = exec_url(podd, container, "sh", tty=True, stdin=True)
    with websocket.Channels(url, V4) as session:
        session.write(4, b'{"Width":90,"Height":30}')
        session.write(0, b"sleep 0.2; stty size; exit 5\n")
        assert spdy.exit_code(session.status()) == 5
        assert b"30 90\r\n" in session.data[1]


def test_websocket_pongs_come_while_output_floods_and_input_is_stuck(podd, container):
    url = exec_url(podd, container, "cat", "/dev/zero", stdin=True)
    with websocket.Channels(url, V5) as session:
        session.write(0, bytes(300000))
        session.frame(websocket.PING, b"there?")
        while not session.pongs:
            session.read_channel()


@pytest.mark.parametrize("frame, code", [
    ({"opcode": 2, "payload": b"\0x", "masked": False}, 1002),
    ({"opcode": 3, "payload": b""}, 1002),
    ({"opcode": 0, "payload": b"x"}, 1002),
    ({"opcode": 9, "payload": bytes(126)}, 1002),
    ({"opcode": 2, "payload": bytes(2 << 20)}, 1009),
    ({"opcode": 2, "payload": b"\xff\x09"}, 1002),
    ({"opcode": 8, "payload": b""}, 1000),
], ids=["unmasked", "opcode", "fragment", "ping", "long", "signal", "close"])
def test_websocket_faults_end_the_session(podd, container, frame, code):
    before = descriptors(podd)
    url = exec_url(podd, container, "sleep", "5555", stdin=True)
    with websocket.Channels(url, V5) as session:
        session.frame(**frame)
        session.wait(lambda _: False)
        assert session.close_code == code
    wait_until(lambda: commands(podd, container) == ["sleep 1000"])
    wait_until(lambda: descriptors(podd) <= before, what="closed descriptors")


def test_websocket_refusals(podd, container, pod):
    def status(url, *protocols, **options):
        with pytest.raises(spdy.Refused) as refused:
            websocket.upgrade(url, protocols, **options)
        return refused.value.status
    assert status(exec_url(podd, container, "true"), "v3.channel.k8s.io") == 403
    assert status(forward_url(podd, pod), "portforward.k8s.io") == 403
    assert status(exec_url(podd, container, "true"), V4, version="8") == 400
    assert status(exec_url(podd, container, "true"), V4, method="POST") == 405


def test_websocket_attach(podd, pod):
    container = pod.start("busybox", ["sh"], stdin=True, stdin_once=True)
    with websocket.Channels(attach_url(podd, container), V5) as session:
        session.write(0, b"echo hello\n")
        assert session.wait(lambda data: data.get(1) == b"hello\n")
        session.write(255, b"\0")
        assert session.status()["status"] == "Success"


def test_websocket_forward_of_older_clients(podd, pod, echo):
    url = forward_url(podd, pod, 7000, 7001)
    with websocket.Channels(url, V5, V4) as session:
        assert session.protocol == V4
        for channel, port in enumerate((7000, 7000, 7001, 7001)):
            assert session.read_channel() == (channel, struct.pack("<H", port))
        session.write(0, b"through")
        assert session.wait(lambda data: data.get(0) == b"through" and data.get(3))
        assert b"refused" in session.data[3] and 1 not in session.data


def test_websocket_tunnel(podd, pod, echo):
    url = forward_url(podd, pod)
    with spdy.Session(websocket.Socket(url, "SPDY/3.1+portforward.k8s.io")) as session:
        forward_round_trips(session)


def test_status_is_json_for_every_kind_of_failure(podd, container):
    with open_exec(podd, container, "/etc/passwd") as session:
        status = json.loads(json.dumps(session.finish()))
    assert status["code"] == 500 and "passwd" in status["message"]
