"""Typed calls through the consumer, the bridge, the tools and the recorder, against the stand-in on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.db import InternalError, connections
from django.db.models.functions import Now

from agents_app.models import Agent, Clinic, Guardrail, digest
from agents_app.practice.models import Appointment, Patient, Task
from agents_app.publishing import publish
from agents_app.tools import registered_tools
from sessions_app import resuming
from sessions_app.effects import CallEnded, Fact
from sessions_app.models import CallPatient, CallSession, Event, Item, Place, ToolCall
from sessions_app.registry import close_registry, registry
from sessions_app.routing import call_patterns
from sessions_app.standin.server import Standin, running_standin
from tests.callers import Closed, calling, key_for
from tests.make import make_agent
from tests.make_calls import make_call
from tests.make_practice import make_patient, make_practice

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.asyncio]


@pytest_asyncio.fixture
async def standin(settings: Any, transactional_db: None) -> AsyncIterator[Standin]:
    async with running_standin(speech=False) as running:
        settings.OPENAI_BASE_URL = settings.STANDIN_URL = running.http_url
        yield running
        await asyncio.to_thread(close_registry)
        await sync_to_async(connections.close_all)()  # those of the thread that serves this test's queries


def _receptionist() -> Agent:
    practice = make_practice()
    make_patient(practice.clinic, first_name="Ann", last_name="Lee", date_of_birth="1985-03-14")
    agent = make_agent(practice.clinic, tools=list(registered_tools()), greeting="Hello, this is Barton Dental.")
    Guardrail.objects.create(agent=agent, name="Emergency", phrases="chest pain", line="Please call 911 now.")
    publish(agent, None, speak=lambda *args, **kwargs: None)
    agent.refresh_from_db()
    return agent


@pytest_asyncio.fixture
async def agent(standin: Standin) -> Agent:
    return await sync_to_async(_receptionist)()


async def ended() -> CallSession:
    """Return the one call, stored to its end."""
    while registry().live:
        await asyncio.wait(registry().tasks)
    await registry().flush()
    return await sync_to_async(CallSession.objects.get)()


async def test_caller_books_by_text_and_the_whole_record_is_there(agent: Agent):
    key = await sync_to_async(key_for)(agent)

    async with calling(agent, key) as caller:
        greeting = await caller.reply()
        await caller.types("I would like to book a cleaning")
        await caller.types("Ann Lee")
        offer = await caller.types("March 14th 1985")
        recap = await caller.types("the first one")
        confirmation = await caller.types("yes please")
    call = await ended()

    booked = await sync_to_async(Appointment.objects.select_related("patient").get)()
    lines = [item async for item in Item.objects.values_list("speaker", "text").order_by("position")]
    tools = [row async for row in ToolCall.objects.values_list("name", "status")]
    assert greeting == "Hello, this is Barton Dental. I am an automated assistant."
    assert "with Dr. Adams" in offer
    assert "Shall I go ahead?" in recap
    assert "booked" in confirmation
    assert (booked.patient.last_name, booked.booked_by_call) == ("Lee", call.pk)
    assert (call.state, call.end_reason, call.outcome, call.channel) == ("ended", "caller", "booked", "web")
    assert [state for _, state in call.state_history] == ["connecting", "live", "ending", "ended"]
    assert [text for speaker, text in lines if speaker == "caller"] == [
        "I would like to book a cleaning",
        "Ann Lee",
        "March 14th 1985",
        "the first one",
        "yes please",
    ]
    assert lines[0] == ("agent", greeting)
    assert lines[-1] == ("agent", confirmation)
    assert tools == [
        ("find_patient", "ok"),
        ("find_slots", "ok"),
        ("book_appointment", "asked"),
        ("book_appointment", "ok"),
    ]
    assert await CallPatient.objects.filter(session=call).acount() == 1
    assert call.usage["responses"] == len([e for e in caller.told("response.done")])
    assert [event["answer"] for event in caller.told("frontdesk.confirm_closed")] == ["yes"]
    assert caller.told("frontdesk.card")[0]["lines"][0] == ["Booked", "Cleaning"]


async def test_emergency_gives_the_line_and_the_number_and_books_nothing_after_it(agent: Agent):
    key = await sync_to_async(key_for)(agent)

    async with calling(agent, key) as caller:
        await caller.reply()
        answer = await caller.types("I have chest pain")
        await caller.types("I would like to book a cleaning")
        await caller.types("Ann Lee")
        await caller.types("March 14th 1985")
        await caller.types("the first one")
        await caller.types("yes")
    call = await ended()

    assert answer == "Please call 911 now."
    assert [(e["line"], e["number"]) for e in caller.told("frontdesk.emergency")] == [("Please call 911 now.", "911")]
    assert await Appointment.objects.acount() == 0
    assert await Event.objects.filter(session=call, type="guardrail.tripped").acount() == 1
    assert call.outcome == "emergency"


async def test_model_that_confirms_by_itself_writes_nothing(agent: Agent, standin: Standin):
    patient = await sync_to_async(Patient.objects.get)()
    slot = {"slot_id": "the first one"}
    standin.faults.script = [
        {"say": "Hello."},
        {"call": [["find_slots", {"visit_type": "cleaning"}]]},
        {"call": [["find_patient", {"first_name": "Ann", "last_name": "Lee", "date_of_birth": "1985-03-14"}]]},
        {"call": [["book_appointment", {**slot, "confirmed": True}], ["book_appointment", slot]]},
        {"say": "I have booked it already."},  # in place of the recap
        {"say": "I have booked it already."},  # and of its second try
        {"say": "I have left a note."},
        {"call": [["book_appointment", slot], ["book_appointment", slot]]},
        {"say": "It is done."},
    ]
    key = await sync_to_async(key_for)(agent)

    async with calling(agent, key) as caller:
        await caller.reply()
        await caller.text("Book me something")
        await caller.until("frontdesk.confirm_closed", answer="expired")
        await caller.reply()
        await caller.types("Yes, yes, please go ahead")
    await ended()

    statuses = [row async for row in ToolCall.objects.filter(name="book_appointment").values_list("status", flat=True)]
    assert await Appointment.objects.filter(patient=patient).acount() == 0
    assert sorted(statuses) == ["asked", "asked", "error", "error"]
    assert await Task.objects.filter(kind="check").acount() == 1


async def test_key_works_once(agent: Agent):
    key = await sync_to_async(key_for)(agent)

    async with calling(agent, key) as caller:
        await caller.reply()
        with pytest.raises(Closed):
            async with calling(agent, key):
                pass

    await ended()


async def test_call_beyond_the_clinics_places_is_told_so_on_the_accepted_socket(agent: Agent):
    await Clinic.objects.filter(pk=agent.clinic_id).aupdate(max_concurrent_calls=1)
    first, second = await sync_to_async(key_for)(agent), await sync_to_async(key_for)(agent)

    async with calling(agent, first) as caller:
        await caller.reply()
        async with calling(agent, second, text_only=False) as other:
            busy = await other.until("error")
            code = await other.closed()
    await ended()

    assert (busy["error"]["code"], code) == ("busy", 4013)  # 1013, as servers without extensions can spell it
    assert await Place.objects.acount() == 0


async def test_goodbye_ends_the_call_by_itself(agent: Agent):
    key = await sync_to_async(key_for)(agent)

    async with calling(agent, key) as caller:
        await caller.reply()
        await caller.text("Goodbye, that is all")
        code = await caller.closed()
    call = await ended()

    assert code == 1000
    assert [event["reason"] for event in caller.told("frontdesk.ended")] == ["goodbye"]
    assert call.end_reason == "goodbye"


async def test_upstream_that_refuses_is_told_and_stored(agent: Agent, standin: Standin):
    standin.faults.refuse_handshake = 401
    key = await sync_to_async(key_for)(agent)

    async with calling(agent, key) as caller:
        error = await caller.until("error")
        code = await caller.closed()
    call = await ended()

    assert (error["error"]["code"], code) == ("upstream_failed", 4500)
    assert (call.end_reason, call.error_code, call.outcome) == ("refused", "upstream_401", "failed")


async def test_fault_of_ours_ends_the_call_and_says_so(agent: Agent, monkeypatch: pytest.MonkeyPatch):
    # A bug cannot be asked for: one is put where typed messages are decided.
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("canary words of the caller")

    monkeypatch.setattr("sessions_app.call.tool_side.caller_message", broken)
    key = await sync_to_async(key_for)(agent)

    async with calling(agent, key) as caller:
        await caller.reply()
        await caller.text("Hello?")
        code = await caller.closed()
    call = await ended()

    assert (call.end_reason, call.outcome, code) == ("internal", "failed", 4011)  # 1011, as such servers spell it


async def test_call_whose_record_finds_no_room_says_goodbye_and_its_end_is_stored(agent: Agent):
    """R31: neither the database nor the journal takes anything, and memory is full."""
    key = await sync_to_async(key_for)(agent)

    async with calling(agent, key) as caller:
        await caller.reply()
        registry().recorder._queue._max_facts = 0  # in place of 50,000 facts
        await caller.text("When are you open?")
        code = await caller.closed()
    call = await ended()

    assert code % 3000 == 1012
    assert (call.state, call.end_reason) == ("ended", "interrupted")
    assert registry().recorder.dropped > 0


async def test_call_ends_though_the_database_does_not_take_its_place_back(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    key = await sync_to_async(key_for)(agent)

    def read_only(call_id: UUID) -> int:
        raise InternalError("cannot execute DELETE in a read-only transaction")

    async with calling(agent, key) as caller:
        await caller.reply()
        monkeypatch.setattr(Place.objects, "release", read_only)  # a standby that answers is no fault we can make here
    call = await ended()

    assert (call.state, call.end_reason, registry().live) == ("ended", "caller", 0)
    assert await sync_to_async(Place.objects.count)() == 1
    assert [record.message for record in caplog.records] == ["A place could not be given back"]


async def test_fault_in_the_end_of_a_call_leaves_no_half_of_it(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    key = await sync_to_async(key_for)(agent)
    put = registry().recorder.put

    def refuses_the_end(call_id: UUID, fact: Fact) -> bool:
        if isinstance(fact, CallEnded):
            raise RuntimeError
        return put(call_id, fact)

    monkeypatch.setattr(registry().recorder, "put", refuses_the_end)
    async with calling(agent, key) as caller:
        await caller.reply()
        await caller.text("Goodbye, that is all")
        with contextlib.suppress(Closed):
            await caller.until("no such event")
    while registry().live:
        await asyncio.wait(registry().tasks)

    call = await CallSession.objects.aget()
    assert (call.state, await Place.objects.acount()) == ("live", 0)  # its lease ends, and whoever looks ends the call
    assert "A call failed" in [record.message for record in caplog.records]


async def test_call_of_another_process_is_not_taken_over_while_this_one_takes_none(agent: Agent):
    def elsewhere() -> CallSession:
        return make_call(agent.clinic, agent=agent, state="live", owner="elsewhere:1")

    call = await sync_to_async(elsewhere)()
    token = resuming.new_token(call.pk)
    gone = {"resume_digest": digest(token), "lease_until": Now() - timedelta(seconds=1)}
    await CallSession.objects.filter(pk=call.pk).aupdate(**gone)
    await registry().drain(0.0)
    protocols = ["realtime", "frontdesk", f"frontdesk-resume.{token}"]
    socket = WebsocketCommunicator(URLRouter(call_patterns), "/v1/realtime?model=x", subprotocols=protocols)

    connected, _chosen = await socket.connect()
    error = json.loads(await socket.receive_from())["error"]
    closed = await socket.receive_output()

    await call.arefresh_from_db()
    assert (connected, error["code"], closed["code"] % 3000) == (True, "restarting", 1013)
    assert error["retry_after_ms"] > 0
    assert (call.owner, call.resume_digest) == ("elsewhere:1", digest(token))  # as good as before
