"""Makes what `make` stands on: .venv with the pinned packages, and two system packages where the user may.

Run by the Makefile before a single package is there, so it knows the standard library alone. Whatever fails is one
line that says what to do; the tools' own output is in .venv/prepare.log.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
LOG = VENV / "prepare.log"
APT_TIMEOUT_S = 300
# dev.txt holds all of demo.txt, in the same versions: whoever has the first needs no second installation.
CONTAINS = {"demo": ("demo",), "dev": ("demo", "dev")}
WITHOUT = {"flite": "the demo's voice will be tones", "chromium": "the tests in a browser will be skipped"}


def main() -> None:
    extra = sys.argv[1]
    make_venv()
    install_packages(extra)
    missing = [] if flite_present() else ["flite"]
    if extra == "dev" and not shutil.which("chromium"):
        missing.append("chromium")
    if missing:
        install_system_packages(missing)


def make_venv() -> None:
    usable = "import sys, pip; sys.exit(sys.version_info < (3, 11))"
    if VENV_PYTHON.exists() and quiet([str(VENV_PYTHON), "-c", usable]):
        return
    if not importlib.util.find_spec("ensurepip"):  # Debian keeps it apart
        install_system_packages(["python{}.{}-venv".format(*sys.version_info)])
        importlib.invalidate_caches()
        if not importlib.util.find_spec("ensurepip"):
            stop(f"{sys.executable} cannot make a virtual environment.")
    say("Making .venv")
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], capture_output=True, check=False)
    if made.returncode:
        stop(f"{sys.executable} -m venv .venv failed: run it to see why.")


def install_packages(extra: str) -> None:
    """Install the extra's pinned packages, unless a stamp says that exactly these are there."""
    stamps = {name: VENV / f"installed-{name}.sha256" for name in CONTAINS[extra]}
    digests = {name: digest(ROOT / "requirements" / f"{name}.txt") for name in stamps}
    if read(stamps[extra]) == digests[extra]:
        return
    say("Installing packages, about half a minute")
    pip = [str(VENV_PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--require-hashes"]
    if not logged([*pip, "-r", str(ROOT / "requirements" / f"{extra}.txt")]):
        stop(f"pip could not install the packages: {last_error()} All of it is in {LOG.relative_to(ROOT)}.")
    for name, path in stamps.items():
        path.write_text(digests[name])


def install_system_packages(names: list[str]) -> None:
    """Install what is missing where the user may without being asked; otherwise say what to do."""
    by_hand = f"sudo apt-get install {' '.join(names)}"
    prefix = root_prefix()
    if prefix is not None:
        say(f"Installing {' and '.join(names)} by apt-get")
        # The lists of a bare machine are empty; of one that is merely offline they may still serve.
        logged([*prefix, "apt-get", "-q", "-o", "Acquire::Retries=1", "update"], timeout_s=APT_TIMEOUT_S)
        install = [*prefix, "apt-get", "-q", "-y", "install", "--no-install-recommends", *names]
        if logged(install, timeout_s=APT_TIMEOUT_S):
            return
        by_hand = f"apt-get could not (see {LOG.relative_to(ROOT)}); {by_hand}"
    for name in names:
        consequence = f", so {WITHOUT[name]}" if name in WITHOUT else ""
        say(f"{name} is missing{consequence}. To install it on Debian: {by_hand}")


def root_prefix() -> list[str] | None:
    """Return what to put before apt-get, or None where it is not ours to run."""
    if not shutil.which("apt-get"):
        return None
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and quiet(["sudo", "-n", "true"]):
        return ["sudo", "-n"]
    return None


def flite_present() -> bool:
    try:
        ctypes.CDLL("libflite.so.1")
    except OSError:
        return False
    return True


def quiet(command: list[str]) -> bool:
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0


def logged(command: list[str], *, timeout_s: float | None = None) -> bool:
    """Run a command with its output in the log. Return whether it succeeded."""
    VENV.mkdir(exist_ok=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    with LOG.open("ab") as log:
        try:
            run = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                timeout=timeout_s,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
    return run.returncode == 0


def last_error() -> str:
    errors = [line for line in LOG.read_text(errors="replace").splitlines() if line.startswith("ERROR:")]
    return errors[-1].removeprefix("ERROR: ").rstrip(".") + "." if errors else "it did not say why."


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes() + sys.version.encode()).hexdigest()


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def say(line: str) -> None:
    print(line, flush=True)


def stop(line: str) -> None:
    sys.exit(f"Frontdesk: {line}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Frontdesk: stopped before everything was installed; make goes on from here.")
    except OSError as error:
        stop(f"{error.strerror}: {error.filename}.")
