"""The connections to PostgreSQL: kept between hops, replaced when they die, and bounded in what they wait for."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection
from django.db.models.signals import pre_migrate

from sessions_app.threads import in_thread
from tests.servers import database_url

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite opens a file"),
]


def ask(query: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()[0]


MANY_HOPS = 100


async def test_hops_find_the_connections_of_those_before():
    hops = [await in_thread(ask, "SELECT pg_backend_pid()") for _ in range(MANY_HOPS)]

    assert len(set(hops)) <= connection.settings_dict["OPTIONS"]["pool"]["max_size"]


async def test_hop_after_the_connections_were_killed_works():
    killed = await asyncio.gather(*(in_thread(ask, "SELECT pg_backend_pid() FROM pg_sleep(0.2)") for _ in range(3)))
    with psycopg.connect(database_url()) as another:
        for pid in killed:
            another.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

    after = [await in_thread(ask, "SELECT pg_backend_pid()") for _ in range(3)]

    assert len(set(killed)) == 3
    assert not {*killed} & {*after}


def test_query_of_ours_has_an_end():
    assert ask("SHOW statement_timeout") == "30s"
    assert ask("SHOW lock_timeout") == "10s"
    assert ask("SHOW idle_in_transaction_session_timeout") == "1min"


def test_migration_may_run_long_and_waits_two_seconds_for_a_lock():
    within = []

    def look(**kwargs: Any) -> None:
        within.append((ask("SHOW statement_timeout"), ask("SHOW lock_timeout")))

    pre_migrate.connect(look, sender=apps.get_app_config("sessions_app"))
    try:
        call_command("migrate", verbosity=0)
    finally:
        pre_migrate.disconnect(look, sender=apps.get_app_config("sessions_app"))

    assert within == [("0", "2s")]
    assert (ask("SHOW statement_timeout"), ask("SHOW lock_timeout")) == ("30s", "10s")
