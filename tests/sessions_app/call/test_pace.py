"""How fast a caller may send."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from sessions_app.call.pace import BURST_BYTES, BURST_MESSAGES, BYTES_A_S, MAX_DROPPED, MESSAGES_A_S, Pace
from sessions_app.call.sound import BUCKET_MS, FILL_RATE
from sessions_app.events import encode_audio
from tests.sessions_app.call.script import MS, Scene

FRAME_BYTES = len(json.dumps({"type": "input_audio_buffer.append", "audio": encode_audio(bytes(20 * MS))}))


def test_burst_is_taken_and_then_a_hundred_messages_a_second():
    pace = Pace()

    at_once = sum(pace.admits(100, 0) for _ in range(BURST_MESSAGES + 50))
    later = [sum(pace.admits(100, at) for _ in range(200)) for at in (1000, 2000, 2500)]

    assert at_once == BURST_MESSAGES
    assert later == [MESSAGES_A_S, MESSAGES_A_S, MESSAGES_A_S // 2]


def test_large_messages_are_bounded_by_their_bytes():
    pace = Pace()
    size = 64 * 1024

    at_once = sum(pace.admits(size, 0) for _ in range(200))
    later = sum(pace.admits(size, 1000) for _ in range(200))

    assert (at_once, later) == (BURST_BYTES // size, BYTES_A_S // size)


def test_message_that_does_not_fit_takes_nothing_from_one_that_does():
    pace = Pace()
    for _ in range(BURST_BYTES // 65_536):
        assert pace.admits(65_536, 0)

    assert [pace.admits(65_536, 0), pace.admits(0, 0)] == [False, True]


def test_all_that_the_bucket_of_sound_lets_through_comes_through():
    pace = Pace()

    burst = [pace.admits(FRAME_BYTES, 0) for _ in range(BUCKET_MS // 20)]
    then = [pace.admits(FRAME_BYTES, round(n * 20 / FILL_RATE)) for n in range(1, 3000)]

    assert all(burst)
    assert all(then)


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 70_000)), max_size=300))
def test_never_more_passes_than_the_buckets_hold_and_are_filled_with(messages: list[tuple[int, int]]):
    pace, at, passed, size = Pace(), 0, 0, 0

    for wait, byte_count in messages:
        at += wait
        if pace.admits(byte_count, at):
            passed, size = passed + 1, size + byte_count
        assert passed <= BURST_MESSAGES + MESSAGES_A_S * at / 1000
        assert size <= BURST_BYTES + BYTES_A_S * at / 1000


def test_caller_is_told_once_that_it_is_too_fast_and_the_call_ends_when_that_does_not_help():
    scene = Scene().live()
    for _ in range(BURST_MESSAGES):
        scene.call.admits(10, now=scene.now)

    for _ in range(MAX_DROPPED - 1):
        assert not scene.call.admits(10, now=scene.now)
        scene.take(scene.call.too_fast(now=scene.now))
    told = [event["error"]["code"] for event in scene.told("error")]
    before = scene.call.ended
    scene.call.admits(10, now=scene.now)
    scene.take(scene.call.too_fast(now=scene.now))

    assert (told, before) == (["too_fast"], False)
    assert (scene.hang_up().code, scene.end().reason) == (4429, "bad_message")
    assert scene.end().counters["too_fast"] == MAX_DROPPED
