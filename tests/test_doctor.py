"""`manage.py doctor` with each part broken: the step that fails is named, and with it what to do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.utils.timezone import now

from agents_app.access import access_of
from agents_app.models import ClinicGroup, KeyRefusal, VoiceService
from config.doctor import here, public, upstream
from config.doctor.findings import Finding, Step, run
from sessions_app.standin.server import running_standin
from tests.make import make_clinic
from tests.servers import Server, _end, _environment, in_thread, live_agent
from tests.sessions_app.test_realtime import answer, door, self_signed, upgraded
from tests.test_startup import run as run_command

Found = list[tuple[str, str]]


def brief(findings: Iterator[Finding]) -> Found:
    return [(finding.step, finding.state.name.lower()) for finding in findings]


def said(findings: Iterator[Finding]) -> str:
    return "\n".join(finding.line() for finding in findings)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nobody listens on, and nobody is given."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


# This machine.


def test_database_that_cannot_be_reached_is_named_and_the_other_steps_go_on(tmp_path: Path, closed_port: int):
    nowhere = f"postgres://nobody:CANARY@127.0.0.1:{closed_port}/none"
    ended = run_command("manage.py", "doctor", "--url", "", "--json", data_dir=tmp_path, DATABASE_URL=nowhere)

    found = [json.loads(line) for line in ended.stdout.splitlines()]
    assert ended.returncode == 1
    states = {line["step"]: line["state"] for line in found}
    assert (states["database"], states["triggers"], states["disk"]) == ("failed", "skipped", "ok")
    assert "CANARY" not in ended.stdout + ended.stderr


@pytest.mark.django_db
def test_database_that_works_leaves_nothing_behind():
    assert brief(here.check_database()) == [("database", "ok")]
    assert not ClinicGroup.objects.exists()


@pytest.mark.django_db
def test_migration_that_was_not_applied_fails():
    applied = MigrationRecorder(connection).migration_qs.filter(app="agents_app")
    applied.filter(name=applied.order_by("name").values_list("name", flat=True).last()).delete()

    assert said(here.check_database()) == (
        "FAIL  database     1 migrations have not been applied: run manage.py migrate."
    )


@pytest.mark.django_db
def test_trigger_that_is_gone_fails():
    table = "agents_app_agentversion"
    with connection.cursor() as cursor:
        on = f' ON "{table}"' if connection.vendor == "postgresql" else ""
        cursor.execute(f'DROP TRIGGER "{table}_is_immutable"{on}')

    assert brief(here.check_triggers()) == [("triggers", "failed")]


def test_redis_that_does_not_answer_fails(settings: Any, closed_port: int):
    settings.REDIS_URL = f"redis://:CANARY@127.0.0.1:{closed_port}/0"
    closed = said(here.check_redis())
    settings.REDIS_URL = ""

    assert closed.startswith("FAIL  redis        does not take a value")
    assert "CANARY" not in closed
    assert brief(here.check_redis()) == [("redis", "skipped")]


@pytest.mark.django_db
@pytest.mark.parametrize(("minutes", "state"), [(0, "ok"), (5, "failed"), (-5, "failed")])
def test_clock_that_is_not_the_databases_fails(monkeypatch: pytest.MonkeyPatch, minutes: int, state: str):
    # A patch, since the machine's clock is everybody's.
    monkeypatch.setattr(here, "now", lambda: now() + timedelta(minutes=minutes))

    assert brief(here.check_database_clock()) == [("clock", state)]


@pytest.mark.parametrize(("free", "state"), [(10 * 1024**3, "ok"), (1024**3, "warning"), (100 * 1024**2, "failed")])
def test_disk_that_is_filling_up_is_told_before_it_is_full(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, state: str
):
    settings.DATA_DIR = tmp_path
    # A patch, since a test fills no disk.
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(20 * 1024**3, 0, free))

    assert brief(here.check_disk()) == [("disk", state)]


def test_data_directory_that_is_not_there_fails(settings: Any, tmp_path: Path):
    settings.DATA_DIR = tmp_path / "nowhere"

    assert brief(here.check_disk()) == [("disk", "failed")]


def test_static_files_that_were_not_collected_fail(settings: Any, tmp_path: Path):
    settings.DEBUG, settings.STATIC_ROOT = False, tmp_path

    assert brief(here.check_static_files()) == [("static files", "failed")]


@pytest.mark.django_db
def test_settings_with_which_no_server_would_start_are_told(settings: Any):
    settings.DEBUG, settings.OPENAI_API_KEY = False, ""
    live_agent(make_clinic(name="Elm Street"))

    told = said(here.check_settings())

    assert "FAIL  settings     The clinic Elm Street has a published receptionist, and no key" in told


def test_step_that_breaks_is_a_finding_and_does_not_tell_what_it_saw():
    def breaks() -> Iterator[Finding]:
        raise ValueError("postgres://user:CANARY@host")
        yield

    assert said(run([Step("database", breaks)])) == "FAIL  database     could not be tried: ValueError"


@pytest.mark.usefixtures("transactional_db")
def test_worker_is_found_at_work_or_not(tmp_path: Path):
    without = brief(here.check_worker(within_s=0.2))
    command = [sys.executable, "manage.py", "db_worker", "--no-reload", "--queue-name", "*", "--interval", "0.1"]
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen(
            command, cwd=django_settings.BASE_DIR, env=_environment(9, tmp_path), stdout=log, stderr=log
        )
    try:
        with_one = brief(here.check_worker(within_s=60))
    finally:
        _end(worker)

    assert (without, with_one) == ([("worker", "failed")], [("worker", "ok")]), (tmp_path / "log").read_text()


# The way to the Realtime API.


async def tried() -> Found:
    return await in_thread(lambda: brief(upstream.check_upstream()))


@pytest.mark.usefixtures("transactional_db")
async def test_each_clinics_key_is_tried_and_the_one_that_is_refused_is_named(settings: Any):
    async with running_standin(key="sk-good") as standin:
        settings.OPENAI_BASE_URL, settings.OPENAI_API_KEY = standin.http_url, ""

        def two_clinics() -> None:
            for name, key in (("Elm Street", "sk-good"), ("Oak Street", "sk-CANARY")):
                agent = live_agent(make_clinic(name=name))
                agent.clinic.set_upstream_key(key)
                KeyRefusal.objects.note(agent.clinic_id, access_of(agent.clinic).digest)

        await in_thread(two_clinics)
        told = await in_thread(lambda: said(upstream.check_upstream()))

    def refused() -> list[str]:
        return list(KeyRefusal.objects.exclude(key_digest="").values_list("clinic__name", flat=True))

    lines = told.splitlines()
    assert [line[:17].split() for line in lines] == [["ok", "upstream"], ["FAIL", "key"]]
    assert (lines[0][19:29], lines[1][19:29]) == ("Elm Street", "Oak Street")
    assert "CANARY" not in told
    assert await in_thread(refused) == ["Oak Street"]  # the key that works is let through again at once


@pytest.mark.usefixtures("transactional_db")
@pytest.mark.parametrize(
    ("faults", "step"),
    [
        ({"refuse_handshake": 403}, "key"), ({"refuse_handshake": 429}, "key"), ({"refuse_handshake": 404}, "socket"),
        ({"refuse_handshake": 500}, "socket"),
    ],
)  # fmt: skip
async def test_service_that_takes_no_call_is_named_by_the_step_that_fails(
    settings: Any, faults: dict[str, Any], step: str
):
    settings.OPENAI_API_KEY = "sk-ours"
    await in_thread(live_agent)
    async with running_standin(faults=faults) as standin:
        settings.OPENAI_BASE_URL = standin.http_url
        found = await tried()

    assert found == [(step, "failed")]


@pytest.mark.usefixtures("transactional_db")
@pytest.mark.parametrize("first", [b"", b'\x81\x1f{"type":"error","error":{"a":1}}', b"\x81\x04oops"])
async def test_service_that_takes_the_socket_and_makes_no_session_is_told(settings: Any, first: bytes):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            writer.write(upgraded((await reader.readuntil(b"\r\n\r\n")).decode()) + first)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    settings.OPENAI_API_KEY = "sk-ours"
    settings.OPENAI_BASE_URL = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    async with server:
        (found,) = await tried()

    assert found in [("session", "failed"), ("socket", "failed")]
    assert (found[0] == "session") is bool(first)


@pytest.mark.usefixtures("transactional_db")
async def test_service_that_is_not_there_or_not_trusted_fails_at_the_socket(
    settings: Any, tmp_path: Path, closed_port: int
):
    settings.OPENAI_API_KEY = "sk-ours"
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(self_signed(tmp_path))
    async with door(b"", tls=tls) as untrusted:
        for address in (f"http://127.0.0.1:{closed_port}/v1", f"https://127.0.0.1:{untrusted.port}/v1"):
            settings.OPENAI_BASE_URL = address
            assert await tried() == [("socket", "failed")]


@pytest.mark.usefixtures("transactional_db")
async def test_clock_that_is_not_the_services_fails(settings: Any):
    settings.OPENAI_API_KEY = "sk-CANARY"
    await in_thread(live_agent)
    async with door(answer("401 Unauthorized", headers=b"Date: Sat, 01 Jan 2000 00:00:00 GMT\r\n")) as opened:
        settings.OPENAI_BASE_URL = f"http://127.0.0.1:{opened.port}/v1"
        found = await tried()

    assert found == [("key", "failed"), ("clock", "failed")]
    assert b"CANARY" not in opened.requests[-1]  # the time is asked for without a key


@pytest.mark.django_db
def test_no_key_at_all_is_skipped_while_nothing_is_published_and_fails_afterwards(settings: Any):
    settings.OPENAI_API_KEY, settings.OPENAI_BASE_URL = "", "https://api.openai.com/v1"
    before = brief(upstream.check_upstream())
    service = VoiceService.objects.create(name="Azure", base_url="https://x.openai.azure.com/openai/v1")
    live_agent(make_clinic(voice_service=service))
    settings.OPENAI_API_KEY = "sk-ours"  # which is not shown to another service

    assert (before, brief(upstream.check_upstream())) == ([("key", "skipped")], [("key", "failed")])


# The public address.


async def at(url: str) -> Found:
    return await in_thread(lambda: brief(public.check_public(url)))


async def test_server_that_is_well_has_page_script_and_socket(server: Server, settings: Any):
    settings.DEBUG = False
    await in_thread(lambda: live_agent(public_name="lexi", origins=(server.origin,)))

    assert await at(server.origin) == [("server", "ok"), ("page", "ok"), ("socket", "ok")]


async def test_page_whose_own_address_the_clinic_does_not_list_is_told(uvicorn: Server, settings: Any):
    settings.DEBUG = False
    await in_thread(live_agent)

    assert ("page", "warning") in await at(uvicorn.origin)


async def test_name_that_is_not_allowed_is_told(uvicorn: Server):
    await in_thread(live_agent)

    told = await in_thread(lambda: said(public.check_public(f"http://localhost:{uvicorn.port}")))

    assert "FAIL  page         is not served under this name: add it to ALLOWED_HOSTS." in told


@pytest.mark.usefixtures("transactional_db")
async def test_server_that_is_down_is_told_once(closed_port: int):
    assert await at(f"http://127.0.0.1:{closed_port}") == [("server", "failed")]


@pytest.fixture
def https(tmp_path: Path) -> Iterator[Callable[[bool], str]]:
    """Serve 503 to everything over https; say whether the certificate shall be one that is trusted."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(self_signed(tmp_path))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(503)

        def log_message(self, format: str, *args: Any) -> None:
            """The test's output is no place for requests."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server, pytest.MonkeyPatch.context() as patch:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()

        def address(trusted: bool) -> str:
            if trusted:
                patch.setenv("SSL_CERT_FILE", str(tmp_path / "server.pem"))
            return f"https://127.0.0.1:{server.server_port}"

        yield address
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("transactional_db")
async def test_certificate_that_nobody_vouches_for_fails_and_nothing_is_said_of_the_page(https: Callable[[bool], str]):
    assert await at(https(False)) == [("certificate", "failed")]


@pytest.mark.usefixtures("db")
def test_address_that_is_none_is_told_and_none_is_skipped():
    assert [brief(public.check_public(url)) for url in ("", "ftp://x", "voice")] == [
        [("page", "skipped")],
        [("page", "failed")],
        [("page", "failed")],
    ]
