"""The words that a transcription model is told to expect: names and terms that it would mishear. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

# The service names no limit. A hundred names are more than a practice has, and a long list helps nobody's ear.
MAX_HINTS = 100
MAX_HINT_CHARS = 60


def own_hints(text: str) -> list[str]:
    """Return a manager's own list, one a line, as it was written but for empty lines."""
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def bounded_hints(words: Iterable[str]) -> list[str]:
    """Return each word once, in order, and no more than the bounds: who comes first stays."""
    kept: dict[str, str] = {}
    for word in _tidy(words):
        kept.setdefault(word.casefold(), word)
    return list(kept.values())[:MAX_HINTS]


def _tidy(words: Iterable[str]) -> Iterator[str]:
    for word in words:
        plain = " ".join(word.split())
        if 1 < len(plain) <= MAX_HINT_CHARS:
            yield plain
