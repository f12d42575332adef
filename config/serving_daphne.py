"""Daphne, told to serve one listening socket as `serving` has it: with backpressure, and until the drain is over."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from daphne.server import Server as Daphne
from daphne.server import twisted_loop

from config.serving import (
    MAX_MESSAGE_BYTES,
    PING_EVERY_S,
    PING_TIMEOUT_S,
    SEND_BUFFER_BYTES,
    Application,
    Lifetime,
    Signals,
)


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


class _PacedDaphne(Daphne):  # type: ignore[misc]  # it has no types
    """Daphne's `send` never waits, so that a caller who stops reading fills our memory. This one waits as uvicorn does.

    It pings only callers who say nothing: one who speaks and does not read was there for good.
    """

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        await super().handle_reply(protocol, message)
        if message["type"] == "websocket.accept":
            protocol.room = _Room()
            protocol.unregisterProducer()  # that of HTTP
            protocol.registerProducer(protocol.room, True)
        elif message["type"] == "websocket.send":
            await protocol.room.free.wait()


def serve_daphne(application: Application, listener: socket.socket, lifetime: Lifetime) -> None:
    """Serve until the drain is over."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    server = _PacedDaphne(
        application,
        endpoints=[f"fd:fileno={listener.detach()}"],  # Twisted closes it
        signal_handlers=False,
        http_timeout=60,
        ping_interval=PING_EVERY_S,
        ping_timeout=PING_TIMEOUT_S,
        websocket_max_message_size=MAX_MESSAGE_BYTES,
        websocket_max_frame_size=MAX_MESSAGE_BYTES,
        verbosity=0,
        server_name="",
    )
    # The loop runs only within `run`, and Daphne has no place to hook in.
    twisted_loop.call_soon(Signals(lifetime, server.stop).install)
    server.run()
