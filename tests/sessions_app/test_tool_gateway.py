"""One function call at a time through the gateway: answered once, bounded, recorded, and never able to end the call."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable
from datetime import date
from typing import Any, Literal
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from django.db import connection
from pydantic import BaseModel, ConfigDict, Field

from agents_app import tools
from agents_app.models import Agent
from agents_app.practice.models import Task
from agents_app.tools import Recap, Then, ToolContext, ToolError, ToolOutcome, ToolSpec
from sessions_app.call.function_calls import ToolResult
from sessions_app.effects import LeaveTask, RefuseTool, RunTool
from sessions_app.models import CallSession, ToolCall
from sessions_app.tool_gateway import MAX_ARGUMENTS_CHARS, THREADS_A_CLINIC, CallContext, ToolGateway
from tests.make_calls import STARTED
from tests.servers import eventually, in_thread, live_agent

pytestmark = pytest.mark.django_db(transaction=True)
CANARY = "CANARY-2f9c"
PATIENCE_S = 20.0


class Visit(BaseModel):
    model_config = ConfigDict(extra="forbid")

    day: date = Field(title="Day of the visit")
    kind: Literal["cleaning", "check"] = Field(title="Kind of visit")
    name: str = Field(title="Full name", max_length=20, pattern=r"^[A-Za-z ]+$")
    count: int = Field(default=1, title="How many", ge=1, le=9)


GOOD = {"day": "2026-11-23", "kind": "cleaning", "name": "Ann Lee"}


@pytest_asyncio.fixture
async def gateway() -> AsyncIterator[ToolGateway]:
    gateway = ToolGateway()
    yield gateway
    await asyncio.to_thread(gateway.close)


@pytest.fixture
def context() -> CallContext:
    return new_call(live_agent())


def new_call(agent: Agent) -> CallContext:
    assert agent.live_version is not None
    call = CallSession.objects.create(clinic=agent.clinic, version=agent.live_version, started_at=STARTED)
    return CallContext(call.pk, agent.clinic)


Register = Callable[..., None]


def noting(notes: list[Any], note: Callable[[ToolContext, Visit], Any]) -> Callable[[ToolContext, Visit], ToolOutcome]:
    """A tool that only notes that it ran, and with what."""

    def handler(context: ToolContext, visit: Visit) -> ToolOutcome:
        notes.append(note(context, visit))
        return ToolOutcome({"done": len(notes)})

    return handler


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Register:
    def add(handler: Callable[[ToolContext, Any], ToolOutcome], *, name: str = "try_it", **fields: Any) -> None:
        # The registry only grows, and other tests list it: what is added here is taken out again.
        monkeypatch.setitem(tools._registry, name, ToolSpec(name, "Try it", Visit, handler, **fields))

    return add


def asked(arguments: Any = None, *, call_id: str = "call_1", name: str = "try_it", **fields: Any) -> RunTool:
    text = arguments if isinstance(arguments, str) else json.dumps(GOOD if arguments is None else arguments)
    return RunTool(call_id, name, text, **{"commit": True, "position": 3, "started_ms": 1200, **fields})


def told(result: ToolResult) -> tuple[str, str]:
    return result.output.get("error_code", ""), result.output.get("message", "")


async def rows() -> list[dict[str, Any]]:
    names = ("call_id", "status", "error_code")
    found = await in_thread(lambda: list(ToolCall.objects.order_by("pk").values_list(*names)))
    return [dict(zip(names, one, strict=True)) for one in found]


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


NOT_JSON = "The arguments are not JSON."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("{", NOT_JSON),
        ("", "Ask the caller for: Day of the visit, Kind of visit, Full name."),
        ("null", "Not usable: arguments: Input should be an object."),
        ("[]", "Not usable: arguments: Input should be an object."),
        (f'"{CANARY}"', "Not usable: arguments: Input should be an object."),
        ("{" * 5000, NOT_JSON),
        ("[" * 15_000, NOT_JSON),
        ('{"day": NaN}', NOT_JSON),
        ('{"name": "a", "name": "b"}', NOT_JSON),
        ('{"name": "a\\u0000b"}', NOT_JSON),
        ("\ufeff{}", NOT_JSON),
        ("a" * (MAX_ARGUMENTS_CHARS + 1), "The arguments are too long."),
        ({"day": "2026-11-23"}, "Ask the caller for: Kind of visit, Full name."),
        ({**GOOD, "day": CANARY}, None),
        ({**GOOD, "day": 20261123}, None),
        ({**GOOD, "kind": CANARY}, "Not usable: Kind of visit: Input should be 'cleaning' or 'check'."),
        ({**GOOD, "kind": "Cleaning"}, "Not usable: Kind of visit: Input should be 'cleaning' or 'check'."),
        ({**GOOD, "name": CANARY * 9}, "Not usable: Full name: String should have at most 20 characters."),
        ({**GOOD, "name": CANARY}, None),
        ({**GOOD, "name": [CANARY]}, "Not usable: Full name: Input should be a valid string."),
        ({**GOOD, "count": "1"}, "Not usable: How many: Input should be a valid integer."),
        ({**GOOD, "count": 1.0}, "Not usable: How many: Input should be a valid integer."),
        ({**GOOD, "count": True}, "Not usable: How many: Input should be a valid integer."),
        ({**GOOD, "count": 10**30}, "Not usable: How many: Input should be less than or equal to 9."),
        (
            {**GOOD, CANARY: 1},
            "Not usable: a field that the tool does not have: Extra inputs are not permitted.",
        ),
        (
            {**GOOD, "clinic_id": 1},
            "Not usable: a field that the tool does not have: Extra inputs are not permitted.",
        ),
    ],
)
async def test_wrong_arguments_name_the_fields_titles_and_no_value(
    gateway: ToolGateway, context: CallContext, register: Register, arguments: Any, message: str | None
):
    ran: list[Any] = []
    register(noting(ran, lambda context, visit: visit))

    result = await gateway.run(asked(arguments), context)

    assert result.output["error_code"] == "invalid_arguments"
    assert message is None or result.output["message"] == message
    assert CANARY not in json.dumps(result.output)
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


async def test_hanging_tool_times_out_and_its_late_result_stands_in_the_row_alone(
    gateway: ToolGateway, context: CallContext, register: Register
):
    released = threading.Event()
    register(lambda context, visit: released.wait(PATIENCE_S) and ToolOutcome({"late": 1}), timeout_s=0.2)

    result = await gateway.run(asked(), context)
    before = await rows()
    released.set()
    await asyncio.to_thread(gateway.close)

    row = await in_thread(ToolCall.objects.get)
    assert told(result)[0] == "timeout"
    assert before == [{"call_id": "call_1", "status": "running", "error_code": ""}]
    assert row.output is not None
    assert (row.status, row.output["data"]) == ("ok", {"late": 1})


def recap(context: ToolContext, visit: Visit) -> Recap:
    values = {"day": str(visit.day), "name": visit.name}
    return Recap(f"I will book {visit.name}. Shall I?", (("Name", visit.name),), (visit.name,), values)


async def test_write_that_hangs_after_the_yes_leaves_a_task_to_check(
    gateway: ToolGateway, context: CallContext, register: Register
):
    released = threading.Event()
    register(lambda context, visit: released.wait(PATIENCE_S) and ToolOutcome({}), timeout_s=0.2, recap=recap)
    await gateway.run(asked(commit=False), context)

    result = await gateway.run(asked(confirmed_by="button"), context)
    released.set()
    task = await eventually(Task.objects.first, bool)

    assert (told(result)[0], result.output["retryable"]) == ("outcome_unknown", False)
    assert task is not None
    assert (task.clinic_id, task.call_id, task.kind) == (context.clinic.pk, context.call_id, "check")


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
    assert (done.ok, done.committed, told(twice)[0]) == (True, True, "repeated_call")
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


@pytest.mark.parametrize("name", sorted(tools.registered_tools()))
def test_no_tool_takes_a_clinic_a_patient_or_a_call_from_its_arguments(name):
    spec = tools.registered_tools()[name]

    named = {field for field in spec.arguments.model_fields if field.split("_")[0] in ("clinic", "patient", "call")}
    ids = {field for field in spec.arguments.model_fields if field.endswith("_id")}

    assert named == set()
    assert ids <= {"slot_id", "appointment_id"}
    assert spec.arguments.model_config["extra"] == "forbid"


async def test_refused_call_is_stored_without_running(gateway: ToolGateway, context: CallContext):
    await gateway.refuse(RefuseTool("call_1", "drop_tables", "{\x00}", "unknown_tool", 2, 30), context)

    row = await in_thread(ToolCall.objects.get)
    assert (row.name, row.arguments, row.status, row.error_code) == ("drop_tables", "{}", "error", "unknown_tool")


async def test_rows_that_cannot_be_stored_end_no_call(
    gateway: ToolGateway, context: CallContext, register: Register, caplog: pytest.LogCaptureFixture
):
    register(lambda context, visit: ToolOutcome({}))
    nowhere = CallContext(UUID(int=0), context.clinic)

    with caplog.at_level(logging.ERROR):
        await gateway.refuse(RefuseTool("call_1", "try_it", CANARY, "unknown_tool", 2, 30), nowhere)
        await gateway.refuse(RefuseTool("call_1", "try_it", CANARY, "unknown_tool", -2, 30), context)
        await gateway.leave_task(LeaveTask(CANARY), CallContext(uuid4(), type(context.clinic)(pk=10**6)))
        result = await gateway.run(asked({**GOOD, "name": "Ann"}, position=-1), context)

    assert result.ok is False
    assert CANARY not in repr([vars(record) for record in caplog.records])


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
