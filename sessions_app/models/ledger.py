"""What calls cost, as it is known and as it is promised: a row for each call, and the sums of each day and month.

All in whole millionths of a US dollar. Only `sessions_app.ledger` writes these rows.
"""

from __future__ import annotations

import datetime as dt
from typing import Self

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from agents_app.data_classes import DataClass
from agents_app.models import Clinic


class LedgerEntry(models.Model):
    """What one call has cost so far, and what is kept back for the rest of it.

    It counts in the day, and the month, on which the call began in the clinic's own zone, also past midnight.
    """

    data_classes = {
        DataClass.PUBLIC: "id call_id clinic day estimate_microusd reserved_microusd spent_microusd settled opened_at"
    }

    call_id = models.UUIDField(unique=True)
    clinic = models.ForeignKey(Clinic, on_delete=models.CASCADE, related_name="+")
    day = models.DateField()
    estimate_microusd = models.PositiveBigIntegerField()  # what is kept back again whenever some of it was spent
    reserved_microusd = models.PositiveBigIntegerField()
    spent_microusd = models.PositiveBigIntegerField(default=0)
    settled = models.BooleanField(default=False)  # the call is over: nothing is reserved any more
    opened_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = (models.Index(fields=("opened_at",), condition=Q(settled=False), name="ledger_entry_open"),)

    def __str__(self) -> str:
        return f"{self.call_id}"


class LedgerPeriodQuerySet(models.QuerySet["LedgerPeriod"]):
    def of(self, clinic: Clinic, day: dt.date) -> Self:
        """Return the four sums in which a call of `clinic` on `day` counts."""
        that = Q(kind=LedgerPeriod.Kind.DAY, begins=day) | Q(kind=LedgerPeriod.Kind.MONTH, begins=day.replace(day=1))
        return self.filter(that, Q(clinic=clinic) | Q(clinic=None))

    def make(self, clinic: Clinic, day: dt.date) -> None:
        """Make those that are not there yet."""
        kinds = {LedgerPeriod.Kind.DAY: day, LedgerPeriod.Kind.MONTH: day.replace(day=1)}
        rows = [
            LedgerPeriod(clinic=whose, kind=kind, begins=begins)
            for whose in (clinic, None)
            for kind, begins in kinds.items()
        ]
        self.bulk_create(rows, ignore_conflicts=True)


class LedgerPeriod(models.Model):
    """What the calls of one day or month cost: of a clinic, or, without one, of all the clinics of the installation.

    The installation's day is the sum of its clinics' days, each in its own zone.
    """

    data_classes = {
        DataClass.PUBLIC: "id clinic kind begins spent_microusd reserved_microusd warned_at refused_at",
    }

    class Kind(models.TextChoices):
        DAY = "day", _("day")
        MONTH = "month", _("month")

    clinic = models.ForeignKey(
        Clinic, on_delete=models.CASCADE, null=True, related_name="ledger_periods", verbose_name=_("clinic")
    )
    kind = models.CharField(_("period"), max_length=5, choices=Kind.choices)
    begins = models.DateField(_("begins"))
    spent_microusd = models.PositiveBigIntegerField(default=0)
    reserved_microusd = models.PositiveBigIntegerField(default=0)
    warned_at = models.DateTimeField(null=True)  # staff was told that most of the cap is spent
    refused_at = models.DateTimeField(null=True)  # staff was told that calls are refused

    objects = LedgerPeriodQuerySet.as_manager()

    class Meta:
        verbose_name = _("cost of calls")
        verbose_name_plural = _("costs of calls")
        ordering = ("-begins", "kind")
        constraints = (
            models.UniqueConstraint(
                fields=("clinic", "kind", "begins"), condition=Q(clinic__isnull=False), name="ledger_period_of_clinic"
            ),
            models.UniqueConstraint(
                fields=("kind", "begins"), condition=Q(clinic__isnull=True), name="ledger_period_of_installation"
            ),
        )

    def __str__(self) -> str:
        return f"{self.begins} {self.get_kind_display()}"
