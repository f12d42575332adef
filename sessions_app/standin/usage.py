"""Token counts of prompts and answers, and what of a prompt was cached. Pure.

A text token is four characters; the caller's sound is one token each 100 ms, the assistant's one each 50 ms.
Cached is what truly equals the beginning of an earlier prompt of the same session, as the service bills it.
"""

import json
import math
from collections import deque
from dataclasses import dataclass

from sessions_app.standin.conversation import Item
from sessions_app.standin.wire import Json

TEXT_TOKEN_CHARACTERS = 4
CALLER_TOKEN_MS = 100
ASSISTANT_TOKEN_MS = 50
CACHE_MINIMUM_TOKENS = 1024
CACHE_STEP_TOKENS = 64
PROMPTS_REMEMBERED = 4

Token = str | tuple[str, int]
"""A piece of text, or (item id, n) for the nth token of an item's sound."""


@dataclass
class Spoken:
    """What a response has put out so far."""

    text: str = ""
    audio_ms: float = 0


def text_tokens(text: str) -> int:
    return math.ceil(len(text) / TEXT_TOKEN_CHARACTERS)


def prompt_tokens(instructions: str, tools: list[Json], items: list[Item]) -> list[Token]:
    """Return everything a model would read, in the order in which it is read."""
    tokens: list[Token] = [*_pieces(instructions), *_pieces(json.dumps(tools) if tools else "")]
    for item in items:
        tokens += _pieces(_readable(item))
        each_ms = ASSISTANT_TOKEN_MS if item.wire.get("role") == "assistant" else CALLER_TOKEN_MS
        tokens += [(item.id, n) for n in range(math.ceil(item.audio_ms / each_ms))]
    return tokens


def _pieces(text: str) -> list[Token]:
    return [text[start : start + TEXT_TOKEN_CHARACTERS] for start in range(0, len(text), TEXT_TOKEN_CHARACTERS)]


def _readable(item: Item) -> str:
    wire = item.wire
    if wire["type"] == "message":
        typed = [part.get("text") or "" for part in wire["content"]]
        said = [part.get("transcript") or "" for part in wire["content"] if wire["role"] == "assistant"]
        return f"{wire['role']}:" + " ".join([*typed, *said])
    return f"{wire['type']}:" + "".join(str(wire.get(key, "")) for key in ("name", "arguments", "output"))


class Meter:
    """The usage of one session's responses."""

    def __init__(self, *, reasons: bool) -> None:
        self._prompts: deque[list[Token]] = deque(maxlen=PROMPTS_REMEMBERED)
        self._reasons = reasons

    def usage(self, prompt: list[Token], spoken: Spoken) -> Json:
        """Return the `usage` of a response to `prompt`, and remember the prompt."""
        cached = prompt[: self._cached_length(prompt)]
        self._prompts.append(prompt)
        text_out, audio_out = text_tokens(spoken.text), math.ceil(spoken.audio_ms / ASSISTANT_TOKEN_MS)
        return _usage(prompt, cached, text_out, audio_out, reasons=self._reasons)

    def nothing(self) -> Json:
        """Return the usage of a response that failed, or was cancelled before it said anything."""
        return _usage([], [], 0, 0, reasons=self._reasons)

    def _cached_length(self, prompt: list[Token]) -> int:
        longest = max((_common_prefix(prompt, earlier) for earlier in self._prompts), default=0)
        return 0 if longest < CACHE_MINIMUM_TOKENS else longest - longest % CACHE_STEP_TOKENS


def _common_prefix(one: list[Token], other: list[Token]) -> int:
    for place, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return place
    return min(len(one), len(other))


def _usage(prompt: list[Token], cached: list[Token], text_out: int, audio_out: int, *, reasons: bool) -> Json:
    total_in, text_in, cached_text = len(prompt), _texts(prompt), _texts(cached)
    output_details = {"text_tokens": text_out, "audio_tokens": audio_out}
    return {
        "total_tokens": total_in + text_out + audio_out,
        "input_tokens": total_in,
        "output_tokens": text_out + audio_out,
        "input_token_details": {
            "text_tokens": text_in,
            "audio_tokens": total_in - text_in,
            "image_tokens": 0,
            "cached_tokens": len(cached),
            "cached_tokens_details": {
                "text_tokens": cached_text,
                "audio_tokens": len(cached) - cached_text,
                "image_tokens": 0,
            },
        },
        "output_token_details": output_details | ({"reasoning_tokens": 0} if reasons else {}),
    }


def _texts(tokens: list[Token]) -> int:
    return sum(isinstance(token, str) for token in tokens)
