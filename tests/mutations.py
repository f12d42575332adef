"""The client events of the Realtime API and every way to bend one: for the parser's tests and for a server's."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from sessions_app.dialect import said
from sessions_app.dialect.said import CallerEvent

Json = dict[str, Any]

PCM = bytes(range(64)) * 2
AUDIO = base64.b64encode(PCM).decode()
MESSAGE = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}

# Each of the eleven client events of the Realtime API, as a client of good will sends it, and ours.
ALLOWED: dict[str, tuple[Json, CallerEvent]] = {
    "input_audio_buffer.append": ({"audio": AUDIO}, said.Append(PCM, "evt")),
    "input_audio_buffer.commit": ({}, said.Commit("evt")),
    "input_audio_buffer.clear": ({}, said.Clear("evt")),
    "conversation.item.create": ({"item": {"id": "item_1", **MESSAGE}}, said.UserText("Hello", "item_1", "evt")),
    "conversation.item.retrieve": ({"item_id": "item_1"}, said.Retrieve("item_1", "evt")),
    "conversation.item.truncate": (
        {"item_id": "item_1", "content_index": 0, "audio_end_ms": 1500},
        said.Truncate("item_1", 1500, "evt"),
    ),
    "response.create": ({"response": {"metadata": {"topic": "a"}}}, said.CreateResponse({"topic": "a"}, "evt")),
    "response.cancel": ({"response_id": "resp_1"}, said.CancelResponse("resp_1", "evt")),
    "session.update": (
        {"session": {"type": "realtime", "output_modalities": ["text"], "audio": {"input": {"turn_detection": None}}}},
        said.Introduce(("text",), False, "evt"),
    ),
    "frontdesk.playback": ({"item_id": "item_1", "played_ms": 20}, said.Playback("item_1", 20, "evt")),
    "frontdesk.confirm": ({"token": "confirm_1", "answer": "yes"}, said.Confirm("confirm_1", "yes", "evt")),
}
FORBIDDEN: dict[str, Json] = {
    "conversation.item.delete": {"item_id": "item_1"},
    "output_audio_buffer.clear": {},
    "transcription_session.update": {"session": {}},
    "mcp_approval_response": {"approve": True},
    "session.close": {},
}


def event_of(kind: str) -> Json:
    fields = ALLOWED[kind][0] if kind in ALLOWED else FORBIDDEN[kind]
    return {"type": kind, "event_id": "evt", **fields}


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def with_type(change: Callable[[str], Any]) -> Callable[[Json], str]:
    return lambda event: json.dumps({**event, "type": change(event["type"])})


def text_of(event: Json) -> str:
    return json.dumps(event)


# name of the mutation -> how the event's text becomes, and the one code that it is refused with
REFUSED_AS: dict[str, tuple[Callable[[Json], str], str]] = {
    "type in capitals": (with_type(str.upper), "event_not_allowed"),
    "type with a capital": (with_type(str.title), "event_not_allowed"),
    "type with a Cyrillic letter": (with_type(lambda kind: kind.replace("e", "е")), "event_not_allowed"),  # noqa: RUF001 - the look-alike
    "type in full width": (
        with_type(lambda kind: "".join(chr(ord(c) + 0xFEE0) for c in kind)),
        "event_not_allowed",
    ),
    "type with a combining mark": (with_type(lambda kind: kind + "\u0301"), "event_not_allowed"),
    "type with a zero-width space": (with_type(lambda kind: kind[:3] + "\u200b" + kind[3:]), "event_not_allowed"),
    "type between blanks": (with_type(lambda kind: f" {kind} "), "event_not_allowed"),
    "type with a line feed": (with_type(lambda kind: kind + "\n"), "event_not_allowed"),
    "type with a NUL": (with_type(lambda kind: kind + "\x00"), "event_not_allowed"),
    "type in a list": (with_type(lambda kind: [kind]), "event_not_allowed"),
    "type in an object": (with_type(lambda kind: {"type": kind}), "event_not_allowed"),
    "type a number": (with_type(lambda kind: 11), "event_not_allowed"),
    "type null": (with_type(lambda kind: None), "event_not_allowed"),
    "type true": (with_type(lambda kind: True), "event_not_allowed"),
    "type empty": (with_type(lambda kind: ""), "event_not_allowed"),
    "type with a hyphen": (with_type(lambda kind: kind.replace(".", "-")), "event_not_allowed"),
    "no type": (lambda e: json.dumps({k: v for k, v in e.items() if k != "type"}), "event_not_allowed"),
    "type under another name": (lambda e: json.dumps({"event": e["type"], "event_id": "evt"}), "event_not_allowed"),
    "type Capitalised as a key": (lambda e: text_of(e).replace('"type"', '"Type"', 1), "event_not_allowed"),
    "wrapped in an object": (lambda e: json.dumps({"event": e}), "event_not_allowed"),
    "wrapped in a list": (lambda e: json.dumps([e]), "invalid_json"),
    "two in a list": (lambda e: json.dumps([e, e]), "invalid_json"),
    "one after the other": (lambda e: text_of(e) + text_of(e), "invalid_json"),
    "one on each line": (lambda e: text_of(e) + "\n" + text_of(e), "invalid_json"),
    "as JSON in a string": (lambda e: json.dumps(text_of(e)), "invalid_json"),
    "type twice": (lambda e: '{"type": "session.update",' + text_of(e)[1:], "invalid_json"),
    "type twice, once escaped": (lambda e: '{"t\\u0079pe": "x",' + text_of(e)[1:], "invalid_json"),
    "a key twice": (lambda e: text_of(e)[:-1] + ', "event_id": "evt"}', "invalid_json"),
    "a key twice, deep inside": (lambda e: text_of(e)[:-1] + ', "x": [{"y": {"a": 1, "a": 1}}]}', "invalid_json"),
    "with a byte order mark": (lambda e: "\ufeff" + text_of(e), "invalid_json"),
    "with NaN": (lambda e: text_of(e)[:-1] + ', "x": NaN}', "invalid_json"),
    "with Infinity": (lambda e: text_of(e)[:-1] + ', "x": -Infinity}', "invalid_json"),
    "with a number of 5,000 digits": (lambda e: text_of(e)[:-1] + f', "x": {"9" * 5000}}}', "invalid_json"),
    "with half a surrogate pair": (lambda e: text_of(e)[:-1] + ', "x": "\\ud800"}', "invalid_json"),
    "with half a pair for a key": (lambda e: text_of(e)[:-1] + ', "\\udfff": 1}', "invalid_json"),
    "in single quotes": (lambda e: text_of(e).replace('"', "'"), "invalid_json"),
    "with a comment": (lambda e: text_of(e) + "// hello", "invalid_json"),
    "with a trailing comma": (lambda e: text_of(e)[:-1] + ",}", "invalid_json"),
    "cut short": (lambda e: text_of(e)[:-1], "invalid_json"),
    "with a control character": (lambda e: text_of(e)[:-1] + ', "x": "\n"}', "invalid_json"),
    "13 deep": (lambda e: json.dumps({**e, "x": nested(11)}), "invalid_json"),
    "30,000 deep": (lambda e: "[" * 30_000 + "]" * 30_000, "invalid_json"),
    "of 70 KiB": (lambda e: json.dumps({**e, "x": "a" * 70 * 1024}), "message_too_large"),
    "of 70 KiB in few characters": (
        lambda e: json.dumps({**e, "x": "語" * 24 * 1024}, ensure_ascii=False),
        "message_too_large",
    ),
    "event_id a number": (lambda e: json.dumps({**e, "event_id": 7}), "invalid_value"),
    "event_id an object": (lambda e: json.dumps({**e, "event_id": {"a": 1}}), "invalid_value"),
    "event_id of 513 characters": (lambda e: json.dumps({**e, "event_id": "e" * 513}), "invalid_value"),
}

SAME: dict[str, Callable[[Json], str]] = {
    "as it is": text_of,
    "with blanks around": lambda e: f" \t\r\n{json.dumps(e, indent=2)}\n ",
    "with its keys turned round": lambda e: json.dumps(dict(reversed(e.items()))),
    "with everything escaped": lambda e: (
        "".join(f"\\u{ord(c):04x}" if c.isalpha() else c for c in json.dumps({"type": e["type"]}))[:-1]
        + ", "
        + text_of({k: v for k, v in e.items() if k != "type"})[1:]
    ),
    "with fields of other events": lambda e: json.dumps(
        {"instructions": "Obey", "tools": [{"type": "function"}], "previous_item_id": "root", "item_ID": "x", **e}
    ),
    "with an own error": lambda e: json.dumps({**e, "error": {"code": "x"}, "__proto__": {"admin": True}}),
    "12 deep": lambda e: json.dumps({**e, "x": nested(10)}),
}
