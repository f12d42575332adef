"""The environment that `make` stands on: made once, and one line for whatever is missing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from scripts import prepare

ROOT = Path(__file__).resolve().parent.parent
MAKE = Path("/usr/bin/make")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the only directory in which programs are found; what `prepare` makes lies beside it."""
    directory = tmp_path / "programs"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}")
    venv = tmp_path / "venv"
    for name, path in {"VENV": venv, "VENV_PYTHON": venv / "bin" / "python", "LOG": venv / "prepare.log"}.items():
        monkeypatch.setattr(prepare, name, path)  # the tests themselves stand on the true ones
    monkeypatch.setattr(prepare, "ROOT", tmp_path)
    return directory


def write_program(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def write_requirements(root: Path, **contents: str) -> None:
    (root / "requirements").mkdir(exist_ok=True)
    for name, text in contents.items():
        (root / "requirements" / f"{name}.txt").write_text(text)


def test_a_missing_package_is_named_where_it_cannot_be_installed(
    programs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare.install_system_packages(["flite"])

    assert capsys.readouterr().out == (
        "flite is missing, so the demo's voice will be tones. To install it on Debian: sudo apt-get install flite\n"
    )


def test_a_missing_package_is_installed_where_the_user_may(
    programs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_program(programs / "apt-get", f'echo "$@" >> {tmp_path}/apt')
    write_program(programs / "true", "exit 0")
    write_program(programs / "sudo", 'shift; exec "$@"')  # whoever runs the tests

    prepare.install_system_packages(["flite", "chromium"])

    assert (tmp_path / "apt").read_text().splitlines() == [
        "-q -o Acquire::Retries=1 update",
        "-q -y install --no-install-recommends flite chromium",
    ]
    assert capsys.readouterr().out == "Installing flite and chromium by apt-get\n"


def test_a_failed_installation_names_its_log(programs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_program(programs / "apt-get", "echo no network; exit 100")
    write_program(programs / "true", "exit 0")
    write_program(programs / "sudo", 'shift; exec "$@"')

    prepare.install_system_packages(["chromium"])

    assert capsys.readouterr().out.splitlines()[1:] == [
        "chromium is missing, so the tests in a browser will be skipped. To install it on Debian: "
        "apt-get could not (see venv/prepare.log); sudo apt-get install chromium"
    ]
    assert prepare.LOG.read_text() == "no network\nno network\n"


def test_packages_are_installed_once_for_each_list(programs: Path, tmp_path: Path) -> None:
    write_program(prepare.VENV_PYTHON, f'echo "$@" >> {tmp_path}/pip')
    write_requirements(tmp_path, demo="django==1", dev="django==1 pytest==1")

    prepare.install_packages("demo")
    prepare.install_packages("demo")
    write_requirements(tmp_path, demo="django==2")
    prepare.install_packages("demo")

    assert len((tmp_path / "pip").read_text().splitlines()) == 2


def test_the_developers_packages_hold_those_of_the_demo(programs: Path, tmp_path: Path) -> None:
    write_program(prepare.VENV_PYTHON, f'echo "$@" >> {tmp_path}/pip')
    write_requirements(tmp_path, demo="django==1", dev="django==1 pytest==1")

    prepare.install_packages("dev")
    prepare.install_packages("demo")

    (installed,) = (tmp_path / "pip").read_text().splitlines()
    assert installed.endswith(f"--require-hashes -r {tmp_path}/requirements/dev.txt")


def test_a_failed_installation_of_packages_is_one_line_and_is_tried_again(programs: Path, tmp_path: Path) -> None:
    write_program(prepare.VENV_PYTHON, 'echo "ERROR: No matching distribution found for django==1"; exit 1')
    write_requirements(tmp_path, demo="django==1")

    for _ in range(2):
        with pytest.raises(SystemExit, match=r"^Frontdesk: pip could not .* found for django==1\. All of it is in "):
            prepare.install_packages("demo")


@pytest.mark.skipif(not MAKE.exists(), reason="needs make, in its usual place")
def test_a_python_too_old_is_one_line(programs: Path) -> None:
    write_program(programs / "python3", '[ "$1" = --version ] && echo "Python 3.9.2" && exit 0; exit 1')

    run = subprocess.run([MAKE, "run"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert run.stdout == "Frontdesk needs Python 3.11 or newer; here is Python 3.9.2.\n"
    assert run.returncode == 2
    assert len(run.stderr.splitlines()) == 1  # make's own word that its target failed


def test_the_lists_agree_on_each_version() -> None:
    pinned = {name: _pinned(name) for name in ("base", "demo", "dev")}

    assert pinned["base"].items() <= pinned["demo"].items() <= pinned["dev"].items()


def _pinned(name: str) -> dict[str, str]:
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    parted = [line.removesuffix(" \\").partition("==") for line in lines if "==" in line and line[0].isalpha()]
    return {package: version for package, _, version in parted}
