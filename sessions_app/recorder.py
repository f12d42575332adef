"""Takes what happens in calls, and sees to it that it is stored: in the database, or meanwhile in the journal.

Owns the queue, the batches and the choice between the two. A call never waits for it. What `flush` has answered with
True survives the process: it is committed, or synced to the disk.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path
from uuid import UUID

from django.conf import settings

from sessions_app.effects import Fact
from sessions_app.fact_queue import FactQueue
from sessions_app.fact_rows import storable_fields
from sessions_app.fact_writer import Batch, FactWriter
from sessions_app.journal import JOURNAL_DIRECTORY, Journal, Quarantine
from sessions_app.journal_format import Entry, pack_facts

logger = logging.getLogger(__name__)

QUEUE_FACTS = 50_000
QUEUE_BYTES = 64 << 20
BATCH_FACTS = 200
BATCH_S = 0.1
PATIENCE_S = 2.0  # for the database; then the journal has the batch
PATIENCE_CLOSING_S = 0.5
JOURNAL_RETRY_S = 1.0
DRAIN_STEP_S = 0.02
CLOSE_S = 30.0
CLOSE_WRITER_S = 2.0


@dataclass(frozen=True)
class RecorderHealth:
    """How the recorder fares. Calls go on whatever it says; whether new ones may begin is for others to judge."""

    trouble_s: float  # for how long the database has not taken what it was given
    waiting_facts: int  # in memory: neither committed nor synced
    journal_bytes: int  # synced, and not yet in the database
    journal_refuses: bool  # the disk is full or read-only, or the journal has reached its bound
    dropped: int  # facts lost since the process began: they found no room, or nothing would take them
    set_aside: int  # facts that the database refuses, kept for people to look at

    @property
    def late_s(self) -> float:
        """How long what happens has not been stored as it should; without end when no journal takes it either."""
        return inf if self.journal_refuses else self.trouble_s


class Recorder:
    """One of these per process. `on_ended` is called on the writer's thread when a call's last fact is stored."""

    def __init__(
        self,
        *,
        on_ended: Callable[[UUID], None] | None = None,
        queue_facts: int = QUEUE_FACTS,
        queue_bytes: int = QUEUE_BYTES,
        directory: Path | None = None,
        journal: Journal | None = None,
    ) -> None:
        directory = directory or settings.DATA_DIR / JOURNAL_DIRECTORY
        self._queue = FactQueue(queue_facts, queue_bytes)
        self._journal = journal or Journal(directory)
        self._writer = FactWriter(self._journal, Quarantine(directory), on_ended)
        self._journal_refuses = False
        self._unwritable = 0
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def put(self, session_id: UUID, fact: Fact) -> bool:
        """Take a fact. Never waits: False when it found no room in memory, and is counted as dropped."""
        return self._queue.put(session_id, fact)

    def flush(self, timeout_s: float = 30.0) -> bool:
        """Wait until all that was taken before will survive the process. Blocks: not for the event loop."""
        return self._queue.mark().wait(timeout_s)

    def drain(self, timeout_s: float = 30.0) -> bool:
        """Wait until all that was taken before is in the database. Blocks: not for the event loop."""
        until = time.monotonic() + timeout_s
        if not self.flush(timeout_s):
            return False
        while self._journal.waiting_bytes:
            if time.monotonic() >= until or self._given_up.wait(DRAIN_STEP_S):
                return False
        return True

    @property
    def dropped(self) -> int:
        return self._queue.dropped + self._unwritable + self._writer.lost

    def health(self) -> RecorderHealth:
        return RecorderHealth(
            trouble_s=self._writer.trouble_s,
            waiting_facts=len(self._queue),
            journal_bytes=self._journal.waiting_bytes,
            journal_refuses=self._journal_refuses,
            dropped=self.dropped,
            set_aside=self._writer.set_aside,
        )

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Store what is there, and stop. What the database has not taken by then is left in the journal."""
        until = time.monotonic() + timeout_s
        self._queue.close()
        self._thread.join(timeout=timeout_s)
        while self._journal.waiting_bytes and self._writer.trouble_s < PATIENCE_S and time.monotonic() < until:
            time.sleep(DRAIN_STEP_S)
        self._given_up.set()
        self._writer.close(min(CLOSE_WRITER_S, max(0.0, until - time.monotonic())))
        self._journal.close()

    def _run(self) -> None:
        while not self._given_up.is_set():
            entries, marks = self._queue.take(BATCH_FACTS, BATCH_S)
            if entries:
                self._keep(entries)
            for mark in marks:
                mark.set()
            if not entries and not marks:  # closed, and empty
                return

    def _keep(self, entries: list[Entry]) -> None:
        """Return once the facts will survive the process, or are given up."""
        batch: Batch | None = None
        packed: bytes | None = None
        patience_s = self._patience_s()
        while not self._given_up.is_set():
            if batch is None and not self._journal.waiting_bytes:  # facts do not overtake those that wait there
                batch = self._writer.begin(entries)
            if batch is not None and self._stored(batch, patience_s):
                self._journal_refuses = False  # it is not asked while the database takes what there is
                return
            packed = self._packed(entries) if packed is None else packed
            if not packed or self._journalled(packed):
                break
            patience_s = JOURNAL_RETRY_S
            if batch is None:
                self._given_up.wait(JOURNAL_RETRY_S)
        if batch is not None:
            batch.abandoned = True

    def _patience_s(self) -> float:
        return PATIENCE_CLOSING_S if self._queue.closing else PATIENCE_S

    def _stored(self, batch: Batch, timeout_s: float) -> bool:
        """Whether the database takes the batch in time; while much waits behind it there is none."""
        until = time.monotonic() + timeout_s
        while not batch.stored.wait(min(BATCH_S, max(0.0, until - time.monotonic()))):
            if time.monotonic() >= until or self._queue.pressed or self._given_up.is_set():
                return False
        return True

    def _journalled(self, packed: bytes) -> bool:
        try:
            self._journal.append(packed)
        except OSError as error:
            if not self._journal_refuses:
                logger.error("The journal takes nothing", extra={"error": type(error).__name__})
            self._journal_refuses = True
            return False
        self._journal_refuses = False
        return True

    def _packed(self, entries: list[Entry]) -> bytes:
        """Return the facts as the journal keeps them; one that no file could hold does not cost the others."""
        try:
            return _pack(entries)
        except Exception:
            good = [entry for entry in entries if self._packable(entry)]
            return _pack(good) if good else b""

    def _packable(self, entry: Entry) -> bool:
        try:
            _pack([entry])
        except Exception as error:  # the text of it may be patient data
            self._unwritable += 1
            about = {"call": str(entry.session_id), "fact": type(entry.fact).__name__, "error": type(error).__name__}
            logger.error("A fact could not be kept", extra=about)
            return False
        return True


def _pack(entries: list[Entry]) -> bytes:
    return pack_facts([(entry, storable_fields(entry.fact)) for entry in entries])
