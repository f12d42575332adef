"""Takes the database's rows out as one file of one moment, and puts them back: SQLite, or PostgreSQL by its tools."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from django.db import connection, transaction

from config.backup import fingerprint
from config.backup.fingerprint import Fingerprint

DUMP_TIMEOUT_S = 6 * 3600


class Trouble(Exception):
    """Why there is no backup, or none was restored, in a line for whoever asked."""


def dump(path: Path) -> Fingerprint:
    """Write the database to `path`, as it is at one moment, and return what it then held. Calls may go on."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM INTO %s", [str(path)])
        return fingerprint.of_sqlite_file(path)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        cursor.execute("SELECT pg_export_snapshot()")
        (snapshot,) = cursor.fetchone()
        _run("pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--snapshot={snapshot}", f"--file={path}")
        return fingerprint.of_database()


def load(path: Path) -> Fingerprint:
    """Put back what `dump` wrote in the place of what is there, and return what the database then holds."""
    if connection.vendor == "sqlite":
        name = connection.settings_dict["NAME"]
        connection.close()
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(name)) as target:
            source.backup(target)
    else:
        _drop_tables()
        connection.close()
        _run("pg_restore", "--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error",
             f"--dbname={connection.settings_dict['NAME']}", str(path))  # fmt: skip
    return fingerprint.of_database()


def _drop_tables() -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'DROP TABLE "{table}" CASCADE')
        cursor.execute("DROP FUNCTION IF EXISTS refuse_update() CASCADE")


def _run(tool: str, *arguments: str) -> None:
    if shutil.which(tool) is None:
        raise Trouble(f"{tool} is not installed: apt-get install postgresql-client")
    wanted = connection.settings_dict
    environment = {
        "PGHOST": wanted["HOST"],
        "PGPORT": str(wanted["PORT"]),
        "PGUSER": wanted["USER"],
        "PGPASSWORD": wanted["PASSWORD"],
        "PGDATABASE": wanted["NAME"],
        "PGCONNECT_TIMEOUT": "10",
    }
    try:
        subprocess.run(
            [tool, "--no-password", *arguments],
            env={**os.environ, **{name: value for name, value in environment.items() if value}},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=DUMP_TIMEOUT_S,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode("utf-8", "replace").strip().splitlines() or [""]
        raise Trouble(f"{tool} failed: {_without_values(lines[0])[:200]}") from None
    except subprocess.TimeoutExpired:
        raise Trouble(f"{tool} was not ready after {DUMP_TIMEOUT_S // 3600} hours") from None


def _without_values(line: str) -> str:
    """Return a line of PostgreSQL's without what it quotes: that may be of a row."""
    return re.sub(r'"[^"]*"?', '"..."', line)
