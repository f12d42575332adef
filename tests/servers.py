"""Real servers for tests: Daphne and uvicorn, each a process of its own on the test's database.

A server lives as long as the test run. Its upstream is a reserved port of loopback, on which a test runs its own
stand-in, or none. What the servers write to their log is there to be searched.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.test import override_settings
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from agents_app.models import Agent, ApiToken, Clinic, ClinicOrigin
from agents_app.publishing import publish
from sessions_app.client_secrets import Notice, mint
from sessions_app.models import CallSession
from sessions_app.standin.server import Standin, running_standin
from tests.make import make_agent
from tests.sessions_app.standin.recording import RecordingClient

KINDS = ("daphne", "uvicorn")
ORIGIN = "https://clinic.example"
PATIENCE_S = 20.0
START_S = 60.0  # until a server answers, on a machine that has much else to do
MAX_FRAME_BYTES = 16 * 1024 * 1024
T = TypeVar("T")
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback is never reached through a proxy


@dataclass(frozen=True)
class Server:
    kind: str
    port: int
    upstream_port: int
    log_path: Path
    data_dir: Path
    environment: dict[str, str]
    pid: int
    process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """Where the server looks for the Realtime API."""
        return self.environment["OPENAI_BASE_URL"]

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1"

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def get(self, path: str, *, timeout_s: float = PATIENCE_S, **headers: str) -> tuple[int, str]:
        """Return the status and the text of a page. Headers are spelled with underscores."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.origin + path, headers=fields)
        try:
            with _direct.open(request, timeout=timeout_s) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as answer:
            return answer.code, answer.read().decode()

    def figure(self, name: str) -> float:
        """Return what /metrics says now; 0 for what has not happened yet."""
        lines = [line.rpartition(" ") for line in self.get("/metrics")[1].splitlines()]
        return next((float(value) for named, _, value in lines if named == name), 0.0)

    def log(self) -> str:
        """Return all that the process has written."""
        return self.log_path.read_text()

    @contextlib.asynccontextmanager
    async def upstream(self, **options: Any) -> AsyncIterator[Standin]:
        """Run a stand-in where the server looks for the Realtime API; its `faults` are this test's own."""
        async with running_standin(port=self.upstream_port, **options) as standin:
            yield standin

    @contextlib.asynccontextmanager
    async def call(
        self,
        agent: Agent,
        *,
        key: str | None = None,
        origin: str = ORIGIN,
        own_events: bool = False,
        checked: bool = True,
    ) -> AsyncIterator[RecordingClient]:
        """Call the agent as a page does, with a fresh key, unless another is given."""
        value = key or await in_thread(lambda: new_key(agent, origin=origin))
        protocols = ["realtime", *(["frontdesk"] if own_events else []), f"openai-insecure-api-key.{value}"]
        async with connect(
            f"{self.url}/realtime?model={agent.public_name}",
            origin=origin or None,  # type: ignore[arg-type]  # a NewType of str
            subprotocols=[Subprotocol(one) for one in protocols],
            max_size=MAX_FRAME_BYTES,
            max_queue=None,  # a full one would keep the close of the server from being read
            open_timeout=PATIENCE_S,
        ) as socket:
            yield RecordingClient(socket, checked=checked and not own_events)


@pytest.fixture(scope="session")
def servers(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    """Return the server of a kind, begun when it is first asked for."""
    with contextlib.ExitStack() as stack:
        running: dict[str, Server] = {}

        def server(kind: str) -> Server:
            if kind not in running:
                running[kind] = stack.enter_context(running_server(kind, tmp_path_factory.mktemp(kind)))
            return running[kind]

        yield server


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest, servers: Callable[[str], Server], transactional_db: None) -> Server:
    """Both servers, one after the other. Rows are committed, since another process reads them."""
    return servers(request.param)


@pytest.fixture
def uvicorn(servers: Callable[[str], Server], transactional_db: None) -> Server:
    """For what does not depend on the server."""
    return servers("uvicorn")


@contextlib.contextmanager
def running_server(kind: str, directory: Path, **environment: str) -> Iterator[Server]:
    """Run a server process on the test's database; its settings are those of `_environment`, and these."""
    if not (directory / "static").exists():  # a server that is started again finds it
        (directory / "static").symlink_to(collected_static())
    # Bound and not listening: nobody else is given this port, and a stand-in may listen on it.
    with _loopback() as listener, _loopback() as reserved:
        listener.listen(128)
        upstream_port = reserved.getsockname()[1]
        log_path = directory / "log.txt"
        settings_of_it = {**_environment(upstream_port, directory), **environment}
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "manage.py", "serve", "--server", kind, "--fd", str(listener.fileno())],
                cwd=settings.BASE_DIR,
                env=settings_of_it,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[listener.fileno()],
            )
        port = listener.getsockname()[1]
        listener.close()  # the process has its own: when it is gone, nobody waits for it
        server = Server(kind, port, upstream_port, log_path, directory, settings_of_it, process.pid, process)
        try:
            if not _in_loop():
                with contextlib.suppress(OSError):  # it did not start: what a test then meets tells more
                    server.get("/healthz", timeout_s=START_S)
            yield server
        finally:
            _end(process)


def _in_loop() -> bool:
    """Whether an event loop runs here: what the server waits for may be a proxy in it."""
    with contextlib.suppress(RuntimeError):
        return asyncio.get_running_loop().is_running()
    return False


@cache
def collected_static() -> Path:
    """Collect the static files, as each deployment does; once in a test run."""
    directory = Path(tempfile.mkdtemp(prefix="frontdesk-static-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    hashed = {**settings.STORAGES, "staticfiles": {"BACKEND": "config.static_files.HashedFiles"}}
    with override_settings(STATIC_ROOT=directory, STORAGES=hashed):
        call_command("collectstatic", interactive=False, verbosity=0)
    return directory


@contextlib.contextmanager
def running_speech_standin(directory: Path) -> Iterator[str]:
    """Run a stand-in that hears and speaks, as a process; yield its base URL."""
    environment = {**os.environ, "DEBUG": "true", "DATA_DIR": str(directory)}
    with (directory / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "realtime_standin", "--port", "0"],
            cwd=settings.BASE_DIR,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        assert process.stdout is not None
        ready = process.stdout.readline()
        assert ready.startswith("stand-in listening on "), "the stand-in did not begin: see its log"
        yield f"http://{ready.split()[-1]}/v1"
    finally:
        _end(process)
        if process.stdout is not None:
            process.stdout.close()


def _end(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=PATIENCE_S)
    process.kill()
    process.wait()


def _loopback() -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", 0))
    return bound


def _environment(upstream_port: int, data_dir: Path) -> dict[str, str]:
    """Settings as outside DEBUG, with this run's own secrets."""
    return {
        **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
        "PYTHONUNBUFFERED": "1",
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DEBUG": "false",
        "SECRET_KEY": settings.SECRET_KEY,
        "DATA_KEYS": ",".join(settings.DATA_KEYS),
        "ALLOWED_HOSTS": "127.0.0.1",
        "DATA_DIR": str(data_dir),
        "DATABASE_URL": database_url(),
        "OPENAI_BASE_URL": f"http://127.0.0.1:{upstream_port}/v1",
        "OPENAI_API_KEY": "sk-test",
    }


def database_url() -> str:
    """Return the address of the database that this test run uses."""
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{database['NAME']}"
    login = database["USER"] + (f":{database['PASSWORD']}" if database["PASSWORD"] else "")
    return f"postgres://{login}@{database['HOST']}:{database['PORT'] or 5432}/{database['NAME']}"


async def in_thread(do: Callable[[], T]) -> T:
    """Use the database beside the event loop, and leave no connection behind."""

    def work() -> T:
        try:
            return do()
        finally:
            connection.close()

    return await asyncio.to_thread(work)


async def eventually(read: Callable[[], T], holds: Callable[[T], object]) -> T:
    """Return what is read once it holds: what another process writes can only be looked for."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds(found := await in_thread(read)):  # noqa: ASYNC110 - no event passes between processes
            await asyncio.sleep(0.02)
    return found


async def ended_call(agent: Agent) -> CallSession:
    """Return the agent's newest call once its end is stored."""

    def newest() -> CallSession | None:
        return CallSession.objects.filter(version__agent=agent).order_by("-started_at").first()

    found = await eventually(newest, lambda call: call is not None and call.state == CallSession.State.ENDED)
    assert found is not None
    return found


def live_agent(clinic: Clinic | None = None, *, origins: tuple[str, ...] = (ORIGIN,), **fields: Any) -> Agent:
    """A published agent, whose clinic's pages may call it from `origins`. Its fixed lines have no sound."""
    agent = make_agent(clinic, **fields)
    for origin in origins:
        ClinicOrigin.objects.get_or_create(clinic=agent.clinic, origin=origin)
    publish(agent, None, speak=lambda *args, **kwargs: None)
    return Agent.objects.select_related("clinic", "live_version").get(pk=agent.pk)


def new_key(agent: Agent, *, origin: str = ORIGIN, token: ApiToken | None = None) -> str:
    return mint(agent, origin=origin, api_token=token, notice=Notice())[0]
