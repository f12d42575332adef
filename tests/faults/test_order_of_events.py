"""R11: events of the model's that come twice, late or in another order leave the same conversation behind."""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import replace
from typing import Any

from sessions_app.effects import ItemSaved
from sessions_app.events import encode_audio, parse
from tests.sessions_app.call.script import Scene

USER: dict[str, Any] = {"id": "item_u", "type": "message", "role": "user", "content": [{"type": "input_audio"}]}
AGENT: dict[str, Any] = {"id": "item_a", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
SAID: dict[str, Any] = {**AGENT, "status": "completed", "content": [{"type": "output_audio", "transcript": "At nine."}]}
TRANSCRIBED = "conversation.item.input_audio_transcription.completed"
USAGE = {"total_tokens": 30, "input_tokens": 20, "output_tokens": 10}

# One turn of the caller's and its answer, each event as the service sends it.
TURN: list[dict[str, Any]] = [
    {"type": "input_audio_buffer.committed", "item_id": "item_u", "previous_item_id": "item_greeting"},
    {"type": "conversation.item.added", "item": USER, "previous_item_id": "item_greeting"},
    {"type": TRANSCRIBED, "item_id": "item_u", "content_index": 0, "transcript": "When do you open?"},
    {"type": "response.created", "response": {"id": "resp_a", "status": "in_progress"}},
    {"type": "conversation.item.added", "item": AGENT, "previous_item_id": "item_u"},
    {"type": "conversation.item.done", "item": SAID, "previous_item_id": "item_u"},
    {"type": "response.done", "response": {"id": "resp_a", "status": "completed", "output": [SAID], "usage": USAGE}},
]
FRAMES = [json.dumps({**event, "event_id": f"turn_{n}"}) for n, event in enumerate(TURN)]
AGAIN = [json.dumps({**event, "event_id": f"again_{n}"}) for n, event in enumerate(TURN)]
PARSED = {frame: parse(frame) for frame in [*FRAMES, *AGAIN]}
DUPLICATES = 0.1


def played(frames: tuple[str, ...] | list[str]) -> Scene:
    """Return the call after the greeting and these frames of the turn."""
    scene = Scene().live()
    for frame in frames:
        scene.take(scene.call.from_model(PARSED[frame], now=scene.now))
    return scene


def conversation(scene: Scene) -> list[ItemSaved]:
    """Return what stands in the record: each item's last fact, in order. First sound has none here."""
    last = {fact.item_id: fact for fact in scene.facts(ItemSaved)}
    return sorted((replace(fact, first_audio_ms=None) for fact in last.values()), key=lambda fact: fact.position)


def test_all_orders_of_a_turn_of_seven_events_leave_the_same_transcript():
    """R11: each of the 5,040 orders, one event in ten twice, half of those with a new event_id."""
    chance = random.Random(11)
    wanted = conversation(played(FRAMES))
    assert [(fact.speaker, fact.text, fact.response_id) for fact in wanted[1:]] == [
        ("caller", "When do you open?", ""),
        ("agent", "At nine.", "resp_a"),
    ]

    differing = []
    for order in itertools.permutations(range(len(FRAMES))):
        frames = [FRAMES[n] for n in order]
        for n in range(len(TURN)):
            if chance.random() < DUPLICATES:
                again = chance.choice((FRAMES, AGAIN))[n]
                frames.insert(chance.randrange(frames.index(FRAMES[n]) + 1, len(frames) + 1), again)
        if conversation(played(frames)) != wanted:
            differing.append(order)

    assert differing == []


def test_no_order_leaves_a_response_open_counted_twice_or_awaited():
    """R11: whatever the order, nothing runs on, its usage counts once, and no watchdog takes the session for dead."""
    chance = random.Random(12)
    orders = [tuple(chance.sample(FRAMES, len(FRAMES))) for _ in range(100)]

    for order in orders:
        scene = played([*order, *AGAIN])
        scene.caller("response.create")
        assert scene.to_model("response.create")[1:], "the next request goes out: nothing is taken to be active"
        scene.model("response.created", response={"id": "resp_b", "status": "in_progress"})
        scene.model("response.done", response={"id": "resp_b", "status": "completed", "output": [], "usage": None})
        scene.at(15.0)
        assert "upstream.lost" not in scene.own()
        scene.take(scene.call.stop("interrupted", now=scene.now))
        assert scene.end().usage["responses"] == 1


def test_sound_that_comes_after_an_interruption_is_not_heard():
    """R11: late sound of a reply that the caller has interrupted."""
    scene = Scene().live()
    scene.begin_reply("resp_2", "item_2")
    scene.sound("resp_2", "item_2", 400)
    scene.at(1.2)
    scene.model("input_audio_buffer.speech_started", item_id="item_u", audio_start_ms=1100)
    heard = scene.told("response.output_audio.delta")

    late = scene.sound("resp_2", "item_2", 200)
    scene.end_reply("resp_2", "item_2", "A long answer", status="cancelled")
    scene.at(20.0)

    assert late == []
    assert scene.told("response.output_audio.delta") == heard
    assert (scene.item("item_2").interrupted, scene.item("item_2").heard_ms) == (True, 200)


def test_parts_of_a_response_that_nobody_knows_change_nothing():
    """R11: items and sound of a response that never began."""
    scene = Scene().live()
    before = conversation(scene)

    delta = encode_audio(bytes(480))
    scene.model("response.output_audio.delta", response_id="resp_x", item_id="item_x", delta=delta)
    scene.model("response.output_audio.done", response_id="resp_x", item_id="item_x")
    scene.model("response.output_audio_transcript.done", response_id="resp_x", item_id="item_x", transcript="Boo")
    scene.model("response.done", response={"id": "resp_x", "status": "completed", "output": [], "usage": USAGE})

    assert conversation(scene) == before
    scene.take(scene.call.stop("interrupted", now=scene.now))
    assert scene.end().usage.get("responses", 0) <= 1  # the greeting's
