"""Whether this process may take one more call. It refuses new ones, and never touches those in progress.

Pure: what the process is like comes in as a value, with `now` on the monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

MAX_CALLS = 400  # a core carries some hundreds; beyond, every caller would hear it
STARTS_A_SECOND = 30  # each start costs about as much as a second of a call
STALL_S = 1.0  # an event loop that stood still this long has too much to do
STALL_REFUSES_S = 5.0  # and for this long nothing is added
MAX_FILES_SHARE = 0.8  # of the limit: a call needs two sockets, and what is in progress needs the rest
MAX_RESIDENT_BYTES = 1024 * 1024 * 1024  # 400 calls of 1.5 MiB, and the process itself
STORING_LATE_S = 10.0  # facts that wait this long to be stored


@dataclass(frozen=True)
class Load:
    """What a process is like now."""

    live: int = 0
    draining: bool = False
    stalled_s_ago: float | None = None  # when the event loop last stood still for STALL_S
    open_files: int = 0
    max_files: int = 0  # 0: not known
    resident_bytes: int = 0
    storing_late_s: float = 0.0


@dataclass(frozen=True)
class Refusal:
    """`cause` is for our own figures; the caller is told `code` and when to try again, at a moment drawn from these."""

    code: str  # busy, restarting
    cause: str
    retry_after_s: tuple[float, float]


BUSY_RETRY_S = (2.0, 8.0)
RATE_RETRY_S = (1.0, 4.0)
RESTART_RETRY_S = (0.5, 4.0)  # another process, or the next one, is ready


def refusal(load: Load) -> Refusal | None:
    """Return why the process takes no new call, or None when it does."""
    if load.draining:
        return Refusal("restarting", "draining", RESTART_RETRY_S)
    cause = overload(load)
    return Refusal("busy", cause, BUSY_RETRY_S) if cause else None


def overload(load: Load) -> str:
    """Return what there is too much of, or ""."""
    stalled = load.stalled_s_ago is not None and load.stalled_s_ago < STALL_REFUSES_S
    causes = {
        "calls": load.live >= MAX_CALLS,
        "loop": stalled,
        "files": bool(load.max_files) and load.open_files >= MAX_FILES_SHARE * load.max_files,
        "memory": load.resident_bytes >= MAX_RESIDENT_BYTES,
        "storing": load.storing_late_s >= STORING_LATE_S,
    }
    return next((cause for cause, holds in causes.items() if holds), "")


@dataclass(frozen=True)
class Starts:
    """A bucket of starts, full at first: after a restart the calls of another process come back at this pace."""

    left: float = float(STARTS_A_SECOND)
    at: float = 0.0

    def one_more(self, now: float) -> tuple[Starts, Refusal | None]:
        """Return the bucket after one start, or as it was with the reason why there is none."""
        left = min(float(STARTS_A_SECOND), self.left + max(0.0, now - self.at) * STARTS_A_SECOND)
        if left < 1.0:
            return replace(self, left=left, at=now), Refusal("busy", "rate", RATE_RETRY_S)
        return Starts(left - 1.0, now), None

    def one_less(self) -> Starts:
        """Return the bucket after a start that came to nothing: bad keys must not use up everyone's."""
        return replace(self, left=self.left + 1.0)
