"""Makes a backup of the installation in use, and puts one back into an installation that is empty."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader

from agents_app.models import Clinic, DataKey
from agents_app.sealing import key_id
from config.backup import databases, fingerprint
from config.backup.archive import DATABASE, FILES, Manifest, Writer, files_of, settled, unpack
from config.backup.databases import Trouble
from config.backup.fingerprint import Fingerprint
from sessions_app.journal import JOURNAL_DIRECTORY
from sessions_app.recording import RECORDINGS_DIRECTORY, SPOOL_DIRECTORY

PREFIX, SUFFIX = "frontdesk-", ".tar"


def back_up(directory: Path) -> tuple[Path, Manifest]:
    """Write one archive into `directory` and return its path and manifest. Calls may go on meanwhile.

    First what waits to be stored, then the database, then the sound: whatever moves on in between is in the archive
    twice rather than nowhere. Storing a fact again is harmless.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    made_at = datetime.now(UTC)
    path = directory / f"{PREFIX}{made_at:%Y%m%dT%H%M%S%fZ}{SUFFIX}"
    with tempfile.TemporaryDirectory(dir=directory, prefix=".making-") as folder:
        partial, dump = Path(folder, "archive"), Path(folder, "database")
        writer = Writer(partial)
        tables = _add_all(writer, dump)
        manifest: Manifest = {
            "made_at": made_at.isoformat(),
            "vendor": connection.vendor,
            "tables": tables,
            "migrations": sorted(map(list, MigrationLoader(connection).applied_migrations)),
            "data_keys": sorted(DataKey.objects.values_list("key_id", flat=True)),
        }
        writer.finish(manifest)
        partial.chmod(0o600)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.rename(path)
    return path, manifest


def keep_newest(directory: Path, count: int) -> list[Path]:
    """Remove all but the newest `count` backups; return what was removed."""
    old = sorted(directory.glob(f"{PREFIX}*{SUFFIX}"))[:-count]
    for path in old:
        path.unlink()
    return old


def check(path: Path) -> None:
    """Raise Trouble when the backup could not be put back here. Nothing is changed, and servers may run."""
    _refuse_unless_empty()
    with _unpacked(path) as (manifest, _):
        _refuse_unfit(manifest)


def restore(path: Path) -> Manifest:
    """Put a backup back. Raises Trouble, before anything is changed where that is possible."""
    _refuse_unless_empty()
    with _unpacked(path) as (manifest, folder):
        _refuse_unfit(manifest)
        found = databases.load(folder / DATABASE)
        if different := fingerprint.differences(manifest["tables"], found):
            raise Trouble(f"What came back differs from what was saved, in {', '.join(different)}.")
        _put_files(folder / FILES)
    call_command("migrate", verbosity=0, interactive=False)
    return manifest


@contextmanager
def _unpacked(path: Path) -> Iterator[tuple[Manifest, Path]]:
    settings.DATA_DIR.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=settings.DATA_DIR, prefix=".restore-"))
    try:
        yield unpack(path, folder), folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _add_all(writer: Writer, dump: Path) -> Fingerprint:
    """Add files and database; return what the database held.

    Spools are opened before the database is read, and read after it: each then holds at least the sound that its rows
    tell of, though it was encoded and removed meanwhile. Only a call first heard between the two has rows and no sound.
    """
    for top, name, path in _files():
        if top == JOURNAL_DIRECTORY:
            with suppress(FileNotFoundError):
                writer.add(name, io.BytesIO(settled(path.read_bytes)))
        elif top not in (SPOOL_DIRECTORY, RECORDINGS_DIRECTORY):
            _add(writer, name, path)
    with ExitStack() as held:
        spools = _open_spools(held)
        tables = databases.dump(dump)
        _add(writer, DATABASE, dump)
        dump.unlink()
        for name, file in spools.items():
            writer.add(name, file)
    for top, name, path in _files():
        if top == RECORDINGS_DIRECTORY:
            _add(writer, name, path)
    return tables


def _open_spools(held: ExitStack) -> dict[str, IO[bytes]]:
    spools: dict[str, IO[bytes]] = {}
    for top, name, path in _files():
        if top == SPOOL_DIRECTORY:
            with suppress(FileNotFoundError):
                spools[name] = held.enter_context(path.open("rb"))
    return spools


def _files() -> Iterator[tuple[str, str, Path]]:
    """Yield of each file its directory in DATA_DIR, its name in the archive, and its path."""
    for path in files_of(settings.DATA_DIR, database=str(connection.settings_dict["NAME"])):
        name = path.relative_to(settings.DATA_DIR)
        yield name.parts[0], f"{FILES}/{name.as_posix()}", path


def _add(writer: Writer, name: str, path: Path) -> None:
    """Add a file; one that is gone meanwhile is none."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        writer.add(name, file)


def _refuse_unless_empty() -> None:
    try:
        occupied = Clinic.objects.exists()
    except DatabaseError:  # not migrated yet: emptier still
        occupied = False
    recordings = settings.DATA_DIR / RECORDINGS_DIRECTORY
    if occupied or (recordings.is_dir() and any(recordings.iterdir())):
        raise Trouble("This installation holds clinics or recordings. A backup is restored into an empty one.")


def _refuse_unfit(manifest: Manifest) -> None:
    if manifest["vendor"] != connection.vendor:
        raise Trouble(
            f"The backup is of a {manifest['vendor']} database, and DATABASE_URL names a {connection.vendor}."
        )
    have = {key_id(key) for key in settings.DATA_KEYS}
    if missing := [key for key in manifest["data_keys"] if key not in have]:
        raise Trouble(f"DATA_KEYS lacks {', '.join(missing)}: take DATA_KEYS from where the backup was made.")
    known: Any = MigrationLoader(None, ignore_no_migrations=True).disk_migrations
    ours = {label for label, _ in known}
    newer = [f"{app}.{name}" for app, name in manifest["migrations"] if app in ours and (app, name) not in known]
    if newer:
        raise Trouble(f"The backup was made by a newer version, with {newer[0]}: install that version first.")


def _put_files(source: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, settings.DATA_DIR, dirs_exist_ok=True, copy_function=shutil.move)
