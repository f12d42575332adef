"""uvicorn's WebSocket, made lean for sound: whole text messages go past the generators of `websockets`.

They are cut out and framed here; the handshake, fragments, control frames and every refusal stay the library's. To an
application that asks for it (`TAKER` of the scope's extensions) a message is handed as it comes, without a queue and
without waking a task: 25 times a second and caller, that is a third of what uvicorn spends on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.protocol import State
from websockets.speedups import apply_mask

from sessions_app.call.pace import Pace
from sessions_app.frame_heads import (
    CLOSE,
    CONTINUED,
    CONTROL,
    FINAL,
    MASKED,
    OPCODE,
    WHOLE_TEXT,
    payload_of,
    text_head,
)

CLOSE_TOO_FAST = 4429

TAKER = "frontdesk.taker"
"""The extension: a function that is given another one, which takes each text message, or None for none any more."""

# Of one socket. uvicorn takes all that a read brings: 256 KiB of the smallest frames held every call up for 0.5 s.
AT_ONCE = 8  # frames; those after them wait, and nothing more is read meanwhile
REST_S = 0.004  # until the next ones: 2,000 frames a second are no caller's, and leave the loop to the others


class SoundSocket(WebSocketsSansIOProtocol):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._taker: Callable[[str], None] | None = None
        self._asked = False  # the request is there
        self._data, self._at = b"", 0  # what has come, and how far it is taken
        self._resting: asyncio.Handle | None = None  # until the next turn that is ours
        self._in_fragments = False
        self._others = Pace()  # of frames that are no whole text

    # What comes in.

    def data_received(self, data: bytes) -> None:
        if not self._asked:
            self._asked = True
            super().data_received(data)
            return
        self._data = self._data[self._at :] + data if self._at < len(self._data) else data
        self._at = 0
        if self._resting is None:
            self._take_frames()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._resting is not None:
            self._resting.cancel()
        super().connection_lost(exc)

    def _take_frames(self) -> None:
        """Take whole frames, as many as one socket may bring at once, and see to it that the others are taken."""
        self._resting, left = None, AT_ONCE
        data, end = self._data, len(self._data)
        while left and self._listens():
            payload = payload_of(data, self._at, end)
            if payload is None or not self._take_frame(data, *payload):
                self._read_on()
                return
            left -= 1
        if self._at == end:
            self._read_on()
            return
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()
        if not left:
            self._resting = self.loop.call_later(REST_S, self._take_frames)

    def _listens(self) -> bool:
        """Whether a frame may be taken now; when the application has taken what waits, or has answered, it may."""
        return self.handshake_complete and (self.close_sent or self.queue.empty())

    def _read_on(self) -> None:
        if self.read_paused and self._listens():
            self.read_paused = False
            self.transport.resume_reading()

    def _go_on(self) -> None:
        """In the next turn: who has received a message is to do with it what he will, before the next one is there."""
        if self.read_paused and self._resting is None:
            self._resting = self.loop.call_soon(self._take_frames)

    def _take_frame(self, data: bytes, begins: int, size: int) -> bool:
        """Take the frame at hand, whose payload lies there. False when it is not whole yet."""
        first, ends = data[self._at], begins + size
        if size > self.config.ws_max_size or not data[self._at + 1] & MASKED:  # refused by its head
            super().data_received(data[self._at : begins])
            self._at = len(data)
            return True
        if ends > len(data):
            return False
        at, self._at = self._at, ends
        if self.conn.state is not State.OPEN:
            if first & OPCODE == CLOSE:
                super().data_received(data[at:ends])
        elif first != WHOLE_TEXT or self._in_fragments or not self._take_text(data, begins, ends):
            self._take_other(first, data[at:ends])
        return True

    def _take_text(self, data: bytes, begins: int, ends: int) -> bool:
        """Hand a text message on. False when it is not UTF-8: the library says so to the other side."""
        try:
            text = apply_mask(data[begins:ends], data[begins - 4 : begins]).decode()
        except UnicodeDecodeError:
            return False
        if self.close_sent:  # nobody listens any more
            return True
        if self._taker is not None:
            self._taker(text)
        else:
            self.queue.put_nowait({"type": "websocket.receive", "text": text})
        return True

    def _take_other(self, first: int, frame: bytes) -> None:
        """Give the library what is no whole text message. The application's buckets see none of them, so this does."""
        if not self._others.admits(len(frame), round(self.loop.time() * 1000)):
            self.conn.fail(CLOSE_TOO_FAST, "too_fast")
            self.handle_parser_exception()
            return
        opcode = first & OPCODE
        if opcode < CONTROL:
            self._in_fragments = not first & FINAL and (opcode != CONTINUED or self._in_fragments)
        super().data_received(frame)

    async def receive(self) -> Any:
        message = await self.queue.get()
        self._go_on()
        return message

    # What goes out.

    async def run_asgi(self) -> None:
        extensions: dict[str, Any] = {**(self.scope["extensions"] or {}), TAKER: self._set_taker}
        self.scope["extensions"] = extensions
        await super().run_asgi()

    def _set_taker(self, take: Callable[[str], None] | None) -> None:
        self._taker = take

    async def send(self, message: Any) -> None:
        text = message.get("text") if message["type"] == "websocket.send" else None
        if text is None or not self._may_send():
            await super().send(message)
            if self.initial_response is not None and self.close_sent:
                self.handshake_complete = True  # refused in HTTP: uvicorn would log that nobody answered
            self._go_on()
            return
        payload = text.encode()
        self.transport.write(text_head(len(payload)) + payload)

    def _may_send(self) -> bool:
        """Whether a message may go out now, with nothing to wait for and nothing to refuse."""
        return (
            self.writable.is_set()
            and self.handshake_complete
            and not self.disconnected
            and not self.close_sent
            and self.initial_response is None
            and self.conn.state is State.OPEN
        )
