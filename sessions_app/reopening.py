"""Opens a call that another process has begun and left: from its rows, and all that it needs to go on.

Synchronous, one hop to a thread. Only for a call whose token this process has spent: then the row is its own.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from agents_app.tools import registered_tools
from sessions_app.call.brief import Past
from sessions_app.call.function_calls import FunctionCall
from sessions_app.effects import ItemSaved
from sessions_app.ledger import prices_of
from sessions_app.models import CallPatient, CallSession, Event, ToolCall
from sessions_app.opening import Opening, brief_of, call_over, upstream_of
from sessions_app.reaper import mark_unknown, usage_of
from sessions_app.resuming import Return
from sessions_app.tool_gateway import CallContext

UNKNOWN_OUTPUT = {
    "status": "error",
    "error_code": "owner_lost",
    "message": "Nobody knows whether this was done. The staff will look at it: do not try it again.",
    "retryable": False,
}


def reopen(back: Return) -> Opening:
    """Return the call as its record leaves it. Raises CannotBegin when it is over, or cannot go on."""
    session = CallSession.objects.select_related("clinic", "version__agent").get(pk=back.call_id)
    if session.state == CallSession.State.ENDED:
        raise call_over()
    with transaction.atomic():
        mark_unknown(session)
    version = session.version
    prices = prices_of(version.content["model"]["name"])
    brief = brief_of(session, version, prices, own_events=True)
    return Opening(
        replace(brief, past=_past(session, back)),
        CallContext(session.pk, session.clinic),
        upstream_of(session.clinic, version),
        session.recording_kept,
    )


def _past(session: CallSession, back: Return) -> Past:
    rows = list(session.tool_calls.exclude(status=ToolCall.Status.RUNNING))
    patient = CallPatient.objects.filter(session=session).order_by("-pk").values_list("patient_id", flat=True).first()
    tools = {tool["name"]: tool for tool in session.version.content["tools"]}
    return Past(
        elapsed_ms=round((timezone.now() - session.started_at).total_seconds() * 1000),
        epoch=back.epoch,
        items=tuple(_fact(row) for row in session.items.order_by("position").values(*_ITEM_FIELDS)),
        function_calls=tuple((_call(row), json.dumps(row.output or UNKNOWN_OUTPUT)) for row in rows),
        seq=session.events.aggregate(last=Max("seq"))["last"] or 0,
        usage=usage_of(session),
        alarm=_alarm(session),
        patient_id=patient,
        outcomes=frozenset(_outcomes(rows, tools)),
    )


_ITEM_FIELDS = tuple(ItemSaved.__dataclass_fields__)


def _fact(values: dict[str, Any]) -> ItemSaved:
    return ItemSaved(**values)


def _call(row: ToolCall) -> FunctionCall:
    return FunctionCall(row.call_id, row.name, row.arguments, None, row.position)


def _alarm(session: CallSession) -> str:
    tripped: Event | None = session.events.filter(type="guardrail.tripped").first()
    return str(tripped.fields.get("rule", "")) if tripped is not None else ""


def _outcomes(rows: list[ToolCall], tools: dict[str, Any]) -> list[str]:
    """Return what the tools that ran came to, by the names that the registry gives."""
    from_registry = {name: spec.outcome for name, spec in registered_tools().items()}
    done = [row.name for row in rows if row.status == ToolCall.Status.OK and row.name in tools]
    return [from_registry[name] for name in done if from_registry.get(name)]
