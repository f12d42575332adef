"""Sound that carries the time at which it was sent.

The first 24 bytes of a frame (12 samples) hold a mark, the caller, a sequence number and the time: exactly 32
characters of base64, so a proxy may decode and encode the sound, and `bytes.find` still finds it.
"""

from __future__ import annotations

import base64
import random
import struct

RATE = 24_000
FRAME_MS = 40
FRAME_BYTES = RATE * 2 * FRAME_MS // 1000
MARK = b"\x9d\x7a\xe3\x5b\xc6\x91"
MARK_TEXT = base64.b64encode(MARK)
LAYOUT = struct.Struct("<6sHIIQ")
STAMP_BYTES, STAMP_CHARS = 24, 32
KINDS_OF_FRAME = 50

# Noise: like speech it does not compress, and no two frames are alike.
_noise = random.Random(7)
_SOUNDS = [base64.b64encode(_noise.randbytes(FRAME_BYTES - STAMP_BYTES)) for _ in range(KINDS_OF_FRAME)]


def append_event(caller: int, seq: int, at_ns: int) -> bytes:
    """Return an `input_audio_buffer.append` of one frame, spelled as the browsers' JSON.stringify spells it."""
    stamp = base64.b64encode(LAYOUT.pack(MARK, 0, caller, seq, at_ns))
    return b'{"type":"input_audio_buffer.append","audio":"%s%s"}' % (stamp, _SOUNDS[seq % KINDS_OF_FRAME])


def sent_at_ns(event: bytes) -> int | None:
    """Return when the frame inside `event` was sent, or None when there is none."""
    at = event.find(MARK_TEXT)
    if at < 0:
        return None
    stamp: tuple[bytes, int, int, int, int] = LAYOUT.unpack(base64.b64decode(event[at : at + STAMP_CHARS]))
    return stamp[4]
