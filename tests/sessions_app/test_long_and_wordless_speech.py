"""A call over the stand-in, which hears real sound: a monologue, and a radio. In the call's own time, not in ours."""

from __future__ import annotations

import base64
import json
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agents_app.session_config import NOISE_REDUCTION, TURN_DETECTION
from sessions_app.call.monologue import MAX_PART_MS
from sessions_app.dialect.said import parse_caller
from sessions_app.effects import AudioToModel, Effect, ToModel
from sessions_app.events import encode_audio, parse
from sessions_app.standin.dialogue import Vocabulary
from sessions_app.standin.hearing import Deaf
from sessions_app.standin.server import Standin, running_standin
from sessions_app.standin.voice import best_voice
from tests.sessions_app.call.script import MS, SESSION, Scene
from tests.sessions_app.standin.recording import RecordingClient, client_of, function

FRAME_MS = 100
SYNC_MS = 500
STORY = (
    "I have had this tooth since I was a child and it never gave me any trouble until last week when I was eating.",
    "Then it began to hurt a little in the evening and my wife said that I should call you about it at once.",
    "But I was away for work and then the weather was so bad that nobody could drive anywhere for two whole days.",
    "So now it is the other side as well and I do not know whether that is the same thing or something new.",
)
RADIO = ("slt", "rms", "awb")

pytestmark = pytest.mark.skipif(best_voice().name != "flite", reason="flite is not installed: apt-get install flite")


class Wordless(Deaf):
    """An ear that hears no word in anything, as a transcription model does in a radio two rooms away."""

    async def recognise(self, pcm: bytes, vocabulary: Vocabulary) -> str:
        return ""


class Line:
    """A call, and the stand-in that it speaks to: sound goes as fast as the stand-in takes it."""

    def __init__(self, client: RecordingClient, scene: Scene) -> None:
        self.client, self.scene = client, scene
        self._pings = 0

    async def carry(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, ToModel):
                await self.client.socket.send(json.dumps(effect.event))
            if isinstance(effect, AudioToModel):
                await self.client.send("input_audio_buffer.append", audio=encode_audio(effect.pcm))

    async def sync(self) -> None:
        """Take all that the stand-in has said up to now: it answers in order, also what it must refuse."""
        self._pings += 1
        ping = f"ping_{self._pings}"
        await self.client.send("conversation.item.retrieve", event_id=ping, item_id="nobody")
        while (event := await self.client.next()).get("error", {}).get("event_id") != ping:
            await self.take(event)

    async def take(self, event: dict[str, Any]) -> None:
        scene = self.scene
        await self.carry(scene.take(scene.call.from_model(parse(json.dumps(event)), now=scene.now)))

    async def until(self, kind: str) -> None:
        while (event := await self.client.next())["type"] != kind:
            await self.take(event)
        await self.take(event)

    async def say(self, pcm: bytes) -> None:
        scene = self.scene
        for start in range(0, len(pcm), FRAME_MS * MS):
            frame = encode_audio(pcm[start : start + FRAME_MS * MS])
            append = parse_caller(json.dumps({"type": "input_audio_buffer.append", "audio": frame}))
            await self.carry(scene.take(scene.call.from_caller(append, now=scene.now)))
            await self.pass_time(FRAME_MS)
            if start // MS % SYNC_MS == 0:
                await self.sync()

    async def pass_time(self, ms: int) -> None:
        before = len(self.scene.effects)
        self.scene.at(self.scene.now + ms / 1000)
        await self.carry(self.scene.effects[before:])


@asynccontextmanager
async def line(standin: Standin, *, preset: str, **session: Any) -> AsyncIterator[Line]:
    """A call that has been greeted."""
    audio: Any = SESSION["audio"]
    heard = {
        **audio["input"],
        "turn_detection": TURN_DETECTION[preset],
        "noise_reduction": NOISE_REDUCTION[preset],
        "transcription": {"model": "gpt-live-transcribe", "language": "en"},
    }
    scene = Scene(
        session={**SESSION, "audio": {**audio, "input": heard}, **session},
        max_call_ms=900_000,
        clips={"say_again": bytes(400 * MS)},
    )
    async with client_of(standin, greeted=False) as client:
        on = Line(client, scene)
        await on.carry(scene.connected().effects)
        await on.until("response.done")
        await on.pass_time(5000)
        yield on


def without_pauses(pcm: bytes) -> bytes:
    """Leave out each 10 ms in which nobody speaks."""
    blocks = [array("h", pcm[at : at + 480]) for at in range(0, len(pcm) - 480, 480)]
    return b"".join(block.tobytes() for block in blocks if sum(x * x for x in block) > 240 * 300**2)


def mixed(sounds: list[bytes]) -> bytes:
    """Several voices at once, as loud as one of them."""
    parts = [array("h", sound) for sound in sounds]
    length = min(map(len, parts))
    return array("h", (sum(part[i] for part in parts) // len(parts) for i in range(length))).tobytes()


async def test_a_monologue_is_committed_in_parts_of_which_not_a_sample_is_lost():
    speech = without_pauses(b"".join([best_voice()._sound(sentence, "rms", 1.0) for sentence in STORY]))
    speech *= 1 + 2 * MAX_PART_MS * MS // len(speech)
    async with running_standin() as standin, line(standin, preset="quiet") as on:
        asked = len(on.scene.to_model("response.create"))

        await on.say(speech)
        during = [event for event in on.client.events if event["type"] == "response.created"]
        await on.say(bytes(1000 * MS))
        await on.until("response.done")

        created = [event for event in on.client.events if event["type"] == "response.created"]
        items = [e["item_id"] for e in on.client.events if e["type"] == "input_audio_buffer.committed"]
        kept = b""
        for item_id in items:
            await on.client.send("conversation.item.retrieve", item_id=item_id)
            retrieved = (await on.client.until("conversation.item.retrieved"))[-1]["item"]
            kept += base64.b64decode(retrieved["content"][0]["audio"])

    assert len(speech) > 2 * MAX_PART_MS * MS
    assert len(items) == 3
    assert speech in kept
    assert (len(during), len(created)) == (1, 2)  # the greeting, and one answer at the end
    assert len(on.scene.to_model("response.create")) == asked
    assert on.scene.told("error") == []


async def test_a_radio_runs_no_tool_and_is_asked_about_once():
    voices = [b"".join([best_voice()._sound(sentence, name, 1.0) for sentence in STORY]) for name in RADIO]
    radio = mixed(voices)[: 24_000 * MS]
    answer = {"say": "Could you say that again, please?", "call": [["look", "{}"]]}
    # A model takes a while to its first sound, and its transcript is there before.
    faults = {"script": [{"say": "Hello."}, *[answer] * 20], "delta_ms": 20}
    look = function("look", "Look something up.")
    async with running_standin(faults=faults) as standin:
        # No real recogniser takes a radio for silence: this is what the service's transcription does.
        standin._engine.hearing = Wordless()
        async with line(standin, preset="noisy", tools=[look]) as on:
            for start in range(0, len(radio), 4000 * MS):
                await on.say(radio[start : start + 4000 * MS] + bytes(1500 * MS))

    turns = [event for event in on.client.events if event["type"] == "input_audio_buffer.committed"]
    heard = {event["item_id"] for event in on.scene.told("response.output_audio.delta")}
    assert len(turns) >= 4
    assert on.scene.runs(commit=False) == on.scene.runs(commit=True) == []
    assert len(heard) == 2  # the greeting, and "Could you say that again?"
