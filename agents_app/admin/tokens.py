"""API tokens: made here, shown once on the page that answers, revoked, never deleted."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldBooleanSwitchWidget

from agents_app.admin.forms import ClinicScopedForm
from agents_app.admin.scoping import ClinicScopedAdmin, ScopedRelatedFilter
from agents_app.models import ApiToken


class TokenForm(ClinicScopedForm):
    revoke = forms.BooleanField(
        label=_("Revoke"),
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text=_("The program that uses it is refused from now on. This cannot be undone."),
    )

    class Meta:
        model = ApiToken
        fields = ("clinic", "name")


@admin.register(ApiToken)
class ApiTokenAdmin(ClinicScopedAdmin):
    form = TokenForm
    list_display = ("name", "clinic", "ends_with", "created_at", "created_by", "live")
    list_filter = (("clinic", ScopedRelatedFilter),)
    list_select_related = ("clinic", "created_by")
    search_fields = ("name",)
    also_saved = {"revoke": ("revoked_at",)}

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # a revoked token stays, with who made it and when

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        if obj is None:
            return ("clinic", "name")
        state = ("revoked_at",) if obj.revoked_at else ("revoke",)
        return ("clinic", "name", "ends_with", "created_at", "created_by", *state)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        fixed = super().get_readonly_fields(request, obj)
        return fixed if obj is None else (*fixed, "ends_with", "created_at", "created_by", "revoked_at")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if not change:
            obj.created_by = request.user
            # Kept on the request alone, for the page that answers it: messages live in cookies and sessions.
            request.__dict__["frontdesk_token"] = obj.draw()
        elif form.cleaned_data.get("revoke") and obj.revoked_at is None:
            obj.revoked_at = timezone.now()
        super().save_model(request, obj, form, change)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": _("The token %(name)s") % {"name": obj.name},
            "opts": self.opts,
            "token": request.__dict__["frontdesk_token"],
        }
        return TemplateResponse(request, "admin/agents_app/apitoken/made.html", context)

    @admin.display(description=_("ends with"))
    def ends_with(self, token: ApiToken) -> str:
        return f"…{token.hint}"

    @admin.display(description=_("live"), boolean=True)
    def live(self, token: ApiToken) -> bool:
        return token.revoked_at is None
