from __future__ import annotations

import math
import tracemalloc
import uuid
from array import array
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest

from sessions_app.encoding import LONGEST_MS, RATE, WINDOW_MS, Encoded, NothingRecorded, encode
from sessions_app.recording import Spool
from sessions_app.spool_format import CALLER, PCM, SpoolUnreadable, pack_header, pack_record
from tests.spools import a_spool, finished

LOUD, QUIET = 2000, 200  # of 32,768: a tone is above the first everywhere, silence below the second


def make_spool(directory: Path, **fields: Any) -> Spool:
    return a_spool(uuid.uuid4(), directory, **fields)


def tone(ms: int, *, hertz: int = 440, volume: int = 8000, rate: int = 24_000) -> bytes:
    return array(
        "h", (round(volume * math.sin(2 * math.pi * hertz * n / rate)) for n in range(ms * rate // 1000))
    ).tobytes()


def g711(pcm: bytes, name: str) -> bytes:
    context = av.CodecContext.create(name, "w")
    assert isinstance(context, av.AudioCodecContext)
    context.sample_rate, context.layout, context.format = 8000, "mono", "s16"
    frame = av.AudioFrame(format="s16", layout="mono", samples=len(pcm) // 2)
    frame.planes[0].update(pcm)
    frame.sample_rate = 8000
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])


def encoded(spool: Spool) -> tuple[Encoded, Path]:
    path = finished(spool)
    assert path is not None
    out_path = path.with_suffix(".m4a")
    return encode(path, out_path), out_path


def channels(path: Path) -> list[array[float]]:
    """Return both channels as they would be played, from the first instant on, scaled to 16 bits."""
    sides: list[array[float]] = [array("f"), array("f")]
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            # What the encoder needed to start stands before instant zero, and no player plays it.
            early = max(0, -round((frame.time or 0) * frame.sample_rate))
            for side, plane in zip(sides, frame.planes, strict=True):
                side.extend(value * 32768 for value in array("f", bytes(plane))[early : frame.samples])
    return sides


def loudness(side: array[float]) -> list[float]:
    size = WINDOW_MS * RATE // 1000
    windows = [side[at : at + size] for at in range(0, len(side) - size + 1, size)]
    return [math.sqrt(sum(value * value for value in window) / size) for window in windows]


def loud_windows(path: Path) -> list[list[int]]:
    """Return, for each channel, the tenths of a second in which it is loud; any other must be silent."""
    found = []
    for side in channels(path):
        levels = loudness(side)
        loud = [at for at, level in enumerate(levels) if level > LOUD]
        assert [level for at, level in enumerate(levels) if at not in loud and level > QUIET] == []
        found.append(loud)
    return found


def test_caller_is_left_and_agent_right_on_one_time_line(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    spool.caller(tone(300), at_ms=200)
    spool.agent("item_1", tone(400, hertz=300), at_ms=800)

    result, path = encoded(spool)

    assert result.duration_ms == 1200
    assert loud_windows(path)[0] == [2, 3, 4]
    assert loud_windows(path)[1][:3] == [8, 9, 10]


def test_agent_is_silent_from_where_the_caller_stopped_hearing(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    for _ in range(4):
        spool.agent("item_1", tone(500), at_ms=0)
    spool.cut("item_1", heard_ms=700)
    spool.agent("item_2", tone(300), at_ms=1200)
    spool.caller(tone(2000), at_ms=0)

    result, path = encoded(spool)

    assert loud_windows(path)[1] == [*range(7), 12, 13, 14]
    assert [pair[1] > 0 for pair in result.peaks] == [at in (*range(7), 12, 13, 14) for at in range(20)]


def test_item_of_which_nothing_was_heard_is_silent(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    spool.caller(tone(500), at_ms=0)
    spool.agent("item_1", tone(500), at_ms=0)
    spool.cut("item_1", heard_ms=0)

    result, _ = encoded(spool)

    assert [pair[1] for pair in result.peaks] == [0, 0, 0, 0, 0]


def test_first_of_two_cuts_holds(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    spool.agent("item_1", tone(500), at_ms=0)
    spool.cut("item_1", heard_ms=200)
    spool.cut("item_1", heard_ms=400)

    result, _ = encoded(spool)

    assert result.duration_ms == 200


def test_peaks_are_ten_a_second_for_each_side(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    spool.caller(tone(200, volume=32767) + tone(200, volume=16384), at_ms=0)
    spool.agent("item_1", tone(100, volume=3277), at_ms=500)

    result, _ = encoded(spool)

    assert result.peaks == [[100, 0], [100, 0], [50, 0], [50, 0], [0, 0], [0, 10]]


def test_duration_is_to_the_millisecond(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    spool.caller(tone(1234), at_ms=0)

    result, path = encoded(spool)

    assert result.duration_ms == 1234
    assert len(result.peaks) == 13
    assert result.size_bytes == path.stat().st_size


def test_index_comes_first_so_that_a_player_can_seek(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    spool.caller(tone(3000), at_ms=0)

    _, path = encoded(spool)

    content = path.read_bytes()
    assert content[4:8] == b"ftyp"
    assert 0 < content.index(b"moov") < content.index(b"mdat")
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        assert (stream.codec_context.name, stream.rate, stream.layout.name) == ("aac", RATE, "stereo")


@pytest.mark.parametrize(("name", "codec"), [("audio/pcmu", "pcm_mulaw"), ("audio/pcma", "pcm_alaw")])
def test_telephone_sound_lies_on_the_same_time_line(tmp_path: Path, name: str, codec: str) -> None:
    spool = make_spool(tmp_path, bytes_per_ms=8, audio_format=name)
    spool.caller(g711(tone(300, rate=8000), codec), at_ms=200)
    spool.agent("item_1", g711(tone(500, rate=8000), codec), at_ms=900)
    spool.cut("item_1", heard_ms=300)

    result, path = encoded(spool)

    assert result.duration_ms == 1200
    assert loud_windows(path) == [[2, 3, 4], [9, 10, 11]]
    assert result.peaks[2][0] == pytest.approx(24, abs=1)


def test_torn_tail_costs_only_what_was_torn(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    spool.caller(tone(500), at_ms=0)
    spool.caller(tone(500), at_ms=500)
    path = finished(spool)
    assert path is not None
    path.write_bytes(path.read_bytes()[:-100])

    result = encode(path, tmp_path / "out.m4a")

    assert result.duration_ms == 500


@pytest.mark.parametrize("content", [b"", b"no spool at all, but long enough to be one"])
def test_file_that_is_no_spool_leaves_nothing_behind(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "call.spool"
    path.write_bytes(content)

    with pytest.raises(SpoolUnreadable):
        encode(path, tmp_path / "out.m4a")

    assert list(tmp_path.iterdir()) == [path]


def test_spool_without_sound_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "call.spool"
    path.write_bytes(pack_header(PCM))

    with pytest.raises(NothingRecorded):
        encode(path, tmp_path / "out.m4a")


def test_position_far_out_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "call.spool"
    far = pack_record(CALLER, 1 << 60, b"", tone(100))
    path.write_bytes(pack_header(PCM) + pack_record(CALLER, 0, b"", tone(100)) + far)

    result = encode(path, tmp_path / "out.m4a", longest_ms=5000)

    assert result.duration_ms == 5000
    assert len(result.peaks) == 50


def test_an_hour_has_36_000_pairs_of_peaks_at_most() -> None:
    assert LONGEST_MS // WINDOW_MS == 36_000


def test_recording_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    spool.caller(tone(100), at_ms=0)

    _, path = encoded(spool)

    assert path.stat().st_mode & 0o777 == 0o600


def test_memory_does_not_grow_with_the_call(tmp_path: Path) -> None:
    used = []
    for seconds in (10, 55):
        spool = make_spool(tmp_path)
        for second in range(seconds):
            spool.caller(tone(20) * 50, at_ms=second * 1000)
        tracemalloc.start()
        encoded(spool)
        used.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    # 45 seconds more of sound are 2.2 MB; of their peaks, 450 pairs, a twentieth of that.
    assert used[1] - used[0] < 300_000


def test_long_sound_has_no_click_between_windows(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    whole = tone(1000, hertz=100)
    for at in range(0, len(whole), 1920):
        spool.caller(whole[at : at + 1920], at_ms=0)

    _, path = encoded(spool)

    side = channels(path)[0][2400:21600]
    assert max(abs(after - before) for before, after in pairwise(side)) < 400
