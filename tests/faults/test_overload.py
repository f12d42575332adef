"""R35, R40: more calls than there is room for, and a channel layer that loses everything."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path

import pytest
from django.conf import settings

from tests.faults.caller import Run, run_calls
from tests.faults.echo_upstream import running_echo
from tests.faults.kit import plan_of, roomy_clinic, running_caller, running_echo_process, token_of, until
from tests.servers import Server, in_thread, live_agent

ROOM_FOR = 4
SPEAK_S = 3.0
BUSY = {"uvicorn": 1013, "daphne": 4013}
LONG_CALLS, LONG_S, CALM_S = 20, 60.0, 10.0
MAX_TURNED_AWAY_MS, MAX_LIVE_P99_MS = 100.0, 50.0
LAYER = re.compile(r"channel_layer|group_send|group_add|channels\.layers")


async def test_twice_as_many_calls_as_there_is_room_for_leave_those_in_progress_alone(server: Server):
    """R35: refused with a reason and a close code, before anything is spent on them."""
    agent = await in_thread(lambda: live_agent(roomy_clinic(max_concurrent_calls=ROOM_FOR)))
    token = await in_thread(lambda: token_of(agent))
    plan = plan_of(server, agent, token, calls=ROOM_FOR, seconds=SPEAK_S)

    async with running_echo(port=server.upstream_port) as echo:
        live = Run(plan)
        running = asyncio.create_task(live.run())
        await until(lambda: len(live.report.setup_ns) == ROOM_FOR)
        offered = await run_calls(replace(plan, calls=2 * ROOM_FOR, first=ROOM_FOR))
        upstreams = len(echo.sessions)
        report = await running

    assert dict(offered.close_codes) == {BUSY[server.kind]: 2 * ROOM_FOR}
    assert dict(offered.errors) == {"busy": 2 * ROOM_FOR}
    assert offered.sent == 0
    assert upstreams == ROOM_FOR
    assert (report.lost, report.wrong, report.errors) == (0, {}, {})
    assert dict(report.close_codes) == {1000: ROOM_FOR}


@pytest.mark.soak
@pytest.mark.timeout(300)
async def test_calls_beyond_the_room_are_turned_away_at_once_for_a_minute(server: Server):
    """R35, the long form: twice the room is asked for, all the time; its figures are printed."""
    agent = await in_thread(lambda: live_agent(roomy_clinic(max_concurrent_calls=LONG_CALLS)))
    token = await in_thread(lambda: token_of(agent))
    plan = plan_of(server, agent, token, calls=LONG_CALLS, seconds=LONG_S + 3 * CALM_S, ramp_s=CALM_S / 2)

    with running_echo_process(server.upstream_port):
        async with running_caller(plan) as live:
            await asyncio.sleep(CALM_S)
            live.mark("calm")
            await asyncio.sleep(CALM_S)
            live.mark("crowded")
            beyond = replace(plan, calls=LONG_CALLS * round(LONG_S), ramp_s=LONG_S, first=LONG_CALLS)
            async with running_caller(beyond) as crowd:
                offered = await crowd.report()
            live.mark("after")
            report = await live.report()

    crowded = next(phase for phase in report["phases"] if phase["name"] == "crowded")
    print(f"{server.kind}: turned away after {offered['turned_away_ms']}; live calls {report['phases']}")
    assert offered["close_codes"] == {str(BUSY[server.kind]): offered["calls"]}
    assert (report["lost"], report["wrong"], report["errors"]) == (0, {}, {})
    assert offered["turned_away_ms"]["p99"] <= MAX_TURNED_AWAY_MS
    assert crowded["round_trip_ms"]["p99"] <= MAX_LIVE_P99_MS


def test_nothing_travels_by_channel_layer():
    """R40: what a layer loses or doubles cannot matter, since nothing is said by it."""
    roots = [Path(settings.BASE_DIR, app) for app in ("sessions_app", "agents_app")]
    code = [path for root in roots for path in root.rglob("*.py")]

    uses = [path.name for path in code if LAYER.search(path.read_text())]

    assert len(code) > 100
    assert uses == []
