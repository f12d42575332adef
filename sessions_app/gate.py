"""The process's door: looks at its load and counts its starts, and says of each new call whether it may begin."""

from __future__ import annotations

import time

from sessions_app import metrics
from sessions_app.admission import Load, Refusal, Starts, overload, refusal
from sessions_app.load import LoadWatch


class Gate:
    """Counts from the first call; looks at the process only once `watch` was called, by a server of its own."""

    def __init__(self) -> None:
        self._watch: LoadWatch | None = None
        self._starts = Starts()

    def watch(self) -> None:
        """Look at this process from now on. To be called in the loop that carries the calls."""
        self._watch = self._watch or LoadWatch(on_lag=metrics.LOOP_LAG_SECONDS.observe)

    def admit(self, *, live: int, draining: bool, storing_late_s: float) -> Refusal | None:
        """Return why no call may begin now; None is one start of those that a second allows."""
        refused = refusal(self._load(live=live, draining=draining, storing_late_s=storing_late_s))
        if refused is None:
            self._starts, refused = self._starts.one_more(time.monotonic())
        if refused is not None:
            metrics.CALLS_REFUSED.labels(refused.cause).inc()
        return refused

    def not_begun(self) -> None:
        """The last start that was admitted had no good key."""
        self._starts = self._starts.one_less()

    def overload(self, *, live: int, storing_late_s: float) -> str:
        """Return what the process has too much of, or ""."""
        return overload(self._load(live=live, draining=False, storing_late_s=storing_late_s))

    def close(self) -> None:
        if self._watch is not None:
            self._watch.close()

    def _load(self, *, live: int, draining: bool, storing_late_s: float) -> Load:
        seen = Load(live=live, draining=draining, storing_late_s=storing_late_s)
        return seen if self._watch is None else self._watch.seen(seen)
