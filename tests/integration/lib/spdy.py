"""A SPDY/3.1 client as Kubernetes' clients are, by hand: upgrade, streams, half-close."""
import collections
import json
import socket
import struct
import time
import urllib.parse
import zlib

# What header compression is primed with: words behind their lengths, then one text.
_WORDS = (
    "options|head|post|put|delete|trace|accept|accept-charset|accept-encoding|accept-language"
    "|accept-ranges|age|allow|authorization|cache-control|connection|content-base|content-enc"
    "oding|content-language|content-length|content-location|content-md5|content-range|content"
    "-type|date|etag|expect|expires|from|host|if-match|if-modified-since|if-none-match|if-ran"
    "ge|if-unmodified-since|last-modified|location|max-forwards|pragma|proxy-authenticate|pro"
    "xy-authorization|range|referer|retry-after|server|te|trailer|transfer-encoding|upgrade|u"
    "ser-agent|vary|via|warning|www-authenticate|method|get|status|200 OK|version|HTTP/1.1|ur"
    "l|public|set-cookie|keep-alive|origin"
).split("|")
_TAIL = (
    "1001012012022052063003023033043053063074024054064074084094104114124134144154164175025045"
    "05203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401"
    " Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 S"
    "ervice UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, We"
    "d, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xm"
    "l,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdc"
    "hcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = b"".join(struct.pack(">I", len(w)) + w.encode() for w in _WORDS) + _TAIL.encode()

V4 = "v4.channel.k8s.io"
FORWARD = "portforward.k8s.io"
SYN_STREAM, SYN_REPLY, RST_STREAM, PING, GOAWAY = 1, 2, 3, 6, 7


class Refused(Exception):
    """The server did not upgrade: status, headers (lower case, a list each), body."""

    def __init__(self, status, headers, body):
        super().__init__(f"{status} {body!r}")
        self.status, self.headers, self.body = status, headers, body


def connect(url, timeout=20):
    parts = urllib.parse.urlsplit(url)
    sock = socket.create_connection((parts.hostname, parts.port), timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def read_head(sock):
    """(status, headers, what came behind the head)."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        if not piece:
            raise EOFError(f"the server closed after {data!r}")
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = collections.defaultdict(list)
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.lower()].append(value.strip())
    return int(lines[0].split()[1]), headers, rest


def request(url, method="POST", headers=()):
    """One HTTP request; (socket, status, headers, rest)."""
    sock = connect(url)
    parts = urllib.parse.urlsplit(url)
    lines = [f"{method} {parts.path} HTTP/1.1", f"Host: {parts.netloc}", *headers, "", ""]
    sock.sendall("\r\n".join(lines).encode())
    return (sock, *read_head(sock))


def upgrade(url, versions):
    headers = ["Connection: Upgrade", "Upgrade: SPDY/3.1", "Content-Length: 0"]
    headers += [f"X-Stream-Protocol-Version: {version}" for version in versions]
    sock, status, answer, rest = request(url, "POST", headers)
    if status != 101:
        with sock:
            while len(rest) < int(answer["content-length"][0]):
                rest += sock.recv(65536)
        raise Refused(status, answer, rest)
    assert rest == b"", "the server must not speak first"
    return sock, answer


class Transport:
    """Bytes on a socket. A tunnel has the same two methods."""

    def __init__(self, sock):
        self.sock = sock

    def send(self, data):
        self.sock.sendall(data)

    def receive(self):
        """Some bytes; b"" at the end."""
        try:
            return self.sock.recv(65536)
        except ConnectionResetError:
            return b""

    def close(self):
        self.sock.close()


class Stream:
    def __init__(self, number):
        self.number = number
        self.data = b""
        self.replied = self.ended = self.reset = False


class Session:
    def __init__(self, transport):
        self.transport = transport
        self.deflate = zlib.compressobj(9, zlib.DEFLATED, 15, 9, 0, DICTIONARY)
        self.inflate = zlib.decompressobj(15, DICTIONARY)
        self.streams = {}
        self.next_id = 1
        self.buffer = b""
        self.pongs = []
        self.goaway = self.eof = False

    @classmethod
    def dial(cls, url, versions=(V4,)):
        return cls(Transport(upgrade(url, versions)[0]))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.transport.close()

    # ---- Sending ------------------------------------------------------------------------------

    def control(self, kind, flags, body):
        self.transport.send(struct.pack(">II", 0x80030000 | kind, flags << 24 | len(body)) + body)

    def open(self, wait=True, number=None, **headers):
        """Opens a stream with these headers and waits until it is accepted or refused."""
        stream = Stream(number or self.next_id)
        self.next_id = stream.number + 2
        plain = struct.pack(">I", len(headers))
        for name, value in headers.items():
            for text in (name, str(value)):
                plain += struct.pack(">I", len(text)) + text.encode()
        block = self.deflate.compress(plain) + self.deflate.flush(zlib.Z_SYNC_FLUSH)
        self.streams[stream.number] = stream
        self.control(SYN_STREAM, 0, struct.pack(">IIH", stream.number, 0, 0) + block)
        if wait:
            self.wait(lambda: stream.replied or stream.reset)
        return stream

    def send(self, stream, data, fin=False):
        for at in range(0, len(data), 32768):
            piece = data[at:at + 32768]
            self.transport.send(struct.pack(">II", stream.number, len(piece)) + piece)
        if fin:
            self.transport.send(struct.pack(">II", stream.number, 1 << 24))

    def reset(self, stream):
        self.control(RST_STREAM, 0, struct.pack(">II", stream.number, 5))

    def ping(self, number):
        self.control(PING, 0, struct.pack(">I", number))

    # ---- Receiving ----------------------------------------------------------------------------

    def take_frame(self):
        if len(self.buffer) < 8:
            return False
        first, second = struct.unpack(">II", self.buffer[:8])
        size = second & 0xffffff
        if len(self.buffer) < 8 + size:
            return False
        assert not self.goaway, "nothing may follow GOAWAY"
        body, self.buffer = self.buffer[8:8 + size], self.buffer[8 + size:]
        if first >> 31:
            self.on_control(first & 0xffff, body)
        else:
            stream = self.streams[first]
            assert stream.replied and not stream.ended and not stream.reset
            stream.data += body
            stream.ended = bool(second >> 24 & 1)
        return True

    def on_control(self, kind, body):
        number = struct.unpack(">I", body[:4])[0]
        if kind == SYN_REPLY:
            assert self.inflate.decompress(body[4:]) == b"\0\0\0\0"
            self.streams[number].replied = True
        elif kind == RST_STREAM:
            if number in self.streams:
                self.streams[number].reset = True
        elif kind == PING:
            self.pongs.append(number)
        elif kind == GOAWAY:
            self.goaway = True
        else:
            raise AssertionError(f"frame of type {kind}")

    def wait(self, condition, timeout=20):
        """Reads until the condition is true; False when the connection ends before."""
        deadline = time.monotonic() + timeout
        while not condition():
            if self.take_frame():
                continue
            assert time.monotonic() < deadline, "nothing more comes"
            piece = self.transport.receive()
            if not piece:
                self.eof = True
                return condition()
            self.buffer += piece
        return True


class Command(Session):
    """An exec or attach session with its streams; `stdin`, `stdout` and so on, or None."""

    def __init__(self, transport):
        super().__init__(transport)
        self.error = self.stdin = self.stdout = self.stderr = self.resize = None

    def begin(self, *kinds):
        self.error = self.open(streamtype="error")
        for kind in kinds:
            setattr(self, kind, self.open(streamtype=kind))
        return self

    def finish(self):
        """Reads to the end; the status."""
        assert self.wait(lambda: False) is False
        assert self.goaway, "no GOAWAY before the end"
        for stream in (self.stdout, self.stderr, self.error):
            assert stream is None or stream.ended or stream.reset
        return json.loads(self.error.data)


def exit_code(status):
    """The exit code that a status tells."""
    if status["status"] == "Success":
        return 0
    assert status["reason"] == "NonZeroExitCode", status
    cause = status["details"]["causes"][0]
    assert cause["reason"] == "ExitCode"
    return int(cause["message"])
