"""Tries a clinic's way to the Realtime API as a call does, up to the first event. Nothing is said, nothing is paid."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from django.utils.translation import gettext as _

from sessions_app.events import Malformed, SessionCreated, parse
from sessions_app.realtime import Upstream, UpstreamFailed, open_connection

FIRST_EVENT_S = 10.0


@dataclass(frozen=True)
class Probe:
    """`code` is "" when a session was created; otherwise why not, in our own words."""

    code: str
    took_ms: int


def explain(code: str) -> tuple[str, str]:
    """Return which step has failed (key, socket or session), and what to do, for a code of a Probe."""
    known = {
        "upstream_401": ("key", _("the service refuses the key: enter a valid one.")),
        "upstream_403": ("key", _("the service refuses the key: it has no right to this model, or from here.")),
        "upstream_404": ("socket", _("the service knows no such address or model.")),
        "upstream_429": ("key", _("the service takes no more calls: look at its limits and its credit.")),
        "upstream_unreachable": ("socket", _("the service cannot be reached: is port 443 open, is its name known?")),
        "upstream_certificate": ("socket", _("the service's certificate is not trusted: does something open TLS?")),
        "upstream_address": ("socket", _("the address is none.")),
        "upstream_no_session": ("session", _("the socket opens, and no session is created: is the model right?")),
    }
    other = _("the service answers %(code)s.") % {"code": code.removeprefix("upstream_")}
    return known.get(code, ("socket", other))


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
