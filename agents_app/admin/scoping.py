"""The bases of every admin page: rows of a clinic for its members, or the installation's for its administrator.

Permissions come from memberships, never from Django's own table of permissions. Another clinic's row does not exist:
not in lists, choices, filters, autocompletes, history or deletion, and asking for it is a 404.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NoReturn

from django.contrib import admin
from django.contrib.admin.filters import RelatedFieldListFilter
from django.contrib.admin.utils import unquote
from django.db import models
from django.http import Http404, HttpRequest
from unfold.admin import ModelAdmin, StackedInline

from agents_app.admin import widgets
from agents_app.admin.forms import ClinicScopedForm, clinic_id_of
from agents_app.admin.reach import reach_of
from agents_app.models import Clinic, RealtimeModel, Voice, VoiceService

# Rows that belong to the installation and may be chosen by every manager.
SHARED_MODELS: frozenset[type[models.Model]] = frozenset({RealtimeModel, Voice, VoiceService})
Clinics = frozenset[int] | None  # None: every clinic


class ScopedChoices:
    """Foreign keys and many-to-many fields offer what the user may see of the other model, and nothing else."""

    admin_site: admin.AdminSite

    def clinics_for(self, request: HttpRequest, action: str) -> Clinics:
        raise NotImplementedError

    def clinic_rows(self, request: HttpRequest, action: str) -> models.QuerySet[Clinic]:
        clinics = self.clinics_for(request, action)
        return Clinic.objects.all() if clinics is None else Clinic.objects.filter(pk__in=clinics)

    def get_field_queryset(self, db: str | None, db_field: Any, request: HttpRequest) -> models.QuerySet[Any]:
        related = db_field.remote_field.model
        if related is Clinic:
            return self.clinic_rows(request, "add")
        related_admin = self.admin_site._registry.get(related)
        if isinstance(related_admin, ClinicScopedAdmin):
            return related_admin.get_queryset(request)
        rows: models.QuerySet[Any] = related._default_manager.all()
        return rows if related in SHARED_MODELS or reach_of(request).platform else rows.none()


class SavesWhatChanged:
    """Mixed into a page whose save writes what was changed on it: what else has changed since it was read, stands.

    `also_saved` names the columns that the page sets itself, by the field of the form whose change does so.
    """

    also_saved: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def save_model(self, request: HttpRequest, obj: models.Model, form: Any, change: bool) -> None:
        changed = {column for name in form.changed_data for column in (name, *self.also_saved.get(name, ()))}
        columns = [
            column.name
            for column in obj._meta.concrete_fields
            if column.name in changed or getattr(column, "auto_now", False)
        ]
        obj.save(update_fields=columns if change else None)


class ClinicScopedAdmin(SavesWhatChanged, ScopedChoices, ModelAdmin):  # type: ignore[misc]  # unfold is untyped
    """Rows that belong to a clinic.

    `clinic_path` leads from a row to its clinic; `patient_data` closes the page to platform administrators who are
    not members; `reviewer_may` holds "view" and perhaps "change", and is nothing by default.
    """

    form = ClinicScopedForm
    formfield_overrides = widgets.FORMFIELD_OVERRIDES
    clinic_path: ClassVar[str] = "clinic"
    patient_data: ClassVar[bool] = False
    reviewer_may: ClassVar[frozenset[str]] = frozenset()
    list_per_page = 50

    def clinics_for(self, request: HttpRequest, action: str) -> Clinics:
        """Return the clinics in whose rows the user may do `action`: view, add, change or delete."""
        reach = reach_of(request)
        if reach.platform and not self.patient_data:
            return None
        return reach.visible if action in self.reviewer_may else reach.managed

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Who belongs to one clinic has nothing to choose: it stands there already."""
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if db_field.remote_field.model is Clinic and field is not None and not db_field.null:
            first_two = list(field.queryset[:2])
            if len(first_two) == 1:
                field.empty_label, field.initial = None, first_two[0].pk
        return field

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        clinics = self.clinics_for(request, "view")
        rows: models.QuerySet[Any] = super().get_queryset(request)
        return rows if clinics is None else rows.filter(**{f"{self.clinic_path}__in": clinics})

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "view", None)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, "view", obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "add", None)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, "change", obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, "delete", obj)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        form.clinic_path, form.clinic_path_of = self.clinic_path, self._clinic_path_of
        return form

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """A row never moves to another clinic."""
        fixed = tuple(super().get_readonly_fields(request, obj))
        parent = self.clinic_path.split("__")[0]
        return fixed if obj is None or parent == "pk" else (*fixed, parent)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        # Django asks for permission first, and would answer a foreign row with 403.
        if object_id is not None:
            self.get_object_or_404(request, unquote(object_id))
        return super().changeform_view(request, object_id, form_url, extra_context)

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None) -> Any:
        self.get_object_or_404(request, unquote(object_id))
        return super().delete_view(request, object_id, extra_context)

    def get_object_or_404(self, request: HttpRequest, object_id: str) -> Any:
        """Return the row for a page of one's own, or let another clinic's row not exist."""
        row = self.get_object(request, object_id)
        if row is None:
            raise Http404
        return row

    def _may(self, request: HttpRequest, action: str, obj: Any) -> bool:
        clinics = self.clinics_for(request, action)
        if clinics is None:
            return True
        # unfold asks about an object by its id: those pages look the row up themselves, and scoped.
        if not isinstance(obj, models.Model):
            return bool(clinics)
        return clinic_id_of(obj, self.clinic_path) in clinics

    def _clinic_path_of(self, model: type[models.Model]) -> str | None:
        related_admin = self.admin_site._registry.get(model)
        return related_admin.clinic_path if isinstance(related_admin, ClinicScopedAdmin) else None

    def _get_obj_does_not_exist_redirect(self, request: HttpRequest, opts: Any, object_id: str) -> NoReturn:
        # Django would redirect with a message that repeats the id.
        raise Http404


class ScopedInline(ScopedChoices, StackedInline):  # type: ignore[misc]  # unfold is untyped
    """Rows below a row of a clinic. Stacked, since unfold's tables leave their inputs without labels."""

    form = ClinicScopedForm
    formfield_overrides = widgets.FORMFIELD_OVERRIDES
    extra = 0
    clinic_path: ClassVar[str] = "clinic"

    def clinics_for(self, request: HttpRequest, action: str) -> Clinics:
        return self._parent().clinics_for(request, action)

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        formset = super().get_formset(request, obj, **kwargs)
        formset.form.clinic_path, formset.form.clinic_path_of = self.clinic_path, self._parent()._clinic_path_of
        return formset

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._parent().has_view_permission(request, obj)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        parent = self._parent()
        return parent.has_add_permission(request) if obj is None else parent.has_change_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_add_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_add_permission(request, obj)

    def _parent(self) -> ClinicScopedAdmin:
        parent = self.admin_site._registry[self.parent_model]
        assert isinstance(parent, ClinicScopedAdmin)
        return parent


class ReadOnly:
    """Mixed into a page or an inline whose rows are made elsewhere."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class PlatformAdmin(SavesWhatChanged, ModelAdmin):  # type: ignore[misc]  # unfold is untyped
    """Rows of the installation: for its administrators, the superusers, alone."""

    formfield_overrides = widgets.FORMFIELD_OVERRIDES

    def has_module_permission(self, request: HttpRequest) -> bool:
        return reach_of(request).platform

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return reach_of(request).platform

    def has_add_permission(self, request: HttpRequest) -> bool:
        return reach_of(request).platform

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return reach_of(request).platform

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return reach_of(request).platform

    def _get_obj_does_not_exist_redirect(self, request: HttpRequest, opts: Any, object_id: str) -> NoReturn:
        raise Http404


class ScopedRelatedFilter(RelatedFieldListFilter):
    """A filter by another row that lists what the user may see; hidden when there is no choice."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> list[Any]:
        if field.remote_field.model is Clinic:
            rows = model_admin.clinic_rows(request, "view")
        else:
            rows = model_admin.get_field_queryset(None, field, request)
        return [(row.pk, str(row)) for row in rows]
