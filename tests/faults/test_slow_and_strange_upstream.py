"""R09, R10, R20: an upstream that is too slow for the sound, or says what nobody understands. The call goes on."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from sessions_app.call.link import MAX_MALFORMED
from sessions_app.models import CallSession, Event
from tests.faults.caller import Run
from tests.faults.echo_upstream import EchoUpstream, running_echo
from tests.faults.kit import plan_of, roomy_agent, token_of, until, usage_of
from tests.faults.proxy import running_proxy
from tests.servers import Server, ended_call, in_thread
from tests.sessions_app.standin.recording import RecordingClient

SLOW_BYTES_PER_S = 8_000
SPEAKS_S = 7.0
MAX_GROWN_BYTES = 8 * 1024 * 1024
CANARY = "CANARY-of-upstream"
UNREADABLE = [
    '{"type": "response.output_text.delta", "delta": ',
    "[]",
    '"a string"',
    "{}",
    '{"type": null}',
    '{"type": "response.created"}',
    '{"type": "response.created", "response": {"id": 7}}',
    '{"type": "conversation.item.added", "item": "none"}',
    '{"type": "response.output_audio.delta", "response_id": "r", "item_id": "i", "delta": "!not base64!"}',
    '{"type": "response.output_audio.delta", "response_id": "r", "item_id": "i", "delta": 5}',
    "[" * 5000,
    "",
]
STRANGE = [
    '{"type": "conversation.item.added", "item": {"id": "item_\\u0000", "type": "message", "role": "user"}}',
    '{"type": "conversation.item.added", "item": {"id": "x", "role": "user", '
    '"content": [{"type": "input_text", "text": "half \\ud800 pair, and \\u0000"}]}}',
    '{"type": "response.output_audio.delta", "response_id": "r", "item_id": "i", "delta": "AAAA"}',
    '{"type": "error", "error": {"code": "CANARY-of-upstream", "message": "CANARY-of-upstream"}}',
]


async def test_upstream_at_eight_kilobytes_a_second_costs_old_sound_and_no_memory(server: Server):
    """R20: two seconds wait at most, the oldest is dropped and counted, and the call hears again afterwards."""
    agent = await in_thread(roomy_agent)
    token = await in_thread(lambda: token_of(agent))

    async with running_echo() as echo, running_proxy(echo.port, port=server.upstream_port, buffer_bytes=4096) as proxy:
        run = Run(plan_of(server, agent, token, seconds=SPEAKS_S))
        running = asyncio.create_task(run.run())
        await until(lambda: run.report.received >= 10)
        before = usage_of(server.pid).rss_bytes
        proxy.to_target.bytes_per_s = SLOW_BYTES_PER_S
        await until(lambda: run.report.sent >= 150)
        grown = usage_of(server.pid).rss_bytes - before
        proxy.to_target.bytes_per_s = None
        run.mark("well again")
        report = await running
        call = await ended_call(agent)
        gaps = await in_thread(lambda: Event.objects.filter(session=call, type="sound.dropped").count())

    slow, well = (phase.figures() for phase in report.phases)
    assert grown < MAX_GROWN_BYTES
    assert slow["lost"] > 40  # of some 140 in 5.6 s, of which 8 kB/s is a seventh, and two seconds wait
    assert call.counters["sound_dropped_ms"] == report.lost * 40
    assert gaps == 1
    assert (well["lost"], report.wrong, report.errors) == (0, {}, {})
    assert (call.end_reason, dict(report.close_codes)) == ("caller", {1000: 1})


async def test_thousand_events_of_unknown_types_change_nothing_and_leave_no_word_in_the_log(server: Server):
    """R09: counted by name alone."""
    agent = await in_thread(roomy_agent)

    async with running_echo(port=server.upstream_port) as echo, server.call(agent) as caller:
        await greeted(caller)
        for n in range(1000):
            echo.sessions[-1].emit(f"response.mood{n}.changed", mood=CANARY, item={"content": [{"text": CANARY}]})
        words = await answer_to(caller, "Are you there?")
    call = await ended_call(agent)

    assert words == "Are you there?"
    assert CANARY not in server.log()
    assert CANARY not in json.dumps(caller.events)
    assert call.counters["from_model:response.mood7.changed"] == 1
    assert await in_thread(lambda: CANARY not in stored(call))


async def test_frames_that_cannot_be_read_are_skipped_and_counted(server: Server):
    """R10: no JSON, wrong types, missing fields, bad base64, NUL, half a surrogate pair, deep nesting."""
    agent = await in_thread(roomy_agent)

    async with running_echo(port=server.upstream_port) as echo, server.call(agent) as caller:
        await greeted(caller)
        for text in [*UNREADABLE, *STRANGE]:
            echo.sessions[-1].wire.send(text)
        words = await answer_to(caller, "Are you there?")
        sessions = len(echo.sessions)
    call = await ended_call(agent)

    assert words == "Are you there?"
    assert sessions == 1
    assert call.counters["malformed"] == len(UNREADABLE)
    assert call.end_reason == "caller"
    assert CANARY not in server.log()
    assert "Traceback" not in server.log()


async def test_session_that_says_twenty_unreadable_things_or_one_too_large_is_replaced(server: Server):
    """R10: after twenty in a minute, and after a frame past 2 MiB, another session takes over, and the call goes on."""
    agent = await in_thread(roomy_agent)

    async with running_echo(port=server.upstream_port) as echo, server.call(agent) as caller:
        await greeted(caller)
        for _ in range(MAX_MALFORMED):
            echo.sessions[-1].wire.send("{")
        await until(lambda: len(echo.sessions) == 2 and ready(echo))
        first = await answer_to(caller, "Are you there?")
        echo.sessions[-1].wire.send(json.dumps({"type": "response.mood.changed", "mood": "x" * 5 * 1024 * 1024}))
        await until(lambda: len(echo.sessions) == 3 and ready(echo))
        second = await answer_to(caller, "And now?")
    call = await ended_call(agent)
    lost = await in_thread(lambda: list(Event.objects.filter(session=call, type="upstream.lost").order_by("seq")))

    assert (first, second) == ("Are you there?", "And now?")
    assert [event.fields["code"] for event in lost] == ["upstream_unreadable", "upstream_oversized"]
    assert call.end_reason == "caller"


async def greeted(caller: RecordingClient) -> None:
    await caller.configure(output_modalities=["text"])
    await caller.until("response.done")


async def answer_to(caller: RecordingClient, text: str) -> str:
    """Type, and return the words of the answer: the echo's are the same."""
    await caller.say(text)
    await caller.send("response.create")
    while True:
        [*_, done] = await caller.until("response.done")
        words = " ".join(part["text"] for item in done["response"]["output"] for part in item["content"])
        if words == text:
            return words


def ready(echo: EchoUpstream) -> bool:
    """Whether the newest session has been configured."""
    return any(event["type"] == "session.update" for event in echo.sessions[-1].received)


def stored(call: CallSession) -> str:
    rows: list[Any] = [*call.events.values_list("fields", flat=True), *call.items.values_list("text", flat=True)]
    return json.dumps([*rows, call.counters])
