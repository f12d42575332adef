"""What travels: ids, JSON shapes and refusals, as the Realtime API spells them. Knows no socket."""

import secrets
import string
from typing import Any

Json = dict[str, Any]

ALPHABET = string.ascii_letters + string.digits
ID_LENGTH = 21
OBFUSCATION_LENGTH = 12


def new_id(prefix: str) -> str:
    """Return an id such as `item_Ab3...`; 32 characters at most for every prefix in use."""
    return f"{prefix}_" + "".join(secrets.choice(ALPHABET) for _ in range(ID_LENGTH))


def obfuscation() -> str:
    """Return random filler: text deltas carry it so that a frame's length hides its content."""
    return secrets.token_urlsafe(OBFUSCATION_LENGTH)[: secrets.randbelow(OBFUSCATION_LENGTH) + 1]


class Refusal(Exception):
    """A client event or request that is refused; becomes an `error` event or an HTTP error body."""

    def __init__(
        self, code: str | None, message: str, *, param: str | None = None, kind: str = "invalid_request_error"
    ):
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param
        self.kind = kind

    def as_error(self) -> Json:
        """Return the error object of an HTTP answer; an `error` event adds `event_id` to it."""
        return {"type": self.kind, "code": self.code, "message": self.message, "param": self.param}


def unknown_parameter(path: str) -> Refusal:
    return Refusal("unknown_parameter", f"Unknown parameter: '{path}'.", param=path)


def missing_parameter(path: str) -> Refusal:
    return Refusal("missing_required_parameter", f"Missing required parameter: '{path}'.", param=path)


def invalid_value(path: str, message: str) -> Refusal:
    return Refusal("invalid_value", message, param=path)
