"""What a call may still spend: how the clinic's budget stands, and the call's own bounds. Pure.

Source of the bounds: each response reads the whole conversation again, so cost grows with turns, not with minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

RESPONSES_A_MINUTE = 20  # of the longest call: a conversation has 4 to 8
TOKENS_A_MINUTE = 400_000  # of the longest call, read and written: 20 responses that read 20,000 tokens
GRACE_MS = 60_000  # to leave a message, once nothing may be spent any more


class Standing(IntEnum):
    """How the budget stands, from good to bad. A call's own standing never gets better again."""

    OK = 0
    WARN = 1  # most of it is spent
    TEXT_ONLY = 2  # nothing more can be kept back: sound costs most, so it ends
    MESSAGE = 3  # what was kept back is spent too: the call takes a message and ends


@dataclass
class Budget:
    max_call_ms: int
    standing: Standing = Standing.OK
    told_microusd: int = 0  # the cost that the ledger was told last
    seen: Mapping[str, int] | None = None  # the usage that was looked at last
    ends_at: int | None = None  # the end of the grace

    def worsen(self, standing: Standing, at: int) -> list[Standing]:
        """Return the steps that are new, in order."""
        steps = [Standing(step) for step in range(self.standing + 1, standing + 1)]
        self.standing = max(self.standing, standing)
        if Standing.MESSAGE in steps:
            self.ends_at = at + GRACE_MS
        return steps

    @property
    def text_only(self) -> bool:
        return self.standing >= Standing.TEXT_ONLY

    @property
    def message_only(self) -> bool:
        return self.standing >= Standing.MESSAGE

    def overrun(self, usage: Mapping[str, int]) -> str:
        """Return which of the call's own bounds is passed, or ""."""
        minutes = self.max_call_ms / 60_000
        if usage.get("responses", 0) > RESPONSES_A_MINUTE * minutes:
            return "too_many_responses"
        return "too_many_tokens" if usage.get("total_tokens", 0) > TOKENS_A_MINUTE * minutes else ""
