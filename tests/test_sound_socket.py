"""uvicorn's socket past its generators: the same messages in the same order, and the same refusals, as its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from itertools import groupby
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode

from config.caller_frames import AT_ONCE, TAKER
from config.sound_socket import SoundSocket
from sessions_app.call.pace import BURST_MESSAGES

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
async def serving(app: Any, protocol: type[WebSocketsSansIOProtocol] = SoundSocket) -> AsyncIterator[int]:
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
        (masked(Opcode.TEXT, b"\xff", fin=False) + masked(Opcode.CONT, b"b"), 1007),
    ],
    ids=["too large", "not UTF-8", "not masked", "reserved bit", "message within a message", "not UTF-8 in parts"],
)
async def test_frame_that_breaks_the_rules_is_refused_with_its_code(
    protocol: type[WebSocketsSansIOProtocol], frame: bytes, code: int, caplog: pytest.LogCaptureFixture
):
    app = App(takes=True)

    async with asyncio.timeout(WAIT_S), calling(app, protocol) as client:
        client.transport.write(frame)
        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()

    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, app.heard) == (code, [])
    if protocol is SoundSocket:
        assert [record for record in caplog.records if record.levelname == "ERROR"] == []


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


async def test_what_is_handed_over_keeps_its_order_among_what_is_not():
    app = App(takes=True)
    texts = [str(number) for number in range(10 * AT_ONCE)]
    frames = [masked(Opcode.TEXT, text.encode()) for text in texts]
    frames[5] = masked(Opcode.TEXT, b"", fin=False) + masked(Opcode.CONT, b"5")

    async with asyncio.timeout(WAIT_S), calling(app) as client:
        client.transport.write(b"".join(frames))
        while len(app.heard) < len(texts):  # noqa: ASYNC110 - what is handed over passes no event
            await asyncio.sleep(0.01)

    assert (app.heard, app.by_queue) == (texts, 1)


@contextlib.asynccontextmanager
async def noting_turns(order: list[Any]) -> AsyncIterator[None]:
    """Note `None` among what else is noted whenever another task has its turn."""

    async def another() -> None:
        while True:
            order.append(None)
            await asyncio.sleep(0)

    other = asyncio.create_task(another())
    try:
        yield
    finally:
        other.cancel()


def longest_run(order: list[Any]) -> int:
    """Return how much was noted at most between two turns of another task."""
    return max(len(list(run)) for turn, run in groupby(order, key=lambda noted: noted is None) if not turn)


@pytest.mark.parametrize("takes", [True, False])
async def test_one_sockets_frames_leave_the_loop_to_others(takes: bool):
    app = App(takes=takes)

    async with asyncio.timeout(WAIT_S), calling(app) as client, noting_turns(app.heard):
        client.transport.write(masked(Opcode.TEXT, b"x") * 50 * AT_ONCE)
        while app.heard.count("x") < 50 * AT_ONCE:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)

    assert longest_run(app.heard) <= AT_ONCE


async def test_frames_that_are_no_messages_are_bounded_too():
    """Nobody else would count pings and the pieces of a message that does not end."""
    app = App(takes=True)

    async with asyncio.timeout(WAIT_S), calling(app) as client:
        client.transport.write(masked(Opcode.TEXT, b"", fin=False))
        for _ in range(2 * BURST_MESSAGES):
            client.transport.write(masked(Opcode.CONT, b"", fin=False) + masked(Opcode.PING, b""))
        with contextlib.suppress(ConnectionClosed):
            await client.recv()
        code = await app.closed

    assert (code, app.heard) == (4429, [])


async def test_what_comes_before_the_handshake_is_answered_is_taken_after_it():
    app = App(takes=True)
    request = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    texts = [str(number) for number in range(3 * AT_ONCE)]
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slow(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            asked.set()
            await answer.wait()
        await app(scope, receive, send)

    async with asyncio.timeout(WAIT_S), serving(slow) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request + b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
        await asked.wait()
        for text in texts:
            writer.write(masked(Opcode.TEXT, text.encode()))
            await asyncio.sleep(0)
        answer.set()
        await reader.readuntil(b"\r\n\r\n")
        while len(app.heard) < len(texts):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
        writer.close()

    assert app.heard == texts


async def test_close_of_the_other_side_is_seen_behind_what_nobody_listens_to_any_more():
    async def closes(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        await send({"type": "websocket.close", "code": 4000})

    class Patient(SoundSocket):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.close_timeout = 10 * WAIT_S

    async with (
        asyncio.timeout(WAIT_S),
        serving(closes, Patient) as port,
        connect(f"ws://127.0.0.1:{port}/", compression=None, close_timeout=None) as client,
    ):
        client.transport.write(masked(Opcode.TEXT, b"x") * 20 * AT_ONCE)
        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()
        await client.wait_closed()

    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4000


async def test_refusal_in_http_is_no_error_in_the_log(caplog: pytest.LogCaptureFixture):
    async def refuses(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b""})

    async with asyncio.timeout(WAIT_S), serving(refuses) as port:
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://127.0.0.1:{port}/")

    assert refused.value.response.status_code == 401
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
