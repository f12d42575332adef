from __future__ import annotations

import pytest

from sessions_app.models import Event, Item, ToolCall
from sessions_app.review.transcript import SHOWN_CHARS, EventRow, ToolRow, Turn, delay_level, pretty, rows_of


def an_item(position: int, started_ms: int, item_id: str = "") -> Item:
    return Item(item_id=item_id or f"item_{position}", position=position, started_ms=started_ms)


def a_tool_call(position: int, started_ms: int, **fields: object) -> ToolCall:
    return ToolCall(**{"call_id": f"call_{started_ms}", "position": position, "started_ms": started_ms, **fields})


def test_rows_stand_in_order_of_position_whenever_they_began():
    first, second = an_item(1, 900), an_item(2, 400)

    rows = rows_of([first, second], [], [])

    assert rows == [Turn(first, ""), Turn(second, "")]


def test_tool_calls_follow_the_line_of_their_position_in_the_order_in_which_they_began():
    items = [an_item(1, 0), an_item(2, 5_000)]
    early, late = a_tool_call(1, 2_000), a_tool_call(1, 3_000)

    rows = rows_of(items, [late, early], [])

    assert [(row.kind, row.at_ms) for row in rows] == [("turn", 0), ("tool", 2_000), ("tool", 3_000), ("turn", 5_000)]


def test_a_guardrail_follows_the_line_that_tripped_it_and_not_the_one_that_had_begun_since():
    items = [an_item(1, 0, "said"), an_item(2, 900, "reply")]
    event = Event(type="guardrail.tripped", at_ms=1_000, fields={"rule": "Emergency", "item_id": "said"})

    rows = rows_of(items, [], [event])

    assert rows == [Turn(items[0], ""), EventRow(event, "guardrail"), Turn(items[1], "")]


def test_an_event_that_names_no_line_follows_the_last_one_begun_before_it():
    items = [an_item(1, 0), an_item(2, 900), an_item(3, 2_000)]
    event = Event(type="confirmation.button", at_ms=1_000, fields={"answer": "yes"})

    rows = rows_of(items, [], [event])

    assert rows[2] == EventRow(event, "note")


def test_a_tool_call_names_the_line_in_which_the_caller_said_yes():
    yes = an_item(3, 8_000, "item_yes")

    rows = rows_of([yes], [a_tool_call(3, 9_000, confirmed_by="item_yes"), a_tool_call(3, 9_500)], [])

    assert [row.confirmed_in for row in rows if isinstance(row, ToolRow)] == [yes, None]


@pytest.mark.parametrize(
    ("status", "failed"),
    [
        (ToolCall.Status.OK, False),
        (ToolCall.Status.RUNNING, False),
        (ToolCall.Status.ERROR, True),
        (ToolCall.Status.UNKNOWN, True),
    ],
)
def test_a_tool_call_that_did_not_come_to_an_end_has_failed(status, failed):
    (row,) = rows_of([], [a_tool_call(0, 0, status=status)], [])

    assert isinstance(row, ToolRow)
    assert row.failed is failed


@pytest.mark.parametrize(
    ("delay_ms", "level"),
    [(None, ""), (0, "good"), (1_000, "good"), (1_001, "slow"), (2_000, "slow"), (2_001, "very_slow")],
)
def test_delay_is_slow_over_the_target_and_very_slow_over_twice_the_target(delay_ms, level):
    assert delay_level(delay_ms) == level


def test_pretty_indents_json_and_leaves_other_text_alone():
    assert pretty('{"a":[1]}') == '{\n  "a": [\n    1\n  ]\n}'
    assert pretty('{"a": ') == '{"a": '
    assert pretty({"name": "José"}) == '{\n  "name": "José"\n}'


def test_pretty_is_bounded():
    assert pretty("x" * (SHOWN_CHARS + 5)) == "x" * SHOWN_CHARS + "…"
