"""Pods with a user namespace."""
import os

import cri_pb2 as cri
import pytest

FIRST, LENGTH = 1_000_000, 65536


def kernel_version():
    return tuple(int(part) for part in os.uname().release.split(".")[:2])


needs_mapped_layers = pytest.mark.skipif(kernel_version() < (5, 19), reason="needs Linux 5.19")


def pod_options(first=FIRST, **namespaces):
    """The linux part of a sandbox whose root is `first` on the node."""
    linux = cri.LinuxPodSandboxConfig()
    options = linux.security_context.namespace_options
    options.pid = namespaces.get("pid", cri.CONTAINER)
    options.network = namespaces.get("network", cri.POD)
    user = options.userns_options
    user.mode = cri.POD
    user.uids.add(host_id=first, container_id=0, length=LENGTH)
    user.gids.add(host_id=first, container_id=0, length=LENGTH)
    return linux
