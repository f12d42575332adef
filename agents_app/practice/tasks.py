"""Leaves something for a person to do."""

from __future__ import annotations

from uuid import UUID

from agents_app.models import Clinic
from agents_app.practice.models import Patient, Task
from agents_app.practice.models.tasks import TASK_TEXT_CHARS


def leave_task(
    *,
    clinic: Clinic,
    kind: str,
    text: str,
    call_id: UUID | None = None,
    name: str = "",
    phone: str = "",
    priority: str = Task.Priority.NORMAL,
    patient: Patient | None = None,
) -> Task:
    """Return an open task. The same words left twice in one call are one task. Texts too long are cut."""
    values = {
        "clinic": clinic,
        "kind": Task.Kind(kind),
        "text": text[:TASK_TEXT_CHARS],
        "call_id": call_id,
        "caller_name": name[:160],
        "phone": phone[:40],
        "priority": Task.Priority(priority),
        "patient": patient,
    }
    if call_id is not None:
        known = Task.objects.filter(**values, status=Task.Status.OPEN).first()
        if known is not None:
            return known
    return Task.objects.create(**values)
