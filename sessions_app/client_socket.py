"""The client's end of a WebSocket, for a leg that carries sound. Knows nothing of the Realtime API.

`websockets` does the handshake, the control frames, fragments and every refusal. What is nearly all of the traffic goes
past its generators: a whole, unfragmented text frame is cut out here, and one is framed here. That, and no task for
each side, is half of what its own asyncio connection costs for each frame. Bounds, pings, flow control and TLS stay.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import cast

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidMessage
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import State
from websockets.speedups import apply_mask
from websockets.uri import parse_uri

from sessions_app.frame_heads import MASKED, WHOLE_TEXT, payload_of, text_head

MAX_UNREAD_BYTES = 256 * 1024  # that wait for a reader before the socket is no longer read from
MAX_UNWRITTEN_BYTES = 32 * 1024  # that the kernel has not taken, beyond which a writer must wait
_NOTSENT_LOWAT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)  # not on Windows
MAX_HEAD_BYTES = 64 * 1024  # of the answer to the handshake
LOST_AFTER_CLOSE_S = 1.0  # for the other side to let go of the connection, when it has said its close
MASKS_AT_A_TIME = 1024  # a system call each would cost as much as the masking

Taker = Callable[[str | bytes], None]


class ClientSocket(asyncio.Protocol):
    """Made by `open_socket`. Text is whole messages; a binary message is handed on as bytes."""

    def __init__(self, protocol: ClientProtocol, *, max_bytes: int, ping_every_s: float, ping_timeout_s: float) -> None:
        self._protocol, self._max_bytes = protocol, max_bytes
        self._ping_every_s, self._ping_timeout_s = ping_every_s, ping_timeout_s
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._buffer = b""
        self._refused = False  # the handshake, by what its answer began with
        self._fragments: list[Frame] = []
        self._unread: deque[str | bytes] = deque()
        self._unread_bytes = 0
        self._arrived = asyncio.Event()
        self._reading_paused = False
        self._take: Taker | None = None
        self._masks, self._mask_at = b"", 0
        loop = asyncio.get_running_loop()
        self._loop = loop
        self.opened: asyncio.Future[None] = loop.create_future()
        self._lost: asyncio.Future[None] = loop.create_future()
        self._writable = asyncio.Event()
        self._writable.set()

    # What goes out.

    def try_send(self, text: str) -> bool:
        """Send a message when that needs no waiting; False when it would. One that is closed takes nothing more."""
        if not self._writable.is_set():
            return False
        if self._transport is not None and self._protocol.state is State.OPEN:
            self._transport.write(self._framed(text.encode()))
        return True

    async def send(self, text: str) -> None:
        """Send a message, when there is room for it. Raises ConnectionError when the connection is gone."""
        await self._writable.wait()
        if self._protocol.state is not State.OPEN or self._transport is None:
            raise ConnectionError
        self._transport.write(self._framed(text.encode()))

    def _framed(self, payload: bytes) -> bytes:
        mask = self._masks[self._mask_at : self._mask_at + 4]
        if not mask:
            self._masks, self._mask_at = os.urandom(4 * MASKS_AT_A_TIME), 0
            mask = self._masks[:4]
        self._mask_at += 4
        return b"".join((text_head(len(payload), masked=True), mask, apply_mask(payload, mask)))

    # What comes in.

    async def each(self, take: Taker) -> None:
        """Hand each message to `take` as it comes, without a task between. Return when the connection has ended."""
        self._take = take
        while self._unread:
            take(self._next_unread())
        try:
            await asyncio.shield(self._lost)
        finally:
            self._take = None

    async def messages(self) -> AsyncIterator[str | bytes]:
        """Yield each message in its turn, for a reader with time to spare, until the connection has ended."""
        while self._unread or not self._lost.done():
            if self._unread:
                yield self._next_unread()
            else:
                self._arrived.clear()
                await self._arrived.wait()

    def _next_unread(self) -> str | bytes:
        message = self._unread.popleft()
        self._unread_bytes -= len(message)
        if self._reading_paused and self._unread_bytes <= MAX_UNREAD_BYTES and self._transport is not None:
            self._reading_paused = False
            self._transport.resume_reading()
        return message

    def _deliver(self, message: str | bytes) -> None:
        if self._take is not None:
            self._take(message)
            return
        self._unread.append(message)
        self._unread_bytes += len(message)
        self._arrived.set()
        if self._unread_bytes > MAX_UNREAD_BYTES and not self._reading_paused and self._transport is not None:
            self._reading_paused = True
            self._transport.pause_reading()

    # The connection, as asyncio tells of it.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class
        self._transport.set_write_buffer_limits(MAX_UNWRITTEN_BYTES)

    def keep_unsent(self, max_bytes: int) -> None:
        """Let a writer wait when the network is so far behind: the kernel would keep megabytes, past recall."""
        raw = self._transport.get_extra_info("socket") if self._transport is not None else None
        if raw is not None and _NOTSENT_LOWAT is not None:
            raw.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, max_bytes)

    def begin(self, request_headers: dict[str, str]) -> None:
        """Send the handshake; `opened` tells how it went."""
        request = self._protocol.connect()
        request.headers.update(request_headers)
        self._protocol.send_request(request)
        self._flush()

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        self._buffer = self._take_frames(data) if self.opened.done() else self._shake_hands(data)

    def _shake_hands(self, data: bytes) -> bytes:
        """Take the answer to the handshake, once it is whole: from there on frames are cut out here."""
        head, found, rest = data.partition(b"\r\n\r\n")
        if not found and len(data) < MAX_HEAD_BYTES and not self._refused:
            return data
        if found and head.startswith(b"HTTP/1.1 101 "):
            self._feed(head + found)
            return self._take_frames(rest)
        self._refused = True  # and what follows is the body, in as many pieces as it likes
        self._feed(data)
        return b""

    def _take_frames(self, data: bytes) -> bytes:
        """Take the whole frames of `data`; return the beginning of one that is not whole yet."""
        at, end = 0, len(data)
        while (payload := payload_of(data, at, end)) is not None:
            begins, size = payload
            if self._protocol.state is not State.OPEN:
                self._feed(data[at:])
                return b""
            if size > self._max_bytes or data[at + 1] & MASKED:  # refused by its head, before it has come
                self._feed(data[at:begins])
                return b""
            ends = begins + size
            if ends > end:
                break
            if data[at] == WHOLE_TEXT and not self._fragments:
                self._take_text(data[begins:ends])
            else:
                self._feed(data[at:ends])
            at = ends
        return data[at:] if at else data

    def _take_text(self, payload: bytes) -> None:
        try:
            message = payload.decode()
        except UnicodeDecodeError:
            self._fail(CloseCode.INVALID_DATA)
            return
        self._deliver(message)

    def _feed(self, data: bytes) -> None:
        """Let the protocol take what is out of the ordinary, and do what it says."""
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._take_frame(event)
        self._flush()
        if not self.opened.done():
            self._answered()

    def _take_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.PONG:
            self._arm(self._ping_every_s, self._ping)
        elif frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            self._fragments.append(frame)
            if frame.fin:
                whole, kind = b"".join(part.data for part in self._fragments), self._fragments[0].opcode
                self._fragments = []
                if kind is not Opcode.TEXT:
                    self._deliver(whole)
                elif self._protocol.state is State.OPEN:
                    self._take_text(whole)

    def _answered(self) -> None:
        if self._protocol.handshake_exc is not None:
            self.opened.set_exception(self._protocol.handshake_exc)
        elif self._protocol.state is State.OPEN:
            self.opened.set_result(None)
            self._arm(self._ping_every_s, self._ping)

    def _flush(self) -> None:
        """Send what the protocol wants sent; an empty piece is the end of our side."""
        if self._transport is None:
            return
        for piece in self._protocol.data_to_send():
            if piece:
                self._transport.write(piece)
            elif self._transport.can_write_eof():
                with suppress(OSError):
                    self._transport.write_eof()
        if self._protocol.close_expected():
            said = self._protocol.close_rcvd is not None
            self._arm(LOST_AFTER_CLOSE_S if said else self._ping_timeout_s, self._abort)

    def eof_received(self) -> None:
        if self._protocol.state is State.CONNECTING and self._buffer:
            self._feed(self._buffer)
        self._protocol.receive_eof()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.receive_eof()
        if self._timer is not None:
            self._timer.cancel()
        if not self.opened.done():
            failed = self._protocol.handshake_exc or InvalidMessage("no answer to the handshake")
            self.opened.set_exception(failed if isinstance(failed, InvalidHandshake | OSError) else InvalidMessage(""))
        if not self._lost.done():
            self._lost.set_result(None)
        self._writable.set()
        self._arrived.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # Its life.

    def _arm(self, delay_s: float, act: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(delay_s, act)

    def _ping(self) -> None:
        if self._protocol.state is State.OPEN:
            self._protocol.send_ping(os.urandom(4))
            self._arm(self._ping_timeout_s, self._abort)
            self._flush()

    def _fail(self, code: CloseCode) -> None:
        self._protocol.fail(code)
        self._flush()

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def close(self, *, within_s: float) -> None:
        """Say goodbye, and wait for the answer no longer than this. A second call waits with the first."""
        if self._transport is None:
            return
        try:
            if self._protocol.state is State.OPEN:
                self._protocol.send_close(CloseCode.NORMAL_CLOSURE)
                self._flush()
            async with asyncio.timeout(within_s):
                await asyncio.shield(self._lost)
        except TimeoutError:
            pass
        finally:
            self._abort()

    @property
    def refused_size(self) -> bool:
        """Whether the connection ended because we would not take a message of that size."""
        sent = self._protocol.close_sent
        return sent is not None and sent.code == CloseCode.MESSAGE_TOO_BIG

    @property
    def close_code(self) -> int | None:
        """Return the code that the other side closed with; None when it said nothing."""
        return self._protocol.close_rcvd.code if self._protocol.close_rcvd is not None else None


async def open_socket(
    url: str,
    *,
    headers: dict[str, str],
    tls: ssl.SSLContext | None,
    max_bytes: int,
    max_unsent_bytes: int,
    ping_every_s: float,
    ping_timeout_s: float,
) -> ClientSocket:
    """Connect, and shake hands. Redirects are refused like any other answer: what we carry goes where it was meant to.

    Raises OSError, and of `websockets` InvalidURI and InvalidHandshake. The caller sets the time for it.
    """
    uri = parse_uri(url)
    protocol = ClientProtocol(uri, max_size=max_bytes)
    loop = asyncio.get_running_loop()
    client = ClientSocket(protocol, max_bytes=max_bytes, ping_every_s=ping_every_s, ping_timeout_s=ping_timeout_s)
    await loop.create_connection(
        lambda: client, uri.host, uri.port, ssl=tls, server_hostname=uri.host if tls is not None else None
    )
    try:
        client.keep_unsent(max_unsent_bytes)
        client.begin(headers)
        await asyncio.shield(client.opened)
    except BaseException:
        client.opened.add_done_callback(_looked_at)  # nobody waits for it any more
        client._abort()
        raise
    return client


def _looked_at(opened: asyncio.Future[None]) -> None:
    if not opened.cancelled():
        opened.exception()
