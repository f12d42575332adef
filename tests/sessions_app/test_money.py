"""What calls cost, and what they may: typed calls through the whole of it, against the stand-in on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from django.db import connections

from agents_app.models import Agent, Clinic
from agents_app.practice.models import Task
from agents_app.publishing import publish
from agents_app.tools import registered_tools
from sessions_app import ledger
from sessions_app.models import CallSession, Event, LedgerEntry, LedgerPeriod, Place, Price
from sessions_app.registry import close_registry, registry
from sessions_app.standin.server import Standin, running_standin
from sessions_app.standin.usage import Meter
from tests.callers import Caller, Closed, calling, key_for
from tests.make import make_agent
from tests.make_practice import make_practice

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.asyncio]

RATES = {"text_in": 4, "text_cached": 1, "text_out": 24, "audio_in": 32, "audio_cached": 2, "audio_out": 64}


@pytest_asyncio.fixture
async def standin(settings: Any, transactional_db: None) -> AsyncIterator[Standin]:
    async with running_standin(speech=False) as running:
        settings.OPENAI_BASE_URL = settings.STANDIN_URL = running.http_url
        yield running
        await asyncio.to_thread(close_registry)
        await sync_to_async(connections.close_all)()  # those of the thread that serves this test's queries


def _receptionist(**clinic: Any) -> Agent:
    practice = make_practice()
    Clinic.objects.filter(pk=practice.clinic.pk).update(**clinic)
    practice.clinic.refresh_from_db()
    agent = make_agent(practice.clinic, tools=list(registered_tools()))
    publish(agent, None, speak=lambda *args, **kwargs: None)
    return Agent.objects.select_related("clinic").get(pk=agent.pk)


def _price(*, known: bool) -> None:
    Price.objects.all().delete()  # of the migrations', which are there or not
    if known:
        Price.objects.create(model="gpt-realtime-2.1", valid_from="2026-01-01", **RATES)


async def prepared(*, priced: bool = True, **clinic: Any) -> tuple[Agent, str]:
    """Return an agent and a key for a call to it."""
    await sync_to_async(_price)(known=priced)
    agent = await sync_to_async(lambda: _receptionist(**clinic))()
    return agent, await sync_to_async(key_for)(agent)


async def ended() -> CallSession:
    """Return the one call, stored to its end."""
    while registry().live:
        await asyncio.wait(registry().tasks)
    await registry().flush()
    return await sync_to_async(CallSession.objects.get)()


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The usage of each response that the stand-in has made, from its own meter."""
    usages: list[dict[str, Any]] = []
    meter = Meter.usage

    def listening(self: Meter, *args: Any) -> Any:
        usages.append(meter(self, *args))
        return usages[-1]

    monkeypatch.setattr(Meter, "usage", listening)
    return usages


def costs(usage: dict[str, Any]) -> int:
    """What a response costs at RATES, in millionths of a dollar, by a reckoning of its own."""
    read, written = usage["input_token_details"], usage["output_token_details"]
    cached = read["cached_tokens_details"]
    return int(
        RATES["text_in"] * (read["text_tokens"] - cached["text_tokens"])
        + RATES["text_cached"] * cached["text_tokens"]
        + RATES["audio_in"] * (read["audio_tokens"] - cached["audio_tokens"])
        + RATES["audio_cached"] * cached["audio_tokens"]
        + RATES["text_out"] * written["text_tokens"]
        + RATES["audio_out"] * written["audio_tokens"]
    )


async def talks(caller: Caller) -> None:
    await caller.reply()
    await caller.types("When are you open?")
    await caller.types("Where are you?")
    await caller.text("Goodbye, that is all")
    await caller.closed()


async def test_ledger_is_the_price_of_what_the_stand_in_used_to_the_millionth(standin: Standin, used: list[Any]):
    agent, key = await prepared()

    async with calling(agent, key) as caller:
        await talks(caller)
    call = await ended()

    expected = sum(costs(usage) for usage in used)
    entry = await LedgerEntry.objects.aget()
    sums = [row async for row in LedgerPeriod.objects.values_list("spent_microusd", "reserved_microusd")]
    assert expected > 0
    assert (entry.spent_microusd, entry.reserved_microusd, entry.settled) == (expected, 0, True)
    assert sums == [(expected, 0)] * 4
    assert call.cost_microusd == expected


async def test_call_at_the_cap_is_told_so_and_reaches_no_upstream(standin: Standin, used: list[Any]):
    agent, key = await prepared(daily_cap_usd=Decimal("0.01"), phone="+1 555 0177")

    async with calling(agent, key, text_only=False) as caller:
        refused = await caller.until("error")
        code = await caller.closed()

    assert (refused["error"]["code"], code) == ("budget", 4430)
    assert "+1 555 0177" in refused["error"]["message"]
    assert (used, await CallSession.objects.acount(), await Place.objects.acount()) == ([], 0, 0)
    assert [task.kind async for task in Task.objects.all()] == ["alert"]


async def test_model_without_a_price_begins_no_call_where_a_cap_is_set(standin: Standin, used: list[Any]):
    agent, key = await prepared(priced=False, monthly_cap_usd=Decimal(1000))

    async with calling(agent, key, text_only=False) as caller:
        refused = await caller.until("error")

    assert refused["error"]["code"] == "budget"
    assert ["gpt-realtime-2.1" in task.text async for task in Task.objects.all()] == [True]


async def test_model_without_a_price_is_called_where_none_is_set(standin: Standin):
    agent, key = await prepared(priced=False)

    async with calling(agent, key) as caller:
        await talks(caller)
    call = await ended()

    assert (call.end_reason, call.cost_microusd) == ("goodbye", None)
    assert await LedgerEntry.objects.acount() == 0


async def test_call_goes_on_in_writing_then_takes_a_message_and_ends_with_4430(
    standin: Standin, used: list[Any], monkeypatch: pytest.MonkeyPatch
):
    # Two minutes' worth of tokens would take two minutes: what is kept back here lasts for a few turns.
    monkeypatch.setattr(ledger, "ESTIMATED_USAGE", {"text_in": 5_000})
    agent, key = await prepared(daily_cap_usd=Decimal("0.02"))

    async with calling(agent, key, text_only=False) as caller:
        await caller.reply()
        await caller.text("When are you open?")
        await caller.until("frontdesk.budget", level="text_only")
        await caller.until("frontdesk.budget", level="message")
        await caller.reply()
        tools = len(caller.told("frontdesk.tool"))
        await caller.types("Where are you?")
        refused = len(caller.told("frontdesk.tool")) == tools
        await caller.text("Goodbye, that is all")
        code = await caller.closed()
    call = await ended()

    assert [event["level"] for event in caller.told("frontdesk.budget")] == ["text_only", "message"]
    assert code == 4430
    assert refused
    assert call.end_reason == "budget"
    assert [event.fields["level"] async for event in Event.objects.filter(type="budget.warned")] == [
        "warn", "text_only", "message",
    ]  # fmt: skip
    entry = await LedgerEntry.objects.aget()
    assert entry.spent_microusd == call.cost_microusd == sum(costs(usage) for usage in used)
    assert {task.kind async for task in Task.objects.all()} == {"alert"}


async def test_call_that_cannot_begin_after_it_was_kept_for_gives_it_back(
    standin: Standin, monkeypatch: pytest.MonkeyPatch
):
    agent, key = await prepared()
    monkeypatch.setattr(CallSession.objects, "create", None)  # no input of a caller's makes the row fail

    async with calling(agent, key, text_only=False) as caller:
        with pytest.raises(Closed):
            await caller.until("no such event")

    assert [row async for row in LedgerPeriod.objects.values_list("spent_microusd", "reserved_microusd")] == [
        (0, 0)
    ] * 4
    assert await Place.objects.acount() == 0
