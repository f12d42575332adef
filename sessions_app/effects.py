"""What a call may ask of the world, and the facts that it leaves behind.

Pure values. The effects of one input are performed in order; those of different inputs may interleave.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)  # not frozen, which doubles what one costs: there are 25 a second and more of each
class ToCaller:
    """Send this event, as it stands. `pcm` is the sound inside it, already encoded there, for the recording."""

    event: dict[str, Any]
    item_id: str = ""
    pcm: bytes = b""


@dataclass(frozen=True)
class ToModel:
    event: dict[str, Any]


@dataclass(slots=True)
class AudioToModel:
    """The caller's sound: checked, whole samples, on its way to the model and to the recording."""

    pcm: bytes
    encoded: str = field(default="", compare=False)  # the same in base64, where it is at hand


@dataclass(frozen=True)
class ConnectModel:
    """Open a new upstream connection, in place of the one that is there, after a random part of `within_ms`."""

    within_ms: int = 0


@dataclass(frozen=True)
class LeaveModel:
    """Close the upstream connection, and open none."""


@dataclass(frozen=True)
class CutSound:
    """The caller heard this much of an item; what was sent beyond it was not heard."""

    item_id: str
    heard_ms: int


@dataclass(frozen=True)
class TakeBack:
    """The caller is gone, and has heard this much of an item: the rest of it is sent again when it is back."""

    item_id: str
    heard_ms: int


@dataclass(frozen=True)
class DropOldToken:
    """The caller has its new token to come back with: the one before it opens nothing any more."""


@dataclass(frozen=True)
class RunTool:
    """Run one function call. `commit` is False for the dry run of a write, which only makes its recap."""

    call_id: str
    name: str
    arguments: str
    commit: bool
    position: int
    started_ms: int
    patient_id: int | None = None
    confirmed_by: str = ""
    digest: str = ""  # of the values that the caller said yes to: no others are written


@dataclass(frozen=True)
class RefuseTool:
    """Store a function call that is not run: unknown, one too many, or stopped by a guardrail."""

    call_id: str
    name: str
    arguments: str
    error_code: str
    position: int
    started_ms: int


@dataclass(frozen=True)
class LeaveTask:
    """Leave a note for the staff: the call could not finish what the caller asked for."""

    text: str


@dataclass(frozen=True)
class Spend:
    """The call has cost this much so far, in millionths of a US dollar: the whole of it, not what is new."""

    total_microusd: int


@dataclass(frozen=True)
class HangUp:
    """Close both legs: the caller's with `code`. Nothing follows it."""

    code: int
    reason: str
    error_code: str = ""


@dataclass(frozen=True)
class EventSeen:
    """One event of a leg, by its allow-listed fields."""

    seq: int
    direction: str
    type: str
    at_ms: int
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ItemSaved:
    """An item as it is known now. A later fact of the same item replaces an earlier one."""

    item_id: str
    position: int
    speaker: str
    source: str
    text: str
    transcript_state: str
    started_ms: int
    ended_ms: int | None = None
    audio_ms: int = 0
    heard_ms: int | None = None
    heard_chars: int | None = None
    interrupted: bool = False
    response_id: str = ""
    first_audio_ms: int | None = None


@dataclass(frozen=True)
class StateChanged:
    state: str
    at_ms: int


@dataclass(frozen=True)
class CallEnded:
    """The last fact of a call."""

    at_ms: int
    reason: str
    error_code: str
    outcome: str
    usage: dict[str, Any]
    counters: dict[str, int]


Fact = EventSeen | ItemSaved | StateChanged | CallEnded


@dataclass(frozen=True)
class Record:
    fact: Fact


Effect = (
    ToCaller
    | ToModel
    | AudioToModel
    | ConnectModel
    | LeaveModel
    | CutSound
    | TakeBack
    | DropOldToken
    | RunTool
    | RefuseTool
    | LeaveTask
    | Spend
    | HangUp
    | Record
)
