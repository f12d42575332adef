"""Who may come in: the server's key, and the ephemeral keys minted here."""

import time
from collections.abc import Iterable

from sessions_app.standin.wire import Json, Refusal, new_id

EPHEMERAL = "ek_"
IN_SUBPROTOCOL = "openai-insecure-api-key."
MAX_MINTED = 10_000


class KeyRing:
    """Checks keys; knows the ephemeral ones and the session that each stands for."""

    def __init__(self, key: str | None = None) -> None:
        self._key = key
        self._minted: dict[str, tuple[float, Json]] = {}

    def mint(self, session: Json, seconds: int) -> tuple[str, int]:
        """Return a new ephemeral key and when it expires, in unix seconds."""
        if len(self._minted) >= MAX_MINTED:
            self._minted.pop(next(iter(self._minted)))
        value, expires_at = new_id("ek"), time.time() + seconds
        self._minted[value] = (expires_at, session)
        return value, round(expires_at)

    def check(self, headers: Iterable[tuple[bytes, bytes]], subprotocols: Iterable[str] = ()) -> Json | None:
        """Return the session that an ephemeral key stands for, or None for a standard key. Raises Refusal."""
        offered = _offered(headers, subprotocols)
        if offered.startswith(EPHEMERAL):
            expires_at, session = self._minted.get(offered, (0.0, {}))
            if expires_at <= time.time():
                raise _wrong_key("The ephemeral key is unknown here or has expired.")
            return session
        if not offered or (self._key is not None and offered != self._key):
            raise _wrong_key("Incorrect API key provided.")
        return None


def _offered(headers: Iterable[tuple[bytes, bytes]], subprotocols: Iterable[str]) -> str:
    for name, value in headers:
        if name.lower() == b"api-key":  # Azure's way
            return value.decode("latin-1").strip()
        if name.lower() == b"authorization" and value.lower().startswith(b"bearer "):
            return value[len(b"bearer ") :].decode("latin-1").strip()
    keys = (one.removeprefix(IN_SUBPROTOCOL) for one in subprotocols if one.startswith(IN_SUBPROTOCOL))
    return next(keys, "")


def _wrong_key(message: str) -> Refusal:
    return Refusal("invalid_api_key", message)
