"""What Channels' own consumer costs: the same pump as an `AsyncWebsocketConsumer`, under Daphne.

With BENCH_SLOW in the environment another call's query of 100 ms runs twice a second, where Channels has queries run.
"""

from __future__ import annotations

import asyncio
import os
import time

import django
from asgiref.sync import sync_to_async
from django.conf import settings

settings.configure(ALLOWED_HOSTS=["*"], DATABASES={}, INSTALLED_APPS=[], LOGGING_CONFIG=None, USE_TZ=True)
django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402 - Django must be set up before
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import re_path  # noqa: E402
from websockets.asyncio.client import ClientConnection, connect  # noqa: E402
from websockets.exceptions import ConnectionClosed  # noqa: E402

SLOW_QUERY_S, SLOW_EVERY_S = 0.1, 0.5
_slow: list[asyncio.Task[None]] = []


async def slow_queries() -> None:
    while True:
        await asyncio.sleep(SLOW_EVERY_S)
        await sync_to_async(time.sleep)(SLOW_QUERY_S)


class Stock(AsyncWebsocketConsumer):  # type: ignore[misc]  # Channels has no types
    upstream: ClientConnection
    pumping: asyncio.Task[None]

    async def connect(self) -> None:
        if os.environ.get("BENCH_SLOW") and not _slow:
            _slow.append(asyncio.create_task(slow_queries()))
        self.upstream = await connect(os.environ["BENCH_UPSTREAM"], compression=None, max_size=None, proxy=None)
        await self.accept()
        self.pumping = asyncio.create_task(self.pump())

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.upstream.send(text_data or "")

    async def pump(self) -> None:
        try:
            async for text in self.upstream:
                await self.send(text_data=text)
        except ConnectionClosed:
            pass
        await self.close()

    async def disconnect(self, code: int) -> None:
        self.pumping.cancel()
        await self.upstream.close()


application = ProtocolTypeRouter({"websocket": URLRouter([re_path("", Stock.as_asgi())])})
