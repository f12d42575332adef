"""How a call becomes ready, and how it ends: each way with its reason, its last words and its last fact. Pure."""

from __future__ import annotations

from typing import Any

from sessions_app.call import items, listening, tool_side, turns
from sessions_app.call.responses import Purpose
from sessions_app.call.state import CallState
from sessions_app.dialect.heard import shown_session
from sessions_app.effects import CallEnded, Effect, HangUp, LeaveTask, Record

MAX_FAREWELL_MS = 15_000  # for last words to be heard
GOODBYE_WAIT_MS = 5000  # for the model to have said them
FAREWELL_BEFORE_MS = 10_000  # the longest call ends: its goodbye begins this long before, or after nine tenths of it
TRANSCRIPT_GRACE_MS = 3000  # for the words of a caller who has left, and for what a reply has cost
MAX_FAILED_RESPONSES = 3  # one after the other: the third ends the call

RESUME_S = 60  # for a caller who is gone to come back

CLOSE_ENDED = 1000
CLOSE_INTERNAL = 1011
CLOSE_RESTART = 1012
STOP_CODES = {"internal": CLOSE_INTERNAL, "interrupted": CLOSE_RESTART, "stopped": CLOSE_ENDED}
CLOSE_IDLE = 4408
CLOSE_TOO_FAST = 4429
CLOSE_BUDGET = 4430
CLOSE_UPSTREAM_GONE = 4500


def session_in_force(state: CallState) -> dict[str, Any]:
    """Return the session as it is now: the version's, with what the caller has asked for."""
    audio = state.brief.session["audio"]
    heard = {**audio["input"], "turn_detection": listening.turn_detection(state)}
    if state.link.plain and heard.get("transcription"):
        heard["transcription"] = {**heard["transcription"]}
        heard["transcription"].pop("keywords", None)
    return {
        **state.brief.session,
        "output_modalities": list(state.floor.modalities),
        "audio": {**audio, "input": heard},
    }


def session_shown(state: CallState, kind: str, at: int) -> list[Effect]:
    """Tell the caller the session as it is in force, without what only staff may see."""
    shown = shown_session(
        session_in_force(state),
        model=state.brief.public_name,
        session_id=f"sess_{state.brief.call_id.replace('-', '')[:24]}",
        expires_at=state.brief.expires_at,
    )
    return state.tell({"type": kind, "session": shown}, at)


def opened(state: CallState, at: int) -> list[Effect]:
    """The caller's leg is there: it learns what it may know."""
    about = {
        "type": "frontdesk.call",
        "reference": state.brief.reference,
        "recording": state.brief.recording,
        "demo_voice": state.brief.demo_voice,
        "max_call_s": state.brief.max_call_ms // 1000,
        "elapsed_s": at // 1000,
    }
    return [*session_shown(state, "session.created", at), *state.tell_own(about, at)]


def way_back(state: CallState, token: str, at: int) -> list[Effect]:
    """Tell the caller how to come back when its line is lost. It comes last: from here on the caller is up to date."""
    if not token or not state.brief.own_events:
        return []
    return state.tell_own({"type": "frontdesk.resume", "token": token, "valid_s": RESUME_S}, at)


def hang_up_after(
    state: CallState, reason: str, at: int, *, code: int = CLOSE_ENDED, error_code: str = ""
) -> list[Effect]:
    """Begin to end: nothing new is begun, what is being said is heard to its end, then both legs close."""
    if state.ending:
        return []
    state.life.reason, state.life.code, state.life.error_code = reason, code, error_code
    state.life.hang_up_at = at + MAX_FAREWELL_MS
    state.responses.drop()
    return state.enter("ending", at)


def fail(state: CallState, reason: str, error_code: str, at: int) -> list[Effect]:
    """The call cannot go on: an error in plain words, the apology from its clip, then the end."""
    if state.ending:
        return []
    effects = hang_up_after(state, reason, at, code=CLOSE_UPSTREAM_GONE, error_code=error_code)
    effects += turns.interrupt(state, at) + items.take_up_early(state, at)
    effects += state.tell_error("upstream_failed", state.brief.lines.apology, at)
    if state.transcript.newest_caller_item is not None:  # somebody wanted something
        effects.append(LeaveTask("The voice service failed during this call. Please call back."))
    return effects + turns.say_line(state, "apology", at)


def caller_left(state: CallState, at: int, *, ended: bool) -> list[Effect]:
    """The caller's leg is gone. Words that are being transcribed and the end of a reply are waited for, no longer."""
    state.life.caller_gone = True
    effects = turns.stop_reply(state, at) + turns.settle_cuts(state, at, now=True)
    by = at + TRANSCRIPT_GRACE_MS
    state.life.hang_up_at = min(by, state.life.hang_up_at or by)
    if state.ending:
        return effects
    state.responses.drop()
    if state.floor.speaking is not None:  # cut off in mid-sentence: what was said until now is kept
        effects += state.to_model({"type": "input_audio_buffer.commit"}, at)
    state.life.reason = "emergency" if state.floor.alarm is not None else "caller" if ended else "abandoned"
    return [*effects, *state.enter("ending", at)]


def after_goodbye(state: CallState, at: int) -> list[Effect]:
    """The model has said goodbye: it is heard to its end, and then the call is over."""
    reason, code = ("budget", CLOSE_BUDGET) if state.budget.message_only else ("goodbye", CLOSE_ENDED)
    if state.life.goodbye_by is not None:
        reason, code = state.life.reason, state.life.code
    return hang_up_after(state, reason, at, code=code)


def say_goodbye(state: CallState, reason: str, at: int, *, code: int = CLOSE_ENDED) -> list[Effect]:
    """End with the goodbye, spoken by its clip, else by the model. A model that does not say it is not waited for."""
    effects = turns.stop_reply(state, at)
    spoken = turns.has_sound(state, "goodbye") or "audio" not in state.floor.modalities
    if spoken or state.life.goodbye_by is not None or not state.link.ready:
        effects += hang_up_after(state, reason, at, code=code)
        return effects + turns.say_line(state, "goodbye", at)
    state.responses.drop()
    state.life.goodbye_by, state.life.reason, state.life.code = at + GOODBYE_WAIT_MS, reason, code
    return effects + state.say_exactly(Purpose.GOODBYE, state.brief.lines.goodbye, at)


def farewell_at(state: CallState) -> int:
    """Return when the goodbye of the longest call begins."""
    return state.life.deadline - min(FAREWELL_BEFORE_MS, state.brief.max_call_ms // 10)


def by_the_clock(state: CallState, at: int) -> list[Effect]:
    """Say the goodbye of the longest call in time, and end at its limit whatever is being said."""
    life = state.life
    if life.goodbye_by is not None and at >= life.goodbye_by and not state.ending:
        return say_goodbye(state, life.reason, at, code=life.code)
    if at >= life.deadline and life.state != "ended":
        life.reason = life.reason or "time_limit"
        return close(state, at)
    if at >= farewell_at(state) and not state.ending and life.goodbye_by is None:
        return say_goodbye(state, "time_limit", at)
    return []


def finished(state: CallState, at: int) -> list[Effect]:
    """Close when the last words have been heard, or have had their time."""
    if state.life.state != "ending" or state.life.hang_up_at is None:
        return []
    quiet_at = state.outbox.quiet_at()
    if state.life.caller_gone:
        speaking = state.floor.speaking is not None or state.responses.active_id is not None
        settled = not (speaking or state.transcript.pending() or state.functions.waiting)
    else:
        settled = _only_listening(state) and quiet_at is not None and quiet_at <= at
    return close(state, at) if settled or at >= state.life.hang_up_at else []


def _only_listening(state: CallState) -> bool:
    """Whether an ending call waits for nothing but its last words to be heard."""
    if state.life.state != "ending":
        return False
    busy = state.responses.active_id is not None or state.functions.waiting or state.life.caller_gone
    speaking = state.floor.speaking is not None or state.transcript.pending()
    return not busy and not speaking


def close(state: CallState, at: int) -> list[Effect]:
    """End now. What was said is kept as far as it is known, and words that never came are marked as such."""
    if state.life.state == "ended":
        return []
    effects = items.take_up_early(state, at) + items.take_up_begun(state, at)
    effects += turns.interrupt(state, at)
    for entry in state.transcript.entries():
        if entry.fact.speaker == "agent" and entry.growing and not entry.done:
            effects += items.broke_off(state, entry, at)
    effects += turns.settle_cuts(state, at, now=True)
    for item_id in state.transcript.pending():
        effects += state.save(*state.transcript.fail(item_id))
    ended = {"type": "frontdesk.ended", "reason": state.life.reason, "reference": state.brief.reference}
    effects += state.tell_own(ended, at)
    effects += state.enter("ended", at)
    fact = CallEnded(
        at_ms=at,
        reason=state.life.reason,
        error_code=state.life.error_code,
        outcome=outcome(state),
        usage=state.tally.usage,
        counters={**state.tally.counters, **state.arrivals.counters()},
    )
    return [*effects, Record(fact), HangUp(state.life.code, state.life.reason, state.life.error_code)]


BY_WEIGHT = ("booked", "rescheduled", "cancelled", "message")  # of several, the first is what the call came to


def outcome(state: CallState) -> str:
    """Return what the call came to, by rule from what its tools did."""
    if state.floor.alarm is not None:
        return "emergency"
    for name in BY_WEIGHT:
        if name in state.functions.outcomes:
            return name
    if state.life.reason in ("upstream", "refused", "internal", "interrupted", "bad_message"):
        return "failed"
    return "answered" if state.transcript.newest_caller_item is not None else "abandoned"


def next_tick(state: CallState) -> int | None:
    """Return when `tick` should be called at the latest, or None when nothing is timed."""
    held = state.functions.held
    times: list[int | None] = [
        state.outbox.next_due(),
        state.life.deadline if state.life.state != "ended" else None,
        *([] if state.ending else [state.life.goodbye_by or farewell_at(state)]),
        state.life.retry_at,
        state.budget.ends_at if not state.ending and state.life.goodbye_by is None else None,
        state.life.hang_up_at if state.life.state == "ending" else None,
        tool_side.recap_ends_at(state),
        held.until if held is not None else None,
        *(cut.until for cut in state.floor.cuts),
    ]
    if _only_listening(state):
        times.append(state.outbox.quiet_at())
    return min((time for time in times if time is not None), default=None)
