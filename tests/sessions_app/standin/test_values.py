"""Dates, times, names and numbers as people say them."""

from __future__ import annotations

import datetime

import pytest

from sessions_app.standin.dialogue.values import parse, question
from sessions_app.standin.dialogue.when import parse_date, parse_time

TODAY = datetime.date(2025, 11, 20)


@pytest.mark.parametrize(
    ("said", "date"),
    [
        ("tomorrow", "2025-11-21"),
        ("next tuesday", "2025-11-25"),
        ("on friday", "2025-11-21"),
        ("next friday", "2025-11-28"),
        ("the 3rd of March", "2026-03-03"),
        ("2026-01-05", "2026-01-05"),
        ("3/4/1990", "1990-03-04"),
        ("march third nineteen ninety", "1990-03-03"),
        ("the fifth of may nineteen eighty five", "1985-05-05"),
        ("the twenty third of june two thousand and five", "2005-06-23"),
        ("in two weeks", "2025-12-04"),
        ("Tuesday, 25 November at 10:30 AM", "2025-11-25"),
        ("I may come", None),
        ("february thirtieth", None),
    ],
)
def test_date(said: str, date: str | None):
    found = parse_date(said, TODAY)

    assert (found.isoformat() if found else None) == date


@pytest.mark.parametrize(
    ("said", "time"),
    [
        ("two pm", "14:00"),
        ("half past nine", "09:30"),
        ("10:30", "10:30"),
        ("ten thirty a.m.", "10:30"),
        ("at two", "14:00"),
        ("quarter to three", "14:45"),
        ("eleven o'clock", "11:00"),
        ("noon", "12:00"),
        ("the second one", None),
        ("May 5 1981", None),
    ],
)
def test_time(said: str, time: str | None):
    found = parse_time(said)

    assert (found.strftime("%H:%M") if found else None) == time


@pytest.mark.parametrize(
    ("schema", "said", "value"),
    [
        ({"type": "string", "title": "Full name"}, "My name is jane doe and I am ill", "Jane Doe"),
        ({"type": "string", "title": "Full name"}, "it's Mary O'Neil-Smith", "Mary O'Neil-Smith"),
        ({"type": "string", "title": "First name"}, "Jane Doe", "Jane"),
        ({"type": "string", "title": "Last name"}, "Jane van Doe", "van Doe"),
        ({"type": "string", "title": "Full name"}, "what do you mean?", None),
        ({"type": "string", "format": "email"}, "jane dot doe at example dot com", "jane.doe@example.com"),
        (
            {"type": "string", "title": "Phone number"},
            "five five five, one two three, four five six seven",
            "5551234567",
        ),
        ({"type": "string", "title": "Phone number"}, "later", None),
        ({"type": "integer"}, "twenty three", 23),
        ({"type": ["number", "null"]}, "2.5", 2.5),
        ({"type": "boolean"}, "yes please", True),
        ({"type": "boolean"}, "no, not really", False),
        ({"enum": ["new_patient", "follow_up"]}, "a follow up", "follow_up"),
        ({"anyOf": [{"enum": ["deep_cleaning", "cleaning"]}, {"type": "null"}]}, "deep cleaning", "deep_cleaning"),
        ({"enum": ["cleaning", "filling"]}, "I need to be cleaned", "cleaning"),
        ({"type": "array", "items": {"enum": ["red", "blue"]}}, "blue and red", ["red", "blue"]),
        ({"type": "array"}, "milk, eggs and tea", ["milk", "eggs", "tea"]),
        ({"type": "string", "format": "date-time"}, "tomorrow at two", "2025-11-21T14:00:00"),
        ({"type": "string", "format": "date", "title": "Date of birth"}, "may fourth nineteen eighty", "1980-05-04"),
        ({"type": "string", "format": "date", "title": "Date of birth"}, "tomorrow", None),
    ],
)
def test_value_by_schema(schema: dict[str, object], said: str, value: object):
    assert parse("value", schema, said, today=TODAY, asked=True) == value


@pytest.mark.parametrize(
    ("name", "schema", "asked"),
    [
        ("born", {"title": "Date of birth"}, "What is your date of birth?"),
        ("when", {"description": "When shall we come?"}, "When shall we come?"),
        ("pick", {"title": "Visit type", "enum": ["a_b", "c", "d"]}, "Which visit type: a b, c or d?"),
        ("room_number", {}, "What is your room number?"),
        ("litres", {"type": "number"}, "How many litres?"),
        ("urgent", {"type": "boolean", "title": "Urgent"}, "Yes or no: urgent?"),
    ],
)
def test_question(name: str, schema: dict[str, object], asked: str):
    assert question(name, schema) == asked
