"""A function call's arguments: checked strictly, and what is wrong is named by its title, never by its value."""

from __future__ import annotations

import json
from datetime import date
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from agents_app.tools import ToolError, ToolOutcome, ToolSpec, registered_tools
from sessions_app.tool_gateway import MAX_ARGUMENTS_CHARS, read_arguments

CANARY = "CANARY-2f9c"
NOT_JSON = "The arguments are not JSON."


class Visit(BaseModel):
    model_config = ConfigDict(extra="forbid")

    day: date = Field(title="Day of the visit")
    kind: Literal["cleaning", "check"] = Field(title="Kind of visit")
    name: str = Field(title="Full name", max_length=20, pattern=r"^[A-Za-z ]+$")
    count: int = Field(default=1, title="How many", ge=1, le=9)


GOOD = {"day": "2026-11-23", "kind": "cleaning", "name": "Ann Lee"}
SPEC = ToolSpec("try_it", "Try it", Visit, lambda context, visit: ToolOutcome({}))


def refusal(spec: ToolSpec, text: str) -> ToolError:
    with pytest.raises(ToolError) as refused:
        read_arguments(spec, text)
    return refused.value


def test_good_arguments_are_read():
    assert read_arguments(SPEC, json.dumps(GOOD)) == Visit(day=date(2026, 11, 23), kind="cleaning", name="Ann Lee")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("{", NOT_JSON),
        ("", "Ask the caller for: Day of the visit, Kind of visit, Full name."),
        ("null", "Not usable: arguments: Input should be an object."),
        ("[]", "Not usable: arguments: Input should be an object."),
        (f'"{CANARY}"', "Not usable: arguments: Input should be an object."),
        ("{" * 5000, NOT_JSON),
        ("[" * 15_000, NOT_JSON),
        ('{"day": NaN}', NOT_JSON),
        ('{"name": "a", "name": "b"}', NOT_JSON),
        ('{"name": "a\\u0000b"}', NOT_JSON),
        ("\ufeff{}", NOT_JSON),
        ("a" * (MAX_ARGUMENTS_CHARS + 1), "The arguments are too long."),
        ({"day": "2026-11-23"}, "Ask the caller for: Kind of visit, Full name."),
        ({**GOOD, "day": CANARY}, None),
        ({**GOOD, "day": 20261123}, None),
        ({**GOOD, "kind": CANARY}, "Not usable: Kind of visit: Input should be 'cleaning' or 'check'."),
        ({**GOOD, "kind": "Cleaning"}, "Not usable: Kind of visit: Input should be 'cleaning' or 'check'."),
        ({**GOOD, "name": CANARY * 9}, "Not usable: Full name: String should have at most 20 characters."),
        ({**GOOD, "name": CANARY}, None),
        ({**GOOD, "name": [CANARY]}, "Not usable: Full name: Input should be a valid string."),
        ({**GOOD, "count": "1"}, "Not usable: How many: Input should be a valid integer."),
        ({**GOOD, "count": 1.0}, "Not usable: How many: Input should be a valid integer."),
        ({**GOOD, "count": True}, "Not usable: How many: Input should be a valid integer."),
        ({**GOOD, "count": 10**30}, "Not usable: How many: Input should be less than or equal to 9."),
        (
            {**GOOD, CANARY: 1},
            "Not usable: a field that the tool does not have: Extra inputs are not permitted.",
        ),
        (
            {**GOOD, "clinic_id": 1},
            "Not usable: a field that the tool does not have: Extra inputs are not permitted.",
        ),
    ],
)
def test_wrong_arguments_name_the_fields_titles_and_no_value(arguments: Any, message: str | None):
    error = refusal(SPEC, arguments if isinstance(arguments, str) else json.dumps(arguments))

    assert error.code == "invalid_arguments"
    assert message is None or error.message == message
    assert CANARY not in error.message


@pytest.mark.parametrize("name", sorted(registered_tools()))
def test_no_tool_repeats_what_it_refuses(name: str):
    spec = registered_tools()[name]
    wrong = {field: CANARY * 200 for field in spec.arguments.model_fields} | {CANARY: CANARY}

    error = refusal(spec, json.dumps(wrong))

    assert error.code == "invalid_arguments"
    assert CANARY not in error.message


@pytest.mark.parametrize("name", sorted(registered_tools()))
def test_no_tool_takes_a_clinic_a_patient_or_a_call_from_its_arguments(name):
    spec = registered_tools()[name]

    named = {field for field in spec.arguments.model_fields if field.split("_")[0] in ("clinic", "patient", "call")}
    ids = {field for field in spec.arguments.model_fields if field.endswith("_id")}

    assert named == set()
    assert ids <= {"slot_id", "appointment_id"}
    assert spec.arguments.model_config["extra"] == "forbid"


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(registered_tools())), st.data())
def test_any_arguments_are_read_or_refused_and_nothing_else(name: str, data: st.DataObject):
    spec = registered_tools()[name]
    fields = st.sampled_from([*spec.arguments.model_fields, "clinic_id", "patient_id", "confirmed"])
    given_fields = data.draw(st.dictionaries(fields, anything, max_size=6))

    try:
        outcome: BaseModel | str = read_arguments(spec, json.dumps(given_fields))
    except ToolError as error:
        outcome = error.code

    assert outcome == "invalid_arguments" or isinstance(outcome, spec.arguments)
