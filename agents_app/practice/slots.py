"""Pure: where an appointment fits. Hours, shifts, rooms, closures, what is taken, and a visit in; slots out.

All arithmetic is in UTC on a grid of five minutes: wall times of one zone lie about order and length when the clocks
change. Only the edges of a day are read as wall times. Knows no database, no clock and no patient.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

GRID_MIN = 5
_GRID = timedelta(minutes=GRID_MIN)
_GRID_S = GRID_MIN * 60


@dataclass(frozen=True, order=True)
class Span:
    """From `starts` up to, not including, `ends`; both UTC."""

    starts: datetime
    ends: datetime

    def overlaps(self, other: Span) -> bool:
        return self.starts < other.ends and other.starts < self.ends


@dataclass(frozen=True)
class Hours:
    """One stretch of the clinic's opening time, in wall time. Monday is 0."""

    weekday: int
    opens: time
    closes: time


@dataclass(frozen=True)
class Shift:
    """When a provider works: on each such weekday, or `on` one date. `room` None: any that suits the visit."""

    provider: int
    starts: time
    ends: time
    weekday: int | None = None
    on: date | None = None
    room: int | None = None


@dataclass(frozen=True)
class Visit:
    """What is looked for. `providers` and `rooms` are those that suit it, the preferred ones first."""

    minutes: int
    buffer_minutes: int
    providers: tuple[int, ...]
    rooms: tuple[int, ...]


@dataclass(frozen=True)
class Diary:
    """All that a clinic's time depends on. `busy` spans reach to the end of their buffer."""

    zone: ZoneInfo
    hours: tuple[Hours, ...] = ()
    shifts: tuple[Shift, ...] = ()
    closed: tuple[Span, ...] = ()
    busy_providers: Mapping[int, tuple[Span, ...]] = field(default_factory=dict)
    busy_rooms: Mapping[int, tuple[Span, ...]] = field(default_factory=dict)


@dataclass(frozen=True, order=True)
class Slot:
    """A visit that fits. Times are UTC, so that they compare; `held_until` is the end with the buffer."""

    starts: datetime
    ends: datetime
    held_until: datetime
    provider: int
    room: int

    def local(self, zone: ZoneInfo) -> datetime:
        """Return the start as the clinic's clock shows it."""
        return self.starts.astimezone(zone)


class Refusal(StrEnum):
    """Why a whole day has nothing to offer, before anybody's appointment is looked at."""

    PAST = "past"
    BEYOND_HORIZON = "beyond_horizon"
    CLOSED = "closed"


def on_grid(moment: datetime) -> bool:
    return moment.timestamp() % _GRID_S == 0


def grid_steps(starts: datetime, ends: datetime) -> Iterator[datetime]:
    """Yield each five minutes that the time from `starts` to `ends` touches, in UTC."""
    step = _floor(starts)
    while step < ends:
        yield step
        step += _GRID


def opening(day: date, hours: Iterable[Hours], zone: ZoneInfo) -> list[Span]:
    """Return when the clinic is open on `day` by its weekly hours, in order."""
    return sorted(
        span for h in hours if h.weekday == day.weekday() and (span := _span(day, h.opens, h.closes, zone)) is not None
    )


def open_spans(diary: Diary, day: date) -> list[Span]:
    """Return when the clinic is open on `day`, without its closures."""
    return without(opening(day, diary.hours, diary.zone), diary.closed)


def refusal(diary: Diary, day: date, *, now: datetime, horizon_days: int) -> Refusal | None:
    today = now.astimezone(diary.zone).date()
    if day < today:
        return Refusal.PAST
    if day > today + timedelta(days=horizon_days):
        return Refusal.BEYOND_HORIZON
    return None if open_spans(diary, day) else Refusal.CLOSED


def day_slots(diary: Diary, visit: Visit, day: date, *, not_before: datetime, step_min: int = GRID_MIN) -> list[Slot]:
    """Return the slots of one day, the earliest first: for each start and provider the first room that is free."""
    open_ = open_spans(diary, day)
    found = {
        slot
        for provider in visit.providers
        for shift in _shifts_of(diary, provider, day)
        for slot in _shift_slots(diary, visit, shift, day=day, open_=open_, step_min=step_min)
        if slot.starts >= not_before
    }
    order = {provider: place for place, provider in enumerate(visit.providers)}
    return _one_room_each(sorted(found, key=lambda slot: (slot.starts, order[slot.provider])), visit)


def slots(
    diary: Diary,
    visit: Visit,
    *,
    now: datetime,
    horizon_days: int,
    first: date | None = None,
    last: date | None = None,
    notice: timedelta = timedelta(),
    step_min: int = GRID_MIN,
) -> Iterator[Slot]:
    """Yield the slots from `first` to `last`, never in the past and never beyond the horizon, lazily day by day."""
    today = now.astimezone(diary.zone).date()
    furthest = today + timedelta(days=horizon_days)
    day = max(first or today, today)
    while day <= min(last or furthest, furthest):
        yield from day_slots(diary, visit, day, not_before=now + notice, step_min=step_min)
        day += timedelta(days=1)


def slot_at(
    diary: Diary, visit: Visit, *, starts: datetime, provider: int, now: datetime, horizon_days: int
) -> Slot | None:
    """Return the slot that begins then with that provider, in whichever room is free; None when there is none."""
    day = starts.astimezone(diary.zone).date()
    only = Visit(visit.minutes, visit.buffer_minutes, tuple(p for p in visit.providers if p == provider), visit.rooms)
    if starts <= now or refusal(diary, day, now=now, horizon_days=horizon_days):
        return None
    found = day_slots(diary, only, day, not_before=starts)
    return next((slot for slot in found if slot.starts == starts), None)


def _shifts_of(diary: Diary, provider: int, day: date) -> list[Shift]:
    """A date's own shifts replace those of its weekday."""
    mine = [shift for shift in diary.shifts if shift.provider == provider]
    return [s for s in mine if s.on == day] or [s for s in mine if s.on is None and s.weekday == day.weekday()]


def _shift_slots(
    diary: Diary, visit: Visit, shift: Shift, *, day: date, open_: list[Span], step_min: int
) -> Iterator[Slot]:
    """Yield every slot of one shift, in every room. The visit ends within the hours; its buffer may pass them."""
    at_work = _span(day, shift.starts, shift.ends, diary.zone)
    if at_work is None:
        return
    rooms = [room for room in visit.rooms if shift.room in (None, room)]
    length, held = timedelta(minutes=visit.minutes), timedelta(minutes=visit.minutes + visit.buffer_minutes)
    whole_day = Span(at_work.starts, at_work.ends + held)
    taken = [span for span in diary.busy_providers.get(shift.provider, ()) if span.overlaps(whole_day)]
    rooms_taken = {r: [span for span in diary.busy_rooms.get(r, ()) if span.overlaps(whole_day)] for r in rooms}
    for stretch in open_:
        starts = _ceil(max(stretch.starts, at_work.starts), step_min)
        latest = min(stretch.ends, at_work.ends) - length
        while starts <= latest:
            wanted = Span(starts, starts + held)
            if not any(span.overlaps(wanted) for span in taken):
                for room in rooms:
                    if not any(span.overlaps(wanted) for span in rooms_taken[room]):
                        yield Slot(starts, starts + length, starts + held, shift.provider, room)
            starts += timedelta(minutes=step_min)


def _one_room_each(found: Iterable[Slot], visit: Visit) -> list[Slot]:
    """Keep, of the slots with the same start and provider, the one in the preferred room."""
    best: dict[tuple[datetime, int], Slot] = {}
    for slot in found:
        known = best.setdefault((slot.starts, slot.provider), slot)
        if visit.rooms.index(slot.room) < visit.rooms.index(known.room):
            best[(slot.starts, slot.provider)] = slot
    return list(best.values())


def _span(day: date, starts: time, ends: time, zone: ZoneInfo) -> Span | None:
    """Return the time between two wall times of `day`, or None when nothing is left of it.

    A wall time that comes twice, or never, has two readings (PEP 495): the later one opens and the earlier one
    closes, so that no slot lies outside the hours as the clock on the wall shows them.
    """
    opens = max(_readings(day, starts, zone))
    closes = min(_readings(day, ends, zone))
    return Span(opens, closes) if opens < closes else None


def _readings(day: date, at: time, zone: ZoneInfo) -> tuple[datetime, datetime]:
    wall = datetime.combine(day, at.replace(tzinfo=None), tzinfo=zone)
    return wall.replace(fold=0).astimezone(UTC), wall.replace(fold=1).astimezone(UTC)


def without(spans: Iterable[Span], closed: Iterable[Span]) -> list[Span]:
    """Return what is left of `spans` when `closed` is cut out of them, in order."""
    left = list(spans)
    for gone in closed:
        left = [part for span in left for part in _cut(span, gone)]
    return sorted(left)


def _cut(span: Span, gone: Span) -> list[Span]:
    if not span.overlaps(gone):
        return [span]
    parts = (Span(span.starts, gone.starts), Span(gone.ends, span.ends))
    return [part for part in parts if part.starts < part.ends]


def _floor(moment: datetime) -> datetime:
    seconds = int(moment.timestamp())
    return datetime.fromtimestamp(seconds - seconds % _GRID_S, UTC)


def _ceil(moment: datetime, step_min: int) -> datetime:
    """Return the first moment of the step's grid that is not before `moment`. Zones are offset by quarter hours."""
    step_s = step_min * 60
    return datetime.fromtimestamp(-(-moment.timestamp() // step_s) * step_s, UTC)
