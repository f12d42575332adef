"""Notices which keys a voice service refuses: between a call and the connection that it asks for.

One refusal is enough: the clinic's next calls are refused by us (`opening`), and the service is left in peace until
the key is changed or its time to be tried again has come. Another clinic's key is another row.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from agents_app.access import key_digest, note_refused_key
from agents_app.models import Clinic, KeyRefusal
from sessions_app.realtime import RealtimeConnection, Upstream, UpstreamFailed
from sessions_app.threads import in_thread

logger = logging.getLogger(__name__)

Connect = Callable[[Upstream], Awaitable[RealtimeConnection]]
KEY_REFUSED = ("upstream_401", "upstream_403")


def noticing(connect: Connect, clinic: Clinic) -> Connect:
    """Return `connect`, which also writes down whether the service took the clinic's key."""

    async def connect_and_notice(upstream: Upstream) -> RealtimeConnection:
        digest = key_digest(upstream.base_url, upstream.key)
        try:
            connection = await connect(upstream)
        except UpstreamFailed as failed:
            if failed.code in KEY_REFUSED:
                await _write(note_refused_key, clinic, digest)
            raise
        if upstream.key_was_refused:
            await _write(KeyRefusal.objects.clear, clinic.pk, digest)
        return connection

    return connect_and_notice


async def _write(write: Callable[..., None], *args: object) -> None:
    try:
        await in_thread(write, *args)
    except Exception as error:  # the call's own end must not hang on it
        logger.error("A refused key could not be noted", extra={"error": type(error).__name__})
