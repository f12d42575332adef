"""Daphne, told to serve one listening socket as `serving` has it: with backpressure, and until the drain is over."""

from __future__ import annotations

import socket

from config.serving import (
    MAX_MESSAGE_BYTES,
    PING_EVERY_S,
    PING_TIMEOUT_S,
    SEND_BUFFER_BYTES,
    Application,
    Lifetime,
    Signals,
)
from config.sound_daphne import LOOP, SoundServer

ANSWER_S = 20  # for a call to be opened; autobahn drops the caller after 5 s, and a busy machine takes longer


def serve_daphne(application: Application, listener: socket.socket, lifetime: Lifetime) -> None:
    """Serve until the drain is over."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    server = SoundServer(
        application,
        endpoints=[f"fd:fileno={listener.detach()}"],  # Twisted closes it
        signal_handlers=False,
        http_timeout=60,
        ping_interval=PING_EVERY_S,
        ping_timeout=PING_TIMEOUT_S,
        websocket_handshake_timeout=ANSWER_S,
        websocket_connect_timeout=ANSWER_S,
        websocket_max_message_size=MAX_MESSAGE_BYTES,
        websocket_max_frame_size=MAX_MESSAGE_BYTES,
        verbosity=0,
        server_name="",
    )
    # The loop runs only within `run`, and Daphne has no place to hook in.
    LOOP.call_soon(Signals(lifetime, server.stop).install)
    server.run()
