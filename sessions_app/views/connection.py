"""The page on which a manager tries a clinic's connection: key, socket, session, diary, and the own microphone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from agents_app.access import access_of
from agents_app.models import Agent, Clinic, KeyRefusal
from agents_app.practice.models import Provider
from sessions_app.opening import STANDIN_KEY
from sessions_app.probing import explain, probe
from sessions_app.realtime import Upstream
from sessions_app.views.staff import staff_page
from sessions_app.views.talk import PERMISSIONS_POLICY

MAX_MODELS = 5  # of one clinic, one after the other


@dataclass(frozen=True)
class Tried:
    """One line: what was tried, whether it works, and what to do when it does not."""

    what: str
    works: bool
    said: str


@require_http_methods(["GET", "HEAD", "POST"])
@staff_page
def connection(request: HttpRequest) -> HttpResponse:
    """Show the clinics that the user manages; on POST, try the connection of one."""
    clinics = Clinic.objects.managed_by(request.user).select_related("voice_service")
    clinic, tried = None, list[Tried]()
    if request.method == "POST":
        number = request.POST.get("clinic", "")
        clinic = get_object_or_404(clinics, pk=int(number) if number.isdecimal() and len(number) < 10 else 0)
        tried = [*_upstream(clinic), *_diary(clinic)]
    context = {"section": "connection", "clinics": clinics, "clinic": clinic, "tried": tried}
    response = render(request, "sessions_app/connection.html", context)
    response.headers["Permissions-Policy"] = PERMISSIONS_POLICY
    return response


def _upstream(clinic: Clinic) -> Iterator[Tried]:
    access = access_of(clinic)
    key = access.key or (STANDIN_KEY if access.base_url == settings.STANDIN_URL else "")
    if not key:
        yield Tried(_("Key"), False, _("There is none: enter one on the clinic's page in the admin."))
        return
    agents = Agent.objects.filter(clinic=clinic, live_version__isnull=False).select_related("live_version")
    models = {agent.live_version.content["model"]["name"] for agent in agents if agent.live_version}
    if not models:
        yield Tried(_("Receptionist"), False, _("None is published yet, so there is nothing to connect."))
    for model in sorted(models)[:MAX_MODELS]:
        result = asyncio.run(probe(Upstream(access.base_url, model, key, access.key_style)))
        if result.code:
            step, said = explain(result.code)
            names = {"key": _("Key"), "socket": _("Connection"), "session": _("Session")}
            yield Tried(f"{names[step]}, {model}", False, said)
        else:
            KeyRefusal.objects.clear(clinic.pk, access.digest)  # calls need not wait to try it again
            said = _("key, connection and session work: %(ms)d ms.") % {"ms": result.took_ms}
            yield Tried(_("Voice service, %(model)s") % {"model": model}, True, said)


def _diary(clinic: Clinic) -> Iterator[Tried]:
    if Provider.objects.filter(clinic=clinic).exists():
        yield Tried(_("Diary"), True, _("it has providers to book with."))
    else:
        yield Tried(_("Diary"), False, _("it has no provider: nothing can be booked. Add one in the admin."))
