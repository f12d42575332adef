"""What the caller says, and what the call does about it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sessions_app.call import away, ending, items, listening, monologue, tool_side, turns
from sessions_app.call.responses import Purpose
from sessions_app.call.state import CallState
from sessions_app.call.tally import SOUND_FROM_CALLER, SOUND_TO_MODEL
from sessions_app.call.transcript import written_item
from sessions_app.dialect import said
from sessions_app.dialect.heard import shown_item
from sessions_app.effects import AudioToModel, DropOldToken, Effect

MAX_EARLY_MS = 2000  # of sound that waits for the model
NEW_GAP_MS = 2000  # without a loss: the next one is another gap
MAX_EARLY_EVENTS = 64  # of everything else


def on_caller(state: CallState, event: said.CallerEvent, at: int) -> list[Effect]:
    """Take one thing that the caller said, in the vocabulary of `dialect.said`; its sound comes to `on_sound`."""
    effects: list[Effect] = [*state.tally.note("from_caller", _NAMES[type(event)], at)]
    if not isinstance(event, said.Playback | said.Sound | said.Retrieve | said.Truncate | said.HasToken):
        state.stirred(at, caller=True)
    if state.ending:
        return effects + (items.take_up_written(state, event, at) if isinstance(event, said.UserText) else [])
    if not state.link.ready and not _at_once(state, event):
        if sum(not isinstance(waiting, said.Append) for waiting in state.life.early) >= MAX_EARLY_EVENTS:
            told = state.tell_error("too_early", "The call is still being connected", at, event_id=event.event_id)
            return effects + told
        state.life.early.append(event)
        return effects
    return effects + _REACTIONS[type(event)](state, event, at)


def _at_once(state: CallState, event: said.CallerEvent) -> bool:
    """Whether an event needs no session: what was heard, our own record, and words that trip a guardrail."""
    if isinstance(event, said.UserText):
        return state.life.state != "connecting" and turns.trips(state, event.text)
    return isinstance(event, said.Playback | said.Sound | said.Retrieve | said.HasToken) or (
        isinstance(event, said.Truncate) and state.life.state != "connecting"
    )


def too_fast(state: CallState, at: int) -> list[Effect]:
    """A message came faster than any may, and was dropped."""
    state.tally.counters["too_fast"] += 1
    if state.pace.flooded:
        state.life.reason, state.life.code = "bad_message", ending.CLOSE_TOO_FAST
        return ending.close(state, at)
    told = state.tally.counters["too_fast"] > 1
    return [] if told else state.tell_error("too_fast", "Messages come too fast: some were dropped", at)


def catch_up(state: CallState, at: int, *, introductions: bool = False) -> list[Effect]:
    """The model is ready: take what waited, in order; `introductions` are those of the caller's wishes alone."""
    early, state.life.early = state.life.early, []
    if introductions:
        state.life.early = [event for event in early if not isinstance(event, said.Introduce)]
        early = [event for event in early if isinstance(event, said.Introduce)]
    return [effect for event in early for effect in _REACTIONS[type(event)](state, event, at)]


def on_sound(state: CallState, event: said.Append, at: int) -> list[Effect]:
    """Take one piece of the caller's sound."""
    state.tally.counters[SOUND_FROM_CALLER] += 1
    if state.ending:
        return []
    if not state.sound.admits(len(event.pcm), at):
        state.tally.counters["audio_too_fast"] += 1
        if state.tally.counters["audio_too_fast"] > 1:
            return []
        return state.tell_error(
            "audio_too_fast", "Sound came faster than it can have been spoken", at, event_id=event.event_id
        )
    state.arrivals.note(len(event.pcm), at)
    if not state.link.ready:
        _keep_early(state, event)
        return []
    return _sound(state, event, at)


def _keep_early(state: CallState, event: said.Append) -> None:
    """Keep the newest sound for the session that is to come: the caller's first words, or those after a gap."""
    early = state.life.early
    early.append(event)
    waiting = sum(len(each.pcm) for each in early if isinstance(each, said.Append))
    while waiting > MAX_EARLY_MS * state.brief.audio.bytes_per_ms:
        oldest = next(each for each in early if isinstance(each, said.Append))
        early.remove(oldest)
        waiting -= len(oldest.pcm)
        state.tally.counters["early_audio_dropped"] += 1


def _sound(state: CallState, event: said.Append, at: int) -> list[Effect]:
    state.sound.take(len(event.pcm), at)
    if not state.floor.hands_free and state.floor.pressed_at is None:
        state.floor.pressed_at = at
        monologue.began(state, at)
    state.tally.counters[SOUND_TO_MODEL] += 1
    return [AudioToModel(event.pcm, event.encoded)]


def sound_dropped(state: CallState, byte_count: int, behind: int, at: int) -> list[Effect]:
    """Count sound that upstream was too slow to take. A gap is noted once, however many frames it swallows."""
    counters = state.tally.counters
    counters["sound_dropped_ms"] += state.sound.drop(byte_count, behind=behind)
    since, state.sound.dropped_at = state.sound.dropped_at, at
    return [] if since is not None and at - since < NEW_GAP_MS else state.note_own("sound.dropped", at)


def _commit(state: CallState, event: said.Commit, at: int) -> list[Effect]:
    return state.to_model({"type": "input_audio_buffer.commit"}, at, asked_by=event.event_id)


def _clear(state: CallState, event: said.Clear, at: int) -> list[Effect]:
    state.floor.pressed_at = None
    return state.to_model({"type": "input_audio_buffer.clear"}, at, asked_by=event.event_id)


def _user_text(state: CallState, event: said.UserText, at: int) -> list[Effect]:
    if (reason := items.refusal(state, event)) is not None:
        return items.refuse(state, event, reason, at)
    item_id = event.item_id or state.tally.new_id("item")
    tool_side.recap_heard(state, at)
    state.confirmation.caller_began(item_id, at)
    state.floor.turn_ended_at = at
    effects = tool_side.caller_message(state, event.text, "text", at, item_id=item_id, event_id=event.event_id)
    if turns.trips(state, event.text):
        # Its words are known already: a guardrail need not wait for the item to come back.
        effects += items.take_up(state, written_item(item_id, event.text), at)
    return effects + tool_side.caller_answered(state, item_id, event.text, at)


def _retrieve(state: CallState, event: said.Retrieve, at: int) -> list[Effect]:
    entry = state.transcript.get(event.item_id)
    if entry is None:
        return state.tell_error("event_not_allowed", "No such item", at, event_id=event.event_id)
    shown = shown_item(entry.current())
    return state.tell({"type": "conversation.item.retrieved", "item": shown}, at)


def _truncate(state: CallState, event: said.Truncate, at: int) -> list[Effect]:
    entry = state.transcript.get(event.item_id)
    if entry is None:
        return state.tell_error("event_not_allowed", "No such item", at, event_id=event.event_id)
    effects = turns.heard_reported(state, event.item_id, event.audio_end_ms, at)
    if entry.truncated_ms is None:
        effects += turns.truncate(state, event.item_id, event.audio_end_ms, at)
    answer = {"item_id": event.item_id, "content_index": 0, "audio_end_ms": entry.truncated_ms or 0}
    return effects + state.tell({"type": "conversation.item.truncated", **answer}, at)


def _create_response(state: CallState, event: said.CreateResponse, at: int) -> list[Effect]:
    if turns.answers_alarm(state):
        return []
    if state.responses.full:
        return state.tell_error("too_many_responses", "Too many responses wait", at, event_id=event.event_id)
    body = {"metadata": event.metadata} if event.metadata else None
    return state.ask(Purpose.CALLER, at, body)


def _cancel(state: CallState, event: said.CancelResponse, at: int) -> list[Effect]:
    if state.floor.speaking is not None and state.floor.hands_free:
        return []  # upstream interrupts by itself: a late cancel would silence the next reply
    if event.response_id is not None and event.response_id != state.responses.active_id:
        return turns.interrupt(state, at) if state.outbox.quiet_at() != 0 else []
    return turns.stop_reply(state, at)


def _introduce(state: CallState, event: said.Introduce, at: int) -> list[Effect]:
    changes: dict[str, Any] = {}
    modalities = event.modalities
    if modalities is not None:
        state.floor.sound_wanted = "audio" in modalities
        modalities = ("text",) if state.budget.text_only else modalities
    if modalities is not None and modalities != state.floor.modalities:
        state.floor.modalities = modalities
        changes["output_modalities"] = list(modalities)
    before, effects = listening.turn_detection(state), []
    if event.hands_free is not None:
        hands_free = event.hands_free and state.brief.hands_free
        state.floor.hands_free, state.floor.more_time = hands_free, event.more_time
    if state.floor.hands_free:
        state.floor.pressed_at = None
    detection = listening.turn_detection(state)
    if detection != before:
        changes["audio"] = {"input": {"turn_detection": detection}}
        effects = _turn_by_hand(state, at) if detection is None else []
    if not changes:
        return ending.session_shown(state, "session.updated", at)
    state.floor.updates.append(event)
    update = {"type": "session.update", "session": {"type": "realtime", **changes}}
    return effects + state.to_model(update, at, asked_by=event.event_id)


def _turn_by_hand(state: CallState, at: int) -> list[Effect]:
    """From now on the caller says when a turn ends. A sentence that was begun before ends here, and is answered."""
    if state.floor.speaking is None or not state.link.ready:
        return []
    return [*listening.commit_now(state, at), *state.ask(Purpose.ANSWER, at)]


def _playback(state: CallState, event: said.Playback, at: int) -> list[Effect]:
    effects = turns.heard_reported(state, event.item_id, event.played_ms, at)
    tool_side.recap_heard(state, at)
    return effects + away.reported(state, at)


def _page_sound(state: CallState, event: said.Sound, at: int) -> list[Effect]:
    """The page's own totals: a page that was loaded anew counts from nothing."""
    for name, total in event.totals.items():
        key = f"page_{name}"
        state.tally.counters[key] = max(state.tally.counters[key], total)
    return []


def _has_token(state: CallState, event: said.HasToken, at: int) -> list[Effect]:
    return [DropOldToken()] if state.brief.own_events else []


def _confirm(state: CallState, event: said.Confirm, at: int) -> list[Effect]:
    return tool_side.button(state, event.token, event.answer, at, event_id=event.event_id)


_NAMES: dict[type, str] = {
    said.Commit: "input_audio_buffer.commit",
    said.Clear: "input_audio_buffer.clear",
    said.UserText: "conversation.item.create",
    said.Retrieve: "conversation.item.retrieve",
    said.Truncate: "conversation.item.truncate",
    said.CreateResponse: "response.create",
    said.CancelResponse: "response.cancel",
    said.Introduce: "session.update",
    said.Playback: "frontdesk.playback",
    said.Sound: "frontdesk.sound",
    said.HasToken: "frontdesk.resume",
    said.Confirm: "frontdesk.confirm",
}

_REACTIONS: dict[type, Callable[[CallState, Any, int], list[Effect]]] = {
    said.Append: _sound,
    said.Commit: _commit,
    said.Clear: _clear,
    said.UserText: _user_text,
    said.Retrieve: _retrieve,
    said.Truncate: _truncate,
    said.CreateResponse: _create_response,
    said.CancelResponse: _cancel,
    said.Introduce: _introduce,
    said.Playback: _playback,
    said.Sound: _page_sound,
    said.HasToken: _has_token,
    said.Confirm: _confirm,
}
