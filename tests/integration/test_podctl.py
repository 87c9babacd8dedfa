"""podctl for people: sessions with containers, ports, files, usage, and why a pod is as it is."""
import contextlib
import fcntl
import io
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import tarfile
import termios
import time

import podd_pb2
import pytest
import yaml

from lib import daemon
from lib.cri import wait_until
from lib.patience import patient


def document(name, command, **container):
    spec = {"terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": "busybox", "imagePullPolicy": "Never",
                            "command": ["sh", "-c", command], **container}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


SERVE = "while true; do nc -l -p 7000 -e cat; done & while true; do nc -l -p 7001 -e date; done"


@pytest.fixture
def apply(podd, no_leaks):
    names = []

    def do(*documents):
        names.extend(d["metadata"]["name"] for d in documents)
        podd.podctl("apply", "-f", "-", stdin=yaml.safe_dump_all(documents))
        for d in documents:
            wait_until(lambda d=d: running(podd, d["metadata"]["name"]), what="running")
    yield do
    for name in dict.fromkeys(names):
        podd.podctl("delete", "pod", name, "--grace-period", "0", check=False)


def status(podd, name):
    return podd.api.GetPod(podd_pb2.GetPodRequest(name=name)).pod.status


def running(podd, name):
    return all(c.state == podd_pb2.ContainerStatus.RUNNING for c in status(podd, name).containers)


@contextlib.contextmanager
def background(podd, *arguments, **options):
    """podctl while it runs; ended by SIGTERM."""
    process = subprocess.Popen(
        [str(daemon.BUILD / "src/cli/podctl"), *arguments], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**os.environ, "PODD_SOCKET": podd.address}, **options)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(patient(10))
        process.stdout.close()
        process.stderr.close()


class Terminal:
    """podctl on a terminal of its own."""

    def __init__(self, podd, *arguments):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ["PODD_SOCKET"] = podd.address
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("4H", 33, 77, 0, 0))
            os.execv(daemon.BUILD / "src/cli/podctl", ["podctl", *arguments])
        self.text = b""

    def type(self, text):
        os.write(self.fd, text)

    def expect(self, pattern, timeout=10):
        deadline = time.monotonic() + patient(timeout)
        while not re.search(pattern, self.text):
            left = deadline - time.monotonic()
            assert left > 0, f"{pattern} did not come; there is {self.text!r}"
            if select.select([self.fd], [], [], left)[0]:
                with contextlib.suppress(OSError):
                    self.text += os.read(self.fd, 4096)

    def wait(self):
        _, waited = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(waited)


# ---- exec and attach --------------------------------------------------------------------------------


def test_exec_passes_streams_and_the_exit_code(podd, apply):
    apply(document("box", "sleep 1000"))
    done = podd.podctl("exec", "box", "--", "sh", "-c", "echo out; echo err >&2; exit 7",
                       check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
    done = podd.podctl("exec", "-i", "box", "--", "sh", "-c", "wc -c; echo after",
                       stdin="x" * 300_000)
    assert done.stdout.split() == ["300000", "after"]
    assert podd.podctl("exec", "box", "--", "cat").stdout == ""  # no -i: an empty input
    done = podd.podctl("exec", "box", "--", "no-such-program", check=False)
    assert done.returncode == 1 and "no-such-program" in done.stderr
    done = podd.podctl("exec", "box", "--timeout", "1", "--", "sleep", "30", check=False)
    assert done.returncode == 1 and "timed out" in done.stderr


def test_exec_reads_a_file_as_well_as_a_pipe(podd, apply, tmp_path):
    apply(document("box", "sleep 1000"))
    (tmp_path / "file").write_bytes(b"y" * 5_000_000)
    with open(tmp_path / "file", "rb") as f, \
            background(podd, "exec", "-i", "box", "--", "md5sum", stdin=f) as process:
        out, _ = process.communicate(timeout=patient(30))
    local = subprocess.run(["md5sum", tmp_path / "file"], stdout=subprocess.PIPE, check=True).stdout
    assert out.split()[0] == local.split()[0]


def test_exec_gives_a_terminal_with_its_size_and_its_keys(podd, apply):
    apply(document("box", "sleep 1000"))
    terminal = Terminal(podd, "exec", "-it", "box", "--", "sh")
    terminal.type(b"stty size; tty\n")
    terminal.expect(rb"33 77\r\n/dev/")
    terminal.type(b"echo now; sleep 100\n")
    terminal.expect(rb"\nnow\r\n")
    terminal.type(b"\x03")  # the container's terminal makes an interrupt of it
    terminal.type(b"echo status=$?\n")
    terminal.expect(rb"status=130")
    terminal.type(b"exit 5\n")
    assert terminal.wait() == 5


def test_attach_joins_the_first_process(podd, apply):
    apply(document("reader", "while read line; do echo got $line; done; sleep 1000", stdin=True),
          document("deaf", "while true; do echo tick; sleep 0.1; done"))
    with background(podd, "attach", "-i", "reader", stdin=subprocess.PIPE) as process:
        process.stdin.write(b"word\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"got word\n"
    with background(podd, "attach", "deaf") as process:
        assert process.stdout.readline() == b"tick\n"
    done = podd.podctl("attach", "-i", "deaf", check=False)
    assert done.returncode == 1 and "stdin: true" in done.stderr


# ---- port-forward -----------------------------------------------------------------------------------


def forwarded_ports(process, n):
    return [int(re.search(rb":(\d+) to port", process.stdout.readline()).group(1)) for _ in range(n)]


def listens(podd, pod, port):
    listing = podd.podctl("exec", pod, "--", "netstat", "-ltn").stdout
    return f":{port} " in listing


def test_port_forward_leads_into_the_pod(podd, apply):
    apply(document("server", SERVE))
    with background(podd, "port-forward", "server", ":7000", ":7001") as process:
        echo, date = forwarded_ports(process, 2)
        for text in (b"one", b"x" * 200_000):
            # busybox's server takes one connection at a time, and is a moment away between two
            wait_until(lambda: listens(podd, "server", 7000), what="the server")
            with socket.create_connection(("127.0.0.1", echo), patient(10)) as s:
                s.settimeout(patient(10))
                s.sendall(text)
                got = b""
                while len(got) < len(text):
                    got += s.recv(65536)
                assert got == text
        with socket.create_connection(("127.0.0.1", date), patient(10)) as s:
            s.settimeout(patient(10))
            assert b"UTC" in s.recv(100)
            assert s.recv(100) == b""  # the end of the server's side comes through


def test_port_forward_passes_the_end_of_one_direction(podd, apply):
    apply(document("counter", "while true; do nc -l -p 7000 -e wc -c; done"))
    with background(podd, "port-forward", "counter", ":7000") as process:
        with socket.create_connection(("127.0.0.1", forwarded_ports(process, 1)[0]),
                                      patient(10)) as s:
            s.settimeout(patient(10))
            s.sendall(b"x" * 1000)
            s.shutdown(socket.SHUT_WR)
            assert s.recv(100) == b"1000\n"


def test_a_broken_forward_leaves_the_others(podd, apply):
    apply(document("server", SERVE))
    with background(podd, "port-forward", "server", ":7000", ":9") as process:
        echo, nothing = forwarded_ports(process, 2)
        with socket.create_connection(("127.0.0.1", echo), patient(10)) as good:
            good.settimeout(patient(10))
            good.sendall(b"a")
            assert good.recv(10) == b"a"
            for _ in range(5):
                with socket.create_connection(("127.0.0.1", nothing), patient(10)) as bad:
                    bad.settimeout(patient(10))
                    assert bad.recv(10) == b""
            good.sendall(b"b")
            assert good.recv(10) == b"b"
        process.send_signal(signal.SIGINT)
        assert process.wait(patient(10)) == 0
        assert b"forward port 9" in process.stderr.read()


def test_a_port_that_is_taken_is_said(podd, apply):
    apply(document("server", SERVE))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = podd.podctl("port-forward", "server", f"{port}:7000", check=False)
    assert done.returncode == 1 and str(port) in done.stderr and "in use" in done.stderr
    assert podd.podctl("port-forward", "server", "a:b", check=False).returncode == 2


# ---- cp ---------------------------------------------------------------------------------------------


def test_cp_copies_trees_both_ways(podd, apply, tmp_path):
    apply(document("box", "sleep 1000"))
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub/file").write_text("content")
    (tree / "run").write_text("#!/bin/sh\n")
    (tree / "run").chmod(0o755)
    (tree / "link").symlink_to("sub/file")
    (tree / "big").write_bytes(os.urandom(3_000_000))

    podd.podctl("cp", tree, "box:/tmp")
    assert podd.podctl("exec", "box", "--", "cat", "/tmp/tree/link").stdout == "content"
    podd.podctl("cp", tree / "run", "box:/tmp/renamed")
    assert podd.podctl("exec", "box", "--", "test", "-x", "/tmp/renamed").returncode == 0

    podd.podctl("cp", "box:/tmp/tree", tmp_path / "back")
    assert (tmp_path / "back/sub/file").read_text() == "content"
    assert (tmp_path / "back/big").read_bytes() == (tree / "big").read_bytes()
    assert os.readlink(tmp_path / "back/link") == "sub/file"
    podd.podctl("cp", "box:/tmp/tree/run", tmp_path)
    assert os.access(tmp_path / "run", os.X_OK)
    podd.podctl("cp", "box:/tmp/tree/.", tmp_path / "flat")
    assert sorted(os.listdir(tmp_path / "flat")) == ["big", "link", "run", "sub"]


def test_cp_of_what_is_not_there_says_so(podd, apply, tmp_path):
    apply(document("box", "sleep 1000"))
    done = podd.podctl("cp", tmp_path / "none", "box:/tmp", check=False)
    assert done.returncode != 0 and "none" in done.stderr
    done = podd.podctl("cp", "box:/none", tmp_path / "x", check=False)
    assert done.returncode != 0 and "/none" in done.stderr + "/none"
    assert podd.podctl("cp", "box:/a", "box:/b", check=False).returncode == 2
    assert podd.podctl("cp", tmp_path, tmp_path, check=False).returncode == 2
    assert podd.podctl("cp", "absent:/a", tmp_path, check=False).returncode == 4


def test_an_archive_from_a_container_stays_below_the_target(podd, apply, tmp_path):
    """The container's tar is replaced by one that answers with a hostile archive."""
    canary = tmp_path / "canary"
    canary.mkdir()
    target = tmp_path / "target"
    target.mkdir()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        def add(name, **fields):
            info = tarfile.TarInfo(name)
            data = fields.pop("data", b"")
            info.size = len(data)
            for key, value in fields.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))
        add("x/ok", data=b"fine")
        add("x/way", type=tarfile.SYMTYPE, linkname=str(canary))
        add("x/up", type=tarfile.SYMTYPE, linkname="../../canary")
        add("x/way/planted", data=b"evil")
        add("x/hard", type=tarfile.LNKTYPE, linkname="/etc/passwd")
        add("x/fifo", type=tarfile.FIFOTYPE)
        add(str(canary / "absolute"), data=b"evil")
    apply(document("evil", "sleep 1000"))
    podd.podctl("exec", "evil", "--", "sh", "-c", "rm /bin/tar; "
                "printf '#!/bin/sh\\ncat /evil.tar\\n' > /bin/tar; chmod +x /bin/tar")
    with open(tmp_path / "evil.tar", "wb") as f:
        f.write(archive.getvalue())
    with open(tmp_path / "evil.tar", "rb") as f, background(
            podd, "exec", "-i", "evil", "--", "sh", "-c", "cat > /evil.tar", stdin=f) as process:
        process.communicate(timeout=patient(20))

    done = podd.podctl("cp", "evil:/x", target, check=False)
    assert os.listdir(canary) == []
    assert (target / "x/ok").read_bytes() == b"fine"
    for name in ("x/way", "x/up"):
        assert not os.path.islink(target / name)
    assert not os.path.lexists(target / "x/hard") and not os.path.lexists(target / "x/fifo")
    assert "left out" in done.stderr


# ---- logs -------------------------------------------------------------------------------------------


def test_logs_of_all_containers_with_their_names_and_since(podd, apply):
    two = document("two", "echo from main; sleep 1000")
    two["spec"]["containers"].append({**two["spec"]["containers"][0], "name": "side",
                                      "command": ["sh", "-c", "echo old; sleep 3; echo new; sleep 1000"]})
    apply(two)
    done = podd.podctl("logs", "two", check=False)
    assert done.returncode == 2 and "main, side" in done.stderr
    lines = podd.podctl("logs", "two", "--all-containers", "--prefix").stdout.splitlines()
    assert "[two/main] from main" in lines and "[two/side] old" in lines
    with background(podd, "logs", "-f", "two", "--all-containers", "--prefix", "--tail", "0") as f:
        assert f.stdout.readline() == b"[two/side] new\n"
    wait_until(lambda: "new" in podd.podctl("logs", "two", "-c", "side").stdout)
    assert podd.podctl("logs", "two", "-c", "side", "--since", "2s").stdout == "new\n"
    assert podd.podctl("logs", "two", "-c", "side", "--since", "1h").stdout == "old\nnew\n"
    stamped = podd.podctl("logs", "two", "-c", "main", "--timestamps").stdout
    assert re.match(r"\d{4}-\d\d-\d\dT\S+Z from main\n", stamped)
    assert podd.podctl("logs", "two", "--since", "soon", check=False).returncode == 2


# ---- get, top, why ----------------------------------------------------------------------------------


def test_get_selects_by_labels(podd, apply):
    one, two = document("one", "sleep 1000"), document("two", "sleep 1000")
    one["metadata"]["labels"] = {"app": "web", "tier": "front"}
    two["metadata"]["labels"] = {"app": "db"}
    apply(one, two)

    def names(selector):
        return podd.podctl("get", "pods", "-o", "name", "-l", selector).stdout.split()
    assert names("app=web") == ["pod/one"]
    assert names("app==web,tier=front") == ["pod/one"]
    assert names("app!=web") == ["pod/two"]
    assert names("tier") == ["pod/one"]
    assert names("!tier") == ["pod/two"]
    assert names("app=web,!tier") == []
    assert podd.podctl("get", "pods", "-l", "=x", check=False).returncode == 2
    assert podd.podctl("get", "pods", "--no-headers", "one").stdout.split()[0] == "one"
    with background(podd, "get", "pods", "-w", "-l", "app=db", "-o", "name") as watching:
        assert watching.stdout.readline() == b"pod/two\n"


def test_colours_are_for_terminals_only(podd, apply):
    apply(document("box", "sleep 1000"))
    assert "\033" not in podd.podctl("get", "pods").stdout
    terminal = Terminal(podd, "get", "pods")
    terminal.expect(rb"\x1b\[32mRunning")
    assert terminal.wait() == 0


def test_top_tells_who_uses_the_processor(podd, apply):
    apply(document("busy", "while :; do :; done"), document("idle", "sleep 1000"))
    rows = {line.split()[1]: line.split()[2:] for line in podd.podctl("top").stdout.splitlines()[1:]}
    assert int(rows["busy"][0].rstrip("m")) > 50 > int(rows["idle"][0].rstrip("m"))
    assert podd.podctl("top", "busy", "--containers").stdout.splitlines()[1].split()[:3] == \
        ["default", "busy", "main"]
    assert podd.podctl("top", "absent", check=False).returncode == 4


def test_why_tells_the_way_and_what_is_waited_for(podd, apply):
    waiting = document("waiting", "sleep 1000", readinessProbe={
        "tcpSocket": {"port": 1}, "periodSeconds": 1})
    apply(document("fine", "sleep 1000"), waiting)
    wait_until(lambda: status(podd, "waiting").containers[0].probes[0].attempts > 0)
    text = podd.podctl("why", "fine").stdout
    steps = [line.split(maxsplit=3)[3] for line in text.splitlines()
             if re.match(r"\d\d:\d\d:\d\d ", line)]
    assert steps[0] == "declared" and steps[-1] == "ready"
    assert "Started container main" in steps
    assert steps.index("sandbox and network are ready") < steps.index("Started container main")
    assert "nothing: all of its containers are ready" in text
    text = podd.podctl("why", "waiting").stdout
    assert "its readiness probe" in text and "refused" in text
    assert podd.podctl("why", "absent", check=False).returncode == 4


def test_why_tells_nothing_of_a_pod_that_had_the_name_before(podd, apply):
    apply(document("again", "exit 1"))
    wait_until(lambda: status(podd, "again").containers[0].restart_count > 0)
    podd.podctl("delete", "pod", "again")
    apply(document("again", "sleep 1000"))
    wait_until(lambda: status(podd, "again").containers[0].ready)
    steps = [line.split(maxsplit=3)[3] for line in podd.podctl("why", "again").stdout.splitlines()
             if re.match(r"\d\d:\d\d:\d\d ", line)]
    assert steps[0] == "declared" and steps.count("Started container main") == 1


# ---- Help, man pages, completion --------------------------------------------------------------------


def commands(podd):
    listing = podd.podctl("--help").stdout
    return [line.split()[0] for line in listing.splitlines() if line.startswith("  ")]


def test_every_command_has_help_a_page_and_completion(podd):
    page = (daemon.SOURCE / "docs/man/podctl.1").read_text().replace("\\-", "-")
    bash = (daemon.SOURCE / "contrib/completions/podctl.bash").read_text()
    zsh = (daemon.SOURCE / "contrib/completions/_podctl").read_text()
    assert len(commands(podd)) > 15
    for name in commands(podd):
        assert podd.podctl(name, "--help").stdout.startswith(f"podctl {name}")
        assert re.search(rf"^\.(TP|BI|B|BR) ?.*\b{re.escape(name)}\b", page, re.M), name
        assert re.search(rf"\b{name}\b", bash) and f"'{name}:" in zsh, name


def test_every_option_is_in_the_page_and_completed(podd):
    page = (daemon.SOURCE / "docs/man/podctl.1").read_text().replace("\\-", "-")
    bash = (daemon.SOURCE / "contrib/completions/podctl.bash").read_text()
    for source in sorted((daemon.SOURCE / "src/cli").glob("*.c")):
        for option in re.findall(r'\{"(--[a-z-]+)", ', source.read_text()):
            assert option in bash, f"{option} of {source.name} is not completed"
            assert option in page or option == "--filename", f"{option} is not in podctl(1)"


def complete(line, environment):
    script = (f". {daemon.SOURCE}/contrib/completions/podctl.bash; COMP_WORDS=({line}); "
              "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _podctl; printf '%s\\n' \"${COMPREPLY[@]}\"")
    return subprocess.run(["bash", "-c", script], stdout=subprocess.PIPE, check=True,
                          encoding="utf-8", env=environment).stdout.split()


def test_bash_completes_commands_options_and_pods(podd, apply):
    apply(document("completed", "sleep 1000"))
    environment = {**os.environ, "PODD_SOCKET": podd.address,
                   "PATH": f"{daemon.BUILD}/src/cli:{os.environ['PATH']}"}
    assert complete("podctl wh", environment) == ["why"]
    assert complete("podctl logs --fol", environment) == ["--follow"]
    assert complete("podctl -n default describe comp", environment) == ["completed"]
    assert complete("podctl get pods -o js", environment) == ["json"]


# ---- diff, and objects that are not pods ------------------------------------------------------------

CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"},
          "data": {"color": "blue"}}
SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"},
          "stringData": {"token": "very-secret"}}


@pytest.fixture
def objects(podd):
    yield
    for kind, name in (("configmap", "settings"), ("secret", "keys")):
        podd.podctl("delete", kind, name, check=False)


def test_diff_says_what_an_apply_would_change(podd, apply):
    before = document("changing", "sleep 1000")
    apply(before)
    text = yaml.safe_dump(before)
    done = podd.podctl("diff", "-f", "-", stdin=text)
    assert (done.returncode, done.stdout) == (0, "")
    done = podd.podctl("diff", "-f", "-", stdin=text.replace("sleep 1000", "sleep 2000"), check=False)
    assert done.returncode == 1
    assert re.search(r"^  - spec.containers\[0\].command\S*: .*sleep 1000", done.stdout, re.M)
    assert re.search(r"^  \+ spec.containers\[0\].command\S*: .*sleep 2000", done.stdout, re.M)
    assert podd.podctl("diff", "-f", "-", stdin="kind: Nothing", check=False).returncode == 2
    assert podd.podctl("get", "pods", "changing", "-o", "json").stdout.count("sleep 1000")


def test_objects_are_listed_described_and_deleted(podd, objects, tmp_path):
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(CONFIG))
    (tmp_path / "b.yaml").write_text(yaml.safe_dump(SECRET))
    assert sorted(podd.podctl("apply", "-f", tmp_path).stdout.splitlines()) == \
        ["ConfigMap/settings created", "Secret/keys created"]
    assert podd.podctl("get", "cm").stdout.splitlines()[1].split()[:3] == ["settings", "default", "1"]
    assert "color: 4B  blue" in podd.podctl("describe", "configmap", "settings").stdout
    for command in (["describe", "secret", "keys"], ["get", "secrets", "-o", "yaml"],
                    ["get", "secret", "keys", "-o", "json"]):
        shown = podd.podctl(*command).stdout
        assert "token" in shown and "very-secret" not in shown and "dmVyeS1zZWNyZXQ" not in shown
    assert podd.podctl("get", "nodes", check=False).returncode == 2
    assert sorted(podd.podctl("delete", "-f", tmp_path).stdout.splitlines()) == \
        ["ConfigMap/settings deleted", "Secret/keys deleted"]
    assert podd.podctl("delete", "-f", tmp_path, check=False).returncode == 4
    assert podd.podctl("describe", "cm", "settings", check=False).returncode == 4


def test_one_bad_file_of_several_stops_all(podd, objects, tmp_path):
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(CONFIG))
    (tmp_path / "b.yaml").write_text("kind: ConfigMap\napiVersion: v1\nmetadata: {nam: x}\n")
    done = podd.podctl("apply", "-f", tmp_path, check=False)
    assert done.returncode == 2 and "b.yaml:3" in done.stderr
    assert podd.podctl("get", "cm", "settings", check=False).returncode == 4


# ---- restart and debug ------------------------------------------------------------------------------


def test_restart_begins_a_pod_anew(podd, apply):
    apply(document("again", "sleep 1000"))
    before = status(podd, "again")
    assert podd.podctl("restart", "again").stdout == "Pod/again restarted\n"
    wait_until(lambda: status(podd, "again").sandbox_id not in ("", before.sandbox_id), 20, "a new pod")
    wait_until(lambda: running(podd, "again"), what="running")
    assert status(podd, "again").containers[0].restart_count == 0
    assert podd.podctl("restart", "absent", check=False).returncode == 4


def test_debug_looks_into_a_running_pod(podd, apply):
    apply(document("patient", "exec sleep 1234"))
    terminal = Terminal(podd, "debug", "patient", "--target", "main", "-it", "--", "sh")
    terminal.expect(rb"press enter")
    time.sleep(0.5)
    terminal.type(b"\nps; echo end=$((1+1))\n")
    terminal.expect(rb"end=2")
    assert b"sleep 1234" in terminal.text
    terminal.type(b"exit\n")
    assert terminal.wait() == 0
    done = podd.podctl("debug", "patient", "-c", "once", "--", "echo", "hello")
    assert "once" in done.stdout
    wait_until(lambda: podd.podctl("logs", "patient", "-c", "once", check=False).stdout == "hello\n")
    assert "once" in podd.podctl("describe", "patient").stdout
    assert podd.podctl("debug", "patient", "-c", "once", "--", "true", check=False).returncode != 0
