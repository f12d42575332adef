"""How the caller's turns are told apart: by the service, with more time where the caller asks, or by hand. Pure."""

from __future__ import annotations

from typing import Any

from sessions_app.call.state import CallState
from sessions_app.effects import Effect

PATIENT_SILENCE_MS = 1200  # as the preset for slow speakers has it
PATIENT_EAGERNESS = "low"  # waits 8 s at most for a sentence that sounds unfinished


def turn_detection(state: CallState) -> dict[str, Any] | None:
    """Return the detection in force: the version's own, or that with more time, or None for push-to-talk."""
    own: dict[str, Any] | None = state.brief.session["audio"]["input"]["turn_detection"]
    if own is None or not state.floor.hands_free:
        return None
    if not state.floor.more_time:
        return own
    if own["type"] == "semantic_vad":
        return {**own, "eagerness": PATIENT_EAGERNESS}
    return {**own, "silence_duration_ms": max(PATIENT_SILENCE_MS, own.get("silence_duration_ms", 0))}


def commit_now(state: CallState, at: int) -> list[Effect]:
    """Make an item of the sound so far. That there was none is no fault of the caller's, who did not ask."""
    event = {"type": "input_audio_buffer.commit", "event_id": state.tally.new_id("client")}
    state.floor.own_commit = event["event_id"]
    return state.to_model(event, at)
