"""What the API text leaves open and clients rely on: errors, edges and orders of CRI's calls.

Rules that have a test beside what they belong to (test_sandbox, test_container, test_exec,
test_streaming, test_images, test_logs, test_restart) are not here again.
"""
import concurrent.futures
import json
import os
import time

import cri_pb2 as cri
import grpc
import pytest

from lib import daemon, images, kernel
from lib.cri import (Pod, code_of, container_config, container_status, exec_sync, read_log,
                     remove_container, sandbox_config, stop_container, wait_exited, wait_until)
from lib.patience import patient

UNKNOWN = "d" * 64
REFUSED = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION)


def sandboxes(podd, **filters):
    request = cri.ListPodSandboxRequest(filter=cri.PodSandboxFilter(**filters))
    return {item.id: item for item in podd.runtime.ListPodSandbox(request).items}


def containers(podd, **filters):
    request = cri.ListContainersRequest(filter=cri.ContainerFilter(**filters))
    return {item.id: item for item in podd.runtime.ListContainers(request).containers}


def start(podd, container):
    podd.runtime.StartContainer(cri.StartContainerRequest(container_id=container))


def output_of(pod, command, **options):
    code, log = pod.run("busybox", ["sh", "-c", command], **options)
    assert code == 0, log
    return log["stdout"].decode()


# ---- Requests that lack something -------------------------------------------------------------------


def methods():
    for service in cri.DESCRIPTOR.services_by_name.values():
        for method in service.methods:
            yield pytest.param(service, method, id=method.name)


@pytest.mark.parametrize("service, method", methods())
def test_an_empty_request_is_answered_or_refused(podd, service, method):
    """Never a crash, and never a code that clients take for something else."""
    call = podd.connect().unary_stream(
        f"/{service.full_name}/{method.name}", request_serializer=lambda _: b"",
        response_deserializer=lambda data: data)(b"", timeout=patient(1))
    try:
        next(iter(call), None)
        call.cancel()
    except grpc.RpcError as error:
        allowed = [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED]
        if method.name == "GetContainerEvents":  # nothing happens meanwhile
            allowed.append(grpc.StatusCode.DEADLINE_EXCEEDED)
        assert error.code() in allowed, error.details()
    assert podd.is_ready()


# ---- Ids and names --------------------------------------------------------------------------------


def test_short_ids_do_wherever_ids_do(podd, no_leaks):
    pod = Pod(podd)
    short = pod.id[:13]
    container = podd.runtime.CreateContainer(cri.CreateContainerRequest(
        pod_sandbox_id=short, config=container_config("busybox", ["sleep", "100"]),
        sandbox_config=pod.config)).container_id
    start(podd, container[:13])
    assert exec_sync(podd, container[:13], "echo", "here").stdout == b"here\n"
    assert container_status(podd, container[:13]).id == container
    assert set(containers(podd, pod_sandbox_id=short)) == {container}
    assert set(containers(podd, id=container[:13], pod_sandbox_id=short)) == {container}
    stop_container(podd, container[:13])
    remove_container(podd, container[:13])
    podd.runtime.StopPodSandbox(cri.StopPodSandboxRequest(pod_sandbox_id=short))
    podd.runtime.RemovePodSandbox(cri.RemovePodSandboxRequest(pod_sandbox_id=short))
    assert pod.id not in sandboxes(podd)


def test_a_prefix_of_several_ids_is_none_of_them(podd, pod):
    """Of seventeen ids two begin with the same digit."""
    ids = [pod.create("busybox", ["true"]) for _ in range(17)]
    prefix = next(i[0] for i in ids if sum(other[0] == i[0] for other in ids) > 1)
    assert len(set(ids)) == 17
    code, message = code_of(container_status, podd, prefix)
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "several" in message
    assert not containers(podd, id=prefix)
    for call in (stop_container, remove_container, start):
        assert code_of(call, podd, prefix)[0] == grpc.StatusCode.INVALID_ARGUMENT
    assert set(ids) == set(containers(podd, pod_sandbox_id=pod.id))


@pytest.mark.parametrize("deadline", [0.001, 0.003, 0.01, 0.03])
def test_a_pod_whose_client_left_is_made_or_undone(podd, no_leaks, deadline):
    """The same request again gets a pod, and there is never more than one."""
    config = sandbox_config(podd)
    request = cri.RunPodSandboxRequest(config=config)
    for _ in range(3):
        try:
            podd.runtime.RunPodSandbox(request, timeout=deadline)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    pod = Pod(podd, config=config)
    named = [i for i, item in sandboxes(podd).items() if item.metadata == config.metadata]
    assert named == [pod.id]
    assert pod.run("busybox", ["true"])[0] == 0
    pod.remove()


@pytest.mark.parametrize("deadline", [0.001, 0.003, 0.01])
def test_a_container_whose_client_left_is_made_or_undone(podd, pod, deadline):
    config = container_config("busybox", ["true"])
    for _ in range(3):
        try:
            podd.runtime.CreateContainer(cri.CreateContainerRequest(
                pod_sandbox_id=pod.id, config=config, sandbox_config=pod.config), timeout=deadline)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    container = pod.create("", config=config)
    assert set(containers(podd, pod_sandbox_id=pod.id)) == {container}


def test_a_failed_pod_gives_its_name_back(podd, no_leaks):
    config = sandbox_config(podd)
    config.port_mappings.add(container_port=80, host_port=18080)
    holder = Pod(podd, config=config)
    config.metadata.uid += "-other"
    for _ in range(2):
        code, message = code_of(podd.runtime.RunPodSandbox, cri.RunPodSandboxRequest(config=config))
        assert code is not None and "18080" in message
        assert set(sandboxes(podd)) & {holder.id} and len(
            [i for i in sandboxes(podd).values() if i.metadata == config.metadata]) == 0
    holder.remove()
    Pod(podd, config=config).remove()


# ---- Times ----------------------------------------------------------------------------------------


def test_times_are_strictly_ordered(podd, pod):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda _: pod.create("busybox", ["true"]), range(16)))
    made = [containers(podd)[i].created_at for i in ids]
    assert len(set(made)) == 16 and min(made) > pod.status().created_at > 0
    listed = [c.created_at for c in podd.runtime.ListContainers(cri.ListContainersRequest()).containers]
    assert listed == sorted(listed)
    status = container_status(podd, ids[0])
    assert (status.started_at, status.finished_at) == (0, 0)
    start(podd, ids[0])
    status = wait_exited(podd, ids[0])
    assert status.created_at < status.started_at <= status.finished_at <= time.time_ns()


# ---- Pods -----------------------------------------------------------------------------------------


def test_a_pod_without_linux_is_all_defaults(podd, no_leaks):
    """crictl's smallest pod: a shared PID namespace, and a container without linux as well."""
    config = sandbox_config(podd)
    config.ClearField("linux")
    pod = Pod(podd, config=config)
    assert pod.status().network.ip
    container = pod.start("", config=cri.ContainerConfig(
        metadata=cri.ContainerMetadata(name="c"), image=cri.ImageSpec(image="busybox"),
        command=["sleep", "100"]))
    assert exec_sync(podd, container, "cat", "/proc/1/cmdline").stdout != b"sleep\x00100\x00"
    assert pod.status().linux.namespaces.options == cri.NamespaceOption()
    pod.remove()


def test_without_a_log_path_output_goes_nowhere(podd, no_leaks):
    config = sandbox_config(podd)
    pod = Pod(podd, config=config)
    container = pod.start("busybox", ["sh", "-c", "head -c 3000000 /dev/zero; exit 4"], log_path="")
    status = wait_exited(podd, container)
    assert (status.exit_code, status.log_path) == (4, "")
    assert os.listdir(config.log_directory) == []
    pod.remove()


def test_a_stopped_pod_keeps_what_it_had_and_takes_nothing_new(podd, no_leaks):
    pod = Pod(podd)
    stubborn = pod.start("busybox", ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done"])
    created = pod.create("busybox", ["true"])
    log = container_status(podd, stubborn).log_path
    wait_until(lambda: read_log(log)["stdout"] == b"up\n", what="its output")
    address = pod.status().network.ip
    began = time.monotonic()
    pod.stop()
    assert time.monotonic() - began < patient(3), "a pod is stopped by force"
    assert address and pod.status().HasField("network") and pod.status().network.ip == ""
    assert container_status(podd, stubborn).state == cri.CONTAINER_EXITED
    assert container_status(podd, stubborn).exit_code == 137
    assert {stubborn, created} <= set(containers(podd, pod_sandbox_id=pod.id))
    for call in (lambda: start(podd, created), lambda: exec_sync(podd, stubborn, "true"),
                 lambda: pod.create("busybox", ["true"]),
                 lambda: podd.runtime.PortForward(cri.PortForwardRequest(pod_sandbox_id=pod.id))):
        assert code_of(call)[0] == grpc.StatusCode.FAILED_PRECONDITION
    pod.remove()
    assert read_log(log)["stdout"] == b"up\n", "logs are kubelet's to remove"
    assert code_of(container_status, podd, stubborn)[0] == grpc.StatusCode.NOT_FOUND


def test_the_status_of_a_pod_carries_its_containers(podd, pod):
    """With a time and without containers kubelet's evented PLEG would think there are none."""
    ids = {pod.start("busybox", ["sleep", "100"]), pod.create("busybox", ["true"])}
    answer = podd.runtime.PodSandboxStatus(cri.PodSandboxStatusRequest(pod_sandbox_id=pod.id))
    assert {c.id for c in answer.containers_statuses} == ids
    assert abs(answer.timestamp - time.time_ns()) < patient(60) * 1_000_000_000
    for status in answer.containers_statuses:
        assert status == container_status(podd, status.id)
    assert not answer.info


def test_verbose_information_is_json(podd, pod):
    container = pod.start("busybox", ["sleep", "100"])
    answers = [
        podd.runtime.ContainerStatus(cri.ContainerStatusRequest(container_id=container, verbose=True)),
        podd.runtime.PodSandboxStatus(cri.PodSandboxStatusRequest(pod_sandbox_id=pod.id, verbose=True)),
        podd.runtime.Status(cri.StatusRequest(verbose=True)),
        podd.images.ImageStatus(cri.ImageStatusRequest(image=cri.ImageSpec(image="busybox"), verbose=True))]
    for answer in answers:
        assert answer.info
        for value in answer.info.values():
            assert not value.startswith("{") or isinstance(json.loads(value), dict)
    info = json.loads(answers[0].info["info"])
    assert info["sandboxID"] == pod.id and info["config"]["metadata"]["name"]
    assert os.path.exists(f"/proc/{info['pid']}")
    pod_info = json.loads(answers[1].info["info"])
    assert os.readlink(f"/proc/{pod_info['pid']}/ns/net") == os.readlink(f"/proc/{info['pid']}/ns/net")


def test_pod_resources_are_kept_as_told(podd, pod):
    request = cri.UpdatePodSandboxResourcesRequest(pod_sandbox_id=pod.id)
    request.resources.cpu_shares = 512
    podd.runtime.UpdatePodSandboxResources(request)
    request.pod_sandbox_id = UNKNOWN
    assert code_of(podd.runtime.UpdatePodSandboxResources, request)[0] == grpc.StatusCode.NOT_FOUND


def test_equal_container_ports_need_no_host_port(podd, no_leaks):
    pods = []
    for _ in range(2):
        config = sandbox_config(podd)
        config.port_mappings.add(container_port=80)
        pods.append(Pod(podd, config=config))
    for pod in pods:
        pod.remove()


# ---- The pod's environment --------------------------------------------------------------------------


def test_a_pods_files_and_sysctls_by_default(podd, pod):
    assert output_of(pod, "cat /etc/resolv.conf") == open("/etc/resolv.conf", encoding="utf-8").read()
    assert "localhost" in output_of(pod, "cat /etc/hosts")
    shm = output_of(pod, "grep ' /dev/shm ' /proc/mounts").split()
    assert shm[2] == "tmpfs" and {"size=65536k", "nosuid", "nodev", "noexec"} <= set(shm[3].split(","))
    assert output_of(pod, "stat -c %a /dev/shm") == "1777\n"
    assert output_of(pod, "cat /proc/sys/net/ipv4/ping_group_range").split() == ["0", "2147483647"]
    assert output_of(pod, "[ $HOSTNAME = $(hostname) ] && [ $(cat /etc/hostname) = $HOSTNAME ] && echo same")


def test_empty_dns_is_an_empty_file(podd, no_leaks):
    pod = Pod(podd, dns_config=cri.DNSConfig())
    assert output_of(pod, "cat /etc/resolv.conf") == ""
    pod.remove()


def test_a_mount_takes_the_place_of_the_pods_own_file(podd, pod, tmp_path):
    for name in ("resolv.conf", "hosts"):
        (tmp_path / name).write_text(f"my {name}\n")
    config = container_config("busybox", ["cat", "/etc/resolv.conf", "/etc/hosts"])
    for name in ("resolv.conf", "hosts"):
        config.mounts.add(container_path=f"/etc/{name}", host_path=str(tmp_path / name))
    container = pod.start("", config=config)
    assert read_log(wait_exited(podd, container).log_path)["stdout"] == b"my resolv.conf\nmy hosts\n"


def test_sysctls_of_namespaces_that_are_the_nodes_are_refused(podd, no_leaks):
    for sysctl, namespace in (("net.ipv4.ip_forward", "network"), ("kernel.shmmax", "ipc"),
                              ("fs.mqueue.msg_max", "ipc")):
        linux = cri.LinuxPodSandboxConfig(sysctls={sysctl: "1"})
        setattr(linux.security_context.namespace_options, namespace, cri.NODE)
        code, message = code_of(podd.runtime.RunPodSandbox, cri.RunPodSandboxRequest(
            config=sandbox_config(podd, linux=linux)))
        assert code == grpc.StatusCode.INVALID_ARGUMENT and sysctl in message


def test_the_nodes_ipc_namespace_brings_its_shared_memory(podd, no_leaks):
    linux = cri.LinuxPodSandboxConfig()
    linux.security_context.namespace_options.ipc = cri.NODE
    linux.security_context.namespace_options.pid = cri.CONTAINER
    pod = Pod(podd, linux=linux)
    name = f"/dev/shm/podd-test-{pod.id[:12]}"
    try:
        with open(name, "w", encoding="ascii") as f:
            f.write("the node's\n")
        assert output_of(pod, f"cat {name}") == "the node's\n"
        assert output_of(pod, "readlink /proc/self/ns/ipc").strip() == os.readlink("/proc/self/ns/ipc")
    finally:
        os.unlink(name)
        pod.remove()


@pytest.mark.vm
def test_the_process_namespace_of_another_container(podd, pod, no_leaks):
    target = pod.start("busybox", ["sleep", "4711"])
    other = Pod(podd)
    stranger = other.start("busybox", ["sleep", "100"])
    gone = pod.start("busybox", ["true"])
    wait_exited(podd, gone)

    def config(target_id):
        wish = container_config("busybox", ["ps", "-o", "args"])
        wish.linux.security_context.namespace_options.pid = cri.TARGET
        wish.linux.security_context.namespace_options.target_id = target_id
        return wish
    container = pod.start("", config=config(target))
    assert b"sleep 4711" in read_log(wait_exited(podd, container).log_path)["stdout"]
    for bad in (UNKNOWN, stranger, gone, ""):
        assert code_of(lambda: pod.create("", config=config(bad)))[0] is not None  # pylint: disable=cell-var-from-loop
    late = pod.create("", config=config(target))
    stop_container(podd, target)
    assert code_of(start, podd, late)[0] == grpc.StatusCode.FAILED_PRECONDITION
    other.remove()


# ---- Containers: life -------------------------------------------------------------------------------


def test_stopping_what_does_not_run_changes_nothing(podd, pod):
    created, exited = pod.create("busybox", ["true"]), pod.start("busybox", ["sh", "-c", "exit 3"])
    wait_exited(podd, exited)
    before = container_status(podd, created), container_status(podd, exited)
    for container in (created, exited):
        for _ in range(2):
            stop_container(podd, container, timeout=5)
    assert (container_status(podd, created), container_status(podd, exited)) == before
    start(podd, created)


def test_a_negative_grace_is_none(podd, pod):
    container = pod.start("busybox", ["sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"])
    began = time.monotonic()
    stop_container(podd, container, timeout=-7)
    assert time.monotonic() - began < patient(3)
    assert container_status(podd, container).exit_code == 137


def test_removals_and_starts_at_once_do_not_harm(podd, pod):
    for _ in range(5):
        container = pod.create("busybox", ["sleep", "100"])
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            began = pool.submit(start, podd, container)
            removed = [pool.submit(remove_container, podd, container) for _ in range(3)]
            errors = [f.exception() for f in [began, *removed]]
        for error in filter(None, errors):
            assert error.code() in (grpc.StatusCode.NOT_FOUND, *REFUSED, grpc.StatusCode.ABORTED,
                                    grpc.StatusCode.CANCELLED), error.details()
        remove_container(podd, container)
        assert container not in containers(podd)


@pytest.mark.vm
def test_nothing_of_a_container_outlives_its_first_process(podd, no_leaks):
    """In a shared PID namespace nothing but podd ends them: children, and what exec began."""
    pod = Pod(podd, linux=cri.LinuxPodSandboxConfig())
    linux = cri.LinuxContainerConfig()
    watcher = pod.start("busybox", ["sleep", "1000"], linux=linux)
    container = pod.start("busybox", ["sh", "-c", "sleep 4321 & (setsid sleep 4322 &) ; echo up; wait"],
                          linux=linux)
    log = container_status(podd, container).log_path
    wait_until(lambda: read_log(log)["stdout"] == b"up\n", what="its output")
    session = podd.runtime.ExecSync.future(cri.ExecSyncRequest(
        container_id=container, cmd=["sleep", "4323"], timeout=60))

    def sleeps():
        lines = exec_sync(podd, watcher, "ps", "-o", "args").stdout.decode().splitlines()
        return sorted(line for line in lines if line.startswith("sleep 43"))
    wait_until(lambda: len(sleeps()) == 3, what="three processes")
    stop_container(podd, container)
    assert sleeps() == []
    session.exception(patient(10))
    pod.remove()


def test_a_failed_start_has_times_and_cannot_be_repeated(podd, pod):
    (denied, missing) = (pod.create("busybox", ["/etc/passwd"]), pod.create("busybox", ["/nowhere"]))
    for container in (denied, missing):
        code, message = code_of(start, podd, container)
        assert code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND,
                        grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.UNKNOWN), message
        status = container_status(podd, container)
        assert (status.exit_code, status.reason, status.started_at) == (128, "StartError", 0)
        assert status.finished_at >= status.created_at and status.message in message
        assert code_of(start, podd, container)[0] == grpc.StatusCode.FAILED_PRECONDITION


def test_an_exited_container_keeps_its_status_without_pod_and_image(podd, no_leaks, tmp_path):
    archive = tmp_path / "own.tar"
    archive.write_bytes(images.busybox_layer([("own", b"another image than busybox")]))
    podd.podctl("image", "import", "--name", "example.org/own:1", archive)
    pod = Pod(podd)
    config = container_config("example.org/own:1", ["sh", "-c", "exit 5"], labels={"a": "b"})
    config.mounts.add(container_path="/m", host_path=str(tmp_path), readonly=True)
    config.linux.resources.memory_limit_in_bytes = 64 << 20
    container = pod.start("", config=config)
    before = wait_exited(podd, container)
    pod.stop()
    podd.images.RemoveImage(cri.RemoveImageRequest(image=cri.ImageSpec(image="example.org/own:1")))
    after = container_status(podd, container)
    assert after == before, f"{before}\n{after}"
    assert after.image_id.startswith("sha256:") and after.image_ref and after.image.image
    pod.remove()


@pytest.mark.vm
def test_limits_change_only_as_far_as_they_are_told(podd, pod):
    def update(container, **fields):
        podd.runtime.UpdateContainerResources(cri.UpdateContainerResourcesRequest(
            container_id=container, linux=cri.LinuxContainerResources(**fields)))

    def limits(container):
        return container_status(podd, container).resources.linux
    config = container_config("busybox", ["sleep", "100"])
    config.linux.resources.cpu_shares = 512
    config.linux.resources.memory_limit_in_bytes = 64 << 20
    container = pod.create("", config=config)
    update(container, memory_limit_in_bytes=32 << 20)
    assert (limits(container).cpu_shares, limits(container).memory_limit_in_bytes) == (512, 32 << 20)
    start(podd, container)
    root = kernel.cgroup_roots().get("memory", "/sys/fs/cgroup")
    file = "memory.max" if kernel.is_cgroup_v2() else "memory.limit_in_bytes"

    def in_kernel():
        with open(f"{root}/podd/{container}/{file}", encoding="ascii") as f:
            return int(f.read())
    assert in_kernel() == 32 << 20
    update(container, cpu_quota=20000, cpu_period=100000)
    assert in_kernel() == 32 << 20 and limits(container).memory_limit_in_bytes == 32 << 20
    update(container, memory_limit_in_bytes=48 << 20)
    assert in_kernel() == 48 << 20
    assert (limits(container).cpu_shares, limits(container).cpu_quota) == (512, 20000)
    stop_container(podd, container)
    assert code_of(lambda: update(container, cpu_shares=2))[0] == grpc.StatusCode.FAILED_PRECONDITION
    assert limits(container).memory_limit_in_bytes == 48 << 20
    assert code_of(lambda: update(UNKNOWN, cpu_shares=2))[0] == grpc.StatusCode.NOT_FOUND


# ---- Containers: what runs ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def image(podd, busybox_tar, work):
    """An image with an entry point, arguments, a user and a signal of its own."""
    layout = images.Layout(work / "rules-layout")
    layout.tag(layout.image([busybox_tar.read_bytes()], {  # another configuration: another image
        "Entrypoint": ["sh", "-c", "trap 'exit 41' QUIT; echo $0 $* $PATH $A; while [ $1 ]; do sleep 0.05; done"],
        "Cmd": ["image", "arguments"], "StopSignal": "SIGQUIT", "Env": ["A=of the image", "PATH=/bin"],
        "User": "1000:50000", "WorkingDir": "/home/alice"}), "example.org/rules:1")
    podd.podctl("image", "import", layout.archive(work / "rules.tar"))
    yield "example.org/rules:1"
    podd.images.RemoveImage(cri.RemoveImageRequest(image=cri.ImageSpec(image="example.org/rules:1")))


def test_command_and_arguments_replace_entry_point_and_arguments(podd, pod, image):
    for command, arguments, expected in (
            (["sh", "-c", "echo own"], [], b"own\n"),
            (["sh", "-c"], ["echo both"], b"both\n"),
            ([], ["given"], b"given /bin of the image\n")):
        config = container_config(image, command, args=arguments)
        container = pod.start("", config=config)
        assert read_log(wait_exited(podd, container).log_path)["stdout"] == expected
    code, message = code_of(lambda: pod.create("busybox", []))
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "command" in message


def test_the_images_user_directory_and_signal_count_also_without_the_image(podd, pod, image):
    status = podd.images.ImageStatus(cri.ImageStatusRequest(image=cri.ImageSpec(image=image))).image
    assert status.uid.value == 1000 and status.username == ""
    container = pod.start(image, [])
    log = container_status(podd, container).log_path
    wait_until(lambda: read_log(log)["stdout"] == b"image arguments /bin of the image\n", what="output")
    assert exec_sync(podd, container, "sh", "-c", "id -u; id -g; pwd; cat /proc/1/cmdline | wc -c") \
        .stdout.split()[:3] == [b"1000", b"50000", b"/home/alice"]
    stop_container(podd, container, timeout=20)
    assert container_status(podd, container).exit_code == 41


def test_a_terminals_environment(podd, pod):
    container = pod.start("busybox", ["sh", "-c", "echo $TERM; tty; echo error >&2"], tty=True)
    log = read_log(wait_exited(podd, container).log_path)
    assert log["stderr"] == b"" and log["stdout"].replace(b"\r", b"") == b"xterm\n/dev/pts/0\nerror\n"


@pytest.mark.parametrize("wish", ["missing profile", "relative profile", "broken profile"])
def test_seccomp_profiles_are_looked_up_at_create(podd, pod, tmp_path, wish):
    config = container_config("busybox", ["true"])
    profile = config.linux.security_context.seccomp
    profile.profile_type = cri.SecurityProfile.Localhost
    (tmp_path / "broken.json").write_text("{")
    profile.localhost_ref = {"missing profile": "/no/such.json", "relative profile": "such.json",
                             "broken profile": str(tmp_path / "broken.json")}[wish]
    code, message = code_of(lambda: pod.create("", config=config))
    assert code in (*REFUSED, grpc.StatusCode.NOT_FOUND) and profile.localhost_ref in message
    assert not containers(podd, pod_sandbox_id=pod.id)


@pytest.mark.parametrize("path, mode", [("runtime/default", 2), ("docker/default", 2), ("unconfined", 0), ("", 0)])
def test_the_old_seccomp_field_still_counts(podd, pod, path, mode):
    config = container_config("busybox", ["grep", "Seccomp:", "/proc/self/status"])
    config.linux.security_context.seccomp_profile_path = path
    container = pod.start("", config=config)
    assert read_log(wait_exited(podd, container).log_path)["stdout"].split() == [b"Seccomp:", b"%d" % mode]


@pytest.mark.vm
def test_mounts_of_every_kind(podd, pod, tmp_path):
    """Parents before children whatever their order; links on the node followed, links in the image
    not out of it; files, and fifos."""
    (tmp_path / "outer").mkdir()
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/file").write_text("inner\n")
    (tmp_path / "link").symlink_to(tmp_path / "inner/file")
    os.mkfifo(tmp_path / "fifo")
    config = container_config("busybox", ["sh", "-c", "cat /a/b/c/file /etc/linked; [ -p /fifo ] && ls /a/b"])
    config.mounts.add(container_path="/a/b/c", host_path=str(tmp_path / "inner"))
    config.mounts.add(container_path="/a/b", host_path=str(tmp_path / "outer"))
    config.mounts.add(container_path="/etc/linked", host_path=str(tmp_path / "link"))
    config.mounts.add(container_path="/fifo", host_path=str(tmp_path / "fifo"))
    config.linux.security_context.readonly_rootfs = True
    container = pod.start("", config=config)
    status = wait_exited(podd, container)
    assert read_log(status.log_path)["stdout"] == b"inner\ninner\nc\n", read_log(status.log_path)
    assert [m.container_path for m in status.mounts] == [m.container_path for m in config.mounts]
    assert [m.host_path for m in status.mounts] == [m.host_path for m in config.mounts]


@pytest.mark.parametrize("wish", [
    {"readonly": False, "recursive_read_only": True},
    {"readonly": True, "recursive_read_only": True, "propagation": cri.PROPAGATION_HOST_TO_CONTAINER},
    {"readonly": True, "recursive_read_only": True, "propagation": cri.PROPAGATION_BIDIRECTIONAL},
])
def test_what_cannot_be_read_only_throughout_is_refused(podd, pod, tmp_path, wish):
    config = container_config("busybox", ["true"])
    config.mounts.add(container_path="/m", host_path=str(tmp_path), **wish)
    code, message = code_of(lambda: pod.create("", config=config))
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "recursive_read_only" in message


@pytest.mark.parametrize("spoil, word", [
    (lambda c: c.windows.SetInParent(), "windows"),
    (lambda c: c.mounts.add(container_path="/m", host_path="/", image_sub_path="sub"), "image_sub_path"),
    (lambda c: c.mounts.add(container_path="/m", host_path="/", propagation=-1), "propagation"),
    (lambda c: setattr(c.linux.security_context, "supplemental_groups_policy", -1), "policy"),
    (lambda c: setattr(c.linux.security_context.namespace_options, "network", cri.NODE), "network"),
    (lambda c: setattr(c.linux.security_context.namespace_options, "network", cri.TARGET), "network"),
    (lambda c: setattr(c.linux.security_context.namespace_options, "ipc", cri.NODE), "IPC"),
    (lambda c: setattr(c.linux.security_context.namespace_options, "ipc", cri.CONTAINER), "IPC"),
    (lambda c: setattr(c.linux.security_context.namespace_options, "ipc", 9), "ipc"),
    (lambda c: setattr(c.linux.security_context.namespace_options, "target_id", "a" * 64), "target_id"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_what_a_container_cannot_have_is_refused(podd, pod, spoil, word):
    """Never left out in silence."""
    config = container_config("busybox", ["true"])
    spoil(config)
    code, message = code_of(lambda: pod.create("", config=config))
    assert code == grpc.StatusCode.INVALID_ARGUMENT and word in message, message


def test_an_update_for_windows_is_refused(podd, pod):
    container = pod.create("busybox", ["true"])
    request = cri.UpdateContainerResourcesRequest(container_id=container)
    request.windows.SetInParent()
    code, message = code_of(podd.runtime.UpdateContainerResources, request)
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "windows" in message


def test_the_nodes_namespaces_may_be_named_again(podd, no_leaks):
    linux = cri.LinuxPodSandboxConfig()
    linux.security_context.namespace_options.network = cri.NODE
    linux.security_context.namespace_options.ipc = cri.NODE
    made = Pod(podd, linux=linux)
    config = container_config("busybox", ["true"])
    config.linux.security_context.namespace_options.CopyFrom(linux.security_context.namespace_options)
    made.create("", config=config)
    made.remove()


def test_status_says_how_the_user_named_the_image(podd, pod):
    config = container_config("busybox", ["true"])
    config.image.user_specified_image = "docker.io/library/busybox:stable"
    config.image.annotations["a"] = "b"
    image = container_status(podd, pod.create("", config=config)).image
    assert image.user_specified_image == "docker.io/library/busybox:stable"
    assert dict(image.annotations) == {"a": "b"}


def test_a_device_that_is_not_there_is_named(podd, pod):
    config = container_config("busybox", ["true"])
    config.devices.add(container_path="/dev/x", host_path="/dev/no-such-device", permissions="rwm")
    code, message = code_of(lambda: pod.create("", config=config))
    assert code in (*REFUSED, grpc.StatusCode.NOT_FOUND) and "/dev/no-such-device" in message


# ---- Logs ---------------------------------------------------------------------------------------------


def test_a_dangling_link_is_replaced_by_the_log(podd, pod):
    path = f"{pod.config.log_directory}/linked.log"
    os.symlink("/no/such/place", path)
    container = pod.start("busybox", ["echo", "here"], log_path="linked.log")
    status = wait_exited(podd, container)
    assert status.log_path == path and read_log(path)["stdout"] == b"here\n"
    assert not os.path.exists("/no/such/place")


def test_a_link_to_a_file_is_not_written_through(podd, pod, tmp_path):
    (tmp_path / "precious").write_text("untouched\n")
    os.symlink(tmp_path / "precious", f"{pod.config.log_directory}/link.log")
    container = pod.create("busybox", ["echo", "here"], log_path="link.log")
    code, message = code_of(start, podd, container)
    assert code == grpc.StatusCode.FAILED_PRECONDITION and "link.log: it is a symbolic link" in message
    assert (tmp_path / "precious").read_text() == "untouched\n"


def test_a_log_that_is_missing_is_made_again(podd, pod):
    container = pod.start("busybox", ["sh", "-c", "while :; do echo x; sleep 0.02; done"])
    path = container_status(podd, container).log_path
    os.unlink(path)
    request = cri.ReopenContainerLogRequest(container_id=container)
    podd.runtime.ReopenContainerLog(request)
    wait_until(lambda: os.path.getsize(path) > 0, what="a new log")
    os.rename(path, path + ".1")
    os.rename(pod.config.log_directory, pod.config.log_directory + ".away")
    try:
        assert code_of(podd.runtime.ReopenContainerLog, request)[0] is not None
        assert not os.path.exists(path)
    finally:
        os.rename(pod.config.log_directory + ".away", pod.config.log_directory)
    size = os.path.getsize(path + ".1")
    wait_until(lambda: os.path.getsize(path + ".1") > size, what="output in the old log")


# ---- The node -----------------------------------------------------------------------------------------


def test_pod_cidrs_may_be_told_again_and_again(podd, no_leaks):
    def tell(cidr):
        podd.runtime.UpdateRuntimeConfig(cri.UpdateRuntimeConfigRequest(
            runtime_config=cri.RuntimeConfig(network_config=cri.NetworkConfig(pod_cidr=cidr))))
    for _ in range(2):
        tell("")
        podd.runtime.UpdateRuntimeConfig(cri.UpdateRuntimeConfigRequest())
    code, message = code_of(tell, "10.86.0.0/99")
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "10.86.0.0/99" in message
    pod = Pod(podd)
    assert pod.status().network.ip.startswith("10.86.")
    pod.remove()


def test_a_node_without_images_answers_about_them():
    """Clients ask for the file system before anything else, and give up without an answer."""
    server = daemon.Podd("empty", "network: {bridge: podd2, pools: [10.89.0.0/16]}\n").start()
    try:
        found = server.images.ImageFsInfo(cri.ImageFsInfoRequest()).image_filesystems
        assert len(found) == 1 and os.path.isdir(found[0].fs_id.mountpoint)
        assert found[0].timestamp > 0 and found[0].HasField("used_bytes")
        assert not server.images.ListImages(cri.ListImagesRequest()).images
        for name in ("busybox", "sha256:" + "0" * 64, "0" * 64):
            spec = cri.ImageSpec(image=name)
            assert not server.images.ImageStatus(cri.ImageStatusRequest(image=spec)).HasField("image")
            server.images.RemoveImage(cri.RemoveImageRequest(image=spec))
        assert not server.runtime.ListContainers(cri.ListContainersRequest()).containers
    finally:
        server.close()
