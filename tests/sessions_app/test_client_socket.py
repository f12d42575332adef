"""The client's end of a WebSocket: whole messages in order, however they are cut, and bounds on all that waits."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection, serve
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from sessions_app.client_socket import MAX_UNREAD_BYTES, ClientSocket, open_socket
from tests.sessions_app.test_realtime import self_signed

MAX_BYTES = 100_000
WAIT_S = 20.0

Serve = Callable[[ServerConnection], Awaitable[None]]


async def opened(port: int, *, tls: ssl.SSLContext | None = None, **options: float) -> ClientSocket:
    bounds: dict[str, Any] = {"ping_every_s": WAIT_S, "ping_timeout_s": WAIT_S, "max_unsent_bytes": 16_384, **options}
    scheme = "wss" if tls is not None else "ws"
    return await open_socket(f"{scheme}://localhost:{port}/", headers={}, tls=tls, max_bytes=MAX_BYTES, **bounds)


@contextlib.asynccontextmanager
async def connected(server: Serve, *, tls: bool = False, **options: Any) -> AsyncIterator[ClientSocket]:
    """A socket to a server of the library's own."""
    async with serve(server, "localhost", 0, compression=None, max_size=None, **options) as running:
        socket = await opened(running.sockets[0].getsockname()[1])
        try:
            yield socket
        finally:
            await socket.close(within_s=WAIT_S)


async def heard(socket: ClientSocket) -> list[str | bytes]:
    messages: list[str | bytes] = []
    async with asyncio.timeout(WAIT_S):
        await socket.each(messages.append)
    return messages


async def echo(server: ServerConnection) -> None:
    with contextlib.suppress(ConnectionClosed):
        async for message in server:
            await server.send(message)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, MAX_BYTES])
async def test_message_of_any_size_goes_and_comes_whole(size: int):
    came: asyncio.Queue[str | bytes] = asyncio.Queue()

    async with connected(echo) as socket:
        reading = asyncio.create_task(socket.each(came.put_nowait))
        assert socket.try_send("a" * size)
        await socket.send("é" * 10)
        messages = [await asyncio.wait_for(came.get(), WAIT_S) for _ in range(2)]
        reading.cancel()

    assert messages == ["a" * size, "é" * 10]


async def test_what_came_before_anybody_listened_comes_first_and_the_end_comes_after_all():
    async def talk(server: ServerConnection) -> None:
        for number in range(100):
            await server.send(str(number))

    async with connected(talk) as socket:
        first = await anext(socket.messages())
        messages = await heard(socket)

    assert [first, *messages] == [str(number) for number in range(100)]
    assert socket.close_code == 1000


async def test_message_in_parts_comes_whole_and_bytes_come_as_bytes():
    async def talk(server: ServerConnection) -> None:
        await server.send(["one ", "mes", "sage"])
        await server.send(b"\x00\xff")
        await server.ping()
        await server.send("after a ping")

    async with connected(talk) as socket:
        assert await heard(socket) == ["one message", b"\x00\xff", "after a ping"]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x81\x7f" + (MAX_BYTES + 1).to_bytes(8, "big"), 1009),
        (b"\x81\x7e\xff\xff" + b"\xff" * 65_535, 1007),
        (b"\x81\x81\x00\x00\x00\x00a", 1002),
        (b"\xc1\x01a", 1002),
        (b"\x01\x01a\x81\x01b", 1002),
    ],
    ids=["too large", "not UTF-8", "masked", "reserved bit", "message within a message"],
)
async def test_frame_that_breaks_the_rules_ends_the_connection_with_its_code(frame: bytes, code: int):
    closed: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    async def talk(server: ServerConnection) -> None:
        server.transport.write(frame)
        await server.wait_closed()
        closed.set_result(server.close_code)

    async with connected(talk) as socket:
        assert await heard(socket) == []
        assert await asyncio.wait_for(closed, WAIT_S) == code


async def test_peer_that_answers_no_ping_is_let_go():
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(_accepted(await reader.readuntil(b"\r\n\r\n")))
        await reader.read()  # until the other side has had enough
        writer.close()

    async with _listening(deaf) as port:
        socket = await opened(port, ping_every_s=0.02, ping_timeout_s=0.02)

        assert await heard(socket) == []
        with pytest.raises(ConnectionError):
            await socket.send("too late")

    assert socket.close_code is None


async def test_peer_that_answers_pings_is_kept():
    pings: asyncio.Queue[Frame] = asyncio.Queue()

    async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server = ServerProtocol()
        server.receive_data(await reader.readuntil(b"\r\n\r\n"))
        server.send_response(server.accept(server.events_received()[0]))  # type: ignore[arg-type]  # the request
        while data := await _exchange(server, reader, writer):
            server.receive_data(data)
            for frame in server.events_received():
                if isinstance(frame, Frame) and frame.opcode is Opcode.PING:
                    pings.put_nowait(frame)
        writer.close()

    async with _listening(answering) as port:
        socket = await opened(port, ping_every_s=0.01, ping_timeout_s=WAIT_S)
        several = [await asyncio.wait_for(pings.get(), WAIT_S) for _ in range(3)]
        await socket.close(within_s=WAIT_S)

    assert len({bytes(ping.data) for ping in several}) == 3


async def _exchange(server: ServerProtocol, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Send what the server wants sent; return what comes next, or nothing once it is done."""
    for data in server.data_to_send():
        if not data:
            return b""
        writer.write(data)
    return await reader.read(65_536)


async def test_close_waits_no_longer_than_it_may_for_a_peer_that_says_nothing():
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(_accepted(await reader.readuntil(b"\r\n\r\n")))
        await reader.read()
        writer.close()

    async with _listening(silent) as port:
        socket = await opened(port)
        async with asyncio.timeout(WAIT_S):
            await socket.close(within_s=0.05)
            await heard(socket)


async def test_peer_that_says_its_close_and_keeps_the_connection_is_let_go():
    gone = asyncio.Event()

    async def lingering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(_accepted(await reader.readuntil(b"\r\n\r\n")))
        writer.write(Frame(Opcode.CLOSE, b"\x03\xe9").serialize(mask=False))
        with contextlib.suppress(ConnectionError):
            while await reader.read(65_536):
                pass
        writer.close()
        gone.set()

    async with _listening(lingering) as port, asyncio.timeout(WAIT_S):
        socket = await opened(port, ping_timeout_s=WAIT_S * 2)
        await heard(socket)  # within WAIT_S: a ping would be waited for longer
        await gone.wait()

    assert socket.close_code == 1001


async def test_writer_waits_while_the_peer_does_not_read_and_goes_on_after():
    read, total = asyncio.Event(), 0

    async def slow(server: ServerConnection) -> None:
        nonlocal total
        await read.wait()
        async for message in server:
            total += len(message)

    async with connected(slow, max_queue=1) as socket:
        sent = 0
        while socket.try_send("a" * 60_000):
            sent += 60_000
            await asyncio.sleep(0)  # the socket may take what it can
            assert sent < 100_000_000
        waiting = asyncio.create_task(socket.send("b" * 10))
        await asyncio.sleep(0)
        assert not waiting.done()
        read.set()
        await asyncio.wait_for(waiting, WAIT_S)

    assert total == sent + 10


async def test_reader_that_does_not_read_lets_the_peer_wait():
    message, stuck = "a" * 50_000, asyncio.Event()

    async def talk(server: ServerConnection) -> None:
        sends = 0
        with contextlib.suppress(ConnectionClosed):
            while sends < 4000:
                sending = asyncio.create_task(server.send(message))
                done, _ = await asyncio.wait({sending}, timeout=0.2)
                if not done:
                    stuck.set()
                await sending
                sends += 1

    async with connected(talk) as socket:
        await asyncio.wait_for(stuck.wait(), WAIT_S)
        waiting = socket._unread_bytes
        first = await anext(socket.messages())

    assert waiting <= MAX_UNREAD_BYTES + 2 * 65_536 + len(message)
    assert first == message


async def test_tls_is_checked_and_carries_messages(tmp_path: Path):
    certificate = self_signed(tmp_path)
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=certificate)
    trusting.check_hostname = False
    came: asyncio.Queue[str | bytes] = asyncio.Queue()

    async with serve(echo, "localhost", 0, compression=None, ssl=theirs) as running:
        port = running.sockets[0].getsockname()[1]
        with pytest.raises(ssl.SSLCertVerificationError):
            await opened(port, tls=ssl.create_default_context())
        socket = await opened(port, tls=trusting)
        reading = asyncio.create_task(socket.each(came.put_nowait))
        socket.try_send("a" * 90_000)
        message = await asyncio.wait_for(came.get(), WAIT_S)
        await socket.close(within_s=WAIT_S)
        await asyncio.wait_for(reading, WAIT_S)

    assert message == "a" * 90_000


async def test_answer_that_is_no_welcome_is_told_as_what_it_is():
    gone = asyncio.Event()

    async def closed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\nRetry-After: 7\r\n\r\nbusy")
        writer.close()

    async def in_pieces(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 4\r\n\r\n", b"go", b"ne"):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        with contextlib.suppress(ConnectionError):
            await reader.read()  # and it stays open, as servers keep connections
        writer.close()
        gone.set()

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"a" * 65_536)
                await writer.drain()

    async with _listening(closed) as port:
        with pytest.raises(InvalidStatus) as refused:
            await opened(port)
    async with _listening(in_pieces) as port, asyncio.timeout(WAIT_S):
        with pytest.raises(InvalidStatus) as unauthorized:
            await opened(port)
        await gone.wait()
    async with _listening(endless) as port, asyncio.timeout(WAIT_S):
        with pytest.raises(InvalidHandshake):
            await opened(port)

    assert (unauthorized.value.response.status_code, unauthorized.value.response.body) == (401, b"gone")
    assert refused.value.response.status_code == 503
    assert refused.value.response.headers["Retry-After"] == "7"


async def test_opening_that_nobody_waits_for_any_more_fails_in_silence(caplog: pytest.LogCaptureFixture):
    asked = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        writer.close()

    async with _listening(silent) as port, asyncio.timeout(WAIT_S):
        opening = asyncio.create_task(opened(port))
        await asked.wait()
        opening.cancel()
        await asyncio.wait([opening])
        await asyncio.sleep(0)  # the connection is lost in the loop's next turn
        del opening
        gc.collect()
        await asyncio.sleep(0)

    assert caplog.records == []


class Transport(asyncio.Transport):
    """Takes what is written, and holds nothing back."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...
    def can_write_eof(self) -> bool:
        return False


_FRAMES = st.lists(
    st.one_of(
        st.text(max_size=200).map(lambda text: [Frame(Opcode.TEXT, text.encode())]),
        st.binary(max_size=200).map(lambda data: [Frame(Opcode.BINARY, data)]),
        st.lists(st.text(alphabet="aé", max_size=80), min_size=2, max_size=4).map(
            lambda parts: [
                Frame(Opcode.CONT if place else Opcode.TEXT, part.encode(), fin=place == len(parts) - 1)
                for place, part in enumerate(parts)
            ]
        ),
        st.binary(max_size=20).map(lambda data: [Frame(Opcode.PING, data)]),
    ),
    max_size=12,
)


@given(messages=_FRAMES, cuts=st.lists(st.integers(min_value=1, max_value=300)))
def test_messages_are_the_same_however_the_network_cuts_them(messages: list[list[Frame]], cuts: list[int]):
    stream = b"".join(frame.serialize(mask=False) for message in messages for frame in message)
    expected = [
        data.decode() if message[0].opcode is Opcode.TEXT else data
        for message in messages
        if message[0].opcode is not Opcode.PING
        for data in [b"".join(frame.data for frame in message)]
    ]

    taken = asyncio.run(_taken_from(stream, cuts))

    assert taken == expected


async def _taken_from(stream: bytes, cuts: list[int]) -> list[str | bytes]:
    """Return the messages of a stream that comes in pieces of these sizes, the first together with the welcome."""
    protocol = ClientProtocol(parse_uri("ws://localhost/"), max_size=MAX_BYTES)
    socket = ClientSocket(protocol, max_bytes=MAX_BYTES, ping_every_s=WAIT_S, ping_timeout_s=WAIT_S)
    transport = Transport()
    socket.connection_made(transport)
    socket.begin({})
    welcome = _accepted(transport.written[0])
    pieces, at = [], 0
    for cut in cuts:
        pieces.append(stream[at : at + cut])
        at += cut
    pieces.append(stream[at:])
    socket.data_received(welcome + pieces[0])
    for piece in pieces[1:]:
        if piece:
            socket.data_received(piece)
    return [socket._next_unread() for _ in range(len(socket._unread))]


def _accepted(request: bytes) -> bytes:
    """Return the welcome to a handshake."""
    server = ServerProtocol()
    server.receive_data(request)
    (handshake,) = server.events_received()
    server.send_response(server.accept(handshake))  # type: ignore[arg-type]  # the first event is the request
    return b"".join(server.data_to_send())


@contextlib.asynccontextmanager
async def _listening(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    server = await asyncio.start_server(answer, "localhost", 0, limit=2**20)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()
