from __future__ import annotations

from django.apps import AppConfig


class AgentsConfig(AppConfig):
    name = "agents_app"
    verbose_name = "Receptionists"

    def ready(self) -> None:
        # Tools import models, which exist only from now on.
        from agents_app import checks, immutability, tools
        from agents_app.demo import logins

        checks.register_checks()
        logins.register_checks()
        immutability.install_after_migrations()
        tools.find_tools()
