"""System checks on what the database must enforce by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, register
from django.db import DatabaseError, connections

from agents_app.data_keys import missing_keys
from agents_app.immutability import missing_triggers


def register_checks() -> None:
    # For deployment: as one of the ordinary checks it would stop the very migration that installs the triggers again.
    register(check_triggers, Tags.database, deploy=True)
    register(check_data_keys, Tags.database, deploy=True)


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


def check_data_keys(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Fail when a stored value was sealed with a key that is gone: its loss is told at the start, not in a call."""
    if not databases:
        return []
    try:
        missing = missing_keys()
    except DatabaseError:  # before the first migration nothing was sealed
        return []
    return [
        Error(
            f"DATA_KEYS lacks the key {name}, with which stored values were encrypted.",
            hint="Put it back at the end of DATA_KEYS. "
            "To part with a key: manage.py rotate_data_keys, while it is there.",
            id="agents_app.E002",
        )
        for name in missing
    ]
