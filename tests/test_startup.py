"""Outside DEBUG a server does not start with what would fail its callers; in DEBUG nothing stands in the way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agents_app.models import Agent, ClinicOrigin
from agents_app.publishing import publish
from config import checks
from tests.make import make_agent, make_clinic

ROOT = Path(__file__).resolve().parent.parent
PRODUCTION = {
    "DEBUG": "false",
    "SECRET_KEY": "a sentence that is long enough, and has many letters: 0123456789",
    "ALLOWED_HOSTS": "voice.example.com",
    "DATA_KEYS": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "DATABASE_URL": "",
    "REDIS_URL": "",
    "OPENAI_API_KEY": "",
    "OPENAI_BASE_URL": "",
}
SERVERS = {
    "daphne": ["-m", "daphne", "--fd", "0", "config.asgi:application"],
    "uvicorn": ["-m", "uvicorn", "--fd", "0", "config.asgi:application"],
}


def published(agent: Agent) -> Agent:
    publish(agent, None, speak=lambda *args, **kwargs: None)
    return agent


def run(*arguments: str, data_dir: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", *arguments],
        cwd=ROOT,
        env={**os.environ, **PRODUCTION, "DATA_DIR": str(data_dir), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data directory whose database has a published receptionist, and no key."""
    directory = tmp_path_factory.mktemp("installation")
    assert run("manage.py", "migrate", "-v0", data_dir=directory).returncode == 0
    make = (
        "from tests.make import make_agent, make_clinic; from tests.test_startup import published; "
        "published(make_agent(make_clinic(name='Elm Street')))"
    )
    made = run("manage.py", "shell", "-v0", "-c", make, data_dir=directory)
    assert made.returncode == 0, made.stderr
    return directory


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"SECRET_KEY": "insecure-development-key"}, "SECRET_KEY is one that others know or can guess."),
        ({"SECRET_KEY": "short"}, "SECRET_KEY is one that others know or can guess."),
        (
            {"DATA_KEYS": f"{PRODUCTION['DATA_KEYS']},ZnJvbnRkZXNrLWRldmVsb3BtZW50LWRhdGEta2V5ISE="},
            "DATA_KEYS is one that others know or can guess.",
        ),
        ({"ALLOWED_HOSTS": "voice.example.com,*"}, "ALLOWED_HOSTS lets every name in."),
        ({"OPENAI_BASE_URL": "http://voice.example.com/v1"}, "OPENAI_BASE_URL is not https."),
    ],
)
def test_dangerous_setting_stops_the_start(migrated: Path, wrong: dict[str, str], told: str) -> None:
    ended = run("-c", "import config.asgi", data_dir=migrated, **{"OPENAI_API_KEY": "sk-test", **wrong})

    assert ended.returncode == 1
    assert [line.startswith(f"Frontdesk cannot start: {told}") for line in ended.stderr.splitlines()] == [True]


@pytest.mark.django_db
def test_web_site_that_is_not_https_stops_the_start(settings: Any) -> None:
    settings.DEBUG = False
    clinic = make_clinic(name="Elm Street")
    for origin in ("https://elm.example", "http://127.0.0.1:8000", "http://elm.example"):
        ClinicOrigin.objects.create(clinic=clinic, origin=origin)

    assert [error.msg for error in checks.check_origins()] == [
        "The clinic Elm Street lists http://elm.example among its web sites."
    ]


@pytest.mark.parametrize("server", SERVERS)
def test_server_without_a_key_says_so_and_does_not_start(migrated: Path, server: str) -> None:
    ended = run(*SERVERS[server], data_dir=migrated)

    assert ended.returncode == 1
    assert ended.stderr.splitlines() == [
        "Frontdesk cannot start: The clinic Elm Street has a published receptionist, and no key for the Realtime API. "
        "Set OPENAI_API_KEY, or give the clinic a key of its own in the admin."
    ]


def test_application_is_served_with_a_key(migrated: Path) -> None:
    ended = run("-c", "import config.asgi", data_dir=migrated, OPENAI_API_KEY="sk-test")

    assert (ended.returncode, ended.stderr) == (0, "")


def test_unreachable_database_is_one_line(tmp_path: Path) -> None:
    ended = run("-c", "import config.asgi", data_dir=tmp_path, DATABASE_URL="postgres://nobody:secret@127.0.0.1:9/none")

    assert ended.returncode == 1
    assert ended.stderr.splitlines() == [
        "Frontdesk cannot start: the database that DATABASE_URL names cannot be reached."
    ]


def test_nothing_is_checked_in_debug(migrated: Path) -> None:
    ended = run("-c", "import config.asgi", data_dir=migrated, DEBUG="true")

    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.django_db
def test_each_clinic_with_a_published_receptionist_needs_a_key(settings: Any) -> None:
    settings.DEBUG, settings.OPENAI_API_KEY = False, ""
    with_key, draft_only = make_clinic(), make_clinic()
    with_key.set_upstream_key("sk-of-its-own")
    make_agent(draft_only)
    without = [published(make_agent(make_clinic())).clinic for _ in range(2)]
    published(make_agent(with_key))

    errors = checks.check_upstream_keys()

    assert {error.msg for error in errors} == {
        f"The clinic {clinic.name} has a published receptionist, and no key for the Realtime API." for clinic in without
    }


@pytest.mark.django_db
def test_clinics_key_that_cannot_be_read_is_none(settings: Any) -> None:
    settings.DEBUG, settings.OPENAI_API_KEY = False, ""
    clinic = published(make_agent()).clinic
    clinic.upstream_key_sealed = "sealed with a key that is gone"
    clinic.save(update_fields=["upstream_key_sealed"])

    errors = checks.check_upstream_keys()

    assert [error.id for error in errors] == ["config.E002"]


def test_memory_for_a_channel_layer_is_warned_of_outside_debug(settings: Any) -> None:
    settings.REDIS_URL = ""
    found = {}

    for debug in (True, False):
        settings.DEBUG = debug
        found[debug] = [warning.id for warning in checks.check_channel_layer()]

    assert found == {True: [], False: ["config.W001"]}


@pytest.mark.parametrize(("installed", "errors"), [("4.2.2", ["config.E001"]), ("4.2.3", []), ("5.0", [])])
def test_daphne_that_does_not_bound_messages_is_refused(
    monkeypatch: pytest.MonkeyPatch, installed: str, errors: list[str]
) -> None:
    # A patch, since one version is installed: the pinned one.
    monkeypatch.setattr(checks, "version", {"daphne": installed}.__getitem__)

    found = [error.id for error in checks.check_daphne()]

    assert found == errors


@pytest.mark.parametrize("command", [["migrate", "-v0"], ["check"]])
def test_commands_that_mend_an_installation_are_not_refused(migrated: Path, command: list[str]) -> None:
    ended = run("manage.py", *command, data_dir=migrated)

    assert (ended.returncode, ended.stderr) == (0, "")
