"""How a process goes on with a call whose own process has died: from what the record tells. Pure.

What was spoken and not heard is gone, and so is a question that waited for a yes: it is asked again.
"""

from __future__ import annotations

from sessions_app.call.away import HOLD_MS, LEAVE_AFTER_MS
from sessions_app.call.brief import Past
from sessions_app.call.responses import Purpose
from sessions_app.call.state import Away, CallState
from sessions_app.call.told import ToldItem
from sessions_app.effects import Effect

IDS_A_PROCESS = 1_000_000  # ids of our own: those of another process are never met
EVENTS_BETWEEN = 1000  # facts of the dead process may still be on their way


def restore(state: CallState, past: Past) -> None:
    """Put the call where its record leaves it, with its caller away."""
    at = past.elapsed_ms
    state.life.state, state.life.opened, state.life.greeted = "live", True, True
    state.transcript.restore(past.items)
    state.told.items = {fact.item_id: ToldItem(done=True) for fact in past.items}
    for call, output in past.function_calls:
        state.functions.calls[call.call_id], state.functions.outputs[call.call_id] = call, output
    state.functions.patient_id, state.functions.outcomes = past.patient_id, set(past.outcomes)
    state.tally.restore(seq=past.seq + EVENTS_BETWEEN, usage=past.usage, ids_from=past.epoch * IDS_A_PROCESS)
    state.floor.alarm = next((rule.index for rule in state.brief.rules if rule.name == past.alarm), None)
    state.owed = Purpose.ANSWER if _unanswered(past) and state.floor.alarm is None else None
    state.stirred(at)
    state.away = Away(since=at, leave_at=at + LEAVE_AFTER_MS, until=at + HOLD_MS)
    state.outbox.pause(at)


def settle(state: CallState) -> list[Effect]:
    """Words that the other process was still to hear do not come any more."""
    return [effect for item_id in state.transcript.pending() for effect in state.save(*state.transcript.fail(item_id))]


def _unanswered(past: Past) -> bool:
    """Whether the last that happened was not a word of the receptionist's."""
    said = max((fact.position for fact in past.items if fact.speaker == "agent"), default=0)
    asked = [fact.position for fact in past.items if fact.speaker == "caller"]
    looked_up = [call.position + 1 for call, _ in past.function_calls]
    return max([*asked, *looked_up], default=0) > said
