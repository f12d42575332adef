"""The proxies that are compared: how each is started, alone on the first core, and where callers find it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet

ROOT = Path(__file__).resolve().parent.parent
MEASURED_CORE, OTHER_CORE = 0, 1
START_S, END_S = 60.0, 20.0
ORIGIN = "https://clinic.example"


@dataclass(frozen=True)
class Peer:
    name: str
    kind: str  # pump, stock, or the server that runs ours: uvicorn, daphne
    database: str = ""  # of ours: sqlite or postgresql
    slow: bool = False  # another call's query of 100 ms runs twice a second

    @property
    def ours(self) -> bool:
        return bool(self.database)


@dataclass(frozen=True)
class Running:
    peer: Peer
    pid: int
    port: int
    url: str


class Installation:
    """One database with its rows, and the process that makes keys in it."""

    def __init__(self, directory: Path, *, database_url: str, upstream_port: int) -> None:
        self.directory = directory
        self.environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            "PYTHONUNBUFFERED": "1",
            "DJANGO_SETTINGS_MODULE": "bench.settings",
            "DEBUG": "false",
            "SECRET_KEY": secrets.token_urlsafe(48),
            "DATA_KEYS": Fernet.generate_key().decode(),
            "ALLOWED_HOSTS": "127.0.0.1",
            "TRUSTED_PROXIES": "1",  # each caller names an address of its own
            "DATA_DIR": str(directory),
            "DATABASE_URL": database_url,
            "OPENAI_BASE_URL": f"http://127.0.0.1:{upstream_port}/v1",
            "OPENAI_API_KEY": "sk-bench",
        }
        self._rows: subprocess.Popen[str] | None = None

    def prepare(self) -> None:
        """Make the tables and rows, when they are not there yet: no server starts without."""
        if self._rows is None:
            self._rows = subprocess.Popen(
                pinned(OTHER_CORE, sys.executable, "-m", "bench.rows"),
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            self._answer()

    def ask(self, order: str) -> Any:
        """Give `bench.rows` an order; return its answer."""
        self.prepare()
        assert self._rows is not None
        assert self._rows.stdin is not None
        self._rows.stdin.write(f"{order}\n")
        self._rows.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._rows is not None
        assert self._rows.stdout is not None
        line = self._rows.stdout.readline()
        if not line:
            raise RuntimeError("The rows of the measured installation could not be made")
        return json.loads(line)

    def close(self) -> None:
        if self._rows is not None:
            with self._rows:  # which closes its pipes
                end(self._rows)


def command(peer: Peer, port: int, upstream: str) -> list[str]:
    python, host = sys.executable, "127.0.0.1"
    if peer.kind == "pump":
        return [python, "-m", "bench.pump", "--port", str(port), "--upstream", upstream]
    if peer.kind == "stock":
        return [python, "-m", "daphne", "-v", "0", "-b", host, "-p", str(port), "bench.stock:application"]
    return [python, "manage.py", "serve", "--server", peer.kind, "--host", host, "--port", str(port)]


@contextlib.contextmanager
def running(peer: Peer, installation: Installation | None, *, upstream_port: int, log: Path) -> Iterator[Running]:
    """Run a peer as a process of its own, on the core that is measured."""
    upstream = f"ws://127.0.0.1:{upstream_port}/v1/realtime?model=bench"
    port = free_port()
    if installation is not None:
        installation.prepare()
    environment = installation.environment if installation is not None else {**os.environ}
    environment |= {"BENCH_UPSTREAM": upstream, "BENCH_SLOW": "1" if peer.slow else ""}
    with log.open("ab") as output:
        process = subprocess.Popen(
            pinned(MEASURED_CORE, *command(peer, port, upstream)),
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=output,
        )
    try:
        wait_for_port(port, process)
        path = "/v1/realtime?model=bench" if peer.ours else "/"
        yield Running(peer, process.pid, port, f"ws://127.0.0.1:{port}{path}")
    finally:
        end(process)


@contextlib.contextmanager
def running_upstream() -> Iterator[tuple[int, int]]:
    """Run the upstream; yield its port and its process id."""
    port = free_port()
    process = subprocess.Popen(
        pinned(OTHER_CORE, sys.executable, "-m", "bench.upstream", "--port", str(port)), cwd=ROOT
    )
    try:
        wait_for_port(port, process)
        yield port, process.pid
    finally:
        end(process)


def load(orders: dict[str, Any], *, within_s: float) -> dict[str, Any]:
    """Run the generator with these orders; return what it measured."""
    answered = subprocess.run(
        pinned(OTHER_CORE, sys.executable, "-m", "bench.load"),
        cwd=ROOT,
        input=f"{json.dumps(orders)}\n",
        stdout=subprocess.PIPE,
        text=True,
        timeout=within_s,
        check=True,
    )
    measured: dict[str, Any] = json.loads(answered.stdout)
    return measured


@contextlib.contextmanager
def climbing(orders: dict[str, Any]) -> Iterator[Callable[[list[str]], dict[str, Any]]]:
    """Run the generator for rising numbers of callers; yield what adds callers, by their keys, and measures them."""
    process = subprocess.Popen(
        pinned(OTHER_CORE, sys.executable, "-m", "bench.load"),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    told, heard = process.stdin, process.stdout

    def tell(order: Any) -> None:
        told.write(f"{json.dumps(order)}\n")
        told.flush()

    def add(keys: list[str]) -> dict[str, Any]:
        tell(keys)
        measured: dict[str, Any] = json.loads(heard.readline() or "{}")
        return measured

    try:
        tell(orders)
        yield add
    finally:
        with contextlib.suppress(OSError):
            told.close()
        end(process)


def pinned(core: int, *arguments: str) -> list[str]:
    taskset = shutil.which("taskset")
    cores = os.sched_getaffinity(0)
    return [taskset, "-c", str(core), *arguments] if taskset and core in cores else [*arguments]


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


def wait_for_port(port: int, process: subprocess.Popen[Any]) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"A process ended with {process.returncode} before it listened")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.05)
    raise RuntimeError("A process did not listen in time")


def end(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=END_S)
    process.kill()
    process.wait()
