"""A clinic's way to the Realtime API: address, key, and how the key is shown. Never logs or prints a key.

The installation's own key goes to the installation's own address alone, a clinic's to the service chosen for it.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field

from django.conf import settings
from django.utils.translation import gettext as _

from agents_app.models import Clinic, KeyRefusal, VoiceService
from agents_app.practice.models import Task
from agents_app.practice.tasks import leave_task
from agents_app.sealing import SealBroken

logger = logging.getLogger(__name__)


def key_digest(base_url: str, key: str) -> str:
    """Return what names this key at this address in the list of those refused."""
    return hashlib.sha256(f"{base_url}\n{key}".encode()).hexdigest()


@dataclass(frozen=True)
class Access:
    """`key` is "" when there is none that may be used."""

    base_url: str  # https://host/v1
    key: str = field(repr=False)
    key_style: str = VoiceService.KeyStyle.BEARER

    @property
    def digest(self) -> str:
        return key_digest(self.base_url, self.key)


def access_of(clinic: Clinic) -> Access:
    """Return the clinic's way. A key that no key of DATA_KEYS opens is none."""
    service = clinic.voice_service
    installations = settings.OPENAI_API_KEY if service is None else ""
    try:
        key = clinic.upstream_key or installations
    except SealBroken:
        key = ""
    if service is None:
        return Access(settings.OPENAI_BASE_URL, key)
    return Access(service.base_url, key, service.key_style)


def note_refused_key(clinic: Clinic, digest: str) -> None:
    """Keep calls from trying this key again, and tell the clinic's staff: at most once an hour."""
    if not KeyRefusal.objects.note(clinic.pk, digest):
        return
    logger.error("A voice service refused a clinic's key", extra={"clinic": clinic.pk})
    text = _("The voice service refuses this clinic's key, so no call can be taken. Enter a valid key in the admin, "
             "on the clinic's page.")  # fmt: skip
    if not Task.objects.filter(clinic=clinic, text=text, status=Task.Status.OPEN).exists():
        leave_task(clinic=clinic, kind=Task.Kind.CHECK, text=text, priority=Task.Priority.URGENT)
