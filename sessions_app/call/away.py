"""A caller who is gone and may come back: how long it is waited for, and what it is told when it is there again. Pure.

Only a caller that was told how to come back is waited for: for any other a place and a session would be kept in vain.
While it is away nothing is sent to the model but what tools answer, and what the caller has not heard waits for it.
Source: the project's contract, "A call outlives its socket".
"""

from __future__ import annotations

from typing import Any

from sessions_app.call import ending, upstream
from sessions_app.call.link import LinkState
from sessions_app.call.state import Away, CallState
from sessions_app.call.told import ToldItem
from sessions_app.call.transcript import Entry
from sessions_app.dialect.heard import shown_item
from sessions_app.effects import Effect, TakeBack

# The call waits a little longer than its caller's token is good for: whoever resumes it elsewhere in the last second
# has taken it over before its end would be stored here.
HOLD_MS = ending.RESUME_S * 1000 + 6000
LEAVE_AFTER_MS = 30_000  # the model's session is kept for a line that broke
LEAVE_AFTER_CLOSE_MS = 10_000  # and for a page that was closed: it may be a reload
REPORT_WAIT_MS = 300  # for the page that is back to say how much it had played
MAX_WAITING_BYTES = 4 * 1024 * 1024  # of sound for a caller who is away: 87 s of PCM

CLOSE_ENDED = 1000
CLOSE_GOING_AWAY = 1001
CLOSE_REPLACED = 4409


def caller_left(state: CallState, code: int, at: int) -> list[Effect]:
    """The caller's leg is gone. It ended the call with 1000; after anything else it may come back."""
    if code == CLOSE_ENDED or state.ending or not (state.brief.own_events and state.life.opened):
        return ending.caller_left(state, at, ended=code == CLOSE_ENDED)
    if state.gone:
        return []
    leave_after = LEAVE_AFTER_CLOSE_MS if code == CLOSE_GOING_AWAY else LEAVE_AFTER_MS
    state.away = Away(since=at, leave_at=at + leave_after, until=at + HOLD_MS)
    taken_back = [TakeBack(item_id, heard_ms) for item_id, heard_ms in state.outbox.pause(at).items()]
    return [*state.note_own("caller.lost", at, code=code), *taken_back]


def caller_back(state: CallState, token: str, at: int) -> list[Effect]:
    """The caller's leg is there again: it learns where things stand, and hears on once it has said how far it was."""
    effects: list[Effect] = []
    if not state.gone:  # the line is broken on its side alone, or another window takes over
        effects += caller_left(state, CLOSE_REPLACED, at)
    if state.away is None:  # it is too late: the call is ending
        return effects + ending.opened(state, at)
    effects += state.note_own("caller.back", at, away_ms=at - state.away.since)
    state.away.back_until = at + REPORT_WAIT_MS
    state.stirred(at, caller=True)
    effects += ending.opened(state, at) + _conversation(state, at) + _standing(state, at)
    effects += ending.way_back(state, token, at)
    if state.link.state is LinkState.DOWN and not state.ending:
        effects += upstream.connect(state, at)
    return effects if state.outbox.begun() else effects + go_on(state, at)


def go_on(state: CallState, at: int) -> list[Effect]:
    """Let the caller hear on."""
    effects: list[Effect] = []
    for item_id, played_ms in state.outbox.begun().items():
        effects += state.tell_own({"type": "frontdesk.playback", "item_id": item_id, "played_ms": played_ms}, at)
    state.away = None
    return effects + state.went_out(state.outbox.resume(at), at)


def reported(state: CallState, at: int) -> list[Effect]:
    """The caller has said how much it has played: what a caller who is back was waited for."""
    return go_on(state, at) if state.away is not None and not state.gone else []


def tick(state: CallState, at: int) -> list[Effect]:
    """Do what is due for a caller who is away."""
    away = state.away
    if away is None or state.life.caller_gone:
        return []
    if away.back_until is not None:
        return go_on(state, at) if at >= away.back_until else []
    effects: list[Effect] = []
    if _commits_at(state) is not None and at >= away.leave_at - ending.TRANSCRIPT_GRACE_MS:
        away.committed = True  # cut off in mid-sentence: what was said until then is kept
        effects += state.to_model({"type": "input_audio_buffer.commit"}, at)
    if at >= away.leave_at and state.link.state is not LinkState.DOWN:
        effects += upstream.leave(state, at)
    return effects + (ending.caller_left(state, at, ended=False) if at >= away.until else [])


def bounded(state: CallState, at: int) -> list[Effect]:
    """Stop a reply to a caller who is away when more of it waits than anybody will listen to."""
    response_id = state.responses.active_id
    if not state.gone or response_id is None or response_id in state.responses.stopped:
        return []
    if state.outbox.held_sound_bytes <= MAX_WAITING_BYTES:
        return []
    state.outbox.silence(response_id)
    cancel = {"type": "response.cancel", "response_id": response_id}
    return state.to_model(cancel, at) if state.responses.stop(response_id, at) else []


def due_at(state: CallState) -> int | None:
    """Return when `tick` is due at the latest."""
    away = state.away
    if away is None or state.life.caller_gone:
        return None
    if away.back_until is not None:
        return away.back_until
    leave_at = away.leave_at if state.link.state is not LinkState.DOWN else None
    return min(time for time in (_commits_at(state), leave_at, away.until) if time is not None)


def _commits_at(state: CallState) -> int | None:
    away = state.away
    if away is None or away.committed or state.floor.speaking is None or not state.link.ready:
        return None
    return away.leave_at - ending.TRANSCRIPT_GRACE_MS


# What a caller who is back is told.


def _conversation(state: CallState, at: int) -> list[Effect]:
    """Tell what was said so far, each item as far as it had got; a page that still has it knows it by its id."""
    effects: list[Effect] = []
    cards = list(state.told.cards)
    for entry in state.transcript.entries():
        told = state.told.items.get(entry.fact.item_id)
        while cards and cards[0][0] < entry.fact.position:
            effects += state.tell_own(cards.pop(0)[1], at)
        if entry.fact.speaker == "caller":
            effects += _caller_item(state, entry, at)
        elif told is not None:
            effects += _agent_item(state, entry, told, at)
    for _, card in cards:
        effects += state.tell_own(card, at)
    return effects


def _caller_item(state: CallState, entry: Entry, at: int) -> list[Effect]:
    effects = _item(state, entry, entry.fact.text, at, done=True)
    if entry.fact.source != "speech":
        return effects
    kind = "conversation.item.input_audio_transcription"
    ids = {"item_id": entry.fact.item_id, "content_index": 0}
    if entry.fact.transcript_state == "done":
        effects += state.tell({"type": f"{kind}.completed", **ids, "transcript": entry.fact.text}, at)
    elif entry.fact.transcript_state == "failed":
        failure = {"type": "transcription_error", "code": "audio_unintelligible", "message": "It was not understood"}
        effects += state.tell({"type": f"{kind}.failed", **ids, "error": failure}, at)
    return effects


def _agent_item(state: CallState, entry: Entry, told: ToldItem, at: int) -> list[Effect]:
    """Tell a reply: as far as it was heard when it was cut, as far as its words went out while it goes on."""
    fact = entry.fact
    whole = fact.text if fact.heard_chars is None else fact.text[: fact.heard_chars]
    return _item(state, entry, whole if told.done else told.text, at, done=told.done)


def _item(state: CallState, entry: Entry, words: str, at: int, *, done: bool) -> list[Effect]:
    body = entry.current()
    [part] = body.content
    name = "transcript" if part.type.endswith("audio") else "text"
    changes = {"content": [part.model_copy(update={name: words or None})]}
    shown = shown_item(body.model_copy(update={**changes, "status": "completed" if done else "in_progress"}))
    about = {"item": shown, "previous_item_id": entry.previous}
    effects = state.tell({"type": "conversation.item.added", **about}, at)
    return effects + (state.tell({"type": "conversation.item.done", **about}, at) if done else [])


def _standing(state: CallState, at: int) -> list[Effect]:
    """Tell what is open: replies under way, a tool at work, an emergency, a question that waits for a yes."""
    effects: list[Effect] = []
    for response_id in list(state.told.responses):
        effects += state.tell({"type": "response.created", "response": _under_way(state, response_id)}, at)
    for call_id in state.functions.waiting:
        label = state.brief.tools[state.functions.calls[call_id].name].working
        effects += state.tell_own({"type": "frontdesk.tool", "status": "working", "label": label}, at)
    for rule in state.brief.rules:
        if rule.index == state.floor.alarm:
            number = state.brief.emergency_number if rule.shows_emergency_number else ""
            effects += state.tell_own({"type": "frontdesk.emergency", "line": rule.line, "number": number}, at)
    pending = state.confirmation.pending
    if pending is not None and pending.verdict is None:
        effects += state.tell_own(pending.as_shown(), at)
    return effects


def _under_way(state: CallState, response_id: str) -> dict[str, Any]:
    return {
        "object": "realtime.response",
        "id": response_id,
        "status": "in_progress",
        "status_details": None,
        "output": [],
        "output_modalities": list(state.floor.modalities),
        "metadata": None,
    }
