"""What the Realtime models cost when this was written. The rows are the truth: a manager may correct or add to them."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from sessions_app.models import Price

VALID_FROM = dt.date(2026, 1, 1)

# US dollars for a million tokens. Source: the provider's model pages.
_TOKENS = ("text_in", "text_cached", "text_out", "audio_in", "audio_cached", "audio_out")
_BY_TOKENS = {
    "gpt-realtime-2.1": ("4.00", "0.40", "24.00", "32.00", "0.40", "64.00"),
    "gpt-realtime-2": ("4.00", "0.40", "24.00", "32.00", "0.40", "64.00"),
    "gpt-realtime-1.5": ("4.00", "0.40", "16.00", "32.00", "0.40", "64.00"),
    "gpt-realtime-2.1-mini": ("0.60", "0.06", "2.40", "10.00", "0.30", "20.00"),
}
# US dollars for a minute of sound.
_BY_MINUTE = {"gpt-live-transcribe": "0.017", "gpt-realtime-whisper": "0.017"}

PRICES: dict[str, dict[str, Decimal]] = {
    **{model: dict(zip(_TOKENS, map(Decimal, prices), strict=True)) for model, prices in _BY_TOKENS.items()},
    **{
        model: {**dict.fromkeys(_TOKENS, Decimal(0)), "audio_minute": Decimal(price)}
        for model, price in _BY_MINUTE.items()
    },
}


def load_prices() -> None:
    """Add the prices that are not there; those that are stay as they are."""
    for model, fields in PRICES.items():
        Price.objects.get_or_create(model=model, valid_from=VALID_FROM, defaults=fields)
