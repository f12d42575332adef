"""The fault knobs: how the stand-in can be told to misbehave, at its start and while it runs. Data only."""

import dataclasses
import json
import types
import typing
from dataclasses import dataclass, field

from sessions_app.standin.wire import Json


@dataclass
class Faults:
    """Every knob at rest. A `*_count` says how many more times its fault strikes; None means always."""

    close_after_events: int | None = None
    """Close each socket after it was sent this many events."""
    close_code: int = 1011
    """The code it is closed with; 1006 drops the connection without a close frame."""
    close_count: int | None = None
    delay_ms: int = 0
    """Each event leaves the server this much later than the one before it."""
    delta_ms: int = 0
    """The model takes this long for each delta that it generates."""
    refuse_handshake: int | None = None
    """Answer the upgrade with this HTTP status, such as 401, 429 or 500."""
    refuse_count: int | None = None
    failed_response: str | None = None
    """Responses fail with this code: rate_limit_exceeded, insufficient_quota, server_error."""
    failed_count: int | None = None
    incomplete_response: str | None = None
    """Responses stop half way for this reason: max_output_tokens or content_filter."""
    incomplete_count: int | None = None
    silent_upstream: bool = False
    """Responses are created and then nothing more is heard of them."""
    malformed_frame: bool = False
    """A frame that is not JSON comes before each response."""
    unknown_event: bool = False
    """An event of a type that nobody knows comes before each response."""
    duplicate_call: bool = False
    """Each function call comes twice, with the same call_id."""
    late_transcript_ms: int = 0
    transcript_failed: bool = False
    no_transcript: bool = False
    no_rate_limits: bool = False
    withhold_session_updated: bool = False
    session_cap_ms: int | None = None
    """Sessions expire this long after they began, instead of after an hour."""
    pace: float = 10.0
    """Audio is sent this many times faster than real time."""
    script: list[Json] = field(default_factory=list)
    """Forced actions, one taken by each response: {"say": text, "call": [[name, arguments], ...],
    "fail": code, "incomplete": reason}. When the list is empty the dialogue speaks again."""

    def strikes(self, name: str) -> bool:
        """Tell whether the fault `name` (close, refuse, failed, incomplete) strikes now, and count it."""
        left = getattr(self, f"{name}_count")
        if left is None:
            return True
        setattr(self, f"{name}_count", left - 1)
        return bool(left > 0)


def parse_fault(text: str) -> tuple[str, object]:
    """Turn `name=value` from a command line into a knob and its value.

    Raises ValueError, with a sentence for the person at the keyboard, when it is neither.
    """
    name, separator, value = text.partition("=")
    hints = typing.get_type_hints(Faults)
    if not separator or name not in hints:
        known = ", ".join(knob.name for knob in dataclasses.fields(Faults))
        raise ValueError(f"'{text}' is not a fault. Write name=value, with one of: {known}.")
    return name, _parsed(name, value, hints[name])


def _parsed(name: str, value: str, hint: object) -> object:
    if isinstance(hint, types.UnionType):
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) is list:
        return _script(value)
    if hint is bool:
        return value.lower() in {"1", "true", "yes", "on"}
    if hint in (int, float):
        try:
            return float(value) if hint is float else int(value)
        except ValueError:
            raise ValueError(f"The fault {name} takes a number, but got '{value}'.") from None
    return value


def _script(value: str) -> list[Json]:
    try:
        actions = json.loads(value)
    except ValueError:
        actions = None
    if not isinstance(actions, list) or not all(isinstance(action, dict) for action in actions):
        raise ValueError('The fault script takes a JSON list, such as [{"say": "Hello."}].')
    return actions
