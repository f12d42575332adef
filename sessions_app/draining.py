"""How a process lets its calls go: first to their own end, then with a goodbye, then at once. Owns the waits alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

WRAP_UP_S = 30.0  # before the limit, each call is told to come to its end
STOP_S = 3.0  # for calls that were ended to let go
CANCEL_S = 2.0  # for what does not
AGAIN_S = 0.1  # a call may begin that was being opened when the drain began

Tasks = Collection[asyncio.Task[Any]]


class Drain:
    """`tasks` are the calls and sockets that are left; `wrap_up` and `stop` tell the calls."""

    def __init__(self, *, tasks: Callable[[], Tasks], wrap_up: Callable[[], None], stop: Callable[[], None]) -> None:
        self._tasks, self._wrap_up, self._stop = tasks, wrap_up, stop
        self._hurried = asyncio.Event()
        self._cancelled: set[asyncio.Task[Any]] = set()

    def hurry(self) -> None:
        """End the calls now, whatever time they had left."""
        self._hurried.set()

    async def run(self, within_s: float) -> int:
        """Return how many tasks had to be cancelled, at most `within_s` and a few seconds from now."""
        await self._wait(within_s - WRAP_UP_S)
        if not self._hurried.is_set():
            self._wrap_up()
            await self._wait(min(within_s, WRAP_UP_S))
        await self._end(self._stop, STOP_S)
        left = list(self._tasks())
        await self._end(self._cancel, CANCEL_S)
        return len(left)

    def _cancel(self) -> None:
        """Each task once: a second time would cancel what it puts right at its end."""
        for task in set(self._tasks()) - self._cancelled:
            self._cancelled.add(task)
            task.cancel()

    async def _wait(self, seconds: float) -> None:
        """Wait until no task is left, time is up, or there is hurry."""
        hurried = asyncio.ensure_future(self._hurried.wait())
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                while (tasks := self._tasks()) and not hurried.done():
                    await asyncio.wait([*tasks, hurried], return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()

    async def _end(self, how: Callable[[], object], seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while tasks := self._tasks():
                    how()
                    await asyncio.wait(tasks, timeout=AGAIN_S)
