"""Sets the environment, then Django: nothing else reads it, and nothing is read twice."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import django
import hypothesis
import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

os.environ.setdefault("DEBUG", "true")
# Not the ones of DEBUG: servers outside DEBUG, which tests start with the same secrets, refuse those.
os.environ.setdefault("SECRET_KEY", "the tests' own, which is long enough, and random to nobody: 0123456789")
os.environ.setdefault("DATA_KEYS", "dGhlIHRlc3RzJyBvd24ga2V5LCBvZiAzMiBieXRlcyE=")
os.environ.setdefault("DATA_DIR", tempfile.mkdtemp(prefix="frontdesk-tests-"))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("tests", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("tests")

pytest_plugins = ["tests.emptying", "tests.order", "tests.servers", "tests.serving", "tests.tool_calls"]


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    """Make the test's database, as pytest-django does. It need not outlive its server: no commit waits for the disk."""
    if connection.vendor == "postgresql":
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            cursor.execute(f'ALTER DATABASE "{connection.settings_dict["NAME"]}" SET synchronous_commit = off')
        connection.close()
        connection.close_pool()  # type: ignore[attr-defined]  # which PostgreSQL has; those of before are no more


@pytest.fixture(autouse=True)
def _no_clips_of_another_test() -> None:
    """A test's rows are rolled back, and their ids used again."""
    from sessions_app.opening import sound_of  # Django must be ready first

    sound_of.cache_clear()


@pytest.fixture(autouse=True)
def _fast_passwords(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
