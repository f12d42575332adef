"""How many calls a clinic may have at once, and how many one address may begin: rows taken by conditional UPDATE."""

from __future__ import annotations

from django.db import models

from agents_app.data_classes import DataClass
from agents_app.models import Clinic


class Place(models.Model):
    """Place `n` of a clinic. Taken while its lease runs; a holder that dies gives it back by saying nothing."""

    data_classes = {DataClass.PUBLIC: "id clinic n call_id lease_until"}

    clinic = models.ForeignKey(Clinic, on_delete=models.CASCADE, related_name="+")
    n = models.PositiveSmallIntegerField()
    call_id = models.UUIDField(null=True)
    lease_until = models.DateTimeField(null=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("clinic", "n"), name="place_once_a_clinic"),)

    def __str__(self) -> str:
        return f"{self.clinic_id}:{self.n}"


class StartCount(models.Model):
    """How many calls an address has begun with a clinic in one hour. The address is kept as a keyed digest."""

    data_classes = {DataClass.PUBLIC: "id clinic hour starts", DataClass.PERSONAL: "address_digest"}

    clinic = models.ForeignKey(Clinic, on_delete=models.CASCADE, related_name="+")
    address_digest = models.CharField(max_length=64)
    hour = models.DateTimeField(db_index=True)
    starts = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("clinic", "address_digest", "hour"), name="start_count_once_an_hour"),
        )

    def __str__(self) -> str:
        return f"{self.clinic_id} {self.hour:%Y-%m-%dT%H}"
