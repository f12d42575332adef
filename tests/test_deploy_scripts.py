"""The scripts of `deploy/`, run on directories of their own, with the commands that change a machine replaced."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from django.conf import settings

# Writes down what it is asked, refuses what it is told to, and remembers which units run.
COMMAND = r"""#!/bin/bash
asked="${0##*/} $*"
echo "$asked" >>"$MACHINE/asked"
! grep -qEf "$MACHINE/refused" <<<"$asked" || exit 1
case $asked in
"id -u") echo 0 ;;
"install "*) asked=${asked#install } && exec /usr/bin/install ${asked//-[og] frontdesk/} ;;
"systemctl is-active "*) [ -e "$MACHINE/active/${!#}" ] ;;
"systemctl start "*) cd "$MACHINE/active" && touch "${@:2}" ;;
"systemctl stop "*) cd "$MACHINE/active" && rm -f ${*:2} ;;
esac
"""
COMMANDS = ("caddy", "id", "install", "python3", "setpriv", "systemctl")
DIRECTORIES = """
    active bin etc/caddy etc/systemd/system opt/frontdesk/current run/systemd/system usr/local/bin var/lib/frontdesk
"""


class Machine:
    """One on which Frontdesk is installed. The scripts' /opt, /etc and so on are directories of `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.checkout = root / "checkout"
        shutil.copytree(settings.BASE_DIR / "deploy", self.checkout / "deploy")
        for script in (self.checkout / "deploy/frontdesk", self.checkout / "deploy/install.sh"):
            script.write_text(re.sub(r"(?<=[\s=\">])/(?=(opt|etc|var|run|usr/local)/)", f"{root}/", script.read_text()))
        for name in DIRECTORIES.split():
            (root / name).mkdir(parents=True)
        for name in ("asked", "refused", "etc/frontdesk.env"):
            (root / name).touch()
        for name in COMMANDS:
            (root / "bin" / name).write_text(COMMAND)
            (root / "bin" / name).chmod(0o755)

    def run(self, *command: str, directory: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=directory or self.root,
            env={**os.environ, "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}", "MACHINE": str(self.root)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def frontdesk(self, *arguments: str, directory: Path | None = None) -> subprocess.CompletedProcess[str]:
        return self.run(str(self.checkout / "deploy/frontdesk"), *arguments, directory=directory)

    def within(self, code: str) -> subprocess.CompletedProcess[str]:
        """Run lines of shell beside the functions of `deploy/frontdesk`."""
        return self.run("bash", "-c", f". {self.checkout}/deploy/frontdesk; {code}")

    def refuse(self, *patterns: str) -> None:
        (self.root / "refused").write_text("".join(f"{pattern}\n" for pattern in patterns))

    def start(self, *units: str) -> None:
        for unit in units:
            (self.root / "active" / unit).touch()

    @property
    def active(self) -> list[str]:
        return sorted(path.name for path in (self.root / "active").iterdir())

    @property
    def asked(self) -> list[str]:
        return (self.root / "asked").read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


# Building a release.


def test_release_holds_the_code_and_none_of_the_settings_beside_it(machine: Machine):
    for name in ("manage.py", ".env", ".env.example", "frontdesk.env", "deploy/office.env", "tests/test_a.py"):
        path = machine.checkout / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    machine.refuse("^python3 -m venv")  # by then the code is copied

    machine.frontdesk("upgrade")

    (release,) = (machine.root / "opt/frontdesk/releases").iterdir()
    names = sorted(str(path.relative_to(release)) for path in release.rglob("*") if path.is_file())
    ours = [name for name in names if not name.startswith("deploy/") or name.endswith(".env")]
    assert ours == [".env.example", "manage.py"]


# Units.


def test_units_are_installed_with_what_shuts_them_in_and_the_time_that_calls_are_given(machine: Machine):
    (machine.root / "etc/frontdesk.env").write_text("DEBUG=false\nDRAIN_SECONDS=90\n")

    machine.within("RELEASE=$SOURCE; install_units")

    units = machine.root / "etc/systemd/system"
    names = sorted(str(path.relative_to(units)) for path in units.rglob("*") if path.is_file())
    assert names == [
        "frontdesk-.service.d/shut-in.conf",
        "frontdesk-backup.service",
        "frontdesk-backup.timer",
        "frontdesk-serve@.service",
        "frontdesk-serve@.service.d/drain.conf",
        "frontdesk-worker.service",
    ]
    assert (units / "frontdesk-serve@.service.d/drain.conf").read_text() == "[Service]\nTimeoutStopSec=150\n"
    assert machine.asked[-1] == "systemctl daemon-reload"


# Changing over.


def test_process_that_becomes_ready_takes_the_place_of_the_old_one(machine: Machine):
    machine.start("frontdesk-serve@8001")

    machine.within("replace_processes")

    assert machine.active == ["frontdesk-serve@8002"]


@pytest.mark.parametrize("refused", ["^python3 - 8002", "^systemctl start frontdesk-serve@8002"])
def test_process_that_does_not_become_ready_is_stopped_and_the_old_one_goes_on(machine: Machine, refused: str):
    machine.start("frontdesk-serve@8001")
    machine.refuse(refused)

    ended = machine.within("READY_S=0; replace_processes")

    assert (ended.returncode, machine.active) == (1, ["frontdesk-serve@8001"])
    assert "systemctl stop frontdesk-serve@8002" in machine.asked


# Backup and restore.


def test_backup_goes_into_the_directory_that_is_named_from_where_one_stands(machine: Machine):
    office = machine.root / "office"
    office.mkdir()

    machine.frontdesk("backup", "./mine", directory=office)
    machine.frontdesk("backup")

    (mine, default) = (line for line in machine.asked if line.startswith("setpriv"))
    assert mine.endswith(f"manage.py backup {office}/mine")
    assert default.endswith(f"manage.py backup {machine.root}/var/backups/frontdesk")


@pytest.mark.parametrize(
    ("refused", "units"),
    [
        ([], ["frontdesk-serve@8001", "frontdesk-worker"]),
        (["manage.py restore --check"], ["frontdesk-serve@8001"]),
        (["^systemctl stop"], ["frontdesk-serve@8001"]),
        (["manage.py restore /"], ["frontdesk-serve@8001", "frontdesk-worker"]),
    ],
)
def test_restore_leaves_no_copy_of_the_backup_however_it_ends(machine: Machine, refused: list[str], units: list[str]):
    file = machine.root / "backup.tar"
    file.write_bytes(b"rows")
    machine.start("frontdesk-serve@8001")
    machine.refuse(*refused)

    ended = machine.frontdesk("restore", str(file))

    assert (ended.returncode, machine.active) == (1 if refused else 0, units)
    assert any("manage.py restore --check" in line for line in machine.asked)
    assert list((machine.root / "var/lib/frontdesk").iterdir()) == []
    assert file.read_bytes() == b"rows"


# Caddy.


def make_caddyfile(machine: Machine) -> int:
    installer = (machine.checkout / "deploy/install.sh").read_text()
    function = re.search(r"^make_caddyfile\(\) \{\n.*?\n\}\n", installer, flags=re.DOTALL | re.MULTILINE)
    assert function
    values = f"NAME=voice.example.com TLS='' RELEASE={machine.checkout}"
    return machine.within(f"{values}\n{function[0]}\nmake_caddyfile").returncode


def test_wrong_caddyfile_is_put_nowhere_and_the_next_run_makes_it_again(machine: Machine):
    caddyfile = machine.root / "etc/caddy/Caddyfile"
    caddyfile.write_text("# Debian's\n")
    machine.refuse("^caddy validate")

    first, left = make_caddyfile(machine), caddyfile.read_text()
    machine.refuse()
    second = make_caddyfile(machine)

    assert (first, left) == (1, "# Debian's\n")
    assert second == 0
    assert "voice.example.com {" in caddyfile.read_text()
    assert (machine.root / "etc/caddy/Caddyfile.before-frontdesk").read_text() == "# Debian's\n"
    assert machine.asked[-1] == "systemctl restart caddy"


def test_caddyfile_is_loaded_when_it_is_written_and_left_alone_from_then_on(machine: Machine):
    caddyfile = machine.root / "etc/caddy/Caddyfile"

    make_caddyfile(machine)
    caddyfile.write_text(caddyfile.read_text() + "# and a change of one's own\n")
    make_caddyfile(machine)

    assert machine.asked.count("systemctl restart caddy") == 1
    assert caddyfile.read_text().endswith("# and a change of one's own\n")
