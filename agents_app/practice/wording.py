"""How days, times and lists are said and shown. The zone is the clinic's, always given, never the request's."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from django.utils.formats import date_format, time_format
from django.utils.translation import gettext as _
from django.utils.translation import pgettext


def said_day(day: date) -> str:
    """Thursday, November 26"""
    return date_format(day, pgettext("date format, spoken", "l, F j"))


def said_full_date(day: date) -> str:
    """March 3, 1990"""
    return date_format(day, pgettext("date format, with year", "F j, Y"))


def said_clock(at: time) -> str:
    """10:30 AM"""
    return time_format(at, pgettext("time format, spoken", "g:i A"))


def said_time(moment: datetime, zone: ZoneInfo) -> str:
    return said_clock(moment.astimezone(zone).time())


def said_moment(moment: datetime, zone: ZoneInfo) -> str:
    """Thursday, November 26 at 10:30 AM"""
    day = said_day(moment.astimezone(zone).date())
    return _("%(day)s at %(time)s") % {"day": day, "time": said_time(moment, zone)}


def said_choice(words: Sequence[str]) -> str:
    """a, b or c"""
    if len(words) < 2:
        return "".join(words)
    return _("%(first)s or %(last)s") % {"first": ", ".join(words[:-1]), "last": words[-1]}


def said_list(words: Sequence[str]) -> str:
    """a, b and c"""
    if len(words) < 2:
        return "".join(words)
    return _("%(first)s and %(last)s") % {"first": ", ".join(words[:-1]), "last": words[-1]}
