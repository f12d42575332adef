"""The practice's pages: managers keep it, reviewers read it and work on tasks. Appointments are only read here.

An appointment is made, moved and cancelled through `booking`, which asks the slot engine; a form would go past it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from agents_app.admin.forms import ClinicScopedForm
from agents_app.admin.scoping import ClinicScopedAdmin, ReadOnly, ScopedInline, ScopedRelatedFilter
from agents_app.admin.sealed_search import SealedSearch
from agents_app.models import Clinic
from agents_app.practice.models import (
    Appointment,
    AppointmentChange,
    Closure,
    Operatory,
    Patient,
    Provider,
    ProviderSchedule,
    Task,
    VisitType,
)

BY_CLINIC = ("clinic", ScopedRelatedFilter)


def in_zone(moment: datetime | None, clinic: Clinic) -> str:
    """Return a time as the clinic's clock shows it, with the zone's name."""
    return f"{moment.astimezone(clinic.zone):%a %Y-%m-%d %H:%M %Z}" if moment else ""


class PracticeAdmin(SealedSearch, ClinicScopedAdmin):
    """Rows about the practice: who reviews calls may read them."""

    patient_data = True
    reviewer_may = frozenset({"view"})
    list_select_related: Any = ("clinic",)


@admin.register(Patient)
class PatientAdmin(PracticeAdmin):
    list_display = ("reference", "first_name", "last_name", "date_of_birth", "phone", "clinic")
    list_filter = (BY_CLINIC, "source")
    search_fields = ("first_name", "last_name", "phone", "phone_digits")
    fields = ("clinic", "first_name", "last_name", "date_of_birth", "phone", "email", "notes")

    @admin.display(description=_("reference"), ordering="pk")
    def reference(self, patient: Patient) -> str:
        return patient.reference


class ScheduleInline(ScopedInline):
    model = ProviderSchedule
    clinic_path = "provider__clinic"
    fields = (("weekday", "on_date"), ("starts", "ends"), "operatory")
    verbose_name_plural = _("working hours: rows of one date replace that weekday's")


@admin.register(Provider)
class ProviderAdmin(PracticeAdmin):
    list_display = ("name", "spoken_as", "active", "clinic")
    list_filter = (BY_CLINIC, "active")
    search_fields = ("name", "spoken_as")
    inlines = (ScheduleInline,)


@admin.register(Operatory)
class OperatoryAdmin(PracticeAdmin):
    list_display = ("name", "active", "clinic")
    list_filter = (BY_CLINIC, "active")
    search_fields = ("name",)


@admin.register(VisitType)
class VisitTypeAdmin(PracticeAdmin):
    list_display = ("name", "spoken_as", "minutes", "buffer_minutes", "active", "clinic")
    list_filter = (BY_CLINIC, "active")
    search_fields = ("name", "keywords")
    fields = (
        "clinic", "name", "spoken_as", "keywords", "minutes", "buffer_minutes", "providers", "operatories", "active",
    )  # fmt: skip

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        kwargs["widget"] = UnfoldAdminCheckboxSelectMultipleWidget
        field = super().formfield_for_manytomany(db_field, request, **kwargs)
        field.help_text = _("Nobody may be booked for it until at least one is ticked.")
        return field


class ClosureForm(ClinicScopedForm):
    local_times = ("starts", "ends")


@admin.register(Closure)
class ClosureAdmin(PracticeAdmin):
    form = ClosureForm
    list_display = ("closure_starts", "closure_ends", "of_whom", "reason", "clinic")
    list_filter = (BY_CLINIC, ("provider", ScopedRelatedFilter))
    list_select_related = ("clinic", "provider", "operatory")
    search_fields = ("reason",)
    fields = ("clinic", "starts", "ends", "provider", "operatory", "reason")

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if db_field.name in ("starts", "ends"):
            field.help_text = _("By the clinic's own clock.")
        if db_field.name in ("provider", "operatory"):
            field.help_text = _("Leave both empty when the whole clinic is closed.")
        return field

    @admin.display(description=_("from"), ordering="starts")
    def closure_starts(self, closure: Closure) -> str:
        return in_zone(closure.starts, closure.clinic)

    @admin.display(description=_("to"), ordering="ends")
    def closure_ends(self, closure: Closure) -> str:
        return in_zone(closure.ends, closure.clinic)

    @admin.display(description=_("of"))
    def of_whom(self, closure: Closure) -> str:
        return str(closure.provider or closure.operatory or _("the whole clinic"))


class ChangeInline(ReadOnly, ScopedInline):
    model = AppointmentChange
    fk_name = "appointment"
    clinic_path = "appointment__clinic"
    fields = readonly_fields = ("kind", "when", "moved_from", "moved_to", "done_by", "user", "call_id")
    verbose_name_plural = _("what was done to it")

    @admin.display(description=_("when"))
    def when(self, change: AppointmentChange) -> str:
        return in_zone(change.at, change.appointment.clinic)

    @admin.display(description=_("from"))
    def moved_from(self, change: AppointmentChange) -> str:
        return in_zone(change.from_starts, change.appointment.clinic)

    @admin.display(description=_("to"))
    def moved_to(self, change: AppointmentChange) -> str:
        return in_zone(change.to_starts, change.appointment.clinic)


@admin.register(Appointment)
class AppointmentAdmin(ReadOnly, PracticeAdmin):
    list_display = ("reference", "when", "visit_type", "provider", "operatory", "patient_name", "status", "clinic")
    list_filter = (BY_CLINIC, "status", ("provider", ScopedRelatedFilter), "booked_by")
    list_select_related = ("clinic", "provider", "operatory", "visit_type", "patient")
    search_fields = ("patient__first_name", "patient__last_name", "patient__phone_digits")
    fields = readonly_fields = (
        "reference", "clinic", "patient", "patient_name", "when", "until", "visit_type", "provider", "operatory",
        "status", "booked_by", "booked_by_user", "booked_by_call",
    )  # fmt: skip
    inlines = (ChangeInline,)

    @admin.display(description=_("reference"), ordering="pk")
    def reference(self, appointment: Appointment) -> str:
        return appointment.reference

    @admin.display(description=_("starts"), ordering="starts")
    def when(self, appointment: Appointment) -> str:
        return in_zone(appointment.starts, appointment.clinic)

    @admin.display(description=_("ends"), ordering="ends")
    def until(self, appointment: Appointment) -> str:
        return in_zone(appointment.ends, appointment.clinic)

    @admin.display(description=_("name"))
    def patient_name(self, appointment: Appointment) -> str:
        return appointment.patient.full_name


@admin.register(Task)
class TaskAdmin(PracticeAdmin):
    """What callers left: made by calls, worked on here and on the tasks page."""

    reviewer_may = frozenset({"view", "change"})
    list_display = ("reference", "kind", "priority", "status", "caller_name", "phone", "left_at", "clinic")
    list_filter = (BY_CLINIC, "status", "kind", "priority")
    search_fields = ("caller_name", "phone", "text")
    also_saved = {"status": ("done_by", "done_at")}
    fields = (
        "reference", "clinic", "kind", "priority", "caller_name", "phone", "text", "patient", "left_at", "status",
        "done_by", "finished_at",
    )  # fmt: skip
    readonly_fields = (
        "reference", "kind", "priority", "caller_name", "phone", "text", "patient", "left_at", "done_by", "finished_at",
    )  # fmt: skip

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if "status" in form.changed_data:
            done = obj.status == Task.Status.DONE
            obj.done_by, obj.done_at = (request.user, timezone.now()) if done else (None, None)
        super().save_model(request, obj, form, change)

    @admin.display(description=_("reference"), ordering="pk")
    def reference(self, task: Task) -> str:
        return task.reference

    @admin.display(description=_("left at"), ordering="created_at")
    def left_at(self, task: Task) -> str:
        return in_zone(task.created_at, task.clinic)

    @admin.display(description=_("done at"))
    def finished_at(self, task: Task) -> str:
        return in_zone(task.done_at, task.clinic)
