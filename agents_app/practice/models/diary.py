"""Appointments, the time they hold, and what was done to them.

No double booking is a rule of the database: one claim for each five minutes and resource, unique. Claims follow the
appointment whenever it is saved, whoever saves it; `QuerySet.update` on its times would leave them behind.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from agents_app.data_classes import DataClass
from agents_app.models import Clinic
from agents_app.practice.models.people import Patient
from agents_app.practice.models.resources import Operatory, Provider, VisitType
from agents_app.practice.models.scope import ClinicScopedQuerySet
from agents_app.practice.slots import grid_steps, on_grid


class DoneBy(models.TextChoices):
    CALL = "call", _("A call")
    STAFF = "staff", _("Staff")
    DEMO = "demo", _("The demo")


class AppointmentQuerySet(ClinicScopedQuerySet["Appointment"]):
    def holding(self) -> AppointmentQuerySet:
        """Return those whose time nobody else may have."""
        return self.exclude(status=Appointment.Status.CANCELLED)

    def upcoming(self, now: datetime) -> AppointmentQuerySet:
        """Return those still to come, the next one first."""
        awaited = (Appointment.Status.SCHEDULED, Appointment.Status.CONFIRMED)
        return self.filter(status__in=awaited, starts__gt=now).order_by("starts", "pk")


class Appointment(models.Model):
    data_classes = {
        DataClass.PUBLIC: "id clinic provider operatory booked_by booked_by_call booked_by_user created_at updated_at",
        DataClass.HEALTH: "patient visit_type starts ends held_until status",
    }

    class Status(models.TextChoices):
        SCHEDULED = "scheduled", _("Scheduled")
        CONFIRMED = "confirmed", _("Confirmed")
        COMPLETED = "completed", _("Completed")
        CANCELLED = "cancelled", _("Cancelled")

    clinic = models.ForeignKey(Clinic, on_delete=models.CASCADE, related_name="appointments", verbose_name=_("clinic"))
    patient = models.ForeignKey(
        Patient, on_delete=models.RESTRICT, related_name="appointments", verbose_name=_("patient")
    )
    provider = models.ForeignKey(
        Provider, on_delete=models.RESTRICT, related_name="appointments", verbose_name=_("provider")
    )
    operatory = models.ForeignKey(
        Operatory, on_delete=models.RESTRICT, related_name="appointments", verbose_name=_("room")
    )
    visit_type = models.ForeignKey(
        VisitType, on_delete=models.RESTRICT, related_name="appointments", verbose_name=_("visit type")
    )
    starts = models.DateTimeField(_("starts"))
    ends = models.DateTimeField(_("ends"))
    held_until = models.DateTimeField(
        _("held until"),
        editable=False,
        help_text=_("The end with the buffer: room and provider are taken until then."),
    )
    status = models.CharField(_("status"), max_length=10, choices=Status.choices, default=Status.SCHEDULED)
    booked_by = models.CharField(_("booked by"), max_length=10, choices=DoneBy.choices, default=DoneBy.STAFF)
    booked_by_call = models.UUIDField(_("booked in call"), null=True, blank=True, editable=False)
    booked_by_user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, editable=False, related_name="+"
    )
    created_at = models.DateTimeField(_("made"), auto_now_add=True)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    objects = AppointmentQuerySet.as_manager()

    class Meta:
        verbose_name = _("appointment")
        verbose_name_plural = _("appointments")
        ordering = ("starts", "pk")
        indexes = (
            models.Index(fields=("clinic", "starts"), name="appointment_by_start"),
            models.Index(fields=("clinic", "held_until"), name="appointment_by_end"),
            models.Index(fields=("patient", "starts"), name="appointment_of_patient"),
            models.Index(fields=("booked_by_call",), name="appointment_by_call"),
        )
        constraints = (
            models.CheckConstraint(condition=Q(ends__gt=F("starts")), name="appointment_ends_after_start"),
            models.CheckConstraint(condition=Q(held_until__gte=F("ends")), name="appointment_held_to_its_end"),
        )

    def __str__(self) -> str:
        return self.reference

    @property
    def reference(self) -> str:
        return f"A-{self.pk or 0:06d}"

    def clean(self) -> None:
        """Refuse, in a form, times off the grid, rows of another clinic, and time that somebody else holds."""
        if self.starts is None or self.ends is None:
            return
        if not on_grid(self.starts) or not on_grid(self.ends):
            raise ValidationError(_("Appointments begin and end at a multiple of five minutes."))
        mine = (getattr(self, name, None) for name in ("patient", "provider", "operatory", "visit_type"))
        if any(row is not None and row.clinic_id != self.clinic_id for row in mine):
            raise ValidationError(_("Patient, provider, room and visit type must be of the same clinic."))
        self._settle_hold()
        if self.status != self.Status.CANCELLED and self._others_in_the_way().exists():
            raise ValidationError(_("The provider or the room is taken at this time."))

    def _others_in_the_way(self) -> AppointmentQuerySet:
        return (
            Appointment.objects.filter(clinic_id=self.clinic_id, starts__lt=self.held_until, held_until__gt=self.starts)
            .filter(Q(provider_id=self.provider_id) | Q(operatory_id=self.operatory_id))
            .holding()
            .exclude(pk=self.pk)
        )

    def save(self, *args: Any, update_fields: Iterable[str] | None = None, **kwargs: Any) -> None:
        """Save, and claim the time in the same transaction.

        Raises IntegrityError, with nothing changed, when another appointment holds any of it.
        """
        fields = None if update_fields is None else set(update_fields)
        if fields is None or fields & {"starts", "ends"}:
            self._settle_hold()
            fields = fields and fields | {"held_until"}
        with transaction.atomic():
            lock_diary(self.clinic_id)
            super().save(*args, update_fields=fields, **kwargs)
            if fields is None or fields & {"starts", "ends", "held_until", "provider", "operatory", "status"}:
                self._claim()

    def _settle_hold(self) -> None:
        """Give a new appointment its visit's buffer, and let the hold of one moved by hand move with it."""
        before = Appointment.objects.filter(pk=self.pk).values_list("ends", "held_until").first() if self.pk else None
        if self.held_until is None and self.visit_type_id is not None:
            self.held_until = self.ends + timedelta(minutes=self.visit_type.buffer_minutes)
        elif before is not None and self.ends != before[0] and self.held_until == before[1]:
            self.held_until = self.ends + (before[1] - before[0])
        self.held_until = max(self.held_until or self.ends, self.ends)

    def _claim(self) -> None:
        self.claims.all().delete()
        if self.status == self.Status.CANCELLED:
            return
        AppointmentClaim.objects.bulk_create(
            AppointmentClaim(appointment=self, at=at, **resource)
            for at in grid_steps(self.starts, self.held_until)
            for resource in ({"provider_id": self.provider_id}, {"operatory_id": self.operatory_id})
        )


def lock_diary(clinic_id: int) -> None:
    """Let one transaction at a time write to a clinic's diary. To be called inside a transaction.

    The claims alone would hold, but two moves that swap places would wait for each other. `no_key`: rows elsewhere
    that point at the clinic are not held up. SQLite has one writer anyway, and ignores it.
    """
    list(Clinic.objects.select_for_update(no_key=True).filter(pk=clinic_id).order_by().values_list("pk"))


class AppointmentClaim(models.Model):
    """Five minutes of one provider or one room, held by one appointment."""

    data_classes = {DataClass.PUBLIC: "id provider operatory at", DataClass.HEALTH: "appointment"}

    appointment = models.ForeignKey(Appointment, on_delete=models.CASCADE, related_name="claims")
    provider = models.ForeignKey(Provider, on_delete=models.RESTRICT, null=True, related_name="+")
    operatory = models.ForeignKey(Operatory, on_delete=models.RESTRICT, null=True, related_name="+")
    at = models.DateTimeField()

    class Meta:
        verbose_name = _("claim")
        constraints = (
            models.UniqueConstraint(fields=("provider", "at"), name="claim_once_a_provider"),
            models.UniqueConstraint(fields=("operatory", "at"), name="claim_once_an_operatory"),
            models.CheckConstraint(
                condition=Q(provider__isnull=True) ^ Q(operatory__isnull=True), name="claim_of_one_resource"
            ),
        )

    def __str__(self) -> str:
        return f"C-{self.pk or 0:06d}"


class AppointmentChange(models.Model):
    """What was done to an appointment, by whom: its history, only ever added to."""

    data_classes = {
        DataClass.PUBLIC: "id done_by call_id user at",
        DataClass.HEALTH: "appointment kind from_starts from_provider to_starts to_provider",
    }

    class Kind(models.TextChoices):
        BOOKED = "booked", _("Booked")
        MOVED = "moved", _("Moved")
        CANCELLED = "cancelled", _("Cancelled")
        CANCELLED_LATE = "cancelled_late", _("Cancelled within 24 hours")

    appointment = models.ForeignKey(Appointment, on_delete=models.CASCADE, related_name="changes")
    kind = models.CharField(_("what"), max_length=20, choices=Kind.choices)
    from_starts = models.DateTimeField(_("from"), null=True)
    from_provider = models.ForeignKey(Provider, on_delete=models.RESTRICT, null=True, related_name="+")
    to_starts = models.DateTimeField(_("to"), null=True)
    to_provider = models.ForeignKey(Provider, on_delete=models.RESTRICT, null=True, related_name="+")
    done_by = models.CharField(_("by"), max_length=10, choices=DoneBy.choices)
    call_id = models.UUIDField(_("call"), null=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    at = models.DateTimeField(_("when"), auto_now_add=True)

    class Meta:
        verbose_name = _("change of an appointment")
        verbose_name_plural = _("changes of an appointment")
        ordering = ("pk",)

    def __str__(self) -> str:
        return f"H-{self.pk or 0:06d}"
