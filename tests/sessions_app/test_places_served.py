"""Who finds a place on a real server: by address, by token, and with no Redis to ask."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from agents_app.models import Agent, ApiToken, Clinic
from sessions_app.models import CallSession, Place
from tests.servers import ORIGIN, Server, eventually, in_thread, live_agent, running_server

NO_REDIS = "redis://127.0.0.1:1/0"  # nothing listens there


async def begins(server: Server, agent: Agent, stack: AsyncExitStack, *, token: str = "") -> str:
    """Begin a call that goes on; return "begun", or the code with which it was turned away."""
    call = server.call(agent, key=token or None, origin="" if token else ORIGIN, checked=False)
    event = await (await stack.enter_async_context(call)).next()
    return "begun" if event["type"] == "session.created" else str(event["error"]["code"])


async def given_back() -> None:
    await eventually(Place.objects.count, lambda held: held == 0)
    live = CallSession.objects.exclude(state=CallSession.State.ENDED)
    await eventually(live.count, lambda left: left == 0)


@pytest.mark.django_db(transaction=True)
async def test_second_call_from_an_address_is_busy_while_programs_with_a_token_are_not(uvicorn: Server):
    agent = await in_thread(live_agent)
    _, token = await in_thread(lambda: ApiToken.issue(clinic=agent.clinic, name="Switchboard"))
    await in_thread(lambda: Clinic.objects.update(max_calls_per_address=1, max_calls_per_network=1))

    async with uvicorn.upstream(speech=False), AsyncExitStack() as stack:
        by_page = [await begins(uvicorn, agent, stack) for _ in range(2)]
        by_program = [await begins(uvicorn, agent, stack, token=token) for _ in range(2)]
    await given_back()

    assert (by_page, by_program) == (["begun", "busy"], ["begun", "begun"])


@pytest.mark.django_db(transaction=True)
async def test_bounds_are_as_exact_and_calls_begin_as_ever_while_redis_is_away(transactional_db: None, tmp_path: Path):
    agent = await in_thread(live_agent)
    await in_thread(lambda: Clinic.objects.update(max_concurrent_calls=3))

    with running_server("uvicorn", tmp_path, REDIS_URL=NO_REDIS) as server:
        async with server.upstream(speech=False), AsyncExitStack() as stack:
            found = await asyncio.gather(*(begins(server, agent, stack) for _ in range(8)))
        await given_back()

    assert sorted(found) == ["begun"] * 3 + ["busy"] * 5
