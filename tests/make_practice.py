"""Makes the practice's rows for tests, and runs its tools as a call would: each with any field replaced by keyword."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import count
from typing import Any
from uuid import uuid4

import pytest

from agents_app.models import Clinic
from agents_app.practice.models import (
    Appointment,
    Closure,
    Operatory,
    Patient,
    Provider,
    ProviderSchedule,
    Task,
    VisitType,
)
from agents_app.practice.slot_ids import SlotRef
from agents_app.tools import Recap, ToolContext, ToolError, ToolOutcome, registered_tools
from tests.make import make_clinic

# A Monday, nine o'clock in New York. The Thursday of that week is Thanksgiving.
NOW = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)

_numbers = count(1)


@dataclass(frozen=True)
class Practice:
    """A clinic with one provider, one room and one kind of visit."""

    clinic: Clinic
    provider: Provider
    room: Operatory
    visit_type: VisitType

    def ref(self, day: date, hour: int, minute: int = 0) -> SlotRef:
        """Name the slot that begins then by the clinic's clock."""
        return SlotRef(self.visit_type.pk, self.provider.pk, self.at(day, hour, minute))

    def at(self, day: date, hour: int, minute: int = 0) -> datetime:
        return datetime.combine(day, time(hour, minute), tzinfo=self.clinic.zone).astimezone(UTC)


def make_practice(**fields: Any) -> Practice:
    """Dr. Adams cleans teeth in room 1 on weekdays from 9 to 17, an hour each. Fields are the clinic's."""
    clinic = make_clinic(**{"address": "1 Elm Street", **fields})
    provider = make_provider(clinic, name="Dr. Susan Adams", spoken_as="Dr. Adams")
    room = make_operatory(clinic)
    visit_type = make_visit_type(clinic, providers=[provider], operatories=[room])
    return Practice(clinic, provider, room, visit_type)


def make_provider(clinic: Clinic, **fields: Any) -> Provider:
    """Works on weekdays from 9 to 17, unless `shifts=` says otherwise."""
    shifts = fields.pop("shifts", [(day, "09:00", "17:00") for day in range(5)])
    provider = Provider.objects.create(clinic=clinic, **{"name": f"Dr. Provider {next(_numbers)}", **fields})
    for weekday, starts, ends in shifts:
        ProviderSchedule.objects.create(provider=provider, weekday=weekday, starts=starts, ends=ends)
    return provider


def make_operatory(clinic: Clinic, **fields: Any) -> Operatory:
    return Operatory.objects.create(clinic=clinic, **{"name": f"Room {next(_numbers)}", **fields})


def make_visit_type(clinic: Clinic, **fields: Any) -> VisitType:
    providers, operatories = fields.pop("providers", []), fields.pop("operatories", [])
    row = VisitType.objects.create(
        clinic=clinic, **{"name": "Cleaning", "spoken_as": "a cleaning", "minutes": 60, **fields}
    )
    row.providers.set(providers)
    row.operatories.set(operatories)
    return row


def make_patient(clinic: Clinic, **fields: Any) -> Patient:
    return Patient.objects.create(
        **{
            "clinic": clinic,
            "first_name": "Ann",
            "last_name": "Lee",
            "date_of_birth": date(1990, 3, 3),
            "phone": "(541) 555-1234",
            **fields,
        }
    )


def make_appointment(practice: Practice, patient: Patient, starts: datetime, **fields: Any) -> Appointment:
    visit_type = fields.get("visit_type", practice.visit_type)
    ends = starts + timedelta(minutes=visit_type.minutes)
    return Appointment.objects.create(
        **{
            "clinic": practice.clinic,
            "patient": patient,
            "provider": practice.provider,
            "operatory": practice.room,
            "visit_type": visit_type,
            "starts": starts,
            "ends": ends,
            "held_until": ends + timedelta(minutes=visit_type.buffer_minutes),
            **fields,
        }
    )


def make_closure(clinic: Clinic, day: date, **fields: Any) -> Closure:
    """A whole day by the clinic's clock."""
    midnight = datetime.combine(day, time(), tzinfo=clinic.zone)
    return Closure.objects.create(
        **{
            "clinic": clinic,
            "starts": midnight,
            "ends": datetime.combine(day + timedelta(days=1), time(), tzinfo=clinic.zone),
            "reason": "Thanksgiving",
            **fields,
        }
    )


def make_task(clinic: Clinic, **fields: Any) -> Task:
    return Task.objects.create(**{"clinic": clinic, "kind": "message", "text": "Please call back.", **fields})


def make_context(clinic: Clinic, *, patient: Patient | None = None, **fields: Any) -> ToolContext:
    return ToolContext(
        **{
            "clinic": clinic,
            "call_id": uuid4(),
            "patient_id": patient.pk if patient else None,
            "now": NOW,
            "zone": clinic.zone,
            **fields,
        }
    )


def run_tool(name: str, context: ToolContext, **arguments: Any) -> ToolOutcome:
    """Run a tool with arguments as they come from the model: JSON."""
    spec = registered_tools()[name]
    return spec.handler(context, spec.arguments.model_validate_json(json.dumps(arguments)))


def recap_of(name: str, context: ToolContext, **arguments: Any) -> Recap:
    spec = registered_tools()[name]
    assert spec.recap is not None
    return spec.recap(context, spec.arguments.model_validate_json(json.dumps(arguments)))


def refused(name: str, context: ToolContext, *, recap: bool = False, **arguments: Any) -> ToolError:
    with pytest.raises(ToolError) as error:
        (recap_of if recap else run_tool)(name, context, **arguments)
    return error.value


def an_identified_call(**fields: Any) -> tuple[Practice, Patient, ToolContext]:
    practice = make_practice(**fields)
    patient = make_patient(practice.clinic)
    return practice, patient, make_context(practice.clinic, patient=patient)
