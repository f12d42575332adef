"""What a patient in a browser waited for, split into upstream's share and ours. Pure.

A call is known by what was noted of it at both ends, all in milliseconds of the time of day. Ours is what is left of
the whole when upstream's is taken away: the browser's sound and network, the page, our server, and the sockets between.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

TO_FIRST_SOUND = "tap to first sound"
TO_ANSWER = "end of speech to first sound"
TO_SILENCE = "interruption to silence"
POINTS = {"p50": 0.5, "p95": 0.95, "max": 1.0}


class Marks:
    """Everything that was noted at one end, by name."""

    def __init__(self, noted: Iterable[tuple[str, float]]) -> None:
        self._times: dict[str, list[float]] = {}
        for name, at in noted:
            self._times.setdefault(name, []).append(at)

    def first(self, name: str, *, since: float = 0.0) -> float:
        """Return when it first happened, from `since` on. Raises LookupError when it did not."""
        return min(self._of(name, since, float("inf")))

    def last(self, name: str, *, until: float = float("inf")) -> float:
        """Return when it last happened, up to `until`. Raises LookupError when it did not."""
        return max(self._of(name, 0.0, until))

    def _of(self, name: str, since: float, until: float) -> list[float]:
        found = [at for at in self._times.get(name, ()) if since <= at <= until]
        if not found:
            raise LookupError(f"Nothing was noted as {name} between {since} and {until}")
        return found


@dataclass(frozen=True)
class Wait:
    """One wait of a patient's. `parts` are ours, by name, in the order in which they come."""

    total_ms: float
    upstream_ms: float
    parts: Mapping[str, float]

    @property
    def ours_ms(self) -> float:
        return self.total_ms - self.upstream_ms


def waits(page: Marks, upstream: Marks) -> dict[str, Wait]:
    """Return the three waits of one call, in which the greeting was interrupted and what was said was answered."""
    return {
        TO_FIRST_SOUND: to_first_sound(page, upstream),
        TO_ANSWER: to_answer(page, upstream),
        TO_SILENCE: to_silence(page, upstream),
    }


def to_first_sound(page: Marks, upstream: Marks) -> Wait:
    """The one wait in which upstream is asked three times: for a socket, a session, and a greeting."""
    began, heard = page.first("tap"), page.first("sound begins")
    stations = [
        ("microphone", page.first("microphone")),
        ("worklets", page.first("key asked")),
        ("key", page.first("key")),
        ("socket", page.first("open")),
        ("session", page.first("session.created")),
        ("greeting", page.first("response.output_audio.delta")),
        ("playing", heard),
    ]
    asked = [("asked", "created"), ("update", "updated"), ("create", "delta")]
    theirs = sum(upstream.first(answer) - upstream.first(question) for question, answer in asked)
    parts = {name: at - before for (_, before), (name, at) in pairwise([("tap", began), *stations])}
    return Wait(heard - began, theirs, parts)


def to_answer(page: Marks, upstream: Marks) -> Wait:
    """From the last sample with a voice in it, as the page was given it."""
    answered = upstream.last("delta")
    arrived = upstream.last("voice", until=answered)
    told = page.first("response.output_audio.delta", since=answered)
    ended, heard = page.last("voice ends", until=arrived), page.first("sound begins", since=answered)
    parts = {"to upstream": arrived - ended, "back": told - answered, "playing": heard - told}
    return Wait(heard - ended, answered - arrived, parts)


def to_silence(page: Marks, upstream: Marks) -> Wait:
    """From the first sample with a voice in it to the last of what it interrupts."""
    arrived, noticed = upstream.first("voice"), upstream.first("started")
    told = page.first("input_audio_buffer.speech_started", since=noticed)
    began, silent = page.last("voice begins", until=arrived), page.last("sound ends", until=upstream.last("delta"))
    parts = {"to upstream": arrived - began, "back": told - noticed, "silencing": silent - told}
    return Wait(silent - began, noticed - arrived, parts)


def quantile(values: Iterable[float], point: float) -> float:
    """Return the smallest of the values that at least this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-point * len(ordered) // 1) - 1)]


def table(calls: Sequence[Mapping[str, Wait]]) -> str:
    """Return the whole wait, upstream's share and ours, of each of the three, as a table in Markdown."""
    shares = {"whole": "total_ms", "upstream's": "upstream_ms", "ours": "ours_ms"}
    rows = [["ms", *(f"{share} {point}" for share in shares for point in POINTS)]]
    rows.append(["---"] * len(rows[0]))
    for name in calls[0]:
        values = ([getattr(call[name], share) for call in calls] for share in shares.values())
        rows.append([name, *(f"{quantile(some, point):.0f}" for some in values for point in POINTS.values())])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows)


def parts(calls: Sequence[Mapping[str, Wait]]) -> list[str]:
    """Return a line for each of the three: where our share goes, as medians and p95."""
    lines = []
    for name in calls[0]:
        values = {part: [call[name].parts[part] for call in calls] for part in calls[0][name].parts}
        told = (f"{part} {median(some):.0f} ({quantile(some, 0.95):.0f})" for part, some in values.items())
        lines.append(f"{name}, p50 (p95) of each part: {', '.join(told)}")
    return lines
