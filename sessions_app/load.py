"""Looks at the process: how late its event loop is, how many files it has open, how much memory it takes.

A stall is seen from a thread, since the loop cannot look at itself while it stands still: the thread names the
functions that hold it up, by place alone. No value of theirs is read: it may be what a patient said.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import FrameType

from sessions_app.admission import STALL_S, Load

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 0.1
LATE_S = 0.2  # a loop that is this late is asked what it does
FIGURES_EVERY_S = 1.0
MAX_FRAMES = 25  # of a stack, from the innermost
PAGE_BYTES = resource.getpagesize()


class LoadWatch:
    """Belongs to the loop in which it is made. `on_lag` is told how late the loop was, in seconds, each 0.1 s."""

    def __init__(self, *, on_lag: Callable[[float], None] = lambda lag_s: None) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_lag = on_lag
        self._seen = time.monotonic()
        self._figures_at = 0.0
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._watch, args=(threading.get_ident(),), name="load watch", daemon=True
        )
        self._timer = self._loop.call_later(LOOK_EVERY_S, self._look)
        self._stalled_at: float | None = None  # monotonic
        self._figures = figures()
        self._thread.start()

    def seen(self, load: Load) -> Load:
        """Return `load` with what is seen of the process itself."""
        ago = None if self._stalled_at is None else time.monotonic() - self._stalled_at
        open_files, max_files, resident_bytes = self._figures
        return replace(
            load, stalled_s_ago=ago, open_files=open_files, max_files=max_files, resident_bytes=resident_bytes
        )

    def close(self) -> None:
        self._timer.cancel()
        self._stopped.set()
        self._thread.join(timeout=1.0)

    def _look(self) -> None:
        now = time.monotonic()
        lag = max(0.0, now - self._seen - LOOK_EVERY_S)
        self._seen = now
        if lag >= STALL_S:
            self._stalled_at = now
        self._on_lag(lag)
        if now >= self._figures_at:
            self._figures_at = now + FIGURES_EVERY_S
            self._figures = figures()
        self._timer = self._loop.call_later(LOOK_EVERY_S, self._look)

    def _watch(self, loop_thread: int) -> None:
        told = 0.0
        while not self._stopped.wait(LOOK_EVERY_S):
            seen = self._seen
            late = time.monotonic() - seen - LOOK_EVERY_S
            if late >= LATE_S and told != seen:  # once for each stall
                told = seen
                stack = places(sys._current_frames().get(loop_thread))
                logger.warning("The event loop stands still", extra={"late_ms": round(late * 1000), "stack": stack})


def places(frame: FrameType | None) -> list[str]:
    """Return where the code is, innermost first: file, line and function, and nothing of what they hold."""
    return [
        f"{Path(one.f_code.co_filename).name}:{one.f_lineno} {one.f_code.co_qualname}"
        for one in islice(_outwards(frame), MAX_FRAMES)
    ]


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def figures() -> tuple[int, int, int]:
    """Return the open files, their limit, and the resident bytes; 0 for what this system does not tell."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _open_files(), 0 if limit == resource.RLIM_INFINITY else limit, _resident_bytes()


def _open_files() -> int:
    try:
        return len(os.listdir("/dev/fd"))
    except OSError:
        return 0


def _resident_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return 0
