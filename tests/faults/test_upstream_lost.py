"""The upstream session is lost, expires, fails or falls silent while a caller talks: R05, R06, R08, R12, R13, R27.

A real server process, a real socket each way; the stand-in misbehaves, or the proxy before it does.
"""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from websockets.exceptions import ConnectionClosed

from agents_app.models import Agent
from agents_app.practice.models import Appointment, Task
from agents_app.tools import registered_tools
from sessions_app.models import CallSession, Event
from sessions_app.standin.server import Standin, running_standin
from tests.faults.proxy import running_proxy
from tests.make_practice import make_patient, make_practice
from tests.servers import Server, ended_call, eventually, in_thread, live_agent
from tests.sessions_app.standin.recording import Json, RecordingClient

TURNS = ["I would like to book a cleaning", "Ann Lee", "March 14th 1985", "the first one", "yes please"]
PATIENCE_S = 20.0
FATAL = ["insufficient_quota", "invalid_api_key", "account_deactivated", "billing_hard_limit_reached"]


def booking_agent() -> Agent:
    practice = make_practice(max_concurrent_calls=50, max_starts_per_hour=10_000)
    make_patient(practice.clinic, first_name="Ann", last_name="Lee", date_of_birth="1985-03-14")
    return live_agent(practice.clinic, tools=list(registered_tools()), greeting="Hello.", disclosure="I am automated.")


async def typing(caller: RecordingClient) -> None:
    await caller.configure(output_modalities=["text"])


async def replied(caller: RecordingClient) -> str:
    """Return the words of the next reply that is more than "one moment"."""
    while True:
        [*_, done] = await caller.until("response.done")
        parts = [part for item in done["response"]["output"] for part in item["content"]]
        words = " ".join(part.get("text") or part.get("transcript") or "" for part in parts)
        if words and "One moment" not in words and done["response"]["status"] == "completed":
            return words


async def says(caller: RecordingClient, text: str) -> str:
    await caller.say(text)
    await caller.send("response.create")
    return await replied(caller)


async def book(caller: RecordingClient) -> str:
    """Book by typing; what was lost with a session is said again, as people do. Return the last reply."""
    await typing(caller)
    said = await replied(caller)
    for text in TURNS:
        said = await says(caller, text)
    return said


def appointments(agent: Agent) -> int:
    return Appointment.objects.filter(clinic=agent.clinic).count()


def booked_by(call: CallSession) -> list[tuple[str, str]]:
    return list(call.tool_calls.filter(writes=True, status="ok").values_list("name", "confirmed_by"))


def losses(call: CallSession) -> list[str]:
    return [event.fields["code"] for event in Event.objects.filter(session=call, type="upstream.lost")]


async def cut_once(server: Server, agent: Agent, standin: Standin, events: int) -> tuple[CallSession, str]:
    """Book while the session is cut after so many of its events; return the call and the last reply."""
    standin.set_faults(close_after_events=events, close_code=1006, close_count=1)
    async with server.call(agent) as caller, asyncio.timeout(PATIENCE_S):
        said = await book(caller)
    return await ended_call(agent), said


CUTS = [2, 12, 31, 55, 90, 120]


@pytest.mark.parametrize("events", CUTS)
async def test_booking_goes_on_over_a_session_that_is_cut_and_books_once(server: Server, events: int):
    """R06: no greeting twice, no question twice, no tool twice."""
    agent = await in_thread(booking_agent)

    async with server.upstream() as standin:
        call, said = await cut_once(server, agent, standin, events)

    assert "booked" in said
    assert await in_thread(lambda: losses(call)) == ["upstream_closed_1006"]
    assert await in_thread(lambda: appointments(agent)) == 1
    assert len(await in_thread(lambda: booked_by(call))) == 1
    assert (call.end_reason, call.outcome) == ("caller", "booked")


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_booking_goes_on_wherever_its_session_is_cut(server: Server):
    """R06, the long form: twenty points of one scripted call."""
    agent = await in_thread(booking_agent)

    async with server.upstream() as standin:
        for number, events in enumerate(range(2, 142, 7), start=1):
            call, said = await cut_once(server, agent, standin, events)
            assert ("booked" in said, events) == (True, events)
            assert await in_thread(lambda: appointments(agent)) == number
            assert len(await in_thread(partial(booked_by, call))) == 1


@pytest.mark.parametrize("code", FATAL)
async def test_account_failure_in_mid_call_is_not_tried_again(uvicorn: Server, code: str):
    """R05: no reconnect loop, and a polite end."""
    agent = await in_thread(booking_agent)

    async with uvicorn.upstream() as standin:
        async with uvicorn.call(agent) as caller:
            await typing(caller)
            await replied(caller)
            standin.set_faults(failed_response=code)
            await caller.say("Hello?")
            await caller.send("response.create")
            closed, heard = await to_the_end(caller)
        call = await ended_call(agent)
        sessions = len(standin.sessions)

    assert (closed, call.end_reason, call.error_code) == (4500, "upstream", code)
    assert sessions == 1
    assert [event["error"]["code"] for event in heard if event["type"] == "error"] == ["upstream_failed"]


async def test_frozen_upstream_is_found_and_the_call_goes_on_in_a_new_session(server: Server):
    """R08: TCP stays open and nothing comes. A reply that is owed is missed after eight seconds."""
    agent = await in_thread(booking_agent)
    loop = asyncio.get_running_loop()

    async with (
        running_standin() as standin,
        running_proxy(standin.port, port=server.upstream_port) as proxy,
        server.call(agent) as caller,
    ):
        await typing(caller)
        await replied(caller)
        proxy.to_client.stall()
        began = loop.time()
        await caller.say(TURNS[0])
        await caller.send("response.create")
        await caller.until("response.output_text.done")  # one moment
        found_s = loop.time() - began
        proxy.to_client.resume()
        said = await replied(caller)

    call = await ended_call(agent)
    assert said
    assert 7.5 < found_s < 8.5
    assert await in_thread(lambda: losses(call)) == ["upstream_silent"]
    assert len(standin.sessions) == 2


@pytest.mark.parametrize("form", ["error", "close"])
async def test_session_at_its_hour_is_renewed_without_a_word(uvicorn: Server, form: str):
    """R12: `session_expired` and then 1001, or 1001 alone; both are clean closes that nobody asked for."""
    agent = await in_thread(booking_agent)

    async with uvicorn.upstream() as standin, uvicorn.call(agent) as caller:
        await typing(caller)
        await replied(caller)
        if form == "error":
            standin.sessions[-1].expire()
        else:
            standin.set_faults(close_after_events=1, close_code=1001, close_count=1)
        said = await says(caller, TURNS[0])
        heard = list(caller.events)

    call = await ended_call(agent)
    assert said
    assert [event["error"]["code"] for event in heard if event["type"] == "error"] == []
    assert len(await in_thread(lambda: losses(call))) == 1


@pytest.mark.parametrize("fault", [{"failed_response": "server_error"}, {"incomplete_response": "content_filter"}])
async def test_response_that_fails_once_is_asked_for_again(uvicorn: Server, fault: Json):
    """R13: a fixed sentence, and another try."""
    agent = await in_thread(booking_agent)
    [count] = [f"{name.split('_')[0]}_count" for name in fault]

    async with uvicorn.upstream() as standin, uvicorn.call(agent) as caller:
        await typing(caller)
        await replied(caller)
        standin.set_faults(**fault, **{count: 1})
        said = await says(caller, TURNS[0])
        sessions = len(standin.sessions)

    call = await ended_call(agent)
    assert said
    assert (sessions, call.end_reason) == (1, "caller")


async def test_response_that_fails_again_and_again_ends_with_a_way_out(uvicorn: Server):
    """R13 and feature 19: again, in a fresh session, then the apology and a task for the staff."""
    agent = await in_thread(booking_agent)

    async with uvicorn.upstream() as standin:
        async with uvicorn.call(agent) as caller:
            await typing(caller)
            await replied(caller)
            standin.set_faults(failed_response="server_error")
            await caller.say("Hello?")
            await caller.send("response.create")
            closed, _ = await to_the_end(caller)
        call = await ended_call(agent)
        sessions = len(standin.sessions)

    assert (closed, call.end_reason, call.error_code, sessions) == (4500, "upstream", "server_error", 2)
    tasks = await eventually(lambda: Task.objects.filter(call_id=call.pk).count(), lambda count: count)
    assert tasks == 1


async def to_the_end(caller: RecordingClient) -> tuple[int, list[Json]]:
    """Read until the server closes. Return its code, and all that was heard."""
    try:
        while True:
            await caller.next()
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd is not None else 1006, caller.events
