"""Function calls: each answered exactly once, and writes only after a yes. Pure."""

from __future__ import annotations

import json
from typing import Any

from sessions_app.call.confirmation import HEARD_SLACK_MS, MAX_RECAPS, TRANSCRIPT_WAIT_MS, Decision, Pending, Verdict
from sessions_app.call.function_calls import Admission, FunctionCall, HeldWrite, ToolResult
from sessions_app.call.responses import Purpose
from sessions_app.call.state import CallState
from sessions_app.effects import Effect, LeaveTask, RefuseTool, RunTool
from sessions_app.events import ItemBody

END_CALL = "end_call"

_REFUSALS = {
    "unknown_tool": "There is no such tool.",
    "too_many_calls": "Too many tools were called. Speak with the caller first.",
    "emergency": "Nothing can be changed any more in this call. Tell the caller to follow the emergency advice.",
    "call_ending": "The call is ending.",
    "repeated_call": "You have made this very call already, more than once. Use its answer, or ask the caller.",
    "budget": "In this call you can now only take a message and end the call.",
    "one_at_a_time": "Another change is waiting for the caller's yes. Ask for one thing at a time.",
}


def function_called(state: CallState, item: ItemBody, at: int) -> list[Effect]:
    """The model calls a function. One with a `call_id` that was seen before has had its answer."""
    position = state.transcript.position
    call = FunctionCall(item.call_id, item.name, item.arguments, state.functions.patient_id, position)
    admission = state.functions.admit(call)
    state.functions.in_session.add(call.call_id)
    if admission is Admission.SEEN:
        return state.note_own("function_call.repeated", at, call_id=item.call_id)
    if admission is not Admission.RUN:
        return refuse(state, call, admission.value, at)
    if state.ending:
        return refuse(state, call, "call_ending", at)
    if state.budget.message_only and not _takes_leave(state, call):
        return refuse(state, call, "budget", at)
    writes = state.brief.tools[call.name].writes
    if writes and state.floor.alarm is not None:
        return refuse(state, call, "emergency", at)
    return run(state, call, at, commit=not writes)


def _takes_leave(state: CallState, call: FunctionCall) -> bool:
    """Whether a function call is what a call may still do that has nothing left to spend."""
    return call.name == END_CALL or state.brief.tools[call.name].outcome == "message"


def run(state: CallState, call: FunctionCall, at: int, *, commit: bool, yes: Pending | None = None) -> list[Effect]:
    working = {"type": "frontdesk.tool", "status": "working", "label": state.brief.tools[call.name].working}
    tool = RunTool(
        call_id=call.call_id,
        name=call.name,
        arguments=call.arguments,
        commit=commit,
        position=state.transcript.position,
        started_ms=at,
        patient_id=call.patient_id if yes is not None else state.functions.patient_id,
        confirmed_by=yes.by if yes is not None else "",
        digest=yes.digest if yes is not None else "",
    )
    return [*state.tell_own(working, at), tool]


def refuse(state: CallState, call: FunctionCall, code: str, at: int) -> list[Effect]:
    """Answer a function call without running it."""
    refused = RefuseTool(call.call_id, call.name, call.arguments, code, state.transcript.position, at)
    return [refused, *give_output(state, call.call_id, failure(code, call.call_id), at)]


def failure(code: str, trace_id: str) -> dict[str, Any]:
    return {
        "status": "error",
        "error_code": code,
        "message": _REFUSALS[code],
        "retryable": False,
        "trace_id": trace_id,
    }


def tool_done(state: CallState, call_id: str, result: ToolResult, at: int) -> list[Effect]:
    """A function call has run, or its dry run has."""
    call = state.functions.calls.get(call_id)
    if call is None or call_id not in state.functions.waiting:
        return []
    state.stirred(at)
    if result.patient_id is not None:
        state.functions.patient_id = result.patient_id
    effects = state.tell_own({"type": "frontdesk.tool", "status": "done", "label": ""}, at)
    if result.recap is not None:
        return effects + _decide(state, call, result, at)
    effects += _after(state, call, result, at)
    return effects + give_output(state, call_id, result.output, at, then=result.then)


def _decide(state: CallState, call: FunctionCall, result: ToolResult, at: int) -> list[Effect]:
    """A write could be done: run it, wait for the words of the caller's answer, or ask."""
    assert result.recap is not None
    if state.floor.alarm is not None:
        return refuse(state, call, "emergency", at)
    decision = state.confirmation.decide(call.name, result.recap.digest, at)
    if decision is Decision.RUN and state.confirmation.pending is not None:
        return _commit(state, call, at)
    if decision is Decision.WAIT and state.functions.held is None:
        state.functions.held = HeldWrite(call, result, at + TRANSCRIPT_WAIT_MS)
        return []
    if state.functions.recap_due or state.functions.held is not None:
        return refuse(state, call, "one_at_a_time", at)
    return _ask_caller(state, call, result, at)


def _commit(state: CallState, call: FunctionCall, at: int) -> list[Effect]:
    """The caller has said yes to exactly these values: they run once."""
    pending = state.confirmation.pending
    assert pending is not None
    return [*state.close_question("yes", at), *run(state, call, at, commit=True, yes=pending)]


def _ask_caller(state: CallState, call: FunctionCall, result: ToolResult, at: int) -> list[Effect]:
    recap = result.recap
    assert recap is not None
    token = state.tally.new_id("confirm")
    asked = Pending(token, call.name, recap.digest, recap.question, recap.spoken, recap.lines)
    effects = state.close_question("replaced", at)
    state.confirmation.begin(asked)
    effects += state.tell_own(asked.as_shown(), at)
    state.functions.recap_due = True
    return effects + give_output(state, call.call_id, result.output, at)


def release_held(state: CallState, at: int) -> list[Effect]:
    """The caller's answer is known, or has been waited for long enough."""
    held = state.functions.held
    if held is None:
        return []
    if held.until <= at:
        state.confirmation.stop_waiting()
    assert held.result.recap is not None
    decision = state.confirmation.decide(held.call.name, held.result.recap.digest, at)
    if decision is Decision.WAIT:
        return []
    state.functions.held = None
    return _decide(state, held.call, held.result, at)


def _after(state: CallState, call: FunctionCall, result: ToolResult, at: int) -> list[Effect]:
    effects: list[Effect] = []
    if result.ok and state.brief.tools[call.name].outcome:
        state.functions.outcomes.add(state.brief.tools[call.name].outcome)
    if result.ok and result.card:
        lines = [list(line) for line in result.card]
        card = {"type": "frontdesk.card", "id": state.tally.new_id("card"), "lines": lines}
        state.told.card(state.transcript.position, card)
        effects += state.tell_own(card, at)
    return effects


def give_output(
    state: CallState, call_id: str, output: dict[str, Any], at: int, *, then: str = "answer"
) -> list[Effect]:
    """Give the model the one output of a function call, and ask for one answer after the last of them."""
    functions = state.functions
    functions.waiting.discard(call_id)
    functions.answer_due |= then == "answer"
    functions.hang_up_due |= then == "hang_up"
    functions.outputs[call_id] = json.dumps(output, ensure_ascii=False)
    effects: list[Effect] = []
    if state.link.open:
        items = function_items(functions.calls[call_id], functions.outputs[call_id])
        # A session that began after the call was made knows nothing of it yet.
        for item in items if call_id not in functions.in_session else items[1:]:
            effects += state.to_model({"type": "conversation.item.create", "item": item}, at)
        functions.in_session.add(call_id)
    return effects + answer_if_ready(state, at)


def function_items(call: FunctionCall, output: str) -> list[dict[str, Any]]:
    """Return a function call and its output, as a session is told of them."""
    return [
        {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments},
        {"type": "function_call_output", "call_id": call.call_id, "output": output},
    ]


def answer_if_ready(state: CallState, at: int) -> list[Effect]:
    """Ask for one response after the last output, and after the response that made the calls is done."""
    functions = state.functions
    due = functions.answer_due or functions.recap_due or functions.hang_up_due
    if not due or functions.waiting or state.responses.active_id is not None or state.ending:
        return []
    recap, goodbye = functions.recap_due, functions.hang_up_due
    functions.answer_due = functions.recap_due = functions.hang_up_due = False
    if recap and state.confirmation.pending is not None:
        return state.say_exactly(Purpose.RECAP, state.confirmation.pending.question, at)
    if goodbye:
        return state.say_exactly(Purpose.GOODBYE, state.brief.lines.goodbye, at)
    return state.ask(Purpose.ANSWER, at)


def recap_said(state: CallState, transcript: str, at: int) -> list[Effect]:
    """The spoken recap is known: every value must be in it, else it is said once more, then a task is left."""
    pending = state.confirmation.pending
    if pending is None or state.confirmation.recap_said(transcript):
        return []
    effects = state.note_own("recap.incomplete", at, attempt=pending.recaps)
    if pending.recaps < MAX_RECAPS:
        return effects + state.say_exactly(Purpose.RECAP, pending.question, at)
    effects += [LeaveTask(pending.question), *state.close_question("expired", at)]
    sorry = "I could not read that back to you correctly, so I have left a note, and our staff will call you back."
    return effects + state.say_exactly(Purpose.ANSWER, sorry, at)


def recap_ends_at(state: CallState) -> int | None:
    """Return when a recap that is being heard will have been heard to its end. One that was cut never will."""
    pending = state.confirmation.pending
    if pending is None or not pending.held_all or pending.heard_at is not None:
        return None
    entry = state.transcript.get(pending.item_id)
    if entry is None or entry.fact.interrupted or state.outbox.reported(pending.item_id) is not None:
        return None
    return state.outbox.ends_at(pending.item_id)


def recap_heard(state: CallState, at: int) -> None:
    """Note the moment from which a yes counts: by the page's own report where it makes one, else by the clock."""
    pending = state.confirmation.pending
    entry = state.transcript.get(pending.item_id) if pending is not None else None
    if pending is None or entry is None or entry.fact.interrupted:
        return
    reported, ends_at = state.outbox.reported(pending.item_id), state.outbox.ends_at(pending.item_id)
    if reported is None and ends_at is not None and ends_at <= at:
        state.confirmation.recap_heard(ends_at)
    whole = state.outbox.sent_ms(pending.item_id) - HEARD_SLACK_MS
    if reported is not None and ends_at is not None and reported >= whole:
        state.confirmation.recap_heard(at)


def response_over(state: CallState, response_id: str, at: int) -> list[Effect]:
    """A response is over. A yes that it should have acted on, and did not, lapses: it was given to be used now."""
    if not state.confirmation.lapses(response_id) or state.functions.waiting or state.functions.held is not None:
        return []
    return state.close_question("expired", at)


def button(state: CallState, token: str, answer: str, at: int, *, event_id: str | None = None) -> list[Effect]:
    """The caller pressed *Yes* or *Change*: the model is told in the caller's name, and calls again, or asks."""
    if not state.confirmation.button(token, Verdict.YES if answer == "yes" else Verdict.CHANGE, at):
        return state.tell_error("confirmation_closed", "This question is no longer open", at, event_id=event_id)
    words = "Yes." if answer == "yes" else "No, I would like to change something."
    effects = state.note_own("confirmation.button", at, answer=answer)
    if answer == "change":
        effects += state.close_question("change", at)
    return effects + caller_message(state, words, "button", at) + state.ask(Purpose.CALLER, at)


def caller_answered(state: CallState, item_id: str, text: str | None, at: int) -> list[Effect]:
    """The caller's words are known, or never will be: perhaps they answer the recap."""
    state.confirmation.caller_said(item_id, text, at)
    pending = state.confirmation.pending
    effects: list[Effect] = []
    if pending is not None and pending.by == item_id and pending.verdict is Verdict.CHANGE:
        effects += state.close_question("change", at)
    return effects + release_held(state, at)


def caller_message(
    state: CallState, text: str, source: str, at: int, *, item_id: str | None = None, event_id: str | None = None
) -> list[Effect]:
    """Send the model a message in the caller's name."""
    item_id = item_id or state.tally.new_id("item")
    state.transcript.will_add(item_id, text, source, at)
    state.functions.new_turn()
    content = [{"type": "input_text", "text": text}]
    item = {"id": item_id, "type": "message", "role": "user", "content": content}
    return state.to_model({"type": "conversation.item.create", "item": item}, at, asked_by=event_id, item_id=item_id)
