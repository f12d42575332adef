"""The review pages, without a browser: who sees what, what is shown, and what is written down."""

from __future__ import annotations

import json
import re
import uuid
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest
from django.test import Client
from django.utils.html import escape

from agents_app.models import Clinic, ClinicGroup
from agents_app.practice.models import Task
from sessions_app.models import CallSession, CallView, Event, Item, Recording
from sessions_app.views import review
from tests.make import make_agent, make_clinic, make_user
from tests.make_calls import (
    make_booking,
    make_call,
    make_emergency,
    make_event,
    make_item,
    make_patient,
    make_recording,
    make_tool_call,
    make_version,
)

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


def text_of(response: Any) -> str:
    """The page as it is read: without markup, and with single spaces."""
    page = re.sub(r"<(script|svg)\b.*?</\1>", " ", response.content.decode(), flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


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


def pages_of(call: CallSession) -> list[str]:
    return [f"/calls/{call.pk}/", f"/calls/{call.pk}/events/"]


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


# One call.


def test_the_head_tells_what_the_call_was(clinic, staff):
    agent = make_agent(clinic, name="Lexi")
    make_version(agent)
    make_version(agent, published_by=make_user(clinic, username="paula"))
    patient = make_patient(clinic, last_name="Okonkwo")
    call = make_booking(clinic, agent=agent, patient=patient)

    page = text_of(staff.get(f"/calls/{call.pk}/"))

    for part in (
        f"Call {call.reference} booked",
        "EST · Lexi · Barton Dental · 1:24",
        "Lexi, version 2 published by paula,",
        "the receptionist said goodbye",
        "web page",
        "Notice accepted",
        f"Patients {patient.reference}",
        "Cost $0.064",
        "0:00 connecting",
    ):
        assert part in page
    assert "Okonkwo" not in page


def test_each_line_says_when_who_and_how_long_the_answer_took(clinic, staff):
    call = make_booking(clinic)
    agent = call.version.agent.name

    page = text_of(staff.get(f"/calls/{call.pk}/"))

    for line in (
        "0:06 Caller Hi, I would like to book a cleaning, please.",
        f"0:09 {agent} after 0.6 s Of course.",
        f"0:19 {agent} after 1.3 s, slow Thank you, Maria.",
        "0:55 Caller Inaudible",
        "1:06 Caller typed Can I park nearby?",
        f"1:17 {agent} fixed line after 0.5 s Thank you for calling",
    ):
        assert line in page


def test_the_unheard_end_of_a_reply_is_struck_through_and_says_so(clinic, staff):
    call = make_call(clinic)
    make_item(call, "Heard. Not heard.", speaker="agent", interrupted=True, heard_ms=900, heard_chars=6)

    page = staff.get(f"/calls/{call.pk}/").content.decode()

    assert '<s class="unheard"> Not heard.</s>' in page
    assert "cut off Heard. Not heard: Not heard. not heard" in text_of(staff.get(f"/calls/{call.pk}/"))


def test_a_transcript_still_awaited_is_shown_as_such(clinic, staff):
    call = make_call(clinic)
    make_item(call, "", transcript_state=Item.TranscriptState.PENDING)

    assert "Caller Being transcribed …" in text_of(staff.get(f"/calls/{call.pk}/"))


def test_tool_calls_stand_in_their_places_and_only_failed_ones_are_open(clinic, staff):
    call = make_booking(clinic)

    response = staff.get(f"/calls/{call.pk}/")

    page = text_of(response)
    assert "0:14 Caller Maria Santos" in page.split("0:18 find_patient")[0]
    assert "find_slots failed: timeout 2.0 s" in page
    assert "book_appointment done 0.1 s the caller pressed Yes" in page
    assert response.content.decode().count('<details class="tool" open>') == 1


def test_a_yes_that_was_said_names_the_line(clinic, staff):
    call = make_call(clinic)
    make_item(call, "Yes please", item_id="item_yes", started_ms=31_000)
    make_tool_call(call, "book_appointment", writes=True, confirmed_by="item_yes")

    assert "the caller said yes at 0:31" in text_of(staff.get(f"/calls/{call.pk}/"))


def test_a_tripped_guardrail_stands_after_the_words_that_tripped_it(clinic, staff):
    call = make_emergency(clinic)

    page = text_of(staff.get(f"/calls/{call.pk}/"))

    words, rail, line = (
        page.index(text) for text in ("chest pain", "Guardrail tripped: Medical emergency", "dial 911")
    )
    assert words < rail < line


def test_tasks_that_the_call_left_are_shown(clinic, staff):
    call = make_call(clinic)
    Task.objects.create(clinic=clinic, kind="callback", text="About the crown.", call_id=call.pk)
    Task.objects.create(clinic=make_clinic(), kind="callback", text="Somebody else's.", call_id=call.pk)

    page = text_of(staff.get(f"/calls/{call.pk}/"))

    assert "Callback, Open About the crown." in page
    assert "Somebody else's." not in page


def test_tokens_are_shown_by_kind(clinic, staff):
    call = make_booking(clinic)

    page = text_of(staff.get(f"/calls/{call.pk}/"))

    assert "Text 2104 18432 611 Sound 512 1024 986" in page
    assert "Transcription, sound 134 0 0" in page


@pytest.mark.parametrize(
    ("fields", "recording", "reason"),
    [
        ({"recording_kept": True}, Recording.Status.FAILED, "It could not be prepared"),
        ({"recording_kept": True}, Recording.Status.WAITING, "It is being prepared."),
        ({"recording_kept": True}, None, "It is being prepared."),
        ({"recording_kept": True, "state": "live"}, None, "It is prepared when the call has ended."),
        ({"notice_answer": "declined"}, None, "The caller did not agree to it."),
        ({"notice_answer": ""}, None, "The caller was shown no notice"),
        ({}, None, "The clinic did not keep the sound of calls"),
    ],
)
def test_a_call_without_sound_says_why(clinic, staff, fields, recording, reason):
    call = make_call(clinic, **fields)
    if recording is not None:
        make_recording(call, status=recording)

    response = staff.get(f"/calls/{call.pk}/")

    assert f"No sound. {reason}" in text_of(response)
    assert "<audio" not in response.content.decode()


def test_a_call_with_sound_brings_its_peaks_and_its_address(clinic, staff):
    call = make_booking(clinic)

    page = staff.get(f"/calls/{call.pk}/").content.decode()

    data = json.loads(page.split('<script id="page-data" type="application/json">')[1].split("</script>")[0])
    assert (data["durationMs"], len(data["peaks"])) == (84_300, 844)
    assert f'src="/calls/{call.pk}/audio"' in page


def test_the_page_takes_as_many_queries_for_three_of_each_as_for_one(clinic, staff, django_assert_num_queries):
    def add() -> None:
        make_item(call, first_audio_ms=600)
        make_tool_call(call)
        make_event(call, "guardrail.tripped", direction=Event.Direction.OWN, fields={"rule": "x"})
        CallView.objects.create(session=call, user=make_user(), door="page")

    call = make_call(clinic)
    add()
    with django_assert_num_queries(12):
        staff.get(f"/calls/{call.pk}/")
    add()
    add()

    with django_assert_num_queries(12):
        staff.get(f"/calls/{call.pk}/")


def test_neighbours_are_those_of_the_filter_and_carry_it_on(clinic, staff):
    older, call, newer = (make_call(clinic, outcome="failed") for _ in range(3))
    make_call(clinic, outcome="booked")

    response = staff.get(f"/calls/{call.pk}/?outcome=failed")

    assert (response.context["newer"], response.context["older"]) == (newer.pk, older.pk)
    assert f'href="/calls/{older.pk}/?outcome=failed"' in response.content.decode()


# Who has read it.


def test_opening_a_call_leaves_a_row_and_the_page_shows_who_did(clinic, staff):
    call = make_call(clinic)

    page = text_of(staff.get(f"/calls/{call.pk}/"))

    (view,) = CallView.objects.all()
    assert (view.session, view.user.username, view.door, view.api_token) == (call, "maya", "page", None)  # type: ignore[union-attr]
    assert "maya opened the page" in page


def test_every_opening_is_a_row_of_its_own(clinic, staff):
    call = make_call(clinic)

    for page in pages_of(call) * 2:
        staff.get(page)

    assert CallView.objects.filter(session=call).count() == 4


def test_the_list_opens_no_call(clinic, staff):
    make_call(clinic)

    staff.get("/calls/")

    assert CallView.objects.count() == 0


# The mark.


def test_a_call_is_marked_as_reviewed_by_whom_and_when(clinic, staff):
    call = make_call(clinic)

    response = staff.post(f"/calls/{call.pk}/reviewed/?outcome=booked", follow=True)

    assert response.redirect_chain == [(f"/calls/{call.pk}/?outcome=booked", 302)]
    assert CallSession.objects.filter(reviewed_at__isnull=False, reviewed_by__username="maya").get() == call
    assert f"{call.reference} is marked as reviewed." in text_of(response)
    assert "reviewed by maya" in text_of(response)


def test_of_two_reviewers_the_first_ones_name_stands(clinic, staff):
    at = datetime(2026, 11, 1, tzinfo=UTC)
    first = make_user(clinic)
    call = make_call(clinic, reviewed_at=at, reviewed_by=first)

    response = staff.post(f"/calls/{call.pk}/reviewed/", follow=True)

    call.refresh_from_db()
    assert (call.reviewed_at, call.reviewed_by) == (at, first)
    assert "had been reviewed already" in text_of(response)


def test_a_call_in_progress_cannot_be_reviewed(clinic, staff):
    call = make_call(clinic, state="live")

    response = staff.post(f"/calls/{call.pk}/reviewed/", follow=True)

    call.refresh_from_db()
    assert call.reviewed_at is None
    assert "A call can be reviewed when it has ended." in text_of(response)
    assert "Mark as reviewed" not in text_of(response)


def test_marking_leads_on_to_the_next_call_that_waits(clinic, staff):
    last, call = make_call(clinic), make_call(clinic)
    make_call(clinic, outcome="failed")

    on = staff.post(f"/calls/{call.pk}/reviewed/?unreviewed=on", {"next": "1"})
    at_the_end = staff.post(f"/calls/{last.pk}/reviewed/?unreviewed=on", {"next": "1"})

    assert on.headers["Location"] == f"/calls/{last.pk}/?unreviewed=on"
    assert at_the_end.headers["Location"] == "/calls/?unreviewed=on"


def test_marking_needs_the_pages_own_token(clinic):
    call = make_call(clinic)
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(make_user(clinic))

    assert strict.post(f"/calls/{call.pk}/reviewed/").status_code == 403
    assert CallSession.objects.get().reviewed_at is None


# The event log.


def test_the_event_log_can_be_narrowed_by_direction_and_type(clinic, staff):
    call = make_call(clinic)
    created = make_event(call, "session.created")
    updated = make_event(call, "session.update", direction=Event.Direction.TO_MODEL, fields={"event_id": "evt_1"})

    def log(query: str) -> list[Event]:
        return list(staff.get(f"/calls/{call.pk}/events/{query}").context["events"])

    assert log("") == [created, updated]
    assert log("?direction=to_model") == [updated]
    assert log("?type=created") == [created]
    assert log("?type=nothing") == []
    assert log("?direction=x&after=y") == [created, updated]
    assert "to the model session.update event_id evt_1" in text_of(staff.get(f"/calls/{call.pk}/events/"))


def test_the_event_log_is_bounded_and_leads_on(clinic, staff):
    call = make_call(clinic)
    Event.objects.bulk_create(
        Event(session=call, seq=seq, type="x", direction="own", at_ms=seq) for seq in range(review.PAGE_EVENTS + 1)
    )

    first = staff.get(f"/calls/{call.pk}/events/?direction=own")
    second = staff.get(f"/calls/{call.pk}/events/?direction=own&after=499")

    assert (len(first.context["events"]), len(second.context["events"])) == (500, 1)
    assert 'events/?direction=own&amp;after=499"' in first.content.decode()
    assert 'rel="next"' not in second.content.decode()


# Text stays text.


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
