"""The writer of facts: each stored once, in order, whatever the database does and whatever a fact holds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction

from agents_app.models import ApiToken
from sessions_app.effects import StateChanged
from sessions_app.fact_rows import MAX_TEXT_CHARS, storable
from sessions_app.journal import Journal
from sessions_app.models import CallSession, Event, Item
from sessions_app.recorder import Recorder
from tests.make_calls import STARTED
from tests.sessions_app.make_facts import Noticed, a_call, ended, put, said, seen

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE_S = 20.0


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(directory=tmp_path)
    yield recorder
    recorder.close()


@pytest.fixture
def call() -> CallSession:
    return a_call()


def test_facts_put_twice_are_stored_once(recorder: Recorder, call: CallSession):
    facts = [seen(1), seen(2), said("item_1"), StateChanged("live", 120), StateChanged("ending", 8000), ended()]

    put(recorder, call, *facts, *facts)
    recorder.drain(PATIENCE_S)
    put(recorder, call, *facts)
    recorder.drain(PATIENCE_S)

    call.refresh_from_db()
    assert list(call.events.values_list("seq", flat=True)) == [1, 2]
    assert list(call.items.values_list("item_id", "text")) == [("item_1", "Hello")]
    assert call.state_history == [[0, "connecting"], [120, "live"], [8000, "ending"]]
    assert (call.state, call.end_reason, call.duration_ms, call.counters) == ("ended", "caller", 9000, {"a": 1})
    assert recorder.dropped == 0


def test_latest_fact_of_an_item_stands_whatever_the_batch(recorder: Recorder, call: CallSession):
    put(recorder, call, said("a", "", transcript_state="pending"), said("a", "I have"), said("b", "Yes", position=2))
    recorder.drain(PATIENCE_S)
    put(recorder, call, said("a", "I have a toothache", heard_ms=200), said("a", "I have a toothache", heard_ms=100))
    recorder.drain(PATIENCE_S)

    assert list(call.items.values_list("item_id", "text", "heard_ms")) == [
        ("a", "I have a toothache", 100),
        ("b", "Yes", None),
    ]


def test_facts_of_several_calls_keep_apart_and_in_order(recorder: Recorder, call: CallSession):
    other = CallSession.objects.create(clinic=call.clinic, version=call.version, started_at=STARTED)

    for seq in range(1, 501):
        put(recorder, call, seen(seq, item_id=f"a{seq}"))
        put(recorder, other, seen(seq, item_id=f"b{seq}"))
    recorder.drain(PATIENCE_S)

    for session, letter in ((call, "a"), (other, "b")):
        stored = session.events.values_list("seq", "fields")
        assert list(stored) == [(seq, {"item_id": f"{letter}{seq}"}) for seq in range(1, 501)]


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
    assert recorder.drain(PATIENCE_S)
    put(recorder, call, seen(40))
    assert recorder.drain(PATIENCE_S)

    call.refresh_from_db()
    assert list(call.events.values_list("seq", flat=True)) == list(range(1, 41))
    assert list(call.items.values_list("item_id", flat=True)) == ["good"]
    assert (call.state, recorder.health().set_aside) == ("live", 1)


def test_bad_fact_is_logged_by_its_kind_alone(recorder: Recorder, call: CallSession):
    with Noticed("A fact could not be stored") as noticed:
        put(recorder, call, said("bad", "CANARY in words", position=-1), seen(90, name=object(), text="CANARY"))
        recorder.drain(PATIENCE_S)

    assert noticed.seen.is_set()
    assert "CANARY" not in repr([vars(line) for line in noticed.lines])


def test_texts_lose_what_a_database_refuses_and_keep_the_rest(recorder: Recorder, call: CallSession):
    nasty = "ten\x00 o'clock \ud83d ok \U0001f600"
    clean = "ten o'clock ? ok \U0001f600"

    put(recorder, call, said("item_1", nasty), seen(1, usage={nasty: [nasty, {"a": nasty}]}))
    put(recorder, call, ended(error_code="code\x00", counters={"odd\ud800": 1}, usage={"text": 1}))
    assert recorder.drain(PATIENCE_S)

    call.refresh_from_db()
    assert call.items.get().text == clean
    assert call.events.get().fields == {"usage": {clean: [clean, {"a": clean}]}}
    assert (call.error_code, call.counters, recorder.dropped) == ("code", {"odd?": 1}, 0)


def test_long_text_is_bounded(recorder: Recorder, call: CallSession):
    put(recorder, call, said("item_1", "a" * (MAX_TEXT_CHARS + 1)))
    recorder.drain(PATIENCE_S)

    assert len(call.items.get().text) == MAX_TEXT_CHARS


def test_secret_and_unclassified_fields_are_not_storable():
    with pytest.raises(ValueError, match="secret"):
        storable(ApiToken, {"digest": "x"})
    with pytest.raises(LookupError):
        storable(Event, {"nothing_of_ours": "x"})


def test_full_queue_never_makes_a_call_wait(call: CallSession, tmp_path: Path):
    recorder = Recorder(queue_facts=50, directory=tmp_path, journal=Journal(tmp_path, max_bytes=0))

    with transaction.atomic():
        hold_events()
        put(recorder, call, *(seen(seq) for seq in range(1, 1001)))
        waited = recorder.flush(timeout_s=0.1)
        dropped = recorder.health().dropped

    assert waited is False
    assert recorder.drain(PATIENCE_S)
    assert 1000 - 50 - 200 <= dropped == recorder.dropped
    assert Event.objects.count() == 1000 - dropped
    recorder.close()


def test_queue_is_bounded_by_what_its_facts_weigh(call: CallSession, tmp_path: Path):
    recorder = Recorder(queue_bytes=100_000, directory=tmp_path, journal=Journal(tmp_path, max_bytes=0))

    with transaction.atomic():
        hold_events()
        put(recorder, call, *(said(f"item_{n}", "a" * 20_000) for n in range(10)))
        dropped = recorder.health().dropped

    assert recorder.drain(PATIENCE_S)
    assert 8 <= dropped <= 9
    assert Item.objects.count() == 10 - dropped
    recorder.close()


def test_close_is_bounded_when_the_database_stays_away(call: CallSession, tmp_path: Path):
    recorder = Recorder(directory=tmp_path)
    began = time.monotonic()

    with transaction.atomic():
        hold_events()
        put(recorder, call, *(seen(seq) for seq in range(1, 1001)))
        recorder.close(timeout_s=3)
        took_s = time.monotonic() - began
    after = Recorder(directory=tmp_path)

    assert took_s < 8
    assert eventually_stored(1000)
    after.close()


def eventually_stored(count: int) -> bool:
    until = time.monotonic() + PATIENCE_S
    while Event.objects.count() < count and time.monotonic() < until:
        time.sleep(0.02)
    return Event.objects.count() == count


def test_what_follows_a_call_is_begun_once_and_its_fault_costs_nothing(call: CallSession, tmp_path: Path):
    told: list[UUID] = []

    def fail(session_id: UUID) -> None:
        told.append(session_id)
        raise RuntimeError("CANARY")

    recorder = Recorder(on_ended=fail, directory=tmp_path)
    with Noticed("What follows a call") as noticed:
        put(recorder, call, StateChanged("live", 3), ended(), seen(1))
        recorder.drain(PATIENCE_S)
        put(recorder, call, seen(2))
        recorder.drain(PATIENCE_S)
    recorder.close()

    call.refresh_from_db()
    assert told == [call.pk]
    assert (call.state, call.events.count(), recorder.dropped) == ("ended", 2, 0)
    assert call.state_history == [[0, "connecting"], [3, "live"]]
    assert "CANARY" not in repr([vars(line) for line in noticed.lines])
