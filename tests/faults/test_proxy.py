"""The fault kit itself: the proxy does what it is told, at once, on open connections and on new ones."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

import pytest

from tests.faults.proxy import Proxy, running_proxy

WAIT_S = 10.0
QUIET_S = 0.1  # for nothing to happen in
T = TypeVar("T")


class Target:
    """Gives back what it is sent, and keeps it."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.ends: asyncio.Queue[str] = asyncio.Queue()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                self.heard += data
                writer.write(data)
                await writer.drain()
            self.ends.put_nowait("close")
        except ConnectionResetError:
            self.ends.put_nowait("reset")
        finally:
            writer.close()


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    target = Target()
    server = await asyncio.start_server(target.serve, "127.0.0.1", 0)
    target.port = server.sockets[0].getsockname()[1]
    yield target
    server.close()


@pytest.fixture
async def proxy(target: Target) -> AsyncIterator[Proxy]:
    async with running_proxy(target.port) as proxy:
        yield proxy


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def back(self, text: bytes) -> bytes:
        """Send this, and return as many bytes as come back for it."""
        self.writer.write(text)
        return await within(self.reader.readexactly(len(text)))

    async def rest(self) -> bytes | str:
        try:
            return await within(self.reader.read())
        except ConnectionResetError:
            return "reset"

    async def nothing(self) -> bool:
        """Whether nothing comes back for a while, and the connection stands."""
        try:
            async with asyncio.timeout(QUIET_S):
                await self.reader.read(1)
        except TimeoutError:
            return True
        return False


async def within(work: Awaitable[T]) -> T:
    async with asyncio.timeout(WAIT_S):
        return await work


@contextlib.asynccontextmanager
async def client_of(proxy: Proxy) -> AsyncIterator[Client]:
    reader, writer = await within(asyncio.open_connection("127.0.0.1", proxy.port))
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


async def test_what_passes_is_what_was_sent(proxy: Proxy, target: Target):
    sound = bytes(range(256)) * 4096

    async with client_of(proxy) as client:
        assert await client.back(sound) == sound

    assert bytes(target.heard) == sound
    assert await within(target.ends.get()) == "close"


async def test_latency_delays_each_direction_and_not_the_rate(proxy: Proxy):
    proxy.to_target.latency_s = proxy.to_client.latency_s = 0.1

    async with client_of(proxy) as client:
        began = time.monotonic()
        await client.back(b"x")
        one = time.monotonic() - began
        began = time.monotonic()
        assert await client.back(b"y" * 300_000) == b"y" * 300_000
        many = time.monotonic() - began

    assert one >= 0.2
    assert many < 2.0  # 19 chunks, which overlap on their way


async def test_rate_bounds_the_bytes_a_second(proxy: Proxy):
    proxy.to_client.bytes_per_s = 20_000

    async with client_of(proxy) as client:
        began = time.monotonic()
        await client.back(b"x" * 10_000)

    assert time.monotonic() - began >= 0.45


async def test_stalled_line_holds_what_comes_and_the_sender_feels_it(proxy: Proxy):
    async with client_of(proxy) as client:
        await client.back(b"before")
        proxy.to_target.stall()
        client.writer.write(b"held")
        assert await client.nothing()

        client.writer.write(bytes(16 * 1024 * 1024))
        drained = asyncio.create_task(client.writer.drain())
        felt = not (await asyncio.wait({drained}, timeout=QUIET_S))[0]
        proxy.to_target.resume()

        assert felt
        assert await within(client.reader.readexactly(4)) == b"held"
        drained.cancel()


async def test_dropping_loses_what_comes_and_tells_neither_side(proxy: Proxy, target: Target):
    async with client_of(proxy) as client:
        await client.back(b"before")
        proxy.drop()
        client.writer.write(b"lost")
        assert await client.nothing()

    assert target.ends.empty()
    assert bytes(target.heard) == b"before"


async def test_reset_and_close_reach_both_sides(proxy: Proxy, target: Target):
    async with client_of(proxy) as cut, client_of(proxy) as kept:
        await cut.back(b"x")
        await kept.back(b"x")
        proxy.reset()
        assert [await cut.rest(), await kept.rest()] == ["reset", "reset"]
    async with client_of(proxy) as closed:
        await closed.back(b"x")
        proxy.close()
        assert await closed.rest() == b""

    assert [await within(target.ends.get()) for _ in range(3)] == ["reset", "reset", "close"]


async def test_byte_is_corrupted_where_it_was_said(proxy: Proxy):
    proxy.to_client.corrupt_at = 3

    async with client_of(proxy) as client:
        assert await client.back(b"ab") == b"ab"
        assert await client.back(b"cdef") == b"c" + bytes([ord("d") ^ 0xFF]) + b"ef"


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_connection_is_cut_after_so_many_bytes(proxy: Proxy, target: Target, how: str):
    proxy.to_target.cut_at = 5
    proxy.to_target.cut_how = "close" if how == "close" else "reset"

    async with client_of(proxy) as client:
        client.writer.write(b"0123456789")
        assert await within(target.ends.get()) == how

    assert bytes(target.heard) in (b"01234", b"")  # a reset may overtake what was sent before it


async def test_small_segments_change_nothing_but_the_packets(proxy: Proxy):
    proxy.to_client.segment_bytes = 7

    async with client_of(proxy) as client:
        assert await client.back(bytes(range(256))) == bytes(range(256))


async def test_refused_port_is_refused_and_open_connections_live_on(proxy: Proxy):
    async with client_of(proxy) as client:
        await client.back(b"x")
        proxy.refuse()

        with pytest.raises(ConnectionRefusedError):
            async with client_of(proxy):
                pass
        assert await client.back(b"y") == b"y"

    await proxy.accept()
    async with client_of(proxy) as client:
        assert await client.back(b"z") == b"z"


async def test_black_hole_neither_answers_nor_refuses(proxy: Proxy):
    proxy.black_hole()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(QUIET_S * 3):
            await asyncio.open_connection("127.0.0.1", proxy.port)

    await proxy.accept()
    async with client_of(proxy) as client:
        assert await client.back(b"z") == b"z"
