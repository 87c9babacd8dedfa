"""Builds the initrd that the VM harness boots, in memory, on every run.

An initrd is a cpio archive in the "newc" form. It holds busybox, the handful of kernel
modules without which the host's root cannot be reached, the scripts of guest/ and the job
of this run; writing the archive directly takes milliseconds, needs no cpio program and no
temporary tree, and leaves nothing that could go stale.

Contents:

  proc, sys, dev   places for mounts
  init             guest/init, the first process
  bin/busybox      its userland
  modules/NN.ko    modules in the order in which they have to be loaded
  podd-vm/...      the files of guest/ and of the job, which init copies to /run/podd-vm
"""

from pathlib import Path

from kernel import Kernel

BUSYBOX = Path("/usr/bin/busybox"), Path("/bin/busybox")
GUEST = Path(__file__).resolve().parent / "guest"

# What it takes to see the host's root; everything else is loaded from there.
MODULES = ("virtio_pci", "virtiofs", "overlay")

_DIRECTORY, _REGULAR, _CHARACTER = 0o040000, 0o100000, 0o020000


def build(kernel: Kernel, job_files: dict[str, str]) -> bytes:
    """The initrd for a kernel and a job; job_files maps names below podd-vm/ to contents."""
    archive = _Archive()
    for name in ("proc", "sys", "dev"):
        archive.directory(name)
    archive.node("dev/console", 5, 1)
    archive.directory("bin")
    archive.file("bin/busybox", _busybox().read_bytes(), 0o755)
    archive.file("init", (GUEST / "init").read_bytes(), 0o755)

    archive.directory("modules")
    for number, module in enumerate(_load_order(kernel)):
        archive.file(f"modules/{number:02}.ko", module.read_bytes(), 0o644)

    archive.directory("podd-vm")
    for path in sorted(GUEST.iterdir()):
        archive.file(f"podd-vm/{path.name}", path.read_bytes(), path.stat().st_mode & 0o777)
    for name, text in job_files.items():
        archive.file(f"podd-vm/{name}", text.encode(errors="surrogateescape"), 0o644)
    return archive.finish()


def _busybox() -> Path:
    for path in BUSYBOX:
        if path.exists():
            return path
    raise FileNotFoundError("busybox is not installed, run tests/vm/install.sh")


def _load_order(kernel: Kernel) -> list[Path]:
    """Files of MODULES and all that they depend on, each after its own dependencies."""
    builtin = {_module_name(line) for line in _lines(kernel.modules / "modules.builtin")}
    dependencies = {}  # name -> path of the module, paths it needs, the deepest last
    for line in _lines(kernel.modules / "modules.dep"):
        path, _, needs = line.partition(":")
        dependencies[_module_name(path)] = [path, *needs.split()]

    order: list[str] = []
    for name in MODULES:
        if name in builtin:
            continue
        if name not in dependencies:
            raise FileNotFoundError(f"kernel {kernel.release} has no module {name}")
        order += [path for path in reversed(dependencies[name]) if path not in order]
    return [kernel.modules / path for path in order]


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def _module_name(path: str) -> str:
    return path.rsplit("/", 1)[-1].split(".ko")[0].replace("-", "_")


class _Archive:
    """Writer of the newc form: a fixed header in hexadecimal, the name, the data, each padded
    to four bytes."""

    def __init__(self):
        self._data = bytearray()
        self._inode = 0

    def directory(self, name: str) -> None:
        self._entry(name, _DIRECTORY | 0o755)

    def file(self, name: str, data: bytes, mode: int) -> None:
        self._entry(name, _REGULAR | mode, data)

    def node(self, name: str, major: int, minor: int) -> None:
        self._entry(name, _CHARACTER | 0o600, device=(major, minor))

    def finish(self) -> bytes:
        self._entry("TRAILER!!!", 0)
        return bytes(self._data)

    def _entry(self, name: str, mode: int, data: bytes = b"", device=(0, 0)) -> None:
        self._inode += 1
        encoded = name.encode() + b"\0"
        fields = (
            *(self._inode, mode, 0, 0, 1, 0),  # inode, mode, uid, gid, links, mtime
            *(len(data), 0, 0, *device),  # size, device of the file system, device of the node
            *(len(encoded), 0),  # length of the name, checksum (unused)
        )
        self._data += b"070701" + b"".join(b"%08X" % field for field in fields)
        self._data += encoded
        self._pad()
        self._data += data
        self._pad()

    def _pad(self) -> None:
        self._data += bytes(-len(self._data) % 4)
