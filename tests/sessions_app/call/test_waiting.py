"""What is said while nobody speaks, and how a call comes to its end by the clock."""

from __future__ import annotations

from sessions_app.effects import ItemSaved
from tests.sessions_app.call.script import MS, Scene, looked

SOUND = bytes(1000 * MS)
CLIPS = {name: SOUND for name in ("one_moment", "are_you_there", "last_minute", "goodbye")}


def said(scene: Scene) -> list[tuple[str, int]]:
    """Return each fixed line with the second in which it began."""
    first = {fact.item_id: fact for fact in reversed(scene.facts(ItemSaved)) if fact.source == "fixed"}
    return sorted(((fact.text, fact.started_ms // 1000) for fact in first.values()), key=lambda line: line[1])


def test_silent_caller_is_asked_twice_and_then_told_goodbye():
    scene = Scene(clips=CLIPS).live()

    scene.at(120.0)

    assert said(scene) == [("Are you still there?", 20), ("Are you still there?", 41), ("Goodbye.", 62)]
    assert (scene.end().reason, scene.hang_up().code) == ("idle", 4408)


def test_silence_before_it_asks_is_the_receptionists_own_and_a_minute_at_least_for_who_types():
    talks, types = Scene(clips=CLIPS, idle_ms=7_000).live(), Scene(clips=CLIPS, idle_ms=90_000).live()
    types.caller("session.update", session={"type": "realtime", "output_modalities": ["text"]})
    types.model("session.updated")

    talks.at(10.0)
    types.at(95.0)

    assert [said(scene) for scene in (talks, types)] == [
        [("Are you still there?", 7)],
        [("Are you still there?", 91)],  # the update came in the first second
    ]


def test_caller_that_answers_is_asked_anew_from_the_beginning():
    scene = Scene(clips=CLIPS).live()
    scene.at(25.0)
    scene.speech("item_u1", "Yes, I am.")
    scene.reply("resp_2", "item_2", "Good.", sound_ms=200)
    scene.at(50.0)

    assert [text for text, _ in said(scene)] == ["Are you still there?"] * 2
    assert not scene.call.ended


def test_model_knows_that_the_caller_was_asked():
    scene = Scene(clips=CLIPS).live()
    scene.at(25.0)

    [told] = [event["item"] for event in scene.to_model("conversation.item.create")]
    assert (told["role"], told["content"]) == ("assistant", [{"type": "output_text", "text": "Are you still there?"}])


def test_who_types_is_given_a_minute():
    scene = Scene().live()
    scene.caller("session.update", session={"type": "realtime", "output_modalities": ["text"]})
    scene.model("session.updated")

    scene.at(60.0)
    before = said(scene)
    scene.at(62.0)

    assert (before, [text for text, _ in said(scene)]) == ([], ["Are you still there?"])


def test_line_without_sound_is_spoken_by_the_model():
    scene = Scene().live()

    scene.at(25.0)

    assert "Are you still there?" in scene.to_model("response.create")[-1]["response"]["instructions"]
    assert said(scene) == []


def test_slow_tool_is_bridged_before_two_seconds_and_again_before_ten():
    scene = Scene(clips=CLIPS).live()
    scene.calls("resp_2", ("call_1", "look", "{}"))
    began = scene.now

    scene.at(began + 1.4)
    before = said(scene)
    scene.at(began + 22)
    scene.tool("call_1", looked())

    assert before == []
    assert said(scene) == [("One moment, please.", 2), ("One moment, please.", 11), ("One moment, please.", 20)]


def test_filler_waits_until_what_the_model_says_itself_was_heard():
    scene = Scene(clips=CLIPS).live()
    scene.reply("resp_2", "item_2", "Let me look that up for you.", sound_ms=4000)
    scene.calls("resp_3", ("call_1", "look", "{}"))

    scene.at(6.0)
    before = said(scene)
    scene.at(7.0)

    assert (before, len(said(scene))) == ([], 1)


def test_longest_call_is_warned_a_minute_before_and_ends_at_its_limit():
    scene = Scene(clips=CLIPS, max_call_ms=180_000).live()
    for number in range(11):
        scene.at(1 + number * 16)
        scene.typed("Go on.", item_id=f"typed_{number}")
        scene.reply(f"resp_{number}", f"item_{number}", "A story.", sound_ms=10_000)
    scene.at(200.0)

    assert [text for text, _ in said(scene)] == ["We have about one minute left.", "Goodbye."]
    assert 115 <= dict(said(scene))["We have about one minute left."] <= 140
    assert scene.end().reason == "time_limit"
    assert 170_000 <= scene.end().at_ms <= 181_000


def test_warning_does_not_fall_into_a_reply():
    scene = Scene(clips=CLIPS, max_call_ms=180_000).live()
    scene.at(15.0)
    for number in range(6):
        scene.typed("Go on.", item_id=f"typed_{number}")
        scene.reply(f"resp_{number}", f"item_{number}", "A story.", sound_ms=15_000)
        scene.at(scene.now + 17)
    scene.typed("Go on.", item_id="typed_last")
    scene.reply("resp_last", "item_last", "The last", sound_ms=2000, finished=False)

    scene.at(125.0)
    during = said(scene)
    scene.end_reply("resp_last", "item_last", "The last story.")
    scene.at(126.0)

    assert (during, [text for text, _ in said(scene)]) == ([], ["We have about one minute left."])


def test_process_that_stops_says_goodbye_and_closes_with_restart():
    scene = Scene(clips=CLIPS).live()

    scene.take(scene.call.wrap_up(now=scene.now))
    scene.at(scene.now + 5)

    assert [text for text, _ in said(scene)] == ["Goodbye."]
    assert (scene.end().reason, scene.hang_up().code) == ("interrupted", 1012)
    assert scene.end().at_ms >= 2000, "the goodbye is heard to its end"


def test_goodbye_without_sound_that_the_model_does_not_say_is_not_waited_for():
    scene = Scene().live()

    scene.take(scene.call.wrap_up(now=scene.now))
    scene.at(scene.now + 30)

    assert (scene.end().reason, scene.hang_up().code) == ("interrupted", 1012)
    assert [text for text, _ in said(scene)] == ["Goodbye."]
