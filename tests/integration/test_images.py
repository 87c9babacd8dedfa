"""Images: a real registry, import, removal, and everything hostile that a layer can hold."""
import concurrent.futures
import io
import json
import os
import tarfile

import cri_pb2 as cri
import grpc
import pytest

from lib import images
from lib.cri import Pod, code_of, wait_exited


@pytest.fixture(scope="session")
def layout(work, registry):
    """Images pushed to the registry: plain, two-layer with whiteouts, multi-platform, Docker's."""
    made = images.Layout(work / "layout")
    base = images.busybox_layer([("layout", b"this layer is not that of the imported image\n")])
    top = io.BytesIO()
    with tarfile.open(fileobj=top, mode="w") as tar:
        images._add(tar, "etc/.wh.group")
        images._add(tar, "home/.wh..wh..opq")
        images._add(tar, "home/new", b"new\n")
        images._add(tar, "added", b"added by the upper layer\n")
    config = {"Cmd": ["sh", "-c", "echo from the image: $GREETING; pwd; id -u"],
              "Env": ["GREETING=hello"], "WorkingDir": "/tmp", "User": "alice"}
    plain = made.image([base], config)
    made.tag(plain, "plain")
    made.tag(made.image([base, top.getvalue()], {"Cmd": ["sh"], "StopSignal": "SIGQUIT"}), "two")
    foreign = made.image([images.busybox_layer([("foreign", b"x")])], {"Cmd": ["false"]}, "arm64")
    made.tag(made.index([foreign, plain]), "multi")
    registry.push(made, "plain", "test/plain:1")
    registry.push(made, "plain", "test/plain:2")
    registry.push(made, "two", "test/two:1")
    registry.push(made, "multi", "test/multi:1")
    registry.push(made, "plain", "test/docker:1", "--format", "v2s2")
    registry.push(made, "multi", "test/dockerlist:1", "--format", "v2s2")
    return made


def pull(podd, reference, **options):
    return podd.images.PullImage(cri.PullImageRequest(image=cri.ImageSpec(image=reference),
                                                      **options)).image_ref


def status(podd, reference):
    answer = podd.images.ImageStatus(cri.ImageStatusRequest(image=cri.ImageSpec(image=reference)))
    return answer.image if answer.HasField("image") else None


def remove(podd, reference):
    podd.images.RemoveImage(cri.RemoveImageRequest(image=cri.ImageSpec(image=reference)))


@pytest.fixture
def clean(podd, registry, layout):
    """The shared daemon has no image of the registry, before and after."""
    def drop():
        for image in podd.images.ListImages(cri.ListImagesRequest()).images:
            if any("127.0.0.1" in name for name in [*image.repo_tags, *image.repo_digests]):
                remove(podd, image.id)
    drop()
    yield
    drop()


def files_below(path):
    """Every file but those in `tmp`, where podd deletes in the background."""
    found = set()
    for directory, _, names in os.walk(path):
        place = os.path.relpath(directory, path)
        found |= {os.path.join(place, name) for name in names if not place.startswith("tmp")}
    return found


@pytest.mark.parametrize("name", ["plain", "docker", "multi", "dockerlist"])
def test_pulls_every_kind_of_manifest_and_runs(podd, registry, clean, pod, name):
    reference = f"{registry.host}/test/{name}:1"
    image_id = pull(podd, reference)
    seen = status(podd, reference)
    assert seen.id == image_id and seen.size > 0
    assert list(seen.repo_tags) == [reference]
    assert len(seen.repo_digests) == 1
    assert seen.username == "alice"
    container = pod.start(reference)
    from lib.cri import read_log
    state = wait_exited(podd, container)
    assert state.image_id == image_id
    assert read_log(state.log_path)["stdout"] == b"from the image: hello\n/tmp\n1000\n"


def test_podctl_pulls_with_progress(podd, registry, clean):
    import podd_pb2

    reference = f"{registry.host}/test/two:1"
    done = podd.podctl("pull", reference)
    assert done.stdout.strip() == status(podd, reference).id
    assert reference in podd.podctl("images").stdout
    remove(podd, reference)
    seen = list(podd.api.PullImage(podd_pb2.PullImageRequest(image=reference)))
    assert [p.bytes_done for p in seen] == sorted(p.bytes_done for p in seen)
    assert seen[-1].image_id == status(podd, reference).id
    assert seen[-1].bytes_done == seen[-1].bytes_total > 0
    done = podd.podctl("pull", f"{registry.host}/test/none:1", check=False)
    assert done.returncode == 4 and len(done.stderr.strip().splitlines()) == 1


def test_layers_and_whiteouts(podd, registry, clean, pod):
    reference = f"{registry.host}/test/two:1"
    pull(podd, reference)
    code, log = pod.run(reference, ["sh", "-c", "cat /added; ls /etc; ls -A /home"])
    assert code == 0
    assert log["stdout"] == b"added by the upper layer\nhostname\nhosts\npasswd\nresolv.conf\nnew\n"


def test_every_form_of_reference_finds_the_same(podd, registry, clean):
    reference = f"{registry.host}/test/plain:1"
    image_id = pull(podd, reference)
    one = status(podd, reference)
    for form in (image_id, image_id.split(":")[1], image_id.split(":")[1][:16], one.repo_digests[0]):
        assert status(podd, form) == one
    assert status(podd, f"{registry.host}/test/plain:nope") is None
    assert status(podd, "0" * 64) is None


def test_one_image_with_two_tags_is_removed_with_both(podd, registry, clean):
    ids = {pull(podd, f"{registry.host}/test/plain:{tag}") for tag in (1, 2)}
    assert len(ids) == 1
    assert list(status(podd, ids.pop()).repo_tags) == [f"{registry.host}/test/plain:{t}" for t in (1, 2)]
    remove(podd, f"{registry.host}/test/plain:2")
    assert status(podd, f"{registry.host}/test/plain:1") is None


def test_by_digest_it_has_no_tag(podd, registry, clean):
    pull(podd, f"{registry.host}/test/plain:1")
    digest = status(podd, f"{registry.host}/test/plain:1").repo_digests[0]
    remove(podd, digest)
    pull(podd, digest)
    seen = status(podd, digest)
    assert list(seen.repo_tags) == [] and list(seen.repo_digests) == [digest]


def test_parallel_pulls_and_removals(podd, registry, clean):
    names = [f"{registry.host}/test/{name}:1" for name in ("plain", "two", "multi", "docker")]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        ids = list(pool.map(lambda name: pull(podd, name), names * 4))
    assert len(set(ids)) >= 2
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        list(pool.map(lambda _: remove(podd, names[0]), range(5)))
    assert status(podd, names[0]) is None


def test_removing_leaves_no_layer_behind(podd, registry, clean):
    before = files_below(podd.root / "images")
    pull(podd, f"{registry.host}/test/two:1")
    assert files_below(podd.root / "images") - before
    remove(podd, f"{registry.host}/test/two:1")
    from lib.cri import wait_until
    wait_until(lambda: files_below(podd.root / "images") <= before, what="removed layers")


def test_a_used_image_may_be_removed_and_the_container_goes_on(podd, registry, clean, pod):
    reference = f"{registry.host}/test/two:1"
    pull(podd, reference)
    container = pod.start(reference, ["sh", "-c", "sleep 0.5; cat /added"])
    remove(podd, reference)
    assert status(podd, reference) is None
    assert wait_exited(podd, container).exit_code == 0


def test_image_fs_info_counts_what_is_there(podd, registry, clean):
    def used():
        info = podd.images.ImageFsInfo(cri.ImageFsInfoRequest()).image_filesystems[0]
        assert os.path.isdir(info.fs_id.mountpoint) and info.timestamp > 0
        return info.used_bytes.value
    before = used()
    pull(podd, f"{registry.host}/test/plain:1")
    assert used() - before > 1 << 20


def test_survives_a_restart(own_podd, registry, layout):
    reference = f"{registry.host}/test/two:1"
    pull(own_podd, reference)
    before = status(own_podd, reference)
    own_podd.kill()
    own_podd.start()
    assert status(own_podd, reference) == before


# ---- What goes wrong --------------------------------------------------------------------------------------


def no_trace(podd, before):
    """A failed pull leaves no image and no file but what was there."""
    assert {i.id for i in podd.images.ListImages(cri.ListImagesRequest()).images} == before[0]
    assert files_below(podd.root / "images") <= before[1]


@pytest.fixture
def trace(podd, clean):
    before = ({i.id for i in podd.images.ListImages(cri.ListImagesRequest()).images},
              files_below(podd.root / "images"))
    yield
    no_trace(podd, before)


def test_no_such_image(podd, registry, trace):
    for name in (f"{registry.host}/test/none:1", f"{registry.host}/test/plain:none"):
        code, message = code_of(pull, podd, name)
        assert code == grpc.StatusCode.NOT_FOUND and "not found" in message and name in message


def test_registry_down(podd, trace):
    code, message = code_of(pull, podd, "127.0.0.1:1/test/plain:1")
    assert code == grpc.StatusCode.UNKNOWN
    assert message.startswith("RegistryUnavailable") and "127.0.0.1:1" in message


def test_a_deadline_is_kept(podd, registry, trace):
    with pytest.raises(grpc.RpcError) as caught:
        podd.images.PullImage(cri.PullImageRequest(
            image=cri.ImageSpec(image=f"{registry.host}/test/two:1")), timeout=0.001)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    from lib.cri import wait_until
    wait_until(lambda: not list((podd.root / "images/tmp").iterdir()), what="an empty tmp")


@pytest.mark.parametrize("name", ["", "x/UPPER", "a b", "x:", "x@sha256:12", "-x", "x//y",
                                  "x@sha256:" + "g" * 64, "a" * 300])
def test_malformed_references(podd, trace, name):
    code, _ = code_of(pull, podd, name)
    assert code == grpc.StatusCode.INVALID_ARGUMENT


def blob_path(registry, digest):
    kind, value = digest.split(":")
    return (registry.directory / "storage/docker/registry/v2/blobs" / kind / value[:2] / value /
            "data")


def manifest_of(registry, layout, name):
    index = json.loads((layout.directory / "index.json").read_text())
    digest = [m["digest"] for m in index["manifests"]
              if m["annotations"]["org.opencontainers.image.ref.name"] == name][0]
    return json.loads((layout.directory / "blobs/sha256" / digest.split(":")[1]).read_text())


@pytest.mark.parametrize("spoil, word", [
    # The time stamp in gzip's header: the stream is as long and unpacks as before.
    (lambda data: data[:4] + b"\1" + data[5:], "digest"),
    (lambda data: data[:len(data) // 2], ""),
    (lambda data: data + b"more", ""),
], ids=["wrong digest", "truncated", "too long"])
def test_a_spoiled_layer_is_refused(podd, registry, layout, trace, spoil, word):
    digest = manifest_of(registry, layout, "two")["layers"][1]["digest"]
    path = blob_path(registry, digest)
    good = path.read_bytes()
    registry.stop()  # it caches what it knows of blobs
    path.write_bytes(spoil(good))
    registry.start()
    try:
        code, message = code_of(pull, podd, f"{registry.host}/test/two:1")
        assert code is not None and word in message and digest[7:19] in message
    finally:
        registry.stop()
        path.write_bytes(good)
        registry.start()


# ---- Import and hostile archives ------------------------------------------------------------------------------


def tar_of(path, *entries):
    with tarfile.open(path, "w") as tar:
        for entry in entries:
            info = tarfile.TarInfo(entry["name"])
            info.type = entry.get("type", tarfile.REGTYPE)
            info.linkname = entry.get("link", "")
            data = entry.get("data", b"hostile\n")
            info.size = len(data) if info.type == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(data) if info.type == tarfile.REGTYPE else None)
    return path


HOSTILE = {
    "dot-dot": [{"name": "../escape"}],
    "dot-dot inside": [{"name": "a/../../escape"}],
    "absolute": [{"name": "/escape"}],
    "through a link": [{"name": "out", "type": tarfile.SYMTYPE, "link": "CANARY"},
                       {"name": "out/escape"}],
    "through a relative link": [{"name": "out", "type": tarfile.SYMTYPE, "link": "../../../../../../../CANARY"},
                                {"name": "out/escape"}],
    "hard link outside": [{"name": "hard", "type": tarfile.LNKTYPE, "link": "CANARY/secret"}],
    "hard link dot-dot": [{"name": "hard", "type": tarfile.LNKTYPE, "link": "../../../../../../../CANARY/secret"}],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_and_touches_nothing(podd, trace, tmp_path, name):
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "secret").write_text("secret\n")
    stamp = (canary.stat().st_mtime_ns, (canary / "secret").stat().st_nlink)
    entries = [{**e, "link": e["link"].replace("/CANARY", str(canary)).replace("CANARY", str(canary))}
               if "link" in e else e for e in HOSTILE[name]]
    path = tar_of(tmp_path / "hostile.tar", {"name": "fine"}, *entries)
    done = podd.podctl("image", "import", "--name", "hostile", path, check=False)
    assert done.returncode != 0
    assert len(done.stderr.strip().splitlines()) == 1
    assert entries[-1]["name"].lstrip("./") in done.stderr or "escape" in done.stderr
    assert (canary.stat().st_mtime_ns, (canary / "secret").stat().st_nlink) == stamp
    assert [p.name for p in canary.iterdir()] == ["secret"]


def test_imports_an_oci_archive(podd, layout, tmp_path, pod):
    one = images.Layout(tmp_path / "layout")
    one.tag(one.image([images.busybox_layer([("mark", b"oci\n")])], {"Cmd": ["cat", "/mark"]}), "x")
    archive = one.archive(tmp_path / "oci.tar")
    podd.podctl("image", "import", "--name", "from-oci:1", archive)
    container = pod.start("from-oci:1")
    from lib.cri import read_log
    assert read_log(wait_exited(podd, container).log_path)["stdout"] == b"oci\n"
    podd.podctl("image", "rm", "from-oci:1")


def test_a_plain_root_file_system_needs_a_name(podd, busybox_tar):
    done = podd.podctl("image", "import", busybox_tar, check=False)
    assert done.returncode == 2 and "name" in done.stderr


def test_something_else_is_no_image(podd, trace, tmp_path):
    (tmp_path / "junk").write_bytes(os.urandom(100000))
    done = podd.podctl("image", "import", "--name", "junk", tmp_path / "junk", check=False)
    assert done.returncode != 0 and len(done.stderr.strip().splitlines()) == 1
