"""System checks on the installation as a whole. Outside DEBUG the server does not start while one of them fails."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import DatabaseError
from django.utils.version import get_version_tuple

from agents_app.access import access_of
from agents_app.models import Clinic, ClinicOrigin, is_this_machine, normal_service_address

Apps = Sequence[AppConfig] | None
DAPHNE_AT_LEAST = (4, 2, 3)
SECRET_CHARACTERS = 32


def register_checks() -> None:
    register(check_daphne)
    register(check_upstream_keys, Tags.security, deploy=True)
    register(check_channel_layer, Tags.security, deploy=True)
    for check in (check_secrets, check_hosts, check_upstream_address, check_origins):
        register(check, Tags.security, deploy=True)


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


def check_secrets(app_configs: Apps = None, **kwargs: Any) -> list[CheckMessage]:
    """Fail on secrets that anyone can read in settings.py, or guess."""
    if settings.DEBUG:
        return []
    known = {"SECRET_KEY": settings.SECRET_KEY == settings.DEVELOPMENT_SECRET_KEY,
             "DATA_KEYS": settings.DEVELOPMENT_DATA_KEY in settings.DATA_KEYS}  # fmt: skip
    known["SECRET_KEY"] |= len(settings.SECRET_KEY) < SECRET_CHARACTERS
    return [
        Error(f"{name} is one that others know or can guess.", hint="See .env.example.", id="config.E003")
        for name, is_known in known.items()
        if is_known
    ]


def check_hosts(app_configs: Apps = None, **kwargs: Any) -> list[CheckMessage]:
    if settings.DEBUG or "*" not in settings.ALLOWED_HOSTS:
        return []
    return [Error("ALLOWED_HOSTS lets every name in.", hint="Name the public address alone.", id="config.E004")]


def check_upstream_address(app_configs: Apps = None, **kwargs: Any) -> list[CheckMessage]:
    """Fail when keys and voices would cross a network in the clear."""
    try:
        if not settings.DEBUG:
            normal_service_address(settings.OPENAI_BASE_URL)
    except ValueError:
        return [Error("OPENAI_BASE_URL is not https.", hint="http is for this very machine.", id="config.E005")]
    return []


def check_origins(app_configs: Apps = None, **kwargs: Any) -> list[CheckMessage]:
    """Fail when a clinic's pages may call from where others can change them on the way."""
    if settings.DEBUG:
        return []
    try:
        open_ones = list(ClinicOrigin.objects.filter(origin__startswith="http://").select_related("clinic"))
    except DatabaseError:  # before the first migration there is nobody
        return []
    return [
        Error(
            f"The clinic {row.clinic.name} lists {row.origin} among its web sites.",
            hint="Browsers give the microphone to https alone: list its https address.",
            id="config.E006",
        )
        for row in open_ones
        if not is_this_machine(urlsplit(row.origin).hostname or "")
    ]
