"""R24: how a server process lets its calls go: by themselves, with a goodbye, at the limit, at once."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import signal
import time

import pytest
from django.db import connection

from agents_app.models import Agent
from sessions_app.models import CallSession
from tests.faults.proxy import running_proxy
from tests.make import make_clinic
from tests.servers import (
    database_url,
    eventually,
    in_thread,
    live_agent,
)
from tests.serving import CLOSED, EXIT_S, ROOM, Start, closed, exit_code, readiness


def states(agent: Agent) -> list[tuple[str, str]]:
    return list(CallSession.objects.filter(version__agent=agent).values_list("state", "end_reason"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_r24_drain_refuses_new_calls_lets_live_ones_end_and_leaves_with_0(start: Start, number: signal.Signals):
    server = start()
    agent = await in_thread(live_agent)

    async with server.upstream():
        async with server.call(agent) as caller:
            await caller.until("response.done")
            assert await readiness(server) == (200, {"ready": True, "failing": []})
            server.process.send_signal(number)
            async with asyncio.timeout(1.0):
                while (await readiness(server))[0] == 200:
                    pass
            draining = await readiness(server)
            async with server.call(agent) as second:
                refused = await closed(second)
            await caller.say("Are you still there?")
            await caller.send("response.create")
            await caller.until("response.done")
            still_running = server.process.poll() is None
        code = await exit_code(server)

    assert draining == (503, {"ready": False, "failing": ["draining"]})
    [event], close_code = refused
    assert (event["type"], event["error"]["code"], close_code) == (
        "error", "restarting", CLOSED[server.kind][1013],
    )  # fmt: skip
    assert 500 <= event["error"]["retry_after_ms"] <= 4000
    assert still_running
    assert code == 0
    assert await in_thread(lambda: states(agent)) == [("ended", "caller")]


@pytest.mark.parametrize(
    ("callers", "limit_s"), [(5, 1), pytest.param(50, 10, marks=[pytest.mark.soak, pytest.mark.timeout(300)])]
)
async def test_r24_calls_that_do_not_end_are_ended_at_the_limit(start: Start, callers: int, limit_s: int):
    server = start(DRAIN_SECONDS=str(limit_s))
    agent = await in_thread(lambda: live_agent(make_clinic(**{name: callers for name in ROOM})))

    async with server.upstream(), contextlib.AsyncExitStack() as stack:
        calls = []
        for _ in range(callers):
            calls.append(await stack.enter_async_context(server.call(agent)))
            await calls[-1].until("response.done")
            await calls[-1].send("input_audio_buffer.append", audio=base64.b64encode(bytes(4800)).decode())
        server.process.terminate()
        began = time.monotonic()
        ends = await asyncio.gather(*(closed(caller) for caller in calls))
        code = await exit_code(server)
        took = time.monotonic() - began

    assert [end[1] for end in ends] == [CLOSED[server.kind][1012]] * callers
    assert code == 0
    assert took < limit_s + EXIT_S
    assert set(await in_thread(lambda: states(agent))) == {("ended", "interrupted")}


async def test_r24_each_call_hears_a_goodbye_before_the_limit(start: Start):
    server = start(DRAIN_SECONDS="25")
    agent = await in_thread(lambda: live_agent(goodbye="Thank you for calling."))

    async with server.upstream(), server.call(agent) as caller:
        await caller.until("response.done")
        server.process.terminate()
        events, close_code = await closed(caller)
        code = await exit_code(server)

    words = [event["transcript"] for event in events if event["type"] == "response.output_audio_transcript.done"]
    assert "Thank you for calling." in words[-1]
    assert (close_code, code) == (CLOSED[server.kind][1012], 0)
    assert await in_thread(lambda: states(agent)) == [("ended", "interrupted")]


async def test_r24_second_signal_ends_the_calls_at_once(start: Start):
    server = start(DRAIN_SECONDS="600")
    agent = await in_thread(live_agent)

    async with server.upstream(), server.call(agent) as caller:
        await caller.until("response.done")
        server.process.terminate()
        async with asyncio.timeout(EXIT_S):
            while (await readiness(server))[0] == 200:
                pass
        server.process.terminate()
        _, close_code = await closed(caller)
        code = await exit_code(server)

    assert (close_code, code) == (CLOSED[server.kind][1012], 0)
    assert await in_thread(lambda: states(agent)) == [("ended", "interrupted")]


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite is no server that could freeze")
async def test_r24_process_ends_though_the_database_is_frozen_and_the_next_one_stores_the_end(start: Start):
    port = int(connection.settings_dict["PORT"] or 5432)
    agent = await in_thread(live_agent)

    async with running_proxy(port) as proxy:
        server = start(DRAIN_SECONDS="1", DATABASE_URL=database_url().replace(f":{port}/", f":{proxy.port}/"))
        async with server.upstream(), server.call(agent) as caller:
            await caller.until("response.done")
            await eventually(lambda: states(agent), lambda found: found == [("live", "")])
            proxy.to_client.stall()
            server.process.terminate()
            _, close_code = await closed(caller)
            code = await asyncio.to_thread(server.process.wait, 60)
        before = await in_thread(lambda: states(agent))
    start()
    after = await eventually(lambda: states(agent), lambda found: found[0][0] == "ended")

    assert (close_code, code) == (CLOSED[server.kind][1012], 0)
    assert (before, after) == ([("live", "")], [("ended", "interrupted")])
