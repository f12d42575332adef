"""A caller who speaks on and on: what was said is committed in parts, and answered once, at the end. Pure.

The service commits at a pause alone, so that two minutes without one would be lost with the connection. It keeps
listening across a commit of ours, and begins no response for it. Source: Realtime API reference, server events.
"""

from __future__ import annotations

from sessions_app.call.listening import commit_now
from sessions_app.call.responses import Purpose
from sessions_app.call.state import CallState, Monologue
from sessions_app.effects import Effect

MAX_PART_MS = 30_000
JUST_NOW_MS = 1000


def began(state: CallState, at: int) -> None:
    """The caller begins to speak, or holds the button."""
    state.monologue.since = at


def due_at(state: CallState) -> int | None:
    """Return when the next part is to be committed, or None while nobody speaks."""
    speaking = state.floor.speaking is not None or state.floor.pressed_at is not None
    since = state.monologue.since
    if not speaking or since is None or _asked(state) or not state.link.ready or state.ending:
        return None
    return since + MAX_PART_MS


def tick(state: CallState, at: int) -> list[Effect]:
    """Commit a part that is long enough."""
    due = due_at(state)
    if due is None or due > at:
        return []
    state.monologue.asked_in = state.link.sessions
    return [*state.note_own("monologue.part", at), *commit_now(state, at)]


def is_part(state: CallState, item_id: str, at: int) -> bool:
    """Whether an item that was committed is a part of ours, after which the caller speaks on."""
    if not _asked(state) or state.monologue.stopped is not None:
        return False
    state.monologue = Monologue(since=at, parts=state.monologue.parts | {item_id})
    return True


def stopped(state: CallState, item_id: str) -> None:
    """The service has heard the end of what was said; a commit of ours that was on its way comes too late."""
    state.monologue.since, state.monologue.stopped = None, item_id if _asked(state) else None


def is_leftover(state: CallState, item_id: str) -> bool:
    """Whether an item is what a late commit of ours found: no turn, and nothing that is answered."""
    if not _asked(state) or item_id == state.monologue.stopped:
        return False
    state.monologue.asked_in = state.monologue.stopped = None
    return True


def refused(state: CallState, at: int, *, empty: bool) -> list[Effect]:
    """Our commit was refused. When it was `empty`, the caller had just been heard, or has stopped and nobody told."""
    since = state.monologue.since
    state.monologue.asked_in = state.monologue.stopped = None
    # Whoever began after we had asked has only just begun; with push-to-talk there is no end to be told.
    stopped = not state.floor.hands_free or (since is not None and at - since >= MAX_PART_MS)
    if empty and stopped and state.floor.speaking is not None:
        return _fell_silent(state, at)
    state.monologue.since = at
    return []


def just_parted(state: CallState, at: int) -> bool:
    """Whether a part was committed a moment ago, so that nothing may be left to commit."""
    since = state.monologue.since
    return bool(state.monologue.parts) and since is not None and at - since < JUST_NOW_MS


def silent_part(state: CallState, item_id: str, at: int) -> list[Effect]:
    """A part has no words: the caller stopped before it."""
    if item_id not in state.monologue.parts or not state.floor.hands_free or state.floor.speaking is None:
        return []
    return _fell_silent(state, at)


def _fell_silent(state: CallState, at: int) -> list[Effect]:
    """The caller stopped, and nobody told: what it said until then is answered now."""
    state.floor.speaking = state.monologue.since = None
    return [*state.ask(Purpose.ANSWER, at), *state.send(state.responses.release(), at)]


def _asked(state: CallState) -> bool:
    """Whether a part was committed in this very session, which the service has not told of yet."""
    return state.monologue.asked_in is not None and state.monologue.asked_in == state.link.sessions
