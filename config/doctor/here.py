"""What stands on this machine and beside it: settings, database, Redis, clock, disk, static files, worker."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from secrets import token_hex

import redis
from django.conf import settings
from django.core.checks import ERROR, run_checks
from django.db import DatabaseError, connection, connections, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder
from django.db.models.functions import Now
from django.utils.timezone import now
from django_tasks_db.models import DBTaskResult

from agents_app.immutability import missing_triggers
from agents_app.models import ClinicGroup
from config.doctor.findings import Finding, failed, ok, skipped, warning
from config.static_files import trouble
from config.tasks import still_here

MIB = 1024 * 1024
DISK_FAILS_BYTES, DISK_WARNS_BYTES = 512 * MIB, 2048 * MIB  # an hour of recorded sound is spooled as about 330 MiB
DATABASE_SKEW_S = 2.0
REDIS_TIMEOUT_S = 3.0
WORKER_TIMEOUT_S = 15.0
STUCK_AFTER = timedelta(hours=1)
POLL_S = 0.1


class _Undo(Exception):
    """Rolls a transaction back."""


def check_settings() -> Iterator[Finding]:
    """Run the checks that a server's start runs: keys, data keys, triggers, versions."""
    messages = run_checks(include_deployment_checks=True, databases=list(connections))
    errors = [message for message in messages if message.is_serious(ERROR)]
    for message in errors:
        yield failed("settings", f"{message.msg} {message.hint or ''}".strip())
    if settings.DEBUG:
        yield warning("settings", "DEBUG is on: set DEBUG=false on a machine that others reach.")
    elif not errors:
        yield ok("settings", "a server would start with them")


def check_database() -> Iterator[Finding]:
    try:
        connection.ensure_connection()
    except DatabaseError:
        yield failed("database", "cannot be reached: is it running, and is DATABASE_URL right?")
        return
    executor = MigrationExecutor(connection)
    missing = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    if missing:
        yield failed("database", f"{missing} migrations have not been applied: run manage.py migrate.")
        return
    name = f"doctor {token_hex(8)}"
    try:
        with suppress(_Undo), transaction.atomic():
            ClinicGroup.objects.create(name=name)
            raise _Undo
    except DatabaseError:
        yield failed("database", "cannot be written: is the disk full, or the user without rights?")
        return
    if ClinicGroup.objects.filter(name=name).exists():
        yield failed("database", "did not roll a transaction back: its tables have no transactions.")
        return
    yield ok("database", f"{connection.vendor}: writes, rolls back, all migrations applied")


def check_triggers() -> Iterator[Finding]:
    missing = missing_triggers(connection)
    if missing:
        yield failed("triggers", f"missing on {', '.join(missing)}: run manage.py migrate, it installs them again.")
    else:
        yield ok("triggers", "a published version cannot be changed")


def check_redis() -> Iterator[Finding]:
    if not settings.REDIS_URL:
        yield skipped("redis", "REDIS_URL is not set: run one server process alone")
        return
    mark = f"frontdesk:doctor:{token_hex(8)}"
    try:
        with redis.Redis.from_url(
            settings.REDIS_URL, socket_timeout=REDIS_TIMEOUT_S, socket_connect_timeout=REDIS_TIMEOUT_S
        ) as client:
            client.set(mark, "1", ex=10)
            client.delete(mark)
    except redis.RedisError as error:
        yield failed("redis", f"does not take a value ({type(error).__name__}): is it running, is REDIS_URL right?")
        return
    yield ok("redis", "takes values")


def check_database_clock() -> Iterator[Finding]:
    row = MigrationRecorder(connection).migration_qs.annotate(at=Now()).values_list("at", flat=True).first()
    skew_s = (now() - row).total_seconds() if row else 0.0
    if abs(skew_s) > DATABASE_SKEW_S:
        yield failed("clock", f"{skew_s:+.1f} s from the database's: run a time service (timedatectl set-ntp true).")
    else:
        yield ok("clock", "the same as the database's")


def check_disk() -> Iterator[Finding]:
    directory = settings.DATA_DIR
    try:
        with tempfile.NamedTemporaryFile(dir=directory, prefix="doctor-") as probe:
            probe.write(bytes(4096))
            probe.flush()
    except OSError as error:
        yield failed("disk", f"DATA_DIR cannot be written ({error.strerror}): it belongs to the user of the server.")
        return
    free = shutil.disk_usage(directory).free
    said = f"{free // MIB:,} MiB free in DATA_DIR"
    if free < DISK_FAILS_BYTES:
        yield failed("disk", f"{said}: make room, calls could not be recorded.")
    elif free < DISK_WARNS_BYTES:
        yield warning("disk", f"{said}: make room soon.")
    else:
        yield ok("disk", said)


def check_static_files() -> Iterator[Finding]:
    if settings.DEBUG:
        yield skipped("static files", "in DEBUG they are served from where they stand")
        return
    wrong = trouble(settings.STATIC_ROOT)
    yield failed("static files", f"{wrong} Run manage.py collectstatic.") if wrong else ok("static files", "collected")


def check_worker(*, within_s: float = WORKER_TIMEOUT_S) -> Iterator[Finding]:
    """Give the worker something to do and wait until it is done."""
    asked = still_here.enqueue()
    row = DBTaskResult.objects.filter(pk=asked.id)
    deadline = time.monotonic() + within_s
    while not (done := row.filter(status="SUCCESSFUL").exists()) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    row.delete()
    if not done:
        yield failed("worker", f"did nothing within {within_s:.0f} s: start manage.py db_worker --queue-name '*'.")
        return
    stuck = DBTaskResult.objects.filter(status="RUNNING", started_at__lt=now() - STUCK_AFTER).count()
    if stuck:
        yield warning("worker", f"works, but {stuck} tasks have been running for over an hour: they were killed.")
    else:
        yield ok("worker", "does what it is given")
