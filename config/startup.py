"""Refuses to serve a wrong installation: a server that begins with the checks' errors would fail callers later."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from django.conf import settings
from django.core.checks import ERROR, run_checks
from django.db import DatabaseError, connections

from agents_app.data_keys import note_current_key


def refuse_wrong_installation() -> None:
    """End the process, outside DEBUG, when a check for deployment finds an error: one line for each."""
    if settings.DEBUG:
        return
    # Some servers import the application inside their event loop, where Django keeps the database shut.
    with ThreadPoolExecutor(max_workers=1) as thread:
        errors = thread.submit(_errors).result()
    if errors:
        sys.exit("\n".join(f"Frontdesk cannot start: {error}" for error in errors))


def _errors() -> list[str]:
    try:
        messages = run_checks(include_deployment_checks=True, databases=list(connections))
        if not any(message.is_serious(ERROR) for message in messages):
            with suppress(DatabaseError):  # not migrated yet, so nothing will be sealed
                note_current_key()
    except DatabaseError:
        return ["the database that DATABASE_URL names cannot be reached."]
    finally:
        connections.close_all()
    return sorted(f"{message.msg} {message.hint or ''}".strip() for message in messages if message.is_serious(ERROR))
