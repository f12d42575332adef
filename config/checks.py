"""System checks on the installation as a whole. Outside DEBUG the server does not start while one of them fails."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import DatabaseError
from django.utils.version import get_version_tuple

from agents_app.access import access_of
from agents_app.models import Clinic

Apps = Sequence[AppConfig] | None
DAPHNE_AT_LEAST = (4, 2, 3)


def register_checks() -> None:
    register(check_daphne)
    register(check_upstream_keys, Tags.security, deploy=True)
    register(check_channel_layer, Tags.security, deploy=True)


def check_daphne(app_configs: Apps = None, **kwargs: Any) -> list[CheckMessage]:
    """Fail on a Daphne that buffers a message of any size from anyone."""
    installed = version("daphne")
    if get_version_tuple(installed) >= DAPHNE_AT_LEAST:
        return []
    return [
        Error(
            f"Daphne {installed} does not bound the size of messages.",
            hint="Install the pinned packages: pip install --require-hashes -r requirements/base.txt",
            id="config.E001",
        )
    ]


def check_upstream_keys(app_configs: Apps = None, **kwargs: Any) -> list[CheckMessage]:
    """Fail when a published receptionist could not be answered for want of a key. Runs with `check --deploy`."""
    if settings.DEBUG:
        return []
    try:
        published = Clinic.objects.filter(agents__live_version__isnull=False)
        clinics = list(published.select_related("voice_service").distinct())
    except DatabaseError:  # before the first migration there is nobody
        return []
    return [
        Error(
            f"The clinic {clinic.name} has a published receptionist, and no key for the Realtime API.",
            hint="Set OPENAI_API_KEY, or give the clinic a key of its own in the admin.",
            id="config.E002",
        )
        for clinic in clinics
        if not access_of(clinic).key
    ]


def check_channel_layer(app_configs: Apps = None, **kwargs: Any) -> list[CheckMessage]:
    if settings.DEBUG or settings.REDIS_URL:
        return []
    return [
        Warning(
            "Without REDIS_URL the channel layer is in memory: run one server process alone.",
            id="config.W001",
        )
    ]
