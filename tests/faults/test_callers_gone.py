"""Callers that are there no more, or do not listen: found out in time, paid for with little memory, no one else hurt.

R16 half-open, R19 a reader that stops. Both servers at once, since both faults take their time by definition.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from agents_app.models import Agent
from tests.faults import stamps
from tests.faults.caller import Report, run_calls
from tests.faults.echo_upstream import running_echo
from tests.faults.kit import plan_of, roomy_agent, token_of, usage_of
from tests.faults.proxy import running_proxy
from tests.faults.wire import Wire, connect
from tests.servers import KINDS, Server, in_thread

GONE_S = 15.0
BUFFERED_S = 8.0  # of sound, in the kernel's buffers: until they are full, progress is made
LATE_S = 5.0  # what a busy machine may add
MAX_GROWN_BYTES = 8 * 1024 * 1024  # a socket
SPEAKS_S = 6.0
DEAF = 2


@dataclass
class Seen:
    """What one server did."""

    half_open_gone_s: float
    deaf_gone_s: float
    grown_bytes: int
    others: Report


@pytest.fixture
def agent(transactional_db: None) -> Agent:
    return roomy_agent()


async def test_dead_and_deaf_callers_are_gone_in_time_and_the_others_notice_nothing(
    servers: Callable[[str], Server], agent: Agent
):
    """R16: a caller whose line is half-open is let go within 15 s. R19: so is one that reads nothing, at little
    cost, though it speaks on."""
    token = await in_thread(lambda: token_of(agent))

    both = await asyncio.gather(*(_watched(servers(kind), agent, token) for kind in KINDS))

    for kind, seen in zip(KINDS, both, strict=True):
        assert seen.half_open_gone_s < GONE_S + LATE_S, kind
        assert seen.deaf_gone_s < BUFFERED_S + GONE_S + LATE_S, kind
        assert seen.grown_bytes < DEAF * MAX_GROWN_BYTES, kind
        assert (seen.others.lost, seen.others.wrong, seen.others.errors) == (0, {}, {}), kind


async def _watched(server: Server, agent: Agent, token: str) -> Seen:
    async with running_echo(port=server.upstream_port), running_proxy(server.port) as line:
        plan = plan_of(server, agent, token, calls=3, seconds=SPEAKS_S)
        await run_calls(plan_of(server, agent, token, calls=1, seconds=0.1))  # what is loaded once is loaded
        before = usage_of(server.pid).rss_bytes
        half_open, deaf, others = await asyncio.gather(
            _half_open(line.port, line.drop, lambda: line.connections[0].to_client.source_ended, agent, token),
            _deaf(server, agent, token),
            run_calls(plan),
        )
        return Seen(half_open, deaf, usage_of(server.pid).rss_bytes - before, others)


async def _half_open(
    port: int, drop: Callable[[], None], gone: Callable[[], asyncio.Event], agent: Agent, token: str
) -> float:
    """Speak, lose the line without a word, and return how long the server keeps its end of it."""
    caller = await _greeted(f"ws://127.0.0.1:{port}/v1", agent, token)
    for seq in range(5):
        caller.send(_frame(seq))
    began = time.monotonic()
    drop()
    async with asyncio.timeout(GONE_S * 2):
        await gone().wait()
    caller.drop()
    return time.monotonic() - began


async def _deaf(server: Server, agent: Agent, token: str) -> float:
    """Speak on and read nothing; return how long the server holds out."""
    callers = await asyncio.gather(*(_greeted(server.url, agent, token) for _ in range(DEAF)))
    began = time.monotonic()
    for caller in callers:
        caller.stop_reading()
    while not all(caller.closed.done() for caller in callers):
        assert time.monotonic() - began < GONE_S * 2, f"{server.kind}: it is still there"
        for caller in callers:
            caller.send(_frame(0))  # what tells that the other end is gone: an answer of TCP's, not of WebSocket's
        await asyncio.sleep(stamps.FRAME_MS / 1000)
    return time.monotonic() - began


def _frame(seq: int) -> str:
    sound = stamps.frame(stamps.Stamp(0, seq, time.perf_counter_ns())).decode()
    return json.dumps({"type": "input_audio_buffer.append", "audio": sound})


async def _greeted(url: str, agent: Agent, token: str) -> Wire:
    heard = asyncio.Event()

    def on_text(text: bytes) -> None:
        if json.loads(text)["type"] == "response.done":
            heard.set()

    headers = {"Sec-WebSocket-Protocol": "realtime", "Authorization": f"Bearer {token}"}
    caller = await connect(f"{url}/realtime?model={agent.public_name}", on_text, headers=headers, receive_buffer=4096)
    async with asyncio.timeout(GONE_S):
        await heard.wait()
    return caller
