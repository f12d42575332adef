from __future__ import annotations

import pytest
from django.db import DatabaseError, connection
from django.db.models import ProtectedError

from agents_app.checks import check_triggers
from agents_app.immutability import install_triggers, trigger_name
from agents_app.models import AgentVersion
from tests.make import make_agent

pytestmark = pytest.mark.django_db


def make_version() -> AgentVersion:
    return AgentVersion.objects.create(agent=make_agent(), number=1, content={}, content_hash="0" * 64)


def test_version_update_is_refused_by_the_database():
    version = make_version()

    with pytest.raises(DatabaseError, match="immutable"):
        AgentVersion.objects.filter(pk=version.pk).update(number=2)


def test_version_deletion_is_refused():
    version = make_version()

    with pytest.raises(ProtectedError):
        version.delete()


def test_check_finds_a_dropped_trigger_and_migrate_brings_it_back():
    table = AgentVersion._meta.db_table
    with connection.cursor() as cursor:
        on_table = f'ON "{table}"' if connection.vendor == "postgresql" else ""
        cursor.execute(f'DROP TRIGGER "{trigger_name(table)}" {on_table}')

    dropped = [error.id for error in check_triggers(["default"])]
    install_triggers(connection)
    installed = check_triggers(["default"])

    assert dropped == ["agents_app.E001"]
    assert installed == []
