"""Hostile connections while calls run: the calls do not notice, and nothing is left of the others afterwards (R46)."""

from __future__ import annotations

import asyncio

import pytest

from sessions_app.models import CallSession
from tests.faults.hostile import ATTACKS, Target, attack
from tests.faults.kit import plan_of, roomy_agent, running_caller, running_echo_process, token_of, until, usage_of
from tests.servers import Server, eventually, in_thread

FILES_LEFT = 8  # of those that a process opens once: database, log, pool
MAX_LOG_LINES = 500  # whatever comes: others' are 20 a minute of each kind
MAX_GROWN_BYTES = 96 * 1024 * 1024
ALONE_S, LAST_S = 2.0, 2.0  # the calls run before the first, and on after the last of the others has begun
LEAVES_S = 60.0  # for the last of the hostile calls to be over


async def test_calls_do_not_notice_hostile_connections(server: Server):
    """Oversized, malformed, slow and silent ones, with and without a key: the reduced form."""
    await survive(server, hostile=300, calls=5, seconds=10.0)


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_twenty_calls_do_not_notice_ten_thousand_hostile_connections(server: Server):
    """The long form. Its figures are printed."""
    await survive(server, hostile=10_000, calls=20, seconds=300.0)


async def survive(server: Server, *, hostile: int, calls: int, seconds: float) -> None:
    agent = await in_thread(roomy_agent)
    prey = await in_thread(roomy_agent)
    token, bait = await in_thread(lambda: (token_of(agent), token_of(prey)))
    target = Target(f"{server.url}/realtime?model={prey.public_name}", bait)

    with running_echo_process(server.upstream_port):
        await attack(target, len(ATTACKS))  # what is opened once is open
        before, lines_before = usage_of(server.pid), server.log().count("\n")
        async with running_caller(plan_of(server, agent, token, calls=calls, seconds=seconds)) as caller:
            await asyncio.sleep(ALONE_S)
            caller.mark("beside")
            seen = await attack(target, hostile, seed=1, over_s=seconds - ALONE_S - LAST_S)
            report = await caller.report()
        hostile_calls = CallSession.objects.filter(clinic=prey.clinic).exclude(state="ended")
        await eventually(hostile_calls.count, lambda left: left == 0)
        await until(lambda: usage_of(server.pid).files <= before.files + FILES_LEFT, within_s=LEAVES_S)
        grown = usage_of(server.pid).rss_bytes - before.rss_bytes

    lines = server.log().count("\n") - lines_before
    phases = ", ".join(f"{phase['name']} {phase['round_trip_ms']}" for phase in report["phases"])
    print(f"{server.kind}: {hostile} hostile, {calls} calls: {phases}; the callers were late by", end=" ")
    print(f"{report['own_lateness_ms']}; RSS +{grown >> 10} KiB, {lines} log lines")
    assert sum(seen.values()) == hostile
    assert (report["opened"], report["lost"]) == (calls, 0)
    assert (report["wrong"], report["errors"], report["close_codes"]) == ({}, {}, {"1000": calls})
    assert grown < MAX_GROWN_BYTES
    assert lines < MAX_LOG_LINES
    assert "Traceback" not in server.log()
