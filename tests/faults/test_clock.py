"""R30: the wall clock is set back and forth by an hour while calls run. Durations, limits and order do not notice."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from django.utils import timezone

from agents_app.models import Agent
from agents_app.tools import ToolOutcome
from sessions_app.models import CallSession, Event, Item, ToolCall
from sessions_app.registry import close_registry, registry
from sessions_app.standin.server import Standin, running_standin
from sessions_app.tool_gateway import CallContext, ToolGateway
from tests.callers import calling, key_for
from tests.servers import in_thread, live_agent
from tests.tool_calls import Register, asked

pytestmark = pytest.mark.django_db(transaction=True)
STEPS = [timedelta(), timedelta(hours=1), timedelta(hours=-1), timedelta(days=-1), timedelta(hours=2)]
PATIENCE_S = 20.0
LIMIT_MINUTES = 1


@pytest.fixture
def jumping_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the wall clock finds it set anew."""
    real, steps = timezone.now, itertools.cycle(STEPS)
    monkeypatch.setattr(timezone, "now", lambda: real() + next(steps))


@pytest_asyncio.fixture
async def standin(settings: Any, transactional_db: None) -> AsyncIterator[Standin]:
    async with running_standin() as running:
        settings.OPENAI_BASE_URL = settings.STANDIN_URL = running.http_url
        yield running
        await asyncio.to_thread(close_registry)


async def test_call_lasts_as_long_as_it_lasts_whatever_the_wall_clock_says(standin: Standin, jumping_clock: None):
    """R30: one minute is the limit, the clock jumps by hours, and the call ends when the caller ends it."""
    agent = await in_thread(lambda: live_agent(greeting="Hello."))
    await in_thread(lambda: _limit(agent))

    async with calling(agent, await in_thread(lambda: key_for(agent))) as caller:
        await caller.until("response.done")
        for text in ("Where are you?", "When do you open?", "Thank you"):
            await caller.types(text)
    call = await _ended()
    events = await in_thread(lambda: list(Event.objects.filter(session=call).order_by("seq").values_list("at_ms")))
    items = await in_thread(lambda: list(Item.objects.filter(session=call).order_by("position")))

    assert call.end_reason == "caller"
    assert call.duration_ms is not None
    assert 0 <= call.duration_ms < PATIENCE_S * 1000
    assert events == sorted(events)
    assert [item.started_ms for item in items] == sorted(item.started_ms for item in items)
    assert [item.text for item in items if item.speaker == "caller"] == [
        "Where are you?",
        "When do you open?",
        "Thank you",
    ]


async def test_tool_takes_as_long_as_it_takes_whatever_the_wall_clock_says(
    gateway: ToolGateway, context: CallContext, register: Register, jumping_clock: None
):
    """R30: a duration below nothing could not even be stored."""
    register(lambda context, visit: ToolOutcome({"now": str(timezone.now())}))

    results = [await gateway.run(asked(call_id=f"call_{n}"), context) for n in range(len(STEPS))]

    durations = await in_thread(lambda: list(ToolCall.objects.values_list("duration_ms", flat=True)))
    assert [result.ok for result in results] == [True] * len(STEPS)
    assert all(duration is not None and 0 <= duration < PATIENCE_S * 1000 for duration in durations)


def _limit(agent: Agent) -> None:
    agent.clinic.max_call_minutes = LIMIT_MINUTES
    agent.clinic.save(update_fields=["max_call_minutes"])


async def _ended() -> CallSession:
    async with asyncio.timeout(PATIENCE_S):
        while registry().live:
            await asyncio.wait(registry().tasks)
    await registry().flush()
    return await in_thread(CallSession.objects.get)
