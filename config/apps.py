from __future__ import annotations

from django.apps import AppConfig, apps
from django.conf import settings


class InstallationConfig(AppConfig):
    """The installation as a whole: its checks and its commands. It has no models."""

    name = "config"
    verbose_name = "Installation"

    def ready(self) -> None:
        # The checks ask models, which exist only from now on.
        from config import checks, logs, migrating

        checks.register_checks()
        if not settings.DEBUG:
            logs.hide_exception_text()
        migrating.register_limits(apps.get_app_config("sessions_app"))
