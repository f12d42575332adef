"""Where the caller's sound lies on the call's time line. Pure.

The service counts the sound that it was given; a muted microphone leaves gaps that it never sees.
"""

from __future__ import annotations

from bisect import bisect_right

GAP_MS = 200  # shorter gaps are jitter
MAX_GAPS = 1000

BUCKET_MS = 15_000  # of sound that may come faster than it was spoken
FILL_RATE = 1.1  # times real time


class CallerSound:
    def __init__(self, *, bytes_per_ms: int) -> None:
        self._bytes_per_ms = bytes_per_ms
        self._given_ms = 0.0
        self._ends_at = 0.0
        self._starts: list[tuple[float, float]] = []  # sound given before a stretch, and when the stretch began
        self._room_ms, self._room_at = float(BUCKET_MS), 0
        self.dropped_at: int | None = None  # when upstream was last too slow for it

    def admits(self, byte_count: int, at: int) -> bool:
        """Whether this much sound may come now: nobody speaks much faster than real time."""
        length = byte_count / self._bytes_per_ms
        room = min(float(BUCKET_MS), self._room_ms + (at - self._room_at) * FILL_RATE)
        self._room_ms, self._room_at = room - length if length <= room else room, at
        return length <= room

    def take(self, byte_count: int, at: int) -> None:
        """Note that this much sound came in now. Its position is the later of its arrival and the end of the last."""
        begins = max(self._ends_at, float(at))
        if (not self._starts or begins - self._ends_at > GAP_MS) and len(self._starts) < MAX_GAPS:
            self._starts.append((self._given_ms, begins))
        length = byte_count / self._bytes_per_ms
        self._given_ms += length
        self._ends_at = begins + length

    def drop(self, byte_count: int, *, behind: int) -> int:
        """This much of what was taken never went out; `behind` bytes taken after it wait. Return its milliseconds."""
        length = byte_count / self._bytes_per_ms
        ends = max(0.0, self._given_ms - behind / self._bytes_per_ms)
        begins = max(0.0, ends - length)
        resumed = float(self.at(round(ends), round(self._ends_at)))
        # The service never counts it: what follows stands that much earlier in its count, and is spoken when it was.
        kept = [start for start in self._starts if start[0] < begins]
        later = [(given - length, began) for given, began in self._starts if given > ends]
        self._starts = [*kept, (begins, resumed), *later][-MAX_GAPS:]
        self._given_ms -= length
        return round(length)

    def new_session(self) -> None:
        """A new session of the service counts its sound from nothing."""
        self._given_ms = 0.0
        self._starts.clear()

    def at(self, given_ms: int, otherwise: int) -> int:
        """Return when the sound at `given_ms` of all that was given was spoken."""
        index = bisect_right(self._starts, (float(given_ms), float("inf"))) - 1
        if index < 0:
            return otherwise
        given, began = self._starts[index]
        return min(round(began + given_ms - given), otherwise)
