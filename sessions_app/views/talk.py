"""Owns the patient's pages: the demo's front door and the talk page. Knows nothing of a call in progress.

No cookie is read and none is set: a patient has no login, and the key is asked for by the page's own script.
"""

from __future__ import annotations

from datetime import time
from itertools import groupby

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.templatetags.static import static
from django.utils.formats import time_format
from django.views.decorators.http import require_safe

from agents_app.models import Agent, Clinic, ClinicHours
from sessions_app.views.talk_texts import texts

# As every page of ours has it, but for the microphone: this is the one page that may ask for it.
PERMISSIONS_POLICY = "camera=(), display-capture=(), geolocation=(), microphone=(self), payment=(), usb=()"
WORKLETS = ("microphone_worklet.js", "player_worklet.js")


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Show the demo's front door; outside DEBUG a plain page, which lists no clinic."""
    agents = Agent.objects.filter(live_version__isnull=False).select_related("clinic") if settings.DEBUG else []
    return render(request, "sessions_app/home.html", {"agents": agents, "demo": settings.DEBUG})


@require_safe
def talk(request: HttpRequest, public_name: str) -> HttpResponse:
    """Show the talk page; for a paused receptionist the phone and the hours; for any other name the same 404.

    The 404 is rendered here, not raised: Django's own page in DEBUG repeats the address, and with it tells
    nothing apart, but two answers would no longer be the same bytes.
    """
    agent = Agent.objects.published(public_name)
    if agent is None:
        return render(request, "404.html", status=404)
    clinic = agent.clinic
    context = {"agent": agent, "clinic": clinic, "hours": opening_hours(clinic)}
    if agent.paused:
        return render(request, "sessions_app/talk_paused.html", context)
    response = render(
        request, "sessions_app/talk.html", context | {"page": page_settings(agent), "texts": texts(agent)}
    )
    response.headers["Permissions-Policy"] = PERMISSIONS_POLICY
    response.headers["Cache-Control"] = "no-cache"
    return response


def opening_hours(clinic: Clinic) -> list[tuple[str, str]]:
    """Return each open day with its stretches of opening time, in the week's order."""
    rows = groupby(clinic.hours.order_by("weekday", "opens"), key=ClinicHours.get_weekday_display)
    return [(str(day), ", ".join(_stretch(row) for row in some)) for day, some in rows]


def _stretch(row: ClinicHours) -> str:
    """Return one stretch of opening time, which no line is broken within."""
    return f"{_time(row.opens)} – {_time(row.closes)}".replace(" ", "\u00a0")  # noqa: RUF001 - a dash is how a range of times is written


def page_settings(agent: Agent) -> dict[str, object]:
    """Return what the page's script needs to know. Nothing in it is secret: anyone may read the page."""
    clinic = agent.clinic
    return {
        "publicName": agent.public_name,
        "noticeSha256": clinic.notice_sha256,
        "recordingOffered": clinic.recording_enabled,
        **ear_settings(agent),
        "keyPath": "/v1/realtime/client_secrets",
        "socketPath": "/v1/realtime",
        "microphoneWorklet": static(f"sessions_app/{WORKLETS[0]}"),
        "playerWorklet": static(f"sessions_app/{WORKLETS[1]}"),
    }


def ear_settings(agent: Agent) -> dict[str, object]:
    """Return how the published version wants a caller's microphone to be used."""
    content = agent.live_version.content if agent.live_version else {}
    return {
        "echoGuard": content.get("echo_guard", Agent.EchoGuard.GUARDED),
        "pushToTalkOnly": content.get("turn_taking") == Agent.TurnTaking.BUTTON,
    }


def _time(value: time) -> str:
    return time_format(value, use_l10n=True)
