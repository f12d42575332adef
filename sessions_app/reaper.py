"""Ends calls whose process has died: in each process's heartbeat, by whoever comes first.

Owns the judgement that nobody carries a call any more, and what is then put right: its end, its place, its sound, its
cost, and the tools of which nobody knows whether they ran. Nothing is run again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from django.db import OperationalError, transaction
from django.db.models import Max, QuerySet
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from agents_app.practice.models import Task
from agents_app.practice.tasks import leave_task
from agents_app.tools import registered_tools
from sessions_app.call.ending import BY_WEIGHT
from sessions_app.cost import add_transcription_usage, add_usage
from sessions_app.effects import CallEnded
from sessions_app.fact_rows import store
from sessions_app.journal_format import Entry
from sessions_app.ledger import settle_abandoned
from sessions_app.models import CallSession, Place, ToolCall
from sessions_app.models.calls import LEASE_SECONDS, OWNER_LOST
from sessions_app.tasks import enqueue_recording

logger = logging.getLogger(__name__)

PROOF_S = 12.0  # a lease must have been found ended for so long: after an outage its owner renews it first
MAX_CALLS = 200  # of which one look takes note
MAX_ENDED = 20  # in one look: the leases of living calls wait for it
MAX_LEFT = 50  # calls whose tools are looked after in one sweep
LEFT_AFTER = timedelta(seconds=60)  # a tool that runs in a call that ended so long ago was left
_COUNTED_BY = {
    "response.done": add_usage,
    "conversation.item.input_audio_transcription.completed": add_transcription_usage,
}


class Reaper:
    """One of these per process: it remembers which leases it has found ended, and since when."""

    def __init__(self) -> None:
        self._found: dict[UUID, tuple[datetime | None, float]] = {}

    def look(self, *, own: Collection[UUID], now: float) -> int:
        """End the calls whose leases were found ended before, and are still; return how many those were.

        Never one of `own`, the calls that this process carries. `now` is in seconds, of a clock that is never set.
        """
        leases = dict(_without_owner(own).values_list("pk", "lease_until")[:MAX_CALLS])
        before = self._found
        self._found = {
            call_id: before[call_id] if before.get(call_id, (None, 0.0))[0] == lease else (lease, now)
            for call_id, lease in leases.items()
        }
        due = [call_id for call_id, (_lease, since) in self._found.items() if now - since >= PROOF_S]
        return sum(_ended(call_id, leases[call_id]) for call_id in due[:MAX_ENDED])


def _ended(call_id: UUID, lease_until: datetime | None) -> bool:
    """End a call; one that cannot be ended does not hold the others back."""
    try:
        return end_abandoned(call_id, lease_until=lease_until)
    except OperationalError:  # the database is away: it is for all of them
        raise
    except Exception as error:
        logger.error("A call could not be ended", extra={"call": str(call_id), "error": type(error).__name__})
        return False


def _without_owner(own: Collection[UUID]) -> QuerySet[CallSession]:
    ended = CallSession.objects.exclude(state=CallSession.State.ENDED).filter(lease_until__lt=Now())
    return ended.exclude(pk__in=own).order_by("lease_until")


def end_abandoned(call_id: UUID, *, lease_until: datetime | None) -> bool:
    """End the call unless its lease is another by now. True for one of those who try at once."""
    with transaction.atomic():
        waiting = CallSession.objects.exclude(state=CallSession.State.ENDED).filter(pk=call_id, lease_until=lease_until)
        if not waiting.update(lease_until=None):
            return False
        session = CallSession.objects.select_related("clinic").get(pk=call_id)
        mark_unknown(session)
        store([Entry(call_id, _end_of(session, lease_until), 0)])
        Place.objects.release(call_id)
    logger.warning("A call was ended whose process had died", extra={"call": str(call_id), "owner": session.owner})
    _follow(session)
    return True


def _follow(session: CallSession) -> None:
    """What may fail, and is then left to whoever looks for such leftovers."""
    follows: list[Callable[[], object]] = [partial(enqueue_recording, session), partial(settle_abandoned, session.pk)]
    for follow in follows:
        try:
            follow()
        except Exception as error:
            about = {"call": str(session.pk), "error": type(error).__name__}
            logger.error("What follows a call could not be begun", extra=about)


def mark_unknown(session: CallSession) -> None:
    """Nobody knows whether these tools ran. A write among them is for the staff to look at."""
    running = ToolCall.objects.filter(session=session, status=ToolCall.Status.RUNNING)
    for row in running.select_for_update():
        row.status, row.error_code = ToolCall.Status.UNKNOWN, OWNER_LOST
        row.save(update_fields=["status", "error_code"])
        if _may_have_written(row):
            text = _("%(tool)s: please check whether it was done") % {"tool": row.name}
            leave_task(clinic=session.clinic, call_id=session.pk, kind=Task.Kind.CHECK, text=text)


def mark_left_tools() -> int:
    """Mark what stands as running in calls that have ended: its end could not be stored. Return how many calls."""
    ended = CallSession.objects.filter(state=CallSession.State.ENDED, ended_at__lt=Now() - LEFT_AFTER)
    left = ended.filter(tool_calls__status=ToolCall.Status.RUNNING).select_related("clinic").distinct()[:MAX_LEFT]
    for session in left:
        with transaction.atomic():
            mark_unknown(session)
    return len(left)


def _may_have_written(row: ToolCall) -> bool:
    """A write that asks first does nothing before its yes."""
    spec = registered_tools().get(row.name)
    asks = spec is not None and spec.recap is not None
    return row.writes and (bool(row.confirmed_by) or not asks)


def _end_of(session: CallSession, lease_until: datetime | None) -> CallEnded:
    """Return the end as far as the record tells it."""
    return CallEnded(
        at_ms=_last_sign_ms(session, lease_until),
        reason=CallSession.EndReason.INTERRUPTED,
        error_code=OWNER_LOST,
        outcome=_outcome(session),
        usage=usage_of(session),
        counters=session.counters,
    )


def usage_of(session: CallSession) -> dict[str, int]:
    """Return what the call has used, as far as its events tell it."""
    usage: dict[str, int] = {}
    for kind, fields in session.events.filter(type__in=_COUNTED_BY).values_list("type", "fields"):
        usage = _COUNTED_BY[kind](usage, fields.get("usage"))
    return usage


def _last_sign_ms(session: CallSession, lease_until: datetime | None) -> int:
    """Return for how long the call is known to have been alive: to its last event, else to its last renewal."""
    last: int | None = session.events.aggregate(last=Max("at_ms"))["last"]
    if last is not None:
        return last
    renewed = lease_until - timedelta(seconds=LEASE_SECONDS) if lease_until is not None else session.started_at
    return max(0, round((renewed - session.started_at).total_seconds() * 1000))


def _outcome(session: CallSession) -> str:
    if session.events.filter(type="frontdesk.emergency").exists():
        return CallSession.Outcome.EMERGENCY
    done = ToolCall.objects.filter(session=session, status=ToolCall.Status.OK).values_list("name", flat=True)
    specs = registered_tools()
    outcomes = {specs[name].outcome for name in done if name in specs}
    return next((name for name in BY_WEIGHT if name in outcomes), CallSession.Outcome.FAILED)
