"""Lets migrations take their time, and not the callers': a long one may run, and none waits long for a lock.

A statement that waits for a table's lock holds up all that come after it, calls in progress included.
"""

from __future__ import annotations

from typing import Any

from django.db import connections
from django.db.models.signals import post_migrate, pre_migrate

LOCK_TIMEOUT_MS = 2000


def register_limits(sender: Any) -> None:
    """Bound the migrations of PostgreSQL. `sender` is any one app: the signals come for each app that has models."""
    pre_migrate.connect(_begin, sender=sender)
    post_migrate.connect(_end, sender=sender)


def _begin(using: str, **kwargs: Any) -> None:
    _execute(using, "SET statement_timeout = 0", f"SET lock_timeout = {LOCK_TIMEOUT_MS}")


def _end(using: str, **kwargs: Any) -> None:
    _execute(using, "RESET statement_timeout", "RESET lock_timeout")


def _execute(using: str, *statements: str) -> None:
    if connections[using].vendor == "postgresql":
        with connections[using].cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
