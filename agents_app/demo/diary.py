"""Fills the demo's diary around today: on each working day that has none, a few invented visits, the rest left free.

The same clinic and day give the same visits, whenever and wherever they are made.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from random import Random

from agents_app.models import Clinic
from agents_app.practice.loading import load_diary, load_visit
from agents_app.practice.models import Appointment, Patient, VisitType
from agents_app.practice.models.diary import DoneBy
from agents_app.practice.slots import Diary, Slot, day_slots, open_spans

DAYS_BACK = 3
DAYS_AHEAD = 14
START_EVERY_MIN = 15


def top_up(clinic: Clinic, *, visits_a_day: int, now: datetime) -> int:
    """Add what is missing around today and return how many visits that were. Nothing that stands is touched."""
    today = now.astimezone(clinic.zone).date()
    days = [today + timedelta(days=offset) for offset in range(-DAYS_BACK, DAYS_AHEAD + 1)]
    diary = load_diary(clinic, first=days[0], last=days[-1])
    filled = _days_with_visits(clinic, since=days[0])
    return sum(
        _fill(clinic, diary, day, visits_a_day=visits_a_day, now=now)
        for day in days
        if day not in filled and open_spans(diary, day)
    )


def _days_with_visits(clinic: Clinic, *, since: date) -> set[date]:
    """Return the days that have been filled before; a day whose visits were all cancelled is one of them."""
    starts = Appointment.objects.filter(clinic=clinic, booked_by=DoneBy.DEMO).values_list("starts", flat=True)
    return {day for moment in starts if (day := moment.astimezone(clinic.zone).date()) >= since}


def _fill(clinic: Clinic, diary: Diary, day: date, *, visits_a_day: int, now: datetime) -> int:
    chance = Random(f"{clinic.name} {day.isoformat()}")
    patients = list(Patient.objects.filter(clinic=clinic, source=Patient.Source.DEMO))
    chance.shuffle(patients)
    made = 0
    for patient, (visit_type, slot) in zip(patients[:visits_a_day], _visits(clinic, diary, day, chance), strict=False):
        past = slot.ends < now
        Appointment.objects.create(
            clinic=clinic,
            patient=patient,
            visit_type=visit_type,
            provider_id=slot.provider,
            operatory_id=slot.room,
            starts=slot.starts,
            ends=slot.ends,
            held_until=slot.held_until,
            status=Appointment.Status.COMPLETED if past else Appointment.Status.SCHEDULED,
            booked_by=DoneBy.DEMO,
        )
        made += 1
    return made


def _visits(clinic: Clinic, diary: Diary, day: date, chance: Random) -> Iterator[tuple[VisitType, Slot]]:
    """Yield visits that fit beside each other and beside what stands in the diary."""
    kinds = [
        (row, load_visit(clinic, row)) for row in VisitType.objects.filter(clinic=clinic, active=True).order_by("name")
    ]
    free = {
        row.pk: day_slots(diary, visit, day, not_before=_start_of(day, clinic), step_min=START_EVERY_MIN)
        for row, visit in kinds
    }
    while any(free.values()):
        row = chance.choice([row for row, _ in kinds if free[row.pk]])
        slot = chance.choice(free[row.pk])
        yield row, slot
        free = {pk: [other for other in slots if _beside(other, slot)] for pk, slots in free.items()}


def _start_of(day: date, clinic: Clinic) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=clinic.zone)


def _beside(one: Slot, other: Slot) -> bool:
    apart = one.held_until <= other.starts or other.held_until <= one.starts
    return apart or (one.provider != other.provider and one.room != other.room)
