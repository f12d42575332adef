"""When a process takes no new call: one reason at a time, and as many starts a second as it can carry."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sessions_app.admission import (
    MAX_CALLS,
    MAX_RESIDENT_BYTES,
    STALL_REFUSES_S,
    STARTS_A_SECOND,
    STORING_LATE_S,
    Load,
    Starts,
    refusal,
)

# Near every limit, and past none.
BUSY = Load(
    live=MAX_CALLS - 1,
    stalled_s_ago=STALL_REFUSES_S,
    open_files=799,
    max_files=1000,
    resident_bytes=MAX_RESIDENT_BYTES - 1,
    storing_late_s=STORING_LATE_S - 0.1,
)


def test_process_near_its_limits_takes_calls():
    assert refusal(BUSY) is None
    assert refusal(Load()) is None


@pytest.mark.parametrize(
    ("change", "code", "cause"),
    [
        ({"live": MAX_CALLS}, "busy", "calls"),
        ({"stalled_s_ago": STALL_REFUSES_S - 0.1}, "busy", "loop"),
        ({"open_files": 800}, "busy", "files"),
        ({"resident_bytes": MAX_RESIDENT_BYTES}, "busy", "memory"),
        ({"storing_late_s": STORING_LATE_S}, "busy", "storing"),
        ({"draining": True}, "restarting", "draining"),
        ({"draining": True, "live": MAX_CALLS}, "restarting", "draining"),
    ],
)
def test_r35_each_limit_refuses_by_itself(change: dict[str, Any], code: str, cause: str):
    refused = refusal(replace(BUSY, **change))

    assert refused is not None
    assert (refused.code, refused.cause) == (code, cause)
    assert 0 < refused.retry_after_s[0] < refused.retry_after_s[1]


def test_unknown_limit_of_files_refuses_nobody():
    assert refusal(replace(BUSY, open_files=10_000, max_files=0)) is None


def admitted(starts: Starts, times: list[float]) -> tuple[Starts, int]:
    count = 0
    for now in times:
        starts, refused = starts.one_more(now)
        count += refused is None
    return starts, count


def test_r34_of_a_herd_no_more_begin_in_any_second_than_the_bucket_holds():
    starts, first = admitted(Starts(), [100.0] * 100)
    starts, second = admitted(starts, [100.5] * 100)
    _, third = admitted(starts, [101.0] * 100)

    assert (first, second, third) == (STARTS_A_SECOND, STARTS_A_SECOND // 2, STARTS_A_SECOND // 2)


def test_start_that_came_to_nothing_is_given_back():
    starts, _ = admitted(Starts(), [100.0] * STARTS_A_SECOND)

    _, after = admitted(starts.one_less(), [100.0] * 5)

    assert after == 1


def test_clock_that_stands_still_fills_nothing():
    starts, _ = admitted(Starts(), [100.0] * STARTS_A_SECOND)

    assert admitted(starts, [100.0] * 10)[1] == 0
