"""The review pages: the list of calls, one call, its event log, and the mark that it has been reviewed.

Owns what those pages show. Every query begins with a `Reader`; opening a call leaves a row that says so.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from agents_app.practice.models import Task
from sessions_app.models import CallSession, CallView, Event, Recording
from sessions_app.review.figures import cached_percent, sound_of, spread, tokens_of
from sessions_app.review.filters import SEARCHED_CALLS, CallFilter, with_figures
from sessions_app.review.paging import COUNTED_CALLS, counted, neighbours, page_of
from sessions_app.review.reader import Reader
from sessions_app.review.transcript import SHOWN_EVENTS, TARGET_DELAY_MS, rows_of
from sessions_app.views.review_texts import texts, why_silent
from sessions_app.views.staff import staff_page

PAGE_EVENTS = 500
SHOWN_VIEWS = 20
MORE_FILTERS = ("end_reason", "since", "until", "tool_failed")  # folded away while none of them is used
SPEEDS = ("0.75", "1", "1.25", "1.5", "2")


@require_http_methods(["GET", "HEAD", "POST"])
@staff_page
def calls(request: HttpRequest) -> HttpResponse:
    """List the calls that the address asks for. The form is posted, so that searched words never stand in a URL."""
    reader = Reader(user=request.user)
    if request.method == "POST":
        query = CallFilter(request.POST, reader=reader).address()
        return redirect(_with_query(reverse("calls"), query))
    form = CallFilter.from_address(request.GET, reader=reader)
    found = form.apply(reader.calls())
    page = page_of(
        with_figures(found),
        visible=reader.calls(),
        before=request.GET.get("before", ""),
        after=request.GET.get("after", ""),
    )
    count = counted(found)
    context = {
        "section": "calls",
        "form": form,
        "page": page,
        "query": form.address(),
        "searched_calls": SEARCHED_CALLS,
        "more_open": bool(form.errors) or any(form.cleaned_data.get(name) for name in MORE_FILTERS),
        "count": min(count, COUNTED_CALLS),
        "more_than": count > COUNTED_CALLS,
        "belongs": bool(page.calls) or reader.clinics().exists(),
    }
    return render(request, "sessions_app/session_list.html", context)


@require_safe
@staff_page
def call(request: HttpRequest, call_id: UUID) -> HttpResponse:
    reader = Reader(user=request.user)
    session = get_object_or_404(
        reader.calls()
        .select_related("clinic", "version__agent", "version__published_by", "reviewed_by", "recording")
        .prefetch_related("items", "tool_calls", "patients"),
        pk=call_id,
    )
    reader.note(session, CallView.Door.PAGE)
    form = CallFilter.from_address(request.GET, reader=reader)
    newer, older = neighbours(form.apply(reader.calls()), session)
    context = {"section": "calls", "call": session, "query": form.address(), "newer": newer, "older": older}
    return render(request, "sessions_app/session_detail.html", context | _shown(session, request.user))


def _shown(session: CallSession, user: AbstractBaseUser | AnonymousUser) -> dict[str, Any]:
    items, tool_calls = list(session.items.all()), list(session.tool_calls.all())
    own = session.events.filter(direction=Event.Direction.OWN, type__in=SHOWN_EVENTS)
    tokens = tokens_of(session.usage)
    return {
        "rows": rows_of(items, tool_calls, own),
        "delays": spread([item.first_audio_ms for item in items if item.first_audio_ms is not None]),
        "tool_times": spread([tool.duration_ms for tool in tool_calls if tool.duration_ms is not None]),
        "target_ms": TARGET_DELAY_MS,
        "sound_figures": sound_of(session.counters),
        "tokens": tokens,
        "cached_percent": cached_percent(tokens),
        "tasks": Task.objects.visible_to(user).filter(call_id=session.pk),
        "views": session.views.select_related("user", "api_token")[:SHOWN_VIEWS],
        **_sound(session),
    }


def _sound(session: CallSession) -> dict[str, Any]:
    recording: Recording | None = getattr(session, "recording", None)
    ready = recording is not None and recording.status == Recording.Status.READY
    return {
        "recording": recording,
        "sound": ready,
        "no_sound": "" if ready else why_silent(session, recording),
        "speeds": SPEEDS,
        "page_data": {
            "peaks": recording.peaks if recording is not None and ready else [],
            "durationMs": (recording.duration_ms if recording is not None else None) or session.duration_ms or 0,
            "texts": texts(session.version.agent.name),
        },
    }


@require_safe
@staff_page
def events(request: HttpRequest, call_id: UUID) -> HttpResponse:
    """Show the event log of a call, at most PAGE_EVENTS of it: allow-listed fields, never a word of the call."""
    reader = Reader(user=request.user)
    session = get_object_or_404(reader.calls().select_related("clinic"), pk=call_id)
    reader.note(session, CallView.Door.PAGE)
    log = session.events.all()
    direction, part, after = (request.GET.get(name, "") for name in ("direction", "type", "after"))
    part = part.replace("\x00", "")  # PostgreSQL refuses to look for it
    if direction in Event.Direction.values:
        log = log.filter(direction=direction)
    if part:
        log = log.filter(type__contains=part[:80])
    if after.isdecimal() and len(after) < 10:
        log = log.filter(seq__gt=int(after))
    rows = list(log[: PAGE_EVENTS + 1])
    context = {
        "section": "calls",
        "call": session,
        "events": rows[:PAGE_EVENTS],
        "next_after": rows[PAGE_EVENTS - 1].seq if len(rows) > PAGE_EVENTS else None,
        "direction": direction,
        "type": part,
        "directions": Event.Direction.choices,
    }
    return render(request, "sessions_app/session_events.html", context)


@require_POST
@staff_page
def mark_reviewed(request: HttpRequest, call_id: UUID) -> HttpResponse:
    """Mark an ended call as reviewed, once: of two people the first one's name stands."""
    reader = Reader(user=request.user)
    session = get_object_or_404(reader.calls(), pk=call_id)
    unreviewed = reader.calls().filter(pk=session.pk, state=CallSession.State.ENDED, reviewed_at=None)
    # No joins in an UPDATE: the rows are named by a subquery.
    marked = CallSession.objects.filter(pk__in=unreviewed.values("pk"), reviewed_at=None).update(
        reviewed_at=timezone.now(), reviewed_by=request.user
    )
    if marked:
        messages.success(request, _("%(reference)s is marked as reviewed.") % {"reference": session.reference})
    elif session.state == CallSession.State.ENDED:
        messages.info(request, _("%(reference)s had been reviewed already.") % {"reference": session.reference})
    else:
        messages.warning(request, _("A call can be reviewed when it has ended."))
    form = CallFilter.from_address(request.GET, reader=reader)
    _newer, older = neighbours(form.apply(reader.calls()), session) if "next" in request.POST else (None, session.pk)
    target = reverse("call", args=[older]) if older else reverse("calls")
    return redirect(_with_query(target, form.address()))


def _with_query(path: str, query: str) -> str:
    return f"{path}?{query}" if query else path
