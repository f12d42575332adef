"""Voice activity: where speech begins and ends in a stream of 24 kHz PCM. Pure but for the detector it wraps."""

from collections import deque
from typing import Any

from sessions_app.standin.formats import PCM_BYTES_A_MS, root_mean_square
from sessions_app.standin.wire import Json

try:
    from pocketsphinx import Vad
except ImportError:  # the demo extra is not installed: the level alone decides
    Vad = None

FRAME_BYTES = 1280
"""640 samples: the frame that pocketsphinx takes at 24 kHz."""
FRAME_MS = FRAME_BYTES / PCM_BYTES_A_MS
START_FRAMES = 4
VAD_MODE = 2
FLOOR_AT_HALF = 260
"""The level (RMS of 32768) below which nothing is speech, at the default threshold of 0.5; about -42 dBFS."""
SILENCE_OF_EAGERNESS_MS = {"low": 1600, "medium": 900, "auto": 900, "high": 400}
SEMANTIC_PADDING_MS = 300


class Detector:
    """Finds the turns of one stream. Feed it frames; it says `started`, `stopped` or nothing."""

    def __init__(self, turn_detection: Json) -> None:
        semantic = turn_detection["type"] == "semantic_vad"
        silence_ms = (
            SILENCE_OF_EAGERNESS_MS[turn_detection["eagerness"]] if semantic else turn_detection["silence_duration_ms"]
        )
        padding_ms = SEMANTIC_PADDING_MS if semantic else turn_detection["prefix_padding_ms"]
        # From half of the floor at 0 to one and a half of it at 1.
        self._floor = FLOOR_AT_HALF * (0.5 + (0.5 if semantic else turn_detection["threshold"]))
        self._silence_frames = max(1, round(silence_ms / FRAME_MS))
        self._before: deque[bytes] = deque(maxlen=round(padding_ms / FRAME_MS) + START_FRAMES)
        self._vad: Any = Vad(mode=VAD_MODE, sample_rate=24_000, frame_length=0.02) if Vad else None
        self._run = 0
        self.speaking = False

    def step(self, frame: bytes) -> str | None:
        """Take the next frame of FRAME_BYTES."""
        voiced = self._is_voiced(frame)
        if self.speaking:
            self._run = 0 if voiced else self._run + 1
            if self._run < self._silence_frames:
                return None
            self.speaking, self._run = False, 0
            return "stopped"
        self._before.append(frame)
        self._run = self._run + 1 if voiced else 0
        if self._run < START_FRAMES:
            return None
        self.speaking, self._run = True, 0
        return "started"

    def take_beginning(self) -> bytes:
        """Return the padding and first frames of the speech that has just started."""
        beginning = b"".join(self._before)
        self._before.clear()
        return beginning

    def _is_voiced(self, frame: bytes) -> bool:
        if root_mean_square(frame) < self._floor:
            return False
        return self._vad is None or bool(self._vad.is_speech(frame))
