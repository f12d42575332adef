"""What a model costs, by date: prices change, and a call keeps the price of its day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.core.validators import MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from agents_app.data_classes import DataClass

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise


class PriceQuerySet(models.QuerySet["Price"]):
    def on(self, day: dt.date, *, models: Iterable[str]) -> dict[str, Price]:
        """Return what each of the models cost on `day`, by its name; those that nobody has priced are left out."""
        return {
            price.model: price for price in self.filter(model__in=models, valid_from__lte=day).order_by("valid_from")
        }


def _dollars(label: StrPromise, **options: Any) -> models.DecimalField[Any, Decimal]:
    # The cost of a call is never less than nothing: the database refuses it, and with it the end of the call.
    return models.DecimalField(label, max_digits=9, decimal_places=4, validators=[MinValueValidator(0)], **options)


class Price(models.Model):
    """US dollars for a million tokens of each kind, or for a minute of sound, from a day on."""

    data_classes = {
        DataClass.PUBLIC: (
            "id model valid_from text_in text_cached text_out audio_in audio_cached audio_out audio_minute"
        )
    }

    model = models.CharField(_("model"), max_length=100)
    valid_from = models.DateField(_("valid from"))
    text_in = _dollars(_("text in"))
    text_cached = _dollars(_("text in, cached"))
    text_out = _dollars(_("text out"))
    audio_in = _dollars(_("audio in"))
    audio_cached = _dollars(_("audio in, cached"))
    audio_out = _dollars(_("audio out"))
    # Models that only transcribe are priced so, and not by tokens.
    audio_minute = _dollars(_("a minute of sound"), default=0)

    objects = PriceQuerySet.as_manager()

    class Meta:
        verbose_name = _("price")
        ordering = ("model", "-valid_from")
        constraints = (models.UniqueConstraint(fields=("model", "valid_from"), name="price_once_a_day"),)

    def __str__(self) -> str:
        return f"{self.model} {self.valid_from}"
