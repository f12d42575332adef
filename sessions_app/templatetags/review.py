"""How times, durations and money are written on staff pages. A time is in its clinic's zone, and names it."""

from __future__ import annotations

import datetime as dt
import re

from django import template
from django.utils.formats import date_format, number_format
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from agents_app.models import Clinic

register = template.Library()


@register.filter
def clock(milliseconds: int | None) -> str:
    """1:23, or 1:02:03 from an hour on."""
    if milliseconds is None:
        return ""
    minutes, seconds = divmod(int(milliseconds) // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


@register.filter
def precise_clock(milliseconds: int) -> str:
    """1:23.456"""
    return f"{clock(milliseconds)}.{milliseconds % 1000:03}"


@register.filter
def seconds(milliseconds: int | None) -> str:
    if milliseconds is None:
        return ""
    if milliseconds < 100:
        return _("%(n)s ms") % {"n": milliseconds}
    return _("%(n)s s") % {"n": number_format(round(milliseconds / 1000, 1), decimal_pos=1)}


@register.filter
def dollars(microusd: int | None) -> str:
    """Three places: a call costs cents."""
    return "" if microusd is None else f"${number_format(round(microusd / 1_000_000, 3), decimal_pos=3)}"


@register.filter
def at_clinic(moment: dt.datetime | None, clinic: Clinic) -> str:
    """Nov 21, 2026, 2:05 PM EST."""
    if moment is None:
        return ""
    local = moment.astimezone(clinic.zone)
    # Translators: how staff read a date with a time, in Django's format letters
    return f"{date_format(local, pgettext('date format', 'M j, Y, g:i A'))} {zone_name(local)}"


def zone_name(local: dt.datetime) -> str:
    """EST, or UTC+05:30 where the zone has no letters of its own."""
    name = local.strftime("%Z")
    if re.fullmatch(r"[A-Z]+", name):
        return name
    offset = local.strftime("%z")
    return f"UTC{offset[:3]}:{offset[3:5]}"
