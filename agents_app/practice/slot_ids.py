"""Pure: the reference by which a slot is named to the model: `s<visit type>-<provider>-<start>`.

It is worth nothing by itself: whoever books reads it again against the diary. It holds no room, so that a room taken
meanwhile does not spoil an offer that another room still keeps.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

SLOT_ID_CHARS = 40
_STEP_S = 300
_SHAPE = re.compile(r"s([1-9]\d{0,11})-([1-9]\d{0,11})-([0-9a-f]{1,8})")


@dataclass(frozen=True)
class SlotRef:
    visit_type: int
    provider: int
    starts: datetime  # UTC

    def __str__(self) -> str:
        return f"s{self.visit_type}-{self.provider}-{int(self.starts.timestamp()) // _STEP_S:x}"


def parse(text: str) -> SlotRef | None:
    """Return what `text` refers to, or None when it has not the shape of a reference."""
    match = _SHAPE.fullmatch(text.strip().lower())
    if match is None:
        return None
    try:
        starts = datetime.fromtimestamp(int(match[3], 16) * _STEP_S, UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return SlotRef(int(match[1]), int(match[2]), starts)
