"""The head of a WebSocket frame: where its payload lies, and how a whole text message is framed.

Pure. Nothing is checked here beyond sizes: what is not a whole text goes to `websockets`. Source: RFC 6455, 5.2.
"""

from __future__ import annotations

import struct

FINAL, TEXT, CONTINUED, MASKED = 0x80, 0x1, 0x0, 0x80
OPCODE, CONTROL, CLOSE = 0x0F, 0x8, 0x8  # control frames have the opcodes from there on
WHOLE_TEXT = FINAL | TEXT


def payload_of(data: bytes, at: int, end: int) -> tuple[int, int] | None:
    """Return where the payload of the frame at `at` begins, behind its mask, and its size; None before that is known.

    `end` is the length of `data`.
    """
    if end - at < 2:
        return None
    size, begins = data[at + 1] & 0x7F, at + 2
    if size == 126:
        begins += 2
        size = int.from_bytes(data[at + 2 : begins], "big")
    elif size == 127:
        begins += 8
        size = int.from_bytes(data[at + 2 : begins], "big")
    if data[at + 1] & MASKED:
        begins += 4
    return (begins, size) if begins <= end else None


def text_head(size: int, *, masked: bool = False) -> bytes:
    """Return the head of a whole text message of `size` bytes, without its mask."""
    flag = MASKED if masked else 0
    if size < 126:
        return bytes((WHOLE_TEXT, flag | size))
    if size < 65536:
        return struct.pack("!BBH", WHOLE_TEXT, flag | 126, size)
    return struct.pack("!BBQ", WHOLE_TEXT, flag | 127, size)
