"""Processes are killed: what was called safe is stored once, and a call in progress is ended by another: R25, R31."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings
from django.db import connection
from django.db.models.functions import Now
from websockets.exceptions import ConnectionClosed

from agents_app.models import AgentVersion
from agents_app.practice.models import Task
from sessions_app.models import CallSession, Event, LedgerEntry, Place, ToolCall
from sessions_app.reaper import PROOF_S, Reaper
from sessions_app.recorder import Recorder
from sessions_app.tool_gateway import CallContext, ToolGateway
from tests.faults import killed_tool
from tests.faults.kit import plan_of, roomy_agent, running_caller, running_echo_process, token_of
from tests.make import make_clinic
from tests.make_calls import STARTED
from tests.servers import KINDS, Server, eventually, in_thread, live_agent, running_server
from tests.tool_calls import Register, asked, recap

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE_S = 30.0
MAX_GONE_S = 0.25
KILLS = 100
ADDRESS = ("NAME", "HOST", "PORT", "USER", "PASSWORD")


def some_calls(count: int) -> list[CallSession]:
    version = live_agent().live_version
    assert isinstance(version, AgentVersion)
    return [
        CallSession.objects.create(clinic=version.agent.clinic, version=version, started_at=STARTED)
        for _ in range(count)
    ]


def program(name: str, plan: dict[str, Any], *, timeout_s: float) -> str:
    """Run a program of this package on the test's database; return what it says."""
    plan = {**plan, "database": {name: connection.settings_dict[name] for name in ADDRESS}}
    command = [sys.executable, "-m", f"tests.faults.{name}", json.dumps(plan)]
    ran = subprocess.run(command, cwd=settings.BASE_DIR, stdout=subprocess.PIPE, check=True, timeout=timeout_s)
    return ran.stdout.decode()


def killed(kills: int, calls: list[CallSession], directory: Path) -> list[dict[str, Any]]:
    """Let that many processes record, one after the other, and kill each. Return what they had called safe."""
    plan = {"calls": [str(call.pk) for call in calls], "kills": kills, "directory": str(directory)}
    report: list[dict[str, Any]] = json.loads(program("fact_source", plan, timeout_s=60 + 10 * kills))
    return report


def replay(directory: Path) -> int:
    """Store what the dead have left, as the next process does; return how many facts that lost."""
    recorder = Recorder(directory=directory)
    until = time.monotonic() + PATIENCE_S
    while list(directory.glob("*.journal")) and time.monotonic() < until:
        time.sleep(0.05)
    recorder.close()
    return recorder.dropped + recorder.health().set_aside


def check_kills(kills: int, directory: Path) -> float:
    """Check that all that was safe is stored, and once. Return the seconds before a kill of which something is gone."""
    calls = some_calls(3)

    report = killed(kills, calls, directory)
    lost = replay(directory)

    stored: dict[str, list[int]] = {}
    for call in calls:
        seqs = stored[str(call.pk)] = list(call.events.values_list("seq", flat=True))
        texts = sorted(int(text.split()[1]) for text in call.items.values_list("text", flat=True))
        assert seqs == texts
        assert len(set(seqs)) == len(seqs)
    assert (len(report), lost, list(directory.iterdir())) == (kills, 0, [])
    for one in report:
        safe = set(range(one["first"], one["safe"] + 1))
        assert len(safe) > 0
        assert safe <= set(stored[one["call"]])
    return max(
        (
            before_s
            for one in report
            for seq, before_s in one["before_s"].items()
            if int(seq) not in stored[one["call"]]
        ),
        default=0.0,
    )


def test_what_was_safe_is_stored_once_after_10_kills(tmp_path: Path):
    gone_s = check_kills(10, tmp_path)

    assert gone_s < 5  # what a busy machine may add; the long form says what it is


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_what_was_safe_is_stored_once_after_100_kills(tmp_path: Path):
    gone_s = check_kills(100, tmp_path)

    print(f"Of the facts that were not safe yet, those of the last {gone_s * 1000:.0f} ms are gone")
    assert gone_s <= MAX_GONE_S


def let_leases_run_out() -> None:
    """Instead of half a minute's wait."""
    CallSession.objects.exclude(state="ended").update(lease_until=Now() - timedelta(seconds=1))


def reaped() -> int:
    reaper = Reaper()
    return reaper.look(own=(), now=0.0) + reaper.look(own=(), now=PROOF_S)


def kill(server: Server) -> None:
    server.process.kill()
    server.process.wait(timeout=PATIENCE_S)


@pytest.mark.parametrize("kind", KINDS)
async def test_call_of_a_killed_server_is_ended_by_another_and_its_place_is_free(kind: str, tmp_path: Path):
    agent = await in_thread(lambda: live_agent(make_clinic(max_concurrent_calls=1), greeting="Hello."))
    with running_server(kind, tmp_path) as server:
        async with server.upstream(), server.call(agent) as caller:
            await caller.configure(output_modalities=["text"])
            await caller.until("response.done")
            await caller.say("When are you open?")
            await caller.send("response.create")
            await caller.until("response.done")
            (call,) = await eventually(stored_calls, lambda calls: calls and len(calls[0]) >= 3)
            await in_thread(lambda: kill(server))
            with pytest.raises(ConnectionClosed):
                await caller.until("what never comes")

    alive = await in_thread(reaped)
    await in_thread(let_leases_run_out)
    ended = await in_thread(reaped)

    row = await in_thread(CallSession.objects.get)
    assert (alive, ended, await in_thread(Place.objects.count)) == (0, 1, 0)
    assert (row.state, row.end_reason, row.error_code) == ("ended", "interrupted", "owner_lost")
    seqs = await in_thread(lambda: list(row.events.values_list("seq", flat=True)))
    assert seqs == list(range(1, len(seqs) + 1))
    (after,) = await in_thread(stored_calls)
    assert after[: len(call)] == call


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_20_calls_survive_in_the_record_whenever_their_server_is_killed(tmp_path: Path):
    agent = await in_thread(roomy_agent)
    token = await in_thread(lambda: token_of(agent))
    chance = random.Random(KILLS)

    for n in range(KILLS):
        directory = tmp_path / str(n)
        directory.mkdir()
        with running_server(KINDS[n % 2], directory) as server, running_echo_process(server.upstream_port):
            plan = plan_of(server, agent, token, calls=20, seconds=60.0)
            async with running_caller(replace(plan, text=n % 4 > 0)):
                await eventually(live_sessions, lambda live: live == 20)
                await asyncio.sleep(chance.uniform(0.1, 2.0))
                await in_thread(partial(kill, server))
        assert await in_thread(partial(replay, directory / "journal")) == 0
        await eventually(end_the_left, lambda left: left == 0)
        assert await in_thread(Place.objects.count) == 0
        await in_thread(check_rows)


def end_the_left() -> int:
    """End what is left of the killed server; return how many calls still are: a renewal may have been on its way."""
    let_leases_run_out()
    reaped()
    return CallSession.objects.exclude(state="ended").count()


def live_sessions() -> int:
    """Return how many calls in progress have got through to the model."""
    ready = Event.objects.filter(type="session.updated", direction="from_model").exclude(session__state="ended")
    return ready.values("session").distinct().count()


def check_rows() -> None:
    """What is stored of each call is all that happened up to some moment, each event once."""
    newest = list(CallSession.objects.order_by("-started_at")[:20])
    assert {call.error_code for call in newest} == {"owner_lost"}
    for call in newest:
        seqs = list(call.events.values_list("seq", flat=True))
        assert seqs == list(range(1, len(seqs) + 1))
        assert call.state == "ended"
    assert not LedgerEntry.objects.exclude(settled=True, reserved_microusd=0).exists()


def test_tool_whose_process_is_killed_at_any_point_is_never_done_twice(register: Register):
    """R26: nobody can know whether it was done; staff is asked to look, and it is not done again."""
    calls = dict(zip(killed_tool.POINTS, some_calls(len(killed_tool.POINTS)), strict=True))
    CallSession.objects.update(state="live", lease_until=Now() - timedelta(seconds=1))
    for call in calls.values():  # the dry run has asked the caller
        ToolCall.objects.create(
            session=call, call_id="call_1", position=3, name=killed_tool.NAME, writes=True, status="asked", started_ms=0
        )
    register(killed_tool.effect, name=killed_tool.NAME, recap=recap)
    clinic_id = next(iter(calls.values())).clinic_id
    plan = {"runs": {point: str(call.pk) for point, call in calls.items()}, "clinic_id": clinic_id}

    program("killed_tool", plan, timeout_s=90)
    reaped()
    become = {point: (effects(call), call.tool_calls.get().status, checks(call)) for point, call in calls.items()}
    again = {point: run_again(call) for point, call in calls.items() if become[point][1] != "asked"}

    assert become == {
        "before its row": (0, "asked", 0),
        "after its row": (0, "unknown", 1),
        "before its effect": (0, "unknown", 1),
        "after its effect, uncommitted": (0, "unknown", 1),
        "before its result": (1, "unknown", 1),
        "after its result": (1, "ok", 0),
    }
    assert set(again.values()) == {"repeated_call"}
    assert [effects(call) for call in calls.values()] == [0, 0, 0, 0, 1, 1]


def effects(call: CallSession) -> int:
    return Task.objects.filter(call_id=call.pk, text=killed_tool.EFFECT).count()


def checks(call: CallSession) -> int:
    return Task.objects.filter(call_id=call.pk, kind="check", clinic=call.clinic_id).count()


def run_again(call: CallSession) -> str:
    """Return what the gateway says when the very same function call comes once more."""

    async def run() -> str:
        gateway = ToolGateway()
        try:
            result = await gateway.run(asked(confirmed_by="button"), CallContext(call.pk, call.clinic))
            return str(result.output.get("error_code", ""))
        finally:
            await asyncio.to_thread(gateway.close)

    return async_to_sync(run)()


def stored_calls() -> list[list[str]]:
    """Return what is stored of each call: the words, in their order."""
    return [list(call.items.values_list("text", flat=True)) for call in CallSession.objects.all()]
