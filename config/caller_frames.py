"""The frames of one caller's socket, taken a few at a time: whole texts go to the call, the rest to the library.

For `sound_socket` and `sound_daphne`. The handshake, fragments, control frames and every refusal stay the library's. To
an application that asks for it (`TAKER` of the scope's extensions) a text is handed as it comes, without a queue and
without waking a task: 25 times a second and caller, that is a third of what a server spends on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from websockets.speedups import apply_mask

from sessions_app.call.pace import Pace
from sessions_app.frame_heads import CLOSE, MASKED, OPCODE, WHOLE_TEXT, payload_of

CLOSE_TOO_FAST = 4429

TAKER = "frontdesk.taker"
"""The extension: a function that is given another one, which takes each text message, or None for none any more."""

# Of one socket. A server takes all that a read brings: 256 KiB of the smallest frames held every call up for 0.5 s.
AT_ONCE = 8  # frames; those after them wait, and nothing more is read meanwhile
REST_S = 0.01  # until the next ones: 800 frames a second are no caller's, and leave the loop to the others


class ServersSocket(Protocol):
    """What the server's socket does for its frames."""

    read_paused: bool

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def listens(self) -> bool:
        """Whether a frame may be taken now; when the application has taken what waits, or has answered, it may."""

    def still_open(self) -> bool:
        """Whether neither side has closed. If one has, only the other's close is of interest."""

    def in_fragments(self) -> bool:
        """Whether the library waits for the rest of a message."""

    def queue_text(self, text: str) -> None:
        """Give the application a text by the usual way."""

    def to_library(self, data: bytes) -> None:
        """Give the library a whole frame, or the head of one that it refuses."""

    def close_too_fast(self) -> None: ...


class CallerFrames:
    def __init__(self, socket: ServersSocket, loop: asyncio.AbstractEventLoop, *, max_bytes: int) -> None:
        self.taker: Callable[[str], None] | None = None
        self._socket, self._loop, self._max_bytes = socket, loop, max_bytes
        self._data, self._at = b"", 0  # what has come, and how far it is taken
        self._resting: asyncio.Handle | None = None  # until the next turn that is ours
        self._others = Pace()  # of frames that are no whole text

    def come(self, data: bytes) -> None:
        """Take what a read has brought."""
        self._data = self._data[self._at :] + data if self._at < len(self._data) else data
        self._at = 0
        if self._resting is None:
            self._take()

    def go_on(self) -> None:
        """In the next turn: who has received a message is to do with it what he will, before the next one is there."""
        if self._socket.read_paused and self._resting is None:
            self._resting = self._loop.call_soon(self._take)

    def end(self) -> None:
        """Take nothing more: the connection is gone."""
        if self._resting is not None:
            self._resting.cancel()

    def _take(self) -> None:
        """Take whole frames, as many as one socket may bring at once, and see to it that the others are taken."""
        self._resting, left = None, AT_ONCE
        socket, data, end = self._socket, self._data, len(self._data)
        while left and self._at < end and socket.listens():
            payload = payload_of(data, self._at, end)
            if payload is None or not self._take_frame(data, *payload):
                self._read_on()
                return
            left -= 1
        if self._at == end:
            self._read_on()
            return
        if not socket.read_paused:
            socket.pause()
        if not left:
            self._resting = self._loop.call_later(REST_S, self._take)

    def _read_on(self) -> None:
        if self._socket.read_paused and self._socket.listens():
            self._socket.resume()

    def _take_frame(self, data: bytes, begins: int, size: int) -> bool:
        """Take the frame at hand, whose payload lies there. False when it is not whole yet."""
        socket = self._socket
        first, ends = data[self._at], begins + size
        if size > self._max_bytes or not data[self._at + 1] & MASKED:  # refused by its head
            socket.to_library(data[self._at : begins])
            self._at = len(data)
            return True
        if ends > len(data):
            return False
        at, self._at = self._at, ends
        if not socket.still_open():
            if first & OPCODE == CLOSE:
                socket.to_library(data[at:ends])
        elif first != WHOLE_TEXT or socket.in_fragments() or not self._take_text(data, begins, ends):
            self._take_other(data[at:ends])
        return True

    def _take_text(self, data: bytes, begins: int, ends: int) -> bool:
        """Hand a text on. False when it is not UTF-8: the library says so to the other side."""
        try:
            text = apply_mask(data[begins:ends], data[begins - 4 : begins]).decode()
        except UnicodeDecodeError:
            return False
        if self.taker is not None:
            self.taker(text)
        else:
            self._socket.queue_text(text)
        return True

    def _take_other(self, frame: bytes) -> None:
        """Give the library what is no whole text. The application's buckets see none of them, so this one does."""
        if self._others.admits(len(frame), round(self._loop.time() * 1000)):
            self._socket.to_library(frame)
        else:
            self._socket.close_too_fast()
