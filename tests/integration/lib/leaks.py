"""An account of everything of podd's that could be left behind on the machine.

A snapshot is a dictionary of sets; what a later snapshot has more is a leak. Only things that podd
could have made are counted, so other work on the machine does not disturb it.
"""
import os
import subprocess
import time

from lib import kernel
from lib.patience import patient


def _mounts():
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        found = {line.split()[4] + " " + line.split(" - ")[1].split()[0] for line in f}
    # The tests' own first `ip netns` makes that one, of whatever file system /run is.
    return {mount for mount in found if not mount.startswith("/run/netns ")}


def _processes(build):
    """Live processes that run a program of this build (or the shim's sealed copy of it)."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            exe = os.readlink(f"/proc/{pid}/exe")
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                command = f.read().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        if exe.startswith(str(build)) or "memfd:podd" in exe:
            found.add(f"{pid} {exe} {command}")
    return found


def _cgroups():
    found = set()
    for root in kernel.cgroup_roots().values():
        for parent in ("podd", "podd-test"):
            top = os.path.join(root, parent)
            for path, _, _ in os.walk(top):
                if path not in (top, f"{top}/shims"):  # which stay
                    found.add(path)
    return found


def _output(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False,
                          encoding="utf-8").stdout


def _links():
    """Links of the tests' own network namespace."""
    return {line.split(":")[1].strip().split("@")[0] for line in _output("ip", "-o", "link").splitlines()
            if "podd" not in line.split(":")[1]}


def _rules():
    return set(_output("nft", "list", "tables").splitlines())


def snapshot(build):
    return {
        "mounts": _mounts(),
        "processes": _processes(build),
        "cgroups": _cgroups(),
        "links": _links(),
        "rules": _rules(),
    }


def difference(before, after):
    return {kind: sorted(after[kind] - before[kind]) for kind in before if after[kind] - before[kind]}


def wait_clean(before, build, timeout=10):
    """What is still left after `timeout` seconds (the kernel frees namespaces in the background)."""
    deadline = time.monotonic() + patient(timeout)
    while True:
        left = difference(before, snapshot(build))
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)


def assert_clean(before, podd):
    """Fails with what is left and what podd and the kernel say about it."""
    left = wait_clean(before, podd.build)
    if not left:
        return
    pids = [entry.split()[0] for entry in left.get("processes", [])]
    states = _output("ps", "-o", "pid,ppid,etime,stat,wchan:30,args", *pids) if pids else ""
    raise AssertionError(f"left behind: {left}\n{states}\n{podd.tail(60)}")
