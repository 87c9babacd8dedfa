"""What a container may and may not: ids, capabilities, seccomp, masks."""
import os
import re

import cri_pb2 as cri
import pytest

from lib.cri import container_config, container_status, exec_sync, read_log, wait_exited

pytestmark = pytest.mark.vm
DEFAULT_CAPABILITIES = 0x00000000a80425fb


def run(pod, podd, script, prepare=lambda context: None):
    config = container_config("busybox", ["sh", "-c", script])
    prepare(config.linux.security_context)
    container = pod.start("", config=config)
    status = wait_exited(podd, container)
    return status.exit_code, read_log(status.log_path)


def status_field(text, name):
    return re.search(rb"^" + name.encode() + rb":\s*(.*)$", text, re.M).group(1)


def test_default_capabilities_and_no_inheritable_ones(podd, pod):
    _, log = run(pod, podd, "cat /proc/self/status")
    text = log["stdout"]
    for name in ("CapEff", "CapPrm", "CapBnd"):
        assert int(status_field(text, name), 16) == DEFAULT_CAPABILITIES
    for name in ("CapInh", "CapAmb"):
        assert int(status_field(text, name), 16) == 0


def test_capabilities_added_dropped_and_all(podd, pod):
    def change(add=(), drop=()):
        def prepare(context):
            context.capabilities.add_capabilities.extend(add)
            context.capabilities.drop_capabilities.extend(drop)
        _, log = run(pod, podd, "cat /proc/self/status", prepare)
        return int(status_field(log["stdout"], "CapEff"), 16)
    assert change(add=["NET_ADMIN"]) == DEFAULT_CAPABILITIES | 1 << 12
    assert change(add=["CAP_net_admin"]) == DEFAULT_CAPABILITIES | 1 << 12
    assert change(drop=["ALL"]) == 0
    assert change(add=["KILL"], drop=["ALL"]) == 1 << 5
    everything = change(add=["ALL"])
    assert everything & DEFAULT_CAPABILITIES == DEFAULT_CAPABILITIES and everything > 1 << 30
    assert change(add=["ALL"], drop=["CHOWN"]) == everything & ~1


def test_an_ordinary_user_has_no_capabilities(podd, pod):
    def prepare(context):
        context.run_as_user.value = 1000
    _, log = run(pod, podd, "cat /proc/self/status", prepare)
    assert int(status_field(log["stdout"], "CapEff"), 16) == 0
    assert status_field(log["stdout"], "Uid").split() == [b"1000"] * 4


@pytest.mark.parametrize("wish, expected", [
    ({}, (0, 0, {0})),
    ({"run_as_user": 1000}, (1000, 1000, {1000, 50000})),
    ({"run_as_user": 4242}, (4242, 0, {0})),
    ({"run_as_user": 1000, "run_as_group": 7}, (1000, 7, {7, 50000})),
    ({"run_as_username": "alice"}, (1000, 1000, {1000, 50000})),
    ({"run_as_username": "www-data", "supplemental_groups": [1234]}, (33, 33, {33, 1234})),
    ({"run_as_user": 1000, "supplemental_groups": [1234], "strict": True},
     (1000, 1000, {1000, 1234})),
])
def test_user_and_groups(podd, pod, wish, expected):
    def prepare(context):
        for name in ("run_as_user", "run_as_group"):
            if name in wish:
                getattr(context, name).value = wish[name]
        context.run_as_username = wish.get("run_as_username", "")
        context.supplemental_groups.extend(wish.get("supplemental_groups", []))
        if wish.get("strict"):
            context.supplemental_groups_policy = cri.Strict
    config = container_config("busybox", ["sh", "-c", "id -u; id -g; id -G; sleep 100"])
    prepare(config.linux.security_context)
    container = pod.start("", config=config)
    seen = exec_sync(podd, container, "sh", "-c", "id -u; id -g; id -G").stdout.split(b"\n")
    uid, gid, groups = int(seen[0]), int(seen[1]), set(map(int, seen[2].split()))
    assert (uid, gid, groups) == expected
    user = container_status(podd, container).user.linux
    assert (user.uid, user.gid, set(user.supplemental_groups)) == expected
    assert list(user.supplemental_groups) == sorted(user.supplemental_groups)


def test_seccomp_modes(podd, pod):
    def mode(prepare):
        _, log = run(pod, podd, "cat /proc/self/status", prepare)
        return int(status_field(log["stdout"], "Seccomp"))

    def default(context):
        context.seccomp.profile_type = cri.SecurityProfile.RuntimeDefault
        context.seccomp.SetInParent()

    def unconfined(context):
        context.seccomp.profile_type = cri.SecurityProfile.Unconfined
    assert mode(default) == 2
    assert mode(unconfined) == 0
    assert mode(lambda context: None) == 0


def test_the_default_profile_denies_what_containers_do_not_need(podd, pod):
    def default(context):
        context.seccomp.SetInParent()
    code, log = run(pod, podd, "unshare -U true && echo unshared; mount -t tmpfs x /tmp && echo mounted;"
                    "hostname evil && echo renamed; true", default)
    assert (code, log["stdout"]) == (0, b""), log


def test_no_new_privs(podd, pod):
    def prepare(context):
        context.no_new_privs = True
    _, log = run(pod, podd, "cat /proc/self/status", prepare)
    assert status_field(log["stdout"], "NoNewPrivs") == b"1"


def test_masked_and_read_only_paths(podd, pod):
    def prepare(context):
        context.masked_paths.extend(["/proc/kcore", "/proc/scsi", "/etc/group", "/no/such/path"])
        context.readonly_paths.extend(["/proc/sys", "/tmp"])
    code, log = run(pod, podd, "cat /proc/kcore | wc -c; [ -s /etc/group ] || echo masked; touch /tmp/x || echo ro; "
                    "echo 1 > /proc/sys/kernel/domainname || echo ro", prepare)
    assert code == 0
    assert log["stdout"].startswith(b"0\n") and b"masked\n" in log["stdout"]
    assert log["stdout"].count(b"ro\n") == 2


def test_a_privileged_container_needs_a_privileged_pod(podd, pod):
    import grpc

    from lib.cri import code_of
    config = container_config("busybox", ["true"])
    config.linux.security_context.privileged = True
    code, message = code_of(lambda: pod.create("", config=config))
    assert code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION,
                    grpc.StatusCode.PERMISSION_DENIED)
    assert "privileged" in message


def test_a_privileged_container_has_everything(podd, no_leaks):
    from lib.cri import Pod
    linux = cri.LinuxPodSandboxConfig()
    linux.security_context.privileged = True
    linux.security_context.namespace_options.pid = cri.CONTAINER
    pod = Pod(podd, linux=linux)

    def prepare(context):
        context.privileged = True
    code, log = run(pod, podd, "ip link add d0 type bridge && ip link del d0 && "
                    "mount -t tmpfs x /tmp && echo all; ls /dev", prepare)
    assert code == 0 and log["stdout"].startswith(b"all\n")
    pod.remove()


def test_the_hosts_mount_table_does_not_grow(podd, no_leaks):
    from lib.cri import Pod
    with open(f"/proc/{os.getpid()}/mountinfo", encoding="utf-8") as f:
        before = f.read()
    pod = Pod(podd)
    container = pod.start("busybox", ["sleep", "100"])
    exec_sync(podd, container, "true")
    with open(f"/proc/{os.getpid()}/mountinfo", encoding="utf-8") as f:
        assert f.read() == before
    pod.remove()
