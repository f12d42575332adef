"""Looks at the calendar and at the clinic's own facts: day, hours, services, policies."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from itertools import groupby
from typing import Any

from django.utils.translation import gettext as _

from agents_app.models import Clinic, ClinicHours
from agents_app.practice.days import upcoming_weekdays
from agents_app.practice.models import Closure, Provider, VisitType
from agents_app.practice.slots import Hours, Span, opening, without
from agents_app.practice.tools.arguments import NoArguments
from agents_app.practice.wording import said_clock, said_day, said_moment, said_time
from agents_app.tools import ToolContext, ToolOutcome, tool

CLOSURES_MAX = 10
LISTED_MAX = 40


@tool("get_datetime", "Get today's date, the time now, and the dates of the coming days at the clinic.", NoArguments)
def get_datetime(context: ToolContext, arguments: NoArguments) -> ToolOutcome:
    local = context.now.astimezone(context.zone)
    today = local.date()
    return ToolOutcome(
        {
            "today": today.isoformat(),
            "time": f"{local:%H:%M}",
            "time_zone": context.clinic.timezone,
            "say": _("Today is %(day)s, and it is %(time)s.")
            % {"day": said_day(today), "time": said_clock(local.time())},
            "rule": _("A weekday, also with the word next before it, means the first such day after today."),
            "coming_days": [{"on_date": day.isoformat(), "day": said_day(day)} for day in upcoming_weekdays(today)],
        }
    )


@tool(
    "get_office_context",
    "Get the clinic's opening hours, address, phone, services, providers, policies and the days when it is closed.",
    NoArguments,
)
def get_office_context(context: ToolContext, arguments: NoArguments) -> ToolOutcome:
    clinic = context.clinic
    hours = list(clinic.hours.all())
    closures = _closures(context)
    providers = Provider.objects.filter(clinic=clinic, active=True)[:LISTED_MAX]
    visit_types = VisitType.objects.filter(clinic=clinic, active=True)[:LISTED_MAX]
    return ToolOutcome(
        {
            "say": _say(clinic, _hours_by_day(hours)),
            "name": clinic.name,
            "address": clinic.address,
            "phone": clinic.phone,
            "website": clinic.website,
            "hours": _hours_by_day(hours),
            "today": _today(context, hours, closures),
            "closed": [_closure(context, closure) for closure in closures[:CLOSURES_MAX]],
            "policies": [line.strip() for line in clinic.policies.splitlines() if line.strip()],
            "visit_types": [{"visit_type": row.name, "minutes": row.minutes} for row in visit_types],
            "providers": [row.said for row in providers],
        }
    )


def _hours_by_day(hours: list[ClinicHours]) -> list[dict[str, str]]:
    by_day: dict[int, list[str]] = {weekday: [] for weekday in ClinicHours.Weekday.values}
    for row in hours:
        by_day[row.weekday].append(_said_stretch(said_clock(row.opens), said_clock(row.closes)))
    names = dict(ClinicHours.Weekday.choices)
    return [{"day": str(names[day]), "hours": ", ".join(said) or _("closed")} for day, said in by_day.items()]


def _say(clinic: Clinic, week: list[dict[str, str]]) -> str:
    """Say hours, place and phone, days in a row with the same hours together: Monday to Friday."""
    runs = [list(run) for _hours, run in groupby(week, key=lambda day: day["hours"])]
    said = [_("%(days)s, %(hours)s") % {"days": _said_days(run), "hours": run[0]["hours"]} for run in runs]
    text = _("Our hours are %(week)s.") % {"week": "; ".join(said)}
    if clinic.address:
        text += " " + _("We are at %(address)s.") % {"address": clinic.address}
    return text + " " + _("Our phone number is %(phone)s.") % {"phone": clinic.phone}


def _said_days(run: list[dict[str, str]]) -> str:
    if len(run) == 1:
        return run[0]["day"]
    return _("%(first)s to %(last)s") % {"first": run[0]["day"], "last": run[-1]["day"]}


def _said_stretch(opens: str, closes: str) -> str:
    return _("%(opens)s to %(closes)s") % {"opens": opens, "closes": closes}


def _closures(context: ToolContext) -> list[Closure]:
    """Return when the whole clinic is closed, today and as far ahead as it books."""
    midnight = datetime.combine(context.now.astimezone(context.zone).date(), time(), tzinfo=context.zone)
    until = context.now + timedelta(days=context.clinic.booking_horizon_days)
    rows = Closure.objects.filter(
        clinic=context.clinic, provider=None, operatory=None, ends__gt=midnight.astimezone(UTC), starts__lt=until
    )
    return list(rows.order_by("starts")[:LISTED_MAX])


def _today(context: ToolContext, hours: list[ClinicHours], closures: list[Closure]) -> str:
    """Say today's hours with today's closures taken out of them."""
    from_rows = [Hours(row.weekday, row.opens, row.closes) for row in hours]
    spans = opening(context.now.astimezone(context.zone).date(), from_rows, context.zone)
    left = without(spans, [Span(row.starts, row.ends) for row in closures])
    if not left:
        return _("closed today")
    return ", ".join(
        _said_stretch(said_time(span.starts, context.zone), said_time(span.ends, context.zone)) for span in left
    )


def _closure(context: ToolContext, closure: Closure) -> dict[str, Any]:
    starts, ends = closure.starts.astimezone(context.zone), closure.ends.astimezone(context.zone)
    whole_days = starts.time() == ends.time() == time()
    if whole_days and ends - starts <= timedelta(days=1):
        when = said_day(starts.date())
    elif whole_days:
        last = ends.date() - timedelta(days=1)
        when = _("%(first)s to %(last)s") % {"first": said_day(starts.date()), "last": said_day(last)}
    else:
        first, last_moment = said_moment(closure.starts, context.zone), said_moment(closure.ends, context.zone)
        when = _("%(first)s to %(last)s") % {"first": first, "last": last_moment}
    return {"when": when, "reason": closure.reason}
