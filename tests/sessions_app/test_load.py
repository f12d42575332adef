"""The process looks at itself: a loop that stands still names who holds it, and takes no new call for a while."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator

import pytest

from sessions_app.admission import Load, refusal
from sessions_app.gate import Gate
from sessions_app.load import LoadWatch, figures

CANARY = "CANARY-SPEECH"


@pytest.fixture
async def lags() -> AsyncIterator[tuple[LoadWatch, asyncio.Queue[float]]]:
    seen: asyncio.Queue[float] = asyncio.Queue()
    watch = LoadWatch(on_lag=seen.put_nowait)
    yield watch, seen
    watch.close()


def hold_everyone_up(seconds: float, said: str) -> None:
    """Block the loop, as no code of ours may: the stall itself is what is tested."""
    time.sleep(seconds)


async def test_r33_stall_is_told_with_the_function_that_caused_it_and_no_value(
    lags: tuple[LoadWatch, asyncio.Queue[float]], caplog: pytest.LogCaptureFixture
):
    _, seen = lags
    await seen.get()

    hold_everyone_up(0.5, CANARY)
    lag = await seen.get()

    told = [one for one in caplog.records if one.getMessage() == "The event loop stands still"]
    [record] = [one for one in told if vars(one)["stack"][0].endswith(" hold_everyone_up")]
    assert record.levelno == logging.WARNING
    assert vars(record)["stack"][0].startswith("test_load.py:")
    assert CANARY not in repr(vars(record))
    assert lag >= 0.3


async def test_r33_loop_that_stood_still_for_a_second_takes_no_new_call(
    lags: tuple[LoadWatch, asyncio.Queue[float]],
):
    watch, seen = lags
    await seen.get()

    hold_everyone_up(1.3, CANARY)
    await seen.get()
    refused = refusal(watch.seen(Load(live=7)))

    assert refused is not None
    assert (refused.code, refused.cause) == ("busy", "loop")


def test_figures_are_those_of_this_process():
    open_files, max_files, resident_bytes = figures()
    readers = [os.open(os.devnull, os.O_RDONLY) for _ in range(10)]
    more = figures()[0]
    for reader in readers:
        os.close(reader)

    assert more == open_files + 10
    assert max_files > open_files
    assert 20 * 1024 * 1024 < resident_bytes < 4 * 1024**3


def test_gate_counts_starts_and_looks_at_nothing_before_it_watches():
    gate = Gate()

    answers = [gate.admit(live=0, draining=False, storing_late_s=0.0) for _ in range(40)]

    assert answers[0] is None
    last = answers[-1]
    assert last is not None
    assert last.cause == "rate"
