"""The words that a caller may well say in a session, for the recogniser's grammar. Pure."""

import re
from dataclasses import dataclass
from typing import Any

from sessions_app.standin.dialogue.words import choice_words, properties_of, tokens

MAX_THINGS = 80
EXAMPLES = re.compile(r"\bsuch as (?:an? )?([\w ,-]{3,60})")


@dataclass(frozen=True)
class Vocabulary:
    """Verbs and things, from the names, descriptions and choices of a session's tools."""

    verbs: tuple[str, ...]
    things: tuple[str, ...]


def vocabulary(tools: list[dict[str, Any]]) -> Vocabulary:
    verbs: list[str] = []
    things: list[str] = []
    for tool in tools:
        verb, *nouns = tokens(str(tool.get("name", ""))) or [""]
        verbs.append(verb)
        things.append(" ".join(nouns))
        things += [" ".join(tokens(choice)) for choice in choice_words(tool)]
        described = [tool.get("description"), *(one.get("description") for one in properties_of(tool).values())]
        for text in described:
            for listed in EXAMPLES.findall(str(text or "")):
                things += [" ".join(tokens(part)) for part in re.split(r",| or | and ", listed)]
    return Vocabulary(_distinct(verbs), _distinct(things)[:MAX_THINGS])


def _distinct(words: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for word in words if word and not any(c.isdigit() for c in word)))
