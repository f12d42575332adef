"""What a model costs, by date: prices change, and a call keeps the price of its day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from django.db import models
from django.utils.translation import gettext_lazy as _

from agents_app.data_classes import DataClass


class PriceQuerySet(models.QuerySet["Price"]):
    def on(self, day: dt.date, *, models: Iterable[str]) -> dict[str, Price]:
        """Return what each of the models cost on `day`, by its name; those that nobody has priced are left out."""
        return {
            price.model: price for price in self.filter(model__in=models, valid_from__lte=day).order_by("valid_from")
        }


class Price(models.Model):
    """US dollars for a million tokens of each kind, or for a minute of sound, from a day on."""

    data_classes = {
        DataClass.PUBLIC: (
            "id model valid_from text_in text_cached text_out audio_in audio_cached audio_out audio_minute"
        )
    }

    model = models.CharField(_("model"), max_length=100)
    valid_from = models.DateField(_("valid from"))
    text_in = models.DecimalField(_("text in"), max_digits=9, decimal_places=4)
    text_cached = models.DecimalField(_("text in, cached"), max_digits=9, decimal_places=4)
    text_out = models.DecimalField(_("text out"), max_digits=9, decimal_places=4)
    audio_in = models.DecimalField(_("audio in"), max_digits=9, decimal_places=4)
    audio_cached = models.DecimalField(_("audio in, cached"), max_digits=9, decimal_places=4)
    audio_out = models.DecimalField(_("audio out"), max_digits=9, decimal_places=4)
    # Models that only transcribe are priced so, and not by tokens.
    audio_minute = models.DecimalField(_("a minute of sound"), max_digits=9, decimal_places=4, default=0)

    objects = PriceQuerySet.as_manager()

    class Meta:
        verbose_name = _("price")
        ordering = ("model", "-valid_from")
        constraints = (models.UniqueConstraint(fields=("model", "valid_from"), name="price_once_a_day"),)

    def __str__(self) -> str:
        return f"{self.model} {self.valid_from}"
