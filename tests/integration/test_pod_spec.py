"""Declared pods: what the fields of a PodSpec do to containers."""
import os
import pathlib
import signal
import socket
import time

import podd_pb2
import pytest

from lib.cri import wait_until
from test_declared import apply, get, main, manifest  # noqa: F401  pylint: disable=unused-import

RUNNING = podd_pb2.ContainerStatus.RUNNING
WAITING = podd_pb2.ContainerStatus.WAITING
TERMINATED = podd_pb2.ContainerStatus.TERMINATED


def run_once(podd, apply, name, command, pod=None, **container):
    """What a command prints, in a pod that ends."""
    apply(manifest(name, command, restart="Never", pod=pod, **container))
    wait_until(lambda: main(podd, name).state == TERMINATED, what=f"the end of {name}")
    return podd.podctl("logs", name).stdout


def events(podd, pod):
    return list(podd.api.ListEvents(podd_pb2.ListEventsRequest(pod=pod)))


# ---- Names and environment ------------------------------------------------------------------------


def test_environment_refers_to_the_pod(podd, apply):
    out = run_once(podd, apply, "env", "echo $NAME $IP $LIMIT $TWICE; hostname -i; hostname",
                   resources={"limits": {"memory": "64Mi", "cpu": "500m"}}, env=[
                       {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                       {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                       {"name": "LIMIT", "valueFrom": {"resourceFieldRef": {
                           "resource": "limits.memory", "divisor": "1Mi"}}},
                       {"name": "TWICE", "value": "$(NAME)-$(NAME)-$$(NAME)"}])
    first, address, hostname = out.split("\n")[:3]
    ip = address.split()[0]
    assert first == f"env {ip} 64 env-env-$(NAME)" and hostname == "env"


def test_hosts_and_dns_are_as_declared(podd, apply):
    out = run_once(podd, apply, "names", "cat /etc/hosts /etc/resolv.conf; hostname", pod={
        "hostname": "other", "hostAliases": [{"ip": "192.0.2.7", "hostnames": ["db", "db.example"]}],
        "dnsPolicy": "None", "dnsConfig": {"nameservers": ["192.0.2.53"], "searches": ["a.example"],
                                           "options": [{"name": "ndots", "value": "3"}]}})
    assert "192.0.2.7\tdb\tdb.example" in out and "\tother\n" in out
    assert "nameserver 192.0.2.53" in out and "search a.example" in out and "ndots:3" in out
    assert out.endswith("\nother\n")


def test_the_nodes_network_and_processes(podd, apply):
    out = run_once(podd, apply, "host", "ls /sys/class/net; ps | wc -l",
                   pod={"hostNetwork": True, "hostPID": True})
    assert {name for _, name in socket.if_nameindex()} <= set(out.split())
    assert int(out.split()[-1]) > 10
    pod = get(podd, "host")
    assert pod.status.host_network and not pod.status.ips


def test_containers_see_each_other_when_they_share(podd, apply):
    other = {"name": "other", "image": "busybox", "imagePullPolicy": "Never",
             "command": ["sleep", "54321"]}
    document = manifest("share", "sleep 1000", pod={"shareProcessNamespace": True})
    document["spec"]["containers"].append(other)
    apply(document)
    wait_until(lambda: get(podd, "share").status.phase == "Running")
    assert "sleep 54321" in podd.podctl("exec", "share", "-c", "main", "--", "ps").stdout


# ---- Volumes --------------------------------------------------------------------------------------


def test_volumes_are_shared_kept_and_removed(podd, apply, tmp_path):
    (tmp_path / "file").write_text("from the node\n")
    writer = {"name": "writer", "image": "busybox", "imagePullPolicy": "Never",
              "command": ["sh", "-c", "echo shared > /v/x; id -G; sleep 1000"],
              "volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    document = manifest("vol", "until cat /w/x; do sleep 0.1; done; cat /h/file; touch /h/new; "
                        "stat -c '%a %g' /w; exit 1", restart="OnFailure",
                        pod={"volumes": [{"name": "v", "emptyDir": {}},
                                         {"name": "h", "hostPath": {"path": str(tmp_path),
                                                                    "type": "Directory"}}],
                             "securityContext": {"fsGroup": 4321}},
                        volumeMounts=[{"name": "v", "mountPath": "/w"},
                                      {"name": "h", "mountPath": "/h", "readOnly": True}])
    document["spec"]["containers"].append(writer)
    apply(document)
    wait_until(lambda: main(podd, "vol").restart_count >= 1)
    out = podd.podctl("logs", "vol", "-c", "main", "--previous").stdout
    assert "shared\nfrom the node\n" in out and "2777 4321" in out
    assert not (tmp_path / "new").exists()
    assert "4321" in podd.podctl("logs", "vol", "-c", "writer").stdout
    uid = get(podd, "vol").uid
    volume = pathlib.Path(podd.root) / "volumes" / uid
    assert (volume / "v" / "x").read_text() == "shared\n"
    assert (volume.stat().st_mode & 0o777) == 0o700
    logs = pathlib.Path(main(podd, "vol").log_path).parents[1]
    podd.podctl("delete", "pod", "vol")
    assert not volume.exists() and not logs.exists()


@pytest.mark.parametrize("kind, made", [("DirectoryOrCreate", os.path.isdir),
                                        ("FileOrCreate", os.path.isfile)])
def test_host_paths_are_made_when_asked(podd, apply, tmp_path, kind, made):
    path = tmp_path / "made"
    run_once(podd, apply, f"make-{kind.lower()}", "true",
             pod={"volumes": [{"name": "h", "hostPath": {"path": str(path), "type": kind}}]},
             volumeMounts=[{"name": "h", "mountPath": "/h"}])
    assert made(path)


def test_a_host_path_of_the_wrong_type_is_said(podd, apply, tmp_path):
    apply(manifest("wrong", "true", pod={"volumes": [
        {"name": "h", "hostPath": {"path": str(tmp_path), "type": "Socket"}}]},
        volumeMounts=[{"name": "h", "mountPath": "/h"}]))
    wait_until(lambda: "is no socket" in get(podd, "wrong").status.message)
    assert get(podd, "wrong").status.phase == "Pending"
    assert any(e.reason == "FailedMount" and e.warning for e in events(podd, "wrong"))


def test_a_missing_host_path_is_said(podd, apply, tmp_path):
    apply(manifest("missing", "true", pod={"volumes": [
        {"name": "h", "hostPath": {"path": str(tmp_path / "none")}}]},
        volumeMounts=[{"name": "h", "mountPath": "/h"}]))
    wait_until(lambda: main(podd, "missing").reason == "CreateContainerError")
    assert str(tmp_path / "none") in main(podd, "missing").message


# ---- Security and resources -----------------------------------------------------------------------


def test_users_groups_and_rights(podd, apply):
    out = run_once(podd, apply, "user", "id -u; id -g; id -G; grep -E 'NoNewPrivs|CapBnd|Seccomp:' "
                   "/proc/self/status; touch /tmp/x 2>&1; ls /proc/kcore | wc -l",
                   pod={"securityContext": {"runAsUser": 1000, "runAsGroup": 2000,
                                            "supplementalGroups": [3000]}},
                   securityContext={"allowPrivilegeEscalation": False, "runAsNonRoot": True,
                                    "readOnlyRootFilesystem": True,
                                    "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}})
    lines = out.splitlines()
    assert lines[:3] == ["1000", "2000", "2000 3000 50000"]  # one from the image
    assert "NoNewPrivs:\t1" in out and "CapBnd:\t0000000000000400" in out and "Seccomp:\t2" in out
    assert "Read-only file system" in out


def test_root_is_refused_where_it_must_not_be(podd, apply):
    apply(manifest("nonroot", "true", securityContext={"runAsNonRoot": True}))
    wait_until(lambda: main(podd, "nonroot").reason == "CreateContainerConfigError")
    assert "runAsUser" in main(podd, "nonroot").message


@pytest.mark.vm
def test_limits_are_the_cgroups(podd, apply):
    apply(manifest("limit", "sleep 1000", resources={"limits": {"memory": "32Mi", "cpu": "250m"}}))
    wait_until(lambda: main(podd, "limit").state == RUNNING)
    pid = main(podd, "limit").pid
    groups = dict(line.split(":", 2)[1:] for line in
                  pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines())
    if "memory" in groups:
        memory = pathlib.Path(f"/sys/fs/cgroup/memory{groups['memory']}/memory.limit_in_bytes")
    else:
        memory = pathlib.Path(f"/sys/fs/cgroup{groups['']}/memory.max")
    assert memory.read_text().strip() == str(32 << 20)


@pytest.mark.vm
def test_a_container_over_its_memory_is_killed(podd, apply):
    apply(manifest("oom", "x=$(yes | head -c 200000000); sleep 10", restart="Never",
                   resources={"limits": {"memory": "16Mi"}}))
    wait_until(lambda: main(podd, "oom").state == TERMINATED, 30)
    assert main(podd, "oom").reason == "OOMKilled"
    assert get(podd, "oom").status.phase == "Failed"


# ---- Lives ----------------------------------------------------------------------------------------


def test_init_containers_run_in_order_before_all_others(podd, apply):
    init = [{"name": n, "image": "busybox", "imagePullPolicy": "Never",
             "command": ["sh", "-c", f"date +%s%N > /v/{n}; sleep 0.3"],
             "volumeMounts": [{"name": "v", "mountPath": "/v"}]} for n in ("one", "two")]
    apply(manifest("init", "date +%s%N > /v/main; cd /v; cat one two main; sleep 1000",
                   pod={"initContainers": init, "volumes": [{"name": "v", "emptyDir": {}}]},
                   volumeMounts=[{"name": "v", "mountPath": "/v"}]))
    wait_until(lambda: get(podd, "init").status.phase == "Running")
    wait_until(lambda: len(podd.podctl("logs", "init", "-c", "main").stdout.split()) == 3)
    # busybox's date has no nanoseconds: the order of seconds is enough
    times = podd.podctl("logs", "init", "-c", "main").stdout.split()
    assert times == sorted(times)
    status = get(podd, "init").status
    assert [c.reason for c in status.init_containers] == ["Completed", "Completed"]


def test_a_failing_init_container_keeps_the_others_waiting(podd, apply):
    init = [{"name": "no", "image": "busybox", "imagePullPolicy": "Never", "command": ["false"]}]
    apply(manifest("noinit", "true", pod={"initContainers": init}))
    wait_until(lambda: get(podd, "noinit").status.init_containers[0].restart_count >= 1)
    assert main(podd, "noinit").reason == "PodInitializing"
    assert get(podd, "noinit").status.phase == "Pending"
    apply(manifest("neverinit", "true", restart="Never", pod={"initContainers": init}))
    wait_until(lambda: get(podd, "neverinit").status.phase == "Failed")


def test_a_sidecar_starts_first_and_ends_last(podd, apply):
    sidecar = [{"name": "side", "image": "busybox", "imagePullPolicy": "Never",
                "restartPolicy": "Always", "command": ["sleep", "1000"],
                "startupProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1}}]
    apply(manifest("side", "sleep 1", restart="Never", pod={"initContainers": sidecar}))
    wait_until(lambda: main(podd, "side").state == RUNNING)
    assert get(podd, "side").status.init_containers[0].state == RUNNING
    wait_until(lambda: get(podd, "side").status.phase == "Succeeded", 20)
    assert get(podd, "side").status.init_containers[0].state == TERMINATED


def test_a_command_that_does_not_exist_is_said(podd, apply):
    document = manifest("nocmd", "x")
    document["spec"]["containers"][0]["command"] = ["/no/such"]
    apply(document)
    wait_until(lambda: main(podd, "nocmd").last_termination.reason == "StartError")
    assert "/no/such" in main(podd, "nocmd").last_termination.message


def test_the_termination_message_is_shown(podd, apply):
    apply(manifest("last", "echo the reason > /dev/termination-log; exit 2"))
    wait_until(lambda: main(podd, "last").restart_count >= 1)
    assert main(podd, "last").last_termination.message == "the reason\n"
    apply(manifest("last2", "echo why > /dev/termination-log; exit 2", restart="Never"))
    wait_until(lambda: main(podd, "last2").state == TERMINATED)
    assert main(podd, "last2").message == "why\n"
    apply(manifest("last3", "echo from the log; exit 2", restart="Never",
                   terminationMessagePolicy="FallbackToLogsOnError"))
    wait_until(lambda: main(podd, "last3").state == TERMINATED)
    assert main(podd, "last3").message == "from the log\n"


def test_a_lost_sandbox_is_made_again(podd, apply):
    apply(manifest("lost", "sleep 1000"))
    wait_until(lambda: main(podd, "lost").state == RUNNING)
    before = get(podd, "lost")
    parent = int(pathlib.Path(f"/proc/{before.status.containers[0].pid}/stat").read_text()
                 .rsplit(")", 1)[1].split()[1])
    os.kill(parent, signal.SIGKILL)
    wait_until(lambda: get(podd, "lost").status.sandbox_id not in ("", before.status.sandbox_id) and
               main(podd, "lost").state == RUNNING, 20)
    assert get(podd, "lost").uid == before.uid
    assert main(podd, "lost").restart_count == 1
    assert any(e.reason == "SandboxChanged" for e in events(podd, "lost"))


def test_deletion_gives_the_grace_and_then_kills(podd, apply):
    apply(manifest("grace", "trap 'echo term' TERM; while :; do sleep 0.1; done",
                   pod={"terminationGracePeriodSeconds": 300}))
    wait_until(lambda: main(podd, "grace").state == RUNNING)
    podd.api.DeletePod(podd_pb2.DeletePodRequest(name="grace", no_wait=True))
    wait_until(lambda: "term" in podd.podctl("logs", "grace").stdout)
    assert get(podd, "grace").status.terminating
    started = time.monotonic()
    podd.api.DeletePod(podd_pb2.DeletePodRequest(name="grace", has_grace_period=True,
                                                 grace_period=1), timeout=30)
    assert time.monotonic() - started < 10  # a shorter grace hastens
    assert "grace" not in [p.name for p in podd.api.ListPods(podd_pb2.ListPodsRequest()).pods]


def test_a_replaced_pod_ends_before_the_new_one_starts(podd, apply):
    ports = [{"containerPort": 8080, "hostPort": 18099}]
    document = manifest("swap", "sleep 1000", ports=ports)
    apply(document)
    wait_until(lambda: main(podd, "swap").state == RUNNING)
    before = get(podd, "swap")
    document["metadata"]["labels"] = {"a": "b"}
    assert apply(document) == "Pod/swap configured\n"
    assert get(podd, "swap").uid == before.uid and get(podd, "swap").labels == {"a": "b"}
    document["spec"]["containers"][0]["command"] = ["sleep", "2000"]
    assert apply(document) == "Pod/swap configured\n"
    wait_until(lambda: main(podd, "swap").state == RUNNING, 20)
    assert get(podd, "swap").uid != before.uid
    assert not (pathlib.Path(podd.root) / "volumes" / before.uid).exists()


# ---- Restarts of podd -----------------------------------------------------------------------------


def test_readiness_and_deletion_outlive_podd(own_podd):
    podd = own_podd
    text = manifest("stay", "trap '' TERM; touch /ok; while :; do sleep 0.1; done",
                    pod={"terminationGracePeriodSeconds": 4},
                    # The one attempt there is waits for the file, instead of racing with its maker.
                    readinessProbe={"exec": {"command": ["sh", "-c",
                                                         "until test -e /ok; do sleep 0.05; done"]},
                                    "timeoutSeconds": 5, "periodSeconds": 600})
    import yaml

    podd.podctl("apply", "-f", "-", stdin=yaml.safe_dump(text))
    wait_until(lambda: main(podd, "stay").ready)
    time.sleep(0.2)
    podd.kill()
    podd.start()
    assert main(podd, "stay").ready  # not only after the next attempt, ten minutes later
    podd.api.DeletePod(podd_pb2.DeletePodRequest(name="stay", no_wait=True))
    podd.kill()  # what was answered is on disk
    podd.start()
    assert get(podd, "stay").status.terminating
    wait_until(lambda: not podd.api.ListPods(podd_pb2.ListPodsRequest()).pods, 20)


def test_a_broken_record_is_set_aside(own_podd):
    import yaml

    podd = own_podd
    for name in ("good", "bad"):
        podd.podctl("apply", "-f", "-", stdin=yaml.safe_dump(manifest(name, "sleep 1000")))
        wait_until(lambda name=name: main(podd, name).state == RUNNING)
    good = main(podd, "good").pid
    podd.stop()
    record = pathlib.Path(podd.root) / "declared" / "default_bad.json"
    record.write_text(record.read_text()[:100])
    podd.start()
    assert [p.name for p in podd.api.ListPods(podd_pb2.ListPodsRequest()).pods] == ["good"]
    assert main(podd, "good").pid == good
    assert record.with_name("default_bad.json.broken").exists() and not record.exists()
    wait_until(lambda: podd.api.GetNode(podd_pb2.GetNodeRequest()).pods == 1)


def test_events_can_be_followed(podd, apply):
    stream = podd.api.ListEvents(podd_pb2.ListEventsRequest(pod="told", follow=True))
    apply(manifest("told", "sleep 1000"))
    reasons = []
    for event in stream:
        reasons.append(event.reason)
        if event.reason == "Started":
            break
    stream.cancel()
    assert reasons == ["Pulled", "Created", "Started"]


def test_a_pod_whose_time_is_up_fails(podd, apply):
    """Also one that would be restarted for ever, and with the grace of its containers."""
    apply(manifest("late", "trap 'echo asked; exit 0' TERM; while :; do sleep 0.05; done",
                   pod={"activeDeadlineSeconds": 1, "restartPolicy": "Always",
                        "terminationGracePeriodSeconds": 5}))
    wait_until(lambda: get(podd, "late").status.phase == "Failed")
    status = get(podd, "late").status
    assert status.reason == "DeadlineExceeded" and "activeDeadlineSeconds" in status.message
    assert status.containers[0].exit_code == 0 and status.containers[0].restart_count == 0
    assert "asked" in podd.podctl("logs", "late").stdout
    assert "DeadlineExceeded" in [e.reason for e in events(podd, "late")]
    time.sleep(0.5)
    assert get(podd, "late").status.phase == "Failed"  # and stays so


def test_a_deadline_ends_what_has_not_begun(podd, apply):
    apply(manifest("never", "sleep 1000", pod={
        "activeDeadlineSeconds": 1,
        "initContainers": [{"name": "wait", "image": "busybox", "imagePullPolicy": "Never",
                            "command": ["sleep", "1000"]}],
        "terminationGracePeriodSeconds": 0}))
    wait_until(lambda: get(podd, "never").status.phase == "Failed")
    assert get(podd, "never").status.reason == "DeadlineExceeded"


def test_a_deadline_passes_while_podd_is_away(own_podd):
    import yaml

    podd = own_podd
    text = manifest("away", "sleep 1000", pod={"activeDeadlineSeconds": 2,
                                               "terminationGracePeriodSeconds": 0})
    podd.podctl("apply", "-f", "-", stdin=yaml.safe_dump(text))
    wait_until(lambda: main(podd, "away").state == RUNNING)
    podd.kill()
    time.sleep(2)
    podd.start()
    wait_until(lambda: get(podd, "away").status.phase == "Failed")
    podd.restart()
    assert get(podd, "away").status.reason == "DeadlineExceeded"


@pytest.mark.parametrize("seconds", ["0", "-1", "soon", "99999999999"])
def test_an_impossible_deadline_is_refused(podd, seconds):
    text = f"apiVersion: v1\nkind: Pod\nmetadata: {{name: x}}\nspec:\n" \
           f"  activeDeadlineSeconds: {seconds}\n  containers: [{{name: c, image: busybox}}]\n"
    done = podd.podctl("apply", "-f", "-", stdin=text, check=False)
    assert done.returncode != 0 and "activeDeadlineSeconds" in done.stderr and ":5:" in done.stderr
