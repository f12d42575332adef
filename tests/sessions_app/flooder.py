"""Floods calls, one after the other, from a process of its own, which prints the code that each was closed with.

    python -m tests.sessions_app.flooder URL ORIGIN COUNT APART_S KEY...

Frames are made beforehand, so that it takes no more of the machine than the sending itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import sys
import time

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

TIMEOUT_S = 20.0


def frame(text: str) -> bytes:
    """Return a masked text frame of less than 126 bytes. Source: RFC 6455, section 5.2."""
    payload, mask = text.encode(), os.urandom(4)
    masked = bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))
    return struct.pack("!BB", 0x81, 0x80 | len(payload)) + mask + masked


def flood(url: str, key: str, origin: str, frames: bytes) -> int | None:
    """Send the frames at once, as far as the server takes them. Return its close code."""
    protocols = [Subprotocol("realtime"), Subprotocol(f"openai-insecure-api-key.{key}")]
    with connect(url, origin=Origin(origin), subprotocols=protocols, close_timeout=TIMEOUT_S) as socket:
        socket.socket.settimeout(TIMEOUT_S)
        with contextlib.suppress(OSError):
            socket.socket.sendall(frames)
        with contextlib.suppress(ConnectionClosed, TimeoutError):
            while True:
                socket.recv(timeout=TIMEOUT_S)
        return socket.close_code


if __name__ == "__main__":
    address, from_origin, number, apart_s, *keys = sys.argv[1:]
    blob = b"".join(frame(json.dumps({"type": "conversation.item.retrieve", "item_id": f"n{n}"})) for n in range(16))
    for one in keys:
        print(flood(address, one, from_origin, blob * (int(number) // 16)), flush=True)
        time.sleep(float(apart_s))
