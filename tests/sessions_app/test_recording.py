from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

from sessions_app.recording import Spool
from sessions_app.spool_format import (
    A_LAW,
    AGENT,
    CALLER,
    CUT,
    MAX_SOUND_BYTES,
    MU_LAW,
    PCM,
    AudioFormat,
    SpoolRecord,
    SpoolUnreadable,
    read_header,
    read_records,
)
from tests.spools import a_spool, finished

MS = PCM.bytes_per_ms


def make_spool(directory: Path, **fields: Any) -> Spool:
    return a_spool(uuid.UUID(int=7), directory / "spool", **fields)


def sound(ms: int, *, value: int = 1) -> bytes:
    return bytes([value, 0]) * (ms * MS // 2)


def written(spool: Spool) -> tuple[AudioFormat, list[SpoolRecord]]:
    path = finished(spool)
    assert path is not None
    return read(path)


def read(path: Path) -> tuple[AudioFormat, list[SpoolRecord]]:
    with path.open("rb") as file:
        return read_header(file), list(read_records(file))


def places(spool: Spool, kind: int) -> list[tuple[float, float]]:
    """Return (position, length) of each sound of one side, in milliseconds."""
    return [(record.number / MS, len(record.sound) / MS) for record in written(spool)[1] if record.kind == kind]


def test_caller_sound_is_kept_as_it_came(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)

    spool.caller(b"\x01\x02\x03\x04", at_ms=5)

    assert written(spool) == (PCM, [SpoolRecord(CALLER, 5 * MS, b"", b"\x01\x02\x03\x04")])


def test_caller_frame_that_arrives_early_begins_where_the_last_one_ends(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)

    for at_ms in (100, 110, 300, 335):
        spool.caller(sound(40), at_ms=at_ms)

    assert places(spool, CALLER) == [(100, 40), (140, 40), (300, 40), (340, 40)]


def test_burst_of_agent_sound_is_laid_end_to_end(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)

    for _ in range(3):
        spool.agent("item_1", sound(200), at_ms=1000)

    assert places(spool, AGENT) == [(1000, 200), (1200, 200), (1400, 200)]


def test_sides_do_not_push_each_other(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)

    spool.agent("item_1", sound(500), at_ms=0)
    spool.caller(sound(40), at_ms=20)

    assert places(spool, CALLER) == [(20, 40)]


def test_reply_after_a_cut_begins_at_once(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    spool.agent("item_1", sound(4000), at_ms=1000)
    spool.cut("item_1", heard_ms=700)

    spool.agent("item_2", sound(100), at_ms=2000)

    assert places(spool, AGENT) == [(1000, 4000), (2000, 100)]


def test_cut_after_a_gap_counts_the_items_own_sound(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    spool.agent("item_1", sound(100), at_ms=0)
    spool.agent("item_1", sound(300), at_ms=1000)
    spool.cut("item_1", heard_ms=150)

    spool.agent("item_2", sound(10), at_ms=500)

    assert places(spool, AGENT) == [(0, 100), (1000, 300), (1050, 10)]


def test_sound_that_is_sent_again_lies_where_it_was_heard(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    spool.agent("item_1", sound(3000), at_ms=1000)
    spool.take_back("item_1", heard_ms=800)
    spool.take_back("item_2", heard_ms=0)  # none of it had gone out

    spool.agent("item_1", sound(2200), at_ms=2500)
    spool.cut("item_1", heard_ms=1300)

    records = [record for record in written(spool)[1] if record.kind != CALLER]
    assert [(r.kind, r.number // MS, r.item, len(r.sound) // MS) for r in records] == [
        (AGENT, 1000, b"item_1", 3000),
        (CUT, 800, b"item_1", 0),
        (CUT, 0, b"item_2", 0),
        (AGENT, 2500, b"1~item_1", 2200),
        (CUT, 500, b"1~item_1", 0),
    ]


@pytest.mark.parametrize("heard_ms", [100, 5000])
def test_cut_beyond_what_was_sent_moves_nothing(tmp_path: Path, heard_ms: int) -> None:
    spool = make_spool(tmp_path)
    spool.agent("item_1", sound(100), at_ms=0)
    spool.cut("item_1", heard_ms=heard_ms)

    spool.agent("item_2", sound(10), at_ms=0)

    assert places(spool, AGENT) == [(0, 100), (100, 10)]


def test_cut_of_an_older_item_leaves_the_newer_one_where_it_is(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    spool.agent("item_1", sound(100), at_ms=0)
    spool.agent("item_2", sound(100), at_ms=0)
    spool.cut("item_1", heard_ms=50)

    spool.agent("item_2", sound(10), at_ms=0)

    assert places(spool, AGENT) == [(0, 100), (100, 100), (200, 10)]


def test_cut_is_kept_in_bytes_of_the_item(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    spool.agent("item_1", sound(100), at_ms=0)

    spool.cut("item_1", heard_ms=60)

    assert written(spool)[1][-1] == SpoolRecord(CUT, 60 * MS, b"item_1", b"")


def test_half_a_sample_is_left_out(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)

    spool.caller(b"\x01\x02\x03", at_ms=0)
    spool.caller(b"\x05\x06", at_ms=0)

    assert [record.sound for record in written(spool)[1]] == [b"\x01\x02", b"\x05\x06"]


def test_long_sound_is_written_in_parts(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    long = bytes(MAX_SOUND_BYTES + 10)

    spool.agent("item_1", long, at_ms=0)

    records = written(spool)[1]
    assert [(record.number, len(record.sound)) for record in records] == [(0, MAX_SOUND_BYTES), (MAX_SOUND_BYTES, 10)]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, PCM),
        ({"bytes_per_ms": 8}, MU_LAW),
        ({"bytes_per_ms": 8, "audio_format": "audio/pcma"}, A_LAW),
        ({"audio_format": "audio/pcmu"}, MU_LAW),
    ],
)
def test_format_stands_in_the_header(tmp_path: Path, fields: dict[str, object], expected: AudioFormat) -> None:
    spool = make_spool(tmp_path, **fields)

    spool.caller(b"\x01\x02", at_ms=3)

    audio_format, records = written(spool)
    assert audio_format == expected
    assert records == [SpoolRecord(CALLER, 3 * expected.bytes_per_ms, b"", b"\x01\x02")]


def test_call_without_sound_leaves_no_file(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)

    spool.cut("item_1", heard_ms=0)

    assert spool.close() is None
    assert list(tmp_path.iterdir()) == []


def test_only_the_owner_may_read(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)

    spool.caller(sound(40), at_ms=0)

    assert finished(spool) == tmp_path / "spool" / "00000000-0000-0000-0000-000000000007.spool"
    assert spool.path.stat().st_mode & 0o777 == 0o600
    assert spool.path.parent.stat().st_mode & 0o777 == 0o700


def test_call_that_comes_back_goes_on_in_the_same_file(tmp_path: Path) -> None:
    first = make_spool(tmp_path)
    first.caller(sound(40), at_ms=0)
    finished(first)

    second = make_spool(tmp_path)
    second.caller(sound(40), at_ms=9000)

    assert places(second, CALLER) == [(0, 40), (9000, 40)]


def test_closing_twice_is_harmless(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    spool.caller(sound(40), at_ms=0)
    spool.close()

    assert spool.close() is None


def test_torn_tail_is_skipped(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    for n in range(3):
        spool.caller(sound(40, value=n + 1), at_ms=n * 40)
    finished(spool)
    whole = spool.path.read_bytes()
    sizes = set()

    for length in range(len(whole) - 40 * MS - 18, len(whole)):
        spool.path.write_bytes(whole[:length])
        with spool.path.open("rb") as file:
            read_header(file)
            sizes.add(len(list(read_records(file))))

    assert sizes == {2}


def test_damaged_record_ends_the_reading(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    for n in range(3):
        spool.caller(sound(40, value=n + 1), at_ms=n * 40)
    finished(spool)
    damaged = bytearray(spool.path.read_bytes())
    damaged[-41 * MS] ^= 1
    spool.path.write_bytes(damaged)

    with spool.path.open("rb") as file:
        read_header(file)
        records = list(read_records(file))

    assert len(records) == 1


@pytest.mark.parametrize("content", [b"", b"FDSPOOL1", b"RIFF" + bytes(40), b"FDSPOOL1" + bytes(20)])
def test_file_that_is_no_spool_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)

    with path.open("rb") as file, pytest.raises(SpoolUnreadable):
        read_header(file)
