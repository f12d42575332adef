"""Owns the way from a spool to a file that plays: AAC in MP4, the caller left, the agent right, on one time line.

It costs more than carrying the call did, so it runs after the call, in another process. It holds one window of each
side at a time, however long the call was. Knows nothing of the database.
"""

from __future__ import annotations

import os
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av

from sessions_app.spool_format import (
    AGENT,
    CALLER,
    CUT,
    AudioFormat,
    SpoolRecord,
    read_header,
    read_records,
)

WINDOW_MS = 100  # one pair of peaks
LONGEST_MS = 60 * 60 * 1000  # sound beyond it is left out; a call ends before
MS_PER_SECOND = 1000
RATE = 24_000
BIT_RATE = 64_000  # of both channels
FULL_SCALE = 32_768
# Joint stereo would let one side be heard, faintly, in the other's channel.
_ENCODER_OPTIONS = {"aac_ms": "0", "aac_is": "0"}
_SILENCE = {"audio/pcm": b"\x00", "audio/pcmu": b"\xff", "audio/pcma": b"\xd5"}
_DECODERS = {"audio/pcmu": "pcm_mulaw", "audio/pcma": "pcm_alaw"}


@dataclass(frozen=True)
class Encoded:
    """What was made, and what a page needs to draw it."""

    duration_ms: int
    size_bytes: int
    peaks: list[list[int]]  # [[caller, agent], ...], one pair for each WINDOW_MS, 0 to 100


class NothingRecorded(Exception):
    """The spool holds no sound that was heard."""


def encode(spool_path: Path, out_path: Path, *, longest_ms: int = LONGEST_MS) -> Encoded:
    """Write the sound of `spool_path` to `out_path`, which appears whole or not at all.

    Raises OSError, SpoolUnreadable and NothingRecorded for the spool, av.FFmpegError for the encoder.
    """
    part_path = out_path.with_name(f"{out_path.name}.part")
    out_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(part_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600))
    try:
        duration_ms, peaks = _encode(spool_path, part_path, longest_ms)
        with part_path.open("rb") as file:
            os.fsync(file.fileno())  # the spool is removed afterwards: this is then all there is
        part_path.replace(out_path)
    finally:
        part_path.unlink(missing_ok=True)
    return Encoded(duration_ms, out_path.stat().st_size, peaks)


def _encode(spool_path: Path, part_path: Path, longest_ms: int) -> tuple[int, list[list[int]]]:
    """Return the duration in milliseconds, and the peaks."""
    audio_format, heard = _survey(spool_path)
    sides = [_Side(_caller_sounds(spool_path), audio_format), _Side(_agent_sounds(spool_path, heard), audio_format)]
    if not any(side.busy for side in sides):
        raise NothingRecorded
    decode = [_decoder(audio_format) for _ in sides]
    rate = audio_format.bytes_per_ms * MS_PER_SECOND // audio_format.bytes_per_sample
    samples = 0
    peaks: list[list[int]] = []
    with av.open(str(part_path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("aac", rate=RATE, layout="stereo", bit_rate=BIT_RATE, options=_ENCODER_OPTIONS)
        for window in _windows(sides, audio_format, longest_ms):
            channels = [turn(sound) for turn, sound in zip(decode, window, strict=True)]
            container.mux(stream.encode(_frame(channels, at=samples, rate=rate)))
            samples += len(channels[0]) // 2
            peaks.append([_peak(channel) for channel in channels])
        container.mux(stream.encode(None))
    return samples * MS_PER_SECOND // rate, peaks


def _survey(spool_path: Path) -> tuple[AudioFormat, dict[bytes, int]]:
    """Return the audio format and, for each item that was cut, how many bytes of it were heard."""
    heard: dict[bytes, int] = {}
    with spool_path.open("rb") as file:
        audio_format = read_header(file)
        for record in read_records(file):
            if record.kind == CUT:
                heard[record.item] = min(record.number, heard.get(record.item, record.number))
    return audio_format, heard


def _records(spool_path: Path, kind: int) -> Iterator[SpoolRecord]:
    with spool_path.open("rb") as file:
        read_header(file)
        yield from (record for record in read_records(file) if record.kind == kind)


def _caller_sounds(spool_path: Path) -> Iterator[tuple[int, bytes]]:
    return ((record.number, record.sound) for record in _records(spool_path, CALLER))


def _agent_sounds(spool_path: Path, heard: dict[bytes, int]) -> Iterator[tuple[int, bytes]]:
    sent: dict[bytes, int] = defaultdict(int)
    for record in _records(spool_path, AGENT):
        left = heard[record.item] - sent[record.item] if record.item in heard else len(record.sound)
        sent[record.item] += len(record.sound)
        if left > 0:
            yield record.number, record.sound[:left]


class _Side:
    """One side's sounds, laid out on the time line a window at a time; where there is none, silence."""

    def __init__(self, sounds: Iterator[tuple[int, bytes]], audio_format: AudioFormat) -> None:
        self.busy = True  # there is sound that no window has shown yet
        self.end = 0  # where the newest sound ends
        self._sounds = sounds
        self._silence = _SILENCE[audio_format.name]
        self._start = 0
        self._sound = b""
        self._next()

    def window(self, start: int, size: int) -> bytes:
        window = bytearray(self._silence * size)
        while self.busy and self._start < start + size:
            skip = max(0, start - self._start)
            part = self._sound[skip : start + size - self._start]
            at = self._start + skip - start
            window[at : at + len(part)] = part
            if self.end > start + size:
                break
            self._next()
        return bytes(window)

    def _next(self) -> None:
        """Take up the next sound; one that would overlap the one before begins where that one ends."""
        number, self._sound = next(self._sounds, (0, b""))
        self.busy = bool(self._sound)
        if self.busy:
            self._start = max(number, self.end)
            self.end = self._start + len(self._sound)


def _windows(sides: list[_Side], audio_format: AudioFormat, longest_ms: int) -> Iterator[list[bytes]]:
    """Yield both sides' windows, of one length; the last ends with the last sound."""
    size = WINDOW_MS * audio_format.bytes_per_ms
    for start in range(0, longest_ms * audio_format.bytes_per_ms, size):
        window = [side.window(start, size) for side in sides]
        if not any(side.busy for side in sides):
            length = max(side.end for side in sides) - start
            yield [sound[:length] for sound in window]
            return
        yield window


def _decoder(audio_format: AudioFormat) -> Callable[[bytes], bytes]:
    """Return what turns one side's bytes into 16-bit samples."""
    if audio_format.name not in _DECODERS:
        return bytes
    context = av.CodecContext.create(_DECODERS[audio_format.name], "r")
    assert isinstance(context, av.AudioCodecContext)  # the decoders above are of sound
    context.sample_rate = audio_format.bytes_per_ms * MS_PER_SECOND
    context.layout = "mono"

    def decode(sound: bytes) -> bytes:
        return b"".join(bytes(frame.planes[0])[: frame.samples * 2] for frame in context.decode(av.Packet(sound)))

    return decode


def _frame(channels: list[bytes], *, at: int, rate: int) -> av.AudioFrame:
    frame = av.AudioFrame(format="s16p", layout="stereo", samples=len(channels[0]) // 2)
    for plane, channel in zip(frame.planes, channels, strict=True):
        plane.update(channel)
    frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
    return frame


def _peak(channel: bytes) -> int:
    if not channel.strip(b"\0"):
        return 0
    samples = array("h", channel)
    return min(100, round(100 * max(max(samples), -min(samples)) / FULL_SCALE))
