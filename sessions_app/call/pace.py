"""How fast a caller may send, whatever it sends: a bucket of messages and one of bytes. Judged before anything is read.

Pure. How much sound may come is bounded beside it, in `sound`: these buckets hold all that its bucket lets through.
"""

from __future__ import annotations

from dataclasses import dataclass

MESSAGES_A_S = 100  # sound of 20 ms a frame is half of it
BURST_MESSAGES = 1000  # 15 s of sound, 20 ms a frame, and what goes with it
BYTES_A_S = 256 * 1024  # sound in real time is a quarter of it, as base64 in JSON
BURST_BYTES = 2 * 1024 * 1024
MAX_DROPPED = 1000  # messages of one call: then it ends


@dataclass
class Bucket:
    """Holds at most `size`, and fills by `rate` a second."""

    rate: float
    size: float

    def __post_init__(self) -> None:
        self._held, self._at = self.size, 0

    def holds(self, amount: float, at: int) -> bool:
        """Whether so much may be taken at `at` ms."""
        self._held, self._at = min(self.size, self._held + (at - self._at) * self.rate / 1000), at
        return amount <= self._held

    def take(self, amount: float) -> None:
        self._held -= amount


class Pace:
    def __init__(self) -> None:
        self._messages = Bucket(MESSAGES_A_S, BURST_MESSAGES)
        self._bytes = Bucket(BYTES_A_S, BURST_BYTES)
        self.dropped = 0

    def admits(self, byte_count: int, at: int) -> bool:
        """Whether a message of this size may come now. One that may not takes nothing."""
        fits = self._messages.holds(1, at) & self._bytes.holds(byte_count, at)
        if fits:
            self._messages.take(1)
            self._bytes.take(byte_count)
        self.dropped += not fits
        return fits

    @property
    def flooded(self) -> bool:
        return self.dropped >= MAX_DROPPED
