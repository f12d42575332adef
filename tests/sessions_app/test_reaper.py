"""Calls whose process has died: ended once, by the first to look, with all that hung on them; the living are let be."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone

from agents_app.models import AgentVersion
from agents_app.practice.models import Task
from agents_app.session_config import TRANSCRIPTION_MODEL
from sessions_app.cost import TOKEN_KINDS
from sessions_app.effects import StateChanged
from sessions_app.fact_rows import store
from sessions_app.journal_format import Entry
from sessions_app.models import CallSession, LedgerEntry, Place, Price, Recording, ToolCall
from sessions_app.models.calls import LEASE_SECONDS, OWNER_LOST
from sessions_app.reaper import PROOF_S, Reaper, end_abandoned, mark_left_tools
from sessions_app.recording import SPOOL_DIRECTORY
from tests.servers import live_agent
from tests.sessions_app.make_facts import ended, said, seen
from tests.spools import a_spool, finished

pytestmark = pytest.mark.django_db
TRANSCRIBED = "conversation.item.input_audio_transcription.completed"
NO_RATES = dict.fromkeys(TOKEN_KINDS, 0)
GONE, ALIVE = timedelta(seconds=-1), timedelta(seconds=LEASE_SECONDS)


def a_call(agent: Any = None, *, lease: timedelta = GONE, **fields: Any) -> CallSession:
    version = (agent or live_agent()).live_version
    assert isinstance(version, AgentVersion)
    values = {
        "state": "live",
        "started_at": timezone.now() - timedelta(minutes=5),
        "state_history": [[0, "connecting"], [100, "live"]],
        "lease_until": Now() + lease,
        "owner": "elsewhere:1",
        **fields,
    }
    call = CallSession.objects.create(clinic=version.agent.clinic, version=version, **values)
    Place.objects.take(version.agent, call.pk)
    return CallSession.objects.get(pk=call.pk)


def look_twice(reaper: Reaper | None = None, *, own: Any = ()) -> int:
    reaper = reaper or Reaper()
    return reaper.look(own=own, now=100.0) + reaper.look(own=own, now=100.0 + PROOF_S)


def tool(call: CallSession, status: str, **fields: Any) -> ToolCall:
    values = {"call_id": uuid4().hex, "position": 1, "name": "book_appointment", "started_ms": 0, **fields}
    return ToolCall.objects.create(session=call, status=status, **values)


def test_call_of_a_dead_process_is_ended_with_what_is_known_of_it():
    usage = {
        "total_tokens": 30,
        "input_token_details": {"text_tokens": 10},
        "output_token_details": {"text_tokens": 20},
    }
    call = a_call()
    store([Entry(call.pk, seen(1, usage=usage), 1), Entry(call.pk, seen(2, usage=usage), 2)])

    reaped = look_twice()

    call.refresh_from_db()
    assert reaped == 1
    assert (call.state, call.end_reason, call.error_code, call.outcome) == (
        "ended",
        "interrupted",
        OWNER_LOST,
        "failed",
    )
    assert (call.duration_ms, call.ended_at) == (20, call.started_at + timedelta(milliseconds=20))
    assert (call.usage["responses"], call.usage["text_out"], call.lease_until) == (2, 40, None)
    assert not Place.objects.filter(call_id=call.pk).exists()


def test_what_was_transcribed_counts_too():
    call = a_call()
    heard = replace(seen(1, usage={"type": "duration", "seconds": 90}), type=TRANSCRIBED)
    store([Entry(call.pk, heard, 1)])

    look_twice()

    call.refresh_from_db()
    assert call.usage == {"transcription_ms": 90_000}


def test_call_that_cannot_be_ended_holds_no_other_back(caplog: pytest.LogCaptureFixture):
    stuck, other = a_call(lease=timedelta(seconds=-2)), a_call()
    # Counted below zero, its cost is refused by the row.
    usage = {"type": "duration", "seconds": 60}
    Price.objects.filter(model=TRANSCRIPTION_MODEL).delete()
    Price.objects.create(model=TRANSCRIPTION_MODEL, valid_from="2026-01-01", **{**NO_RATES, "audio_minute": -1})
    Price.objects.get_or_create(model="gpt-realtime-2.1", defaults={"valid_from": "2026-01-01", **NO_RATES})
    store([Entry(stuck.pk, replace(seen(1, usage=usage), type=TRANSCRIBED), 1)])

    reaped = look_twice()

    states = dict(CallSession.objects.values_list("pk", "state"))
    assert (reaped, states[stuck.pk], states[other.pk]) == (1, "live", "ended")
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == ["A call could not be ended"]


def test_tools_that_still_run_in_calls_that_ended_are_unknown_and_a_write_is_for_the_staff():
    ended_at = timezone.now() - timedelta(minutes=2)
    over, just_over, going_on = a_call(state="ended", ended_at=ended_at), a_call(), a_call(lease=ALIVE)
    CallSession.objects.filter(pk=just_over.pk).update(state="ended", ended_at=timezone.now())
    left = tool(over, "running", writes=True, confirmed_by="button")
    others = [tool(just_over, "running", writes=True), tool(going_on, "running", writes=True)]

    swept = [mark_left_tools(), mark_left_tools()]

    left.refresh_from_db()
    assert (swept, left.status, left.error_code) == ([1, 0], "unknown", OWNER_LOST)
    assert {ToolCall.objects.get(pk=one.pk).status for one in others} == {"running"}
    assert [(task.kind, task.call_id) for task in Task.objects.all()] == [("check", over.pk)]


def test_call_of_which_nothing_was_stored_lasted_to_its_last_renewal():
    call = a_call(started_at=timezone.now() - timedelta(seconds=100))

    look_twice()

    call.refresh_from_db()
    assert call.duration_ms is not None
    assert 60_000 < call.duration_ms < 70_000


def test_living_calls_of_whatever_clinic_are_let_be():
    here, elsewhere = live_agent(), live_agent()
    dead = [a_call(here), a_call(elsewhere)]
    living = [a_call(here, lease=ALIVE), a_call(elsewhere, lease=ALIVE)]
    over = a_call(here, state="ended", end_reason="caller")
    mine = a_call(elsewhere)

    reaped = look_twice(own=[mine.pk])

    states = dict(CallSession.objects.values_list("pk", "end_reason"))
    assert reaped == 2
    assert [states[call.pk] for call in dead] == ["interrupted", "interrupted"]
    assert [states[call.pk] for call in (*living, over, mine)] == ["", "", "caller", ""]
    kept = set(Place.objects.values_list("call_id", flat=True))
    assert kept == {call.pk for call in (*living, over, mine)}


def test_owner_has_time_to_renew_after_an_outage():
    call, reaper = a_call(owner="me:1"), Reaper()

    first = reaper.look(own=(), now=100.0)
    early = reaper.look(own=(), now=100.0 + PROOF_S - 1)
    CallSession.objects.filter(pk=call.pk).renew([call.pk], owner="me:1")
    CallSession.objects.filter(pk=call.pk).update(lease_until=Now() - timedelta(seconds=5))  # and it ended again
    again = reaper.look(own=(), now=100.0 + PROOF_S)

    assert (first, early, again) == (0, 0, 0)


def test_call_that_was_taken_for_dead_is_alive_again_once_its_owner_says_so():
    call = a_call(owner="me:1")
    look_twice()

    others = CallSession.objects.renew([call.pk], owner="other:1")
    renewed = CallSession.objects.renew([call.pk], owner="me:1")

    call.refresh_from_db()
    assert (others, renewed) == (0, 1)
    assert (call.state, call.end_reason, call.error_code, call.ended_at) == ("live", "", "", None)
    assert call.lease_until is not None
    assert call.lease_until > timezone.now()


def test_call_that_has_ended_is_not_opened_again_by_a_late_heartbeat():
    call = a_call(owner="me:1", lease=ALIVE)
    store([Entry(call.pk, ended(reason="interrupted"), 5)])

    renewed = CallSession.objects.renew([call.pk], owner="me:1")

    call.refresh_from_db()
    assert (renewed, call.state, call.lease_until) == (0, "ended", None)


def test_what_the_dead_process_had_in_its_journal_still_counts():
    call = a_call()
    look_twice()

    store([Entry(call.pk, said("item_1"), 1), Entry(call.pk, StateChanged("ending", 8000), 2)])
    after_facts = CallSession.objects.get(pk=call.pk)
    store([Entry(call.pk, ended(reason="goodbye"), 3)])

    call.refresh_from_db()
    assert (after_facts.state, after_facts.end_reason) == ("ended", "interrupted")
    assert (call.state, call.end_reason, call.duration_ms) == ("ended", "goodbye", 9000)


def test_tools_that_ran_are_unknown_and_a_write_is_for_the_staff_to_check():
    call = a_call()
    tool(call, "running", name="find_patient")
    tool(call, "running", name="book_appointment", writes=True, confirmed_by="button")
    tool(call, "running", name="cancel_appointment", writes=True)  # it had only begun to ask
    tool(call, "asked", name="book_appointment", writes=True)
    tool(call, "ok", name="find_slots")

    look_twice()

    statuses = list(call.tool_calls.order_by("pk").values_list("status", "error_code"))
    unknown = ("unknown", OWNER_LOST)
    assert statuses == [unknown, unknown, unknown, ("asked", ""), ("ok", "")]
    tasks = Task.objects.filter(call_id=call.pk).values_list("clinic", "kind", "text", "status")
    assert list(tasks) == [(call.clinic_id, "check", "book_appointment: please check whether it was done", "open")]


def test_what_the_tools_did_is_what_the_call_came_to():
    call = a_call()
    tool(call, "ok", name="book_appointment", writes=True)

    look_twice()

    call.refresh_from_db()
    assert call.outcome == "booked"


def test_sound_of_an_interrupted_call_is_encoded(settings: Any, tmp_path: Path):
    settings.DATA_DIR = tmp_path
    call = a_call(recording_kept=True)
    spool = a_spool(call.pk, tmp_path / SPOOL_DIRECTORY)
    spool.caller(b"\x01\x00" * 2400, at_ms=0)
    finished(spool)

    look_twice()

    assert Recording.objects.filter(session=call, status=Recording.Status.WAITING).count() == 1


def test_what_was_kept_back_for_the_call_is_given_back():
    call = a_call()
    LedgerEntry.objects.create(
        call_id=call.pk, clinic=call.clinic, day=timezone.now().date(), estimate_microusd=9, reserved_microusd=9
    )

    look_twice()

    assert LedgerEntry.objects.filter(call_id=call.pk, settled=True, reserved_microusd=0).count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_several_processes_that_look_at_once_one_ends_the_call():
    calls = [a_call() for _ in range(3)]
    for call in calls:
        tool(call, "running", writes=True, confirmed_by="button")
    together = threading.Barrier(4)

    def end_all(_number: int) -> int:
        together.wait(timeout=20)
        try:
            return sum(end_abandoned(call.pk, lease_until=call.lease_until) for call in calls)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        ended_by = list(pool.map(end_all, range(4)))

    assert sum(ended_by) == 3
    assert Task.objects.filter(kind="check").count() == 3
    assert set(CallSession.objects.values_list("state", flat=True)) == {"ended"}
