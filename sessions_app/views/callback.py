"""Takes the number of a patient whose call could not begin, for the staff to call back. Knows nothing of a call.

As on the talk page no cookie is read: there is nothing here that a foreign page could ride on.
"""

from __future__ import annotations

from django import forms
from django.http import HttpRequest, JsonResponse
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from agents_app.models import Agent
from agents_app.practice.models import Task
from agents_app.practice.normal import phone_digits, spoken_phone, tidy_name
from agents_app.practice.tasks import leave_task
from sessions_app.client_secrets import client_address, count_start, origin_of

MAX_WAITING = 500  # of a clinic, left on its pages: whoever floods them fills no more of the staff's list


class CallbackForm(forms.Form):
    phone = forms.CharField(max_length=40)
    name = forms.CharField(max_length=160, required=False)

    def clean_phone(self) -> str:
        digits = phone_digits(self.cleaned_data["phone"])
        if digits is None:
            raise forms.ValidationError(_("Please write the whole number, with its area code."))
        return spoken_phone(digits)

    def clean_name(self) -> str:
        name = self.cleaned_data["name"]
        try:
            return tidy_name(name) if name else ""
        except ValueError:
            raise forms.ValidationError(_("Please write a name in letters only.")) from None


@csrf_exempt
@require_POST
def callback(request: HttpRequest, public_name: str) -> JsonResponse:
    """Leave a task with the number. It counts as a start of its address's hour; the same number waits once."""
    agent = Agent.objects.published(public_name)
    if agent is None:
        return JsonResponse({}, status=404)
    if not _from_own_page(request):
        return JsonResponse({}, status=403)
    form = CallbackForm(request.POST)
    if not form.is_valid():
        return JsonResponse({"errors": {name: problems[0] for name, problems in form.errors.items()}}, status=400)
    clinic, phone = agent.clinic, form.cleaned_data["phone"]
    waiting = Task.objects.filter(clinic=clinic, kind=Task.Kind.CALLBACK, call_id=None, status=Task.Status.OPEN)
    if not count_start(clinic, client_address(request.headers, request.META.get("REMOTE_ADDR", ""))):
        return JsonResponse({}, status=429)
    if not waiting.filter(phone=phone).exists():
        if waiting.count() >= MAX_WAITING:
            return JsonResponse({}, status=429)
        text = _("Could not begin a call on the talk page, and asks to be called back.")
        leave_task(clinic=clinic, kind=Task.Kind.CALLBACK, text=text, name=form.cleaned_data["name"], phone=phone)
    return JsonResponse({"phone": phone}, status=201)


def _from_own_page(request: HttpRequest) -> bool:
    """Whether no other site's page sent this. A program that is no browser sends no origin."""
    origin = request.headers.get("Origin")
    # Whatever its scheme: a proxy before us speaks TLS.
    return origin is None or origin_of(origin).partition("://")[2] == request.get_host()
