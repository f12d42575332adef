"""The database is frozen, gone, restarted or locked under calls: nobody hears it, and every fact is there once: R21.

A real server process, whose connections to PostgreSQL pass a proxy; on SQLite another process's write holds the file.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction

from sessions_app.call.tally import COUNTED
from sessions_app.models import CallSession, Event
from tests.faults.caller import run_calls
from tests.faults.kit import plan_of, roomy_agent, running_caller, running_echo_process, token_of
from tests.faults.proxy import Proxy, running_proxy
from tests.servers import KINDS, Server, database_url, eventually, in_thread, running_server

pytestmark = pytest.mark.django_db(transaction=True)
POSTGRESQL = connection.vendor == "postgresql"
BETWEEN_S = 1.0
WARM_UP = 2
STARTS_A_SECOND = 20.0  # of both kinds: a server takes 30
Outage = Callable[[Proxy], AbstractAsyncContextManager[None]]


@contextlib.asynccontextmanager
async def frozen(proxy: Proxy) -> AsyncIterator[None]:
    """The connections are open, and nothing passes."""
    proxy.stall()
    yield
    proxy.resume()


@contextlib.asynccontextmanager
async def gone(proxy: Proxy) -> AsyncIterator[None]:
    """All connections are reset, and none can be made."""
    proxy.refuse()
    proxy.reset()
    yield
    await proxy.accept()


@contextlib.asynccontextmanager
async def half_open(proxy: Proxy) -> AsyncIterator[None]:
    """What is sent is lost, and nobody is told; afterwards the connections are reset, as a router does."""
    proxy.drop()
    yield
    proxy.restore()
    proxy.reset()


@contextlib.asynccontextmanager
async def read_only(proxy: Proxy) -> AsyncIterator[None]:
    """A standby answers in its place."""

    def switch(to: str) -> None:
        name = connection.settings_dict["NAME"]
        with psycopg.connect(database_url(), autocommit=True) as another:
            another.execute("SET default_transaction_read_only = off")
            another.execute(f'ALTER DATABASE "{name}" {to}')

    await asyncio.to_thread(switch, "SET default_transaction_read_only = on")
    try:
        proxy.reset()
        yield
    finally:
        await asyncio.to_thread(switch, "RESET default_transaction_read_only")
        proxy.reset()


@contextlib.asynccontextmanager
async def locked(proxy: Proxy) -> AsyncIterator[None]:
    """Another writes, and does not come to an end."""
    begun, over = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold() -> None:
        try:
            with transaction.atomic():  # IMMEDIATE on SQLite
                loop.call_soon_threadsafe(begun.set)
                asyncio.run_coroutine_threadsafe(over.wait(), loop).result()
        finally:
            connection.close()

    holding = asyncio.create_task(asyncio.to_thread(hold))
    await begun.wait()
    yield
    over.set()
    await holding


OUTAGES: list[Outage] = [frozen, gone, half_open, read_only] if POSTGRESQL else [locked]


@contextlib.asynccontextmanager
async def server_behind_proxy(kind: str, directory: Path) -> AsyncIterator[tuple[Server, Proxy]]:
    host, port = connection.settings_dict["HOST"], str(connection.settings_dict["PORT"] or 5432)
    async with running_proxy(int(port)) as proxy:
        address = database_url().replace(f"@{host}:{port}/", f"@127.0.0.1:{proxy.port}/")
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(running_server(kind, directory, DATABASE_URL=address))
            yield server, proxy
            # Beside the proxy, which carries the process's last words.
            await asyncio.to_thread(stack.close)


async def survive(
    kind: str, directory: Path, outages: Sequence[Outage], *, calls: int, each_s: float
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Let callers speak, and as many others type, through the outages, one after the other; return what they saw.

    Fails unless each fact of each call is stored, and once.
    """
    agent = await in_thread(roomy_agent)
    token = await in_thread(lambda: token_of(agent))
    seconds = len(outages) * (each_s + BETWEEN_S) + 2 * BETWEEN_S
    async with server_behind_proxy(kind, directory) as (server, proxy):
        plan = plan_of(server, agent, token, calls=calls, seconds=seconds, ramp_s=2 * calls / STARTS_A_SECOND)
        with running_echo_process(server.upstream_port):
            # Those that came while a process loads what it loads once would all begin in one moment, and be too many.
            await run_calls(replace(plan, calls=WARM_UP, seconds=1.0, ramp_s=0.0))
            async with running_caller(plan) as speaking, running_caller(replace(plan, text=True)) as typing:
                await eventually(stored_sessions, lambda count: count == 2 * calls + WARM_UP)
                journalled = 0
                for outage in outages:
                    speaking.mark("calm")
                    await asyncio.sleep(BETWEEN_S)
                    speaking.mark(outage.__name__)
                    async with outage(proxy):
                        await asyncio.sleep(each_s)
                        journalled += len(list((directory / "journal").glob("*.journal")))
                back = time.monotonic()
                speaking.mark("calm")
                reports = (await speaking.report(), await typing.report())
        await eventually(unended, lambda count: count == 0)
        print(f"All was stored {time.monotonic() - back:.1f} s after the last outage, the calls' own end included")
        dropped = await asyncio.to_thread(server.figure, "frontdesk_recorder_facts_dropped_total")
    assert (journalled > 0, dropped) == (True, 0)
    for call in await in_thread(lambda: list(CallSession.objects.all())):
        await in_thread(partial(check_facts, call))
    return reports


def stored_sessions() -> int:
    """Return how many calls have got through to the model."""
    ready = Event.objects.filter(type="session.updated", direction="from_model")
    return ready.values("session").distinct().count()


def unended() -> int:
    return CallSession.objects.exclude(state="ended").count()


def check_facts(call: CallSession) -> None:
    """Each event that the call has counted has its row: the counters come with its last fact."""
    counted = Counter(
        {name: n for name, n in call.counters.items() if ":" in name and name.split(":")[1] not in COUNTED}
    )
    stored = Counter(f"{way}:{kind}" for way, kind in call.events.values_list("direction", "type"))
    assert stored == counted
    assert sorted(call.events.values_list("seq", flat=True)) == list(range(1, stored.total() + 1))
    assert call.end_reason == "caller"


@pytest.mark.parametrize("kind", KINDS)
async def test_calls_outlive_an_outage_of_the_database_and_lose_nothing(kind: str, tmp_path: Path):
    outages = [frozen, gone] if POSTGRESQL else [locked]

    spoken, typed = await survive(kind, tmp_path, outages, calls=3, each_s=3.5)

    assert (spoken["opened"], spoken["lost"], spoken["wrong"]) == (3, 0, {})
    assert (typed["opened"], typed["wrong"]) == (3, {})
    assert list((tmp_path / "journal").glob("*")) == []


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS)
async def test_50_calls_outlive_20_outages_and_lose_nothing(kind: str, tmp_path: Path):
    outages = random.Random(20).choices(OUTAGES, k=20)

    spoken, typed = await survive(kind, tmp_path, outages, calls=25, each_s=5.0)

    for phase in spoken["phases"]:
        print(phase)
    assert (spoken["opened"], spoken["lost"], spoken["wrong"]) == (25, 0, {})
    assert (typed["opened"], typed["wrong"]) == (25, {})
