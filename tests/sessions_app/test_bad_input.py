"""What goes wrong at either end of a call: its own error or close code, a row that says why, and no word lost."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from agents_app.models import Agent
from sessions_app.models import CallSession, Item
from tests.servers import Server, ended_call, in_thread, live_agent
from tests.sessions_app.standin.recording import Json, RecordingClient

SAID = "My tooth has hurt since Monday"
SECOND_OF_SOUND = base64.b64encode(bytes(48_000 // 2)).decode()  # half a second a frame, within 64 KiB


async def to_the_end(caller: RecordingClient) -> int:
    """Read until the server closes; return its code, 1006 when it drops the connection."""
    try:
        while True:
            await caller.next()
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd is not None else 1006


async def say_and_ask(caller: RecordingClient, text: str) -> None:
    await caller.say(text)
    await caller.send("response.create")


def errors(events: list[Json]) -> list[str]:
    return [event["error"]["code"] for event in events if event["type"] == "error"]


async def lines(call: CallSession) -> list[tuple[str, str]]:
    return await in_thread(lambda: list(Item.objects.filter(session=call).values_list("speaker", "text")))


def why(call: CallSession) -> tuple[str, str, str]:
    return call.end_reason, call.error_code, call.outcome


async def text_agent() -> Agent:
    return await in_thread(lambda: live_agent(greeting="Hello.", disclosure="I am automated."))


APOLOGY = ("agent", "I am sorry, something went wrong on our side. Please call us by phone.")
GREETING = ("agent", "Hello. I am automated.")
ONE_MOMENT = ("agent", "One moment, please.")


@pytest.mark.parametrize(
    ("faults", "reason", "code"),
    [
        (None, "refused", "upstream_unreachable"),
        ({"refuse_handshake": 401}, "refused", "upstream_401"),
        ({"refuse_handshake": 403}, "refused", "upstream_403"),
        ({"close_after_events": 0, "close_code": 1011}, "upstream", "upstream_closed_1011"),
    ],
)
async def test_call_without_an_upstream_is_told_apologised_for_and_recorded(
    server: Server, faults: Json | None, reason: str, code: str
):
    agent = await text_agent()

    async def call_it() -> tuple[int, list[Json]]:
        async with server.call(agent) as caller:
            await say_and_ask(caller, SAID)
            return await to_the_end(caller), caller.events

    if faults is None:
        closed, heard = await call_it()
    else:
        async with server.upstream(faults=faults):
            closed, heard = await call_it()
    call = await ended_call(agent)

    assert (closed, errors(heard)) == (4500, ["upstream_failed"])
    assert why(call) == (reason, code, "failed")
    assert APOLOGY in await lines(call)
    assert heard[-1]["type"] == "response.done"


async def test_wrong_upstream_key_is_tried_once(uvicorn: Server):
    agent = await text_agent()

    async with uvicorn.upstream(key="sk-another") as standin:
        async with uvicorn.call(agent) as caller:
            closed = await to_the_end(caller)
        call = await ended_call(agent)

    assert (closed, why(call)) == (4500, ("refused", "upstream_401", "failed"))
    assert len(standin.sessions) == 0


@pytest.mark.parametrize("code", ["insufficient_quota", "server_error", "rate_limit_exceeded"])
async def test_failure_that_shows_only_in_a_response_ends_the_call_politely(server: Server, code: str):
    agent = await text_agent()

    async with server.upstream() as standin:
        async with server.call(agent) as caller:
            await caller.until("response.done")
            standin.set_faults(failed_response=code)
            await say_and_ask(caller, SAID)
            await caller.until("error")
            closed = await to_the_end(caller)
        call = await ended_call(agent)

    assert closed == 4500
    assert why(call) == ("upstream", code, "failed")
    stored = await lines(call)
    assert stored[0] == GREETING
    assert ("caller", SAID) in stored
    assert APOLOGY in stored


async def test_failed_response_is_asked_for_again_and_the_caller_is_asked_to_wait(uvicorn: Server):
    agent = await text_agent()

    async with uvicorn.upstream() as standin:
        async with uvicorn.call(agent) as caller:
            await caller.until("response.done")
            standin.set_faults(failed_response="server_error", failed_count=1)
            await say_and_ask(caller, SAID)
            await caller.until("response.output_audio.done")
        call = await ended_call(agent)

    assert errors(caller.events) == []
    assert (call.end_reason, call.error_code) == ("caller", "")
    assert (await lines(call))[:3] == [GREETING, ("caller", SAID), ONE_MOMENT]


async def test_upstream_that_goes_away_again_and_again_loses_nothing_that_was_said(server: Server):
    agent = await text_agent()

    async with server.upstream() as standin:
        async with server.call(agent) as caller:
            await caller.until("response.done")
            await caller.say(SAID)
            await caller.until("conversation.item.done")
            standin.set_faults(close_after_events=1, close_code=1006)
            await caller.send("response.create")
            closed = await to_the_end(caller)
        call = await ended_call(agent)

    assert (closed, errors(caller.events)) == (4500, ["upstream_failed"])
    assert why(call) == ("upstream", "upstream_closed_1006", "failed")
    assert await lines(call) == [GREETING, ("caller", SAID), ONE_MOMENT, APOLOGY]


async def test_upstream_that_goes_away_once_is_told_what_was_said_and_answers(server: Server):
    agent = await text_agent()

    async with server.upstream() as standin:
        async with server.call(agent) as caller:
            await caller.until("response.done")
            await caller.say(SAID)
            await caller.until("conversation.item.done")
            standin.set_faults(close_after_events=1, close_code=1006, close_count=1)
            await caller.send("response.create")
            await caller.until("response.output_audio.done")
            told = [e["item"]["content"][0]["text"] for e in standin.received[-1] if "item" in e]
        call = await ended_call(agent)

    assert told[1:] == [GREETING[1], SAID, ONE_MOMENT[1]]
    assert errors(caller.events) == []
    assert (await lines(call))[:3] == [GREETING, ("caller", SAID), ONE_MOMENT]
    assert call.end_reason == "caller"


async def test_session_that_runs_out_upstream_is_named(uvicorn: Server):
    agent = await text_agent()

    async with uvicorn.upstream(faults={"session_cap_ms": 300}):
        async with uvicorn.call(agent) as caller:
            closed = await to_the_end(caller)
        call = await ended_call(agent)

    assert closed == 4500
    assert (call.end_reason, call.error_code) == ("upstream", "session_expired")


async def test_frames_that_are_no_events_and_events_that_nobody_knows_change_nothing(uvicorn: Server):
    agent = await text_agent()

    async with uvicorn.upstream(faults={"malformed_frame": True, "unknown_event": True}):
        async with uvicorn.call(agent) as caller:
            await caller.until("response.done")
            await say_and_ask(caller, SAID)
            await caller.until("response.done")
        call = await ended_call(agent)

    assert errors(caller.events) == []
    assert (call.end_reason, call.counters["malformed"]) == ("caller", 2)
    assert [speaker for speaker, _ in await lines(call)] == ["agent", "caller", "agent"]


async def test_each_bad_message_has_its_own_error_and_the_call_goes_on(server: Server):
    agent = await text_agent()
    bad: dict[str, Any] = {
        "invalid_json": ["{", "", "null", '{"type": "a", "type": "b"}'],
        "invalid_audio": [
            json.dumps({"type": "input_audio_buffer.append", "event_id": "mine", "audio": audio})
            for audio in ("AAA", "*", "", "AAAA", "AA==", None)
        ],
        "message_too_large": [json.dumps({"type": "input_audio_buffer.clear", "x": "a" * 70 * 1024})],
        "event_not_allowed": [json.dumps({"type": "frontdesk.admin"})],
        "invalid_value": [json.dumps({"type": "frontdesk.playback", "item_id": "item_1", "played_ms": -1})],
    }

    async with server.upstream() as standin:
        async with server.call(agent) as caller:
            await caller.until("response.done")
            told = []
            for messages in bad.values():
                for message in messages:
                    await caller.socket.send(message)
                    told.append((await caller.until("error"))[-1]["error"])
            await caller.socket.send(b"\x00\xff")
            told.append((await caller.until("error"))[-1]["error"])
            await say_and_ask(caller, SAID)
            await caller.until("response.done")
        call = await ended_call(agent)

    expected = [code for code, messages in bad.items() for _ in messages]
    assert [error["code"] for error in told] == [*expected, "invalid_json"]
    assert {error["event_id"] for error in told if error["code"] == "invalid_audio"} == {"mine"}
    assert [error["message"] for error in told if not error["message"]] == []
    assert why(call) == ("caller", "", "answered")
    assert ("caller", SAID) in await lines(call)
    assert "input_audio_buffer.append" not in [event["type"] for event in standin.received[0]]


async def test_sound_faster_than_speech_is_dropped_and_told_once(server: Server):
    agent = await text_agent()
    frame = json.dumps({"type": "input_audio_buffer.append", "audio": SECOND_OF_SOUND})

    async with server.upstream() as standin:
        async with server.call(agent) as caller:
            await caller.until("response.done")
            for _ in range(60):  # half a minute
                await caller.socket.send(frame)
            await caller.until("error")
            await say_and_ask(caller, SAID)
            await caller.until("response.done")
        call = await ended_call(agent)

    passed = sum(event["type"] == "input_audio_buffer.append" for event in standin.received[0])
    assert errors(caller.events) == ["audio_too_fast"]
    assert passed + call.counters["audio_too_fast"] == 60
    assert 30 <= passed < 60  # fifteen seconds, and a little more than the call lasted
    assert call.counters["to_model:input_audio_buffer.append"] == passed
    assert ("caller", SAID) in await lines(call)


async def test_sound_before_the_model_is_ready_waits_for_two_seconds_of_it(uvicorn: Server):
    agent = await text_agent()
    frame = json.dumps({"type": "input_audio_buffer.append", "audio": SECOND_OF_SOUND})

    async with uvicorn.upstream(faults={"delay_ms": 1500}) as standin:
        async with uvicorn.call(agent) as caller:
            for _ in range(10):
                await caller.socket.send(frame)
            await caller.send("conversation.item.retrieve", item_id="none")
            await caller.until("error")  # answered at once: the sound before it has been taken
            standin.set_faults(delay_ms=0)
            await caller.until("response.done")
        call = await ended_call(agent)

    kinds = [event["type"] for event in standin.received[0]]
    assert kinds.count("input_audio_buffer.append") + call.counters["early_audio_dropped"] == 10
    assert kinds.index("input_audio_buffer.append") > kinds.index("session.update")
    assert kinds.count("input_audio_buffer.append") == 4


async def test_caller_that_vanishes_leaves_a_complete_row(server: Server):
    agent = await text_agent()

    async with server.upstream():
        async with server.call(agent) as caller:
            await caller.until("response.done")
            await caller.say(SAID)
            await caller.until("conversation.item.done")
            caller.socket.transport.abort()
        call = await ended_call(agent)

    assert (call.end_reason, call.error_code) == ("abandoned", "")
    assert await lines(call) == [GREETING, ("caller", SAID)]


async def test_message_that_is_not_utf8_costs_its_sender_the_socket_alone(server: Server):
    agent = await text_agent()

    async with server.upstream():
        async with server.call(agent) as caller, server.call(agent) as other:
            await asyncio.gather(caller.until("response.done"), other.until("response.done"))
            # A text frame of one byte that begins no character, masked with zeros.
            caller.socket.transport.write(b"\x81\x81\x00\x00\x00\x00\xff")
            closed = await to_the_end(caller)
            await say_and_ask(other, SAID)
            await other.until("response.done")
        await ended_call(agent)

    assert closed == {"uvicorn": 1007, "daphne": 1006}[server.kind]
