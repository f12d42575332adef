"""Servers that a test may end, on both kinds, and what they say of themselves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from tests.servers import KINDS, Server, running_server
from tests.sessions_app.standin.recording import Json, RecordingClient

EXIT_S = 15.0
ROOM = ("max_concurrent_calls", "max_calls_per_address", "max_calls_per_network")
CLOSED = {"uvicorn": {1012: 1012, 1013: 1013}, "daphne": {1012: 4012, 1013: 4013}}  # Daphne cannot spell these

Start = Callable[..., Server]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def start(kind: str, transactional_db: None, tmp_path: Path) -> Iterator[Start]:
    """Start a server that this test may end."""
    begun = []

    def start_one(**environment: str) -> Server:
        running = running_server(kind, tmp_path, **environment)
        begun.append(running)
        return running.__enter__()

    yield start_one
    for running in begun:
        running.__exit__(None, None, None)


async def closed(caller: RecordingClient) -> tuple[list[Json], int]:
    """Read to the end; return what was told, and the close code."""
    try:
        while True:
            await caller.next()
    except ConnectionClosed as end:
        return caller.events, end.rcvd.code if end.rcvd is not None else 1006


async def readiness(server: Server) -> tuple[int, Json]:
    status, text = await asyncio.to_thread(server.get, "/readyz")
    return status, json.loads(text)


async def exit_code(server: Server) -> int:
    return await asyncio.to_thread(server.process.wait, EXIT_S)
