"""Pages of calls, newest first, by key: a page costs the same however far back it is."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.db.models import Q

from sessions_app.models import CallSession
from sessions_app.models.calls import CallSessionQuerySet

PAGE_CALLS = 25
COUNTED_CALLS = 1_000  # beyond it, the list says "more than"


@dataclass(frozen=True)
class Page:
    """`newer` and `older` are the calls to go on from, or None at that end."""

    calls: list[CallSession]
    newer: UUID | None
    older: UUID | None


def page_of(
    calls: CallSessionQuerySet,
    *,
    visible: CallSessionQuerySet,
    before: str = "",
    after: str = "",
    size: int = PAGE_CALLS,
) -> Page:
    """Return the page older than the call `before`, or newer than `after`, or the newest.

    An anchor that is not among the `visible` ones counts as none. It need not be among `calls`: since the page was
    shown it may have been reviewed.
    """
    if anchor := _find(visible, after):
        rows = list(_newer(calls, anchor).order_by("started_at", "id")[: size + 1])
        if len(rows) > size:  # else it is the first page, which is shown full
            shown = rows[:size][::-1]
            return Page(shown, newer=shown[0].pk, older=shown[-1].pk)
    anchor = _find(visible, before)
    rows = list((_older(calls, anchor) if anchor else calls).order_by("-started_at", "-id")[: size + 1])
    shown = rows[:size]
    return Page(
        shown,
        newer=shown[0].pk if anchor and shown else None,
        older=shown[-1].pk if len(rows) > size else None,
    )


def neighbours(calls: CallSessionQuerySet, call: CallSession) -> tuple[UUID | None, UUID | None]:
    """Return the call that stands above `call` in the list of `calls`, and the one below it."""
    newer = _newer(calls, call).order_by("started_at", "id").values_list("pk", flat=True).first()
    older = _older(calls, call).order_by("-started_at", "-id").values_list("pk", flat=True).first()
    return newer, older


def counted(calls: CallSessionQuerySet) -> int:
    """Return how many there are; COUNTED_CALLS + 1 means more than that."""
    return calls.order_by()[: COUNTED_CALLS + 1].count()


def _find(visible: CallSessionQuerySet, pk: str) -> CallSession | None:
    try:
        return visible.only("id", "started_at").filter(pk=UUID(pk)).first()
    except ValueError:
        return None


# The first condition alone would be right; the second lets the index bound the scan.
def _older(calls: CallSessionQuerySet, than: CallSession) -> CallSessionQuerySet:
    at = than.started_at
    return calls.filter(Q(started_at__lt=at) | Q(started_at=at, pk__lt=than.pk), started_at__lte=at)


def _newer(calls: CallSessionQuerySet, than: CallSession) -> CallSessionQuerySet:
    at = than.started_at
    return calls.filter(Q(started_at__gt=at) | Q(started_at=at, pk__gt=than.pk), started_at__gte=at)
