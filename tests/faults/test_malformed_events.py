"""R09, R10, R41: what upstream or a caller may send by mistake or in malice never brings a call down by accident."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sessions_app.call.link import MAX_MALFORMED, Link
from sessions_app.dialect.said import Append, Refused, parse_caller
from sessions_app.effects import AudioToModel, Effect, EventSeen, ItemSaved, Record, ToCaller, ToModel
from sessions_app.events import Malformed, encode_audio, parse
from tests.sessions_app.call.script import MS, Scene, looked

CANARY = "CANARY-speech"


class Taped(Scene):
    """Keeps each frame of the model's side as it would come over the wire."""

    def __init__(self, **brief: Any) -> None:
        super().__init__(**brief)
        self.tape: list[str] = []

    def model(self, kind: str, **fields: Any) -> list[Effect]:
        self.tape.append(json.dumps({"type": kind, "event_id": f"event_{len(self.tape)}", **fields}))
        return super().model(kind, **fields)


def taped_call() -> list[str]:
    """Return the frames of a whole call: greeting, speech, a tool, an interruption, typed words, a failure."""
    scene = Taped()
    scene.live()
    scene.speech("item_u1", "When can I come?")
    scene.calls("resp_1", ("call_1", "look", '{"day": "Monday"}'))
    scene.tool("call_1", looked())
    scene.reply("resp_2", "item_2", "On Monday at nine.", sound_ms=1200)
    scene.model("input_audio_buffer.speech_started", item_id="item_u2", audio_start_ms=900)
    scene.model("conversation.item.truncated", item_id="item_2", content_index=0, audio_end_ms=500)
    scene.model("input_audio_buffer.speech_stopped", item_id="item_u2", audio_end_ms=1800)
    scene.model("input_audio_buffer.committed", item_id="item_u2", previous_item_id="item_2")
    scene.model("rate_limits.updated", rate_limits=[{"name": "tokens", "limit": 1, "remaining": 0}])
    error = {"type": "invalid_request_error", "code": "item_not_found", "message": CANARY, "event_id": "client_1"}
    scene.model("error", error=error)
    failed = {
        "id": "resp_3",
        "status": "failed",
        "status_details": {"type": "failed", "error": {"code": "server_error"}},
    }
    scene.model("response.created", response={"id": "resp_3"})
    scene.model("response.done", response=failed)
    return scene.tape


TAPE = taped_call()


class Frames(list[str]):
    """Frames to play, shown by what is new in them."""

    def __repr__(self) -> str:
        return repr([text for text in self if text not in TAPE])[:2000]


def played(frames: list[str]) -> Scene:
    """Play frames as the bridge does: what cannot be read is said to be so."""
    scene = Scene().connected()
    for text in frames:
        try:
            event = parse(text)
        except Malformed:
            scene.take(scene.call.malformed(now=scene.now))
        else:
            scene.take(scene.call.from_model(event, now=scene.now))
        scene.at(scene.now + 0.05)
    return scene


CHANGES = ["value", "value", "value", "gone", "cut", "byte", "double", "move", "lose", "any"]
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=20)
    | st.sampled_from(["\x00", "\ud800", "item_2", "resp_2", "completed", "AAAA", "AAA", "response.done"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def mutated_tapes(draw: st.DrawFn) -> Frames:
    """A recorded call with up to a dozen changes: a value replaced or gone, a frame cut, bent, doubled, moved, lost."""
    tape = Frames(TAPE)
    for _ in range(draw(st.integers(1, 12))):
        place = draw(st.integers(0, len(tape) - 1))
        change = draw(st.sampled_from(CHANGES))
        if change in ("value", "gone"):
            tape[place] = draw(_changed(tape[place], removes=change == "gone"))
        elif change == "cut":
            tape[place] = tape[place][: draw(st.integers(0, len(tape[place])))]
        elif change == "byte":
            at = draw(st.integers(0, max(0, len(tape[place]) - 1)))
            tape[place] = tape[place][:at] + draw(st.characters()) + tape[place][at + 1 :]
        elif change == "double":
            tape.insert(draw(st.integers(0, len(tape))), tape[place])
        elif change == "move":
            tape.insert(draw(st.integers(0, len(tape) - 1)), tape.pop(place))
        elif change == "any":
            tape[place] = draw(st.text(max_size=40) | anything.map(json.dumps))
        elif len(tape) > 1:
            del tape[place]
    return tape


@st.composite
def _changed(draw: st.DrawFn, text: str, *, removes: bool) -> str:
    """Return the frame with one value, anywhere inside it, replaced or gone."""
    try:
        root = json.loads(text)
    except ValueError:
        return text
    here = root
    while isinstance(here, dict | list) and here:
        keys = list(here) if isinstance(here, dict) else list(range(len(here)))
        key = draw(st.sampled_from(keys))
        if not isinstance(here[key], dict | list) or not here[key] or draw(st.booleans()):
            if removes:
                del here[key]
            else:
                here[key] = draw(anything)
            break
        here = here[key]
    return json.dumps(root)


@given(mutated_tapes())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_mutation_of_a_recorded_session_raises_or_leaves_what_cannot_be_sent_or_stored(frames: list[str]):
    """R10: JSON that is none, wrong types, missing fields, bad base64, NUL, lone surrogates, in any place."""
    scene = played(frames)
    scene.at(scene.now + 40)
    if not scene.call.ended:
        scene.take(scene.call.stop("interrupted", now=scene.now))

    for effect in scene.effects:
        if isinstance(effect, ToCaller | ToModel):
            json.dumps(effect.event, ensure_ascii=False).encode()
        elif isinstance(effect, Record) and isinstance(effect.fact, ItemSaved):
            effect.fact.text.encode()
        elif isinstance(effect, Record) and isinstance(effect.fact, EventSeen):
            json.dumps(effect.fact.fields, ensure_ascii=False).encode()
    assert scene.end().reason


@given(st.lists(st.text(max_size=30), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_events_of_unknown_types_are_counted_and_change_nothing(names: list[str]):
    """R09: any type that nobody knows, with any text inside."""
    quiet, noisy = Scene().live(), Scene().live()

    for name in names:
        noisy.model(f"response.mood.{name}", mood=CANARY, item={"content": [{"text": CANARY}]})
    for scene in (quiet, noisy):
        scene.speech("item_u", "Hello")
        scene.reply("resp_1", "item_1", "Good morning.", sound_ms=200)

    assert noisy.told() == quiet.told()
    assert noisy.to_model() == quiet.to_model()
    assert noisy.facts(ItemSaved) == quiet.facts(ItemSaved)
    assert CANARY not in str(noisy.effects)


def test_twenty_unreadable_frames_in_a_minute_make_the_session_a_lost_one():
    """R10: one more makes it treated as R06; spread over hours they change nothing."""
    scattered, storm = Link(), Scene().live()

    often = [scattered.unreadable(at) for at in range(0, 3_600_000, 1000 * 60 // (MAX_MALFORMED - 2))]
    for _ in range(MAX_MALFORMED):
        storm.take(storm.call.malformed(now=storm.now))

    assert set(often) == {False}
    assert [fact.fields for fact in storm.facts(EventSeen) if fact.type == "upstream.lost"] == [
        {"code": "upstream_unreadable"}
    ]
    assert storm.call.ended is False


@given(st.binary(max_size=400), st.sampled_from([1, 2]))
@settings(max_examples=200, deadline=None)
def test_any_sound_of_a_caller_goes_on_in_whole_samples_or_is_refused(pcm: bytes, sample_bytes: int):
    """R41: odd bytes, none at all, a single byte, for PCM16 and for G.711."""
    message = json.dumps({"type": "input_audio_buffer.append", "audio": encode_audio(pcm)})

    if pcm and len(pcm) % sample_bytes == 0:
        assert parse_caller(message, sample_bytes=sample_bytes) == Append(pcm)
    else:
        with pytest.raises(Refused, match="invalid_audio"):
            parse_caller(message, sample_bytes=sample_bytes)


@given(st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=20))
@settings(max_examples=100, deadline=None)
def test_odd_sound_of_the_models_never_reaches_the_caller(pieces: list[bytes]):
    """R41: half a sample would shift every sample after it."""
    scene = Scene().live()
    scene.begin_reply("resp_1", "item_1")

    for pcm in pieces:
        scene.model("response.output_audio.delta", response_id="resp_1", item_id="item_1", delta=encode_audio(pcm))

    heard = [effect.pcm for effect in scene.effects if isinstance(effect, ToCaller) and effect.item_id == "item_1"]
    assert heard == [pcm for pcm in pieces if len(pcm) % 2 == 0]
    assert scene.call._state.tally.counters["odd_audio"] == sum(len(pcm) % 2 for pcm in pieces)


def test_silence_and_clipping_are_sound_like_any_other():
    """R41: what a muted and what a shouting microphone gives."""
    scene = Scene().live()
    silence, clipped = bytes(40 * MS), b"\xff\x7f\x00\x80" * (20 * MS // 2)

    for pcm in (silence, clipped):
        scene.caller("input_audio_buffer.append", audio=encode_audio(pcm))

    assert [effect.pcm for effect in scene.effects if isinstance(effect, AudioToModel)] == [silence, clipped]
