"""The receptionist's page: its draft with all that belongs to it, and what the draft would become."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from agents_app.admin.forms import ClinicScopedForm
from agents_app.admin.publish_pages import PublishPages
from agents_app.admin.scoping import ClinicScopedAdmin, ScopedInline, ScopedRelatedFilter
from agents_app.models import (
    FIXED_LINES,
    OPENING_LINES,
    Agent,
    Guardrail,
    Instruction,
    RealtimeModel,
    Tool,
    Voice,
)
from agents_app.publishing import freeze
from agents_app.session_config import VARIABLE_NAMES, ClinicFacts, session_config
from agents_app.tools import registered_tools

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

DEFAULT_MODEL, DEFAULT_VOICE = "gpt-realtime-2.1", "marin"
TURN_TAKING_HELP = _(
    "Quiet room: answers half a second after the caller stops. Noisy waiting room: needs a louder voice and waits a "
    "little longer. Slow speaker: waits through pauses of more than a second. By meaning: waits until the sentence "
    "sounds finished, four seconds at most. By button: the caller holds a button while talking."
)


class AgentForm(ClinicScopedForm):
    tool_names = forms.MultipleChoiceField(
        label=_("Tools"),
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text=_("What it may look up and do. Whatever changes something asks the caller for a yes first."),
    )

    class Meta:
        model = Agent
        fields = ()  # the page names them

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        chosen = [tool.name for tool in self.instance.tools.all() if tool.enabled] if self.instance.pk else []
        if "tool_names" in self.fields:
            self.fields["tool_names"].choices = _tool_choices(chosen)  # type: ignore[attr-defined]  # a choice field
            self.initial["tool_names"] = chosen
        if "turn_taking" in self.fields:
            self.fields["turn_taking"].help_text = TURN_TAKING_HELP

    def save_tools(self) -> None:
        """Make the rows what was ticked. The receptionist must have been saved."""
        wanted = set(self.cleaned_data.get("tool_names", ()))
        self.instance.tools.exclude(name__in=wanted).delete()
        known = dict(self.instance.tools.values_list("name", "enabled"))
        Tool.objects.bulk_create(Tool(agent=self.instance, name=name) for name in sorted(wanted - known.keys()))
        self.instance.tools.filter(name__in=wanted, enabled=False).update(enabled=True)


def _tool_choices(chosen: list[str]) -> list[tuple[str, SafeString]]:
    """Offer what the installation has, and what was chosen of a tool that is gone, so that it can be unticked."""
    described = {name: spec.description for name, spec in sorted(registered_tools().items())}
    gone = {name: str(_("Not in this installation.")) for name in chosen if name not in described}
    # unfold cuts a label at one line; inside, it may wrap.
    label = '<span style="white-space: normal"><strong>{}</strong> {}</span>'
    return [(name, format_html(label, name, description)) for name, description in (described | gone).items()]


class InstructionInline(ScopedInline):
    model = Instruction
    clinic_path = "agent__clinic"
    fields = (("position", "kind"), "title", "text")
    verbose_name_plural = _("instructions, in the order of their position")

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if db_field.name == "text" and field is not None:
            names = ", ".join(f"{{{{ {name} }}}}" for name in VARIABLE_NAMES)
            field.help_text = _("May hold %(names)s, which are filled in when a call begins.") % {"names": names}
        return field


class GuardrailInline(ScopedInline):
    model = Guardrail
    clinic_path = "agent__clinic"
    fields = (("position", "name"), "phrases", "line", "shows_emergency_number", "enabled")
    verbose_name_plural = _("guardrails: words of the caller that stop everything else")


@admin.register(Agent)
class AgentAdmin(PublishPages, ClinicScopedAdmin):
    form = AgentForm
    inlines = (InstructionInline, GuardrailInline)
    list_display = ("name", "clinic", "public_name", "live_number", "paused")
    list_filter = (("clinic", ScopedRelatedFilter), "paused")
    list_select_related = ("clinic", "live_version")
    search_fields = ("name", "public_name", "greeting")
    fieldsets = (
        (None, {"fields": ("clinic", "name", "public_name", "live_number", "paused", "max_concurrent_calls")}),
        (_("Fixed lines"), {"fields": OPENING_LINES + FIXED_LINES}),
        (_("Voice"), {"fields": ("language", "voice", "speed")}),
        (_("Listening"), {"fields": ("turn_taking", "echo_guard", "keywords", "idle_seconds")}),
        (
            _("Listening, in detail"),
            {
                "description": _(
                    "Empty: as the choice of turn taking has it. Turns by meaning know eagerness alone, turns by "
                    "button none of these, all others the first three."
                ),
                "fields": (("threshold", "prefix_padding_ms"), ("silence_duration_ms", "eagerness")),
            },
        ),
        (_("Model"), {"fields": ("model", "reasoning_effort")}),
        (_("Tools"), {"fields": ("tool_names",)}),
        (_("What the saved draft becomes"), {"fields": ("instructions_preview", "session_preview")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Agent]:
        rows: QuerySet[Agent] = super().get_queryset(request)
        return rows.defer("live_version__content")  # a whole script for each row of the list

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        return fieldsets if obj is not None else fieldsets[:-1]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        fixed = (*super().get_readonly_fields(request, obj), "live_number", "instructions_preview", "session_preview")
        published = obj is not None and obj.versions.exists()
        return (*fixed, "public_name") if published else fixed

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {
            "model": RealtimeModel.objects.filter(name=DEFAULT_MODEL).values_list("pk", flat=True).first(),
            "voice": Voice.objects.filter(name=DEFAULT_VOICE).values_list("pk", flat=True).first(),
            **super().get_changeform_initial_data(request),
        }

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        form.save_tools()

    @admin.display(description=_("live version"))
    def live_number(self, agent: Agent) -> str:
        return str(agent.live_version.number) if agent.live_version else str(_("never published"))

    @admin.display(description=_("instructions"))
    def instructions_preview(self, agent: Agent) -> SafeString:
        return _folded(_("Show the whole text"), _session(agent)["instructions"])

    @admin.display(description=_("session object"))
    def session_preview(self, agent: Agent) -> SafeString:
        return _folded(_("Show the object"), json.dumps(_session(agent), indent=2, ensure_ascii=False))


def _session(agent: Agent) -> dict[str, Any]:
    clinic = agent.clinic
    facts = ClinicFacts(name=clinic.name, phone=clinic.phone, address=clinic.address)
    return session_config(freeze(agent), clinic=facts, now=timezone.now(), zone=clinic.zone)


def _folded(summary: StrPromise, text: str) -> SafeString:
    """Return a text of many lines, folded away: the instructions and guardrails come below it."""
    folded = (
        '<details><summary class="cursor-pointer">{}</summary>'
        '<div class="font-mono mt-2 text-sm" style="white-space: pre-wrap; overflow-wrap: anywhere">{}</div></details>'
    )
    return format_html(folded, summary, text)
