"""Owns how a recording reaches a player: to whom it belongs, and a part of it at a time. Knows nothing of how it was
made.

No address leads to the file itself: each request passes the same check, and its name on disk never leaves the server.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
from collections.abc import AsyncIterator
from typing import BinaryIO
from uuid import UUID

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from sessions_app.byte_ranges import RangeNotSatisfiable, requested_range
from sessions_app.models import CallSession, CallView, Recording
from sessions_app.recording import RECORDINGS_DIRECTORY
from sessions_app.review.reader import Reader

MAX_PART_BYTES = 1 << 20  # for one response; and read at a time, when the whole file is asked for
# What `secrets.token_urlsafe` makes: no separator, nothing that leads upwards, no NUL.
_FILE_NAME = re.compile(r"[A-Za-z0-9_-]{16,80}\.m4a")


@require_safe
@login_required
def recording(request: HttpRequest, pk: UUID) -> HttpResponseBase:
    """Answer with the sound of call `pk`, or with a part of it.

    A part is at most MAX_PART_BYTES, even where more was asked for: Content-Range says so, and players ask on.
    """
    reader = Reader(user=request.user)
    session = get_object_or_404(reader.calls().select_related("recording"), pk=pk)
    try:
        name = _file_name(session)
        file = _open(name)
    except (OSError, Recording.DoesNotExist):
        raise Http404 from None
    with file:
        size = os.fstat(file.fileno()).st_size
        headers = {
            "Accept-Ranges": "bytes",
            "Cache-Control": "no-store",
            "Content-Type": "audio/mp4",
            "Content-Disposition": f'inline; filename="call-{session.reference}.m4a"',
            "X-Content-Type-Options": "nosniff",
        }
        if request.method == "HEAD":  # a range has a meaning for GET alone
            return HttpResponse(headers={**headers, "Content-Length": str(size)})
        try:
            wanted = requested_range(request.headers.get("Range", ""), size)
        except RangeNotSatisfiable:
            return HttpResponse(status=416, headers={**headers, "Content-Range": f"bytes */{size}"})
        _note_listening(reader, session, start=wanted.start if wanted else 0)
        if wanted is None:
            return _whole(file, name, size, headers)
        return _part(file, wanted[:MAX_PART_BYTES], size, headers)


def _file_name(session: CallSession) -> str:
    """Return the name of the finished recording. Raises Recording.DoesNotExist."""
    if session.recording.status != Recording.Status.READY:
        raise Recording.DoesNotExist
    return session.recording.file_name


def _open(name: str) -> BinaryIO:
    """Open a plain file of the recordings directory. Raises OSError for anything that is none, links among them."""
    if not _FILE_NAME.fullmatch(name):
        raise FileNotFoundError
    path = settings.DATA_DIR / RECORDINGS_DIRECTORY / name
    # Without O_NONBLOCK, opening a pipe would wait for somebody to write to it.
    file = open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK), "rb")  # noqa: SIM115 - returned
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise FileNotFoundError
    return file


def _note_listening(reader: Reader, session: CallSession, *, start: int) -> None:
    """Leave a row for each listening: a player begins it at the first byte, and what it asks for later belongs to it.

    Whoever begins elsewhere, without ever having begun there, listens too.
    """
    audio = CallView.Door.AUDIO
    if start == 0 or not session.views.filter(door=audio, user=reader.user).exists():  # type: ignore[misc]  # logged in
        reader.note(session, audio)


def _part(file: BinaryIO, part: range, size: int, headers: dict[str, str]) -> HttpResponse:
    file.seek(part.start)
    content_range = f"bytes {part.start}-{part.stop - 1}/{size}"
    return HttpResponse(file.read(len(part)), status=206, headers={**headers, "Content-Range": content_range})


def _whole(file: BinaryIO, name: str, size: int, headers: dict[str, str]) -> HttpResponseBase:
    headers = {**headers, "Content-Length": str(size)}
    if size <= MAX_PART_BYTES:
        return HttpResponse(file.read(), headers=headers)
    # Asynchronous, since a server that speaks ASGI would first collect a plain iterator in memory.
    return StreamingHttpResponse(_pieces(name), headers=headers)


async def _pieces(name: str) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(_open, name) as file:
        while piece := await asyncio.to_thread(file.read, MAX_PART_BYTES):
            yield piece
