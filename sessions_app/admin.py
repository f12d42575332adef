"""Calls, read-only, and prices. The review pages are the place to read a call; here is every field of its record."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from agents_app.admin.reach import reach_of
from agents_app.admin.scoping import ClinicScopedAdmin, PlatformAdmin, ReadOnly, ScopedInline, ScopedRelatedFilter
from agents_app.admin.sealed_search import SealedSearch
from sessions_app.ledger import cap_of
from sessions_app.models import CallSession, CallView, Item, LedgerPeriod, Price, ToolCall
from sessions_app.models.calls import CallSessionQuerySet


class ItemInline(ReadOnly, ScopedInline):
    model = Item
    clinic_path = "session__clinic"
    fields = (("speaker", "source", "transcript_state"), "text", ("started_ms", "ended_ms", "heard_ms", "interrupted"))
    readonly_fields = (*fields[0], fields[1], *fields[2])
    verbose_name_plural = _("what was said")


class ToolCallInline(ReadOnly, ScopedInline):
    model = ToolCall
    clinic_path = "session__clinic"
    fields = (("name", "status", "error_code"), "arguments", "output", ("confirmed_by", "started_ms", "duration_ms"))
    readonly_fields = (*fields[0], "arguments", "output", *fields[3])
    verbose_name_plural = _("what the tools did")


@admin.register(CallSession)
class CallSessionAdmin(ReadOnly, SealedSearch, ClinicScopedAdmin):
    """Opening one leaves a row that says who read it."""

    patient_data = True
    reviewer_may = frozenset({"view"})
    list_display = ("reference", "clinic", "receptionist", "began", "outcome", "end_reason", "cost")
    list_filter = (
        ("clinic", ScopedRelatedFilter), ("version__agent", ScopedRelatedFilter), "state", "outcome", "end_reason",
        "channel",
    )  # fmt: skip
    actions = ("stop_now",)
    list_select_related = ("clinic", "version__agent")
    search_fields = ("reference",)
    fields = readonly_fields = (
        "reference", "clinic", "receptionist", "state", "began", "ended", "duration_ms", "end_reason", "error_code",
        "outcome", "channel", "origin", "recording_kept", "notice_answer", "cost", "usage", "counters",
        "reviewed_by",
    )  # fmt: skip
    inlines = (ItemInline, ToolCallInline)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        rows: models.QuerySet[Any] = super().get_queryset(request)
        return rows.defer("version__content")  # a whole script for each row of the list

    def has_stop_permission(self, request: HttpRequest) -> bool:
        return bool(reach_of(request).managed)

    @admin.action(description=_("End these calls now"), permissions=["stop"])
    def stop_now(self, request: HttpRequest, queryset: CallSessionQuerySet) -> None:
        """Asked for by managers: a call of a clinic whose calls the user may only read goes on."""
        asked = queryset.filter(clinic__in=reach_of(request).managed).ask_to_stop()
        text = ngettext("%(count)d call ends within five seconds.", "%(count)d calls end within five seconds.", asked)
        messages.success(request, text % {"count": asked})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        call = self.get_object_or_404(request, object_id)
        CallView.objects.create(session=call, user_id=request.user.pk, door=CallView.Door.ADMIN)
        response: HttpResponse = super().change_view(request, object_id, form_url, extra_context)
        return response

    @admin.display(description=_("receptionist"))
    def receptionist(self, call: CallSession) -> str:
        return f"{call.version.agent} v{call.version.number}"

    @admin.display(description=_("started"), ordering="started_at")
    def began(self, call: CallSession) -> str:
        return f"{call.started_at.astimezone(call.clinic.zone):%a %Y-%m-%d %H:%M %Z}"

    @admin.display(description=_("ended"))
    def ended(self, call: CallSession) -> str:
        return f"{call.ended_at.astimezone(call.clinic.zone):%a %Y-%m-%d %H:%M %Z}" if call.ended_at else ""

    @admin.display(description=_("cost, US dollars"))
    def cost(self, call: CallSession) -> str:
        return "" if call.cost_microusd is None else f"{call.cost_microusd / 1_000_000:.4f}"


@admin.register(LedgerPeriod)
class LedgerPeriodAdmin(ReadOnly, ClinicScopedAdmin):
    """What the calls of a clinic cost, by day and month. The sums of the installation are its administrator's."""

    list_display = ("period", "clinic", "kind", "spent", "reserved", "cap")
    list_filter = (("clinic", ScopedRelatedFilter), "kind")
    list_select_related = ("clinic",)
    fields = readonly_fields = ("clinic", "kind", "begins", "spent", "reserved", "cap", "warned_at", "refused_at")

    @admin.display(description=_("begins"), ordering="begins")
    def period(self, period: LedgerPeriod) -> str:
        return f"{period.begins:%Y-%m-%d}"

    @admin.display(description=_("spent, US dollars"))
    def spent(self, period: LedgerPeriod) -> str:
        return f"{period.spent_microusd / 1_000_000:.2f}"

    @admin.display(description=_("kept back for calls under way"))
    def reserved(self, period: LedgerPeriod) -> str:
        return f"{period.reserved_microusd / 1_000_000:.2f}"

    @admin.display(description=_("at most"))
    def cap(self, period: LedgerPeriod) -> str:
        cap = cap_of(period.clinic, period.kind)
        return "" if cap is None else f"{cap / 1_000_000:.2f}"


@admin.register(Price)
class PriceAdmin(PlatformAdmin):
    list_display = ("model", "valid_from", "text_in", "text_cached", "text_out", "audio_in", "audio_out")
    list_filter = ("model",)
