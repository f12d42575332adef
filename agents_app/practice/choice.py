"""Pure: which few of many slots to offer. A caller keeps about three in mind, so they are spread, not the first three.

Knows no database and no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time
from enum import StrEnum
from zoneinfo import ZoneInfo

from agents_app.practice.slots import Slot

_NOON = time(12)
_EVENING = time(17)


class DayPart(StrEnum):
    MORNING = "morning"
    AFTERNOON = "afternoon"
    EVENING = "evening"


def day_part(at: datetime) -> DayPart:
    """Return the part of the day that a local time lies in: afternoon from noon, evening from five."""
    if at.time() < _NOON:
        return DayPart.MORNING
    return DayPart.AFTERNOON if at.time() < _EVENING else DayPart.EVENING


def spread(slots: Iterable[Slot], zone: ZoneInfo, *, limit: int, part: DayPart | None = None) -> list[Slot]:
    """Return at most `limit` slots with different starts, the earliest first.

    The first of each morning, afternoon and evening comes before the second of any; a lazy search is read only until
    there are `limit` of them. `part` keeps the others out.
    """
    groups: dict[tuple[date, DayPart], list[Slot]] = {}
    starts: set[datetime] = set()
    for slot in slots:
        local = slot.local(zone)
        if slot.starts in starts or part not in (None, day_part(local)):
            continue
        key = (local.date(), day_part(local))
        if key not in groups and len(groups) == limit:
            break
        starts.add(slot.starts)
        groups.setdefault(key, []).append(slot)
    return sorted(_in_turn(list(groups.values()), limit))


def nearest(slots: Iterable[Slot], zone: ZoneInfo, *, limit: int, wanted: time, within: set[date]) -> list[Slot]:
    """Return at most `limit` slots of the days `within`, those closest to the wall time `wanted`, in order of time."""
    by_start: dict[datetime, Slot] = {}
    for slot in slots:
        by_start.setdefault(slot.starts, slot)
    candidates = [slot for slot in by_start.values() if slot.local(zone).date() in within]

    def distance(slot: Slot) -> tuple[float, datetime]:
        on_day = datetime.combine(slot.local(zone).date(), wanted, tzinfo=zone).astimezone(UTC)
        return abs((slot.starts - on_day).total_seconds()), slot.starts

    return sorted(sorted(candidates, key=distance)[:limit])


def _in_turn(groups: Sequence[Sequence[Slot]], limit: int) -> list[Slot]:
    """Take the first of each group, then whatever is furthest from all that was taken, until there are enough."""
    taken = [group[0] for group in groups][:limit]
    left = [slot for group in groups for slot in group[1:]]
    while left and len(taken) < limit:
        apart = max(left, key=lambda slot: _distance(slot, taken))
        left.remove(apart)
        taken.append(apart)
    return taken


def _distance(slot: Slot, taken: Sequence[Slot]) -> float:
    return min(abs((slot.starts - other.starts).total_seconds()) for other in taken)
