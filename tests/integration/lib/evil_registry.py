"""A registry that misbehaves as told: plain http.server on loopback, its contents in memory.

    registry = EvilRegistry().start()
    registry.add("app", "1", layers=[tar])             # an honest image
    registry.rules.append(lambda request: ...)          # looks at each request first

A rule gets the request (path, headers, and the methods of Handler) and returns true when it has
answered it. Everything that was asked is in registry.log as (method, path, headers).
"""
import base64
import gzip
import hashlib
import http.server
import json
import threading

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", headers=None, length=None):
        """One answer; `length` lies about the body's, None says the truth."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            pass
        if length is not None and length != len(body):
            self.close_connection = True

    def error(self, status, code, headers=None):
        body = json.dumps({"errors": [{"code": code, "message": code.lower().replace("_", " ")}]})
        self.answer(status, body.encode(), {"Content-Type": "application/json", **(headers or {})})

    def credentials(self):
        """(user, password) of a Basic header, or None."""
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        if kind != "Basic":
            return None
        return tuple(base64.b64decode(value).decode().split(":", 1))

    def serve_blob(self, data, ranges=True):
        asked = self.headers.get("Range", "")
        if ranges and asked.startswith("bytes="):
            begin = int(asked[len("bytes="):].split("-")[0])
            if begin >= len(data):
                return self.error(416, "RANGE_INVALID")
            return self.answer(206, data[begin:], {
                "Content-Range": f"bytes {begin}-{len(data) - 1}/{len(data)}"})
        return self.answer(200, data, {"Content-Type": "application/octet-stream"})

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        self.body = self.rfile.read(length).decode()
        self.handle_request()

    def do_GET(self):
        self.body = ""
        self.handle_request()

    def handle_request(self):
        registry = self.server.registry
        with registry.lock:
            registry.log.append((self.command, self.path, dict(self.headers)))
        if any(rule(self) for rule in list(registry.rules)):
            return
        kind = self.path.split("/")
        if self.path.startswith("/v2/") and kind[-2] == "blobs" and kind[-1] in registry.blobs:
            self.serve_blob(registry.blobs[kind[-1]])
        elif self.path.startswith("/v2/") and kind[-2] == "manifests":
            key = ("/".join(kind[2:-2]), kind[-1])
            if key not in registry.manifests:
                return self.error(404, "MANIFEST_UNKNOWN")
            media_type, body = registry.manifests[key]
            self.answer(200, body, {"Content-Type": media_type} if media_type else None)
        else:
            self.error(404, "NOT_FOUND")


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Clients that hang up are part of the game."""


class EvilRegistry:
    def __init__(self):
        self.blobs = {}      # digest -> bytes
        self.manifests = {}  # (repository, tag or digest) -> (content type, bytes)
        self.rules = []
        self.log = []
        self.lock = threading.Lock()
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.registry = self
        self.host = f"127.0.0.1:{self.server.server_address[1]}"

    def start(self):
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def asked(self, word):
        """The requests whose path contains `word`."""
        with self.lock:
            return [entry for entry in self.log if word in entry[1]]

    def blob(self, data):
        digest = digest_of(data)
        self.blobs[digest] = data
        return digest

    def image(self, layers, config=None, docker=False, compress=gzip.compress, architecture="amd64",
              **overrides):
        """The blobs of an image of uncompressed tars; its manifest as bytes."""
        document = {"architecture": architecture, "os": "linux", "config": config or {},
                    "rootfs": {"type": "layers", "diff_ids": [digest_of(t) for t in layers]}}
        document.update(overrides.get("document", {}))
        raw = json.dumps(document).encode()
        blobs = [compress(t) for t in layers]
        manifest = {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST if docker else OCI_MANIFEST,
            "config": {"mediaType": DOCKER_CONFIG if docker else OCI_CONFIG,
                       "digest": self.blob(raw), "size": len(raw)},
            "layers": [{"mediaType": DOCKER_LAYER if docker else OCI_LAYER,
                        "digest": self.blob(b), "size": len(b)} for b in blobs],
        }
        manifest.update(overrides.get("manifest", {}))
        return json.dumps(manifest).encode()

    def put(self, repository, tag, body, content_type=OCI_MANIFEST):
        """Makes a manifest reachable by tag and by digest; its reference."""
        self.manifests[repository, tag] = (content_type, body)
        self.manifests[repository, digest_of(body)] = (content_type, body)
        return f"{self.host}/{repository}:{tag}"

    def add(self, repository, tag, layers, **options):
        """An honest image; its reference."""
        media_type = DOCKER_MANIFEST if options.get("docker") else OCI_MANIFEST
        return self.put(repository, tag, self.image(layers, **options), media_type)
