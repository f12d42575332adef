"""Owns how facts lie in a journal file: facts to bytes and back. Knows no clock, no key and no file but to read it.

A file is a header, and then records, each a batch of facts. Each carries a checksum: a process that dies while it
writes leaves half a record, and all before it is whole. Each names the schema in which its facts are written, so that
a process of another version knows whether it understands them.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO
from uuid import UUID

from sessions_app.effects import CallEnded, EventSeen, Fact, ItemSaved, StateChanged

MAGIC = b"FDJRNL01"
SCHEMA = 1  # one more with each change of a fact's fields; `unpack_facts` then says how the former is read
MAX_CONTENT_BYTES = 64 << 20

KINDS: dict[str, type[Fact]] = {"event": EventSeen, "item": ItemSaved, "state": StateChanged, "end": CallEnded}
_NAMES = {kind: name for name, kind in KINDS.items()}
_RECORD = struct.Struct("<IIH")  # checksum of all that follows, length of the content, schema


@dataclass(frozen=True)
class Entry:
    """A fact of a call. Of two facts of one item, the one with the higher revision was told later."""

    session_id: UUID
    fact: Fact
    revision: int


@dataclass(frozen=True)
class JournalRecord:
    """One record, and where the next begins. `content` is None when it is not as it was written."""

    schema: int
    content: bytes | None
    end: int


class JournalUnreadable(Exception):
    """This process does not understand the file; another version of the program, or another key, may."""


def pack_facts(rows: Iterable[tuple[Entry, dict[str, Any]]]) -> bytes:
    """Return the content of a record: each entry with its fact's fields, ready to be stored.

    Raises ValueError and the like for a value that JSON has not.
    """
    facts = [[str(entry.session_id), _NAMES[type(entry.fact)], entry.revision, values] for entry, values in rows]
    return zlib.compress(json.dumps(facts, allow_nan=False, separators=(",", ":")).encode(), level=1)


def unpack_facts(schema: int, content: bytes) -> list[Entry]:
    """Return the facts of a record, oldest first. Raises JournalUnreadable."""
    if schema > SCHEMA:
        raise JournalUnreadable(f"Expected facts of schema {SCHEMA} or older, but got {schema}")
    try:
        facts = json.loads(zlib.decompress(content))
        return [Entry(UUID(call), KINDS[name](**values), revision) for call, name, revision, values in facts]
    except (ValueError, TypeError, KeyError, zlib.error) as error:
        raise JournalUnreadable(type(error).__name__) from None


def pack_record(content: bytes, *, schema: int = SCHEMA) -> bytes:
    body = _RECORD.pack(0, len(content), schema)[4:] + content
    return struct.pack("<I", zlib.crc32(body)) + body


def read_header(file: BinaryIO) -> bool:
    """Whether `file` is a journal; it is left at the first record."""
    return file.read(len(MAGIC)) == MAGIC


def read_records(file: BinaryIO) -> Iterator[JournalRecord]:
    """Yield the records from where `file` stands; stop at one that was not written whole."""
    end = file.tell()
    while len(raw := file.read(_RECORD.size)) == _RECORD.size:
        checksum, length, schema = _RECORD.unpack(raw)
        content = file.read(length) if length <= MAX_CONTENT_BYTES else b""
        if len(content) < length:
            return
        end += _RECORD.size + length
        whole = zlib.crc32(content, zlib.crc32(raw[4:])) == checksum
        yield JournalRecord(schema, content if whole else None, end)
