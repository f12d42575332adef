"""What a caller hears of the model's side: named fields alone, each event one that the official types know."""

from __future__ import annotations

import itertools
import json
import types
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from openai.types.realtime import RealtimeServerEvent
from pydantic import BaseModel, TypeAdapter

from sessions_app import events
from sessions_app.call import Call, CallBrief
from sessions_app.call.brief import Lines, ToolBrief
from sessions_app.dialect.heard import as_heard, sound
from sessions_app.effects import Effect, ToCaller

Json = dict[str, Any]

CANARY = "CANARY"
SOUND = "Q0FOQVJZLi4="  # "CANARY..", the only text that is sound
KINDS: dict[str, type[BaseModel]] = {
    typing.get_args(one.model_fields["type"].annotation)[0]: one
    for one in typing.get_args(typing.get_args(RealtimeServerEvent)[0])
}
UNKNOWN = [f"response.{name}.{n}" for n in range(25) for name in ("thought", "plan", "output_audio", "delta")]

# Where words and ids of the model's side may stand in what a caller hears; nowhere else.
OPEN_FIELDS = frozenset(
    {
        "event_id",
        "item_id",
        "previous_item_id",
        "response_id",
        "delta",
        "text",
        "transcript",
        "part.text",
        "part.transcript",
        "item.id",
        "item.content.text",
        "item.content.transcript",
        "response.id",
        "response.output.id",
        "response.output.content.text",
        "response.output.content.transcript",
    }
)


class Sampler:
    """Makes an event of an official type with a canary in each text; `pick` turns the alternatives of each choice."""

    def __init__(self, pick: int) -> None:
        self._pick = pick

    def event(self, kind: str) -> Json:
        return {**self._model(KINDS[kind]), "type": kind}

    def _model(self, model: type[BaseModel]) -> Json:
        fields = {name: self._value(field.annotation, name) for name, field in model.model_fields.items()}
        return {**fields, "instructions": CANARY, f"x_{CANARY}": {"nested": [CANARY]}}

    def _value(self, hint: Any, name: str) -> Any:
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin is typing.Annotated:
            return self._value(arguments[0], name)
        if origin is typing.Literal:
            return arguments[self._pick % len(arguments)]
        if origin in (typing.Union, types.UnionType):
            some = [one for one in arguments if one is not type(None)]
            return self._value(some[self._pick % len(some)], name)
        if origin in (list, typing.Iterable):
            return [self._value(arguments[0], name)]
        if origin is dict:
            return {CANARY: CANARY}
        if isinstance(hint, type) and issubclass(hint, BaseModel):
            return self._model(hint)
        return {str: CANARY, int: 7, float: 0.5, bool: True}.get(hint, CANARY)


def samples(kind: str) -> Iterator[Json]:
    for pick in range(9):  # of the items a service may show, there are nine kinds
        event = Sampler(pick).event(kind)
        if kind == "response.output_audio.delta":
            event["delta"] = SOUND
        yield event


def texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield each text in `value` and where it stands; a list adds nothing to the path."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield f"{path} (key)", str(name)
            yield from texts(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner, path)
    elif isinstance(value, str):
        yield path, value


def leaks(shown: Json) -> list[str]:
    found = ((path, text) for path, text in texts(shown) if CANARY in text or SOUND in text)
    # Metadata is what the caller has put there itself.
    return [path for path, _ in found if path not in OPEN_FIELDS and not path.startswith("response.metadata")]


def check(event: Json) -> None:
    """Raise when the official package does not know the event, or not so."""
    TypeAdapter(KINDS[event["type"]]).validate_python(event)


def heard_of(raw: Json) -> Json | None:
    try:
        event = events.parse(json.dumps(raw))
    except events.Malformed:
        return None
    return sound(event, event_id="event_1") if isinstance(event, events.AudioDelta) else as_heard(event)


def test_there_are_46_types_of_server_events():
    assert len(KINDS) == 46


@pytest.mark.parametrize("kind", KINDS)
def test_no_word_of_an_event_reaches_the_caller_but_in_open_fields(kind):
    shown = [heard for heard in map(heard_of, samples(kind)) if heard is not None]

    assert [leaks(one) for one in shown] == [[]] * len(shown)
    for one in shown:
        check({"event_id": "event_1", **one})


@pytest.mark.parametrize("kind", KINDS)
def test_event_with_every_status_and_role_unheard_of_tells_nothing_new(kind):
    def spoiled(value: Any) -> Any:
        if isinstance(value, dict):
            odd = ("status", "reason", "object", "code", "phase")
            return {name: CANARY if name in odd else spoiled(inner) for name, inner in value.items()}
        return [spoiled(inner) for inner in value] if isinstance(value, list) else value

    shown = [heard for heard in map(heard_of, map(spoiled, samples(kind))) if heard is not None]

    assert [leaks(one) for one in shown] == [[]] * len(shown)
    for one in shown:
        check({"event_id": "event_1", **one})


def test_unknown_events_are_not_heard():
    known = Sampler(0).event("response.output_text.delta")

    assert [heard_of({**known, "type": kind}) for kind in UNKNOWN] == [None] * 100


SECRET = f"{CANARY}-secret"


def live_call(*, own_events: bool) -> Call:
    """A call whose model is ready, with a canary in all that it must keep to itself."""
    session = {
        "type": "realtime",
        "instructions": SECRET,
        "tools": [{"type": "function", "name": "look_up", "description": SECRET, "parameters": {"title": SECRET}}],
        "tool_choice": SECRET,
        "prompt": SECRET,
        "output_modalities": ["audio"],
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "transcription": {"model": "whisper-1", "prompt": SECRET},
                "turn_detection": {"type": "server_vad", "interrupt_response": True},
            },
            "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin", "speed": 1.0},
        },
    }
    brief = CallBrief(
        call_id="00000000-0000-0000-0000-000000000001",
        reference="BCDFGH",
        public_name="lexi",
        session=session,
        lines=Lines(greeting="Hello", goodbye="Goodbye", apology="Sorry"),
        emergency_number="911",
        max_call_ms=600_000,
        tools={"look_up": ToolBrief(writes=False)},
        own_events=own_events,
    )
    return Call(brief, started=0.0)


def told(effects: list[Effect]) -> list[Json]:
    return [effect.event for effect in effects if isinstance(effect, ToCaller)]


def begin(call: Call) -> list[Effect]:
    return [*call.begun(now=0.0), *call.opened(now=0.0), *call.model_connected(now=0.0)]


@pytest.mark.parametrize("own_events", [False, True])
def test_call_tells_only_open_fields_of_any_event_in_any_order(own_events):
    call = live_call(own_events=own_events)
    heard = told(begin(call))
    number = itertools.count()

    for turn in range(2):
        for kind in [*sorted(KINDS), *UNKNOWN] if turn else [*sorted(KINDS, reverse=True), *UNKNOWN]:
            if kind == "error":
                continue  # one of the fatal codes would end the call
            for raw in samples(kind) if kind in KINDS else [{"type": kind, "delta": CANARY, "item_id": CANARY}]:
                event = {**raw, "event_id": f"event_{next(number)}"}
                try:
                    heard += told(call.from_model(events.parse(json.dumps(event)), now=1.0))
                except events.Malformed:
                    continue
    heard += told(call.tick(now=100.0))

    assert [leaks(event) for event in heard] == [[]] * len(heard)
    assert SECRET not in json.dumps(heard)
    for event in heard:
        if not event["type"].startswith("frontdesk."):
            check(event)


def test_error_of_the_service_is_told_in_our_own_words():
    raw = {"type": "error", "event_id": "event_1", "error": {"type": CANARY, "code": "insufficient_quota"}}
    raw["error"] |= {"message": CANARY, "param": CANARY, "event_id": CANARY}  # type: ignore[operator]
    call = live_call(own_events=True)
    begin(call)

    heard = told(call.from_model(events.parse(json.dumps(raw)), now=1.0))

    errors = [event["error"] for event in heard if event["type"] == "error"]
    assert errors == [
        {"type": "server_error", "code": "upstream_failed", "message": "Sorry", "param": None, "event_id": None}
    ]
    assert CANARY not in json.dumps(heard)


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "null",
        "[]",
        "7",
        '"text"',
        "{}",
        '{"type": null}',
        '{"type": ["error"]}',
        '{"type": "response.done"}',
        '{"type": "response.done", "response": []}',
        '{"type": "response.done", "response": {"id": 7}}',
        '{"type": "response.output_audio.delta", "response_id": "r", "delta": "AAA"}',
        '{"type": "response.output_audio.delta", "response_id": "r", "delta": 7}',
        '{"type": "response.output_audio.delta", "response_id": "r", "delta": ""}',
        '{"type": "conversation.item.added", "item": {"id": "i", "content": "words"}}',
        "[" * 50_000,
        b"\xff\xfe",
        b"\x00\x01binary",
    ],
)
def test_frame_that_is_no_event_is_malformed_and_nothing_else(frame):
    with pytest.raises(events.Malformed):
        events.parse(frame)


def test_half_of_a_surrogate_pair_is_replaced_and_the_rest_of_the_words_kept():
    frame = (
        '{"type": "response.output_text.done", "response_id": "r", "text": "Ten \\ud83d o\\u2019clock \\ud83d\\ude00"}'
    )

    event = events.parse(frame)

    assert event == events.TextDone(response_id="r", text="Ten ? o\u2019clock \U0001f600")
