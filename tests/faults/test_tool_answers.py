"""R29, R43: what a tool may come back with besides an answer, and calls whose arguments or responses never complete."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from urllib.error import HTTPError

import pytest
from django.core.exceptions import ObjectDoesNotExist, PermissionDenied
from django.db import DataError, IntegrityError, OperationalError

from agents_app.practice.models import Task
from agents_app.tools import ToolContext, ToolError, ToolOutcome
from sessions_app.effects import ToModel
from sessions_app.tool_gateway import MAX_OUTPUT_CHARS, CallContext, ToolGateway
from tests.servers import in_thread
from tests.sessions_app.call.script import Scene, looked
from tests.sessions_app.test_tool_arguments import CANARY, Visit
from tests.tool_calls import Register, asked, rows, told

HTML = f"<html><body>502 Bad Gateway {CANARY}</body></html>"
LOOP: dict[str, Any] = {}
LOOP["again"] = LOOP


def raises(error: BaseException) -> Callable[[], Any]:
    def run() -> Any:
        raise error

    return run


def gives(value: Any) -> Callable[[], Any]:
    return lambda: value


def deep() -> Any:
    def down() -> Any:
        return down()

    return down()


# what a handler does -> the error that the model is told
ANSWERS: dict[str, tuple[Callable[[], Any], str]] = {
    "409": (raises(HTTPError("https://pms.example", 409, CANARY, {}, None)), "unavailable"),  # type: ignore[arg-type]
    "422": (raises(HTTPError("https://pms.example", 422, CANARY, {}, None)), "unavailable"),  # type: ignore[arg-type]
    "conflict, said": (raises(ToolError("slot_taken", "That time is taken.", retryable=True)), "slot_taken"),
    "refusal, said": (raises(ToolError("not_possible", "That cannot be done.")), "not_possible"),
    "HTML": (gives(HTML), "unavailable"),
    "half of JSON": (lambda: json.loads('{"slots": ['), "unavailable"),
    "JSON of another shape": (lambda: {"slots": []}["appointments"], "unavailable"),
    "nothing": (gives(None), "unavailable"),
    "a list": (gives([{"slot": 1}]), "unavailable"),
    "bytes": (gives(b"{}"), "unavailable"),
    "a dict": (gives({"status": "ok"}), "unavailable"),
    "a class": (gives(ToolOutcome), "unavailable"),
    "data that is a string": (gives(ToolOutcome(HTML)), "unavailable"),  # type: ignore[arg-type]
    "a set in the data": (gives(ToolOutcome({"slots": {1, 2}})), "unavailable"),
    "bytes in the data": (gives(ToolOutcome({"body": b"\xff"})), "unavailable"),
    "an object in the data": (gives(ToolOutcome({"visit": object()})), "unavailable"),
    "no number in the data": (gives(ToolOutcome({"price": float("nan")})), "unavailable"),
    "endless data": (gives(ToolOutcome(LOOP)), "unavailable"),
    "too much data": (gives(ToolOutcome({"all": "x" * (MAX_OUTPUT_CHARS + 1)})), "too_much"),
    "wrong key in the data": (gives(ToolOutcome({("a", "b"): 1})), "unavailable"),  # type: ignore[dict-item]
    "connection refused": (raises(ConnectionRefusedError(CANARY)), "unavailable"),
    "connection reset": (raises(ConnectionResetError(CANARY)), "unavailable"),
    "its own time is over": (raises(TimeoutError(CANARY)), "unavailable"),
    "row is gone": (raises(ObjectDoesNotExist(CANARY)), "unavailable"),
    "not permitted": (raises(PermissionDenied(CANARY)), "unavailable"),
    "constraint": (raises(IntegrityError(CANARY)), "unavailable"),
    "wrong data": (raises(DataError(CANARY)), "unavailable"),
    "database is away": (raises(OperationalError(CANARY)), "unavailable"),
    "no such text": (lambda: b"\xff".decode(), "unavailable"),
    "by nothing": (lambda: Decimal(1) / Decimal(0), "unavailable"),
    "recursion": (deep, "unavailable"),
    "no memory": (raises(MemoryError(CANARY)), "unavailable"),
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("answer", ANSWERS)
async def test_whatever_a_tool_comes_back_with_is_one_typed_error_and_no_second_try(
    gateway: ToolGateway, context: CallContext, register: Register, answer: str
):
    """R29: told in our words, stored once, run once, and what it had begun is undone unless it refused in words."""
    misbehave, code = ANSWERS[answer]
    ran: list[str] = []

    def handler(context: ToolContext, visit: Visit) -> ToolOutcome:
        ran.append(visit.name)
        Task.objects.create(clinic=context.clinic, kind=Task.Kind.CALLBACK, text="Half done")
        return misbehave()  # type: ignore[no-any-return]

    register(handler)

    result = await gateway.run(asked(), context)

    assert (result.ok, told(result)[0]) == (False, code)
    assert CANARY not in json.dumps(result.output)
    assert len(ran) == 1
    assert await rows() == [{"call_id": "call_1", "status": "error", "error_code": code}]
    said = code in ("slot_taken", "not_possible")
    assert await in_thread(Task.objects.count) == int(said)


def test_arguments_that_never_complete_run_nothing():
    """R43: the deltas stop, and the response ends as incomplete; or it never ends at all."""
    scene = Scene().live()
    item = {"id": "item_c", "type": "function_call", "status": "in_progress", "call_id": "call_1", "name": "look"}
    scene.model("response.created", response={"id": "resp_1", "status": "in_progress"})
    scene.model("conversation.item.added", item={**item, "arguments": ""})
    for piece in ('{"day', '": "Mon'):
        ids = {"response_id": "resp_1", "item_id": "item_c", "call_id": "call_1", "output_index": 0}
        scene.model("response.function_call_arguments.delta", **ids, delta=piece)
    half = {**item, "status": "incomplete", "arguments": '{"day": "Mon'}
    scene.model("conversation.item.done", item=half)
    body = {
        "id": "resp_1",
        "status": "incomplete",
        "status_details": {"type": "incomplete", "reason": "max_output_tokens"},
    }
    scene.model("response.done", response={**body, "output": [half]})
    scene.typed("Are you there?")

    assert scene.runs(commit=False) + scene.runs(commit=True) == []
    assert scene.outputs() == {}
    assert len(scene.to_model("response.create")) == 2  # the greeting, and what the caller asked for


def test_tool_of_an_interrupted_turn_is_finished_and_nothing_is_said_into_what_the_caller_says():
    """R43: the caller speaks while a tool runs: the output goes to the conversation once, and no response is begun."""
    scene = Scene().live()
    scene.speech("item_u1", "What is free?")
    scene.calls("resp_1", ("call_1", "look", "{}"))
    scene.model("input_audio_buffer.speech_started", item_id="item_u2", audio_start_ms=2000)

    while_speaking = scene.tool("call_1", looked())
    scene.model("input_audio_buffer.speech_stopped", item_id="item_u2", audio_end_ms=2600)
    scene.model("input_audio_buffer.committed", item_id="item_u2")
    scene.model("response.created", response={"id": "resp_2", "status": "in_progress"})  # begun by the service
    scene.end_reply("resp_2", "item_2", "As I said.")
    scene.at(scene.now + 3)

    sent = [effect.event["type"] for effect in while_speaking if isinstance(effect, ToModel)]
    assert sent == ["conversation.item.create"]
    assert {call_id: len(outputs) for call_id, outputs in scene.outputs().items()} == {"call_1": 1}
    assert scene.item("item_2").text == "As I said."


def test_tool_that_ends_after_its_caller_has_left_begins_no_response():
    """R43: it is finished in the background, and told to nobody who is not there."""
    scene = Scene().live()
    scene.speech("item_u1", "What is free?")
    scene.calls("resp_1", ("call_1", "look", "{}"))
    scene.take(scene.call.caller_left(now=scene.now, code=1000))

    scene.tool("call_1", looked())
    scene.at(scene.now + 10)

    assert len(scene.to_model("response.create")) == 1  # the greeting
    assert (scene.end().reason, scene.call.ended) == ("caller", True)
