"""R48, the drill: an installation is saved while it stands, restored into an empty one, and every row compared."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography.fernet import Fernet
from django.conf import settings as django_settings
from django.db import connection

from config.backup import archive, databases
from config.backup.archive import MANIFEST, files_of, settled, unpack
from config.backup.databases import Trouble, _without_values
from config.backup.doing import back_up, keep_newest
from config.backup.fingerprint import Fingerprint, of_database
from tests.servers import database_url

KEY = Fernet.generate_key().decode()
SOUND = bytes(range(256)) * 64
MAKE = """
from django.core.management import call_command
from agents_app.data_keys import note_current_key
from tests.make import make_clinic
from tests.make_calls import make_call, make_item
from tests.servers import live_agent
call_command("migrate", verbosity=0)
note_current_key()
clinic = make_clinic(name="Elm Street")
clinic.set_upstream_key("sk-elm")
agent = live_agent(clinic, public_name="lexi")
for _ in range(30):
    call = make_call(clinic, agent=agent)
    make_item(call, "I would like to book a cleaning, ünd 'quoted' \\\\ text")
call_command("backup", {backups!r})
"""
LOOK = """
import json
from django.core.management import CommandError, call_command
from django.db import connection
from agents_app.immutability import missing_triggers
from agents_app.models import AgentVersion, Clinic
from agents_app.publishing import content_hash
from config.backup.fingerprint import of_database
from sessions_app.models import CallSession
clinic, version = Clinic.objects.get(), AgentVersion.objects.get()
print(json.dumps({
    "key": clinic.upstream_key, "calls": CallSession.objects.count(), "triggers": missing_triggers(connection),
    "same version": content_hash(version.content) == version.content_hash,
    "tables": of_database(),
}))
"""
RESTORE = """
from django.core.management import CommandError, call_command
call_command("restore", {file!r}, check=True)
call_command("restore", {file!r})
try:
    call_command("restore", {file!r})
except CommandError as error:
    print(error)
"""
Manage = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def installation(tmp_path: Path, django_db_setup: None) -> Iterator[Callable[[str], tuple[Path, Manage]]]:
    """Make an installation of its own, with an empty database of the kind that the tests run on."""
    made: list[str] = []

    def address(name: str) -> str:
        if connection.vendor == "sqlite":
            return f"sqlite:///{tmp_path / name / 'db.sqlite3'}"
        whole = f"{database_url().rsplit('/', 1)[1]}_{name}"
        _administer(f'DROP DATABASE IF EXISTS "{whole}"', f'CREATE DATABASE "{whole}"')
        made.append(whole)
        return f"{database_url().rsplit('/', 1)[0]}/{whole}"

    def make(name: str) -> tuple[Path, Manage]:
        directory = tmp_path / name
        directory.mkdir()
        environment = {"DEBUG": "true", "DATA_DIR": str(directory), "DATABASE_URL": address(name), "DATA_KEYS": KEY}

        def manage(*arguments: str, **others: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, "-W", "ignore", "manage.py", *arguments],
                cwd=django_settings.BASE_DIR,
                env={**os.environ, **environment, **others},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=100,
                check=False,
            )

        return directory, manage

    yield make
    _administer(*(f'DROP DATABASE "{name}"' for name in made))


def _administer(*statements: str) -> None:
    if statements:
        with psycopg.connect(database_url().rsplit("/", 1)[0] + "/postgres", autocommit=True) as server:
            for statement in statements:
                server.execute(statement)


def in_shell(manage: Manage, code: str) -> str:
    ended = manage("shell", "-v0", "-c", code)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_every_row_and_file_comes_back_into_an_empty_installation(
    installation: Callable[[str], tuple[Path, Manage]], tmp_path: Path
):
    (directory, manage), backups = installation("first"), tmp_path / "backups"
    for name in ("recordings/a.m4a", "spool/b.pcm", "journal/c.journal", "static/talk.js"):
        (directory / name).parent.mkdir()
        (directory / name).write_bytes(SOUND)

    saved = in_shell(manage, MAKE.format(backups=str(backups)) + LOOK).splitlines()
    (file,) = backups.iterdir()
    target, manage_target = installation("second")
    keyless = manage_target("restore", str(file), DATA_KEYS=Fernet.generate_key().decode())
    untouched = [path.name for path in target.iterdir() if "sqlite" not in path.name]
    restored = in_shell(manage_target, RESTORE.format(file=str(file)) + LOOK).splitlines()

    assert (keyless.returncode, untouched) == (1, [])
    assert "DATA_KEYS lacks" in keyless.stderr
    assert "all as they were saved" in restored[0]
    assert "holds clinics or recordings" in restored[1]
    before, after = json.loads(saved[-1]), json.loads(restored[-1])
    assert after == before
    assert (after["key"], after["calls"], after["triggers"], after["same version"]) == ("sk-elm", 30, [], True)
    assert sum(table["rows"] for table in after["tables"].values()) > 100
    sounds = {name: (target / name).read_bytes() for name in ("recordings/a.m4a", "spool/b.pcm", "journal/c.journal")}
    assert sounds == dict.fromkeys(sounds, SOUND)
    assert not (target / "static").exists()  # it is collected anew
    assert file.stat().st_mode & 0o077 == 0
    assert KEY.encode() not in file.read_bytes()


# What goes on meanwhile.


@pytest.mark.django_db
def test_sound_of_a_call_that_goes_on_ends_and_is_encoded_meanwhile_is_whole(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings.DATA_DIR = tmp_path / "data"
    spool, recording = settings.DATA_DIR / "spool/a.spool", settings.DATA_DIR / "recordings/a.m4a"
    for path in (spool, recording):
        path.parent.mkdir(parents=True)
    spool.write_bytes(SOUND)

    def dump(path: Path) -> Fingerprint:
        with spool.open("ab") as file:
            file.write(SOUND)
        spool.rename(recording)
        path.write_bytes(b"rows")
        return {}

    # The call has to go on while the database is read, and no later.
    monkeypatch.setattr(databases, "dump", dump)
    path, _ = back_up(tmp_path / "backups")

    (tmp_path / "out").mkdir()
    unpack(path, tmp_path / "out")
    names = ("files/spool/a.spool", "files/recordings/a.m4a")
    assert [(tmp_path / "out" / name).read_bytes() for name in names] == [SOUND * 2] * 2


def test_journal_that_is_emptied_while_it_is_read_is_read_again():
    reads = iter([b"old, old, new", b"new, new", b"new, new, new"])

    assert settled(lambda: next(reads)) == b"new, new"


# The archive.


def an_archive(path: Path, **changed: Any) -> Path:
    """Write a whole archive of one small database and one file."""
    writer = archive.Writer(path)
    writer.add("database", io.BytesIO(b"rows" * 1000))
    writer.add(changed.pop("name", "files/recordings/a.m4a"), io.BytesIO(SOUND))
    writer.files |= changed.pop("files", {})
    writer.finish({"tables": {}, **changed})
    return path


def test_whole_archive_is_read(tmp_path: Path):
    (tmp_path / "out").mkdir()

    manifest = unpack(an_archive(tmp_path / "a.tar"), tmp_path / "out")

    assert sorted(manifest["files"]) == ["database", "files/recordings/a.m4a"]
    assert (tmp_path / "out/files/recordings/a.m4a").read_bytes() == SOUND


@pytest.mark.parametrize("at", [600, 5000, 12_000])
def test_archive_with_one_byte_changed_is_refused(tmp_path: Path, at: int):
    path = an_archive(tmp_path / "a.tar")
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    (tmp_path / "out").mkdir()

    with pytest.raises(Trouble):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_archive_that_was_cut_short_is_refused(tmp_path: Path, part: float):
    path = an_archive(tmp_path / "a.tar")
    whole = path.read_bytes().rstrip(b"\0")
    path.write_bytes(whole[: int(len(whole) * part)])
    (tmp_path / "out").mkdir()

    with pytest.raises(Trouble):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "files/../../outside", "elsewhere/a"])
def test_archive_that_names_a_file_outside_is_refused(tmp_path: Path, name: str):
    path = an_archive(tmp_path / "a.tar", name=name)
    (tmp_path / "out").mkdir()

    with pytest.raises(Trouble):
        unpack(path, tmp_path / "out")

    assert not (tmp_path / "outside").exists()


def test_archive_that_lacks_a_file_or_holds_a_link_is_refused(tmp_path: Path):
    lacking = an_archive(tmp_path / "a.tar", files={"files/recordings/b.m4a": [1, "0" * 64]})
    linked = tmp_path / "b.tar"
    with tarfile.open(linked, "w") as tar:
        link = tarfile.TarInfo("files/a")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        tar.addfile(tarfile.TarInfo(MANIFEST), io.BytesIO())

    for path in (lacking, linked):
        (tmp_path / path.stem).mkdir()
        with pytest.raises(Trouble):
            unpack(path, tmp_path / path.stem)


def test_what_is_made_anew_or_belongs_to_a_restore_is_left_out(tmp_path: Path):
    for name in ("recordings/a.m4a", "static/talk.js", "log/web.log", ".incoming/backup.tar", ".restore-a/database"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()

    assert list(files_of(tmp_path, database="elsewhere")) == [tmp_path / "recordings/a.m4a"]


def test_only_the_newest_backups_are_kept(tmp_path: Path):
    names = [f"frontdesk-2026112{day}T030000000000Z.tar" for day in range(5)]
    for name in [*names, "notes.txt"]:
        (tmp_path / name).touch()

    keep_newest(tmp_path, 2)

    assert sorted(path.name for path in tmp_path.iterdir()) == [*names[3:], "notes.txt"]


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite orders text by its bytes by itself")
@pytest.mark.django_db
def test_rows_are_hashed_in_the_same_order_whatever_the_language_of_the_database():
    with connection.cursor() as cursor:
        cursor.execute('CREATE TABLE word (word text COLLATE "und-x-icu" PRIMARY KEY)')
        cursor.execute("INSERT INTO word VALUES ('a'), ('B')")

    found = of_database()["word"]

    assert found == {"rows": 2, "sha256": hashlib.sha256(b"('B',)('a',)").hexdigest()}


def test_words_of_the_database_are_told_without_what_they_quote():
    said = 'ERROR: invalid input syntax for type integer: "Carter, James"'

    assert _without_values(said) == 'ERROR: invalid input syntax for type integer: "..."'
