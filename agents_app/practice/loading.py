"""Brings a clinic's rows to the slot engine: a fixed number of queries, whatever the clinic's size.

Only reads. A provider or room that takes no appointments, or is another clinic's, does not exist here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta

from django.db.models import Q

from agents_app.models import Clinic
from agents_app.practice.models import Appointment, Closure, Operatory, Provider, ProviderSchedule, VisitType
from agents_app.practice.slots import Diary, Hours, Shift, Span, Visit


def load_visit(
    clinic: Clinic, visit_type: VisitType, *, provider_id: int | None = None, minutes: int | None = None
) -> Visit:
    """Return what `visit_type` needs; with one provider alone, or another length, where those are given."""
    providers = Provider.objects.filter(clinic=clinic, active=True, visit_types=visit_type)
    if provider_id is not None:
        providers = providers.filter(pk=provider_id)
    rooms = Operatory.objects.filter(clinic=clinic, active=True, visit_types=visit_type)
    return Visit(
        minutes=minutes or visit_type.minutes,
        buffer_minutes=visit_type.buffer_minutes,
        providers=tuple(providers.values_list("pk", flat=True)),
        rooms=tuple(rooms.values_list("pk", flat=True)),
    )


def load_diary(clinic: Clinic, *, first: date, last: date, without: Appointment | None = None) -> Diary:
    """Return the clinic's diary from `first` to `last`. `without` is an appointment about to be moved."""
    # A day more on either side: dates are the clinic's, the rows' times are UTC, and buffers reach past midnight.
    window = Span(
        datetime.combine(first, time(), tzinfo=UTC) - timedelta(days=1),
        datetime.combine(last, time(), tzinfo=UTC) + timedelta(days=2),
    )
    closures = list(
        Closure.objects.filter(clinic=clinic, starts__lt=window.ends, ends__gt=window.starts).values_list(
            "provider_id", "operatory_id", "starts", "ends"
        )
    )
    appointments = Appointment.objects.filter(
        clinic=clinic, starts__lt=window.ends, held_until__gt=window.starts
    ).holding()
    if without is not None:
        appointments = appointments.exclude(pk=without.pk)
    taken = list(appointments.order_by().values_list("provider_id", "operatory_id", "starts", "held_until"))
    return Diary(
        zone=clinic.zone,
        hours=tuple(Hours(*row) for row in clinic.hours.values_list("weekday", "opens", "closes")),
        shifts=_load_shifts(clinic, window),
        closed=tuple(Span(starts, ends) for provider, room, starts, ends in closures if provider is room is None),
        busy_providers=_by_key((provider, starts, ends) for provider, _, starts, ends in (*taken, *closures)),
        busy_rooms=_by_key((room, starts, ends) for _, room, starts, ends in (*taken, *closures)),
    )


def _load_shifts(clinic: Clinic, window: Span) -> tuple[Shift, ...]:
    rows = ProviderSchedule.objects.filter(
        Q(on_date__isnull=True) | Q(on_date__range=(window.starts.date(), window.ends.date())),
        provider__clinic=clinic,
        provider__active=True,
    )
    return tuple(
        Shift(provider=provider, starts=starts, ends=ends, weekday=weekday, on=on, room=room)
        for provider, starts, ends, weekday, on, room in rows.values_list(
            "provider_id", "starts", "ends", "weekday", "on_date", "operatory_id"
        )
    )


def _by_key(rows: Iterable[tuple[int | None, datetime, datetime]]) -> dict[int, tuple[Span, ...]]:
    """Group spans by provider or room; a row that names none belongs to nobody."""
    grouped: dict[int, list[Span]] = defaultdict(list)
    for key, starts, ends in rows:
        if key is not None:
            grouped[key].append(Span(starts, ends))
    return {key: tuple(spans) for key, spans in grouped.items()}
