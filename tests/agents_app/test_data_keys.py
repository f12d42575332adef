"""R45: a key of DATA_KEYS that is missing fails the start and names itself; a key is put away by command."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command

from agents_app import data_keys
from agents_app.models import Clinic, DataKey
from agents_app.sealing import key_id
from tests.make import make_clinic
from tests.test_startup import run

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
START = ("-c", "import config.asgi")


def use(settings: Any, *keys: str) -> None:
    settings.DATA_KEYS, settings.FERNETS = list(keys), [Fernet(key) for key in keys]


@pytest.fixture
def two_clinics(settings: Any, db: None) -> tuple[Clinic, Clinic]:
    """Two clinics, each with a key sealed by OLD."""
    use(settings, OLD)
    data_keys.note_current_key()
    clinics = make_clinic(), make_clinic()
    for clinic in clinics:
        clinic.set_upstream_key(f"sk-{clinic.pk}")
    return clinics


def test_start_without_a_key_that_sealed_something_is_refused_in_one_line(tmp_path: Path):
    assert run("manage.py", "migrate", "-v0", data_dir=tmp_path).returncode == 0

    def start(*keys: str) -> tuple[int, str]:
        ended = run(*START, data_dir=tmp_path, DATA_KEYS=",".join(keys))
        return ended.returncode, ended.stderr.strip()

    first = start(OLD)
    lost = start(NEW)
    added = start(NEW, OLD)
    rotated = run("manage.py", "rotate_data_keys", data_dir=tmp_path, DATA_KEYS=f"{NEW},{OLD}")
    parted = start(NEW)

    assert (first, added, parted) == ((0, ""), (0, ""), (0, ""))
    assert lost == (
        1,
        f"Frontdesk cannot start: DATA_KEYS lacks the key {key_id(OLD)}, with which stored values were encrypted. "
        "Put it back at the end of DATA_KEYS. To part with a key: manage.py rotate_data_keys, while it is there.",
    )
    assert key_id(OLD) in rotated.stdout
    assert [key for key in (OLD, NEW) if key in rotated.stdout + lost[1]] == []


@pytest.mark.usefixtures("two_clinics")
def test_key_is_missing_until_it_is_back(settings: Any):
    found = []
    for keys in ((OLD,), (NEW,), (NEW, OLD)):
        use(settings, *keys)
        found.append(data_keys.missing_keys())

    assert found == [[], [key_id(OLD)], []]


def test_rotation_seals_every_value_with_the_first_key(
    settings: Any, two_clinics: tuple[Clinic, Clinic], tmp_path: Path
):
    use(settings, NEW, OLD)
    settings.DATA_DIR = tmp_path
    said = StringIO()

    call_command("rotate_data_keys", stdout=said)
    use(settings, NEW)

    assert [Clinic.objects.get(pk=clinic.pk).upstream_key for clinic in two_clinics] == [
        f"sk-{clinic.pk}" for clinic in two_clinics
    ]
    assert data_keys.missing_keys() == []
    assert [row.key_id for row in DataKey.objects.all()] == [key_id(NEW)]
    assert said.getvalue().splitlines()[:2] == [
        "Values encrypted again: 2.",
        f"Keys that may be taken out of DATA_KEYS: {key_id(OLD)}.",
    ]


@pytest.mark.usefixtures("two_clinics")
def test_old_key_stays_needed_while_a_journal_waits_that_it_sealed(settings: Any, tmp_path: Path):
    use(settings, NEW, OLD)
    settings.DATA_DIR = tmp_path
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "1-abc.journal").write_bytes(b"facts")
    said = StringIO()

    call_command("rotate_data_keys", stdout=said)
    use(settings, NEW)

    assert "Keep the older keys" in said.getvalue()
    assert data_keys.missing_keys() == [key_id(OLD)]


def test_rotation_that_meets_a_value_it_cannot_open_changes_nothing(settings: Any, two_clinics: tuple[Clinic, Clinic]):
    use(settings, NEW, OLD)
    Clinic.objects.filter(pk=two_clinics[1].pk).update(upstream_key_sealed="no seal of ours")
    before = list(Clinic.objects.order_by("pk").values_list("upstream_key_sealed", flat=True))

    with pytest.raises(CommandError, match="Nothing was changed"):
        call_command("rotate_data_keys")

    assert list(Clinic.objects.order_by("pk").values_list("upstream_key_sealed", flat=True)) == before
    assert data_keys.missing_keys() == []
    use(settings, NEW)
    assert data_keys.missing_keys() == [key_id(OLD)]


@pytest.mark.django_db
def test_key_is_noted_once(settings: Any):
    use(settings, OLD)

    data_keys.note_current_key()
    data_keys.note_current_key()

    assert DataKey.objects.count() == 1
