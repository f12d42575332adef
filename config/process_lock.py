"""Whether this server process may be one of several: without Redis the channel layer is in memory, and it may not."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

NAME = "serve.lock"


class Taken(Exception):
    """Another server process holds the lock. `holder` is its process id, or "" when it has not written it yet."""

    def __init__(self, holder: str) -> None:
        super().__init__(holder)
        self.holder = holder


def take(directory: Path) -> IO[str]:
    """Return the open lock file, held until it is closed or the process ends, in whatever way. Raises Taken."""
    directory.mkdir(parents=True, exist_ok=True)
    lock = (directory / NAME).open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read(20).strip()
        lock.close()
        raise Taken(holder) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock
