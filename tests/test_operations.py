"""What a process tells whoever runs it: that it lives, what is not ready, and what it counts."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from config.operations import may_read_figures
from tests.faults.proxy import running_proxy
from tests.servers import (
    Server,
    database_url,
    ended_call,
    in_thread,
    live_agent,
)
from tests.serving import EXIT_S, Start, readiness


def test_health_is_answered_to_whoever_asks_by_whatever_name(server: Server):
    assert server.get("/healthz", Host="10.0.0.7:8000") == (200, "alive\n")
    status, text = server.get("/readyz", Host="10.0.0.7:8000")
    assert (status, json.loads(text)) == (200, {"ready": True, "failing": []})


async def test_readiness_names_the_parts_that_do_not_answer(start: Start, tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    server = start(REDIS_URL=f"redis://127.0.0.1:{port}/0", DATABASE_URL=f"sqlite:///{tmp_path / 'empty.sqlite3'}")

    assert await readiness(server) == (503, {"ready": False, "failing": ["database", "redis"]})
    assert await asyncio.to_thread(server.get, "/healthz") == (200, "alive\n")


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite is no server that could freeze")
async def test_frozen_database_is_named_within_the_probes_time_and_forgiven_when_it_thaws(start: Start):
    port = int(connection.settings_dict["PORT"] or 5432)
    async with running_proxy(port) as proxy:
        server = start(DATABASE_URL=database_url().replace(f":{port}/", f":{proxy.port}/"))
        before = await readiness(server)
        proxy.to_client.stall()
        async with asyncio.timeout(EXIT_S):
            while (frozen := await readiness(server))[0] == 200:
                pass
        alive = await asyncio.to_thread(server.get, "/healthz")
        proxy.to_client.resume()
        async with asyncio.timeout(EXIT_S):
            while (after := await readiness(server))[0] != 200:
                pass

    assert (before[0], alive[0], after[0]) == (200, 200, 200)
    assert frozen[1]["failing"] == ["database"]


def test_figures_are_for_this_machine_and_not_for_a_proxy_on_it(server: Server):
    assert server.get("/metrics")[0] == 200
    assert server.get("/metrics", X_Forwarded_For="127.0.0.1")[0] == 403


@pytest.mark.parametrize(
    ("headers", "peer", "may"),
    [
        ({}, "127.0.0.1", False),
        ({b"authorization": b"Bearer wrong"}, "127.0.0.1", False),
        ({b"authorization": b"Bearer t0ken"}, "203.0.113.7", True),
    ],
)
def test_with_a_token_figures_are_for_its_holders(settings: Any, headers: dict[bytes, bytes], peer: str, may: bool):
    settings.METRICS_TOKEN = "t0ken"

    assert may_read_figures(headers, peer) is may


@pytest.mark.parametrize(("peer", "may"), [("::1", True), ("203.0.113.7", False), ("", False)])
def test_without_a_token_figures_are_for_this_machine(peer: str, may: bool):
    assert may_read_figures({}, peer) is may


def test_every_figure_is_there_before_anything_has_happened(server: Server):
    names = [
        "calls_live",
        "calls_started",
        "calls_ended",
        "calls_refused",
        "call_outcomes",
        "call_seconds",
        "sockets_open",
        "audio_frames",
        "audio_seconds",
        "audio_dropped_frames",
        "first_sound_seconds",
        "interruptions",
        "tokens",
        "tool_calls",
        "tool_seconds",
        "upstream_connects",
        "upstream_connect_seconds",
        "upstream_lost",
        "recorder_facts_waiting",
        "recorder_facts_dropped",
        "recorder_facts_set_aside",
        "recorder_trouble_seconds",
        "journal_bytes",
        "loop_lag_seconds",
        "faults",
        "log_lines_dropped",
        "draining",
        "tasks",
    ]

    told = re.findall(r"^# TYPE frontdesk_(\w+?)(?:_total)? ", server.get("/metrics")[1], flags=re.MULTILINE)

    assert [name for name in names if name not in told] == []


async def test_call_is_counted_and_no_label_holds_an_id(server: Server):
    agent = await in_thread(lambda: live_agent(tools=["get_datetime"]))
    name = 'frontdesk_calls_ended_total{reason="caller"}'
    tool = 'frontdesk_tool_calls_total{status="ok",tool="get_datetime"}'
    before = [await asyncio.to_thread(server.figure, one) for one in (name, tool)]

    async with server.upstream() as standin:
        standin.set_faults(script=[{"say": "Hello."}, {"say": "One moment.", "call": [["get_datetime", {}]]}])
        async with server.call(agent) as caller:
            await caller.until("response.done")
            live = await asyncio.to_thread(server.figure, "frontdesk_calls_live")
            await caller.say("What day is it?")
            await caller.send("response.create")
            await caller.until("response.done")
            await caller.until("response.done")
        call = await ended_call(agent)
    figures = (await asyncio.to_thread(server.get, "/metrics"))[1]

    assert live >= 1
    assert [await asyncio.to_thread(server.figure, one) for one in (name, tool)] == [one + 1 for one in before]
    assert str(call.pk) not in figures
    assert agent.public_name not in figures
    assert await asyncio.to_thread(server.figure, 'frontdesk_audio_seconds_total{speaker="agent"}') > 0
