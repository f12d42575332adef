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
from contextlib import suppress
from dataclasses import asdict
from datetime import date, timedelta
from typing import Any
from uuid import UUID

from django.db import InterfaceError, InternalError, OperationalError, connection, transaction

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
MAX_TRIES = 40  # of a batch, while the database answers; then it is split, and what cannot be written is set aside
MAX_TRIES_ALONE = 2
CLOSE_S = 30.0
MAX_TEXT_CHARS = 20_000

Entry = tuple[UUID, Fact]


def storable(model: type, values: dict[str, Any]) -> dict[str, Any]:
    """Return `values` as they may enter rows of `model`.

    Nothing of the class `secret` is stored as it came. Texts lose what databases refuse (NUL, lone surrogates) and are
    bounded; a text without a data class is a mistake, and raises LookupError.
    """
    for name in values:
        if data_class(model, name) is DataClass.SECRET:
            raise ValueError(f"{name} is secret")
    return {name: _clean(value) for name, value in values.items()}


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")[:MAX_TEXT_CHARS]
    if isinstance(value, dict):
        return {_clean(name): _clean(inner) for name, inner in value.items()}
    return [_clean(inner) for inner in value] if isinstance(value, list) else value


class Recorder:
    """One of these per process. `on_ended` is called on the writer's thread when a call's last fact is stored."""

    def __init__(self, *, on_ended: Callable[[UUID], None] | None = None, queue_facts: int = QUEUE_FACTS) -> None:
        self._facts: queue.Queue[Entry | threading.Event | None] = queue.Queue(queue_facts)
        self._on_ended = on_ended
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self.dropped = 0
        self._thread.start()

    def put(self, session_id: UUID, fact: Fact) -> None:
        """Take a fact. Never waits: past `queue_facts` it is counted as dropped."""
        try:
            self._facts.put_nowait((session_id, fact))
        except queue.Full:
            self.dropped += 1

    def flush(self, timeout_s: float = 30.0) -> bool:
        """Wait until all that was taken before is stored. Blocks: not for the event loop."""
        until = time.monotonic() + timeout_s
        stored = threading.Event()
        try:
            self._facts.put(stored, timeout=timeout_s)
        except queue.Full:
            return False
        return stored.wait(max(0.0, until - time.monotonic()))

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Store what is there, and stop. What a database that is away has not taken by then is given up."""
        until = time.monotonic() + timeout_s
        with suppress(queue.Full):
            self._facts.put(None, timeout=timeout_s)
        self._thread.join(timeout=max(0.0, until - time.monotonic()))
        self._given_up.set()

    def _run(self) -> None:
        running = True
        while running and not self._given_up.is_set():
            entries, waiting, running = self._gather()
            if entries:
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
        if not self._try(entries, MAX_TRIES):
            for entry in entries:  # one bad fact does not cost the others
                if not self._try([entry], MAX_TRIES_ALONE):
                    self._set_aside(entry)

    def _try(self, entries: list[Entry], tries: int) -> bool:
        """Store what is given, all of it or nothing; as long as the database is away, again. False: it was refused."""
        attempt = 0
        while attempt < tries and not self._given_up.is_set():
            try:
                self._store(entries)
            except (OperationalError, InterfaceError, InternalError) as error:
                logger.warning("Writing calls failed", extra={"error": type(error).__name__, "attempt": attempt})
                attempt += self._answers()
                self._given_up.wait(RETRY_S)
            except Exception as error:  # the writer must go on, whatever a fact holds; it is tried by itself
                logger.info("A batch was refused", extra={"error": type(error).__name__, "facts": len(entries)})
                return False
            else:
                self._tell_ended(entries)
                return True
        return False

    def _answers(self) -> bool:
        """Whether the database can be asked anything, over a new connection."""
        connection.close()
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        except Exception:
            return False
        return True

    def _set_aside(self, entry: Entry) -> None:
        self.dropped += 1
        about = {"call": str(entry[0]), "fact": type(entry[1]).__name__}
        logger.error("A fact could not be stored", extra=about)

    def _tell_ended(self, entries: list[Entry]) -> None:
        for session_id, fact in entries:
            if self._on_ended is not None and isinstance(fact, CallEnded):
                try:
                    self._on_ended(session_id)
                except Exception as error:  # the facts are stored, and would be stored again
                    about = {"error": type(error).__name__, "call": str(session_id)}
                    logger.error("What follows a call could not be begun", extra=about)

    def _store(self, entries: list[Entry]) -> None:
        with transaction.atomic():
            _store_events(entries)
            _store_items(entries)
            for session_id, fact in entries:
                if isinstance(fact, StateChanged):
                    _store_state(session_id, fact)
                elif isinstance(fact, CallEnded):
                    _store_end(session_id, fact)


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
    if [fact.at_ms, fact.state] in session.state_history:  # a batch whose commit was in doubt comes twice
        return
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
    values = {"end_reason": fact.reason, "error_code": fact.error_code[:64], "outcome": fact.outcome}
    for name, value in storable(CallSession, {**values, "usage": fact.usage, "counters": fact.counters}).items():
        setattr(session, name, value)
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
