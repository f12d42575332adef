from __future__ import annotations

import resource
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sessions_app.recording import Spool
from sessions_app.spool_disk import BUFFER_BYTES, SpoolDisk
from sessions_app.spool_format import CALLER, PCM, read_header, read_records
from tests.spools import WRITTEN_S, a_spool, finished, standing_still

CALL = uuid.UUID(int=7)
FRAME_MS = 40
FRAME = bytes([1, 0]) * (FRAME_MS * PCM.bytes_per_ms // 2)


@pytest.fixture
def disk() -> Iterator[SpoolDisk]:
    disk = SpoolDisk()
    yield disk
    disk.close(WRITTEN_S)


def speak(spool: Spool, frames: int, *, after: int = 0) -> None:
    for n in range(after, after + frames):
        spool.caller(FRAME, at_ms=n * FRAME_MS)


def heard(path: Path) -> list[int]:
    """Return where each frame of the caller's begins, in frames; what is torn at the end is none."""
    with path.open("rb") as file:
        read_header(file)
        return [r.number // PCM.bytes_per_ms // FRAME_MS for r in read_records(file) if r.kind == CALLER]


@contextmanager
def full_disk(after: int) -> Iterator[None]:
    """Let no file grow past `after` bytes: the kernel refuses the write, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (after, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_frames_go_to_the_disk_in_pieces_while_the_call_goes_on(tmp_path: Path, disk: SpoolDisk):
    spool = a_spool(CALL, tmp_path, disk=disk)

    speak(spool, 100)

    until = time.monotonic() + WRITTEN_S
    while not spool.path.exists() or spool.path.stat().st_size < 100 * len(FRAME) - 2 * BUFFER_BYTES:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert spool.path.stat().st_size < 100 * len(FRAME)
    assert not disk.written(spool.path, 0.0)
    assert finished(spool, disk=disk) == spool.path
    assert heard(spool.path) == list(range(100))


def test_disk_that_stands_still_holds_no_call_up(tmp_path: Path, disk: SpoolDisk):
    """R31: the disk takes nothing for a while. Whoever speaks goes on, and what was said meanwhile is there after."""
    spools = [a_spool(uuid.UUID(int=number), tmp_path, disk=disk) for number in (1, 2)]
    stuck, other = spools

    with standing_still(stuck.path):
        speak(stuck, 200)
        speak(other, 200)
        other.close()
        assert not disk.written(other.path, 0.05)

    assert disk.written(other.path, WRITTEN_S)
    assert heard(other.path) == list(range(200))


def test_spool_that_finds_no_room_keeps_what_came_before_and_no_gap(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    disk = SpoolDisk(max_waiting_bytes=3 * BUFFER_BYTES)
    stuck, other = a_spool(uuid.UUID(int=1), tmp_path, disk=disk), a_spool(uuid.UUID(int=2), tmp_path, disk=disk)

    with standing_still(stuck.path):
        speak(stuck, 17)
        speak(other, 100)
    speak(other, 100, after=100)

    assert finished(other, disk=disk) == other.path
    kept = heard(other.path)
    assert kept == list(range(len(kept)))
    assert 0 < len(kept) < 100
    [error] = [record.error for record in caplog.records if record.call == str(uuid.UUID(int=2))]  # type: ignore[attr-defined]
    assert error == "NoRoom"
    disk.close(WRITTEN_S)


def test_full_disk_breaks_the_spool_and_not_the_call(tmp_path: Path, disk: SpoolDisk):
    spool = a_spool(CALL, tmp_path, disk=disk)

    with full_disk(after=3 * BUFFER_BYTES):
        speak(spool, 100)
        path = finished(spool, disk=disk)

    assert path is not None
    kept = heard(path)
    assert kept == list(range(len(kept)))
    assert 0 < len(kept) < 100


def test_disk_that_fills_at_the_end_is_no_error_either(
    tmp_path: Path, disk: SpoolDisk, caplog: pytest.LogCaptureFixture
):
    spool = a_spool(CALL, tmp_path, disk=disk)
    speak(spool, 1)

    with full_disk(after=100):
        assert finished(spool, disk=disk) == spool.path

    assert [record.getMessage() for record in caplog.records] == ["Spool broken"]


def test_directory_that_cannot_be_made_costs_the_sound_alone_and_is_told_once_by_id_and_type(
    tmp_path: Path, disk: SpoolDisk, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "spool").write_text("a file stands where the directory should be")
    spool = a_spool(CALL, tmp_path / "spool", disk=disk)

    speak(spool, 100)
    spool.agent("item_1", FRAME, at_ms=0)
    spool.cut("item_1", heard_ms=10)
    finished(spool, disk=disk)

    [record] = caplog.records
    assert record.getMessage() == "Spool broken"
    assert (record.call, record.error) == (str(CALL), "FileExistsError")  # type: ignore[attr-defined]


def test_link_in_place_of_the_file_is_not_followed(tmp_path: Path, disk: SpoolDisk):
    spool = a_spool(CALL, tmp_path / "spool", disk=disk)
    spool.path.parent.mkdir()
    spool.path.symlink_to(tmp_path / "elsewhere")

    speak(spool, 1)
    finished(spool, disk=disk)

    assert not (tmp_path / "elsewhere").exists()


def test_what_is_there_goes_to_the_disk_before_it_is_let_go(tmp_path: Path):
    disk = SpoolDisk()
    spool = a_spool(CALL, tmp_path, disk=disk)
    speak(spool, 30)
    spool.close()

    disk.close(WRITTEN_S)

    assert heard(spool.path) == list(range(30))
