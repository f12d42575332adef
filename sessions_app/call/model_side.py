"""What the model's side says, and what the call does about it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sessions_app import events
from sessions_app.call import chatter, ending, hearing, items, monologue, tool_side, turns, upstream
from sessions_app.call.link import LinkState
from sessions_app.call.responses import MAX_OVERTAKEN, Purpose
from sessions_app.call.state import CallState, Sent
from sessions_app.call.tally import SOUND_FROM_MODEL
from sessions_app.dialect import heard
from sessions_app.dialect.heard import as_heard
from sessions_app.effects import Effect

# The account or the model cannot be used: trying again changes nothing. Source: Realtime API reference, errors.
FATAL_CODES = frozenset(
    {
        "insufficient_quota",
        "billing_hard_limit_reached",
        "account_deactivated",
        "invalid_api_key",
        "model_not_found",
        "invalid_model",
        "beta_api_shape_disabled",
    }
)
COMMIT_EMPTY = "input_audio_buffer_commit_empty"
MAX_ID_CHARS = 64
RATE_LIMIT_WAIT_MS = 2000


def on_event(state: CallState, event: events.ServerEvent, at: int) -> list[Effect]:
    """Take one event of the model's side. A type that is not read is noted and changes nothing."""
    effects: list[Effect] = [*state.tally.note("from_model", event.type, at, _fields(event))]
    react = _REACTIONS.get(type(event))
    return effects + (react(state, event, at) if react is not None else [])


def on_sound(state: CallState, event: events.AudioDelta, at: int) -> list[Effect]:
    """Take one piece of the model's sound, of which nothing is recorded here but that it was there."""
    state.tally.counters[SOUND_FROM_MODEL] += 1
    if len(event.delta) % state.brief.audio.sample_bytes:
        state.tally.counters["odd_audio"] += 1
        return []
    responses = state.responses
    effects: list[Effect] = []
    if event.response_id not in responses.hidden and event.response_id not in responses.stopped:
        shown = heard.sound(event, event_id=state.tally.new_id("event"))
        effects = state.tell(shown, at, in_order=True, pcm=event.delta, item_id=event.item_id)
    entry = state.transcript.get(event.item_id)
    if entry is None:
        return effects
    entry.audio_bytes += len(event.delta)
    if entry.audio_bytes == len(event.delta):  # its first sound
        first = at - state.floor.turn_ended_at if state.floor.turn_ended_at is not None else None
        state.floor.turn_ended_at = None
        starts = state.outbox.starts_at(event.item_id)
        changed = state.transcript.change(
            event.item_id, first_audio_ms=first, started_ms=at if starts is None else starts
        )
        effects += state.save(*changed)
    return effects


def _fields(event: events.ServerEvent) -> dict[str, Any]:
    """Return what may be stored of an event: ids, positions, statuses and codes. Never words."""
    fields: dict[str, Any] = {}
    for name in ("item_id", "response_id", "audio_start_ms", "audio_end_ms"):
        if getattr(event, name, ""):
            fields[name] = getattr(event, name)
    item = getattr(event, "item", None)
    if isinstance(item, events.ItemBody):
        fields |= {"item_id": item.id[:MAX_ID_CHARS], "item_type": item.type[:MAX_ID_CHARS], "status": item.status}
    response = getattr(event, "response", None)
    if isinstance(response, events.ResponseBody):
        fields |= {"response_id": response.id, "status": response.status, "usage": response.usage}
        if response.status_details is not None:
            failure = response.status_details.error
            fields |= {"reason": response.status_details.reason, "code": failure.code if failure else None}
    if isinstance(event, events.TranscriptionCompleted):
        fields["usage"] = event.usage
    error = getattr(event, "error", None)
    if isinstance(error, events.ErrorBody):
        fields |= {"code": error.code, "error_type": error.type}
    return {name: value for name, value in fields.items() if value is not None}


_DELTAS = (events.TextDelta, events.TranscriptDelta)


def _output(state: CallState, event: events.ServerEvent, at: int) -> list[Effect]:
    """Pass a part of a response on. Of a response that was stopped only how it ends, of a hidden one nothing."""
    response_id = _response_of(event)
    if response_id in state.responses.hidden:
        return []
    if response_id in state.responses.stopped and isinstance(event, _DELTAS):
        return []
    return hearing.pass_on(state, event, at, in_order=True)


def _response_of(event: events.ServerEvent) -> str:
    if isinstance(event, events.ResponseCreated | events.ResponseDone):
        return event.response.id
    return event.response_id if isinstance(event, events.OutputEvent) else ""


def _session_updated(state: CallState, event: events.ServerEvent, at: int) -> list[Effect]:
    if state.link.state is LinkState.CONFIGURING:
        return upstream.configured(state, at)
    if not state.floor.updates:
        return []
    asked = state.floor.updates.pop(0)
    return ending.session_shown(state, "session.updated", at) if asked is not None else []


def _error(state: CallState, event: events.Error, at: int) -> list[Effect]:
    code = event.error.code or event.error.type
    if state.responses.refused(event.error.event_id):
        return []  # the request waits again: it goes out when the active response is done
    if code in FATAL_CODES:
        return ending.fail(state, "upstream", code, at)
    if code == "session_expired":
        return upstream.renew(state, code, at)
    sent = state.sent.pop(event.error.event_id or "", None)
    if sent is not None and event.error.event_id == state.floor.own_commit:
        return monologue.refused(state, at, empty=code == COMMIT_EMPTY)
    if sent is not None and sent.type == "session.update" and _goes_plain(state, event):
        return [*state.note_own("hints.refused", at, code=code), *upstream.configure(state, at)]
    if sent is not None and sent.seed_id:
        return upstream.seeded(state, sent.seed_id, at)
    return _refused(state, sent, code, at) if sent is not None else []


def _goes_plain(state: CallState, event: events.Error) -> bool:
    """Whether the service refused our configuration for its hints alone: a call without them is better than none."""
    refused = (event.error.param or "").startswith("session.audio.input.transcription")
    if state.link.state is not LinkState.CONFIGURING or state.link.plain or not refused:
        return False
    state.link.plain = True
    return True


def _refused(state: CallState, sent: Sent, code: str, at: int) -> list[Effect]:
    """The service refused something of ours. A race is expected: nothing to cancel, an item that is gone."""
    if sent.type == "session.update":
        if state.link.state is LinkState.CONFIGURING:
            return ending.fail(state, "upstream", code, at)
        del state.floor.updates[:1]
        return state.tell_error("not_accepted", "This setting was not accepted", at, event_id=sent.asked_by)
    if sent.type == "conversation.item.create" and sent.item_id:
        kept = state.save(state.transcript.lost(sent.item_id, at))
        return kept + state.tell_error("not_accepted", "This message was not accepted", at, event_id=sent.asked_by)
    if sent.type == "input_audio_buffer.commit":
        state.floor.pressed_at = None
        all_parted = monologue.just_parted(state, at)  # all of it went in the last part
        if not all_parted and not state.life.caller_gone:
            return state.tell_error("no_speech", "There was no sound to send", at, event_id=sent.asked_by)
    return []


def _item_added(state: CallState, event: events.ItemAdded, at: int) -> list[Effect]:
    taken = items.take_up(state, event.item, at, previous_id=event.previous_item_id)
    return taken + upstream.seeded(state, event.item.id, at)


def _item_done(state: CallState, event: events.ItemDone, at: int) -> list[Effect]:
    entry = state.transcript.get(event.item.id)
    if event.item.type == "function_call":
        return _function_call(state, event.item, at)
    effects: list[Effect] = []
    if entry is None and event.item.role in ("user", "assistant"):  # it overtook its own beginning
        effects = items.take_up(state, event.item, at, previous_id=event.previous_item_id)
        entry = state.transcript.get(event.item.id)
    if entry is None or entry.done:
        return effects
    entry.done = True
    shown = as_heard(event)
    agent = entry.fact.speaker == "agent"
    told = shown is not None and entry.fact.response_id not in state.responses.hidden
    previous = {"previous_item_id": entry.previous}
    effects += state.tell({**(shown or {}), **previous}, at, in_order=agent) if told else []
    if not agent:
        return effects
    effects += items.agent_said(state, event.item.id, event.item.words, at)
    # Never said to its end: its response was cancelled, or had reached its length.
    return effects + (items.broke_off(state, entry, at) if event.item.status not in (None, "completed") else [])


def _function_call(state: CallState, item: events.ItemBody, at: int) -> list[Effect]:
    # Never a call that was cut short: its arguments may be half of what was meant.
    if item.status not in (None, "completed") or not item.call_id:
        return []
    if chatter.asks_for_tools(state):
        return state.note_own("function_call.unsaid", at, call_id=item.call_id)
    return tool_side.function_called(state, item, at)


def _response_created(state: CallState, event: events.ResponseCreated, at: int) -> list[Effect]:
    response = event.response
    if state.responses.knows(response.id):
        return []
    ahead = state.link.owed_since is None and not state.responses.asked
    purpose = state.responses.created(response.id, response.metadata)
    state.link.ahead = ahead
    state.link.owed_since = state.life.retry_at = state.owed = None
    ended = state.responses.overtaken.pop(response.id, None)
    begun = _begun(state, event, purpose, at)
    return begun + (_response_done(state, ended, at) if ended is not None else [])


def _begun(state: CallState, event: events.ResponseCreated, purpose: Purpose, at: int) -> list[Effect]:
    response = event.response
    answers_nothing = turns.answers_alarm(state) or chatter.is_answer(state, response.id, purpose)
    if answers_nothing or (state.ending and purpose is not Purpose.GOODBYE):
        state.responses.hidden.add(response.id)
        state.outbox.silence(response.id)
        return state.to_model({"type": "response.cancel", "response_id": response.id}, at)
    state.confirmation.response_begun(response.id)
    if purpose is Purpose.RECAP:
        state.confirmation.recap_begun(response.id)
    return _output(state, event, at)


def _response_done(state: CallState, event: events.ResponseDone, at: int) -> list[Effect]:
    response = event.response
    if state.responses.over(response.id):
        return []
    if not state.responses.knows(response.id):  # it overtook its own beginning, or never begins
        if len(state.responses.overtaken) < MAX_OVERTAKEN:
            state.responses.overtaken[response.id] = event
        return []
    state.stirred(at)
    purpose = state.responses.purpose if response.id == state.responses.active_id else None
    state.tally.spend(response.usage)
    effects: list[Effect] = []
    if response.status == "completed":
        for item in response.output:
            if item.type == "function_call":  # one that its own item.done did not bring
                effects += _function_call(state, item, at) if item.call_id not in state.functions.calls else []
    for item in response.output:
        if item.type == "message":
            effects += state.save(*state.transcript.change(item.id, response_id=response.id))
    effects += _output(state, event, at)
    requests = state.responses.done(response.id)
    if response.status == "failed" or _cut_short(response):
        return effects + _failed(state, event, purpose, at) + state.send(requests, at)
    if response.status == "completed":
        state.life.failures = 0
    pending = state.confirmation.pending
    if pending is not None and pending.response_id == response.id and response.status == "completed":
        words = " ".join(item.words for item in response.output)
        effects += tool_side.recap_said(state, words, at)
        tool_side.recap_heard(state, at)
    if purpose is Purpose.GOODBYE:
        effects += ending.after_goodbye(state, at)
    if response.status == "completed":
        effects += tool_side.response_over(state, response.id, at)
    return effects + state.send(requests, at) + tool_side.answer_if_ready(state, at)


def _cut_short(response: events.ResponseBody) -> bool:
    """Whether a response ended before it said anything of use. One that reached its length has said a lot."""
    details = response.status_details
    return response.status == "incomplete" and details is not None and details.reason == "content_filter"


def _failed(state: CallState, event: events.ResponseDone, purpose: Purpose | None, at: int) -> list[Effect]:
    """A response failed, which shows only here and never as an `error` event.

    It is asked for again, then in a new session, and then the call ends with the apology and a task for the staff.
    """
    details = event.response.status_details
    code = (details.error.code or details.error.type) if details and details.error else "server_error"
    if code in FATAL_CODES:
        return ending.fail(state, "upstream", code, at)
    if state.ending:
        return []
    state.life.failures += 1
    if state.life.failures >= ending.MAX_FAILED_RESPONSES:
        return ending.fail(state, "upstream", code, at)
    state.owed = purpose
    told = turns.say_fixed(state, "one_moment", state.brief.lines.one_moment, at)  # the model cannot just now
    if state.life.failures == ending.MAX_FAILED_RESPONSES - 1:
        return told + upstream.renew(state, code, at)
    state.life.retry_at = at + (RATE_LIMIT_WAIT_MS if code == "rate_limit_exceeded" else 0)
    return told


def _audio_done(state: CallState, event: events.AudioDone, at: int) -> list[Effect]:
    entry = state.transcript.get(event.item_id)
    effects = _output(state, event, at)
    if entry is not None:
        length = turns.audio_ms(state, entry)
        effects += state.save(
            *state.transcript.change(event.item_id, audio_ms=length, ended_ms=entry.fact.started_ms + length)
        )
    return effects


def _words_delta(state: CallState, event: events.TranscriptDelta | events.TextDelta, at: int) -> list[Effect]:
    state.transcript.grow(event.item_id, event.delta)  # all that there will be, when the session is lost
    return _output(state, event, at)


def _transcript_done(state: CallState, event: events.TranscriptDone, at: int) -> list[Effect]:
    return _output(state, event, at) + items.agent_said(state, event.item_id, event.transcript, at)


def _text_done(state: CallState, event: events.TextDone, at: int) -> list[Effect]:
    written = state.save(*state.transcript.change(event.item_id, source="text"))
    return _output(state, event, at) + written + items.agent_said(state, event.item_id, event.text, at)


_REACTIONS: dict[type[events.ServerEvent], Callable[[CallState, Any, int], list[Effect]]] = {
    events.SessionUpdated: _session_updated,
    events.Error: _error,
    events.SpeechStarted: hearing.speech_started,
    events.SpeechStopped: hearing.speech_stopped,
    events.Committed: hearing.committed,
    events.Cleared: hearing.cleared,
    events.ItemAdded: _item_added,
    events.ItemDone: _item_done,
    events.TranscriptionDelta: hearing.transcription_delta,
    events.TranscriptionCompleted: hearing.transcription_completed,
    events.TranscriptionFailed: hearing.transcription_failed,
    events.ResponseCreated: _response_created,
    events.ResponseDone: _response_done,
    events.OutputItemAdded: _output,
    events.OutputItemDone: _output,
    events.ContentPartAdded: _output,
    events.ContentPartDone: _output,
    events.TextDelta: _words_delta,
    events.TextDone: _text_done,
    events.TranscriptDelta: _words_delta,
    events.TranscriptDone: _transcript_done,
    events.AudioDone: _audio_done,
}
