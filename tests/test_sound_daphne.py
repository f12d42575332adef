"""Daphne's socket past autobahn's states: what is sent arrives, in order, and what breaks the rules is refused."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from config.caller_frames import AT_ONCE
from config.serving import MAX_MESSAGE_BYTES
from sessions_app.call.pace import BURST_MESSAGES
from tests.sound_daphne_app import shown

WAIT_S = 30.0
MASK = b"\x01\x02\x03\x04"
WAYS = pytest.mark.parametrize("way", ["queue", "takes"])


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-m", "tests.sound_daphne_app", str(listener.fileno())]
        with subprocess.Popen(command, pass_fds=[listener.fileno()]) as process:
            yield listener.getsockname()[1]
            process.kill()


def calling(port: int, way: str) -> connect:
    return connect(f"ws://127.0.0.1:{port}/{way}", compression=None, max_size=None)


async def report(client: ClientConnection) -> dict[str, Any]:
    await client.send("report")
    told: dict[str, Any] = json.loads(await client.recv())
    return told


async def trickle(client: ClientConnection, data: bytes, cuts: list[int]) -> None:
    """Send this in pieces of the kernel's own, cut there."""
    for begins, ends in zip([0, *cuts], [*cuts, len(data)], strict=True):
        client.transport.write(data[begins:ends])
        await asyncio.sleep(0)


def masked(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin=fin).serialize(mask=True)


@WAYS
async def test_messages_of_all_kinds_arrive_in_order(port: int, way: str):
    async with asyncio.timeout(WAIT_S), calling(port, way) as client:
        await client.send("é" * 10)
        await client.send(["in ", "parts ", "é"])
        await client.send(b"\x00\xff")
        await (await client.ping())
        await client.send("a" * 65_536)
        told = await report(client)

    assert told["heard"] == ["é" * 10, "in parts é", "bytes 00ff", shown("a" * 65_536)]
    assert told["by_queue"] == {"queue": 5, "takes": 2}[way]


@pytest.mark.parametrize(
    "frame",
    [
        b"\x81\xff" + (MAX_MESSAGE_BYTES + 1).to_bytes(8, "big") + MASK,
        masked(Opcode.TEXT, b"a" * 100_000, fin=False) + masked(Opcode.CONT, b"a" * 100_000),
        masked(Opcode.TEXT, b"\xff\xff"),
        masked(Opcode.TEXT, b"\xc3", fin=False) + masked(Opcode.CONT, b""),
        b"\x81\x01a",
        b"\xc1\x81" + MASK + b"a",
        masked(Opcode.TEXT, b"a", fin=False) + masked(Opcode.TEXT, b"b"),
        b"\x89\xfe" + (126).to_bytes(2, "big") + MASK + b"a" * 126,
    ],
    ids=[
        "too large by its head",
        "too large in parts",
        "not UTF-8",
        "half a character",
        "not masked",
        "reserved bit",
        "message within a message",
        "large ping",
    ],
)
async def test_frame_that_breaks_the_rules_ends_the_connection(port: int, frame: bytes):
    async with asyncio.timeout(WAIT_S):
        async with calling(port, "takes") as client:
            client.transport.write(masked(Opcode.TEXT, b"before") + frame + masked(Opcode.TEXT, b"report"))
            with pytest.raises(ConnectionClosed) as closed:
                await client.recv()
        async with calling(port, "takes") as other:
            told = await report(other)

    assert closed.value.rcvd is None
    assert told["last_closed"] == [1006]


@WAYS
async def test_stream_cut_at_every_byte_gives_the_same_messages(port: int, way: str):
    texts = ["", "one", "two " * 40, "é" * 70, "last"]
    stream = b"".join(masked(Opcode.TEXT, text.encode()) for text in texts)
    stream += masked(Opcode.TEXT, b"in ", fin=False) + masked(Opcode.PING, b"p") + masked(Opcode.CONT, b"parts")

    async with asyncio.timeout(WAIT_S), calling(port, way) as client:
        await trickle(client, stream, list(range(1, len(stream))))
        told = await report(client)

    assert told["heard"] == [*map(shown, texts), "in parts"]


@pytest.mark.parametrize("seed", range(10))
async def test_what_arrives_is_what_was_sent_however_it_is_cut(port: int, seed: int):
    chance = random.Random(seed)
    sizes = [chance.choice([0, 1, 125, 126, 3000, 65_535, 65_536]) for _ in range(20)]
    texts = [f"{number} " + chance.choice("aé€😀") * (size // 4) for number, size in enumerate(sizes)]
    frames = []
    for text in texts:
        data = text.encode()
        at = chance.randrange(len(data))
        parts = masked(Opcode.TEXT, data[:at], fin=False) + masked(Opcode.PING, b"p") + masked(Opcode.CONT, data[at:])
        frames.append(chance.choice([parts, masked(Opcode.TEXT, data), masked(Opcode.TEXT, data)]))
    stream = b"".join(frames)
    cuts = sorted(chance.sample(range(1, len(stream)), 60))

    async with asyncio.timeout(WAIT_S), calling(port, chance.choice(["queue", "takes"])) as client:
        await trickle(client, stream, cuts)
        told = await report(client)

    assert told["heard"] == [shown(text) for text in texts]


async def test_what_is_handed_over_keeps_its_order_among_what_is_not(port: int):
    texts = [str(number) for number in range(10 * AT_ONCE)]
    frames = [masked(Opcode.TEXT, text.encode()) for text in texts]
    frames[5] = masked(Opcode.TEXT, b"", fin=False) + masked(Opcode.CONT, b"5")

    async with asyncio.timeout(WAIT_S), calling(port, "takes") as client:
        client.transport.write(b"".join(frames))
        told = await report(client)

    assert (told["heard"], told["by_queue"]) == (texts, 1)


@WAYS
async def test_one_sockets_frames_leave_the_loop_to_others(port: int, way: str):
    async with asyncio.timeout(WAIT_S), calling(port, way) as client:
        client.transport.write(masked(Opcode.TEXT, b"x") * 50 * AT_ONCE)
        told = await report(client)

    assert len(told["heard"]) == 50 * AT_ONCE
    assert told["longest"] <= AT_ONCE


async def test_frames_that_are_no_messages_are_bounded_too(port: int):
    """Nobody else would count pings and the pieces of a message that does not end."""
    async with asyncio.timeout(WAIT_S), calling(port, "takes") as client:
        client.transport.write(masked(Opcode.TEXT, b"", fin=False))
        for _ in range(2 * BURST_MESSAGES):
            client.transport.write(masked(Opcode.CONT, b"", fin=False) + masked(Opcode.PING, b""))
        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()

    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4429, "too_fast")


async def test_what_comes_before_the_handshake_is_answered_is_taken_after_it(port: int):
    request = b"GET /late HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    request += b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    texts = ["\r\n\r\n", *(str(number) for number in range(3 * AT_ONCE)), "report"]
    no_mask = b"\0\0\0\0"  # so that the end of a request's head is to be seen

    async with asyncio.timeout(WAIT_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        async with calling(port, "asked"):  # what comes with the request itself Daphne does not keep
            pass
        for text in texts:
            writer.write(bytes((0x81, 0x80 | len(text))) + no_mask + text.encode())
            await asyncio.sleep(0)
        async with calling(port, "now"):
            await reader.readuntil(b"\r\n\r\n")
        head = await reader.readexactly(4)
        told = json.loads(await reader.readexactly(int.from_bytes(head[2:], "big")))
        writer.close()

    assert told["heard"] == texts[:-1]


async def test_close_of_the_other_side_is_seen_behind_what_nobody_listens_to_any_more(port: int):
    async with asyncio.timeout(WAIT_S), calling(port, "closes") as client:
        client.transport.write(masked(Opcode.TEXT, b"x") * 20 * AT_ONCE)
        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()
        await client.wait_closed()

    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4000


async def test_code_with_which_a_caller_left_is_told(port: int):
    async with asyncio.timeout(WAIT_S):
        async with calling(port, "takes") as client:
            await client.close(4321)
        async with calling(port, "takes") as other:
            told = await report(other)

    assert told["last_closed"] == [4321]
