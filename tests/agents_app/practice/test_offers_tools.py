"""Free times: offered in the clinic's zone, few of them, and never on a day that has none."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pydantic import ValidationError

from agents_app.practice.models import ProviderSchedule
from tests.make import make_clinic
from tests.make_practice import (
    an_identified_call,
    make_appointment,
    make_closure,
    make_context,
    make_patient,
    make_practice,
    make_provider,
    make_visit_type,
    recap_of,
    refused,
    run_tool,
)

MONDAY = date(2026, 11, 30)
THANKSGIVING = date(2026, 11, 26)


@pytest.mark.django_db
def test_slots_are_offered_in_the_clinics_time_and_can_be_booked() -> None:
    _, patient, context = an_identified_call()

    offered = run_tool("find_slots", context, visit_type="I would like to book a cleaning", on_date="2026-11-30")

    slots = offered.data["slots"]
    assert [(slot["starts"], slot["provider"], slot["on_date"]) for slot in slots] == [
        ("Monday, November 30 at 9:00 AM", "Dr. Adams", "2026-11-30"),
        ("Monday, November 30 at 12:00 PM", "Dr. Adams", "2026-11-30"),
        ("Monday, November 30 at 4:00 PM", "Dr. Adams", "2026-11-30"),
    ]
    assert offered.data["say"].startswith("I have Monday, November 30 at 9:00 AM, Monday, November 30 at 12:00 PM or ")
    assert offered.confidence is None
    for slot in slots:
        assert recap_of("book_appointment", context, slot_id=slot["slot_id"]).values["patient_id"] == patient.pk


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("wish", "hours"),
    [
        ({"day_part": "afternoon"}, [12, 14, 16]),
        ({"around": "14:00"}, [13, 14, 14]),
        ({"day_part": "morning", "provider": "Doctor Adams"}, [9, 10, 11]),
    ],
)
def test_wishes_narrow_the_offer(wish: dict[str, str], hours: list[int]) -> None:
    _, _, context = an_identified_call()

    data = run_tool("find_slots", context, visit_type="cleaning", on_date="2026-11-30", **wish).data

    said = [
        datetime.strptime(slot["starts"].split(" at ")[1], "%I:%M %p").replace(tzinfo=UTC) for slot in data["slots"]
    ]
    assert [moment.hour for moment in said] == hours


@pytest.mark.django_db
def test_time_without_a_day_is_looked_for_on_the_next_days() -> None:
    _, _, context = an_identified_call()

    data = run_tool("find_slots", context, visit_type="cleaning", around="14:00").data

    assert [slot["starts"] for slot in data["slots"]] == [
        "Monday, November 23 at 2:00 PM",
        "Tuesday, November 24 at 2:00 PM",
        "Wednesday, November 25 at 2:00 PM",
    ]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("day", "code", "message"),
    [
        ("2026-11-22", "day_past", "Sunday, November 22 is in the past. The next free times are Monday, November 23"),
        ("2026-11-26", "day_closed", "We are closed on Thursday, November 26: Thanksgiving. The next free times are"),
        ("2026-11-28", "day_closed", "We are closed on Saturday, November 28. The next free times are Monday, Nov"),
    ],
)
def test_day_past_or_closed_is_refused_in_words_with_the_next_free_times(day: str, code: str, message: str) -> None:
    practice = make_practice()
    make_closure(practice.clinic, THANKSGIVING)

    data = run_tool("find_slots", make_context(practice.clinic), visit_type="cleaning", on_date=day).data

    assert data["refused"] == code
    assert data["say"].startswith(message)
    assert day not in {slot["on_date"] for slot in data["slots"]}


@pytest.mark.django_db
def test_day_beyond_the_horizon_is_refused_with_nothing_instead() -> None:
    practice = make_practice()

    error = refused("find_slots", make_context(practice.clinic), visit_type="cleaning", on_date="2027-06-01")

    assert error.code == "day_beyond_horizon"
    assert error.message == "Tuesday, June 1 is too far ahead: we book 90 days ahead."


@pytest.mark.django_db
def test_full_day_is_answered_with_the_next_free_times() -> None:
    practice = make_practice()
    patient = make_patient(practice.clinic)
    for hour in range(9, 17):
        make_appointment(practice, patient, practice.at(MONDAY, hour))

    data = run_tool("find_slots", make_context(practice.clinic), visit_type="cleaning", on_date="2026-11-30").data

    assert data["refused"] == "day_full"
    assert data["say"].startswith("Nothing suitable is free on Monday, November 30. The next free times are Tuesday,")
    assert [slot["on_date"] for slot in data["slots"]] == ["2026-12-01", "2026-12-01", "2026-12-02"]


@pytest.mark.django_db
def test_visit_that_is_unclear_or_unknown_names_the_choices() -> None:
    practice = make_practice()
    for name in ("Root canal molar", "Root canal front"):
        make_visit_type(practice.clinic, name=name)
    make_visit_type(make_clinic(), name="Haircut")
    context = make_context(practice.clinic)

    several = refused("find_slots", context, visit_type="root canal")
    unknown = refused("find_slots", context, visit_type="haircut")
    fuzzy = run_tool("find_slots", context, visit_type="cleanings")

    assert (several.code, several.data) == ("visit_type_unclear", {"choices": ["Root canal front", "Root canal molar"]})
    assert unknown.data == {"choices": ["Cleaning", "Root canal front", "Root canal molar"]}
    assert fuzzy.data["visit_type"] == "Cleaning"
    assert fuzzy.confidence == pytest.approx(0.85, abs=0.01)


@pytest.mark.django_db
def test_clinic_without_providers_hours_or_visits_takes_a_message_and_books_nothing() -> None:
    bare = make_clinic()
    unstaffed = make_practice()
    unstaffed.visit_type.providers.clear()
    off_duty = make_practice()
    ProviderSchedule.objects.filter(provider=off_duty.provider).delete()
    borrowed = make_practice()
    borrowed.visit_type.providers.set([make_practice().provider])

    errors = [
        refused("find_slots", make_context(clinic), visit_type="cleaning")
        for clinic in (bare, unstaffed.clinic, off_duty.clinic, borrowed.clinic)
    ]

    assert {error.code for error in errors} == {"nothing_to_book"}
    assert all(error.message.endswith("I can take a message for the team.") for error in errors)


@pytest.mark.django_db
def test_search_takes_the_same_queries_with_one_row_and_with_three() -> None:
    practice = make_practice()
    patient = make_patient(practice.clinic)
    context = make_context(practice.clinic)

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            run_tool("find_slots", context, visit_type="cleaning", on_date="2026-11-30")
        return len(captured)

    make_appointment(practice, patient, practice.at(MONDAY, 9))
    run_tool("find_slots", context, visit_type="cleaning")
    one = queries()
    for hour in (10, 11):
        make_appointment(practice, patient, practice.at(MONDAY, hour))
        practice.visit_type.providers.add(make_provider(practice.clinic))

    assert queries() == one


@pytest.mark.django_db
def test_clinic_in_another_zone_offers_its_own_local_time_across_a_change_of_clocks() -> None:
    practice = make_practice(timezone="Europe/London")
    context = make_context(practice.clinic, now=datetime(2027, 3, 26, 8, 0, tzinfo=UTC))

    winter = run_tool("find_slots", context, visit_type="cleaning", on_date="2027-03-26", around="10:00").data["slots"]
    summer = run_tool("find_slots", context, visit_type="cleaning", on_date="2027-03-29", around="10:00").data["slots"]

    assert "Friday, March 26 at 10:00 AM" in [slot["starts"] for slot in winter]
    assert "Monday, March 29 at 10:00 AM" in [slot["starts"] for slot in summer]
    assert practice.at(date(2027, 3, 26), 10).hour - practice.at(date(2027, 3, 29), 10).hour == 1


@pytest.mark.django_db
def test_leap_day_is_booked_and_29_february_of_a_common_year_is_no_date() -> None:
    practice = make_practice()
    patient = make_patient(practice.clinic)
    context = make_context(practice.clinic, patient=patient, now=datetime(2028, 2, 20, 12, 0, tzinfo=UTC))

    slot = run_tool("find_slots", context, visit_type="cleaning", on_date="2028-02-29").data["slots"][0]
    outcome = run_tool("book_appointment", context, slot_id=slot["slot_id"])

    assert outcome.data["starts"] == "Tuesday, February 29 at 9:00 AM"
    with pytest.raises(ValidationError):
        run_tool("find_slots", context, visit_type="cleaning", on_date="2027-02-29")
