"""Sound that carries who sent it, as which frame, and when. Pure.

A frame is 40 ms of PCM16 at 24 kHz, 1,920 bytes. Its first 24 bytes are the stamp: 24 bytes are exactly 32 characters
of base64, so a stamp is found and read without decoding the rest, and the rest is compared as text.
"""

from __future__ import annotations

import base64
import random
import struct
from dataclasses import dataclass

FRAME_MS = 40
FRAME_BYTES = FRAME_MS * 48
BODIES = 16
_STAMP = struct.Struct("<6sHIIQ")
_MARK = b"fdSTMP"
MARK = base64.b64encode(_MARK)  # as it begins a stamp in base64
STAMP_BYTES, STAMP_CHARS = _STAMP.size, _STAMP.size * 4 // 3


def _body(number: int) -> bytes:
    # Noise, and always the same: what comes back can be told from what comes back changed.
    return base64.b64encode(random.Random(number).randbytes(FRAME_BYTES - STAMP_BYTES))


_BODIES = [_body(number) for number in range(BODIES)]


@dataclass(frozen=True)
class Stamp:
    caller: int
    seq: int
    sent_ns: int  # of the sender's monotonic clock


def frame(stamp: Stamp) -> bytes:
    """Return a stamped frame, in base64."""
    mark = _STAMP.pack(_MARK, 0, stamp.caller, stamp.seq, stamp.sent_ns)
    return base64.b64encode(mark) + _BODIES[stamp.seq % BODIES]


def read(sound: bytes) -> tuple[Stamp, bool] | None:
    """Return the stamp of a frame in base64, and whether every byte of it is as it was sent; None without a stamp."""
    if not sound.startswith(MARK):
        return None
    _, _, caller, seq, sent_ns = _STAMP.unpack(base64.b64decode(sound[:STAMP_CHARS]))
    return Stamp(caller, seq, sent_ns), sound[STAMP_CHARS:] == _BODIES[seq % BODIES]
