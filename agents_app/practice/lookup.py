"""Finds and registers patients for a call, and counts how often a call has tried.

Two identifiers must match before anybody is told anything: the date of birth, and the full name or the phone number.
Nothing here ever changes a patient's record.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from difflib import SequenceMatcher
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.db.models import Q, QuerySet

from agents_app.models import Clinic
from agents_app.practice.models import LookupAttempt, Patient, Task
from agents_app.practice.normal import name_key
from agents_app.practice.tasks import leave_task

FAILED_LOOKUPS_MAX = 3  # a call
REGISTRATIONS_MAX = 3  # a call: a parent with children
_LIKE_NAME = 0.8  # how alike a misheard name must be beside a phone number and a date of birth that match
_CANDIDATES_MAX = 20


class TooManyAttempts(Exception):
    """This call has used up its attempts."""


@dataclass(frozen=True)
class Details:
    """What a caller says about themselves. Names may be empty when there is a phone number, and the other way round."""

    first_name: str
    last_name: str
    date_of_birth: date
    phone_digits: str | None = None

    @property
    def key(self) -> str:
        return name_key(self.first_name, self.last_name) if self.first_name and self.last_name else ""


@dataclass(frozen=True)
class Found:
    patients: tuple[Patient, ...]
    confidence: float = 1.0


def find(clinic: Clinic, details: Details, *, call_id: UUID) -> Found:
    """Return whom the details fit: one is identified, several need one more question.

    Raises TooManyAttempts when the call has failed too often already, also when these would fit.
    """
    # The row comes before the count, and they come one at a time: lookups side by side cannot all be the third.
    _wait_for_others(call_id)
    attempt = LookupAttempt.objects.create(clinic=clinic, call_id=call_id)
    if _failed(call_id).count() > FAILED_LOOKUPS_MAX:
        raise TooManyAttempts
    found = _match(clinic, details)
    if found.patients:
        LookupAttempt.objects.filter(pk=attempt.pk).update(matched=True)
    else:
        _flag_near_miss(clinic, details, call_id)
    return found


def register(clinic: Clinic, details: Details, *, phone: str, email: str, call_id: UUID) -> tuple[Patient, bool]:
    """Return the patient and whether the row is new. Somebody whose two identifiers match is not registered again.

    Raises TooManyAttempts when the call has tried too often: guesses must not come in by this door either.
    """
    _wait_for_others(call_id)
    LookupAttempt.objects.create(clinic=clinic, call_id=call_id, purpose=LookupAttempt.Purpose.REGISTER, matched=True)
    refuse_when_spent(call_id, registering=False)
    if LookupAttempt.objects.filter(call_id=call_id, purpose="register").count() > REGISTRATIONS_MAX:
        raise TooManyAttempts
    namesakes = Patient.objects.filter(clinic=clinic, name_key=details.key, date_of_birth=details.date_of_birth)
    known = namesakes.order_by("pk").first()
    if known is None:
        return _create(clinic, details, phone=phone, email=email, call_id=call_id)
    if known.phone_digits != (details.phone_digits or ""):
        text = f"A caller gave a phone number that is not on the record of {known.reference}. Nothing was changed."
        leave_task(clinic=clinic, kind=Task.Kind.CHECK, text=text, call_id=call_id, patient=known, phone=phone)
    return known, False


def refuse_when_spent(call_id: UUID, *, registering: bool) -> None:
    """Raise TooManyAttempts when this call may look up, or register, nobody any more."""
    registered = LookupAttempt.objects.filter(call_id=call_id, purpose=LookupAttempt.Purpose.REGISTER).count()
    if _failed(call_id).count() >= FAILED_LOOKUPS_MAX or (registering and registered >= REGISTRATIONS_MAX):
        raise TooManyAttempts


def _wait_for_others(call_id: UUID) -> None:
    """Let no other lookup of this call count before the current transaction has ended: it does not see our row yet.

    SQLite's transactions have one writer at a time anyway.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [call_id.int & (2**63 - 1)])


def _failed(call_id: UUID) -> QuerySet[LookupAttempt]:
    return LookupAttempt.objects.filter(call_id=call_id, purpose=LookupAttempt.Purpose.FIND, matched=False)


def _match(clinic: Clinic, details: Details) -> Found:
    born = Patient.objects.filter(clinic=clinic, date_of_birth=details.date_of_birth).order_by("pk")
    by_name = list(born.filter(name_key=details.key)[:_CANDIDATES_MAX]) if details.key else []
    if by_name:
        with_phone = [row for row in by_name if details.phone_digits and row.phone_digits == details.phone_digits]
        return Found(tuple(with_phone or by_name))
    if not details.phone_digits:
        return Found(())
    return _by_phone(list(born.filter(phone_digits=details.phone_digits)[:_CANDIDATES_MAX]), details)


def _by_phone(rows: list[Patient], details: Details) -> Found:
    """Tell apart those who share a number and a birthday. A name that is quite another fits nobody: twins."""
    said = name_key(details.first_name, details.last_name)
    if not said:
        return Found(tuple(rows))
    first_alone = not details.last_name
    alike = [(_likeness(said, name_key(row.first_name) if first_alone else row.name_key), row) for row in rows]
    best = max((likeness for likeness, _ in alike), default=0.0)
    if best < _LIKE_NAME:
        return Found(())
    return Found(tuple(row for likeness, row in alike if likeness == best), round(best, 2))


def _likeness(said: str, stored: str) -> float:
    return SequenceMatcher(None, said, stored).ratio()


def _flag_near_miss(clinic: Clinic, details: Details, call_id: UUID) -> None:
    """Leave staff a note when name or number is on record with another date of birth. The caller hears nothing."""
    near = Q(pk__in=())
    if details.key:
        near |= Q(name_key=details.key)
    if details.phone_digits:
        near |= Q(phone_digits=details.phone_digits)
    patient = Patient.objects.filter(near, clinic=clinic).order_by("pk").first()
    if patient is not None:
        text = f"A caller's details fit the record of {patient.reference} only in part. Nothing was told or changed."
        leave_task(clinic=clinic, kind=Task.Kind.CHECK, text=text, call_id=call_id, patient=patient)


def _create(clinic: Clinic, details: Details, *, phone: str, email: str, call_id: UUID) -> tuple[Patient, bool]:
    same_number = Patient.objects.filter(
        clinic=clinic, phone_digits=details.phone_digits or "", date_of_birth=details.date_of_birth
    )
    doubtful = same_number.exclude(phone_digits="").order_by("pk").first()
    patient = Patient(
        clinic=clinic,
        first_name=details.first_name,
        last_name=details.last_name,
        date_of_birth=details.date_of_birth,
        phone=phone,
        email=email,
        source=Patient.Source.CALL,
    )
    try:
        with transaction.atomic():
            patient.save()
    except IntegrityError:  # registered in this very moment: the constraint let one through
        key = {"name_key": patient.name_key, "phone_digits": patient.phone_digits}
        return Patient.objects.get(clinic=clinic, date_of_birth=patient.date_of_birth, **key), False
    if doubtful is not None:
        text = f"{patient.reference} may be {doubtful.reference}: same phone number and date of birth, another name."
        leave_task(clinic=clinic, kind=Task.Kind.CHECK, text=text, call_id=call_id, patient=patient)
    return patient, True
