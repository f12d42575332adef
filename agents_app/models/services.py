"""Where Realtime APIs are, as the administrator of the installation approves of them, and which keys they refused."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from agents_app.data_classes import DataClass

RETRY_MINUTES = 10  # a key that was refused may be put right at the service, which tells nobody
ALERT_MINUTES = 60


def is_this_machine(host: str) -> bool:
    """Whether what is sent to `host` leaves this machine not at all."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def normal_service_address(text: str) -> str:
    """Return the base address of a Realtime API without its last slash, such as https://api.openai.com/v1.

    Keys and voices go there, so it is https, or http on this very machine. Raises ValueError for anything else.
    """
    address = text.strip().rstrip("/")
    parts = urlsplit(address)
    if not parts.hostname or "@" in parts.netloc or parts.query or parts.fragment or not address.isascii():
        raise ValueError("An address is a scheme, a host and a path, such as https://api.openai.com/v1")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_this_machine(parts.hostname)):
        raise ValueError("An address begins with https://")
    _ = parts.port  # raises ValueError for a port that is none
    return address


def validate_service_address(text: str) -> None:
    try:
        normal_service_address(text)
    except ValueError:
        raise ValidationError(_("Enter an https address, such as https://api.openai.com/v1")) from None


def key_headers(key: str, key_style: str) -> dict[str, str]:
    """Return the header that shows the key. Sources: OpenAI's API reference; Azure's "GPT Realtime via WebSockets"."""
    return {"api-key": key} if key_style == VoiceService.KeyStyle.API_KEY else {"Authorization": f"Bearer {key}"}


class VoiceService(models.Model):
    """A Realtime API other than the installation's own. Managers choose from these rows and write no address."""

    data_classes = {DataClass.PUBLIC: "id name base_url key_style"}

    class KeyStyle(models.TextChoices):
        BEARER = "bearer", _("Authorization: Bearer (OpenAI)")
        API_KEY = "api-key", _("api-key (Azure)")

    name = models.CharField(_("name"), max_length=100, unique=True, help_text=_("With its region, where it has one."))
    base_url = models.CharField(
        _("address"),
        max_length=200,
        unique=True,
        validators=[validate_service_address],
        help_text=_("OpenAI: https://api.openai.com/v1. Azure: https://NAME.openai.azure.com/openai/v1, with a "
                    "deployment named as the model is."),
    )  # fmt: skip
    key_style = models.CharField(_("how it takes a key"), max_length=10, choices=KeyStyle.choices, default="bearer")

    class Meta:
        verbose_name = _("voice service")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.base_url = normal_service_address(self.base_url)
        super().save(*args, **kwargs)


class KeyRefusalQuerySet(models.QuerySet["KeyRefusal"]):
    """Races are settled by conditional UPDATEs, by the database's clock."""

    def holds(self, clinic_id: int, key_digest: str) -> bool:
        """Whether calls of the clinic with this key are refused at present. Changes nothing."""
        return self.filter(clinic_id=clinic_id, key_digest=key_digest, retry_at__gt=Now()).exists()

    def names(self, clinic_id: int, key_digest: str) -> bool:
        """Whether this key was the last to be refused, however long ago."""
        return self.filter(clinic_id=clinic_id, key_digest=key_digest).exists()

    def take_retry(self, clinic_id: int, key_digest: str) -> bool:
        """Whether a call may try a key that was refused: one call may, every RETRY_MINUTES."""
        due = self.filter(clinic_id=clinic_id, key_digest=key_digest, retry_at__lte=Now())
        return due.update(retry_at=_in(RETRY_MINUTES)) == 1

    def note(self, clinic_id: int, key_digest: str) -> bool:
        """Note a refusal. Return whether somebody is to be told: once in ALERT_MINUTES for a clinic."""
        self.bulk_create([KeyRefusal(clinic_id=clinic_id)], ignore_conflicts=True)
        mine = self.filter(clinic_id=clinic_id)
        mine.update(key_digest=key_digest, refused_at=Now(), retry_at=_in(RETRY_MINUTES))
        return mine.filter(Q(told_at=None) | Q(told_at__lt=_in(-ALERT_MINUTES))).update(told_at=Now()) == 1

    def clear(self, clinic_id: int, key_digest: str | None = None) -> None:
        """Forget the refusal of this key, or of any; when somebody was told stays."""
        mine = self.filter(clinic_id=clinic_id)
        mine = mine if key_digest is None else mine.filter(key_digest=key_digest)
        mine.update(key_digest="", retry_at=None)


def _in(minutes: int) -> models.Expression:
    return Now() + timedelta(minutes=minutes)


class KeyRefusal(models.Model):
    """The last time that the service refused a clinic's key. Of another key of the clinic the row says nothing."""

    data_classes = {
        DataClass.PUBLIC: "id clinic refused_at retry_at told_at",
        DataClass.SECRET: "key_digest",
    }

    clinic = models.OneToOneField("agents_app.Clinic", on_delete=models.CASCADE, related_name="key_refusal")
    key_digest = models.CharField(max_length=64, blank=True)  # "" when no key is refused
    refused_at = models.DateTimeField(null=True)
    retry_at = models.DateTimeField(null=True)
    told_at = models.DateTimeField(null=True)

    objects = KeyRefusalQuerySet.as_manager()

    def __str__(self) -> str:
        return f"clinic {self.clinic_id}"
