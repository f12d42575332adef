from __future__ import annotations

import datetime as dt

import pytest
from django.http import QueryDict

from agents_app.models import Clinic
from sessions_app.models import CallSession, ToolCall
from sessions_app.review import filters
from sessions_app.review.filters import CallFilter, with_figures
from sessions_app.review.reader import Reader
from tests.make import make_agent, make_clinic, make_user
from tests.make_calls import make_call, make_item, make_tool_call

pytestmark = pytest.mark.django_db


@pytest.fixture
def clinic() -> Clinic:
    return make_clinic()


@pytest.fixture
def reader(clinic) -> Reader:
    return Reader(user=make_user(clinic))


def found(reader: Reader, address: str) -> list[CallSession]:
    form = CallFilter.from_address(QueryDict(address), reader=reader)
    return list(form.apply(reader.calls()).order_by("started_at"))


def searched(reader: Reader, words: str) -> list[CallSession]:
    return found(reader, CallFilter({"words": words}, reader=reader).address())


def test_outcome_end_reason_and_agent_each_narrow_the_list(clinic, reader):
    lexi, max_ = make_agent(clinic), make_agent(clinic)
    booked = make_call(clinic, agent=lexi)
    failed = make_call(clinic, agent=max_, outcome="failed", end_reason="upstream")

    assert found(reader, "outcome=booked") == [booked]
    assert found(reader, "end_reason=upstream") == [failed]
    assert found(reader, f"agent={max_.pk}") == [failed]
    assert found(reader, f"agent={max_.pk}&outcome=booked") == []
    assert found(reader, "") == [booked, failed]


def test_unreviewed_means_ended_and_not_reviewed(clinic, reader):
    waiting = make_call(clinic)
    make_call(clinic, state="live")
    make_call(clinic, reviewed_at=dt.datetime.now(dt.UTC))

    assert found(reader, "unreviewed=on") == [waiting]


def test_a_failed_tool_is_one_that_failed_or_never_came_to_an_end(clinic, reader):
    fine, failed, unknown = make_call(clinic), make_call(clinic), make_call(clinic)
    make_tool_call(fine)
    make_tool_call(failed, status=ToolCall.Status.ERROR)
    make_tool_call(failed, status=ToolCall.Status.ERROR)
    make_tool_call(unknown, status=ToolCall.Status.UNKNOWN)

    assert found(reader, "tool_failed=on") == [failed, unknown]


def test_a_day_is_the_clinics_own(clinic, reader):
    tokyo = make_clinic(timezone="Asia/Tokyo")
    tokyo.memberships.create(user=reader.user, role="reviewer")
    evening = dt.datetime(2026, 11, 21, 3, 30, tzinfo=dt.UTC)  # the 20th in New York, the 21st in Tokyo
    here, there = make_call(clinic, started_at=evening), make_call(tokyo, started_at=evening)

    assert found(reader, "since=2026-11-20&until=2026-11-20") == [here]
    assert found(reader, "since=2026-11-21&until=2026-11-21") == [there]
    assert set(found(reader, "since=2026-11-20")) == {here, there}


@pytest.mark.parametrize(
    "address", ["outcome=x", "agent=x", "since=yesterday", "until=9999-12-31", "since=0001-01-01", "agent=99999999"]
)
def test_a_filter_that_cannot_be_read_filters_nothing_and_is_named(clinic, reader, address):
    call = make_call(clinic)

    form = CallFilter.from_address(QueryDict(address), reader=reader)

    assert list(form.errors) == [address.split("=")[0]]
    assert found(reader, address) == [call]


def test_another_clinics_agent_cannot_be_asked_for(reader):
    other = make_agent()

    form = CallFilter.from_address(QueryDict(f"agent={other.pk}"), reader=reader)

    assert list(form.errors) == ["agent"]
    assert other not in form.fields["agent"].queryset  # type: ignore[attr-defined]


def test_words_are_found_in_what_either_side_said_and_reference_whole(clinic, reader):
    crown, other = make_call(clinic), make_call(clinic, reference="BCDFGH")
    make_item(crown, "My CROWN came loose")

    assert searched(reader, "crown") == [crown]
    assert searched(reader, "bcdfgh") == [other]
    assert searched(reader, "bcdf") == []


def test_words_are_taken_as_they_are(clinic, reader):
    call = make_call(clinic)
    make_item(call, "a 100% discount")

    assert searched(reader, "100%") == [call]
    assert searched(reader, "1_0") == []


def test_a_search_reads_the_newest_calls_alone(clinic, reader, monkeypatch):
    # Two thousand calls would show the same, only later.
    monkeypatch.setattr(filters, "SEARCHED_CALLS", 1)
    old, new = make_call(clinic), make_call(clinic)
    make_item(old, "crown")
    make_item(new, "crown")

    assert searched(reader, "crown") == [new]


def test_searched_words_stand_in_no_address(reader):
    address = CallFilter({"words": "Santos", "outcome": "booked"}, reader=reader).address()

    assert "santos" not in address.lower()
    assert CallFilter.from_address(QueryDict(address), reader=reader)["words"].value() == "Santos"


def test_words_in_the_open_are_not_taken_from_an_address(clinic, reader):
    call = make_call(clinic)

    assert found(reader, "words=Santos") == [call]


def test_words_that_somebody_else_sealed_do_not_open(clinic, reader):
    colleague = Reader(user=make_user(clinic))
    address = CallFilter({"words": "Santos"}, reader=colleague).address()

    form = CallFilter.from_address(QueryDict(address), reader=reader)

    assert not form.active


def test_figures_are_counted_in_the_lists_own_query(clinic, reader, django_assert_num_queries):
    call = make_call(clinic)
    for status in ("ok", "error", "unknown"):
        make_tool_call(call, status=status)
    for delay_ms in (None, 300, 1_200):
        make_item(call, first_audio_ms=delay_ms)
    make_call(clinic)

    with django_assert_num_queries(1):
        rows = list(with_figures(reader.calls()).order_by("started_at"))

    assert [(row.tools_failed, row.worst_delay_ms) for row in rows] == [(2, 1_200), (0, None)]  # type: ignore[attr-defined]
