"""Sets the environment, then Django: nothing else reads it, and nothing is read twice."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import django
import pytest
from django.core.management import CommandError
from django.test import TransactionTestCase

os.environ.setdefault("DEBUG", "true")
# Not the ones of DEBUG: servers outside DEBUG, which tests start with the same secrets, refuse those.
os.environ.setdefault("SECRET_KEY", "the tests' own, which is long enough, and random to nobody: 0123456789")
os.environ.setdefault("DATA_KEYS", "dGhlIHRlc3RzJyBvd24ga2V5LCBvZiAzMiBieXRlcyE=")
os.environ.setdefault("DATA_DIR", tempfile.mkdtemp(prefix="frontdesk-tests-"))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

FLUSH_TRIES = 5
_flush: Any = getattr(TransactionTestCase, "_fixture_teardown")  # noqa: B009 - the stubs do not know it


def _flush_again(case: TransactionTestCase) -> None:
    """Empty the tables. A server of the run looks at them every few seconds, and PostgreSQL may break the tie by us."""
    for left in reversed(range(FLUSH_TRIES)):
        try:
            _flush(case)
            return
        except CommandError:
            if not left:
                raise


setattr(TransactionTestCase, "_fixture_teardown", _flush_again)  # noqa: B010 - a patch: Django has no setting for it

pytest_plugins = ["tests.servers", "tests.serving", "tests.tool_calls"]


@pytest.fixture(autouse=True)
def _no_clips_of_another_test() -> None:
    """A test's rows are rolled back, and their ids used again."""
    from sessions_app.opening import sound_of  # Django must be ready first

    sound_of.cache_clear()


@pytest.fixture(autouse=True)
def _fast_passwords(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
