"""Tools that hang and rows that cannot be stored: bounded in time, in threads, and in what they cost the call."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import OperationalError, connection

from agents_app.practice.models import Task
from agents_app.tools import Recap, ToolContext, ToolOutcome
from sessions_app.effects import LeaveTask, RefuseTool
from sessions_app.models import ToolCall
from sessions_app.tool_gateway import THREADS_A_CLINIC, CallContext, ToolGateway
from tests.servers import eventually, in_thread, live_agent
from tests.sessions_app.test_tool_arguments import CANARY, GOOD, Visit
from tests.tool_calls import PATIENCE_S, Register, asked, new_call, recap, rows, told

pytestmark = pytest.mark.django_db(transaction=True)


async def test_hanging_tool_times_out_and_its_late_result_stands_in_the_row_alone(
    gateway: ToolGateway, context: CallContext, register: Register
):
    released = threading.Event()
    register(lambda context, visit: released.wait(PATIENCE_S) and ToolOutcome({"late": 1}), timeout_s=1.0)

    result = await gateway.run(asked(), context)
    before = await rows()
    released.set()
    await asyncio.to_thread(gateway.close)

    row = await in_thread(ToolCall.objects.get)
    assert told(result)[0] == "timeout"
    assert before == [{"call_id": "call_1", "status": "running", "error_code": ""}]
    assert row.output is not None
    assert (row.status, row.output["data"]) == ("ok", {"late": 1})


async def test_write_that_hangs_after_the_yes_leaves_a_task_to_check(
    gateway: ToolGateway, context: CallContext, register: Register
):
    released = threading.Event()
    register(lambda context, visit: released.wait(PATIENCE_S) and ToolOutcome({}), timeout_s=1.0, recap=recap)
    await gateway.run(asked(commit=False), context)

    result = await gateway.run(asked(confirmed_by="button"), context)
    released.set()
    task = await eventually(Task.objects.first, bool)

    assert (told(result)[0], result.output["retryable"]) == ("outcome_unknown", False)
    assert task is not None
    assert (task.clinic_id, task.call_id, task.kind) == (context.clinic.pk, context.call_id, "check")


async def test_what_was_done_is_told_as_done_though_its_row_could_not_be_ended(
    gateway: ToolGateway, context: CallContext, register: Register, monkeypatch: pytest.MonkeyPatch
):
    register(lambda context, visit: ToolOutcome({"done": 1}), recap=recap)
    await gateway.run(asked(commit=False), context)

    begin = ToolCall.save

    def begins_and_does_not_end(row: ToolCall, **fields: Any) -> None:
        if "update_fields" in fields:
            raise OperationalError
        begin(row, **fields)

    monkeypatch.setattr(ToolCall, "save", begins_and_does_not_end)
    result = await gateway.run(asked(confirmed_by="button"), context)

    assert (result.ok, result.output["data"]) == (True, {"done": 1})
    assert await rows() == [{"call_id": "call_1", "status": "running", "error_code": ""}]


async def test_write_whose_commit_fails_is_not_told_as_one_to_try_again(
    gateway: ToolGateway, context: CallContext, register: Register
):
    def broken_off(context: ToolContext, visit: Visit) -> ToolOutcome:
        connection.connection.close()  # by the database, between the last statement and the COMMIT
        return ToolOutcome({"done": 1})

    register(broken_off, recap=recap)
    await gateway.run(asked(commit=False), context)

    result = await gateway.run(asked(confirmed_by="button"), context)

    assert (told(result)[0], result.output["retryable"]) == ("outcome_unknown", False)
    assert (await rows())[0]["status"] == "running"


async def test_hanging_tools_of_one_clinic_hold_no_other_back(
    gateway: ToolGateway, context: CallContext, register: Register
):
    released = threading.Event()
    running: list[str] = []

    def hang(context: ToolContext, visit: Visit) -> Recap:
        running.append("hang")  # in the dry run: a handler has the one writer's place on SQLite
        released.wait(PATIENCE_S)
        return recap(context, visit)

    register(lambda context, visit: ToolOutcome({}), recap=hang, timeout_s=0.5)
    register(lambda context, visit: ToolOutcome({"fine": 1}), name="be_quick")
    neighbour = await in_thread(lambda: new_call(live_agent()))

    hung = await asyncio.gather(*(gateway.run(asked(call_id=f"call_{n}", commit=False), context) for n in range(20)))
    quick = await gateway.run(asked(name="be_quick"), neighbour)
    at_once = len(running)
    released.set()
    stored = await eventually(
        lambda: list(ToolCall.objects.values_list("call_id", flat=True)), lambda ids: len(ids) == 21
    )

    assert {told(one)[0] for one in hung} == {"timeout", "unavailable"}
    assert at_once == THREADS_A_CLINIC
    assert quick.output["data"] == {"fine": 1}
    assert sorted(stored) == sorted([*(f"call_{n}" for n in range(20)), "call_1"])


async def test_thread_is_free_again_when_the_tool_that_hung_has_ended(
    gateway: ToolGateway, context: CallContext, register: Register
):
    released = threading.Event()

    def hang(context: ToolContext, visit: Visit) -> Recap:
        released.wait(PATIENCE_S)
        return recap(context, visit)

    register(lambda context, visit: ToolOutcome({}), recap=hang, timeout_s=0.2)
    register(lambda context, visit: ToolOutcome({}), name="be_quick")
    hanging = [asked(call_id=f"call_{n}", commit=False) for n in range(THREADS_A_CLINIC)]
    await asyncio.gather(*(gateway.run(one, context) for one in hanging))

    waiting = asyncio.create_task(gateway.run(asked(name="be_quick", call_id="call_9"), context))
    released.set()

    assert (await waiting).ok is True


async def test_call_that_ends_while_a_tool_runs_stores_its_result(
    gateway: ToolGateway, context: CallContext, register: Register
):
    begun, released = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow(context: ToolContext, visit: Visit) -> ToolOutcome:
        loop.call_soon_threadsafe(begun.set)
        released.wait(PATIENCE_S)
        return ToolOutcome({"late": 1})

    register(slow)
    running = asyncio.create_task(gateway.run(asked(), context))
    await begun.wait()

    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    released.set()
    await asyncio.to_thread(gateway.close)

    assert (await rows())[0]["status"] == "ok"


async def test_rows_that_cannot_be_stored_end_no_call(
    gateway: ToolGateway, context: CallContext, register: Register, caplog: pytest.LogCaptureFixture
):
    register(lambda context, visit: ToolOutcome({}))
    nowhere = CallContext(UUID(int=0), context.clinic)

    with caplog.at_level(logging.ERROR):
        gateway.refuse(RefuseTool("call_1", "try_it", CANARY, "unknown_tool", 2, 30), nowhere)
        gateway.refuse(RefuseTool("call_1", "try_it", CANARY, "unknown_tool", -2, 30), context)
        gateway.leave_task(LeaveTask(CANARY), CallContext(uuid4(), type(context.clinic)(pk=10**6)))
        result = await gateway.run(asked({**GOOD, "name": "Ann"}, position=-1), context)
        await eventually(lambda: len(caplog.records), lambda lines: lines == 3)

    assert result.ok is False
    assert CANARY not in repr([vars(record) for record in caplog.records])
