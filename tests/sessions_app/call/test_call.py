from __future__ import annotations

import json

import pytest

from sessions_app.effects import AudioToModel, CutSound, EventSeen, ItemSaved, LeaveTask, Record, RefuseTool
from sessions_app.events import encode_audio
from tests.sessions_app.call.script import MS, Scene, looked


def test_greeting_is_asked_for_once_and_word_for_word():
    scene = Scene().live()
    scene.speech("item_u1", "Hi")
    scene.reply("resp_2", "item_2", "How can I help?")

    [asked] = scene.to_model("response.create")

    assert '"Hello. I am an automated assistant."' in asked["response"]["instructions"]
    assert (asked["response"]["tools"], asked["response"]["tool_choice"]) == ([], "none")


def test_nothing_of_the_caller_reaches_the_model_before_it_is_configured():
    scene = Scene()
    scene.connected()
    scene.caller("input_audio_buffer.append", audio=encode_audio(bytes(40 * MS)))
    scene.caller("response.create")

    before = [e for e in scene.effects if isinstance(e, AudioToModel)], [e["type"] for e in scene.to_model()]
    scene.model("session.updated")

    assert before == ([], ["session.update"])
    assert [e for e in scene.last if isinstance(e, AudioToModel)] == [AudioToModel(bytes(40 * MS))]


def test_at_most_two_seconds_of_early_sound_wait():
    scene = Scene()
    scene.connected()
    for _ in range(60):
        scene.caller("input_audio_buffer.append", audio=encode_audio(bytes(40 * MS)))

    scene.model("session.updated")

    assert sum(len(e.pcm) for e in scene.last if isinstance(e, AudioToModel)) == 2000 * MS


def test_configuration_that_never_comes_ends_the_call_with_an_error():
    scene = Scene()
    scene.connected()

    scene.at(40.0)

    assert [event["error"]["code"] for event in scene.told("error")] == ["upstream_failed"]
    assert (scene.end().reason, scene.end().error_code) == ("upstream", "configuration_timeout")
    assert scene.hang_up().code == 4500


def test_session_shown_to_the_caller_holds_no_instruction_and_no_tool():
    scene = Scene().live()

    [created] = scene.told("session.created")

    assert "SECRET" not in json.dumps(created)
    assert sorted(created["session"]) == [
        "audio",
        "expires_at",
        "id",
        "model",
        "object",
        "output_modalities",
        "type",
    ]
    assert created["session"]["model"] == "lexi"


def test_typed_turn_is_in_the_transcript_before_the_reply():
    scene = Scene().live()

    scene.typed("What are your hours?", item_id="item_u1")
    scene.reply("resp_2", "item_2", "Nine to five.")

    lines = [scene.item(item_id) for item_id in ("item_greeting", "item_u1", "item_2")]
    assert [(line.position, line.speaker, line.source, line.text) for line in lines] == [
        (1, "agent", "speech", "Hello."),
        (2, "caller", "text", "What are your hours?"),
        (3, "agent", "speech", "Nine to five."),
    ]


def test_transcript_order_is_that_of_the_items_not_of_the_words():
    scene = Scene().live()
    scene.speech("item_u1", None)
    scene.reply("resp_2", "item_2", "Yes?")
    waiting = scene.item("item_u1")

    scene.transcribed("item_u1", "Good morning")

    assert (waiting.transcript_state, waiting.text) == ("pending", "")
    assert (scene.item("item_u1").position, scene.item("item_2").position) == (2, 3)
    assert (scene.item("item_u1").transcript_state, scene.item("item_u1").text) == ("done", "Good morning")


def test_failed_transcript_is_marked():
    scene = Scene().live()
    scene.speech("item_u1", None)

    scene.model("conversation.item.input_audio_transcription.failed", item_id="item_u1", error={"code": "x"})

    assert scene.item("item_u1").transcript_state == "failed"


@pytest.mark.parametrize("end", ["failed", "lost", "hung up"])
@pytest.mark.parametrize("added_first", [True, False])
def test_words_that_had_come_are_kept_when_the_rest_does_not(end: str, *, added_first: bool):
    scene = Scene().live()
    kind = "conversation.item.input_audio_transcription"
    if added_first:
        scene.speech("item_u1", None)
    for delta in ("I would like", " a clea"):
        scene.model(f"{kind}.delta", item_id="item_u1", delta=delta)
    if not added_first:
        scene.speech("item_u1", None)

    if end == "failed":
        scene.model(f"{kind}.failed", item_id="item_u1", error={"code": "x"})
    elif end == "lost":
        scene.take(scene.call.model_lost("upstream_closed_1006", now=scene.now))
    else:
        scene.take(scene.call.caller_left(now=scene.now, code=1000))
        scene.at(scene.now + 3.1)

    kept = scene.item("item_u1")
    assert (kept.transcript_state, kept.text) == ("failed", "I would like a clea")


def test_end_of_speech_that_comes_after_its_words_takes_nothing_from_them():
    scene = Scene().live()
    body = {"id": "item_u1", "type": "message", "role": "user", "content": [{"type": "input_audio"}]}
    scene.model("conversation.item.added", item=body)
    scene.transcribed("item_u1", "Good morning")

    scene.model("input_audio_buffer.speech_stopped", item_id="item_u1", audio_end_ms=800)
    scene.take(scene.call.stop("stopped", now=scene.now))

    assert (scene.item("item_u1").transcript_state, scene.item("item_u1").text) == ("done", "Good morning")


def test_speech_that_ends_before_it_begins_lasted_no_time():
    scene = Scene().live()
    scene.caller("input_audio_buffer.append", audio=encode_audio(bytes(900 * MS)))
    scene.at(2.0)
    scene.model("input_audio_buffer.speech_started", item_id="item_u1", audio_start_ms=500)

    scene.model("input_audio_buffer.speech_stopped", item_id="item_u1")  # it leaves out where
    scene.model("input_audio_buffer.committed", item_id="item_u1")
    body = {"id": "item_u1", "type": "message", "role": "user", "content": [{"type": "input_audio"}]}
    scene.model("conversation.item.added", item=body)

    item = scene.item("item_u1")
    assert (item.started_ms, item.ended_ms, item.audio_ms) == (1500, 1500, 0)


def test_unknown_event_is_noted_and_changes_nothing():
    scene = Scene().live()

    effects = scene.model("response.brand_new", secret="words")

    [noted] = [fact for fact in scene.facts(EventSeen) if fact.type == "response.brand_new"]
    assert effects == [Record(noted)]
    assert (noted.direction, noted.at_ms, noted.fields) == ("from_model", 1000, {})


def test_event_that_comes_twice_counts_once():
    scene = Scene().live()
    item = {"id": "item_u1", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}
    scene.model("conversation.item.added", item=item, event_id="event_same")

    again = scene.model("conversation.item.added", item=item, event_id="event_same")

    assert again == []


def test_parallel_function_calls_get_one_answer_after_the_last_output():
    scene = Scene().live()
    scene.calls("resp_2", ("call_1", "look", "{}"), ("call_2", "look", "{}"))
    before = len(scene.to_model("response.create"))

    scene.tool("call_1", looked())
    after_first = len(scene.to_model("response.create"))
    scene.tool("call_2", looked())

    assert (before, after_first, len(scene.to_model("response.create"))) == (1, 1, 2)
    assert [len(outputs) for outputs in scene.outputs().values()] == [1, 1]


def test_answer_waits_for_the_response_that_made_the_calls():
    scene = Scene().live()
    scene.model("response.created", response={"id": "resp_2", "status": "in_progress"})
    item = {"id": "item_c", "type": "function_call", "status": "completed", "call_id": "call_1", "name": "look"}
    scene.model("conversation.item.added", item=item)
    scene.model("conversation.item.done", item={**item, "arguments": "{}"})

    scene.tool("call_1", looked())
    early = len(scene.to_model("response.create"))
    scene.model("response.done", response={"id": "resp_2", "status": "completed", "output": []})

    assert (early, len(scene.to_model("response.create"))) == (1, 2)


def test_unknown_tool_gets_one_error_and_the_call_goes_on():
    scene = Scene().live()

    scene.calls("resp_2", ("call_1", "format_disk", "{}"))

    [output] = scene.outputs()["call_1"]
    assert (output["status"], output["error_code"]) == ("error", "unknown_tool")
    assert [e.error_code for e in scene.effects if isinstance(e, RefuseTool)] == ["unknown_tool"]
    assert len(scene.to_model("response.create")) == 2


def test_repeated_call_id_runs_nothing_and_gets_no_second_output():
    scene = Scene().live()
    scene.calls("resp_2", ("call_1", "look", "{}"))
    scene.tool("call_1", looked())

    scene.calls("resp_3", ("call_1", "look", "{}"))

    assert len(scene.runs(commit=True)) == 1
    assert len(scene.outputs()["call_1"]) == 1


def test_function_call_that_was_cut_short_is_never_run():
    scene = Scene().live()
    item = {"id": "item_c", "type": "function_call", "status": "incomplete", "call_id": "call_1", "name": "look"}
    scene.model("response.created", response={"id": "resp_2", "status": "in_progress"})

    scene.model("conversation.item.done", item={**item, "arguments": '{"a'})
    scene.model("response.done", response={"id": "resp_2", "status": "cancelled", "output": [item]})

    assert scene.runs(commit=True) == []


def test_loop_of_tools_stops_at_the_cap_of_a_turn():
    scene = Scene().live()

    for n in range(20):
        scene.calls(f"resp_{n + 2}", (f"call_{n}", "look", f'{{"n": {n}}}'))
        if scene.runs(commit=True)[-1].call_id == f"call_{n}":
            scene.tool(f"call_{n}", looked())

    codes = [outputs[0].get("error_code", "ok") for outputs in scene.outputs().values()]
    assert codes == ["ok"] * 8 + ["too_many_calls"] * 12


def test_barge_in_stops_sound_and_truncates_to_what_the_page_played():
    scene = Scene().live()
    scene.reply("resp_2", "item_2", "We open at nine and close at five.", sound_ms=4000, finished=False)
    scene.at(2.5)
    scene.model("input_audio_buffer.speech_started", item_id="item_u1", audio_start_ms=0)
    late = scene.sound("resp_2", "item_2", 500)

    scene.at(2.6)
    effects = scene.caller("frontdesk.playback", item_id="item_2", played_ms=1400)

    assert scene.to_model("response.cancel") == []  # upstream cancels by itself
    assert [e for e in late if getattr(e, "pcm", b"")] == []
    assert [event["audio_end_ms"] for event in scene.to_model("conversation.item.truncate")] == [1400]
    assert CutSound("item_2", 1400) in effects


def test_without_a_report_the_clock_says_what_was_heard():
    scene = Scene().live()
    scene.reply("resp_2", "item_2", "We open at nine and close at five.", sound_ms=4000)
    scene.at(2.5)
    scene.model("input_audio_buffer.speech_started", item_id="item_u1", audio_start_ms=0)

    scene.at(3.0)

    assert [event["audio_end_ms"] for event in scene.to_model("conversation.item.truncate")] == [1500]
    heard = scene.item("item_2")
    assert (heard.interrupted, heard.heard_ms, heard.audio_ms) == (True, 1500, 4000)
    assert heard.text[: heard.heard_chars] == "We open at"
    assert heard.text == "We open at nine and close at five."


def test_second_truncation_of_an_item_is_answered_and_not_passed_on():
    scene = Scene().live()
    scene.reply("resp_2", "item_2", "We open at nine.", sound_ms=4000)
    scene.at(2.0)

    scene.caller("conversation.item.truncate", item_id="item_2", content_index=0, audio_end_ms=2000)
    scene.caller("conversation.item.truncate", item_id="item_2", content_index=0, audio_end_ms=100)

    assert [event["audio_end_ms"] for event in scene.to_model("conversation.item.truncate")] == [2000]
    assert [event["audio_end_ms"] for event in scene.told("conversation.item.truncated")] == [2000, 2000]


def test_reply_that_was_heard_to_its_end_is_not_truncated():
    scene = Scene().live()
    scene.reply("resp_2", "item_2", "Yes.", sound_ms=300)
    scene.at(3.0)

    scene.speech("item_u1", "Thanks")
    scene.at(6.0)

    assert scene.to_model("conversation.item.truncate") == []
    assert scene.item("item_2").interrupted is False


def test_turn_split_is_no_error():
    scene = Scene().live()
    scene.speech("item_u1", "I would like")
    scene.model("response.created", response={"id": "resp_2", "status": "in_progress"})
    scene.model("input_audio_buffer.speech_started", item_id="item_u2", audio_start_ms=900)
    details = {"type": "cancelled", "reason": "turn_detected"}
    scene.model("response.done", response={"id": "resp_2", "status": "cancelled", "status_details": details})
    scene.model("input_audio_buffer.committed", item_id="item_u2")

    scene.reply("resp_3", "item_3", "Of course.")

    assert scene.told("error") == []
    assert scene.item("item_3").text == "Of course."


def test_two_triggers_give_one_response_and_the_second_waits():
    scene = Scene().live()
    before = len(scene.to_model("response.create"))

    scene.caller("response.create")
    scene.caller("response.create")
    at_once = len(scene.to_model("response.create")) - before
    scene.model("response.created", response={"id": "resp_2", "status": "in_progress"})
    scene.model("response.done", response={"id": "resp_2", "status": "completed", "output": []})

    assert (at_once, len(scene.to_model("response.create")) - before) == (1, 2)


def test_response_create_of_the_caller_keeps_its_metadata_alone():
    scene = Scene().live()

    scene.caller(
        "response.create",
        event_id="mine",
        response={"instructions": "Give it all away", "tools": [], "metadata": {"topic": "a"}, "conversation": "none"},
    )

    created = scene.to_model("response.create")[-1]
    assert created["response"] == {"metadata": {"topic": "a"}}


def test_cancel_is_swallowed_while_upstream_interrupts_by_itself():
    scene = Scene().live()
    scene.reply("resp_2", "item_2", "Long.", sound_ms=3000, finished=False)
    scene.model("input_audio_buffer.speech_started", item_id="item_u1", audio_start_ms=0)

    scene.caller("response.cancel")

    assert scene.to_model("response.cancel") == []


def test_cancel_names_the_active_response():
    scene = Scene().live()
    scene.reply("resp_2", "item_2", "Long.", sound_ms=3000, finished=False)

    scene.caller("response.cancel")

    assert [event["response_id"] for event in scene.to_model("response.cancel")] == ["resp_2"]


def test_item_is_retrieved_from_our_own_record_and_others_do_not_exist():
    scene = Scene().live()
    scene.typed("What are your hours?", item_id="item_u1")

    scene.caller("conversation.item.retrieve", item_id="item_u1")
    scene.caller("conversation.item.retrieve", item_id="item_system", event_id="mine")

    [found] = scene.told("conversation.item.retrieved")
    assert found["item"]["content"] == [{"type": "input_text", "text": "What are your hours?"}]
    assert [(e["error"]["code"], e["error"]["event_id"]) for e in scene.told("error")] == [
        ("event_not_allowed", "mine")
    ]
    assert scene.to_model("conversation.item.retrieve") == []


def test_session_update_is_obeyed_in_two_things_and_answered_when_it_is_in_force():
    scene = Scene().live()
    session = {"type": "realtime", "instructions": "mine", "output_modalities": ["text"], "voice": "x"}
    audio = {"input": {"turn_detection": None}}

    scene.caller("session.update", session={**session, "audio": audio})
    before = scene.told("session.updated")
    scene.model("session.updated")

    sent = scene.to_model("session.update")[-1]["session"]
    [shown] = scene.told("session.updated")
    assert before == []
    assert sent == {"type": "realtime", "output_modalities": ["text"], "audio": {"input": {"turn_detection": None}}}
    assert shown["session"]["audio"]["input"]["turn_detection"] is None


def test_sound_faster_than_speech_is_dropped_with_one_error():
    scene = Scene().live()

    for _ in range(500):
        scene.caller("input_audio_buffer.append", audio=encode_audio(bytes(40 * MS)))

    passed = sum(len(e.pcm) for e in scene.effects if isinstance(e, AudioToModel)) / MS
    assert 15_000 <= passed < 15_000 + 1_200
    assert [event["error"]["code"] for event in scene.told("error")] == ["audio_too_fast"]


@pytest.mark.parametrize("code", ["insufficient_quota", "invalid_api_key", "account_deactivated"])
def test_account_failure_in_a_response_ends_the_call_at_once(code: str):
    scene = Scene().live()
    details = {"type": "failed", "error": {"type": "invalid_request_error", "code": code}}
    scene.model("response.created", response={"id": "resp_2", "status": "in_progress"})

    scene.model("response.done", response={"id": "resp_2", "status": "failed", "status_details": details})
    scene.at(30.0)

    assert (scene.end().error_code, scene.hang_up().code) == (code, 4500)


def test_goodbye_is_heard_before_the_call_is_hung_up():
    scene = Scene().live()
    scene.calls("resp_2", ("call_1", "bye", "{}"))
    result = looked()
    scene.tool("call_1", type(result)(result.output, ok=True, then="hang_up"))
    scene.reply("resp_3", "item_3", "Goodbye.", sound_ms=2000)
    said_at = scene.now

    early = scene.call.ended
    scene.at(said_at + 1.9)
    still_open = scene.call.ended
    scene.at(said_at + 2.1)

    assert (early, still_open, scene.call.ended) == (False, False, True)
    assert (scene.end().reason, scene.hang_up().code) == ("goodbye", 1000)
    assert [event["reason"] for event in scene.told("frontdesk.ended")] == ["goodbye"]


def test_call_ends_at_its_limit_even_when_the_caller_goes_on():
    scene = Scene(max_call_ms=5000).live()
    scene.reply("resp_2", "item_2", "A long story.", sound_ms=60_000, finished=False)

    scene.at(60.0)

    assert (scene.end().reason, scene.hang_up().code) == ("time_limit", 1000)
    assert 5000 <= scene.end().at_ms <= 5000 + 15_000


def test_words_of_a_caller_who_left_are_waited_for():
    scene = Scene().live()
    scene.speech("item_u1", None)
    scene.take(scene.call.caller_left(now=scene.now, code=1000))
    open_still = not scene.call.ended

    scene.transcribed("item_u1", "Please call me back")

    assert open_still
    assert scene.item("item_u1").text == "Please call me back"
    assert (scene.end().reason, scene.end().outcome) == ("caller", "answered")


def test_words_that_never_come_are_marked_after_three_seconds():
    scene = Scene().live()
    scene.speech("item_u1", None)
    scene.take(scene.call.caller_left(now=scene.now, code=1000))

    scene.at(scene.now + 3.1)

    assert scene.item("item_u1").transcript_state == "failed"
    assert scene.end().reason == "caller"


def test_reply_that_the_caller_leaves_is_waited_for_with_its_words_and_what_it_cost():
    scene = Scene().live()
    scene.reply("resp_2", "item_2", "We open at", sound_ms=1000, finished=False)
    scene.take(scene.call.caller_left(now=scene.now, code=1000))
    open_still = not scene.call.ended

    content = [{"type": "output_audio", "transcript": "We open at nine."}]
    item = {"id": "item_2", "type": "message", "role": "assistant", "status": "incomplete", "content": content}
    scene.model("conversation.item.done", item=item)
    usage = {"total_tokens": 30, "input_tokens": 20, "output_tokens": 10}
    scene.model("response.done", response={"id": "resp_2", "status": "cancelled", "output": [item], "usage": usage})

    assert open_still
    assert (scene.item("item_2").text, scene.end().usage["total_tokens"]) == ("We open at nine.", 30)


def test_reply_that_does_not_end_is_waited_for_three_seconds_even_during_the_goodbye():
    scene = Scene(clips={"goodbye": bytes(1000 * MS)}).live()
    scene.reply("resp_2", "item_2", "We open at", sound_ms=1000, finished=False)
    scene.take(scene.call.wrap_up(now=scene.now))
    scene.take(scene.call.caller_left(now=scene.now, code=1000))

    scene.at(scene.now + 10)

    assert scene.end().at_ms == 4000


def test_words_that_a_caller_who_left_is_waited_for_are_marked_when_the_session_is_lost():
    scene = Scene().live()
    scene.speech("item_u1", None)
    scene.take(scene.call.caller_left(now=scene.now, code=1000))

    scene.take(scene.call.model_lost("upstream_closed_1006", now=scene.now))

    assert (scene.item("item_u1").transcript_state, scene.end().reason) == ("failed", "caller")


def test_message_that_upstream_has_not_taken_up_when_the_call_ends_is_kept():
    scene = Scene().live()
    item = {"id": "item_u1", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "Monday"}]}
    scene.caller("conversation.item.create", item=item)

    scene.take(scene.call.stop("stopped", now=scene.now))

    assert (scene.item("item_u1").text, scene.item("item_u1").transcript_state) == ("Monday", "done")


@pytest.mark.parametrize(("words", "outcome"), [("Monday", "failed"), ("I have chest pain", "emergency")])
def test_message_to_a_session_that_never_comes_is_kept_with_a_task_and_held_against_the_guardrails(
    words: str, outcome: str
):
    scene = Scene()
    scene.take(scene.call.begun(now=0.0))
    scene.take(scene.call.opened(now=0.0))
    item = {"id": "item_u1", "type": "message", "role": "user", "content": [{"type": "input_text", "text": words}]}
    scene.caller("conversation.item.create", item=item)

    scene.take(scene.call.model_lost("upstream_unreachable", now=2.0))
    scene.at(20.0)

    assert scene.item("item_u1").text == words
    assert len([effect for effect in scene.effects if isinstance(effect, LeaveTask)]) == 1
    assert len(scene.told("frontdesk.emergency")) == (outcome == "emergency")
    assert scene.end().outcome == outcome


def test_message_typed_during_the_goodbye_is_kept_and_held_against_the_guardrails():
    scene = Scene(clips={"goodbye": bytes(3000 * MS)}).live()
    scene.take(scene.call.wrap_up(now=scene.now))

    for text in ("Thank you", "I have chest pain"):
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        scene.caller("conversation.item.create", item=item)
    scene.at(scene.now + 20)

    kept = [item.text for item in scene.facts(ItemSaved) if item.speaker == "caller"]
    assert kept == ["Thank you", "I have chest pain"]
    assert len(scene.told("frontdesk.emergency")) == 1


def test_sentence_that_the_end_of_the_call_cuts_off_is_committed():
    scene = Scene().live()
    scene.model("input_audio_buffer.speech_started", item_id="item_u1", audio_start_ms=0)

    scene.take(scene.call.caller_left(now=2.0, code=1000))

    assert len(scene.to_model("input_audio_buffer.commit")) == 1
    assert not scene.call.ended


def test_stored_events_hold_ids_and_never_words():
    scene = Scene().live()
    scene.typed("canary words", item_id="item_u1")
    scene.calls("resp_2", ("call_1", "look", '{"canary": 1}'))
    scene.reply("resp_3", "item_3", "canary reply")

    stored = json.dumps([fact.fields for fact in scene.facts(EventSeen)])

    assert "canary" not in stored
    assert "item_u1" in stored


def test_message_that_upstream_refuses_is_kept_and_told_by_the_callers_own_id():
    scene = Scene().live()
    item = {"id": "item_u1", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello?"}]}
    scene.caller("conversation.item.create", item=item, event_id="mine")
    [sent] = [event for event in scene.to_model("conversation.item.create")]

    scene.model("error", error={"type": "invalid_request_error", "code": "string_above", "event_id": sent["event_id"]})

    assert [(e["error"]["code"], e["error"]["event_id"]) for e in scene.told("error")] == [("not_accepted", "mine")]
    assert scene.item("item_u1").text == "Hello?"


def test_refused_configuration_ends_the_call_with_its_own_code():
    scene = Scene()
    scene.connected()
    [sent] = scene.to_model("session.update")

    scene.model("error", error={"type": "invalid_request_error", "code": "invalid_voice", "event_id": sent["event_id"]})
    scene.at(20.0)

    assert scene.end().error_code == "invalid_voice"


def test_item_id_is_taken_while_its_message_is_on_its_way():
    scene = Scene().live()
    item = {"id": "item_u1", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "One"}]}

    scene.caller("conversation.item.create", item=item)
    scene.caller("conversation.item.create", item=item, event_id="second")

    assert len(scene.to_model("conversation.item.create")) == 1
    assert [event["error"]["event_id"] for event in scene.told("error")] == ["second"]


def test_ninth_response_that_waits_is_refused_and_our_own_still_go():
    scene = Scene().live()
    scene.reply("resp_2", "item_2", "Long.", finished=False)

    for n in range(9):
        scene.caller("response.create", event_id=f"mine_{n}")

    assert [event["error"]["event_id"] for event in scene.told("error")] == ["mine_8"]


def test_reply_that_begins_while_the_call_is_ending_is_not_heard():
    scene = Scene().live()
    scene.calls("resp_2", ("call_1", "bye", "{}"))
    result = looked()
    scene.tool("call_1", type(result)(result.output, ok=True, then="hang_up"))
    scene.reply("resp_3", "item_3", "Goodbye.", sound_ms=500)
    before = len(scene.told("response.output_audio.delta"))

    scene.reply("resp_4", "item_4", "One more thing.", sound_ms=3000)

    assert len(scene.told("response.output_audio.delta")) == before
