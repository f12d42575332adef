"""`manage.py serve`: one server process, as production runs it. Refuses a wrong start in one clear line.

One process, on one core: several are several units, each with a port, behind a proxy that asks `/readyz`. A socket
shared by several processes would go on giving calls to one that is draining or overloaded, and a parent that restarts
its children would hide from the system that they die.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import socket
import stat
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, NoReturn

from channels.routing import get_default_application
from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils.module_loading import import_string

from config import process_lock, static_files
from config.file_limit import raise_file_limit
from config.serving import SERVERS, Serve
from sessions_app.registry import close_registry, registry

HOST, PORT = "127.0.0.1", 8000
MAX_PORT = 65535
BACKLOG = 512
SOCKET_MODE = 0o660  # the proxy's user shares the group
RECEIVE_BUFFER_BYTES = 32 * 1024  # of a connection, half a second of sound: what is there is read in one go
SWITCH_S = 0.0005  # that a thread at work on the record may keep the loop waiting; Python would let it for 5 ms

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Serves calls and pages in one process, until SIGTERM; then lets the calls end, at most DRAIN_SECONDS."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--server", choices=sorted(SERVERS), default="uvicorn", help="default: %(default)s")
        parser.add_argument("--host", default=HOST, help="address to listen at (default: %(default)s)")
        parser.add_argument("--port", type=_port, default=PORT, help="0 picks a free one (default: %(default)s)")
        parser.add_argument("--uds", type=Path, metavar="PATH", help="listen at a Unix socket instead (uvicorn alone)")
        parser.add_argument("--fd", type=int, help="serve the listening socket that was handed over instead")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["uds"] and options["server"] == "daphne":
            _refuse("--uds works with uvicorn alone.")
        lock = _only_one()
        _refuse_uncollected()
        application = get_default_application()  # refuses a wrong installation
        try:
            listener = _listener(options)
        except OSError as error:
            _refuse(f"{_where(options)} cannot be used: {os.strerror(error.errno) if error.errno else error}.")
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        raise_file_limit()
        serve: Serve = import_string(SERVERS[options["server"]])
        sys.setswitchinterval(SWITCH_S)
        # All that is loaded by now stays: looking through it for garbage held every call for 60 ms at a time.
        gc.collect()
        gc.freeze()
        with lock:
            logger.info("Serving", extra={"server": options["server"], "url": _address(listener)})
            serve(application, listener, Lifetime())
            _end()


class Lifetime:
    """What the process does besides serving: watches its load, and lets its calls go."""

    def begin(self) -> None:
        registry().watch()

    async def drain(self) -> None:
        await registry().drain(settings.DRAIN_SECONDS)

    def hurry(self) -> None:
        registry().hurry()


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= MAX_PORT:
        raise ValueError
    return number


_port.__name__ = "port"


def _only_one() -> contextlib.AbstractContextManager[Any]:
    """Hold the lock that keeps a second process out, unless Redis joins them."""
    if settings.REDIS_URL:
        return contextlib.nullcontext()
    try:
        return process_lock.take(settings.DATA_DIR)
    except process_lock.Taken as taken:
        holder = f" (process {taken.holder})" if taken.holder else ""
        _refuse(f"another server{holder} runs on {settings.DATA_DIR}. Several processes need REDIS_URL.")


def _refuse_uncollected() -> None:
    if not settings.DEBUG and (trouble := static_files.trouble(Path(settings.STATIC_ROOT))):
        _refuse(f"{trouble} Run: python manage.py collectstatic --noinput")


def _listener(options: dict[str, Any]) -> socket.socket:
    if options["fd"] is not None:
        return socket.socket(fileno=options["fd"])
    if options["uds"]:
        return _unix_listener(options["uds"])
    family = socket.AF_INET6 if ":" in options["host"] else socket.AF_INET
    listener = socket.create_server((options["host"], options["port"]), family=family, backlog=BACKLOG)
    listener.setblocking(False)
    return listener


def _unix_listener(path: Path) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.stat().st_mode):  # of a process that was killed
            path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(SOCKET_MODE)
    listener.listen(BACKLOG)
    return listener


def _where(options: dict[str, Any]) -> str:
    if options["fd"] is not None:
        return f"File descriptor {options['fd']}"
    return str(options["uds"] or f"{options['host']}:{options['port']}")


def _address(listener: socket.socket) -> str:
    name = listener.getsockname()
    return name if isinstance(name, str) else f"{name[0]}:{name[1]}"


def _refuse(reason: str) -> NoReturn:
    sys.exit(f"Frontdesk cannot start: {reason}")


def _end() -> NoReturn:
    """Store what there is, and go. Without waiting for threads: one may hang in a tool or in a database."""
    close_registry()
    logger.info("Stopped")
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)
