"""Form fields of the admin that differ from unfold's: the browser's own date and time inputs, which carry a label."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db import models
from unfold.widgets import INPUT_CLASSES

CSS = " ".join(INPUT_CLASSES)


class DateInput(forms.DateInput):
    input_type = "date"

    def __init__(self) -> None:
        super().__init__(attrs={"class": CSS}, format="%Y-%m-%d")


class TimeInput(forms.TimeInput):
    input_type = "time"

    def __init__(self) -> None:
        super().__init__(attrs={"class": CSS}, format="%H:%M")


class DateTimeInput(forms.DateTimeInput):
    input_type = "datetime-local"

    def __init__(self) -> None:
        super().__init__(attrs={"class": CSS}, format="%Y-%m-%dT%H:%M")


# unfold's split inputs and their pop-ups have no labels of their own. Django 5 still warns that it assumes http.
FORMFIELD_OVERRIDES: dict[Any, dict[str, Any]] = {
    models.URLField: {"assume_scheme": "https"},
    models.DateField: {"widget": DateInput},
    models.TimeField: {"widget": TimeInput},
    models.DateTimeField: {"form_class": forms.DateTimeField, "widget": DateTimeInput},
}
