"""Pod sandboxes through CRI: states, names, idempotence, what comes back."""
import concurrent.futures
import uuid

import cri_pb2 as cri
import grpc
import pytest

from lib.cri import Pod, code_of, sandbox_config

UNKNOWN = "f" * 64


def status_of(podd, sandbox):
    return podd.runtime.PodSandboxStatus(cri.PodSandboxStatusRequest(pod_sandbox_id=sandbox))


def listed(podd, **filters):
    request = cri.ListPodSandboxRequest(filter=cri.PodSandboxFilter(**filters))
    return {item.id: item for item in podd.runtime.ListPodSandbox(request).items}


@pytest.mark.vm
def test_runs_stops_and_is_removed(podd, no_leaks):
    pod = Pod(podd)
    assert len(pod.id) == 64 and set(pod.id) <= set("0123456789abcdef")
    assert pod.status().state == cri.SANDBOX_READY
    assert pod.status().created_at > 0
    assert pod.id in listed(podd)

    pod.stop()
    assert pod.status().state == cri.SANDBOX_NOTREADY
    assert pod.status().network.ip == ""
    assert pod.id in listed(podd)

    pod.remove()
    assert pod.id not in listed(podd)
    code, message = code_of(status_of, podd, pod.id)
    assert code == grpc.StatusCode.NOT_FOUND
    assert pod.id in message


def test_gives_back_what_was_asked(podd, no_leaks):
    labels = {"io.kubernetes.pod.name": "a", "empty": "", "ü": "ß"}
    annotations = {"note": "line 1\nline 2", "big": "x" * 200000}
    config = sandbox_config(podd, attempt=3, labels=labels, annotations=annotations,
                            hostname="my-host")
    config.linux.security_context.namespace_options.ipc = cri.NODE
    pod = Pod(podd, config=config)
    for seen in (pod.status(), listed(podd, id=pod.id)[pod.id]):
        assert seen.metadata == config.metadata
        assert dict(seen.labels) == labels
        assert dict(seen.annotations) == annotations
    options = pod.status().linux.namespaces.options
    assert options == config.linux.security_context.namespace_options
    pod.remove()


def test_stop_and_remove_of_what_is_not_there_succeed(podd):
    for _ in range(2):
        podd.runtime.StopPodSandbox(cri.StopPodSandboxRequest(pod_sandbox_id=UNKNOWN))
        podd.runtime.RemovePodSandbox(cri.RemovePodSandboxRequest(pod_sandbox_id=UNKNOWN))


def test_stop_and_remove_twice_succeed(podd, no_leaks):
    pod = Pod(podd)
    for _ in range(2):
        pod.stop()
    for _ in range(2):
        pod.remove()


@pytest.mark.vm
def test_remove_stops_a_running_pod_with_containers(podd, no_leaks):
    pod = Pod(podd)
    container = pod.start("busybox", ["sleep", "1000"])
    podd.runtime.RemovePodSandbox(cri.RemovePodSandboxRequest(pod_sandbox_id=pod.id))
    assert pod.id not in listed(podd)
    ids = {c.id for c in podd.runtime.ListContainers(cri.ListContainersRequest()).containers}
    assert container not in ids


def test_a_short_unique_prefix_names_it(podd, pod):
    assert status_of(podd, pod.id[:12]).status.id == pod.id
    assert pod.id in listed(podd, id=pod.id[:13])


def test_filters_combine(podd, no_leaks):
    mark = uuid.uuid4().hex
    one = Pod(podd, labels={"test": mark, "which": "1"})
    two = Pod(podd, labels={"test": mark, "which": "2"})
    two.stop()
    assert set(listed(podd, label_selector={"test": mark})) == {one.id, two.id}
    assert set(listed(podd, label_selector={"test": mark, "which": "2"})) == {two.id}
    ready = cri.PodSandboxStateValue(state=cri.SANDBOX_READY)
    assert set(listed(podd, label_selector={"test": mark}, state=ready)) == {one.id}
    assert not listed(podd, id=two.id, label_selector={"which": "1"})
    assert not listed(podd, id=UNKNOWN)
    one.remove()
    two.remove()


def test_a_retry_with_the_same_name_gets_the_same_pod(podd, no_leaks):
    config = sandbox_config(podd)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        ids = {p.id for p in pool.map(lambda _: Pod(podd, config=config), range(4))}
    assert len(ids) == 1
    pod = Pod(podd, config=config)
    assert pod.id in ids
    pod.remove()


def test_the_same_name_with_another_wish_is_refused(podd, no_leaks):
    config = sandbox_config(podd)
    pod = Pod(podd, config=config)
    other = cri.PodSandboxConfig()
    other.CopyFrom(config)
    other.hostname = "elsewhere"
    code, message = code_of(podd.runtime.RunPodSandbox, cri.RunPodSandboxRequest(config=other))
    assert code == grpc.StatusCode.ALREADY_EXISTS
    assert pod.id in message
    pod.remove()


def test_a_name_is_free_again_after_remove_and_next_attempt_works(podd, no_leaks):
    config = sandbox_config(podd)
    first = Pod(podd, config=config)
    first.stop()
    config.metadata.attempt = 1
    second = Pod(podd, config=config)
    assert second.id != first.id
    first.remove()
    second.remove()
    config.metadata.attempt = 0
    again = Pod(podd, config=config)
    assert again.id not in (first.id, second.id)
    again.remove()


@pytest.mark.parametrize("spoil, word", [
    (lambda r: r.ClearField("config"), "config"),
    (lambda r: r.config.ClearField("metadata"), "metadata"),
    (lambda r: setattr(r.config.metadata, "name", ""), "name"),
    (lambda r: setattr(r.config.metadata, "uid", ""), "uid"),
    (lambda r: setattr(r.config.linux.security_context.namespace_options, "network",
                       cri.CONTAINER), "network"),
    (lambda r: setattr(r.config.linux.security_context.namespace_options, "pid", cri.TARGET), "PID"),
    (lambda r: r.config.windows.SetInParent(), "windows"),
    (lambda r: setattr(r, "runtime_handler", "kata"), "kata"),
    (lambda r: setattr(r.config, "hostname", "two\nlines"), "hostname"),
    (lambda r: r.config.dns_config.servers.append("1.1.1.1\noptions evil"), "DNS"),
    (lambda r: r.config.linux.sysctls.update({"kernel.panic": "1"}), "kernel.panic"),
    (lambda r: setattr(r.config, "log_directory", "relative/dir"), "log directory"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_bad_request_says_what_is_wrong(podd, no_leaks, spoil, word):
    before = set(listed(podd))
    request = cri.RunPodSandboxRequest(config=sandbox_config(podd))
    spoil(request)
    code, message = code_of(podd.runtime.RunPodSandbox, request)
    assert code == grpc.StatusCode.INVALID_ARGUMENT, message
    assert word in message
    assert set(listed(podd)) == before


@pytest.mark.vm
def test_hostname_and_dns_are_the_pods(podd, no_leaks):
    dns = cri.DNSConfig(servers=["10.10.10.10"], searches=["google.com"], options=["ndots:8"])
    pod = Pod(podd, hostname="web-0", dns_config=dns)
    code, log = pod.run("busybox", ["sh", "-c", "hostname; cat /etc/hostname; echo $HOSTNAME; "
                                    "cat /etc/resolv.conf"])
    assert code == 0
    assert log["stdout"] == (b"web-0\nweb-0\nweb-0\nsearch google.com\nnameserver 10.10.10.10\n"
                             b"options ndots:8\n")
    pod.remove()


@pytest.mark.vm
def test_sysctls_reach_the_pods_namespaces_only(podd, no_leaks):
    linux = cri.LinuxPodSandboxConfig(sysctls={"net.ipv4.ip_local_port_range": "1024 1999",
                                               "kernel/shm_rmid_forced": "1"})
    linux.security_context.namespace_options.pid = cri.CONTAINER
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as f:
        before = f.read()
    pod = Pod(podd, linux=linux)
    code, log = pod.run("busybox", ["cat", "/proc/sys/net/ipv4/ip_local_port_range",
                                    "/proc/sys/kernel/shm_rmid_forced",
                                    "/proc/sys/net/ipv4/ip_unprivileged_port_start"])
    assert (code, log["stdout"]) == (0, b"1024\t1999\n1\n0\n")
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as f:
        assert f.read() == before
    pod.remove()


@pytest.mark.vm
def test_containers_of_a_pod_share_network_ipc_and_shm(podd, pod):
    writer = pod.start("busybox", ["sh", "-c", "echo shared > /dev/shm/x; hostname; sleep 100"])
    code, log = pod.run("busybox", ["sh", "-c", "until [ -s /dev/shm/x ]; do :; done; cat /dev/shm/x; "
                                    "ls -l /proc/self/ns | sed -n 's/.*-> //p'"])
    assert code == 0 and log["stdout"].startswith(b"shared\n")
    answer = podd.runtime.ExecSync(cri.ExecSyncRequest(
        container_id=writer, cmd=["sh", "-c", "ls -l /proc/self/ns | sed -n 's/.*-> //p'"]))
    one = set(log["stdout"].decode().split()[1:])
    two = set(answer.stdout.decode().split())
    for kind in ("net", "ipc", "uts"):
        assert {n for n in one if n.startswith(kind)} == {n for n in two if n.startswith(kind)}
    assert {n for n in one if n.startswith("mnt")} != {n for n in two if n.startswith("mnt")}


@pytest.mark.vm
def test_a_shared_pid_namespace_has_the_pods_init(podd, no_leaks):
    linux = cri.LinuxPodSandboxConfig()  # all namespaces at zero: shared in the pod
    pod = Pod(podd, linux=linux)
    config = cri.LinuxContainerConfig()
    first = pod.start("busybox", ["sleep", "1234"], linux=config)
    code, log = pod.run("busybox", ["ps", "-o", "pid,args"], linux=config)
    assert code == 0
    assert b"sleep 1234" in log["stdout"]
    with open(f"/proc/{info_pid(podd, first)}/status", encoding="ascii") as f:
        nspid = [line for line in f if line.startswith("NSpid:")][0].split()
    assert nspid[-1] != "1"
    pod.remove()


def info_pid(podd, container):
    import json

    answer = podd.runtime.ContainerStatus(
        cri.ContainerStatusRequest(container_id=container, verbose=True))
    return json.loads(answer.info["info"])["pid"]


@pytest.mark.vm
def test_a_host_network_pod_sees_the_nodes_network(podd, no_leaks):
    linux = cri.LinuxPodSandboxConfig()
    linux.security_context.namespace_options.network = cri.NODE
    linux.security_context.namespace_options.pid = cri.CONTAINER
    pod = Pod(podd, linux=linux)
    assert pod.status().network.ip == ""
    code, log = pod.run("busybox", ["ip", "link"])
    assert code == 0 and b"podd0" in log["stdout"]
    pod.remove()


@pytest.mark.vm
def test_killing_the_shim_ends_the_pod_and_it_can_be_removed(podd, no_leaks):
    import os
    import signal

    from lib.cri import container_status, wait_until

    pod = Pod(podd)
    container = pod.start("busybox", ["sleep", "1000"])
    with open(f"/proc/{info_pid(podd, container)}/status", encoding="ascii") as f:
        shim = int([line for line in f if line.startswith("PPid:")][0].split()[1])
    os.kill(shim, signal.SIGKILL)
    wait_until(lambda: pod.status().state == cri.SANDBOX_NOTREADY, what="NOTREADY")
    wait_until(lambda: container_status(podd, container).state == cri.CONTAINER_EXITED)
    pod.remove()
