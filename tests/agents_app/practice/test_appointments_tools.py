"""Booking, listing, moving and cancelling: read back from the values, confirmed from the row."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agents_app.practice.models import Appointment
from tests.make_practice import (
    an_identified_call,
    make_appointment,
    make_patient,
    make_provider,
    recap_of,
    refused,
    run_tool,
)

MONDAY = date(2026, 11, 30)


@pytest.mark.django_db
def test_booking_is_read_back_from_the_values_and_confirmed_from_the_row() -> None:
    practice, patient, context = an_identified_call(arrival_note="Please come 15 minutes early.")
    slot_id = str(practice.ref(MONDAY, 10, 30))

    recap = recap_of("book_appointment", context, slot_id=slot_id)
    outcome = run_tool("book_appointment", context, slot_id=slot_id)

    assert recap.question == (
        "I will book a cleaning for Ann Lee with Dr. Adams on Monday, November 30 at 10:30 AM. Shall I go ahead?"
    )
    assert recap.spoken == ("cleaning", "Monday, November 30", "10:30 AM", "Dr. Adams")
    assert recap.lines == (
        ("Visit", "Cleaning"),
        ("For", "Ann Lee"),
        ("When", "Monday, November 30 at 10:30 AM"),
        ("With", "Dr. Adams"),
        ("Before your visit", "Please come 15 minutes early."),
    )
    row = Appointment.objects.get()
    assert (row.patient, row.booked_by, row.booked_by_call) == (patient, "call", context.call_id)
    assert outcome.card == (
        ("Booked", "Cleaning"),
        ("When", "Monday, November 30 at 10:30 AM"),
        ("With", "Dr. Adams"),
        ("Where", "1 Elm Street"),
        ("Reference", row.reference),
    )
    assert outcome.data["say"] == (
        "You are booked for Monday, November 30 at 10:30 AM with Dr. Adams. "
        f"Your reference is {row.reference}. Please come 15 minutes early."
    )


@pytest.mark.django_db
def test_arrival_note_is_for_new_patients_alone() -> None:
    practice, patient, context = an_identified_call(arrival_note="Please come 15 minutes early.")
    make_appointment(practice, patient, practice.at(date(2026, 11, 20), 9), status="completed")

    recap = recap_of("book_appointment", context, slot_id=str(practice.ref(MONDAY, 9)))

    assert "Before your visit" not in dict(recap.lines)


@pytest.mark.django_db
def test_same_values_make_equal_recaps_and_other_values_do_not() -> None:
    practice, _, context = an_identified_call()
    ref = practice.ref(MONDAY, 9)
    run_tool("find_slots", context, visit_type="cleaning", on_date="2026-11-30")

    by_id = recap_of("book_appointment", context, slot_id=str(ref))
    by_words = recap_of("book_appointment", context, slot_id="the first one")
    other = recap_of("book_appointment", context, slot_id=str(practice.ref(MONDAY, 10)))
    bob = make_patient(practice.clinic, first_name="Bob")
    for_bob = recap_of("book_appointment", replace(context, patient_id=bob.pk), slot_id=str(ref))

    assert by_id == by_words
    assert by_id.values not in (other.values, for_bob.values)


@pytest.mark.django_db
@pytest.mark.parametrize(("words", "hour"), [("the second one", 12), ("nine", 9), ("four o'clock", 16)])
def test_slot_chosen_in_words_is_filled_and_marked_so(words: str, hour: int) -> None:
    practice, _, context = an_identified_call()
    run_tool("find_slots", context, visit_type="cleaning", on_date="2026-11-30")

    outcome = run_tool("book_appointment", context, slot_id=words)

    assert Appointment.objects.get().starts == practice.at(MONDAY, hour)
    assert outcome.filled == {"slot_id": "the caller's choice among the offered times"}


@pytest.mark.django_db
def test_words_choose_among_this_calls_offers_alone() -> None:
    _, _, context = an_identified_call()
    run_tool("find_slots", context, visit_type="cleaning")

    elsewhere = refused("book_appointment", replace(context, call_id=uuid4()), recap=True, slot_id="the first one")
    unclear = refused("book_appointment", context, recap=True, slot_id="whatever")

    assert (elsewhere.code, elsewhere.message) == ("slot_unclear", "Let me look for free times first.")
    assert unclear.message.startswith("Which time would you like: Monday, November 23 at")


@pytest.mark.django_db
def test_slot_taken_meanwhile_is_refused_in_recap_and_in_writing_with_the_next() -> None:
    practice, _, context = an_identified_call()
    slot_id = str(practice.ref(MONDAY, 9))
    make_appointment(practice, make_patient(practice.clinic, first_name="Bob"), practice.at(MONDAY, 9))

    before = refused("book_appointment", context, recap=True, slot_id=slot_id)
    after = refused("book_appointment", context, slot_id=slot_id)

    assert (before.code, after.code) == ("slot_taken", "slot_taken")
    assert after.data is not None
    assert [slot["starts"] for slot in after.data["slots"]] == [
        "Monday, November 30 at 10:00 AM",
        "Monday, November 30 at 12:00 PM",
        "Tuesday, December 1 at 9:00 AM",
    ]
    assert after.message.startswith("That time is not free. The next free times are Monday, November 30 at 10:00 AM")


@pytest.mark.django_db
def test_appointments_are_listed_in_order_and_bounded_with_one_query_more_or_less() -> None:
    practice, patient, context = an_identified_call()
    bob = make_patient(practice.clinic, first_name="Bob")
    make_appointment(practice, bob, practice.at(MONDAY, 9))

    def listed() -> tuple[int, list[str]]:
        with CaptureQueriesContext(connection) as captured:
            data = run_tool("list_appointments", context).data
        return len(captured), [row["starts"] for row in data["appointments"]]

    none = run_tool("list_appointments", context).data
    make_appointment(practice, patient, practice.at(MONDAY, 11))
    one = listed()
    for n in range(1, 15):
        make_appointment(practice, patient, practice.at(MONDAY + timedelta(days=n), 11))
    many = listed()

    assert none == {"appointments": [], "say": "You have no appointment with us."}
    assert one == (2, ["Monday, November 30 at 11:00 AM"])
    assert (many[0], len(many[1]), many[1][1]) == (2, 10, "Tuesday, December 1 at 11:00 AM")


@pytest.mark.django_db
def test_move_is_read_back_with_both_times_and_keeps_the_provider() -> None:
    practice, patient, context = an_identified_call()
    practice.visit_type.providers.add(make_provider(practice.clinic, name="A. Another"))
    row = make_appointment(practice, patient, practice.at(MONDAY, 9))

    offered = run_tool("find_slots", context, visit_type="?", appointment_id=row.pk, on_date="2026-12-01")
    wanted = {"appointment_id": row.pk, "slot_id": offered.data["slots"][0]["slot_id"]}
    recap = recap_of("reschedule_appointment", context, **wanted)
    outcome = run_tool("reschedule_appointment", context, **wanted)

    assert {slot["provider"] for slot in offered.data["slots"]} == {"Dr. Adams"}
    assert offered.filled == {"visit_type": "appointment_id", "provider": "appointment_id"}
    assert recap.question == (
        "I will move the appointment of Ann Lee for a cleaning from Monday, November 30 at 9:00 AM "
        "to Tuesday, December 1 at 9:00 AM with Dr. Adams. Shall I go ahead?"
    )
    assert all(piece in recap.question for piece in recap.spoken)
    row.refresh_from_db()
    assert row.starts == practice.at(date(2026, 12, 1), 9)
    assert outcome.card[:2] == (("Moved", "Cleaning"), ("When", "Tuesday, December 1 at 9:00 AM"))


@pytest.mark.django_db
def test_cancellation_offers_another_time_and_reads_the_policy_within_a_day() -> None:
    policy = "Cancellations within 24 hours cost 50 dollars."
    practice, patient, context = an_identified_call(policies=f"Cash or card.\n{policy}")
    row = make_appointment(practice, patient, practice.at(MONDAY, 9))
    late = replace(context, now=row.starts - timedelta(hours=3))

    in_time = recap_of("cancel_appointment", context, appointment_id=row.pk)
    too_late = recap_of("cancel_appointment", late, appointment_id=row.pk)
    outcome = run_tool("cancel_appointment", late, appointment_id=row.pk)

    assert in_time.question == (
        "I will cancel the appointment of Ann Lee for a cleaning with Dr. Adams on Monday, November 30 at 9:00 AM. "
        "I could also move it to another time instead. Shall I cancel it?"
    )
    assert policy in too_late.question
    assert ("Please note", policy) in too_late.lines
    assert in_time.values != too_late.values
    assert (outcome.data["late"], outcome.data["status"]) == (True, "cancelled")
    assert outcome.card[0] == ("Cancelled", "Cleaning")
