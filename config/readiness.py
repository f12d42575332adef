"""Whether this process can take calls: each part that it stands on is asked, within bounds, and named when it fails.

Asked at most once a second, however many ask us. A part that does not answer in time is not asked again before it has.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from django.conf import settings
from redis.asyncio import Redis

from sessions_app.admission import STORING_LATE_S
from sessions_app.models import CallSession
from sessions_app.registry import registry
from sessions_app.threads import in_pool

PROBE_S = 1.5
KEEP_S = 1.0
MIN_FREE_BYTES = 512 * 1024 * 1024  # an hour of fifty calls' sound, and room for the database

Probe = Callable[[], Awaitable[bool]]


class Readiness:
    """Belongs to the loop in which it is first asked."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="readiness")
        self._asked: dict[str, asyncio.Future[bool]] = {}
        self._failing: list[str] = []
        self._at = 0.0
        self._turn = asyncio.Lock()

    async def failing(self) -> list[str]:
        """Return the names of the parts that are not ready."""
        async with self._turn:
            if time.monotonic() >= self._at + KEEP_S:
                names = list(_probes(self._pool))
                held = await asyncio.gather(*(self._holds(name) for name in names))
                self._failing = [name for name, holds in zip(names, held, strict=True) if not holds]
                self._at = time.monotonic()
        # What the process knows of itself is always as it is now.
        return [*(["draining"] if registry().draining else []), *self._failing]

    async def _holds(self, name: str) -> bool:
        if name not in self._asked:
            self._asked[name] = asyncio.ensure_future(_probes(self._pool)[name]())
        probe = self._asked[name]
        await asyncio.wait({probe}, timeout=PROBE_S)
        if not probe.done():
            return False
        del self._asked[name]
        with suppress(Exception):  # whatever it is, the part is not ready
            return probe.result()
        return False


def _probes(pool: ThreadPoolExecutor) -> dict[str, Probe]:
    async def database() -> bool:
        await in_pool(pool, CallSession.objects.exists)  # the tables are there too
        return True

    async def redis() -> bool:
        async with Redis.from_url(settings.REDIS_URL, socket_timeout=PROBE_S, socket_connect_timeout=PROBE_S) as client:
            return bool(await client.ping())

    async def disk() -> bool:
        usage = await asyncio.to_thread(shutil.disk_usage, settings.DATA_DIR)
        return usage.free >= MIN_FREE_BYTES

    async def load() -> bool:
        return registry().overload in ("", "storing")

    async def recorder() -> bool:
        return registry().recorder.health().late_s < STORING_LATE_S

    probes: dict[str, Probe] = {"database": database, "disk": disk, "load": load, "recorder": recorder}
    return {**probes, "redis": redis} if settings.REDIS_URL else probes
