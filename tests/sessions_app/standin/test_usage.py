"""Token counts, and what was cached of a prompt: true equality of its beginning."""

from __future__ import annotations

import base64
from typing import Any

from sessions_app.standin.conversation import Item
from sessions_app.standin.server import running_standin
from sessions_app.standin.usage import Meter, Spoken, prompt_tokens
from tests.sessions_app.standin.recording import client_of

LONG = "Be kind. " * 1000
LONG_TOKENS = 2250


def text_item(text: str, role: str = "user") -> Item:
    return Item(
        {"id": f"item_{text}", "type": "message", "role": role, "content": [{"type": "input_text", "text": text}]}
    )


def cached(meter: Meter, *texts: str, instructions: str = LONG) -> int:
    prompt = prompt_tokens(instructions, [], [text_item(text) for text in texts])
    found: int = meter.usage(prompt, Spoken())["input_token_details"]["cached_tokens"]
    return found


def test_first_prompt_has_nothing_cached_and_the_next_its_whole_steps():
    meter = Meter(reasons=False)

    first, second = cached(meter, "one"), cached(meter, "one", "two")

    assert first == 0
    assert second == 2240
    assert second % 64 == 0
    assert second > LONG_TOKENS - 64


def test_prompt_below_the_minimum_is_never_cached():
    meter = Meter(reasons=False)

    cached(meter, "one", instructions="Be kind. " * 400)

    assert cached(meter, "one", "two", instructions="Be kind. " * 400) == 0


def test_change_at_the_front_breaks_the_cache_and_one_at_the_end_does_not():
    meter = Meter(reasons=False)
    cached(meter, "one")

    at_front = cached(meter, "one", instructions="Now. " + LONG)
    at_end = cached(meter, "one", instructions=LONG + "Now.")

    assert (at_front, at_end) == (0, 2240)


def test_sound_is_counted_by_its_length_and_cached_apart():
    meter = Meter(reasons=True)
    said = Item({"id": "u", "type": "message", "role": "user", "content": [{"type": "input_audio"}]}, audio_ms=2_000)
    told = Item(
        {
            "id": "a",
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_audio", "transcript": "Yes."}],
        },
        audio_ms=1_000,
    )
    items = [said, told, text_item("x" * 6000)]

    first = meter.usage(prompt_tokens("Hi", [], items), Spoken("abcde", 130))
    second = meter.usage(prompt_tokens("Hi", [], items), Spoken())

    assert first["input_token_details"]["audio_tokens"] == 20 + 20
    assert first["output_token_details"] == {"text_tokens": 2, "audio_tokens": 3, "reasoning_tokens": 0}
    assert first["total_tokens"] == first["input_tokens"] + 5
    assert second["input_token_details"]["cached_tokens_details"]["audio_tokens"] == 40


async def test_usage_of_a_conversation_grows_and_its_cached_part_with_it():
    async with running_standin() as standin, client_of(standin) as client:
        await client.configure(instructions=LONG, output_modalities=["text"])
        usages: list[dict[str, Any]] = []
        for _ in range(3):
            await client.say("hello there")
            usages.append((await client.answer())[-2]["response"]["usage"])

        details = [usage["input_token_details"] for usage in usages]
        assert [one["cached_tokens"] for one in details] == [0, 2240, 2240]
        assert usages[0]["input_tokens"] < usages[1]["input_tokens"] < usages[2]["input_tokens"]


async def test_truncated_sound_is_gone_from_the_next_prompt():
    async with running_standin() as standin, client_of(standin) as client:
        await client.configure(instructions='Greet with "Good morning to all of you."')
        first = (await client.answer())[-2]["response"]
        await client.send(
            "conversation.item.truncate", item_id=first["output"][0]["id"], content_index=0, audio_end_ms=100
        )
        await client.until("conversation.item.truncated")
        second = (await client.answer())[-2]["response"]

        assert first["usage"]["output_token_details"]["audio_tokens"] > 2
        assert second["usage"]["input_token_details"]["audio_tokens"] == 2


async def test_caller_sound_costs_a_token_each_tenth_of_a_second():
    async with running_standin() as standin, client_of(standin) as client:
        await client.configure(audio={"input": {"turn_detection": None}})
        await client.send("input_audio_buffer.append", audio=base64.b64encode(bytes(48 * 1000)).decode())
        await client.send("input_audio_buffer.commit")
        usage = (await client.answer())[-2]["response"]["usage"]

        assert usage["input_token_details"]["audio_tokens"] == 10
