from __future__ import annotations

import pytest

from sessions_app.models import CallSession
from sessions_app.review.paging import Page, neighbours, page_of
from tests.make import make_clinic
from tests.make_calls import STARTED, make_call

pytestmark = pytest.mark.django_db


def make_seven() -> list[CallSession]:
    """Newest first; three of them began in the same microsecond."""
    clinic = make_clinic()
    for _ in range(4):
        make_call(clinic)
    for _ in range(3):
        make_call(clinic, started_at=STARTED)
    return list(CallSession.objects.order_by("-started_at", "-id"))


def page(**anchor: str) -> Page:
    return page_of(CallSession.objects.all(), visible=CallSession.objects.all(), size=3, **anchor)


def test_pages_downwards_show_every_call_once():
    calls = make_seven()

    first = page()
    second = page(before=str(first.older))
    third = page(before=str(second.older))

    assert [first.calls, second.calls, third.calls] == [calls[:3], calls[3:6], calls[6:]]
    assert (first.newer, third.older) == (None, None)


def test_pages_upwards_come_back_to_the_same_pages():
    calls = make_seven()

    assert page(after=str(calls[6].pk)).calls == calls[3:6]
    assert page(after=str(calls[3].pk)) == page()


@pytest.mark.parametrize("anchor", ["", "x", "0", "' OR 1=1", "3a5b1a13-c280-48cd-b8a9-cb253c42ff66"])
def test_an_anchor_that_does_not_exist_shows_the_newest(anchor):
    calls = make_seven()

    assert page(before=anchor).calls == page(after=anchor).calls == calls[:3]


def test_an_anchor_that_fits_the_filter_no_longer_still_holds_its_place():
    calls = make_seven()
    others = CallSession.objects.exclude(pk=calls[2].pk)

    shown = page_of(others, visible=CallSession.objects.all(), before=str(calls[2].pk), size=3)

    assert shown.calls == calls[3:6]


def test_neighbours_are_the_calls_above_and_below_also_among_equals():
    calls = make_seven()

    found = [neighbours(CallSession.objects.all(), call) for call in calls]

    keys = [call.pk for call in calls]
    assert found == list(zip([None, *keys[:-1]], [*keys[1:], None], strict=True))
