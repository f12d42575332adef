"""`POST /v1/realtime/client_secrets`: who is given a key, and what everybody else is told."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import Client, override_settings
from django.utils import timezone

from agents_app.models import Agent, ApiToken
from agents_app.practice.models import Task
from sessions_app.cost import TOKEN_KINDS
from sessions_app.models import ClientSecret, LedgerPeriod, Place, Price, StartCount
from tests.make import make_agent, make_clinic, make_user
from tests.servers import ORIGIN, live_agent
from tests.sessions_app.test_client_secrets import ORIGINS

pytestmark = pytest.mark.django_db
URL = "/v1/realtime/client_secrets"
EVIL = "https://evil.test"


def ask(
    model: Any = "lexi",
    *,
    client: Client | None = None,
    body: Any = None,
    origin: str = ORIGIN,
    authorization: str = "",
    forwarded: str = "",
) -> HttpResponse:
    """Ask as a page of the clinic does, unless other headers are given; an empty one is not sent."""
    headers = {"origin": origin, "authorization": authorization, "x-forwarded-for": forwarded, "x-real-ip": forwarded}
    sent = {name: value for name, value in headers.items() if value}
    asked = {"session": {"type": "realtime", "model": model}} if body is None else body
    text = asked if isinstance(asked, (str, bytes)) else json.dumps(asked)
    asker = client or Client(enforce_csrf_checks=True)
    return asker.post(URL, text, content_type="application/json", headers=sent)  # type: ignore[return-value]


def error_of(response: HttpResponse) -> tuple[int, str, str | None]:
    error = json.loads(response.content)["error"]
    assert sorted(error) == ["code", "message", "param", "type"]
    return response.status_code, error["code"], error["param"]


def price(agent: Agent) -> None:
    """Say what the agent's model costs: the migrations' prices are there or not."""
    assert agent.live_version is not None
    model = agent.live_version.content["model"]["name"]
    Price.objects.update_or_create(model=model, valid_from="2026-01-01", defaults=dict.fromkeys(TOKEN_KINDS, 4))


def test_page_of_the_clinic_is_given_a_key_as_openai_answers():
    live_agent(public_name="lexi")

    response = ask()

    answer = json.loads(response.content)
    row = ClientSecret.objects.get()
    assert response.status_code == 200
    assert answer["value"].startswith("ek_")
    assert answer["expires_at"] == int(row.expires_at.timestamp())
    assert answer["session"] == {
        "type": "realtime",
        "object": "realtime.session",
        "id": f"sess_{row.pk}",
        "model": "lexi",
    }
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(("origin", "welcome"), ORIGINS.items())
def test_only_a_listed_origin_is_given_a_key(origin, welcome):
    live_agent(public_name="lexi")

    response = ask(origin=origin)

    assert response.status_code == (200 if welcome else 403)
    assert ClientSecret.objects.count() == (1 if welcome else 0)


def test_origin_of_another_clinic_is_not_enough():
    live_agent(public_name="lexi")
    live_agent(public_name="max", origins=("https://other.example",))

    assert error_of(ask("max")) == (403, "origin_not_allowed", None)


@pytest.mark.parametrize("origin", [ORIGIN, EVIL, ""])
def test_unknown_and_never_published_are_answered_byte_for_byte_alike(origin):
    live_agent(public_name="lexi")
    make_agent(public_name="draft")
    gone = live_agent(public_name="gone")
    Agent.objects.filter(pk=gone.pk).update(live_version=None)

    answers = [ask(name, origin=origin) for name in ("nobody", "draft", "gone")]

    shown = [(one.status_code, one.content, sorted(one.headers.items())) for one in answers]
    assert shown == [shown[0]] * 3
    assert error_of(answers[0])[0] == (404 if origin == ORIGIN else 403)


def test_token_of_the_clinic_is_told_of_anothers_agent_what_it_is_told_of_nobody():
    mine = live_agent(public_name="lexi")
    live_agent(public_name="max")
    _, token = ApiToken.issue(clinic=mine.clinic, name="Switchboard")

    answers = [ask(name, origin="", authorization=f"Bearer {token}") for name in ("max", "nobody")]

    assert [error_of(one) for one in answers] == [(404, "model_not_found", "session.model")] * 2
    assert answers[0].content == answers[1].content


def test_token_is_for_its_own_clinics_servers():
    mine = live_agent(public_name="lexi")
    revoked, gone = ApiToken.issue(clinic=mine.clinic, name="Old")
    ApiToken.objects.filter(pk=revoked.pk).update(revoked_at=timezone.now())
    row, token = ApiToken.issue(clinic=mine.clinic, name="Switchboard")

    given = ask(origin="", authorization=f"Bearer {token}")
    refused = {
        "revoked": ask(origin="", authorization=f"Bearer {gone}"),
        "unknown": ask(origin="", authorization="Bearer fd_nothing"),
        "a digest": ask(origin="", authorization=f"Bearer {row.digest}"),
        "an upstream key": ask(origin="", authorization="Bearer sk-proj-1"),
        "the clinic's origin": ask(authorization=f"Bearer {token}"),
        "another origin": ask(origin=EVIL, authorization=f"Bearer {token}"),
        "no origin": ask(origin="null", authorization=f"Bearer {token}"),
        "another scheme": ask(origin="", authorization=f"Basic {token}"),
        "nothing": ask(origin=""),
    }

    assert given.status_code == 200
    assert ClientSecret.objects.get().api_token == row
    assert {name: error_of(one)[:2] for name, one in refused.items()} == {
        "revoked": (401, "invalid_api_key"),
        "unknown": (401, "invalid_api_key"),
        "a digest": (401, "invalid_api_key"),
        "an upstream key": (401, "invalid_api_key"),
        "the clinic's origin": (403, "origin_not_allowed"),
        "another origin": (403, "origin_not_allowed"),
        "no origin": (403, "origin_not_allowed"),
        "another scheme": (403, "origin_not_allowed"),
        "nothing": (403, "origin_not_allowed"),
    }


def test_cookies_are_neither_read_nor_set():
    agent = live_agent(public_name="lexi")
    staff = Client(enforce_csrf_checks=True)
    staff.force_login(make_user(agent.clinic, is_superuser=True))

    answers = [ask(client=staff), ask(client=staff, origin=""), ask(client=staff, origin=EVIL)]

    assert [one.status_code for one in answers] == [200, 403, 403]
    assert [dict(one.cookies) for one in answers] == [{}, {}, {}]


@pytest.mark.parametrize("origin", [ORIGIN, EVIL, "null", ""])
@pytest.mark.parametrize("method", ["post", "options", "get", "put", "delete", "patch"])
def test_cors_is_for_listed_origins_alone_and_never_with_credentials(method, origin):
    live_agent(public_name="lexi")
    headers = {"origin": origin, "access-control-request-method": "POST"} if origin else {}

    response = getattr(Client(), method)(URL, headers=headers)

    allowed = response.headers.get("Access-Control-Allow-Origin")
    assert allowed == (ORIGIN if origin == ORIGIN else None)
    assert "Access-Control-Allow-Credentials" not in response.headers
    assert "Origin" in response.headers["Vary"]


def test_preflight_names_no_agent_and_allows_what_a_page_sends():
    live_agent()

    response = Client().options(URL, headers={"origin": ORIGIN, "access-control-request-method": "POST"})

    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["Access-Control-Allow-Methods"] == "POST"
    assert response.headers["Access-Control-Allow-Headers"] == "authorization, content-type"


SESSION = {"type": "realtime", "model": "lexi"}


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        (b"", 400, "invalid_value", "session"),
        (b"{", 400, "invalid_json", None),
        (b"\xff\xfe", 400, "invalid_json", None),
        (b"\xef\xbb\xbf{}", 400, "invalid_json", None),
        ('{"session": NaN}', 400, "invalid_json", None),
        ("[" * 5000, 400, "invalid_json", None),
        ("null", 400, "invalid_value", None),
        ("[]", 400, "invalid_value", None),
        ("7", 400, "invalid_value", None),
        ({}, 400, "invalid_value", "session"),
        ({"session": []}, 400, "invalid_value", "session"),
        ({"session": {}}, 400, "invalid_value", "session.type"),
        ({"session": {"type": "realtime"}}, 400, "invalid_value", "session.model"),
        ({"session": {"type": "transcription", "model": "lexi"}}, 400, "invalid_value", "session.type"),
        ({"session": {"type": ["realtime"], "model": "lexi"}}, 400, "invalid_value", "session.type"),
        ({"session": {**SESSION, "model": ""}}, 400, "invalid_value", "session.model"),
        ({"session": {**SESSION, "model": None}}, 400, "invalid_value", "session.model"),
        ({"session": {**SESSION, "model": {"a": 1}}}, 400, "invalid_value", "session.model"),
        ({"session": {**SESSION, "model": "l" * 51}}, 400, "invalid_value", "session.model"),
        ({"session": {**SESSION, "model": "lexi\x00"}}, 400, "invalid_value", "session.model"),
        ({"session": {**SESSION, "model": "\ud800"}}, 400, "invalid_value", "session.model"),
        ({"session": SESSION, "frontdesk": {}}, 400, "invalid_value", "frontdesk.notice_sha256"),
        (
            {"session": SESSION, "frontdesk": {"notice_sha256": "0" * 63, "recording": "accepted"}},
            400,
            "invalid_value",
            "frontdesk.notice_sha256",
        ),
        (
            {"session": SESSION, "frontdesk": {"notice_sha256": "0" * 64, "recording": "yes"}},
            400,
            "invalid_value",
            "frontdesk.recording",
        ),
        ({"session": SESSION, "x": "a" * 20_000}, 413, "too_large", None),
        ("[1" * 3_000_000, 413, "too_large", None),
    ],
)
def test_bad_request_is_told_what_is_wrong(body, status, code, param):
    live_agent(public_name="lexi")

    response = ask(body=body)

    assert error_of(response) == (status, code, param)
    assert ClientSecret.objects.count() == 0


def test_what_a_request_adds_is_ignored():
    live_agent(public_name="lexi")
    extra = {"instructions": "Obey", "tools": [{"type": "function"}], "audio": {}}

    response = ask(body={"session": {**SESSION, **extra}, "expires_after": {"anchor": "created_at", "seconds": 7200}})

    assert response.status_code == 200
    assert sorted(json.loads(response.content)["session"]) == ["id", "model", "object", "type"]
    row = ClientSecret.objects.get()
    assert (row.expires_at - row.created_at).total_seconds() == 60


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_only_json_is_read(content_type):
    live_agent(public_name="lexi")

    response = Client().generic("POST", URL, json.dumps({"session": SESSION}), content_type, headers={"origin": ORIGIN})

    assert response.status_code == 415
    assert error_of(response)[1] == "invalid_request"  # type: ignore[arg-type]


def test_paused_agent_takes_no_calls():
    live_agent(public_name="lexi", paused=True)

    assert error_of(ask()) == (503, "agent_paused", None)


def test_no_key_is_given_while_all_places_are_taken():
    agent = live_agent(public_name="lexi")
    for number in range(agent.clinic.max_concurrent_calls):
        assert Place.objects.take(agent, UUID(int=number))

    assert error_of(ask()) == (429, "busy", None)
    assert StartCount.objects.count() == 0


def test_no_key_is_given_while_a_cap_leaves_no_room_and_the_staff_is_told_once():
    clinic = make_clinic(daily_cap_usd=Decimal("0.01"), phone="+1 555 0177")
    price(live_agent(clinic, public_name="lexi"))
    LedgerPeriod.objects.make(clinic, timezone.now().astimezone(clinic.zone).date())

    answers = [ask(), ask()]

    assert [error_of(answer) for answer in answers] == [(429, "budget", None)] * 2
    assert "+1 555 0177" in answers[0].content.decode()
    assert (StartCount.objects.count(), ClientSecret.objects.count()) == (0, 0)
    assert [(task.kind, task.priority) for task in Task.objects.all()] == [("alert", "urgent")]


def test_cap_with_room_costs_no_key_and_one_on_a_model_without_a_price_does():
    agent = live_agent(make_clinic(monthly_cap_usd=Decimal(100)), public_name="lexi")
    price(agent)
    priced = ask().status_code
    Price.objects.all().delete()

    assert (priced, error_of(ask())) == (200, (429, "budget", None))


def test_address_is_given_60_keys_an_hour():
    live_agent(public_name="lexi")

    answers = [ask().status_code for _ in range(62)]

    assert answers == [200] * 60 + [429, 429]


def test_forged_header_changes_no_address_without_a_trusted_proxy():
    agent = live_agent(public_name="lexi")
    agent.clinic.max_starts_per_hour = 3
    agent.clinic.save()

    answers = [ask(forwarded=f"203.0.113.{n}") for n in range(5)]

    assert [one.status_code for one in answers] == [200, 200, 200, 429, 429]


@override_settings(TRUSTED_PROXIES=1)
def test_what_a_caller_writes_before_the_proxy_changes_no_address():
    agent = live_agent(public_name="lexi")
    agent.clinic.max_starts_per_hour = 3
    agent.clinic.save()

    answers = [ask(forwarded=f"203.0.113.{n}, 198.51.100.7") for n in range(5)]
    neighbour = ask(forwarded="198.51.100.7, 198.51.100.8")

    assert [one.status_code for one in answers] == [200, 200, 200, 429, 429]
    assert neighbour.status_code == 200


@override_settings(DEBUG=True)
def test_in_debug_loopback_and_our_own_pages_may_ask():
    live_agent(public_name="lexi", origins=())

    given = {
        "loopback": ask(origin=""),
        "loopback with any key": ask(origin="", authorization="Bearer anything"),
        "our own page": ask(origin="http://testserver"),
        "another site": ask(origin=EVIL),
        "another port of ours": ask(origin="http://testserver:8000"),
    }
    elsewhere = Client(REMOTE_ADDR="192.0.2.1")

    assert {name: one.status_code for name, one in given.items()} == {
        "loopback": 200,
        "loopback with any key": 200,
        "our own page": 200,
        "another site": 403,
        "another port of ours": 403,
    }
    assert ask(client=elsewhere, origin="").status_code == 403


def test_outside_debug_loopback_and_our_own_pages_may_not_ask():
    live_agent(public_name="lexi", origins=())

    assert [ask(origin="").status_code, ask(origin="http://testserver").status_code] == [403, 403]


def test_key_is_in_no_row():
    live_agent(public_name="lexi")

    value = json.loads(ask().content)["value"]

    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM sessions_app_clientsecret")
        (row,) = cursor.fetchall()
    assert [cell for cell in row if value.removeprefix("ek_") in str(cell)] == []
