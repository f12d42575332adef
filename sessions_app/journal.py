"""Keeps facts on disk while the database does not take them: encrypted, append-only, each batch synced.

Owns the files of `DATA_DIR/journal`. Each has one owner, who holds its lock: the process that writes it, or, when that
has died, the one that replays it. Knows nothing of rows.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptography.fernet import InvalidToken, MultiFernet
from django.conf import settings

from sessions_app.journal_format import (
    MAGIC,
    Entry,
    JournalUnreadable,
    pack_record,
    read_header,
    read_records,
    unpack_facts,
)

logger = logging.getLogger(__name__)

JOURNAL_DIRECTORY = "journal"
MAX_BYTES = 256 << 20  # of all journals of one directory
QUARANTINE_BYTES = 16 << 20
OPEN_TRIES = 5
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


class JournalFull(OSError):
    """There is no room left for it."""


def sealed(content: bytes) -> bytes:
    return MultiFernet(settings.FERNETS).encrypt(content)


def unsealed(token: bytes) -> bytes:
    """Return what was sealed. Raises JournalUnreadable: the key may come back."""
    try:
        return MultiFernet(settings.FERNETS).decrypt(token)
    except InvalidToken:
        raise JournalUnreadable("No key of DATA_KEYS opens this record") from None


class JournalFile:
    """One file, locked by this process. Written by one thread and replayed by another."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path, self._descriptor = path, descriptor
        self._lock = threading.Lock()
        self._replayed, self._end = len(MAGIC), self._cut_torn_tail()

    def _cut_torn_tail(self) -> int:
        """Forget half a record at the end: what is written behind it would never be found. Return where it ends."""
        size = os.fstat(self._descriptor).st_size
        with open(self.path, "rb") as file:
            if not read_header(file):
                # Half a header was never a journal; another's is left as it is.
                return 0 if size < len(MAGIC) else size
            whole = max([record.end for record in read_records(file)], default=len(MAGIC))
        if whole < size:
            os.ftruncate(self._descriptor, whole)
        return whole

    @property
    def waiting_bytes(self) -> int:
        """How much of it is not replayed yet."""
        return max(0, self._end - self._replayed)

    @property
    def finished(self) -> bool:
        return self.waiting_bytes == 0

    @property
    def size_bytes(self) -> int:
        return self._end

    def append(self, record: bytes) -> None:
        """Return once it is on the disk. Raises OSError, and leaves no half of it behind."""
        with self._lock:
            if not self._end:
                record = MAGIC + record
            if os.fstat(self._descriptor).st_size != self._end:  # left by a write that failed
                os.ftruncate(self._descriptor, self._end)
            try:
                _write(self._descriptor, record)
                os.fsync(self._descriptor)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(self._descriptor, self._end)
                raise
            self._end += len(record)

    def batches(self) -> Iterator[tuple[list[Entry], int]]:
        """Yield what is not replayed yet, a record at a time, each with what `replayed` is then to be told.

        Raises JournalUnreadable.
        """
        with open(self.path, "rb") as file:
            if self._end and not read_header(file):
                raise JournalUnreadable("Expected a journal")
            file.seek(self._replayed)
            for record in read_records(file):
                if record.end > self._end:  # just being written
                    return
                if record.content is None:
                    logger.error("A journal's record is damaged", extra={"journal": self.path.name})
                    yield [], record.end
                else:
                    yield unpack_facts(record.schema, unsealed(record.content)), record.end

    def replayed(self, end: int) -> bool:
        """Forget what lies before `end`. True: that was all, and the file is empty again."""
        with self._lock:
            self._replayed = end
            if end < self._end:
                return False
            os.ftruncate(self._descriptor, 0)
            self._replayed, self._end = len(MAGIC), 0
            return True

    def close(self, *, remove: bool) -> None:
        if remove:
            self.path.unlink(missing_ok=True)
        os.close(self._descriptor)  # and with it the lock


class Journal:
    """What one process knows of the directory: its own file, made when it is first needed, and those of the dead."""

    def __init__(self, directory: Path, *, max_bytes: int = MAX_BYTES) -> None:
        self._directory, self._max_bytes = directory, max_bytes
        self._own: JournalFile | None = None
        self._others_bytes = 0
        self._left_alone: set[str] = set()

    @property
    def own(self) -> JournalFile | None:
        return self._own

    @property
    def waiting_bytes(self) -> int:
        return self._own.waiting_bytes if self._own is not None else 0

    def append(self, content: bytes) -> None:
        """Keep the packed facts of a batch. Raises OSError, JournalFull among them."""
        record = pack_record(sealed(content))
        if self._own is None:
            self._own = self._make()
        if self._others_bytes + self._own.size_bytes + len(record) > self._max_bytes:
            raise JournalFull
        self._own.append(record)

    def waiting(self) -> list[tuple[str, int]]:
        """Return the name and the size in bytes of each journal that is not replayed yet, whoever writes it."""
        return [(path.name, path.stat().st_size) for path in sorted(self._directory.glob("*.journal"))]

    def orphans(self) -> Iterator[JournalFile]:
        """Yield the files whose owner has died, locked. Whoever takes one closes it."""
        others_bytes = 0
        for path in sorted(self._directory.glob("*.journal")):
            if self._own is not None and path == self._own.path:
                continue
            orphan = None
            with suppress(OSError):  # another was faster
                others_bytes += path.stat().st_size
                orphan = _locked(path) if path.name not in self._left_alone else None
            if orphan is not None:
                yield orphan
        self._others_bytes = others_bytes

    def leave_alone(self, file: JournalFile) -> None:
        """Keep the file for a process that understands it. Of the own one, go on in another."""
        self._left_alone.add(file.path.name)
        if file is self._own:
            self._own = None
        file.close(remove=False)

    def let_go(self, file: JournalFile) -> None:
        """Give back what `orphans` gave; once all of it is replayed, it is removed. The own file is kept."""
        if file is not self._own:
            file.close(remove=file.finished)

    def close(self) -> None:
        """Let go of the own file. What waits in it is replayed by whoever comes next."""
        if self._own is not None:
            self._own.close(remove=self._own.finished)
            self._own = None

    def _make(self) -> JournalFile:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for _try in range(OPEN_TRIES):
            path = self._directory / f"{os.getpid()}-{secrets.token_hex(4)}.journal"
            os.close(os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600))
            if (made := _locked(path)) is not None:  # else another took it for an orphan
                _sync_directory(self._directory)
                return made
        raise JournalFull


class Quarantine:
    """Facts that the database refuses, for people to look at: `manage.py journal`. One file for all processes."""

    def __init__(self, directory: Path, *, max_bytes: int = QUARANTINE_BYTES) -> None:
        self._path, self._max_bytes = directory / "refused.quarantine", max_bytes

    def add(self, content: bytes) -> None:
        """Keep the packed fact. Raises OSError, JournalFull among them."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        record = pack_record(sealed(content))
        with self._locked() as file:
            if file.size_bytes + len(record) > self._max_bytes:
                raise JournalFull
            file.append(record)

    def look(self, stored: Callable[[Entry], bool]) -> list[tuple[Entry, bool]]:
        """Ask of each fact whether it is stored by now; once all are, forget them. Raises JournalUnreadable."""
        if not self._path.exists():
            return []
        with self._locked() as file:
            seen = [(entry, stored(entry)) for batch, _end in file.batches() for entry in batch]
            if all(is_stored for _entry, is_stored in seen):  # else asked again: a fact may be stored twice
                file.replayed(file.size_bytes)
            return seen

    @contextmanager
    def _locked(self) -> Iterator[JournalFile]:
        descriptor = os.open(self._path, _FLAGS | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # held for one record's write
            yield JournalFile(self._path, descriptor)
        finally:
            os.close(descriptor)


def _locked(path: Path) -> JournalFile | None:
    """Return the file if nobody else holds it, and it is still there."""
    descriptor = os.open(path, _FLAGS)
    file: JournalFile | None = None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink:
            file = JournalFile(path, descriptor)
    except BlockingIOError:
        pass
    finally:
        if file is None:  # whatever happened: a lock that nobody knows of would keep the journal from all
            os.close(descriptor)
    return file


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
