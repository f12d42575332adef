from __future__ import annotations

from django.apps import AppConfig


class InstallationConfig(AppConfig):
    """The installation as a whole: its checks and its commands. It has no models."""

    name = "config"
    verbose_name = "Installation"

    def ready(self) -> None:
        # The checks ask models, which exist only from now on.
        from config import checks, migrating

        checks.register_checks()
        migrating.register_limits(self.apps.get_app_config("sessions_app"))
