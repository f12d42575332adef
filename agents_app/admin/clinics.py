"""The clinic's page: hours, web sites, limits, notice, and its key for the voice service, which is never shown."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldBooleanSwitchWidget

from agents_app.access import access_of
from agents_app.admin.forms import ClinicScopedForm
from agents_app.admin.reach import reach_of
from agents_app.admin.scoping import Clinics, ClinicScopedAdmin, ScopedInline
from agents_app.models import Clinic, ClinicHours, ClinicOrigin, KeyRefusal, normal_origin, validate_origin
from agents_app.sealing import SealBroken

SHOWN_CHARACTERS = 4


class ClinicForm(ClinicScopedForm):
    clinic_path = "pk"

    new_upstream_key = forms.CharField(
        label=_("New key"),
        required=False,
        max_length=500,
        strip=True,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text=_("Stored encrypted and never shown again. Leave empty to keep the one that is set."),
    )
    forget_upstream_key = forms.BooleanField(
        label=_("Forget the key"),
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text=_("Calls then use the installation's key, where there is one."),
    )

    class Meta:
        model = Clinic
        fields = ()  # the page names them

    def clean_new_upstream_key(self) -> str:
        key: str = self.cleaned_data["new_upstream_key"]
        # It is sent in a header: a line break would begin another one.
        if not key.isascii() or not key.isprintable() or " " in key:
            raise forms.ValidationError(_("A key is made of letters, digits and signs, without spaces."))
        return key

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        replaced = cleaned.get("new_upstream_key") or cleaned.get("forget_upstream_key")
        if "voice_service" in self.changed_data and self.instance.upstream_key_sealed and not replaced:
            # A key is one service's: kept, it would be shown to the other one.
            self.add_error("new_upstream_key", _("Enter a key for the new voice service, or forget the old one."))
        return cleaned


class HoursInline(ScopedInline):
    model = ClinicHours
    fields = (("weekday", "opens", "closes"),)
    verbose_name_plural = _("opening hours: a day may have several rows, or none when it is closed")


class OriginForm(ClinicScopedForm):
    def clean_origin(self) -> str:
        # Asked here already: the model's own validators run after this.
        validate_origin(self.cleaned_data["origin"])
        # As browsers write it, so that the same site entered twice is told here and not by the database.
        return normal_origin(self.cleaned_data["origin"])


class OriginInline(ScopedInline):
    model = ClinicOrigin
    form = OriginForm
    fields = ("origin",)
    verbose_name_plural = _("web sites that may show this clinic's receptionists")


@admin.register(Clinic)
class ClinicAdmin(ClinicScopedAdmin):
    """Managers change their clinics; only the administrator of the installation adds one or removes one."""

    form = ClinicForm
    clinic_path = "pk"
    inlines = (HoursInline, OriginInline)
    list_display = ("name", "phone", "timezone", "recording_enabled")
    search_fields = ("name", "phone", "address")
    fieldsets = (
        (None, {"fields": ("name", "group", "address", "phone", "emergency_number", "website", "timezone")}),
        (_("What callers are told"), {"fields": ("policies", "arrival_note", "booking_horizon_days")}),
        (_("Consent and sound"), {"fields": ("recording_notice", "recording_enabled")}),
        (
            _("Limits"),
            {
                "fields": (
                    "max_concurrent_calls",
                    "max_calls_per_address",
                    "max_calls_per_network",
                    "max_starts_per_hour",
                    "max_call_minutes",
                    "daily_cap_usd",
                    "monthly_cap_usd",
                )
            },
        ),
        (
            _("Key for the voice service"),
            {"fields": ("voice_service", "upstream_key_state", "new_upstream_key", "forget_upstream_key")},
        ),
    )

    def clinics_for(self, request: HttpRequest, action: str) -> Clinics:
        if action in ("add", "delete") and not reach_of(request).platform:
            return frozenset()
        return super().clinics_for(request, action)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        # Its members see each other's clinics: joining a group is not the clinic's own decision.
        group = () if reach_of(request).platform else ("group",)
        return (*super().get_readonly_fields(request, obj), "upstream_key_state", *group)

    @admin.display(description=_("key"))
    def upstream_key_state(self, clinic: Clinic) -> str:
        try:
            key = clinic.upstream_key if clinic.pk else ""
        except SealBroken:
            return str(_("It cannot be opened with the keys of this installation: enter it again."))
        state = str(_("not set"))
        if key:
            state = str(_("set, ends with …%(end)s") % {"end": key[-SHOWN_CHARACTERS:] if len(key) > 20 else "?"})
        if clinic.pk and KeyRefusal.objects.names(clinic.pk, access_of(clinic).digest):
            state += ". " + str(_("The service refuses the key that calls use: enter another."))
        return state

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if form.cleaned_data.get("new_upstream_key"):
            obj.set_upstream_key(form.cleaned_data["new_upstream_key"])
        elif form.cleaned_data.get("forget_upstream_key"):
            obj.set_upstream_key("")
