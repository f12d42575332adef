"""The two servers, told to serve one listening socket until the calls have been let go. Knows nothing of settings.

Neither server drains by itself: on SIGTERM uvicorn closes all sockets within 0.1 s, and Daphne drops them. So the
signals are ours. The first lets the calls end, the second ends them now; only then is the server told to stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Protocol

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from websockets.exceptions import InvalidState

from config.sound_socket import SoundSocket

try:
    import uvloop
except ImportError:  # not on Windows
    new_event_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
else:
    new_event_loop = uvloop.new_event_loop

# A message is at most 64 KiB. One that is somewhat larger still reaches the call, which says what was wrong with it;
# beyond this the server drops the socket, so that nobody fills our memory.
MAX_MESSAGE_BYTES = 128 * 1024
PING_EVERY_S, PING_TIMEOUT_S = 5, 10  # a peer that is dead is gone after 15 s
REQUEST_S = 10.0  # for a request to arrive, headers and body
STANDSTILL_S = 15.0  # a peer that takes nothing of what was sent, for this long, is gone
LAST_WORDS_S = 30.0  # for what was sent before the end of a call, and the close, to arrive
SEND_BUFFER_BYTES = 256 * 1024  # of the kernel's, for each socket: some 5 s of sound; what lies there is past recall
STOP_S = 3  # for requests in progress, once the calls are over

Application = Callable[..., Awaitable[None]]


class Lifetime(Protocol):
    """What a server does besides serving. All of it runs in the event loop."""

    def begin(self) -> None: ...
    async def drain(self) -> None: ...
    def hurry(self) -> None: ...


class Signals:
    """SIGTERM and SIGINT: the first begins the drain, each next one hurries it; then `stop` is called."""

    def __init__(self, lifetime: Lifetime, stop: Callable[[], None]) -> None:
        self._lifetime, self._stop = lifetime, stop
        self._draining: asyncio.Task[None] | None = None

    def install(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._arrived)
        self._lifetime.begin()

    def _arrived(self) -> None:
        if self._draining is None:
            self._draining = asyncio.get_running_loop().create_task(self._drain())
        else:
            self._lifetime.hurry()

    async def _drain(self) -> None:
        try:
            await self._lifetime.drain()
        finally:
            self._stop()


class _BoundedSocket(SoundSocket):
    """uvicorn waits for ever for a peer to take what was written, even to close on it after a missed ping.

    Measured with a caller that stopped reading: its socket, and the consumer that was to close it, were there for good.
    """

    _standstill: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._standstill = self.loop.call_later(STANDSTILL_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._standstill is not None:
            self._standstill.cancel()

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self.transport.abort()

    def shutdown(self) -> None:
        try:
            super().shutdown()
        except InvalidState:  # it is closing already: uvicorn does not look
            self.transport.close()

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        super().on_task_complete(task)
        self.loop.call_later(LAST_WORDS_S, self.transport.abort)


def serve_uvicorn(application: Application, listener: socket.socket, lifetime: Lifetime) -> None:
    """Serve until the drain is over."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    config = uvicorn.Config(
        application,
        http=BoundedHttp,
        ws=_BoundedSocket,
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_ping_interval=PING_EVERY_S,
        ws_ping_timeout=PING_TIMEOUT_S,
        ws_per_message_deflate=False,  # a small frame could unpack to a large one; and sound does not shrink
        lifespan="off",
        proxy_headers=False,  # how many proxies are believed is the application's to say
        server_header=False,
        log_config=None,
        log_level="warning",  # at info each socket's query string is written
        access_log=False,
        timeout_graceful_shutdown=STOP_S,
    )
    # Not asyncio.run: that waits for the loop's threads, and one may hang in a database that is away.
    loop = new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(_DrainingUvicorn(config, lifetime).serve(sockets=[listener]))


class _DrainingUvicorn(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, lifetime: Lifetime) -> None:
        super().__init__(config)
        self._signals = Signals(lifetime, self._stop)

    def _stop(self) -> None:
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        self._signals.install()
        yield


class BoundedHttp(H11Protocol):
    """uvicorn waits for ever for the rest of a request: 100 slow ones would hold 100 of our files."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        waiting = self.conn.their_state in (h11.IDLE, h11.SEND_BODY)
        if not waiting or self.transport.get_protocol() is not self:  # a socket now, and no longer ours
            self._arrived()
        elif self._patience is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrived()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._patience = self.loop.call_later(REQUEST_S, self.transport.abort)

    def _arrived(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


# By name: a process of one kind does without the other's modules, and Daphne's take 20 MiB.
SERVERS = {"uvicorn": "config.serving.serve_uvicorn", "daphne": "config.serving_daphne.serve_daphne"}
Serve = Callable[[Application, socket.socket, Lifetime], None]
