"""Pulls and imports by the image room's own code, against a real registry and a hostile one.

    image-pull.py DRIVER UNPACKER [unittest arguments]

DRIVER is the program made from image-driver.c. Needs root (unpacking keeps owners), python3 and
for the real registry docker-registry and skopeo.
"""
import concurrent.futures
import gzip
import io
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest

LIB = pathlib.Path(__file__).resolve().parent.parent / "integration/lib"
sys.path.insert(0, str(LIB))

import evil_registry as evil  # noqa: E402
import images  # noqa: E402

DRIVER, UNPACKER = map(os.path.abspath, sys.argv[1:3])
KIB = 1024


def tar_of(*entries):
    """A tar of (name, content) files; content None is a directory, a str a symbolic link."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return out.getvalue()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class ImageTest(unittest.TestCase):
    def setUp(self):
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="podd-image-"))
        self.addCleanup(shutil.rmtree, self.work)
        self.root = self.work / "root"
        self.registry = evil.EvilRegistry().start()
        self.addCleanup(self.registry.stop)

    def drive(self, *arguments, timeout=60, env=None):
        done = subprocess.run([DRIVER, self.root, UNPACKER, *map(str, arguments)], timeout=timeout,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
                              env=env)
        self.stderr = done.stderr
        self.assertIn(done.returncode, (0, 1), done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def pull(self, *arguments, **options):
        """The id of the pulled image."""
        answer = self.drive(*self.split(arguments), **options)[-1]
        self.assertIn("id", answer, answer)
        self.assertNotIn("invisible", answer)
        return answer["id"]

    def refuse(self, *arguments, code=None, contains=(), **options):
        """The message of a pull that must fail, and leave nothing."""
        before = self.images()
        answer = self.drive(*self.split(arguments), **options)[-1]
        self.assertIn("error", answer, answer)
        if code:
            self.assertEqual(answer["code"], code, answer)
        for word in [contains] if isinstance(contains, str) else contains:
            self.assertIn(word, answer["error"])
        self.assertNotIn("\n", answer["error"])
        self.assertEqual(self.images(), before)
        self.assert_clean()
        return answer["error"]

    @staticmethod
    def split(arguments):
        """Puts "pull" between options and references: all but the last are options."""
        return [*arguments[:-1], "pull", arguments[-1]]

    def images(self):
        return self.drive("list")

    def assert_clean(self):
        """No layer, configuration or temporary file but those of listed images."""
        listed = self.images()
        base = self.root / "images"
        names = lambda path: {p.name for p in path.iterdir()}  # noqa: E731
        self.assertEqual(names(base / "tmp"), set())
        self.assertEqual(names(base / "layers"), {layer for i in listed for layer in i["layers"]})
        self.assertEqual(names(base / "blobs/sha256"), {i["id"].split(":")[1] for i in listed})

    def layer(self, digest):
        return self.root / "images/layers" / digest.split(":")[1] / "fs"


class Formats(ImageTest):
    tar = tar_of(("etc", None), ("etc/x", b"hello"))

    def test_an_oci_image(self):
        reference = self.registry.add("app", "1", [self.tar], config={"Cmd": ["x"], "User": "u"})
        image_id = self.pull(reference)
        manifest = self.registry.manifests["app", "1"][1]
        self.assertEqual(self.images(), [{
            "id": image_id, "tags": [reference], "cmd": ["x"], "env": [], "user": "u",
            "digests": [f"{self.registry.host}/app@{evil.digest_of(manifest)}"],
            "layers": [evil.digest_of(self.tar).split(":")[1]],
            "size": json.loads(manifest)["layers"][0]["size"] + json.loads(manifest)["config"]["size"],
        }])
        self.assertEqual((self.layer(evil.digest_of(self.tar)) / "etc/x").read_bytes(), b"hello")
        self.assert_clean()

    def test_a_docker_image_in_a_manifest_list(self):
        registry = self.registry
        mine = registry.image([self.tar], docker=True)
        other = registry.image([tar_of(("other", b"x"))], docker=True, architecture="arm64")
        entries = []
        for body, architecture in ((other, "arm64"), (mine, "amd64")):
            registry.put("multi", "x", body, evil.DOCKER_MANIFEST)
            entries.append({"mediaType": evil.DOCKER_MANIFEST, "digest": evil.digest_of(body),
                            "size": len(body),
                            "platform": {"os": "linux", "architecture": architecture}})
        index = json.dumps({"schemaVersion": 2, "mediaType": evil.DOCKER_LIST,
                            "manifests": entries}).encode()
        self.pull(registry.put("multi", "1", index, evil.DOCKER_LIST))
        image, = self.images()
        self.assertEqual(image["layers"], [evil.digest_of(self.tar).split(":")[1]])
        self.assertEqual(image["digests"], [f"{registry.host}/multi@{evil.digest_of(index)}"])

    def test_no_image_for_this_machine(self):
        body = self.registry.image([self.tar], architecture="arm64")
        index = json.dumps({"schemaVersion": 2, "manifests": [{
            "mediaType": evil.OCI_MANIFEST, "digest": evil.digest_of(body), "size": len(body),
            "platform": {"os": "linux", "architecture": "arm64"}}]}).encode()
        self.registry.put("multi", "x", body)
        self.refuse(self.registry.put("multi", "1", index, evil.OCI_INDEX), code="NOT_FOUND",
                  contains=["not found", "linux/arm64"])
        self.refuse(self.registry.put("single", "1", body), code="NOT_FOUND", contains="linux/arm64")

    def test_plain_and_zstd_layers(self):
        def zstd(data):
            return subprocess.run(["zstd", "-q"], input=data, stdout=subprocess.PIPE, check=True).stdout
        for name, compress in (("plain", bytes), ("zstd", zstd)):
            if name == "zstd" and not shutil.which("zstd"):
                self.skipTest("no zstd program")
            tar = tar_of((name, os.urandom(300 * KIB)))
            self.pull(self.registry.add(name, "1", [tar], compress=compress))
            self.assertTrue((self.layer(evil.digest_of(tar)) / name).exists())

    def test_no_layers_at_all(self):
        self.pull(self.registry.add("empty", "1", []))
        mount = self.work / "mnt"
        mount.mkdir()
        self.drive("rootfs", "c1", f"{self.registry.host}/empty:1", mount)
        self.addCleanup(subprocess.run, ["umount", mount], check=True)
        self.assertEqual(list(mount.iterdir()), [])
        (mount / "new").write_text("x")

    def test_by_digest_it_has_no_tag(self):
        self.registry.add("app", "1", [self.tar])
        digest = evil.digest_of(self.registry.manifests["app", "1"][1])
        self.pull(f"{self.registry.host}/app@{digest}")
        image, = self.images()
        self.assertEqual(image["tags"], [])
        self.assertEqual(image["digests"], [f"{self.registry.host}/app@{digest}"])

    def test_one_image_with_many_names_is_removed_with_all(self):
        names = [self.registry.add("a", "1", [self.tar]), self.registry.add("a", "2", [self.tar]),
                 self.registry.add("b/c", "1", [self.tar])]
        ids = {self.pull(name) for name in names}
        self.assertEqual(len(ids), 1)
        image, = self.images()
        self.assertEqual(image["tags"], sorted(names))
        self.assertEqual(self.drive("find", ids.copy().pop()[7:20]), [image])
        self.drive("remove", names[1])
        self.assertEqual(self.images(), [])
        self.assert_clean()

    def test_a_tag_that_moves_leaves_the_old_image(self):
        old = self.pull(self.registry.add("app", "1", [self.tar]))
        new = self.pull(self.registry.add("app", "1", [tar_of(("new", b"x"))]))
        tags = {i["id"]: i["tags"] for i in self.images()}
        self.assertEqual(tags, {old: [], new: [f"{self.registry.host}/app:1"]})

    def test_whiteouts_and_opaque_directories(self):
        bottom = tar_of(("d", None), ("d/old", b"1"), ("gone", b"1"), ("kept", b"1"))
        top = tar_of(("d", None), ("d/.wh..wh..opq", b""), ("d/new", b"2"), (".wh.gone", b""))
        reference = self.registry.add("w", "1", [bottom, top])
        self.pull(reference)
        mount = self.work / "mnt"
        mount.mkdir()
        self.drive("rootfs", "c1", reference, mount)
        self.addCleanup(subprocess.run, ["umount", mount], check=True)
        self.assertEqual(sorted(p.name for p in mount.iterdir()), ["d", "kept"])
        self.assertEqual([p.name for p in (mount / "d").iterdir()], ["new"])

    def test_the_store_counts_what_it_takes(self):
        tars = [tar_of((f"f{i}", os.urandom(900 * KIB)), ("small", b"x"), (f"d{i}", None))
                for i in range(4)]
        self.pull(self.registry.add("big", "1", tars))
        used = self.drive("usage")[0]["bytes"]
        real = int(subprocess.run(["du", "-s", "--block-size=1", self.root / "images"],
                                  stdout=subprocess.PIPE, check=True).stdout.split()[0])
        self.assertLess(abs(used - real), 0.02 * real)


class Sharing(ImageTest):
    def test_parallel_pulls_fetch_every_blob_once(self):
        shared = [tar_of((f"s{i}", os.urandom(500 * KIB))) for i in range(3)]
        names = [self.registry.add(f"app{i}", "1", [*shared, tar_of((f"own{i}", b"x"))])
                 for i in range(6)]
        answers = self.drive("pull", *names, *names)
        self.assertEqual([a for a in answers if "id" not in a], [])
        blobs = [path.split("/")[-1] for _, path, _ in self.registry.log if "/blobs/" in path]
        self.assertEqual(len(blobs), len(set(blobs)))
        self.assertEqual(len(self.images()), 6)

    def test_a_layer_that_is_here_is_not_fetched_again(self):
        tar = tar_of(("x", b"x"))
        self.pull(self.registry.add("a", "1", [tar]))
        self.registry.log.clear()
        self.pull(self.registry.add("a", "2", [tar, tar_of(("y", b"y"))]))
        self.assertEqual(len(self.registry.asked("/blobs/")), 2)  # a configuration and a layer
        self.drive("remove", f"{self.registry.host}/a:1")
        self.assertEqual(len(self.images()), 1)
        self.assert_clean()

    def test_a_bad_source_does_not_spoil_a_good_one(self):
        """Two images with the same content; one registry sends rubbish for it."""
        other = evil.EvilRegistry().start()
        self.addCleanup(other.stop)
        tar = tar_of(("x", os.urandom(200 * KIB)))
        bad = self.registry.add("bad", "1", [tar])
        good = other.add("good", "1", [tar])
        layer = json.loads(self.registry.manifests["bad", "1"][1])["layers"][0]["digest"]

        def rubbish(request):
            if layer in request.path:
                time.sleep(1)
                request.answer(200, b"\0" * len(self.registry.blobs[layer]))
                return True
        self.registry.rules.append(rubbish)
        other.rules.append(lambda r: "manifests" in r.path and time.sleep(0.5))  # the second to come
        answers = {a["name"]: a for a in self.drive("pull", bad, good)}
        self.assertIn("error", answers[bad])
        self.assertIn("id", answers[good], answers)

    def test_leaving_a_pull_leaves_nothing(self):
        tar = tar_of(("x", os.urandom(900 * KIB)))
        reference = self.registry.add("slow", "1", [tar])

        def slow(request):
            if "/blobs/" in request.path and self.registry.blobs[request.path.split("/")[-1]][:2] == b"\x1f\x8b":
                data = self.registry.blobs[request.path.split("/")[-1]]
                request.send_response(200)
                request.send_header("Content-Length", str(len(data)))
                request.end_headers()
                try:
                    for i in range(0, len(data), 4096):
                        request.wfile.write(data[i:i + 4096])
                        time.sleep(0.05)
                except OSError:
                    pass
                request.close_connection = True
                return True
        self.registry.rules.append(slow)
        begin = time.monotonic()
        self.assertEqual(self.drive("--cancel-after", 500, "pull", reference), [{"cancelled": True}])
        self.assertLess(time.monotonic() - begin, 3)
        self.assertEqual(self.images(), [])
        self.assert_clean()


class Broken(ImageTest):
    tar = tar_of(("x", os.urandom(300 * KIB)))

    def setUp(self):
        super().setUp()
        self.reference = self.registry.add("app", "1", [self.tar])
        self.manifest = json.loads(self.registry.manifests["app", "1"][1])
        self.layer_digest = self.manifest["layers"][0]["digest"]

    def replace_layer(self, data):
        self.registry.blobs[self.layer_digest] = data

    def rule_for_layer(self, fn):
        def rule(request):
            if self.layer_digest in request.path:
                fn(request, self.registry.blobs[self.layer_digest])
                return True
        self.registry.rules.append(rule)

    def test_no_such_image(self):
        self.refuse(f"{self.registry.host}/app:none", code="NOT_FOUND",
                  contains=["not found", f"{self.registry.host}/app:none"])
        self.refuse(f"{self.registry.host}/none:1", code="NOT_FOUND", contains="not found")

    def test_malformed_reference(self):
        for name in ("", "UPPER", "a b", "x:", "x@sha256:12", "../../x", "x//y"):
            self.refuse(name, code="INVALID_ARGUMENT")

    def test_registry_down(self):
        begin = time.monotonic()
        message = self.refuse(f"127.0.0.1:{free_port()}/x:1", code="UNKNOWN")
        self.assertTrue(message.startswith("RegistryUnavailable"), message)
        self.assertLess(time.monotonic() - begin, 5)

    def test_registry_in_trouble(self):
        self.registry.rules.append(lambda r: r.error(503, "UNAVAILABLE") or True)
        message = self.refuse(self.reference, code="UNKNOWN", contains="503")
        self.assertTrue(message.startswith("RegistryUnavailable"), message)

    def test_trouble_that_passes(self):
        left = [2]

        def rule(request):
            left[0] -= 1
            return left[0] >= 0 and (request.error(503, "UNAVAILABLE") or True)
        self.registry.rules.append(rule)
        self.pull(self.reference)

    def test_wrong_digest(self):
        good = self.registry.blobs[self.layer_digest]
        self.replace_layer(gzip.compress(self.tar, 1)[:-1].ljust(len(good), b"\0")[:len(good)])
        self.refuse(self.reference, contains=self.layer_digest)
        self.replace_layer(good[:4] + bytes([good[4] ^ 1]) + good[5:])  # the time in gzip's header
        self.refuse(self.reference, code="DATA_LOSS", contains=[self.layer_digest, "digest"])

    def test_truncated_layer(self):
        self.replace_layer(self.registry.blobs[self.layer_digest][:-1000])
        self.refuse(self.reference, code="DATA_LOSS", contains=[self.layer_digest, "truncated"])

    def test_layer_that_is_too_long(self):
        self.replace_layer(self.registry.blobs[self.layer_digest] + b"more")
        self.refuse(self.reference, code="DATA_LOSS", contains=[self.layer_digest, "larger"])

    def test_layer_of_another_content(self):
        other = gzip.compress(tar_of(("other", b"x")))
        self.manifest["layers"][0].update(digest=self.registry.blob(other), size=len(other))
        reference = self.registry.put("app", "2", json.dumps(self.manifest).encode())
        self.refuse(reference, code="DATA_LOSS", contains="diff_id")

    def test_manifest_of_another_digest(self):
        digest = evil.digest_of(self.registry.manifests["app", "1"][1])
        self.registry.manifests["app", digest] = (evil.OCI_MANIFEST, self.registry.image([]))
        self.refuse(f"{self.registry.host}/app@{digest}", code="DATA_LOSS", contains="digest")

    def test_config_of_another_digest(self):
        config = self.manifest["config"]["digest"]
        self.registry.blobs[config] = self.registry.blobs[config].replace(b"linux", b"LINUX")
        self.refuse(self.reference, code="DATA_LOSS", contains="digest")

    def test_numbers_of_layers_that_differ(self):
        self.manifest["layers"] *= 2
        self.refuse(self.registry.put("app", "2", json.dumps(self.manifest).encode()),
                  contains="2 layers")

    def test_a_connection_that_breaks_is_resumed(self):
        offsets = []

        def breaking(request, data):
            begin = int(request.headers.get("Range", "bytes=0-")[6:].split("-")[0])
            offsets.append(begin)
            part = data[begin:begin + 100 * KIB]
            headers = {"Content-Range": f"bytes {begin}-{len(data) - 1}/{len(data)}"}
            request.answer(206 if begin else 200, part, headers if begin else {},
                           length=len(data) - begin)
        self.rule_for_layer(breaking)
        self.pull(self.reference)
        self.assertEqual(offsets, [0, 100 * KIB, 200 * KIB, 300 * KIB][:len(offsets)])
        self.assertGreater(len(offsets), 2)

    def test_a_server_without_ranges_is_skipped_forward(self):
        left = [2]

        def rule(request, data):
            left[0] -= 1
            request.answer(200, data[:150 * KIB] if left[0] >= 0 else data, length=len(data))
        self.rule_for_layer(rule)
        self.pull(self.reference)

    def test_a_range_at_the_wrong_place_is_refused(self):
        def rule(request, data):
            if "Range" in request.headers:
                request.answer(206, data[7:], {"Content-Range": f"bytes 7-{len(data) - 1}/{len(data)}"})
            else:
                request.answer(200, data[:150 * KIB], length=len(data))
        self.rule_for_layer(rule)
        self.refuse(self.reference, contains="wrong place")

    def test_a_connection_that_never_gets_anywhere_ends(self):
        self.rule_for_layer(lambda request, data: request.answer(200, data[:10], length=len(data)))
        message = self.refuse(self.reference, code="UNKNOWN")
        self.assertTrue(message.startswith("RegistryUnavailable"), message)

    def test_a_trickle_is_not_waited_for(self):
        def trickle(request, data):
            request.send_response(200)
            request.send_header("Content-Length", str(len(data)))
            request.end_headers()
            try:
                for i in range(600):
                    request.wfile.write(data[i:i + 1])
                    time.sleep(0.1)
            except OSError:
                pass
            request.close_connection = True
        self.rule_for_layer(trickle)
        message = self.refuse("--slow-seconds", 1, self.reference, code="UNKNOWN")
        self.assertTrue(message.startswith("RegistryUnavailable"), message)

    def test_endless_documents(self):
        def endless(request):
            if "/manifests/" not in request.path:
                return False
            request.send_response(200)
            request.send_header("Content-Type", evil.OCI_MANIFEST)
            request.send_header("Transfer-Encoding", "chunked")
            request.end_headers()
            try:
                while True:
                    request.wfile.write(b"10000\r\n" + b" " * 65536 + b"\r\n")
            except OSError:
                pass
            request.close_connection = True
            return True
        self.registry.rules.append(endless)
        self.refuse(self.reference, contains="larger than")

    def test_a_lying_content_length(self):
        self.registry.rules.append(lambda r: "/manifests/" in r.path and (
            r.answer(200, b"{}", {"Content-Type": evil.OCI_MANIFEST}, length=10 << 30) or True))
        self.refuse(self.reference)

    def test_large_headers(self):
        self.registry.rules.append(lambda r: r.answer(
            200, b"{}", {f"X-{i}": "x" * 4000 for i in range(40)}) or True)
        self.refuse(self.reference)

    def test_hostile_layers(self):
        hard = tarfile.TarInfo("hard")
        hard.type, hard.linkname = tarfile.LNKTYPE, "../../../../../etc/passwd"
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            tar.addfile(hard)
        for tar in (tar_of(("../escape", b"x")), tar_of(("/abs", b"x")), out.getvalue(),
                    tar_of(("out", "/tmp"), ("out/escape", b"x")),
                    tar_of(("out", "../../.."), ("out/escape", b"x"))):
            message = self.refuse(self.registry.add("evil", "1", [tar]), code="INVALID_ARGUMENT",
                                contains="entry")
            self.assertRegex(message, "escape|abs|hard")

    def test_bombs(self):
        bomb = gzip.compress(b"\0" * (200 << 20), 9)
        reference = self.registry.add("bomb", "1", [b""], compress=lambda _: bomb)
        self.refuse(reference, code="RESOURCE_EXHAUSTED", contains="times its size")


class Confusion(ImageTest):
    """Documents that two readers could understand differently."""

    def setUp(self):
        super().setUp()
        self.honest = json.loads(self.registry.image([tar_of(("x", b"x"))]))

    def try_manifest(self, document, content_type=evil.OCI_MANIFEST, **expect):
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return self.refuse(self.registry.put("app", "1", body, content_type), **expect)

    def test_index_and_manifest_in_one(self):
        both = {**self.honest, "manifests": []}
        for media_type in (evil.OCI_MANIFEST, evil.OCI_INDEX, "application/json", None):
            for own in (evil.OCI_MANIFEST, evil.OCI_INDEX, None):
                document = {**both, "mediaType": own}
                if own is None:
                    del document["mediaType"]
                self.try_manifest(document, media_type, code="INVALID_ARGUMENT", contains="both")

    def test_types_that_disagree(self):
        self.try_manifest(self.honest, evil.OCI_INDEX, code="INVALID_ARGUMENT")
        self.try_manifest(self.honest, evil.DOCKER_MANIFEST, code="INVALID_ARGUMENT")
        self.try_manifest({**self.honest, "mediaType": evil.OCI_INDEX}, code="INVALID_ARGUMENT")
        del self.honest["mediaType"]
        self.try_manifest(self.honest, "application/json", code="INVALID_ARGUMENT")
        self.try_manifest(self.honest, "text/html", code="INVALID_ARGUMENT")
        body = json.dumps(self.honest).encode()
        self.pull(self.registry.put("app", "1", body, evil.OCI_MANIFEST))

    def test_an_entry_of_another_type_than_announced(self):
        body = json.dumps(self.honest).encode()
        self.registry.put("app", "x", body)
        index = {"schemaVersion": 2, "manifests": [{
            "mediaType": evil.DOCKER_MANIFEST, "digest": evil.digest_of(body), "size": len(body),
            "platform": {"os": "linux", "architecture": "amd64"}}]}
        self.try_manifest(index, evil.OCI_INDEX, code="INVALID_ARGUMENT", contains="announces")

    def test_strict_json(self):
        text = json.dumps(self.honest).encode()
        self.try_manifest(text[:-1] + b',"layers":[]}', code="INVALID_ARGUMENT", contains="uplicate")
        self.try_manifest(text + b"{}", code="INVALID_ARGUMENT")
        self.try_manifest(text[:-1] + b',"x":' + b"[" * 100 + b"]" * 100 + b"}",
                          code="INVALID_ARGUMENT", contains="deeper")
        self.try_manifest(text[:-1] + b',"x":"\xff"}', code="INVALID_ARGUMENT")
        self.try_manifest(text[:-1] + b',"x":"a\\u0000b"}', code="INVALID_ARGUMENT")
        self.try_manifest(text[:-1] + b',"x":99999999999999999999999}', code="INVALID_ARGUMENT")
        self.try_manifest(b"", code="INVALID_ARGUMENT")

    def test_digests_that_are_paths(self):
        for digest in ("../../../etc/passwd", "sha256:../../x", "sha256:" + "A" * 64, "sha512:" + "a" * 128,
                       "sha256:" + "a" * 63, "sha256:" + "a" * 65, ""):
            document = json.loads(json.dumps(self.honest))
            document["layers"][0]["digest"] = digest
            self.try_manifest(document, code="INVALID_ARGUMENT")
            document = json.loads(json.dumps(self.honest))
            document["config"]["digest"] = digest
            self.try_manifest(document, code="INVALID_ARGUMENT")

    def test_foreign_layers_are_not_fetched_from_their_urls(self):
        other = evil.EvilRegistry().start()
        self.addCleanup(other.stop)
        self.honest["layers"][0]["urls"] = [f"http://{other.host}/layer"]
        self.pull(self.registry.put("app", "1", json.dumps(self.honest).encode()))
        self.assertEqual(other.log, [])

    def test_things_that_are_no_images(self):
        for part, media_type in (("config", "application/vnd.cncf.helm.config.v1+json"),):
            document = json.loads(json.dumps(self.honest))
            document[part]["mediaType"] = media_type
            self.try_manifest(document, contains="not a container image")
        document = json.loads(json.dumps(self.honest))
        document["layers"][0]["mediaType"] += "+encrypted"
        self.try_manifest(document, contains="not supported")

    def test_malformed_environment(self):
        for entry in ("*", "PATH", "=x", "A"):
            reference = self.registry.add("env", "1", [tar_of(("x", b"x"))], config={"Env": [entry]})
            self.refuse(reference, code="INVALID_ARGUMENT", contains="Env")


class Credentials(ImageTest):
    """Who gets to see the password."""

    def setUp(self):
        super().setUp()
        self.other = evil.EvilRegistry().start()
        self.addCleanup(self.other.stop)
        self.reference = self.registry.add("app", "1", [tar_of(("x", os.urandom(KIB)))])

    def need_basic(self):
        def rule(request):
            if request.credentials() == ("me", "secret"):
                return False
            request.error(401, "UNAUTHORIZED", {"WWW-Authenticate": 'Basic realm="here"'})
            return True
        self.registry.rules.append(rule)

    def need_bearer(self, realm_host, accept=lambda request: True):
        """Wants a token, which realm_host's /token gives to whom it accepts."""
        def rule(request):
            if request.path.startswith("/token"):
                return False
            if request.headers.get("Authorization") == "Bearer good":
                return False
            request.error(401, "UNAUTHORIZED", {
                "WWW-Authenticate": f'Bearer realm="http://{realm_host}/token",service="s e",'
                                    'scope="repository:app:pull"'})
            return True

        def token(request):
            if not request.path.startswith("/token"):
                return False
            if accept(request):
                request.answer(200, b'{"token":"good","expires_in":60}')
            else:
                request.error(401, "UNAUTHORIZED")
            return True
        self.registry.rules.append(rule)
        for registry in (self.registry, self.other):
            registry.rules.append(token)

    def assert_nothing_leaked(self, registry):
        for method, path, headers in registry.log:
            self.assertNotIn("Authorization", headers, path)

    def test_basic(self):
        self.need_basic()
        message = self.refuse(self.reference, code="UNAUTHENTICATED", contains="unauthorized")
        self.refuse("--user", "me:wrong", self.reference, code="UNAUTHENTICATED", contains="unauthorized")
        self.pull("--user", "me:secret", self.reference)
        self.assertNotIn("secret", message)

    def test_basic_in_one_word(self):
        self.need_basic()
        self.pull("--encoded", "bWU6c2VjcmV0", self.reference)
        self.pull("--encoded", "bWU6c2VjcmV0AAAA", self.reference)
        self.refuse("--encoded", "rubbish", self.reference, code="INVALID_ARGUMENT")

    def test_bearer_with_a_password(self):
        self.need_bearer(self.registry.host, lambda r: r.credentials() == ("me", "secret"))
        self.refuse(self.reference, code="UNAUTHENTICATED", contains="unauthorized")
        self.refuse("--user", "me:wrong", self.reference, code="UNAUTHENTICATED", contains="unauthorized")
        self.pull("--user", "me:secret", self.reference)
        self.assertIn("service=s%20e", self.registry.asked("/token")[-1][1])

    def test_bearer_for_everybody(self):
        self.need_bearer(self.registry.host)
        self.pull(self.reference)

    def test_a_refresh_token(self):
        self.need_bearer(self.registry.host, lambda r: "refresh_token=r%2Fx" in r.body)
        self.pull("--identity-token", "r/x", self.reference)

    def test_an_auth_file(self):
        self.need_basic()
        file = self.work / "config.json"
        file.write_text(json.dumps({"auths": {self.registry.host: {"auth": "bWU6c2VjcmV0"}}}))
        self.pull("--auth-file", f"{self.registry.host}={file}", self.reference)

    def test_credentials_for_another_server_are_not_used(self):
        self.pull("--user", "me:secret", "--server", self.other.host, self.reference)
        self.need_basic()
        self.refuse("--user", "me:secret", "--server", self.other.host, self.reference,
                  code="UNAUTHENTICATED")
        self.assert_nothing_leaked(self.registry)

    def test_a_foreign_realm_gets_no_password(self):
        self.need_bearer(self.other.host, lambda r: r.credentials() is not None)
        self.refuse("--user", "me:secret", self.reference, contains="not sent there")
        self.assertEqual(len(self.other.asked("/token")), 1)
        self.assert_nothing_leaked(self.other)

    def test_a_foreign_realm_may_give_out_anonymous_tokens(self):
        self.need_bearer(self.other.host)
        self.pull("--user", "me:secret", self.reference)
        self.assert_nothing_leaked(self.other)

    def test_a_redirect_to_another_server_drops_the_authorization(self):
        self.need_basic()
        self.other.blobs = self.registry.blobs
        self.registry.rules.append(lambda r: "/blobs/" in r.path and (r.answer(
            307, b"", {"Location": f"http://{self.other.host}{r.path}"}) or True))
        self.pull("--user", "me:secret", self.reference)
        self.assertEqual(len(self.other.log), 2)
        self.assert_nothing_leaked(self.other)

    def test_a_redirect_on_the_same_server_keeps_it(self):
        self.need_basic()
        self.registry.rules.append(lambda r: "/blobs/" in r.path and "moved" not in r.path and (
            r.answer(302, b"", {"Location": r.path.replace("/app/", "/moved/")}) or True))
        self.pull("--user", "me:secret", self.reference)

    def test_redirects_end(self):
        self.registry.rules.append(lambda r: "/blobs/" in r.path and (
            r.answer(302, b"", {"Location": r.path}) or True))
        self.refuse(self.reference, contains="redirects")
        self.assertEqual(len(self.registry.asked("/blobs/")), 6)

    def test_redirects_to_strange_places(self):
        for location in ("file:///etc/passwd", "ftp://x/y", f"http://u:p@{self.other.host}/x",
                         "http://", "http://x y/"):
            self.registry.rules[:] = [lambda r: "/blobs/" in r.path and (
                r.answer(302, b"", {"Location": location}) or True)]
            self.refuse(self.reference, contains="refused")
        self.assertEqual(self.other.log, [])

    def test_a_denied_image(self):
        self.registry.rules.append(lambda r: r.error(403, "DENIED") or True)
        self.refuse(self.reference, code="PERMISSION_DENIED", contains="denied")

    def test_proxies_of_the_environment_are_ignored(self):
        env = {**os.environ, "http_proxy": f"http://{self.other.host}", "ALL_PROXY": f"http://{self.other.host}"}
        self.pull(self.reference, env=env)
        self.assertEqual(self.other.log, [])


class Mirrors(ImageTest):
    def setUp(self):
        super().setUp()
        self.mirror = evil.EvilRegistry().start()
        self.addCleanup(self.mirror.stop)
        self.tar = tar_of(("x", b"x"))
        self.reference = self.registry.add("app", "1", [self.tar])
        self.option = ("--mirror", f"{self.registry.host}=http://{self.mirror.host}")

    def test_the_mirror_comes_first(self):
        self.mirror.add("app", "1", [self.tar])
        self.pull(*self.option, self.reference)
        self.assertEqual(self.registry.log, [])
        self.assertEqual(self.images()[0]["tags"], [self.reference])

    def test_what_the_mirror_lacks_comes_from_the_registry(self):
        self.pull(*self.option, self.reference)
        self.assertTrue(self.mirror.log)

    def test_a_mirror_that_is_down(self):
        self.pull("--mirror", f"{self.registry.host}=http://127.0.0.1:{free_port()}", self.reference)

    def test_the_mirror_gets_no_password(self):
        def rule(request):
            if request.credentials() == ("me", "secret"):
                return False
            request.error(401, "UNAUTHORIZED", {"WWW-Authenticate": 'Basic realm="here"'})
            return True
        self.mirror.rules.append(rule)
        self.registry.rules.append(rule)
        self.pull("--user", "me:secret", *self.option, self.reference)
        for _, _, headers in self.mirror.log:
            self.assertNotIn("Authorization", headers)


class Progress(ImageTest):
    def test_it_is_monotone_and_ends_complete(self):
        tars = [tar_of((f"x{i}", os.urandom(700 * KIB))) for i in range(3)]
        lines = self.drive("--progress", "pull", self.registry.add("p", "1", tars))
        steps = [line for line in lines if "phase" in line]
        self.assertEqual(steps[-1]["phase"], "done")
        self.assertEqual(steps[-1]["done"], steps[-1]["total"])
        self.assertEqual(steps[-1]["layers_done"], 3)
        done = [step["done"] for step in steps]
        self.assertEqual(done, sorted(done))


class Import(ImageTest):
    def run_import(self, path, name="-", *command):
        return self.drive("import", path, name, *command)[-1]

    def test_a_root_file_system(self):
        for number, compress in enumerate((bytes, gzip.compress)):
            path = self.work / "x.tar"
            path.write_bytes(compress(tar_of(("bin", None), ("bin/sh", b"x"))))
            answer = self.run_import(path, f"mine:{number}", "sh", "-c", "x")
            self.assertIn("id", answer, answer)
        image, = self.images()  # the same content is the same image
        self.assertEqual(image["tags"], ["docker.io/library/mine:0", "docker.io/library/mine:1"])
        self.assertEqual(image["cmd"], ["sh", "-c", "x"])

    def test_a_root_file_system_without_a_name(self):
        path = self.work / "x.tar"
        path.write_bytes(tar_of(("x", b"x")))
        self.assertIn("name", self.run_import(path)["error"])
        self.assertEqual(self.images(), [])
        self.assert_clean()

    def layout(self):
        layout = images.Layout(self.work / "layout")
        layers = [tar_of(("a", b"a")), tar_of(("b", b"b"))]
        descriptor = layout.image(layers, {"Cmd": ["x"]})
        return layout, descriptor, layers

    def test_an_oci_archive(self):
        layout, descriptor, layers = self.layout()
        foreign = layout.image([tar_of(("foreign", b"x"))], {}, "arm64")
        layout.tag(layout.index([foreign, descriptor]), "example.org/team/app:3")
        path = layout.archive(self.work / "oci.tar")
        self.assertIn("id", self.run_import(path))
        image, = self.images()
        self.assertEqual(image["tags"], ["example.org/team/app:3"])
        self.assertEqual(image["layers"], [evil.digest_of(t).split(":")[1] for t in layers])
        self.assertIn("id", self.run_import(path, "other:1"))
        self.assertEqual(len(self.images()[0]["tags"]), 2)
        self.assert_clean()

    def test_an_oci_archive_with_a_spoiled_layer(self):
        layout, descriptor, layers = self.layout()
        layout.tag(descriptor, "x:1")
        for blob in (layout.directory / "blobs/sha256").iterdir():
            data = blob.read_bytes()
            if data[:2] == b"\x1f\x8b":
                blob.write_bytes(data[:4] + b"\1" + data[5:])
        answer = self.run_import(layout.archive(self.work / "oci.tar"))
        self.assertIn("digest", answer["error"])
        self.assertEqual(self.images(), [])
        self.assert_clean()

    def test_a_docker_save_archive(self):
        layers = [tar_of(("a", b"a")), tar_of(("b", b"b"))]
        config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["y"]}, "rootfs": {
            "type": "layers", "diff_ids": [evil.digest_of(t) for t in layers]}}).encode()
        manifest = json.dumps([{"Config": "c.json", "RepoTags": ["app:2"],
                                "Layers": ["1/layer.tar", "2/layer.tar"]}]).encode()
        path = self.work / "docker.tar"
        path.write_bytes(tar_of(("c.json", config), ("1", None), ("2", None), ("1/layer.tar", layers[0]),
                                ("2/layer.tar", layers[1]), ("manifest.json", manifest)))
        self.assertIn("id", self.run_import(path))
        image, = self.images()
        self.assertEqual((image["tags"], image["cmd"]), (["docker.io/library/app:2"], ["y"]))
        self.assert_clean()

    def test_links_of_an_archive_do_not_lead_out(self):
        """manifest.json names files by path; the tar may hold links under those names."""
        config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {
            "type": "layers", "diff_ids": [evil.digest_of(b"x")]}}).encode()
        for target in ("/etc/passwd", "../../../../../../../../etc/passwd"):
            manifest = json.dumps([{"Config": "c.json", "Layers": ["layer"]}]).encode()
            path = self.work / "docker.tar"
            path.write_bytes(tar_of(("c.json", config), ("layer", target), ("manifest.json", manifest)))
            self.assertIn("No such file", self.run_import(path, "x:1")["error"])
            self.assert_clean()

    def test_hostile_and_broken_archives(self):
        fine = tar_of(("x", os.urandom(100 * KIB)))
        for name, data in {
            "dots": tar_of(("../x", b"x")), "absolute": tar_of(("/x", b"x")),
            "rubbish": os.urandom(10000), "empty": b"", "truncated": gzip.compress(fine)[:5000],
            "xz": b"\xfd7zXZ\0" + b"\0" * 1000, "cut": fine[:50000],
        }.items():
            path = self.work / name
            path.write_bytes(data)
            answer = self.run_import(path, "x:1")
            self.assertIn("error", answer, name)
            self.assertIn(str(path), answer["error"])
            self.assertNotIn("\n", answer["error"])
            self.assertEqual(self.images(), [])
            self.assert_clean()

    def test_things_that_are_no_files(self):
        for path in ("/nonexistent", "/dev/zero", "/tmp"):
            self.assertIn("error", self.run_import(path, "x:1"))


class Confinement(unittest.TestCase):
    """What the unpacker still can while it reads its first byte."""

    def setUp(self):
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="podd-image-"))
        self.addCleanup(shutil.rmtree, self.work)
        target = os.open(self.work, os.O_RDONLY | os.O_DIRECTORY)
        self.addCleanup(os.close, target)
        read, write = os.pipe()
        report, report_child = os.pipe()
        for fd in (read, target, report_child):
            os.set_inheritable(fd, True)
        script = f"exec {UNPACKER} <&{read} 3<&{target} 4>&{report_child}"
        self.child = subprocess.Popen(["bash", "-c", script], close_fds=False)
        self.addCleanup(self.child.wait)
        self.addCleanup(os.close, write)
        self.addCleanup(os.close, report)
        os.close(read)
        os.close(report_child)
        self.proc = pathlib.Path(f"/proc/{self.child.pid}")
        deadline = time.monotonic() + 10
        while "Seccomp:\t2" not in (self.proc / "status").read_text():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)

    def status(self):
        return dict(line.split(":\t", 1) for line in (self.proc / "status").read_text().splitlines())

    def test_few_capabilities_and_none_to_gain(self):
        status = self.status()
        allowed = sum(1 << bit for bit in (0, 1, 3, 4, 31))  # chown dac_override fowner fsetid setfcap
        for name in ("CapEff", "CapPrm", "CapBnd"):
            self.assertEqual(int(status[name], 16), allowed, name)
        self.assertEqual(int(status["CapInh"], 16), 0)
        self.assertEqual(int(status["CapAmb"], 16), 0)
        self.assertEqual(status["NoNewPrivs"], "1")
        self.assertEqual(status["Groups"].strip(), "")

    def test_namespaces_of_its_own(self):
        for name in ("mnt", "net", "ipc", "uts"):
            self.assertNotEqual(os.readlink(self.proc / "ns" / name), os.readlink(f"/proc/self/ns/{name}"))

    def test_a_root_with_nothing_in_it(self):
        self.assertEqual(os.listdir(self.proc / "root"), ["target"])
        mounts = [line.split() for line in (self.proc / "mountinfo").read_text().splitlines()]
        self.assertEqual(sorted(m[4] for m in mounts), ["/", "/target"])
        for mount in mounts:
            for option in ("nosuid", "nodev", "noexec"):
                self.assertIn(option, mount[5].split(","))
        root, = [m for m in mounts if m[4] == "/"]
        self.assertIn("ro", root[5].split(","))

    def test_limits(self):
        limits = (self.proc / "limits").read_text()
        for line in ("Max core file size        0 ", "Max address space         1073741824 ",
                     "Max open files            512 "):
            self.assertIn(line, limits)

    def test_no_way_back_to_the_host(self):
        for fd in os.listdir(self.proc / "fd"):
            self.assertFalse(str(self.work) in os.readlink(self.proc / "fd" / fd), fd)


class Store(ImageTest):
    def setUp(self):
        super().setUp()
        self.tar = tar_of(("x", b"x"))
        self.image_id = self.pull(self.registry.add("app", "1", [self.tar]))
        self.hex = self.image_id.split(":")[1]

    def test_a_broken_record_is_set_aside(self):
        other = self.pull(self.registry.add("other", "1", [tar_of(("y", b"y"))]))
        record = self.root / f"images/images/{self.hex}.json"
        for text in ("", "{", "[]", '{"version":1}', record.read_text().replace('"layers"', '"x"'),
                     '{"version":99}'):
            record.write_text(text)
            ids = [i["id"] for i in self.images()]
            if text and "removed" in text:
                self.assertIn(other, ids)
            else:
                self.assertEqual(ids, [other], text)
                self.assertIn(self.hex, self.stderr)
                self.assertTrue(record.with_suffix(".json.broken").exists())
        self.pull(f"{self.registry.host}/app:1")
        self.assertEqual(len(self.images()), 2)

    def test_a_damaged_configuration(self):
        (self.root / f"images/blobs/sha256/{self.hex}").write_text("{}")
        self.assertEqual(self.images(), [])
        self.assertEqual(self.pull(f"{self.registry.host}/app:1"), self.image_id)

    def test_a_missing_layer(self):
        shutil.rmtree(self.root / "images/layers" / evil.digest_of(self.tar).split(":")[1])
        self.assertEqual(self.images(), [])
        self.pull(f"{self.registry.host}/app:1")
        self.assertEqual(len(self.images()), 1)

    def test_left_overs_are_deleted_at_start(self):
        (self.root / "images/tmp/layer-x/fs/a/b").mkdir(parents=True)
        (self.root / "images/layers" / ("0" * 64) / "fs").mkdir(parents=True)
        (self.root / "images/blobs/sha256" / ("0" * 64)).write_text("x")
        self.images()
        self.assert_clean()

    def test_nobody_else_may_look(self):
        for path in (self.root / "images", self.root / "containers", self.root / "images/layers"):
            self.assertEqual(path.stat().st_mode & 0o077, 0, path)


@unittest.skipUnless(shutil.which("docker-registry") and shutil.which("skopeo"),
                     "docker-registry and skopeo are not installed")
class RealRegistry(ImageTest):
    def setUp(self):
        super().setUp()
        self.real = images.Registry(self.work, free_port()).start()
        self.addCleanup(self.real.stop)
        self.layout = images.Layout(self.work / "layout")
        self.tar = images.busybox_layer()
        plain = self.layout.image([self.tar, tar_of(("added", b"x"))], {"Cmd": ["sh"]})
        foreign = self.layout.image([tar_of(("foreign", b"x"))], {}, "arm64")
        self.layout.tag(plain, "plain")
        self.layout.tag(self.layout.index([foreign, plain]), "multi")

    def test_oci_and_docker_images_and_lists(self):
        for name in ("plain", "multi"):
            for options in ((), ("--format", "v2s2")):
                reference = self.real.push(self.layout, name, f"t/{name}{len(options)}:1", *options)
                self.pull(reference)
                self.assertTrue((self.layer(evil.digest_of(self.tar)) / "bin/busybox").exists())
        image, = self.images()
        self.assertEqual(len(image["tags"]), 4)

    def test_what_is_not_there(self):
        reference = self.real.push(self.layout, "plain", "t/plain:1")
        self.refuse(reference + "x", code="NOT_FOUND", contains="not found")
        self.refuse(f"{self.real.host}/none:1", code="NOT_FOUND", contains="not found")

    def test_spoiled_and_truncated_blobs(self):
        reference = self.real.push(self.layout, "plain", "t/plain:1")
        manifest = json.loads((self.layout.directory / "blobs/sha256" / json.loads(
            (self.layout.directory / "index.json").read_text())["manifests"][0]["digest"][7:]).read_text())
        digest = manifest["layers"][0]["digest"]
        path = (self.work / "storage/docker/registry/v2/blobs/sha256" / digest[7:9] / digest[7:] / "data")
        good = path.read_bytes()
        for bad in (good[:1000] + b"x" + good[1001:], good[:len(good) // 2], good + b"more"):
            self.real.stop()
            path.write_bytes(bad)
            self.real.start()
            self.refuse(reference, contains=digest)

    def test_registry_that_goes_down(self):
        reference = self.real.push(self.layout, "plain", "t/plain:1")
        self.real.stop()
        self.assertTrue(self.refuse(reference, code="UNKNOWN").startswith("RegistryUnavailable"))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
