"""The form below every page of a clinic's rows: what it points at must be of the same clinic, and times are its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from django import forms
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext as _

from agents_app.models import Clinic


def clinic_id_of(row: models.Model, clinic_path: str) -> int | None:
    """Return the id of the clinic at the end of `clinic_path`, such as "provider__clinic", or None when unset."""
    *steps, last = clinic_path.split("__")
    for step in steps:
        row = getattr(row, step, None)  # type: ignore[assignment]  # None ends the walk below
        if row is None:
            return None
    found: int | None = row.pk if last == "pk" else getattr(row, f"{last}_id")
    return found


class ClinicScopedForm(forms.ModelForm[Any]):
    """Set by the page: `clinic_path` to the clinic of a row, `clinic_path_of` the path of another model, if it has one.

    `local_times` names the date-and-time fields that are entered and shown in the clinic's own zone.
    """

    clinic_path: ClassVar[str] = "clinic"
    clinic_path_of: ClassVar[Callable[[type[models.Model]], str | None]]
    local_times: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limit_to_the_rows_clinic()
        zone = self._zone()
        for name in self.local_times:
            moment = getattr(self.instance, name, None)
            if moment is not None and zone is not None:
                # Without its zone, so that the widget shows it as it is instead of in UTC.
                self.initial[name] = moment.astimezone(zone).replace(tzinfo=None)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        zone = self._zone(cleaned.get("clinic"))
        for name in self.local_times:
            if isinstance(cleaned.get(name), datetime) and zone is not None:
                self._localise(cleaned, name, zone)
        return cleaned

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # Django's own, absent from its stubs
        mine = clinic_id_of(self.instance, self.clinic_path)
        for name, row in self._rows_pointed_at():
            path = type(self).clinic_path_of(type(row))
            if mine is not None and path not in (None, "pk") and clinic_id_of(row, path or "") != mine:
                self.add_error(name, _("Choose one of the same clinic."))

    def _limit_to_the_rows_clinic(self) -> None:
        """Of a row that stands, the clinic is fixed: who belongs to two is not offered the other one's."""
        mine = clinic_id_of(self.instance, self.clinic_path) if self.instance.pk else None
        for field in self.fields.values():
            if mine is not None and isinstance(field, forms.ModelChoiceField) and field.queryset is not None:
                path = type(self).clinic_path_of(field.queryset.model)
                if path not in (None, "pk"):
                    field.queryset = field.queryset.filter(**{path: mine})

    def _rows_pointed_at(self) -> Iterator[tuple[str, models.Model]]:
        for name, value in list(self.cleaned_data.items()):  # an error takes its value out
            if isinstance(value, models.Model):
                yield name, value
            elif isinstance(value, models.QuerySet):
                yield from ((name, row) for row in value)

    def _zone(self, clinic: Clinic | None = None) -> ZoneInfo | None:
        if clinic is None:
            pk = clinic_id_of(self.instance, self.clinic_path)
            clinic = Clinic.objects.filter(pk=pk).first() if pk is not None else None
        return clinic.zone if clinic is not None else None

    def _localise(self, cleaned: dict[str, Any], name: str, zone: ZoneInfo) -> None:
        local = cleaned[name].replace(tzinfo=zone)
        if local.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != local.replace(tzinfo=None):
            self.add_error(name, ValidationError(_("The clocks skip this time on that day.")))
        else:
            cleaned[name] = local.astimezone(UTC)
