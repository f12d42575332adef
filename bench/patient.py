"""The sound of the two who talk in the browser's benchmark, and when one of them is heard. Pure."""

from __future__ import annotations

import math
from array import array

THRESHOLD = 0.02  # of full scale; what the browser makes of silence stays below
MICROPHONE_RATE, WIRE_RATE = 48_000, 24_000  # the first is what Chromium's microphone plays as it is
PITCH_HZ, SYLLABLES_HZ, HARMONICS = 140.0, 4.0, 20
FULL = 32767


def voice(duration_ms: int, *, rate: int = MICROPHONE_RATE) -> bytes:
    """Return something that a browser's noise suppression takes for speech: syllables of a voice that wanders."""
    samples = array("h")
    phase = 0.0
    for number in range(duration_ms * rate // 1000):
        at = number / rate
        phase += 2 * math.pi * PITCH_HZ * (1 + 0.15 * math.sin(2 * math.pi * 2.3 * at)) / rate
        syllable = 0.6 - 0.4 * math.cos(2 * math.pi * SYLLABLES_HZ * at + math.pi)
        value = sum(math.sin(phase * one) / one for one in range(1, HARMONICS + 1))
        samples.append(round(0.3 * syllable * value * FULL))
    return samples.tobytes()


def tone(duration_ms: int, *, hertz: float = 440.0) -> bytes:
    """Return a sound of the receptionist's: loud from its first milliseconds to its last, without a pause."""
    count = duration_ms * WIRE_RATE // 1000
    return array(
        "h", (round(0.3 * FULL * math.sin(2 * math.pi * hertz * n / WIRE_RATE)) for n in range(count))
    ).tobytes()


def silence(duration_ms: int, *, rate: int = MICROPHONE_RATE) -> bytes:
    return bytes(duration_ms * rate // 1000 * 2)


def voiced(pcm: bytes) -> bool:
    """Return whether anything is heard in `pcm`."""
    samples = array("h", pcm)
    return max(max(samples), -min(samples)) > THRESHOLD * FULL if samples else False
