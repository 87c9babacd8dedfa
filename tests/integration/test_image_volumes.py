"""Images as volumes: read-only, whole or a part, and kept for as long as a container has them."""
import io
import tarfile

import cri_pb2 as cri
import grpc
import podd_pb2
import pytest
import yaml

from lib import cri as lib
from lib.cri import code_of, container_config, exec_sync, read_log, wait_exited, wait_until
from lib.userns import FIRST, LENGTH, needs_mapped_layers, pod_options

pytestmark = pytest.mark.vm


def data_layer():
    """A file, a program, a directory with a file, and links that try to lead out."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        def add(name, content=None, mode=0o644, link=None):
            info = tarfile.TarInfo(name)
            info.mode = mode
            if link:
                info.type, info.linkname = tarfile.SYMTYPE, link
            elif content is None:
                info.type = tarfile.DIRTYPE
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content or b""))
        add("top", b"top\n")
        add("run", b"#!/bin/sh\necho ran\n", 0o755)
        add("sub", mode=0o755)
        add("sub/inner", b"inner\n")
        add("out", link="/etc")
        add("up", link="../../../../etc")
        add("in", link="/sub")
    return out.getvalue()


@pytest.fixture(scope="session")
def data_tar(work):
    path = work / "data.tar"
    path.write_bytes(data_layer())
    return path


@pytest.fixture
def data(podd, data_tar):
    podd.podctl("image", "import", "--name", "data", data_tar)
    yield "data"
    podd.images.RemoveImage(cri.RemoveImageRequest(image=cri.ImageSpec(image="data")))


def with_volume(command, image="data", sub_path="", readonly=True, **options):
    config = container_config("busybox", ["sh", "-c", command], **options)
    config.mounts.add(container_path="/v", image=cri.ImageSpec(image=image), image_sub_path=sub_path,
                      readonly=readonly)
    return config


def output(podd, pod, config):
    status = wait_exited(podd, pod.start("", config=config))
    log = read_log(status.log_path)
    assert status.exit_code == 0, log
    return log["stdout"].decode()


def test_its_files_are_there_and_cannot_be_changed(podd, pod, data):
    text = output(podd, pod, with_volume(
        "cat /v/top /v/sub/inner; /v/run; touch /v/new || echo kept; rm /v/top || echo there; "
        "mount -o remount,rw /v || echo stays"))
    assert text.splitlines() == ["top", "inner", "ran", "kept", "there", "stays"]


def test_a_part_of_it(podd, pod, data):
    assert output(podd, pod, with_volume("ls /v; cat /v/inner", sub_path="sub")) == "inner\ninner\n"
    assert output(podd, pod, with_volume("cat /v", sub_path="top")) == "top\n"
    assert output(podd, pod, with_volume("cat /v/inner", sub_path="in")) == "inner\n"


@pytest.mark.parametrize("path", ["nowhere", "out", "up", "sub/../../etc", "top/below", "out/passwd"])
def test_a_part_that_is_not_in_the_image(podd, pod, data, path):
    config = with_volume("true", sub_path=path)
    code, message = code_of(podd.runtime.CreateContainer, cri.CreateContainerRequest(
        pod_sandbox_id=pod.id, config=config, sandbox_config=pod.config))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert message.startswith("ImageVolumeMountFailed: image data") and path in message


def test_wrong_requests(podd, pod, data):
    def refusal(config):
        return code_of(podd.runtime.CreateContainer, cri.CreateContainerRequest(
            pod_sandbox_id=pod.id, config=config, sandbox_config=pod.config))
    code, message = refusal(with_volume("true", image="nothing"))
    assert code == grpc.StatusCode.NOT_FOUND
    assert message == "ImageVolumeMountFailed: image nothing is not on this node: pull it first"
    code, message = refusal(with_volume("true", readonly=False))
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "readonly" in message
    many = with_volume("true")
    for i in range(15):
        many.mounts.add(container_path=f"/v{i}", image=cri.ImageSpec(image="data"), readonly=True)
    code, message = refusal(many)
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "at most 15" in message


def test_the_status_says_which_image(podd, pod, data):
    container = pod.create("", config=with_volume("true"))
    mount = lib.container_status(podd, container).mounts[0]
    image = podd.images.ImageStatus(cri.ImageStatusRequest(image=cri.ImageSpec(image="data"))).image
    assert mount.image.image == "data" and mount.image.image_ref == image.id
    assert mount.host_path == "" and mount.readonly


def layers(podd):
    return {p.name for p in (podd.root / "images/layers").iterdir()}


def test_it_stays_until_the_container_goes(own_podd, data_tar):
    before = layers(own_podd)
    own_podd.podctl("image", "import", "--name", "data", data_tar)
    pod = lib.Pod(own_podd)
    container = pod.start("", config=with_volume("sleep 1000"))
    own_podd.images.RemoveImage(cri.RemoveImageRequest(image=cri.ImageSpec(image="data")))
    assert exec_sync(own_podd, container, "cat", "/v/top").stdout == b"top\n"
    own_podd.kill()
    own_podd.start()
    assert len(layers(own_podd)) == len(before) + 1
    assert exec_sync(own_podd, container, "/v/run").stdout == b"ran\n"
    lib.stop_container(own_podd, container)
    lib.remove_container(own_podd, container)
    wait_until(lambda: layers(own_podd) == before, what="the layer to go")
    pod.remove()


@needs_mapped_layers
def test_in_a_user_namespace(podd, no_leaks, data):
    pod = lib.Pod(podd, linux=pod_options())
    try:
        config = with_volume("stat -c '%u %g' /v/top /v/sub; /v/run")
        for maps in (config.mounts[0].uidMappings, config.mounts[0].gidMappings):
            maps.add(container_id=0, host_id=FIRST, length=LENGTH)
        assert output(podd, pod, config) == "0 0\n0 0\nran\n"
        assert output(podd, pod, with_volume("stat -c %u /v", sub_path="sub")) == "0\n"
    finally:
        pod.remove()


def test_nothing_is_seen_on_the_node(podd, pod, data):
    before = open("/proc/self/mountinfo", encoding="utf-8").read()
    pod.start("", config=with_volume("sleep 1000", sub_path="sub"))
    assert open("/proc/self/mountinfo", encoding="utf-8").read() == before


def test_in_a_declared_pod(podd, no_leaks, data):
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "imaged"}, "spec": {
        "terminationGracePeriodSeconds": 0, "restartPolicy": "Never",
        "containers": [{"name": "main", "image": "busybox", "imagePullPolicy": "Never",
                        "command": ["sh", "-c", "cat /whole/top /part/inner; ! touch /whole/x"],
                        "volumeMounts": [{"name": "v", "mountPath": "/whole"},
                                         {"name": "v", "mountPath": "/part", "subPath": "sub"}]}],
        "volumes": [{"name": "v", "image": {"reference": "data", "pullPolicy": "Never"}}]}}
    try:
        podd.podctl("apply", "-f", "-", stdin=yaml.safe_dump(manifest))
        pod = wait_until(lambda: podd.api.GetPod(podd_pb2.GetPodRequest(name="imaged")).pod.status.phase in
                         ("Succeeded", "Failed") and podd.api.GetPod(podd_pb2.GetPodRequest(name="imaged")).pod,
                         what="the end")
        assert pod.status.phase == "Succeeded"
        assert podd.podctl("logs", "imaged").stdout.splitlines()[:2] == ["top", "inner"]
    finally:
        podd.podctl("delete", "pod", "imaged")


# ---- Sources that are not there -----------------------------------------------------------------------

def test_a_missing_source_is_made(podd, pod, tmp_path):
    source = tmp_path / "a" / "b"
    config = container_config("busybox", ["sh", "-c", "stat -c '%a %u' /v && touch /v/x"])
    config.mounts.add(container_path="/v", host_path=str(source))
    assert output(podd, pod, config) == "755 0\n"
    assert (source / "x").exists()


def test_a_source_below_a_file_is_refused(podd, pod, tmp_path):
    (tmp_path / "file").write_text("")
    config = container_config("busybox", ["true"])
    config.mounts.add(container_path="/v", host_path=str(tmp_path / "file" / "below"))
    code, message = code_of(podd.runtime.CreateContainer, cri.CreateContainerRequest(
        pod_sandbox_id=pod.id, config=config, sandbox_config=pod.config))
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "below" in message
