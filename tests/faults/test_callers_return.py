"""Callers whose line breaks in the middle of a turn, and who come back: R15, on both servers.

A scripted turn is cut after each of twenty events. Whoever comes back goes on with the same call, hears every sample
of every reply once, and finds every word; nothing runs twice, and nothing is left behind.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import pytest

from agents_app.models import Agent
from sessions_app.models import CallSession, Place
from tests.faults.proxy import running_proxy
from tests.pages import Page, busy_practice
from tests.servers import KINDS, ORIGIN, Server, eventually, in_thread, new_key

POINTS = 20
EVENTS_A_POINT = 4  # a turn has some eighty
BACK_WITHIN_S = 2.0
LATE_S = 5.0  # what a busy machine may add, where forty come back at once


@pytest.fixture
def agent(transactional_db: None) -> Agent:
    return busy_practice()


@dataclass
class Heard:
    sounds: list[bytes]  # of each reply, in order
    words: list[str]
    back_after_s: float = 0.0


@dataclass
class Seen:
    """What came of one server's calls."""

    whole: Heard
    cut: list[Heard]
    sessions: int  # upstream
    calls_left: float
    sockets_left: float


async def test_call_that_is_cut_at_twenty_points_of_a_turn_is_heard_whole(
    servers: Callable[[str], Server], agent: Agent
):
    both = await asyncio.gather(*(_all_points(servers(kind), agent) for kind in KINDS))

    calls = await eventually(
        lambda: list(CallSession.objects.all()), lambda some: all(call.state == "ended" for call in some)
    )
    tools = await in_thread(lambda: [list(call.tool_calls.values_list("name", flat=True)) for call in calls])
    for seen in both:
        for heard in seen.cut:
            assert heard.words == seen.whole.words
            assert heard.sounds == seen.whole.sounds
        assert median(heard.back_after_s for heard in seen.cut) < BACK_WITHIN_S + LATE_S
        assert (seen.sessions, seen.calls_left, seen.sockets_left) == (POINTS + 1, 0, 0)
    assert sorted(call.epoch for call in calls) == [1, 1, *[2] * POINTS * 2]
    assert {call.end_reason for call in calls} == {"caller"}
    assert tools == [["get_office_context"]] * len(calls)
    assert await eventually(Place.objects.count, lambda count: count == 0) == 0


async def _all_points(server: Server, agent: Agent) -> Seen:
    async with server.upstream(speech=False) as standin:
        points = (None, *(1 + point * EVENTS_A_POINT for point in range(POINTS)))
        whole, *cut = await asyncio.gather(*(_turn(server, agent, cut_after=point) for point in points))
        live = await eventually(lambda: server.figure("frontdesk_calls_live"), lambda count: count == 0)
        sockets = await eventually(lambda: server.figure("frontdesk_sockets_open"), lambda count: count == 0)
        return Seen(whole, cut, len(standin.sessions), live, sockets)


async def _turn(server: Server, agent: Agent, *, cut_after: int | None) -> Heard:
    """Hold the scripted turn. The line is cut, once, after so many events."""
    key = await in_thread(lambda: new_key(agent))
    async with running_proxy(server.port) as line:
        page = Page(f"ws://127.0.0.1:{line.port}/v1/realtime?model={agent.public_name}", origin=ORIGIN)
        await page.call(key)
        back_after_s = 0.0
        asked = down = False
        while not asked or _said(page) < 2:
            if cut_after is not None and len(page.events) >= cut_after and page.token:
                line.reset()
                cut_after, down = None, True
            elif _said(page) == 1 and not asked and not down:  # what is said into a dead line is not said
                await page.types("What are your opening hours?")
                asked = True
            if await page.next() is None:
                began = time.monotonic()
                await page.come_back()
                await page.kind("frontdesk.resume")
                back_after_s, down = time.monotonic() - began, False
        await page.close()
    return Heard([page.heard[item] for item in page.heard], [page.said[item] for item in page.heard], back_after_s)


def _said(page: Page) -> int:
    """Return how many replies have come to their end, beside "One moment"."""
    finished = {event["item_id"] for event in page.events if event["type"] == "response.output_audio.done"}
    return sum("moment" not in words for item, words in page.said.items() if item in finished)
