"""Which bytes a Range header asks for. Pure; one range at a time, which is all that players ask for.

Source: RFC 9110, sections 14.1 and 14.2.
"""

from __future__ import annotations

import re

_RANGE = re.compile(r"[Bb][Yy][Tt][Ee][Ss]=[ \t]*([0-9]{0,19})-([0-9]{0,19})[ \t]*")


class RangeNotSatisfiable(Exception):
    """None of the bytes that were asked for exist."""


def requested_range(header: str, size: int) -> range | None:
    """Return the positions asked for, at least one and all below `size`; None means the whole.

    A header that is malformed, of another unit or of several ranges is ignored, as the RFC allows.
    Raises RangeNotSatisfiable.
    """
    match = _RANGE.fullmatch(header)
    if match is None or not (match[1] or match[2]):
        return None
    first, last = match[1], match[2]
    if not first:  # the last so many bytes
        found = range(max(0, size - int(last)), size)
    elif last and int(last) < int(first):
        return None
    else:
        found = range(int(first), min(int(last) + 1, size) if last else size)
    if not found:
        raise RangeNotSatisfiable
    return found
