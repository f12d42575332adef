"""Both ends of a WebSocket for generator and upstream, as lean as Python allows: whole messages, no deflate, no TLS.

Not for the open network: both sides are ours. Source: RFC 6455, section 5.2.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import struct
from collections.abc import Iterable
from typing import cast

from websockets.speedups import apply_mask

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
FINAL, MASKED = 0x80, 0x80
MASK = b"\x37\xfa\x21\x3d"  # one for all: it protects proxies, and there is none here


def frame(payload: bytes, *, opcode: int = TEXT, masked: bool) -> bytes:
    size, flag = len(payload), MASKED if masked else 0
    if size < 126:
        head = bytes((FINAL | opcode, flag | size))
    elif size < 65536:
        head = struct.pack("!BBH", FINAL | opcode, flag | 126, size)
    else:
        head = struct.pack("!BBQ", FINAL | opcode, flag | 127, size)
    return head + MASK + apply_mask(payload, MASK) if masked else head + payload


class End(asyncio.Protocol):
    """One end. A subclass hears `on_open`, `on_message` and `on_closed`."""

    masked = False

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.closed = False
        self._rest = b""
        self._shaking_hands = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by class

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed:
            self.closed = True
            self.on_closed(1006)

    def data_received(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        if self._shaking_hands:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self._rest = head
                return
            self._shaking_hands = False
            self.on_head(head)
        self._rest = self._take_frames(data)

    def _take_frames(self, data: bytes) -> bytes:
        """Hand on the whole frames of `data`; return what is left."""
        at, end = 0, len(data)
        while end - at >= 2 and not self.closed:
            size, body = data[at + 1] & 0x7F, at + 2
            if size == 126:
                size, body = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            elif size == 127:
                size, body = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
            masked = data[at + 1] & MASKED
            body += 4 if masked else 0
            if body + size > end:
                break
            payload = data[body : body + size]
            self._take_frame(data[at] & 0x0F, apply_mask(payload, data[body - 4 : body]) if masked else payload)
            at = body + size
        return data[at:]

    def _take_frame(self, opcode: int, payload: bytes) -> None:
        if opcode == TEXT:
            self.on_message(payload)
        elif opcode == PING:
            self._write(payload, PONG)
        elif opcode == CLOSE and not self.closed:
            self.closed = True
            self._write(payload[:2], CLOSE)
            self.on_closed(int.from_bytes(payload[:2], "big") if payload else 1005)
            if self.transport is not None:
                self.transport.close()

    def send(self, payload: bytes) -> None:
        self._write(payload, TEXT)

    def leave(self, code: int = 1000) -> None:
        """Close as a caller does that has said goodbye."""
        if not self.closed:
            self._write(code.to_bytes(2, "big"), CLOSE)

    def _write(self, payload: bytes, opcode: int) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(frame(payload, opcode=opcode, masked=self.masked))

    def on_head(self, head: bytes) -> None:
        raise NotImplementedError

    def on_open(self) -> None: ...
    def on_message(self, payload: bytes) -> None: ...
    def on_closed(self, code: int) -> None: ...


class ServerEnd(End):
    def on_head(self, head: bytes) -> None:
        lines = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
        headers = {name.strip().lower(): value.strip() for name, _, value in lines}
        accept = base64.b64encode(hashlib.sha1(headers[b"sec-websocket-key"] + GUID).digest())
        assert self.transport is not None
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        self.on_open()


class ClientEnd(End):
    masked = True

    def __init__(self, target: str, headers: Iterable[tuple[str, str]]) -> None:
        super().__init__()
        self._target, self._headers = target, headers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {self._target} HTTP/1.1",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
            *(f"{name}: {value}" for name, value in self._headers),
        ]
        assert self.transport is not None
        self.transport.write("\r\n".join([*lines, "\r\n"]).encode())

    def on_head(self, head: bytes) -> None:
        if b" 101 " in head.split(b"\r\n", 1)[0]:
            self.on_open()
        else:
            self.closed = True
            self.on_closed(int(head.split(b" ", 2)[1]))
