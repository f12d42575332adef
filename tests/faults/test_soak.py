"""Calls carried for long with everything recorded: no frame lost, little added, little memory, whatever stands still.

The reduced forms run with every test and state no time. The long ones are `make soak`'s; they print what they measured:
`SOAK_CALLS` (100) calls for `SOAK_SECONDS` (600), on a machine that does nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.db import connection

from agents_app.models import Agent
from sessions_app.client_secrets import Notice, mint
from sessions_app.models import CallSession, Item, Recording
from tests.faults.caller import Plan, run_calls
from tests.faults.kit import (
    plan_of,
    roomy_clinic,
    running_caller,
    running_echo_process,
    token_of,
    usage_of,
)
from tests.faults.proxy import Proxy, running_proxy
from tests.faults.test_outages import frozen, gone, locked
from tests.servers import KINDS, Server, database_url, eventually, in_thread, live_agent, running_server

pytestmark = pytest.mark.django_db(transaction=True)
POSTGRESQL = connection.vendor == "postgresql"
SOAK_CALLS = int(os.environ.get("SOAK_CALLS", "100"))
SOAK_SECONDS = float(os.environ.get("SOAK_SECONDS", "600"))
STARTS_A_SECOND = 20.0
SETTLE_S = 1.5  # after the beginnings, before anything is measured
WARM_UP = 2
DIRECT = 5  # calls to the echo itself, at the same time: what the machine and the caller add by themselves
MAX_ADDED_P99_MS = 50.0
MAX_MOVED_P99_MS = 10.0
MAX_BYTES_A_CALL = 1.5 * 1024 * 1024
SQLITE_CALLS = 20  # what the README says that SQLite carries
EXPORT_PATIENCE_S = 60.0
KEY_SECONDS = 60


@dataclass(frozen=True)
class Carried:
    """What was seen while calls were carried."""

    through: dict[str, Any]
    direct: dict[str, Any]
    bytes_a_call: float
    cpu_s_a_minute: float

    @property
    def added_p99_ms(self) -> float:
        return float(self.through["round_trip_ms"]["p99"] - self.direct["round_trip_ms"]["p99"])

    def p99_ms(self, phase: str) -> float:
        [found] = [one for one in self.through["phases"] if one["name"] == phase]
        return float(found["round_trip_ms"]["p99"])

    def __str__(self) -> str:
        phases = ", ".join(f"{one['name']} p99 {one['round_trip_ms'].get('p99')}" for one in self.through["phases"])
        return (
            f"{self.through['calls']} calls, {self.through['sent']} frames, {self.through['lost']} lost; "
            f"through {self.through['round_trip_ms']}, direct {self.direct['round_trip_ms']}, added p99 "
            f"{self.added_p99_ms:.1f} ms; {self.bytes_a_call / 1024:.0f} KiB a call; {self.cpu_s_a_minute:.2f} CPU s "
            f"a caller's minute; {phases}; the caller was late by {self.through['own_lateness_ms']}"
        )


def recorded_agent() -> Agent:
    """A receptionist whose calls are kept in words and in sound."""
    return live_agent(roomy_clinic(recording_enabled=True))


def keys_of(agent: Agent, count: int) -> str:
    notice = Notice(agent.clinic.notice_sha256, "accepted")
    return "\n".join(mint(agent, origin="", api_token=None, notice=notice)[0] for _ in range(count))


Disturb = Callable[[Callable[[str], None]], Awaitable[None]]


async def carry(
    server: Server,
    directory: Path,
    *,
    calls: int,
    seconds: float,
    disturb: Disturb | None = None,
) -> Carried:
    """Carry calls, recorded in every way; `disturb` is awaited meanwhile, and told how to begin a phase."""
    agent = await in_thread(recorded_agent)
    ramp_s = calls / STARTS_A_SECOND
    assert ramp_s < KEY_SECONDS / 2
    keys_file = directory / "keys"
    keys_file.touch(mode=0o600)
    through = plan_of(server, agent, "", calls=calls, seconds=seconds, ramp_s=ramp_s)

    with running_echo_process(server.upstream_port) as echo_port:
        direct = Plan(f"ws://127.0.0.1:{echo_port}/v1/realtime?model=echo", calls=DIRECT, seconds=seconds, direct=True)
        # What a process loads once is loaded.
        await run_calls(plan_of(server, agent, await in_thread(lambda: token_of(agent)), calls=WARM_UP, seconds=1.0))
        keys_file.write_text(await in_thread(lambda: keys_of(agent, calls)))
        before = usage_of(server.pid)
        async with running_caller(through, keys_file=keys_file) as caller, running_caller(direct) as beside:
            await eventually(lambda: speaking(agent), lambda begun: begun >= calls + WARM_UP)
            await asyncio.sleep(SETTLE_S)
            caller.mark("calm")
            top = asyncio.create_task(highest(server.pid, seconds - ramp_s - SETTLE_S))
            if disturb is not None:
                await disturb(caller.mark)
            most = await top
            reports = await caller.report(), await beside.report()
    after = usage_of(server.pid)
    await eventually(lambda: unfinished(agent), lambda left: left == 0)
    minutes = calls * seconds / 60
    return Carried(
        *reports,
        bytes_a_call=(most - before.rss_bytes) / calls,
        cpu_s_a_minute=(after.cpu_s - before.cpu_s) / minutes,
    )


async def highest(pid: int, seconds: float) -> int:
    """Return the most memory that a process held in this time."""
    ends, most = time.monotonic() + seconds, 0
    while time.monotonic() < ends:
        most = max(most, usage_of(pid).rss_bytes)
        await asyncio.sleep(min(0.5, seconds / 4))
    return most


def speaking(agent: Agent) -> int:
    """Return how many calls have something said in them."""
    return Item.objects.filter(session__clinic=agent.clinic).values("session").distinct().count()


def unfinished(agent: Agent) -> int:
    return CallSession.objects.filter(clinic=agent.clinic).exclude(state="ended").count()


async def all_is_kept(calls: int) -> None:
    """Each call has its row, its words, and its sound, which is entered right after its end."""
    ended = CallSession.objects.filter(state="ended", end_reason="caller", recording_kept=True)
    await eventually(lambda: Recording.objects.filter(session__in=ended).count(), lambda kept: kept == calls)
    assert await in_thread(ended.count) == calls
    for speaker in ("caller", "agent"):
        spoke = Item.objects.filter(session__in=ended, speaker=speaker).values("session").distinct()
        assert await in_thread(spoke.count) == calls


def whole(carried: Carried, calls: int) -> None:
    """Nothing was lost, changed, doubled or refused."""
    for report in (carried.through, carried.direct):
        assert (report["lost"], report["wrong"], report["errors"], report["refused"]) == (0, {}, {}, {})
        assert report["close_codes"] == {"1000": report["calls"]}
    assert carried.through["opened"] == calls


@contextlib.asynccontextmanager
async def behind_proxies(kind: str, directory: Path) -> AsyncIterator[tuple[Server, Proxy, Proxy]]:
    """A server whose way to PostgreSQL and to Redis passes a proxy each. Without them the proxies lead nowhere."""
    database, redis = connection.settings_dict, urlsplit(os.environ.get("REDIS_URL", ""))
    async with running_proxy(int(database.get("PORT") or 5432)) as one, running_proxy(redis.port or 6379) as two:
        environment = {}
        if POSTGRESQL:
            address = urlsplit(database_url())
            real, through = f"@{address.hostname}:{address.port}/", f"@127.0.0.1:{one.port}/"
            environment["DATABASE_URL"] = database_url().replace(real, through)
        if redis.hostname:
            environment["REDIS_URL"] = f"redis://127.0.0.1:{two.port}{redis.path}"
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(running_server(kind, directory, **environment))
            yield server, one, two
            await asyncio.to_thread(stack.close)  # beside the proxies, which carry its last words


async def stand_still(mark: Callable[[str], None], database: Proxy, redis: Proxy, *, each_s: float) -> None:
    """Let the database stand still, then Redis be gone, with a calm time before, between and after."""
    for name, outage in (("database", (frozen if POSTGRESQL else locked)(database)), ("redis", gone(redis))):
        await asyncio.sleep(each_s)
        mark(name)
        async with outage:
            await asyncio.sleep(each_s)
        mark(f"after {name}")
    await asyncio.sleep(each_s)


async def export_all(server: Server, directory: Path, mark: Callable[[str], None], *, for_s: float) -> None:
    """Take the whole of the database out, again and again for so long, in a process of its own."""
    mark("export")
    until = time.monotonic() + for_s
    while time.monotonic() < until:
        command = (sys.executable, "manage.py", "backup", str(directory / "backups"))
        process = await asyncio.create_subprocess_exec(
            *command, cwd=settings.BASE_DIR, env=server.environment, stdout=asyncio.subprocess.DEVNULL
        )
        async with asyncio.timeout(EXPORT_PATIENCE_S):
            assert await process.wait() == 0
    mark("after export")


async def test_calls_are_carried_whole_with_everything_recorded(server: Server, tmp_path: Path):
    """R32 and the soak, reduced: words and sound of three calls, and no frame lost."""
    carried = await carry(server, tmp_path, calls=3, seconds=3.0)

    whole(carried, 3)
    await all_is_kept(3)


async def test_calls_lose_nothing_while_the_database_stands_still_and_redis_is_gone(tmp_path: Path):
    """R21, R23 reduced: on uvicorn, since both are out of the server's own hands."""
    async with behind_proxies("uvicorn", tmp_path) as (server, database, redis):
        carried = await carry(
            server,
            tmp_path,
            calls=3,
            seconds=12.0,
            disturb=lambda mark: stand_still(mark, database, redis, each_s=1.0),
        )

    whole(carried, 3)
    assert [phase["name"] for phase in carried.through["phases"]][-4:] == [
        "database",
        "after database",
        "redis",
        "after redis",
    ]
    await all_is_kept(3)


async def test_calls_lose_nothing_while_all_is_exported(uvicorn: Server, tmp_path: Path):
    """R47 reduced: on uvicorn, since the database is out of the server's own hands."""
    carried = await carry(
        uvicorn, tmp_path, calls=3, seconds=6.0, disturb=lambda mark: export_all(uvicorn, tmp_path, mark, for_s=0.1)
    )

    whole(carried, 3)
    assert "export" in [phase["name"] for phase in carried.through["phases"]]
    await all_is_kept(3)


@pytest.mark.soak
@pytest.mark.timeout(300)
async def test_twenty_calls_lose_nothing_while_all_is_exported(server: Server, tmp_path: Path):
    """R47: what SQLite is said to carry, and an export that does not end."""
    carried = await carry(
        server,
        tmp_path,
        calls=SQLITE_CALLS,
        seconds=60.0,
        disturb=lambda mark: export_all(server, tmp_path, mark, for_s=40.0),
    )

    print(f"{server.kind}: {carried}")
    whole(carried, SQLITE_CALLS)
    await all_is_kept(SQLITE_CALLS)


@pytest.mark.soak
@pytest.mark.timeout(SOAK_SECONDS * 2 + 300)
@pytest.mark.parametrize("kind", KINDS)
async def test_many_calls_are_carried_for_long(kind: str, tmp_path: Path):
    """R32: 100 calls with 40 ms frames for 10 minutes, everything recorded."""
    with running_server(kind, tmp_path) as server:
        carried = await carry(server, tmp_path, calls=SOAK_CALLS, seconds=SOAK_SECONDS)

    print(f"{kind}: {carried}")
    whole(carried, SOAK_CALLS)
    await all_is_kept(SOAK_CALLS)
    assert carried.added_p99_ms <= MAX_ADDED_P99_MS
    assert carried.bytes_a_call <= MAX_BYTES_A_CALL


@pytest.mark.soak
@pytest.mark.timeout(SOAK_SECONDS * 2 + 300)
@pytest.mark.parametrize("kind", KINDS)
async def test_frozen_database_and_killed_redis_move_no_sound(kind: str, tmp_path: Path):
    """R21, R23: p99 while they stand still is at most 10 ms more than before."""
    each_s = SOAK_SECONDS / 10
    async with behind_proxies(kind, tmp_path) as (server, database, redis):
        carried = await carry(
            server,
            tmp_path,
            calls=SOAK_CALLS,
            seconds=each_s * 7,
            disturb=lambda mark: stand_still(mark, database, redis, each_s=each_s),
        )

    print(f"{kind}: {carried}")
    whole(carried, SOAK_CALLS)
    await all_is_kept(SOAK_CALLS)
    for name in ("database", "redis"):
        assert carried.p99_ms(name) - carried.p99_ms("calm") <= MAX_MOVED_P99_MS
