"""Looks for free times and offers a few of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Any, Literal

from django.utils.translation import gettext as _
from pydantic import Field

from agents_app.practice import booking
from agents_app.practice.choice import DayPart, nearest, spread
from agents_app.practice.loading import load_diary, load_visit
from agents_app.practice.matching import SURE, best_matches
from agents_app.practice.models import Appointment, Closure, Provider, ProviderSchedule, VisitType
from agents_app.practice.slots import Diary, Refusal, Slot, Visit, refusal, slots
from agents_app.practice.tools.arguments import AppointmentId, Arguments, Clock, Day
from agents_app.practice.tools.common import identified, said_slots, sayable, slots_data, take_message_instead
from agents_app.practice.wording import said_choice, said_day
from agents_app.tools import ToolContext, ToolError, ToolOutcome, tool

OFFERS = 3
NOTICE = timedelta(minutes=15)
CHOICES_MAX = 8


class FindSlots(Arguments):
    visit_type: Annotated[
        str,
        Field(
            min_length=1,
            max_length=200,
            title="Reason for the visit",
            description="The kind of visit in the caller's words, such as cleaning",
        ),
    ]
    on_date: Annotated[Day | None, Field(title="Day", description="The day the caller wishes, if any")] = None
    day_part: Annotated[
        Literal["morning", "afternoon", "evening"] | None,
        Field(title="Part of the day", description="The part of the day the caller wishes, if any"),
    ] = None
    around: Annotated[Clock | None, Field(title="Time", description="The time the caller wishes, if any")] = None
    provider: Annotated[
        str | None,
        Field(max_length=80, title="Provider", description="The provider the caller asks for by name, if any"),
    ] = None
    appointment_id: Annotated[
        AppointmentId | None, Field(title="Appointment", description="The appointment that is to be moved, if any")
    ] = None


@dataclass(frozen=True)
class _Search:
    """What is looked for, with every word of the caller's resolved to a row."""

    visit_type: VisitType
    visit: Visit
    diary: Diary
    confidence: float
    moving: Appointment | None


@tool(
    "find_slots",
    "Find free appointment times for a kind of visit: what is available, on which day, with which provider.",
    FindSlots,
    working="Looking for free times",
)
@sayable
@booking.fails_closed
def find_slots(context: ToolContext, arguments: FindSlots) -> ToolOutcome:
    search = _resolve(context, arguments)
    refused = _refused(context, search, arguments.on_date)
    found = [] if refused else _offers(context, search, arguments)
    if not found and arguments.on_date is not None:
        refused = refused or ("day_full", _("Nothing suitable is free on %(day)s.") % _day(arguments.on_date))
        found = _soonest(context, search, first=arguments.on_date)
    data: dict[str, Any] = {
        "visit_type": search.visit_type.name,
        "slots": slots_data(context, search.visit_type, found),
    }
    if refused:
        data["refused"] = refused[0]
    return ToolOutcome(
        {**data, "say": _say(data["slots"], refused[1] if refused else "")},
        confidence=search.confidence if search.confidence < SURE else None,
        filled={"visit_type": "appointment_id", "provider": "appointment_id"} if search.moving else {},
    )


def _resolve(context: ToolContext, arguments: FindSlots) -> _Search:
    moving, confidence = None, SURE
    if arguments.appointment_id is not None:
        moving = booking.upcoming_appointment(
            context.clinic, patient=identified(context), appointment_id=arguments.appointment_id, now=context.now
        )
        visit_type = moving.visit_type
    else:
        visit_type, confidence = _visit_type(context, arguments.visit_type)
    provider_id = moving.provider_id if moving else None
    if arguments.provider:
        provider_id, sure = _provider(context, visit_type, arguments.provider)
        confidence = min(confidence, sure)
    minutes = int((moving.ends - moving.starts).total_seconds() // 60) if moving else None
    visit = load_visit(context.clinic, visit_type, provider_id=provider_id, minutes=minutes)
    if not visit.providers or not visit.rooms or not _anybody_works(visit):
        raise take_message_instead(_("Nobody can be booked for this visit at present."))
    today = context.now.astimezone(context.zone).date()
    first = max(arguments.on_date or today, today)
    last = today + timedelta(days=context.clinic.booking_horizon_days)
    diary = load_diary(context.clinic, first=min(first, last), last=last, without=moving)
    return _Search(visit_type, visit, diary, confidence, moving)


def _anybody_works(visit: Visit) -> bool:
    return ProviderSchedule.objects.filter(provider__in=visit.providers).exists()


def _visit_type(context: ToolContext, words: str) -> tuple[VisitType, float]:
    rows = list(VisitType.objects.filter(clinic=context.clinic, active=True))
    if not rows:
        raise take_message_instead(_("No visits can be booked at present."))
    matches = best_matches(words, [(row, row.phrases) for row in rows])
    if len(matches) != 1:
        choices = [match.key.name for match in matches] or [row.name for row in rows]
        raise ToolError(
            "visit_type_unclear",
            _("Which visit do you mean: %(choices)s?") % {"choices": said_choice(choices[:CHOICES_MAX])},
            data={"choices": choices[:CHOICES_MAX]},
        )
    return matches[0].key, matches[0].confidence


def _provider(context: ToolContext, visit_type: VisitType, words: str) -> tuple[int, float]:
    rows = list(Provider.objects.filter(clinic=context.clinic, active=True, visit_types=visit_type))
    if not rows:
        raise take_message_instead(_("Nobody can be booked for this visit at present."))
    matches = best_matches(words, [(row, (row.name, row.said)) for row in rows])
    if len(matches) != 1:
        choices = [match.key.said for match in matches] or [row.said for row in rows]
        raise ToolError(
            "provider_unclear",
            _("For this visit you can see %(choices)s. Whom would you like?")
            % {"choices": said_choice(choices[:CHOICES_MAX])},
            data={"choices": choices[:CHOICES_MAX]},
        )
    return matches[0].key.pk, matches[0].confidence


def _refused(context: ToolContext, search: _Search, day: date | None) -> tuple[str, str] | None:
    """Return code and words when the day asked for is past or closed. Raises ToolError for one too far ahead."""
    horizon_days = context.clinic.booking_horizon_days
    why = refusal(search.diary, day, now=context.now, horizon_days=horizon_days) if day else None
    if day is None or why is None:
        return None
    if why is Refusal.BEYOND_HORIZON:
        message = _("%(day)s is too far ahead: we book %(days)s days ahead.")
        raise ToolError("day_beyond_horizon", message % {**_day(day), "days": horizon_days})
    if why is Refusal.PAST:
        return "day_past", _("%(day)s is in the past.") % _day(day)
    if reason := _reason(context, search.diary, day):
        return "day_closed", _("We are closed on %(day)s: %(reason)s.") % {**_day(day), "reason": reason}
    return "day_closed", _("We are closed on %(day)s.") % _day(day)


def _day(day: date) -> dict[str, str]:
    return {"day": said_day(day)}


def _reason(context: ToolContext, diary: Diary, day: date) -> str:
    on_day = [span for span in diary.closed if span.starts.astimezone(diary.zone).date() <= day]
    for span in on_day:
        if day <= (span.ends - timedelta(microseconds=1)).astimezone(diary.zone).date():
            whole = Closure.objects.filter(clinic=context.clinic, provider=None, operatory=None)
            return whole.filter(starts=span.starts, ends=span.ends).values_list("reason", flat=True).first() or ""
    return ""


def _soonest(context: ToolContext, search: _Search, *, first: date | None) -> list[Slot]:
    return spread(_slots(context, search, first=first), context.zone, limit=OFFERS)


def _offers(context: ToolContext, search: _Search, arguments: FindSlots) -> list[Slot]:
    day, part = arguments.on_date, DayPart(arguments.day_part) if arguments.day_part else None
    found = _slots(context, search, first=day, last=day)
    if arguments.around is None:
        return spread(found, context.zone, limit=OFFERS, part=part)
    if day is not None:
        return nearest(found, context.zone, limit=OFFERS, wanted=arguments.around, within={day})
    # A time without a day: the nearest start of each of the next days that have one.
    by_day: dict[date, list[Slot]] = {}
    for slot in found:
        key = slot.local(context.zone).date()
        if key not in by_day and len(by_day) == OFFERS:
            break
        by_day.setdefault(key, []).append(slot)
    return [
        nearest(of_day, context.zone, limit=1, wanted=arguments.around, within={key})[0]
        for key, of_day in by_day.items()
    ]


def _slots(context: ToolContext, search: _Search, *, first: date | None = None, last: date | None = None) -> Any:
    return slots(
        search.diary,
        search.visit,
        now=context.now,
        horizon_days=context.clinic.booking_horizon_days,
        first=first,
        last=last,
        notice=NOTICE,
        step_min=booking.OFFER_STEP_MIN,
    )


def _say(data: list[dict[str, Any]], refused: str) -> str:
    if not data:
        return " ".join(filter(None, (refused, _("Nothing is free. I can take a message for the team."))))
    if refused:
        return _("%(why)s The next free times are %(slots)s.") % {"why": refused, "slots": said_slots(data)}
    return _("I have %(slots)s.") % {"slots": said_slots(data)}
