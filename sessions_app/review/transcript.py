"""Pure: a call's lines in the order of the conversation, with tool calls, guardrails and the like in their places."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sessions_app.models import Event, Item, ToolCall

TARGET_DELAY_MS = 1_000  # from the end of the caller's turn to the first sound: beyond it slow, beyond twice very slow
SHOWN_CHARS = 20_000  # of a tool's arguments, and of its result
GUARDRAIL_TRIPPED = "guardrail.tripped"
SHOWN_EVENTS = (GUARDRAIL_TRIPPED, "confirmation.button", "recap.incomplete")  # our own ones that a reader must see


@dataclass(frozen=True)
class Turn:
    """A line that somebody said, typed or pressed."""

    item: Item
    delay: str  # "", "good", "slow" or "very_slow"
    kind: str = "turn"

    @property
    def at_ms(self) -> int:
        return self.item.started_ms


@dataclass(frozen=True)
class ToolRow:
    tool_call: ToolCall
    arguments: str
    result: str
    filled: str
    confirmed_in: Item | None  # the line in which the caller said yes, when it was said and not pressed
    failed: bool
    kind: str = "tool"

    @property
    def at_ms(self) -> int:
        return self.tool_call.started_ms


@dataclass(frozen=True)
class EventRow:
    """One of our own events. `kind` is "guardrail", or "note" for the others."""

    event: Event
    kind: str

    @property
    def at_ms(self) -> int:
        return self.event.at_ms


Row = Turn | ToolRow | EventRow


def rows_of(items: Sequence[Item], tool_calls: Iterable[ToolCall], events: Iterable[Event]) -> list[Row]:
    """Return all rows in order: lines by position, and what happened after a line right after it."""
    by_id = {item.item_id: item for item in items}
    keyed: list[tuple[tuple[int, int, int], Row]] = [
        ((item.position, 0, 0), Turn(item, delay_level(item.first_audio_ms))) for item in items
    ]
    for tool_call in tool_calls:
        keyed.append(((tool_call.position, 1, tool_call.started_ms), _tool_row(tool_call, by_id)))
    for event in events:
        kind = "guardrail" if event.type == GUARDRAIL_TRIPPED else "note"
        keyed.append(((_followed(event, items, by_id), 1, event.at_ms), EventRow(event, kind)))
    return [row for _key, row in sorted(keyed, key=lambda pair: pair[0])]


def _followed(event: Event, items: Sequence[Item], by_id: Mapping[str, Item]) -> int:
    """Return the position of the line that an event belongs to: the one it names, else the last one begun before."""
    named = by_id.get(str(event.fields.get("item_id", "")))
    if named is not None:
        return named.position
    return max((item.position for item in items if item.started_ms <= event.at_ms), default=0)


def delay_level(first_audio_ms: int | None) -> str:
    if first_audio_ms is None:
        return ""
    if first_audio_ms <= TARGET_DELAY_MS:
        return "good"
    return "slow" if first_audio_ms <= 2 * TARGET_DELAY_MS else "very_slow"


def pretty(value: Any) -> str:
    """Return JSON to be read by people. Text that is not JSON stays as it is: a model may have written anything."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return _bounded(value)
    return _bounded(json.dumps(value, indent=2, ensure_ascii=False))


def _bounded(text: str) -> str:
    return text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + "…"


def _tool_row(tool_call: ToolCall, by_id: Mapping[str, Item]) -> ToolRow:
    return ToolRow(
        tool_call,
        arguments=pretty(tool_call.arguments) if tool_call.arguments else "",
        result="" if tool_call.output is None else pretty(tool_call.output),
        filled=pretty(tool_call.filled) if tool_call.filled else "",
        confirmed_in=by_id.get(tool_call.confirmed_by),
        failed=tool_call.status in (tool_call.Status.ERROR, tool_call.Status.UNKNOWN),
    )
