"""The few system calls that Python 3.11 has no name for, and a network namespace to test in."""
import ctypes
import fcntl
import os
import socket
import struct

CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
IFF_UP = 1

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags):
    if _libc.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


def setns(fd, flags=0):
    if _libc.setns(fd, flags) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def link_up(name):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        request = struct.pack("16sh14x", name.encode(), 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(s, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sh14x", name.encode(), flags | IFF_UP))


def enter_own_network():
    """Moves this process to a network of its own, so that no test touches the machine's."""
    unshare(CLONE_NEWNET)
    link_up("lo")


class _Filter(ctypes.Structure):
    _fields_ = [("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte),
                ("k", ctypes.c_uint32)]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filters", ctypes.POINTER(_Filter))]


def lack_system_call(number):
    """From here on the kernel says ENOSYS to this system call, to this process and its children."""
    filters = (_Filter * 4)(
        _Filter(0x20, 0, 0, 0),                     # load the number
        _Filter(0x15, 0, 1, number),                # is it this one?
        _Filter(0x06, 0, 0, 0x00050000 | 38),       # SECCOMP_RET_ERRNO, ENOSYS
        _Filter(0x06, 0, 0, 0x7FFF0000))            # SECCOMP_RET_ALLOW
    program = _Program(4, filters)
    if _libc.prctl(38, 1, 0, 0, 0) != 0 or _libc.prctl(22, 2, ctypes.byref(program)) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def cgroup_roots():
    """Every cgroup hierarchy's mount point: {name: path}; the v2 one is named ''."""
    roots = {}
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        for line in f:
            fields, _, tail = line.partition(" - ")
            fs_type = tail.split()[0]
            path = fields.split()[4]
            if fs_type == "cgroup2":
                roots[""] = path
            elif fs_type == "cgroup":
                roots[os.path.basename(path)] = path
    return roots


def is_cgroup_v2():
    return os.path.exists("/sys/fs/cgroup/cgroup.controllers")


def has_capability(number):
    with open("/proc/self/status", encoding="utf-8") as f:
        for line in f:
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> number & 1)
    return False
