"""The process's calls, which outlive their sockets. Begun by the first call: not every server has a lifespan.

Owns the recorder, the tool gateway and the leases of its calls' places.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import suppress
from uuid import UUID

from django.conf import settings

from sessions_app.bridge import Bridge, Connect
from sessions_app.models import CallSession, Place
from sessions_app.opening import Opening
from sessions_app.realtime import open_connection
from sessions_app.recorder import Recorder
from sessions_app.recording import Spool
from sessions_app.refused_keys import noticing
from sessions_app.tasks import enqueue_recording
from sessions_app.threads import in_thread
from sessions_app.tool_gateway import ToolGateway

logger = logging.getLogger(__name__)

HEARTBEAT_S = 10.0


class CallRegistry:
    def __init__(self, *, connect: Connect = open_connection) -> None:
        self._connect = connect
        self._recorder = Recorder(on_ended=_keep_sound)
        self._gateway = ToolGateway()
        self._calls: dict[UUID, asyncio.Task[None]] = {}
        self._heart: asyncio.Task[None] | None = None

    def begin(self, opening: Opening) -> Bridge:
        """Return the bridge of a new call, already running. It ends by itself, and gives its place back."""
        call_id = opening.context.call_id
        spool = Spool(call_id, directory=settings.DATA_DIR / "spool") if opening.recording else None
        connect = noticing(self._connect, opening.context.clinic)
        bridge = Bridge(opening, connect=connect, recorder=self._recorder, gateway=self._gateway, spool=spool)
        self._calls[call_id] = asyncio.create_task(self._carry(call_id, bridge))
        if self._heart is None or self._heart.done():
            self._heart = asyncio.create_task(self._beat())
        return bridge

    async def _carry(self, call_id: UUID, bridge: Bridge) -> None:
        try:
            await bridge.run()
        except Exception as error:  # one call's bug ends that call alone; its text may be patient data
            logger.error("A call failed", extra={"call": str(call_id), "error": type(error).__name__})
        finally:
            del self._calls[call_id]
            await in_thread(Place.objects.release, call_id)

    async def _beat(self) -> None:
        """Renew the leases of the calls that live here, until there are none."""
        while self._calls:
            await asyncio.sleep(HEARTBEAT_S)
            with suppress(Exception):  # a database that is away now may be back before the lease ends
                await in_thread(Place.objects.renew, list(self._calls))

    @property
    def live(self) -> int:
        return len(self._calls)

    @property
    def tasks(self) -> frozenset[asyncio.Task[None]]:
        """The calls in progress: each task ends when its call has."""
        return frozenset(self._calls.values())

    async def flush(self) -> None:
        """Wait until everything that has happened is stored."""
        await asyncio.to_thread(self._recorder.flush)

    def close(self) -> None:
        """Store what is there, and let go of the threads. No call may be in progress."""
        self._gateway.close()
        self._recorder.close()


def _keep_sound(session_id: UUID) -> None:
    session = CallSession.objects.get(pk=session_id)
    if session.recording_kept:
        enqueue_recording(session)


_registry: CallRegistry | None = None
_lock = threading.Lock()


def registry() -> CallRegistry:
    """Return this process's registry."""
    global _registry
    with _lock:
        if _registry is None:
            _registry = CallRegistry()
        return _registry


def close_registry() -> None:
    """End this process's registry; the next call begins a new one. Blocks until everything is stored."""
    global _registry
    with _lock:
        ended, _registry = _registry, None
    if ended is not None:
        ended.close()
