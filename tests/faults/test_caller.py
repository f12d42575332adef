"""The fault kit itself: calls report what came back, what did not, and what was wrong with it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from tests.faults import stamps
from tests.faults.caller import Plan, Run, run_calls
from tests.faults.echo_upstream import EchoUpstream, running_echo
from tests.faults.kit import plan_of, roomy_agent, running_caller, running_echo_process, token_of, until
from tests.faults.proxy import running_proxy
from tests.faults.wire import Refused, connect
from tests.servers import Server, ended_call, in_thread
from tests.sessions_app.standin.recording import ADAPTERS


def direct(port: int, **fields: object) -> Plan:
    given = {"calls": 2, "seconds": 0.4, **fields}
    return Plan(url=f"ws://127.0.0.1:{port}/v1/realtime?model=echo", direct=True, **given)  # type: ignore[arg-type]


@pytest.fixture
async def echo() -> AsyncIterator[EchoUpstream]:
    async with running_echo(reply_ms=200) as echo:
        yield echo


def test_stamp_is_read_back_and_a_changed_byte_is_seen():
    sound = stamps.frame(stamps.Stamp(7, 3, 123))

    assert stamps.read(sound) == (stamps.Stamp(7, 3, 123), True)
    assert stamps.read(sound[:-2] + b"AA") == (stamps.Stamp(7, 3, 123), False)
    assert stamps.read(b"A" * len(sound)) is None


async def test_calls_get_back_each_frame_they_sent(echo: EchoUpstream):
    report = await run_calls(direct(echo.port))

    figures = report.as_json()
    assert (report.opened, report.sent, report.received, report.lost) == (2, 20, 20, 0)
    assert (dict(report.close_codes), report.wrong, report.errors) == ({1000: 2}, {}, {})
    assert figures["round_trip_ms"]["p50"] > 0
    assert [session.frames for session in echo.sessions] == [10, 10]


async def test_typed_calls_wait_for_each_answer(echo: EchoUpstream):
    report = await run_calls(direct(echo.port, calls=1, seconds=0.1, text=True))

    assert (report.sent, report.received, report.wrong) == (1, 1, {})


async def test_lost_and_late_frames_are_counted_in_the_phase_in_which_they_were_sent(echo: EchoUpstream):
    async with running_proxy(echo.port) as proxy:
        run = Run(direct(proxy.port, calls=1, seconds=1.2))
        running = asyncio.create_task(run.run())
        await until(lambda: run.report.received >= 5)
        run.mark("dropped")
        proxy.to_target.dropping = True
        await until(lambda: run.report.sent >= 15)
        proxy.reset()
        report = await running

    before, dropped = (phase.figures() for phase in report.phases)
    assert before["lost"] <= 1  # one may have been on its way
    assert dropped["lost"] == dropped["sent"] >= 8
    assert dict(report.close_codes) == {1006: 1}


async def test_changed_sound_is_noticed(echo: EchoUpstream):
    async with running_proxy(echo.port) as proxy:
        # In the middle of the fifth frame or so: the greeting and its events come first.
        proxy.to_client.corrupt_at = 40_000
        report = await run_calls(direct(proxy.port, calls=1, seconds=0.6))

    assert sum(report.wrong.values()) >= 1


async def test_refused_handshakes_are_counted_by_status(echo: EchoUpstream):
    async with running_proxy(echo.port) as proxy:
        proxy.refuse()
        report = await run_calls(direct(proxy.port))

    assert (report.opened, dict(report.refused)) == (0, {0: 2})


async def test_echo_speaks_as_the_official_types_have_it(echo: EchoUpstream):
    heard: list[bytes] = []
    wire = await connect(f"ws://127.0.0.1:{echo.port}/v1/realtime?model=echo", heard.append)
    wire.send('{"type": "session.update", "session": {"type": "realtime"}}')
    wire.send('{"type": "response.create"}')
    for seq in range(6):
        sound = stamps.frame(stamps.Stamp(0, seq, 0)).decode()
        wire.send(json.dumps({"type": "input_audio_buffer.append", "audio": sound}))
    wire.close()
    assert await wire.closed == 1000

    events = [json.loads(text) for text in heard]
    for event in events:
        ADAPTERS[event["type"]].validate_python(event)
    assert [event["response"]["status"] for event in events if event["type"] == "response.done"] == ["completed"] * 2
    assert sum(event["type"] == "response.output_audio.delta" for event in events) == 7


async def test_calls_to_a_real_server_take_the_normal_path(server: Server):
    """The kit's whole way: caller program, server process, echo process; every frame back, and the record written."""
    agent = await in_thread(roomy_agent)
    token = await in_thread(lambda: token_of(agent))

    with running_echo_process(server.upstream_port):
        async with running_caller(plan_of(server, agent, token, calls=2, seconds=1.0)) as caller:
            report = await caller.report()

    call = await ended_call(agent)
    items = await in_thread(lambda: list(call.items.values_list("speaker", "source")))
    assert (report["opened"], report["sent"], report["lost"]) == (2, 50, 0)
    assert (report["wrong"], report["errors"], report["close_codes"]) == ({}, {}, {"1000": 2})
    assert items == [("agent", "speech"), ("caller", "speech"), ("agent", "speech")]
    assert call.counters["from_caller:input_audio_buffer.append"] == 25


async def test_wire_says_with_which_status_it_was_refused(server: Server):
    with pytest.raises(Refused) as refused:
        await connect(f"{server.url}/realtime?model=nobody", lambda text: None)

    assert refused.value.status == (401 if server.kind == "uvicorn" else 403)
