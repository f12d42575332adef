"""An item's way into the transcript, and the words of a reply, as they become known. Pure."""

from __future__ import annotations

from typing import Any

from sessions_app.call import turns
from sessions_app.call.state import CallState
from sessions_app.call.transcript import Entry, written_item
from sessions_app.dialect import said
from sessions_app.dialect.heard import shown_item
from sessions_app.effects import Effect
from sessions_app.events import ItemBody, Part


def take_up(state: CallState, item: ItemBody, at: int, *, previous_id: str | None = None) -> list[Effect]:
    """Take an item up in the transcript, once, and show it to the caller when it is talk."""
    previous = state.transcript.last_shown
    response_id = state.responses.active_id or "" if item.role == "assistant" else ""
    fact = state.transcript.add(item, at=at, response_id=response_id, previous_id=previous_id)
    if fact is None:
        return []
    if response_id in state.responses.hidden:
        return _unheard(state, item.id)
    if fact.speaker == "agent":
        pending = state.confirmation.pending
        if pending is not None and response_id == pending.response_id:
            pending.item_id = item.id
        state.confirmation.agent_spoke(response_id)
    shown = {"type": "conversation.item.added", "item": shown_item(item), "previous_item_id": previous}
    told = state.tell(shown, at, in_order=fact.speaker == "agent")
    effects = told + state.save(fact)
    return effects + (turns.caller_words(state, item.id, fact.text, at) if fact.speaker == "caller" else [])


def take_up_begun(state: CallState, at: int) -> list[Effect]:
    """Take up what is on its way to a session that will not tell of it any more."""
    effects: list[Effect] = []
    for item_id, text in state.transcript.unborn():
        spoken = ItemBody(id=item_id, role="user", content=[Part(type="input_audio")])
        effects += take_up(state, spoken if text is None else written_item(item_id, text), at)
    return effects


def refusal(state: CallState, event: said.UserText) -> tuple[str, str] | None:
    """Return why a message cannot be taken up, as a code and in words, or None when it can."""
    if state.transcript.full:
        return "too_many_items", "This call holds as many messages as it can"
    taken = event.item_id is not None and state.transcript.taken(event.item_id)
    return ("invalid_value", "This item id is taken") if taken else None


def refuse(state: CallState, event: said.UserText, reason: tuple[str, str], at: int) -> list[Effect]:
    """Tell the caller that its message is not taken up. What it says may be an alarm all the same."""
    told = state.tell_error(*reason, at, event_id=event.event_id)
    return told + turns.caller_words(state, event.item_id or "", event.text, at)


def take_up_written(state: CallState, event: said.UserText, at: int) -> list[Effect]:
    """Take up what the caller wrote where no session answers it: it was said all the same, and may be an alarm."""
    if (reason := refusal(state, event)) is not None:
        return refuse(state, event, reason, at)
    item_id = event.item_id or state.tally.new_id("item")
    state.transcript.will_add(item_id, event.text, "text", at)
    return take_up(state, written_item(item_id, event.text), at)


def take_up_early(state: CallState, at: int) -> list[Effect]:
    """Take up what the caller wrote for a session that does not come."""
    early, state.life.early = state.life.early, []
    written = [event for event in early if isinstance(event, said.UserText)]
    return [effect for event in written for effect in take_up_written(state, event, at)]


def _unheard(state: CallState, item_id: str) -> list[Effect]:
    """Keep what the model said of which the caller hears nothing."""
    entry = state.transcript.get(item_id)
    assert entry is not None
    entry.truncated_ms = 0
    state.transcript.last_shown = entry.previous
    return state.save(*state.transcript.change(item_id, interrupted=True, heard_ms=0, heard_chars=0))


def agent_said(state: CallState, item_id: str, words: str, at: int) -> list[Effect]:
    """The words of a reply are known, as far as it was generated."""
    entry = state.transcript.get(item_id)
    if not words or (entry is not None and words == entry.fact.text):
        return []
    changes: dict[str, Any] = {"text": words}
    if entry is not None and entry.fact.heard_ms is not None:
        changes |= turns.heard_up_to(state, entry, entry.fact.heard_ms, words)
    return state.save(*state.transcript.change(item_id, **changes))


def broke_off(state: CallState, entry: Entry, at: int) -> list[Effect]:
    """No more of a reply will come. Unless it was cut before, what there is of its sound will be heard."""
    entry.broken = True
    words, heard_ms = entry.fact.text or entry.growing, entry.fact.heard_ms
    changes: dict[str, Any] = {"text": words, "interrupted": True}
    if heard_ms is None and (entry.audio_bytes or "audio" in state.floor.modalities):
        heard_ms = state.outbox.reach_ms(entry.fact.item_id)
    if heard_ms is not None:
        changes |= turns.heard_up_to(state, entry, heard_ms, words)
        changes["ended_ms"] = entry.fact.started_ms + changes["audio_ms"]
    return state.save(*state.transcript.change(entry.fact.item_id, **changes))


def shown_now(entry: Entry) -> dict[str, Any]:
    """Return an item as the caller may see it, with the words that are known now."""
    shown = shown_item(entry.current())
    assert shown is not None  # the transcript holds messages alone
    return shown
