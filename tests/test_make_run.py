"""What `make run` starts, as a newcomer meets it: one parent that owns the demo's processes and ends them all."""

from __future__ import annotations

import asyncio
import json
import os
import re
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_S = 90
END_PATIENCE_S = 20
CHILDREN = ("realtime_standin", "daphne", "db_worker")

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waits for processes as Linux lets one wait")


@dataclass(frozen=True)
class Demo:
    """A demo that is ready. `said`: what the newcomer has read by then."""

    parent: subprocess.Popen[str]
    url: str
    said: str
    data_dir: Path

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def children(self) -> dict[str, int]:
        """Return the process ids by name."""
        pids = map(int, Path(f"/proc/{self.parent.pid}/task/{self.parent.pid}/children").read_text().split())
        commands = {pid: Path(f"/proc/{pid}/cmdline").read_text() for pid in pids}
        return {name: pid for name in CHILDREN for pid, command in commands.items() if name in command}

    def log(self, name: str) -> str:
        return (self.data_dir / "log" / str(self.port) / f"{name}.log").read_text()


def environment(data_dir: Path, **extra: str) -> dict[str, str]:
    without = ("DATABASE_URL", "REDIS_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL")
    return {**os.environ, **dict.fromkeys(without, ""), "DEBUG": "true", "DATA_DIR": str(data_dir), **extra}


def started(data_dir: Path, port: int = 0, **extra: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "manage.py", "demo", "--port", str(port)],
        cwd=ROOT,
        env=environment(data_dir, PYTHONUNBUFFERED="1", **extra),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def running_demo(data_dir: Path) -> Iterator[Demo]:
    parent = started(data_dir)
    assert parent.stdout is not None
    try:
        said = ""
        while "Logs: " not in said:
            line = parent.stdout.readline()
            assert line, f"The demo ended before it was ready: {parent.communicate()}"
            said += line
        url = re.findall(r"Frontdesk is ready: (http://127\.0\.0\.1:\d+)/", said)[0]
        yield Demo(parent, url, said, data_dir)
    finally:
        parent.terminate()
        parent.communicate(timeout=END_PATIENCE_S)


def refusal(data_dir: Path, port: int | str = 0, **extra: str) -> list[str]:
    """Return what is said by a demo that does not start."""
    run = subprocess.run(
        [sys.executable, "manage.py", "demo", "--port", str(port)],
        cwd=ROOT,
        env=environment(data_dir, **extra),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert run.returncode == 1
    return run.stderr.splitlines()


def await_end(pids: list[int]) -> None:
    """Wait until each process has ended."""
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            assert select.select([handle], [], [], END_PATIENCE_S)[0], f"Process {pid} goes on"
        finally:
            os.close(handle)


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
            return int(answer.status)
    except HTTPError as refused:
        return refused.code


def rows(data_dir: Path, table: str) -> list[Any]:
    with closing(sqlite3.connect(data_dir / "frontdesk.sqlite3")) as database:
        return database.execute(f"SELECT * FROM {table} ORDER BY id").fetchall()


def minted_key(demo: Demo) -> str:
    wanted = json.dumps({"session": {"type": "realtime", "model": "lexi"}}).encode()
    request = urllib.request.Request(
        f"{demo.url}/v1/realtime/client_secrets", data=wanted, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return str(json.load(answer)["value"])


def opened(demo: Demo) -> connect:
    headers = {"Authorization": f"Bearer {minted_key(demo)}"}
    return connect(f"{demo.url.replace('http', 'ws')}/v1/realtime?model=lexi", additional_headers=headers, proxy=None)


async def answer(call: ClientConnection) -> str:
    """Return the words of the next whole response."""
    words = ""
    async with asyncio.timeout(PATIENCE_S):
        async for frame in call:
            event = json.loads(frame)
            if event["type"] == "response.output_audio_transcript.done":
                words += event["transcript"]
            if event["type"] == "response.done":
                return words
    raise AssertionError("The call ended without an answer")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def demo(data_dir: Path) -> Iterator[Demo]:
    with running_demo(data_dir) as running:
        yield running


@pytest.fixture
def seeded(demo: Demo, tmp_path: Path) -> Path:
    """Return a data directory that holds the demo's rows already: another demo is ready sooner."""
    name = "frontdesk.sqlite3"
    with closing(sqlite3.connect(demo.data_dir / name)) as source, closing(sqlite3.connect(tmp_path / name)) as copy:
        source.backup(copy)
    return tmp_path


def test_newcomer_reads_where_to_go_and_how_to_log_in(demo: Demo) -> None:
    pages = [line.split()[-1] for line in demo.said.splitlines() if line.endswith("/")]

    assert [page.removeprefix(demo.url) for page in pages[1:]] == [
        "/talk/lexi/",
        "/talk/max/",
        "/calls/",
        "/tasks/",
        "/admin/",
    ]
    assert [status(page) for page in pages] == [200] * len(pages)
    assert "  manager     frontdesk-manager    manager of Barton Dental\n" in demo.said
    assert "demo voice, which is no model" in demo.said


async def test_receptionist_greets_and_answers(demo: Demo) -> None:
    async with opened(demo) as call:
        greeting = await answer(call)
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "When are you open?"}]}
        await call.send(json.dumps({"type": "conversation.item.create", "item": item}))
        await call.send(json.dumps({"type": "response.create"}))
        answered = await answer(call)

    assert greeting.startswith("Thank you for calling Barton Dental, this is Lexi.")
    assert answered


async def test_message_over_64_kib_drops_the_connection(demo: Demo) -> None:
    async with opened(demo) as call:
        await answer(call)

        await call.send("x" * (64 * 1024 + 1))
        with pytest.raises(ConnectionClosedError):
            await answer(call)

    assert status(demo.url) == 200


def test_demo_is_on_loopback_alone(demo: Demo) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", demo.port), timeout=PATIENCE_S)


def test_taken_port_is_one_line(demo: Demo, tmp_path: Path) -> None:
    said = refusal(tmp_path, demo.port)

    assert said == [
        f"Frontdesk: Port {demo.port} cannot be used: Address already in use. Try make run PORT={demo.port + 1}."
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("port", ["http", "-1", "65536"])
def test_impossible_port_is_one_line(tmp_path: Path, port: str) -> None:
    said = refusal(tmp_path, port)

    assert said == [f"Frontdesk: PORT must be a number from 0 to 65535, not {port!r}."]


def test_unusable_database_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "frontdesk.sqlite3").write_bytes(b"This is not a database. " * 100)

    said = refusal(tmp_path)

    assert said == ["Frontdesk: The database cannot be used: file is not a database."]


def test_terminated_parent_ends_each_child_and_says_so(seeded: Path) -> None:
    with running_demo(seeded) as demo:
        children = demo.children()
        demo.parent.send_signal(signal.SIGTERM)
        said, errors = demo.parent.communicate(timeout=END_PATIENCE_S)

    await_end(list(children.values()))
    assert list(children) == list(CHILDREN)
    assert (said, errors, demo.parent.returncode) == ("\nStopped.\n", "", 0)
    assert ["Traceback" in demo.log(name) for name in ("stand-in", "web-server", "worker", "seed")] == [False] * 4


def test_dead_child_is_named_and_the_others_end(seeded: Path) -> None:
    with running_demo(seeded) as demo:
        children = demo.children()
        os.kill(children["db_worker"], signal.SIGKILL)
        _, errors = demo.parent.communicate(timeout=END_PATIENCE_S)

    await_end(list(children.values()))
    log = seeded / "log" / str(demo.port) / "worker.log"
    assert errors.splitlines() == [f"Frontdesk: The worker ended with code -9; its log is {log}."]
    assert demo.parent.returncode == 1


def test_children_end_with_a_killed_parent_and_the_next_start_keeps_each_row(seeded: Path) -> None:
    tables = ("agents_app_clinic", "agents_app_agentversion", "practice_patient", "practice_appointment", "auth_user")
    first = {table: rows(seeded, table) for table in tables}
    with running_demo(seeded) as demo:
        children = demo.children()
        demo.parent.kill()
        await_end(list(children.values()))

    with running_demo(seeded) as again:
        second = {table: rows(seeded, table) for table in tables}

    assert second == first
    assert [len(first[table]) > 0 for table in tables] == [True] * len(tables)
    assert again.said.replace(again.url, "").replace(str(again.port), "") == (
        demo.said.replace(demo.url, "").replace(str(demo.port), "")
    )


def test_demo_refuses_a_database_of_somebody_elses(tmp_path: Path) -> None:
    settings = environment(tmp_path)
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=settings, check=True)
    add_clinic = (
        "from agents_app.models import Clinic; Clinic.objects.create(name='A real one', phone='+1 206 555 0100')"
    )
    subprocess.run([sys.executable, "manage.py", "shell", "-v0", "-c", add_clinic], cwd=ROOT, env=settings, check=True)

    said = refusal(tmp_path)

    assert said == [
        "Frontdesk: The database holds clinics that are not the demo's: name another in DATABASE_URL or DATA_DIR."
    ]
    assert rows(tmp_path, "auth_user") == []


def test_demo_is_refused_outside_debug(tmp_path: Path) -> None:
    key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

    said = refusal(tmp_path, DEBUG="false", SECRET_KEY="x" * 50, ALLOWED_HOSTS="localhost", DATA_KEYS=key)

    assert said == ["Frontdesk: The demo has passwords that anyone may know: it is for DEBUG only."]
