"""`manage.py rotate_data_keys`: after a new key was put in front of DATA_KEYS, the old ones can then be taken out."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from agents_app.data_keys import rotate
from agents_app.sealing import SealBroken
from sessions_app.journal import JOURNAL_DIRECTORY


class Command(BaseCommand):
    help = "Encrypts stored secrets again with the first key of DATA_KEYS, and says which keys are no longer needed."

    def handle(self, *args: Any, **options: Any) -> None:
        journals = settings.DATA_DIR / JOURNAL_DIRECTORY
        waiting = journals.is_dir() and any(journals.iterdir())
        try:
            sealed, put_away = rotate(put_away=not waiting)
        except SealBroken:
            raise CommandError("A stored value opens with no key of DATA_KEYS. Nothing was changed.") from None
        self.stdout.write(f"Values encrypted again: {sealed}.")
        if waiting:
            self.stdout.write(f"Keep the older keys: {journals} holds what is not in the database yet.")
        if put_away:
            self.stdout.write(f"Keys that may be taken out of DATA_KEYS: {', '.join(put_away)}.")
            self.stdout.write("Backups made before today still need them: keep them where your backups' keys are kept.")
