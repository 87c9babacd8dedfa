"""Pods whose root is nobody on the node: user namespaces with mapped ids."""
import json
import os
import pathlib
import subprocess
import tempfile

import cri_pb2 as cri
import grpc
import podd_pb2
import pytest
import yaml

from lib import cri as lib
from lib.cri import code_of, container_config, container_status, exec_sync, read_log, wait_exited, wait_until
from lib.userns import FIRST, LENGTH, kernel_version, needs_mapped_layers, pod_options

pytestmark = pytest.mark.vm


@pytest.fixture
def user_pod(podd, no_leaks):
    pod = lib.Pod(podd, linux=pod_options())
    yield pod
    pod.remove()


def script(pod, text):
    code, log = pod.run("busybox", ["sh", "-c", text])
    assert code == 0, log
    return log["stdout"].decode()


def process_on_the_node(podd, container):
    info = podd.runtime.ContainerStatus(cri.ContainerStatusRequest(
        container_id=container, verbose=True)).info["info"]
    return pathlib.Path(f"/proc/{json.loads(info)['pid']}")


@needs_mapped_layers
def test_root_is_nobody_on_the_node(podd, user_pod):
    container = user_pod.start("busybox", ["sleep", "1000"])
    process = process_on_the_node(podd, container)
    status = process.joinpath("status").read_text()
    assert f"Uid:\t{FIRST}\t{FIRST}\t{FIRST}\t{FIRST}" in status
    assert process.joinpath("uid_map").read_text().split() == ["0", str(FIRST), str(LENGTH)]
    assert process.joinpath("gid_map").read_text().split() == ["0", str(FIRST), str(LENGTH)]
    assert exec_sync(podd, container, "id", "-u").stdout == b"0\n"
    answer = exec_sync(podd, container, "sh", "-c", "cat /proc/self/uid_map; id -u")
    assert answer.stdout.split() == [b"0", str(FIRST).encode(), str(LENGTH).encode(), b"0"]


@needs_mapped_layers
def test_files_belong_to_the_containers_root(podd, user_pod):
    text = script(user_pod, """
        for f in / /bin /bin/busybox /etc/hosts /etc/hostname /etc/resolv.conf /dev /dev/null /dev/shm \\
                 /dev/pts /dev/mqueue /proc /sys /tmp; do
            stat -c '%n %u %g' $f
        done
        echo new > /new && chown 5:6 /new && stat -c '%n %u %g' /new
        echo more >> /etc/passwd && stat -c '%n %u %g' /etc/passwd
        touch /dev/shm/x && rm /dev/shm/x""")
    owners = {line.split()[0]: line.split()[1:] for line in text.splitlines()}
    assert owners.pop("/new") == ["5", "6"]
    # The kernel's own are the node's root's, for whom nobody inside stands.
    for path in ("/proc", "/sys", "/dev/mqueue"):
        assert owners.pop(path) == ["65534", "65534"]
    assert set(map(tuple, owners.values())) == {("0", "0")}, owners


@needs_mapped_layers
def test_the_image_is_not_changed_and_others_see_it_as_it_is(podd, user_pod, pod):
    script(user_pod, "chmod 700 /bin/busybox && chown 7 /etc && echo changed > /etc/group")
    text = script(pod, "stat -c '%a %u' /bin/busybox /etc; cat /etc/group")
    assert text.splitlines()[0].endswith(" 0") and text.splitlines()[1].endswith(" 0")
    assert "changed" not in text


@needs_mapped_layers
def test_two_pods_share_no_id(podd, user_pod):
    other = lib.Pod(podd, linux=pod_options(FIRST + LENGTH))
    try:
        paths = [process_on_the_node(podd, p.start("busybox", ["sh", "-c", "touch /mine; sleep 1000"]))
                 for p in (user_pod, other)]
        owners = [wait_until(lambda at=at: (at / "root/mine").exists() and (at / "root/mine").stat().st_uid)
                  for at in paths]
        assert owners == [FIRST, FIRST + LENGTH]
    finally:
        other.remove()


@needs_mapped_layers
def test_other_users_groups_and_limits(podd, user_pod):
    config = container_config("busybox", ["id"])
    context = config.linux.security_context
    context.run_as_user.value = 1000
    context.run_as_group.value = 2000
    context.supplemental_groups.append(3000)
    container = user_pod.start("", config=config)
    log = read_log(wait_exited(podd, container).log_path)
    assert log["stdout"].startswith(b"uid=1000(alice) gid=2000 groups=2000,3000")
    outside = container_config("busybox", ["id"])
    outside.linux.security_context.run_as_user.value = LENGTH
    container = user_pod.create("", config=outside)
    code, message = code_of(podd.runtime.StartContainer,
                            cri.StartContainerRequest(container_id=container))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert f"id {LENGTH} is not in the pod's user namespace" in message


@needs_mapped_layers
def test_a_volume_with_mapped_ids(podd, user_pod):
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        os.chmod(directory, 0o755)
        pathlib.Path(directory, "there").write_text("here\n")
        config = container_config("busybox", ["sh", "-c", "stat -c %u /v/there && touch /v/made && "
                                              "chown 3:4 /v/made"])
        mount = config.mounts.add(container_path="/v", host_path=directory)
        for maps in (mount.uidMappings, mount.gidMappings):
            maps.add(container_id=0, host_id=FIRST, length=LENGTH)
        container = user_pod.start("", config=config)
        status = wait_exited(podd, container)
        log = read_log(status.log_path)
        assert status.exit_code == 0 and log["stdout"] == b"0\n", log
        made = pathlib.Path(directory, "made").stat()
        assert (made.st_uid, made.st_gid) == (3, 4), "on disk the ids are the container's"


@needs_mapped_layers
def test_a_volume_without_maps_is_somebody_elses(podd, user_pod):
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        os.chmod(directory, 0o755)
        config = container_config("busybox", ["sh", "-c", "stat -c %u /v; touch /v/x"])
        config.mounts.add(container_path="/v", host_path=directory)
        status = wait_exited(podd, user_pod.start("", config=config))
        log = read_log(status.log_path)
        assert log["stdout"] == b"65534\n" and status.exit_code != 0, log


@needs_mapped_layers
def test_capabilities_hold_inside_only(podd, user_pod):
    config = container_config("busybox", ["sh", "-c", """
        ip link set lo mtu 1400 && ip link show lo | grep -q 'mtu 1400' &&
        mount -t tmpfs none /mnt 2>/dev/null || mkdir -p /mnt && mount -t tmpfs none /mnt &&
        echo mounted && hostname changed && hostname &&
        ! dd if=/dev/zero of=/proc/sysrq-trigger bs=1 count=1 2>/dev/null &&
        ! sysctl -w kernel.panic=1 2>/dev/null && echo kept"""])
    config.linux.security_context.capabilities.add_capabilities.append("ALL")
    config.linux.security_context.seccomp.profile_type = cri.SecurityProfile.Unconfined
    config.linux.security_context.apparmor.profile_type = cri.SecurityProfile.Unconfined
    status = wait_exited(podd, user_pod.start("", config=config))
    log = read_log(status.log_path)
    assert log["stdout"] == b"mounted\nchanged\nkept\n", log


@needs_mapped_layers
def test_terminals_and_streams_can_be_opened_again(podd, user_pod):
    config = container_config("busybox", ["sh", "-c", "echo out > /dev/stdout; echo err > /dev/stderr"])
    config.linux.security_context.run_as_user.value = 1000
    status = wait_exited(podd, user_pod.start("", config=config))
    assert read_log(status.log_path) == {"stdout": b"out\n", "stderr": b"err\n"}
    tty = container_config("busybox", ["sh", "-c", "tty && stat -c %u $(tty) && echo x > $(tty)"], tty=True)
    status = wait_exited(podd, user_pod.start("", config=tty))
    assert status.exit_code == 0
    assert read_log(status.log_path)["stdout"].split() == [b"/dev/pts/0", b"0", b"x"]


@needs_mapped_layers
def test_it_stays_over_a_crash_of_podd(own_podd):
    pod = lib.Pod(own_podd, linux=pod_options())
    first = pod.start("busybox", ["sleep", "1000"])
    own_podd.kill()
    own_podd.start()
    assert exec_sync(own_podd, first, "cat", "/proc/self/uid_map").stdout.split()[1] == \
        str(FIRST).encode()
    again = pod.start("busybox", ["sleep", "1000"])
    assert exec_sync(own_podd, again, "stat", "-c", "%u", "/bin/busybox").stdout == b"0\n"
    status = pod.status().linux.namespaces.options.userns_options
    assert status.mode == cri.POD and status.uids[0].host_id == FIRST
    pod.remove()


@needs_mapped_layers
def test_it_stays_in_its_cgroup(podd, user_pod):
    config = container_config("busybox", ["sh", "-c", "dd if=/dev/zero of=/dev/shm/x bs=1M count=40; "
                                          "echo survived; sleep 1000"])
    config.linux.resources.memory_limit_in_bytes = 24 << 20
    config.linux.resources.oom_score_adj = 777
    container = user_pod.start("", config=config)
    assert container in process_on_the_node(podd, container).joinpath("cgroup").read_text()
    assert exec_sync(podd, container, "cat", "/proc/self/oom_score_adj").stdout == b"777\n"
    executed = exec_sync(podd, container, "cat", "/proc/self/cgroup").stdout.decode()
    assert "/../" not in executed, "an exec is in the container's cgroup"
    wait_until(lambda: b"survived" in read_log(container_status(podd, container).log_path)["stdout"] or
               container_status(podd, container).reason == "OOMKilled", what="the limit to hold")
    if container_status(podd, container).state == cri.CONTAINER_RUNNING:
        assert int(exec_sync(podd, container, "stat", "-c", "%s", "/dev/shm/x").stdout) < 40 << 20
    code = exec_sync(podd, container, "sh", "-c", "touch /sys/fs/cgroup/x").exit_code \
        if container_status(podd, container).state == cri.CONTAINER_RUNNING else 1
    assert code != 0, "cgroups are not writable"


def may_ping(process, group):
    ping = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)"
    return subprocess.run(["nsenter", "-t", process.name, "-n", "-S", str(group), "-G", str(group),
                           "/usr/bin/python3", "-c", ping], capture_output=True).returncode == 0


@needs_mapped_layers
def test_sysctls_and_pings_of_the_pods_own_network(podd, no_leaks):
    linux = pod_options()
    linux.sysctls["net.ipv4.ip_local_port_range"] = "20000 21000"
    linux.sysctls["kernel.shmmni"] = "123"
    linux.sysctls["fs.mqueue.msg_max"] = "11"
    pod = lib.Pod(podd, linux=linux)
    try:
        container = pod.start("busybox", ["sleep", "1000"])
        names = "net/ipv4/ip_local_port_range kernel/shmmni fs/mqueue/msg_max net/ipv4/ping_group_range"
        shown = exec_sync(podd, container, "sh", "-c", f"cd /proc/sys && cat {names}").stdout
        assert shown.split() == f"20000 21000 123 11 0 {LENGTH - 1}".encode().split()
        process = process_on_the_node(podd, container)
        assert [may_ping(process, g) for g in (FIRST, FIRST + LENGTH - 1, FIRST + LENGTH, 1000)] == \
            [True, True, False, False]
    finally:
        pod.remove()


@needs_mapped_layers
def test_devices_are_the_containers(podd, user_pod):
    config = container_config("busybox", ["sh", "-c", """
        stat -c '%u %t:%T' /dev/given /dev/null && head -c 4 /dev/given | od -An -tx1 &&
        ! mknod /tmp/x c 1 5 2>/dev/null && echo kept"""])
    config.devices.add(container_path="/dev/given", host_path="/dev/zero", permissions="rw")
    config.linux.security_context.capabilities.add_capabilities.append("MKNOD")
    status = wait_exited(podd, user_pod.start("", config=config))
    assert read_log(status.log_path)["stdout"].split() == \
        b"0 1:5 0 1:3 00 00 00 00 kept".split(), read_log(status.log_path)


@needs_mapped_layers
def test_a_privileged_container_has_the_pods_rights_only(podd, no_leaks):
    linux = pod_options()
    linux.security_context.privileged = True
    pod = lib.Pod(podd, linux=linux)
    try:
        config = container_config("busybox", ["sh", "-c", """
            grep CapEff /proc/self/status; stat -c %u /dev/null; mount -t tmpfs none /mnt 2>/dev/null ||
            { mkdir -p /mnt; mount -t tmpfs none /mnt; } && echo mounted
            echo 0 > /proc/sys/kernel/panic || echo kept"""])
        config.linux.security_context.privileged = True
        container = pod.start("", config=config)
        status = wait_exited(podd, container)
        log = read_log(status.log_path)
        lines = log["stdout"].split(b"\n")
        assert lines[1:4] == [b"0", b"mounted", b"kept"], log
        assert int(lines[0].split()[1], 16) & 1 << 21, "CAP_SYS_ADMIN, inside"
    finally:
        pod.remove()


@needs_mapped_layers
def test_another_containers_processes(podd, user_pod):
    target = user_pod.start("busybox", ["sleep", "1000"])
    config = container_config("busybox", ["sh", "-c", "kill -0 1 && grep -q sleep /proc/1/cmdline"])
    config.linux.security_context.namespace_options.pid = cri.TARGET
    config.linux.security_context.namespace_options.target_id = target
    status = wait_exited(podd, user_pod.start("", config=config))
    assert status.exit_code == 0, read_log(status.log_path)


@needs_mapped_layers
@pytest.mark.slow
def test_what_a_container_wrote_is_measured_and_removed(podd, user_pod):
    container = user_pod.start("busybox", ["sh", "-c", "dd if=/dev/zero of=/big bs=1M count=3; sleep 1000"])
    layer = podd.root / "containers" / container
    wait_until(lambda: podd.runtime.ContainerStats(cri.ContainerStatsRequest(container_id=container))
               .stats.writable_layer.used_bytes.value >= 3 << 20, timeout=30, what="3 MiB to be seen")
    assert layer.exists()
    podd.runtime.RemoveContainer(cri.RemoveContainerRequest(container_id=container))
    assert not layer.exists()


@needs_mapped_layers
def test_a_containers_own_wish_must_be_the_pods(podd, user_pod):
    def created(first, mode=cri.POD, pid=cri.CONTAINER):
        config = container_config("busybox", ["true"])
        options = config.linux.security_context.namespace_options
        options.CopyFrom(pod_options(first).security_context.namespace_options)
        options.pid = pid
        options.userns_options.mode = mode
        if mode == cri.NODE:
            del options.userns_options.uids[:], options.userns_options.gids[:]
        return user_pod.create("", config=config)

    assert created(FIRST)
    for wrong in ((FIRST + 1,), (FIRST, cri.NODE)):
        code, message = code_of(created, *wrong)
        assert code == grpc.StatusCode.INVALID_ARGUMENT
        assert "the user namespace asked for the container is not the pod's" in message
    code, message = code_of(created, FIRST, cri.POD, cri.NODE)
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "the node's processes" in message


@needs_mapped_layers
def test_pods_that_share_their_processes(podd, no_leaks):
    pod = lib.Pod(podd, linux=pod_options(pid=cri.POD))
    try:
        config = container_config("busybox", ["sleep", "1000"])
        config.linux.security_context.namespace_options.pid = cri.POD
        pod.start("", config=config)
        other = container_config("busybox", ["sh", "-c", "ps -o pid,user,args | grep '[s]leep 1000'"])
        other.linux.security_context.namespace_options.pid = cri.POD
        status = wait_exited(podd, pod.start("", config=other))
        assert status.exit_code == 0, read_log(status.log_path)
    finally:
        pod.remove()


@needs_mapped_layers
def test_the_nodes_network_from_a_user_namespace(podd, no_leaks):
    pod = lib.Pod(podd, linux=pod_options(network=cri.NODE))
    try:
        config = container_config("busybox", ["sh", "-c", "test -d /sys/class/net/lo && ! touch /sys/x && "
                                              "! ip link set lo mtu 1400"])
        config.linux.security_context.namespace_options.network = cri.NODE
        config.linux.security_context.capabilities.add_capabilities.append("NET_ADMIN")
        status = wait_exited(podd, pod.start("", config=config))
        assert status.exit_code == 0, read_log(status.log_path)
    finally:
        pod.remove()


@pytest.mark.parametrize("change, words", [
    (lambda u: u.uids.add(host_id=5_000_000, container_id=70000, length=1), "userns_options.uids"),
    (lambda u: setattr(u.uids[0], "container_id", 1), "id 0 is not mapped"),
    (lambda u: setattr(u.uids[0], "length", 0), "userns_options.uids"),
    (lambda u: setattr(u, "mode", cri.CONTAINER), "must be POD or NODE"),
    (lambda u: setattr(u, "mode", cri.TARGET), "must be POD or NODE"),
    (lambda u: setattr(u, "mode", cri.NODE), "takes no id mappings"),
    (lambda u: setattr(u.uids[0], "host_id", 2**32 - 10), "uid_map of a user namespace"),
    (None, "cannot share the node's processes"),
])
def test_wrong_maps_are_refused(podd, no_leaks, change, words):
    linux = pod_options(pid=cri.CONTAINER if change else cri.NODE)
    if change:
        change(linux.security_context.namespace_options.userns_options)
    config = lib.sandbox_config(podd, linux=linux)
    code, message = code_of(podd.runtime.RunPodSandbox, cri.RunPodSandboxRequest(config=config))
    assert code == grpc.StatusCode.INVALID_ARGUMENT and words in message


# ---- Declared pods ------------------------------------------------------------------------------------

def declared(name, command, **spec):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"hostUsers": False, "terminationGracePeriodSeconds": 0, "containers": [
                {"name": "main", "image": "busybox", "imagePullPolicy": "Never",
                 "command": ["sh", "-c", command], "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
                "volumes": [{"name": "v", "emptyDir": {}}], **spec}}


def status_of(podd, name):
    return podd.api.GetPod(podd_pb2.GetPodRequest(name=name)).pod


def main_process(podd, name):
    container = wait_until(lambda: status_of(podd, name).status.containers[0].pid and
                           status_of(podd, name).status.containers[0], what=f"{name} to run")
    return pathlib.Path(f"/proc/{container.pid}")


@needs_mapped_layers
def test_declared_pods_get_ids_of_their_own(own_podd):
    script = "touch /v/mine && chown 3:4 /v/mine && echo fine > /dev/termination-log && sleep 1000"
    own_podd.podctl("apply", "-f", "-", stdin=yaml.safe_dump_all(
        [declared("a", script, securityContext={"fsGroup": 2000}), declared("b", script)]))
    maps = [main_process(own_podd, name).joinpath("uid_map").read_text().split() for name in "ab"]
    assert [m[0] for m in maps] == ["0", "0"] and [m[2] for m in maps] == ["65536", "65536"]
    first = [int(m[1]) for m in maps]
    assert min(first) > 2**30 and abs(first[0] - first[1]) >= 65536
    volume = own_podd.root / "volumes" / status_of(own_podd, "a").uid
    # On disk the ids are the container's.
    wait_until(lambda: [(f.stat().st_uid, f.stat().st_gid) for f in volume.rglob("mine")] == [(3, 4)],
               what="the file and its owner")
    assert own_podd.podctl("exec", "a", "--", "stat", "-c", "%u %g", "/v").stdout == "0 2000\n"

    own_podd.kill()
    own_podd.start()
    os.kill(int(main_process(own_podd, "a").name), 9)
    wait_until(lambda: status_of(own_podd, "a").status.containers[0].restart_count == 1, what="a restart")
    assert main_process(own_podd, "a").joinpath("uid_map").read_text().split()[1] == str(first[0])
    own_podd.podctl("apply", "-f", "-", stdin=yaml.safe_dump(declared("c", script)))
    third = int(main_process(own_podd, "c").joinpath("uid_map").read_text().split()[1])
    assert third not in first, "ids are not given twice, over a crash either"


@needs_mapped_layers
def test_ids_that_another_masters_pod_has_are_not_given(own_podd):
    own_podd.podctl("apply", "-f", "-", stdin=yaml.safe_dump(declared("probe", "sleep 1000")))
    first = int(main_process(own_podd, "probe").joinpath("uid_map").read_text().split()[1])
    own_podd.podctl("delete", "pod", "probe")
    pod = lib.Pod(own_podd, linux=pod_options(first + 1000))  # lies across two ranges
    own_podd.podctl("apply", "-f", "-", stdin=yaml.safe_dump(declared("other", "sleep 1000")))
    given = int(main_process(own_podd, "other").joinpath("uid_map").read_text().split()[1])
    assert given == first + 2 * LENGTH
    pod.remove()


SETTINGS = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "words"},
             "data": {"word": "config"}},
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hush"},
             "stringData": {"word": "secret"}}]


@needs_mapped_layers
def test_every_kind_of_volume_of_a_declared_pod(own_podd, tmp_path):
    tmp_path.joinpath("word").write_text("host")
    tmp_path.chmod(0o755)
    script = """cd /all && cat config/word secret/word both/word pod/name host/word && echo &&
                stat -c '%n %u %g' config/word secret/word both/word pod/name host/word memory disk part/. &&
                echo x > memory/x && echo x > disk/x && echo x > part/x && id -u && id -G; sleep 1000"""
    volumes = {"config": {"configMap": {"name": "words"}}, "secret": {"secret": {"secretName": "hush"}},
               "both": {"projected": {"sources": [{"secret": {"name": "hush"}}]}},
               "pod": {"downwardAPI": {"items": [{"path": "name",
                                                  "fieldRef": {"fieldPath": "metadata.name"}}]}},
               "host": {"hostPath": {"path": str(tmp_path)}}, "disk": {"emptyDir": {}},
               "memory": {"emptyDir": {"medium": "Memory"}}}
    pod = declared("all", script, securityContext={"fsGroup": 2000, "runAsUser": 1000, "runAsGroup": 3000})
    pod["spec"]["volumes"] = [{"name": name, **volume} for name, volume in volumes.items()]
    pod["spec"]["containers"][0]["volumeMounts"] = [
        *({"name": name, "mountPath": f"/all/{name}"} for name in volumes),
        {"name": "disk", "mountPath": "/all/part", "subPath": "a/b"}]
    own_podd.podctl("apply", "-f", "-", stdin=yaml.safe_dump_all([*SETTINGS, pod]))
    if kernel_version() < (6, 3):  # which cannot map what is in memory
        wait_until(lambda: "does its file system support it?" in
                   status_of(own_podd, "all").status.containers[0].message, what="the refusal")
        return
    main_process(own_podd, "all")

    log = pathlib.Path(status_of(own_podd, "all").status.containers[0].log_path)
    lines = wait_until(lambda: len(log.read_text().splitlines()) == 11 and log.read_text().splitlines(),
                       what="all of the output")
    shown = [line.split(" ", 3)[3] for line in lines]
    assert shown[0] == "configsecretsecretallhost"
    owners = {line.split()[0]: line.split()[1:] for line in shown[1:9]}
    assert owners.pop("host/word") == ["0", "0"], "a volume of the node's is mapped, not given away"
    assert set(map(tuple, owners.values())) == {("0", "2000")}, owners
    assert shown[9:] == ["1000", "3000 2000 50000"]

    look = {"name": "look", "image": "busybox", "imagePullPolicy": "Never", "targetContainerName": "main",
            "command": ["grep", "-q", "sleep", "/proc/1/cmdline"],
            "securityContext": {"procMount": "Unmasked"}}
    own_podd.api.AddEphemeralContainer(podd_pb2.AddEphemeralContainerRequest(
        pod="all", container=yaml.safe_dump(look).encode()))
    wait_until(lambda: status_of(own_podd, "all").status.ephemeral_containers[0].state ==
               podd_pb2.ContainerStatus.TERMINATED, what="the added container to end")
    assert status_of(own_podd, "all").status.ephemeral_containers[0].exit_code == 0
    volumes = own_podd.root / "volumes" / status_of(own_podd, "all").uid
    assert volumes.exists()
    own_podd.podctl("delete", "pod", "all")
    wait_until(lambda: not volumes.exists(), what="the volumes to be removed")


def test_what_the_kernel_can_is_reported(podd):
    status = podd.runtime.Status(cri.StatusRequest())
    assert status.runtime_handlers[0].features.user_namespaces == (kernel_version() >= (6, 3))
    assert status.features.user_namespaces_host_network == (kernel_version() >= (6, 3))
