"""`manage.py restore FILE`: puts a backup into an empty installation, and says whether every row came back."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from config.backup.databases import Trouble
from config.backup.doing import check, restore


class Command(BaseCommand):
    help = "Restores a backup into an empty installation. No server may run meanwhile."
    requires_system_checks = ()  # the database may not be there yet

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--check", action="store_true", help="look at file and installation, and change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["check"]:
                check(options["file"].resolve())
                return
            manifest = restore(options["file"].resolve())
        except (Trouble, OSError) as reason:
            raise CommandError(f"Not restored: {reason}") from None
        rows = sum(table["rows"] for table in manifest["tables"].values())
        files = len(manifest["files"]) - 1
        self.stdout.write(
            f"Restored {rows:,} rows and {files:,} files of {manifest['made_at']}: all as they were saved."
        )
