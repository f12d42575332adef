"""uvicorn's socket past its generators: the same messages in the same order, and the same refusals, as its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from config.sound_socket import AT_ONCE, TAKER, SoundSocket

WAIT_S = 20.0
MAX_BYTES = 70_000


class App:
    """Answers each message with itself; a text that is handed over is marked as such."""

    def __init__(self, *, takes: bool) -> None:
        self.takes = takes
        self.heard: list[str | bytes] = []
        self.by_queue = 0
        self.closed: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        if self.takes and TAKER in scope["extensions"]:
            scope["extensions"][TAKER](self.heard.append)
        while (message := await receive())["type"] == "websocket.receive":
            self.by_queue += 1
            self.heard.append(message["text"] if message.get("text") is not None else message["bytes"])
            await send({"type": "websocket.send", "text": f"got {len(self.heard)}"})
        self.closed.set_result(message["code"])


@contextlib.asynccontextmanager
async def serving(app: App, protocol: type[WebSocketsSansIOProtocol] = SoundSocket) -> AsyncIterator[int]:
    config = uvicorn.Config(
        app,
        ws=protocol,
        ws_max_size=MAX_BYTES,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]  # a test's signals are its own
    with socket.create_server(("127.0.0.1", 0)) as listener:
        running = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await running


@contextlib.asynccontextmanager
async def calling(app: App, protocol: type[WebSocketsSansIOProtocol] = SoundSocket) -> AsyncIterator[ClientConnection]:
    async with serving(app, protocol) as port, connect(f"ws://127.0.0.1:{port}/", compression=None) as client:
        yield client


PROTOCOLS = pytest.mark.parametrize("protocol", [SoundSocket, WebSocketsSansIOProtocol])
MASK = b"\x01\x02\x03\x04"


def masked(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin=fin).serialize(mask=True)


@PROTOCOLS
async def test_messages_of_all_kinds_arrive_in_order(protocol: type[WebSocketsSansIOProtocol]):
    app = App(takes=False)

    async with asyncio.timeout(WAIT_S), calling(app, protocol) as client:
        await client.send("é" * 10)
        await client.send(["in ", "parts ", "é"])
        await client.send(b"\x00\xff")
        await (await client.ping())
        await client.send("a" * 65_536)
        answers = [await client.recv() for _ in range(4)]
        await client.close(1000)
        code = await app.closed

    assert app.heard == ["é" * 10, "in parts é", b"\x00\xff", "a" * 65_536]
    assert (answers, code) == ([f"got {number}" for number in (1, 2, 3, 4)], 1000)


@PROTOCOLS
@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x81\xff" + (MAX_BYTES + 1).to_bytes(8, "big") + MASK, 1009),
        (masked(Opcode.TEXT, b"\xff\xff"), 1007),
        (b"\x81\x01a", 1002),
        (b"\xc1\x81" + MASK + b"a", 1002),
        (masked(Opcode.TEXT, b"a", fin=False) + masked(Opcode.TEXT, b"b"), 1002),
    ],
    ids=["too large", "not UTF-8", "not masked", "reserved bit", "message within a message"],
)
async def test_frame_that_breaks_the_rules_is_refused_with_its_code(
    protocol: type[WebSocketsSansIOProtocol], frame: bytes, code: int
):
    app = App(takes=True)

    async with asyncio.timeout(WAIT_S), calling(app, protocol) as client:
        client.transport.write(frame)
        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()

    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, app.heard) == (code, [])


async def test_stream_cut_anywhere_gives_the_same_messages():
    app = App(takes=False)
    texts = ["", "one", "two " * 40, "é" * 70, "last"]
    stream = b"".join(masked(Opcode.TEXT, text.encode()) for text in texts)
    stream += masked(Opcode.TEXT, b"in ", fin=False) + masked(Opcode.PING, b"p") + masked(Opcode.CONT, b"parts")

    async with asyncio.timeout(WAIT_S), calling(app) as client:
        for at in range(len(stream)):
            client.transport.write(stream[at : at + 1])
            await asyncio.sleep(0)
        answers = [await client.recv() for _ in range(len(texts) + 1)]

    assert app.heard == [*texts, "in parts"]
    assert answers[-1] == f"got {len(texts) + 1}"


async def test_what_is_handed_over_and_what_waits_keep_their_order():
    app = App(takes=True)
    texts = [str(number) for number in range(10 * AT_ONCE)]

    async with asyncio.timeout(WAIT_S), calling(app) as client:
        client.transport.write(b"".join(masked(Opcode.TEXT, text.encode()) for text in texts))
        while len(app.heard) < len(texts):  # noqa: ASYNC110 - what is handed over passes no event
            await asyncio.sleep(0.01)

    assert app.heard == texts
    assert 0 < app.by_queue < len(texts)
