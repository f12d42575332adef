"""The keys of `DATA_KEYS` over the years: which ones are still needed, and how one is put away.

A key that is missing is found when a server starts and not when a call needs what it had sealed.
"""

from __future__ import annotations

from cryptography.fernet import MultiFernet
from django.conf import settings
from django.db import transaction

from agents_app.models import Clinic, DataKey
from agents_app.sealing import SealBroken, key_id, seal, unseal


def note_current_key() -> None:
    """Remember the key that encrypts from now on. To be called before anything is sealed; again is harmless."""
    current = key_id(settings.DATA_KEYS[0])
    if not DataKey.objects.filter(key_id=current).exists():
        row = DataKey(key_id=current, sample=seal(current, place=_place(current)))
        DataKey.objects.bulk_create([row], ignore_conflicts=True)


def missing_keys() -> list[str]:
    """Return the ids of keys that have sealed something and that `DATA_KEYS` does not hold."""
    return [row.key_id for row in DataKey.objects.order_by("pk") if not _opens(row)]


def rotate(*, put_away: bool = True) -> tuple[int, list[str]]:
    """Seal every stored value again with the first key; return how many, and the ids of the keys no longer needed.

    Without `put_away` the older keys stay needed: something outside the database was sealed with them.
    Raises SealBroken, and changes nothing, when a value cannot be opened.
    """
    note_current_key()
    keys = MultiFernet(settings.FERNETS)
    with transaction.atomic():
        sealed = 0
        for clinic in Clinic.objects.exclude(upstream_key_sealed="").select_for_update():
            _ = clinic.upstream_key  # raises SealBroken
            again = keys.rotate(clinic.upstream_key_sealed.encode()).decode()
            Clinic.objects.filter(pk=clinic.pk).update(upstream_key_sealed=again)
            sealed += 1
        old = DataKey.objects.exclude(key_id=key_id(settings.DATA_KEYS[0])) if put_away else DataKey.objects.none()
        names = list(old.values_list("key_id", flat=True))
        old.delete()
    return sealed, names


def _opens(row: DataKey) -> bool:
    try:
        return unseal(row.sample, place=_place(row.key_id)) == row.key_id
    except SealBroken:
        return False


def _place(name: str) -> str:
    return f"data_key:{name}"
