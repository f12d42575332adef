"""Owns how a call's sound lies in its spool file: bytes to records and back. Knows no clock and keeps no state.

A file is a header, which names the audio format, and then records. Each carries a checksum: a process that dies
while it writes leaves half a record, and all before it is whole.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

MAGIC = b"FDSPOOL1"
MAX_SOUND_BYTES = 1 << 20  # of one record; longer sound is written as several
MAX_ITEM_BYTES = 255  # the length of an item's id is one byte

_HEADER = struct.Struct("<8sI16s")  # magic, bytes a millisecond, name of the format
_CHECKSUM = struct.Struct("<I")  # of all that follows in the record
_HEAD = struct.Struct("<IBBQ")  # length of the sound, kind, length of the id, number

CALLER, AGENT, CUT = 1, 2, 3


@dataclass(frozen=True)
class AudioFormat:
    """How sound is written, by its name in the Realtime API."""

    name: str
    bytes_per_ms: int
    bytes_per_sample: int


PCM = AudioFormat("audio/pcm", bytes_per_ms=48, bytes_per_sample=2)
MU_LAW = AudioFormat("audio/pcmu", bytes_per_ms=8, bytes_per_sample=1)
A_LAW = AudioFormat("audio/pcma", bytes_per_ms=8, bytes_per_sample=1)
FORMATS = {known.name: known for known in (PCM, MU_LAW, A_LAW)}


@dataclass(frozen=True)
class SpoolRecord:
    """Sound of one side, or a cut.

    `number` counts bytes of sound: where on the call's time line the sound begins, or how much of the item was heard.
    """

    kind: int
    number: int
    item: bytes = b""
    sound: bytes = b""


class SpoolUnreadable(Exception):
    """The file is no spool, or its audio format is unknown."""


def pack_header(audio_format: AudioFormat) -> bytes:
    return _HEADER.pack(MAGIC, audio_format.bytes_per_ms, audio_format.name.encode())


def pack_record(kind: int, number: int, item: bytes = b"", sound: bytes = b"") -> bytes:
    head = _HEAD.pack(len(sound), kind, len(item), number) + item
    return b"".join((_CHECKSUM.pack(zlib.crc32(sound, zlib.crc32(head))), head, sound))


def read_header(file: BinaryIO) -> AudioFormat:
    """Return the format of the sound in `file`, which is left at the first record. Raises SpoolUnreadable."""
    raw = file.read(_HEADER.size)
    if len(raw) < _HEADER.size:
        raise SpoolUnreadable
    magic, bytes_per_ms, name = _HEADER.unpack(raw)
    audio_format = FORMATS.get(name.rstrip(b"\0").decode("ascii", "replace"))
    if magic != MAGIC or audio_format is None or audio_format.bytes_per_ms != bytes_per_ms:
        raise SpoolUnreadable
    return audio_format


def read_records(file: BinaryIO) -> Iterator[SpoolRecord]:
    """Yield what was written whole; stop at the first record that was not."""
    while len(raw := file.read(_CHECKSUM.size + _HEAD.size)) == _CHECKSUM.size + _HEAD.size:
        (checksum,) = _CHECKSUM.unpack_from(raw)
        sound_length, kind, item_length, number = _HEAD.unpack_from(raw, _CHECKSUM.size)
        if sound_length > MAX_SOUND_BYTES:
            return
        body = file.read(item_length + sound_length)
        if zlib.crc32(body, zlib.crc32(raw[_CHECKSUM.size :])) != checksum:
            return
        yield SpoolRecord(kind, number, body[:item_length], body[item_length:])
