"""What is left for a person to do: messages, callbacks, things to look at."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from agents_app.data_classes import DataClass
from agents_app.models import Clinic
from agents_app.practice.models.people import Patient
from agents_app.practice.models.scope import ClinicScopedQuerySet

TASK_TEXT_CHARS = 1000


class Task(models.Model):
    """It names its call by UUID: the practice knows nothing of calls."""

    data_classes = {
        DataClass.PUBLIC: "id clinic kind priority call_id status done_by done_at created_at",
        DataClass.PERSONAL: "caller_name phone",
        DataClass.HEALTH: "text patient",
    }

    class Kind(models.TextChoices):
        MESSAGE = "message", _("Message")
        CALLBACK = "callback", _("Callback")
        CHECK = "check", _("To check")
        ALERT = "alert", _("Alert")  # about the service itself, not about a caller

    class Priority(models.TextChoices):
        NORMAL = "normal", _("Normal")
        URGENT = "urgent", _("Urgent")

    class Status(models.TextChoices):
        OPEN = "open", _("Open")
        DONE = "done", _("Done")

    clinic = models.ForeignKey(Clinic, on_delete=models.CASCADE, related_name="tasks", verbose_name=_("clinic"))
    kind = models.CharField(_("kind"), max_length=10, choices=Kind.choices)
    priority = models.CharField(_("priority"), max_length=10, choices=Priority.choices, default=Priority.NORMAL)
    caller_name = models.CharField(_("caller"), max_length=160, blank=True)
    phone = models.CharField(_("phone"), max_length=40, blank=True)
    text = models.TextField(_("text"), max_length=TASK_TEXT_CHARS)
    patient = models.ForeignKey(
        Patient, on_delete=models.SET_NULL, null=True, blank=True, related_name="tasks", verbose_name=_("patient")
    )
    call_id = models.UUIDField(_("call"), null=True, blank=True, editable=False, db_index=True)
    status = models.CharField(_("status"), max_length=10, choices=Status.choices, default=Status.OPEN)
    done_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
        verbose_name=_("done by"),
    )
    done_at = models.DateTimeField(_("done at"), null=True, blank=True, editable=False)
    created_at = models.DateTimeField(_("left at"), auto_now_add=True)

    objects = ClinicScopedQuerySet.as_manager()

    class Meta:
        verbose_name = _("task")
        verbose_name_plural = _("tasks")
        ordering = ("-created_at", "-pk")
        indexes = (models.Index(fields=("clinic", "status", "-created_at"), name="task_by_status"),)

    def __str__(self) -> str:
        return self.reference

    @property
    def reference(self) -> str:
        return f"T-{self.pk or 0:06d}"
