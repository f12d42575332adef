"""What a call does as the budget runs out: it notes it, goes on in writing, takes a message, says goodbye. Pure."""

from __future__ import annotations

from sessions_app.call import ending, tool_side
from sessions_app.call.budget import Standing
from sessions_app.call.link import LinkState
from sessions_app.call.state import CallState
from sessions_app.cost import cost_microusd
from sessions_app.effects import Effect, Spend

_TAKE_A_MESSAGE = (
    "This call has to end soon. Look up, book and change nothing more. Tell the caller that you can now only take a "
    "message for the team or note a callback, ask for what it takes, leave it with the tool for messages, then say "
    "goodbye and end the call."
)


def spent(state: CallState, at: int) -> list[Effect]:
    """Tell the ledger when the call has come to cost more, and end a call that goes on and on."""
    usage, rates = state.tally.usage, state.brief.rates
    if usage is state.budget.seen:
        return []
    state.budget.seen = usage
    effects: list[Effect] = []
    total = cost_microusd(usage, rates, transcription=state.brief.transcription_rates) if rates is not None else 0
    if total > state.budget.told_microusd:
        state.budget.told_microusd = total
        effects.append(Spend(total))
    overrun = state.budget.overrun(usage)
    if overrun and not state.ending and state.life.goodbye_by is None:
        effects += [*state.note_own("budget.overrun", at, code=overrun), *_end(state, at)]
    return effects


def stands(state: CallState, standing: Standing, at: int) -> list[Effect]:
    """The ledger says how the budget stands."""
    effects: list[Effect] = []
    for step in state.budget.worsen(standing, at):
        effects += state.note_own("budget.warned", at, level=step.name.lower())
        if state.ending or state.life.goodbye_by is not None:
            continue
        if step is Standing.TEXT_ONLY:
            effects += _in_writing(state, at)
        elif step is Standing.MESSAGE:
            effects += _take_a_message(state, at)
    return effects


def grace_over(state: CallState, at: int) -> list[Effect]:
    """The time to leave a message is over."""
    if state.budget.ends_at is None or at < state.budget.ends_at or state.ending or state.life.goodbye_by is not None:
        return []
    return _end(state, at)


def _in_writing(state: CallState, at: int) -> list[Effect]:
    effects = state.tell_own({"type": "frontdesk.budget", "level": "text_only"}, at)
    if state.floor.modalities == ("text",):
        return effects
    state.floor.modalities = ("text",)
    if state.link.state < LinkState.CONFIGURING:  # the next session begins with it
        return effects
    state.floor.updates.append(None)
    update = {"type": "session.update", "session": {"type": "realtime", "output_modalities": ["text"]}}
    return [*effects, *state.to_model(update, at), *ending.session_shown(state, "session.updated", at)]


def _take_a_message(state: CallState, at: int) -> list[Effect]:
    effects = state.tell_own({"type": "frontdesk.budget", "level": "message"}, at)
    effects += state.note_to_model(_TAKE_A_MESSAGE, at)
    state.functions.answer_due = True
    return effects + tool_side.answer_if_ready(state, at)


def _end(state: CallState, at: int) -> list[Effect]:
    return ending.say_goodbye(state, "budget", at, code=ending.CLOSE_BUDGET)
