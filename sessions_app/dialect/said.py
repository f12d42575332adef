"""What a caller may say, parsed strictly: each message becomes one of the values below, or is refused.

Pure. Source of the vocabulary: the project's contract, and the Realtime API reference for the shapes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from sessions_app.events import as_spelled, decode_audio

MAX_MESSAGE_BYTES = 64 * 1024
MAX_TEXT_CHARS = 4000
MAX_ID_CHARS = 32
MAX_EVENT_ID_CHARS = 512
MAX_METADATA_PAIRS, MAX_METADATA_KEY_CHARS, MAX_METADATA_VALUE_CHARS = 16, 64, 512
MAX_PLAYED_MS = 60 * 60 * 1000
MAX_DEPTH = 12
MORE_TIME_MS = 1000  # of silence: who asks for as much as this asks for the preset "more time"
SOUND_TOTALS = ("dropped_frames", "silenced_ms", "underruns")

# How browsers and how Python spell an append, 25 times a second: read without a parser.
_COMPACT_APPEND = '{"type":"input_audio_buffer.append","audio":"'
_SPACED_APPEND = '{"type": "input_audio_buffer.append", "audio": "'
_APPEND_HEADS = (_COMPACT_APPEND, _SPACED_APPEND)
_APPEND_TAIL = '"}'

# Written by us into a response's metadata, to know our own requests again; never shown to a caller.
REQUEST_KEY = "frontdesk_request"


class Refused(Exception):
    """The caller said what it may not. `code` and `message` are told to it, with its own event id."""

    def __init__(self, code: str, message: str, *, param: str | None = None, event_id: str | None = None) -> None:
        super().__init__(code)
        self.code, self.message, self.param, self.event_id = code, message, param, event_id


@dataclass(slots=True)
class Append:
    """`encoded` is the sound in base64 once more, as it may go on; "" when it must be encoded anew."""

    pcm: bytes
    event_id: str | None = None
    encoded: str = field(default="", compare=False)


@dataclass(frozen=True)
class Commit:
    event_id: str | None = None


@dataclass(frozen=True)
class Clear:
    event_id: str | None = None


@dataclass(frozen=True)
class UserText:
    text: str
    item_id: str | None = None
    event_id: str | None = None


@dataclass(frozen=True)
class Retrieve:
    item_id: str
    event_id: str | None = None


@dataclass(frozen=True)
class Truncate:
    item_id: str
    audio_end_ms: int
    event_id: str | None = None


@dataclass(frozen=True)
class CreateResponse:
    metadata: dict[str, str] = field(default_factory=dict)
    event_id: str | None = None


@dataclass(frozen=True)
class CancelResponse:
    response_id: str | None = None
    event_id: str | None = None


@dataclass(frozen=True)
class Introduce:
    """`session.update`: only how the caller wants to be answered and to take turns; the rest of it is ignored."""

    modalities: tuple[str, ...] | None = None
    hands_free: bool | None = None  # None: not asked; False: push-to-talk
    event_id: str | None = None
    more_time: bool = False  # hands free, with longer pauses


@dataclass(frozen=True)
class Playback:
    item_id: str
    played_ms: int
    event_id: str | None = None


@dataclass(frozen=True)
class HasToken:
    """The caller has the token that it was told last: with it, it can come back."""

    event_id: str | None = None


@dataclass(frozen=True)
class Sound:
    """The page's own totals of the call's sound, each a name of SOUND_TOTALS."""

    totals: dict[str, int]
    event_id: str | None = None


@dataclass(frozen=True)
class Confirm:
    token: str
    answer: Literal["yes", "change"]
    event_id: str | None = None


CallerEvent = (
    Append
    | Commit
    | Clear
    | UserText
    | Retrieve
    | Truncate
    | CreateResponse
    | CancelResponse
    | Introduce
    | Playback
    | Sound
    | HasToken
    | Confirm
)


def parse_caller(text: str, *, sample_bytes: int = 2) -> CallerEvent:
    """Return what the caller said. Raises Refused; `sample_bytes` is the size of one audio sample."""
    return _usual_append(text, sample_bytes) or _parse(text, sample_bytes)


def _usual_append(text: str, sample_bytes: int) -> Append | None:
    """Return an append in its usual spelling; None for all else, be it right or wrong.

    The whole text is a head, base64 and a tail, and base64 holds no quote: there is no room for a second key.
    """
    if not text.startswith(_APPEND_HEADS) or not text.endswith(_APPEND_TAIL) or len(text) > MAX_MESSAGE_BYTES:
        return None
    head = _COMPACT_APPEND if text.startswith(_COMPACT_APPEND) else _SPACED_APPEND
    encoded = text[len(head) : -len(_APPEND_TAIL)]
    try:
        pcm = decode_audio(encoded)
    except ValueError:
        return None
    return Append(pcm, encoded=as_spelled(encoded)) if len(pcm) % sample_bytes == 0 else None


def _parse(text: str, sample_bytes: int) -> CallerEvent:
    raw = _load(text)
    event_id = raw.get("event_id")
    if event_id is not None and (not isinstance(event_id, str) or len(event_id) > MAX_EVENT_ID_CHARS):
        raise Refused("invalid_value", f"event_id is text of at most {MAX_EVENT_ID_CHARS} characters", param="event_id")
    try:
        parser: Callable[[dict[str, Any], str | None, int], CallerEvent] = _PARSERS[raw["type"]]
        return parser(raw, event_id, sample_bytes)
    except (KeyError, TypeError):
        raise Refused("event_not_allowed", "This event is not allowed here", param="type", event_id=event_id) from None
    except Refused as refused:
        refused.event_id = event_id
        raise


def _load(text: str) -> dict[str, Any]:
    if _bytes(text) > MAX_MESSAGE_BYTES:
        raise Refused("message_too_large", f"A message is at most {MAX_MESSAGE_BYTES} bytes")
    try:
        raw = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
        _check_writable(text, raw)
    except (ValueError, RecursionError):
        raise Refused("invalid_json", "The message is not JSON, or names a key twice") from None
    if not isinstance(raw, dict):
        raise Refused("invalid_json", "The message is not a JSON object")
    if _depth(raw) > MAX_DEPTH:
        raise Refused("invalid_json", f"The message is nested more than {MAX_DEPTH} deep")
    return raw


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _check_writable(text: str, raw: Any) -> None:
    """Raise ValueError for half of a surrogate pair, which only an escape can spell: no socket can send it on."""
    if not text.isascii() or ("\\" in text and "\\u" in text):
        json.dumps(raw, ensure_ascii=False).encode()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):  # two readers of one text must not see two different events
        raise ValueError
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _depth(value: Any) -> int:
    """Return how deep `value` is nested, without recursion, and no deeper than is of interest."""
    depth, level = 0, [value]
    while level and depth <= MAX_DEPTH:
        depth += 1
        level = [
            child
            for node in level
            if isinstance(node, (dict, list))
            for child in (node.values() if isinstance(node, dict) else node)
        ]
    return depth


def _append(raw: dict[str, Any], event_id: str | None, sample_bytes: int) -> Append:
    try:
        pcm = decode_audio(raw.get("audio"))
    except ValueError:
        raise Refused("invalid_audio", "audio must be whole base64", param="audio") from None
    if not pcm or len(pcm) % sample_bytes:
        raise Refused("invalid_audio", "audio must hold whole samples", param="audio")
    return Append(pcm, event_id)


def _user_text(raw: dict[str, Any], event_id: str | None, sample_bytes: int) -> UserText:
    item = raw.get("item")
    if not isinstance(item, dict) or item.get("type") != "message" or item.get("role") != "user":
        raise Refused("event_not_allowed", "Only a user's message can be created", param="item")
    content = item.get("content")
    if not isinstance(content, list) or not content or not all(_is_text_part(part) for part in content):
        raise Refused("event_not_allowed", "A message holds input_text alone", param="item.content")
    text = "\n".join(part["text"] for part in content).strip()
    if not text or len(text) > MAX_TEXT_CHARS:
        raise Refused("invalid_value", f"A message has 1 to {MAX_TEXT_CHARS} characters", param="item.content")
    return UserText(text, _id(item, "id", required=False), event_id)


def _is_text_part(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "input_text" and isinstance(part.get("text"), str)


def _id(raw: dict[str, Any], name: str, *, required: bool = True, limit: int = MAX_ID_CHARS) -> Any:
    value = raw.get(name)
    if value is None and not required:
        return None
    if not isinstance(value, str) or not 1 <= len(value) <= limit or not value.isascii() or not value.isprintable():
        raise Refused("invalid_value", f"{name} has 1 to {limit} characters", param=name)
    return value


def _number(raw: dict[str, Any], name: str) -> int:
    value = raw.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MAX_PLAYED_MS:
        raise Refused("invalid_value", f"{name} is a number of milliseconds", param=name)
    return int(value)


def _create_response(raw: dict[str, Any], event_id: str | None, sample_bytes: int) -> CreateResponse:
    response = raw.get("response")
    metadata = response.get("metadata") if isinstance(response, dict) else None
    if metadata is None:
        return CreateResponse({}, event_id)
    fits = (
        isinstance(metadata, dict)
        and len(metadata) <= MAX_METADATA_PAIRS
        and all(isinstance(value, str) for value in metadata.values())
        and all(len(key) <= MAX_METADATA_KEY_CHARS for key in metadata)
        and all(len(value) <= MAX_METADATA_VALUE_CHARS for value in metadata.values())
    )
    if not fits or REQUEST_KEY in metadata:
        raise Refused("invalid_value", "metadata has at most 16 pairs of text", param="response.metadata")
    return CreateResponse(metadata, event_id)


def _introduce(raw: dict[str, Any], event_id: str | None, sample_bytes: int) -> Introduce:
    session = raw.get("session")
    if not isinstance(session, dict):
        raise Refused("invalid_value", "session is an object", param="session")
    audio = _object(session, "audio")
    for side in ("input", "output"):
        chosen = _object(audio, side).get("format")
        if chosen is not None and not _is_our_format(chosen):
            raise Refused(
                "invalid_value", "Audio is audio/pcm at 24000 samples a second", param=f"session.audio.{side}.format"
            )
    heard = _object(audio, "input")
    return Introduce(_modalities(session), _hands_free(heard), event_id, _more_time(heard))


def _object(raw: dict[str, Any], name: str) -> dict[str, Any]:
    value = raw.get(name)
    return value if isinstance(value, dict) else {}


def _is_our_format(chosen: Any) -> bool:
    return isinstance(chosen, dict) and chosen.get("type") == "audio/pcm" and chosen.get("rate", 24000) == 24000


def _modalities(session: dict[str, Any]) -> tuple[str, ...] | None:
    chosen = session.get("output_modalities")
    if chosen is None:
        return None
    if chosen not in (["audio"], ["text"]):
        raise Refused("invalid_value", 'output_modalities is ["audio"] or ["text"]', param="session.output_modalities")
    return tuple(chosen)


def _hands_free(heard: dict[str, Any]) -> bool | None:
    if "turn_detection" not in heard:
        return None
    chosen = heard["turn_detection"]
    if chosen is not None and not isinstance(chosen, dict):
        raise Refused(
            "invalid_value", "turn_detection is an object or null", param="session.audio.input.turn_detection"
        )
    return chosen is not None


def _more_time(heard: dict[str, Any]) -> bool:
    """Whether a turn detection is one that waits long; what else it says is the receptionist's own to decide."""
    chosen = _object(heard, "turn_detection")
    silence_ms = chosen.get("silence_duration_ms")
    patient = isinstance(silence_ms, (int, float)) and silence_ms >= MORE_TIME_MS
    return patient or chosen.get("eagerness") == "low"


def _sound(raw: dict[str, Any], event_id: str | None, sample_bytes: int) -> Sound:
    return Sound({name: _number(raw, name) for name in SOUND_TOTALS}, event_id)


def _confirm(raw: dict[str, Any], event_id: str | None, sample_bytes: int) -> Confirm:
    answer = raw.get("answer")
    if answer not in ("yes", "change"):
        raise Refused("invalid_value", 'answer is "yes" or "change"', param="answer")
    return Confirm(_id(raw, "token", limit=64), answer, event_id)


_PARSERS: dict[str, Any] = {
    "input_audio_buffer.append": _append,
    "input_audio_buffer.commit": lambda raw, event_id, _: Commit(event_id),
    "input_audio_buffer.clear": lambda raw, event_id, _: Clear(event_id),
    "conversation.item.create": _user_text,
    "conversation.item.retrieve": lambda raw, event_id, _: Retrieve(_id(raw, "item_id", limit=64), event_id),
    "conversation.item.truncate": lambda raw, event_id, _: Truncate(
        _id(raw, "item_id", limit=64), _number(raw, "audio_end_ms"), event_id
    ),
    "response.create": _create_response,
    "response.cancel": lambda raw, event_id, _: CancelResponse(
        _id(raw, "response_id", required=False, limit=64), event_id
    ),
    "session.update": _introduce,
    "frontdesk.playback": lambda raw, event_id, _: Playback(
        _id(raw, "item_id", limit=64), _number(raw, "played_ms"), event_id
    ),
    "frontdesk.resume": lambda raw, event_id, _: HasToken(event_id),
    "frontdesk.sound": _sound,
    "frontdesk.confirm": _confirm,
}
