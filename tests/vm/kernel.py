"""Finds, downloads and unpacks the Debian kernels that the VM harness boots.

Nothing is installed on the host. A private apt configuration (its own source list, index
files and archive directory, all below the cache directory) names the host's Debian mirror,
which is asked of apt itself, so that no mirror is written down here. A source list that
holds nothing but the wanted suites makes "newest" mean "newest of these suites" without any
pinning, and the host's apt configuration stays as it is.

A kernel is asked for by

  cloud        the newest cloud kernel of the host's Debian release and its updates,
  backports    the newest cloud kernel of that release's backports,
  VERSION      a kernel release such as 6.1.0-50-cloud-amd64, or its beginning, such as 6.12;
               whatever the suites above hold.

Layout of the cache directory:

  lock                   held while the cache is being changed
  newest-CHANNEL         release that `cloud` or `backports` meant when last looked up
  apt-CHANNEL/           the private apt directories
  kernels/RELEASE/       vmlinuz, config and lib/modules/RELEASE, modules decompressed
"""

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

CHANNELS = ("cloud", "backports")
META_PACKAGE = "linux-image-cloud-amd64"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class KernelError(Exception):
    """No such kernel, or it could not be downloaded."""


@dataclass(frozen=True)
class Kernel:
    """An unpacked kernel: bootable image and module tree."""

    release: str
    image: Path
    modules_root: Path  # holds RELEASE/modules.dep and so on

    @property
    def modules(self) -> Path:
        return self.modules_root / self.release


def default_cache() -> Path:
    """Where kernels are kept between runs; outside the checkout, so that it outlives it."""
    if own := os.environ.get("PODD_VM_CACHE"):
        return Path(own).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "podd-vm"


def obtain(wanted: str, cache: Path, refresh: bool = False) -> Kernel:
    """Returns the wanted kernel, from the cache if it is there and no refresh is asked for."""
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / "lock"):
        if not refresh and (kernel := _cached(wanted, cache)):
            return kernel
        release = _download(wanted, cache)
        if wanted in CHANNELS:
            (cache / f"newest-{wanted}").write_text(release + "\n")
        return _kernel(release, cache)


@contextlib.contextmanager
def _locked(path: Path):
    with open(path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _kernel(release: str, cache: Path) -> Kernel:
    root = cache / "kernels" / release
    return Kernel(release, root / "vmlinuz", root / "lib/modules")


def _cached(wanted: str, cache: Path) -> Kernel | None:
    if wanted in CHANNELS:
        newest = cache / f"newest-{wanted}"
        release = newest.read_text().strip() if newest.exists() else ""
    else:
        kernels = cache / "kernels"
        names = [entry.name for entry in kernels.iterdir()] if kernels.exists() else []
        release = _newest(name for name in names if _matches(name, wanted))
    if not release or not (cache / "kernels" / release).exists():
        return None
    return _kernel(release, cache)


def _matches(release: str, version: str) -> bool:
    """Whether a release is of that version: 6.1 stands for 6.1.0-50-cloud-amd64, not for 6.12."""
    return re.match(re.escape(version) + r"(?![0-9])", release) is not None


def _newest(releases) -> str:
    """The highest of some kernel releases, numbers compared as numbers; "" if there is none."""
    return max(releases, default="", key=lambda name: [int(n) for n in re.findall(r"\d+", name)])


def _download(wanted: str, cache: Path) -> str:
    """Downloads and unpacks the wanted kernel unless it is unpacked already; its release."""
    for channel in (wanted,) if wanted in CHANNELS else CHANNELS:
        apt = _Apt(channel, cache / f"apt-{channel}")
        apt.update()
        package = apt.newest_cloud_package() if wanted in CHANNELS else apt.package_like(wanted)
        if not package:
            continue
        release = package.removeprefix("linux-image-")
        target = cache / "kernels" / release
        if not target.exists():
            _unpack(apt.fetch(package), release, target)
        return release
    raise KernelError(f"no kernel {wanted!r} at this host's Debian mirror")


def _unpack(archive: Path, release: str, target: Path) -> None:
    """Unpacks a kernel package into `target`, which appears only when complete."""
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".unpack-") as scratch:
        root = Path(scratch) / "root"
        _run("dpkg-deb", "-x", archive, root)
        archive.unlink()

        modules = root / "lib/modules" / release
        if not modules.exists():  # merged /usr
            modules.parent.parent.mkdir(exist_ok=True)
            (root / "usr/lib/modules").rename(modules.parent)
        if compressed := list(modules.rglob("*.ko.xz")):
            _run("xz", "-d", "-T0", *compressed)
        _run("depmod", "-b", root, release)

        for name in ("vmlinuz", "config"):
            (root / "boot" / f"{name}-{release}").rename(root / name)
        shutil.rmtree(root / "boot")
        shutil.rmtree(root / "usr", ignore_errors=True)
        root.chmod(0o755)
        root.rename(target)


class _Apt:
    """apt with a private configuration that knows only the suites of one channel."""

    def __init__(self, channel: str, directory: Path):
        self.directory = directory
        self.archives = directory / "archives"
        (directory / "lists/partial").mkdir(parents=True, exist_ok=True)
        (self.archives / "partial").mkdir(parents=True, exist_ok=True)
        sources = directory / "sources.list"
        sources.write_text("".join(line + "\n" for line in _source_lines(channel)))
        self.options = [
            argument
            for option in (
                f"Dir::Etc::sourcelist={sources}",
                "Dir::Etc::sourceparts=-",
                "Dir::Etc::preferences=-",
                "Dir::Etc::preferencesparts=-",
                f"Dir::State::lists={directory / 'lists'}",
                f"Dir::Cache={directory}",
                f"Dir::Cache::archives={self.archives}",
                "APT::Sandbox::User=root",
                "Acquire::Languages=none",
                "Acquire::Retries=3",
            )
            for argument in ("-o", option)
        ]

    def update(self) -> None:
        _run("apt-get", *self.options, "-qq", "update")

    def newest_cloud_package(self) -> str:
        """The package that the newest meta package stands for."""
        shown = _run("apt-cache", *self.options, "show", "--no-all-versions", META_PACKAGE)
        found = re.search(r"^Depends: .*?(linux-image-[\w.+-]+-cloud-amd64)", shown, re.MULTILINE)
        if not found:
            raise KernelError(f"cannot tell which kernel {META_PACKAGE} stands for")
        return found[1]

    def package_like(self, version: str) -> str:
        """The newest cloud kernel package whose release starts with `version`, or ""."""
        prefix = "linux-image-"
        names = _run("apt-cache", *self.options, "pkgnames", prefix + version)
        releases = [name.removeprefix(prefix) for name in names.split()]
        release = _newest(
            name for name in releases if _matches(name, version) and name.endswith("-cloud-amd64")
        )
        return prefix + release if release else ""

    def fetch(self, package: str) -> Path:
        """Downloads a package file into the private archive directory."""
        for old in self.archives.glob(f"{package}_*.deb"):
            old.unlink()
        _run("apt-get", *self.options, "-qq", "download", package, cwd=self.archives)
        return next(self.archives.glob(f"{package}_*.deb"))


def _source_lines(channel: str) -> list[str]:
    """Source list of a channel, made of the host's own Debian mirrors."""
    codename = _codename()
    listed = _run(
        *("apt-get", "indextargets", "--no-release-info"),
        *("--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"),
    )
    mirrors = dict(reversed(line.split()) for line in listed.splitlines())  # suite -> URI
    if codename not in mirrors:
        raise KernelError(f"apt on this host has no source for Debian {codename}")

    if channel == "backports":
        suites = {f"{codename}-backports": mirrors[codename]}
    else:
        names = (codename, f"{codename}-updates", f"{codename}-security")
        suites = {name: mirrors[name] for name in names if name in mirrors}
    signed = f" signed-by={KEYRING}" if KEYRING.exists() else ""
    return [f"deb [arch=amd64{signed}] {uri} {suite} main" for suite, uri in suites.items()]


def _codename() -> str:
    release = Path("/etc/os-release").read_text()
    found = re.search(r'^VERSION_CODENAME="?([\w-]+)', release, re.MULTILINE)
    if not found:
        raise KernelError("/etc/os-release names no Debian release")
    return found[1]


def _run(*command, cwd: Path | None = None) -> str:
    """Runs a program and returns its output; a failure carries what it said."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        said = done.stderr.strip() or f"exit status {done.returncode}"
        raise KernelError(f"{command[0]} failed: {said}")
    return done.stdout
