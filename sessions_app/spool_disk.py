"""Writes the calls' spools to the disk, on a thread of its own: a disk that stands still holds no call up.

The kernel takes a write at once, until it has too much to write: then it lets the writer wait, for a second and more.
What waits here meanwhile is bounded. A spool that finds no room in it, or whose file fails, is broken: what lies after
a gap would have to be trusted, and a full disk must not be tried again.
"""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from queue import SimpleQueue

logger = logging.getLogger(__name__)

BUFFER_BYTES = 32 * 1024  # a third of a second of a call; a killed process loses it, and what waits for the disk
MAX_WAITING_BYTES = 64 << 20  # for the disk, of all calls: 6 s of a hundred


class SpoolDisk:
    """One of these per process."""

    def __init__(self, *, max_waiting_bytes: int = MAX_WAITING_BYTES) -> None:
        self._max_waiting_bytes = max_waiting_bytes
        self._waiting_bytes = 0
        self._lock = threading.Lock()  # of the figure above and of the files
        self._files: dict[Path, SpoolFile] = {}  # that are not on the disk to their end
        self._jobs: SimpleQueue[tuple[SpoolFile, bytes | None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="spools", daemon=True)
        self._thread.start()

    def file(self, path: Path, header: bytes) -> SpoolFile:
        """Return a file to write to. It is made with the first of it that comes to the disk."""
        file = SpoolFile(self, path, header)
        with self._lock:
            self._files[path] = file
        return file

    def written(self, path: Path, timeout_s: float) -> bool:
        """Wait until the file is on the disk to its end, as far as it can be. Blocks: not for the event loop."""
        with self._lock:
            file = self._files.get(path)
        return file is None or file.ended.wait(timeout_s)

    def close(self, timeout_s: float) -> None:
        """Write what is there, and stop."""
        self._jobs.put(None)
        self._thread.join(timeout_s)

    def take(self, file: SpoolFile, piece: bytes) -> bool:
        """Take a piece of a file. Never waits: False when there is no room for it."""
        with self._lock:
            if self._waiting_bytes + len(piece) > self._max_waiting_bytes:
                return False
            self._waiting_bytes += len(piece)
        self._jobs.put((file, piece))
        return True

    def end(self, file: SpoolFile) -> None:
        """Nothing more comes for this file."""
        self._jobs.put((file, None))

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            file, piece = job
            if piece is None:
                file.finish()
                self._forget(file)
                continue
            file.store(piece)
            with self._lock:
                self._waiting_bytes -= len(piece)

    def _forget(self, file: SpoolFile) -> None:
        with self._lock:
            if self._files.get(file.path) is file:  # and not one in which the call went on
                del self._files[file.path]


class SpoolFile:
    """One call's file. `write` and `close` are the loop's, `store` and `finish` the disk's."""

    def __init__(self, disk: SpoolDisk, path: Path, header: bytes) -> None:
        self.path = path
        self.broken = False
        self.ended = threading.Event()
        self._disk, self._header = disk, header
        self._descriptor: int | None = None
        self._failed = False
        self._records: list[bytes] = []  # not handed over yet
        self._bytes = 0

    def write(self, record: bytes) -> None:
        if self.broken:
            return
        self._records.append(record)
        self._bytes += len(record)
        if self._bytes >= BUFFER_BYTES:
            self._hand_over()

    def close(self) -> None:
        """Nothing more is written. Whoever reads the file asks `SpoolDisk.written` first."""
        self._hand_over()
        self._disk.end(self)

    def _hand_over(self) -> None:
        piece = b"".join(self._records)
        self._records, self._bytes = [], 0
        if piece and not self._disk.take(self, piece):
            self._break("NoRoom")

    def store(self, piece: bytes) -> None:
        if self._failed:
            return
        try:
            if self._descriptor is None:
                self._descriptor = _open(self.path)
                if os.fstat(self._descriptor).st_size == 0:
                    piece = self._header + piece
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            self._failed = True
            self._break(type(error).__name__)

    def finish(self) -> None:
        try:
            if self._descriptor is not None:
                os.close(self._descriptor)
        except OSError as error:
            self._break(type(error).__name__)
        self.ended.set()

    def _break(self, error: str) -> None:
        """Write nothing more; what was taken before still goes to the disk, where that takes it."""
        self.broken = True
        logger.error("Spool broken", extra={"call": self.path.stem, "error": error})


def _open(path: Path) -> int:
    """Open the file for its owner alone. A call that comes back to another process goes on in the same file."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
