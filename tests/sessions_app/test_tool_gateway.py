"""One function call at a time through the gateway: answered once, bounded, recorded, and never able to end the call."""

from __future__ import annotations

import asyncio
import logging
import threading
from datetime import date
from typing import Any

import pytest
from django.db import connection

from agents_app.practice.models import Task
from agents_app.tools import Recap, Then, ToolContext, ToolError, ToolOutcome
from sessions_app.effects import RefuseTool
from sessions_app.models import ToolCall
from sessions_app.tool_gateway import CallContext, ToolGateway
from tests.servers import eventually, in_thread, live_agent
from tests.sessions_app.test_tool_arguments import CANARY, GOOD, Visit
from tests.tool_calls import PATIENCE_S, Register, asked, new_call, noting, recap, rows, told

pytestmark = pytest.mark.django_db(transaction=True)


async def test_answer_has_the_envelope_and_its_row(gateway: ToolGateway, context: CallContext, register: Register):
    register(lambda context, visit: ToolOutcome({"day": visit.day, "name": visit.name}, confidence=0.9))

    result = await gateway.run(asked(), context)

    row = await in_thread(ToolCall.objects.get)
    assert result.output == {
        "status": "ok",
        "data": {"day": "2026-11-23", "name": "Ann Lee"},
        "trace_id": str(row.trace_id),
        "confidence": 0.9,
    }
    assert (result.ok, result.then) == (True, Then.ANSWER)
    assert (row.session_id, row.status, row.output, row.position, row.started_ms) == (
        context.call_id,
        "ok",
        result.output,
        3,
        1200,
    )


async def test_unknown_tool_is_told_and_nothing_runs(gateway: ToolGateway, context: CallContext):
    result = await gateway.run(asked(name="drop_tables"), context)

    assert told(result) == ("unknown_tool", "There is no such tool.")
    assert await rows() == []


async def test_wrong_arguments_are_refused_before_the_tool_runs(
    gateway: ToolGateway, context: CallContext, register: Register
):
    ran: list[Any] = []
    register(noting(ran, lambda context, visit: visit))

    result = await gateway.run(asked({**GOOD, "kind": CANARY}), context)

    assert told(result) == ("invalid_arguments", "Not usable: Kind of visit: Input should be 'cleaning' or 'check'.")
    assert ran == []
    assert await rows() == [{"call_id": "call_1", "status": "error", "error_code": "invalid_arguments"}]


async def test_refusal_of_a_tool_is_told_in_its_words(gateway: ToolGateway, context: CallContext, register: Register):
    def refuse(context: ToolContext, visit: Visit) -> ToolOutcome:
        raise ToolError("slot_taken", "That time is taken.", retryable=True, data={"slots": [date(2026, 11, 24)]})

    register(refuse)

    result = await gateway.run(asked(), context)

    assert result.output == {
        "status": "error",
        "error_code": "slot_taken",
        "message": "That time is taken.",
        "retryable": True,
        "trace_id": result.output["trace_id"],
        "data": {"slots": ["2026-11-24"]},
    }


@pytest.mark.parametrize("fault", [RuntimeError(CANARY), KeyError(CANARY), TimeoutError(CANARY), SystemError(CANARY)])
async def test_fault_in_a_tool_tells_and_logs_no_word_of_it(
    gateway: ToolGateway, context: CallContext, register: Register, caplog: pytest.LogCaptureFixture, fault: Exception
):
    def fail(context: ToolContext, visit: Visit) -> ToolOutcome:
        Task.objects.create(clinic=context.clinic, kind=Task.Kind.CALLBACK, text="Half done")
        raise fault

    register(fail)

    with caplog.at_level(logging.DEBUG, logger="sessions_app"):
        result = await gateway.run(asked({**GOOD, "name": "Canary Bird"}), context)

    row = await in_thread(ToolCall.objects.get)
    assert told(result)[0] == "unavailable"
    assert (row.status, row.error_code) == ("error", "unavailable")
    assert await in_thread(Task.objects.count) == 0
    records = [vars(record) for record in caplog.records if record.name.startswith("sessions_app")]
    assert [(one["error"], one["tool"]) for one in records] == [(type(fault).__name__, "try_it")]
    assert "CANARY" not in repr([result, records]).upper().replace("CANARY BIRD", "")
    assert "Canary Bird" not in repr(records)


@pytest.mark.parametrize(
    "data",
    [
        {"text": "a" * 40_000},
        {"number": float("nan")},
        {"thing": object()},
        {("a", "b"): 1},
    ],
)
async def test_result_that_cannot_be_told_was_not_done(
    gateway: ToolGateway, context: CallContext, register: Register, data: dict[str, Any]
):
    def write(context: ToolContext, visit: Visit) -> ToolOutcome:
        Task.objects.create(clinic=context.clinic, kind=Task.Kind.CALLBACK, text="Written")
        return ToolOutcome(data)

    register(write, recap=recap)

    result = await gateway.run(asked(), context)

    assert told(result)[0] in ("too_much", "unavailable")
    assert await in_thread(Task.objects.count) == 0
    assert (await rows())[0]["status"] == "error"


async def test_result_with_a_nul_and_half_a_character_is_told_without_them(
    gateway: ToolGateway, context: CallContext, register: Register
):
    register(lambda context, visit: ToolOutcome({"na\x00me": ["Ann\x00", {"a": "\ud800!"}]}))

    result = await gateway.run(asked(), context)

    assert result.output["data"] == {"name": ["Ann", {"a": "?!"}]}
    assert (await in_thread(ToolCall.objects.get)).output == result.output


async def test_same_call_id_runs_once_however_often_it_comes(
    gateway: ToolGateway, context: CallContext, register: Register
):
    ran: list[int] = []
    register(noting(ran, lambda context, visit: 1))

    results = await asyncio.gather(*(gateway.run(asked(), context) for _ in range(10)))

    assert len(ran) == 1
    assert sorted(told(one)[0] for one in results) == [""] + ["repeated_call"] * 9
    assert await rows() == [{"call_id": "call_1", "status": "ok", "error_code": ""}]


async def test_call_id_of_another_call_is_another(gateway: ToolGateway, context: CallContext, register: Register):
    register(lambda context, visit: ToolOutcome({}))
    other = await in_thread(lambda: new_call(live_agent()))

    results = [await gateway.run(asked(), one) for one in (context, other)]

    assert [one.ok for one in results] == [True, True]


async def test_dry_run_writes_nothing_and_its_commit_runs_once(
    gateway: ToolGateway, context: CallContext, register: Register
):
    ran: list[str] = []
    register(noting(ran, lambda context, visit: visit.name), recap=recap)

    dry = await gateway.run(asked(commit=False), context)
    again = await gateway.run(asked(commit=False), context)
    between = await rows()
    done = await gateway.run(asked(confirmed_by="item_7"), context)
    twice = await gateway.run(asked(confirmed_by="item_7"), context)

    row = await in_thread(ToolCall.objects.get)
    assert dry.recap is not None
    assert (told(dry)[0], dry.recap.lines) == ("confirmation_required", (("Name", "Ann Lee"),))
    assert told(again)[0] == "repeated_call"
    assert between == [{"call_id": "call_1", "status": "asked", "error_code": "confirmation_required"}]
    assert (done.ok, told(twice)[0]) == (True, "repeated_call")
    assert (ran, row.status, row.confirmed_by) == (["Ann Lee"], "ok", "item_7")


async def test_dry_run_that_is_refused_asks_for_nothing(gateway: ToolGateway, context: CallContext, register: Register):
    def impossible(context: ToolContext, visit: Visit) -> Recap:
        raise ToolError("slot_taken", "That time is taken.")

    register(lambda context, visit: ToolOutcome({}), recap=impossible)

    result = await gateway.run(asked(commit=False), context)

    assert (told(result)[0], result.recap) == ("slot_taken", None)


async def test_row_is_committed_before_the_tool_runs(gateway: ToolGateway, context: CallContext, register: Register):
    seen: list[Any] = []

    def look(context: ToolContext, visit: Visit) -> ToolOutcome:
        def from_outside() -> None:
            seen.extend(ToolCall.objects.values_list("call_id", "status", "name"))
            connection.close()

        other = threading.Thread(target=from_outside)
        other.start()
        other.join(PATIENCE_S)
        return ToolOutcome({})

    register(look)

    await gateway.run(asked(), context)

    assert seen == [("call_1", "running", "try_it")]


async def test_clinic_call_and_patient_come_from_the_call(
    gateway: ToolGateway, context: CallContext, register: Register
):
    given: list[ToolContext] = []
    register(noting(given, lambda context, visit: context))

    await gateway.run(asked(patient_id=41), context)

    assert [(one.clinic, one.call_id, one.patient_id, one.zone) for one in given] == [
        (context.clinic, context.call_id, 41, context.clinic.zone)
    ]


async def test_refused_call_is_stored_without_running(gateway: ToolGateway, context: CallContext):
    gateway.refuse(RefuseTool("call_1", "drop_tables", "{\x00}", "unknown_tool", 2, 30), context)

    row = await eventually(ToolCall.objects.first, bool)
    assert row is not None
    assert (row.name, row.arguments, row.status, row.error_code) == ("drop_tables", "{}", "error", "unknown_tool")
