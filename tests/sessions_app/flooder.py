"""Floods calls from a process of its own, which prints the codes that they were closed with.

    python -m tests.sessions_app.flooder URL TOKEN KIND APART_S SECONDS

Each line on its standard input begins floods for that long, and a line of codes says that they are over. What is sent
is made beforehand, so that the program takes no more of the machine than the sending itself.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import struct
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from socket import SHUT_RDWR

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Subprotocol

TIMEOUT_S = 5.0
LISTEN_S = 3.5  # to what the server still says, before the flooder leaves as if its machine had died
TEXT, PING = 0x81, 0x89
BLOB_BYTES = 2_000_000
SOUND = base64.b64encode(bytes(40 * 48)).decode()


def frame(payload: bytes, first_byte: int = TEXT) -> bytes:
    """Return a masked frame. Source: RFC 6455, section 5.2."""
    mask, size = os.urandom(4), len(payload)
    head = struct.pack("!BB", first_byte, 0x80 | size) if size < 126 else struct.pack("!BBH", first_byte, 0xFE, size)
    return head + mask + bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))


def _text(**event: str) -> bytes:
    return frame(json.dumps(event).encode())


FRAMES: dict[str, bytes] = {
    "nothing": b"",  # for comparison: the beginnings and ends of so many calls are in the others' figures too
    "small": _text(type="conversation.item.retrieve", item_id="nobody"),
    "tiny": frame(b"x"),
    "sound": _text(type="input_audio_buffer.append", audio=SOUND),
    "pings": frame(b"", PING),
}


def flood(url: str, token: str, blob: bytes) -> int | None:
    """Send the frames at once, as far as the server takes them. Return its close code."""
    headers = {"Authorization": f"Bearer {token}"}
    protocols = [Subprotocol("realtime")]
    call = connect(url, additional_headers=headers, subprotocols=protocols, close_timeout=0, proxy=None)
    with call as socket:
        socket.socket.settimeout(TIMEOUT_S)
        with contextlib.suppress(OSError):
            socket.socket.sendall(blob)
        until = time.monotonic() + LISTEN_S
        with contextlib.suppress(ConnectionClosed, TimeoutError):
            while (left_s := until - time.monotonic()) > 0:
                socket.recv(timeout=left_s)
        with contextlib.suppress(OSError):
            socket.socket.shutdown(SHUT_RDWR)
        return socket.close_code


def main(url: str, token: str, kind: str, apart_s: str, seconds: str) -> None:
    blob = FRAMES[kind] * (BLOB_BYTES // max(1, len(FRAMES[kind])))
    for _ in sys.stdin:
        ends = time.monotonic() + float(seconds)
        with ThreadPoolExecutor() as pool:
            floods = []
            while time.monotonic() < ends:
                floods.append(pool.submit(flood, url, token, blob))
                time.sleep(float(apart_s))
        print(*(one.result() for one in floods), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
