"""The files of `deploy/` fit together, and fit the code: names, ports, times, settings, commands."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from django.conf import settings
from django.core.management import get_commands

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
SHUT_IN = {
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "CapabilityBoundingSet": "",
    "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6",
}


def service(path: Path) -> dict[str, str]:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]  # as systemd, it tells cases apart
    unit.read(path)
    return dict(unit["Service"])


def known_settings() -> set[str]:
    return set(re.findall(r"^# ([A-Z_]+)=", (ROOT / ".env.example").read_text(), flags=re.MULTILINE))


@pytest.mark.parametrize("script", ["install.sh", "frontdesk"])
def test_scripts_can_be_read_and_run(script: str):
    path = DEPLOY / script

    read = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True, check=False)

    assert (read.returncode, read.stderr) == (0, "")
    assert path.stat().st_mode & 0o111


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_unit_runs_a_command_that_exists_as_a_user_of_its_own(unit: Path):
    told = service(unit)

    command = re.search(r"manage\.py (\w+)", told["ExecStart"])
    assert told["User"] == "frontdesk"
    assert command
    assert command[1] in get_commands()


def test_every_unit_is_shut_in():
    told = service(DEPLOY / "systemd/shut-in.conf")

    assert {name: told[name] for name in SHUT_IN} == SHUT_IN
    assert all(unit.name.startswith("frontdesk-") for unit in UNITS)  # by which systemd finds it


def test_server_is_given_the_time_to_drain():
    told = service(DEPLOY / "systemd" / "frontdesk-serve@.service")
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    drain_s = int(compose["x-frontdesk"]["environment"]["DRAIN_SECONDS"])

    assert int(told["TimeoutStopSec"]) >= 600 + 30  # the default of DRAIN_SECONDS, and what storing may take
    assert compose["services"]["serve"]["stop_grace_period"] == f"{drain_s // 60 + 1}m"


def test_every_port_of_the_script_is_known_to_caddy():
    ports = re.search(r"^PORTS=\((.*)\)$", (DEPLOY / "frontdesk").read_text(), flags=re.MULTILINE)
    assert ports
    proxied = re.search(r"reverse_proxy (.*) \{", (DEPLOY / "Caddyfile").read_text())
    assert proxied

    assert proxied[1].split() == [f"127.0.0.1:{port}" for port in ports[1].split()]


def test_only_known_settings_are_written():
    installer = (DEPLOY / "install.sh").read_text()
    template = installer[installer.index('print(f"""') : installer.index('""")')]
    written = set(re.findall(r"^([A-Z_]+)=", template, flags=re.MULTILINE))
    given = set(yaml.safe_load((ROOT / "compose.yaml").read_text())["x-frontdesk"]["environment"])

    assert {"SECRET_KEY", "DATA_KEYS", "ALLOWED_HOSTS", "TRUSTED_PROXIES", "REDIS_URL"} <= written
    assert (written | given) - known_settings() == set()


def test_secrets_that_the_installer_makes_are_accepted(tmp_path: Path):
    """Run the very lines that write the settings, and read what they wrote."""
    installer = (DEPLOY / "install.sh").read_text()
    script = re.search(r"<<'PYTHON'\n(.*?)\nPYTHON", installer[installer.index("make_settings()") :], flags=re.DOTALL)
    assert script

    def write() -> dict[str, str]:
        said = subprocess.check_output(
            [sys.executable, "-c", script[1], "voice.example.com", str(tmp_path), "5433"], text=True
        )
        lines = [line for line in said.splitlines() if line and not line.startswith("#")]
        return dict(line.split("=", 1) for line in lines)

    first, second = write(), write()
    environment = {"PATH": "/usr/bin:/bin", **first}
    started = subprocess.run(
        [sys.executable, "-c", "import config.settings as s; print(s.DATABASES['default']['PORT'])"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (started.returncode, started.stdout.strip()) == (0, "5433"), started.stderr
    assert [first[name] == second[name] for name in ("SECRET_KEY", "DATA_KEYS")] == [False, False]
    assert settings.DATA_KEYS[0] not in first.values()


def test_neither_caddyfile_keeps_the_headers_that_hold_a_calls_key():
    for name in ("Caddyfile", "compose.Caddyfile"):
        text = (DEPLOY / name).read_text()
        assert "request>headers delete" in text
        assert not re.search(r"^\s*log\s*(\{|$)", text, flags=re.MULTILINE)  # no log of accesses


def test_images_are_given_no_settings_and_no_tests():
    left_out = (ROOT / ".dockerignore").read_text().split()

    assert {"**/*.env", ".git", "var", "tests"} <= set(left_out)  # `frontdesk.env` stands beside compose.yaml


def test_settings_are_not_committed():
    assert "*.env" in (ROOT / ".gitignore").read_text().split()


def test_documents_name_commands_and_settings_that_exist():
    text = (ROOT / "README.md").read_text() + (ROOT / "docs/deploy.md").read_text()
    commands = set(re.findall(r"(?:manage\.py|frontdesk manage) ([a-z_]+)", text))
    names = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", text))

    assert {"serve", "db_worker", "journal", "rotate_data_keys"} <= commands <= set(get_commands())
    assert {"SECRET_KEY", "DATA_DIR"} <= names <= known_settings() | {"POSTGRES_PASSWORD"}  # which compose.yaml takes
