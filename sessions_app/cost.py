"""Owns the sum of a call's tokens by kind, and what they cost. Knows no database and no date.

A kind is named as its price is: `text_in`, `text_cached`, `text_out`, `audio_in`, `audio_cached`, `audio_out`. What
the transcription of the caller's speech used stands apart, under the same names after `transcription_`.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Any, Protocol

TOKEN_KINDS = ("text_in", "text_cached", "text_out", "audio_in", "audio_cached", "audio_out")
TRANSCRIPTION = "transcription_"
MS_PER_MINUTE = 60_000


class Rates(Protocol):
    """US dollars for a million tokens of each kind, and for a minute of sound."""

    @property
    def text_in(self) -> Decimal: ...
    @property
    def text_cached(self) -> Decimal: ...
    @property
    def text_out(self) -> Decimal: ...
    @property
    def audio_in(self) -> Decimal: ...
    @property
    def audio_cached(self) -> Decimal: ...
    @property
    def audio_out(self) -> Decimal: ...
    @property
    def audio_minute(self) -> Decimal: ...


def add_usage(total: Mapping[str, int], usage: Mapping[str, Any] | None) -> dict[str, int]:
    """Return `total` with one response's `usage` added; a cancelled response has one too.

    The six kinds take part in the price. Kept beside them: `responses`, `input_tokens`, `output_tokens`,
    `total_tokens` as reported, and `reasoning_out`, which is already inside `text_out`.

    Source: Realtime API reference, `response.done`: details hold fresh and cached tokens together.
    """
    if not usage:
        return dict(total)
    added = {
        **_input_kinds(usage),
        **_output_kinds(usage),
        "responses": 1,
        **{name: _count(usage, name) for name in ("input_tokens", "output_tokens", "total_tokens")},
    }
    return _sum(total, added)


def add_transcription_usage(total: Mapping[str, int], usage: Mapping[str, Any] | None) -> dict[str, int]:
    """Return `total` with one transcription's `usage` added: tokens, or a duration kept as `transcription_ms`."""
    if not usage:
        return dict(total)
    if usage.get("type") == "duration":
        return _sum(total, {"transcription_ms": _milliseconds(usage.get("seconds"))})
    kinds = _input_kinds(usage) | _output_kinds(usage)
    return _sum(total, {TRANSCRIPTION + kind: tokens for kind, tokens in kinds.items()})


def cost_microusd(usage: Mapping[str, int], price: Rates, *, transcription: Rates | None = None) -> int:
    """Return what `usage` costs in millionths of a US dollar, rounded up, once, to a whole one.

    A dollar for a million tokens is a millionth for one, so the sum is exact until then. Without the price of the
    `transcription` model, transcription is left out.
    """
    cost = _token_cost(usage, price)
    if transcription is not None:
        cost += _token_cost(usage, transcription, prefix=TRANSCRIPTION)
        cost += usage.get("transcription_ms", 0) * transcription.audio_minute * 1_000_000 / MS_PER_MINUTE
    return int(cost.to_integral_value(ROUND_CEILING))


def _token_cost(usage: Mapping[str, int], price: Rates, *, prefix: str = "") -> Decimal:
    return sum((usage.get(prefix + kind, 0) * getattr(price, kind) for kind in TOKEN_KINDS), Decimal(0))


def _input_kinds(usage: Mapping[str, Any]) -> dict[str, int]:
    """Return fresh and cached tokens by kind. Tokens of no stated kind count as text, as in a call that is typed."""
    details = _part(usage, "input_token_details")
    text, audio, image = (_count(details, f"{kind}_tokens") for kind in ("text", "audio", "image"))
    text += max(0, _count(usage, "input_tokens") - text - audio - image)
    cached_details = _part(details, "cached_tokens_details")
    cached_text, cached_audio = (_count(cached_details, f"{kind}_tokens") for kind in ("text", "audio"))
    if not cached_details:
        # The prefix of every prompt is text: instructions and tools.
        cached_text = min(text, _count(details, "cached_tokens"))
        cached_audio = _count(details, "cached_tokens") - cached_text
    cached_text, cached_audio = min(cached_text, text), min(cached_audio, audio)
    return {
        "text_in": text - cached_text,
        "text_cached": cached_text,
        "audio_in": audio - cached_audio,
        "audio_cached": cached_audio,
    }


def _output_kinds(usage: Mapping[str, Any]) -> dict[str, int]:
    details = _part(usage, "output_token_details")
    text, audio = _count(details, "text_tokens"), _count(details, "audio_tokens")
    text += max(0, _count(usage, "output_tokens") - text - audio)
    return {"text_out": text, "audio_out": audio, "reasoning_out": _count(details, "reasoning_tokens")}


def _part(whole: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = whole.get(name)
    return part if isinstance(part, Mapping) else {}


def _count(whole: Mapping[str, Any], name: str) -> int:
    """Return a count of tokens; what is missing, negative or no number is none."""
    value = whole.get(name)
    return max(0, value) if isinstance(value, int) and not isinstance(value, bool) else 0


def _milliseconds(seconds: object) -> int:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < float("inf"):
        return 0
    return round(seconds * 1000)


def _sum(total: Mapping[str, int], added: Mapping[str, int]) -> dict[str, int]:
    return {**total, **{name: total.get(name, 0) + count for name, count in added.items()}}
