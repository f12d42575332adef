"""Rules on the caller's words: phrases looked for as whole words, by plain code, in time linear in the text.

Pure. Never asks a model, and compiles nothing that a manager wrote. What happens when a rule trips is the call's.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

# Speech is transcribed in any of these spellings; each becomes one, in phrases and in texts alike.
_SPELLED_OUT = {
    "aint": "is not",
    "arent": "are not",
    "cannot": "can not",
    "cant": "can not",
    "couldnt": "could not",
    "didnt": "did not",
    "doesnt": "does not",
    "dont": "do not",
    "hadnt": "had not",
    "hasnt": "has not",
    "havent": "have not",
    "im": "i am",
    "isnt": "is not",
    "ive": "i have",
    "shouldnt": "should not",
    "theyre": "they are",
    "wasnt": "was not",
    "werent": "were not",
    "wont": "will not",
    "wouldnt": "would not",
}
_APOSTROPHES = "'’‘ʼ`´＇"  # noqa: RUF001 - these are the look-alikes that speech and keyboards produce
# What keeps a text looked through within a moment: the rules run where everybody's sound does.
MAX_RULES = 30
MAX_PHRASE_WORDS = 12


@dataclass(frozen=True)
class Rule:
    """One guardrail of a version. `index` is its place there, which names its clip: `guardrail:<index>`."""

    index: int
    name: str
    phrases: tuple[str, ...]
    line: str
    shows_emergency_number: bool

    @cached_property
    def _folded(self) -> frozenset[str]:
        return frozenset(folded for phrase in self.phrases if (folded := fold(phrase)))

    @cached_property
    def _first_words(self) -> frozenset[str]:
        return frozenset(phrase.split()[0] for phrase in self._folded)

    @cached_property
    def _lengths(self) -> frozenset[int]:
        return frozenset(len(phrase.split()) for phrase in self._folded)

    def trips_on(self, words: Sequence[str]) -> bool:
        """Whether a phrase stands in folded `words`. Looks up stretches of words, however many phrases there are."""
        starts = [place for place, word in enumerate(words) if word in self._first_words]
        return any(" ".join(words[at : at + length]) in self._folded for at in starts for length in self._lengths)


def rules_from(content: dict[str, Any]) -> tuple[Rule, ...]:
    """Return the rules of a version's frozen content, in order."""
    return tuple(
        Rule(index, rail["name"], tuple(rail["phrases"]), rail["line"], rail["shows_emergency_number"])
        for index, rail in enumerate(content["guardrails"])
    )


def first_tripped(rules: Iterable[Rule], text: str) -> Rule | None:
    """Return the first rule of which a phrase stands in `text` as whole words, or None."""
    words = fold(text).split()
    return next((rule for rule in rules if rule.trips_on(words)), None)


def fold(text: str) -> str:
    """Return the words of `text`, parted by single spaces: small letters, no accents, no contractions.

    An apostrophe joins (can't, cant), any other punctuation parts.
    """
    plain = unicodedata.normalize("NFKD", text).casefold()
    kept = "".join(_folded_character(character) for character in plain)
    return " ".join(_SPELLED_OUT.get(word, word) for word in kept.split())


def _folded_character(character: str) -> str:
    if character in _APOSTROPHES or unicodedata.combining(character):
        return ""
    return character if character.isalnum() else " "
