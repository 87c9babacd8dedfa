"""A WebSocket client for the channel protocols and the port-forward tunnel, by hand."""
import base64
import json
import os
import struct

from lib import spdy

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def upgrade(url, protocols=(), method="GET", version="13"):
    headers = ["Connection: Upgrade", "Upgrade: websocket", f"Sec-WebSocket-Version: {version}",
               f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
               "Origin: http://elsewhere.example"]
    if protocols:
        headers.append("Sec-WebSocket-Protocol: " + ", ".join(protocols))
    sock, status, answer, rest = spdy.request(url, method, headers)
    if status != 101:
        sock.close()
        raise spdy.Refused(status, answer, rest)
    return sock, answer, rest


class Socket:
    def __init__(self, url, *protocols):
        self.sock, answer, self.buffer = upgrade(url, protocols)
        self.protocol = (answer["sec-websocket-protocol"] or [""])[0]
        self.close_code = None
        self.pongs = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def frame(self, opcode, payload, fin=True, masked=True):
        size = len(payload)
        head = bytes([0x80 * fin | opcode])
        bit = 0x80 * masked
        if size < 126:
            head += bytes([bit | size])
        elif size < 65536:
            head += bytes([bit | 126]) + struct.pack(">H", size)
        else:
            head += bytes([bit | 127]) + struct.pack(">Q", size)
        if masked:
            mask = os.urandom(4)
            whole = (mask * (size // 4 + 1))[:size]
            mixed = int.from_bytes(payload, "big") ^ int.from_bytes(whole, "big")
            payload = mask + mixed.to_bytes(size, "big")
        self.sock.sendall(head + payload)

    def read(self, size):
        while len(self.buffer) < size:
            piece = self.sock.recv(65536)
            if not piece:
                raise EOFError("the server closed")
            self.buffer += piece
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def receive_message(self):
        """(opcode, payload); None after the closing frame."""
        while True:
            first, second = self.read(2)
            assert first & 0x80 and not second & 0x80, "whole frames without a mask"
            size = second
            if size == 126:
                size = struct.unpack(">H", self.read(2))[0]
            elif size == 127:
                size = struct.unpack(">Q", self.read(8))[0]
            payload = self.read(size)
            opcode = first & 15
            if opcode == PONG:
                self.pongs.append(payload)
            elif opcode == CLOSE:
                self.close_code = struct.unpack(">H", payload[:2])[0]
                return None
            else:
                return opcode, payload

    # ---- As a transport of SPDY (the tunnel) ---------------------------------------------------

    def send(self, data):
        self.frame(BINARY, data)

    def receive(self):
        try:
            message = self.receive_message()
        except (EOFError, ConnectionResetError):
            return b""
        return message[1] if message else b""


class Channels(Socket):
    """Messages with a channel in front."""

    def __init__(self, url, *protocols):
        super().__init__(url, *protocols)
        self.base64 = "base64" in self.protocol
        self.data = {}

    def write(self, channel, data):
        if self.base64:
            self.frame(TEXT, str(channel).encode() + base64.b64encode(data))
        else:
            self.frame(BINARY, bytes([channel]) + data)

    def read_channel(self):
        """(channel, data) of the next message; None at the end."""
        message = self.receive_message()
        if message is None:
            return None
        opcode, payload = message
        assert opcode == (TEXT if self.base64 else BINARY)
        if self.base64:
            return payload[0] - ord("0"), base64.b64decode(payload[1:], validate=True)
        return payload[0], payload[1:]

    def wait(self, condition):
        while not condition(self.data):
            found = self.read_channel()
            if found is None:
                return False
            self.data[found[0]] = self.data.get(found[0], b"") + found[1]
        return True

    def finish(self):
        """Reads to the end; what came on the error channel."""
        self.wait(lambda _: False)
        assert self.close_code == 1000
        return self.data.get(3, b"")

    def status(self):
        return json.loads(self.finish())
