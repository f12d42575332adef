from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from agents_app.practice.days import upcoming_weekdays
from agents_app.practice.matching import Match, best_matches, choose
from agents_app.practice.slot_ids import SlotRef, parse

ZONE = ZoneInfo("America/New_York")
# Monday 9:00, Monday 14:30, Tuesday 10:30
OFFERED = [datetime(2026, 11, 23, 9, 0, tzinfo=ZONE), datetime(2026, 11, 23, 14, 30, tzinfo=ZONE)]
OFFERED.append(datetime(2026, 11, 24, 10, 30, tzinfo=ZONE))

VISITS = [
    ("cleaning", ("Cleaning", "hygiene", "scale and polish")),
    ("deep", ("Deep cleaning",)),
    ("exam", ("Exam", "check-up")),
    ("crown", ("Crown",)),
]


@pytest.mark.parametrize(
    ("words", "index"),
    [
        ("the first one", 0),
        ("the second one please", 1),
        ("number three", 2),
        ("option 2", 1),
        ("the last one", 2),
        ("nine", 0),
        ("the one at nine", 0),
        ("9 AM", 0),
        ("9:00 a.m.", 0),
        ("two thirty", 1),
        ("half past two", 1),
        ("14:30", 1),
        ("the afternoon", 1),
        ("Tuesday", 2),
        ("Monday morning", 0),
        ("ten thirty on Tuesday", 2),
    ],
)
def test_choice_maps_to_the_slot_that_is_meant(words: str, index: int) -> None:
    assert choose(words, OFFERED) == index


@pytest.mark.parametrize(
    "words", ["", "yes", "morning", "Monday", "nine pm", "nine fifteen", "the fourth one", "Friday"]
)
def test_choice_that_fits_none_or_several_is_none(words: str) -> None:
    assert choose(words, OFFERED) is None


def test_choice_without_an_offer_is_none() -> None:
    assert choose("the last one", []) is None


@pytest.mark.parametrize(
    ("words", "key", "confidence"),
    [
        ("Cleaning", "cleaning", 1.0),
        ("I would like to book a cleaning", "cleaning", 1.0),
        ("deep cleaning please", "deep", 1.0),
        ("my teeth need a scale and polish", "cleaning", 0.9),
        ("checkup", "exam", 0.84),
    ],
)
def test_visit_is_found_by_the_callers_words(words: str, key: str, confidence: float) -> None:
    assert [(match.key, round(match.confidence, 2)) for match in best_matches(words, VISITS)] == [(key, confidence)]


def test_visit_that_nothing_names_is_not_guessed() -> None:
    assert best_matches("haircut", VISITS) == []


def test_visit_that_two_name_alike_is_both() -> None:
    both = [("molar", ("Root canal molar",)), ("front", ("Root canal front",))]

    assert best_matches("root canal", both) == [Match("molar", 0.8), Match("front", 0.8)]


def test_slot_reference_reads_back() -> None:
    ref = SlotRef(3, 12, OFFERED[0].astimezone(ZoneInfo("UTC")))

    assert parse(str(ref)) == ref


@pytest.mark.parametrize("text", ["", "s1", "s0-1-1", "s1-2-zz", "s1-2-fffffffff", "1-2-3", "s1-2-3; s1-2-4"])
def test_slot_reference_of_another_shape_is_none(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize(
    ("today", "next_tuesday"),
    [(date(2026, 11, 23), date(2026, 11, 24)), (date(2026, 11, 24), date(2026, 12, 1))],
)
def test_next_tuesday_is_the_first_one_after_today(today: date, next_tuesday: date) -> None:
    coming = upcoming_weekdays(today)

    assert [day for day in coming if day.weekday() == 1] == [next_tuesday]
    assert len({day.weekday() for day in coming}) == 7
    assert coming[0] - today == timedelta(days=1)
