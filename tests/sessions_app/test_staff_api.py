from __future__ import annotations

import io
import json
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from agents_app.models import ApiToken, Clinic, ClinicGroup
from sessions_app.models import CallSession, CallView
from tests.make import make_agent, make_clinic, make_user
from tests.make_calls import make_booking, make_call, make_item, make_recording, make_tool_call, make_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def clinic() -> Clinic:
    return make_clinic(name="Barton Dental")


@pytest.fixture
def staff(clinic: Clinic, client: Client) -> Client:
    client.force_login(make_user(clinic, username="maya"))
    return client


def program(clinic: Clinic) -> Client:
    _row, token = ApiToken.issue(clinic=clinic, name="Reports")
    return Client(headers={"authorization": f"Bearer {token}"})


def ids(response: Any) -> list[str]:
    return [row["id"] for row in response.json()["results"]]


def test_agents_are_listed_with_their_live_version(clinic, staff):
    agent = make_agent(clinic, name="Lexi", public_name="lexi")
    version = make_version(agent, published_by=make_user(username="paula"))
    make_agent(clinic, name="Max", public_name="max")

    response = staff.get("/api/agents/")

    lexi, other = response.json()["results"]
    assert lexi == {
        "id": agent.pk,
        "name": "Lexi",
        "public_name": "lexi",
        "clinic": "Barton Dental",
        "paused": False,
        "live_version": {
            "number": 1,
            "content_hash": "0" * 64,
            "published_at": version.published_at.isoformat().replace("+00:00", "Z"),
            "published_by": "paula",
        },
    }
    assert (other["name"], other["live_version"]) == ("Max", None)
    assert staff.get(f"/api/agents/{agent.pk}/").json() == lexi


def test_calls_are_listed_newest_first_without_a_word_of_them(clinic, staff):
    old, new = make_call(clinic), make_booking(clinic)

    response = staff.get("/api/calls/")

    assert ids(response) == [str(new.pk), str(old.pk)]
    row = response.json()["results"][0]
    assert (row["reference"], row["tools_failed"], row["worst_delay_ms"], row["timezone"]) == (
        new.reference,
        1,
        2_710,
        "America/New_York",
    )
    assert {"items", "tool_calls", "patients", "usage"} & set(row) == set()


def test_one_call_carries_its_items_tool_calls_usage_and_cost(clinic, staff):
    call = make_call(clinic, usage={"text_in": 5}, cost_microusd=42)
    make_item(call, "Heard. Unheard.", speaker="agent", interrupted=True, heard_ms=700, heard_chars=6)
    make_tool_call(call, "find_slots", arguments='{"day": 1}', output={"status": "ok", "data": [1]})
    make_recording(call)

    whole = staff.get(f"/api/calls/{call.pk}/").json()

    (item,), (tool_call,) = whole["items"], whole["tool_calls"]
    assert (whole["usage"], whole["cost_microusd"], whole["recording"]) == ({"text_in": 5}, 42, "ready")
    assert (item["text"], item["heard_text"], item["heard_ms"]) == ("Heard. Unheard.", "Heard.", 700)
    assert (tool_call["arguments"], tool_call["output"]) == ('{"day": 1}', {"status": "ok", "data": [1]})


def test_patients_are_named_by_reference_alone(clinic, staff):
    call = make_booking(clinic)
    (patient,) = call.patients.all()

    whole = staff.get(f"/api/calls/{call.pk}/").json()

    assert whole["patients"] == [patient.reference]


def test_reading_a_call_leaves_a_row_and_listing_leaves_none(clinic, staff):
    call = make_call(clinic)
    program_ = program(clinic)

    staff.get("/api/calls/")
    staff.get(f"/api/calls/{call.pk}/")
    program_.get(f"/api/calls/{call.pk}/")

    views = CallView.objects.order_by("pk").values_list("user__username", "api_token__name", "door")
    assert list(views) == [("maya", None, "api"), (None, "Reports", "api")]


def test_a_token_sees_its_own_clinic_and_no_other_of_the_group():
    group = ClinicGroup.objects.create(name="Barton")
    clinic = make_clinic(group=group)
    own, sister, stranger = make_call(clinic), make_call(make_clinic(group=group)), make_call(make_clinic())
    reports = program(clinic)

    assert ids(reports.get("/api/calls/")) == [str(own.pk)]
    assert [row["id"] for row in reports.get("/api/agents/").json()["results"]] == [own.version.agent_id]
    assert [reports.get(f"/api/calls/{call.pk}/").status_code for call in (own, sister, stranger)] == [200, 404, 404]
    assert CallView.objects.count() == 1


def test_another_clinics_rows_do_not_exist(staff):
    other = make_call(make_clinic())

    assert ids(staff.get("/api/calls/")) == ids(staff.get("/api/agents/")) == []
    missing, foreign = (staff.get(f"/api/calls/{pk}/") for pk in (uuid.uuid4(), other.pk))
    assert (missing.status_code, missing.content) == (foreign.status_code, foreign.content)
    assert staff.get(f"/api/agents/{other.version.agent_id}/").status_code == 404
    assert CallView.objects.count() == 0


def test_somebody_of_no_clinic_sees_nothing(clinic, client):
    call = make_call(clinic)
    client.force_login(make_user(is_superuser=True))

    assert ids(client.get("/api/calls/")) == ids(client.get("/api/agents/")) == []
    assert client.get(f"/api/calls/{call.pk}/").status_code == 404


PATHS = ("/api/agents/", "/api/calls/", "/api/schema/")


def test_without_login_or_token_the_answer_is_401(clinic, client):
    call = make_call(clinic)

    answers = [client.get(path) for path in (*PATHS, f"/api/calls/{call.pk}/", f"/api/agents/{call.version.agent_id}/")]

    assert [answer.status_code for answer in answers] == [401] * 5
    assert answers[0].headers["WWW-Authenticate"] == 'Bearer realm="staff"'


@pytest.mark.parametrize("value", ["Bearer ", "Bearer fd_wrong", "Bearer ek_x", "bearer x y", "Bearer fd_\xff"])
def test_a_wrong_token_is_refused_even_beside_a_login(staff, value):
    assert staff.get("/api/calls/", headers={"authorization": value}).status_code == 401


def test_a_revoked_token_is_refused(clinic):
    reports = program(clinic)
    ApiToken.objects.update(revoked_at=datetime.now(UTC))

    assert reports.get("/api/calls/").status_code == 401


def test_a_token_opens_no_page(clinic):
    call = make_call(clinic)
    reports = program(clinic)

    assert [reports.get(path).status_code for path in ("/calls/", f"/calls/{call.pk}/", "/tasks/")] == [302] * 3


def test_pages_hold_at_most_a_hundred(clinic, staff):
    for _ in range(102):
        make_call(clinic)

    first = staff.get("/api/calls/?page_size=5000").json()
    second = staff.get(first["next"]).json()

    assert (len(first["results"]), len(second["results"]), second["next"]) == (100, 2, None)
    assert len(staff.get("/api/calls/").json()["results"]) == 25


@pytest.mark.parametrize("cursor", ["x", "cD1ub3doZXJl", "cD0yMDI2", "r=1"])
def test_a_cursor_that_cannot_be_read_is_a_404(clinic, staff, cursor):
    make_call(clinic)

    assert staff.get(f"/api/calls/?cursor={cursor}").status_code == 404


def test_a_cursor_with_a_nul_is_a_404(clinic, staff):
    make_call(clinic)

    assert [staff.get(f"/api/{rows}/?cursor=cD0lMDA=").status_code for rows in ("agents", "calls")] == [404, 404]


def test_calls_are_filtered_as_on_the_page(clinic, staff):
    booked = make_call(clinic)
    failed = make_call(clinic, outcome="failed", end_reason="upstream", reviewed_at=datetime.now(UTC))
    make_tool_call(failed, status="error")

    def found(query: str) -> list[str]:
        return ids(staff.get(f"/api/calls/?{query}"))

    assert found("outcome=booked") == [str(booked.pk)]
    assert found("end_reason=upstream") == [str(failed.pk)]
    assert found("tool_failed=true") == [str(failed.pk)]
    assert found("tool_failed=false&unreviewed=true") == [str(booked.pk)]
    assert found("since=2026-11-20&until=2026-11-20") == [str(failed.pk), str(booked.pk)]
    assert found(f"agent={booked.version.agent_id}&until=2026-11-19") == []


@pytest.mark.parametrize(
    "query",
    ["outcome=x", "agent=999999", "since=soon", "unreviewed=0", "unreviewed=", "tool_failed=no", "tool_failed=on"],
)
def test_a_filter_that_cannot_be_read_is_refused(clinic, staff, query):
    response = staff.get(f"/api/calls/?{query}")

    assert (response.status_code, list(response.json())) == (400, [query.split("=")[0]])


def test_nothing_can_be_written(clinic, staff):
    call = make_call(clinic)

    answers = [
        staff.generic(method, path, "{}", content_type="application/json").status_code
        for path in ("/api/calls/", f"/api/calls/{call.pk}/", "/api/agents/", "/api/schema/")
        for method in ("POST", "PUT", "PATCH", "DELETE")
    ]

    assert answers == [405] * 16
    assert CallSession.objects.get() == call


def test_answers_are_json_whatever_is_asked_for(clinic, staff):
    for path in PATHS:
        assert "json" in staff.get(path, headers={"accept": "application/json"}).headers["Content-Type"]
        assert staff.get(path, headers={"accept": "text/html"}).status_code == 406


def test_the_list_takes_as_many_queries_for_three_rows_as_for_one(clinic, staff, django_assert_num_queries):
    make_booking(clinic)
    with django_assert_num_queries(3):
        staff.get("/api/calls/")
    make_booking(clinic)
    make_booking(clinic)

    with django_assert_num_queries(3):
        response = staff.get("/api/calls/")

    assert len(ids(response)) == 3


@pytest.mark.parametrize("path", ["/api/agents/", "/api/calls/", "/calls/"])
def test_lists_leave_what_was_published_in_the_database(clinic, staff, path):
    make_booking(clinic)

    with CaptureQueriesContext(connection) as queries:
        response = staff.get(path)

    assert response.status_code == 200
    assert [query for query in queries.captured_queries if '."content"' in query["sql"]] == []


def test_the_schema_is_valid_and_complete():
    out = io.StringIO()

    call_command("spectacular", "--validate", "--fail-on-warn", "--format", "openapi-json", stdout=out)

    schema = json.loads(out.getvalue())
    assert {"/api/agents/", "/api/agents/{id}/", "/api/calls/", "/api/calls/{id}/"} <= set(schema["paths"])
    assert "apiToken" in schema["components"]["securitySchemes"]
    filters = {parameter["name"] for parameter in schema["paths"]["/api/calls/"]["get"]["parameters"]}
    assert {"outcome", "end_reason", "agent", "since", "until", "tool_failed", "unreviewed", "cursor"} <= filters


def test_no_page_of_the_api_comes_from_another_host(staff):
    for path in ("/api/schema/swagger-ui/", "/api/schema/redoc/", "/api/docs/", "/api/"):
        assert staff.get(path).status_code == 404
