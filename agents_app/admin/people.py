"""Who may come in: logins and groups of clinics for the administrator, memberships for managers too."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from agents_app.admin.reach import reach_of
from agents_app.admin.scoping import Clinics, ClinicScopedAdmin, PlatformAdmin, ScopedRelatedFilter
from agents_app.models import ClinicGroup, Membership

# Django's table of permissions is not used here: what somebody may do follows from memberships.
admin.site.unregister(Group)
admin.site.unregister(User)


class LoginForm(UserChangeForm):  # type: ignore[misc]  # unfold is untyped
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "password" in self.fields:
            # unfold's own sentence tells its link from the words around it by colour alone.
            link = '<a class="underline" href="../password/">{}</a>'
            self.fields["password"].help_text = format_html(link, _("Set another password"))


@admin.register(User)
class UserAdmin(PlatformAdmin, DjangoUserAdmin):  # type: ignore[misc, type-arg]  # unfold is untyped
    form = LoginForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "first_name", "last_name", "is_active", "is_superuser")
    list_filter = ("is_active", "is_superuser")
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        (_("Person"), {"fields": ("first_name", "last_name", "email")}),
        (_("Access"), {"fields": ("is_active", "is_staff", "is_superuser")}),
    )
    add_fieldsets = ((None, {"classes": ("wide",), "fields": ("username", "password1", "password2", "is_staff")}),)
    filter_horizontal = ()


@admin.register(ClinicGroup)
class ClinicGroupAdmin(PlatformAdmin):
    list_display = ("name",)
    search_fields = ("name",)


@admin.register(Membership)
class MembershipAdmin(ClinicScopedAdmin):
    """A manager sees who belongs to the clinic, changes what they are and removes them.

    Adding somebody means choosing among the installation's logins, and a group reaches into other clinics: both are
    the administrator's.
    """

    list_display = ("user", "clinic", "group", "role")
    list_filter = ("role", ("clinic", ScopedRelatedFilter))
    list_select_related = ("user", "clinic", "group")
    search_fields = ("user__username", "user__first_name", "user__last_name")
    fields = ("user", "clinic", "group", "role")

    def clinics_for(self, request: HttpRequest, action: str) -> Clinics:
        if action == "add" and not reach_of(request).platform:
            return frozenset()
        return super().clinics_for(request, action)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return super().get_readonly_fields(request, obj) if obj is None else ("user", "clinic", "group")
