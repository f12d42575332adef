"""A way out with its own order and bound: what is put is sent by one task, in order; what overflows ends the leg."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

MAX_QUEUED_BYTES = 4 * 1024 * 1024


class LegClosed(Exception):
    """The leg's last frame has been put, or too much waited: nothing more goes out."""


class Leg:
    """`put` never waits and may be called from any callback of the loop; `run` sends until `finish`."""

    def __init__(self, send: Callable[[str], Awaitable[None]], *, max_bytes: int = MAX_QUEUED_BYTES) -> None:
        self._send = send
        self._max_bytes = max_bytes
        self._queued: deque[str] = deque()
        self._bytes = 0
        self._ready = asyncio.Event()
        self.finished = False
        self.overflowed = False

    def put(self, text: str) -> None:
        """Send this after all that was put before. A leg that cannot keep up is finished: see `overflowed`."""
        if self.finished:
            return
        if self._bytes + len(text) > self._max_bytes:
            self.overflowed = True
            self.finish()
            return
        self._queued.append(text)
        self._bytes += len(text)
        self._ready.set()

    def finish(self) -> None:
        """Nothing more will be put; `run` returns once the rest is sent, or at once after an overflow."""
        self.finished = True
        self._ready.set()

    async def run(self) -> None:
        while True:
            while self._queued:
                if self.overflowed:
                    return
                text = self._queued.popleft()
                self._bytes -= len(text)
                await self._send(text)
            if self.finished:
                return
            self._ready.clear()
            await self._ready.wait()

    def drain(self) -> list[str]:
        """Return what waits, and keep nothing of it: another leg takes over."""
        queued, self._bytes = list(self._queued), 0
        self._queued.clear()
        return queued
