"""The practice's tools as a call runs them: through the gateway, its threads, its transactions and its envelopes."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from itertools import count
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async

from agents_app.practice.models import Appointment, LookupAttempt, Task
from sessions_app.call.function_calls import ToolResult
from sessions_app.effects import RunTool
from sessions_app.tool_gateway import CallContext, ToolGateway
from tests.make_calls import make_call
from tests.make_practice import Practice, make_patient, make_practice

_numbers = count(1)


async def run(
    practice: Practice,
    call_id: UUID,
    name: str,
    *,
    commit: bool = True,
    patient_id: int | None = None,
    digest: str = "",
    **values: Any,
) -> ToolResult:
    n = next(_numbers)
    function_call = RunTool(
        call_id=f"call_{n}",
        name=name,
        arguments=json.dumps(values),
        commit=commit,
        position=n,
        started_ms=n,
        patient_id=patient_id,
        digest=digest,
    )
    return await ToolGateway().run(function_call, CallContext(call_id, practice.clinic))


def a_call() -> tuple[Practice, UUID]:
    practice = make_practice(hours=[(day, "09:00", "17:00") for day in range(7)])
    make_patient(practice.clinic)
    return practice, make_call(practice.clinic).pk


@pytest.mark.django_db(transaction=True)
async def test_failed_lookups_count_although_each_was_refused() -> None:
    practice, call_id = await sync_to_async(a_call)()
    ann: dict[str, Any] = {"first_name": "Ann", "last_name": "Lee"}

    wrong = [
        await run(practice, call_id, "find_patient", **ann, date_of_birth=day)
        for day in ("1990-03-01", "1990-03-02", "1990-03-04")
    ]
    right = await run(practice, call_id, "find_patient", **ann, date_of_birth="1990-03-03")

    assert [result.output["error_code"] for result in wrong] == ["patient_not_found"] * 3
    assert (right.output["error_code"], right.patient_id) == ("too_many_attempts", None)
    assert await LookupAttempt.objects.filter(matched=False).acount() == 4
    assert await Task.objects.filter(kind="check").acount() == 1


@pytest.mark.django_db(transaction=True)
async def test_of_lookups_at_once_no_more_are_looked_at_than_one_after_the_other() -> None:
    practice, call_id = await sync_to_async(a_call)()
    ann: dict[str, Any] = {"first_name": "Ann", "last_name": "Lee"}

    days = [f"1990-05-{day:02}" for day in range(1, 9)]
    guesses = await asyncio.gather(*(run(practice, call_id, "find_patient", **ann, date_of_birth=day) for day in days))

    codes = Counter(guess.output["error_code"] for guess in guesses)
    assert codes == {"patient_not_found": 3, "too_many_attempts": 5}


@pytest.mark.django_db(transaction=True)
async def test_patient_is_recognised_offered_times_asked_and_booked() -> None:
    practice, call_id = await sync_to_async(a_call)()

    found = await run(practice, call_id, "find_patient", first_name="Ann", last_name="Lee", date_of_birth="1990-03-03")
    offered = await run(practice, call_id, "find_slots", visit_type="a cleaning")
    slot_id = offered.output["data"]["slots"][0]["slot_id"]
    asked = await run(practice, call_id, "book_appointment", commit=False, patient_id=found.patient_id, slot_id=slot_id)
    nothing_yet = await Appointment.objects.acount()
    assert asked.recap is not None
    yes = asked.recap.digest
    booked = await run(practice, call_id, "book_appointment", patient_id=found.patient_id, digest=yes, slot_id=slot_id)
    await run(practice, call_id, "book_appointment", patient_id=found.patient_id, digest=yes, slot_id=slot_id)

    assert (asked.output["error_code"], nothing_yet) == ("confirmation_required", 0)
    assert asked.recap.question.startswith("I will book a cleaning for Ann Lee with Dr. Adams on ")
    assert booked.ok
    row = await Appointment.objects.aget()
    assert (row.booked_by_call, row.patient_id) == (call_id, found.patient_id)
    assert booked.card[-1] == ("Reference", row.reference)
