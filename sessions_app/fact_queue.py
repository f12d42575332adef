"""Holds facts in memory between the calls and the recorder's thread, bounded by their number and their size."""

from __future__ import annotations

import threading
import time
from collections import deque
from uuid import UUID

from sessions_app.effects import CallEnded, Fact, ItemSaved
from sessions_app.journal_format import Entry

FACT_BYTES = 1000  # about what a fact takes in memory, without an item's text


class FactQueue:
    """Filled by whoever carries calls, emptied by one thread. It never makes whoever fills it wait."""

    def __init__(self, max_facts: int, max_bytes: int) -> None:
        self._max_facts, self._max_bytes = max_facts, max_bytes
        self._waiting: deque[Entry | threading.Event] = deque()
        self._facts = self._bytes = self._revision = 0
        self._changed = threading.Condition()
        self._wanted = 1  # the thread that empties it need not be woken before so many wait
        self.closing = False
        self.dropped = 0

    def __len__(self) -> int:
        return self._facts

    @property
    def pressed(self) -> bool:
        """Half of the room is taken."""
        return self._facts * 2 > self._max_facts or self._bytes * 2 > self._max_bytes

    def put(self, session_id: UUID, fact: Fact) -> bool:
        """Take a fact; False, and it counts as dropped, when there is no room. A call's last fact always has some."""
        size = _size(fact)
        with self._changed:
            full = self._facts >= self._max_facts or self._bytes + size > self._max_bytes
            if full and not isinstance(fact, CallEnded):
                self.dropped += 1
                return False
            # The wall clock's microseconds, but never back: later facts of one process have higher revisions, and
            # so have those of the process that goes on with a call.
            self._revision = max(self._revision + 1, time.time_ns() // 1000)
            self._waiting.append(Entry(session_id, fact, self._revision))
            self._facts, self._bytes = self._facts + 1, self._bytes + size
            if len(self._waiting) >= self._wanted:
                self._changed.notify()
            return True

    def mark(self) -> threading.Event:
        """Return what is to be set once all that was put before is safe."""
        mark = threading.Event()
        with self._changed:
            self._waiting.append(mark)
            self._changed.notify()
        return mark

    def take(self, count: int, within_s: float) -> tuple[list[Entry], list[threading.Event]]:
        """Wait for facts; return at most `count`, or what comes within `within_s` of the first, and the marks behind.

        Neither, when the queue is closed and empty.
        """
        with self._changed:
            self._wait_for(1, None)
            until = time.monotonic() + within_s
            while self._gathering(count) and (left := until - time.monotonic()) > 0:
                self._wait_for(count, left)
            return self._pop(count)

    def close(self) -> None:
        """Nothing more will come: what waits is taken without delay."""
        with self._changed:
            self.closing = True
            self._changed.notify()

    def _gathering(self, count: int) -> bool:
        return not self.closing and self._facts < count and self._facts == len(self._waiting)

    def _wait_for(self, count: int, timeout_s: float | None) -> None:
        self._wanted = count
        while len(self._waiting) < count and not self.closing:
            if not self._changed.wait(timeout_s) or self._facts < len(self._waiting):
                return

    def _pop(self, count: int) -> tuple[list[Entry], list[threading.Event]]:
        entries: list[Entry] = []
        marks: list[threading.Event] = []
        while self._waiting and (len(entries) < count or isinstance(self._waiting[0], threading.Event)):
            first = self._waiting.popleft()
            if isinstance(first, threading.Event):
                marks.append(first)
            elif marks:
                self._waiting.appendleft(first)
                break
            else:
                entries.append(first)
                self._facts, self._bytes = self._facts - 1, self._bytes - _size(first.fact)
        return entries, marks


def _size(fact: Fact) -> int:
    return FACT_BYTES + (4 * len(fact.text) if isinstance(fact, ItemSaved) and fact.text else 0)
