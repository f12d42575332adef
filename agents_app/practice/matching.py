"""Pure: spoken words matched to what is on offer: "cleaning", "the second one", "nine", "Thursday morning".

The words are English, as the grammar of the demo is. Knows no database and no clock.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Generic, TypeVar

from agents_app.practice.choice import DayPart, day_part
from agents_app.practice.normal import plain

Key = TypeVar("Key", bound=Hashable)

SURE = 1.0
_LEAST = 0.6
_APART = 0.05  # two candidates closer than this are a question to the caller

_FILLER = frozenset(
    {"a", "an", "the", "my", "for", "to", "of", "with", "i", "would", "like", "need", "want", "some", "get", "have"}
    | {"book", "appointment", "visit", "please", "dr", "doctor", "mr", "mrs", "ms"}
)
_ORDINALS = {"first": 0, "second": 1, "third": 2, "fourth": 3, "fifth": 4, "last": -1}
_NUMBERS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "eleven": 11, "twelve": 12,
}  # fmt: skip
_MINUTES = {"fifteen": 15, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "quarter": 15, "half": 30}
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True)
class Match(Generic[Key]):
    key: Key
    confidence: float


def best_matches(words: str, candidates: Iterable[tuple[Key, Sequence[str]]]) -> list[Match[Key]]:
    """Return the candidate that `words` mean, or all that they may equally mean, or nothing.

    A candidate is a key and the phrases that name it. The confidence is 1.0 for the phrase itself.
    """
    scored = [
        Match(key, max((_likeness(words, phrase) for phrase in phrases), default=0.0)) for key, phrases in candidates
    ]
    top = max((match.confidence for match in scored), default=0.0)
    return [match for match in scored if match.confidence >= _LEAST and top - match.confidence < _APART]


def _likeness(words: str, phrase: str) -> float:
    said, named = _tokens(words), _tokens(phrase)
    if not said or not named:
        return 0.0
    if said == named:
        return SURE
    if set(named) <= set(said):
        return 0.9
    if set(said) <= set(named):
        return 0.8
    return 0.9 * SequenceMatcher(None, " ".join(said), " ".join(named)).ratio()


def _tokens(text: str) -> list[str]:
    found = re.findall(r"\w+", plain(text))
    return [token for token in found if token not in _FILLER] or found


def choose(words: str, starts: Sequence[datetime]) -> int | None:
    """Return the index of the offered start that `words` choose, or None when they fit none or several.

    `starts` are local times, in the order in which they were said.
    """
    tokens = re.findall(r"[a-z]+|\d+", re.sub(r"\b([ap])\.\s?m\b", r"\1m", plain(words)))
    place = _place(tokens, len(starts))
    if place is not None:
        return place
    left = list(range(len(starts)))
    weekdays = {_WEEKDAYS.index(token) for token in tokens if token in _WEEKDAYS}
    parts = {DayPart(token) for token in tokens if token in set(DayPart)}
    at = _clock(tokens)
    if not (weekdays or parts or at):
        return None
    if weekdays:
        left = [i for i in left if starts[i].weekday() in weekdays]
    if parts:
        left = [i for i in left if day_part(starts[i]) in parts]
    if at is not None:
        left = _at_clock(left, starts, at)
    return left[0] if len(left) == 1 else None


def _place(tokens: Sequence[str], count: int) -> int | None:
    """Return the index meant by "the second one", "number two" or "option 3"."""
    named = [_ORDINALS[token] for token in tokens if token in _ORDINALS]
    named += [
        number - 1
        for before, token in pairwise(tokens)
        if before in ("number", "option") and (number := _number(token)) is not None
    ]
    if len(set(named)) != 1 or not -1 <= named[0] < count or count == 0:
        return None
    return named[0] % count


def _number(token: str) -> int | None:
    return int(token) if token.isdigit() else _NUMBERS.get(token)


def _clock(tokens: Sequence[str]) -> tuple[int, int | None, str | None] | None:
    """Return hour (as said), minute (None when not said) and am or pm, of the time in `tokens`."""
    meridiem = next((token for token in tokens if token in ("am", "pm")), None)
    if "noon" in tokens:
        return 12, 0, "pm"
    # "the one at nine": a "one" that stands for a slot is no time.
    bare = [t for i, t in enumerate(tokens) if not (t == "one" and i and tokens[i - 1] in ("the", "that", "this"))]
    hours = [(i, number) for i, token in enumerate(bare) if (number := _number(token)) is not None and number <= 23]
    if not hours:
        return None
    place, hour = hours[0]
    if place >= 2 and bare[place - 1] in ("past", "after"):
        return hour, _MINUTES.get(bare[place - 2]), meridiem
    following = bare[place + 1] if place + 1 < len(bare) else ""
    minute = int(following) if following.isdigit() and len(following) == 2 else _MINUTES.get(following)
    return hour, minute, meridiem


def _at_clock(left: Sequence[int], starts: Sequence[datetime], at: tuple[int, int | None, str | None]) -> list[int]:
    """Keep what the time may mean: nine is 9:00 before it is 9:30, and in the morning or the evening as said."""
    hour, minute, meridiem = at

    def fits(start: datetime) -> bool:
        if meridiem is not None and (start.hour >= 12) != (meridiem == "pm"):
            return False
        return start.hour == hour if hour > 12 else start.hour % 12 == hour % 12

    near = [i for i in left if fits(starts[i])]
    exact = [i for i in near if starts[i].minute == (minute or 0)]
    return exact or (near if minute is None else [])
