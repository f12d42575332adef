"""What the service hears of the caller: where its turns begin and end, and their words. Pure."""

from __future__ import annotations

from sessions_app import events
from sessions_app.call import chatter, monologue, tool_side, turns
from sessions_app.call.state import CallState
from sessions_app.dialect.heard import as_heard
from sessions_app.effects import Effect


def pass_on(state: CallState, event: events.ServerEvent, at: int, *, in_order: bool = False) -> list[Effect]:
    shown = as_heard(event)
    return state.tell(shown, at, in_order=in_order) if shown is not None else []


def speech_started(state: CallState, event: events.SpeechStarted, at: int) -> list[Effect]:
    state.floor.speaking = event.item_id
    state.link.owed_since = None  # what was owed is answered together with this
    state.stirred(at, caller=True)
    state.responses.hold()
    began = state.sound.at(event.audio_start_ms, at)
    monologue.began(state, at)
    state.transcript.speech_began(event.item_id, began)
    tool_side.recap_heard(state, at)
    # The event comes late, and the start that it names lies before the voice by the padding.
    state.confirmation.caller_began(event.item_id, min(at, began + state.brief.prefix_padding_ms))
    if state.responses.active_id is not None:  # the service cancels it, and what still comes of it is late
        state.outbox.silence(state.responses.active_id)
    return pass_on(state, event, at) + turns.interrupt(state, at)


def speech_stopped(state: CallState, event: events.SpeechStopped, at: int) -> list[Effect]:
    state.floor.speaking = None
    state.floor.turn_ended_at = at
    state.stirred(at, caller=True)
    since = state.monologue.since
    if since is not None and state.transcript.began_at(event.item_id) is None:  # the last part of a monologue
        state.transcript.speech_began(event.item_id, since)
        state.confirmation.caller_began(event.item_id, since)
    monologue.stopped(state, event.item_id)
    state.transcript.speech_ended(event.item_id, state.sound.at(event.audio_end_ms, at))
    return pass_on(state, event, at)


def committed(state: CallState, event: events.Committed, at: int) -> list[Effect]:
    since = state.monologue.since
    if monologue.is_part(state, event.item_id, at):
        return pass_on(state, event, at) + _part(state, event.item_id, at, since=at if since is None else since)
    pressed_at, state.floor.pressed_at = state.floor.pressed_at, None
    if monologue.is_leftover(state, event.item_id):
        return pass_on(state, event, at)
    state.floor.speaking, state.floor.turn_ended_at = None, at
    state.stirred(at, caller=True)
    state.functions.new_turn()
    if not state.floor.hands_free and state.transcript.began_at(event.item_id) is None:
        # With push-to-talk nothing told when it began.
        tool_side.recap_heard(state, at)
        state.confirmation.caller_began(event.item_id, pressed_at or at)
    elif state.link.ahead:
        state.link.ahead = False  # its answer overtook it
    elif state.link.owed_since is None:
        state.link.owed_since = at
    return pass_on(state, event, at) + state.send(state.responses.release(), at)


def _part(state: CallState, item_id: str, at: int, *, since: int) -> list[Effect]:
    """A part of a monologue is kept; its caller still has the floor."""
    state.stirred(at, caller=True)
    state.functions.new_turn()
    if not state.floor.hands_free:
        tool_side.recap_heard(state, at)
        state.confirmation.caller_began(item_id, since)
        state.floor.pressed_at = at
    if state.transcript.began_at(item_id) is None:
        state.transcript.speech_began(item_id, since)
    state.transcript.speech_ended(item_id, at)
    return []


def cleared(state: CallState, event: events.Cleared, at: int) -> list[Effect]:
    state.floor.speaking = None
    return pass_on(state, event, at) + state.send(state.responses.release(), at)


def transcription_delta(state: CallState, event: events.TranscriptionDelta, at: int) -> list[Effect]:
    grown = state.transcript.grow(event.item_id, event.delta)
    return pass_on(state, event, at) + turns.caller_words(state, event.item_id, grown, at)


def transcription_completed(state: CallState, event: events.TranscriptionCompleted, at: int) -> list[Effect]:
    text = event.transcript.strip()
    known = "done" if text else "failed"
    state.tally.spend_transcription(event.usage)
    effects = pass_on(state, event, at)
    effects += state.save(*state.transcript.change(event.item_id, text=text, transcript_state=known))
    effects += turns.caller_words(state, event.item_id, text, at)
    effects += tool_side.caller_answered(state, event.item_id, text, at)
    if text:
        chatter.words_came(state)
        return effects
    return effects + chatter.no_words(state, event.item_id, at) + monologue.silent_part(state, event.item_id, at)


def transcription_failed(state: CallState, event: events.TranscriptionFailed, at: int) -> list[Effect]:
    effects = pass_on(state, event, at)
    effects += state.save(*state.transcript.fail(event.item_id))
    return effects + tool_side.caller_answered(state, event.item_id, None, at)
