"""Makes the sound of a call for tests: a tone where each line stands, on its speaker's channel."""

from __future__ import annotations

import math
from array import array
from pathlib import Path

import av
from django.conf import settings

from sessions_app.models import CallSession, Item
from sessions_app.recording import RECORDINGS_DIRECTORY

RATE = 24_000
FRAME_SAMPLES = 1024
TONES_HZ = {Item.Speaker.CALLER: 330, Item.Speaker.AGENT: 220}


def write_sound(call: CallSession) -> Path:
    """Write the file that the call's recording names."""
    directory = Path(settings.DATA_DIR) / RECORDINGS_DIRECTORY
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / call.recording.file_name
    left, right = (_channel(call, speaker) for speaker in (Item.Speaker.CALLER, Item.Speaker.AGENT))
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("aac", rate=RATE, layout="stereo")
        for at in range(0, len(left), FRAME_SAMPLES):
            parts = [channel[at : at + FRAME_SAMPLES] for channel in (left, right)]
            frame = av.AudioFrame(format="fltp", layout="stereo", samples=len(parts[0]))
            for plane, part in zip(frame.planes, parts, strict=True):
                plane.update(part.tobytes())
            frame.sample_rate, frame.pts = RATE, at
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _channel(call: CallSession, speaker: str) -> array[float]:
    samples = array("f", bytes(4 * ((call.duration_ms or 0) * RATE // 1000)))
    # Whole cycles fill a second, so seconds can be joined.
    second = array("f", (0.3 * math.sin(2 * math.pi * TONES_HZ[Item.Speaker(speaker)] * n / RATE) for n in range(RATE)))
    for item in call.items.filter(speaker=speaker):
        lasts_ms = item.audio_ms if item.heard_ms is None else item.heard_ms
        start = item.started_ms * RATE // 1000
        count = min(lasts_ms * RATE // 1000, len(samples) - start)
        samples[start : start + count] = (second * (count // RATE + 1))[:count]
    return samples
