"""Owns a server of one page: Django's own rendering and static files over HTTP, and a socket that the test speaks for.

Knows nothing of the real call runtime, so that a test of the page fails for the page's reasons alone.
"""

from __future__ import annotations

import asyncio
import json
import mimetypes
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from django.contrib.staticfiles import finders

Event = dict[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PATIENCE_S = 20  # for what the page must do; reached only when it does not do it


@dataclass
class Page:
    """A rendered page with the headers that Django gave it."""

    body: bytes
    headers: dict[str, str]


@dataclass
class Caller:
    """The server's end of one call of the page."""

    send_message: Send
    subprotocols: list[str]
    query: str
    received: list[Event] = field(default_factory=list)
    inbox: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)
    closed: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def send(self, *events: Event) -> None:
        for event in events:
            await self.send_message({"type": "websocket.send", "text": json.dumps(event)})

    async def close(self, code: int) -> None:
        await self.send_message({"type": "websocket.close", "code": code})

    async def next(self, kind: str) -> Event:
        """Return the next event of a kind, past all others."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                event = await self.inbox.get()
                if event["type"] == kind:
                    return event

    async def code(self) -> int:
        """Return the code that the page closed with."""
        async with asyncio.timeout(PATIENCE_S):
            return await asyncio.shield(self.closed)

    def kinds(self) -> list[str]:
        return [event["type"] for event in self.received]


@dataclass
class FakeServer:
    port: int = 0
    pages: dict[str, Page] = field(default_factory=dict)
    key_answers: list[tuple[int, Event]] = field(default_factory=list)  # spent first to last, then a good one
    key_requests: list[Event] = field(default_factory=list)
    key_headers: list[dict[str, str]] = field(default_factory=list)
    refused_handshakes: int = 0  # how many sockets fail before they open
    callers: asyncio.Queue[Caller] = field(default_factory=asyncio.Queue)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def forget(self) -> None:
        """Begin anew for the next test."""
        self.pages.clear()
        self.key_answers.clear()
        self.key_requests.clear()
        self.key_headers.clear()
        self.refused_handshakes = 0
        self.callers = asyncio.Queue()

    async def caller(self) -> Caller:
        """Return the next call that the page has begun."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.callers.get()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._call(scope, receive, send)
        elif scope["path"] == "/v1/realtime/client_secrets":
            await self._key(scope, receive, send)
        else:
            await self._get(scope["path"], send)

    async def _call(self, scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        if self.refused_handshakes > 0:
            self.refused_handshakes -= 1
            await send({"type": "websocket.close"})
            return
        await send({"type": "websocket.accept", "subprotocol": "realtime"})
        caller = Caller(send, scope["subprotocols"], scope["query_string"].decode())
        await self.callers.put(caller)
        while (message := await receive())["type"] == "websocket.receive":
            event = json.loads(message["text"])
            caller.received.append(event)
            caller.inbox.put_nowait(event)
        caller.closed.set_result(message["code"])

    async def _key(self, scope: Message, receive: Receive, send: Send) -> None:
        self.key_headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
        self.key_requests.append(json.loads((await receive())["body"]))
        number = len(self.key_requests)
        good = (200, {"value": f"ek_{number}", "expires_at": 2000000000, "session": {"type": "realtime"}})
        status, body = self.key_answers.pop(0) if self.key_answers else good
        await _answer(send, status, {"content-type": "application/json"}, json.dumps(body).encode())

    async def _get(self, path: str, send: Send) -> None:
        if path in self.pages:
            await _answer(send, 200, self.pages[path].headers, self.pages[path].body)
            return
        if path == "/empty":
            await _answer(send, 200, {"content-type": "text/html"}, b"<!doctype html><title>Empty</title>")
            return
        found = finders.find(path.removeprefix("/static/")) if path.startswith("/static/") else None
        if not found:
            await _answer(send, 404, {}, b"")
            return
        kind = mimetypes.guess_type(found)[0] or "application/octet-stream"
        await _answer(send, 200, {"content-type": kind, "cache-control": "max-age=600"}, Path(found).read_bytes())  # noqa: ASYNC240 - small local files


async def _answer(send: Send, status: int, headers: dict[str, str], body: bytes) -> None:
    wire = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": wire})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def serve(server: FakeServer) -> AsyncIterator[FakeServer]:
    """Serve on a free port of loopback."""
    listener = socket.create_server(("127.0.0.1", 0))
    server.port = listener.getsockname()[1]
    config = uvicorn.Config(
        server, lifespan="off", log_level="error", ws="websockets-sansio", timeout_graceful_shutdown=1
    )
    uvicorn_server = uvicorn.Server(config)
    task = asyncio.create_task(uvicorn_server.serve(sockets=[listener]))
    try:
        yield server
    finally:
        uvicorn_server.should_exit = True
        await task
