"""Short ways to say what CRI says at length."""
import itertools
import time
import uuid

import cri_pb2 as cri
import grpc

from lib.patience import patient

_numbers = itertools.count(1)


def sandbox_config(podd, name=None, **options):
    """A PodSandboxConfig as kubelet would send it; keyword arguments override its fields."""
    name = name or f"pod{next(_numbers)}"
    uid = options.pop("uid", str(uuid.uuid4()))
    attempt = options.pop("attempt", 0)
    logs = podd.logs / f"default_{name}_{uid}"
    logs.mkdir(parents=True, exist_ok=True)
    linux = options.pop("linux", None)
    if linux is None:
        linux = cri.LinuxPodSandboxConfig()
        linux.security_context.namespace_options.pid = cri.CONTAINER
    return cri.PodSandboxConfig(
        metadata=cri.PodSandboxMetadata(name=name, uid=uid, namespace="default", attempt=attempt),
        log_directory=str(logs), linux=linux, **options)


def container_config(image, command=(), name=None, **options):
    """A ContainerConfig as kubelet would send it: with a PID namespace of its own."""
    name = name or f"c{next(_numbers)}"
    given = "linux" in options
    config = cri.ContainerConfig(
        metadata=cri.ContainerMetadata(name=name, attempt=options.pop("attempt", 0)),
        image=cri.ImageSpec(image=image), command=list(command),
        log_path=options.pop("log_path", f"{name}.log"), **options)
    if not given:
        config.linux.security_context.namespace_options.pid = cri.CONTAINER
    return config


class Pod:
    """A running sandbox; containers are started in it by one call each."""

    def __init__(self, podd, **options):
        self.podd = podd
        self.config = options.pop("config", None) or sandbox_config(podd, **options)
        self.id = podd.runtime.RunPodSandbox(
            cri.RunPodSandboxRequest(config=self.config)).pod_sandbox_id

    def create(self, image, command=(), **options):
        config = options.pop("config", None) or container_config(image, command, **options)
        return self.podd.runtime.CreateContainer(cri.CreateContainerRequest(
            pod_sandbox_id=self.id, config=config, sandbox_config=self.config)).container_id

    def start(self, image, command=(), **options):
        container = self.create(image, command, **options)
        self.podd.runtime.StartContainer(cri.StartContainerRequest(container_id=container))
        return container

    def run(self, image, command, **options):
        """Runs to the end; (exit code, log text by stream)."""
        container = self.start(image, command, **options)
        status = wait_exited(self.podd, container)
        return status.exit_code, read_log(status.log_path)

    def status(self):
        return self.podd.runtime.PodSandboxStatus(
            cri.PodSandboxStatusRequest(pod_sandbox_id=self.id)).status

    def stop(self):
        self.podd.runtime.StopPodSandbox(cri.StopPodSandboxRequest(pod_sandbox_id=self.id))

    def remove(self):
        self.stop()
        self.podd.runtime.RemovePodSandbox(cri.RemovePodSandboxRequest(pod_sandbox_id=self.id))


def container_status(podd, container):
    return podd.runtime.ContainerStatus(
        cri.ContainerStatusRequest(container_id=container)).status


def wait_until(condition, timeout=10, what="the condition"):
    timeout = patient(timeout)
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what} did not come true in {timeout} s"
        time.sleep(0.01)


def wait_exited(podd, container, timeout=20):
    def exited():
        status = container_status(podd, container)
        return status if status.state == cri.CONTAINER_EXITED else None
    return wait_until(exited, timeout, f"exit of {container[:12]}")


def read_log(path):
    """{'stdout': bytes, 'stderr': bytes} of a CRI log, its records joined."""
    text = {"stdout": b"", "stderr": b""}
    with open(path, "rb") as f:
        for line in f:
            _, stream, tag, content = line.rstrip(b"\n").split(b" ", 3)
            text[stream.decode()] += content + (b"\n" if tag == b"F" else b"")
    return text


def exec_sync(podd, container, *command, timeout=None):
    """`timeout` is meant as it is; without one the command gets plenty."""
    return podd.runtime.ExecSync(cri.ExecSyncRequest(
        container_id=container, cmd=list(command), timeout=timeout or int(patient(10))))


def stop_container(podd, container, timeout=0):
    podd.runtime.StopContainer(cri.StopContainerRequest(container_id=container, timeout=timeout))


def remove_container(podd, container):
    podd.runtime.RemoveContainer(cri.RemoveContainerRequest(container_id=container))


def code_of(call, *arguments):
    """(status code, message) that a call fails with."""
    try:
        call(*arguments)
    except grpc.RpcError as error:
        return error.code(), error.details()
    raise AssertionError("the call succeeded, but it should fail")
