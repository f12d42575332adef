"""Connections that mean harm, or whose program is broken: each kind a small script over a raw socket.

Half of them come with a good key, which any visitor of a page can have: so what they send reaches the call itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.faults.wire import BINARY, CONTINUATION, PING, TEXT, Refused, Wire, connect, frame_head

AT_ONCE = 40
PATIENCE_S = 15.0  # the longest that a connection is held open from this side
IDLE_S = 1.0
DRIP_S = 0.1
KIB = 1024


@dataclass(frozen=True)
class Target:
    url: str  # of a call
    token: str


Attack = Callable[[Target], Awaitable[None]]


async def _opened(target: Target, attack: Callable[[Wire], Awaitable[None] | None]) -> None:
    """Begin a call with the good key, do this to it, and leave as if the machine had died."""
    headers = {"Sec-WebSocket-Protocol": "realtime", "Authorization": f"Bearer {target.token}"}
    wire = await connect(target.url, lambda text: None, headers=headers)
    waited = attack(wire)
    if waited is not None:
        await waited
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(IDLE_S):
            await asyncio.shield(wire.closed)
    wire.drop()


def _with(attack: Callable[[Wire], Awaitable[None] | None]) -> Attack:
    async def run(target: Target) -> None:
        await _opened(target, attack)

    return run


def _claims_more_than_memory(wire: Wire) -> None:
    wire.send_raw(frame_head(TEXT, 1 << 40, client=True) + b"x" * 4096)


def _message_past_the_cap(wire: Wire) -> None:
    wire.send(b'{"type": "' + b"x" * 200 * KIB + b'"}')


def _sound_past_the_cap(wire: Wire) -> None:
    wire.send(json.dumps({"type": "input_audio_buffer.append", "audio": "A" * 100 * KIB}))


def _fragments_without_end(wire: Wire) -> None:
    wire.send_frame(TEXT, b"{", fin=False)
    for _ in range(100):
        wire.send_frame(CONTINUATION, b"x" * 4096, fin=False)


def _unmasked(wire: Wire) -> None:
    wire.send_raw(b"\x81\x02hi")


def _reserved_bits(wire: Wire) -> None:
    wire.send_raw(b"\xf3\x80\0\0\0\0")


def _no_utf8(wire: Wire) -> None:
    wire.send(b"\xff\xfe\xfd")


def _binary(wire: Wire) -> None:
    wire.send_frame(BINARY, os.urandom(2000))


def _no_json(wire: Wire) -> None:
    for _ in range(60):
        wire.send(os.urandom(60).hex())


def _deep_json(wire: Wire) -> None:
    wire.send("[" * 60_000)


def _not_allowed(wire: Wire) -> None:
    for kind in ("session.update", "conversation.item.delete", "response.create", "output_audio_buffer.clear", "\x00"):
        wire.send(json.dumps({"type": kind, "session": {"tools": [{}], "instructions": "x" * 9000}, "item_id": 7}))


def _pings(wire: Wire) -> None:
    for _ in range(200):
        wire.send_frame(PING, b"x" * 125)


def _close_of_no_code(wire: Wire) -> None:
    wire.send_raw(b"\x88\x85\0\0\0\0\x00\x05abc")


def _silent_call(wire: Wire) -> None:
    wire.stop_reading()


def _raw(*pieces: bytes, drip: bool = False, wait_s: float = 0.2) -> Attack:
    """Send bytes that are no handshake; `drip` sends one at a time. Then wait, and go."""

    async def run(target: Target) -> None:
        where = urlsplit(target.url)
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        try:
            for piece in pieces:
                for part in [piece[n : n + 1] for n in range(len(piece))] if drip else [piece]:
                    writer.write(part)
                    await writer.drain()
                    if drip:
                        await asyncio.sleep(DRIP_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await reader.read()
        finally:
            writer.transport.abort()

    return run


async def _bad_key(target: Target) -> None:
    headers = {"Sec-WebSocket-Protocol": "realtime", "Authorization": f"Bearer ek_{os.urandom(16).hex()}"}
    wire = await connect(target.url, lambda text: None, headers=headers)
    wire.drop()


GET = b"GET /v1/realtime HTTP/1.1\r\nHost: a\r\n"
ATTACKS: dict[str, Attack] = {
    "silent connection": _raw(wait_s=IDLE_S),
    "slow request": _raw(GET, drip=True),
    "half a request": _raw(GET[:20], wait_s=IDLE_S),
    "no HTTP": _raw(os.urandom(300)),
    "TLS hello": _raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(200)),
    "endless header": _raw(GET + b"X: " + b"x" * 200 * KIB),
    "many headers": _raw(GET + b"".join(b"X-%d: y\r\n" % n for n in range(3000)) + b"\r\n"),
    "upgrade without a key": _raw(GET + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
    "bad key": _bad_key,
    "body that never comes": _raw(
        b"POST /v1/realtime/client_secrets HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n"
    ),
    "more than memory": _with(_claims_more_than_memory),
    "message past the cap": _with(_message_past_the_cap),
    "sound past the cap": _with(_sound_past_the_cap),
    "fragments without end": _with(_fragments_without_end),
    "unmasked": _with(_unmasked),
    "reserved bits": _with(_reserved_bits),
    "no UTF-8": _with(_no_utf8),
    "binary": _with(_binary),
    "no JSON": _with(_no_json),
    "deep JSON": _with(_deep_json),
    "not allowed": _with(_not_allowed),
    "pings": _with(_pings),
    "close of no code": _with(_close_of_no_code),
    "silent call": _with(_silent_call),
}


async def attack(
    target: Target, count: int, *, seed: int = 0, over_s: float = 0.0, at_once: int = AT_ONCE
) -> Counter[str]:
    """Make so many hostile connections, in a random order, spread over a time; at most `at_once` are open together.

    Return how often each kind went to its end, and how often it was cut off before.
    """
    chance, free, seen = random.Random(seed), asyncio.Semaphore(at_once), Counter[str]()
    names = list(ATTACKS)
    order = [names[n % len(names)] for n in range(count)]
    chance.shuffle(order)

    async def one(place: int, name: str) -> None:
        await asyncio.sleep(place * over_s / count)
        async with free:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await ATTACKS[name](target)
                seen[name] += 1
            except (OSError, TimeoutError, Refused, asyncio.IncompleteReadError):
                seen[f"{name}: refused"] += 1

    await asyncio.gather(*(one(place, name) for place, name in enumerate(order)))
    return seen
