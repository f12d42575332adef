"""The file of a backup: a tar with the database, the files of DATA_DIR, and last a manifest of all their digests.

Read strictly: what is put back are the files that the manifest names, each with the digest that it had.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from config.backup.databases import Trouble

FORMAT = 1
MANIFEST, DATABASE, FILES = "manifest.json", "database", "files"
MAX_MANIFEST_BYTES = 256 * 1024 * 1024
CHUNK_BYTES = 1024 * 1024
# Made anew, or another process's own.
LEFT_OUT = {"static", "log", "serve.lock", ".incoming"}

Manifest = dict[str, Any]


class Writer:
    """Writes one archive. `files` fills with what was written: name -> [bytes, SHA-256]."""

    def __init__(self, path: Path) -> None:
        self.files: dict[str, list[Any]] = {}
        self._tar = tarfile.open(path, "w")  # noqa: SIM115 - closed by `finish`

    def add(self, name: str, file: IO[bytes]) -> None:
        """Add what is open here, as long as it is now: it may grow meanwhile, and never become shorter."""
        info = tarfile.TarInfo(name)
        info.size, info.mode = file.seek(0, os.SEEK_END), 0o600
        file.seek(0)
        reader = _Hashing(file)
        self._tar.addfile(info, reader)  # type: ignore[arg-type]  # it reads, and does nothing else
        self.files[name] = [info.size, reader.digest.hexdigest()]

    def finish(self, manifest: Manifest) -> None:
        text = json.dumps({**manifest, "format": FORMAT, "files": self.files}, indent=1).encode()
        info = tarfile.TarInfo(MANIFEST)
        info.size, info.mode = len(text), 0o600
        self._tar.addfile(info, io.BytesIO(text))
        self._tar.close()


class _Hashing:
    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        return data


def settled(read: Callable[[], bytes]) -> bytes:
    """Return what a file held at one moment that is emptied and filled anew at times: never a half of each."""
    data = read()
    while not (again := read()).startswith(data):
        data = again
    return data


def files_of(directory: Path, *, database: str) -> Iterator[Path]:
    """Yield the files of DATA_DIR that belong into a backup; the database's own go another way."""
    own = {Path(database + suffix) for suffix in ("", "-wal", "-shm", "-journal")}
    for folder, folders, names in os.walk(directory):
        if Path(folder) == directory:
            folders[:] = [name for name in folders if name not in LEFT_OUT and not name.startswith(".restore-")]
            names = [name for name in names if name not in LEFT_OUT]
        for name in names:
            path = Path(folder, name)
            if path not in own and path.is_file() and not path.is_symlink():
                yield path


def unpack(path: Path, directory: Path) -> Manifest:
    """Unpack an archive into an empty directory, check every byte, and return its manifest. Raises Trouble."""
    seen: dict[str, list[Any]] = {}
    manifest: Manifest | None = None
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                source = tar.extractfile(member) if member.isreg() else None
                if source is None:
                    raise Trouble(f"{path} holds what no backup of ours holds.")
                if member.name == MANIFEST and member.size <= MAX_MANIFEST_BYTES:
                    manifest = json.load(source)
                else:
                    seen[member.name] = _copy(source, directory / _safe(member.name))
    except (tarfile.TarError, ValueError, EOFError):
        raise Trouble(f"{path} is not a whole backup: it was cut short or changed.") from None
    if manifest is None or manifest.get("format") != FORMAT or manifest.get("files") != seen or DATABASE not in seen:
        raise Trouble(f"{path} is not a whole backup: it was cut short or changed.")
    return manifest


def _safe(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or path.parts[0] not in (DATABASE, FILES):
        raise Trouble("The archive names a file outside of itself.")
    return path


def _copy(source: IO[bytes], path: Path) -> list[Any]:
    path.parent.mkdir(parents=True, exist_ok=True)
    size, digest = 0, hashlib.sha256()
    with path.open("xb") as target:
        while data := source.read(CHUNK_BYTES):
            size += len(data)
            digest.update(data)
            target.write(data)
    return [size, digest.hexdigest()]
