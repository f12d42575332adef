"""Text stays text, in every field and on every staff page."""

from __future__ import annotations

from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest
from django.test import Client
from django.utils.html import escape

from agents_app.models import Clinic
from agents_app.practice.models import Task
from sessions_app.models import Event
from tests.make import make_agent, make_clinic, make_user
from tests.make_calls import (
    make_booking,
    make_event,
    make_item,
    make_tool_call,
    make_version,
)
from tests.sessions_app.review.pages import pages_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def clinic() -> Clinic:
    return make_clinic(name="Barton Dental")


@pytest.fixture
def staff(clinic: Clinic, client: Client) -> Client:
    client.force_login(make_user(clinic, username="maya"))
    return client


class Faults(HTMLParser):
    """Collects what a browser would take for markup that none of our templates writes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = dict(attributes)
        data = tag == "script" and named.get("type") == "application/json"
        ours = tag == "script" and (named.get("src") or "").startswith("/static/")
        if tag in ("img", "style", "iframe", "object", "embed", "base") or (tag == "script" and not (data or ours)):
            self.found.append(tag)
        self.found += [name for name in named if name.startswith("on") or name in ("style", "srcdoc")]
        self.found += [value for value in (named.get("href"), named.get("src")) if value and ":" in value[:12]]


def faults_of(page: str) -> list[str]:
    parser = Faults()
    parser.feed(page)
    return parser.found


PAYLOADS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "'-alert(1)-'",
    "{{ 7*7 }}{% debug %}",
    "javascript:alert(1)",
)


def test_payloads_are_such_as_a_browser_would_act_on():
    assert [bool(faults_of(payload)) for payload in PAYLOADS[:3]] == [True] * 3


@pytest.mark.parametrize("payload", PAYLOADS)
def test_text_in_every_field_is_text_and_never_markup(clinic, client, payload):
    name = payload[:50]
    agent = make_agent(clinic, name=name)
    user = make_user(clinic, username=payload[:150], first_name=name)
    make_version(agent, published_by=user)
    call = make_booking(
        clinic,
        agent=agent,
        error_code=payload[:64],
        notice_answer=payload[:10],
        reviewed_at=datetime.now(UTC),
        reviewed_by=user,
        state_history=[[0, payload]],
        usage={payload: 1},
        counters={payload: 1},
        origin=payload,
    )
    Clinic.objects.filter(pk=clinic.pk).update(name=payload)
    make_item(call, payload + payload, item_id=payload[:64], interrupted=True, heard_chars=len(payload))
    for output in (payload, {payload: payload}):
        make_tool_call(call, name, arguments=payload, output=output, error_code=payload[:64], filled={payload: payload})
    for kind in ("guardrail.tripped", "confirmation.button", payload[:80]):
        make_event(call, kind, direction=Event.Direction.OWN, fields={"rule": payload, payload: payload})
    Task.objects.create(clinic=clinic, kind="message", text=payload, caller_name=payload, call_id=call.pk)
    client.force_login(user)

    paths = [
        "/calls/",
        f"/calls/?outcome={escape(payload)}",
        *pages_of(call),
        f"/calls/{call.pk}/events/?type={payload}",
    ]
    pages = [client.get(path).content.decode() for path in [*paths, "/tasks/"]]

    assert [faults_of(page) for page in pages] == [[]] * len(pages)


def test_pages_allow_no_script_but_our_own(clinic, staff):
    call = make_booking(clinic)

    policies = [staff.get(path).headers["Content-Security-Policy"] for path in ["/calls/", "/tasks/", *pages_of(call)]]

    assert all("script-src 'self';" in policy and "style-src 'self';" in policy for policy in policies)
