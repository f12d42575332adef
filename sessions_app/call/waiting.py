"""What is said while nobody speaks: that a tool is at work, whether the caller is there, that time runs out. Pure.

Fixed lines, so that they cost nothing and come at once; the model is told of those that it must know.
"""

from __future__ import annotations

from dataclasses import dataclass

from sessions_app.call import ending, turns
from sessions_app.call.state import CallState
from sessions_app.effects import Effect

FILLER_AFTER_MS = 1500  # of waiting for a tool, in silence
FILLER_AGAIN_MS = 8000  # nobody waits ten seconds in silence
IDLE_TYPING_MS = 60_000  # of silence, at least: who types thinks longer
MAX_NUDGES = 2
WARNING_MS = 60_000  # before the longest call ends
LATEST_WARNING_MS = 40_000  # then at the latest, whoever speaks
MIN_CALL_WARNED_MS = 2 * WARNING_MS  # a shorter call needs no warning


@dataclass(frozen=True)
class _Due:
    at: int
    what: str


def speak_up(state: CallState, at: int) -> list[Effect]:
    """Say what is due now."""
    due = _next(state)
    if due is None or due.at > at:
        return []
    if due.what == "idle":
        return _idle(state, at)
    if due.what == "filler":
        state.quiet.filled_at = at
        return turns.say_line(state, "one_moment", at)
    state.quiet.warned = True
    return turns.say_line(state, "last_minute", at, known_to_model=True)


def speaks_up_at(state: CallState) -> int | None:
    """Return when `speak_up` is due at the latest."""
    due = _next(state)
    return due.at if due is not None else None


def _idle(state: CallState, at: int) -> list[Effect]:
    if state.quiet.nudges >= MAX_NUDGES:
        return ending.say_goodbye(state, "idle", at, code=ending.CLOSE_IDLE)
    state.quiet.nudges += 1
    state.stirred(at)
    return turns.say_line(state, "are_you_there", at, known_to_model=True)


def _next(state: CallState) -> _Due | None:
    if not state.link.ready or state.ending or state.life.goodbye_by is not None or state.outbox.paused:
        return None
    dues = [_filler(state), _silence(state), _warning(state)]
    return min((due for due in dues if due is not None), key=lambda due: due.at, default=None)


def _silent_since(state: CallState) -> int | None:
    """Return since when nobody has spoken, or None while somebody does."""
    quiet_at = state.outbox.quiet_at()
    if quiet_at is None or state.responses.active_id is not None:
        return None
    if state.floor.speaking is not None or state.floor.pressed_at is not None:
        return None
    return max(quiet_at, state.quiet.stirred_at)


def _filler(state: CallState) -> _Due | None:
    since = _silent_since(state)
    if since is None or not state.functions.waiting:
        return None
    if state.quiet.filled_at >= state.quiet.stirred_at:  # said once since the tool began
        return _Due(max(since, state.quiet.filled_at) + FILLER_AGAIN_MS, "filler")
    return _Due(since + FILLER_AFTER_MS, "filler")


def _silence(state: CallState) -> _Due | None:
    since = _silent_since(state)
    if since is None or state.functions.waiting or not state.responses.idle:
        return None
    typing = "audio" not in state.floor.modalities
    idle_ms = state.brief.idle_ms
    return _Due(since + (max(IDLE_TYPING_MS, idle_ms) if typing else idle_ms), "idle")


def _warning(state: CallState) -> _Due | None:
    if state.quiet.warned or state.brief.max_call_ms < MIN_CALL_WARNED_MS:
        return None
    busy = state.responses.active_id is not None or state.floor.speaking is not None
    return _Due(state.life.deadline - (LATEST_WARNING_MS if busy else WARNING_MS), "warning")
