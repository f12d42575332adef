from __future__ import annotations

import datetime as dt

import pytest

from agents_app.models import Clinic
from sessions_app.templatetags.review import at_clinic, clock, dollars, precise_clock, seconds


@pytest.mark.parametrize(
    ("ms", "text"), [(None, ""), (0, "0:00"), (83_999, "1:23"), (3_599_999, "59:59"), (3_723_000, "1:02:03")]
)
def test_clock(ms, text):
    assert clock(ms) == text


def test_precise_clock_keeps_the_milliseconds():
    assert precise_clock(83_007) == "1:23.007"


@pytest.mark.parametrize(
    ("ms", "text"), [(None, ""), (64, "64 ms"), (620, "0.6 s"), (490, "0.5 s"), (12_345, "12.3 s")]
)
def test_seconds(ms, text):
    assert seconds(ms) == text


@pytest.mark.parametrize(
    ("microusd", "text"), [(None, ""), (0, "$0.000"), (64_210, "$0.064"), (64_900, "$0.065"), (1_500_000, "$1.500")]
)
def test_dollars(microusd, text):
    assert dollars(microusd) == text


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        ("America/New_York", "Jul 1, 2026, 12:30 AM EDT"),
        ("Asia/Kolkata", "Jul 1, 2026, 10:00 AM IST"),
        ("Asia/Dubai", "Jul 1, 2026, 8:30 AM UTC+04:00"),
    ],
)
def test_a_moment_is_written_in_the_clinics_zone_and_names_it(zone, text):
    moment = dt.datetime(2026, 7, 1, 4, 30, tzinfo=dt.UTC)

    assert at_clinic(moment, Clinic(timezone=zone)) == text
