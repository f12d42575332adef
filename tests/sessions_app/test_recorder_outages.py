"""The writer of facts while the database is slow, frozen, away, killed or read-only: nothing lost, nothing twice.

A fact is safe when `flush` says so: within the two seconds that the database is given, and what the journal takes.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection, transaction

from sessions_app import fact_writer
from sessions_app.effects import StateChanged
from sessions_app.fact_rows import store
from sessions_app.journal import Journal
from sessions_app.journal_format import Entry
from sessions_app.models import CallSession, Event, Item
from sessions_app.recorder import PATIENCE_S, Recorder
from tests.faults.proxy import Proxy, running_proxy
from tests.servers import database_url
from tests.sessions_app.make_facts import Noticed, a_call, ended, put, said, seen

pytestmark = pytest.mark.django_db(transaction=True)
WAIT_S = 20.0
on_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no server")


@pytest.fixture
def call() -> CallSession:
    return a_call()


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(directory=tmp_path)
    yield recorder
    recorder.close()


@contextlib.contextmanager
def database_at(**address: Any) -> Iterator[None]:
    """Whoever connects from now on looks for the database elsewhere; who has a connection keeps it."""
    before = {name: connection.settings_dict[name] for name in address}
    connection.settings_dict.update(address)
    try:
        yield
    finally:
        connection.settings_dict.update(before)


def away() -> contextlib.AbstractContextManager[None]:
    return database_at(NAME="/nowhere/at/all") if connection.vendor == "sqlite" else database_at(PORT="1")


@contextlib.contextmanager
def read_only() -> Iterator[None]:
    if connection.vendor == "sqlite":
        with database_at(NAME=f"file:{connection.settings_dict['NAME']}?mode=ro"):
            yield
        return
    name = connection.settings_dict["NAME"]
    with psycopg.connect(database_url(), autocommit=True) as another:
        another.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        try:
            yield
        finally:
            another.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Keep every other connection from writing events."""
    with transaction.atomic(), connection.cursor() as cursor:
        # SQLite's transactions are IMMEDIATE: begun, they are the only writer.
        if connection.vendor == "postgresql":
            cursor.execute("LOCK TABLE sessions_app_event IN ACCESS EXCLUSIVE MODE")
        yield


@contextlib.contextmanager
def frozen() -> Iterator[None]:
    """The database answers nothing, and no connection ends."""
    with proxied() as (proxy, loop):
        loop.call_soon_threadsafe(proxy.stall)
        yield
        loop.call_soon_threadsafe(proxy.resume)


@contextlib.contextmanager
def proxied() -> Iterator[tuple[Proxy, asyncio.AbstractEventLoop]]:
    """Put a proxy in front of the database, on an event loop of its own."""
    ready: list[Any] = []
    begun, over = threading.Event(), threading.Event()

    async def run() -> None:
        async with running_proxy(int(connection.settings_dict["PORT"] or 5432)) as proxy:
            ready.extend((proxy, asyncio.get_running_loop()))
            begun.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    try:
        assert begun.wait(WAIT_S)
        with database_at(HOST="127.0.0.1", PORT=str(ready[0].port)):
            yield ready[0], ready[1]
    finally:
        over.set()
        thread.join()


OUTAGES = {"away": away, "locked": locked, "read-only": read_only, "frozen": frozen}


def facts(first: int, count: int) -> list[Any]:
    return [fact for n in range(first, first + count) for fact in (seen(n), said(f"item_{n}"))]


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=on_postgresql if kind == "frozen" else ()) for kind in OUTAGES]
)
def test_what_was_taken_is_safe_while_the_database_takes_nothing_and_stored_once_when_it_is_back(
    tmp_path: Path, call: CallSession, kind: str
):
    with OUTAGES[kind]():
        recorder = Recorder(directory=tmp_path)
        began = time.monotonic()
        put(recorder, call, *facts(1, 100), StateChanged("live", 5), said("item_1", "I have"))
        safe = recorder.flush(WAIT_S)
        took_s = time.monotonic() - began
        put(recorder, call, *facts(101, 100), said("item_1", "I have a toothache"), ended())
        safe_behind = recorder.flush(WAIT_S)
        during = recorder.health()

    assert recorder.drain(WAIT_S)
    call.refresh_from_db()
    after = recorder.health()
    recorder.close()
    assert (safe, safe_behind) == (True, True)
    assert took_s < PATIENCE_S + 5  # what a busy machine adds
    assert during.journal_bytes > 0
    assert during.trouble_s >= PATIENCE_S
    assert list(call.events.values_list("seq", flat=True)) == list(range(1, 201))
    assert call.items.count() == 200
    assert call.items.get(item_id="item_1").text == "I have a toothache"
    assert (call.state, call.state_history) == ("ended", [[0, "connecting"], [5, "live"]])
    assert (after.trouble_s, after.journal_bytes, after.dropped, after.set_aside) == (0.0, 0, 0, 0)
    assert list(tmp_path.iterdir()) == []


@on_postgresql
def test_nothing_is_lost_when_the_connection_is_killed_in_the_middle(recorder: Recorder, call: CallSession):
    with Noticed("Writing calls failed") as noticed, locked():
        put(recorder, call, said("item_1"), seen(1))
        killed = 0
        for _ in range(2000):  # until it has begun to wait for the lock
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_stat_clear_snapshot()")
                cursor.execute(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() "
                    "AND wait_event_type = 'Lock' AND query LIKE 'INSERT INTO \"sessions_app_event\"%'"
                )
                (killed,) = cursor.fetchone()
            if killed:
                break
        assert (killed, noticed.seen.wait(WAIT_S)) == (1, True)

    assert recorder.drain(WAIT_S)
    assert (Event.objects.count(), Item.objects.count(), recorder.dropped) == (1, 1, 0)


@on_postgresql
def test_nothing_is_lost_when_the_answer_to_a_commit_is(tmp_path: Path, call: CallSession):
    """The server has committed, and the recorder cannot know."""
    with proxied() as (proxy, loop):
        recorder = Recorder(directory=tmp_path)
        put(recorder, call, seen(1))
        assert recorder.drain(WAIT_S)
        loop.call_soon_threadsafe(proxy.to_client.stall)
        put(recorder, call, *facts(2, 50), StateChanged("live", 5), ended())
        assert recorder.flush(WAIT_S)
        loop.call_soon_threadsafe(proxy.reset)
        loop.call_soon_threadsafe(proxy.resume)
        assert recorder.drain(WAIT_S)
        recorder.close()

    call.refresh_from_db()
    assert list(call.events.values_list("seq", flat=True)) == list(range(1, 52))
    assert (call.items.count(), call.state_history) == (50, [[0, "connecting"], [5, "live"]])


def test_what_a_process_left_behind_is_stored_by_the_next(tmp_path: Path, call: CallSession):
    with away():
        left = Recorder(directory=tmp_path)
        put(left, call, *facts(1, 300), StateChanged("live", 5))
        assert left.flush(WAIT_S)
        left.close(timeout_s=0)

    after = Recorder(directory=tmp_path)
    until = time.monotonic() + WAIT_S
    while list(tmp_path.glob("*.journal")) and time.monotonic() < until:
        time.sleep(0.02)
    after.close()

    assert list(call.events.values_list("seq", flat=True)) == list(range(1, 301))
    assert call.items.count() == 300


def test_process_can_end_while_the_database_hangs_and_the_next_one_stores_what_it_left(
    tmp_path: Path, call: CallSession
):
    with frozen() if connection.vendor == "postgresql" else locked():
        recorder = Recorder(directory=tmp_path)
        put(recorder, call, *facts(1, 100))
        began = time.monotonic()
        recorder.close()
        took_s = time.monotonic() - began

    after = Recorder(directory=tmp_path)
    until = time.monotonic() + WAIT_S
    while list(tmp_path.glob("*.journal")) and time.monotonic() < until:
        time.sleep(0.02)
    after.close()
    assert took_s < 10  # and not the half minute that a close may take
    assert (Event.objects.count(), Item.objects.count()) == (100, 100)


def test_older_fact_of_an_item_that_comes_late_changes_nothing(call: CallSession):
    newer = Entry(call.pk, said("item_1", "I have a toothache"), 20)
    older = Entry(call.pk, said("item_1", "I have"), 10)

    store([newer])
    store([older, Entry(call.pk, said("item_2"), 11)])

    assert dict(call.items.values_list("item_id", "text")) == {"item_1": "I have a toothache", "item_2": "Hello"}


def test_state_that_comes_late_does_not_open_an_ended_call_again(call: CallSession):
    store([Entry(call.pk, StateChanged("ending", 8000), 3), Entry(call.pk, ended(), 4)])
    store([Entry(call.pk, StateChanged("live", 100), 1), Entry(call.pk, StateChanged("ending", 8000), 3)])

    call.refresh_from_db()
    assert (call.state, call.state_history) == ("ended", [[0, "connecting"], [100, "live"], [8000, "ending"]])


def test_batch_refused_behind_an_outage_costs_its_bad_facts_alone(tmp_path: Path, call: CallSession):
    with away():
        recorder = Recorder(directory=tmp_path)
        put(recorder, call, *facts(1, 100), said("bad", "CANARY", position=-1), *facts(101, 100))
        assert recorder.flush(WAIT_S)

    assert recorder.drain(WAIT_S)
    recorder.close()
    assert (Event.objects.count(), Item.objects.count()) == (200, 200)
    assert (recorder.health().set_aside, recorder.dropped) == (1, 0)
    (quarantine,) = tmp_path.iterdir()
    assert b"CANARY" not in quarantine.read_bytes()


def test_fact_at_which_the_database_fails_is_found_behind_an_outage(
    tmp_path: Path, call: CallSession, monkeypatch: pytest.MonkeyPatch
):
    def fails_at_one(entries: list[Entry]) -> None:
        if any(getattr(entry.fact, "item_id", "") == "bad" for entry in entries):
            raise OperationalError  # as if it were away, each time
        store(entries)

    monkeypatch.setattr(fact_writer, "store", fails_at_one)
    monkeypatch.setattr(fact_writer, "MAX_TRIES", 3)
    monkeypatch.setattr(fact_writer, "RETRY_S", 0.01)
    with away():
        recorder = Recorder(directory=tmp_path)
        put(recorder, call, *facts(1, 20), said("bad"), *facts(21, 20))
        assert recorder.flush(WAIT_S)

    assert recorder.drain(WAIT_S)
    recorder.close()
    assert (Event.objects.count(), Item.objects.count()) == (40, 40)
    assert (recorder.health().set_aside, recorder.dropped) == (1, 0)


def test_journal_that_takes_nothing_leaves_the_facts_in_memory(tmp_path: Path, call: CallSession):
    with away():
        recorder = Recorder(directory=tmp_path, journal=Journal(tmp_path, max_bytes=0))
        put(recorder, call, *facts(1, 100))
        assert recorder.flush(PATIENCE_S + 1) is False
        health = recorder.health()

    assert recorder.drain(WAIT_S)
    afterwards = recorder.health()
    recorder.close()
    assert (health.journal_refuses, health.journal_bytes) == (True, 0)
    assert (afterwards.journal_refuses, afterwards.late_s) == (False, 0.0)  # calls may begin again
    assert (Event.objects.count(), Item.objects.count(), recorder.dropped) == (100, 100, 0)
