"""A TCP proxy on loopback that goes wrong when it is told to, while connections live.

It knows no protocol: put it between caller and server, server and upstream, server and PostgreSQL or Redis.

    async with running_proxy(standin.port, port=server.upstream_port) as proxy:
        proxy.to_client.stall()          # TCP stays open, nothing more comes from upstream
        proxy.to_client.resume()
        proxy.to_target.bytes_per_s = 8_000
        proxy.drop()                     # half-open: nothing passes, and nobody is told
        proxy.reset()                    # RST to both sides of every connection
        proxy.refuse()                   # the port is closed: connection refused; `accept()` opens it again
        proxy.black_hole()               # a connection is neither answered nor refused

`to_target` is what the connecting side says, `to_client` what it hears. A change acts on open connections and on
later ones. Little is kept inside (`BUFFER_BYTES` a socket), so that what is stalled is felt at once at the other end.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable
from typing import Literal

HOST = "127.0.0.1"
CHUNK_BYTES = 16 * 1024
BUFFER_BYTES = 64 * 1024  # of the kernel's, for each socket and direction
MAX_DELAYED_BYTES = 4 * 1024 * 1024  # on their way, when there is latency
CONNECT_S = 5.0
RATE_STEP_S = 0.02
_RST = struct.pack("ii", 1, 0)  # SO_LINGER: do not linger

End = Literal["close", "reset"]


class Line:
    """One direction of every connection. Attributes may be set at any time."""

    def __init__(self) -> None:
        self.latency_s = 0.0
        self.bytes_per_s: float | None = None
        self.segment_bytes: int | None = None
        """Each write is at most this long, and a packet of its own."""
        self.corrupt_at: int | None = None
        """The byte at this place of each connection's stream has its bits turned over."""
        self.cut_at: int | None = None
        """After this many bytes the connection ends, as `cut_how` says."""
        self.cut_how: End = "reset"
        self.dropping = False
        """What comes is read and thrown away, the end of the stream too."""
        self._open = asyncio.Event()
        self._open.set()

    def stall(self) -> None:
        """Forward nothing more and read nothing more; TCP stays open, and its buffers fill."""
        self._open.clear()

    def resume(self) -> None:
        self._open.set()

    @property
    def stalled(self) -> bool:
        return not self._open.is_set()

    async def gate(self) -> None:
        await self._open.wait()


class Connection:
    """One accepted connection and its other half."""

    def __init__(self, proxy: Proxy, client: Pipe, target: Pipe) -> None:
        self._client, self._target = client, target
        self.to_target = Pump(proxy.to_target, client, target, self.end)
        self.to_client = Pump(proxy.to_client, target, client, self.end)

    async def run(self) -> None:
        try:
            await asyncio.gather(self.to_target.run(), self.to_client.run())
        finally:
            self.end("close")

    def end(self, how: End) -> None:
        """End both sides: with FIN, or with RST."""
        for pipe in (self._client, self._target):
            pipe.end(how)


class Pipe:
    """One socket's reader and writer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        writer.transport.set_write_buffer_limits(high=CHUNK_BYTES)
        _socket_of(writer).setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def end(self, how: End) -> None:
        if how == "reset" and not self.writer.transport.is_closing():
            _socket_of(self.writer).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
            self.writer.transport.abort()
        self.writer.close()


class Pump:
    """Carries one direction of one connection; `seen` and `forwarded` are its bytes."""

    def __init__(self, line: Line, source: Pipe, sink: Pipe, end: Callable[[End], None]) -> None:
        self._line, self._source, self._sink, self._end = line, source, sink, end
        self._delayed: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        self._delayed_bytes = 0
        self._taken = asyncio.Event()
        self.seen = self.forwarded = 0
        self.source_ended = asyncio.Event()
        """The side that this direction comes from has gone, whether or not the other was told."""

    async def run(self) -> None:
        with contextlib.suppress(OSError):  # a side that has gone: the other is told below, unless it is dropped
            await asyncio.gather(self._read(), self._write())

    async def _read(self) -> None:
        while True:
            await self._line.gate()
            data = await self._source_bytes()
            due = asyncio.get_running_loop().time() + self._line.latency_s
            self.seen += len(data)
            if not self._line.dropping:
                self._delayed_bytes += len(data)
                self._delayed.put_nowait((due, data))
            if not data:
                self.source_ended.set()
                return
            while self._delayed_bytes > (MAX_DELAYED_BYTES if self._line.latency_s else 0):
                self._taken.clear()
                await self._taken.wait()

    async def _source_bytes(self) -> bytes:
        try:
            return await self._source.reader.read(CHUNK_BYTES)
        except OSError:
            if not self._line.dropping:
                self._end("reset")
            return b""

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, data = await self._delayed.get()
            if (wait_s := due - loop.time()) > 0:
                await asyncio.sleep(wait_s)
            await self._line.gate()
            if not data:
                if not self._line.dropping and self._sink.writer.can_write_eof():
                    self._sink.writer.write_eof()
                return
            await self._forward(data)
            self._delayed_bytes -= len(data)
            self._taken.set()

    async def _forward(self, data: bytes) -> None:
        view = self._corrupted(data)
        while view:
            await self._line.gate()
            if self._line.dropping:
                return
            piece = view[: self._step()]
            if (cut := self._line.cut_at) is not None and self.forwarded + len(piece) >= cut:
                piece = piece[: max(0, cut - self.forwarded)]
                await self._put(piece)
                self._end(self._line.cut_how)
                return
            await self._put(piece)
            if rate := self._line.bytes_per_s:
                await asyncio.sleep(len(piece) / rate)
            view = view[len(piece) :]

    def _step(self) -> int:
        steps = [CHUNK_BYTES]
        if self._line.segment_bytes:
            steps.append(self._line.segment_bytes)
        if rate := self._line.bytes_per_s:
            steps.append(max(1, int(rate * RATE_STEP_S)))
        return min(steps)

    def _corrupted(self, data: bytes) -> bytes:
        at = self._line.corrupt_at
        if at is None or not self.forwarded <= at < self.forwarded + len(data):
            return data
        place = at - self.forwarded
        return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]

    async def _put(self, piece: bytes) -> None:
        self._sink.writer.write(piece)
        self.forwarded += len(piece)
        await self._sink.writer.drain()
        if self._line.segment_bytes:
            await asyncio.sleep(0)  # or the loop would send several as one


class Proxy:
    """Accepts on `port` of loopback and forwards to `target_port`."""

    def __init__(self, target_port: int, *, port: int = 0, buffer_bytes: int = BUFFER_BYTES) -> None:
        self._buffer_bytes = buffer_bytes
        self.to_target, self.to_client = Line(), Line()
        self.connections: list[Connection] = []
        self.accepted = 0
        self._target_port = target_port
        # Bound and never listening: the port stays ours while connections to it are refused.
        self._reserved = _bound(port, buffer_bytes)
        self.port: int = self._reserved.getsockname()[1]
        self._server: asyncio.Server | None = None
        self._hole: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def accept(self) -> None:
        """Take connections, as at the start."""
        self.refuse()
        listener = _bound(self.port, self._buffer_bytes)
        listener.listen(128)
        self._server = await asyncio.start_server(self._serve, sock=listener, limit=self._buffer_bytes)

    def refuse(self) -> None:
        """Close the port: new connections are refused. Those that are open live on."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for one in self._hole:
            one.close()
        self._hole.clear()

    def black_hole(self) -> None:
        """Answer nobody: a new connection is neither accepted nor refused. Those that are open live on."""
        self.refuse()
        listener = _bound(self.port, self._buffer_bytes)
        listener.listen(0)
        self._hole.append(listener)
        # A queue of none still holds one or two; once it is full, Linux drops whoever knocks.
        for _ in range(3):
            knocking = socket.socket()
            knocking.setblocking(False)
            knocking.connect_ex((HOST, self.port))
            self._hole.append(knocking)

    def stall(self) -> None:
        self.to_target.stall()
        self.to_client.stall()

    def resume(self) -> None:
        self.to_target.resume()
        self.to_client.resume()

    def drop(self) -> None:
        """Let nothing pass, either way, and tell nobody: the connection is half-open for both."""
        self.to_target.dropping = self.to_client.dropping = True

    def restore(self) -> None:
        """Let pass again what comes from now on."""
        self.to_target.dropping = self.to_client.dropping = False
        self.resume()

    def reset(self) -> None:
        """RST, to both sides of every open connection."""
        self._end_all("reset")

    def close(self) -> None:
        """FIN, to both sides of every open connection."""
        self._end_all("close")

    def _end_all(self, how: End) -> None:
        for connection in list(self.connections):
            connection.end(how)

    async def aclose(self) -> None:
        self.refuse()
        self._end_all("reset")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._reserved.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        client = Pipe(reader, writer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            target = await _connected(self._target_port, self._buffer_bytes)
        except OSError:
            client.end("reset")
            return
        finally:
            self._tasks.discard(task)
        connection = Connection(self, client, target)
        self.connections.append(connection)
        self._tasks.add(task)
        try:
            await connection.run()
        except asyncio.CancelledError:
            connection.end("reset")  # the proxy ends; asyncio would log what was cancelled
        finally:
            self._tasks.discard(task)
            self.connections.remove(connection)


@contextlib.asynccontextmanager
async def running_proxy(target_port: int, *, port: int = 0, buffer_bytes: int = BUFFER_BYTES) -> AsyncIterator[Proxy]:
    """Run a proxy in this process, on a free port of loopback unless one is given."""
    proxy = Proxy(target_port, port=port, buffer_bytes=buffer_bytes)
    await proxy.accept()
    try:
        yield proxy
    finally:
        await proxy.aclose()


async def _connected(port: int, buffer_bytes: int) -> Pipe:
    raw = socket.socket()
    raw.setblocking(False)
    _small_buffers(raw, buffer_bytes)
    try:
        async with asyncio.timeout(CONNECT_S):
            await asyncio.get_running_loop().sock_connect(raw, (HOST, port))
        return Pipe(*await asyncio.open_connection(sock=raw, limit=buffer_bytes))
    except BaseException:
        raw.close()
        raise


def _bound(port: int, buffer_bytes: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _small_buffers(bound, buffer_bytes)  # those of what it accepts
    bound.bind((HOST, port))
    return bound


def _small_buffers(one: socket.socket, buffer_bytes: int) -> None:
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        one.setsockopt(socket.SOL_SOCKET, option, buffer_bytes)


def _socket_of(writer: asyncio.StreamWriter) -> socket.socket:
    found: socket.socket = writer.get_extra_info("socket")
    return found
