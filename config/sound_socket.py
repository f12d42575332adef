"""uvicorn's WebSocket, made lean for sound: whole text messages go past the generators of `websockets`.

They are cut out and framed by ourselves; see `caller_frames`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode
from websockets.protocol import State

from config.caller_frames import CLOSE_TOO_FAST, TAKER, CallerFrames
from sessions_app.frame_heads import CONTINUED, CONTROL, FINAL, OPCODE, text_head


class SoundSocket(WebSocketsSansIOProtocol):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._frames = CallerFrames(self, self.loop, max_bytes=self.config.ws_max_size)
        self._asked = False  # the request is there
        self._in_fragments = False

    # What comes in.

    def data_received(self, data: bytes) -> None:
        if self._asked:
            self._frames.come(data)
            return
        self._asked = True
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._frames.end()
        super().connection_lost(exc)

    def pause(self) -> None:
        self.read_paused = True
        self.transport.pause_reading()

    def resume(self) -> None:
        self.read_paused = False
        self.transport.resume_reading()

    def listens(self) -> bool:
        return self.handshake_complete and (self.close_sent or self.queue.empty())

    def still_open(self) -> bool:
        return self.conn.state is State.OPEN and not self.close_sent

    def in_fragments(self) -> bool:
        return self._in_fragments

    def queue_text(self, text: str) -> None:
        self.queue.put_nowait({"type": "websocket.receive", "text": text})

    def to_library(self, data: bytes) -> None:
        opcode = data[0] & OPCODE
        if opcode < CONTROL:
            self._in_fragments = not data[0] & FINAL and (opcode != CONTINUED or self._in_fragments)
        super().data_received(data)

    def close_too_fast(self) -> None:
        self.conn.fail(CLOSE_TOO_FAST, "too_fast")
        self.handle_parser_exception()

    def send_receive_event_to_app(self) -> None:
        if self.curr_msg_data_type == "text" and not _is_utf8(b"".join(self.frames)):
            self.frames = []
            self.conn.send_close(CloseCode.INVALID_DATA)  # as uvicorn does, which logs an error for each
            self.handle_parser_exception()
            return
        super().send_receive_event_to_app()

    async def receive(self) -> Any:
        message = await self.queue.get()
        self._frames.go_on()
        return message

    # What goes out.

    async def run_asgi(self) -> None:
        extensions: dict[str, Any] = {**(self.scope["extensions"] or {}), TAKER: self._set_taker}
        self.scope["extensions"] = extensions
        await super().run_asgi()

    def _set_taker(self, take: Callable[[str], None] | None) -> None:
        self._frames.taker = take

    async def send(self, message: Any) -> None:
        text = message.get("text") if message["type"] == "websocket.send" else None
        if text is None or not self._may_send():
            await super().send(message)
            if self.initial_response is not None and self.close_sent:
                self.handshake_complete = True  # refused in HTTP: uvicorn would log that nobody answered
            self._frames.go_on()
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


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
