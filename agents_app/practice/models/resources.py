"""What an appointment needs: somebody who does it, a room, a kind of visit, working hours, and no closure."""

from __future__ import annotations

from typing import Self

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from agents_app.data_classes import DataClass
from agents_app.models import Clinic, ClinicHours
from agents_app.practice.models.scope import ClinicScopedQuerySet
from agents_app.practice.slots import GRID_MIN


def validate_grid(minutes: int) -> None:
    if minutes % GRID_MIN:
        raise ValidationError(_("Enter a multiple of %(grid)s minutes."), params={"grid": GRID_MIN})


class Provider(models.Model):
    data_classes = {DataClass.PUBLIC: "id clinic name spoken_as active"}

    clinic = models.ForeignKey(Clinic, on_delete=models.CASCADE, related_name="providers", verbose_name=_("clinic"))
    name = models.CharField(_("name"), max_length=100)
    spoken_as = models.CharField(
        _("spoken as"), max_length=100, blank=True, help_text=_("How callers hear it: Dr. Adams. Empty: the name.")
    )
    active = models.BooleanField(_("takes appointments"), default=True)

    objects = ClinicScopedQuerySet.as_manager()

    class Meta:
        verbose_name = _("provider")
        verbose_name_plural = _("providers")
        ordering = ("name", "pk")
        constraints = (models.UniqueConstraint(fields=("clinic", "name"), name="provider_once"),)

    def __str__(self) -> str:
        return self.name

    @property
    def said(self) -> str:
        return self.spoken_as or self.name


class Operatory(models.Model):
    """A treatment room."""

    data_classes = {DataClass.PUBLIC: "id clinic name active"}

    clinic = models.ForeignKey(Clinic, on_delete=models.CASCADE, related_name="operatories", verbose_name=_("clinic"))
    name = models.CharField(_("name"), max_length=100)
    active = models.BooleanField(_("in use"), default=True)

    objects = ClinicScopedQuerySet.as_manager()

    class Meta:
        verbose_name = _("room")
        verbose_name_plural = _("rooms")
        ordering = ("name", "pk")
        constraints = (models.UniqueConstraint(fields=("clinic", "name"), name="operatory_once"),)

    def __str__(self) -> str:
        return self.name


class VisitType(models.Model):
    """What may be booked. Nobody may do it until its providers and rooms are named: there is no default."""

    data_classes = {
        DataClass.PUBLIC: "id clinic name spoken_as keywords minutes buffer_minutes providers operatories active"
    }

    clinic = models.ForeignKey(Clinic, on_delete=models.CASCADE, related_name="visit_types", verbose_name=_("clinic"))
    name = models.CharField(_("name"), max_length=100)
    spoken_as = models.CharField(
        _("spoken as"), max_length=100, blank=True, help_text=_('With its article: "a cleaning". Empty: the name.')
    )
    keywords = models.CharField(
        _("callers also say"),
        max_length=300,
        blank=True,
        help_text=_("Other words for it, parted by commas: scale and polish, hygiene visit."),
    )
    minutes = models.PositiveSmallIntegerField(
        _("minutes"), validators=[MinValueValidator(GRID_MIN), MaxValueValidator(480), validate_grid]
    )
    buffer_minutes = models.PositiveSmallIntegerField(
        _("buffer, minutes"),
        default=0,
        validators=[MaxValueValidator(120), validate_grid],
        help_text=_("Room and provider stay taken this long after the visit."),
    )
    providers = models.ManyToManyField(Provider, related_name="visit_types", blank=True, verbose_name=_("providers"))
    operatories = models.ManyToManyField(Operatory, related_name="visit_types", blank=True, verbose_name=_("rooms"))
    active = models.BooleanField(_("may be booked"), default=True)

    objects = ClinicScopedQuerySet.as_manager()

    class Meta:
        verbose_name = _("visit type")
        verbose_name_plural = _("visit types")
        ordering = ("name", "pk")
        constraints = (models.UniqueConstraint(fields=("clinic", "name"), name="visit_type_once"),)

    def __str__(self) -> str:
        return self.name

    @property
    def said(self) -> str:
        return self.spoken_as or self.name.lower()

    @property
    def phrases(self) -> tuple[str, ...]:
        """The words that callers may use for it: its name first."""
        others = (word.strip() for word in self.keywords.split(","))
        return (self.name, *(word for word in others if word))


class ProviderScheduleQuerySet(models.QuerySet["ProviderSchedule"]):
    def visible_to(self, user: AbstractBaseUser | AnonymousUser) -> Self:
        return self.filter(provider__clinic__in=Clinic.objects.visible_to(user))


class ProviderSchedule(models.Model):
    """When a provider works: on a weekday, or on one date, whose rows then replace that weekday's."""

    data_classes = {DataClass.PUBLIC: "id provider weekday on_date starts ends operatory"}

    provider = models.ForeignKey(
        Provider, on_delete=models.CASCADE, related_name="schedules", verbose_name=_("provider")
    )
    weekday = models.PositiveSmallIntegerField(_("day"), choices=ClinicHours.Weekday.choices, null=True, blank=True)
    on_date = models.DateField(_("or one date"), null=True, blank=True)
    starts = models.TimeField(_("from"))
    ends = models.TimeField(_("to"))
    operatory = models.ForeignKey(
        Operatory,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("room"),
        help_text=_("Empty: any room that suits the visit."),
    )

    objects = ProviderScheduleQuerySet.as_manager()

    class Meta:
        verbose_name = _("working hours")
        verbose_name_plural = _("working hours")
        ordering = ("weekday", "on_date", "starts")
        constraints = (
            models.CheckConstraint(
                condition=Q(weekday__isnull=True) ^ Q(on_date__isnull=True),
                name="schedule_of_weekday_or_date",
                violation_error_message=_("Choose a day of the week or one date, not both."),
            ),
            models.CheckConstraint(
                condition=Q(ends__gt=F("starts")),
                name="schedule_ends_after_start",
                violation_error_message=_("The end must be later than the start."),
            ),
        )

    def __str__(self) -> str:
        day = self.on_date.isoformat() if self.on_date else self.get_weekday_display()
        return f"{day} {self.starts:%H:%M}-{self.ends:%H:%M}"


class Closure(models.Model):
    """Time in which nothing is booked: of the whole clinic, or of one provider, or of one room."""

    data_classes = {DataClass.PUBLIC: "id clinic provider operatory starts ends", DataClass.PERSONAL: "reason"}

    clinic = models.ForeignKey(Clinic, on_delete=models.CASCADE, related_name="closures", verbose_name=_("clinic"))
    provider = models.ForeignKey(
        Provider, on_delete=models.CASCADE, null=True, blank=True, related_name="closures", verbose_name=_("provider")
    )
    operatory = models.ForeignKey(
        Operatory, on_delete=models.CASCADE, null=True, blank=True, related_name="closures", verbose_name=_("room")
    )
    starts = models.DateTimeField(_("from"))
    ends = models.DateTimeField(_("to"))
    reason = models.CharField(
        _("reason"),
        max_length=100,
        blank=True,
        help_text=_("Callers hear it when the whole clinic is closed: Thanksgiving. Never for a provider or a room."),
    )

    objects = ClinicScopedQuerySet.as_manager()

    class Meta:
        verbose_name = _("closure")
        verbose_name_plural = _("closures")
        ordering = ("starts", "pk")
        indexes = (models.Index(fields=("clinic", "ends"), name="closure_by_end"),)
        constraints = (
            models.CheckConstraint(
                condition=Q(ends__gt=F("starts")),
                name="closure_ends_after_start",
                violation_error_message=_("The end must be later than the start."),
            ),
        )

    def __str__(self) -> str:
        return f"{_('Closure')} {self.pk or 0}"
