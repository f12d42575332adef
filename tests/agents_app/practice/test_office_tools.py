"""What callers hear about day, hours and services comes from the rows."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agents_app.models import Clinic, ClinicHours
from tests.make import make_clinic
from tests.make_practice import make_closure, make_context, make_practice, make_provider, make_visit_type, run_tool

MONDAY = date(2026, 11, 30)
THANKSGIVING = date(2026, 11, 26)


def test_datetime_is_the_clinics_with_the_coming_days() -> None:
    context = make_context(Clinic(timezone="Pacific/Auckland"), now=datetime(2026, 11, 23, 14, 0, tzinfo=UTC))

    data = run_tool("get_datetime", context).data

    assert (data["today"], data["time"], data["time_zone"]) == ("2026-11-24", "03:00", "Pacific/Auckland")
    assert data["say"] == "Today is Tuesday, November 24, and it is 3:00 AM."
    assert data["coming_days"][-1] == {"on_date": "2026-12-01", "day": "Tuesday, December 1"}


@pytest.mark.django_db
def test_office_context_is_made_from_the_rows() -> None:
    practice = make_practice(name="Barton Dental", policies="Cash or card.\n\nParking behind the house.")
    ClinicHours.objects.filter(clinic=practice.clinic, weekday=4).update(closes="13:00")
    make_closure(practice.clinic, THANKSGIVING)
    make_closure(practice.clinic, MONDAY, provider=practice.provider, reason="Ill")
    make_closure(make_clinic(), THANKSGIVING, reason="Elsewhere")

    data = run_tool("get_office_context", make_context(practice.clinic)).data

    assert data["hours"][3:6] == [
        {"day": "Thursday", "hours": "9:00 AM to 5:00 PM"},
        {"day": "Friday", "hours": "9:00 AM to 1:00 PM"},
        {"day": "Saturday", "hours": "closed"},
    ]
    assert data["say"] == (
        "Our hours are Monday to Thursday, 9:00 AM to 5:00 PM; Friday, 9:00 AM to 1:00 PM; Saturday to Sunday, closed. "
        "We are at 1 Elm Street. Our phone number is +1 555 0100."
    )
    assert data["closed"] == [{"when": "Thursday, November 26", "reason": "Thanksgiving"}]
    assert data["policies"] == ["Cash or card.", "Parking behind the house."]
    assert (data["visit_types"], data["providers"]) == ([{"visit_type": "Cleaning", "minutes": 60}], ["Dr. Adams"])
    assert (data["name"], data["address"], data["phone"]) == ("Barton Dental", "1 Elm Street", "+1 555 0100")


@pytest.mark.django_db
def test_office_says_a_holidays_own_hours() -> None:
    practice = make_practice()
    noon = practice.at(THANKSGIVING, 12)
    context = make_context(practice.clinic, now=practice.at(THANKSGIVING, 10))

    before = run_tool("get_office_context", context).data["today"]
    closure = make_closure(practice.clinic, THANKSGIVING, starts=noon)
    early = run_tool("get_office_context", context).data["today"]
    closure.starts = practice.at(THANKSGIVING, 0)
    closure.save()
    closed = run_tool("get_office_context", context).data["today"]

    assert (before, early, closed) == ("9:00 AM to 5:00 PM", "9:00 AM to 12:00 PM", "closed today")


@pytest.mark.django_db
def test_office_context_takes_the_same_queries_with_one_row_and_with_three() -> None:
    practice = make_practice()

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            run_tool("get_office_context", make_context(practice.clinic))
        return len(captured)

    make_closure(practice.clinic, THANKSGIVING)
    one = queries()
    for n in (1, 2):
        make_closure(practice.clinic, THANKSGIVING + timedelta(days=n))
        make_visit_type(practice.clinic, name=f"Visit {n}")
        make_provider(practice.clinic)

    assert queries() == one
