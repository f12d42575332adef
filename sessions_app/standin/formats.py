"""Audio formats as values: 24 kHz PCM16 inside, G.711 at 8 kHz on the wire where a session asks for it.

numpy and soxr make the change of rate good; without them it is linear, which is enough for tones.
"""

import array
import functools
import sys
from typing import Any

from sessions_app.standin.wire import Json

try:
    import numpy
    import soxr
except ImportError:  # the demo extra is not installed
    numpy = soxr = None  # type: ignore[assignment]

INSIDE_RATE = 24_000
TELEPHONE_RATE = 8_000
PCM_BYTES_A_MS = 48


def ms_of_pcm(pcm: bytes) -> float:
    return len(pcm) / PCM_BYTES_A_MS


def is_pcm(audio_format: Json) -> bool:
    return bool(audio_format["type"] == "audio/pcm")


def encode(pcm: bytes, audio_format: Json) -> bytes:
    """Turn 24 kHz PCM into the bytes of a wire format."""
    if is_pcm(audio_format):
        return pcm
    table = _encoding(audio_format["type"])
    return bytes(table[sample & 0xFFFF] for sample in _samples(resampled(pcm, INSIDE_RATE, TELEPHONE_RATE)))


class Decoder:
    """Turns the bytes of a wire format into 24 kHz PCM, piece by piece."""

    def __init__(self, audio_format: Json) -> None:
        self._table = None if is_pcm(audio_format) else _decoding(audio_format["type"])
        self._stream = Resampler(TELEPHONE_RATE, INSIDE_RATE)

    def decode(self, data: bytes) -> bytes:
        if self._table is None:
            return data
        return self._stream.process(array.array("h", (self._table[byte] for byte in data)).tobytes())


class Resampler:
    """A change of rate that keeps its state between pieces of one stream."""

    def __init__(self, rate_in: int, rate_out: int) -> None:
        self._rates = (rate_in, rate_out)
        self._stream: Any = soxr.ResampleStream(rate_in, rate_out, 1, dtype="int16") if soxr else None

    def process(self, pcm: bytes, *, last: bool = False) -> bytes:
        if self._stream is None:
            return resampled(pcm, *self._rates)
        samples = numpy.frombuffer(pcm, dtype="<i2")
        return bytes(self._stream.resample_chunk(samples, last=last).astype("<i2").tobytes())


def resampled(pcm: bytes, rate_in: int, rate_out: int) -> bytes:
    """Return a whole piece of PCM16 at another rate."""
    if rate_in == rate_out or not pcm:
        return pcm
    if soxr:
        return bytes(soxr.resample(numpy.frombuffer(pcm, dtype="<i2"), rate_in, rate_out).astype("<i2").tobytes())
    samples = _samples(pcm)
    count, last = len(samples) * rate_out // rate_in, len(samples) - 1
    out = array.array("h")
    for place in range(count):
        whole, part = divmod(place * rate_in, rate_out)
        here, after = samples[min(whole, last)], samples[min(whole + 1, last)]
        out.append(here + (after - here) * part // rate_out)
    return _bytes(out)


def root_mean_square(pcm: bytes) -> float:
    """Return the level of PCM16, 0 to 32768."""
    if not pcm:
        return 0.0
    if numpy is not None:
        samples = numpy.frombuffer(pcm, dtype="<i2").astype("float32")
        return float(numpy.sqrt(numpy.mean(samples * samples)))
    values = _samples(pcm)
    return float((sum(value * value for value in values) / len(values)) ** 0.5)


def _samples(pcm: bytes) -> "array.array[int]":
    samples = array.array("h", pcm)
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


def _bytes(samples: "array.array[int]") -> bytes:
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tobytes()


@functools.cache
def _decoding(kind: str) -> list[int]:
    expand = _expand_mu if kind == "audio/pcmu" else _expand_a
    return [expand(byte) for byte in range(256)]


@functools.cache
def _encoding(kind: str) -> bytes:
    """Return the code nearest to each 16-bit sample, found from the decoding: one law, written once."""
    levels = sorted((level, code) for code, level in enumerate(_decoding(kind)))
    table = bytearray(65_536)
    place = 0
    for sample in range(-32_768, 32_768):
        while place + 1 < len(levels) and abs(levels[place + 1][0] - sample) <= abs(levels[place][0] - sample):
            place += 1
        table[sample & 0xFFFF] = levels[place][1]
    return bytes(table)


def _expand_mu(byte: int) -> int:
    """ITU-T G.711, mu-law."""
    byte = ~byte & 0xFF
    magnitude = (((byte & 0x0F) << 3) + 0x84 << ((byte & 0x70) >> 4)) - 0x84
    return -magnitude if byte & 0x80 else magnitude


def _expand_a(byte: int) -> int:
    """ITU-T G.711, A-law."""
    byte ^= 0x55
    exponent, mantissa = (byte & 0x70) >> 4, (byte & 0x0F) << 4
    magnitude = mantissa + 8 if exponent == 0 else mantissa + 0x108 << exponent - 1
    return magnitude if byte & 0x80 else -magnitude
