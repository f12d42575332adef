"""The review pages, without a browser: the list of calls, who sees what, and signing in."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from agents_app.models import Clinic, ClinicGroup
from sessions_app.models import CallSession, CallView
from sessions_app.views import review
from tests.make import make_clinic, make_user
from tests.make_calls import (
    make_booking,
    make_call,
    make_emergency,
    make_item,
)
from tests.sessions_app.review.pages import pages_of, text_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def clinic() -> Clinic:
    return make_clinic(name="Barton Dental")


@pytest.fixture
def staff(clinic: Clinic, client: Client) -> Client:
    client.force_login(make_user(clinic, username="maya"))
    return client


def listed(response: Any) -> list[CallSession]:
    return list(response.context["page"].calls)


# The list.


def test_calls_are_listed_newest_first(clinic, staff):
    old, new = make_call(clinic), make_call(clinic)

    assert listed(staff.get("/calls/")) == [new, old]


def test_a_row_tells_what_a_reviewer_chooses_by(clinic, staff):
    call = make_booking(clinic, reviewed_at=datetime.now(UTC), reviewed_by=make_user(clinic, username="tom"))

    row = text_of(staff.get("/calls/"))

    agent = call.version.agent.name
    assert f"{call.reference} Nov 20, 2026," in row
    assert (
        f"EST {agent} Barton Dental booked 1 tool failed the receptionist said goodbye 1:24 2.7 s $0.064 by tom" in row
    )


def test_a_call_in_progress_says_so_and_waits_for_no_review(clinic, staff):
    make_call(clinic, state="live", ended_at=None, duration_ms=None, outcome="", end_reason="", cost_microusd=None)

    row = text_of(staff.get("/calls/"))

    assert "in progress" in row
    assert "$" not in row
    assert "to review" not in row


def test_the_list_takes_as_many_queries_for_three_rows_as_for_one(clinic, staff, django_assert_num_queries):
    make_booking(clinic)
    with django_assert_num_queries(5):
        staff.get("/calls/")
    make_booking(clinic)
    make_emergency(clinic)

    with django_assert_num_queries(5):
        response = staff.get("/calls/")

    assert len(listed(response)) == 3


def test_a_page_holds_twenty_five_calls_and_leads_on_with_its_filter(clinic, staff):
    calls = [make_call(clinic, outcome="failed") for _ in range(26)][::-1]
    make_call(clinic, outcome="booked")

    first = staff.get("/calls/?outcome=failed")
    second = staff.get(f"/calls/?outcome=failed&before={calls[24].pk}")

    assert listed(first) == calls[:25]
    assert f"?outcome=failed&amp;before={calls[24].pk}" in first.content.decode()
    assert listed(second) == calls[25:]
    assert f"?outcome=failed&amp;after={calls[25].pk}" in second.content.decode()


def test_the_form_leads_to_an_address_that_holds_the_filters_and_no_words(clinic, staff):
    call = make_call(clinic, outcome="message")
    make_item(call, "It is about my crown")
    make_call(clinic, outcome="message")

    response = staff.post("/calls/", {"outcome": "message", "words": "crown", "end_reason": ""})

    assert response.status_code == 302
    assert response.headers["Location"].startswith("/calls/?outcome=message&search=")
    assert "crown" not in response.headers["Location"]
    assert listed(staff.get(response.headers["Location"])) == [call]


def test_the_count_stops_where_counting_would_cost(clinic, staff, monkeypatch):
    # A thousand rows would show the same, only later.
    monkeypatch.setattr(review, "COUNTED_CALLS", 1)
    make_call(clinic)
    make_call(clinic)

    assert "more than 1 calls" in text_of(staff.get("/calls/"))


def test_an_empty_list_says_what_to_do(clinic, staff):
    assert "No calls yet" in text_of(staff.get("/calls/"))
    assert "No call fits these filters" in text_of(staff.get("/calls/?outcome=booked"))
    assert "From: Enter a valid date." in text_of(staff.get("/calls/?since=yesterday"))


# Who may see what.


def test_another_clinics_calls_do_not_exist(staff):
    other = make_booking(make_clinic())

    assert listed(staff.get("/calls/")) == []
    assert [staff.get(page).status_code for page in pages_of(other)] == [404, 404]
    assert staff.post(f"/calls/{other.pk}/reviewed/").status_code == 404
    other.refresh_from_db()
    assert (other.reviewed_at, CallView.objects.count()) == (None, 0)


def test_a_call_of_another_clinic_is_answered_like_one_that_never_was(staff, settings):
    settings.DEBUG = False
    other, nowhere = make_call(make_clinic()).pk, uuid.uuid4()

    answers = [staff.get(f"/calls/{pk}/").content.decode().replace(str(pk), "") for pk in (other, nowhere)]

    assert answers[0] == answers[1]


def test_another_clinics_call_is_no_anchor_and_no_neighbour(clinic, staff):
    own, other = make_call(clinic), make_call(make_clinic())

    assert listed(staff.get(f"/calls/?before={other.pk}")) == [own]
    response = staff.get(f"/calls/{own.pk}/")
    assert (response.context["newer"], response.context["older"]) == (None, None)


def test_a_member_of_a_group_sees_the_calls_of_its_clinics_alone(client):
    group = ClinicGroup.objects.create(name="Barton")
    first, second = make_call(make_clinic(group=group)), make_call(make_clinic(group=group))
    make_call(make_clinic())
    user = make_user()
    user.memberships.create(group=group, role="reviewer")
    client.force_login(user)

    assert listed(client.get("/calls/")) == [second, first]
    assert client.get(f"/calls/{first.pk}/").status_code == 200


def test_somebody_of_no_clinic_sees_no_call_and_is_told_what_to_do(clinic, client):
    call = make_booking(clinic)
    client.force_login(make_user(is_superuser=True))

    assert "You do not belong to a clinic yet" in text_of(client.get("/calls/"))
    assert [client.get(page).status_code for page in pages_of(call)] == [404, 404]
    assert client.post(f"/calls/{call.pk}/reviewed/").status_code == 404


def test_somebody_who_has_left_is_let_in_no_more(clinic, client):
    user = make_user(clinic)
    client.force_login(user)
    user.is_active = False
    user.save()

    assert client.get("/calls/").status_code == 302


def test_nobody_is_let_in_without_a_login(clinic, client):
    call = make_booking(clinic)

    for page in ["/calls/", *pages_of(call)]:
        assert client.get(page).headers["Location"] == f"/login/?next={page}"
    assert client.post("/calls/", {"words": "crown"}).headers["Location"] == "/login/?next=/calls/"
    assert client.post(f"/calls/{call.pk}/reviewed/").status_code == 302
    assert CallSession.objects.get().reviewed_at is None
    assert CallView.objects.count() == 0


def test_methods_that_are_not_meant_are_refused(clinic, staff):
    call = make_call(clinic)

    answers = [
        staff.generic(method, path).status_code
        for path, methods in {
            "/calls/": ("PUT", "DELETE"),
            f"/calls/{call.pk}/": ("POST", "PUT", "DELETE"),
            f"/calls/{call.pk}/events/": ("POST",),
            f"/calls/{call.pk}/reviewed/": ("GET", "PUT"),
            "/logout/": ("GET",),
        }.items()
        for method in methods
    ]

    assert answers == [405] * 9


def test_pages_with_what_patients_said_are_kept_in_no_cache(clinic, staff):
    call = make_call(clinic)

    for page in ["/calls/", "/tasks/", *pages_of(call)]:
        assert "no-store" in staff.get(page).headers["Cache-Control"]


# Signing in and out.


def test_a_member_of_staff_signs_in_and_out(clinic, client):
    user = make_user(clinic, password="correct horse battery")

    response = client.post(
        "/login/", {"username": user.username, "password": "correct horse battery", "next": "/tasks/"}
    )
    assert response.headers["Location"] == "/tasks/"
    assert client.post("/logout/").headers["Location"] == "/login/"
    assert client.get("/calls/").headers["Location"] == "/login/?next=/calls/"


def test_a_wrong_password_is_told_without_saying_which_half_was_wrong(clinic, client):
    user = make_user(clinic)

    known, unknown = (
        text_of(client.post("/login/", {"username": name, "password": "wrong"})) for name in (user.username, "nobody")
    )

    assert "Please enter a correct username and password" in known
    assert known == unknown


def test_a_login_leads_to_no_other_site(clinic, client):
    user = make_user(clinic, password="correct horse battery")

    response = client.post(
        "/login/", {"username": user.username, "password": "correct horse battery", "next": "https://evil.example/"}
    )

    assert response.headers["Location"] == "/calls/"
