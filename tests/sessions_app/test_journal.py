"""The journal's files: sealed, synced, bounded, each with one owner, and taken over from the dead."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography.fernet import Fernet

from sessions_app.effects import StateChanged
from sessions_app.journal import Journal, JournalFile, JournalFull, Quarantine
from sessions_app.journal_format import SCHEMA, Entry, JournalUnreadable, pack_facts, pack_record

CANARY = "CANARY-toothache"


def entry(number: int) -> Entry:
    return Entry(UUID(int=number), StateChanged("live", number), number)


def content(*numbers: int, state: str = "live") -> bytes:
    return pack_facts([(entry(number), {"state": state, "at_ms": number}) for number in numbers])


def left_by_the_dead(directory: Path, *contents: bytes) -> Path:
    """Return the journal of a process that ended without a word."""
    journal = Journal(directory)
    for one in contents:
        journal.append(one)
    assert journal.own is not None
    path = journal.own.path
    journal.close()
    return path


def replayed(file: JournalFile) -> list[int]:
    return [entry.revision for batch, _end in file.batches() for entry in batch]


def fill(keeper: Journal | Quarantine, number: int) -> int:
    """Return how many records were taken before there was no room."""
    add = keeper.append if isinstance(keeper, Journal) else keeper.add
    for taken in range(100):
        try:
            add(content(number))
        except JournalFull:
            return taken
    raise AssertionError("Expected a bound, but got none")


def found(journal: Journal) -> list[list[int]]:
    """Return what is in each journal of the dead, and replay it."""
    seen = []
    for orphan in journal.orphans():
        seen.append(replayed(orphan))
        orphan.replayed(orphan.size_bytes)
        journal.let_go(orphan)
    return seen


def test_batches_come_back_in_their_order_and_are_then_forgotten(tmp_path: Path):
    journal = Journal(tmp_path)
    journal.append(content(1, 2))
    journal.append(content(3))
    own = journal.own
    assert own is not None

    first, second = own.batches()
    own.replayed(first[1])
    rest = replayed(own)
    emptied = own.replayed(second[1])

    assert (rest, emptied, journal.waiting_bytes, own.path.stat().st_size) == ([3], True, 0, 0)
    journal.append(content(4))
    assert replayed(own) == [4]
    journal.close()


def test_nobody_else_reads_it_and_nothing_in_it_lies_open(tmp_path: Path):
    journal = Journal(tmp_path / "journal")
    journal.append(content(1, state=CANARY))

    assert journal.own is not None
    raw = journal.own.path.read_bytes()
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (journal.own.path, journal.own.path.parent)]
    assert CANARY.encode() not in raw
    assert modes == [0o600, 0o700]
    journal.close()


def test_journal_of_a_living_process_is_its_own(tmp_path: Path):
    living = Journal(tmp_path)
    living.append(content(1))

    assert found(Journal(tmp_path)) == []
    living.close()
    assert found(Journal(tmp_path)) == [[1]]


def test_journal_of_a_killed_process_goes_to_one_of_those_who_look(tmp_path: Path):
    left_by_the_dead(tmp_path, content(1, 2), content(3))

    first, second = Journal(tmp_path), Journal(tmp_path)
    orphan = next(first.orphans())

    assert found(second) == []
    assert replayed(orphan) == [1, 2, 3]
    first.let_go(orphan)
    assert found(second) == [[1, 2, 3]]
    assert list(tmp_path.iterdir()) == []


def test_journal_cut_at_any_byte_of_its_last_record_gives_all_before_it(tmp_path: Path):
    path = left_by_the_dead(tmp_path, content(1, 2), content(3), content(4))
    raw = path.read_bytes()
    last = len(raw) - len(pack_record(b"")) - len(Fernet(Fernet.generate_key()).encrypt(content(4)))

    for cut in range(last, len(raw)):
        path.write_bytes(raw[:cut])
        assert found(Journal(tmp_path)) == [[1, 2, 3]]
        assert not path.exists()


def test_journal_that_was_just_begun_is_removed(tmp_path: Path):
    (tmp_path / "1-0.journal").write_bytes(b"FDJ")
    (tmp_path / "2-0.journal").write_bytes(b"")

    assert found(Journal(tmp_path)) == [[], []]
    assert list(tmp_path.iterdir()) == []


def test_facts_are_read_with_each_of_the_keys(tmp_path: Path, settings: Any):
    old, new = Fernet(Fernet.generate_key()), Fernet(Fernet.generate_key())
    settings.FERNETS = [old]
    left_by_the_dead(tmp_path, content(1))
    settings.FERNETS = [new, old]

    assert found(Journal(tmp_path)) == [[1]]


@pytest.mark.parametrize("reason", ["another key", "a later schema", "another file"])
def test_what_is_not_understood_is_left_as_it_is(tmp_path: Path, settings: Any, reason: str):
    path = left_by_the_dead(tmp_path, content(1))
    if reason == "a later schema":
        path.write_bytes(b"FDJRNL01" + pack_record(settings.FERNETS[0].encrypt(content(1)), schema=SCHEMA + 1))
    elif reason == "another file":
        path.write_bytes(b"FDJRNL02 and what a later version makes of it")
    else:
        settings.FERNETS = [Fernet(Fernet.generate_key())]
    before = path.read_bytes()
    journal = Journal(tmp_path)

    (orphan,) = journal.orphans()
    with pytest.raises(JournalUnreadable):
        replayed(orphan)
    journal.leave_alone(orphan)

    assert path.read_bytes() == before
    assert list(journal.orphans()) == []  # it is not looked at again by this process


def test_damaged_record_costs_itself_alone(tmp_path: Path):
    path = left_by_the_dead(tmp_path, content(1), content(2), content(3))
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1  # in the second
    path.write_bytes(bytes(raw))

    assert found(Journal(tmp_path)) == [[1, 3]]


def test_full_journal_refuses_and_has_room_again_once_it_is_replayed(tmp_path: Path):
    journal = Journal(tmp_path, max_bytes=700)
    written = fill(journal, 1)
    assert journal.own is not None

    size = journal.own.path.stat().st_size
    journal.own.replayed(journal.own.size_bytes)
    journal.append(content(2))

    assert written >= 2
    assert size <= 700
    assert replayed(journal.own) == [2]
    journal.close()


def test_journals_of_the_dead_count_against_the_bound(tmp_path: Path):
    left_by_the_dead(tmp_path, *[content(1)] * 3)
    journal = Journal(tmp_path, max_bytes=700)

    for orphan in journal.orphans():
        journal.let_go(orphan)

    with pytest.raises(JournalFull):
        journal.append(content(2))
    journal.close()


def test_write_that_the_disk_cuts_short_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    journal = Journal(tmp_path)
    journal.append(content(1))
    write = os.write

    def half(descriptor: int, data: memoryview) -> int:
        """A disk that fills up: a patch, since no small disk can be had without being root."""
        if len(data) > 20:
            return write(descriptor, data[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(os, "write", half)
        with pytest.raises(OSError, match="No space"):
            journal.append(content(2))
    journal.append(content(3))

    assert journal.own is not None
    assert replayed(journal.own) == [1, 3]
    journal.close()


def test_link_in_place_of_a_journal_is_not_followed(tmp_path: Path):
    directory = tmp_path / "journal"
    directory.mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"not ours")
    (directory / "1-0.journal").symlink_to(elsewhere)

    assert found(Journal(directory)) == []
    assert elsewhere.read_bytes() == b"not ours"


def test_process_killed_right_after_an_append_has_lost_nothing(tmp_path: Path):
    program = (
        "import os, sys, tests.conftest\n"
        "from pathlib import Path\n"
        "from sessions_app.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "for _ in range(3): journal.append(bytes.fromhex(sys.argv[2]))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path), content(1).hex()]

    ended = subprocess.run(command, env={**os.environ, "PYTHONPATH": os.getcwd()}, check=False, timeout=60)

    assert ended.returncode == -9
    assert found(Journal(tmp_path)) == [[1, 1, 1]]


def test_quarantine_keeps_facts_for_all_processes_within_its_bound(tmp_path: Path):
    first, second = Quarantine(tmp_path, max_bytes=700), Quarantine(tmp_path, max_bytes=700)
    first.add(content(1))
    second.add(content(2))
    added = fill(first, 3)

    seen = [entry.revision for entry, _stored in second.look(lambda entry: entry.revision != 2)]
    again = second.look(lambda entry: True)

    assert seen == [1, 2, *[3] * added]
    assert [entry.revision for entry, _stored in again] == seen  # none is forgotten while one is left
    assert first.look(lambda entry: True) == []
