"""The pure parts of the browser's benchmark, and one call of it from end to end. Nothing here is timed."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from bench.browser import CHROMIUM, measured, report
from bench.patient import FULL, THRESHOLD, WIRE_RATE, silence, tone, voice, voiced
from bench.shares import TO_ANSWER, TO_FIRST_SOUND, TO_SILENCE, Marks, Wait, parts, quantile, table, waits

# A call, in ms: the greeting sounds from 160 on, is interrupted by a voice from 2000 to 2900, and answered at 3140.
PAGE = [
    ("tap", 10.0),
    ("microphone", 40.0),
    ("key asked", 60.0),
    ("key", 80.0),
    ("open", 100.0),
    ("session.created", 101.0),
    ("response.output_audio.delta", 150.0),
    ("response.output_audio.delta", 151.0),
    ("sound begins", 160.0),
    ("voice begins", 2000.0),
    ("input_audio_buffer.speech_started", 2055.0),
    ("sound ends", 2062.0),
    ("voice ends", 2900.0),
    ("response.output_audio.delta", 3133.0),
    ("sound begins", 3140.0),
]
UPSTREAM = [
    ("asked", 110.0),
    ("created", 112.0),
    ("update", 115.0),
    ("updated", 118.0),
    ("create", 130.0),
    ("delta", 135.0),
    ("voice", 2050.0),
    ("started", 2051.0),
    ("voice", 2925.0),
    ("delta", 3125.0),
]


def test_each_wait_is_split_into_upstreams_share_and_ours() -> None:
    found = waits(Marks(reversed(PAGE)), Marks(UPSTREAM))

    shares = {name: (wait.total_ms, wait.upstream_ms, wait.ours_ms) for name, wait in found.items()}
    assert shares == {
        TO_FIRST_SOUND: (150.0, 10.0, 140.0),
        TO_ANSWER: (240.0, 200.0, 40.0),
        TO_SILENCE: (62.0, 1.0, 61.0),
    }


def test_the_parts_of_a_turn_make_up_our_share() -> None:
    found = waits(Marks(PAGE), Marks(UPSTREAM))

    assert found[TO_ANSWER].parts == {"to upstream": 25.0, "back": 8.0, "playing": 7.0}
    assert found[TO_SILENCE].parts == {"to upstream": 50.0, "back": 4.0, "silencing": 7.0}
    assert sum(found[TO_FIRST_SOUND].parts.values()) == found[TO_FIRST_SOUND].total_ms


def test_a_call_in_which_something_never_happened_is_no_figure() -> None:
    unanswered = [mark for mark in PAGE if mark[1] < 3000]

    with pytest.raises(LookupError, match=r"response\.output_audio\.delta"):
        waits(Marks(unanswered), Marks(UPSTREAM))


def test_a_quantile_is_one_of_the_values() -> None:
    values = [float(value) for value in range(20, 0, -1)]

    assert [quantile(values, point) for point in (0.5, 0.95, 1.0)] == [10.0, 19.0, 20.0]
    assert quantile([7.0], 0.95) == 7.0


def test_table_and_parts_name_every_wait() -> None:
    calls = [{TO_ANSWER: Wait(200.0 + one, 200.0, {"back": float(one)})} for one in range(1, 21)]

    assert table(calls).splitlines()[-1] == f"| {TO_ANSWER} | 210 | 219 | 220 | 200 | 200 | 200 | 10 | 19 | 20 |"
    assert parts(calls) == [f"{TO_ANSWER}, p50 (p95) of each part: back 10 (19)"]


def test_a_voice_is_heard_and_silence_and_hiss_are_not() -> None:
    hiss = round(THRESHOLD * FULL)

    assert voiced(voice(40, rate=WIRE_RATE))
    assert voiced(tone(40))
    assert not voiced(silence(40))
    assert not voiced(hiss.to_bytes(2, "little", signed=True) * 960)
    assert not voiced((-hiss).to_bytes(2, "little", signed=True) * 960)
    assert not voiced(b"")
    assert voiced((-hiss - 1).to_bytes(2, "little", signed=True))


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium")
async def test_one_call_is_measured_from_end_to_end() -> None:
    with tempfile.TemporaryDirectory(prefix="frontdesk-bench-") as name:
        calls = await measured(1, server="uvicorn", directory=Path(name), warm_up=0)

    assert [set(call) for call in calls] == [{TO_FIRST_SOUND, TO_ANSWER, TO_SILENCE}]
    assert all(wait.ours_ms > 0 for wait in calls[0].values())
    assert "Calls: 1;" in report(calls, busy_cores=1.0)
