"""Who is treated, and how often a call has tried to find out who somebody is."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from agents_app.data_classes import DataClass
from agents_app.models import Clinic
from agents_app.practice.models.scope import ClinicScopedQuerySet
from agents_app.practice.normal import name_key, phone_digits

KEYED_TOGETHER = (frozenset({"first_name", "last_name", "name_key"}), frozenset({"phone", "phone_digits"}))


class Patient(models.Model):
    """A patient. Named outside its own page by `reference` alone."""

    data_classes = {
        DataClass.PUBLIC: "id clinic source created_at",
        DataClass.PERSONAL: "first_name last_name name_key date_of_birth phone phone_digits email",
        DataClass.HEALTH: "notes",
    }

    class Source(models.TextChoices):
        CALL = "call", _("Registered in a call")
        STAFF = "staff", _("Entered by staff")
        DEMO = "demo", _("Fictitious, for the demo")
        IMPORT = "import", _("Imported")

    clinic = models.ForeignKey(Clinic, on_delete=models.CASCADE, related_name="patients", verbose_name=_("clinic"))
    first_name = models.CharField(_("first name"), max_length=80)
    last_name = models.CharField(_("last name"), max_length=80)
    name_key = models.CharField(max_length=160, editable=False)
    date_of_birth = models.DateField(_("date of birth"))
    phone = models.CharField(_("phone"), max_length=40, blank=True, help_text=_("As the patient writes it."))
    phone_digits = models.CharField(max_length=15, blank=True, editable=False)
    email = models.EmailField(_("email"), blank=True)
    notes = models.TextField(_("notes"), blank=True, max_length=2000, help_text=_("For staff; callers never hear it."))
    source = models.CharField(_("source"), max_length=10, choices=Source.choices, default=Source.STAFF, editable=False)
    created_at = models.DateTimeField(_("entered"), auto_now_add=True)

    objects = ClinicScopedQuerySet.as_manager()

    class Meta:
        verbose_name = _("patient")
        verbose_name_plural = _("patients")
        ordering = ("pk",)
        indexes = (models.Index(fields=("clinic", "phone_digits"), name="patient_by_phone"),)
        constraints = (
            # Also the index by name and by name with date of birth. A registration sent twice makes one row.
            models.UniqueConstraint(
                fields=("clinic", "name_key", "date_of_birth", "phone_digits"),
                name="patient_once",
                violation_error_message=_("This patient is registered already."),
            ),
        )

    def __str__(self) -> str:
        return self.reference

    @property
    def reference(self) -> str:
        return f"P-{self.pk or 0:06d}"

    @property
    def full_name(self) -> str:
        return f"{self.first_name} {self.last_name}".strip()

    def save(self, *args: Any, update_fields: Iterable[str] | None = None, **kwargs: Any) -> None:
        """Save, with the keys that lookups use made anew from what is written.

        A name is written whole, with its key, and a phone with its own; neither when something else is.
        """
        self._make_keys()
        if update_fields is not None:
            named = set(update_fields)
            update_fields = named.union(*(whole for whole in KEYED_TOGETHER if named & whole))
        super().save(*args, update_fields=update_fields, **kwargs)

    def validate_constraints(self, exclude: Collection[str] | None = None) -> None:
        """Find a patient who is registered already, by columns that no form holds: the keys, and a fixed clinic."""
        self._make_keys()
        super().validate_constraints(exclude=set(exclude or ()) - {"clinic", "name_key", "phone_digits"})

    def _make_keys(self) -> None:
        self.name_key = name_key(self.first_name, self.last_name)
        self.phone_digits = phone_digits(self.phone) or ""


class LookupAttempt(models.Model):
    """One attempt of a call to be recognised or registered: three that match nobody are enough."""

    data_classes = {DataClass.PUBLIC: "id clinic call_id purpose matched at"}

    class Purpose(models.TextChoices):
        FIND = "find", _("Find a patient")
        REGISTER = "register", _("Register a patient")

    clinic = models.ForeignKey(Clinic, on_delete=models.CASCADE, related_name="+")
    call_id = models.UUIDField()
    purpose = models.CharField(max_length=10, choices=Purpose.choices, default=Purpose.FIND)
    matched = models.BooleanField(default=False)
    at = models.DateTimeField(auto_now_add=True)

    objects = ClinicScopedQuerySet.as_manager()

    class Meta:
        verbose_name = _("lookup attempt")
        indexes = (models.Index(fields=("call_id", "purpose"), name="attempt_by_call"),)

    def __str__(self) -> str:
        return f"L-{self.pk or 0:06d}"
