"""How much of a reply was heard: one rule for each that was not heard to its end."""

from __future__ import annotations

from sessions_app.effects import CutSound, ItemSaved
from tests.sessions_app.call.script import Scene

WORDS = "We open at nine and close at five."  # two and a quarter seconds, at the usual speed


def takes_the_floor(scene: Scene) -> None:
    scene.model("input_audio_buffer.speech_started", item_id="item_u1", audio_start_ms=0)


def heard(scene: Scene, item_id: str = "item_2") -> tuple[bool, int | None, str]:
    """Return whether an item was cut, after how many ms of it, and its words as they were heard."""
    item = scene.item(item_id)
    return item.interrupted, item.heard_ms, item.text[: item.heard_chars]


def truncated(scene: Scene) -> list[int]:
    return [event["audio_end_ms"] for event in scene.to_model("conversation.item.truncate")]


def test_reply_that_the_page_has_played_to_its_end_was_not_cut():
    scene = Scene().live()
    scene.reply("resp_2", "item_2", WORDS, sound_ms=1000)
    scene.at(1.9)
    takes_the_floor(scene)
    by_the_clock = heard(scene)

    scene.caller("frontdesk.playback", item_id="item_2", played_ms=1000)
    scene.at(5.0)

    assert by_the_clock == (True, 900, "We open at nine and close at")
    assert heard(scene) == (False, None, WORDS)
    assert truncated(scene) == []
    assert [effect for effect in scene.effects if isinstance(effect, CutSound)] == []


def test_truncation_past_the_end_of_a_reply_is_answered_and_cuts_nothing():
    scene = Scene().live()
    scene.reply("resp_2", "item_2", WORDS, sound_ms=4000)
    scene.at(2.0)

    scene.caller("conversation.item.truncate", item_id="item_2", content_index=0, audio_end_ms=99_000)

    assert [event["audio_end_ms"] for event in scene.told("conversation.item.truncated")] == [4000]
    assert (heard(scene), truncated(scene)) == ((False, None, WORDS), [])


def test_line_without_sound_is_not_cut_by_a_truncation():
    scene = Scene().live()
    scene.typed("I have chest pain")
    [line] = [fact for fact in scene.facts(ItemSaved) if fact.source == "fixed"]

    scene.caller("conversation.item.truncate", item_id=line.item_id, content_index=0, audio_end_ms=0)

    assert [event["audio_end_ms"] for event in scene.told("conversation.item.truncated")] == [0]
    assert heard(scene, line.item_id) == (False, None, "Please call 911 now.")


def test_hidden_reply_that_never_sounded_was_not_heard():
    scene = Scene().live()
    scene.speech("item_u1", "I have chest pain")

    scene.reply("resp_2", "item_2", WORDS)

    assert heard(scene) == (True, 0, "")


def test_reply_that_is_cut_before_it_sounds_was_not_heard():
    scene = Scene().live()
    scene.reply("resp_2", "item_2", WORDS, finished=False)
    takes_the_floor(scene)

    late = scene.sound("resp_2", "item_2", 400)
    scene.end_reply("resp_2", "item_2", WORDS, status="incomplete")

    assert [effect for effect in late if getattr(effect, "pcm", b"")] == []
    assert heard(scene) == (True, 0, "")


def test_reply_that_is_cut_while_its_sound_lags_was_heard_as_far_as_it_sounded():
    scene = Scene().live()
    scene.reply("resp_2", "item_2", WORDS, sound_ms=500, finished=False)
    scene.at(3.0)

    takes_the_floor(scene)
    scene.end_reply("resp_2", "item_2", WORDS, status="incomplete")

    assert heard(scene) == (True, 500, "We open")


def test_words_that_ran_ahead_of_their_sound_were_not_heard():
    scene = Scene().live()
    scene.reply("resp_2", "item_2", WORDS, sound_ms=1000, finished=False)
    scene.at(1.9)

    takes_the_floor(scene)
    scene.end_reply("resp_2", "item_2", WORDS, status="incomplete")
    scene.at(5.0)

    assert (heard(scene), truncated(scene)) == ((True, 900, "We open at"), [900])


def test_reply_that_is_being_said_when_the_call_ends_stands_as_far_as_it_was_heard():
    scene = Scene().live()
    scene.reply("resp_2", "item_2", WORDS, sound_ms=1000, finished=False)
    scene.at(1.9)

    scene.take(scene.call.stop("stopped", now=scene.now))

    assert (scene.item("item_2").text, heard(scene)) == (WORDS, (True, 900, "We open at"))


def test_cut_of_a_reply_whose_item_comes_after_its_sound_stands_in_it():
    scene = Scene().live()
    scene.model("response.created", response={"id": "resp_2", "status": "in_progress"})
    scene.sound("resp_2", "item_2", 1000)
    scene.at(1.4)

    takes_the_floor(scene)
    item = {"id": "item_2", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    scene.model("conversation.item.added", item=item)
    scene.end_reply("resp_2", "item_2", WORDS, status="incomplete")
    scene.at(5.0)

    assert (heard(scene), truncated(scene)) == ((True, 400, "We"), [400])
