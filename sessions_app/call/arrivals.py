"""How the caller's sound arrives: its jitter, and what seems to be missing of it. Pure.

The dialect numbers no frames, so that a loss is seen by the clock alone: sound that is late for good was lost. What is
missing for longer than a gap is a muted microphone, or a button that was let go.
"""

from __future__ import annotations

GAP_MS = 200
JITTER_SHARE = 16  # of each new deviation in the estimate. Source: RFC 3550, section 6.4.1


class Arrivals:
    def __init__(self, *, bytes_per_ms: int) -> None:
        self._bytes_per_ms = bytes_per_ms
        self._came_at = 0
        self._length_ms = 0.0  # of the newest frame
        self._ends_at = 0.0  # of all sound so far, if each frame is spoken as soon as it comes
        self._jitter_ms = 0.0
        self._most_jitter_ms = 0.0
        self._frames = self._gaps = 0
        self._missing_ms = self._sound_ms = 0.0

    def note(self, byte_count: int, at: int) -> None:
        """A frame of the caller's came in."""
        if self._frames:
            self._measure(at, byte_count / self._bytes_per_ms)
        self._frames += 1
        self._length_ms = byte_count / self._bytes_per_ms
        self._sound_ms += self._length_ms
        self._ends_at = max(self._ends_at, float(at)) + self._length_ms
        self._came_at = at

    def _measure(self, at: int, length_ms: float) -> None:
        # A frame comes when it has been spoken to its end: one that is longer than the last comes so much later.
        gap = at - self._ends_at - max(0.0, length_ms - self._length_ms)
        if gap > GAP_MS:
            return
        if gap >= self._length_ms / 2:  # less is the clocks', which differ a little
            self._gaps += 1
            self._missing_ms += gap
        deviation = abs(at - self._came_at - length_ms)
        self._jitter_ms += (deviation - self._jitter_ms) / JITTER_SHARE
        self._most_jitter_ms = max(self._most_jitter_ms, self._jitter_ms)

    def counters(self) -> dict[str, int]:
        """Return whole numbers by name; nothing for a call without sound."""
        if not self._frames:
            return {}
        return {
            "sound_ms": round(self._sound_ms),
            "sound_gaps": self._gaps,
            "sound_missing_ms": round(self._missing_ms),
            "sound_jitter_ms": round(self._most_jitter_ms),
        }
