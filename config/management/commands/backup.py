"""`manage.py backup DIRECTORY`: one file with database, recordings and all else that calls have left; no keys."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from config.backup.databases import Trouble
from config.backup.doing import back_up, keep_newest
from config.file_limit import raise_file_limit


class Command(BaseCommand):
    help = "Writes database and files into one archive. Not in it: DATA_KEYS, SECRET_KEY and the other settings."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("directory", type=Path)
        parser.add_argument("--keep", type=int, default=0, help="remove all but the newest KEEP afterwards")

    def handle(self, *args: Any, **options: Any) -> None:
        raise_file_limit()  # spools that wait to be encoded are open together
        try:
            path, manifest = back_up(options["directory"].resolve())
        except (Trouble, OSError) as reason:
            raise CommandError(f"There is no backup: {reason}") from None
        rows = sum(table["rows"] for table in manifest["tables"].values())
        self.stdout.write(f"{path}: {rows:,} rows, {path.stat().st_size:,} bytes")
        keys = ", ".join(manifest["data_keys"]) or "any"
        self.stdout.write(f"No key is in it. To restore it, keep DATA_KEYS elsewhere ({keys}).")
        if options["keep"] > 0:
            for old in keep_newest(path.parent, options["keep"]):
                self.stdout.write(f"removed {old}")
