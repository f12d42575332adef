"""How fast a caller may send, whatever it sends: a bucket of messages and one of bytes. Judged before anything is read.

Pure. How much sound may come is bounded beside it, in `sound`: these buckets hold all that its bucket lets through.
"""

from __future__ import annotations

MESSAGES_A_S = 100  # sound of 20 ms a frame is half of it
BURST_MESSAGES = 1000  # 15 s of sound, 20 ms a frame, and what goes with it
BYTES_A_S = 256 * 1024  # sound in real time is a quarter of it, as base64 in JSON
BURST_BYTES = 2 * 1024 * 1024
MAX_DROPPED = 1000  # messages of one call: then it ends


class Pace:
    """Two buckets with a hole each: a message adds to both, and what they hold runs out with time."""

    def __init__(self) -> None:
        self._messages = self._bytes = 0.0
        self._at = 0
        self.dropped = 0

    def admits(self, byte_count: int, at: int) -> bool:
        """Whether a message of this size may come now. One that may not adds nothing."""
        seconds, self._at = (at - self._at) / 1000, at
        self._messages = max(0.0, self._messages - seconds * MESSAGES_A_S)
        self._bytes = max(0.0, self._bytes - seconds * BYTES_A_S)
        if self._messages + 1 > BURST_MESSAGES or self._bytes + byte_count > BURST_BYTES:
            self.dropped += 1
            return False
        self._messages += 1
        self._bytes += byte_count
        return True

    @property
    def flooded(self) -> bool:
        return self.dropped >= MAX_DROPPED
