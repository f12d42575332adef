"""Writes what happened in calls: facts in, rows out, in batches, on one thread with a connection of its own.

Owns the queue, the writes' retries and the meeting of a call's time with the wall clock. A call never waits for it.
Text enters rows only through `storable`.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import date, timedelta
from typing import Any
from uuid import UUID

from django.db import DatabaseError, IntegrityError, close_old_connections, connection, transaction

from agents_app.data_classes import DataClass, data_class
from agents_app.session_config import TRANSCRIPTION_MODEL
from sessions_app.cost import cost_microusd
from sessions_app.effects import CallEnded, EventSeen, Fact, ItemSaved, StateChanged
from sessions_app.models import CallSession, Event, Item, Price

logger = logging.getLogger(__name__)

QUEUE_FACTS = 50_000
BATCH_FACTS = 200
BATCH_S = 0.1
RETRY_S = 0.5
MAX_TRIES = 40  # twenty seconds; then the batch is split, and what cannot be written is set aside
MAX_TEXT_CHARS = 20_000

Entry = tuple[UUID, Fact]


def storable(model: type, values: dict[str, Any]) -> dict[str, Any]:
    """Return `values` as they may enter rows of `model`.

    Nothing of the class `secret` is stored as it came. Texts lose what databases refuse (NUL, lone surrogates) and are
    bounded; a text without a data class is a mistake, and raises LookupError.
    """
    return {name: _text(value) if _is_text(model, name, value) else value for name, value in values.items()}


def _is_text(model: type, name: str, value: Any) -> bool:
    if data_class(model, name) is DataClass.SECRET:
        raise ValueError(f"{name} is secret")
    return isinstance(value, str)


def _text(value: str) -> str:
    clean = value.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
    return clean[:MAX_TEXT_CHARS]


class Recorder:
    """One of these per process. `on_ended` is called on the writer's thread when a call's last fact is stored."""

    def __init__(self, *, on_ended: Callable[[UUID], None] | None = None) -> None:
        self._facts: queue.Queue[Entry | threading.Event | None] = queue.Queue(QUEUE_FACTS)
        self._on_ended = on_ended
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self.dropped = 0
        self._thread.start()

    def put(self, session_id: UUID, fact: Fact) -> None:
        """Take a fact. Never waits: past `QUEUE_FACTS` it is counted as dropped."""
        try:
            self._facts.put_nowait((session_id, fact))
        except queue.Full:
            self.dropped += 1

    def flush(self, timeout_s: float = 30.0) -> bool:
        """Wait until all that was taken before is stored. Blocks: not for the event loop."""
        stored = threading.Event()
        self._facts.put(stored)
        return stored.wait(timeout_s)

    def close(self) -> None:
        """Store what is there, and stop."""
        self._facts.put(None)
        self._thread.join(timeout=30)

    def _run(self) -> None:
        running = True
        while running:
            entries, waiting, running = self._gather()
            if entries:
                close_old_connections()
                self._write(entries)
            for stored in waiting:
                stored.set()
        connection.close()

    def _gather(self) -> tuple[list[Entry], list[threading.Event], bool]:
        """Return the next batch: at most `BATCH_FACTS`, or what came within `BATCH_S` of the first."""
        entries: list[Entry] = []
        waiting: list[threading.Event] = []
        until: float | None = None
        while len(entries) < BATCH_FACTS:
            try:
                left = None if until is None else max(0.0, until - time.monotonic())
                entry = self._facts.get(timeout=left)
            except queue.Empty:
                break
            if entry is None:
                return entries, waiting, False
            if isinstance(entry, threading.Event):
                waiting.append(entry)
                break
            entries.append(entry)
            until = until or time.monotonic() + BATCH_S
        return entries, waiting, True

    def _write(self, entries: list[Entry]) -> None:
        for attempt in range(MAX_TRIES):
            try:
                self._store(entries)
                return
            except IntegrityError:
                break
            except DatabaseError as error:
                logger.warning("Writing calls failed", extra={"error": type(error).__name__, "attempt": attempt})
                connection.close()
                time.sleep(RETRY_S)
        self._one_by_one(entries)

    def _one_by_one(self, entries: list[Entry]) -> None:
        """Store what can be stored; one bad fact does not cost the others."""
        for entry in entries:
            try:
                self._store([entry])
            except DatabaseError as error:
                self.dropped += 1
                about = {"error": type(error).__name__, "call": str(entry[0]), "fact": type(entry[1]).__name__}
                logger.error("A fact could not be stored", extra=about)

    def _store(self, entries: list[Entry]) -> None:
        with transaction.atomic():
            _store_events(entries)
            _store_items(entries)
            for session_id, fact in entries:
                if isinstance(fact, StateChanged):
                    _store_state(session_id, fact)
                elif isinstance(fact, CallEnded):
                    _store_end(session_id, fact)
        if self._on_ended is not None:
            for session_id, fact in entries:
                if isinstance(fact, CallEnded):
                    self._on_ended(session_id)


def _store_events(entries: Iterable[Entry]) -> None:
    rows = [
        Event(session_id=session_id, **storable(Event, asdict(fact)))
        for session_id, fact in entries
        if isinstance(fact, EventSeen)
    ]
    Event.objects.bulk_create(rows, ignore_conflicts=True)


_ITEM_FIELDS = [name for name in ItemSaved.__dataclass_fields__ if name != "item_id"]


def _store_items(entries: Iterable[Entry]) -> None:
    """Store each item as its latest fact tells it."""
    latest = {(session_id, fact.item_id): fact for session_id, fact in entries if isinstance(fact, ItemSaved)}
    rows = [Item(session_id=session_id, **storable(Item, asdict(fact))) for (session_id, _), fact in latest.items()]
    Item.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["session", "item_id"], update_fields=_ITEM_FIELDS
    )


def _store_state(session_id: UUID, fact: StateChanged) -> None:
    session = CallSession.objects.only("state_history").get(pk=session_id)
    session.state = fact.state
    session.state_history = [*session.state_history, [fact.at_ms, fact.state]]
    session.save(update_fields=["state", "state_history"])


def _cost(model: str, day: date, usage: dict[str, int]) -> int | None:
    """Return what a call cost by the prices of its day; None while nobody has said what the model costs."""
    price = Price.objects.price_for(model, day)
    transcription = Price.objects.price_for(TRANSCRIPTION_MODEL, day)
    return cost_microusd(usage, price, transcription=transcription) if price is not None else None


def _store_end(session_id: UUID, fact: CallEnded) -> None:
    session = CallSession.objects.select_related("version").get(pk=session_id)
    session.state = CallSession.State.ENDED
    session.ended_at = session.started_at + timedelta(milliseconds=fact.at_ms)
    session.duration_ms = fact.at_ms
    session.end_reason, session.error_code, session.outcome = fact.reason, fact.error_code[:64], fact.outcome
    session.usage, session.counters = fact.usage, fact.counters
    session.cost_microusd = _cost(session.version.content["model"]["name"], session.started_at.date(), fact.usage)
    session.lease_until = None
    session.save(
        update_fields=[
            "state",
            "ended_at",
            "duration_ms",
            "end_reason",
            "error_code",
            "outcome",
            "usage",
            "counters",
            "cost_microusd",
            "lease_until",
        ]
    )
