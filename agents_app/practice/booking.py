"""Books, moves and cancels: checks against the slot engine and writes, in one transaction that holds the diary.

Whatever cannot be checked is not booked. Knows nothing of tools or of how anything is said; who does it comes as `By`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import wraps
from typing import ParamSpec, TypeVar
from uuid import UUID

from django.db import DatabaseError, IntegrityError, transaction

from agents_app.models import Clinic
from agents_app.practice.choice import spread
from agents_app.practice.loading import load_diary, load_visit
from agents_app.practice.models import Appointment, AppointmentChange, Patient, Provider, Task, VisitType
from agents_app.practice.models.diary import DoneBy, lock_diary
from agents_app.practice.slot_ids import SlotRef
from agents_app.practice.slots import Slot, Span, grid_steps, slot_at, slots
from agents_app.practice.tasks import leave_task

NEXT_SLOTS = 3
OFFER_STEP_MIN = 15
LATE = timedelta(hours=24)

P = ParamSpec("P")
T = TypeVar("T")


class BookingError(Exception):
    """The diary is as it was."""


class SlotUnknown(BookingError):
    """The reference names nothing that this clinic books."""


class SlotTaken(BookingError):
    """The time is not free, or no longer. `next_slots` are free instead."""

    def __init__(self, visit_type: VisitType, next_slots: list[Slot]) -> None:
        super().__init__()
        self.visit_type, self.next_slots = visit_type, next_slots


class OtherVisit(BookingError):
    """The slot is for another kind of visit than the appointment to be moved."""


class PatientBusy(BookingError):
    """The patient has another appointment at that time."""


class AppointmentGone(BookingError):
    """There is no such appointment of this patient still to come."""


class DiaryUnavailable(BookingError):
    """The diary could not be read or written."""


class NotVerified(BookingError):
    """What was read back is not what was written; a task is left for staff."""


@dataclass(frozen=True)
class By:
    """Who or what changes the diary."""

    kind: str = DoneBy.STAFF
    call_id: UUID | None = None
    user_id: int | None = None


@dataclass(frozen=True)
class Plan:
    """An appointment that could be made now."""

    visit_type: VisitType
    provider: Provider
    slot: Slot


def fails_closed(do: Callable[P, T]) -> Callable[P, T]:
    """Turn a failure of the database into DiaryUnavailable: the caller hears that nothing was done."""

    @wraps(do)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return do(*args, **kwargs)
        except DatabaseError:
            raise DiaryUnavailable from None

    return guarded


@fails_closed
def plan(clinic: Clinic, *, patient: Patient, ref: SlotRef, now: datetime, moving: Appointment | None = None) -> Plan:
    """Return what booking `ref` would make, or moving `moving` to it. Raises BookingError when it cannot be."""
    visit_type = VisitType.objects.filter(clinic=clinic, active=True, pk=ref.visit_type).first()
    provider = Provider.objects.filter(clinic=clinic, active=True, pk=ref.provider).first()
    if visit_type is None or provider is None:
        raise SlotUnknown
    if moving is not None and moving.visit_type_id != visit_type.pk:
        raise OtherVisit
    visit = load_visit(clinic, visit_type, minutes=_length(moving))
    if _elsewhere(patient, Span(ref.starts, ref.starts + timedelta(minutes=visit.minutes)), moving):
        raise PatientBusy
    day = ref.starts.astimezone(clinic.zone).date()
    slot = slot_at(
        load_diary(clinic, first=day, last=day, without=moving),
        visit,
        starts=ref.starts,
        provider=ref.provider,
        now=now,
        horizon_days=clinic.booking_horizon_days,
    )
    if slot is None:
        raise SlotTaken(visit_type, next_slots(clinic, visit_type, after=ref, now=now, moving=moving))
    return Plan(visit_type, provider, slot)


def next_slots(
    clinic: Clinic, visit_type: VisitType, *, after: SlotRef, now: datetime, moving: Appointment | None = None
) -> list[Slot]:
    """Return what is free instead, from that day on: with the same provider where an appointment is moved."""
    today = now.astimezone(clinic.zone).date()
    furthest = today + timedelta(days=clinic.booking_horizon_days)
    first = min(max(after.starts.astimezone(clinic.zone).date(), today), furthest)
    found = slots(
        load_diary(clinic, first=first, last=furthest, without=moving),
        load_visit(clinic, visit_type, provider_id=moving.provider_id if moving else None, minutes=_length(moving)),
        now=now,
        horizon_days=clinic.booking_horizon_days,
        first=first,
        step_min=OFFER_STEP_MIN,
    )
    return spread(found, clinic.zone, limit=NEXT_SLOTS)


@fails_closed
def book(clinic: Clinic, *, patient: Patient, ref: SlotRef, by: By, now: datetime) -> Appointment:
    """Make the appointment. Asked again for the same in one call, return the one that was made."""
    try:
        with transaction.atomic():
            lock_diary(clinic.pk)
            made = _made_before(clinic, patient, ref, by)
            if made is not None:
                return made
            planned = plan(clinic, patient=patient, ref=ref, now=now)
            appointment = Appointment(
                clinic=clinic,
                patient=patient,
                visit_type=planned.visit_type,
                booked_by=by.kind,
                booked_by_call=by.call_id,
                booked_by_user_id=by.user_id,
            )
            _place(appointment, planned)
            appointment.save()
            _note(appointment, AppointmentChange.Kind.BOOKED, by, to=planned)
    except IntegrityError:
        raise _taken(clinic, ref, now=now) from None
    return _verified(appointment, by)


@fails_closed
def reschedule(
    clinic: Clinic, *, patient: Patient, appointment_id: int, ref: SlotRef, by: By, now: datetime
) -> Appointment:
    """Move the appointment: the old time is freed and the new one held together, or everything stays."""
    moving: Appointment | None = None
    try:
        with transaction.atomic():
            lock_diary(clinic.pk)
            moving = upcoming_appointment(clinic, patient=patient, appointment_id=appointment_id, now=now)
            planned = plan(clinic, patient=patient, ref=ref, now=now, moving=moving)
            if (moving.starts, moving.provider_id) == (planned.slot.starts, planned.slot.provider):
                return moving
            before = (moving.starts, moving.provider_id)
            _place(moving, planned)
            moving.save()
            _note(moving, AppointmentChange.Kind.MOVED, by, before=before, to=planned)
    except IntegrityError:
        raise _taken(clinic, ref, now=now) from None
    return _verified(moving, by)


@fails_closed
def cancel(clinic: Clinic, *, patient: Patient, appointment_id: int, by: By, now: datetime) -> Appointment:
    """Cancel the appointment and free its time."""
    with transaction.atomic():
        lock_diary(clinic.pk)
        appointment = upcoming_appointment(clinic, patient=patient, appointment_id=appointment_id, now=now)
        appointment.status = Appointment.Status.CANCELLED
        appointment.save(update_fields=["status", "updated_at"])
        kind = AppointmentChange.Kind.CANCELLED_LATE if is_late(appointment, now) else AppointmentChange.Kind.CANCELLED
        _note(appointment, kind, by, before=(appointment.starts, appointment.provider_id))
    return _verified(appointment, by)


@fails_closed
def upcoming_appointment(clinic: Clinic, *, patient: Patient, appointment_id: int, now: datetime) -> Appointment:
    """Return the patient's own appointment still to come. Raises AppointmentGone, whosever it may be."""
    rows = Appointment.objects.filter(clinic=clinic, patient=patient).upcoming(now)
    found = rows.select_related("provider", "visit_type").filter(pk=appointment_id).first()
    if found is None:
        raise AppointmentGone
    return found


def is_late(appointment: Appointment, now: datetime) -> bool:
    """Whether a cancellation now falls under the policy for late ones."""
    return appointment.starts - now < LATE


def _length(moving: Appointment | None) -> int | None:
    """A moved appointment keeps its length, whatever its visit type has become."""
    return int((moving.ends - moving.starts).total_seconds() // 60) if moving else None


def _elsewhere(patient: Patient, wanted: Span, moving: Appointment | None) -> bool:
    others = Appointment.objects.filter(patient=patient, starts__lt=wanted.ends, ends__gt=wanted.starts).holding()
    return (others.exclude(pk=moving.pk) if moving else others).exists()


def _made_before(clinic: Clinic, patient: Patient, ref: SlotRef, by: By) -> Appointment | None:
    if by.call_id is None:
        return None
    mine = Appointment.objects.filter(clinic=clinic, patient=patient, booked_by_call=by.call_id).holding()
    same = mine.filter(starts=ref.starts, provider_id=ref.provider, visit_type_id=ref.visit_type)
    return same.select_related("provider", "visit_type").first()


def _place(appointment: Appointment, planned: Plan) -> None:
    slot = planned.slot
    appointment.provider = planned.provider
    appointment.operatory_id = slot.room
    appointment.starts, appointment.ends, appointment.held_until = slot.starts, slot.ends, slot.held_until


def _note(
    appointment: Appointment, kind: str, by: By, *, before: tuple[datetime, int] | None = None, to: Plan | None = None
) -> None:
    AppointmentChange.objects.create(
        appointment=appointment,
        kind=kind,
        from_starts=before[0] if before else None,
        from_provider_id=before[1] if before else None,
        to_starts=to.slot.starts if to else None,
        to_provider=to.provider if to else None,
        done_by=by.kind,
        call_id=by.call_id,
        user_id=by.user_id,
    )


def _taken(clinic: Clinic, ref: SlotRef, *, now: datetime) -> SlotTaken:
    """A claim stood in the way: somebody wrote past the lock, by hand or with another program."""
    visit_type = VisitType.objects.get(clinic=clinic, pk=ref.visit_type)
    return SlotTaken(visit_type, next_slots(clinic, visit_type, after=ref, now=now))


def _verified(written: Appointment, by: By) -> Appointment:
    """Return the row as it stands in the database now. Raises NotVerified when it is another than was written."""
    try:
        with transaction.atomic():
            row = _reread(written)
    except DatabaseError:  # it was written, so it may not be called undone
        row = None
    if row is None:
        text = f"{written.reference}: what was read back differs from what was written. Please check the diary."
        leave_task(clinic=written.clinic, kind=Task.Kind.CHECK, text=text, call_id=by.call_id, patient=written.patient)
        raise NotVerified
    return row


def _reread(written: Appointment) -> Appointment | None:
    row = Appointment.objects.select_related("provider", "visit_type", "patient").filter(pk=written.pk).first()
    fields = ("clinic_id", "patient_id", "provider_id", "operatory_id", "visit_type_id", "starts", "ends", "status")
    if row is None or any(getattr(row, name) != getattr(written, name) for name in fields):
        return None
    return row if row.claims.count() == _claims_due(row) else None


def _claims_due(row: Appointment) -> int:
    if row.status == Appointment.Status.CANCELLED:
        return 0
    return 2 * sum(1 for _ in grid_steps(row.starts, row.held_until))
