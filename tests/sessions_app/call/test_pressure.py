"""R20, R32, R42: an upstream that is too slow, a call that is long, and a storm of interruptions."""

from __future__ import annotations

import gc
import random
import tracemalloc
from collections.abc import Callable

from sessions_app.call.responses import CANCELS_WITHIN_MS, MAX_CANCELS
from sessions_app.call.sound import MAX_GAPS, CallerSound
from sessions_app.call.tally import MAX_STORED_ASKED
from sessions_app.call.transcript import MAX_ITEMS
from sessions_app.effects import EventSeen
from sessions_app.events import encode_audio
from tests.sessions_app.call.script import MS, Scene

FRAME_MS = 40
MAX_ITEM_BYTES = 8 * 1024  # of one thing that was said, with all that is known of it


def test_positions_after_dropped_sound_fall_where_they_were_spoken():
    """R20: the service never counts what was dropped, so its later positions stand earlier than they were spoken."""
    sound = CallerSound(bytes_per_ms=MS)
    for n in range(100):  # four seconds, from the first
        sound.take(FRAME_MS * MS, 1000 + n * FRAME_MS)

    lost = sound.drop(1000 * MS, behind=2000 * MS)  # the second of the four

    assert lost == 1000
    assert [sound.at(given, 10_000) for given in (0, 999, 1000, 2000, 3000)] == [1000, 1999, 3000, 4000, 5000]


def test_sound_dropped_again_and_again_is_one_gap_after_the_other():
    """R20: upstream takes every second frame for a minute; positions stay true, and the list of gaps stays bounded."""
    sound = CallerSound(bytes_per_ms=MS)
    for n in range(3 * MAX_GAPS):
        sound.take(FRAME_MS * MS, n * FRAME_MS)
        if n % 2:
            sound.drop(FRAME_MS * MS, behind=0)

    assert sound.at(3 * MAX_GAPS // 2 * FRAME_MS - 1, 10**9) == (3 * MAX_GAPS - 1) * FRAME_MS - 1
    assert len(sound._starts) <= MAX_GAPS


def test_dropped_sound_is_counted_and_its_gap_noted_once():
    """R20: counted, and one note for each gap, however many frames it swallows."""
    scene = Scene().live()
    sound = encode_audio(bytes(FRAME_MS * MS))

    for _ in range(20):
        scene.caller("input_audio_buffer.append", audio=sound)
        scene.take(scene.call.sound_dropped(FRAME_MS * MS, behind=0, now=scene.now))
        scene.at(scene.now + FRAME_MS / 1000)
    scene.at(scene.now + 5.0)
    scene.take(scene.call.sound_dropped(FRAME_MS * MS, behind=0, now=scene.now))
    scene.take(scene.call.stop("interrupted", now=scene.now))

    assert scene.own().count("sound.dropped") == 2
    assert scene.end().counters["sound_dropped_ms"] == 21 * FRAME_MS


def test_storm_of_interruptions_sends_few_cancels_and_leaves_the_call_well():
    """R42: 1,000 interruptions in 20 s: one cancel a response, at most five a second, and the next reply is heard."""
    scene = Scene().live()
    chance = random.Random(42)
    responses = 0
    for n in range(1000):
        if chance.random() < 0.2 and scene.call._state.responses.active_id is None:
            responses += 1
            scene.begin_reply(f"resp_{n}", f"item_{n}")
            scene.sound(f"resp_{n}", f"item_{n}", 200)
        scene.caller("response.cancel")
        if chance.random() < 0.2 and (active := scene.call._state.responses.active_id) is not None:
            scene.end_reply(active, active.replace("resp", "item"), "A word", status="cancelled")
        scene.at(scene.now + 0.02)
    stormed = len(scene.told("response.output_audio.delta"))
    if (active := scene.call._state.responses.active_id) is not None:
        scene.end_reply(active, active.replace("resp", "item"), "A word", status="cancelled")
    cancels = len(scene.to_model("response.cancel"))
    scene.reply("resp_last", "item_last", "Here I am.", sound_ms=400)
    scene.at(scene.now + 3)

    assert responses > 50
    assert cancels <= min(responses, MAX_CANCELS * (20_000 // CANCELS_WITHIN_MS + 1))
    assert len(scene.told("response.output_audio.delta")) == stormed + 1
    assert scene.item("item_last").text == "Here I am."
    assert scene.item("item_last").interrupted is False


def test_what_a_caller_asks_without_end_is_counted_and_few_of_it_are_rows():
    scene = Scene().live()

    for _ in range(3 * MAX_STORED_ASKED):
        scene.caller("conversation.item.retrieve", item_id="nobody")
    scene.take(scene.call.stop("interrupted", now=scene.now))

    asked = [("from_caller", "conversation.item.retrieve"), ("to_caller", "error")]
    for direction, kind in asked:
        rows = [fact for fact in scene.facts(EventSeen) if (fact.direction, fact.type) == (direction, kind)]
        assert len(rows) == MAX_STORED_ASKED
        assert scene.end().counters[f"{direction}:{kind}"] == 3 * MAX_STORED_ASKED
    assert len(scene.told("error")) == 3 * MAX_STORED_ASKED


def test_messages_beyond_what_a_call_can_hold_are_refused_and_an_alarm_among_them_is_heard():
    scene = Scene().live()

    for n in range(MAX_ITEMS + 1):
        content = [{"type": "input_text", "text": "Hello?" if n < MAX_ITEMS else "I have chest pain"}]
        item = {"id": f"item_{n}", "type": "message", "role": "user", "content": content}
        scene.caller("conversation.item.create", item=item, event_id=f"mine_{n}")

    refused = [(event["error"]["code"], event["error"]["event_id"]) for event in scene.told("error")]
    messages = [event for event in scene.to_model("conversation.item.create") if event["item"]["role"] == "user"]
    assert len(messages) == MAX_ITEMS - 1  # the greeting is one
    assert refused == [("too_many_items", f"mine_{n}") for n in (MAX_ITEMS - 1, MAX_ITEMS)]
    assert len(scene.told("frontdesk.emergency")) == 1


def test_barge_ins_by_voice_cancel_nothing_and_cut_each_item_once():
    """R42: 1,000 times speech within 200 ms; upstream interrupts by itself, and each item is truncated once."""
    scene = Scene().live()
    truncated: list[str] = []
    cancels = 0
    for n in range(1000):
        scene.effects.clear()
        scene.model("input_audio_buffer.speech_started", item_id=f"item_u{n}", audio_start_ms=0)
        scene.at(scene.now + 0.1)
        scene.model("input_audio_buffer.speech_stopped", item_id=f"item_u{n}", audio_end_ms=100)
        scene.model("input_audio_buffer.committed", item_id=f"item_u{n}")
        scene.begin_reply(f"resp_{n}", f"item_a{n}")
        scene.sound(f"resp_{n}", f"item_a{n}", 200)
        scene.at(scene.now + 0.1)
        done: dict[str, object] = {"id": f"resp_{n}", "status": "cancelled", "output": [], "usage": None}
        scene.model("response.done", response=done)
        truncated += [event["item_id"] for event in scene.to_model("conversation.item.truncate")]
        cancels += len(scene.to_model("response.cancel"))

    assert cancels == 0
    assert len(truncated) == len(set(truncated))
    assert scene.call._state.responses.active_id is None


def test_sound_costs_a_long_call_no_memory_and_each_turn_a_little():
    """R32, reduced: sound both ways, and then turns. What is kept is the conversation alone."""
    scene = Scene().live()
    frame = encode_audio(bytes(FRAME_MS * MS))
    scene.begin_reply("resp_long", "item_long")

    def sound(minutes: float) -> None:
        for _ in range(round(minutes * 60_000 / FRAME_MS)):
            scene.caller("input_audio_buffer.append", audio=frame)
            scene.sound("resp_long", "item_long", FRAME_MS)
            scene.at(scene.now + FRAME_MS / 1000)
            scene.effects.clear()

    def turns(first: int, count: int) -> None:
        for n in range(first, first + count):
            scene.speech(f"item_u{n}", "What about the day after that one, in the afternoon?", ms=40)
            scene.reply(f"resp_{n}", f"item_a{n}", "Let me see. There is a place at three, and another at four.")
            scene.effects.clear()

    tracemalloc.start()  # before what is kept for a while: one thing replaces another
    try:
        sound(0.8)
        of_sound = grown_by(lambda: sound(0.8))
        scene.end_reply("resp_long", "item_long", "A long answer.")
        turns(0, 50)
        of_turns = grown_by(lambda: turns(50, 50))
    finally:
        tracemalloc.stop()

    assert of_sound < 256 * 1024
    assert of_turns < 50 * 2 * MAX_ITEM_BYTES


def grown_by(play: Callable[[], None]) -> int:
    """Return by how many bytes all that is kept has grown."""
    gc.collect()
    before, _ = tracemalloc.get_traced_memory()
    play()
    gc.collect()
    return tracemalloc.get_traced_memory()[0] - before
