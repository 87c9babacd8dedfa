"""One run of one VM: starts the emulator and what it needs, moves the output, and leaves
nothing behind.

Processes:

  virtiofsd           serves the host's root; a second one serves the export directory
  qemu-system-x86_64  pure emulation, no KVM needed

Both are started through setpriv so that the kernel ends them if this process dies without
having had the chance to.

Channels to the VM are socket pairs whose far end qemu inherits, so there is no socket file
but virtiofsd's: output, errors and the journal of the command, a control channel on which the
guest reports "ready" and "exit STATUS" (see guest/run-job), the serial console, which is
kept as a log, and qemu's monitor, needed only to send the console a break signal, on which
the kernel prints what its tasks are doing when a run has to be given up.
"""

import contextlib
import os
import re
import resource
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import initrd
from job import Job
from kernel import Kernel

QEMU = "qemu-system-x86_64"
VIRTIOFSD = Path("/usr/lib/qemu/virtiofsd"), Path("/usr/libexec/virtiofsd")

# Without cmpxchg16b, which qemu 7.2 emulates in such a way that the flags are garbage after it
# (kernel 6.12 uses it in its allocator and dies of a double fault), and without five-level page
# tables, which only make emulation slower.
CPU = "max,cx16=off,la57=off"

EXIT_TIMEOUT = 124
EXIT_BROKEN = 125

BOOT_LIMIT = 300  # seconds until "ready", which an idle host reaches in 5 to 10
SHUTDOWN_LIMIT = 60  # seconds from "exit" to the end of qemu
SCRATCH_SIZE = 16 << 30  # a sparse file

# Shows the root at another place, read-only, in the mount namespace of the one that serves it:
# whatever the guest's kernel asks for, the host cannot be changed. (virtiofsd could not serve
# "/" itself, either, since it pivots into what it serves.)
_READ_ONLY_VIEW = """
mount --rbind / "$1"
mount -o remount,bind,ro=recursive "$1"
shift
exec "$@"
"""

_COMPLAINTS = re.compile(
    r"kernel BUG|BUG: |Oops|WARNING: CPU|general protection fault|Kernel panic|UBSAN: "
    r"|rcu: INFO: .*stall|INFO: task .* blocked for more|^init: |^modprobe: "
)


class MachineError(Exception):
    """The VM could not be run, which says nothing about the command."""


@dataclass(frozen=True)
class Hardware:
    """What the VM is made of."""

    memory: int  # MiB
    cpus: int


class Machine:
    """A VM that is run once. Use as a context manager: leaving it stops everything."""

    def __init__(self, kernel: Kernel, hardware: Hardware, job: Job):
        self._kernel = kernel
        self._hardware = hardware
        self._job = job
        self._directory = Path(tempfile.mkdtemp(prefix="podd-vm-"))
        self.logs = self._directory / "logs"
        self.logs.mkdir()
        self._qemu: subprocess.Popen | None = None
        self._daemons: list[subprocess.Popen] = []
        self._channels: dict[str, socket.socket] = {}
        self._started = 0.0
        self._boot_seconds: float | None = None
        self._control = b""
        self._status: int | None = None
        self._status_at: float | None = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._qemu:
            self._qemu.kill()
            self._qemu.wait()
        for daemon in self._daemons:  # they end, with their own children, when qemu has gone
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(2 if self._qemu else 0)
            daemon.kill()
            daemon.wait()
        for channel in self._channels.values():
            channel.close()
        shutil.rmtree(self._directory)

    def run(self, limit: float) -> int:
        """Boots, runs the command and returns its exit status, or EXIT_TIMEOUT after `limit`
        seconds."""
        self._started = time.monotonic()
        shares = {"root": Path("/")}
        if self._job.export:
            shares["export"] = self._job.export
        sockets = {tag: self._serve(tag, source) for tag, source in shares.items()}
        self._start_qemu(sockets)
        return self._watch(limit)

    def complaints(self) -> list[str]:
        """Lines of the console in which the kernel or init reports something wrong."""
        console = self.logs / "console.log"
        if not console.exists():
            return []
        lines = console.read_text(errors="replace").splitlines()
        return [line for line in lines if _COMPLAINTS.search(line)]

    # Starting

    def _serve(self, tag: str, source: Path) -> Path:
        """Starts a virtiofsd for a directory and returns its socket once it listens."""
        program = next((path for path in VIRTIOFSD if path.exists()), None)
        if program is None:
            raise MachineError("virtiofsd is not installed, run tests/vm/install.sh")
        # it holds a descriptor for every file that the guest knows of
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

        path = self._directory / f"{tag}.sock"
        command = [program, "-f", f"--socket-path={path}", "--rlimit-nofile=0"]
        if tag == "root":
            # The host's root is taken to stand still during the run.
            view = self._directory / "root"
            view.mkdir()
            command += ["-o", f"source={view},cache=always,log_level=warn"]
            command = ["unshare", "--mount", "sh", "-euc", _READ_ONLY_VIEW, "sh", view, *command]
        else:
            command += ["-o", f"source={source},cache=auto,log_level=warn"]
        daemon = self._spawn(f"virtiofsd-{tag}", command)
        self._daemons.append(daemon)
        deadline = time.monotonic() + 10
        while not path.exists():
            if daemon.poll() is not None or time.monotonic() > deadline:
                raise MachineError(f"virtiofsd does not serve {source}")
            time.sleep(0.01)
        return path

    def _start_qemu(self, shares: dict[str, Path]) -> None:
        if not shutil.which(QEMU):
            raise MachineError(f"{QEMU} is not installed, run tests/vm/install.sh")
        image = self._directory / "initrd"
        image.write_bytes(initrd.build(self._kernel, self._job.files(self._kernel.modules_root)))
        far_ends = {
            name: self._channel(name)
            for name in ("out", "err", "control", "journal", "serial", "monitor")
        }
        command = [
            *(QEMU, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
            *("-machine", "q35,memory-backend=memory", "-accel", "tcg,thread=multi"),
            *("-cpu", CPU, "-smp", str(self._hardware.cpus), "-m", str(self._hardware.memory)),
            *("-object", f"memory-backend-memfd,id=memory,size={self._hardware.memory}M,share=on"),
            *("-kernel", str(self._kernel.image), "-initrd", str(image)),
            *("-append", self._kernel_arguments()),
            *("-drive", f"if=none,id=scratch,file={self._scratch()},format=raw,cache=unsafe"),
            *("-device", "virtio-blk-pci,drive=scratch"),
            *("-netdev", "user,id=uplink,restrict=on"),
            *("-device", "virtio-net-pci,netdev=uplink,romfile="),
            *("-device", "virtio-serial-pci"),
            *("-serial", "chardev:serial", "-mon", "chardev=monitor,mode=control"),
        ]
        for tag, path in shares.items():
            command += ["-chardev", f"socket,id=fs-{tag},path={path}"]
            command += ["-device", f"vhost-user-fs-pci,chardev=fs-{tag},tag={tag}"]
        for name, end in far_ends.items():
            command += ["-chardev", f"socket,id={name},fd={end.fileno()}"]
        for name in ("out", "err", "control", "journal"):
            command += ["-device", f"virtserialport,chardev={name},name=podd.{name}"]

        self._qemu = self._spawn("qemu", command, [end.fileno() for end in far_ends.values()])
        for end in far_ends.values():
            end.close()

    def _kernel_arguments(self) -> str:
        # tsc=reliable: the emulated CPUs' counters do agree, which the kernel fails to measure on
        # a busy host; the clock that it falls back to is slow.
        arguments = [
            "console=ttyS0 panic=-1 sysrq_always_enabled=1 mitigations=off tsc=reliable",
            "init_on_alloc=0 apparmor=1 security=apparmor psi=1 cgroup_no_v1=all net.ifnames=0",
        ]
        if self._job.systemd:
            arguments += [
                "systemd.unified_cgroup_hierarchy=1 systemd.unit=podd-vm.target",
                "systemd.show_status=0 systemd.firstboot=0",
            ]
        return " ".join(arguments)

    def _scratch(self) -> Path:
        """An empty ext4 in a sparse file."""
        path = self._directory / "scratch"
        with open(path, "wb") as file:
            file.truncate(SCRATCH_SIZE)
        options = "lazy_itable_init=1,lazy_journal_init=1,nodiscard"
        made = subprocess.run(
            ["/sbin/mkfs.ext4", "-q", "-F", "-L", "scratch", "-E", options, str(path)],
            capture_output=True,
            text=True,
        )
        if made.returncode:
            raise MachineError(f"mkfs.ext4 failed: {made.stderr.strip()}")
        return path

    def _channel(self, name: str) -> socket.socket:
        """Makes a socket pair, keeps one end under the name and returns the other."""
        near, far = socket.socketpair()
        self._channels[name] = near
        return far

    def _spawn(self, name: str, command: list, descriptors=()) -> subprocess.Popen:
        with open(self.logs / f"{name}.log", "wb") as log:
            return subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *(str(part) for part in command)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=descriptors,
                start_new_session=True,  # a ^C is for this process to handle
            )

    # Running

    def _watch(self, limit: float) -> int:
        """Moves output until qemu has closed its channels or some time is up."""
        with contextlib.ExitStack() as stack:
            sinks = {
                "out": sys.stdout.fileno(),
                "err": sys.stderr.fileno(),
                "serial": self._log(stack, "console.log"),
                "journal": self._log(stack, "journal.log"),
                "monitor": self._log(stack, "monitor.log"),
            }
            selector = stack.enter_context(selectors.DefaultSelector())
            for name, channel in self._channels.items():
                selector.register(channel, selectors.EVENT_READ, name)
            traces = list(b"lwt")  # to be asked for when a limit is reached
            deadline = None
            while selector.get_map():
                left = (deadline or self._deadline(limit)) - time.monotonic()
                if left <= 0 and deadline is None and self._status is not None:
                    print("vm: did not power off by itself", file=sys.stderr)
                    break
                if left <= 0 and not traces:
                    break
                if left <= 0:
                    if deadline is None:
                        self._say_late(limit)
                    self._ask_for_trace(traces.pop(0))
                    deadline = time.monotonic() + 2
                    continue
                for key, _ in selector.select(left):
                    data = _receive(key.fileobj)
                    if not data:
                        selector.unregister(key.fileobj)
                    elif key.data == "control":
                        self._take_control(data)
                    else:
                        _write_all(sinks[key.data], data)
        if deadline is not None:
            return EXIT_TIMEOUT
        if self._status is None:
            raise MachineError("ended before the command did")
        return self._status

    def _deadline(self, limit: float) -> float:
        if self._status_at is not None:
            return self._status_at + SHUTDOWN_LIMIT
        if self._boot_seconds is None:
            return self._started + BOOT_LIMIT
        return self._started + self._boot_seconds + limit

    def _take_control(self, data: bytes) -> None:
        """Handles what the guest says on the control channel."""
        self._control += data
        *lines, self._control = self._control.split(b"\n")
        for line in lines:
            match line.split():
                case [b"ready"]:
                    self._boot_seconds = time.monotonic() - self._started
                    print(
                        f"vm: {self._kernel.release}, command starts after"
                        f" {self._boot_seconds:.1f} s",
                        file=sys.stderr,
                    )
                case [b"exit", status]:
                    self._status = int(status)
                    self._status_at = time.monotonic()

    def _say_late(self, limit: float) -> None:
        if self._boot_seconds is None:
            print(f"vm: no command after {BOOT_LIMIT} s, giving up", file=sys.stderr)
        else:
            print(f"vm: command not done after {limit:g} s, giving up", file=sys.stderr)

    def _ask_for_trace(self, request: int) -> None:
        """Has the kernel print what SysRq gives for a key: l backtraces of the CPUs, w blocked
        tasks, t all tasks. It listens on the console after a break signal."""
        self._channels["monitor"].sendall(
            b'{"execute": "qmp_capabilities"}\n'
            b'{"execute": "chardev-send-break", "arguments": {"id": "serial"}}\n'
        )
        time.sleep(0.2)
        self._channels["serial"].sendall(bytes([request]))

    def _log(self, stack: contextlib.ExitStack, name: str) -> int:
        return stack.enter_context(open(self.logs / name, "wb", buffering=0)).fileno()


def _receive(channel: socket.socket) -> bytes:
    """What there is to read, nothing once qemu has gone."""
    try:
        return channel.recv(1 << 16)
    except ConnectionResetError:  # it went without having read all that it was sent
        return b""


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


@contextlib.contextmanager
def signals_raise():
    """Turns the signals that ask this process to end into SystemExit, so that the machine is
    left in order; further ones are ignored meanwhile."""
    asking = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def leave(number, _):
        for other in asking:
            signal.signal(other, signal.SIG_IGN)
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in asking}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
