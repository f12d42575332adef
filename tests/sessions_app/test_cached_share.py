"""What a long call costs: each prompt begins with the whole of the one before it, so that the service has it cached."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async

from agents_app.models import Agent
from sessions_app.models import Event
from tests.callers import calling, key_for
from tests.sessions_app.test_consumers import agent, ended, pytestmark, standin

__all__ = ["agent", "pytestmark", "standin"]

CACHE_FROM_TOKENS, CACHE_STEP_TOKENS = 1024, 64  # what the service caches. Source: Realtime API, prompt caching
ALLOWED_SHARE = 0.95
BOOKING = [
    "Hello",
    "What are your opening hours?",
    "Where are you?",
    "I would like to book a cleaning",
    "Ann Lee",
    "March 14th 1985",
    "the first one",
    "yes please",
    "What are your opening hours?",
    "Where are you?",
    "Thank you",
    "What are your opening hours?",
    "Where are you?",
    "Thank you",
]


async def test_from_the_second_turn_on_a_booking_reads_from_the_cache_what_its_prefix_allows(agent: Agent):
    key = await sync_to_async(key_for)(agent)

    async with calling(agent, key) as caller:
        await caller.reply()
        for words in BOOKING:
            await caller.types(words)
    call = await ended()

    done = Event.objects.filter(direction="from_model", type="response.done").order_by("seq")
    usages = [event.fields["usage"] async for event in done]
    # Not the greeting and the recap: they bring instructions of their own and no tools, so their prompts are short.
    answers = [usage for usage in usages if usage["input_tokens"] > CACHE_FROM_TOKENS]
    allowed = [_in_steps(usage["input_tokens"]) for usage in answers[:-1]]
    cached = [_cached(usage) for usage in answers[1:]]
    assert call.outcome == "booked"
    assert len(answers) > len(BOOKING)
    assert all(read >= ALLOWED_SHARE * could for read, could in zip(cached, allowed, strict=True))


def _cached(usage: dict[str, Any]) -> int:
    return int(usage["input_token_details"]["cached_tokens"])


def _in_steps(tokens: int) -> int:
    return tokens - tokens % CACHE_STEP_TOKENS
