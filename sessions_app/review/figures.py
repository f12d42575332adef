"""Pure: what a call took, in numbers for people: delays, tool times, tokens by kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any


@dataclass(frozen=True)
class Spread:
    """Of `count` durations: the middle one, the one that 95 in 100 do not exceed, and the longest."""

    count: int
    p50_ms: int
    p95_ms: int
    worst_ms: int


def spread(durations_ms: Sequence[int]) -> Spread | None:
    """Return None for none. Percentiles are by nearest rank: each is a duration that really happened."""
    if not durations_ms:
        return None
    ordered = sorted(durations_ms)
    return Spread(len(ordered), _rank(ordered, 50), _rank(ordered, 95), ordered[-1])


def _rank(ordered: Sequence[int], percent: int) -> int:
    return ordered[ceil(percent * len(ordered) / 100) - 1]


@dataclass(frozen=True)
class CallerSound:
    """How the caller's sound came: by the server's clock, and by what the caller's page counted itself."""

    missing_ms: int
    missing_percent: float  # of what was said
    jitter_ms: int
    unsent: int  # frames that the page could not send
    silenced_ms: int  # only an echo of the receptionist
    underruns: int  # replies that broke off because the rest of them was late


def sound_of(counters: Mapping[str, Any]) -> CallerSound | None:
    """Return None for a call without sound."""
    came_ms, missing_ms = _count(counters, "sound_ms"), _count(counters, "sound_missing_ms")
    if not came_ms:
        return None
    return CallerSound(
        missing_ms=missing_ms,
        missing_percent=round(100 * missing_ms / (came_ms + missing_ms), 1),
        jitter_ms=_count(counters, "sound_jitter_ms"),
        unsent=_count(counters, "page_dropped_frames"),
        silenced_ms=_count(counters, "page_silenced_ms"),
        underruns=_count(counters, "page_underruns"),
    )


@dataclass(frozen=True)
class Tokens:
    """One row of the table of tokens: `kind` is "text", "audio", "transcription_text" or "transcription_audio"."""

    kind: str
    fresh: int
    cached: int
    out: int


def tokens_of(usage: Mapping[str, Any]) -> list[Tokens]:
    """Return the kinds that were used at all, as `sessions_app.cost` names them."""
    kinds = ("text", "audio", "transcription_text", "transcription_audio")
    rows = [Tokens(kind, *(_count(usage, f"{kind}_{way}") for way in ("in", "cached", "out"))) for kind in kinds]
    return [row for row in rows if row.fresh or row.cached or row.out]


def cached_percent(rows: Sequence[Tokens]) -> int | None:
    """Return how much of what was sent to the model it had seen before, or None when nothing was sent."""
    sent = sum(row.fresh + row.cached for row in rows)
    return 100 * sum(row.cached for row in rows) // sent if sent else None


def _count(usage: Mapping[str, Any], name: str) -> int:
    value = usage.get(name)
    return value if isinstance(value, int) else 0
