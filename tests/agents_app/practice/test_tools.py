"""What holds for every tool: strict arguments, and nothing of anybody else's."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError

from agents_app.models import Clinic
from agents_app.practice.models import Appointment
from agents_app.tools import registered_tools
from tests.make_practice import (
    an_identified_call,
    make_appointment,
    make_context,
    make_patient,
    make_practice,
    refused,
    run_tool,
)

NAMES = {
    "get_datetime", "get_office_context", "find_patient", "register_patient", "find_slots", "book_appointment",
    "list_appointments", "reschedule_appointment", "cancel_appointment", "take_message", "end_call",
}  # fmt: skip
WRITES = {
    "register_patient", "book_appointment", "reschedule_appointment", "cancel_appointment", "take_message",
}  # fmt: skip
MONDAY = date(2026, 11, 30)
ANN: dict[str, Any] = {"first_name": "Ann", "last_name": "Lee", "date_of_birth": "1990-03-03"}


def test_registry_holds_the_tools_and_knows_which_write() -> None:
    tools = {name: spec for name, spec in registered_tools().items() if name in NAMES}

    assert set(tools) == NAMES
    assert {name for name, spec in tools.items() if spec.writes} == WRITES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_definition_is_strict_bounded_and_worded_for_people(name: str) -> None:
    definition = registered_tools()[name].definition()

    parameters = definition["parameters"]
    assert parameters["additionalProperties"] is False
    assert "$ref" not in str(parameters)
    for field in parameters["properties"].values():
        assert field["title"]
        assert field["description"] if "description" in field else field["anyOf"][0]["description"]
        for shape in field.get("anyOf", [field]):
            bounded = "maxLength" in shape or "enum" in shape or "format" in shape
            assert bounded or shape["type"] in ("null", "integer")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("find_patient", {**ANN, "patient_id": 7}),
        ("find_patient", {**ANN, "clinic": 2}),
        ("find_patient", {**ANN, "date_of_birth": "2025-02-29"}),
        ("find_patient", {**ANN, "date_of_birth": 631152000}),
        ("find_patient", {**ANN, "date_of_birth": "631152000"}),
        ("find_patient", {**ANN, "first_name": 5}),
        ("find_patient", {"first_name": "Ann", "last_name": "Lee"}),
        ("find_slots", {"visit_type": "x" * 201}),
        ("find_slots", {"visit_type": "cleaning", "day_part": "night"}),
        ("find_slots", {"visit_type": "cleaning", "around": "25:00"}),
        ("cancel_appointment", {"appointment_id": "7"}),
        ("cancel_appointment", {"appointment_id": 0}),
        ("book_appointment", {"slot_id": "s1-1-1", "confirmed": True}),
        ("end_call", {"now": True}),
    ],
)
def test_arguments_beyond_the_model_are_refused(name: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        run_tool(name, make_context(Clinic(name="Nowhere")), **arguments)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("list_appointments", {}),
        ("book_appointment", {"slot_id": "s1-1-1"}),
        ("reschedule_appointment", {"appointment_id": 1, "slot_id": "s1-1-1"}),
        ("cancel_appointment", {"appointment_id": 1}),
        ("find_slots", {"visit_type": "cleaning", "appointment_id": 1}),
    ],
)
def test_nobody_and_anothers_patient_are_not_identified(name: str, arguments: dict[str, Any]) -> None:
    practice, theirs = make_practice(), make_practice()
    unknown = make_context(practice.clinic)
    foreign = make_context(practice.clinic, patient=make_patient(theirs.clinic))

    codes = [refused(name, context, **arguments).code for context in (unknown, foreign)]
    if name in WRITES:
        codes += [refused(name, context, recap=True, **arguments).code for context in (unknown, foreign)]

    assert set(codes) == {"patient_not_identified"}


@pytest.mark.django_db
def test_appointment_and_slot_of_another_do_not_exist() -> None:
    practice, patient, context = an_identified_call()
    theirs = make_practice()
    foreign = make_appointment(theirs, make_patient(theirs.clinic), theirs.at(MONDAY, 9))
    bobs = make_appointment(practice, make_patient(practice.clinic, first_name="Bob"), practice.at(MONDAY, 9))
    mine = make_appointment(practice, patient, practice.at(MONDAY, 11))
    never = 10**9

    gone = [
        refused(name, context, recap=recap, appointment_id=pk, **more)
        for pk in (foreign.pk, bobs.pk, never)
        for name, more in (
            ("cancel_appointment", {}),
            ("reschedule_appointment", {"slot_id": str(practice.ref(MONDAY, 13))}),
        )
        for recap in (True, False)
    ]
    slot = refused("book_appointment", context, slot_id=str(theirs.ref(MONDAY, 13)))
    moved = refused("reschedule_appointment", context, appointment_id=mine.pk, slot_id=str(theirs.ref(MONDAY, 13)))

    assert len({(error.code, error.message, str(error.data)) for error in gone}) == 1
    assert (gone[0].code, slot.code, moved.code) == ("appointment_not_found", "slot_unknown", "slot_unknown")
    assert Appointment.objects.filter(status="cancelled").count() == 0
