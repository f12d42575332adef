"""The triggers that refuse an UPDATE of what was published.

Installed after every migration: SQLite drops a table's triggers, silently, whenever a migration rebuilds the table.
"""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.signals import post_migrate

from agents_app.models import AgentVersion, Clip

IMMUTABLE_TABLES = tuple(model._meta.db_table for model in (AgentVersion, Clip))


def trigger_name(table: str) -> str:
    return f"{table}_is_immutable"


def install_triggers(connection: BaseDatabaseWrapper) -> None:
    """Install, or install again, the trigger of each immutable table that exists."""
    existing = connection.introspection.table_names()
    with connection.cursor() as cursor:
        for table in IMMUTABLE_TABLES:
            if table in existing:
                for statement in _statements(connection.vendor, table):
                    cursor.execute(statement)


def missing_triggers(connection: BaseDatabaseWrapper) -> list[str]:
    """Return the immutable tables that stand without their trigger."""
    question = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger'",
        "postgresql": "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'D'",
    }[connection.vendor]
    existing = connection.introspection.table_names()
    with connection.cursor() as cursor:
        cursor.execute(question)
        standing = {row[0] for row in cursor.fetchall()}
    return [table for table in IMMUTABLE_TABLES if table in existing and trigger_name(table) not in standing]


def install_after_migrations() -> None:
    post_migrate.connect(_after_migrate, dispatch_uid="agents_app.immutability")


def _after_migrate(sender: AppConfig, using: str = DEFAULT_DB_ALIAS, **kwargs: Any) -> None:
    install_triggers(connections[using])


def _statements(vendor: str, table: str) -> list[str]:
    name = trigger_name(table)
    if vendor == "sqlite":
        return [
            f'CREATE TRIGGER IF NOT EXISTS "{name}" BEFORE UPDATE ON "{table}" '
            "BEGIN SELECT RAISE(ABORT, 'a published version is immutable'); END",
        ]
    return [
        "CREATE OR REPLACE FUNCTION refuse_update() RETURNS trigger AS "
        "$$ BEGIN RAISE EXCEPTION 'a published version is immutable' USING ERRCODE = 'integrity_constraint_violation'; "
        "END $$ LANGUAGE plpgsql",
        f'DROP TRIGGER IF EXISTS "{name}" ON "{table}"',
        f'CREATE TRIGGER "{name}" BEFORE UPDATE ON "{table}" FOR EACH ROW EXECUTE FUNCTION refuse_update()',
    ]
