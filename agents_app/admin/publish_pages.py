"""What is done with a receptionist beside editing it: publish, roll back, talk to it. Each asks before it acts."""

from __future__ import annotations

import difflib
import json
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action

from agents_app.models import Agent
from agents_app.publishing import freeze, lines_without_sound, publish, roll_back
from agents_app.readiness import reasons_against

DIFF_CONTEXT_LINES = 2
LISTED_VERSIONS = 100


class PublishPages:
    """Mixed into the receptionist's page. unfold links to these by GET, so they change something by POST alone."""

    actions_detail = ("publish_page", "versions_page", "talk_page")
    admin_site: Any
    opts: Any

    @action(description=_("Publish"), url_path="publish", permissions=["change"], icon="publish")  # type: ignore[untyped-decorator]  # unfold is untyped
    def publish_page(self, request: HttpRequest, object_id: str) -> HttpResponse:
        agent = self._changeable(request, object_id)
        if request.method == "POST":
            return self._publish(request, agent)
        live = agent.live_version
        context = {
            "title": _("Publish %(name)s") % {"name": agent.name},
            "reasons": list(reasons_against(agent)),
            "live": live,
            "changes": changes(live.content if live else {}, freeze(agent)),
        }
        return self._page(request, agent, "publish", context)

    @action(description=_("Versions"), url_path="versions", permissions=["view"], icon="history")  # type: ignore[untyped-decorator]  # unfold is untyped
    def versions_page(self, request: HttpRequest, object_id: str) -> HttpResponse:
        agent = self._changeable(request, object_id)
        if request.method == "POST":
            return self._roll_back(request, agent)
        versions = list(agent.versions.select_related("published_by")[: LISTED_VERSIONS + 1])
        context = {
            "title": _("Versions of %(name)s") % {"name": agent.name},
            "versions": versions[:LISTED_VERSIONS],
            "more_than": LISTED_VERSIONS if len(versions) > LISTED_VERSIONS else None,
        }
        return self._page(request, agent, "versions", context)

    @action(description=_("Talk to this receptionist"), url_path="talk", permissions=["view"], icon="call")  # type: ignore[untyped-decorator]  # unfold is untyped
    def talk_page(self, request: HttpRequest, object_id: str) -> HttpResponse:
        agent = self._changeable(request, object_id)
        if agent.live_version is None:
            messages.warning(request, _("Publish it first: callers meet the live version, never the draft."))
            return self._back(agent)
        return HttpResponseRedirect(f"/talk/{agent.public_name}/?preview")  # with what only staff try out

    def _publish(self, request: HttpRequest, agent: Agent) -> HttpResponse:
        before = agent.live_version
        try:
            version = publish(agent, request.user)  # type: ignore[arg-type]  # admin pages have a user
        except ValidationError as error:
            return self._refused(request, agent, error)
        if version == before:
            messages.info(request, _("Nothing has changed since version %(n)d.") % {"n": version.number})
        else:
            messages.success(request, _("Version %(n)d is live: the next call begins with it.") % {"n": version.number})
        if lines_without_sound(version):
            messages.warning(
                request, _("Some fixed lines could not be spoken: callers read them. Publish again to try once more.")
            )
        return self._back(agent)

    def _roll_back(self, request: HttpRequest, agent: Agent) -> HttpResponse:
        number = request.POST.get("number", "")
        readable = number.isdecimal() and len(number) < 10
        version = get_object_or_404(agent.versions, number=number if readable else None)
        try:
            roll_back(agent, version, request.user)  # type: ignore[arg-type]  # admin pages have a user
        except ValidationError as error:
            return self._refused(request, agent, error)
        messages.success(request, _("Version %(n)d is live again. The draft stays as it is.") % {"n": version.number})
        return self._back(agent)

    def _refused(self, request: HttpRequest, agent: Agent, error: ValidationError) -> HttpResponse:
        for reason in error.messages:
            messages.error(request, reason)
        return self._back(agent)

    def _changeable(self, request: HttpRequest, object_id: str) -> Agent:
        agent: Agent = self.get_object_or_404(request, object_id)  # type: ignore[attr-defined]  # ClinicScopedAdmin
        if not self.has_change_permission(request, agent):  # type: ignore[attr-defined]  # ClinicScopedAdmin
            raise PermissionDenied
        return agent

    def _back(self, agent: Agent) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:agents_app_agent_change", args=(agent.pk,)))

    def _page(self, request: HttpRequest, agent: Agent, name: str, context: dict[str, Any]) -> HttpResponse:
        shared = {**self.admin_site.each_context(request), "opts": self.opts, "agent": agent, "original": agent}
        return TemplateResponse(request, f"admin/agents_app/agent/{name}.html", {**shared, **context})


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the lines in which two contents differ, each with its sign: "+", "-" or " " for those around them."""
    old, new = (json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) for content in (before, after))
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), n=DIFF_CONTEXT_LINES, lineterm="")
    return [(line[0], line[1:]) for line in lines if not line.startswith(("---", "+++", "@@"))]
