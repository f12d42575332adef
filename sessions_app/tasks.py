"""Jobs that run after a call, in the worker's process (`manage.py db_worker`).

The task's table keeps arguments and tracebacks as they are, so arguments are ids alone and no exception leaves a task.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils.module_loading import import_string
from django_tasks import task
from django_tasks_db.models import DBTaskResult

from sessions_app.models import CallSession, Recording
from sessions_app.recording import RECORDINGS_DIRECTORY, SPOOL_DIRECTORY, call_of_spool, spool_path

if TYPE_CHECKING:
    from sessions_app.encoding import Encoded

logger = logging.getLogger(__name__)

LEFT_AFTER = timedelta(seconds=60)  # whoever ends a call sees to its sound at once
KILLED_AFTER = timedelta(hours=1)  # a worker needs a minute for the longest call
MAX_KILLED = 3  # workers, over one recording: it may be what kills them
MAX_SPOOLS = 1000  # of which one look takes note
MAX_LEFT = 20  # whose sound is seen to in one look


def enqueue_recording(session: CallSession) -> Recording | None:
    """Have the call's sound encoded, where it may be kept and somebody was heard; otherwise remove it.

    For whoever ends the call, in a thread with a database connection, after the spool is closed. Row and task become
    visible together. Calling it again is harmless, and mends a call whose worker was killed.
    """
    spool = _spool(session.pk)
    if not session.recording_kept:
        spool.unlink(missing_ok=True)
        return None
    if not spool.exists():
        return None
    with transaction.atomic():
        recording, _ = Recording.objects.get_or_create(session=session)
        if recording.status == Recording.Status.WAITING:
            encode_recording.enqueue(str(session.pk))
    return recording


def enqueue_left() -> int:
    """Have the sound encoded that nobody saw to, or whose worker was killed. Return how many files there were."""
    directory = settings.DATA_DIR / SPOOL_DIRECTORY
    names = islice((entry.name for entry in os.scandir(directory)), MAX_SPOOLS) if directory.is_dir() else ()
    spools = {call_id for name in names if (call_id := call_of_spool(name)) is not None}
    ended = CallSession.objects.filter(state=CallSession.State.ENDED, ended_at__lt=Now() - LEFT_AFTER)
    left = list(ended.filter(pk__in=spools, recording=None)[:MAX_LEFT])
    late = CallSession.objects.filter(
        pk__in=spools,
        recording__status=Recording.Status.WAITING,
        recording__created_at__lt=Now() - KILLED_AFTER,
    )
    left += [session for session in late[:MAX_LEFT] if _is_nobodys(session)]
    for session in left:
        enqueue_recording(session)
    return len(left)


def _is_nobodys(session: CallSession) -> bool:
    """Whether no worker encodes a call's sound, or will. One that has killed several fails."""
    arguments = {"args": [str(session.pk)], "kwargs": {}}
    tasks = DBTaskResult.objects.filter(task_path=encode_recording.module_path, args_kwargs=arguments)
    queued, begun = tasks.filter(status="READY"), tasks.filter(status="RUNNING")
    if queued.exists() or begun.filter(started_at__gte=Now() - KILLED_AFTER).exists():
        return False
    if begun.count() < MAX_KILLED:
        return True
    _waiting(session.pk).update(status=Recording.Status.FAILED, error_code="WorkerKilled")
    return False


@task
def encode_recording(session_id: str) -> None:
    """Encode the spool of a call, and remove it. A second run finds nothing left to do."""
    call_id = UUID(session_id)
    try:
        _encode(call_id)
    except Exception as error:  # its text may name files or rows; the type is enough
        logger.error("Recording failed", extra={"call": session_id, "error": type(error).__name__})
        with suppress(DatabaseError):  # the row then goes on waiting, and may be enqueued again
            _waiting(call_id).update(status=Recording.Status.FAILED, error_code=type(error).__name__)


def _encode(call_id: UUID) -> None:
    spool = _spool(call_id)
    if _waiting(call_id).exists():
        path = settings.DATA_DIR / RECORDINGS_DIRECTORY / f"{secrets.token_urlsafe(24)}.m4a"
        # By name: every process imports this module, and the encoder's libraries take 16 MiB.
        encode: Callable[[Path, Path], Encoded] = import_string("sessions_app.encoding.encode")
        encoded = encode(spool, path)
        kept = False
        try:
            kept = _keep(call_id, path, encoded)
        finally:
            if not kept:  # another worker was faster, or the database is away: the file is nobody's
                path.unlink()
    if Recording.objects.filter(session_id=call_id, status=Recording.Status.READY).exists():
        spool.unlink(missing_ok=True)


def _keep(call_id: UUID, path: Path, encoded: Encoded) -> bool:
    """Name the finished file on the row. False when the row waits no longer."""
    return bool(
        _waiting(call_id).update(
            status=Recording.Status.READY,
            file_name=path.name,
            duration_ms=encoded.duration_ms,
            size_bytes=encoded.size_bytes,
            peaks=encoded.peaks,
        )
    )


def _waiting(call_id: UUID) -> QuerySet[Recording]:
    return Recording.objects.filter(session_id=call_id, status=Recording.Status.WAITING)


def _spool(call_id: UUID) -> Path:
    return spool_path(call_id, directory=settings.DATA_DIR / SPOOL_DIRECTORY)
