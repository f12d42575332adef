"""The slot engine: examples, the days on which clocks change, and properties that hold for any diary."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from agents_app.practice.choice import DayPart, day_part, nearest, spread
from agents_app.practice.slots import (
    Diary,
    Hours,
    Refusal,
    Shift,
    Slot,
    Span,
    Visit,
    day_slots,
    grid_steps,
    opening,
    refusal,
    slot_at,
    slots,
)

NEW_YORK = ZoneInfo("America/New_York")
MONDAY = date(2026, 11, 23)
NOW = datetime(2026, 11, 23, 11, 0, tzinfo=UTC)  # 6:00 on that Monday
ADAMS, BAKER = 1, 2
ROOM, OTHER_ROOM = 11, 12
HOUR = Visit(60, 0, (ADAMS,), (ROOM,))


def at(hour: int, minute: int = 0, *, day: date = MONDAY, zone: ZoneInfo = NEW_YORK) -> datetime:
    return datetime.combine(day, time(hour, minute), tzinfo=zone).astimezone(UTC)


def a_diary(**fields: object) -> Diary:
    """Open on weekdays from 9 to 12, when Dr. Adams works."""
    weekdays = range(5)
    usual = {
        "zone": NEW_YORK,
        "hours": tuple(Hours(day, time(9), time(12)) for day in weekdays),
        "shifts": tuple(Shift(ADAMS, time(9), time(12), weekday=day) for day in weekdays),
    }
    return Diary(**{**usual, **fields})  # type: ignore[arg-type]  # a test's own keywords


def starts_of(diary: Diary, visit: Visit = HOUR, *, day: date = MONDAY, step_min: int = 60) -> list[str]:
    found = day_slots(diary, visit, day, not_before=NOW, step_min=step_min)
    return [f"{slot.local(diary.zone):%H:%M}" for slot in found]


def test_slots_fill_the_hours() -> None:
    assert starts_of(a_diary()) == ["09:00", "10:00", "11:00"]


def test_slot_carries_its_end_its_hold_and_its_room() -> None:
    visit = Visit(50, 10, (ADAMS,), (ROOM,))

    first = day_slots(a_diary(), visit, MONDAY, not_before=NOW)[0]

    assert first == Slot(at(9), at(9, 50), at(10), ADAMS, ROOM)


def test_provider_at_work_bounds_the_slots() -> None:
    diary = a_diary(shifts=(Shift(ADAMS, time(10), time(11), weekday=0),))

    assert starts_of(diary) == ["10:00"]


def test_shift_of_a_date_replaces_those_of_its_weekday() -> None:
    shifts = (Shift(ADAMS, time(9), time(12), weekday=0), Shift(ADAMS, time(11), time(12), on=MONDAY))

    assert starts_of(a_diary(shifts=shifts)) == ["11:00"]


def test_shift_in_one_room_offers_that_room_alone() -> None:
    shifts = (Shift(ADAMS, time(9), time(12), weekday=0, room=OTHER_ROOM),)
    visit = Visit(60, 0, (ADAMS,), (ROOM, OTHER_ROOM))

    rooms = {slot.room for slot in day_slots(a_diary(shifts=shifts), visit, MONDAY, not_before=NOW)}

    assert rooms == {OTHER_ROOM}


def test_busy_provider_and_busy_room_take_their_time_out() -> None:
    diary = a_diary(busy_providers={ADAMS: (Span(at(9), at(10)),)}, busy_rooms={ROOM: (Span(at(11), at(12)),)})

    assert starts_of(diary) == ["10:00"]


def test_second_room_serves_when_the_first_is_taken() -> None:
    diary = a_diary(busy_rooms={ROOM: (Span(at(9), at(10)),)})
    visit = Visit(60, 0, (ADAMS,), (ROOM, OTHER_ROOM))

    found = day_slots(diary, visit, MONDAY, not_before=NOW, step_min=60)

    assert [slot.room for slot in found] == [OTHER_ROOM, ROOM, ROOM]


def test_buffer_keeps_the_next_appointment_away_and_may_pass_closing() -> None:
    diary = a_diary(busy_providers={ADAMS: (Span(at(11), at(12)),)})

    beside = starts_of(diary, Visit(60, 5, (ADAMS,), (ROOM,)))
    at_closing = starts_of(a_diary(), Visit(60, 30, (ADAMS,), (ROOM,)))

    assert (beside, at_closing) == (["09:00"], ["09:00", "10:00", "11:00"])


def test_closure_of_the_clinic_takes_its_time_out() -> None:
    assert starts_of(a_diary(closed=(Span(at(10), at(11)),))) == ["09:00", "11:00"]


def test_two_providers_share_a_start_in_the_order_preferred() -> None:
    shifts = tuple(Shift(who, time(9), time(10), weekday=0) for who in (ADAMS, BAKER))
    visit = Visit(60, 0, (BAKER, ADAMS), (ROOM, OTHER_ROOM))

    found = day_slots(a_diary(shifts=shifts), visit, MONDAY, not_before=NOW)

    assert [slot.provider for slot in found] == [BAKER, ADAMS]


def test_search_never_offers_the_past_or_beyond_the_horizon() -> None:
    late = at(10, 30)

    found = list(slots(a_diary(), HOUR, now=late, horizon_days=1, first=MONDAY - timedelta(days=7), step_min=60))

    assert [slot.starts for slot in found] == [
        at(11),
        *(at(hour, day=MONDAY + timedelta(days=1)) for hour in (9, 10, 11)),
    ]


def test_slot_at_checks_what_it_is_given_again() -> None:
    diary = a_diary(busy_providers={ADAMS: (Span(at(9), at(10)),)})

    def found(starts: datetime, provider: int = ADAMS) -> bool:
        return slot_at(diary, HOUR, starts=starts, provider=provider, now=NOW, horizon_days=30) is not None

    assert found(at(10, 5))
    assert not found(at(9))
    assert not found(at(10), provider=BAKER)
    assert not found(at(10) + timedelta(minutes=2))
    assert not found(at(10, day=MONDAY - timedelta(days=3)))
    assert not found(at(10, day=MONDAY + timedelta(days=35)))


def test_day_is_refused_with_its_reason() -> None:
    holiday = MONDAY + timedelta(days=3)
    diary = a_diary(closed=(Span(at(0, day=holiday), at(0, day=holiday + timedelta(days=1))),))
    days = (-1, 0, 3, 5, 31)

    why = [refusal(diary, MONDAY + timedelta(days=n), now=NOW, horizon_days=30) for n in days]

    assert why == [Refusal.PAST, None, Refusal.CLOSED, Refusal.CLOSED, Refusal.BEYOND_HORIZON]


def night_clinic(zone: ZoneInfo = NEW_YORK) -> Diary:
    """Open all night on Sundays, when clocks change."""
    return a_diary(
        zone=zone,
        hours=(Hours(6, time(0), time(6)),),
        shifts=(Shift(ADAMS, time(0), time(6), weekday=6),),
    )


def test_hour_that_spring_leaves_out_is_never_offered() -> None:
    found = day_slots(night_clinic(), HOUR, date(2027, 3, 14), not_before=NOW, step_min=60)

    walls = [f"{slot.local(NEW_YORK):%H:%M}" for slot in found]

    assert walls == ["00:00", "01:00", "03:00", "04:00", "05:00"]
    assert {slot.ends - slot.starts for slot in found} == {timedelta(hours=1)}


def test_hour_that_autumn_repeats_is_two_slots() -> None:
    found = day_slots(
        night_clinic(), HOUR, date(2026, 11, 1), not_before=datetime(2026, 10, 1, tzinfo=UTC), step_min=60
    )

    walls = [f"{slot.local(NEW_YORK):%H:%M%z}" for slot in found]

    assert walls[:4] == ["00:00-0400", "01:00-0400", "01:00-0500", "02:00-0500"]
    assert len(found) == 7


def test_wall_time_that_comes_twice_or_never_opens_late_and_closes_early() -> None:
    hours = (Hours(6, time(1, 30), time(2, 30)),)

    twice = opening(date(2026, 11, 1), hours, NEW_YORK)
    never = opening(date(2027, 3, 14), hours, NEW_YORK)

    assert twice == [Span(datetime(2026, 11, 1, 6, 30, tzinfo=UTC), datetime(2026, 11, 1, 7, 30, tzinfo=UTC))]
    assert never == []


def test_nine_o_clock_stays_nine_o_clock_when_clocks_change() -> None:
    friday, monday = date(2027, 3, 12), date(2027, 3, 15)

    before = day_slots(a_diary(), HOUR, friday, not_before=NOW)[0]
    after = day_slots(a_diary(), HOUR, monday, not_before=NOW)[0]

    assert (before.starts.hour, after.starts.hour) == (14, 13)
    assert before.local(NEW_YORK).time() == after.local(NEW_YORK).time() == time(9)


def test_leap_day_is_a_day_like_any_other() -> None:
    leap_day = date(2028, 2, 29)

    assert starts_of(a_diary(), day=leap_day) == ["09:00", "10:00", "11:00"]


def test_spread_takes_the_first_of_each_part_of_the_day() -> None:
    day = range(9, 17)
    free = [Slot(at(hour), at(hour + 1), at(hour + 1), ADAMS, ROOM) for hour in day]

    offered = spread(free, NEW_YORK, limit=3)
    afternoon = spread(free, NEW_YORK, limit=3, part=DayPart.AFTERNOON)

    assert [slot.local(NEW_YORK).hour for slot in offered] == [9, 12, 16]
    assert [slot.local(NEW_YORK).hour for slot in afternoon] == [12, 14, 16]


def test_spread_reads_a_long_search_no_further_than_it_must() -> None:
    def endless() -> object:
        for n in range(10**9):
            assert n < 100, "Expected the search to stop"
            starts = at(9) + timedelta(hours=12 * n)
            yield Slot(starts, starts + timedelta(hours=1), starts + timedelta(hours=1), ADAMS, ROOM)

    assert len(spread(endless(), NEW_YORK, limit=3)) == 3  # type: ignore[arg-type]  # a generator of slots


def test_nearest_offers_what_lies_about_the_wish() -> None:
    free = [Slot(at(hour), at(hour + 1), at(hour + 1), ADAMS, ROOM) for hour in range(9, 17)]

    offered = nearest(free, NEW_YORK, limit=3, wanted=time(13, 30), within={MONDAY})

    assert [slot.local(NEW_YORK).hour for slot in offered] == [12, 13, 14]


def test_evening_begins_at_five() -> None:
    assert [day_part(datetime(2026, 1, 1, hour, tzinfo=UTC)) for hour in (11, 12, 16, 17)] == [
        DayPart.MORNING,
        DayPart.AFTERNOON,
        DayPart.AFTERNOON,
        DayPart.EVENING,
    ]


clock = st.builds(time, st.integers(0, 23), st.sampled_from([0, 15, 20, 30, 45, 55]))
clocks = st.tuples(clock, clock).filter(lambda pair: pair[0] < pair[1])
weekday = st.integers(0, 6)
zones = st.sampled_from(["America/New_York", "Europe/London", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"])
# Days about the changes of the clocks, in either half of the world.
first_days = st.sampled_from([date(2026, 10, 3), date(2026, 10, 24), date(2026, 10, 31), date(2027, 3, 13)])


@st.composite
def diaries(draw: st.DrawFn) -> tuple[Diary, date]:
    zone, first = ZoneInfo(draw(zones)), draw(first_days)
    base = datetime.combine(first, time(), tzinfo=UTC)
    minutes = st.integers(-300, 4 * 24 * 60)
    spans = st.lists(
        st.builds(
            lambda start, length: Span(base + timedelta(minutes=start), base + timedelta(minutes=start + length)),
            minutes,
            st.integers(1, 400),
        ),
        max_size=6,
    ).map(tuple)
    shifts = st.builds(
        lambda provider, day, pair, room: Shift(provider, pair[0], pair[1], weekday=day, room=room),
        st.sampled_from([ADAMS, BAKER]),
        weekday,
        clocks,
        st.sampled_from([None, ROOM]),
    )
    diary = Diary(
        zone=zone,
        hours=tuple(draw(st.lists(st.builds(lambda day, p: Hours(day, *p), weekday, clocks), max_size=10))),
        shifts=tuple(draw(st.lists(shifts, max_size=12))),
        closed=draw(spans),
        busy_providers={ADAMS: draw(spans), BAKER: draw(spans)},
        busy_rooms={ROOM: draw(spans), OTHER_ROOM: draw(spans)},
    )
    return diary, first


@settings(deadline=None, max_examples=120)
@given(
    diaries(),
    st.sampled_from([5, 30, 50, 120]),
    st.sampled_from([0, 10]),
    st.integers(0, 2 * 24 * 60),
    st.sampled_from([5, 15]),
)
def test_offered_slot_overlaps_nothing(
    built: tuple[Diary, date], minutes: int, buffer: int, now_minutes: int, step_min: int
) -> None:
    diary, first = built
    now = datetime.combine(first, time(), tzinfo=UTC) + timedelta(minutes=now_minutes)
    visit = Visit(minutes, buffer, (ADAMS, BAKER), (ROOM, OTHER_ROOM))

    found = list(slots(diary, visit, now=now, horizon_days=3, step_min=step_min))

    last = now.astimezone(diary.zone).date() + timedelta(days=3)
    for slot in found:
        held, seen = Span(slot.starts, slot.held_until), Span(slot.starts, slot.ends)
        begins, ends = slot.local(diary.zone), slot.ends.astimezone(diary.zone)
        assert slot.starts >= now
        assert begins.date() <= last
        assert slot.starts.timestamp() % 300 == 0
        assert slot.ends - slot.starts == timedelta(minutes=minutes)
        assert slot.held_until - slot.ends == timedelta(minutes=buffer)
        assert not any(held.overlaps(span) for span in diary.busy_providers[slot.provider])
        assert not any(held.overlaps(span) for span in diary.busy_rooms[slot.room])
        assert not any(seen.overlaps(span) for span in diary.closed)
        assert any(
            hours.weekday == begins.weekday() and hours.opens <= begins.time() and ends.time() <= hours.closes
            for hours in diary.hours
        )
        assert any(
            shift.provider == slot.provider
            and shift.weekday == begins.weekday()
            and shift.starts <= begins.time()
            and ends.time() <= shift.ends
            and shift.room in (None, slot.room)
            for shift in diary.shifts
        )
        assert slot_at(diary, visit, starts=slot.starts, provider=slot.provider, now=now - timedelta(1), horizon_days=9)


@settings(deadline=None, max_examples=60)
@given(diaries(), st.sampled_from([30, 60]), st.sampled_from([0, 10]))
def test_nothing_that_fits_is_left_out(built: tuple[Diary, date], minutes: int, buffer: int) -> None:
    """Every five minutes of three days, judged one by one from the definition, against what the engine finds."""
    diary, first = built
    now = datetime.combine(first, time(), tzinfo=UTC) - timedelta(days=1)
    visit = Visit(minutes, buffer, (ADAMS,), (ROOM,))

    found = {
        slot.starts for day in range(3) for slot in day_slots(diary, visit, first + timedelta(day), not_before=now)
    }

    def fits(starts: datetime) -> bool:
        seen = Span(starts, starts + timedelta(minutes=minutes))
        held = Span(starts, seen.ends + timedelta(minutes=buffer))
        busy = (*diary.busy_providers[ADAMS], *diary.busy_rooms[ROOM])
        if any(held.overlaps(span) for span in busy) or any(seen.overlaps(span) for span in diary.closed):
            return False
        day = starts.astimezone(diary.zone).date()
        open_ = [span for span in opening(day, diary.hours, diary.zone) if _within(seen, span)]
        working = [
            span
            for shift in diary.shifts
            if shift.provider == ADAMS and shift.room in (None, ROOM) and shift.weekday == day.weekday()
            for span in opening(day, [Hours(day.weekday(), shift.starts, shift.ends)], diary.zone)
            if _within(seen, span)
        ]
        return bool(open_ and working)

    every = grid_steps(now, now + timedelta(days=6))
    days = {first + timedelta(n) for n in range(3)}
    assert found == {starts for starts in every if starts.astimezone(diary.zone).date() in days and fits(starts)}


def _within(inner: Span, outer: Span) -> bool:
    return outer.starts <= inner.starts and inner.ends <= outer.ends
