"""`manage.py demo`: the parent of `make run`. Owns the demo's processes; whatever goes wrong is one clear line.

It makes nothing itself: the stand-in, the pack and the pages belong to the apps.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import DatabaseError, connection
from django.db.migrations.exceptions import InconsistentMigrationHistory

from agents_app.demo.pack import CLINICS
from agents_app.models import Agent, Clinic
from config.children import Child, ChildFailed, Children
from config.welcome import welcome

HOST = "127.0.0.1"
START_TIMEOUT_S = 60
SEED_TIMEOUT_S = 180  # with a real key each fixed line is a request
PAGE_TIMEOUT_S = 5
MAX_PORT = 65535
BACKLOG = 128
MAX_MESSAGE_BYTES = 64 * 1024  # as the contract says; Daphne's own limit is 1 MiB
STANDIN_SAYS = f"stand-in listening on {HOST}:"

Environment = dict[str, str]


class Trouble(Exception):
    """Why there is no demo, in a line for whoever started it."""


class Command(BaseCommand):
    help = "Serves the demo on loopback: stand-in, demo clinics, pages and worker, until Ctrl-C."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", default="8000", help="0 picks a free one (default: %(default)s)")

    def handle(self, *args: Any, **options: Any) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)
        try:
            if not settings.DEBUG:
                raise Trouble("The demo has passwords that anyone may know: it is for DEBUG only.")
            with bound_listener(options["port"]) as listener:
                self._serve(listener)
        except KeyboardInterrupt:
            self.stdout.write("\nStopped.")
        except (Trouble, ChildFailed) as reason:
            sys.exit(f"Frontdesk: {reason}")
        except OSError as error:
            sys.exit(f"Frontdesk: {error.strerror}: {error.filename}.")

    def _serve(self, listener: socket.socket) -> None:
        port = listener.getsockname()[1]
        url = f"http://{HOST}:{port}"
        logs = settings.DATA_DIR / "log" / str(port)
        self.stdout.write(f"Starting the demo at {url}/")
        with Children(directory=settings.BASE_DIR, logs=logs) as children:
            environment = child_environment()
            standin = start_standin(children, environment) if uses_standin() else None
            prepare_database()
            if standin:
                environment |= upstream_of(children, standin)
            web = start_web(children, listener, environment)
            start_worker(children, environment)
            report = seed(environment, log=logs / "seed.log")
            talk_url = url + report["agents"][0]["path"]
            children.wait_for(web, lambda: page_answers(talk_url), timeout_s=START_TIMEOUT_S)
            self.stdout.write(welcome(url, report, logs=logs, demo_voice=standin is not None))
            self.stdout.flush()
            children.watch()


def bound_listener(port: str) -> socket.socket:
    """Return a listening socket. Bound before anything is made, and handed on: nobody else takes the port meanwhile."""
    if not port.isdecimal() or int(port) > MAX_PORT:
        raise Trouble(f"PORT must be a number from 0 to {MAX_PORT}, not {port!r}.")
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, int(port)))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        another = int(port) + 1 if 1024 <= int(port) < MAX_PORT else 8000  # those below belong to root
        raise Trouble(f"Port {port} cannot be used: {error.strerror}. Try make run PORT={another}.") from None
    return listener


def uses_standin() -> bool:
    return bool(settings.OPENAI_BASE_URL == settings.STANDIN_URL)


def child_environment() -> Environment:
    # Loopback is never reached through a proxy.
    without_proxy = [name for name in (os.environ.get("no_proxy"), HOST) if name]
    return {**os.environ, "no_proxy": ",".join(without_proxy)}


def start_standin(children: Children, environment: Environment) -> Child:
    return children.start("stand-in", "manage", "realtime_standin", "--port", "0", environment=environment)


def upstream_of(children: Children, standin: Child) -> Environment:
    """Wait until the stand-in says its port, and return where the other processes find it."""

    def port() -> str | None:
        said = standin.log.read_text(errors="replace").partition(STANDIN_SAYS)[2]
        return said.partition("\n")[0] if "\n" in said else None

    found = children.wait_for(standin, port, timeout_s=START_TIMEOUT_S)
    return {"STANDIN_PORT": found, "OPENAI_BASE_URL": f"http://{HOST}:{found}/v1"}


def prepare_database() -> None:
    try:
        call_command("migrate", verbosity=0, interactive=False)
        refuse_foreign_database()
    except (DatabaseError, InconsistentMigrationHistory) as error:
        raise Trouble(f"The database cannot be used: {str(error).strip().splitlines()[0]}.") from None
    finally:
        connection.close()


def refuse_foreign_database() -> None:
    """The demo's logins have public passwords: they do not belong beside a clinic's own data."""
    names = [pack.agent.public_name for pack in CLINICS]
    if Clinic.objects.exists() and not Agent.objects.filter(public_name__in=names).exists():
        raise Trouble("The database holds clinics that are not the demo's: name another in DATABASE_URL or DATA_DIR.")


def start_web(children: Children, listener: socket.socket, environment: Environment) -> Child:
    limits = {"--websocket-max-message-size": MAX_MESSAGE_BYTES, "--websocket-max-frame-size": MAX_MESSAGE_BYTES}
    return children.start(
        "web server",
        "daphne",
        *("--fd", str(listener.fileno()), "--verbosity", "0", "--no-server-name"),
        *(str(part) for option in limits.items() for part in option),
        "config.asgi:application",
        environment=environment,
        pass_fds=(listener.fileno(),),
    )


def start_worker(children: Children, environment: Environment) -> Child:
    return children.start("worker", "manage", "db_worker", "--no-reload", "--queue-name", "*", environment=environment)


def seed(environment: Environment, *, log: Path) -> dict[str, Any]:
    command = [sys.executable, "manage.py", "seed_demo", "--json"]
    with log.open("wb") as errors:
        try:
            output = subprocess.check_output(
                command,
                cwd=settings.BASE_DIR,
                env=environment,
                stdin=subprocess.DEVNULL,
                stderr=errors,
                timeout=SEED_TIMEOUT_S,
            )
        except subprocess.SubprocessError:
            raise Trouble(f"The demo's data could not be written; the reason is in {log}.") from None
    report: dict[str, Any] = json.loads(output)
    return report


def page_answers(url: str) -> bool | None:
    """Return True for a page, None while nobody answers."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=PAGE_TIMEOUT_S):
            return True
    except urllib.error.HTTPError as answer:
        raise Trouble(f"The page {url} answers {answer.code}; the log is {settings.DATA_DIR / 'log'}.") from None
    except OSError:
        return None
