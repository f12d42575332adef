"""System checks on what the database must enforce by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connections

from agents_app.immutability import missing_triggers


def register_checks() -> None:
    # For deployment: as one of the ordinary checks it would stop the very migration that installs the triggers again.
    register(check_triggers, Tags.database, deploy=True)


def check_triggers(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Fail when a published version could be changed. Runs with `check --deploy --database default`."""
    return [
        Error(
            f"The table {table} has no trigger that refuses updates.",
            hint="Run manage.py migrate: it installs the triggers again.",
            id="agents_app.E001",
        )
        for alias in databases or ()
        for table in missing_triggers(connections[alias])
    ]
