"""R35, R40: more calls than there is room for, and a channel layer that loses everything."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path

from django.conf import settings

from tests.faults.caller import Run, run_calls
from tests.faults.echo_upstream import running_echo
from tests.faults.kit import plan_of, roomy_clinic, token_of, until
from tests.servers import Server, in_thread, live_agent

ROOM_FOR = 4
SPEAK_S = 3.0
BUSY = {"uvicorn": 1013, "daphne": 4013}
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


def test_nothing_travels_by_channel_layer():
    """R40: what a layer loses or doubles cannot matter, since nothing is said by it."""
    roots = [Path(settings.BASE_DIR, app) for app in ("sessions_app", "agents_app")]
    code = [path for root in roots for path in root.rglob("*.py")]

    uses = [path.name for path in code if LAYER.search(path.read_text())]

    assert len(code) > 100
    assert uses == []
