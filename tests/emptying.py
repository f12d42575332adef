"""Empties the tables after a test whose rows were committed.

Django's own flush truncates every table, which PostgreSQL does with hundreds of new files, and makes the content types
and the permissions anew, under other ids than a running server remembers: half a second a test. Here the few tables
that hold rows are emptied, and those two are kept.
"""

from __future__ import annotations

from functools import cache

from django.apps import apps
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db import DatabaseError, connection, transaction
from django.test import TransactionTestCase

TRIES = 5
KEPT = (ContentType, Permission)


def empty_tables(case: TransactionTestCase) -> None:
    """Empty the tables. A server of the run looks at them every few seconds, and PostgreSQL may break the tie by us."""
    for left in reversed(range(TRIES)):
        try:
            _empty_those_that_hold_rows()
            return
        except DatabaseError:
            if not left:
                raise


def _empty_those_that_hold_rows() -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # As on SQLite, whoever is writing ends first: nothing of this test comes after it.
            cursor.execute(f"LOCK TABLE {', '.join(_tables())} IN SHARE ROW EXCLUSIVE MODE")
        cursor.execute(" UNION ALL ".join(f"SELECT '{name}' WHERE EXISTS (SELECT 1 FROM {name})" for name in _tables()))
        for (name,) in cursor.fetchall():
            cursor.execute(f"DELETE FROM {name}")  # in any order: foreign keys are looked at in the end


@cache
def _tables() -> list[str]:
    return [model._meta.db_table for model in apps.get_models(include_auto_created=True) if model not in KEPT]


setattr(TransactionTestCase, "_fixture_teardown", empty_tables)  # noqa: B010 - a patch: Django has no setting for it
