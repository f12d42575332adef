"""Daphne's WebSocket, made lean for sound: whole text messages go past autobahn's states and Twisted's write queue.

They are cut out and framed by ourselves; see `caller_frames`. The loop is uvloop's, unless a reactor is there already.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Any

from twisted.internet.main import installReactor

from config.caller_frames import CLOSE_TOO_FAST, TAKER, CallerFrames
from config.serving import new_event_loop
from config.sound_reactor import SoundReactor
from sessions_app.frame_heads import text_head

if "twisted.internet.reactor" not in sys.modules:  # as a test runner's may be
    installReactor(SoundReactor(new_event_loop()))  # type: ignore[no-untyped-call]

from daphne.server import Server, reactor
from daphne.ws_protocol import WebSocketProtocol

CLOSE_ANSWER_S = 5  # autobahn waits 1 s, and drops what is still on its way to a slow caller, the close too

LOOP: asyncio.AbstractEventLoop = reactor._asyncioEventloop


class SoundServer(Server):  # type: ignore[misc]  # it has no types
    """Daphne with our sockets, which have the application's `receive` and `send` themselves."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, ready_callable=self._ready, **kwargs)

    def _ready(self) -> None:
        self.ws_factory.protocol = SoundProtocol
        self.ws_factory.closeHandshakeTimeout = CLOSE_ANSWER_S

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        if scope["type"] != "websocket":
            return super().create_application(protocol, scope)
        scope |= {"asgi": {"version": "3.0"}, "extensions": {TAKER: protocol.set_taker}}
        running = self.application(scope=scope, receive=protocol.receive, send=protocol.send)
        self.connections[protocol]["application_instance"] = LOOP.create_task(running)
        return asyncio.Queue()


class _Room:
    """Whether a socket has room for more, as Twisted tells a producer (IPushProducer)."""

    def __init__(self) -> None:
        self.free = asyncio.Event()
        self.free.set()

    def pauseProducing(self) -> None:
        self.free.clear()

    def resumeProducing(self) -> None:
        self.free.set()

    def stopProducing(self) -> None:
        self.free.set()


class SoundProtocol(WebSocketProtocol):  # type: ignore[misc]  # it has no types
    """Daphne's `send` never waits, so that a caller who stops reading fills our memory. This one waits as uvicorn does.

    It pings only callers who say nothing: one who speaks and does not read was there for good.
    """

    def connectionMade(self) -> None:
        super().connectionMade()
        self.read_paused = False
        self._asked = False  # the request is there
        self._room = _Room()
        self._frames = CallerFrames(self, LOOP, max_bytes=self.maxFramePayloadSize)

    def connectionLost(self, reason: Any) -> None:
        self._frames.end()
        super().connectionLost(reason)

    def onOpen(self) -> None:
        super().onOpen()
        self.unregisterProducer()  # that of HTTP
        self.registerProducer(self._room, True)
        self._frames.go_on()

    # What comes in.

    def dataReceived(self, data: bytes) -> None:
        if not self._asked:
            self._asked = True
            super().dataReceived(data)
            return
        self.last_ping = time.time()  # who speaks is not pinged
        if self.autoPingTimeoutCall is not None:
            self._cancelAutoPingTimeoutCall()
        self._frames.come(data)

    def pause(self) -> None:
        self.read_paused = True
        self.transport.pauseProducing()

    def resume(self) -> None:
        self.read_paused = False
        self.transport.resumeProducing()

    def listens(self) -> bool:
        if self.state == self.STATE_OPEN:
            return bool(self.application_queue.empty())
        return bool(self.state == self.STATE_CLOSING)

    def still_open(self) -> bool:
        return bool(self.state == self.STATE_OPEN)

    def in_fragments(self) -> bool:
        return bool(self.inside_message)

    def queue_text(self, text: str) -> None:
        self.application_queue.put_nowait({"type": "websocket.receive", "text": text})

    def to_library(self, data: bytes) -> None:
        super().dataReceived(data)

    def close_too_fast(self) -> None:
        self.sendClose(CLOSE_TOO_FAST, "too_fast")

    def set_taker(self, take: Callable[[str], None] | None) -> None:
        self._frames.taker = take

    async def receive(self) -> Any:
        message = await self.application_queue.get()
        self._frames.go_on()
        return message

    # What goes out.

    async def send(self, message: dict[str, Any]) -> None:
        text = message.get("text") if message["type"] == "websocket.send" else None
        if text is None or self.state != self.STATE_OPEN:
            await self.server.handle_reply(self, message)
            self._frames.go_on()
        else:
            payload = text.encode()
            self._write(text_head(len(payload)) + payload)
        if not self._room.free.is_set():
            await self._room.free.wait()

    def _write(self, frame: bytes) -> None:
        """Write at once, if nothing waits. Twisted would ask the kernel when, and send with the loop's next turn."""
        transport = self.transport
        sent = 0
        if transport.connected and not transport.dataBuffer and not transport._tempDataBuffer:
            sent = transport.writeSomeData(frame)
            if sent == len(frame):
                return
            if not isinstance(sent, int):  # lost: Twisted shall find it out, and say so
                sent = 0
        transport.write(frame[sent:])
