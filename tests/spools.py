"""Spools for tests: they share a disk, and are read when all of them is on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from sessions_app.recording import Spool
from sessions_app.spool_disk import SpoolDisk

DISK = SpoolDisk()
WRITTEN_S = 10.0


def a_spool(call_id: UUID, directory: Path, *, disk: SpoolDisk = DISK, **fields: Any) -> Spool:
    return Spool(call_id, disk=disk, directory=directory, **fields)


def finished(spool: Spool, *, disk: SpoolDisk = DISK) -> Path | None:
    """Close a spool; return its file when all of it is there, or None when nobody was heard."""
    path = spool.close()
    assert path is None or disk.written(path, WRITTEN_S)
    return path


@contextmanager
def standing_still(path: Path) -> Iterator[None]:
    """Let the disk stand still where this file is: whoever opens it waits. Afterwards it goes on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    try:
        yield
    finally:
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        path.unlink()
        os.close(reader)
