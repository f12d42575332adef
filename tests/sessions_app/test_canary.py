"""Words planted where only the model, or only staff, may read them: found there, and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.contrib.admin.models import LogEntry
from django.core import serializers
from django.db.models import Model
from websockets.exceptions import ConnectionClosed

from agents_app.data_classes import DataClass
from agents_app.models import Agent, Clinic, Instruction
from agents_app.practice.models import Task
from agents_app.publishing import publish, roll_back
from sessions_app.models import CallSession, ClientSecret, Event, Item, Place, StartCount, ToolCall
from tests.make import make_clinic, make_user
from tests.servers import Server, ended_call, in_thread, live_agent

# One for each place, so that what leaks tells from where.
TOLD = "CANARY-INSTRUCTION"
RESULT = "CANARY-RESULT"
ARGUMENT = "CANARY-ARGUMENT"
BROKEN = "CANARY-BROKEN-ARGUMENT"
WRONG = "CANARY-WRONG-VALUE"
EXTRA = "CANARY-EXTRA-FIELD"
CALLER = "CANARY-CALLER-SAID"
AGENT = "CANARY-AGENT-SAID"
EVENT_ID = "CANARY-EVENT-ID"
METADATA = "CANARY-METADATA"
HIDDEN = (TOLD, RESULT, ARGUMENT, BROKEN, WRONG, EXTRA)
ALL = (*HIDDEN, CALLER, AGENT, EVENT_ID, METADATA)

TOOLS = ["get_office_context", "find_patient", "take_message", "get_datetime"]
CALLS = [
    ["get_office_context", {}],
    ["find_patient", {"first_name": ARGUMENT, "last_name": "Lee", "date_of_birth": "1985-03-14"}],
    ["find_patient", {"first_name": "Ann", "last_name": "Lee", "date_of_birth": WRONG}],
    ["get_datetime", {EXTRA: 1}],
    ["get_datetime", [BROKEN]],
    ["no_such_tool", {"name": ARGUMENT}],
]


def planted() -> Agent:
    clinic = make_clinic(policies=RESULT)
    user = make_user(clinic)
    agent = live_agent(clinic, tools=TOOLS)
    first = agent.live_version
    assert first is not None
    Instruction.objects.create(agent=agent, title="Secret", text=f"{TOLD}: never say this.")
    publish(agent, user, speak=lambda *args, **kwargs: None)
    newest = Agent.objects.get(pk=agent.pk).live_version
    assert newest is not None
    roll_back(agent, first, user)
    roll_back(agent, newest, user)
    return Agent.objects.select_related("clinic", "live_version").get(pk=agent.pk)


def found(text: str, canaries: tuple[str, ...] = ALL) -> list[str]:
    return [canary for canary in canaries if canary.casefold() in text.casefold()]


def dump(*models: type[Model]) -> str:
    return "".join(serializers.serialize("json", model._default_manager.all()) for model in models)


async def hold_call(server: Server, agent: Agent) -> list[dict[str, Any]]:
    """Talk, have the tools called, break a rule or two; return all that the caller was told."""
    script = [{"say": "Hello."}, {"say": "One moment.", "call": CALLS}, {"say": f"{AGENT}: we are open."}]
    async with server.upstream() as standin:
        standin.set_faults(script=script)
        async with server.call(agent) as caller:
            await caller.until("response.done")
            await caller.say(f"{CALLER}: are you open?")
            await caller.send("response.create", event_id=EVENT_ID, response={"metadata": {"topic": METADATA}})
            await caller.until("response.done")
            await caller.until("response.done")
            await caller.send("conversation.item.delete", item_id=CALLER, event_id=EVENT_ID)
            await caller.socket.send(f'{{"{CALLER}": ')
            await caller.socket.send(json.dumps({"type": CALLER, "audio": CALLER}))
            for _ in range(3):
                await caller.until("error")
        return caller.events


async def test_planted_words_stand_where_they_belong_and_nowhere_else(server: Server):
    agent = await in_thread(planted)

    heard = await hold_call(server, agent)
    call = await ended_call(agent)

    # The words are where they belong, so that their absence elsewhere means something.
    items, calls = await in_thread(lambda: (dump(Item), list(ToolCall.objects.filter(session=call))))
    assert found(items) == [CALLER, AGENT]
    assert {canary for one in calls for canary in found(f"{one.arguments} {one.output}")} == set(HIDDEN) - {TOLD}
    assert len(calls) == len(CALLS)

    told = {
        "the caller": found(json.dumps(heard), HIDDEN),
        "an error": found(json.dumps([event for event in heard if event["type"] == "error"]), (CALLER, *HIDDEN)),
        "the server's log": found(server.log()),
        "an event's fields": found(await in_thread(lambda: dump(Event))),
        "the call's row": found(await in_thread(lambda: dump(CallSession, ClientSecret, Place, StartCount))),
        "a tool call's public fields": found(repr([public(one) for one in calls])),
        "the admin's history": found(await in_thread(lambda: dump(LogEntry))),
        "the names of rows": found(repr([str(one) for one in (call, *calls, *await in_thread(rows))])),
        "files": found(" ".join(text_of(path) for path in files(server.data_dir))),
    }
    assert {place: words for place, words in told.items() if words} == {}
    assert await in_thread(LogEntry.objects.count) == 3


def public(call: ToolCall) -> dict[str, Any]:
    return {name: getattr(call, name) for name in ToolCall.data_classes[DataClass.PUBLIC].split() if name != "session"}


def rows() -> list[Model]:
    return [*Item.objects.all(), *Event.objects.all(), *Task.objects.all(), *Clinic.objects.all()]


def files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


def text_of(path: Path) -> str:
    return f"{path.name} {path.read_bytes().decode('latin-1')}"


async def test_reason_of_a_failure_in_the_services_own_words_stays_with_staff(uvicorn: Server):
    agent = await in_thread(live_agent)

    async with uvicorn.upstream(faults={"failed_response": AGENT}), uvicorn.call(agent) as caller:
        closed = await last_words(caller)
        call = await ended_call(agent)

    assert found(json.dumps(caller.events) + closed) == []
    assert call.error_code == AGENT
    assert AGENT not in uvicorn.log()


async def last_words(caller: Any) -> str:
    """Read to the end; return the reason with which the server closes."""
    await caller.say("Hello")
    await caller.send("response.create")
    try:
        while True:
            await caller.next()
    except ConnectionClosed as closed:
        return str(closed)
