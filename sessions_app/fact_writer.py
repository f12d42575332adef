"""Writes batches of facts to the database, on a thread that may hang with it, over a connection beside the pool.

Owns the retries, the replay of journals and what is done with a fact that the database refuses. Whoever hands a batch
over need not wait for it: given up by `abandon`, it comes again from the journal.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, DatabaseError, InterfaceError, InternalError, OperationalError, connections

from sessions_app.effects import CallEnded
from sessions_app.fact_rows import storable_fields, store, takes_writes
from sessions_app.journal import Journal, JournalFile, Quarantine
from sessions_app.journal_format import Entry, JournalUnreadable, pack_facts

logger = logging.getLogger(__name__)

RETRY_S = 0.5
ORPHANS_EVERY_S = 60.0
REPLAY_FACTS = 400  # in one transaction
REPLAY_REST = 0.25  # of the time that one took: then the calls' sound has the interpreter
MAX_TRIES = 40  # of one batch, while the database takes other writes: then it is parted to find what it is about
# The connection's own limits: what hangs longer is tried again. The journal has it meanwhile.
POSTGRESQL_OPTIONS: dict[str, Any] = {
    "connect_timeout": 3,
    "options": "-c statement_timeout=10000 -c lock_timeout=5000",
}
SQLITE_OPTIONS: dict[str, Any] = {"timeout": 5}
_AWAY = (OperationalError, InterfaceError, InternalError)


class DatabaseAway(Exception):
    """The database takes nothing at present."""


class Batch:
    """Facts on their way to the database. What has been stored, or set aside, is no longer in `parts`."""

    def __init__(self, entries: list[Entry]) -> None:
        self.parts = [entries]  # the last comes first
        self.stored = threading.Event()
        self.abandoned = False


class FactWriter:
    """One thread, begun at once. `on_ended` is called on it when a call's last fact is stored."""

    def __init__(self, journal: Journal, quarantine: Quarantine, on_ended: Callable[[UUID], None] | None) -> None:
        self._journal, self._quarantine, self._on_ended = journal, quarantine, on_ended
        self._batches: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._connection = OwnConnection()
        self._since: float | None = None  # when it began to try what is not stored yet
        self._tries = 0
        self._refused: set[tuple[UUID, int]] = set()
        self._orphan: JournalFile | None = None
        self._orphans = journal.orphans()
        self._orphans_due = 0.0
        self.set_aside = 0
        self.lost = 0  # refused by the database, and by the quarantine too
        self._thread = threading.Thread(target=self._run, name="fact-writer", daemon=True)
        self._thread.start()

    def begin(self, entries: list[Entry]) -> Batch:
        """Have the facts stored; `stored` of what is returned says when. One batch at a time."""
        batch = Batch(entries)
        self._batches.put(batch)
        return batch

    @property
    def trouble_s(self) -> float:
        """For how long the database has not taken what it was given; 0.0 when it has."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def close(self, timeout_s: float) -> None:
        """End the thread, unless it hangs with the database. What waits in the journal is left there."""
        self._stopped.set()
        self._batches.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while not self._stopped.is_set() and self._step():
                pass
        finally:
            self._connection.drop()
            if self._orphan is not None:
                self._journal.let_go(self._orphan)

    def _step(self) -> bool:
        """Store the next batch, then of the journals what there is time for. False: there will be no batch more."""
        try:
            batch = self._batches.get(timeout=RETRY_S)
        except queue.Empty:
            self._replay()
            return True
        if batch is None:
            return False
        self._store_batch(batch)
        if batch.stored.is_set():
            self._replay()
        return True

    def _store_batch(self, batch: Batch) -> None:
        while not (batch.abandoned or self._stopped.is_set()):
            try:
                self._store(batch)
            except DatabaseAway:
                self._stopped.wait(RETRY_S)
            else:
                batch.stored.set()
                return

    # One batch.

    def _store(self, batch: Batch) -> None:
        """Store what is left of the batch, each fact that is refused set aside. Raises DatabaseAway."""
        while batch.parts:
            part = [entry for entry in batch.parts[-1] if (entry.session_id, entry.revision) not in self._refused]
            stored = self._try(part)
            batch.parts.pop()
            if stored:
                self._tell_ended(part)
            elif len(part) == 1:
                self._set_aside(part[0])
            else:
                half = len(part) // 2
                batch.parts += [part[half:], part[:half]]
        self._tries = 0  # not after half of it: the other one may hold the fact that is looked for

    def _try(self, entries: list[Entry]) -> bool:
        """Whether the facts were stored, all of them; if not, it is because of one. Raises DatabaseAway."""
        self._since = self._since or time.monotonic()
        try:
            self._connection.open()
            store(entries)
        except _AWAY as error:
            logger.warning("Writing calls failed", extra={"error": type(error).__name__, "attempt": self._tries})
            self._tries += 1
            self._connection.drop()
            if self._tries < MAX_TRIES or not self._takes_others(entries):
                raise DatabaseAway from None
            return False
        except Exception as error:  # the writer must go on, whatever a fact holds
            logger.info("A batch was refused", extra={"error": type(error).__name__, "facts": len(entries)})
            self._since = None
            return False
        self._since = None
        return True

    def _takes_others(self, entries: list[Entry]) -> bool:
        """Whether the database takes a write of these calls: then it is not away, and a fact is the reason."""
        try:
            self._connection.open()
            return any(takes_writes(session_id) for session_id in {entry.session_id for entry in entries})
        except Exception:
            self._connection.drop()
            return False

    def _set_aside(self, entry: Entry) -> None:
        self.set_aside += 1
        self._refused.add((entry.session_id, entry.revision))  # what comes before it may come again
        about = {"call": str(entry.session_id), "fact": type(entry.fact).__name__}
        logger.error("A fact could not be stored", extra=about)
        try:
            self._quarantine.add(pack_facts([(entry, storable_fields(entry.fact))]))
        except Exception as error:  # the disk refuses it, or it holds what no file could
            self.lost += 1
            logger.error("A fact was lost", extra={**about, "error": type(error).__name__})

    def _tell_ended(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            if self._on_ended is not None and isinstance(entry.fact, CallEnded):
                try:
                    self._on_ended(entry.session_id)
                except Exception as error:  # the facts are stored, and would be stored again
                    about = {"error": type(error).__name__, "call": str(entry.session_id)}
                    logger.error("What follows a call could not be begun", extra=about)

    # Replay.

    def _replay(self) -> None:
        """Store what the journals hold, a transaction at a time, until a batch waits."""
        try:
            while (file := self._next_file()) is not None and not self._stopped.is_set():
                self._replay_part(file)
                if not self._batches.empty():
                    return
        except DatabaseAway:
            pass  # and again in a moment
        except Exception as error:  # the writer must go on
            logger.error("A journal could not be replayed", extra={"error": type(error).__name__})
            self._orphans_due = time.monotonic() + ORPHANS_EVERY_S

    def _next_file(self) -> JournalFile | None:
        """Return the journal to go on with: the own one first, since its calls are in progress."""
        if self._journal.own is not None and not self._journal.own.finished:
            return self._journal.own
        if self._orphan is None and time.monotonic() >= self._orphans_due:
            self._orphan = next(self._orphans, None)
            if self._orphan is None:
                self._orphans = self._journal.orphans()
                self._orphans_due = time.monotonic() + ORPHANS_EVERY_S
        return self._orphan

    def _replay_part(self, file: JournalFile) -> None:
        """Store the next facts of the file, in their order. Raises DatabaseAway, OSError."""
        try:
            entries, end = _next_part(file)
        except JournalUnreadable:
            logger.error("A journal is not understood, and left where it is", extra={"journal": file.path.name})
            self._journal.leave_alone(file)
            self._orphan = None if file is self._orphan else self._orphan
            return
        began = time.monotonic()
        self._store(Batch(entries))
        file.replayed(end)
        if file is self._orphan and file.finished:
            logger.warning("Stored what another process had left in its journal", extra={"journal": file.path.name})
            self._journal.let_go(file)
            self._orphan = None
        self._stopped.wait(REPLAY_REST * (time.monotonic() - began))


def _next_part(file: JournalFile) -> tuple[list[Entry], int]:
    """Return the next facts of the file, about `REPLAY_FACTS`, and where the rest begins.

    Raises JournalUnreadable, when it begins with what is not understood.
    """
    entries: list[Entry] = []
    end = file.size_bytes  # there may be no record
    try:
        for batch, after in file.batches():
            entries, end = [*entries, *batch], after
            if len(entries) >= REPLAY_FACTS:
                break
    except JournalUnreadable:
        if not entries:
            raise
    return entries, end


class OwnConnection:
    """A thread's own connection to the database, beside the pool.

    Tools that hang do not keep its thread from one, and it is made anew after each failure: nothing is kept of a
    server that died.
    """

    def __init__(self) -> None:
        self._open = False

    def open(self) -> None:
        if self._open:
            return
        own = connections.create_connection(DEFAULT_DB_ALIAS)
        options = {name: value for name, value in own.settings_dict["OPTIONS"].items() if name != "pool"}
        bounds = POSTGRESQL_OPTIONS if own.vendor == "postgresql" else SQLITE_OPTIONS
        own.settings_dict = {**own.settings_dict, "OPTIONS": {**options, **bounds}}
        connections[DEFAULT_DB_ALIAS] = own
        self._open = True

    def drop(self) -> None:
        if self._open:
            with suppress(DatabaseError):
                connections[DEFAULT_DB_ALIAS].close()
            del connections[DEFAULT_DB_ALIAS]
            self._open = False
