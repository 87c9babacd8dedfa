"""Sockets in other network namespaces, and what is said through them."""
import contextlib
import json
import os
import signal
import socket
import threading
import time

import cri_pb2 as cri

from lib import kernel
from lib.patience import patient

IPPROTO_SCTP = 132


def namespace_of(podd, container):
    """The path of the network namespace that a running container is in."""
    info = podd.runtime.ContainerStatus(cri.ContainerStatusRequest(
        container_id=container, verbose=True)).info["info"]
    return f"/proc/{json.loads(info)['pid']}/ns/net"


def named(name):
    """That of `ip netns`."""
    return f"/run/netns/{name}"


def socket_in(namespace, family, kind, protocol=0):
    """A socket stays in the namespace it was made in; None: the tests' own, which is the node's."""
    made = []

    def make():
        if namespace:
            fd = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
            kernel.setns(fd)  # of this thread only
            os.close(fd)
        with contextlib.suppress(OSError):
            made.append(socket.socket(family, kind, protocol))
    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if not made:
        raise OSError(f"no socket of family {family}, type {kind}, protocol {protocol}")
    made[0].settimeout(patient(5))
    return made[0]


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def listen(namespace, port, address="0.0.0.0", kind=socket.SOCK_STREAM, protocol=0):
    server = socket_in(namespace, family_of(address), kind, protocol)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if ":" in address:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    server.bind((address, port))
    if kind == socket.SOCK_STREAM:
        server.listen(16)
    return server


def converse(server, namespace, to, port, kind=socket.SOCK_STREAM, protocol=0, timeout=5):
    """A word to a listening socket and one back, from a client in a namespace. Whom the server saw,
    or None when there was no conversation."""
    with socket_in(namespace, family_of(to), kind, protocol) as client:
        client.settimeout(patient(timeout))
        server.settimeout(patient(timeout))
        try:
            client.connect((to, port))
            if kind != socket.SOCK_STREAM:
                client.send(b"ping")
                word, seen = server.recvfrom(16)
                server.sendto(b"pong", seen)
            else:
                accepted, seen = server.accept()
                with accepted:
                    accepted.settimeout(patient(timeout))
                    client.send(b"ping")
                    word = accepted.recv(16)
                    accepted.send(b"pong")
            return seen[0] if (word, client.recv(16)) == (b"ping", b"pong") else None
        except OSError:
            return None


def pour(server, namespace, to, port, seconds=1.5, warm_up=0.5):
    """Bits per second that reach a listening socket from a client that sends all it can."""
    with socket_in(namespace, family_of(to), socket.SOCK_STREAM) as client:
        client.connect((to, port))
        accepted, _ = server.accept()
        client.setblocking(False)
        accepted.setblocking(False)
        block, count = bytes(65536), 0
        begin = time.monotonic() + warm_up
        while (now := time.monotonic()) < begin + seconds:
            with contextlib.suppress(BlockingIOError):
                while client.send(block):
                    pass
            with contextlib.suppress(BlockingIOError):
                while got := len(accepted.recv(1 << 20)):
                    count += got if now > begin else 0
            time.sleep(0.002)
        accepted.close()
        return count * 8 / seconds


def links():
    """Names of this namespace's links."""
    return {name for _, name in socket.if_nameindex()}


def kill_shim_of(namespace):
    """SIGKILLs the shim whose container's process gave the path of the namespace."""
    pid = namespace.split("/")[2]
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        shim = int(f.read().rpartition(")")[2].split()[1])
    os.kill(shim, signal.SIGKILL)
