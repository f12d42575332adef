"""The upstream session's life: lost, seeded, watched, renewed. R05 to R08, R12, R13 of the failure model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sessions_app.effects import AudioToModel, ConnectModel, EventSeen, ItemSaved, LeaveTask, RunTool
from sessions_app.events import encode_audio
from tests.sessions_app.call.script import MS, Scene, booked, looked, recap

ONE_MOMENT = "One moment, please."


def lose(scene: Scene, code: str = "upstream_closed_1006") -> list[Any]:
    return scene.take(scene.call.model_lost(code, now=scene.now))


def reconnect(scene: Scene) -> list[dict[str, Any]]:
    """Let a new session come up to the end of its seeding, and return the items that it was told."""
    known = len(scene.to_model("conversation.item.create"))
    scene.take(scene.call.model_connected(now=scene.now))
    scene.model("session.updated")
    seeds = [event["item"] for event in scene.to_model("conversation.item.create")[known:]]
    if seeds:
        scene.model("conversation.item.added", item={"status": "completed", **seeds[-1]})
    return seeds


def words(seeds: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(seed["role"], seed["content"][0]["text"]) for seed in seeds if seed["type"] == "message"][1:]


def connects(scene: Scene) -> list[int]:
    return [effect.within_ms for effect in scene.effects if isinstance(effect, ConnectModel)]


def fixed(scene: Scene) -> list[str]:
    return [fact.text for fact in scene.facts(ItemSaved) if fact.source == "fixed"]


def failed(scene: Scene, response_id: str, code: str = "server_error") -> None:
    details = {"type": "failed", "error": {"type": "server_error", "code": code}}
    scene.model("response.created", response={"id": response_id, "status": "in_progress"})
    scene.model("response.done", response={"id": response_id, "status": "failed", "status_details": details})


def test_new_session_is_told_the_conversation_as_it_was_heard():
    scene = Scene().live()
    scene.speech("item_u1", "I need a cleaning.")
    scene.reply("resp_2", "item_2", "We have Tuesday at ten and Friday at three in the afternoon.", sound_ms=4000)
    scene.at(scene.now + 1)
    scene.speech("item_u2", "Tuesday.", ms=400)
    scene.at(scene.now + 1)

    lose(scene)
    seeds = reconnect(scene)

    told = words(seeds)
    assert [role for role, _ in told] == ["assistant", "user", "assistant", "user", "assistant"]
    assert told[1] == ("user", "I need a cleaning.")
    assert 0 < len(told[2][1]) < 30
    assert told[2][1] == "We have Tuesday at ten and Friday at three in the afternoon."[: len(told[2][1])]
    assert told[3:] == [("user", "Tuesday."), ("assistant", ONE_MOMENT)]
    assert "never do so again" in seeds[0]["content"][0]["text"]


def test_greeting_is_not_said_again_and_the_unanswered_turn_is_answered():
    scene = Scene().live()
    scene.speech("item_u1", "I need a cleaning.")
    asked = len(scene.to_model("response.create"))

    lose(scene)
    reconnect(scene)

    [answer] = scene.to_model("response.create")[asked:]
    assert "instructions" not in answer["response"]


def test_session_lost_while_nobody_waits_is_renewed_in_silence():
    scene = Scene().live()
    asked = len(scene.to_model("response.create"))
    scene.at(10.0)

    lose(scene)
    reconnect(scene)

    assert (fixed(scene), len(scene.to_model("response.create"))) == ([], asked)
    assert scene.told("error") == []


def test_reply_that_was_lost_ends_for_the_caller_and_is_asked_for_again():
    scene = Scene().live()
    scene.speech("item_u1", "I need a cleaning.")
    scene.reply("resp_2", "item_2", "We have Tuesday at ten.", sound_ms=500, finished=False)
    asked = len(scene.to_model("response.create"))

    lose(scene)
    seeds = reconnect(scene)
    scene.at(scene.now + 5)

    [done] = [event for event in scene.told("response.done") if event["response"]["id"] == "resp_2"]
    assert (done["response"]["status"], done["response"]["output"][0]["status"]) == ("cancelled", "incomplete")
    assert words(seeds)[2] == ("assistant", "We have")
    assert (scene.item("item_2").text, scene.item("item_2").interrupted) == ("We have Tuesday at ten.", True)
    assert len(scene.to_model("response.create")) == asked + 1


@pytest.mark.parametrize("how", ["lost", "failed"])
def test_goodbye_that_was_not_said_is_said_again_and_the_call_ends(how: str):
    scene = Scene().live()
    scene.calls("resp_2", ("call_1", "bye", "{}"))
    scene.tool("call_1", replace(looked(), then="hang_up"))
    scene.begin_reply("resp_3", "item_3")

    if how == "lost":
        lose(scene)
        reconnect(scene)
    else:
        details = {"type": "failed", "error": {"code": "server_error"}}
        scene.model("response.done", response={"id": "resp_3", "status": "failed", "status_details": details})
    scene.at(scene.now + 0.1)

    again = scene.to_model("response.create")[2]["response"]["instructions"]
    scene.reply("resp_4", "item_4", "Goodbye.", sound_ms=500)
    scene.at(scene.now + 5)

    assert '"Goodbye."' in again
    assert (scene.end().reason, scene.hang_up().code) == ("goodbye", 1000)


def test_words_of_a_hidden_reply_are_not_told_when_its_session_is_lost():
    scene = Scene().live()
    scene.speech("item_u1", "I have chest pain")
    scene.reply("resp_2", "item_2", "Which day would you like?", finished=False)
    told = len(scene.told())

    lose(scene)

    assert [event for event in scene.told()[told:] if "Which day" in str(event)] == []
    item = scene.item("item_2")
    assert (item.text, item.heard_chars, item.interrupted) == ("Which day would you like?", 0, True)


def test_request_that_was_not_answered_goes_to_the_new_session_once():
    scene = Scene().live()
    scene.typed("Hello?")
    asked = scene.to_model("response.create")

    lose(scene)
    reconnect(scene)

    assert scene.to_model("response.create")[len(asked) :] == [asked[-1]]


def test_tool_that_ran_is_told_and_not_run_again():
    scene = Scene().live()
    scene.calls("resp_2", ("call_1", "look", '{"day": "monday"}'))
    scene.tool("call_1", looked())
    runs = [effect for effect in scene.effects if isinstance(effect, RunTool)]

    lose(scene)
    seeds = reconnect(scene)

    told = [(seed["type"], seed["call_id"]) for seed in seeds if "call_id" in seed]
    assert told == [("function_call", "call_1"), ("function_call_output", "call_1")]
    assert [effect for effect in scene.effects if isinstance(effect, RunTool)] == runs


@pytest.mark.parametrize("done_in_the_gap", [True, False])
def test_tool_that_runs_while_the_session_is_lost_is_told_to_the_next_one_and_answered_once(done_in_the_gap: bool):
    scene = Scene().live()
    scene.calls("resp_2", ("call_1", "look", "{}"))
    asked = len(scene.to_model("response.create"))

    lose(scene)
    if done_in_the_gap:
        scene.tool("call_1", looked())
    reconnect(scene)
    if not done_in_the_gap:
        scene.tool("call_1", looked())

    told = [event["item"] for event in scene.to_model("conversation.item.create") if "call_id" in event["item"]]
    assert [item["type"] for item in told] == ["function_call", "function_call_output"]
    assert len(scene.to_model("response.create")) == asked + 1


def test_recap_that_was_lost_is_read_out_again_and_its_yes_counts():
    scene = Scene().live()
    scene.calls("resp_2", ("call_1", "book", "{}"))
    scene.tool("call_1", recap())
    scene.begin_reply("resp_3", "item_3")

    lose(scene)
    reconnect(scene)
    question = scene.to_model("response.create")[-1]["response"]["instructions"]
    scene.reply("resp_4", "item_4", "I will book a cleaning on Monday at 10:30 AM. Shall I go ahead?", sound_ms=500)
    scene.at(scene.now + 5)
    scene.speech("item_u2", "Yes.")
    scene.calls("resp_5", ("call_2", "book", "{}"))
    scene.tool("call_2", recap())
    scene.tool("call_2", booked())

    assert "cleaning on Monday" in question
    assert [run.call_id for run in scene.runs(commit=True)] == ["call_2"]


def test_words_that_were_lost_are_asked_for_again():
    scene = Scene().live()
    scene.model("input_audio_buffer.speech_started", item_id="item_u1", audio_start_ms=0)
    scene.at(2.0)
    asked = len(scene.to_model("response.create"))

    lose(scene)
    reconnect(scene)

    [again] = scene.to_model("response.create")[asked:]
    assert "Could you say that again?" in again["response"]["instructions"]
    assert scene.item("item_u1").transcript_state == "failed"


def test_typed_words_that_were_on_their_way_are_kept_and_told():
    scene = Scene().live()
    content = [{"type": "input_text", "text": "My name is James."}]
    scene.caller("conversation.item.create", item={"type": "message", "role": "user", "content": content})

    lose(scene)
    seeds = reconnect(scene)

    assert ("user", "My name is James.") in words(seeds)
    assert [fact.text for fact in scene.facts(ItemSaved) if fact.speaker == "caller"] == ["My name is James."]


def test_sound_of_the_gap_waits_at_most_two_seconds_of_it_the_newest():
    scene = Scene().live()
    lose(scene)
    for number in range(75):
        scene.caller("input_audio_buffer.append", audio=encode_audio(bytes([number, 0]) * (20 * MS)))
        scene.at(scene.now + 0.04)

    reconnect(scene)

    passed = [effect.pcm for effect in scene.effects if isinstance(effect, AudioToModel)]
    assert sum(map(len, passed)) == 2000 * MS
    assert (passed[0][0], passed[-1][0]) == (25, 74)


def test_emergency_that_is_typed_in_a_gap_is_answered_at_once():
    scene = Scene().live()
    lose(scene)

    scene.typed("I have chest pain")

    assert "Please call 911 now." in fixed(scene)


def test_guardrail_that_tripped_stands_in_the_new_session():
    scene = Scene().live()
    scene.speech("item_u1", "I have chest pain.")

    lose(scene)
    seeds = reconnect(scene)
    scene.calls("resp_9", ("call_9", "book", "{}"))

    assert any(role == "system" and "Book nothing now" in text for role, text in words(seeds))
    assert scene.outputs()["call_9"][0]["error_code"] == "emergency"


def test_three_quick_deaths_end_the_call_and_no_fourth_session_is_tried():
    scene = Scene()
    scene.connected()
    for _ in range(3):
        scene.at(scene.now + 1)
        lose(scene, "upstream_closed_1011")
        if not scene.call.ended:
            scene.take(scene.call.model_connected(now=scene.now))
    scene.at(scene.now + 30)

    assert (scene.end().reason, scene.end().error_code) == ("upstream", "upstream_closed_1011")
    assert len(connects(scene)) == 3


def test_sixth_loss_ends_the_call_and_each_wait_of_quick_deaths_is_longer():
    scene = Scene(max_call_ms=3_600_000).live()
    for _ in range(6):
        scene.at(scene.now + 6)
        lose(scene)
        if not scene.call.ended and scene.call.next_tick() is not None:
            reconnect(scene)
    scene.at(scene.now + 30)

    assert connects(scene) == [0, 400, 400, 400, 400, 400]
    assert (scene.end().reason, scene.hang_up().code) == ("upstream", 4500)
    assert [event["error"]["code"] for event in scene.told("error")] == ["upstream_failed"]


def test_connection_that_never_comes_again_ends_the_call_with_the_apology():
    scene = Scene().live()
    scene.speech("item_u1", "Hello?")
    lose(scene)

    lose(scene, "upstream_unreachable")
    scene.at(scene.now + 30)

    assert fixed(scene) == [ONE_MOMENT, "Sorry, please phone us."]
    assert (scene.end().reason, scene.end().error_code) == ("upstream", "upstream_unreachable")
    assert [effect for effect in scene.effects if isinstance(effect, LeaveTask)] != []


@pytest.mark.parametrize(
    "code", ["insufficient_quota", "invalid_api_key", "account_deactivated", "billing_hard_limit_reached"]
)
def test_fatal_code_ends_the_call_without_another_session(code: str):
    scene = Scene().live()

    scene.model("error", error={"type": "invalid_request_error", "code": code})
    scene.at(30.0)

    assert connects(scene) == [0]
    assert (scene.end().error_code, scene.hang_up().code) == (code, 4500)


@pytest.mark.parametrize("form", ["error", "close"])
def test_session_that_ran_out_is_renewed(form: str):
    scene = Scene().live()
    scene.at(10.0)

    if form == "error":
        scene.model("error", error={"type": "invalid_request_error", "code": "session_expired"})
    else:
        lose(scene, "upstream_closed_1001")

    assert len(connects(scene)) == 2
    assert scene.told("error") == []


def test_owed_reply_that_does_not_begin_in_eight_seconds_renews_the_session():
    scene = Scene().live()
    scene.speech("item_u1", "Hello?")
    since = scene.now

    scene.at(since + 7.9)
    before = len(connects(scene))
    scene.at(since + 8.1)

    assert (before, len(connects(scene))) == (1, 2)
    assert fixed(scene) == [ONE_MOMENT]


def test_reply_that_stalls_for_twenty_seconds_renews_the_session():
    scene = Scene().live()
    scene.speech("item_u1", "Hello?")
    scene.reply("resp_2", "item_2", "We have", finished=False)
    since = scene.now

    scene.at(since + 19.0)
    before = len(connects(scene))
    scene.at(since + 21.0)

    assert (before, len(connects(scene))) == (1, 2)


def test_session_is_renewed_at_a_quiet_moment_before_its_hour():
    clips = {"are_you_there": bytes(1000 * MS)}
    scene = Scene(max_call_ms=3 * 3_600_000, clips=clips).live()
    for minute in range(1, 51):
        scene.at(minute * 60 - 20)
        scene.typed(f"Minute {minute}", item_id=f"item_{minute}")
        scene.reply(f"resp_m{minute}", f"item_m{minute}", "I see.", sound_ms=1000)
    scene.at(50 * 60 - 1)
    scene.speech("item_last", "And one thing more.", ms=3000)
    before = len(connects(scene))

    scene.reply("resp_last", "item_r_last", "Yes?", sound_ms=1000)
    scene.at(scene.now + 3)
    reconnect(scene)

    assert (before, len(connects(scene))) == (1, 2)
    assert ONE_MOMENT not in fixed(scene)
    assert scene.told("error") == []


def test_failed_response_is_asked_for_again_then_in_a_new_session_and_then_the_call_ends_with_a_task():
    scene = Scene().live()
    scene.speech("item_u1", "Hello?")
    asked = len(scene.to_model("response.create"))

    failed(scene, "resp_2")
    scene.at(scene.now + 0.1)
    again = len(scene.to_model("response.create")) - asked
    failed(scene, "resp_3")
    reconnect(scene)
    in_new_session = len(scene.to_model("response.create")) - asked
    failed(scene, "resp_4")
    scene.at(scene.now + 30)

    assert (again, in_new_session, len(connects(scene))) == (1, 2, 2)
    assert (scene.end().reason, scene.end().error_code, scene.end().outcome) == ("upstream", "server_error", "failed")
    assert [effect for effect in scene.effects if isinstance(effect, LeaveTask)] != []


def test_rate_limited_response_is_asked_for_again_after_a_while():
    scene = Scene().live()
    scene.speech("item_u1", "Hello?")
    asked = len(scene.to_model("response.create"))

    failed(scene, "resp_2", "rate_limit_exceeded")
    scene.at(scene.now + 1.5)
    before = len(scene.to_model("response.create")) - asked
    scene.at(scene.now + 1)

    assert (before, len(scene.to_model("response.create")) - asked) == (0, 1)


def test_greeting_that_failed_is_said_in_full():
    scene = Scene().connected()
    scene.model("session.updated")

    scene.begin_reply("resp_1", "item_1")
    details = {"type": "failed", "error": {"code": "server_error"}}
    scene.model("response.done", response={"id": "resp_1", "status": "failed", "status_details": details})
    scene.at(0.1)

    asked = [event for event in scene.to_model("response.create") if "automated" in event["response"]["instructions"]]
    assert len(asked) == 2


def test_twenty_unreadable_frames_in_a_minute_renew_the_session():
    scene = Scene().live()
    for _ in range(19):
        scene.take(scene.call.malformed(now=scene.now))
    before = len(connects(scene))
    scene.take(scene.call.malformed(now=scene.now))

    assert (before, len(connects(scene))) == (1, 2)


def test_unreadable_frames_of_a_session_that_is_gone_are_not_counted_against_the_next():
    scene = Scene().live()
    for _ in range(19):
        scene.take(scene.call.malformed(now=scene.now))
    lose(scene)
    reconnect(scene)

    scene.take(scene.call.malformed(now=scene.now))

    assert len(connects(scene)) == 2


def test_loss_stands_in_the_record():
    scene = Scene().live()
    lose(scene)

    [lost] = [fact for fact in scene.facts(EventSeen) if fact.type == "upstream.lost"]
    assert lost.fields == {"code": "upstream_closed_1006"}


def test_setting_that_was_asked_of_a_lost_session_is_in_force_in_the_next_and_answered_once():
    scene = Scene().live()
    scene.caller("session.update", session={"type": "realtime", "output_modalities": ["text"]})

    lose(scene)
    reconnect(scene)

    [*_, update] = scene.to_model("session.update")
    assert update["session"]["output_modalities"] == ["text"]
    assert [event["session"]["output_modalities"] for event in scene.told("session.updated")] == [["text"]]
