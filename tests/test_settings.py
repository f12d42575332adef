"""What the settings refuse, in one line that names the setting and never repeats its value."""

from __future__ import annotations

import ast
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import environ
import pytest
from django.core.exceptions import ImproperlyConfigured

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = ROOT / "config" / "settings.py"
KEY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
PRODUCTION = {"SECRET_KEY": "x" * 50, "ALLOWED_HOSTS": "voice.example.com", "DATA_KEYS": KEY}

ReadSettings = Callable[..., dict[str, Any]]


@pytest.fixture
def read_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReadSettings:
    """Read the settings' file with this environment alone, and the `.env` in `tmp_path` where there is one."""
    settings = tmp_path / "config" / "settings.py"
    settings.parent.mkdir()
    shutil.copy(SETTINGS, settings)

    def read(**environment: str) -> dict[str, Any]:
        # A patch, since reading .env writes into the environment, and this process has its own settings.
        monkeypatch.setattr(environ.Env, "ENVIRON", dict(environment))
        return runpy.run_path(str(settings))

    return read


def test_nothing_need_be_set_in_debug(read_settings: ReadSettings, tmp_path: Path) -> None:
    settings = read_settings(DEBUG="true")

    assert settings["DATABASES"]["default"]["NAME"] == str(tmp_path / "var" / "frontdesk.sqlite3")
    assert settings["CHANNEL_LAYERS"]["default"]["BACKEND"] == "channels.layers.InMemoryChannelLayer"
    assert settings["OPENAI_BASE_URL"] == settings["STANDIN_URL"]
    assert settings["SESSION_COOKIE_SECURE"] is False


@pytest.mark.parametrize("name", PRODUCTION)
def test_a_secret_has_no_default_outside_debug(read_settings: ReadSettings, name: str) -> None:
    others = {other: value for other, value in PRODUCTION.items() if other != name}

    with pytest.raises(ImproperlyConfigured, match=f"^{name} is not set; see .env.example$"):
        read_settings(**others)


def test_outside_debug_cookies_are_secure_and_nothing_stands_in(read_settings: ReadSettings) -> None:
    settings = read_settings(**PRODUCTION)

    assert settings["DEBUG"] is False
    assert settings["SESSION_COOKIE_SECURE"] is True
    assert settings["OPENAI_BASE_URL"] == "https://api.openai.com/v1"


def test_a_key_ends_the_stand_in(read_settings: ReadSettings) -> None:
    settings = read_settings(DEBUG="true", OPENAI_API_KEY="sk-test")

    assert settings["OPENAI_BASE_URL"] == "https://api.openai.com/v1"


def test_the_stand_in_is_found_where_it_listens(read_settings: ReadSettings) -> None:
    settings = read_settings(DEBUG="true", STANDIN_PORT="4711")

    assert settings["OPENAI_BASE_URL"] == "http://127.0.0.1:4711/v1"


def test_an_empty_value_is_none(read_settings: ReadSettings) -> None:
    settings = read_settings(DEBUG="true", REDIS_URL="", OPENAI_BASE_URL="", DATABASE_URL="", TRUSTED_PROXIES="")

    assert settings["REDIS_URL"] == ""
    assert settings["OPENAI_BASE_URL"] == settings["STANDIN_URL"]
    assert settings["TRUSTED_PROXIES"] == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEBUG", "perhaps"),
        ("DATA_KEYS", "too-short"),
        ("DATABASE_URL", "mysql://user:secret@host/name"),
        ("DATABASE_URL", "secret"),
        ("DATABASE_URL", "postgres://user:secret@host:port/name"),
        ("DATABASE_URL", "sqlite://:memory:"),
        ("DATA_DIR", "/proc/nowhere"),
        ("REDIS_URL", "secret:6379"),
        ("OPENAI_BASE_URL", "ftp://secret"),
        ("TRUSTED_PROXIES", "-1"),
        ("DAILY_CAP_USD", "0"),
        ("MONTHLY_CAP_USD", "1e3"),
        ("MONTHLY_CAP_USD", "NaN"),
        ("DRAIN_SECONDS", "soon"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_setting(read_settings: ReadSettings, name: str, value: str) -> None:
    with pytest.raises(ImproperlyConfigured) as refused:
        read_settings(**{"DEBUG": "true", name: value})

    message = str(refused.value)
    assert name in message
    assert "\n" not in message
    assert "secret" not in message
    assert refused.value.__suppress_context__ or refused.value.__context__ is None  # a traceback would show the value


def test_dotenv_is_read_and_the_environment_wins(read_settings: ReadSettings, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("# ours\n\nDEBUG=true\n  export TRUSTED_PROXIES=1\nDRAIN_SECONDS=7\n")

    settings = read_settings(DRAIN_SECONDS="8")

    assert (settings["DEBUG"], settings["TRUSTED_PROXIES"], settings["DRAIN_SECONDS"]) == (True, 1, 8)


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"DEBUG=true\nOPENAI_API_KEY sk-secret\n", "line 2: expected NAME=value"), (b"\xff\xfe", "as UTF-8 text")],
)
def test_a_broken_dotenv_stops_the_start_without_showing_it(
    read_settings: ReadSettings, tmp_path: Path, content: bytes, expected: str
) -> None:
    (tmp_path / ".env").write_bytes(content)

    with pytest.raises(ImproperlyConfigured) as refused:
        read_settings()

    assert str(refused.value).endswith(expected)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("command", ["check", "migrate", "demo"])
def test_a_command_says_a_wrong_setting_in_one_line(command: str) -> None:
    run = subprocess.run(
        [sys.executable, "manage.py", command],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "DEBUG": "perhaps"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.splitlines() == [
        "Frontdesk cannot start: DEBUG is not a valid truth value (true or false); see .env.example."
    ]


def test_each_setting_is_explained_in_the_example() -> None:
    explained = set(re.findall(r"^# ([A-Z_]+)=", (ROOT / ".env.example").read_text(), flags=re.MULTILINE))

    assert explained == _names_read() - {"STANDIN_PORT"}


def _names_read() -> set[str]:
    calls = [node for node in ast.walk(ast.parse(SETTINGS.read_text())) if isinstance(node, ast.Call)]
    return {
        str(call.args[0].value)
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id == "_read" and isinstance(call.args[0], ast.Constant)
    }
