"""A caller who goes and comes back: what is waited for, what it is told, and where it hears on."""

from __future__ import annotations

from typing import Any

import pytest

from sessions_app.effects import ConnectModel, DropOldToken, EventSeen, LeaveModel, TakeBack, ToCaller
from sessions_app.events import decode_audio
from tests.sessions_app.call.script import MS, QUESTION, Scene, booked, looked, recap

LOST, CLOSED = 1006, 1001


def goes(scene: Scene, code: int = LOST) -> None:
    scene.take(scene.call.caller_left(now=scene.now, code=code))


def comes_back(scene: Scene, token: str = "token_2") -> list[dict[str, Any]]:
    """Return what the caller is told at once."""
    scene.take(scene.call.caller_back(now=scene.now, token=token))
    return [effect.event for effect in scene.last if isinstance(effect, ToCaller)]


def sound_ms(scene: Scene) -> dict[str, int]:
    """Return how much sound went out of each item with the last input."""
    sounding = [effect for effect in scene.last if isinstance(effect, ToCaller) and effect.pcm]
    assert all(decode_audio(effect.event["delta"]) == effect.pcm for effect in sounding)
    return {each.item_id: sum(len(e.pcm) for e in sounding if e.item_id == each.item_id) // MS for each in sounding}


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


def left(scene: Scene) -> list[LeaveModel]:
    return [effect for effect in scene.effects if isinstance(effect, LeaveModel)]


def test_caller_is_told_with_which_token_it_may_come_back():
    scene = Scene()
    scene.take(scene.call.begun(now=0.0))

    scene.take(scene.call.opened(now=0.0, token="token_1"))

    [told] = scene.told("frontdesk.resume")
    assert (told["token"], told["valid_s"]) == ("token_1", 60)
    assert "token_1" not in str(scene.facts(EventSeen))


@pytest.mark.parametrize("fields", [{"own_events": False}, {}])
def test_caller_that_has_not_been_there_or_cannot_come_back_is_not_waited_for(fields: dict[str, Any]):
    scene = Scene(**fields)
    if fields:
        scene.live()
    else:
        scene.take(scene.call.begun(now=0.0))

    goes(scene)

    assert scene.end().reason == "abandoned"


def test_caller_who_hangs_up_is_not_waited_for():
    scene = Scene().live()

    goes(scene, 1000)

    assert scene.end().reason == "caller"


def test_blip_of_three_seconds_changes_nothing_but_when_it_is_heard():
    scene = Scene().live()
    scene.reply("resp_2", "item_2", "One two three four", sound_ms=4000)
    scene.at(2.0)
    scene.caller("frontdesk.playback", item_id="item_2", played_ms=800)

    goes(scene)
    taken_back = [effect for effect in scene.last if isinstance(effect, TakeBack)]
    scene.at(5.0)
    told = comes_back(scene)
    before = sound_ms(scene)
    scene.caller("frontdesk.playback", item_id="item_2", played_ms=950)

    assert taken_back == [TakeBack("item_2", 800)]
    assert before == {}
    assert sound_ms(scene) == {"item_2": 3050}
    assert [(e["item_id"], e["played_ms"]) for e in scene.told("frontdesk.playback")] == [("item_2", 950)]
    assert kinds(told)[:2] == ["session.created", "frontdesk.call"]
    assert kinds(told)[-1] == "frontdesk.resume"  # from here on the caller is up to date
    assert len(scene.to_model("response.create")) == 1  # the greeting: it is not said again
    assert left(scene) == []
    assert [e for e in scene.effects if isinstance(e, ConnectModel)] == [ConnectModel(0)]


def test_caller_who_says_nothing_of_what_it_heard_hears_on_after_300_ms_from_what_it_had_reported():
    scene = Scene().live()
    scene.reply("resp_2", "item_2", "One two three four", sound_ms=4000)
    scene.caller("frontdesk.playback", item_id="item_2", played_ms=600)
    goes(scene)
    scene.at(4.0)
    comes_back(scene)

    scene.at(4.299)
    early = scene.told("frontdesk.playback")
    scene.at(4.3)

    assert early == []
    assert sound_ms(scene) == {"item_2": 3400}


def test_conversation_is_told_again_as_far_as_it_has_got():
    scene = Scene().live()
    scene.speech("item_u1", "I would like a cleaning")
    scene.reply("resp_2", "item_2", "Which day?", sound_ms=300)
    scene.at(3.0)
    scene.typed("Monday", item_id="typed_1")
    scene.reply("resp_3", "item_3", "Let me see.", sound_ms=200, finished=False)
    scene.at(4.0)

    goes(scene)
    scene.at(5.0)
    told = comes_back(scene)

    items = [(e["item"]["id"], e["item"]["status"], words(e["item"])) for e in told if "item.added" in e["type"]]
    assert items == [
        ("item_greeting", "completed", "Hello."),
        ("item_u1", "completed", "I would like a cleaning"),
        ("item_2", "completed", "Which day?"),
        ("typed_1", "completed", "Monday"),
        ("item_3", "in_progress", "Let me see."),
    ]
    assert [e["item"]["id"] for e in told if "item.done" in e["type"]] == [item for item, *_ in items[:-1]]
    assert [e["item_id"] for e in told if e["type"].endswith("transcription.completed")] == ["item_u1"]
    assert [e["response"]["id"] for e in told if e["type"] == "response.created"] == ["resp_3"]
    assert [e["previous_item_id"] for e in told if "item.added" in e["type"]] == [None, *(i for i, *_ in items[:-1])]


def words(item: dict[str, Any]) -> str:
    [part] = item["content"]
    return str(part.get("transcript") or part.get("text") or "")


def test_reply_that_was_cut_is_told_again_as_far_as_it_was_heard():
    scene = Scene().live()
    scene.reply("resp_2", "item_2", "one two three four five six seven eight", sound_ms=4000)
    scene.at(3.0)
    scene.caller("frontdesk.playback", item_id="item_2", played_ms=2000)
    scene.speech("item_u1", "Stop")

    goes(scene)
    told = comes_back(scene)

    assert words(next(e["item"] for e in told if e.get("item", {}).get("id") == "item_2")) == "one two three four"


def test_reply_that_came_while_the_caller_was_away_is_heard_when_it_is_back():
    scene = Scene().live()
    scene.speech("item_u1", "What are your hours?")
    goes(scene)

    scene.reply("resp_2", "item_2", "Nine to five.", sound_ms=900)
    away = [effect for effect in scene.effects if isinstance(effect, ToCaller) and effect.item_id == "item_2"]
    scene.at(5.0)
    told = comes_back(scene)

    assert away == []
    assert sound_ms(scene) == {"item_2": 900}
    assert kinds(told)[-4:] == [
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "conversation.item.done",
        "response.done",
    ]


def test_words_of_the_caller_that_became_known_while_it_was_away_are_told_when_it_is_back():
    scene = Scene().live()
    scene.speech("item_u1", None)
    goes(scene)
    scene.transcribed("item_u1", "Hello?")
    scene.at(3.0)

    told = comes_back(scene)

    assert [e["transcript"] for e in told if e["type"].endswith("transcription.completed")] == ["Hello?"]


def test_recap_a_tool_at_work_and_a_card_stand_again():
    scene = Scene().live()
    scene.typed("Book it")
    scene.calls("resp_2", ("call_1", "book", "{}"))
    scene.tool("call_1", recap())
    scene.reply("resp_3", "item_3", QUESTION, sound_ms=100)
    [asked] = scene.told("frontdesk.confirm")
    goes(scene)
    scene.at(3.0)
    with_recap = comes_back(scene)

    scene.caller("frontdesk.confirm", token=asked["token"], answer="yes")
    scene.calls("resp_4", ("call_2", "book", "{}"))
    scene.tool("call_2", recap())
    scene.tool("call_2", booked())
    [card] = scene.told("frontdesk.card")
    scene.calls("resp_5", ("call_3", "look", "{}"))
    goes(scene)
    scene.at(9.0)
    with_card = comes_back(scene)

    assert [e for e in with_recap if e["type"] == "frontdesk.confirm"] == [{**asked, "event_id": any_id(with_recap)}]
    assert [e["id"] for e in with_card if e["type"] == "frontdesk.card"] == [card["id"]]
    assert "frontdesk.confirm" not in kinds(with_card)
    assert [e["label"] for e in with_card if e["type"] == "frontdesk.tool"] == ["Looking"]


def any_id(told: list[dict[str, Any]]) -> str:
    return next(str(event["event_id"]) for event in told if event["type"] == "frontdesk.confirm")


def test_recap_counts_as_heard_only_once_the_caller_has_heard_it():
    scene = Scene().live()
    scene.typed("Book it")
    scene.calls("resp_2", ("call_1", "book", "{}"))
    scene.tool("call_1", recap())
    scene.reply("resp_3", "item_3", QUESTION, sound_ms=3000)
    goes(scene)

    scene.at(9.0)
    comes_back(scene)
    scene.speech("item_u2", "Yes please")
    scene.calls("resp_4", ("call_2", "book", "{}"))
    scene.tool("call_2", recap())

    assert scene.runs(commit=True) == []


def test_emergency_stands_while_the_caller_is_away_and_when_it_is_back():
    scene = Scene().live()
    scene.typed("I have chest pain")
    goes(scene)
    scene.at(3.0)

    told = comes_back(scene)
    goes(scene)
    scene.at(100.0)

    assert [(e["line"], e["number"]) for e in told if e["type"] == "frontdesk.emergency"] == [
        ("Please call 911 now.", "911")
    ]
    assert (scene.end().reason, scene.end().outcome) == ("emergency", "emergency")


def test_tool_that_ends_while_the_caller_is_away_is_answered():
    scene = Scene().live()
    scene.typed("Look")
    scene.calls("resp_2", ("call_1", "look", "{}"))
    goes(scene)

    scene.tool("call_1", looked())

    assert list(scene.outputs()) == ["call_1"]
    assert len(scene.to_model("response.create")) == 3  # greeting, the caller's, the answer


@pytest.mark.parametrize(("code", "kept_s"), [(LOST, 30.0), (CLOSED, 10.0)])
def test_session_is_kept_for_a_while_and_then_let_go(code: int, kept_s: float):
    scene = Scene().live()
    goes(scene, code)

    scene.at(1.0 + kept_s - 0.01)
    kept = left(scene)
    scene.at(1.0 + kept_s)

    assert (kept, left(scene)) == ([], [LeaveModel()])
    assert not scene.call.ended


def test_caller_back_after_the_session_was_let_go_gets_a_new_one_that_knows_the_conversation():
    scene = Scene().live()
    scene.typed("I am Ann Lee", item_id="item_u1")
    scene.reply("resp_2", "item_2", "Thank you, Ann.", sound_ms=300)
    scene.at(3.0)
    goes(scene, CLOSED)
    scene.at(20.0)

    comes_back(scene)
    scene.at(20.4)
    asked = [effect for effect in scene.effects if isinstance(effect, ConnectModel)]
    scene.take(scene.call.model_connected(now=scene.now))
    scene.model("session.updated")

    seeds = [e["item"]["id"] for e in scene.to_model("conversation.item.create")]
    assert len(asked) == 2
    assert [seed for seed in seeds if seed in ("item_greeting", "item_u1", "item_2")][-3:] == [
        "item_greeting",
        "item_u1",
        "item_2",
    ]


def test_caller_who_does_not_come_back_has_abandoned_the_call():
    scene = Scene().live()
    scene.reply("resp_2", "item_2", "One two three four", sound_ms=4000)
    scene.caller("frontdesk.playback", item_id="item_2", played_ms=800)
    goes(scene)

    scene.at(61.0)
    waiting = not scene.call.ended
    scene.at(70.0)

    assert waiting
    assert scene.end().reason == "abandoned"
    assert (scene.item("item_2").heard_ms, scene.item("item_2").interrupted) == (800, True)
    assert 60_000 <= scene.end().at_ms - 1000 <= 70_000


def test_sentence_that_a_lost_line_cut_off_is_kept_before_its_session_is_let_go():
    scene = Scene().live()
    scene.model("input_audio_buffer.speech_started", item_id="item_u1", audio_start_ms=0)
    goes(scene)

    scene.at(27.9)
    early = scene.to_model("input_audio_buffer.commit")
    scene.at(28.0)
    scene.model("input_audio_buffer.committed", item_id="item_u1")
    body = {"id": "item_u1", "type": "message", "role": "user", "content": [{"type": "input_audio"}]}
    scene.model("conversation.item.added", item=body)
    scene.transcribed("item_u1", "I wanted to")
    scene.at(70.0)

    assert early == []
    assert len(scene.to_model("input_audio_buffer.commit")) == 1
    assert scene.item("item_u1").text == "I wanted to"


def test_session_lost_while_the_caller_is_away_is_not_replaced_before_it_is_back():
    scene = Scene().live()
    goes(scene)
    scene.take(scene.call.model_lost("1006", now=2.0))
    away = [effect for effect in scene.effects if isinstance(effect, ConnectModel)]
    scene.at(5.0)

    comes_back(scene)

    assert len(away) == 1
    assert len([effect for effect in scene.effects if isinstance(effect, ConnectModel)]) == 2


def test_nobody_is_asked_whether_he_is_there_while_he_is_known_not_to_be():
    scene = Scene().live()
    goes(scene)

    scene.at(60.0)

    assert [event["item"]["id"] for event in scene.told("conversation.item.added")] == ["item_greeting"]


def test_reply_that_outgrows_what_anybody_will_listen_to_is_stopped():
    scene = Scene().live()
    goes(scene)
    scene.begin_reply("resp_2", "item_2")

    for _ in range(90):
        scene.sound("resp_2", "item_2", 1000)

    assert [event["response_id"] for event in scene.to_model("response.cancel")] == ["resp_2"]


def test_other_window_takes_the_call_over_as_if_the_first_had_gone():
    scene = Scene().live()
    scene.reply("resp_2", "item_2", "One two three four", sound_ms=4000)
    scene.caller("frontdesk.playback", item_id="item_2", played_ms=800)

    comes_back(scene)
    scene.at(1.3)

    assert sound_ms(scene) == {"item_2": 3200}
    assert scene.own()[-2:] == ["caller.lost", "caller.back"]


def test_line_that_breaks_again_before_a_word_was_said_is_waited_for_anew():
    scene = Scene().live()
    scene.reply("resp_2", "item_2", "One two three four", sound_ms=4000)
    scene.caller("frontdesk.playback", item_id="item_2", played_ms=800)
    for second in (40.0, 80.0, 120.0):
        goes(scene)
        scene.at(second)
        comes_back(scene)

    scene.at(121.0)

    assert not scene.call.ended
    assert scene.told("frontdesk.playback")[-1]["played_ms"] == 800
    assert [len(left(scene)), len(scene.own())] == [3, len(scene.own())]


def test_caller_says_that_it_has_its_token_and_the_one_before_is_dropped():
    scene = Scene().live()

    scene.caller("frontdesk.resume")

    assert [effect for effect in scene.last if isinstance(effect, DropOldToken)] == [DropOldToken()]


def test_call_that_has_ended_without_its_caller_is_over():
    scene = Scene().live()
    scene.model("input_audio_buffer.speech_started", item_id="item_u1", audio_start_ms=0)
    goes(scene)

    scene.take(scene.call.stop("stopped", now=2.0))

    assert scene.call.next_tick() is None


def test_caller_who_goes_while_the_call_is_ending_is_not_waited_for():
    scene = Scene().live()
    scene.model("error", error={"type": "server_error", "code": "insufficient_quota", "message": "x"})

    goes(scene)

    assert scene.end().reason == "upstream"
