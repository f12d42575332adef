"""Types of argument that the tools share: strict, bounded, and described as a person would name them."""

from __future__ import annotations

import re
from datetime import date, time
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

BIGGEST_ID = 2**53 - 1  # what every JSON reader keeps exact

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TIME = re.compile(r"\d{2}:\d{2}(:00)?")


def _iso_date(value: Any) -> Any:
    """Accept 2026-11-26 and nothing else: a lenient reader takes numbers for seconds since 1970."""
    if isinstance(value, str):
        if not _DATE.fullmatch(value):
            raise ValueError("Expected a date such as 2026-11-26")
        return date.fromisoformat(value)
    return value


def _iso_time(value: Any) -> Any:
    if isinstance(value, str):
        if not _TIME.fullmatch(value):
            raise ValueError("Expected a time such as 14:30")
        return time.fromisoformat(value)
    return value


Day = Annotated[date, BeforeValidator(_iso_date)]
Clock = Annotated[time, BeforeValidator(_iso_time)]
AppointmentId = Annotated[
    int,
    Field(ge=1, le=BIGGEST_ID, title="Appointment", description="The appointment_id that list_appointments returned"),
]


class Arguments(BaseModel):
    """The base of all: nothing beyond what is named, nothing converted."""

    model_config = ConfigDict(extra="forbid", strict=True, str_strip_whitespace=True)


class NoArguments(Arguments):
    pass
