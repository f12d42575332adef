"""Which slots a call was offered last, so that "the second one" has a meaning."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from agents_app.data_classes import DataClass
from agents_app.models import Clinic
from agents_app.practice.models.scope import ClinicScopedQuerySet


class SlotOffer(models.Model):
    """The slots last offered in a call, in the order in which they were said. It holds no time in the diary."""

    data_classes = {DataClass.PUBLIC: "id clinic call_id slot_ids at"}

    clinic = models.ForeignKey(Clinic, on_delete=models.CASCADE, related_name="+")
    call_id = models.UUIDField(unique=True)
    slot_ids = models.JSONField()
    at = models.DateTimeField(auto_now=True)

    objects = ClinicScopedQuerySet.as_manager()

    class Meta:
        verbose_name = _("offer")

    def __str__(self) -> str:
        return f"O-{self.pk or 0:06d}"
