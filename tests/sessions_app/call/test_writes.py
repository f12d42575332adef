"""What a model may try, and what is written all the same: only what the caller said yes to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sessions_app.effects import ItemSaved, LeaveTask, ToCaller
from sessions_app.events import encode_audio
from tests.sessions_app.call.script import QUESTION, SESSION, Scene, booked, looked, recap


def asked(**brief: object) -> Scene:
    """The model wanted to book; the recap was read out and heard to its end."""
    scene = Scene(**brief).live()
    scene.calls("resp_2", ("call_1", "book", '{"at": "10:30"}'))
    scene.tool("call_1", recap())
    scene.reply("resp_recap", "item_recap", QUESTION, sound_ms=3000)
    return scene.at(scene.now + 3.5)


def call_again(scene: Scene, call_id: str = "call_2", *, digest: str = "v1") -> None:
    scene.calls(f"resp_{call_id}", (call_id, "book", "{}"))
    scene.tool(call_id, recap(digest))


def test_write_is_first_only_tried_out():
    scene = Scene().live()

    scene.calls("resp_2", ("call_1", "book", '{"confirmed": true}'))

    assert [run.commit for run in scene.runs(commit=False)] == [False]
    assert scene.runs(commit=True) == []


def test_recap_is_read_out_without_tools_and_shown():
    scene = asked()

    spoken = scene.to_model("response.create")[-1]["response"]
    [shown] = scene.told("frontdesk.confirm")

    assert (spoken["tools"], spoken["tool_choice"]) == ([], "none")
    assert QUESTION in spoken["instructions"]
    assert (shown["question"], shown["lines"]) == (QUESTION, [["When", "Monday at 10:30 AM"]])
    assert scene.outputs()["call_1"][0]["error_code"] == "confirmation_required"


def test_spoken_yes_lets_the_same_values_run_once():
    scene = asked()
    scene.speech("item_yes", "Yes, please.")
    call_again(scene)

    [run] = scene.runs(commit=True)
    scene.tool("call_2", booked())
    call_again(scene, "call_3")

    assert (run.call_id, run.confirmed_by) == ("call_2", "item_yes")
    assert len(scene.runs(commit=True)) == 1
    assert [event["answer"] for event in scene.told("frontdesk.confirm_closed")] == ["yes"]
    assert [event["lines"] for event in scene.told("frontdesk.card")] == [[["When", "Monday"]]]


@pytest.mark.parametrize(("line", "idle_ms", "at_s"), [("are_you_there", 20_000, 30.0), ("last_minute", 90_000, 62.0)])
def test_yes_to_a_fixed_line_is_no_yes_to_the_recap_before_it(line: str, idle_ms: int, at_s: float):
    scene = asked(clips={line: bytes(400 * 48)}, max_call_ms=120_000, idle_ms=idle_ms).at(at_s)
    said = [item.text for item in scene.facts(ItemSaved) if item.source == "fixed"]

    scene.speech("item_yes", "Yes.")
    call_again(scene)

    assert len(said) == 1
    assert scene.runs(commit=True) == []


def test_yes_counts_though_the_caller_was_asked_to_wait_meanwhile():
    scene = asked(clips={"one_moment": bytes(400 * 48)})
    scene.calls("resp_look", ("call_look", "look", "{}"))
    scene.at(scene.now + 2.5)
    said = [item.text for item in scene.facts(ItemSaved) if item.source == "fixed"]

    scene.speech("item_yes", "Yes.")
    call_again(scene)

    assert said == ["One moment, please."]
    assert [run.call_id for run in scene.runs(commit=True) if run.name == "book"] == ["call_2"]


def test_cough_after_the_recap_takes_nothing_from_the_yes_after_it():
    scene = asked()
    scene.speech("item_cough", "")
    scene.reply("resp_cough", "item_reply", "Pardon?")  # to the cough: nobody hears it

    scene.speech("item_yes", "Yes.")
    call_again(scene)

    assert [run.confirmed_by for run in scene.runs(commit=True)] == ["item_yes"]


def test_yes_by_the_button_that_is_held_counts_whatever_detection_the_caller_asks_for():
    audio: Any = SESSION["audio"]
    by_button = {**SESSION, "audio": {**audio, "input": {**audio["input"], "turn_detection": None}}}
    scene = asked(session=by_button)
    detection = {"input": {"turn_detection": {"type": "server_vad"}}}
    scene.caller("session.update", session={"type": "realtime", "audio": detection})

    scene.caller("input_audio_buffer.append", audio=encode_audio(bytes(200 * 48)))
    scene.caller("input_audio_buffer.commit")
    scene.model("input_audio_buffer.committed", item_id="item_yes")
    body = {"id": "item_yes", "type": "message", "role": "user", "content": [{"type": "input_audio"}]}
    scene.model("conversation.item.added", item=body)
    scene.transcribed("item_yes", "Yes.")
    call_again(scene)

    assert [run.confirmed_by for run in scene.runs(commit=True)] == ["item_yes"]


def test_typed_yes_counts():
    scene = asked()
    scene.typed("yes", item_id="item_yes")
    call_again(scene)

    assert [run.confirmed_by for run in scene.runs(commit=True)] == ["item_yes"]


def test_button_counts_and_the_model_hears_of_it():
    scene = asked()
    [shown] = scene.told("frontdesk.confirm")

    scene.caller("frontdesk.confirm", token=shown["token"], answer="yes")
    call_again(scene)

    assert [run.confirmed_by for run in scene.runs(commit=True)] == ["button"]
    said = [event["item"] for event in scene.to_model("conversation.item.create") if "role" in event["item"]]
    assert [(item["role"], item["content"][0]["text"]) for item in said] == [("user", "Yes.")]


def test_model_that_calls_again_without_an_answer_gets_a_new_question():
    scene = asked()

    call_again(scene)

    assert scene.runs(commit=True) == []
    assert len(scene.told("frontdesk.confirm")) == 2 + len(scene.told("frontdesk.confirm_closed"))


def test_value_changed_after_the_recap_needs_a_new_yes():
    scene = asked()
    scene.speech("item_yes", "Yes.")

    call_again(scene, digest="v2")

    assert scene.runs(commit=True) == []
    assert scene.outputs()["call_2"][0]["error_code"] == "confirmation_required"


def test_yes_said_before_the_recap_counts_for_nothing():
    scene = Scene().live()
    scene.speech("item_early", "Yes, yes, go ahead.")

    scene.calls("resp_2", ("call_1", "book", "{}"))
    scene.tool("call_1", recap())

    assert scene.runs(commit=True) == []


def test_yes_spoken_into_the_recap_counts_for_nothing():
    scene = Scene().live()
    scene.calls("resp_2", ("call_1", "book", "{}"))
    scene.tool("call_1", recap())
    scene.reply("resp_recap", "item_recap", QUESTION, sound_ms=3000)
    scene.at(scene.now + 1.0)

    scene.speech("item_yes", "Yes.")
    call_again(scene)

    assert scene.runs(commit=True) == []


def test_yes_that_is_still_being_transcribed_is_waited_for():
    scene = asked()
    scene.speech("item_yes", None)
    call_again(scene)
    held = scene.runs(commit=True)

    scene.transcribed("item_yes", "Yes.")

    assert held == []
    assert [run.call_id for run in scene.runs(commit=True)] == ["call_2"]


def test_yes_that_is_transcribed_too_late_is_no_yes():
    scene = asked()
    scene.speech("item_yes", None)
    call_again(scene)

    scene.at(scene.now + 3.1)
    scene.transcribed("item_yes", "Yes.")

    assert scene.runs(commit=True) == []
    assert len(scene.outputs()["call_2"]) == 1


@pytest.mark.parametrize("words", ["No.", "What?", "Yes, but at eleven"])
def test_anything_but_a_yes_writes_nothing(words: str):
    scene = asked()
    scene.speech("item_answer", words)

    call_again(scene)

    assert scene.runs(commit=True) == []


def test_change_button_writes_nothing():
    scene = asked()
    [shown] = scene.told("frontdesk.confirm")

    scene.caller("frontdesk.confirm", token=shown["token"], answer="change")
    call_again(scene)

    assert scene.runs(commit=True) == []


def test_recap_that_loses_a_value_is_said_once_more_and_then_a_task_is_left():
    scene = Scene().live()
    scene.calls("resp_2", ("call_1", "book", "{}"))
    scene.tool("call_1", recap())
    scene.reply("resp_recap", "item_recap", "I will book something. Shall I go ahead?", sound_ms=1000)
    again = len(scene.to_model("response.create"))

    scene.reply("resp_recap2", "item_recap2", "I will book a cleaning. All right?", sound_ms=1000)
    scene.at(scene.now + 3)
    scene.speech("item_yes", "Yes.")
    call_again(scene)

    assert again == 3
    assert [e.text for e in scene.effects if isinstance(e, LeaveTask)] == [QUESTION]
    assert scene.runs(commit=True) == []


def test_second_write_in_the_same_breath_is_told_to_wait():
    scene = Scene().live()
    scene.calls("resp_2", ("call_1", "book", "{}"), ("call_2", "book", "{}"))

    scene.tool("call_1", recap("v1"))
    scene.tool("call_2", recap("v2"))

    codes = [outputs[0]["error_code"] for outputs in scene.outputs().values()]
    assert codes == ["confirmation_required", "one_at_a_time"]
    assert len(scene.to_model("response.create")) == 2


def test_emergency_typed_gives_the_fixed_line_and_no_reply_of_the_model():
    scene = Scene(clips={"guardrail:0": bytes(1000 * 48)}).live()
    before = len(scene.to_model("response.create"))

    scene.typed("I have chest pain", item_id="item_u1")

    [shown] = scene.told("frontdesk.emergency")
    assert (shown["line"], shown["number"]) == ("Please call 911 now.", "911")
    assert len(scene.to_model("response.create")) == before
    assert scene.own() == ["guardrail.tripped"]
    assert sum(len(e.pcm) for e in scene.effects if isinstance(e, ToCaller)) == (500 + 1000) * 48


def test_emergency_spoken_cancels_the_reply_that_has_begun():
    scene = Scene().live()
    scene.speech("item_u1", None)
    scene.reply("resp_2", "item_2", "Which day would you like?", sound_ms=2000, finished=False)

    scene.transcribed("item_u1", "I can't breathe")

    assert [event["response_id"] for event in scene.to_model("response.cancel")] == ["resp_2"]
    assert len(scene.told("frontdesk.emergency")) == 1


def test_reply_that_begins_after_an_emergency_was_heard_is_cancelled():
    scene = Scene().live()
    scene.speech("item_u1", "I have chest pain")

    effects = scene.model("response.created", response={"id": "resp_2", "status": "in_progress"})

    assert [event["response_id"] for event in scene.to_model("response.cancel")] == ["resp_2"]
    assert [e for e in effects if getattr(e, "event", {}).get("type") == "response.created"] == []


def test_emergency_is_heard_while_it_is_still_being_transcribed():
    scene = Scene().live()
    scene.speech("item_u1", None)
    kind = "conversation.item.input_audio_transcription.delta"
    scene.model(kind, item_id="item_u1", delta="I have chest")

    early = len(scene.told("frontdesk.emergency"))
    scene.model(kind, item_id="item_u1", delta=" pain since")

    assert (early, len(scene.told("frontdesk.emergency"))) == (0, 1)


def test_emergency_is_heard_before_the_item_that_it_is_said_in_is_there():
    scene = Scene().live()
    scene.model("input_audio_buffer.speech_started", item_id="item_u1", audio_start_ms=0)
    kind = "conversation.item.input_audio_transcription.delta"
    scene.model(kind, item_id="item_u1", delta="I have chest")

    early = len(scene.told("frontdesk.emergency"))
    scene.model(kind, item_id="item_u1", delta=" pain since")

    assert (early, len(scene.told("frontdesk.emergency"))) == (0, 1)


def test_nothing_is_written_after_an_emergency():
    scene = asked()
    scene.speech("item_yes", "Yes. Also I have chest pain")
    call_again(scene)
    scene.calls("resp_9", ("call_9", "book", "{}"))

    assert scene.runs(commit=True) == []
    assert scene.outputs()["call_9"][0]["error_code"] == "emergency"


def test_caller_without_our_subprotocol_hears_none_of_our_own_events():
    scene = asked(own_events=False)
    scene.typed("I have chest pain", item_id="item_u1")

    assert scene.told("frontdesk") == []
    assert "frontdesk.emergency" in scene.own()


def test_commit_carries_the_values_and_the_patient_of_its_dry_run():
    scene = asked()
    scene.speech("item_yes", "Yes.")
    scene.calls("resp_4", ("call_2", "book", "{}"), ("call_3", "look", "{}"))
    scene.tool("call_3", replace(looked(), patient_id=22))

    scene.tool("call_2", recap())

    [run] = scene.runs(commit=True)[-1:]
    assert (run.call_id, run.digest, run.patient_id) == ("call_2", "v1", None)


def test_yes_taken_back_before_the_model_acts_writes_nothing():
    scene = asked()
    scene.speech("item_yes", "Yes.")
    scene.typed("No wait, stop, do not book it", item_id="item_no")

    call_again(scene)

    assert scene.runs(commit=True) == []


def test_yes_that_the_model_lets_pass_lapses():
    scene = asked()
    scene.typed("yes", item_id="item_yes")
    scene.reply("resp_4", "item_4", "Lovely weather today.")

    call_again(scene)

    assert scene.runs(commit=True) == []
    assert [event["answer"] for event in scene.told("frontdesk.confirm_closed")] == ["expired"]


def test_recap_that_the_page_has_not_played_is_not_heard_whatever_the_clock_says():
    scene = Scene().live()
    scene.calls("resp_2", ("call_1", "book", "{}"))
    scene.tool("call_1", recap())
    scene.reply("resp_recap", "item_recap", QUESTION, sound_ms=3000)
    scene.caller("frontdesk.playback", item_id="item_recap", played_ms=400)
    scene.at(scene.now + 5)

    scene.speech("item_yes", "Yes.")
    call_again(scene)

    assert scene.runs(commit=True) == []


def test_yes_spoken_into_the_recap_and_reported_late_counts_for_nothing():
    scene = Scene().live()
    for n in range(100):
        scene.at(1.0 + n * 0.04)
        scene.caller("input_audio_buffer.append", audio=encode_audio(bytes(40 * 48)))
    scene.calls("resp_2", ("call_1", "book", "{}"))
    scene.tool("call_1", recap())
    scene.reply("resp_recap", "item_recap", QUESTION, sound_ms=3000)
    scene.at(scene.now + 3.5)

    scene.speech("item_yes", "Yes.")  # its sound lies at the beginning of all that was given
    call_again(scene)

    assert scene.runs(commit=True) == []


def test_reply_to_an_alarm_is_neither_heard_nor_read_and_stands_in_the_record_as_unheard():
    scene = Scene().live()
    scene.speech("item_u1", "I have chest pain")
    told_before = len(scene.told())

    scene.reply("resp_2", "item_2", "Which day would you like?", sound_ms=1000)

    assert [event["type"] for event in scene.told()[told_before:]] == []
    kept = scene.item("item_2")
    assert (kept.text, kept.interrupted, kept.heard_chars) == ("Which day would you like?", True, 0)


def test_words_of_a_reply_that_an_alarm_stops_do_not_go_on():
    scene = Scene().live()
    scene.speech("item_u1", None)
    scene.reply("resp_2", "item_2", "Which", finished=False)
    scene.transcribed("item_u1", "chest pain")
    before = len(scene.told("response.output_audio_transcript.delta"))

    kind = "response.output_audio_transcript.delta"
    scene.model(kind, response_id="resp_2", item_id="item_2", delta=" day would you like?")
    scene.end_reply("resp_2", "item_2", "Which day", status="cancelled")

    assert len(scene.told(kind)) == before
    assert scene.told("response.done")[-1]["response"]["id"] == "resp_2"


def test_alarm_during_the_goodbye_is_heard():
    scene = Scene(clips={"guardrail:0": bytes(2000 * 48)}).live()
    scene.calls("resp_2", ("call_1", "bye", "{}"))
    scene.tool("call_1", replace(looked(), then="hang_up"))
    scene.reply("resp_3", "item_3", "Goodbye.", sound_ms=2000)
    scene.at(scene.now + 0.5)

    scene.speech("item_u1", "Wait, I have chest pain", ms=300)
    said_at = scene.now
    scene.at(said_at + 1.9)
    still_open = not scene.call.ended
    scene.at(said_at + 30)

    assert len(scene.told("frontdesk.emergency")) == 1
    assert still_open
    assert (scene.end().reason, scene.end().outcome) == ("goodbye", "emergency")


def test_typed_alarm_stands_before_its_line_in_the_record():
    scene = Scene().live()

    scene.typed("I have chest pain", item_id="item_u1")

    [line] = [item for item in scene.facts(ItemSaved) if item.source == "fixed"]
    assert (scene.item("item_u1").position, line.position) == (2, 3)
    assert len([event for event in scene.told("conversation.item.added") if event["item"]["id"] == "item_u1"]) == 1
