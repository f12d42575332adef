"""Encryption at rest for the few secrets that the database must give back (a provider's key).

Owns the keys of `DATA_KEYS`: the first encrypts, all decrypt. Each sealed text is bound to the place it was
sealed for, so that a token copied into another row or column does not open there.
"""

from __future__ import annotations

import hashlib
import json

from cryptography.fernet import InvalidToken, MultiFernet
from django.conf import settings


class SealBroken(Exception):
    """The token was made with an unknown key, was altered, or belongs to another place."""


def key_id(key: str) -> str:
    """Return what names a key of `DATA_KEYS` without telling it: keys are random, so a plain digest will do."""
    return hashlib.sha256(f"frontdesk data key {key}".encode()).hexdigest()[:12]


def seal(text: str, *, place: str) -> str:
    """Return `text` encrypted for `place`, for example "clinic:7:upstream_key"."""
    return MultiFernet(settings.FERNETS).encrypt(json.dumps([place, text]).encode()).decode()


def unseal(token: str, *, place: str) -> str:
    """Return the text that `seal` was given for the same `place`. Raises SealBroken."""
    try:
        sealed_for, text = json.loads(MultiFernet(settings.FERNETS).decrypt(token.encode()))
    except InvalidToken:
        raise SealBroken("No key of DATA_KEYS opens this token") from None
    if sealed_for != place:
        raise SealBroken("This token was sealed for another place")
    return str(text)
