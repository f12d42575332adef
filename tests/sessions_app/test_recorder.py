"""The writer of facts: each stored once, in order, whatever the database does and whatever a fact holds."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction

from agents_app.models import AgentVersion, ApiToken
from sessions_app.effects import CallEnded, EventSeen, ItemSaved, StateChanged
from sessions_app.models import CallSession, Event, Item
from sessions_app.recorder import MAX_TEXT_CHARS, Recorder, storable
from tests.make_calls import STARTED
from tests.servers import live_agent

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE_S = 20.0


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    recorder = Recorder()
    yield recorder
    recorder.close()


@pytest.fixture
def call() -> CallSession:
    version = live_agent().live_version
    assert isinstance(version, AgentVersion)
    return CallSession.objects.create(
        clinic=version.agent.clinic, version=version, started_at=STARTED, state_history=[[0, "connecting"]]
    )


def seen(seq: int, **fields: Any) -> EventSeen:
    return EventSeen(seq, "from_model", "response.done", at_ms=seq * 10, fields=fields)


def said(item_id: str, text: Any = "Hello", **fields: Any) -> ItemSaved:
    return ItemSaved(
        **{
            "item_id": item_id,
            "position": 1,
            "speaker": "caller",
            "source": "speech",
            "text": text,
            "transcript_state": "done",
            "started_ms": 0,
            **fields,
        }
    )


def ended(**fields: Any) -> CallEnded:
    return CallEnded(
        **{
            "at_ms": 9000,
            "reason": "caller",
            "error_code": "",
            "outcome": "answered",
            "usage": {},
            "counters": {"a": 1},
            **fields,
        }
    )


def put(recorder: Recorder, call: CallSession | UUID, *facts: Any) -> None:
    for fact in facts:
        recorder.put(call.pk if isinstance(call, CallSession) else call, fact)


class Noticed(logging.Handler):
    """Says when the recorder has logged a line that begins so."""

    def __init__(self, beginning: str) -> None:
        super().__init__()
        self._beginning = beginning
        self.seen = threading.Event()
        self.lines: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record)
        if record.getMessage().startswith(self._beginning):
            self.seen.set()

    def __enter__(self) -> Noticed:
        logging.getLogger("sessions_app.recorder").addHandler(self)
        return self

    def __exit__(self, *exc: object) -> None:
        logging.getLogger("sessions_app.recorder").removeHandler(self)


def test_facts_put_twice_are_stored_once(recorder: Recorder, call: CallSession):
    facts = [seen(1), seen(2), said("item_1"), StateChanged("live", 120), StateChanged("ending", 8000), ended()]

    put(recorder, call, *facts, *facts)
    recorder.flush()
    put(recorder, call, *facts)
    recorder.flush()

    call.refresh_from_db()
    assert list(call.events.values_list("seq", flat=True)) == [1, 2]
    assert list(call.items.values_list("item_id", "text")) == [("item_1", "Hello")]
    assert call.state_history == [[0, "connecting"], [120, "live"], [8000, "ending"]]
    assert (call.state, call.end_reason, call.duration_ms, call.counters) == ("ended", "caller", 9000, {"a": 1})
    assert recorder.dropped == 0


def test_latest_fact_of_an_item_stands_whatever_the_batch(recorder: Recorder, call: CallSession):
    put(recorder, call, said("a", "", transcript_state="pending"), said("a", "I have"), said("b", "Yes", position=2))
    recorder.flush()
    put(recorder, call, said("a", "I have a toothache", heard_ms=200), said("a", "I have a toothache", heard_ms=100))
    recorder.flush()

    assert list(call.items.values_list("item_id", "text", "heard_ms")) == [
        ("a", "I have a toothache", 100),
        ("b", "Yes", None),
    ]


def test_facts_of_several_calls_keep_apart_and_in_order(recorder: Recorder, call: CallSession):
    other = CallSession.objects.create(clinic=call.clinic, version=call.version, started_at=STARTED)

    for seq in range(1, 501):
        put(recorder, call, seen(seq, item_id=f"a{seq}"))
        put(recorder, other, seen(seq, item_id=f"b{seq}"))
    recorder.flush()

    for session, letter in ((call, "a"), (other, "b")):
        stored = session.events.values_list("seq", "fields")
        assert list(stored) == [(seq, {"item_id": f"{letter}{seq}"}) for seq in range(1, 501)]


def test_nothing_is_lost_while_the_database_does_not_answer(recorder: Recorder, call: CallSession):
    away = {"NAME": "/nowhere/at/all"} if connection.vendor == "sqlite" else {"PORT": "1"}
    address = {name: connection.settings_dict[name] for name in away}

    with Noticed("Writing calls failed") as noticed:
        connection.settings_dict.update(away)  # the recorder connects when it first writes
        try:
            put(recorder, call, seen(1), seen(2), said("item_1"), StateChanged("live", 5))
            assert noticed.seen.wait(PATIENCE_S)
            put(recorder, call, seen(3), ended())
            assert recorder.flush(timeout_s=0.1) is False
        finally:
            connection.settings_dict.update(address)
        assert recorder.flush(PATIENCE_S)

    call.refresh_from_db()
    assert list(call.events.values_list("seq", flat=True)) == [1, 2, 3]
    assert (call.state, call.state_history[-1], call.items.count()) == ("ended", [5, "live"], 1)
    assert recorder.dropped == 0


def test_nothing_is_lost_while_another_holds_the_database(recorder: Recorder, call: CallSession):
    with transaction.atomic():
        hold_events()
        put(recorder, call, seen(1), said("item_1"))
        assert recorder.flush(timeout_s=0.3) is False
        assert Item.objects.count() == 0

    assert recorder.flush(PATIENCE_S)
    assert (Event.objects.count(), Item.objects.count(), recorder.dropped) == (1, 1, 0)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no connection that another can kill")
def test_nothing_is_lost_when_the_connection_is_killed_in_the_middle(recorder: Recorder, call: CallSession):
    with Noticed("Writing calls failed") as noticed, transaction.atomic():
        hold_events()
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
        assert (killed, noticed.seen.wait(PATIENCE_S)) == (1, True)

    assert recorder.flush(PATIENCE_S)
    assert (Event.objects.count(), Item.objects.count(), recorder.dropped) == (1, 1, 0)


def hold_events() -> None:
    """Keep every other connection from writing, until the end of this transaction."""
    with connection.cursor() as cursor:
        # SQLite's transactions are IMMEDIATE: begun, they are the only writer.
        if connection.vendor == "postgresql":
            cursor.execute("LOCK TABLE sessions_app_event IN ACCESS EXCLUSIVE MODE")


POISON = {
    "item below the first position": (None, said("bad", position=-1)),
    "number too large": (None, said("bad", started_ms=10**30)),
    "fields that are no JSON": (None, seen(90, item_id=object())),
    "event of an unknown call": (uuid4(), seen(91)),
    "item of an unknown call": (uuid4(), said("bad")),
    "state of an unknown call": (uuid4(), StateChanged("live", 1)),
    "end of an unknown call": (uuid4(), ended()),
    "text that is none": (None, said("bad", text=None)),
    "what is no fact at all": (None, ended(at_ms=None)),
}


@pytest.mark.parametrize("name", POISON)
def test_bad_fact_is_set_aside_and_the_others_are_stored(recorder: Recorder, call: CallSession, name: str):
    session_id, poison = POISON[name]

    put(recorder, call, *(seen(seq) for seq in range(1, 20)), said("good"))
    put(recorder, session_id or call, poison)
    put(recorder, call, *(seen(seq) for seq in range(20, 40)), StateChanged("live", 7))
    assert recorder.flush(PATIENCE_S)
    put(recorder, call, seen(40))
    assert recorder.flush(PATIENCE_S)

    call.refresh_from_db()
    assert list(call.events.values_list("seq", flat=True)) == list(range(1, 41))
    assert list(call.items.values_list("item_id", flat=True)) == ["good"]
    assert (call.state, recorder.dropped) == ("live", 1)


def test_bad_fact_is_logged_by_its_kind_alone(recorder: Recorder, call: CallSession):
    with Noticed("A fact could not be stored") as noticed:
        put(recorder, call, said("bad", "CANARY in words", position=-1), seen(90, name=object(), text="CANARY"))
        recorder.flush(PATIENCE_S)

    assert noticed.seen.is_set()
    assert "CANARY" not in repr([vars(line) for line in noticed.lines])


def test_texts_lose_what_a_database_refuses_and_keep_the_rest(recorder: Recorder, call: CallSession):
    nasty = "ten\x00 o'clock \ud83d ok \U0001f600"
    clean = "ten o'clock ? ok \U0001f600"

    put(recorder, call, said("item_1", nasty), seen(1, usage={nasty: [nasty, {"a": nasty}]}))
    put(recorder, call, ended(error_code="code\x00", counters={"odd\ud800": 1}, usage={"text": 1}))
    assert recorder.flush(PATIENCE_S)

    call.refresh_from_db()
    assert call.items.get().text == clean
    assert call.events.get().fields == {"usage": {clean: [clean, {"a": clean}]}}
    assert (call.error_code, call.counters, recorder.dropped) == ("code", {"odd?": 1}, 0)


def test_long_text_is_bounded(recorder: Recorder, call: CallSession):
    put(recorder, call, said("item_1", "a" * (MAX_TEXT_CHARS + 1)))
    recorder.flush()

    assert len(call.items.get().text) == MAX_TEXT_CHARS


def test_secret_and_unclassified_fields_are_not_storable():
    with pytest.raises(ValueError, match="secret"):
        storable(ApiToken, {"digest": "x"})
    with pytest.raises(LookupError):
        storable(Event, {"nothing_of_ours": "x"})


def test_full_queue_never_makes_a_call_wait(call: CallSession):
    recorder = Recorder(queue_facts=50)

    with transaction.atomic():
        hold_events()
        put(recorder, call, *(seen(seq) for seq in range(1, 1001)))
        waited = recorder.flush(timeout_s=0.1)

    assert waited is False
    assert recorder.flush(PATIENCE_S)
    assert recorder.dropped >= 1000 - 50 - 200
    assert Event.objects.count() == 1000 - recorder.dropped
    recorder.close()


def test_close_is_bounded_when_the_database_stays_away(call: CallSession):
    recorder = Recorder(queue_facts=10)

    with transaction.atomic():
        hold_events()
        put(recorder, call, *(seen(seq) for seq in range(1, 1001)))
        recorder.close(timeout_s=0.2)

    recorder.close(timeout_s=PATIENCE_S)


def test_what_follows_a_call_is_begun_once_and_its_fault_costs_nothing(call: CallSession):
    told: list[UUID] = []

    def fail(session_id: UUID) -> None:
        told.append(session_id)
        raise RuntimeError("CANARY")

    recorder = Recorder(on_ended=fail)
    with Noticed("What follows a call") as noticed:
        put(recorder, call, StateChanged("live", 3), ended(), seen(1))
        recorder.flush()
        put(recorder, call, seen(2))
        recorder.flush()
    recorder.close()

    call.refresh_from_db()
    assert told == [call.pk]
    assert (call.state, call.events.count(), recorder.dropped) == ("ended", 2, 0)
    assert call.state_history == [[0, "connecting"], [3, "live"]]
    assert "CANARY" not in repr([vars(line) for line in noticed.lines])
