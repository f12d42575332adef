from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from sessions_app.cost import TOKEN_KINDS, add_transcription_usage, add_usage, cost_microusd
from sessions_app.models import Price
from tests.make import make_user


@dataclass(frozen=True)
class FixedRates:
    text_in: Decimal = Decimal("4")
    text_cached: Decimal = Decimal("0.4")
    text_out: Decimal = Decimal("24")
    audio_in: Decimal = Decimal("32")
    audio_cached: Decimal = Decimal("0.4")
    audio_out: Decimal = Decimal("64")
    audio_minute: Decimal = Decimal(0)


_NOTHING = Decimal(0)
PER_MINUTE = FixedRates(_NOTHING, _NOTHING, _NOTHING, _NOTHING, _NOTHING, _NOTHING, Decimal("0.017"))

SPOKEN_USAGE: dict[str, Any] = {
    "total_tokens": 1540,
    "input_tokens": 1300,
    "output_tokens": 240,
    "input_token_details": {
        "text_tokens": 1000,
        "audio_tokens": 300,
        "image_tokens": 0,
        "cached_tokens": 960,
        "cached_tokens_details": {"text_tokens": 896, "audio_tokens": 64, "image_tokens": 0},
    },
    "output_token_details": {"text_tokens": 60, "audio_tokens": 180, "reasoning_tokens": 20},
}


def test_usage_is_parted_into_fresh_cached_and_out() -> None:
    usage = add_usage({}, SPOKEN_USAGE)

    assert usage == {
        "text_in": 104,
        "text_cached": 896,
        "audio_in": 236,
        "audio_cached": 64,
        "text_out": 60,
        "audio_out": 180,
        "reasoning_out": 20,
        "responses": 1,
        "input_tokens": 1300,
        "output_tokens": 240,
        "total_tokens": 1540,
    }


def test_usage_of_several_responses_is_the_sum_that_the_provider_reports() -> None:
    usage = add_usage(add_usage(add_usage({}, SPOKEN_USAGE), SPOKEN_USAGE), SPOKEN_USAGE)

    assert sum(usage[kind] for kind in TOKEN_KINDS) == usage["total_tokens"] == 3 * 1540
    assert usage["responses"] == 3


def test_adding_leaves_the_sum_that_it_was_given_alone() -> None:
    before = {"text_in": 1}

    add_usage(before, SPOKEN_USAGE)

    assert before == {"text_in": 1}


@pytest.mark.parametrize("usage", [None, {}])
def test_response_without_usage_adds_nothing(usage: Any) -> None:
    assert add_usage({"text_in": 5}, usage) == {"text_in": 5}


@pytest.mark.parametrize("details", [None, {}, [], "many"])
def test_tokens_of_no_stated_kind_count_as_text(details: Any) -> None:
    usage = add_usage(
        {},
        {
            "input_tokens": 100,
            "output_tokens": 10,
            "total_tokens": 110,
            "input_token_details": details,
            "output_token_details": details,
        },
    )

    assert {kind: usage[kind] for kind in TOKEN_KINDS if usage[kind]} == {"text_in": 100, "text_out": 10}


def test_cached_tokens_of_no_stated_kind_are_text_first() -> None:
    details = {"text_tokens": 50, "audio_tokens": 40, "cached_tokens": 60, "cached_tokens_details": None}

    usage = add_usage({}, {"input_tokens": 90, "input_token_details": details})

    assert {kind: usage[kind] for kind in ("text_in", "text_cached", "audio_in", "audio_cached")} == {
        "text_in": 0,
        "text_cached": 50,
        "audio_in": 30,
        "audio_cached": 10,
    }


def test_more_cached_than_there_are_never_makes_a_kind_negative() -> None:
    details = {"text_tokens": 5, "audio_tokens": 0, "cached_tokens_details": {"text_tokens": 9, "audio_tokens": 9}}

    usage = add_usage({}, {"input_tokens": 5, "input_token_details": details})

    assert (usage["text_in"], usage["text_cached"], usage["audio_in"], usage["audio_cached"]) == (0, 5, 0, 0)


@pytest.mark.parametrize("value", [None, -3, True, "12", 1.5, {}])
def test_count_that_is_no_count_is_none(value: Any) -> None:
    usage = add_usage({}, {"input_tokens": value, "input_token_details": {"text_tokens": value}})

    assert set(usage.values()) == {0, 1}
    assert usage["responses"] == 1


def test_transcription_tokens_stand_apart() -> None:
    usage = add_transcription_usage(
        add_usage({}, SPOKEN_USAGE),
        {
            "type": "tokens",
            "total_tokens": 70,
            "input_tokens": 50,
            "output_tokens": 20,
            "input_token_details": {"text_tokens": 10, "audio_tokens": 40},
        },
    )

    assert usage["transcription_audio_in"] == 40
    assert usage["transcription_text_in"] == 10
    assert usage["transcription_text_out"] == 20
    assert usage["total_tokens"] == 1540


@pytest.mark.parametrize(
    ("seconds", "milliseconds"), [(3.2, 3200), (2, 2000), (None, 0), (-1, 0), (float("nan"), 0), (float("inf"), 0)]
)
def test_transcription_by_duration_is_kept_in_milliseconds(seconds: Any, milliseconds: int) -> None:
    usage = add_transcription_usage({"transcription_ms": 100}, {"type": "duration", "seconds": seconds})

    assert usage == {"transcription_ms": 100 + milliseconds}


def test_cost_is_each_kind_at_its_own_rate() -> None:
    usage = add_usage({}, SPOKEN_USAGE)

    cost = cost_microusd(usage, FixedRates())

    # 104 * 4 + 896 * 0.4 + 60 * 24 + 236 * 32 + 64 * 0.4 + 180 * 64 = 21312.0; reasoning is inside text out
    assert cost == 21_312


def test_cost_is_rounded_up_once() -> None:
    assert cost_microusd({"text_cached": 1, "audio_cached": 1}, FixedRates()) == 1
    assert cost_microusd({"text_cached": 5}, FixedRates()) == 2
    assert cost_microusd({"text_cached": 6}, FixedRates()) == 3
    assert cost_microusd({}, FixedRates()) == 0


def test_a_minute_of_caller_and_of_agent_speech_cost_what_the_provider_says() -> None:
    assert cost_microusd({"audio_in": 600}, FixedRates()) == 19_200
    assert cost_microusd({"audio_out": 1200}, FixedRates()) == 76_800


def test_transcription_is_priced_only_when_its_price_is_known() -> None:
    usage = {"text_in": 1, "transcription_ms": 90_000}

    assert cost_microusd(usage, FixedRates()) == 4
    assert cost_microusd(usage, FixedRates(), transcription=PER_MINUTE) == 4 + 25_500


def test_transcription_by_tokens_is_priced_with_its_own_rates() -> None:
    usage = {"transcription_audio_in": 100, "transcription_text_out": 10}

    assert cost_microusd(usage, FixedRates(), transcription=FixedRates()) == 100 * 32 + 10 * 24


def make_price(model: str, valid_from: dt.date, rates: FixedRates) -> Price:
    return Price.objects.create(model=model, valid_from=valid_from, **asdict(rates))


@pytest.mark.django_db
def test_price_is_the_latest_of_those_valid_on_the_day() -> None:
    Price.objects.all().delete()
    old = make_price("gpt-realtime-2.1", dt.date(2026, 1, 1), FixedRates())
    new = make_price("gpt-realtime-2.1", dt.date(2026, 6, 1), FixedRates())

    found = [
        Price.objects.on(day, models=["gpt-realtime-2.1", "gpt-unheard-of"])
        for day in (dt.date(2025, 12, 31), dt.date(2026, 1, 1), dt.date(2026, 5, 31), dt.date(2026, 6, 1))
    ]

    assert found == [{}, {old.model: old}, {old.model: old}, {new.model: new}]


@pytest.mark.django_db
def test_a_stored_price_prices_a_call() -> None:
    Price.objects.all().delete()
    price = make_price("gpt-realtime-2.1", dt.date(2026, 1, 1), FixedRates())
    transcription = make_price("gpt-live-transcribe", dt.date(2026, 1, 1), PER_MINUTE)

    cost = cost_microusd(add_usage({"transcription_ms": 60_000}, SPOKEN_USAGE), price, transcription=transcription)

    assert cost == 21_312 + 17_000


@pytest.mark.django_db
def test_price_below_nothing_is_refused_in_each_of_its_fields(client: Client) -> None:
    client.force_login(make_user(is_superuser=True))
    kinds = [*TOKEN_KINDS, "audio_minute"]
    posted = {"model": "gpt-unheard-of", "valid_from": "2026-01-01"}
    page = reverse("admin:sessions_app_price_add")

    refused = client.post(page, posted | dict.fromkeys(kinds, "-0.0001"))
    taken = client.post(page, posted | dict.fromkeys(kinds, "0"))

    assert sorted(refused.context["adminform"].form.errors) == sorted(kinds)
    assert (taken.status_code, Price.objects.filter(model="gpt-unheard-of").count()) == (302, 1)
