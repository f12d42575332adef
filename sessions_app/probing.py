"""Tries a clinic's way to the Realtime API as a call does, up to the first event. Nothing is said, nothing is paid."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from sessions_app.events import Malformed, SessionCreated, parse
from sessions_app.realtime import Upstream, UpstreamFailed, open_connection

FIRST_EVENT_S = 10.0


@dataclass(frozen=True)
class Probe:
    """`code` is "" when a session was created; otherwise why not, in our own words."""

    code: str
    took_ms: int


async def probe(upstream: Upstream) -> Probe:
    begun = time.monotonic()
    try:
        connection = await open_connection(upstream)
    except UpstreamFailed as failed:
        return Probe(failed.code, _ms_since(begun))
    try:
        async with asyncio.timeout(FIRST_EVENT_S):
            async for frame in connection.frames():
                created = isinstance(parse(frame), SessionCreated)
                return Probe("" if created else "upstream_no_session", _ms_since(begun))
        return Probe(connection.lost_code, _ms_since(begun))
    except (TimeoutError, Malformed):
        return Probe("upstream_no_session", _ms_since(begun))
    finally:
        await connection.close()


def _ms_since(begun: float) -> int:
    return round((time.monotonic() - begun) * 1000)
