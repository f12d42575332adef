"""The voice: text to 24 kHz PCM. Flite where it is installed, then espeak-ng's program, then shaped tones."""

import array
import asyncio
import ctypes
import io
import math
import re
import shutil
import subprocess
import threading
import wave
from collections.abc import Callable
from typing import Any

from sessions_app.standin.formats import INSIDE_RATE, resampled

FLITE_VOICES = ("slt", "rms", "awb", "kal16")
VOICE_OF = {
    "marin": "slt",
    "cedar": "rms",
    "alloy": "slt",
    "ash": "rms",
    "ballad": "awb",
    "coral": "slt",
    "echo": "kal16",
    "sage": "slt",
    "shimmer": "slt",
    "verse": "awb",
}
ESPEAK_TIMEOUT_S = 20
TONE_WORD_MS = 160
TONE_GAP_MS = 60
TONE_LEVEL = 6000
TONE_PITCHES_HZ = (196, 220, 247, 262, 294)

Synthesise = Callable[[str, str], tuple[int, bytes]]
"""Text and a flite voice's name, to a sample rate and PCM16."""


def sentences(text: str) -> list[str]:
    """Cut text after its sentences; the pieces joined are the text."""
    return [piece for piece in re.split(r"(?<=[.!?] )(?<![ap]\.m\. )(?<!Dr\. )(?=\S)", text) if piece]


class Voice:
    """What the stand-in speaks with; `name` says which rung of the ladder it stands on."""

    def __init__(self, name: str, synthesise: Synthesise) -> None:
        self.name = name
        self._synthesise = synthesise
        # The engines keep global state: one sentence at a time.
        self._lock = threading.Lock()

    @property
    def real(self) -> bool:
        return self.name != "tones"

    async def sound(self, text: str, *, voice: str, speed: float) -> bytes:
        """Return a sentence as 24 kHz PCM16 mono; the work is done in a thread."""
        return await asyncio.to_thread(self._sound, text, voice, speed)

    def _sound(self, text: str, voice: str, speed: float) -> bytes:
        flite_voice = voice if voice in FLITE_VOICES else VOICE_OF.get(voice, FLITE_VOICES[0])
        with self._lock:
            rate, pcm = self._synthesise(text, flite_voice)
        # A faster voice is the same sound read as if it had been taken at a higher rate.
        return resampled(pcm, round(rate * speed), INSIDE_RATE)


def best_voice(*, speech: bool = True) -> Voice:
    """Return the best voice this machine has."""
    if speech:
        try:
            return Voice("flite", _Flite().synthesise)
        except OSError:
            if shutil.which("espeak-ng"):
                return Voice("espeak-ng", _espeak)
    return Voice("tones", _tones)


class _Wave(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_char_p),
        ("sample_rate", ctypes.c_int),
        ("num_samples", ctypes.c_int),
        ("num_channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_short)),
    ]


class _Flite:
    """libflite by ctypes, which lets go of the interpreter's lock while it works. Raises OSError when absent."""

    def __init__(self) -> None:
        self._flite = self._library("libflite.so.1")
        self._library("libflite_usenglish.so.1")
        self._library("libflite_cmulex.so.1")
        self._flite.flite_init()
        self._flite.flite_text_to_wave.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
        self._flite.flite_text_to_wave.restype = ctypes.POINTER(_Wave)
        self._flite.delete_wave.argtypes = [ctypes.POINTER(_Wave)]
        self._flite.delete_wave.restype = None
        self._voices: dict[str, Any] = {FLITE_VOICES[0]: self._load(FLITE_VOICES[0])}

    def synthesise(self, text: str, voice: str) -> tuple[int, bytes]:
        if voice not in self._voices:
            self._voices[voice] = self._load(voice)
        wave_pointer = self._flite.flite_text_to_wave(text.encode("ascii", "ignore"), self._voices[voice])
        try:
            sound = wave_pointer.contents
            return sound.sample_rate, ctypes.string_at(sound.samples, sound.num_samples * 2)
        finally:
            self._flite.delete_wave(wave_pointer)

    def _load(self, voice: str) -> Any:
        register = self._library(f"libflite_cmu_us_{voice}.so.1")[f"register_cmu_us_{voice}"]
        register.argtypes, register.restype = [ctypes.c_char_p], ctypes.c_void_p
        return register(None)

    @staticmethod
    def _library(name: str) -> ctypes.CDLL:
        return ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)


def _espeak(text: str, voice: str) -> tuple[int, bytes]:
    # A program of its own, not a library: espeak-ng is GPL.
    kind = "en-us" if voice == "rms" else "en-us+f3"
    done = subprocess.run(
        ["espeak-ng", "--stdout", "-v", kind, "--", text], capture_output=True, timeout=ESPEAK_TIMEOUT_S, check=True
    )
    # Its header does not know the length of a stream, so the frames are counted from the bytes.
    with wave.open(io.BytesIO(done.stdout)) as sound:
        return sound.getframerate(), done.stdout[44:]


def _tones(text: str, voice: str) -> tuple[int, bytes]:
    """Return a tone for each word, its pitch and length from the word: silence would look like a fault."""
    samples = array.array("h")
    for word in text.split():
        pitch = TONE_PITCHES_HZ[sum(word.encode()) % len(TONE_PITCHES_HZ)]
        count = INSIDE_RATE * (TONE_WORD_MS + 12 * min(len(word), 12)) // 1000
        step = 2 * math.pi * pitch / INSIDE_RATE
        samples.extend(
            int(TONE_LEVEL * math.sin(math.pi * place / count) * math.sin(step * place)) for place in range(count)
        )
        samples.extend([0] * (INSIDE_RATE * TONE_GAP_MS // 1000))
    return INSIDE_RATE, samples.tobytes()
