"""The voice and the ear: real sound in, words out, and the caller may cut in. Skipped where they are not installed."""

from __future__ import annotations

import base64
import importlib.util

import httpx2
import pytest

from sessions_app.standin.formats import encode
from sessions_app.standin.grammar import jsgf, settled
from sessions_app.standin.server import Standin, running_standin
from sessions_app.standin.vad import FRAME_BYTES, Detector
from sessions_app.standin.voice import best_voice
from tests.sessions_app.standin.recording import Json, RecordingClient, client_of, function, kinds, said

PATIENT = "rms"
APPEND_BYTES = 9600
SERVER_VAD = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
    "create_response": True,
    "interrupt_response": True,
}
CLEANING = function(
    "book_visit",
    "Book a visit.",
    "kind",
    kind={"type": "string", "enum": ["cleaning", "filling"], "title": "Kind of visit"},
)

CANCEL = function("cancel_appointment", "Cancel an appointment.")

needs_flite = pytest.mark.skipif(best_voice().name != "flite", reason="flite is not installed")
needs_pocketsphinx = pytest.mark.skipif(
    not importlib.util.find_spec("pocketsphinx"), reason="pocketsphinx is not installed"
)
speech = pytest.mark.speech


async def spoken(text: str, *, silence_ms: int = 900) -> bytes:
    """Return a patient's sentence at 24 kHz, with silence around it."""
    return bytes(48 * 300) + await best_voice().sound(text, voice=PATIENT, speed=1.0) + bytes(48 * silence_ms)


async def speak(client: RecordingClient, sound: bytes) -> None:
    for start in range(0, len(sound), APPEND_BYTES):
        await client.send(
            "input_audio_buffer.append", audio=base64.b64encode(sound[start : start + APPEND_BYTES]).decode()
        )


async def listening(client: RecordingClient, **session: object) -> Json:
    audio_input = {"turn_detection": SERVER_VAD, "transcription": {"model": "gpt-realtime-whisper"}}
    return await client.configure(audio={"input": audio_input}, tools=[CLEANING], **session)


async def heard_turn(standin: Standin, client: RecordingClient, text: str) -> list[Json]:
    await speak(client, await spoken(text))
    return await client.until("rate_limits.updated")


@speech
@needs_flite
@needs_pocketsphinx
async def test_spoken_turn_is_heard_and_answered_in_the_order_of_the_service():
    async with running_standin(speech=True) as standin, client_of(standin) as client:
        await listening(client)

        events = await heard_turn(standin, client, "i would like to book a cleaning")

        transcripts = [event for event in client.events if event["type"].endswith("transcription.completed")]
        order = [kind for kind in kinds(events) if "transcription" not in kind]
        assert order[:6] == [
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            "response.created",
        ]
        assert len({event["item_id"] for event in events[:3]}) == 1
        assert transcripts[0]["transcript"] == "i would like to book a cleaning"
        call = next(e for e in events if e["type"] == "response.done")["response"]["output"][1]
        assert (call["name"], call["arguments"]) == ("book_visit", '{\n  "kind": "cleaning"\n}')


@speech
@needs_flite
@needs_pocketsphinx
@pytest.mark.parametrize("kind", ["audio/pcmu", "audio/pcma"])
async def test_telephone_sound_is_heard(kind: str):
    async with running_standin(speech=True) as standin, client_of(standin) as client:
        await listening(client)
        await client.configure(tools=[CANCEL], audio={"input": {"format": {"type": kind}}})

        sound = encode(await spoken("i want to cancel my appointment"), {"type": kind})
        for start in range(0, len(sound), 1600):
            piece = base64.b64encode(sound[start : start + 1600]).decode()
            await client.send("input_audio_buffer.append", audio=piece)
        events = await client.until("conversation.item.input_audio_transcription.completed")

        assert events[-1]["transcript"] == "i want to cancel my appointment"


@speech
@needs_flite
async def test_caller_cuts_in_and_the_response_is_closed_by_the_server():
    async with running_standin(speech=True, faults={"pace": 1.0}) as standin, client_of(standin) as client:
        await listening(client, instructions='Greet with "Good morning. This is a rather long sentence to cut into."')
        await client.send("response.create")
        await client.until("response.output_audio.delta")

        await speak(client, await spoken("stop", silence_ms=0))
        events = await client.until("response.done")

        after = [event for event in events if not event["type"].endswith(".delta")]
        response = events[-1]["response"]
        assert kinds(after) == [
            "input_audio_buffer.speech_started",
            "response.output_audio.done",
            "response.output_audio_transcript.done",
            "response.content_part.done",
            "conversation.item.done",
            "response.output_item.done",
            "response.done",
        ]
        assert response["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
        assert response["output"][0]["status"] == "incomplete"


@speech
@needs_flite
async def test_pause_in_a_sentence_splits_the_turn_and_leaves_an_empty_response():
    async with running_standin(speech=True, faults={"silent_upstream": True}) as standin:
        async with client_of(standin) as client:
            await listening(client)
            await speak(client, await spoken("i would like"))
            await client.until("response.created")

            await speak(client, await spoken("a cleaning", silence_ms=0))
            events = await client.until("response.done")

        assert kinds([e for e in events if "transcription" not in e["type"]]) == [
            "input_audio_buffer.speech_started",
            "response.done",
        ]
        assert (events[-1]["response"]["output"], events[-1]["response"]["usage"]["total_tokens"]) == ([], 0)


@speech
@needs_flite
async def test_interruption_and_response_can_be_turned_off():
    async with running_standin(speech=True, faults={"pace": 2.0}) as standin, client_of(standin) as client:
        quiet = {**SERVER_VAD, "create_response": False, "interrupt_response": False}
        await client.configure(
            audio={"input": {"turn_detection": quiet}}, instructions='Greet with "Good morning to all of you."'
        )
        await client.send("response.create")
        await client.until("response.output_audio.delta")

        await speak(client, await spoken("good morning"))
        events = await client.until("response.done")

        assert events[-1]["response"]["status"] == "completed"
        assert [e["type"] for e in client.events].count("response.created") == 1
        assert "input_audio_buffer.committed" in kinds(events)


@speech
@needs_flite
async def test_speech_endpoint_answers_with_sound_at_24_khz():
    async with running_standin(speech=True) as standin, httpx2.AsyncClient(trust_env=False) as client:
        body = {"model": "gpt-4o-mini-tts", "input": "Good morning.", "voice": "cedar", "response_format": "pcm"}
        answer = await client.post(
            f"{standin.http_url}/audio/speech", json=body, headers={"Authorization": "Bearer sk-test"}
        )

        assert answer.status_code == 200
        assert 24_000 < len(answer.content) < 96_000
        assert len(answer.content) % 2 == 0


@speech
@needs_flite
async def test_greeting_is_spoken_with_the_voice_of_the_session():
    async with running_standin(speech=True) as standin:
        sounds = []
        for name in ("marin", "cedar"):
            async with client_of(standin) as client:
                await client.configure(instructions='Greet with "Hi."', audio={"output": {"voice": name}})
                events = await client.answer()
                sounds.append([e["delta"] for e in events if e["type"] == "response.output_audio.delta"])
                assert said(events) == "Hi."

        assert sounds[0] != sounds[1]


async def test_without_an_ear_the_transcript_fails_and_the_caller_is_asked_to_type():
    async with running_standin() as standin, client_of(standin) as client:
        await listening(client)
        tone = (b"\x00\x20" * 24 + b"\x00\xe0" * 24) * 12
        await client.configure(audio={"input": {"turn_detection": None}})
        await speak(client, tone * 10)
        await client.send("input_audio_buffer.commit")
        events = await client.answer()

        assert "conversation.item.input_audio_transcription.failed" in kinds(events)
        assert said(events).endswith("Please type what you would like.")


async def test_knobs_of_the_transcript():
    async with running_standin(faults={"no_transcript": True}) as standin, client_of(standin) as client:
        await client.configure(
            audio={"input": {"turn_detection": None, "transcription": {"model": "gpt-live-transcribe"}}}
        )
        await speak(client, bytes(9600))
        await client.send("input_audio_buffer.commit")
        without = await client.answer()
        standin.set_faults(no_transcript=False, transcript_failed=True, late_transcript_ms=5)
        await speak(client, bytes(9600))
        await client.send("input_audio_buffer.commit")
        failed = await client.until("conversation.item.input_audio_transcription.failed")

        assert not [kind for kind in kinds(without) if "transcription" in kind]
        assert failed[-1]["error"]["code"] == "transcription_failed"


def test_silence_and_quiet_noise_start_nothing():
    detector = Detector(SERVER_VAD)
    hum = (b"\x20\x00\xe0\xff" * (FRAME_BYTES // 4))[:FRAME_BYTES]

    notices = [detector.step(frame) for frame in [bytes(FRAME_BYTES), hum] * 40]

    assert notices == [None] * 80


def test_grammar_counts_only_where_the_open_model_nearly_agrees():
    assert settled("i would like to book a cleaning", "i would like to but the cleaning") == (
        "i would like to book a cleaning"
    )
    assert settled("wednesday ten thirty a m", "what is the capital of france") == "what is the capital of france"
    assert settled("", "anything") == "anything"
    assert settled("book a cleaning at", "book a cleaning") == "book a cleaning"


def test_word_of_alarm_is_never_hidden_by_the_grammar():
    assert settled("i have a filling", "i have a bad pain") == "i have a bad pain"


def test_grammar_leaves_out_what_the_dictionary_does_not_know():
    text = jsgf(["book", "xylograph"], ["cleaning", "deep xylograph"], knows=lambda word: word != "xylograph")

    assert "<verb> = (book | make |" in text
    assert "<thing> = (cleaning | appointment);" in text
    assert "xylograph" not in text
