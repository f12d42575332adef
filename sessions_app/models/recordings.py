"""The sound of a call, where the clinic keeps it and the caller has agreed."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from agents_app.data_classes import DataClass
from sessions_app.models.calls import CallSession


class Recording(models.Model):
    """AAC in MP4, two channels on one time line: the caller left, the receptionist right."""

    data_classes = {
        DataClass.PUBLIC: "id session status file_name duration_ms size_bytes created_at error_code",
        DataClass.HEALTH: "peaks",
    }

    class Status(models.TextChoices):
        WAITING = "waiting", _("being prepared")
        READY = "ready", _("ready")
        FAILED = "failed", _("could not be prepared")

    session = models.OneToOneField(CallSession, on_delete=models.PROTECT, related_name="recording")
    status = models.CharField(max_length=7, choices=Status.choices, default=Status.WAITING)
    file_name = models.CharField(max_length=100, blank=True)  # below DATA_DIR/recordings; random, tells nothing
    duration_ms = models.PositiveBigIntegerField(null=True)
    size_bytes = models.PositiveBigIntegerField(null=True)
    peaks = models.JSONField(default=list)  # [[caller, agent], ...], ten a second, 0 to 100
    error_code = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = _("recording")

    def __str__(self) -> str:
        return f"{self.session_id}"
