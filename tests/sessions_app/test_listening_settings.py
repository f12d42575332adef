"""What a clinic and its callers choose of the listening reaches the model, over real servers."""

from __future__ import annotations

import base64
from typing import Any

from agents_app.session_config import TURN_DETECTION
from tests.make import make_clinic
from tests.make_practice import make_provider
from tests.servers import Server, ended_call, in_thread, live_agent

FRAME = base64.b64encode(bytes(40 * 48)).decode()


def noisy_clinic() -> Any:
    clinic = make_clinic(name="Barton Dental")
    make_provider(clinic, name="Dr. Maya Okafor", spoken_as="Dr. Okafor")
    return live_agent(clinic, turn_taking="noisy", language="es", keywords="Zahnstein")


async def test_presets_hints_and_the_callers_own_wishes_reach_the_model(server: Server):
    agent = await in_thread(noisy_clinic)
    wishes = [{"type": "server_vad", "silence_duration_ms": 1200}, None, {"type": "server_vad"}]

    async with server.upstream() as standin:
        async with server.call(agent) as caller:
            await caller.until("response.done")
            shown = []
            for wish in wishes:
                session = {"type": "realtime", "audio": {"input": {"turn_detection": wish}}}
                await caller.send("session.update", session=session)
                shown.append((await caller.until("session.updated"))[-1]["session"]["audio"]["input"]["turn_detection"])
        await ended_call(agent)

    noisy: Any = TURN_DETECTION["noisy"]
    updates = [event["session"]["audio"]["input"] for event in standin.received[0] if event["type"] == "session.update"]
    assert updates[0]["noise_reduction"] == {"type": "near_field"}
    assert updates[0]["transcription"] == {
        "model": "gpt-live-transcribe",
        "language": "es",
        "keywords": ["Zahnstein", "Dr. Maya Okafor", "Dr. Okafor", "Barton Dental"],
    }
    assert [update["turn_detection"] for update in updates] == [
        noisy,
        {**noisy, "silence_duration_ms": 1200},
        None,
        noisy,
    ]
    assert shown == [update["turn_detection"] for update in updates[1:]]


async def test_what_a_manager_enters_reaches_the_model_unchanged(uvicorn: Server):
    entered: dict[str, Any] = {"threshold": 0.35, "prefix_padding_ms": 450, "silence_duration_ms": 1300}
    agent = await in_thread(lambda: live_agent(turn_taking="noisy", eagerness="low", **entered))

    async with uvicorn.upstream() as standin:
        async with uvicorn.call(agent) as caller:
            await caller.until("response.done")
        await ended_call(agent)

    [update] = [event["session"] for event in standin.received[0] if event["type"] == "session.update"]
    noisy: Any = TURN_DETECTION["noisy"]
    assert update["audio"]["input"]["turn_detection"] == {**noisy, **entered}


async def test_what_a_page_counts_of_its_sound_stands_in_the_calls_row(uvicorn: Server):
    agent = await in_thread(live_agent)

    async with uvicorn.upstream():
        async with uvicorn.call(agent) as caller:
            await caller.until("response.done")
            for _ in range(5):
                await caller.send("input_audio_buffer.append", audio=FRAME)
            await caller.send("frontdesk.sound", dropped_frames=3, silenced_ms=120, underruns=0)
            await caller.say("Goodbye")
            await caller.until("conversation.item.done")
        call = await ended_call(agent)

    assert call.counters["sound_ms"] == 200
    assert (call.counters["page_dropped_frames"], call.counters["page_silenced_ms"]) == (3, 120)
