"""A caller for tests: speaks the dialect over Channels' communicator or a real socket, and waits for what it is told.

Nothing sleeps: each wait is for an event, and bounded.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator

from agents_app.models import Agent
from sessions_app.client_secrets import Notice, mint
from sessions_app.routing import call_patterns

WAIT_S = 20.0


class Wire(Protocol):
    async def send(self, text: str) -> None: ...
    async def receive(self) -> str: ...


class Closed(Exception):
    """The server closed the socket."""

    def __init__(self, code: int) -> None:
        super().__init__(str(code))
        self.code = code


class Caller:
    def __init__(self, send: Callable[[str], Awaitable[None]], receive: Callable[[], Awaitable[str]]) -> None:
        self._send, self._receive = send, receive
        self.events: list[dict[str, Any]] = []

    async def say(self, kind: str, **fields: Any) -> None:
        await self._send(json.dumps({"type": kind, **fields}))

    async def raw(self, text: str) -> None:
        await self._send(text)

    async def until(self, kind: str, **having: Any) -> dict[str, Any]:
        """Return the next event of this kind, with these fields."""
        async with asyncio.timeout(WAIT_S):
            while True:
                event: dict[str, Any] = json.loads(await self._receive())
                self.events.append(event)
                if event["type"] == kind and all(event.get(name) == value for name, value in having.items()):
                    return event

    async def reply(self) -> str:
        """Return the words of the next reply that is more than "one moment"."""
        while True:
            done = await self.until("response.done")
            words = " ".join(_words(item) for item in done["response"]["output"])
            if words and "One moment" not in words:
                return words

    async def types(self, text: str) -> str:
        """Type a message, and return what is answered."""
        await self.text(text)
        return await self.reply()

    async def text(self, text: str) -> None:
        content = [{"type": "input_text", "text": text}]
        await self.say("conversation.item.create", item={"type": "message", "role": "user", "content": content})
        await self.say("response.create")

    async def closed(self) -> int:
        """Read to the end; return the close code."""
        try:
            while True:
                await self.until("no such event")
        except Closed as closed:
            return closed.code

    def told(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]


def _words(item: dict[str, Any]) -> str:
    return " ".join(part.get("transcript") or part.get("text") or "" for part in item["content"])


def key_for(agent: Agent, *, origin: str = "", recording: str = "") -> str:
    return mint(agent, origin=origin, api_token=None, notice=Notice("0" * 64 if recording else "", recording))[0]


@asynccontextmanager
async def calling(
    agent: Agent, key: str, *, own_events: bool = True, text_only: bool = True, model: str | None = None
) -> AsyncIterator[Caller]:
    """Call `agent` through the consumer, in this process."""
    protocols = ["realtime", *(["frontdesk"] if own_events else []), f"openai-insecure-api-key.{key}"]
    path = f"/v1/realtime?model={model or agent.public_name}"
    socket = WebsocketCommunicator(URLRouter(call_patterns), path, subprotocols=protocols)
    connected, chosen = await socket.connect(timeout=WAIT_S)
    if not connected:
        raise Closed(int(chosen or 0))
    assert chosen == "realtime"

    async def send(text: str) -> None:
        await socket.send_to(text_data=text)

    async def receive() -> str:
        output = await socket.receive_output(WAIT_S)
        if output["type"] == "websocket.close":
            raise Closed(output["code"])
        return str(output["text"])

    caller = Caller(send, receive)
    if text_only:
        await caller.say("session.update", session={"type": "realtime", "output_modalities": ["text"]})
    try:
        yield caller
    finally:
        await socket.disconnect(code=1000, timeout=WAIT_S)
