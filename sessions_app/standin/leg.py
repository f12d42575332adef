"""One socket's way out: events in order, each fault of the wire struck on the way. Knows no ASGI."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Protocol

from sessions_app.standin.faults import Faults
from sessions_app.standin.wire import Json, new_id

QUEUE_HIGH_WATER = 256
"""Generation waits while more events than this wait for the socket."""

NOT_JSON = '{"type": "response.output_text.delta", "delta": '
DROPPED = 1006


class Socket(Protocol):
    async def send_text(self, text: str) -> None: ...

    async def close(self, code: int, reason: str) -> None: ...

    def drop(self) -> None: ...


class Leg:
    """A queue of events for one socket, and the task that empties it."""

    def __init__(self, socket: Socket, faults: Faults, *, hears_audio: bool = True) -> None:
        self.hears_audio = hears_audio
        self._socket = socket
        self._faults = faults
        self._queue: asyncio.Queue[str | tuple[int, str]] = asyncio.Queue()
        self._room = asyncio.Event()
        self._room.set()
        self._sent = 0

    def put(self, event: Json) -> None:
        """Queue an event as it is now: what happens to its parts later does not change it."""
        if not self.hears_audio and event["type"] == "response.output_audio.delta":
            return
        self._put(json.dumps(event))

    def put_noise(self) -> None:
        """Queue the frames that the faults ask for before a response."""
        if self._faults.malformed_frame:
            self._put(NOT_JSON)
        if self._faults.unknown_event:
            self._put(json.dumps({"type": "response.mood.changed", "event_id": new_id("event"), "mood": "cheerful"}))

    def close(self, code: int, reason: str = "") -> None:
        """Close the socket when what is queued before has been sent."""
        self._queue.put_nowait((code, reason))

    async def room(self) -> None:
        await self._room.wait()

    async def write(self) -> None:
        """Send until the socket is closed."""
        while True:
            entry = await self._queue.get()
            if self._queue.qsize() < QUEUE_HIGH_WATER:
                self._room.set()
            if isinstance(entry, tuple):
                await self._socket.close(*entry)
                return
            if self._faults.delay_ms:
                await asyncio.sleep(self._faults.delay_ms / 1000)
            await self._socket.send_text(entry)
            self._sent += 1
            limit = self._faults.close_after_events
            if limit is not None and self._sent >= limit and self._faults.strikes("close"):
                await self._end(self._faults.close_code)
                return

    def _put(self, text: str) -> None:
        self._queue.put_nowait(text)
        if self._queue.qsize() >= QUEUE_HIGH_WATER:
            self._room.clear()

    async def _end(self, code: int) -> None:
        if code == DROPPED:
            self._socket.drop()
        else:
            await self._socket.close(code, "fault")


Emit = Callable[..., None]
"""Send an event to everyone on the session: `emit(type, **fields)`."""

Room = Callable[[], Awaitable[None]]
