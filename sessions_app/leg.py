"""A way out with its own order and bounds: what is put is sent in order, at once where the socket takes it at once.

Otherwise one task sends it.

Sound that has waited too long is worth nothing: it is dropped, the oldest first, and the rest keeps its order. Anything
else that overflows ends the leg.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

MAX_QUEUED_BYTES = 4 * 1024 * 1024


class Leg:
    """`put` never waits and may be called from any callback of the loop; `run` sends until `finish`."""

    def __init__(
        self,
        send: Callable[[str], Awaitable[None]],
        *,
        try_send: Callable[[str], bool] = lambda text: False,
        max_bytes: int = MAX_QUEUED_BYTES,
        max_sound_wait_s: float = float("inf"),
    ) -> None:
        """`try_send` sends what needs no waiting, and says whether it did: most frames then wake no task.

        What it could not send is given to `send`, before anything else.
        """
        self._send, self._try_send = send, try_send
        self._idle = False  # `run` waits, and nothing else does
        self._max_bytes, self._max_sound_wait_s = max_bytes, max_sound_wait_s
        self._queued: deque[tuple[str, int]] = deque()  # each with how many bytes of sound it holds
        self._sound_since: deque[float] = deque()  # when each of those that hold sound was put
        self._bytes = 0
        self.sound_bytes = 0  # that wait
        self._ready = asyncio.Event()
        self.finished = False
        self.overflowed = False

    def put(self, text: str) -> None:
        """Send this after all that was put before. A leg that cannot keep up is finished: see `overflowed`."""
        if self.finished or (self._idle and self._try_send(text)):
            return
        self._queue(text, 0)

    def put_sound(self, text: str, sound_bytes: int, *, now: float) -> int:
        """Send this frame of so many bytes of sound. Return how many bytes were dropped that had waited too long.

        `now` is in seconds of one monotonic clock. How long and not how much: a burst that upstream takes at once is
        no sign of a slow one.
        """
        if self.finished or (self._idle and self._try_send(text)):
            return 0
        dropped = 0
        while self._sound_since and now - self._sound_since[0] > self._max_sound_wait_s:
            dropped += self._drop_oldest_sound()
        self._sound_since.append(now)
        self._queue(text, sound_bytes)
        return dropped

    def _drop_oldest_sound(self) -> int:
        place = next(place for place, (_, sound) in enumerate(self._queued) if sound)
        text, sound = self._queued[place]
        del self._queued[place]
        self._taken(text, sound)
        return sound

    def _taken(self, text: str, sound_bytes: int) -> None:
        self._bytes -= len(text)
        if sound_bytes:
            self.sound_bytes -= sound_bytes
            self._sound_since.popleft()

    def _queue(self, text: str, sound_bytes: int) -> None:
        if self._bytes + len(text) > self._max_bytes:
            self.overflowed = True
            self.finish()
            return
        self._idle = False
        self._queued.append((text, sound_bytes))
        self._bytes += len(text)
        self.sound_bytes += sound_bytes
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
                text, sound_bytes = self._queued.popleft()
                self._taken(text, sound_bytes)
                await self._send(text)
            if self.finished:
                return
            self._idle = True
            self._ready.clear()
            await self._ready.wait()

    def drain(self) -> list[str]:
        """Return what waits, and keep nothing of it: another leg takes over."""
        queued, self._bytes, self.sound_bytes = [text for text, _ in self._queued], 0, 0
        self._queued.clear()
        self._sound_since.clear()
        return queued
