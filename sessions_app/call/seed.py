"""What a new session is told of the conversation: each side's words as they were heard, and what tools did. Pure.

Source: Realtime API reference, `conversation.item.create`: an assistant's words are `output_text`, and a function call
comes before its output. Sound is not told again: its words are.
"""

from __future__ import annotations

from typing import Any

from sessions_app.call.state import CallState
from sessions_app.call.tool_side import function_items

MAX_SEED_CHARS = 24_000  # of talk: half an hour; what is older is left out
MAX_ITEM_ID_CHARS = 32
_GOES_ON = (
    "The connection to the caller was kept while yours was renewed: this is the same call. You have greeted the caller "
    "and said what you are; never do so again. Go on where the conversation stands, and repeat no tool call that has "
    "its output here."
)

Placed = tuple[int, int, list[dict[str, Any]]]  # where in the conversation; talk before tools; the items


def seed_items(state: CallState) -> list[dict[str, Any]]:
    """Return the items to create, in order: first how this came, then the conversation. None when nothing was said."""
    placed = sorted([*_talk(state), *_tools(state), *_notes(state)], key=lambda each: each[:2])
    items = [item for _, _, items in placed for item in items]
    return [_message(state.tally.new_id("item"), "system", _GOES_ON), *items] if items else []


def _talk(state: CallState) -> list[Placed]:
    """Return what was said, the newest of it; an agent's words as far as they were heard."""
    told: list[Placed] = []
    left = MAX_SEED_CHARS
    for fact in reversed(state.transcript.facts()):
        words = (fact.text if fact.heard_chars is None else fact.text[: fact.heard_chars]).strip()
        left -= len(words)
        if left < 0:
            break
        if words:
            role = "user" if fact.speaker == "caller" else "assistant"
            item_id = fact.item_id if len(fact.item_id) <= MAX_ITEM_ID_CHARS else state.tally.new_id("item")
            told.append((fact.position, 0, [_message(item_id, role, words)]))
    return told


def _tools(state: CallState) -> list[Placed]:
    """Return the function calls that have had their output. One that still runs is told when it has."""
    functions = state.functions
    return [
        (call.position, 1, function_items(call, functions.outputs[call_id]))
        for call_id, call in functions.calls.items()
        if call_id in functions.outputs
    ]


def _notes(state: CallState) -> list[Placed]:
    return [(position, 1, [_message(state.tally.new_id("item"), "system", text)]) for position, text in state.notes]


def _message(item_id: str, role: str, text: str) -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"id": item_id, "type": "message", "role": role, "content": [{"type": kind, "text": text}]}
