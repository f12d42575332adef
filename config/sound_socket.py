"""uvicorn's WebSocket, made lean for sound: whole text messages go past the generators of `websockets`.

They are cut out and framed here; the handshake, fragments, control frames and every refusal stay the library's. To an
application that asks for it (`TAKER` of the scope's extensions) a message is handed as it comes, without a queue and
without waking a task: 25 times a second and caller, that is a third of what uvicorn spends on it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.protocol import State
from websockets.speedups import apply_mask

from sessions_app.frame_heads import CONTINUED, CONTROL, FINAL, MASKED, WHOLE_TEXT, payload_of, text_head

TAKER = "frontdesk.taker"
"""The extension: a function that is given another one, which takes each text message, or None for none any more."""

AT_ONCE = 8  # messages of one read; those after them wait in the queue, so that a flood holds nobody up


class SoundSocket(WebSocketsSansIOProtocol):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._taker: Callable[[str], None] | None = None
        self._rest = b""  # the beginning of a frame
        self._in_fragments = False
        self._pieces = 0  # that came in before the handshake was over
        self._at_once = 0

    # What comes in.

    def data_received(self, data: bytes) -> None:
        if not self.handshake_complete:
            self._pieces += 1
        # The request is the first piece. Whoever says more before it is answered may have begun a frame.
        if not self.handshake_complete or self._pieces != 1:
            super().data_received(data)
            return
        self._at_once = AT_ONCE
        data = self._rest + data if self._rest else data
        self._rest = self._take_frames(data)

    def _take_frames(self, data: bytes) -> bytes:
        """Take the whole frames of `data`; return the beginning of one that is not whole yet."""
        at, end = 0, len(data)
        while (payload := payload_of(data, at, end)) is not None:
            begins, size = payload
            if self.conn.state is not State.OPEN:
                super().data_received(data[at:])
                return b""
            if size > self.config.ws_max_size or not data[at + 1] & MASKED:  # refused by its head
                super().data_received(data[at:begins])
                return b""
            ends = begins + size
            if ends > end:
                break
            if data[at] != WHOLE_TEXT or self._in_fragments or not self._take_text(data, begins, ends):
                self._note_fragments(data[at])
                super().data_received(data[at:ends])
            at = ends
        return data[at:] if at else data

    def _take_text(self, data: bytes, begins: int, ends: int) -> bool:
        """Hand a text message on. False when it is not UTF-8: the library says so to the other side."""
        try:
            text = apply_mask(data[begins:ends], data[begins - 4 : begins]).decode()
        except UnicodeDecodeError:
            return False
        if self.close_sent:  # nobody listens any more
            return True
        if self._taker is not None and self._at_once > 0 and self.queue.empty():
            self._at_once -= 1
            self._taker(text)
        else:
            self.queue.put_nowait({"type": "websocket.receive", "text": text})
            if not self.read_paused:
                self.read_paused = True
                self.transport.pause_reading()
        return True

    def _note_fragments(self, first_byte: int) -> None:
        opcode = first_byte & 0x0F
        if opcode < CONTROL:
            self._in_fragments = not first_byte & FINAL and (opcode != CONTINUED or self._in_fragments)

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
