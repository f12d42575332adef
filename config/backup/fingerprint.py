"""What a database holds, told in a few lines: each table's rows, counted and hashed in the order of their keys."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from django.db import connection, transaction

Fingerprint = dict[str, dict[str, Any]]  # table -> {"rows": how many, "sha256": hexadecimal}


def of_database() -> Fingerprint:
    """Return the fingerprint of the database in use. Inside a transaction it is of one moment."""
    if connection.vendor == "sqlite":
        return of_sqlite_file(Path(connection.settings_dict["NAME"]))
    with transaction.atomic(), connection.cursor() as cursor:
        tables = sorted(connection.introspection.table_names(cursor))
        queries = {table: _query(table, _keys_of_postgresql(cursor, table)) for table in tables}
        found = {}
        for table, query in queries.items():
            with connection.chunked_cursor() as rows:  # a million rows are not held in memory
                rows.execute(query)
                found[table] = _of_rows(rows)
        return found


def of_sqlite_file(path: Path) -> Fingerprint:
    """Return the fingerprint of an SQLite file that nobody writes to: as it is stored, without Django's conversions."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~'"
        tables = sorted(row[0] for row in database.execute(names))
        return {table: _of_rows(database.execute(_query(table, _keys_of_sqlite(database, table)))) for table in tables}


def differences(before: Fingerprint, after: Fingerprint) -> list[str]:
    """Return the names of the tables that differ or are missing on either side."""
    return sorted(table for table in {*before, *after} if before.get(table) != after.get(table))


def _keys_of_postgresql(cursor: Any, table: str) -> list[str]:
    """Text is ordered by its bytes, as it is by SQLite, whatever the language of the database's machine."""
    collated = "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attcollation <> 0"
    cursor.execute(collated, [f'"{table}"'])
    text = {name for (name,) in cursor.fetchall()}
    keys = connection.introspection.get_primary_key_columns(cursor, table) or []
    return [f'"{key}" COLLATE "C"' if key in text else f'"{key}"' for key in keys]


def _keys_of_sqlite(database: sqlite3.Connection, table: str) -> list[str]:
    columns = [row for row in database.execute(f'PRAGMA table_info("{table}")') if row[5]]
    return [f'"{row[1]}"' for row in sorted(columns, key=lambda row: row[5])]


def _query(table: str, keys: list[str]) -> str:
    return f'SELECT * FROM "{table}" ORDER BY {", ".join(keys) or "1"}'


def _of_rows(rows: Iterable[tuple[Any, ...]]) -> dict[str, Any]:
    count, digest = 0, hashlib.sha256()
    for row in rows:
        count += 1
        digest.update(repr(tuple(row)).encode())
    return {"rows": count, "sha256": digest.hexdigest()}
