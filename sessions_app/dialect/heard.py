"""What a caller may hear: built from named fields alone, so that nothing passes unseen.

Pure. No instruction, tool, function call, argument, result, usage or provider's error text is among the fields.
"""

from __future__ import annotations

import json
from json.encoder import encode_basestring as _quoted
from typing import Any

from sessions_app import events
from sessions_app.dialect.said import REQUEST_KEY
from sessions_app.events import encode_audio

_AUDIO_DELTA_FIELDS = 7  # with the type and the event's own id

# What is copied of an event must be one of these: a word that nobody has listed may be anybody's.
_ITEM_STATUSES = ("completed", "incomplete", "in_progress")
_RESPONSE_STATUSES = ("completed", "cancelled", "failed", "incomplete", "in_progress")
_OUR_FAULTS = ("server_error", "upstream_failed", "restarting")
_REASONS = ("turn_detected", "client_cancelled", "max_output_tokens", "content_filter")


def error(
    code: str,
    message: str,
    *,
    param: str | None = None,
    event_id: str | None = None,
    retry_after_ms: int | None = None,
) -> dict[str, Any]:
    """Return an `error` event in plain words. `event_id` is the caller's own."""
    kind = "server_error" if code in _OUR_FAULTS else "invalid_request_error"
    body = {"type": kind, "code": code, "message": message, "param": param, "event_id": event_id}
    return {"type": "error", "error": body if retry_after_ms is None else {**body, "retry_after_ms": retry_after_ms}}


def shown_session(
    session: dict[str, Any], *, model: str, session_id: str, expires_at: int | None = None
) -> dict[str, Any]:
    """Return the session as a caller may see it: how it sounds and takes turns; no instruction, no tool."""
    heard, spoken = session["audio"]["input"], session["audio"]["output"]
    return {
        "type": "realtime",
        "object": "realtime.session",
        "id": session_id,
        "model": model,
        "expires_at": expires_at or 0,
        "output_modalities": list(session["output_modalities"]),
        "audio": {
            "input": {"format": heard["format"], "turn_detection": heard["turn_detection"]},
            "output": {"format": spoken["format"], "voice": spoken["voice"], "speed": spoken.get("speed", 1.0)},
        },
    }


def shown_item(item: events.ItemBody) -> dict[str, Any] | None:
    """Return a message as a caller may see it, or None for an item that is not for callers."""
    if item.type != "message" or item.role not in ("user", "assistant"):
        return None
    content = [_shown_part(part, item.role) for part in item.content]
    return {
        "id": item.id,
        "type": "message",
        "role": item.role,
        "status": item.status if item.status in _ITEM_STATUSES else "completed",
        "content": [part for part in content if part is not None],
    }


def _shown_part(part: events.Part, role: str) -> dict[str, Any] | None:
    if role == "user":
        if part.type == "input_audio":
            return {"type": "input_audio", "transcript": part.transcript}
        return {"type": "input_text", "text": part.text or ""} if part.type == "input_text" else None
    if part.type in ("output_audio", "audio"):
        return {"type": "output_audio", "transcript": part.transcript or ""}
    return {"type": "output_text", "text": part.text or ""} if part.type in ("output_text", "text") else None


def shown_response(response: events.ResponseBody) -> dict[str, Any]:
    """Return a response without what only staff may see: function calls, usage, our own metadata, error texts."""
    items = [shown for shown in map(shown_item, response.output) if shown is not None]
    metadata = {key: value for key, value in (response.metadata or {}).items() if key != REQUEST_KEY}
    details = response.status_details
    shown: dict[str, Any] = {
        "object": "realtime.response",
        "id": response.id,
        "status": response.status if response.status in _RESPONSE_STATUSES else "in_progress",
        "status_details": None,
        "output": items,
        "output_modalities": [mode for mode in response.output_modalities if mode in ("audio", "text")],
        "metadata": metadata or None,
    }
    if details is not None and details.type in ("cancelled", "incomplete", "failed"):
        shown["status_details"] = {"type": details.type}
        if details.reason in _REASONS:
            shown["status_details"]["reason"] = details.reason
    return shown


def as_heard(event: events.ServerEvent) -> dict[str, Any] | None:
    """Return the event as the caller may hear it, or None. `event_id` and `previous_item_id` are added by the call."""
    build = _HEARD.get(type(event))
    shown: dict[str, Any] | None = build(event) if build is not None else None
    return {"type": event.type, **shown} if shown is not None else None


def sound(event: events.AudioDelta, *, event_id: str) -> dict[str, Any]:
    """Return a piece of sound as the caller may hear it, under an id of our own."""
    return {
        "type": event.type,
        "event_id": event_id,
        "response_id": event.response_id,
        "item_id": event.item_id,
        "output_index": event.output_index,
        "content_index": event.content_index,
        "delta": event.encoded or encode_audio(event.delta),
    }


def spelled(event: dict[str, Any]) -> str:
    """Return the event as JSON. Sound is base64, which holds nothing to escape: it is not searched for that."""
    if event["type"] != events.AudioDelta.type or len(event) != _AUDIO_DELTA_FIELDS:
        return json.dumps(event, ensure_ascii=False)
    return (
        f'{{"type":"response.output_audio.delta","event_id":{_quoted(event["event_id"])},'
        f'"response_id":{_quoted(event["response_id"])},"item_id":{_quoted(event["item_id"])},'
        f'"output_index":{event["output_index"]:d},"content_index":{event["content_index"]:d},"delta":"{event["delta"]}"}}'
    )


def _output(event: events.OutputEvent, **fields: Any) -> dict[str, Any]:
    return {
        "response_id": event.response_id,
        "item_id": event.item_id,
        "output_index": event.output_index,
        "content_index": event.content_index,
        **fields,
    }


def _output_item(event: events.OutputItemAdded | events.OutputItemDone) -> dict[str, Any] | None:
    item = shown_item(event.item)
    if item is None:
        return None
    return {"response_id": event.response_id, "output_index": event.output_index, "item": item}


def _part(event: events.ContentPartAdded | events.ContentPartDone) -> dict[str, Any]:
    part = event.part
    if part.type in ("audio", "output_audio"):
        return _output(event, part={"type": "audio", "transcript": part.transcript or ""})
    return _output(event, part={"type": "text", "text": part.text or ""})


def _item(event: events.ItemAdded | events.ItemDone) -> dict[str, Any] | None:
    item = shown_item(event.item)
    return None if item is None else {"item": item}


_HEARD: dict[type[events.ServerEvent], Any] = {
    events.SpeechStarted: lambda e: {"item_id": e.item_id, "audio_start_ms": e.audio_start_ms},
    events.SpeechStopped: lambda e: {"item_id": e.item_id, "audio_end_ms": e.audio_end_ms},
    events.Committed: lambda e: {"item_id": e.item_id},
    events.Cleared: lambda e: {},
    events.ItemAdded: _item,
    events.ItemDone: _item,
    events.TranscriptionDelta: lambda e: {"item_id": e.item_id, "content_index": 0, "delta": e.delta},
    events.TranscriptionCompleted: lambda e: {
        "item_id": e.item_id,
        "content_index": 0,
        "transcript": e.transcript,
        "usage": {"type": "duration", "seconds": 0},
    },
    events.TranscriptionFailed: lambda e: {
        "item_id": e.item_id,
        "content_index": 0,
        "error": {"type": "transcription_error", "code": "audio_unintelligible", "message": "It was not understood"},
    },
    events.ResponseCreated: lambda e: {"response": shown_response(e.response)},
    events.ResponseDone: lambda e: {"response": shown_response(e.response)},
    events.OutputItemAdded: _output_item,
    events.OutputItemDone: _output_item,
    events.ContentPartAdded: _part,
    events.ContentPartDone: _part,
    events.TextDelta: lambda e: _output(e, delta=e.delta),
    events.TextDone: lambda e: _output(e, text=e.text),
    events.TranscriptDelta: lambda e: _output(e, delta=e.delta),
    events.TranscriptDone: lambda e: _output(e, transcript=e.transcript),
    events.AudioDone: _output,
}
