"""Images made on the spot from Debian's busybox-static: root file systems, OCI layouts, a registry."""
import hashlib
import gzip
import io
import json
import os
import pathlib
import subprocess
import tarfile
import time
import urllib.error
import urllib.request

BUSYBOX = pathlib.Path("/bin/busybox")
PASSWD = """root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
alice:x:1000:1000:Alice:/home/alice:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
"""
GROUP = """root:x:0:
daemon:x:1:
www-data:x:33:
alice:x:1000:
extra:x:50000:alice
nogroup:x:65534:
"""


def fetch(address, port=80, timeout=2):
    """The body of http://address:port/, or b"" when nobody answers."""
    try:
        with urllib.request.urlopen(f"http://{address}:{port}/", timeout=timeout) as answer:
            return answer.read()
    except (urllib.error.URLError, OSError):
        return b""


def _add(tar, name, content=b"", mode=0o644, kind=tarfile.REGTYPE, link="", uid=0, gid=0):
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname, info.uid, info.gid = kind, mode, link, uid, gid
    info.size = len(content) if kind == tarfile.REGTYPE else 0
    tar.addfile(info, io.BytesIO(content) if kind == tarfile.REGTYPE else None)


def busybox_applets():
    out = subprocess.run([BUSYBOX, "--list"], stdout=subprocess.PIPE, check=True, encoding="utf-8")
    return out.stdout.split()


def busybox_layer(extra=()):
    """A root file system as an uncompressed tar: busybox, its applets, users. `extra` is a list of
    (name, content) or of TarInfo objects."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777), ("root", 0o700),
                           ("var", 0o755), ("home", 0o755), ("usr", 0o755)):
            _add(tar, name, mode=mode, kind=tarfile.DIRTYPE)
        _add(tar, "home/alice", mode=0o755, kind=tarfile.DIRTYPE, uid=1000, gid=1000)
        _add(tar, "bin/busybox", BUSYBOX.read_bytes(), 0o755)
        for applet in busybox_applets():
            if applet != "busybox":
                _add(tar, f"bin/{applet}", kind=tarfile.SYMTYPE, link="busybox")
        _add(tar, "etc/passwd", PASSWD.encode())
        _add(tar, "etc/group", GROUP.encode())
        for item in extra:
            if isinstance(item, tarfile.TarInfo):
                tar.addfile(item)
            else:
                _add(tar, item[0], item[1])
    return out.getvalue()


def _digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Layout:
    """An OCI image layout in a directory, with one or more images."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        (self.directory / "blobs/sha256").mkdir(parents=True, exist_ok=True)
        (self.directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        self.manifests = []

    def blob(self, data):
        digest = _digest(data)
        (self.directory / "blobs/sha256" / digest.split(":")[1]).write_bytes(data)
        return digest

    def image(self, layers, config=None, architecture="amd64"):
        """Adds an image of uncompressed layer tars; the manifest's descriptor."""
        blobs = [gzip.compress(layer, 1, mtime=0) for layer in layers]
        document = {"architecture": architecture, "os": "linux", "config": config or {},
                    "rootfs": {"type": "layers", "diff_ids": [_digest(layer) for layer in layers]}}
        raw = json.dumps(document).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                       "digest": self.blob(raw), "size": len(raw)},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                        "digest": self.blob(blob), "size": len(blob)} for blob in blobs],
        }
        raw = json.dumps(manifest).encode()
        return {"mediaType": manifest["mediaType"], "digest": self.blob(raw), "size": len(raw),
                "platform": {"architecture": architecture, "os": "linux"}}

    def index(self, descriptors):
        """Adds a multi-platform index of images; its descriptor."""
        raw = json.dumps({"schemaVersion": 2,
                          "mediaType": "application/vnd.oci.image.index.v1+json",
                          "manifests": descriptors}).encode()
        return {"mediaType": "application/vnd.oci.image.index.v1+json", "digest": self.blob(raw),
                "size": len(raw)}

    def tag(self, descriptor, name):
        annotated = {**descriptor, "annotations": {"org.opencontainers.image.ref.name": name}}
        self.manifests.append(annotated)
        (self.directory / "index.json").write_text(
            json.dumps({"schemaVersion": 2, "manifests": self.manifests}))

    def archive(self, path):
        with tarfile.open(path, "w") as tar:
            for entry in sorted(self.directory.iterdir()):
                tar.add(entry, entry.name)
        return path


class Registry:
    """Debian's docker-registry on loopback, with its storage in a directory of the tests."""

    def __init__(self, directory, port=5000):
        self.directory = pathlib.Path(directory)
        self.host = f"127.0.0.1:{port}"
        self.config = self.directory / "registry.yml"
        self.config.write_text(
            "version: 0.1\nlog: {level: error}\n"
            f"storage: {{filesystem: {{rootdirectory: {self.directory}/storage}}, "
            "delete: {enabled: true}}\n"
            f"http: {{addr: {self.host}}}\n")
        self.process = None

    def start(self):
        with open(self.directory / "registry.log", "ab") as log:
            self.process = subprocess.Popen(["docker-registry", "serve", str(self.config)],
                                            stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"http://{self.host}/v2/", timeout=1).close()
                return self
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        raise AssertionError("docker-registry does not answer")

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(10)
            self.process = None

    def push(self, layout, name, target, *options):
        """Copies the layout's image `name` to repository:tag `target` with skopeo."""
        policy = self.directory / "policy.json"
        policy.write_text('{"default":[{"type":"insecureAcceptAnything"}]}')
        subprocess.run(["skopeo", "--policy", str(policy), "copy", "--quiet", "--all",
                        "--dest-tls-verify=false", *options,
                        f"oci:{layout.directory}:{name}", f"docker://{self.host}/{target}"],
                       check=True, stdout=subprocess.PIPE, env={**os.environ, "TMPDIR": "/tmp"})
        return f"{self.host}/{target}"
