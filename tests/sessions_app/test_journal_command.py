"""`manage.py journal` tells what waits and what is refused, and stores what no longer is."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command

from sessions_app.fact_rows import storable_fields
from sessions_app.journal import Journal, Quarantine
from sessions_app.journal_format import Entry, pack_facts
from sessions_app.models import CallSession, Item
from tests.sessions_app.make_facts import a_call, said

pytestmark = pytest.mark.django_db(transaction=True)  # a foreign key is checked at the commit


@pytest.fixture
def directory(settings: Any, tmp_path: Path) -> Path:
    settings.DATA_DIR = tmp_path
    return tmp_path / "journal"


def packed(call_id: UUID, item_id: str) -> bytes:
    entry = Entry(call_id, said(item_id, "CANARY"), 1)
    return pack_facts([(entry, storable_fields(entry.fact))])


def told(*arguments: str) -> list[str]:
    output = StringIO()
    call_command("journal", *arguments, stdout=output)
    return output.getvalue().splitlines()


def test_nothing_to_tell(directory: Path):
    assert told() == ["0 facts are refused."]


def test_refused_facts_are_told_without_their_words_and_stored_once_their_cause_is_mended(directory: Path):
    call = a_call()
    later = UUID(int=7)  # its row is missing
    for call_id in (call.pk, later):
        Quarantine(directory).add(packed(call_id, "item_1"))

    before = told()
    tried = told("--retry")
    CallSession.objects.create(pk=later, clinic=call.clinic, version=call.version, started_at=call.started_at)
    mended = told("--retry")

    assert before == [f"call {call.pk}: ItemSaved refused", f"call {later}: ItemSaved refused", "2 facts are refused."]
    assert tried == [f"call {call.pk}: ItemSaved stored", f"call {later}: ItemSaved refused", "1 facts are refused."]
    assert mended == [f"call {call.pk}: ItemSaved stored", f"call {later}: ItemSaved stored", "0 facts are refused."]
    assert told() == ["0 facts are refused."]
    assert list(Item.objects.values_list("text", flat=True)) == ["CANARY", "CANARY"]


def test_journals_that_wait_are_told_by_name_and_size(directory: Path):
    journal = Journal(directory)
    journal.append(packed(UUID(int=1), "item_1"))

    line, _refused = told()

    assert journal.own is not None
    assert line.startswith(f"{journal.own.path.name}: {journal.own.size_bytes} bytes;")
    journal.close()


def test_what_no_key_opens_is_said_in_one_line(directory: Path, settings: Any):
    Quarantine(directory).add(packed(UUID(int=1), "item_1"))
    settings.FERNETS = [Fernet(Fernet.generate_key())]

    with pytest.raises(CommandError, match="No key of DATA_KEYS opens this record"):
        told()
