"""How many calls a clinic may have at once, and how many one address may begin: rows taken by conditional UPDATE."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from agents_app.data_classes import DataClass
from agents_app.models import Clinic

LEASE_SECONDS = 30


class PlaceQuerySet(models.QuerySet["Place"]):
    def free(self, clinic: Clinic) -> models.QuerySet[Place]:
        """Return the places of `clinic` that nobody holds, by the database's clock."""
        open_to_all = Q(lease_until=None) | Q(lease_until__lt=Now())
        return self.filter(open_to_all, clinic=clinic, n__lt=clinic.max_concurrent_calls)

    def any_free(self, clinic: Clinic) -> bool:
        self._make(clinic)
        return self.free(clinic).exists()

    def take(self, clinic: Clinic, call_id: UUID) -> bool:
        """Take a place for the call, or return False when all are taken. Each place has one taker."""
        self._make(clinic)
        for n in self.free(clinic).values_list("n", flat=True):
            taken = self.free(clinic).filter(n=n).update(call_id=call_id, lease_until=_lease())
            if taken:
                return True
        return False

    def renew(self, call_ids: Iterable[UUID]) -> int:
        return self.filter(call_id__in=call_ids).update(lease_until=_lease())

    def release(self, call_id: UUID) -> int:
        return self.filter(call_id=call_id).update(call_id=None, lease_until=None)

    def _make(self, clinic: Clinic) -> None:
        missing = clinic.max_concurrent_calls - self.filter(clinic=clinic).count()
        if missing > 0:
            rows = [Place(clinic=clinic, n=n) for n in range(clinic.max_concurrent_calls)]
            self.bulk_create(rows, ignore_conflicts=True)


def _lease() -> models.Expression:
    return Now() + timedelta(seconds=LEASE_SECONDS)


class Place(models.Model):
    """Place `n` of a clinic. Taken while its lease runs; a holder that dies gives it back by saying nothing."""

    data_classes = {DataClass.PUBLIC: "id clinic n call_id lease_until"}

    clinic = models.ForeignKey(Clinic, on_delete=models.CASCADE, related_name="+")
    n = models.PositiveSmallIntegerField()
    call_id = models.UUIDField(null=True, db_index=True)
    lease_until = models.DateTimeField(null=True)

    objects = PlaceQuerySet.as_manager()

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
