"""A small WebSocket end (RFC 6455) on asyncio, client or server, with every frame in the test's own hand.

Cheap enough to carry hundreds of calls beside the server that is measured, and free to do what no library lets one do:
send half a frame, an unmasked one, no pong, or stop reading. A client masks with zeros, which the protocol cannot
tell from any other key and which costs nothing.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import cast
from urllib.parse import urlsplit

from websockets.speedups import apply_mask

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
MAX_HEAD_BYTES = 64 * 1024
OPEN_S = 20.0
DROPPED, NO_CODE = 1006, 1005
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Refused(Exception):
    """The handshake was answered with something else than an upgrade: `status`, or 0 for no answer at all."""

    def __init__(self, status: int) -> None:
        super().__init__(str(status))
        self.status = status


class Wire(asyncio.Protocol):
    """One end of a connection. `on_text` is called with each whole text message, in the loop's own callback."""

    def __init__(self, on_text: Callable[[bytes], None], *, client: bool, answers_pings: bool = True) -> None:
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[int] = loop.create_future()
        """The close code: the other side's, 1006 when the connection was cut, 1005 when it gave none."""
        self.close_reason = ""
        self.received_bytes = 0
        self.target = ""  # a server's: what was asked for
        self._on_text, self._client, self._answers_pings = on_text, client, answers_pings
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._parts: list[bytes] = []
        self._close_code = DROPPED

    # asyncio's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class
        raw = transport.get_extra_info("socket")
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        self.received_bytes += len(data)
        self._buffer += data
        if not self.opened.done() and not self._open():
            return
        self._read_frames()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(Refused(0))
            self.opened.exception()  # it may be that nobody waits
        if not self.closed.done():
            self.closed.set_result(self._close_code)

    # The test's side.

    @property
    def transport(self) -> asyncio.Transport:
        assert self._transport is not None, "not connected"
        return self._transport

    def send(self, text: bytes | str) -> None:
        self.send_frame(TEXT, text.encode() if isinstance(text, str) else text)

    def send_frame(self, opcode: int, payload: bytes, *, fin: bool = True) -> None:
        """Send one frame. A payload larger than the peer takes is sent all the same."""
        self.send_raw(frame_head(opcode, len(payload), client=self._client, fin=fin) + payload)

    def send_raw(self, data: bytes) -> None:
        """Send these bytes, whatever they are."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def stop_reading(self) -> None:
        """Read nothing more: TCP's window closes, and the other side finds out by itself."""
        self.transport.pause_reading()

    def go_on_reading(self) -> None:
        self.transport.resume_reading()

    def close(self, code: int = 1000) -> None:
        """Say goodbye; the connection ends when the other side has answered."""
        self.send_frame(CLOSE, code.to_bytes(2, "big"))

    def drop(self) -> None:
        """End the connection without a word of WebSocket's."""
        if self._transport is not None:
            self._transport.abort()

    # Frames.

    def _open(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                self.drop()
            return False
        head = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        if self._client:
            return self._answered(head)
        self.transport.write(_upgrade(head))
        self.target = head.split(b" ", 2)[1].decode("latin-1")
        self.opened.set_result(None)
        return True

    def _answered(self, head: bytes) -> bool:
        status = int(head.split(b" ", 2)[1])
        if status != 101:
            self.opened.set_exception(Refused(status))
            self.opened.exception()
            self.drop()
            return False
        self.opened.set_result(None)
        return True

    def _read_frames(self) -> None:
        while (found := _frame(self._buffer)) is not None:
            first, payload = found
            self._take(first & 0x0F, bool(first & 0x80), payload)

    def _take(self, opcode: int, fin: bool, payload: bytes) -> None:
        if opcode in (TEXT, BINARY, CONTINUATION):
            if fin and not self._parts:
                self._on_text(payload)
                return
            self._parts.append(payload)
            if sum(map(len, self._parts)) > MAX_MESSAGE_BYTES:
                self.drop()
            elif fin:
                whole = b"".join(self._parts)
                self._parts.clear()
                self._on_text(whole)
        elif opcode == PING:
            if self._answers_pings:
                self.send_frame(PONG, payload)
        elif opcode == CLOSE:
            self._close_code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else NO_CODE
            self.close_reason = payload[2:].decode("utf-8", "replace")
            self.send_frame(CLOSE, payload[:2])
            self.transport.close()


def frame_head(opcode: int, length: int, *, client: bool, fin: bool = True) -> bytes:
    """Return the head of a frame; a client's with a mask of zeros."""
    first, masked = (0x80 if fin else 0) | opcode, 0x80 if client else 0
    mask = b"\0\0\0\0" if client else b""
    if length < 126:
        return bytes((first, masked | length)) + mask
    if length < 65_536:
        return bytes((first, masked | 126)) + length.to_bytes(2, "big") + mask
    return bytes((first, masked | 127)) + length.to_bytes(8, "big") + mask


def _frame(buffer: bytearray) -> tuple[int, bytes] | None:
    """Take one whole frame out of the buffer: its first byte and its payload. None while it is not there."""
    if len(buffer) < 2:
        return None
    masked, length, start = buffer[1] & 0x80, buffer[1] & 0x7F, 2
    if length > 125:
        start = 4 if length == 126 else 10
        length = int.from_bytes(buffer[2:start], "big")
    body = start + (4 if masked else 0)
    if len(buffer) < body + length:
        return None
    first, payload = buffer[0], bytes(buffer[body : body + length])
    if masked:
        payload = apply_mask(payload, bytes(buffer[start:body]))
    del buffer[: body + length]
    return first, payload


def _upgrade(head: bytes) -> bytes:
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in head.split(b"\r\n"))
    }
    accept = base64.b64encode(hashlib.sha1(headers[b"sec-websocket-key"] + _GUID).digest())
    lines = [b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade"]
    lines.append(b"Sec-WebSocket-Accept: " + accept)
    if b"realtime" in headers.get(b"sec-websocket-protocol", b"").split(b","):
        lines.append(b"Sec-WebSocket-Protocol: realtime")
    return b"\r\n".join(lines) + b"\r\n\r\n"


async def connect(
    url: str,
    on_text: Callable[[bytes], None],
    *,
    headers: Mapping[str, str] | None = None,
    receive_buffer: int | None = None,
    answers_pings: bool = True,
    tls: ssl.SSLContext | None = None,
) -> Wire:
    """Return an open client. Raises Refused, OSError, TimeoutError. `receive_buffer` bounds what the kernel holds."""
    where = urlsplit(url)
    assert where.hostname is not None, "an address with a host"
    raw = socket.socket()
    raw.setblocking(False)
    if receive_buffer is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    wire: Wire | None = None
    try:
        async with asyncio.timeout(OPEN_S):
            loop = asyncio.get_running_loop()
            await loop.sock_connect(raw, (where.hostname, where.port or 80))
            wire = Wire(on_text, client=True, answers_pings=answers_pings)
            made = wire  # one, since the socket is given
            await loop.create_connection(lambda: made, sock=raw, ssl=tls)
            wire.send_raw(_request(where.netloc, f"{where.path}?{where.query}", headers or {}))
            await wire.opened
            return wire
    except BaseException:
        if wire is not None:
            wire.drop()
        raw.close()
        raise


def _request(host: str, target: str, headers: Mapping[str, str]) -> bytes:
    lines = [
        f"GET {target} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        "Sec-WebSocket-Version: 13",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
