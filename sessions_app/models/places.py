"""How many calls a clinic may have at once: as a whole, by one receptionist, and from one address or network.

A place is a row while its call lives. The lock on the clinic's row decides: rows are counted and added under it, so
all of the bounds hold at once, on each database, with nothing kept anywhere else.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db import models, transaction
from django.db.models.functions import Now

from agents_app.data_classes import DataClass
from agents_app.models import Agent, Clinic
from sessions_app.addresses import AddressDigests
from sessions_app.models.calls import CallSession, lease

NO_ADDRESS = AddressDigests()


class PlaceQuerySet(models.QuerySet["Place"]):
    def any_free(self, agent: Agent, caller: AddressDigests = NO_ADDRESS) -> bool:
        """Whether a call to `agent` could begin now. It takes nothing, and another may be faster."""
        clinic = agent.clinic
        held = list(
            # A row for each call of the clinic's: to count them here costs less than to say in SQL what is counted.
            self.filter(clinic=clinic, lease_until__gt=Now()).values_list(
                "agent_id", "address_digest", "network_digest"
            )
        )
        return (
            len(held) < clinic.max_concurrent_calls
            and (agent.max_concurrent_calls is None or _count(held, 0, agent.pk) < agent.max_concurrent_calls)
            and (not caller.address or _count(held, 1, caller.address) < clinic.max_calls_per_address)
            and (not caller.network or _count(held, 2, caller.network) < clinic.max_calls_per_network)
        )

    def take(self, agent: Agent, call_id: UUID, caller: AddressDigests = NO_ADDRESS) -> bool:
        """Take a place for the call, or return False when any of the bounds is reached. Exact, whoever else takes."""
        with transaction.atomic():
            # Rows that name the clinic may be added meanwhile. SQLite has one writer at a time anyway.
            Clinic.objects.select_for_update(no_key=True).only("pk").get(pk=agent.clinic_id)
            if not self.any_free(agent, caller):
                return False
            self.filter(clinic=agent.clinic, lease_until__lte=Now()).delete()
            self.create(
                call_id=call_id,
                clinic=agent.clinic,
                agent=agent,
                address_digest=caller.address,
                network_digest=caller.network,
                lease_until=lease(),
            )
        return True

    def renew(self, call_ids: Iterable[UUID]) -> int:
        return self.filter(call_id__in=call_ids).update(lease_until=lease())

    def restore(self, call_ids: Iterable[UUID]) -> list[UUID]:
        """Give calls that go on their places again, also beyond the bounds: they are there. Return which had none.

        A place whose lease ran out goes to the next who asks. The address of a call is known nowhere else, so it
        counts for its clinic and its receptionist alone.
        """
        calls = CallSession.objects.filter(pk__in=call_ids).exclude(state=CallSession.State.ENDED)
        without = calls.exclude(pk__in=self.values("call_id")).values_list("pk", "clinic_id", "version__agent_id")
        rows = [self.model(call_id=pk, clinic_id=c, agent_id=a, lease_until=lease()) for pk, c, a in without]
        self.bulk_create(rows, ignore_conflicts=True)
        return [row.call_id for row in rows]

    def release(self, call_id: UUID) -> int:
        return self.filter(call_id=call_id).delete()[0]


def _count(rows: list[tuple[Any, ...]], column: int, value: object) -> int:
    return sum(row[column] == value for row in rows)


class Place(models.Model):
    """The place of one call. A holder that dies gives it back by saying nothing."""

    data_classes = {
        DataClass.PUBLIC: "id clinic agent call_id lease_until",
        DataClass.PERSONAL: "address_digest network_digest",
    }

    clinic = models.ForeignKey(Clinic, on_delete=models.CASCADE, related_name="+")
    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="+")
    call_id = models.UUIDField(unique=True)
    address_digest = models.CharField(max_length=64, blank=True)
    network_digest = models.CharField(max_length=64, blank=True)
    lease_until = models.DateTimeField()

    objects = PlaceQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.call_id}"


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
