"""The clinic: its place, its hours, its limits, who belongs to it, and which sites and programs may call it."""

from __future__ import annotations

import hashlib
import secrets
import zoneinfo
from decimal import Decimal
from typing import Any, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from agents_app.data_classes import DataClass
from agents_app.models.services import KeyRefusal, VoiceService
from agents_app.sealing import seal, unseal

TOKEN_PREFIX = "fd_"


def digest(token: str) -> str:
    """Return what is kept of a token: its SHA-256, hexadecimal. Tokens are random, so no salt is needed."""
    return hashlib.sha256(token.encode()).hexdigest()


class ClinicGroup(models.Model):
    data_classes = {DataClass.PUBLIC: "id name"}

    name = models.CharField(_("name"), max_length=100, unique=True)

    class Meta:
        verbose_name = _("clinic group")

    def __str__(self) -> str:
        return self.name


class ClinicQuerySet(models.QuerySet["Clinic"]):
    def visible_to(self, user: AbstractBaseUser | AnonymousUser) -> Self:
        """Return the clinics that `user` belongs to, by itself or through a group: the only way in for staff."""
        return self._of(user, Membership.objects.all())

    def managed_by(self, user: AbstractBaseUser | AnonymousUser) -> Self:
        """Return the clinics whose receptionists `user` may change."""
        return self._of(user, Membership.objects.filter(role=Membership.Role.MANAGER))

    def _of(self, user: AbstractBaseUser | AnonymousUser, memberships: models.QuerySet[Membership]) -> Self:
        if not user.is_authenticated or not user.is_active:
            return self.none()
        mine = memberships.filter(user_id=user.pk)
        return self.filter(
            Q(pk__in=mine.filter(clinic__isnull=False).values("clinic"))
            | Q(group__in=mine.filter(group__isnull=False).values("group"))
        )


def validate_timezone(name: str) -> None:
    if name not in zoneinfo.available_timezones():
        raise ValidationError(_("%(name)s is not a time zone, such as America/New_York."), params={"name": name})


def normal_origin(text: str) -> str:
    """Return `text` as browsers write an origin: scheme, host and, when unusual, port; lower case, no slash.

    Raises ValueError for anything that is more or less than an origin. Source: RFC 6454, section 6.2.
    """
    parts = urlsplit(text.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ValueError("An origin is a scheme and a host, such as https://www.example.org")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("An origin has no path")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname.encode("idna").decode()
    usual = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port and parts.port != usual else "")


def validate_origin(text: str) -> None:
    try:
        normal_origin(text)
    except ValueError:
        raise ValidationError(
            _("Enter the address of a web site without a path, such as https://www.example.org")
        ) from None


class Clinic(models.Model):
    """A practice: its place, its hours, its limits, its way to the Realtime API."""

    data_classes = {
        DataClass.PUBLIC: (
            "id group name address phone emergency_number timezone website recording_enabled recording_notice "
            "max_concurrent_calls max_calls_per_address max_calls_per_network max_call_minutes max_starts_per_hour "
            "daily_cap_usd monthly_cap_usd booking_horizon_days arrival_note policies voice_service"
        ),
        DataClass.SECRET: "upstream_key_sealed",
    }

    group = models.ForeignKey(
        ClinicGroup, on_delete=models.SET_NULL, null=True, blank=True, verbose_name=_("group"), related_name="clinics"
    )
    name = models.CharField(_("name"), max_length=100)
    address = models.CharField(_("address"), max_length=200, blank=True)
    phone = models.CharField(
        _("phone"),
        max_length=30,
        help_text=_("Shown to callers in every state of the talk page, and dialled when they tap it."),
    )
    emergency_number = models.CharField(
        _("emergency number"),
        max_length=30,
        default="911",
        help_text=_("Shown on the talk page, and large when a guardrail finds an emergency."),
    )
    website = models.URLField(_("website"), blank=True)
    timezone = models.CharField(
        _("time zone"),
        max_length=50,
        default="America/New_York",
        validators=[validate_timezone],
        help_text=_("Appointments are spoken, shown and booked in this zone."),
    )
    policies = models.TextField(
        _("policies"),
        blank=True,
        max_length=4000,
        help_text=_("What callers may be told: payment, cancellation, parking. One statement a line."),
    )
    arrival_note = models.CharField(
        _("arrival note for new patients"),
        max_length=300,
        blank=True,
        help_text=_("Read to a new patient after booking, for example to come 15 minutes early."),
    )
    booking_horizon_days = models.PositiveSmallIntegerField(
        _("booking horizon, days"), default=90, validators=[MinValueValidator(1), MaxValueValidator(365)]
    )
    recording_enabled = models.BooleanField(
        _("keep the sound of calls"),
        default=False,
        help_text=_("Only kept when the caller has also seen the notice. The words of a call are always kept."),
    )
    recording_notice = models.TextField(
        _("notice to callers"),
        max_length=1000,
        default=_("You will talk with an automated assistant. The words of this call are kept for our staff."),
        help_text=_("Shown before each call. When sound is kept, say so here: its wording is stored with each call."),
    )
    max_concurrent_calls = models.PositiveSmallIntegerField(
        _("calls at once"), default=5, validators=[MinValueValidator(1), MaxValueValidator(500)]
    )
    max_call_minutes = models.PositiveSmallIntegerField(
        _("longest call, minutes"), default=10, validators=[MinValueValidator(1), MaxValueValidator(55)]
    )
    max_starts_per_hour = models.PositiveIntegerField(
        _("calls begun in an hour, from one address"), default=60, validators=[MinValueValidator(1)]
    )
    max_calls_per_address = models.PositiveSmallIntegerField(
        _("calls at once from one address"),
        default=3,
        validators=[MinValueValidator(1), MaxValueValidator(500)],
        help_text=_("A household, or an office behind one router. Programs with an API token are not bound by it."),
    )
    max_calls_per_network = models.PositiveSmallIntegerField(
        _("calls at once from one network"),
        default=10,
        validators=[MinValueValidator(1), MaxValueValidator(500)],
        help_text=_("The 256 addresses around a caller's, or the site of an IPv6 one."),
    )
    daily_cap_usd = models.DecimalField(
        _("most that a day's calls may cost, US dollars"),
        max_digits=9,
        decimal_places=2,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal("0.01"))],
        help_text=_("The day is the clinic's own. Empty: no bound. Beyond it no call begins, and those under way end."),
    )
    monthly_cap_usd = models.DecimalField(
        _("most that a month's calls may cost, US dollars"),
        max_digits=9,
        decimal_places=2,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal("0.01"))],
    )
    voice_service = models.ForeignKey(
        VoiceService,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="clinics",
        verbose_name=_("voice service"),
        help_text=_("Empty: the installation's own. Another one needs a key of its own, entered below."),
    )
    upstream_key_sealed = models.TextField(blank=True, editable=False)

    objects = ClinicQuerySet.as_manager()

    class Meta:
        verbose_name = _("clinic")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @property
    def upstream_key(self) -> str:
        """Return the clinic's own key for the Realtime API, or "". Raises SealBroken."""
        if not self.upstream_key_sealed:
            return ""
        return unseal(self.upstream_key_sealed, place=f"clinic:{self.pk}:upstream_key")

    @property
    def notice_sha256(self) -> str:
        """Return what names the wording of the notice: a call keeps it beside the caller's answer."""
        return hashlib.sha256(self.recording_notice.encode()).hexdigest()

    def set_upstream_key(self, key: str) -> None:
        """Seal and save the key; "" forgets it. The clinic must have been saved: the seal names its row."""
        self.upstream_key_sealed = seal(key, place=f"clinic:{self.pk}:upstream_key") if key else ""
        self.save(update_fields=["upstream_key_sealed"])
        KeyRefusal.objects.clear(self.pk)

    def allows_origin(self, origin: str) -> bool:
        """Whether a page of `origin` may talk to this clinic. Exact: scheme, host and port."""
        return self.origins.filter(origin=origin).exists()


class ClinicHours(models.Model):
    """One stretch of opening time; a day may have several."""

    data_classes = {DataClass.PUBLIC: "id clinic weekday opens closes"}

    class Weekday(models.IntegerChoices):
        MONDAY = 0, _("Monday")
        TUESDAY = 1, _("Tuesday")
        WEDNESDAY = 2, _("Wednesday")
        THURSDAY = 3, _("Thursday")
        FRIDAY = 4, _("Friday")
        SATURDAY = 5, _("Saturday")
        SUNDAY = 6, _("Sunday")

    clinic = models.ForeignKey(Clinic, on_delete=models.CASCADE, related_name="hours")
    weekday = models.PositiveSmallIntegerField(_("day"), choices=Weekday.choices)
    opens = models.TimeField(_("opens"))
    closes = models.TimeField(_("closes"))

    class Meta:
        verbose_name = _("opening hours")
        verbose_name_plural = _("opening hours")
        ordering = ("weekday", "opens")
        constraints = (
            models.CheckConstraint(
                condition=Q(closes__gt=models.F("opens")),
                name="hours_close_after_opening",
                violation_error_message=_("Closing must be later than opening."),
            ),
            models.UniqueConstraint(fields=("clinic", "weekday", "opens"), name="hours_once"),
        )

    def __str__(self) -> str:
        return f"{self.get_weekday_display()} {self.opens:%H:%M}-{self.closes:%H:%M}"


class ClinicOrigin(models.Model):
    """A web site whose pages may talk to the clinic's receptionists."""

    data_classes = {DataClass.PUBLIC: "id clinic origin"}

    clinic = models.ForeignKey(Clinic, on_delete=models.CASCADE, related_name="origins")
    origin = models.CharField(_("web site"), max_length=200, validators=[validate_origin])

    class Meta:
        verbose_name = _("web site")
        constraints = (models.UniqueConstraint(fields=("clinic", "origin"), name="origin_once"),)

    def __str__(self) -> str:
        return self.origin

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.origin = normal_origin(self.origin)
        super().save(*args, **kwargs)


class ApiToken(models.Model):
    """A clinic's server key: it may ask for call keys, and call, without an origin. Only its digest is kept."""

    data_classes = {
        DataClass.PUBLIC: "id clinic name hint created_at created_by revoked_at",
        DataClass.SECRET: "digest",
    }

    clinic = models.ForeignKey(Clinic, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(_("name"), max_length=100, help_text=_("Which program uses it."))
    digest = models.CharField(max_length=64, unique=True, editable=False)
    hint = models.CharField(_("ends with"), max_length=4, editable=False)
    created_at = models.DateTimeField(_("made"), auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, editable=False, related_name="+"
    )
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("API token")

    def __str__(self) -> str:
        return self.name

    @classmethod
    def issue(cls, *, clinic: Clinic, name: str) -> tuple[ApiToken, str]:
        """Return a new row and its token. The token is shown once and cannot be found again."""
        row = cls(clinic=clinic, name=name)
        token = row.draw()
        row.save()
        return row, token

    def draw(self) -> str:
        """Give a new row its token, of which only the digest and the end are kept, and return it."""
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)
        self.digest, self.hint = digest(token), token[-4:]
        return token

    @classmethod
    def find(cls, token: str) -> ApiToken | None:
        """Return the live token row that `token` belongs to, with its clinic."""
        if not token.startswith(TOKEN_PREFIX):
            return None
        return cls.objects.select_related("clinic").filter(digest=digest(token), revoked_at=None).first()


class Membership(models.Model):
    """Who belongs to a clinic or to a group of clinics, and as what."""

    data_classes = {DataClass.PUBLIC: "id user clinic group role"}

    class Role(models.TextChoices):
        MANAGER = "manager", _("Manager: changes receptionists and practice data, and reviews calls")
        REVIEWER = "reviewer", _("Reviewer: reads calls and works on tasks")

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    clinic = models.ForeignKey(Clinic, on_delete=models.CASCADE, null=True, blank=True, related_name="memberships")
    group = models.ForeignKey(ClinicGroup, on_delete=models.CASCADE, null=True, blank=True, related_name="memberships")
    role = models.CharField(_("role"), max_length=10, choices=Role.choices)

    class Meta:
        verbose_name = _("membership")
        constraints = (
            models.CheckConstraint(
                condition=Q(clinic__isnull=True) ^ Q(group__isnull=True),
                name="membership_of_clinic_or_group",
                violation_error_message=_("Choose a clinic or a group, not both."),
            ),
            models.UniqueConstraint(fields=("user", "clinic"), name="membership_once_a_clinic"),
            models.UniqueConstraint(fields=("user", "group"), name="membership_once_a_group"),
        )

    def __str__(self) -> str:
        return f"{self.user} · {self.clinic or self.group}"
