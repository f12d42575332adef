from __future__ import annotations

from sessions_app.review.figures import CallerSound, Spread, Tokens, cached_percent, sound_of, spread, tokens_of


def test_spread_of_nothing_is_nothing():
    assert spread([]) is None


def test_spread_names_durations_that_really_happened():
    assert spread([700]) == Spread(1, 700, 700, 700)
    assert spread([300, 100, 200]) == Spread(3, 200, 300, 300)
    assert spread(list(range(1, 101))) == Spread(100, 50, 95, 100)


def test_tokens_are_shown_by_kind_and_kinds_not_used_are_left_out():
    usage = {"text_in": 10, "text_cached": 30, "text_out": 5, "transcription_audio_in": 7, "responses": 2}

    assert tokens_of(usage) == [Tokens("text", 10, 30, 5), Tokens("transcription_audio", 7, 0, 0)]


def test_tokens_of_a_damaged_row_are_none():
    assert tokens_of({"text_in": "many", "audio_out": None}) == []


def test_cached_percent_counts_what_was_sent_and_not_what_came_back():
    assert cached_percent([Tokens("text", 10, 30, 500), Tokens("audio", 10, 0, 9)]) == 60
    assert cached_percent([Tokens("text", 0, 0, 5)]) is None


def test_callers_sound_is_told_with_what_share_of_it_is_missing():
    counters = {
        "sound_ms": 38_000,
        "sound_gaps": 50,
        "sound_missing_ms": 2_000,
        "sound_jitter_ms": 9,
        "page_silenced_ms": 1_200,
        "page_underruns": 1,
    }

    assert sound_of(counters) == CallerSound(2000, 5.0, 9, 0, 1200, 1)
    assert sound_of({"from_caller:response.create": 3}) is None
