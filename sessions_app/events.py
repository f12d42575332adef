"""The Realtime API's server events that a call reads.

Pure. Parsing is lenient where the service is (unknown fields are dropped, most fields may be missing) and strict where
we compute: ids are text, audio is whole base64. An unknown type becomes `Other`; what cannot be read raises Malformed.
Only fields named here can ever be passed on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import pybase64
from pydantic import BaseModel, ConfigDict, Field, ValidationError

# How sound is spelled: by the service without spaces, by a relay in Python perhaps with them.
_AUDIO_DELTA, _AUDIO_DELTA_WITHIN = '"response.output_audio.delta"', 200
_COMPACT_KEYS, _SPACED_KEYS, _HOLE = ('"delta":"', '"event_id":"'), ('"delta": "', '"event_id": "'), "~"
_MAX_ENVELOPE_CHARS, _ENVELOPES_KEPT = 500, 1024  # one for each item that is being spoken


class Malformed(Exception):
    """The frame is not an event. Its text is not repeated: it may hold speech."""


class ServerEvent(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    TYPE: ClassVar[str] = ""

    event_id: str = ""

    @property
    def type(self) -> str:
        return self.TYPE


class Other(ServerEvent):
    """A type that we do not read: new, or of no use to a call. Its name alone is kept."""

    name: str = ""

    @property
    def type(self) -> str:
        return self.name


class Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    type: str = ""
    text: str | None = None
    transcript: str | None = None


class ItemBody(BaseModel):
    """An item as the service shows it: a message, or a function call, or its output."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str
    type: str = "message"
    role: str = ""
    status: str | None = None
    content: list[Part] = Field(default_factory=list)
    name: str = ""
    call_id: str = ""
    arguments: str = ""

    @property
    def words(self) -> str:
        """What the item says, written or spoken; "" when the service does not know (yet)."""
        return " ".join(part.transcript or part.text or "" for part in self.content).strip()


class ErrorBody(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    type: str = ""
    code: str | None = None
    param: str | None = None
    event_id: str | None = None


class StatusDetails(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    type: str | None = None
    reason: str | None = None
    error: ErrorBody | None = None


class ResponseBody(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str
    status: str = ""
    status_details: StatusDetails | None = None
    output: list[ItemBody] = Field(default_factory=list)
    output_modalities: list[str] = Field(default_factory=list)
    metadata: dict[str, str] | None = None
    usage: dict[str, Any] | None = None


class SessionCreated(ServerEvent):
    TYPE = "session.created"


class SessionUpdated(ServerEvent):
    TYPE = "session.updated"


class Error(ServerEvent):
    TYPE = "error"
    error: ErrorBody


class SpeechStarted(ServerEvent):
    TYPE = "input_audio_buffer.speech_started"
    item_id: str
    audio_start_ms: int = 0


class SpeechStopped(ServerEvent):
    TYPE = "input_audio_buffer.speech_stopped"
    item_id: str
    audio_end_ms: int = 0


class Committed(ServerEvent):
    TYPE = "input_audio_buffer.committed"
    item_id: str


class Cleared(ServerEvent):
    TYPE = "input_audio_buffer.cleared"


class TimeoutTriggered(ServerEvent):
    TYPE = "input_audio_buffer.timeout_triggered"
    item_id: str


class ItemAdded(ServerEvent):
    TYPE = "conversation.item.added"
    item: ItemBody
    previous_item_id: str | None = None


class ItemDone(ServerEvent):
    TYPE = "conversation.item.done"
    item: ItemBody
    previous_item_id: str | None = None


class ItemTruncated(ServerEvent):
    TYPE = "conversation.item.truncated"
    item_id: str
    audio_end_ms: int = 0


class TranscriptionDelta(ServerEvent):
    TYPE = "conversation.item.input_audio_transcription.delta"
    item_id: str
    delta: str = ""


class TranscriptionCompleted(ServerEvent):
    TYPE = "conversation.item.input_audio_transcription.completed"
    item_id: str
    transcript: str = ""
    usage: dict[str, Any] | None = None


class TranscriptionFailed(ServerEvent):
    TYPE = "conversation.item.input_audio_transcription.failed"
    item_id: str
    error: ErrorBody | None = None


class ResponseCreated(ServerEvent):
    TYPE = "response.created"
    response: ResponseBody


class ResponseDone(ServerEvent):
    TYPE = "response.done"
    response: ResponseBody


class OutputEvent(ServerEvent):
    """Part of a response: ids and indices that each of these events carries."""

    response_id: str
    item_id: str = ""
    output_index: int = 0
    content_index: int = 0


class OutputItemAdded(OutputEvent):
    TYPE = "response.output_item.added"
    item: ItemBody


class OutputItemDone(OutputEvent):
    TYPE = "response.output_item.done"
    item: ItemBody


class ContentPartAdded(OutputEvent):
    TYPE = "response.content_part.added"
    part: Part


class ContentPartDone(OutputEvent):
    TYPE = "response.content_part.done"
    part: Part


class TextDelta(OutputEvent):
    TYPE = "response.output_text.delta"
    delta: str


class TextDone(OutputEvent):
    TYPE = "response.output_text.done"
    text: str = ""


class TranscriptDelta(OutputEvent):
    TYPE = "response.output_audio_transcript.delta"
    delta: str


class TranscriptDone(OutputEvent):
    TYPE = "response.output_audio_transcript.done"
    transcript: str = ""


class _Envelope(OutputEvent):
    """Of a piece of sound: what stands around it."""

    TYPE = "response.output_audio.delta"
    delta: str


@dataclass(slots=True)
class AudioDelta:
    """A piece of a reply's sound, decoded; `encoded` is it in base64, as it may go on, or "".

    It comes 25 times a second and more: what it says is checked as a model, and it is none itself.
    """

    type: ClassVar[str] = _Envelope.TYPE
    event_id: str
    response_id: str
    item_id: str
    output_index: int
    content_index: int
    delta: bytes
    encoded: str


class AudioDone(OutputEvent):
    TYPE = "response.output_audio.done"


SERVER_EVENTS: dict[str, type[ServerEvent]] = {
    kind.TYPE: kind
    for kind in (
        SessionCreated,
        SessionUpdated,
        Error,
        SpeechStarted,
        SpeechStopped,
        Committed,
        Cleared,
        TimeoutTriggered,
        ItemAdded,
        ItemDone,
        ItemTruncated,
        TranscriptionDelta,
        TranscriptionCompleted,
        TranscriptionFailed,
        ResponseCreated,
        ResponseDone,
        OutputItemAdded,
        OutputItemDone,
        ContentPartAdded,
        ContentPartDone,
        TextDelta,
        TextDone,
        TranscriptDelta,
        TranscriptDone,
        _Envelope,
        AudioDone,
    )
}


def decode_audio(value: Any) -> bytes:
    """Return the bytes of strict base64. Raises ValueError for anything else, and for none at all."""
    if not isinstance(value, str) or not value:
        raise ValueError("audio is base64 text")
    return pybase64.b64decode(value, validate=True)


def encode_audio(pcm: bytes) -> str:
    return pybase64.b64encode_as_string(pcm)


def as_spelled(encoded: str) -> str:
    """Return strict base64 as it may go on, or "": padding leaves bits that decoding does not look at."""
    return "" if encoded.endswith("=") else encoded


def parse(text: str | bytes) -> ServerEvent | AudioDelta:
    """Return the event in a frame of the Realtime API. Raises Malformed."""
    try:
        return _usual_sound(text) or _parse(text)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, ValidationError):
        raise Malformed from None


def _parse(text: str | bytes) -> ServerEvent | AudioDelta:
    raw = _load(text)
    name = raw["type"]
    kind = SERVER_EVENTS.get(name)
    if kind is None:
        return Other(name=name[:80], event_id=str(raw.get("event_id", "")))
    event = kind.model_validate(raw)
    return _sound(event, event.event_id, event.delta) if isinstance(event, _Envelope) else event


def _sound(envelope: _Envelope, event_id: str, encoded: str) -> AudioDelta:
    return AudioDelta(
        event_id,
        envelope.response_id,
        envelope.item_id,
        envelope.output_index,
        envelope.content_index,
        decode_audio(encoded),
        as_spelled(encoded),
    )


def _usual_sound(text: str | bytes) -> AudioDelta | None:
    """Return what `_parse` would, of an audio delta in its usual spelling; None for all else.

    The deltas of an item differ in their sound and their id. Both are cut out, and what is left is read once.
    """
    if not isinstance(text, str) or (named := text.find(_AUDIO_DELTA, 0, _AUDIO_DELTA_WITHIN)) < 0 or "\\" in text:
        return None
    delta_key, event_id_key = _SPACED_KEYS if text[named - 1] == " " else _COMPACT_KEYS
    encoded, around = _cut_out(text, delta_key)
    event_id, around = _cut_out(around, event_id_key)
    # Not printable is what JSON refuses, and the hole would hide it; the sound is looked at in any case.
    if not encoded or not event_id or not event_id.isprintable() or len(around) > _MAX_ENVELOPE_CHARS:
        return None
    envelope = _envelope(around)
    return _sound(envelope, event_id, encoded) if envelope is not None else None


def _cut_out(text: str, key: str) -> tuple[str, str]:
    """Return what follows `key` up to the next quote, "" for nothing, and what stands around it, with a hole."""
    before, _, rest = text.partition(key)
    value, _, after = rest.partition('"')
    return value, f'{before}{key}{_HOLE}"{after}'


@lru_cache(_ENVELOPES_KEPT)
def _envelope(around: str) -> _Envelope | None:
    """Return the envelope whose sound and id are holes; None when the holes are not those two alone.

    A second key of one name, or the same key within another value, is not usual.
    """
    raw = json.loads(around)
    usual = isinstance(raw, dict) and raw.get("type") == _Envelope.TYPE and around.count(_HOLE) == 2
    return _Envelope.model_validate(raw) if usual and raw.get("delta") == raw.get("event_id") == _HOLE else None


def _load(text: str | bytes) -> Any:
    raw = json.loads(text)
    # One character is looked for first: that is a hundred times faster than two, and sound holds none.
    if isinstance(text, str) and ("\\" not in text or "\\u" not in text):
        return raw
    # Half of a surrogate pair, which only an escape can spell, could be neither stored nor sent on.
    return json.loads(json.dumps(raw, ensure_ascii=False).encode("utf-8", "replace"))
