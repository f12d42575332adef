"""How facts lie in a journal: each comes back as it went, and what was not written whole costs nothing before it."""

from __future__ import annotations

import dataclasses
import io
import typing
from dataclasses import asdict
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions_app.effects import CallEnded, EventSeen, Fact, ItemSaved, StateChanged
from sessions_app.journal_format import (
    KINDS,
    MAGIC,
    SCHEMA,
    Entry,
    JournalRecord,
    JournalUnreadable,
    pack_facts,
    pack_record,
    read_header,
    read_records,
    unpack_facts,
)

NUMBERS = st.integers(min_value=0, max_value=2**53)
TEXTS = st.text(max_size=30)
JSON = st.dictionaries(TEXTS, st.recursive(NUMBERS | TEXTS | st.booleans() | st.none(), st.lists, max_leaves=5))
BY_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "int": NUMBERS,
    "int | None": NUMBERS | st.none(),
    "str": TEXTS,
    "bool": st.booleans(),
    "dict[str, Any]": JSON,
    "dict[str, int]": st.dictionaries(TEXTS, NUMBERS),
}


def facts_of(kind: type[Fact]) -> st.SearchStrategy[Fact]:
    return st.builds(kind, **{field.name: BY_TYPE[str(field.type)] for field in dataclasses.fields(kind)})


FACTS = st.one_of([facts_of(kind) for kind in KINDS.values()])
ENTRIES = st.builds(Entry, st.uuids(), FACTS, NUMBERS)
CONTENTS = st.lists(st.binary(max_size=60), max_size=6)


def packed(entries: list[Entry]) -> bytes:
    return pack_facts([(entry, asdict(entry.fact)) for entry in entries])


def file_of(contents: list[bytes]) -> bytes:
    return MAGIC + b"".join(pack_record(content) for content in contents)


def read(raw: bytes) -> list[JournalRecord]:
    file = io.BytesIO(raw)
    return list(read_records(file)) if read_header(file) else []


@given(st.lists(ENTRIES, max_size=5))
def test_facts_come_back_as_they_went(entries: list[Entry]):
    assert unpack_facts(SCHEMA, packed(entries)) == entries


@given(CONTENTS)
def test_records_come_back_as_they_went_and_say_where_the_next_begins(contents: list[bytes]):
    raw = file_of(contents)

    records = read(raw)

    assert [record.content for record in records] == contents
    assert [record.end for record in records] == [len(file_of(contents[: n + 1])) for n in range(len(contents))]


@given(CONTENTS.filter(bool))
def test_file_cut_at_any_byte_of_its_last_record_keeps_all_before_it(contents: list[bytes]):
    raw, whole = file_of(contents), len(file_of(contents[:-1]))

    for cut in range(whole, len(raw)):
        assert [record.content for record in read(raw[:cut])] == contents[:-1]


@given(CONTENTS.filter(bool), st.data())
def test_damaged_byte_costs_one_record_or_what_is_behind_it_and_never_invents_one(
    contents: list[bytes], data: st.DataObject
):
    raw = bytearray(file_of(contents))
    raw[data.draw(st.integers(len(MAGIC), len(raw) - 1))] ^= data.draw(st.integers(1, 255))

    kept = [record.content for record in read(bytes(raw)) if record.content is not None]

    assert len(kept) < len(contents)
    assert all(content in contents for content in kept)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(raw: bytes):
    for record in read(MAGIC + raw):
        assert record.content is None or pack_record(record.content, schema=record.schema) in raw


@given(st.binary(max_size=60))
def test_content_of_another_making_is_said_to_be_unreadable(content: bytes):
    with pytest.raises(JournalUnreadable):
        unpack_facts(SCHEMA, content)


def test_facts_of_a_later_schema_are_left_to_a_later_version():
    content = packed([Entry(UUID(int=1), StateChanged("live", 5), 7)])

    with pytest.raises(JournalUnreadable):
        unpack_facts(SCHEMA + 1, content)


def test_each_fact_has_a_place_in_the_journal():
    assert set(KINDS.values()) == set(typing.get_args(Fact))


# Written by schema 1 and never to be changed: a journal that an older version left is read by each later one.
WRITTEN_BY_SCHEMA_1 = bytes.fromhex(
    "46444a524e4c3031318f02215c0100000100780195525b4ec33010bc0ada6f839256952017e821a08a2c7b432d1c3bd8eb02"
    "aa7a77c64954105f251fcebebc9e99dde7676ad6efbefeff1c6baa25457ce220a4da469d29f33b755b45d62536e262a08e86"
    "14c77e8c963d8ae56b62c412e72986cc0f360646584b3f66dc6c140d8ebd858d66a2a5c02213c7c9b3b0a5cbe5a06e06e684"
    "47e06a81ab9abdb3e8355b15f614b35b10b68af2c4fa8d537d4b7b0f03a15892a958916373acd8f953e0efd34b699ac1d4d3"
    "0e77fb28604f9274c826b949fa8abb5e5cb9c14dc03e136c3760c8c1ae6e28de837cb12ece69248facd352fb78f5cc5127e8"
    "b054bb209c5299aa1cdda07d66759573a10834834b59fa9fc6f5eaadd26d2af999826a3775a62b1def4ebf46b5fb4f3b30c6"
    "20b668b60efa09fb5361eb3cafc85574308ba9375816e8071cb108865f1da8fbc1099c1595ac5f113a9344d19ebadd456145"
    "4ad565de1b4d5d8b45397c035bccd332"
)
FACTS_OF_SCHEMA_1 = [
    Entry(UUID(int=1), EventSeen(3, "from_model", "response.done", 30, {"status": "completed"}), 10),
    Entry(UUID(int=1), ItemSaved("item_1", 1, "caller", "speech", "Grüß Gott", "done", 120, heard_ms=80), 11),
    Entry(UUID(int=2), StateChanged("live", 5), 12),
    Entry(UUID(int=2), CallEnded(9000, "caller", "", "answered", {"total": 5}, {"a": 1}), 13),
]
# A change here is a new schema: raise SCHEMA, teach `unpack_facts` the former, and keep the bytes above.
FIELDS_OF_SCHEMA_1 = {
    "event": "seq direction type at_ms fields",
    "item": (
        "item_id position speaker source text transcript_state started_ms ended_ms audio_ms heard_ms heard_chars "
        "interrupted response_id first_audio_ms"
    ),
    "state": "state at_ms",
    "end": "at_ms reason error_code outcome usage counters",
}


def test_journal_of_an_older_version_is_still_read():
    (record,) = read(WRITTEN_BY_SCHEMA_1)

    assert record.schema == 1
    assert record.content is not None
    assert unpack_facts(1, record.content) == FACTS_OF_SCHEMA_1


def test_fields_of_facts_are_those_of_the_schema():
    fields = {name: " ".join(field.name for field in dataclasses.fields(kind)) for name, kind in KINDS.items()}

    assert (SCHEMA, fields) == (1, FIELDS_OF_SCHEMA_1)
