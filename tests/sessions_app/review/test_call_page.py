"""One call's page: what it shows, who has read it, the mark, the event log."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from django.test import Client
from django.utils import timezone

from agents_app.models import Clinic
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
from tests.sessions_app.review.pages import pages_of, text_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def clinic() -> Clinic:
    return make_clinic(name="Barton Dental")


@pytest.fixture
def staff(clinic: Clinic, client: Client) -> Client:
    client.force_login(make_user(clinic, username="maya"))
    return client


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
        ({"recording_kept": True}, None, "Nobody was heard in this call"),
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


def test_the_sound_of_a_call_that_has_just_ended_is_being_prepared(clinic, staff):
    call = make_call(clinic, recording_kept=True, ended_at=timezone.now())

    assert "No sound. It is being prepared." in text_of(staff.get(f"/calls/{call.pk}/"))


def test_a_call_whose_kept_sound_holds_no_voice_says_so(clinic, staff):
    call = make_call(clinic, recording_kept=True)
    make_recording(call, status=Recording.Status.FAILED, error_code="NothingRecorded")

    assert "No sound. Nobody was heard in this call" in text_of(staff.get(f"/calls/{call.pk}/"))


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
    assert log("?type=%00created") == [created]
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


def test_sound_that_was_lost_on_the_way_shows(clinic, staff):
    call = make_booking(clinic)
    counters = {"sound_ms": 38_000, "sound_missing_ms": 2000, "sound_jitter_ms": 9, "page_dropped_frames": 1}
    CallSession.objects.filter(pk=call.pk).update(counters=counters)

    page = text_of(staff.get(f"/calls/{call.pk}/"))

    assert "The caller's sound Missing 2.0 s (5.0 %) Jitter, at most 9 ms Not sent by the page 1 frame" in page
