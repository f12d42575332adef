"""Owns the spool: a call's sound, written down with positions while the call goes on. Knows nothing of how it is
encoded afterwards, and never lets a slow disk, a full one or any other failure reach the call: see `spool_disk`.
"""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from sessions_app.spool_disk import SpoolDisk, SpoolFile
from sessions_app.spool_format import (
    AGENT,
    CALLER,
    CUT,
    FORMATS,
    MAX_ITEM_BYTES,
    MAX_SOUND_BYTES,
    AudioFormat,
    pack_header,
    pack_record,
)

SPOOL_DIRECTORY = "spool"  # below settings.DATA_DIR
RECORDINGS_DIRECTORY = "recordings"


def spool_path(call_id: UUID, *, directory: Path) -> Path:
    return directory / f"{call_id}.spool"


def call_of_spool(name: str) -> UUID | None:
    """Return whose sound a file of this name holds; None when it is no spool."""
    call_id, _, kind = name.partition(".")
    try:
        return UUID(call_id) if kind == "spool" else None
    except ValueError:
        return None


class Spool:
    """The sound of one call. Positions count from the beginning of the call, like an item's `started_ms`."""

    def __init__(
        self, call_id: UUID, *, disk: SpoolDisk, directory: Path, bytes_per_ms: int = 48, audio_format: str = ""
    ) -> None:
        """`audio_format` is the Realtime API's name; without it 48 bytes a millisecond mean PCM, and 8 mean mu-law.

        Nothing is written, and no file is made, before the first sound.
        """
        self.path = spool_path(call_id, directory=directory)
        self._disk = disk
        self._format = _format_of(audio_format, bytes_per_ms)
        self._file: SpoolFile | None = None
        self._caller_end = 0
        self._reply = _Reply()
        self._parts: dict[str, tuple[int, int]] = {}  # items that were sent in parts: which one, and its beginning

    def caller(self, pcm: bytes, *, at_ms: int) -> None:
        """Write what the caller said: it begins when it arrived, or where what came before it ends."""
        start = max(self._bytes(at_ms), self._caller_end)
        self._caller_end = start + self._write_sound(CALLER, start, b"", pcm)

    def agent(self, item_id: str, pcm: bytes, *, at_ms: int) -> None:
        """Write what was sent to the caller. A burst, sent ahead of time, is placed where the caller hears it."""
        item = self._item(item_id)
        start = max(self._bytes(at_ms), self._reply.end)
        self._reply.add(item, start, self._write_sound(AGENT, start, item, pcm))

    def cut(self, item_id: str, *, heard_ms: int) -> None:
        """The caller heard this much of the item: what follows of it is silence, and the next may begin at once."""
        item, heard = self._item(item_id), self._bytes(heard_ms - self._parts.get(item_id, (0, 0))[1])
        if self._file is not None:
            self._file.write(pack_record(CUT, heard, item))
        self._reply.cut(item, heard)

    def take_back(self, item_id: str, *, heard_ms: int) -> None:
        """What was sent of the item beyond this was not heard: it is cut, and comes again as another part of it."""
        self.cut(item_id, heard_ms=heard_ms)
        self._parts[item_id] = (self._parts.get(item_id, (0, 0))[0] + 1, heard_ms)
        self._reply = _Reply()  # nothing sounds any more: what comes next begins when it comes

    def close(self) -> Path | None:
        """Return where the file will be, or None when nobody was heard. A broken spool keeps what came before."""
        file, self._file = self._file, None
        if file is None:
            return None
        file.close()
        return self.path

    def _item(self, item_id: str) -> bytes:
        """Return the name of the part of the item that is sent now: a cut of one says nothing of another."""
        part = self._parts.get(item_id)
        return (item_id if part is None else f"{part[0]}~{item_id}").encode()[:MAX_ITEM_BYTES]

    def _bytes(self, ms: int) -> int:
        return max(0, ms) * self._format.bytes_per_ms

    def _write_sound(self, kind: int, start: int, item: bytes, pcm: bytes) -> int:
        """Write whole samples and return how many bytes they are: half a sample would turn all after it to noise."""
        length = len(pcm) - len(pcm) % self._format.bytes_per_sample
        for offset in range(0, length, MAX_SOUND_BYTES):
            sound = pcm[offset : min(offset + MAX_SOUND_BYTES, length)]
            if self._file is None:
                self._file = self._disk.file(self.path, pack_header(self._format))
            self._file.write(pack_record(kind, start + offset, item, sound))
        return length


class _Reply:
    """Where the agent's sound ends on the time line, and where each part of the newest item lies on it."""

    def __init__(self) -> None:
        self.end = 0
        self._item = b""
        self._length = 0
        self._parts: list[tuple[int, int]] = []  # (bytes of the item before it, its position); one for each gap

    def add(self, item: bytes, start: int, length: int) -> None:
        if item != self._item:
            self._item, self._length, self._parts = item, 0, []
        if not self._parts or start != self.end:
            self._parts.append((self._length, start))
        self._length += length
        self.end = start + length

    def cut(self, item: bytes, heard: int) -> None:
        """Let the time line end where the caller stopped hearing; an older item has nothing left to give back."""
        if item == self._item and heard < self._length:
            before, start = next(part for part in reversed(self._parts) if part[0] <= heard)
            self.end = start + heard - before


def _format_of(name: str, bytes_per_ms: int) -> AudioFormat:
    known = FORMATS[name] if name else next(each for each in FORMATS.values() if each.bytes_per_ms == bytes_per_ms)
    return known
