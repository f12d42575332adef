"""`manage.py journal`: what is not in the database yet, and what the database refuses; ids and kinds, never words."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from sessions_app.fact_rows import store
from sessions_app.journal import JOURNAL_DIRECTORY, Journal, Quarantine
from sessions_app.journal_format import Entry, JournalUnreadable


class Command(BaseCommand):
    help = "Tells what waits in the journals, and which facts of calls the database has refused."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--retry", action="store_true", help="store the refused facts: their cause is mended")

    def handle(self, *args: Any, retry: bool, **options: Any) -> None:
        directory = settings.DATA_DIR / JOURNAL_DIRECTORY
        for name, size in Journal(directory).waiting():
            self.stdout.write(f"{name}: {size} bytes; a server stores them when the database answers")
        try:
            refused = Quarantine(directory).look(_stored if retry else _not_asked)
        except JournalUnreadable as reason:
            raise CommandError(f"The refused facts cannot be read: {reason}.") from None
        for entry, is_stored in refused:
            become = "stored" if is_stored else "refused"
            self.stdout.write(f"call {entry.session_id}: {type(entry.fact).__name__} {become}")
        self.stdout.write(f"{sum(not is_stored for _entry, is_stored in refused)} facts are refused.")


def _not_asked(entry: Entry) -> bool:
    return False


def _stored(entry: Entry) -> bool:
    try:
        store([entry])
    except (Error, ValueError, TypeError, LookupError):
        return False
    return True
