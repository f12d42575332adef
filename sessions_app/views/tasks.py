"""The page of what callers left for people to do. Knows of a call only that it can be linked to."""

from __future__ import annotations

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Case, IntegerField, Value, When
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from agents_app.models import Clinic
from agents_app.practice.models import Task
from sessions_app.models import CallSession
from sessions_app.views.staff import staff_page

PAGE_TASKS = 25


@require_safe
@staff_page
def tasks(request: HttpRequest) -> HttpResponse:
    """List open tasks, or those done; urgent ones first, then whoever has waited longest."""
    status = Task.Status.DONE if request.GET.get("status") == "done" else Task.Status.OPEN
    kind = request.GET.get("kind", "")
    found = Task.objects.visible_to(request.user).filter(status=status).select_related("clinic", "patient", "done_by")
    if kind in Task.Kind.values:
        found = found.filter(kind=kind)
    if status == Task.Status.OPEN:
        urgent_first = Case(When(priority=Task.Priority.URGENT, then=Value(0)), default=1, output_field=IntegerField())
        found = found.order_by(urgent_first, "created_at", "pk")
    else:
        found = found.order_by("-done_at", "-pk")
    page = Paginator(found, PAGE_TASKS).get_page(request.GET.get("page"))
    rows = list(page)
    linked = {task.call_id for task in rows if task.call_id}
    references = dict(CallSession.objects.visible_to(request.user).filter(pk__in=linked).values_list("pk", "reference"))
    context = {
        "section": "tasks",
        "page": page,
        "tasks": [(task, references.get(task.call_id) if task.call_id else None) for task in rows],
        "done": status == Task.Status.DONE,
        "kind": kind,
        "kinds": Task.Kind.choices,
        "belongs": bool(rows) or Clinic.objects.visible_to(request.user).exists(),
    }
    return render(request, "sessions_app/task_list.html", context)


@require_POST
@staff_page
def task_done(request: HttpRequest, task_id: int) -> HttpResponse:
    """Tick a task off, once: of two people the first one's name stands."""
    task = get_object_or_404(Task.objects.visible_to(request.user), pk=task_id)
    ticked = Task.objects.filter(pk=task.pk, status=Task.Status.OPEN).update(
        status=Task.Status.DONE, done_by=request.user, done_at=timezone.now()
    )
    if ticked:
        messages.success(request, _("%(reference)s is done.") % {"reference": task.reference})
    else:
        messages.info(request, _("%(reference)s had been done already.") % {"reference": task.reference})
    return redirect(reverse("tasks"))
