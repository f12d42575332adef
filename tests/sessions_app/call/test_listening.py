"""How turns are told apart: more time, push-to-talk in mid-call, monologues in parts, sound without words."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from sessions_app.call.arrivals import Arrivals
from sessions_app.call.monologue import MAX_PART_MS
from sessions_app.effects import CallEnded, ItemSaved, Record
from sessions_app.events import encode_audio
from tests.sessions_app.call.script import MS, SESSION, Scene, looked

COMMIT = "input_audio_buffer.commit"
GREETING = "item_greeting"
AUDIO: Any = SESSION["audio"]
SERVER = AUDIO["input"]["turn_detection"]


def with_input(**fields: Any) -> dict[str, Any]:
    audio = copy.deepcopy(AUDIO)
    audio["input"] |= fields
    return {**SESSION, "audio": audio}


def ask_for(scene: Scene, detection: dict[str, Any] | None) -> Any:
    """Let the caller ask for a turn detection; return the one that upstream is told, or "none" when it is not."""
    before = len(scene.to_model("session.update"))
    scene.caller("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": detection}}})
    told = scene.to_model("session.update")[before:]
    return told[0]["session"]["audio"]["input"]["turn_detection"] if told else "none"


def begins(scene: Scene, item_id: str) -> None:
    scene.model("input_audio_buffer.speech_started", item_id=item_id, audio_start_ms=0)


def stops(scene: Scene, item_id: str) -> None:
    scene.model("input_audio_buffer.speech_stopped", item_id=item_id, audio_end_ms=0)


def committed(scene: Scene, item_id: str) -> None:
    scene.model("input_audio_buffer.committed", item_id=item_id)
    body = {"id": item_id, "type": "message", "role": "user", "content": [{"type": "input_audio"}]}
    scene.model("conversation.item.added", item=body)


def answered(scene: Scene, response_id: str = "resp_1") -> None:
    """The service begins a response by itself."""
    scene.model("response.created", response={"id": response_id, "status": "in_progress", "metadata": None})


def hold(scene: Scene, ms: int) -> None:
    """The caller holds the button: sound in frames of 100 ms, in real time."""
    for _ in range(ms // 100):
        scene.caller("input_audio_buffer.append", audio=encode_audio(bytes(100 * MS)))
        scene.at(scene.now + 0.1)


def counters(scene: Scene) -> dict[str, int]:
    scene.take(scene.call.stop("interrupted", now=scene.now))
    return next(e.fact.counters for e in scene.effects if isinstance(e, Record) and isinstance(e.fact, CallEnded))


# More time.


@pytest.mark.parametrize(
    "asked",
    [
        {"type": "server_vad", "silence_duration_ms": 1200},
        {"type": "server_vad", "silence_duration_ms": 9999, "threshold": 0.0, "create_response": False},
        {"type": "semantic_vad", "eagerness": "low"},
    ],
)
def test_long_pauses_that_are_asked_for_are_the_receptionists_own_preset(asked: dict[str, Any]) -> None:
    scene = Scene().live()

    assert ask_for(scene, asked) == {**SERVER, "silence_duration_ms": 1200}
    assert ask_for(scene, {"type": "server_vad"}) == SERVER


@pytest.mark.parametrize("asked", [{}, {"type": "server_vad", "silence_duration_ms": 999}, {"eagerness": "high"}])
def test_any_other_object_is_the_receptionists_own(asked: dict[str, Any]) -> None:
    scene = Scene().live()

    assert ask_for(scene, asked) == "none"
    assert scene.told("session.updated")[-1]["session"]["audio"]["input"]["turn_detection"] == SERVER


def test_more_time_by_meaning_waits_for_the_sentence() -> None:
    semantic = {"type": "semantic_vad", "eagerness": "medium", "create_response": True, "interrupt_response": True}
    scene = Scene(session=with_input(turn_detection=semantic)).live()

    assert ask_for(scene, {"silence_duration_ms": 1000}) == {**semantic, "eagerness": "low"}


def test_more_time_is_shown_and_holds_in_a_new_session() -> None:
    scene = Scene().live()
    patient = {**SERVER, "silence_duration_ms": 1200}
    ask_for(scene, {"silence_duration_ms": 1200})
    scene.model("session.updated")

    scene.at(10.0).take(scene.call.model_lost("upstream_closed", now=scene.now))
    scene.take(scene.call.model_connected(now=scene.now))

    assert scene.told("session.updated")[-1]["session"]["audio"]["input"]["turn_detection"] == patient
    assert scene.to_model("session.update")[-1]["session"]["audio"]["input"]["turn_detection"] == patient


def test_a_receptionist_by_button_stays_so_whatever_the_caller_asks() -> None:
    scene = Scene(session=with_input(turn_detection=None)).live()

    assert ask_for(scene, {"type": "server_vad", "silence_duration_ms": 1200}) == "none"


# Hints.


def test_hints_that_the_service_refuses_cost_no_call() -> None:
    hints = {"model": "gpt-live-transcribe", "language": "en", "keywords": ["Okafor"]}
    scene = Scene(session=with_input(transcription=hints)).connected()
    first = scene.to_model("session.update")[0]
    error = {"type": "invalid_request_error", "code": "unknown_parameter", "event_id": first["event_id"]}

    scene.model("error", error={**error, "param": "session.audio.input.transcription.keywords"})
    scene.model("session.updated")

    second = scene.to_model("session.update")[1]
    assert first["session"]["audio"]["input"]["transcription"] == hints
    assert second["session"]["audio"]["input"]["transcription"] == {"model": "gpt-live-transcribe", "language": "en"}
    assert [event["type"] for event in scene.to_model("response.create")] == ["response.create"]
    assert scene.told("error") == []


def test_a_configuration_that_is_refused_without_its_hints_ends_the_call() -> None:
    scene = Scene(session=with_input(transcription={"model": "x", "language": "en"})).connected()

    for _ in range(2):
        update = scene.to_model("session.update")[-1]
        error = {"type": "invalid_request_error", "code": "invalid_value", "event_id": update["event_id"]}
        scene.model("error", error={**error, "param": "session.audio.input.transcription.model"})

    assert len(scene.to_model("session.update")) == 2
    assert [event["error"]["code"] for event in scene.told("error")] == ["upstream_failed"]


# Push-to-talk in mid-call.


def test_a_sentence_that_is_being_said_is_kept_and_answered_when_the_button_takes_over() -> None:
    scene = Scene().live()
    before = len(scene.to_model())
    begins(scene, "item_1")
    scene.at(3.0)

    assert ask_for(scene, None) is None
    committed(scene, "item_1")

    assert [event["type"] for event in scene.to_model()[before:]] == [COMMIT, "session.update", "response.create"]


def test_nothing_is_committed_while_the_button_is_held_and_once_when_it_is_let_go() -> None:
    scene = Scene().live()
    ask_for(scene, None)
    before = len(scene.to_model())

    hold(scene, 5000)
    held = scene.to_model()[before:]
    scene.caller("input_audio_buffer.commit")
    scene.caller("response.create")

    assert held == []
    assert [event["type"] for event in scene.to_model()[before:]] == [COMMIT, "response.create"]


@pytest.mark.parametrize("end", ["committed", "refused", "switched off"])
def test_a_press_that_is_over_lets_silence_begin_however_it_ended(end: str) -> None:
    scene = Scene(clips={"are_you_there": bytes(400 * MS)}).live()
    ask_for(scene, None)
    scene.caller("input_audio_buffer.append", audio=encode_audio(bytes(60 * MS)))

    if end == "switched off":
        ask_for(scene, SERVER)
    else:
        scene.caller("input_audio_buffer.commit")
    if end == "committed":
        begins(scene, "item_1")  # an item that the service has told the beginning of
        committed(scene, "item_1")
        scene.transcribed("item_1", "Hello")
        scene.reply("resp_1", "item_2", "Yes?")
    elif end == "refused":
        error = {"type": "invalid_request_error", "code": "input_audio_buffer_commit_empty"}
        scene.model("error", error={**error, "event_id": scene.to_model(COMMIT)[-1]["event_id"]})
    scene.at(scene.now + 25)

    assert [e["transcript"] for e in scene.told("response.output_audio_transcript.done")][-1] == "Are you still there?"


def test_a_press_during_a_reply_stops_it() -> None:
    scene = Scene().live()
    ask_for(scene, None)
    scene.caller("response.create")
    scene.begin_reply("resp_1", "item_1")
    scene.sound("resp_1", "item_1", 4000)
    scene.at(2.0)

    scene.caller("input_audio_buffer.clear")
    scene.caller("response.cancel", response_id="resp_1")
    scene.caller("conversation.item.truncate", item_id="item_1", content_index=0, audio_end_ms=900)

    assert [event["response_id"] for event in scene.to_model("response.cancel")] == ["resp_1"]
    assert [event["audio_end_ms"] for event in scene.to_model("conversation.item.truncate")] == [900]


# Monologues.


def test_two_minutes_without_a_pause_are_committed_in_parts_and_answered_once() -> None:
    scene = Scene(max_call_ms=900_000).live()
    asked = len(scene.to_model("response.create"))
    begins(scene, "item_1")
    for number in range(1, 5):
        scene.at(1.0 + number * MAX_PART_MS / 1000)
        committed(scene, f"item_{number}")
        scene.transcribed(f"item_{number}", f"Part {number}.")
    scene.at(scene.now + 5)

    stops(scene, "item_5")
    committed(scene, "item_5")
    scene.transcribed("item_5", "The end.")
    answered(scene)

    facts = {e.fact.item_id: e.fact for e in scene.effects if isinstance(e, Record) and isinstance(e.fact, ItemSaved)}
    parts = [facts[f"item_{number}"] for number in range(1, 6)]
    assert [event["type"] for event in scene.to_model(COMMIT)] == [COMMIT] * 4
    assert len(scene.to_model("response.create")) == asked
    assert [part.text for part in parts] == ["Part 1.", "Part 2.", "Part 3.", "Part 4.", "The end."]
    assert [part.started_ms for part in parts[1:]] == [part.ended_ms for part in parts[:-1]]
    assert scene.told("error") == []


def test_what_waits_to_be_said_waits_for_the_end_of_a_monologue() -> None:
    scene = Scene().live()
    begins(scene, "item_1")
    scene.caller("response.create")
    asked = len(scene.to_model("response.create"))

    scene.at(1.0 + MAX_PART_MS / 1000)
    committed(scene, "item_1")
    between = len(scene.to_model("response.create"))
    stops(scene, "item_2")
    committed(scene, "item_2")

    assert (between, len(scene.to_model("response.create"))) == (asked, asked + 1)


def test_a_part_that_comes_too_late_is_no_turn() -> None:
    scene = Scene().live()
    begins(scene, "item_1")
    scene.at(1.0 + MAX_PART_MS / 1000)  # our commit is on its way, and so is the end of the speech
    stops(scene, "item_1")
    committed(scene, "item_1")
    answered(scene)
    scene.reply("resp_1", "item_2", "Yes.", sound_ms=300)

    committed(scene, "item_3")
    scene.at(scene.now + 15)

    assert scene.to_model("session.update") == scene.to_model("session.update")[:1]  # nobody waits for an answer to it


def test_a_part_that_is_refused_is_nobodys_fault() -> None:
    scene = Scene().live()
    begins(scene, "item_1")
    scene.at(1.0 + MAX_PART_MS / 1000)
    commit = scene.to_model(COMMIT)[0]
    error = {"type": "invalid_request_error", "code": "input_audio_buffer_commit_empty"}

    scene.model("error", error={**error, "event_id": commit["event_id"]})
    stops(scene, "item_1")
    committed(scene, "item_1")

    assert scene.told("error") == []
    assert scene.told("input_audio_buffer.committed")[-1]["item_id"] == "item_1"


def test_a_part_without_words_ends_a_monologue_that_nobody_told_the_end_of() -> None:
    scene = Scene().live()
    begins(scene, "item_1")
    scene.at(1.0 + MAX_PART_MS / 1000)
    committed(scene, "item_1")
    scene.transcribed("item_1", "I have a lot to say.")
    scene.at(1.0 + 2 * MAX_PART_MS / 1000)
    committed(scene, "item_2")
    asked = len(scene.to_model("response.create"))

    scene.transcribed("item_2", "")

    assert len(scene.to_model("response.create")) == asked + 1


def nothing_to_commit(scene: Scene) -> None:
    error = {"type": "invalid_request_error", "code": "input_audio_buffer_commit_empty"}
    scene.model("error", error={**error, "event_id": scene.to_model(COMMIT)[-1]["event_id"]})


def test_a_microphone_that_stops_in_mid_sentence_is_answered_at_the_part_that_is_empty() -> None:
    scene = Scene(clips={"are_you_there": bytes(400 * MS)}).live()
    begins(scene, "item_1")
    scene.at(1.0 + MAX_PART_MS / 1000)
    committed(scene, "item_1")
    scene.transcribed("item_1", "I would like to")
    asked = len(scene.to_model("response.create"))

    scene.at(1.0 + 2 * MAX_PART_MS / 1000)
    nothing_to_commit(scene)
    at_once = len(scene.to_model("response.create"))
    scene.reply("resp_1", "item_2", "Yes?")
    scene.at(scene.now + 45)

    assert at_once == asked + 1
    assert len(scene.to_model(COMMIT)) == 2
    assert "Are you still there?" in str(scene.told("response.output_audio_transcript.done"))


def test_who_has_just_begun_to_speak_is_not_answered_when_a_part_comes_too_late() -> None:
    scene = Scene().live()
    begins(scene, "item_1")
    scene.at(1.0 + MAX_PART_MS / 1000)
    stops(scene, "item_1")
    committed(scene, "item_1")
    begins(scene, "item_2")
    asked = len(scene.to_model("response.create"))

    nothing_to_commit(scene)

    assert len(scene.to_model("response.create")) == asked


def test_a_sentence_that_the_button_ends_before_it_sounds_holds_no_answer_back() -> None:
    scene = Scene().live()
    begins(scene, "item_1")
    asked = len(scene.to_model("response.create"))
    ask_for(scene, None)

    nothing_to_commit(scene)

    assert len(scene.to_model("response.create")) == asked + 1


def test_a_button_that_is_held_for_two_minutes_commits_in_parts_and_is_answered_when_let_go() -> None:
    scene = Scene(max_call_ms=900_000).live()
    ask_for(scene, None)
    asked = len(scene.to_model("response.create"))
    for number in range(1, 5):
        hold(scene, MAX_PART_MS + 200)
        committed(scene, f"item_{number}")

    scene.caller("input_audio_buffer.commit", event_id="mine")
    last = scene.to_model(COMMIT)[-1]
    scene.caller("response.create")
    error = {"type": "invalid_request_error", "code": "input_audio_buffer_commit_empty"}
    scene.model("error", error={**error, "event_id": last["event_id"]})

    assert len(scene.to_model(COMMIT)) == 5
    assert len(scene.to_model("response.create")) == asked + 1
    assert scene.told("error") == []


# Sound without words.


def noise(scene: Scene, item_id: str, *, transcript_first: bool) -> None:
    """Something that the service takes for speech, and answers with a function call."""
    scene.speech(item_id, "" if transcript_first else None)
    response_id = f"resp_{item_id}"
    answered(scene, response_id)
    if not transcript_first:
        scene.transcribed(item_id, "")
    call = {"type": "function_call", "status": "completed", "call_id": f"call_{item_id}", "name": "look"}
    scene.model("conversation.item.done", item={"id": f"fc_{item_id}", "arguments": "{}", **call})
    scene.model("response.done", response={"id": response_id, "status": "cancelled", "output": []})


@pytest.mark.parametrize("transcript_first", [True, False])
def test_sound_without_words_is_not_answered_and_runs_no_tool(transcript_first: bool) -> None:
    scene = Scene().live()

    noise(scene, "item_1", transcript_first=transcript_first)

    assert [event["response_id"] for event in scene.to_model("response.cancel")] == ["resp_item_1"]
    assert scene.runs(commit=False) == scene.runs(commit=True) == []
    assert scene.outputs() == {}


@pytest.mark.parametrize(
    "order",
    [
        ("committed", "created", "refused", "transcribed"),
        ("committed", "created", "transcribed", "refused"),
        ("committed", "transcribed", "created", "refused"),
        ("created", "committed", "transcribed"),
    ],
)
def test_what_a_tool_found_is_said_though_a_sound_without_words_took_its_answer(order: tuple[str, ...]) -> None:
    scene = Scene().live()
    scene.calls("resp_1", ("call_1", "look", "{}"))
    begins(scene, "item_1")
    scene.tool("call_1", looked())
    stops(scene, "item_1")

    for step in order:
        if step == "committed":
            committed(scene, "item_1")
        elif step == "created":
            answered(scene, "resp_2")
        elif step == "transcribed":
            scene.transcribed("item_1", "")
        else:  # there is an active response
            asked = scene.to_model("response.create")[-1]
            error = {"type": "invalid_request_error", "code": "conversation_already_has_active_response"}
            scene.model("error", error={**error, "event_id": asked["event_id"]})
    before = len(scene.to_model("response.create"))
    scene.model("response.done", response={"id": "resp_2", "status": "cancelled", "output": []})

    assert [event["response_id"] for event in scene.to_model("response.cancel")] == ["resp_2"]
    assert len(scene.to_model("response.create")) == before + 1


def test_many_sounds_without_words_are_asked_about_once_and_never_answered() -> None:
    scene = Scene(clips={"say_again": bytes(400 * MS)}).live()

    for number in range(1, 6):
        noise(scene, f"item_{number}", transcript_first=number % 2 == 0)

    lines = [e["transcript"] for e in scene.told("response.output_audio_transcript.done") if e["item_id"] != GREETING]
    assert [event["response_id"] for event in scene.to_model("response.cancel")] == [
        f"resp_item_{number}" for number in range(1, 6)
    ]
    assert lines == ["Sorry, I lost you for a moment. Could you say that again?"]
    assert scene.runs(commit=False) == []


def test_words_begin_the_count_anew_and_are_answered() -> None:
    scene = Scene().live()
    noise(scene, "item_1", transcript_first=True)

    scene.speech("item_2", "When are you open?")
    answered(scene, "resp_2")
    scene.reply("resp_2", "item_3", "At eight.", sound_ms=300)
    noise(scene, "item_4", transcript_first=True)

    cancelled = [event["response_id"] for event in scene.to_model("response.cancel")]
    assert cancelled == ["resp_item_1", "resp_item_4"]
    assert any(event["response_id"] == "resp_2" for event in scene.told("response.output_audio.delta"))


def test_an_answer_that_is_being_heard_is_taken_back_the_second_time() -> None:
    scene = Scene(clips={"say_again": bytes(400 * MS)}).live()

    for n in (1, 2, 3):
        scene.speech(f"item_{n}", None)
        scene.model("response.created", response={"id": f"resp_{n}", "status": "in_progress", "metadata": None})
        item = {"id": f"reply_{n}", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        scene.model("conversation.item.added", item=item)
        scene.sound(f"resp_{n}", f"reply_{n}", 400)
        scene.transcribed(f"item_{n}", "")
        scene.model("response.done", response={"id": f"resp_{n}", "status": "completed", "output": []})

    assert [event["response_id"] for event in scene.to_model("response.cancel")] == ["resp_2", "resp_3"]
    assert [e["transcript"] for e in scene.told("response.output_audio_transcript.done")][1:] == []


def test_with_the_button_each_press_is_answered() -> None:
    scene = Scene().live()
    ask_for(scene, None)
    scene.caller("input_audio_buffer.append", audio=encode_audio(bytes(200 * MS)))
    scene.caller("input_audio_buffer.commit")
    committed(scene, "item_1")
    scene.caller("response.create")
    answered(scene)

    scene.transcribed("item_1", "")

    assert scene.to_model("response.cancel") == []


# How sound arrives.


def arrivals(times: list[int], *, frame_ms: int = 40) -> dict[str, int]:
    measured = Arrivals(bytes_per_ms=MS)
    for at in times:
        measured.note(frame_ms * MS, at)
    return measured.counters()


def test_sound_in_step_has_neither_gaps_nor_jitter() -> None:
    steady = {"sound_ms": 20_000, "sound_gaps": 0, "sound_missing_ms": 0, "sound_jitter_ms": 0}
    assert arrivals([n * 40 for n in range(500)]) == steady
    assert arrivals([]) == {}


def test_frames_of_changing_length_in_step_have_neither_gaps_nor_jitter() -> None:
    measured = Arrivals(bytes_per_ms=MS)
    at = 0
    for n in range(500):
        length_ms = 20 if n % 10 < 5 else 40
        at += length_ms
        measured.note(length_ms * MS, at)

    assert measured.counters() == {"sound_ms": 15_000, "sound_gaps": 0, "sound_missing_ms": 0, "sound_jitter_ms": 0}


def test_five_in_a_hundred_frames_that_are_lost_show() -> None:
    lossy = arrivals([n * 40 for n in range(1000) if n % 20 != 7])

    assert (lossy["sound_gaps"], lossy["sound_missing_ms"]) == (50, 2000)


def test_jitter_is_no_loss_and_a_muted_microphone_neither() -> None:
    jittery = arrivals([n * 40 + (0, 15, 5, 18)[n % 4] for n in range(500)])
    muted = arrivals([n * 40 for n in range(100)] + [60_000 + n * 40 for n in range(100)])
    drifting = arrivals([round(n * 40.01) for n in range(5000)])

    assert jittery["sound_gaps"] == 0
    assert 5 < jittery["sound_jitter_ms"] < 30
    assert (muted["sound_gaps"], muted["sound_missing_ms"], muted["sound_jitter_ms"]) == (0, 0, 0)
    assert drifting["sound_gaps"] == 0


def test_what_the_page_and_the_clock_count_stands_in_the_record() -> None:
    scene = Scene().live()
    for n in range(100):
        scene.at(1.0 + n * 0.04)
        if n % 20 != 7:
            scene.caller("input_audio_buffer.append", audio=encode_audio(bytes(40 * MS)))
    scene.caller("frontdesk.sound", dropped_frames=5, silenced_ms=300, underruns=1)
    scene.caller("frontdesk.sound", dropped_frames=2, silenced_ms=0, underruns=2)

    kept = counters(scene)

    assert (kept["sound_gaps"], kept["sound_missing_ms"]) == (5, 200)
    assert (kept["page_dropped_frames"], kept["page_silenced_ms"], kept["page_underruns"]) == (5, 300, 2)
